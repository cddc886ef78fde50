/* A call is in one list from its submission to its answer. What has no delay is passed on in the same turn. */
#include "sim/link.h"

#include <stdlib.h>

#include "api/json.h"
#include "api/status.h"
#include "base/cleanup.h"
#include "base/list.h"

struct sim_link {
    struct client client;
    struct sim_random random;
    struct sim_link_options options;
    struct client *target;
    struct list calls;     /* struct call.node */
    struct list abandoned; /* struct call.node: answered by a cut, and still held by the target */
    struct list watches;   /* struct watch.node */
    sim_link_observer observer;
    void *observer_context;
    const struct api_resource *refused; /* creates of it */
    const char *refusal;                /* NULL: nothing is refused */
    sim_link_request_bender bend;
    sim_link_object_bender show;
    struct sim_cluster *cluster; /* for `bend` */
};

static int64_t draw(struct sim_link *link, int64_t most)
{
    return most ? sim_random_between(&link->random, 0, most) : 0;
}

static const struct status *unavailable(struct arena *arena)
{
    return api_status_service_unavailable(arena, "connection lost");
}

/* Calls. */

struct call {
    struct list node;
    struct sim_link *link; /* NULL: cut; the target still holds the call */
    struct client_request *request; /* on its way there */
    bool at_target, lost;
    bool swallowed; /* answered as if it had been carried out */
    client_done done;
    void *context;
    struct env_timer *timer;
    /* The answer on its way back. */
    struct arena *arena;
    struct client_result result;
};

static void call_free(struct call *call)
{
    list_remove(&call->node);
    env_timer_free(call->timer);
    client_request_free(call->request);
    object_unref(call->result.object);
    for (size_t i = 0; i < call->result.count; i++)
        object_unref(call->result.items[i]);
    arena_free(call->arena);
    free(call);
}

static void answer(struct call *call, const struct client_result *result)
{
    client_done done = call->done;
    call->done = NULL;
    if (done)
        done(call->context, result);
}

static bool is_refused(const struct sim_link *link, const struct client_request *request)
{
    return link->refusal && request->verb == CLIENT_CREATE && request->resource == link->refused &&
           !request->subresource;
}

static void answer_lost(struct call *call)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct sim_link *link = call->link;
    if (link && call->request && is_refused(link, call->request)) {
        const struct status *status = api_status_forbidden(arena, link->refused, "", link->refusal);
        answer(call, &(struct client_result){.code = status->code, .status = status, .remaining = -1});
        return;
    }
    answer(call, &(struct client_result){.code = 503, .status = unavailable(arena), .remaining = -1});
}

static void deliver(void *context)
{
    struct call *call = context;
    if (call->lost)
        answer_lost(call);
    else
        answer(call, &call->result);
    call_free(call);
}

static void keep(struct call *call, const struct client_result *result)
{
    struct arena *arena = call->arena = arena_new(0);
    struct client_result *copy = &call->result;
    *copy = *result;
    copy->status = result->status ? api_copy(arena, &api_type_status, result->status) : NULL;
    copy->object = result->object ? object_ref(result->object) : NULL;
    copy->value = result->value ? api_copy(arena, result->value_type, result->value) : NULL;
    copy->items = arena_copy(arena, result->items, result->count * sizeof(*result->items));
    for (size_t i = 0; i < result->count; i++)
        object_ref(result->items[i]);
    copy->continue_ = arena_string(arena, result->continue_);
    copy->warnings = NULL;
    copy->warning_count = 0;
}

static void answered(void *context, const struct client_result *result)
{
    struct call *call = context;
    struct sim_link *link = call->link;
    call->at_target = false;
    if (!link) {
        call_free(call);
        return;
    }
    int64_t delay = draw(link, link->options.answer_max);
    call->lost = call->lost || sim_random_chance(&link->random, link->options.lost_after);
    if (!delay && !call->lost) {
        answer(call, result);
        call_free(call);
        return;
    }
    keep(call, result);
    env_timer_start(call->timer, delay);
}

static void forward(void *context)
{
    struct call *call = context;
    struct sim_link *link = call->link;
    env_timer_free(call->timer);
    call->timer = env_timer_new(link->client.env, deliver, call);
    if (!link->target || is_refused(link, call->request) ||
        sim_random_chance(&link->random, link->options.lost_before)) {
        call->lost = true;
        env_timer_start(call->timer, draw(link, link->options.answer_max));
        return;
    }
    if (call->swallowed) {
        call->result = (struct client_result){.code = 200, .remaining = -1};
        env_timer_start(call->timer, 0);
        return;
    }
    call->at_target = true;
    client_submit(link->target, steal_pointer(call->request), answered, call);
}

