/* The promises that take time: events expire, watches get bookmarks, a deadline counts from now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "fake_env.h"
#include "registry/registry.h"
#include "store/engine.h"

#define START (1767225600 * SECOND) /* 2026-01-01T00:00:00Z */

struct world {
    struct env *env;
    struct store *store;
    struct registry *registry;
    struct client *client;
};

static struct world world_new(void)
{
    struct world w = {.env = fake_env_new(START)};
    w.store = store_new(w.env, engine_memory_new(w.env));
    w.registry =
        registry_new(w.env, w.store, &(struct registry_options){"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767});
    w.client = registry_client(w.registry, NULL);
    registry_bootstrap(w.registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443}, NULL, NULL);
    fake_env_settle(w.env);
    return w;
}

static void world_free(struct world *w)
{
    registry_client_free(w->client);
    registry_free(w->registry);
    store_free(w->store);
    fake_env_free(w->env);
}

static void check_created(void *context, const struct client_result *result)
{
    assert_int_equal(result->code, 201);
}

static void write_event(struct world *w, const char *name)
{
    struct event event = {
        .metadata = {.name = name, .namespace = "default"},
        .involved_object = {.kind = "Pod", .name = "p", .namespace = "default"},
        .reason = "Started",
        .type = "Normal",
        .first_timestamp = env_now(w->env),
        .last_timestamp = env_now(w->env),
    };
    client_create(w->client, &api_resources[API_EVENTS], "default", NULL, &event, check_created, NULL);
    fake_env_settle(w->env);
}

static void events_are_gone_an_hour_after_their_last_write(void **state)
{
    struct world w = world_new();
    const struct api_resource *events = &api_resources[API_EVENTS];
    write_event(&w, "a");
    fake_env_advance(w.env, 30 * MINUTE);
    write_event(&w, "b");
    fake_env_advance(w.env, 29 * MINUTE);
    assert_int_equal(store_count(w.store, events), 2);
    fake_env_advance(w.env, 10 * MINUTE);
    assert_int_equal(store_count(w.store, events), 1);
    assert_non_null(store_get(w.store, events, "default", "b"));
    fake_env_advance(w.env, 30 * MINUTE);
    assert_int_equal(store_count(w.store, events), 0);
    /* And again, after none were left. */
    write_event(&w, "c");
    fake_env_advance(w.env, 2 * HOUR);
    assert_int_equal(store_count(w.store, events), 0);
    world_free(&w);
}

struct bookmarks {
    int count;
    uint64_t revision;
};

static void count_bookmarks(void *context, const struct client_event *event)
{
    struct bookmarks *bookmarks = context;
    if (event->kind != CLIENT_BOOKMARK)
        return;
    bookmarks->count++;
    bookmarks->revision = event->revision;
}

static void a_watch_of_quiet_objects_learns_the_revision(void **state)
{
    struct world w = world_new();
    struct bookmarks wanted = {0}, unwanted = {0};
    struct client_watch_options options = {
        .resource = &api_resources[API_SECRETS], .from = store_revision(w.store), .bookmarks = true};
    struct client_watch *a = client_watch(w.client, &options, count_bookmarks, &wanted);
    options.bookmarks = false;
    struct client_watch *b = client_watch(w.client, &options, count_bookmarks, &unwanted);
    fake_env_settle(w.env);
    write_event(&w, "a");
    fake_env_advance(w.env, 61 * SECOND);
    assert_int_equal(wanted.count, 1);
    assert_int_equal(wanted.revision, store_revision(w.store));
    /* Nothing new to say. */
    fake_env_advance(w.env, 10 * MINUTE);
    assert_int_equal(wanted.count, 1);
    assert_int_equal(unwanted.count, 0);
    client_watch_free(a);
    client_watch_free(b);
    world_free(&w);
}

static void write_class(struct world *w, const char *name)
{
    struct string_pair mark = {"ingressclass.kubernetes.io/is-default-class", "true"};
    struct ingress_class class = {.metadata = {.name = name, .annotations = {&mark, 1}},
                                  .spec.controller = "example.com/ingress"};
    client_create(w->client, &api_resources[API_INGRESSCLASSES], NULL, NULL, &class, check_created, NULL);
    fake_env_settle(w->env);
}

static const char *class_of_new_ingress(struct world *w, const char *name)
{
    struct ingress_backend backend = {.service = &(struct ingress_service_backend){.name = "s", .port.number = 80}};
    struct ingress ingress = {.metadata = {.name = name, .namespace = "default"}, .spec.default_backend = &backend};
    client_create(w->client, &api_resources[API_INGRESSES], "default", NULL, &ingress, check_created, NULL);
    fake_env_settle(w->env);
    struct object *object = store_get(w->store, &api_resources[API_INGRESSES], "default", name);
    return ((const struct ingress *)object->value)->spec.ingress_class_name;
}

static void an_ingress_gets_the_newest_of_the_default_classes(void **state)
{
    struct world w = world_new();
    assert_null(class_of_new_ingress(&w, "none"));
    write_class(&w, "c");
    write_class(&w, "b");
    assert_string_equal(class_of_new_ingress(&w, "same-age"), "b");
    fake_env_advance(w.env, 2 * SECOND);
    write_class(&w, "d");
    assert_string_equal(class_of_new_ingress(&w, "newest"), "d");
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_gone_an_hour_after_their_last_write),
        cmocka_unit_test(a_watch_of_quiet_objects_learns_the_revision),
        cmocka_unit_test(an_ingress_gets_the_newest_of_the_default_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
