/* The promises of informers: what they hold is what the server has, every change is told once and in order, and
 * a broken watch is made up for. The transport is the registry's, or one that the test drives by hand. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/status.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "client/informer.h"

#define MAPS (&api_resources[API_CONFIGMAPS])

static char told[4096];

static void tell(void *context, enum informer_change change, struct object *object, struct object *old)
{
    const char *now = string_map_get(&object->meta->labels, "v");
    const char *before = old ? string_map_get(&old->meta->labels, "v") : NULL;
    size_t n = strlen(told);
    snprintf(told + n, sizeof(told) - n, "%c%s=%s%s%s ", "AUD"[change], object->meta->name, now ? now : "",
             before ? "<" : "", before ? before : "");
}

static bool by_label(struct object *object, char *out, size_t size)
{
    const char *label = string_map_get(&object->meta->labels, "v");
    if (label)
        snprintf(out, size, "%s", label);
    return label != NULL;
}

static bool add_name(void *context, struct object *object)
{
    sprintf((char *)context + strlen(context), "%s ", object->meta->name);
    return true;
}

static bool stop_at_first(void *context, struct object *object)
{
    add_name(context, object);
    return false;
}

static void put(struct world *w, const char *namespace, const char *name, const char *label)
{
    char path[64], json[160];
    snprintf(path, sizeof(path), "configmaps/%s/%s", namespace, name);
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"v\":\"%s\"}}}", name, label);
    struct reply *r = get(w, path);
    snprintf(path, sizeof(path), "configmaps/%s", namespace);
    r = r->code == 404 ? create(w, path, json) : NULL;
    snprintf(path, sizeof(path), "configmaps/%s/%s", namespace, name);
    if (!r)
        r = patch(w, path, json);
    assert_true(r->code < 300);
}

static void an_informer_tells_every_change_and_holds_the_state(void **state)
{
    struct world *w = world_new();
    told[0] = 0;
    put(w, "default", "a", "1");
    put(w, "kube-system", "b", "1");
    struct informer *informer = informer_new(w->client, MAPS, NULL, NULL, NULL);
    informer_add_handler(informer, tell, NULL);
    informer_start(informer);
    informer_start(informer);
    assert_false(informer_synced(informer));
    settle(w);
    assert_true(informer_synced(informer));
    assert_string_equal(told, "Aa=1 Ab=1 ");
    assert_int_equal(informer_revision(informer), store_revision(w->store));
    put(w, "default", "a", "2");
    put(w, "default", "c", "2");
    assert_code(delete_(w, "configmaps/default/a", NULL), 200);
    assert_string_equal(told, "Aa=1 Ab=1 Ua=2<1 Ac=2 Da=2<2 ");
    assert_int_equal(informer_count(informer), 2);
    assert_null(informer_get(informer, "default", "a"));
    /* The store's own snapshot, not a copy. */
    assert_ptr_equal(informer_get(informer, "default", "c"), store_get(w->store, MAPS, "default", "c"));
    informer_free(informer);
    world_free(w);
}

static void an_index_finds_what_has_its_key(void **state)
{
    struct world *w = world_new();
    struct informer *informer = informer_new(w->client, MAPS, NULL, NULL, NULL);
    int index = informer_add_index(informer, by_label);
    assert_int_equal(informer_add_index(informer, by_label), index);
    informer_start(informer);
    settle(w);
    put(w, "default", "c", "1");
    put(w, "default", "a", "1");
    put(w, "kube-system", "a", "2");
    put(w, "default", "b", "2");
    char text[128] = "";
    informer_each_indexed(informer, index, "1", add_name, text);
    assert_string_equal(text, "a c ");
    put(w, "default", "a", "2");
    text[0] = 0;
    informer_each_indexed(informer, index, "1", add_name, text);
    assert_string_equal(text, "c ");
    assert_code(delete_(w, "configmaps/default/c", NULL), 200);
    text[0] = 0;
    informer_each_indexed(informer, index, "1", add_name, text);
    informer_each_indexed(informer, index, "none", add_name, text);
    assert_string_equal(text, "");
    informer_each_indexed(informer, index, "2", add_name, text);
    assert_string_equal(text, "a b a ");
    text[0] = 0;
    informer_each(informer, "default", add_name, text);
    assert_string_equal(text, "a b ");
    text[0] = 0;
    informer_each(informer, NULL, stop_at_first, text);
    assert_string_equal(text, "a ");
    informer_free(informer);
    world_free(w);
}

