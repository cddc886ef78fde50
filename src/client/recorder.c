/* Events, counted up while they repeat. A repetition is written whole and without a revision: the server replaces what
 * it has, and makes what it has not, since it expired or was deleted, anew. */
#include "client/recorder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/list.h"
#include "base/map.h"
#include "base/text.h"
#include "base/timestamp.h"

#define MESSAGE_MAX 1024

/* One event that was written. The cache is a map for finding and a list for forgetting the oldest. */
struct written {
    struct list order;
    char *key;
    char *namespace;
    char *name;
    char *resource_version; /* of the object at the first time; or NULL */
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
    free(w->resource_version);
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

/* What is recorded, as the caller tells it. */
struct occurrence {
    const struct api_resource *resource;
    const struct object_meta *about;
    const char *field_path, *type, *reason, *message;
};

static struct event *make_event(struct recorder *r, struct arena *arena, const struct written *w,
                                const struct occurrence *o, int64_t now)
{
    struct event *e = arena_alloc(arena, sizeof(*e));
    e->metadata.namespace = arena_string(arena, w->namespace);
    e->metadata.name = arena_string(arena, w->name);
    e->involved_object.kind = o->resource->kind;
    e->involved_object.api_version = o->resource->api_version;
    e->involved_object.namespace = arena_string(arena, o->about->namespace);
    e->involved_object.name = arena_string(arena, o->about->name);
    e->involved_object.uid = arena_string(arena, o->about->uid);
    e->involved_object.resource_version = arena_string(arena, w->resource_version);
    e->involved_object.field_path = arena_string(arena, o->field_path);
    e->type = arena_string(arena, o->type);
    e->reason = arena_string(arena, o->reason);
    e->message = arena_string(arena, o->message);
    e->source.component = arena_string(arena, r->component);
    e->source.host = arena_string(arena, r->host);
    e->reporting_component = arena_string(arena, r->component);
    e->reporting_instance = arena_string(arena, r->host);
    e->first_timestamp = w->first;
    e->last_timestamp = now;
    e->count = w->count;
    return e;
}

static struct written *remember(struct recorder *r, const char *key, const struct object_meta *about, int64_t now)
{
    struct written *w = mem_zero(1, sizeof(*w));
    w->key = mem_string(key);
    w->namespace = mem_string(text_empty(about->namespace) ? "default" : about->namespace);
    /* As upstream names them: the object's name and the time in hexadecimal. */
    w->name = mem_printf("%s.%016llx", about->name, (unsigned long long)now * 1000 + env_random(r->client->env) % 1000);
    w->resource_version = about->resource_version ? mem_string(about->resource_version) : NULL;
    w->first = now;
    w->count = 1;
    map_set(&r->events, w->key, w);
    list_append(&r->order, &w->order);
    if (r->events.count > RECORDER_CACHE_MAX)
        forget(r, list_entry(r->order.next, struct written, order));
    return w;
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
    const char *uid = about->uid ? about->uid : about->name;
    if (!allowed(r, uid, now))
        return;
    struct occurrence occurrence = {resource, about, field_path, type, reason, message};
    cleanup_free char *key =
        mem_printf("%s|%s|%s|%s|%s", uid, field_path ? field_path : "", type, reason, message);
    struct written *w = map_get(&r->events, key);
    if (w) {
        list_remove(&w->order);
        list_append(&r->order, &w->order);
        w->count += w->count < INT32_MAX;
    } else {
        w = remember(r, key, about, now);
    }
    struct arena *arena = arena_new(2048);
    struct event *e = make_event(r, arena, w, &occurrence, now);
    if (w->count == 1)
        client_create(r->client, &api_resources[API_EVENTS], e->metadata.namespace, arena, e, NULL, NULL);
    else
        client_update(r->client, &api_resources[API_EVENTS], NULL, arena, e, NULL, NULL);
}
