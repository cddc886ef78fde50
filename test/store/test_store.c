/* The promises of store/: comparing writes, events and their history, lists of the past, group commit, and what
 * a failed batch leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/cleanup.h"
#include "store/engine.h"
#include "store/store.h"

#define MAPS (&api_resources[API_CONFIGMAPS])

/* An engine that finishes a batch when the test says so, and how it says so. */
struct hand_engine {
    struct store_engine engine;
    engine_done done;
    void *context;
    size_t batches, writes;
};

static int hand_load(struct store_engine *engine, engine_visit visit, void *context, uint64_t *revision,
                     struct error *err)
{
    *revision = 0;
    return 0;
}

static void hand_commit(struct store_engine *base, const struct engine_write *writes, size_t count, engine_done done,
                        void *context)
{
    struct hand_engine *engine = (struct hand_engine *)base;
    assert_null(engine->done);
    engine->done = done;
    engine->context = context;
    engine->batches++;
    engine->writes = count;
}

static void finish(struct hand_engine *engine, const struct error *err)
{
    engine_done done = steal_pointer(engine->done);
    assert_non_null(done);
    done(engine->context, err);
}

static void hand_wait(struct store_engine *base)
{
    struct hand_engine *engine = (struct hand_engine *)base;
    if (engine->done)
        finish(engine, NULL);
}

static void hand_free(struct store_engine *base)
{
}

static const struct store_engine_operations hand_operations = {hand_load, hand_commit, hand_wait, hand_free};

struct world {
    uv_loop_t loop;
    struct env *env;
    struct store *store;
    struct hand_engine hand;
};

static struct world *world_new(bool by_hand)
{
    struct world *w = mem_zero(1, sizeof(*w));
    uv_loop_init(&w->loop);
    w->env = env_uv_new(&w->loop);
    w->hand.engine.operations = &hand_operations;
    w->store = store_new(w->env, by_hand ? &w->hand.engine : engine_memory_new(w->env));
    assert_int_equal(store_open(w->store, NULL), 0);
    return w;
}

static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void world_free(struct world *w)
{
    store_free(w->store);
    turn(w);
    env_uv_free(w->env);
    turn(w);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
}

struct answer {
    int count;
    enum store_outcome outcome;
    uint64_t revision;
    int error;
};

static void answered(void *context, enum store_outcome outcome, struct object *object, const struct error *err)
{
    struct answer *answer = context;
    answer->count++;
    answer->outcome = outcome;
    answer->revision = object ? object->revision : 0;
    answer->error = err ? err->code : 0;
}

static enum store_outcome put(struct world *w, const char *namespace, const char *name, const char *label,
                              uint64_t expected, struct answer *answer)
{
    struct arena *arena = arena_new(0);
    struct config_map *map = arena_alloc(arena, sizeof(*map));
    map->kind = "ConfigMap";
    map->api_version = "v1";
    map->metadata.namespace = arena_string(arena, namespace);
    map->metadata.name = arena_string(arena, name);
    map->metadata.labels.items = arena_alloc(arena, sizeof(struct string_pair));
    map->metadata.labels.items[0] = (struct string_pair){"v", arena_string(arena, label)};
    map->metadata.labels.count = 1;
    return store_put(w->store, MAPS, arena, map, expected, answer ? answered : NULL, answer);
}

static uint64_t put_and_wait(struct world *w, const char *namespace, const char *name, const char *label,
                             uint64_t expected)
{
    struct answer answer = {0};
    assert_int_equal(put(w, namespace, name, label, expected, &answer), STORE_OK);
    turn(w);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.outcome, STORE_OK);
    return answer.revision;
}

static void delete_and_wait(struct world *w, const char *namespace, const char *name)
{
    struct object *head = store_head(w->store, MAPS, namespace, name);
    assert_int_equal(store_delete(w->store, MAPS, namespace, name, head->revision, NULL, NULL), STORE_OK);
    turn(w);
}

static const char *label_of(const struct object *object)
{
    return object ? string_map_get(&object->meta->labels, "v") : NULL;
}

