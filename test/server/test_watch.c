/* Watches: where they begin and end, what forms their events have, and what a thousand of them, slow ones and those
 * that go away do to the server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "base/cleanup.h"
#include "base/map.h"

#define TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n"
#define METADATA "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io\r\n"
#define MERGE "Content-Type: application/merge-patch+json\r\n"

#ifdef SANITIZED
#define CROWD 200
#else
#define CROWD 1000
#endif

/* The list's revision, as text; valid until the next call but three. */
static const char *revision(void)
{
    return field(ask("GET", CONFIG_MAPS, NULL, NULL), "metadata/resourceVersion");
}

static const char *from(const char *version, const char *more)
{
    static char path[512];
    snprintf(path, sizeof(path), CONFIG_MAPS "?watch=true&resourceVersion=%s%s", version, more);
    return path;
}

static void events_tell_what_happens(void **state)
{
    (void)state;
    struct connection *c = watch(from(revision(), ""));
    make_config_map("a", "1");
    json_t *event = assert_event(c, "ADDED", "a");
    assert_string_equal(json_field(event, "object/kind"), "ConfigMap");
    assert_string_equal(json_field(event, "object/apiVersion"), "v1");
    assert_code(ask("PATCH", CONFIG_MAPS "/a", MERGE, "{\"data\":{\"key\":\"2\"}}"), 200);
    event = assert_event(c, "MODIFIED", "a");
    assert_string_equal(json_field(event, "object/data/key"), "2");
    assert_code(ask("DELETE", CONFIG_MAPS "/a", NULL, NULL), 200);
    event = assert_event(c, "DELETED", "a");
    assert_string_equal(json_field(event, "object/data/key"), "2");
    disconnect(c);
}

static void a_watch_begins_where_it_is_told_to(void **state)
{
    (void)state;
    cleanup_free char *before = mem_string(revision());
    make_config_map("a", "1");
    cleanup_free char *between = mem_string(revision());
    make_config_map("b", "1");
    struct connection *c = watch(from(before, ""));
    assert_event(c, "ADDED", "a");
    assert_event(c, "ADDED", "b");
    disconnect(c);
    c = watch(from(between, ""));
    assert_event(c, "ADDED", "b");
    disconnect(c);
    /* "0" and none: first what there is. */
    static const char *const begins[] = {CONFIG_MAPS "?watch=1&resourceVersion=0", CONFIG_MAPS "?watch=1",
                                         "/api/v1/watch/namespaces/default/configmaps",
                                         "/api/v1/configmaps?watch=true", "/api/v1/watch/configmaps"};
    for (size_t i = 0; i < ARRAY_COUNT(begins); i++) {
        c = watch(begins[i]);
        assert_event(c, "ADDED", "a");
        assert_event(c, "ADDED", "b");
        disconnect(c);
    }
    make_config_map("c", "1");
}

static void one_object_is_watched_by_its_path_or_name(void **state)
{
    (void)state;
    static const char *const paths[] = {CONFIG_MAPS "/b?watch=1", "/api/v1/watch/namespaces/default/configmaps/b",
                                        CONFIG_MAPS "?watch=1&fieldSelector=metadata.name%3Db"};
    make_config_map("a", "1");
    make_config_map("b", "1");
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct connection *c = watch(paths[i]);
        assert_event(c, "ADDED", "b");
        assert_code(ask("PATCH", CONFIG_MAPS "/a", MERGE, i % 2 ? "{\"data\":{\"x\":\"1\"}}" : "{\"data\":{\"x\":\"2\"}}"),
                    200);
        assert_code(ask("PATCH", CONFIG_MAPS "/b", MERGE, i % 2 ? "{\"data\":{\"x\":\"1\"}}" : "{\"data\":{\"x\":\"2\"}}"),
                    200);
        assert_event(c, "MODIFIED", "b");
        disconnect(c);
    }
}

static void objects_come_and_go_as_they_match(void **state)
{
    (void)state;
    struct connection *c = watch(from(revision(), "&labelSelector=app%3Dx"));
    make_config_map("a", "y");
    assert_code(ask("PATCH", CONFIG_MAPS "/a", MERGE, "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}"), 200);
    assert_event(c, "ADDED", "a");
    assert_code(ask("PATCH", CONFIG_MAPS "/a", MERGE, "{\"metadata\":{\"labels\":{\"app\":\"z\"}}}"), 200);
    assert_event(c, "DELETED", "a");
    disconnect(c);
}

