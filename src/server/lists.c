/* Lists, and the bodies of those that are asked for again and again.
 *
 * The items of a whole list are serialized once, as one run of bytes, on the I/O thread that answers the first request
 * for it. The core thread keeps that run for a few seconds, together with the revision of the resource's last change:
 * until the next one, every other request for the same list is answered with the same bytes, and costs the core thread
 * a look into the cache. Only the head, which names the store's revision, is made anew.
 *
 *     core thread   list_cache_find                          list_cache_offer
 *     I/O thread            list_body_new, answer ... mailbox ...^
 *
 * Bodies are immutable and counted; the cache belongs to the core thread. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/timestamp.h"
#include "server/private.h"

/* Lists that are kept, and bytes of all of them. */
#define CACHE_LISTS_MAX 16
#define CACHE_BYTES_MAX (64 * 1024 * 1024)
/* A list that nobody has asked for so long is dropped. */
#define CACHE_KEEP (5 * SECOND)

struct list_body {
    atomic_uint references;
    size_t size;
    char items[]; /* with commas between them */
};

struct cached_list {
    struct list node; /* the one asked for last is the last */
    const struct api_resource *resource;
    char *namespace; /* "": all */
    uint64_t changed; /* the revision of the resource's last change then */
    int64_t asked;    /* when, monotonic */
    struct list_body *body;
};

struct list_cache {
    struct server *server;
    struct list lists;
    size_t count, bytes;
    struct env_timer *timer; /* runs while there are lists */
};

/* ---- Bodies; any thread ---- */

struct list_body *list_body_new(struct object *const *items, size_t count)
{
    size_t total = count ? count - 1 : 0, size;
    for (size_t i = 0; i < count; i++) {
        object_json(items[i], &size);
        total += size;
        if (total > LIST_BODY_MAX)
            return NULL;
    }
    struct list_body *body = mem_alloc(sizeof(*body) + total);
    char *out = body->items;
    for (size_t i = 0; i < count; i++) {
        if (i)
            *out++ = ',';
        const char *json = object_json(items[i], &size);
        memcpy(out, json, size);
        out += size;
    }
    atomic_init(&body->references, 1);
    body->size = total;
    return body;
}

struct list_body *list_body_ref(struct list_body *body)
{
    atomic_fetch_add_explicit(&body->references, 1, memory_order_relaxed);
    return body;
}

void list_body_unref(struct list_body *body)
{
    if (body && atomic_fetch_sub_explicit(&body->references, 1, memory_order_acq_rel) == 1)
        free(body);
}

static void release_body(void *owner)
{
    list_body_unref(owner);
}

struct http_bytes list_body_run(struct list_body *body)
{
    return (struct http_bytes){
        .data = body->items, .size = body->size, .release = release_body, .owner = list_body_ref(body)};
}

/* ---- The cache; core thread ---- */

static void drop(struct list_cache *cache, struct cached_list *list)
{
    list_remove(&list->node);
    assert(cache->lists.next != &list->node);
    cache->count--;
    cache->bytes -= list->body->size;
    list_body_unref(list->body);
    free(list->namespace);
    free(list);
}

static struct cached_list *oldest(const struct list_cache *cache)
{
    return list_entry(cache->lists.next, struct cached_list, node);
}

static void look(void *context)
{
    struct list_cache *cache = context;
    int64_t now = env_monotonic(cache->server->options.env);
    while (cache->count && oldest(cache)->asked + CACHE_KEEP <= now)
        drop(cache, oldest(cache));
    if (cache->count)
        env_timer_start(cache->timer, CACHE_KEEP);
}

struct list_cache *list_cache_new(struct server *server)
{
    struct list_cache *cache = mem_zero(1, sizeof(*cache));
    cache->server = server;
    cache->timer = env_timer_new(server->options.env, look, cache);
    list_init(&cache->lists);
    return cache;
}

void list_cache_free(struct list_cache *cache)
{
    while (cache->count)
        drop(cache, oldest(cache));
    env_timer_free(cache->timer);
    free(cache);
}

static struct cached_list *find(struct list_cache *cache, const struct route *route)
{
    struct cached_list *list;
    const char *namespace = route->namespace ? route->namespace : "";
    list_for_each(&cache->lists, list, node)
        if (list->resource == route->resource && strcmp(list->namespace, namespace) == 0)
            return list;
    return NULL;
}

static void touch(struct list_cache *cache, struct cached_list *list)
{
    list->asked = env_monotonic(cache->server->options.env);
    list_remove(&list->node);
    list_append(&cache->lists, &list->node);
}

struct list_body *list_cache_find(struct list_cache *cache, const struct route *route)
{
    struct cached_list *list = find(cache, route);
    if (!list)
        return NULL;
    if (list->changed != store_changed_at(cache->server->options.store, route->resource)) {
        drop(cache, list);
        return NULL;
    }
    touch(cache, list);
    return list_body_ref(list->body);
}

void list_cache_offer(struct list_cache *cache, const struct route *route, uint64_t changed, struct list_body *body)
{
    struct cached_list *list = find(cache, route);
    if ((list && list->changed >= changed) || changed != store_changed_at(cache->server->options.store, route->resource)) {
        list_body_unref(body);
        return;
    }
    if (list)
        drop(cache, list);
    while (cache->count && (cache->count == CACHE_LISTS_MAX || cache->bytes + body->size > CACHE_BYTES_MAX))
        drop(cache, oldest(cache));
    if (!cache->count)
        env_timer_start(cache->timer, CACHE_KEEP);
    list = mem_zero(1, sizeof(*list));
    list->resource = route->resource;
    list->namespace = mem_string(route->namespace ? route->namespace : "");
    list->changed = changed;
    list->body = body;
    list_init(&list->node);
    touch(cache, list);
    cache->count++;
    cache->bytes += body->size;
}