static void a_write_that_is_based_on_another_state_is_refused(void **state)
{
    struct world *w = world_new(false);
    assert_int_equal(put(w, "n", "a", "1", 7, NULL), STORE_NOT_FOUND);
    uint64_t first = put_and_wait(w, "n", "a", "1", 0);
    assert_int_equal(put(w, "n", "a", "2", 0, NULL), STORE_EXISTS);
    assert_int_equal(put(w, "n", "a", "2", first + 1, NULL), STORE_CONFLICT);
    uint64_t second = put_and_wait(w, "n", "a", "2", first);
    assert_int_equal(second, first + 1);
    assert_int_equal(put(w, "n", "a", "3", first, NULL), STORE_CONFLICT);
    assert_int_equal(store_delete(w->store, MAPS, "n", "a", first, NULL, NULL), STORE_CONFLICT);
    assert_int_equal(store_delete(w->store, MAPS, "n", "b", first, NULL, NULL), STORE_NOT_FOUND);
    assert_string_equal(label_of(store_get(w->store, MAPS, "n", "a")), "2");
    assert_string_equal(store_get(w->store, MAPS, "n", "a")->meta->resource_version, "3");
    world_free(w);
}

static void readers_see_a_write_when_it_is_durable_and_writers_at_once(void **state)
{
    struct world *w = world_new(true);
    struct answer answer = {0};
    put(w, "n", "a", "1", 0, &answer);
    assert_non_null(store_head(w->store, MAPS, "n", "a"));
    assert_int_equal(put(w, "n", "a", "2", 0, NULL), STORE_EXISTS);
    turn(w);
    assert_null(store_get(w->store, MAPS, "n", "a"));
    assert_int_equal(answer.count, 0);
    assert_int_equal(store_count(w->store, MAPS), 0);
    finish(&w->hand, NULL);
    assert_int_equal(answer.count, 1);
    assert_non_null(store_get(w->store, MAPS, "n", "a"));
    assert_int_equal(store_count(w->store, MAPS), 1);
    world_free(w);
}

static void writes_that_come_during_a_batch_share_the_next_one(void **state)
{
    struct world *w = world_new(true);
    char name[16];
    put(w, "n", "first", "1", 0, NULL);
    turn(w);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        put(w, "n", name, "1", 0, NULL);
        turn(w);
    }
    assert_int_equal(w->hand.batches, 1);
    finish(&w->hand, NULL);
    assert_int_equal(w->hand.batches, 2);
    assert_int_equal(w->hand.writes, 100);
    finish(&w->hand, NULL);
    struct store_figures figures;
    store_figures(w->store, &figures);
    assert_int_equal(figures.batches, 2);
    assert_int_equal(figures.writes, 101);
    assert_int_equal(figures.objects, 101);
    assert_int_equal(figures.pending, 0);
    world_free(w);
}

static void a_failed_batch_fails_what_was_based_on_it_and_nothing_else(void **state)
{
    struct world *w = world_new(true);
    struct answer keep = {0}, base = {0}, later = {0}, fresh = {0}, other = {0}, gone = {0};
    put(w, "n", "a", "old", 0, &keep);
    turn(w);
    finish(&w->hand, NULL);
    put(w, "n", "a", "new", keep.revision, &base);
    put(w, "n", "b", "new", 0, &fresh);
    turn(w);
    /* These wait for the batch that is going to fail. */
    uint64_t head = store_head(w->store, MAPS, "n", "a")->revision;
    put(w, "n", "a", "newer", head, &later);
    assert_int_equal(store_delete(w->store, MAPS, "n", "b", store_head(w->store, MAPS, "n", "b")->revision, answered,
                                  &gone),
                     STORE_OK);
    put(w, "n", "c", "new", 0, &other);
    finish(&w->hand, &(struct error){ENOSPC, "disk full"});
    assert_int_equal(base.outcome, STORE_FAILED);
    assert_int_equal(base.error, ENOSPC);
    assert_int_equal(fresh.outcome, STORE_FAILED);
    assert_int_equal(later.outcome, STORE_FAILED);
    assert_int_equal(gone.outcome, STORE_FAILED);
    assert_int_equal(other.count, 0);
    assert_string_equal(label_of(store_head(w->store, MAPS, "n", "a")), "old");
    assert_string_equal(label_of(store_get(w->store, MAPS, "n", "a")), "old");
    assert_null(store_head(w->store, MAPS, "n", "b"));
    assert_int_equal(w->hand.writes, 1);
    finish(&w->hand, NULL);
    assert_int_equal(other.outcome, STORE_OK);
    assert_true(other.revision > head);
    assert_int_equal(put(w, "n", "b", "again", 0, NULL), STORE_OK);
    assert_int_equal(put(w, "n", "a", "again", keep.revision, NULL), STORE_OK);
    world_free(w);
}