static void initial_events_end_with_a_bookmark_that_says_so(void **state)
{
    (void)state;
    make_config_map("a", "1");
    struct connection *c = watch(CONFIG_MAPS "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
                                             "&resourceVersionMatch=NotOlderThan&resourceVersion=");
    assert_event(c, "ADDED", "a");
    json_t *event = assert_event(c, "BOOKMARK", "");
    assert_string_equal(json_field(event, "object/kind"), "ConfigMap");
    assert_string_equal(json_field(event, "object/metadata/annotations/k8s.io|initial-events-end"), "true");
    cleanup_free char *version = mem_string(json_field(event, "object/metadata/resourceVersion"));
    assert_string_equal(version, revision());
    make_config_map("b", "1");
    assert_event(c, "ADDED", "b");
    disconnect(c);
    /* The state of a revision that is still to come is not there to be shown. */
    c = watch(CONFIG_MAPS "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
                          "&resourceVersionMatch=NotOlderThan&resourceVersion=1000000000");
    event = assert_event(c, "ERROR", "");
    assert_string_equal(json_field(event, "object/code"), "504");
    assert_string_equal(json_field(event, "object/reason"), "Timeout");
    assert_string_equal(json_field(event, "object/details/causes/0/message"), "Too large resource version");
    assert_end(c);
    disconnect(c);
    /* Not wanted: not sent. */
    c = watch(CONFIG_MAPS "?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan");
    api_wait_watches(1);
    make_config_map("c", "1");
    assert_event(c, "ADDED", "c");
    disconnect(c);
    c = watch(CONFIG_MAPS "?watch=1&allowWatchBookmarks=true");
    assert_event(c, "ADDED", "a");
    assert_event(c, "ADDED", "b");
    assert_event(c, "ADDED", "c");
    make_config_map("d", "1");
    assert_event(c, "ADDED", "d");
    disconnect(c);
}

static void bookmarks_come_every_minute_to_those_who_want_them(void **state)
{
    (void)state;
    api_hurry(true);
    struct connection *c = watch(from(revision(), "&allowWatchBookmarks=true&labelSelector=none&timeoutSeconds=360000"));
    api_wait_watches(1);
    make_config_map("a", "1");
    cleanup_free char *now = mem_string(revision());
    json_t *event;
    do { /* the first may tell of a time before the object */
        event = assert_event(c, "BOOKMARK", "");
        assert_null(json_field(event, "object/metadata/annotations"));
    } while (strcmp(json_field(event, "object/metadata/resourceVersion"), now) != 0);
    disconnect(c);
    api_hurry(false);
}

static void a_watch_ends_when_its_time_is_up(void **state)
{
    (void)state;
    struct connection *c = watch(from(revision(), "&timeoutSeconds=1"));
    assert_end(c);
    disconnect(c);
    api_hurry(true);
    c = watch(from(revision(), "&timeoutSeconds=3600"));
    assert_end(c);
    disconnect(c);
    api_hurry(false);
}

static void a_revision_that_is_forgotten_is_gone(void **state)
{
    (void)state;
    /* More events than the store remembers, by size. */
    cleanup_free char *value = mem_zero(1, 1000001);
    memset(value, 'v', 1000000);
    cleanup_free char *old = mem_string(revision());
    make_config_map("a", "1");
    for (int i = 0; i < 80; i++) {
        cleanup_free char *body = mem_printf("{\"data\":{\"key\":\"%s%d\"}}", value, i);
        assert_code(ask("PATCH", CONFIG_MAPS "/a", MERGE, body), 200);
    }
    struct connection *c = watch(from(old, ""));
    json_t *event = assert_event(c, "ERROR", "");
    assert_string_equal(json_field(event, "object/kind"), "Status");
    assert_string_equal(json_field(event, "object/code"), "410");
    assert_string_equal(json_field(event, "object/reason"), "Expired");
    assert_non_null(strstr(json_field(event, "object/message"), "too old resource version: "));
    assert_end(c);
    disconnect(c);
}

static void events_have_the_form_that_was_asked_for(void **state)
{
    (void)state;
    cleanup_free char *version = mem_string(revision());
    struct connection *tables = watch_with(from(version, ""), TABLE);
    struct connection *metadata = watch_with(from(version, ""), METADATA);
    make_config_map("a", "1");
    make_config_map("b", "1");
    json_t *event = assert_event(tables, "ADDED", "");
    assert_string_equal(json_field(event, "object/kind"), "Table");
    assert_string_equal(json_field(event, "object/columnDefinitions/0/name"), "Name");
    assert_string_equal(json_field(event, "object/rows/0/cells/0"), "a");
    event = assert_event(tables, "ADDED", "");
    assert_true(!json_field(event, "object/columnDefinitions/0") );
    assert_string_equal(json_field(event, "object/rows/0/cells/0"), "b");
    event = assert_event(metadata, "ADDED", "a");
    assert_string_equal(json_field(event, "object/kind"), "PartialObjectMetadata");
    assert_null(json_field(event, "object/data"));
    disconnect(tables);
    disconnect(metadata);
    tables = watch_with(CONFIG_MAPS "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
                                    "&resourceVersionMatch=NotOlderThan", TABLE);
    assert_event(tables, "ADDED", "");
    assert_event(tables, "ADDED", "");
    event = assert_event(tables, "BOOKMARK", "");
    assert_string_equal(json_field(event, "object/kind"), "Table");
    assert_true(atoi(json_field(event, "object/metadata/resourceVersion")) > 0);
    disconnect(tables);
}

