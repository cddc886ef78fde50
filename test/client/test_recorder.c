/* The promises of the recorder, on a clock that the test moves: what repeats is counted up, what the server has
 * forgotten comes back with its count, a flood about one object is cut off, and answers that come late find nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../registry/fake_env.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "client/recorder.h"
#include "registry/registry.h"
#include "store/engine.h"

#define START (1767225600 * SECOND) /* 2026-01-01T00:00:00Z */
#define EVENTS (&api_resources[API_EVENTS])

static struct env *env;
static struct store *store;
static struct registry *registry;
static struct client *client;
static struct recorder *recorder;
static struct object_meta pod = {.name = "p", .namespace = "default", .uid = "1"};

static int set_up(void **state)
{
    env = fake_env_new(START);
    store = store_new(env, engine_memory_new(env));
    registry = registry_new(env, store, &(struct registry_options){"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767});
    client = registry_client(registry, NULL);
    registry_bootstrap(registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443}, NULL, NULL);
    fake_env_settle(env);
    recorder = recorder_new(client, "kubelet", "n");
    return 0;
}

static int tear_down(void **state)
{
    recorder_free(recorder);
    registry_client_free(client);
    registry_free(registry);
    store_free(store);
    fake_env_free(env);
    return 0;
}

static void record(const struct object_meta *about, const char *message)
{
    recorder_event(recorder, &api_resources[API_PODS], about, "spec.containers{c}", "Warning", "BackOff", "%s",
                   message);
    /* Names are made of the time. */
    fake_env_advance(env, 1);
}

struct found {
    size_t count;
    struct object *last; /* held */
};

static bool find(void *context, struct object *object)
{
    struct found *found = context;
    found->count++;
    object_unref(found->last);
    found->last = object_ref(object);
    return true;
}

/* The only event there is; to be released. */
static struct object *only_event(void)
{
    struct found found = {0};
    store_list(store, EVENTS, NULL, NULL, NULL, find, &found);
    assert_int_equal(found.count, 1);
    return found.last;
}

static size_t events(void)
{
    return store_count(store, EVENTS);
}

static void delete_event(struct object *event)
{
    client_delete(client, EVENTS, "default", event->meta->name, NULL, -1, NULL, NULL, NULL);
    fake_env_settle(env);
    assert_int_equal(events(), 0);
}

static void what_repeats_is_counted_up(void **state)
{
    for (int i = 0; i < 3; i++) {
        record(&pod, "again");
        fake_env_advance(env, 10 * SECOND);
    }
    cleanup_object struct object *object = only_event();
    const struct event *event = object->value;
    assert_int_equal(event->count, 3);
    assert_int_equal(event->first_timestamp, START);
    assert_int_equal(event->last_timestamp / SECOND, START / SECOND + 20);
    assert_string_equal(event->involved_object.name, "p");
    assert_string_equal(event->involved_object.field_path, "spec.containers{c}");
    assert_string_equal(event->source.component, "kubelet");
    assert_string_equal(event->source.host, "n");
    record(&pod, "something else");
    assert_int_equal(events(), 2);
}

static void what_was_deleted_comes_back_with_its_count(void **state)
{
    record(&pod, "again");
    record(&pod, "again");
    cleanup_object struct object *before = only_event();
    delete_event(before);
    fake_env_advance(env, MINUTE);
    record(&pod, "again");
    cleanup_object struct object *object = only_event();
    const struct event *event = object->value;
    assert_int_equal(event->count, 3);
    assert_string_equal(event->metadata.name, before->meta->name);
    assert_int_equal(event->first_timestamp, START);
    assert_int_equal(event->last_timestamp / SECOND, START / SECOND + 60);
    assert_string_equal(event->message, "again");
    /* From there it is counted up again. */
    record(&pod, "again");
    cleanup_object struct object *counted = only_event();
    assert_int_equal(((const struct event *)counted->value)->count, 4);
}

static void what_has_expired_comes_back(void **state)
{
    record(&pod, "again");
    fake_env_advance(env, 2 * HOUR);
    assert_int_equal(events(), 0);
    record(&pod, "again");
    cleanup_object struct object *object = only_event();
    assert_int_equal(((const struct event *)object->value)->count, 2);
}

static void a_flood_about_one_object_is_cut_off(void **state)
{
    struct object_meta other = {.name = "q", .namespace = "default", .uid = "2"};
    char text[16];
    for (int i = 0; i < RECORDER_BURST + 5; i++) {
        snprintf(text, sizeof(text), "%d", i);
        record(&pod, text);
    }
    assert_int_equal(events(), RECORDER_BURST);
    record(&other, "of another");
    assert_int_equal(events(), RECORDER_BURST + 1);
    /* One more for each period, and repetitions count alike. */
    fake_env_advance(env, RECORDER_REFILL);
    record(&pod, "later");
    record(&pod, "too soon");
    assert_int_equal(events(), RECORDER_BURST + 2);
}

static void what_repeats_is_cut_off_too(void **state)
{
    for (int i = 0; i < RECORDER_BURST + 5; i++)
        record(&pod, "again");
    cleanup_object struct object *object = only_event();
    assert_int_equal(((const struct event *)object->value)->count, RECORDER_BURST);
}

static void a_recorder_may_go_before_its_answers_come(void **state)
{
    record(&pod, "again");
    cleanup_object struct object *object = only_event();
    delete_event(object);
    recorder_event(recorder, &api_resources[API_PODS], &pod, "spec.containers{c}", "Warning", "BackOff", "again");
    recorder_free(recorder);
    recorder = NULL;
    fake_env_settle(env);
    assert_int_equal(events(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_repeats_is_counted_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_deleted_comes_back_with_its_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_has_expired_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_about_one_object_is_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_repeats_is_cut_off_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_recorder_may_go_before_its_answers_come, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