struct seen {
    char text[4096];
    struct store_watch *stop; /* freed by the callback */
};

static void saw(void *context, const struct store_event *event)
{
    struct seen *seen = context;
    size_t n = strlen(seen->text);
    snprintf(seen->text + n, sizeof(seen->text) - n, "%c%s/%s=%s%s%s ", "AMD"[event->kind],
             event->object->meta->namespace, event->object->meta->name, label_of(event->object),
             event->previous ? "<" : "", event->previous ? label_of(event->previous) : "");
    store_watch_free(steal_pointer(seen->stop));
}

static void a_watch_gets_the_past_and_the_present_in_order(void **state)
{
    struct world *w = world_new(false);
    uint64_t first = put_and_wait(w, "n", "a", "1", 0);
    uint64_t second = put_and_wait(w, "n", "a", "2", first);
    put_and_wait(w, "m", "b", "1", 0);
    struct seen all = {0}, some = {0}, now = {0}, future = {0};
    struct store_watch *watches[] = {
        store_watch_new(w->store, MAPS, NULL, 0, saw, &all, NULL),
        store_watch_new(w->store, MAPS, "n", first, saw, &some, NULL),
        store_watch_new(w->store, MAPS, NULL, store_revision(w->store), saw, &now, NULL),
        store_watch_new(w->store, MAPS, NULL, store_revision(w->store) + 1, saw, &future, NULL),
    };
    assert_string_equal(all.text, ""); /* nothing comes inside the call */
    put(w, "n", "c", "1", 0, NULL);
    turn(w);
    (void)second;
    delete_and_wait(w, "n", "a");
    assert_string_equal(all.text, "An/a=1 Mn/a=2<1 Am/b=1 An/c=1 Dn/a=2<2 ");
    assert_string_equal(some.text, "Mn/a=2<1 An/c=1 Dn/a=2<2 ");
    assert_string_equal(now.text, "An/c=1 Dn/a=2<2 ");
    assert_string_equal(future.text, "Dn/a=2<2 ");
    for (size_t i = 0; i < ARRAY_COUNT(watches); i++)
        store_watch_free(watches[i]);
    put_and_wait(w, "n", "d", "1", 0);
    assert_string_equal(future.text, "Dn/a=2<2 ");
    world_free(w);
}

static void a_watch_may_end_itself_and_others_while_it_is_called(void **state)
{
    struct world *w = world_new(false);
    struct seen one = {0}, two = {0}, late = {0};
    one.stop = store_watch_new(w->store, MAPS, NULL, 1, saw, &one, NULL);
    struct store_watch *second = store_watch_new(w->store, MAPS, NULL, 1, saw, &two, NULL);
    put(w, "n", "a", "1", 0, NULL);
    put(w, "n", "b", "1", 0, NULL);
    turn(w);
    assert_string_equal(one.text, "An/a=1 ");
    assert_string_equal(two.text, "An/a=1 An/b=1 ");
    two.stop = store_watch_new(w->store, MAPS, NULL, 1, saw, &late, NULL);
    put(w, "n", "c", "1", 0, NULL);
    turn(w);
    assert_string_equal(late.text, "An/a=1 An/b=1 ");
    store_watch_free(second);
    struct store_figures figures;
    store_figures(w->store, &figures);
    assert_int_equal(figures.watches, 0);
    world_free(w);
}

