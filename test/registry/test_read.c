/* The promises of get, list and watch: resource versions, pages, selectors and their transitions. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"

static void make(struct world *w, const char *namespace, int first, int last)
{
    char path[64], json[128];
    snprintf(path, sizeof(path), "configmaps/%s", namespace);
    for (int i = first; i < last; i++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"a%03d\",\"labels\":{\"v\":\"%d\"}}}", i, i % 2);
        assert_code(create(w, path, json), 201);
    }
}

static struct client_request *page(const char *path, int64_t limit, const char *continue_)
{
    struct client_request *q = request(CLIENT_LIST, path);
    q->limit = limit;
    q->continue_ = arena_string(q->arena, continue_);
    return q;
}

static void a_list_comes_in_pages_of_one_revision(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 25);
    struct reply *r = call(w, page("configmaps/default", 10, NULL));
    assert_int_equal(r->count, 10);
    assert_int_equal(r->remaining, 15);
    uint64_t revision = r->revision;
    assert_int_equal(revision, store_revision(w->store));
    cleanup_free char *token = mem_string(r->continue_);
    /* Whatever happens meanwhile, the rest is what it was. */
    assert_code(delete_(w, "configmaps/default/a015", NULL), 200);
    make(w, "default", 30, 31);
    assert_code(patch(w, "configmaps/default/a016", "{\"metadata\":{\"labels\":{\"v\":\"new\"}}}"), 200);
    r = call(w, page("configmaps/default", 10, token));
    assert_code(r, 200);
    assert_int_equal(r->count, 10);
    assert_int_equal(r->revision, revision);
    assert_int_equal(r->remaining, 5);
    assert_string_equal(r->items[5]->meta->name, "a015");
    assert_string_equal(string_map_get(&r->items[6]->meta->labels, "v"), "0");
    free(token);
    token = mem_string(r->continue_);
    r = call(w, page("configmaps/default", 10, token));
    assert_int_equal(r->count, 5);
    assert_null(r->continue_);
    assert_int_equal(r->remaining, -1);
    assert_string_equal(r->items[4]->meta->name, "a024");
    world_free(w);
}

static void pages_cross_namespaces(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 3);
    make(w, "kube-system", 0, 3);
    char names[256] = "";
    cleanup_free char *token = NULL;
    do {
        struct reply *r = call(w, page("configmaps", 2, token));
        assert_code(r, 200);
        for (size_t i = 0; i < r->count; i++)
            sprintf(names + strlen(names), "%s/%s ", r->items[i]->meta->namespace, r->items[i]->meta->name);
        free(token);
        token = r->continue_ ? mem_string(r->continue_) : NULL;
    } while (token);
    assert_string_equal(names, "default/a000 default/a001 default/a002 kube-system/a000 kube-system/a001 "
                               "kube-system/a002 ");
    world_free(w);
}

static void pages_with_a_selector_do_not_count_what_is_left(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 9);
    struct client_request *q = page("configmaps/default", 4, NULL);
    selector_parse(q->arena, "v=0", &q->label_selector, NULL);
    struct reply *r = call(w, q);
    assert_int_equal(r->count, 4);
    assert_int_equal(r->remaining, -1);
    assert_non_null(r->continue_);
    q = page("configmaps/default", 4, r->continue_);
    selector_parse(q->arena, "v=0", &q->label_selector, NULL);
    r = call(w, q);
    assert_int_equal(r->count, 1);
    assert_null(r->continue_);
    q = page("configmaps/default", 0, NULL);
    field_selector_parse(q->arena, "metadata.name=a003", &q->field_selector, NULL);
    r = call(w, q);
    assert_int_equal(r->count, 1);
    world_free(w);
}

