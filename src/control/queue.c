/* Work queues: a map of keys, a list of those that are ready. */
#include "control/queue.h"

#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vector.h"

/* Resources that one key may have written to since its last run. */
#define SEEN_MAX 8
/* When a write is not shown by the informer for so long, look again all the same. */
#define BLOCKED_LOOK (1 * INT64_C(1000000))

struct key {
    struct list ready;
    struct queue *queue;
    char *text; /* "namespace/name" */
    char *namespace;
    const char *name;
    bool queued;  /* in the ready list */
    bool running; /* a work item is under way */
    bool again;   /* added while running */
    int failures;
    struct env_timer *timer; /* a later add; NULL: none */
    int64_t timer_at;
    struct {
        const struct api_resource *resource;
        uint64_t revision;
    } written[SEEN_MAX];
    size_t written_count;
};

struct work {
    struct list running; /* in the queue's list of works under way */
    struct key *key;
    struct arena *arena;
    VECTOR(struct object *) held;
    size_t pending;
    bool failed;
    bool forgiven;    /* by the `done` that is running */
    bool reconciling; /* inside the reconcile function */
};

struct queue {
    struct client *client;
    struct informer_set *informers;
    queue_reconcile reconcile;
    void *context;
    struct map keys;
    struct list ready;
    struct list works; /* struct work.running */
    bool open; /* the informers are synced: before, half an observation would be acted on */
    bool turn_arranged;
    size_t running;
};

static void arrange_turn(struct queue *q);

static void open_queue(void *context)
{
    struct queue *q = context;
    q->open = true;
    if (!list_empty(&q->ready))
        arrange_turn(q);
}

struct queue *queue_new(struct client *client, struct informer_set *informers, queue_reconcile reconcile, void *context)
{
    struct queue *q = mem_zero(1, sizeof(*q));
    q->client = client;
    q->informers = informers;
    q->reconcile = reconcile;
    q->context = context;
    list_init(&q->ready);
    list_init(&q->works);
    informer_set_when_synced(informers, open_queue, q);
    return q;
}

static void key_free(struct key *k)
{
    env_timer_free(k->timer);
    list_remove(&k->ready);
    map_remove(&k->queue->keys, k->text);
    free(k->text);
    free(k->namespace);
    free(k);
}

static void work_free(struct work *w)
{
    list_remove(&w->running);
    for (size_t i = 0; i < w->held.count; i++)
        object_unref(w->held.items[i]);
    vector_free(&w->held);
    arena_free(w->arena);
    free(w);
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    informer_set_forget(q->informers, q);
    while (!list_empty(&q->works))
        work_free(list_entry(q->works.next, struct work, running));
    for (struct map_slot *s; (s = map_next(&q->keys, NULL));)
        key_free(s->value);
    map_free(&q->keys);
    if (q->turn_arranged)
        q->client = NULL; /* the turn releases it */
    else
        free(q);
}

size_t queue_depth(const struct queue *q)
{
    return q->running + queue_waiting(q);
}

size_t queue_waiting(const struct queue *q)
{
    size_t n = 0;
    for (const struct list *l = q->ready.next; l != &q->ready; l = l->next)
        n++;
    return n;
}

static struct key *find_key(struct queue *q, const char *namespace, const char *name)
{
    cleanup_free char *text = mem_printf("%s/%s", namespace ? namespace : "", name);
    struct key *k = map_get(&q->keys, text);
    if (k)
        return k;
    k = mem_zero(1, sizeof(*k));
    k->queue = q;
    k->text = steal_pointer(text);
    k->namespace = mem_string(namespace ? namespace : "");
    k->name = strchr(k->text, '/') + 1;
    list_init(&k->ready);
    map_set(&q->keys, k->text, k);
    return k;
}

/* A key that nothing is known of any more is forgotten. */
static void maybe_forget(struct key *k)
{
    if (!k->queued && !k->running && !k->timer_at && !k->failures && !k->written_count)
        key_free(k);
}