static void wrong_options_are_refused_before_the_watch_begins(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int code;
    } bad[] = {{"resourceVersion=x", 422},
               {"resourceVersion=-1", 422},
               {"timeoutSeconds=soon", 400},
               {"labelSelector=%3D", 400},
               {"fieldSelector=spec.nope%3D1", 400},
               {"resourceVersionMatch=NotOlderThan", 422},
               {"sendInitialEvents=true", 422},
               {"sendInitialEvents=true&resourceVersionMatch=Exact", 422}};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char path[256];
        snprintf(path, sizeof(path), CONFIG_MAPS "?watch=1&%s", bad[i].query);
        struct answer *a = ask("GET", path, NULL, NULL);
        assert_code(a, bad[i].code);
        assert_field(a, "kind", "Status");
    }
    assert_field(ask("GET", CONFIG_MAPS "?watch=1&sendInitialEvents=true", NULL, NULL), "message",
                 "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires "
                 "setting resourceVersionMatch to NotOlderThan");
    assert_code(ask("GET", CONFIG_MAPS "/a?watch=1&fieldSelector=metadata.name%3Db", NULL, NULL), 400);
    assert_code(ask("GET", CONFIG_MAPS "?watch=1", "Accept: text/html\r\n", NULL), 406);
    assert_code(ask("GET", CONFIG_MAPS "?watch=false", NULL, NULL), 200);
}

static void every_one_of_many_watchers_sees_every_event(void **state)
{
    (void)state;
    static struct connection *crowd[CROWD];
    cleanup_free char *path = mem_string(from(revision(), ""));
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = watch(path);
    api_wait_watches(CROWD);
    char name[16];
    for (int k = 0; k < 10; k++) {
        snprintf(name, sizeof(name), "cm-%d", k);
        make_config_map(name, "1");
    }
    for (size_t i = 0; i < CROWD; i++) {
        for (int k = 0; k < 10; k++) {
            snprintf(name, sizeof(name), "cm-%d", k);
            assert_event(crowd[i], "ADDED", name);
        }
        if (i % 2) {
            disconnect(crowd[i]);
            crowd[i] = NULL;
        }
    }
    make_config_map("last", "1");
    for (size_t i = 0; i < CROWD; i += 2) {
        assert_event(crowd[i], "ADDED", "last");
        disconnect(crowd[i]);
    }
    api_wait_watches(0);
}

static void a_watcher_that_does_not_read_is_cut_off_and_no_other(void **state)
{
    (void)state;
    cleanup_free char *value = mem_zero(1, 500001);
    memset(value, 'v', 500000);
    cleanup_free char *path = mem_string(from(revision(), ""));
    struct connection *slow = watch(path), *quick = watch(path);
    api_wait_watches(2);
    make_config_map("a", "1");
    int sent = 0;
    assert_event(quick, "ADDED", "a");
    for (; api_watches() == 2; sent++) {
        assert_true(sent < 400); /* 200 MB: the queue of a stream is smaller */
        cleanup_free char *body = mem_printf("{\"data\":{\"key\":\"%s%d\"}}", value, sent);
        assert_code(ask("PATCH", CONFIG_MAPS "/a", MERGE, body), 200);
        assert_event(quick, "MODIFIED", "a");
    }
    int seen = 0;
    char piece[4096];
    while (read_some(slow, piece, sizeof(piece)) > 0)
        seen++;
    assert_true(seen > 0);
    assert_int_equal(read_some(slow, piece, sizeof(piece)), -1); /* not an end that looks complete */
    make_config_map("b", "1");
    assert_event(quick, "ADDED", "b");
    disconnect(slow);
    disconnect(quick);
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while the registry's timer for bookmarks does not run yet: then it runs hurried. */
        test(bookmarks_come_every_minute_to_those_who_want_them),
        test(events_tell_what_happens),
        test(a_watch_begins_where_it_is_told_to),
        test(one_object_is_watched_by_its_path_or_name),
        test(objects_come_and_go_as_they_match),
        test(initial_events_end_with_a_bookmark_that_says_so),
        test(a_watch_ends_when_its_time_is_up),
        test(a_revision_that_is_forgotten_is_gone),
        test(events_have_the_form_that_was_asked_for),
        test(wrong_options_are_refused_before_the_watch_begins),
        test(every_one_of_many_watchers_sees_every_event),
        test(a_watcher_that_does_not_read_is_cut_off_and_no_other),
    };
    return cmocka_run_group_tests(tests, api_start, api_stop);
}