static void a_token_that_is_too_old_comes_with_one_that_goes_on(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 10);
    struct reply *r = call(w, page("configmaps/default", 4, NULL));
    cleanup_free char *token = mem_string(r->continue_);
    for (int i = 0; i < STORE_HISTORY_MAX; i++) {
        struct arena *arena = arena_new(0);
        struct object *head = store_head(w->store, &api_resources[API_CONFIGMAPS], "default", "a001");
        store_put(w->store, head->resource, arena, object_copy(arena, head), head->revision, NULL, NULL);
        if (i % 1024 == 0)
            settle(w);
    }
    settle(w);
    assert_code(delete_(w, "configmaps/default/a005", NULL), 200);
    r = call(w, page("configmaps/default", 4, token));
    assert_code(r, 410);
    assert_string_equal(r->reason, "Expired");
    assert_memory_equal(r->text, "The provided continue parameter is too old to display a consistent list result.", 79);
    r = call(w, page("configmaps/default", 10, r->status->metadata.continue_));
    assert_code(r, 200);
    assert_int_equal(r->count, 5);
    assert_string_equal(r->items[0]->meta->name, "a004");
    assert_string_equal(r->items[1]->meta->name, "a006");
    /* A list at a revision that is forgotten, and one at a revision that is not. */
    struct client_request *q = request(CLIENT_LIST, "configmaps/default");
    q->resource_version = "5";
    q->resource_version_match = "Exact";
    r = call(w, q);
    assert_code(r, 410);
    assert_string_equal(r->text, "The resourceVersion for the provided list is too old.");
    world_free(w);
}

static const char *encoded(const char *json)
{
    static char text[256];
    base64_encode(json, strlen(json), text);
    text[BASE64_SIZE(strlen(json))] = 0;
    text[strcspn(text, "=")] = 0;
    return text;
}

static void bad_tokens_and_options_are_refused_with_upstreams_words(void **state)
{
    static const struct {
        const char *json, *version, *match;
        int code;
        const char *text;
    } rows[] = {
        {"{\"v\":\"v9\",\"rv\":5,\"start\":\"a\\u0000\"}", NULL, NULL, 400,
         "invalid continue token: continue key is not valid: server does not recognize this encoded version"},
        {"{\"v\":\"meta.k8s.io/v1\",\"rv\":0,\"start\":\"a\\u0000\"}", NULL, NULL, 400,
         "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version "
         "meta.k8s.io/v1)"},
        {"{\"v\":\"meta.k8s.io/v1\",\"rv\":5,\"start\":\"\"}", NULL, NULL, 400,
         "invalid continue token: continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"},
        {"{\"v\":\"meta.k8s.io/v1\",\"rv\":5,\"start\":\"a\\u0000\"}", "7", NULL, 400,
         "specifying resource version is not allowed when using continue"},
        {NULL, NULL, "Exact", 422,
         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden "
         "unless resourceVersion is provided"},
        {NULL, "0", "Exact", 422,
         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is "
         "forbidden for resourceVersion \"0\""},
        {NULL, "9999", NULL, 504, "Timeout: Too large resource version: 9999, current: "},
        {NULL, "x", NULL, 422, "ListOptions.meta.k8s.io \"\" is invalid: resourceVersion: Invalid value: \"x\""},
    };
    struct world *w = world_new();
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct client_request *q = request(CLIENT_LIST, "configmaps/default");
        q->continue_ = rows[i].json ? arena_string(q->arena, encoded(rows[i].json)) : NULL;
        q->resource_version = rows[i].version;
        q->resource_version_match = rows[i].match;
        struct reply *r = call(w, q);
        assert_code(r, rows[i].code);
        if (strncmp(r->text, rows[i].text, strlen(rows[i].text)) != 0)
            fail_msg("%s", r->text);
    }
    struct client_request *q = request(CLIENT_LIST, "configmaps/default");
    q->continue_ = "!!!";
    assert_code(call(w, q), 400);
    world_free(w);
}

static void resource_versions_are_honoured(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 5);
    struct client_request *q = request(CLIENT_GET, "configmaps/default/a001");
    q->resource_version = "0";
    assert_code(call(w, q), 200);
    q = request(CLIENT_GET, "configmaps/default/a001");
    q->resource_version = "99999";
    assert_code(call(w, q), 504);
    /* Exactly then. */
    char version[24];
    snprintf(version, sizeof(version), "%llu", (unsigned long long)store_revision(w->store));
    make(w, "default", 5, 8);
    q = request(CLIENT_LIST, "configmaps/default");
    q->resource_version = version;
    q->resource_version_match = "Exact";
    struct reply *r = call(w, q);
    assert_int_equal(r->count, 5);
    assert_int_equal(r->revision, strtoull(version, NULL, 10));
    q = request(CLIENT_LIST, "configmaps/default");
    q->resource_version = version;
    q->resource_version_match = "NotOlderThan";
    assert_int_equal(call(w, q)->count, 8);
    /* From the cache: limits do not count. */
    q = request(CLIENT_LIST, "configmaps/default");
    q->resource_version = "0";
    q->limit = 2;
    assert_int_equal(call(w, q)->count, 8);
    world_free(w);
}