/* ---- Items ---- */

static void ready(struct key *k);

static int64_t retry_delay(const struct key *k)
{
    int64_t delay = QUEUE_RETRY_FIRST;
    for (int i = 1; i < k->failures && delay < QUEUE_RETRY_MAX; i++)
        delay *= 2;
    return delay < QUEUE_RETRY_MAX ? delay : QUEUE_RETRY_MAX;
}

static void key_after(struct key *k, int64_t delay);

static void over(struct work *w)
{
    struct key *k = w->key;
    bool failed = w->failed;
    work_free(w);
    k->running = false;
    k->queue->running--;
    k->failures = failed ? k->failures + 1 : 0;
    if (failed)
        key_after(k, retry_delay(k));
    if (k->again) {
        k->again = false;
        /* A failing key waits for its backoff even if it was added meanwhile. */
        if (!failed)
            ready(k);
    }
    maybe_forget(k);
}

static void note_written(struct key *k, const struct api_resource *resource, uint64_t revision)
{
    for (size_t i = 0; i < k->written_count; i++)
        if (k->written[i].resource == resource) {
            if (revision > k->written[i].revision)
                k->written[i].revision = revision;
            return;
        }
    if (k->written_count < SEEN_MAX) {
        k->written[k->written_count].resource = resource;
        k->written[k->written_count++].revision = revision;
    }
}

/* True when the informers show all that the key's last run wrote. */
static bool caught_up(struct key *k)
{
    for (size_t i = 0; i < k->written_count;) {
        struct informer *informer = informer_set_get(k->queue->informers, k->written[i].resource);
        if (informer_synced(informer) && informer_revision(informer) < k->written[i].revision)
            return false;
        k->written[i] = k->written[--k->written_count];
    }
    return true;
}

static void run(struct key *k)
{
    struct work *w = mem_zero(1, sizeof(*w));
    w->key = k;
    w->arena = arena_new(0);
    list_append(&k->queue->works, &w->running);
    k->running = true;
    k->queue->running++;
    w->reconciling = true;
    k->queue->reconcile(k->queue->context, w);
    w->reconciling = false;
    if (!w->pending)
        over(w);
}

static void turn(void *context)
{
    struct queue *q = context;
    q->turn_arranged = false;
    if (!q->client) {
        free(q);
        return;
    }
    for (int n = 0; n < QUEUE_TURN_MAX && !list_empty(&q->ready); n++) {
        struct key *k = list_entry(q->ready.next, struct key, ready);
        list_remove(&k->ready);
        k->queued = false;
        if (caught_up(k))
            run(k);
        else
            key_after(k, BLOCKED_LOOK); /* the event that is awaited adds the key before that */
    }
    if (!list_empty(&q->ready))
        arrange_turn(q);
}

static void arrange_turn(struct queue *q)
{
    if (q->turn_arranged || !q->open)
        return;
    q->turn_arranged = true;
    env_defer(q->client->env, turn, q);
}

static void ready(struct key *k)
{
    if (k->running) {
        k->again = true;
        return;
    }
    if (k->queued)
        return;
    k->queued = true;
    list_append(&k->queue->ready, &k->ready);
    arrange_turn(k->queue);
}

void queue_add(struct queue *q, const char *namespace, const char *name)
{
    struct key *k = find_key(q, namespace, name);
    /* News about a key that is backing off may be what it waits for. */
    ready(k);
}

static void timer_fired(void *context)
{
    struct key *k = context;
    k->timer_at = 0;
    ready(k);
}

static void key_after(struct key *k, int64_t delay)
{
    struct env *env = k->queue->client->env;
    int64_t at = env_monotonic(env) + (delay > 0 ? delay : 0);
    if (k->timer_at && k->timer_at <= at)
        return;
    if (!k->timer)
        k->timer = env_timer_new(env, timer_fired, k);
    k->timer_at = at;
    env_timer_start(k->timer, delay);
}

