/* Events, counted up while they repeat. */
#include "client/recorder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timestamp.h"

#define MESSAGE_MAX 1024

/* One event that was written. The cache is a map for finding and a list for forgetting the oldest. */
struct written {
    struct list order;
    char *key;
    char *namespace;
    char *name;
    int64_t first;
    int32_t count;
};

/* Tokens left for one object. */
struct bucket {
    double tokens;
    int64_t filled;
};

struct recorder {
    struct client *client;
    char *component;
    char *host;
    struct map events;  /* key -> struct written */
    struct map buckets; /* uid of the object -> struct bucket */
    struct list order;
};

struct recorder *recorder_new(struct client *client, const char *component, const char *host)
{
    struct recorder *r = mem_zero(1, sizeof(*r));
    r->client = client;
    r->component = mem_string(component);
    r->host = host ? mem_string(host) : NULL;
    list_init(&r->order);
    return r;
}

static void forget(struct recorder *r, struct written *w)
{
    map_remove(&r->events, w->key);
    list_remove(&w->order);
    free(w->key);
    free(w->namespace);
    free(w->name);
    free(w);
}

static void forget_buckets(struct recorder *r)
{
    for (struct map_slot *s = NULL; (s = map_next(&r->buckets, s));)
        free(s->value);
    map_free(&r->buckets);
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    while (!list_empty(&r->order))
        forget(r, list_entry(r->order.next, struct written, order));
    map_free(&r->events);
    forget_buckets(r);
    free(r->component);
    free(r->host);
    free(r);
}

/* Takes one token of the object's bucket. */
static bool allowed(struct recorder *r, const char *uid, int64_t now)
{
    struct bucket *b = map_get(&r->buckets, uid);
    if (!b) {
        if (r->buckets.count >= RECORDER_CACHE_MAX)
            forget_buckets(r);
        b = mem_zero(1, sizeof(*b));
        b->tokens = RECORDER_BURST;
        b->filled = now;
        map_set(&r->buckets, uid, b);
    }
    b->tokens += (double)(now - b->filled) / RECORDER_REFILL;
    b->filled = now;
    if (b->tokens > RECORDER_BURST)
        b->tokens = RECORDER_BURST;
    if (b->tokens < 1)
        return false;
    b->tokens--;
    return true;
}

static void count_up(struct recorder *r, struct written *w, int64_t now)
{
    char patch[160], last[TIME_TEXT_MAX];
    time_format(now, last);
    snprintf(patch, sizeof(patch), "{\"count\":%d,\"lastTimestamp\":\"%s\"}", ++w->count, last);
    client_patch(r->client, &api_resources[API_EVENTS], NULL, w->namespace, w->name, PATCH_MERGE, patch, NULL, NULL);
}

void recorder_event(struct recorder *r, const struct api_resource *resource, const struct object_meta *about,
                    const char *field_path, const char *type, const char *reason, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    int64_t now = env_now(r->client->env);
    const char *namespace = about->namespace && *about->namespace ? about->namespace : "default";
    const char *uid = about->uid ? about->uid : about->name;
    if (!allowed(r, uid, now))
        return;
    cleanup_free char *key =
        mem_printf("%s|%s|%s|%s|%s", uid, field_path ? field_path : "", type, reason, message);
    struct written *w = map_get(&r->events, key);
    if (w) {
        list_remove(&w->order);
        list_append(&r->order, &w->order);
        count_up(r, w, now);
        return;
    }

    struct arena *arena = arena_new(2048);
    struct event *e = arena_alloc(arena, sizeof(*e));
    e->metadata.namespace = arena_string(arena, namespace);
    /* As upstream names them: the object's name and the time in hexadecimal. */
    e->metadata.name = arena_printf(arena, "%s.%016llx", about->name,
                                    (unsigned long long)now * 1000 + env_random(r->client->env) % 1000);
    e->involved_object.kind = resource->kind;
    e->involved_object.api_version = resource->api_version;
    e->involved_object.namespace = arena_string(arena, about->namespace);
    e->involved_object.name = arena_string(arena, about->name);
    e->involved_object.uid = arena_string(arena, about->uid);
    e->involved_object.resource_version = arena_string(arena, about->resource_version);
    e->involved_object.field_path = arena_string(arena, field_path);
    e->type = arena_string(arena, type);
    e->reason = arena_string(arena, reason);
    e->message = arena_string(arena, message);
    e->source.component = arena_string(arena, r->component);
    e->source.host = arena_string(arena, r->host);
    e->reporting_component = arena_string(arena, r->component);
    e->reporting_instance = arena_string(arena, r->host);
    e->first_timestamp = e->last_timestamp = now;
    e->count = 1;

    w = mem_zero(1, sizeof(*w));
    w->key = mem_string(key);
    w->namespace = mem_string(namespace);
    w->name = mem_string(e->metadata.name);
    w->first = now;
    w->count = 1;
    map_set(&r->events, w->key, w);
    list_append(&r->order, &w->order);
    if (r->events.count > RECORDER_CACHE_MAX)
        forget(r, list_entry(r->order.next, struct written, order));
    client_create(r->client, &api_resources[API_EVENTS], namespace, arena, e, NULL, NULL);
}