static void set_label(struct world *w, const char *name, const char *label)
{
    char path[64], json[64];
    snprintf(path, sizeof(path), "configmaps/default/%s", name);
    snprintf(json, sizeof(json), "{\"metadata\":{\"labels\":{\"v\":\"%s\"}}}", label);
    assert_code(patch(w, path, json), 200);
}

static void a_selector_turns_changes_into_additions_and_deletions(void **state)
{
    struct world *w = world_new();
    cleanup_arena struct arena *arena = arena_new(0);
    const struct selector *selector;
    assert_int_equal(selector_parse(arena, "v in (1,2)", &selector, NULL), 0);
    struct events events, all;
    struct client_watch_options options = {.resource = &api_resources[API_CONFIGMAPS],
                                           .namespace = "default",
                                           .from = store_revision(w->store)};
    watch_begin(w, &all, &options);
    options.label_selector = selector;
    watch_begin(w, &events, &options);
    create(w, "configmaps/default", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"v\":\"0\"}}}");
    create(w, "configmaps/kube-system", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"v\":\"1\"}}}");
    assert_string_equal(watch_text(w, &events), "");
    set_label(w, "a", "1");
    assert_string_equal(watch_text(w, &events), "A a=1 ");
    set_label(w, "a", "2");
    assert_string_equal(watch_text(w, &events), "M a=2 ");
    set_label(w, "a", "3");
    assert_string_equal(watch_text(w, &events), "D a=3 ");
    set_label(w, "a", "4");
    assert_string_equal(watch_text(w, &events), "");
    set_label(w, "a", "1");
    delete_(w, "configmaps/default/a", NULL);
    assert_string_equal(watch_text(w, &events), "A a=1 D a=1 ");
    assert_string_equal(watch_text(w, &all), "A a=0 M a=1 M a=2 M a=3 M a=4 M a=1 D a=1 ");
    assert_int_equal(all.revision, store_revision(w->store));
    watch_end(&events);
    watch_end(&all);
    world_free(w);
}

static void a_watch_of_one_value_sees_what_enters_and_leaves_it(void **state)
{
    struct world *w = world_new();
    cleanup_arena struct arena *arena = arena_new(0);
    const struct field_selector *node, *name;
    assert_int_equal(field_selector_parse(arena, "spec.nodeName=n1", &node, NULL), 0);
    assert_int_equal(field_selector_parse(arena, "metadata.name=b", &name, NULL), 0);
    struct events on_node, elsewhere, named, again;
    struct client_watch_options options = {.resource = &api_resources[API_PODS],
                                           .field_selector = node,
                                           .send_initial_events = true};
    watch_begin(w, &on_node, &options);
    watch_begin(w, &again, &options);
    options.namespace = "kube-system";
    watch_begin(w, &elsewhere, &options);
    options.namespace = NULL;
    options.field_selector = name;
    watch_begin(w, &named, &options);
    assert_string_equal(watch_text(w, &on_node), "B! ");
    assert_string_equal(watch_text(w, &elsewhere), "B! ");
    assert_string_equal(watch_text(w, &named), "B! ");
    static const char *const pods[] = {"a", "b"};
    for (size_t i = 0; i < ARRAY_COUNT(pods); i++) {
        char json[160];
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", pods[i]);
        assert_code(create(w, "pods/default", json), 201);
    }
    assert_string_equal(watch_text(w, &on_node), "");
    assert_code(create(w, "pods/default/a/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}"), 201);
    assert_code(create(w, "pods/default/b/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n2\"}}"), 201);
    assert_string_equal(watch_text(w, &on_node), "A a ");
    assert_string_equal(watch_text(w, &named), "A b M b ");
    watch_end(&again);
    assert_code(delete_(w, "pods/default/a", "{\"gracePeriodSeconds\":0}"), 200);
    assert_string_equal(watch_text(w, &on_node), "M a D a ");
    assert_string_equal(watch_text(w, &elsewhere), "");
    watch_end(&on_node);
    watch_end(&elsewhere);
    watch_end(&named);
    world_free(w);
}