static void a_watch_from_before_the_history_is_refused_with_upstreams_words(void **state)
{
    struct world *w = world_new(false);
    uint64_t revision = put_and_wait(w, "n", "a", "x", 0);
    struct seen lagging = {0};
    for (int i = 0; i < STORE_HISTORY_MAX + 10; i++) {
        assert_int_equal(put(w, "n", "a", "x", store_head(w->store, MAPS, "n", "a")->revision, NULL), STORE_OK);
        if (i % 1000 == 0)
            turn(w);
    }
    turn(w);
    struct error err = {0};
    assert_null(store_watch_new(w->store, MAPS, NULL, revision, saw, &lagging, &err));
    assert_int_equal(err.code, ESTALE);
    char text[80];
    snprintf(text, sizeof(text), "too old resource version: %llu (", (unsigned long long)revision);
    assert_memory_equal(err.text, text, strlen(text));
    unsigned long long oldest = strtoull(err.text + strlen(text), NULL, 10);
    struct store_watch *watch = store_watch_new(w->store, MAPS, NULL, oldest, saw, &lagging, &err);
    assert_non_null(watch);
    store_watch_free(watch);
    world_free(w);
}

static bool add_name(void *context, struct object *object)
{
    char *text = context;
    sprintf(text + strlen(text), "%s/%s=%s ", object->meta->namespace, object->meta->name, label_of(object));
    return true;
}

static void lists_are_ordered_as_etcds_keys_and_start_anywhere(void **state)
{
    struct world *w = world_new(false);
    static const char *const keys[][2] = {{"b", "x"}, {"a", "z"}, {"a-b", "m"}, {"a", "c"}, {"a", "c.d"}};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
        put_and_wait(w, keys[i][0], keys[i][1], "1", 0);
    char text[256] = "";
    store_list(w->store, MAPS, NULL, NULL, NULL, add_name, text);
    assert_string_equal(text, "a-b/m=1 a/c=1 a/c.d=1 a/z=1 b/x=1 ");
    text[0] = 0;
    store_list(w->store, MAPS, "a", "a", "c", add_name, text);
    assert_string_equal(text, "a/c.d=1 a/z=1 ");
    text[0] = 0;
    store_list(w->store, MAPS, NULL, "a", "d", add_name, text);
    assert_string_equal(text, "a/z=1 b/x=1 ");
    text[0] = 0;
    store_list(w->store, MAPS, "none", NULL, NULL, add_name, text);
    assert_string_equal(text, "");
    world_free(w);
}

static void a_list_of_the_past_is_what_was_there_then(void **state)
{
    struct world *w = world_new(false);
    put_and_wait(w, "n", "a", "1", 0);
    uint64_t b = put_and_wait(w, "n", "b", "1", 0);
    uint64_t then = put_and_wait(w, "n", "d", "1", 0);
    put_and_wait(w, "n", "c", "1", 0);
    uint64_t changed = put_and_wait(w, "n", "b", "2", b);
    put_and_wait(w, "n", "b", "3", changed);
    delete_and_wait(w, "n", "d");
    delete_and_wait(w, "n", "a");
    put_and_wait(w, "n", "a", "again", 0);
    char text[256] = "";
    assert_int_equal(store_list_at(w->store, MAPS, NULL, NULL, NULL, then, add_name, text, NULL), 0);
    assert_string_equal(text, "n/a=1 n/b=1 n/d=1 ");
    text[0] = 0;
    assert_int_equal(store_list_at(w->store, MAPS, "n", "n", "b", then, add_name, text, NULL), 0);
    assert_string_equal(text, "n/d=1 ");
    text[0] = 0;
    store_list(w->store, MAPS, NULL, NULL, NULL, add_name, text);
    assert_string_equal(text, "n/a=again n/b=3 n/c=1 ");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_is_based_on_another_state_is_refused),
        cmocka_unit_test(readers_see_a_write_when_it_is_durable_and_writers_at_once),
        cmocka_unit_test(writes_that_come_during_a_batch_share_the_next_one),
        cmocka_unit_test(a_failed_batch_fails_what_was_based_on_it_and_nothing_else),
        cmocka_unit_test(a_watch_gets_the_past_and_the_present_in_order),
        cmocka_unit_test(a_watch_may_end_itself_and_others_while_it_is_called),
        cmocka_unit_test(a_watch_from_before_the_history_is_refused_with_upstreams_words),
        cmocka_unit_test(lists_are_ordered_as_etcds_keys_and_start_anywhere),
        cmocka_unit_test(a_list_of_the_past_is_what_was_there_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