static void submit(struct client *client, struct client_request *request, client_done done, void *context)
{
    struct sim_link *link = (struct sim_link *)client;
    struct call *call = mem_zero(1, sizeof(*call));
    call->swallowed = link->bend && !link->bend(link->cluster, request);
    if (link->observer)
        link->observer(link->observer_context, request);
    call->link = link;
    call->request = request;
    call->done = done;
    call->context = context;
    list_append(&link->calls, &call->node);
    int64_t delay = draw(link, link->options.request_max);
    if (!delay && link->target) {
        forward(call);
        return;
    }
    call->timer = env_timer_new(client->env, forward, call);
    env_timer_start(call->timer, delay);
}

/* Watches. */

struct delayed {
    struct list node;
    struct client_event event;
    struct arena *arena; /* of the status; may be NULL */
    int64_t at;
};

struct watch {
    struct client_watch watch;
    struct list node;
    struct client_watch *inner; /* NULL: broken, or nowhere */
    client_event_callback callback;
    void *context;
    int64_t last;
    unsigned quickness; /* halves the delays of the link so often */
    struct list events; /* struct delayed.node, in order */
    struct env_timer *timer;
    unsigned users;
    bool freed;
};

static struct sim_link *link_of(const struct watch *watch)
{
    return (struct sim_link *)watch->watch.client;
}

static int64_t delay_max(const struct watch *watch)
{
    return link_of(watch)->options.event_max >> watch->quickness;
}

static void event_free(struct delayed *event)
{
    list_remove(&event->node);
    object_unref(event->event.object);
    object_unref(event->event.previous);
    arena_free(event->arena);
    free(event);
}

static void watch_release(struct watch *watch)
{
    if (--watch->users)
        return;
    free(watch);
}

static void send(struct watch *watch, const struct client_event *event)
{
    sim_link_object_bender show = link_of(watch)->show;
    cleanup_object struct object *bent = show && event->object ? show(event->object) : NULL;
    struct client_event shown = *event;
    if (bent)
        shown.object = bent;
    if (!watch->freed)
        watch->callback(watch->context, &shown);
}

static void arrange(struct watch *watch)
{
    if (list_empty(&watch->events))
        return;
    const struct delayed *first = list_entry(watch->events.next, struct delayed, node);
    env_timer_start(watch->timer, first->at - env_monotonic(watch->watch.client->env));
}

static void events_due(void *context)
{
    struct watch *watch = context;
    struct env *env = watch->watch.client->env;
    watch->users++;
    while (!watch->freed && !list_empty(&watch->events)) {
        if (list_entry(watch->events.next, struct delayed, node)->at > env_monotonic(env))
            break;
        struct delayed *event = list_entry(list_take(&watch->events), struct delayed, node);
        struct delayed own = *event;
        event->event.object = event->event.previous = NULL;
        event->arena = NULL;
        event_free(event);
        send(watch, &own.event);
        object_unref(own.event.object);
        object_unref(own.event.previous);
        arena_free(own.arena);
    }
    if (!watch->freed)
        arrange(watch);
    watch_release(watch);
}

static void queue_event(struct watch *watch, const struct client_event *source)
{
    struct sim_link *link = link_of(watch);
    struct delayed *event = mem_zero(1, sizeof(*event));
    event->event = *source;
    if (source->object)
        object_ref(source->object);
    if (source->previous)
        object_ref(source->previous);
    if (source->status) {
        event->arena = arena_new(0);
        event->event.status = api_copy(event->arena, &api_type_status, source->status);
    }
    int64_t at = env_monotonic(link->client.env) + draw(link, delay_max(watch));
    event->at = watch->last = at > watch->last ? at : watch->last;
    bool first = list_empty(&watch->events);
    list_append(&watch->events, &event->node);
    if (first)
        arrange(watch);
}

static void break_watch(struct watch *watch, int code)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const struct status *status =
        code == 410 ? api_status_expired(arena, "too old resource version") : unavailable(arena);
    client_watch_free(steal_pointer(watch->inner));
    queue_event(watch, &(struct client_event){.kind = CLIENT_ERROR, .status = status});
}