static void a_watch_may_begin_with_what_is_there(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 2);
    struct events events, plain;
    watch_begin(w, &events,
                &(struct client_watch_options){.resource = &api_resources[API_CONFIGMAPS],
                                               .send_initial_events = true,
                                               .bookmarks = true});
    assert_string_equal(watch_text(w, &events), "A a000=0 A a001=1 B! ");
    assert_int_equal(events.revision, store_revision(w->store));
    watch_begin(w, &plain, &(struct client_watch_options){.resource = &api_resources[API_CONFIGMAPS]});
    assert_string_equal(watch_text(w, &plain), "A a000=0 A a001=1 ");
    make(w, "default", 2, 3);
    assert_string_equal(watch_text(w, &events), "A a002=0 ");
    watch_end(&events);
    watch_end(&plain);
    world_free(w);
}

static void a_watch_goes_on_from_a_revision(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 1);
    uint64_t revision = store_revision(w->store);
    make(w, "default", 1, 3);
    struct events events;
    watch_begin(w, &events,
                &(struct client_watch_options){.resource = &api_resources[API_CONFIGMAPS], .from = revision});
    assert_string_equal(watch_text(w, &events), "A a001=1 A a002=0 ");
    watch_end(&events);
    make(w, "default", 3, 4);
    assert_string_equal(watch_text(w, &events), "");
    world_free(w);
}

static void a_watch_from_a_forgotten_revision_is_told_so(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 2);
    for (int i = 0; i < STORE_HISTORY_MAX + 5; i++) {
        struct arena *arena = arena_new(0);
        struct object *head = store_head(w->store, &api_resources[API_CONFIGMAPS], "default", "a001");
        store_put(w->store, head->resource, arena, object_copy(arena, head), head->revision, NULL, NULL);
        if (i % 1024 == 0)
            settle(w);
    }
    settle(w);
    struct events events;
    watch_begin(w, &events, &(struct client_watch_options){.resource = &api_resources[API_CONFIGMAPS], .from = 3});
    assert_string_equal(watch_text(w, &events), "E ");
    assert_int_equal(events.code, 410);
    assert_memory_equal(events.message, "too old resource version: 3 (", 29);
    watch_end(&events);
    world_free(w);
}

static void a_watch_sees_a_second_view_of_events(void **state)
{
    struct world *w = world_new();
    struct events events;
    watch_begin(w, &events,
                &(struct client_watch_options){.resource = &api_resources[API_EVENTS_EVENTS],
                                               .from = store_revision(w->store)});
    struct reply *r = create(w, "events/default",
                             "{\"metadata\":{\"name\":\"e\",\"namespace\":\"default\"},\"involvedObject\":{\"kind\":"
                             "\"Pod\",\"name\":\"p\",\"namespace\":\"default\"},\"reason\":\"R\",\"message\":\"m\","
                             "\"type\":\"Normal\"}");
    assert_code(r, 201);
    assert_string_equal(watch_text(w, &events), "A e ");
    watch_end(&events);
    world_free(w);
}

static void a_watch_that_ends_at_once_is_never_called(void **state)
{
    struct world *w = world_new();
    make(w, "default", 0, 2);
    struct events events = {0};
    events.watch = client_watch(w->client,
                                &(struct client_watch_options){.resource = &api_resources[API_CONFIGMAPS]}, NULL, NULL);
    watch_end(&events);
    settle(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_comes_in_pages_of_one_revision),
        cmocka_unit_test(pages_cross_namespaces),
        cmocka_unit_test(pages_with_a_selector_do_not_count_what_is_left),
        cmocka_unit_test(a_token_that_is_too_old_comes_with_one_that_goes_on),
        cmocka_unit_test(bad_tokens_and_options_are_refused_with_upstreams_words),
        cmocka_unit_test(resource_versions_are_honoured),
        cmocka_unit_test(a_selector_turns_changes_into_additions_and_deletions),
        cmocka_unit_test(a_watch_of_one_value_sees_what_enters_and_leaves_it),
        cmocka_unit_test(a_watch_may_begin_with_what_is_there),
        cmocka_unit_test(a_watch_goes_on_from_a_revision),
        cmocka_unit_test(a_watch_from_a_forgotten_revision_is_told_so),
        cmocka_unit_test(a_watch_sees_a_second_view_of_events),
        cmocka_unit_test(a_watch_that_ends_at_once_is_never_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