static void an_informer_with_a_selector_holds_what_matches(void **state)
{
    struct world *w = world_new();
    told[0] = 0;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct selector *selector;
    assert_int_equal(selector_parse(arena, "v=1", &selector, NULL), 0);
    struct informer *informer = informer_new(w->client, MAPS, "default", selector, NULL);
    informer_add_handler(informer, tell, NULL);
    informer_start(informer);
    settle(w);
    put(w, "default", "a", "2");
    put(w, "kube-system", "a", "1");
    put(w, "default", "a", "1");
    put(w, "default", "a", "3");
    assert_string_equal(told, "Aa=1 Da=3<1 ");
    assert_int_equal(informer_count(informer), 0);
    informer_free(informer);
    world_free(w);
}

static void count_up(void *context)
{
    ++*(int *)context;
}

static void a_set_is_ready_when_all_of_it_is(void **state)
{
    struct world *w = world_new();
    int ready = 0, again = 0, empty = 0;
    struct informer_set *set = informer_set_new(w->client);
    informer_set_start(set, count_up, &empty);
    assert_int_equal(empty, 0);
    settle(w);
    assert_int_equal(empty, 1);
    struct informer *maps = informer_set_get(set, MAPS);
    struct informer *services = informer_set_get(set, &api_resources[API_SERVICES]);
    assert_ptr_equal(informer_set_get(set, MAPS), maps);
    informer_set_start(set, count_up, &ready);
    settle(w);
    assert_int_equal(ready, 1);
    assert_true(informer_synced(maps) && informer_synced(services));
    assert_int_equal(informer_count(services), 1);
    informer_set_get(set, &api_resources[API_PODS]);
    informer_set_start(set, count_up, &again);
    settle(w);
    assert_int_equal(again, 1);
    informer_set_free(set);
    world_free(w);
}

/* A transport driven by hand, on a clock driven by hand. */

struct hand_watch {
    struct client_watch watch;
    struct client_watch_options options;
    client_event_callback callback;
    void *context;
};

struct hand_timer {
    struct env_timer timer;
    env_callback callback;
    void *context;
    int64_t delay; /* -1: not running */
};

static struct hand_watch *open_watch;
static struct hand_timer *timer;
static int watches_made;

static struct client_watch *hand_watch(struct client *client, const struct client_watch_options *options,
                                       client_event_callback callback, void *context)
{
    struct hand_watch *watch = mem_zero(1, sizeof(*watch));
    *watch = (struct hand_watch){{client}, *options, callback, context};
    assert_null(open_watch);
    open_watch = watch;
    watches_made++;
    return &watch->watch;
}

static void hand_watch_free(struct client_watch *watch)
{
    open_watch = NULL;
    free(watch);
}

static struct env_timer *hand_timer_new(struct env *env, env_callback callback, void *context)
{
    timer = mem_zero(1, sizeof(*timer));
    *timer = (struct hand_timer){{env}, callback, context, -1};
    return &timer->timer;
}

static void hand_timer_start(struct env_timer *base, int64_t delay)
{
    ((struct hand_timer *)base)->delay = delay;
}

static void hand_timer_free(struct env_timer *base)
{
    free(base);
}

static uint64_t no_random(struct env *env)
{
    return 0;
}

static const struct client_operations hand_operations = {.watch = hand_watch, .watch_free = hand_watch_free};
static const struct env_operations hand_env = {
    .random = no_random, .timer_new = hand_timer_new, .timer_start = hand_timer_start, .timer_free = hand_timer_free};

static void push(enum client_event_kind kind, const char *name, const char *label, uint64_t revision)
{
    struct arena *arena = arena_new(0);
    struct config_map *map = arena_alloc(arena, sizeof(*map));
    map->metadata.namespace = "n";
    map->metadata.name = arena_string(arena, name);
    map->metadata.resource_version = arena_printf(arena, "%llu", (unsigned long long)revision);
    map->metadata.labels.items = arena_alloc(arena, sizeof(struct string_pair));
    map->metadata.labels.items[0] = (struct string_pair){"v", arena_string(arena, label)};
    map->metadata.labels.count = 1;
    cleanup_object struct object *object = object_new(MAPS, arena, map);
    open_watch->callback(open_watch->context,
                         &(struct client_event){.kind = kind, .object = object, .revision = revision});
}