void queue_add_after(struct queue *q, const char *namespace, const char *name, int64_t delay)
{
    key_after(find_key(q, namespace, name), delay);
}

const char *work_namespace(const struct work *w)
{
    return w->key->namespace;
}

const char *work_name(const struct work *w)
{
    return w->key->name;
}

struct arena *work_arena(struct work *w)
{
    return w->arena;
}

void work_hold(struct work *w, struct object *object)
{
    vector_push(&w->held, object_ref(object));
}

int work_failures(const struct work *w)
{
    return w->key->failures;
}

void work_forgive(struct work *w)
{
    w->forgiven = true;
}

void work_retry(struct work *w)
{
    w->failed = true;
}

void work_again_after(struct work *w, int64_t delay)
{
    key_after(w->key, delay);
}

/* ---- Writes ---- */

struct call {
    struct work *work;
    const struct api_resource *resource;
    enum client_verb verb;
    client_done done;
    void *context;
};

static void answered(void *context, const struct client_result *result)
{
    const struct call *call = context;
    struct work *w = call->work;
    w->forgiven = false;
    if (call->done)
        call->done(call->context, result);
    bool reading = call->verb == CLIENT_GET || call->verb == CLIENT_LIST || call->verb == CLIENT_DELETE_COLLECTION;
    bool stale = reading || result->code == 404 || (call->verb == CLIENT_CREATE && result->code == 409);
    if (client_ok(result) && !reading) {
        uint64_t revision = result->object ? result->object->revision : result->revision;
        note_written(w->key, call->resource, revision);
    } else if (!stale && !w->forgiven) {
        w->failed = true;
        log_debug("%s %s: %s", call->resource->plural, w->key->text, result->status ? result->status->message : "");
    }
    if (--w->pending == 0 && !w->reconciling)
        over(w);
}

static struct call *call_new(struct work *w, enum client_verb verb, const struct api_resource *resource,
                             client_done done, void *context)
{
    struct call *c = arena_alloc(w->arena, sizeof(*c));
    c->work = w;
    c->verb = verb;
    c->resource = resource;
    c->done = done;
    c->context = context;
    w->pending++;
    return c;
}

/* A copy of the value in an arena that the client takes over. */
static struct arena *own(const struct api_resource *resource, void **value)
{
    struct arena *arena = arena_new(4096);
    *value = api_copy(arena, resource->type, *value);
    return arena;
}

void work_create(struct work *w, const struct api_resource *resource, const char *namespace, void *value,
                 client_done done, void *context)
{
    struct arena *arena = own(resource, &value);
    client_create(w->key->queue->client, resource, namespace, arena, value, answered,
                  call_new(w, CLIENT_CREATE, resource, done, context));
}

void work_update(struct work *w, const struct api_resource *resource, const char *subresource, void *value,
                 client_done done, void *context)
{
    struct arena *arena = own(resource, &value);
    client_update(w->key->queue->client, resource, subresource, arena, value, answered,
                  call_new(w, CLIENT_UPDATE, resource, done, context));
}

void work_delete(struct work *w, const struct api_resource *resource, const struct object_meta *meta,
                 const char *propagation, client_done done, void *context)
{
    client_delete(w->key->queue->client, resource, meta->namespace, meta->name, meta->uid, -1, propagation, answered,
                  call_new(w, CLIENT_DELETE, resource, done, context));
}

void work_patch(struct work *w, const struct api_resource *resource, const char *subresource,
                const struct object_meta *meta, enum patch_kind kind, const char *patch, client_done done,
                void *context)
{
    client_patch(w->key->queue->client, resource, subresource, meta->namespace, meta->name, kind, patch, answered,
                 call_new(w, CLIENT_PATCH, resource, done, context));
}

void work_submit(struct work *w, struct client_request *request, client_done done, void *context)
{
    enum client_verb verb = request->verb;
    const struct api_resource *resource = request->resource;
    client_submit(w->key->queue->client, request, answered, call_new(w, verb, resource, done, context));
}