static void event_came(void *context, const struct client_event *event)
{
    struct watch *watch = context;
    struct sim_link *link = link_of(watch);
    if (!watch->inner)
        return;
    if (sim_random_chance(&link->random, link->options.broken)) {
        break_watch(watch, sim_random_chance(&link->random, 300) ? 410 : 503);
        return;
    }
    if (event->kind == CLIENT_ERROR)
        client_watch_free(steal_pointer(watch->inner));
    if (!delay_max(watch) && list_empty(&watch->events)) {
        watch->users++;
        send(watch, event);
        watch_release(watch);
    } else {
        queue_event(watch, event);
    }
}

static struct client_watch *watch_new(struct client *client, const struct client_watch_options *options,
                                      client_event_callback callback, void *context)
{
    struct sim_link *link = (struct sim_link *)client;
    struct watch *watch = mem_zero(1, sizeof(*watch));
    watch->watch.client = client;
    watch->callback = callback;
    watch->context = context;
    watch->users = 1;
    watch->timer = env_timer_new(client->env, events_due, watch);
    /* Most watches are quick, a few lag far behind. */
    watch->quickness = (unsigned)sim_random_below(&link->random, 8);
    list_init(&watch->events);
    list_append(&link->watches, &watch->node);
    if (link->target)
        watch->inner = client_watch(link->target, options, event_came, watch);
    else
        break_watch(watch, 503);
    return &watch->watch;
}

static void watch_free(struct client_watch *base)
{
    struct watch *watch = (struct watch *)base;
    watch->freed = true;
    client_watch_free(steal_pointer(watch->inner));
    list_remove(&watch->node);
    while (!list_empty(&watch->events))
        event_free(list_entry(list_take(&watch->events), struct delayed, node));
    env_timer_free(watch->timer);
    watch_release(watch);
}

/* The link. */

static const struct client_operations operations = {
    .submit = submit,
    .watch = watch_new,
    .watch_free = watch_free,
};

struct sim_link *sim_link_new(struct env *env, struct sim_random random, const struct sim_link_options *options)
{
    struct sim_link *link = mem_zero(1, sizeof(*link));
    link->client.operations = &operations;
    link->client.env = env;
    link->random = random;
    link->options = *options;
    list_init(&link->calls);
    list_init(&link->abandoned);
    list_init(&link->watches);
    return link;
}

struct sim_link_options *sim_link_options(struct sim_link *link)
{
    return &link->options;
}

struct client *sim_link_client(struct sim_link *link)
{
    return &link->client;
}

void sim_link_connect(struct sim_link *link, struct client *target)
{
    link->target = target;
}

void sim_link_observe(struct sim_link *link, sim_link_observer observer, void *context)
{
    link->observer = observer;
    link->observer_context = context;
}

void sim_link_distort(struct sim_link *link, sim_link_request_bender request, sim_link_object_bender show,
                      struct sim_cluster *cluster)
{
    link->bend = request;
    link->show = show;
    link->cluster = cluster;
}

void sim_link_refuse(struct sim_link *link, const struct api_resource *resource, const char *message)
{
    link->refused = resource;
    link->refusal = message;
}

void sim_link_cut(struct sim_link *link)
{
    struct watch *watch;
    link->target = NULL;
    list_for_each(&link->watches, watch, node) {
        if (!watch->inner)
            continue;
        while (!list_empty(&watch->events))
            event_free(list_entry(list_take(&watch->events), struct delayed, node));
        break_watch(watch, 503);
    }
    /* Answers may lead to further requests, which are answered alike. */
    while (!list_empty(&link->calls)) {
        struct call *call = list_entry(list_take(&link->calls), struct call, node);
        bool held = call->at_target;
        answer_lost(call);
        call->link = NULL;
        if (held)
            list_append(&link->abandoned, &call->node);
        else
            call_free(call);
    }
}

void sim_link_target_gone(struct sim_link *link)
{
    while (!list_empty(&link->abandoned))
        call_free(list_entry(list_take(&link->abandoned), struct call, node));
}

void sim_link_free(struct sim_link *link)
{
    if (!link)
        return;
    sim_link_cut(link);
    sim_link_target_gone(link);
    free(link);
}

size_t sim_link_depth(const struct sim_link *link)
{
    size_t depth = 0;
    for (const struct list *at = link->calls.next; at != &link->calls; at = at->next)
        depth++;
    for (const struct list *at = link->watches.next; at != &link->watches; at = at->next)
        depth += !list_empty(&list_entry(at, struct watch, node)->events);
    return depth;
}