static void push_end(uint64_t revision)
{
    open_watch->callback(open_watch->context, &(struct client_event){.kind = CLIENT_BOOKMARK,
                                                                     .revision = revision,
                                                                     .initial_events_end = true});
}

static void break_watch(int code)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct status *status = code ? api_status(arena, code, "Expired", "broken") : NULL;
    open_watch->callback(open_watch->context, &(struct client_event){.kind = CLIENT_ERROR, .status = status});
}

static void fire(void)
{
    timer->delay = -1;
    timer->callback(timer->context);
}

static struct informer *informer_by_hand(void)
{
    static struct env env = {&hand_env};
    static struct client client = {&hand_operations, &env};
    told[0] = 0;
    watches_made = 0;
    struct informer *informer = informer_new(&client, MAPS, NULL, NULL, NULL);
    informer_add_handler(informer, tell, NULL);
    informer_start(informer);
    assert_true(open_watch->options.send_initial_events);
    return informer;
}

static void a_revision_that_is_gone_is_made_up_for(void **state)
{
    struct informer *informer = informer_by_hand();
    push(CLIENT_ADDED, "a", "1", 5);
    push(CLIENT_ADDED, "b", "1", 6);
    push(CLIENT_ADDED, "c", "1", 7);
    push_end(8);
    assert_int_equal(informer_revision(informer), 8);
    break_watch(410);
    assert_null(open_watch);
    fire();
    assert_true(open_watch->options.send_initial_events);
    /* a is as it was, b changed, c is gone, d is new. */
    push(CLIENT_ADDED, "a", "1", 5);
    push(CLIENT_ADDED, "b", "2", 20);
    push(CLIENT_ADDED, "d", "1", 21);
    assert_non_null(informer_get(informer, "n", "c"));
    push_end(25);
    assert_string_equal(told, "Aa=1 Ab=1 Ac=1 Ub=2<1 Ad=1 Dc=1<1 ");
    assert_int_equal(informer_revision(informer), 25);
    assert_int_equal(informer_count(informer), 3);
    informer_free(informer);
}

static void a_connection_that_ends_goes_on_where_it_was(void **state)
{
    struct informer *informer = informer_by_hand();
    push(CLIENT_ADDED, "a", "1", 5);
    push_end(8);
    push(CLIENT_MODIFIED, "a", "2", 12);
    break_watch(0);
    fire();
    assert_false(open_watch->options.send_initial_events);
    assert_int_equal(open_watch->options.from, 12);
    push(CLIENT_DELETED, "a", "2", 13);
    assert_string_equal(told, "Aa=1 Ua=2<1 Da=2<2 ");
    informer_free(informer);
}

static void a_list_that_breaks_off_starts_over(void **state)
{
    struct informer *informer = informer_by_hand();
    push(CLIENT_ADDED, "b", "1", 50);
    break_watch(0);
    fire();
    assert_true(open_watch->options.send_initial_events);
    assert_false(informer_synced(informer));
    push(CLIENT_ADDED, "a", "1", 51);
    push_end(52);
    assert_string_equal(told, "Ab=1 Aa=1 Db=1<1 ");
    informer_free(informer);
}

static void retries_back_off_and_recover(void **state)
{
    static const int64_t delays[] = {800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    struct informer *informer = informer_by_hand();
    for (size_t i = 0; i < ARRAY_COUNT(delays); i++) {
        break_watch(500);
        assert_int_equal(timer->delay, delays[i] * MILLISECOND);
        fire();
    }
    assert_int_equal(watches_made, 1 + (int)ARRAY_COUNT(delays));
    push_end(3);
    break_watch(0);
    assert_int_equal(timer->delay, 800 * MILLISECOND);
    informer_free(informer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_informer_tells_every_change_and_holds_the_state),
        cmocka_unit_test(an_index_finds_what_has_its_key),
        cmocka_unit_test(an_informer_with_a_selector_holds_what_matches),
        cmocka_unit_test(a_set_is_ready_when_all_of_it_is),
        cmocka_unit_test(a_revision_that_is_gone_is_made_up_for),
        cmocka_unit_test(a_connection_that_ends_goes_on_where_it_was),
        cmocka_unit_test(a_list_that_breaks_off_starts_over),
        cmocka_unit_test(retries_back_off_and_recover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
