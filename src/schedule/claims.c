/* Claims that are bound with their pod: what they need on the node that has been chosen is written first, and the pod
 * is bound when their events show that they are. */
#include <stdlib.h>
#include <string.h>

#include "api/storage.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "schedule/private.h"

/* A pod that has a node waits so long for its claims to be bound there, as upstream's bindTimeout. */
#define CLAIMS_TIMEOUT (600 * INT64_C(1000000))

/* The node that was promised is free again. */
void claims_give_up(struct pending *p)
{
    volume_book_forget(&p->scheduler->book, p->pod->value);
    p->where = IN_NONE;
    scheduler_unplace(p->scheduler, p->uid);
}

static void claims_failed(struct pending *p, const char *why)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const char *message = arena_printf(arena, "running PreBind plugin \"VolumeBinding\": binding volumes: %s", why);
    claims_give_up(p);
    queue_retry(p);
    report_failure(p, message, false);
}

/* Binds the pod once its claims are bound on the node. */
static void look_at_claims(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct node_info *node = census_node_of(&s->census, p->node);
    const char *why = NULL;
    if (p->claims_unwritten || informer_revision(s->book.claims) < p->claims_revision ||
        informer_revision(s->book.volumes) < p->volumes_revision)
        return;
    if (!node || !node->object) {
        claims_failed(p, arena_printf(arena, "node \"%s\" not found", p->node));
        return;
    }
    switch (volume_progress(&s->book, p->pod->value, node->object->meta, arena, &why)) {
    case VOLUMES_WAIT:
        break;
    case VOLUMES_BOUND:
        volume_book_forget(&s->book, p->pod->value);
        scheduler_bind(p, node->object->meta->name);
        break;
    case VOLUMES_FAILED:
        claims_failed(p, why);
        break;
    }
}

struct claim_write {
    struct scheduler *scheduler;
    const char *uid; /* of the pod */
};

static void claim_written(void *context, const struct client_result *result)
{
    const struct claim_write *write = context;
    struct pending *p = pending_of(write->scheduler, write->uid);
    if (!p || p->where != IN_CLAIMS)
        return;
    if (!client_ok(result)) {
        claims_failed(p, result->status && result->status->message ? result->status->message : "not written");
        return;
    }
    p->claims_unwritten -= p->claims_unwritten > 0;
    bool of_claim = result->object->resource->index == API_PERSISTENTVOLUMECLAIMS;
    uint64_t *newest = of_claim ? &p->claims_revision : &p->volumes_revision;
    if (result->revision > *newest)
        *newest = result->revision;
    look_at_claims(p);
}

/* The node is chosen. What the pod's claims need there is written first; their events bring the rest. */
void claims_settle(struct pending *p, const struct schedule_pod *pod, struct object *node)
{
    struct scheduler *s = p->scheduler;
    struct volume_plan plan = {0};
    if (pod->claim_count)
        volume_plan_for(pod, node->meta, &plan);
    if (!plan.count) {
        scheduler_bind(p, node->meta->name);
        return;
    }
    volume_book_assume(&s->book, &plan, node->meta->name);
    census_place(&s->census, p->pod, node->meta->name, true);
    list_remove(&p->link);
    p->where = IN_CLAIMS;
    list_append(&s->waiting, &p->link);
    free(p->node);
    p->node = mem_string(node->meta->name);
    p->claims_unwritten = plan.count;
    p->claims_revision = p->volumes_revision = 0;
    env_timer_start(p->timer, CLAIMS_TIMEOUT);
    for (size_t i = 0; i < plan.count; i++) {
        struct client_request *r = volume_choice_request(&plan.items[i], p->node);
        struct claim_write *write = arena_alloc(r->arena, sizeof(*write));
        *write = (struct claim_write){s, arena_string(r->arena, p->uid)};
        client_submit(s->client, r, claim_written, write);
    }
}

/* A claim, a volume or a class: pods that have claims may have waited for it. */
static void storage_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    (void)change, (void)object, (void)old;
    queue_stir_all(s, EVENT_STORAGE);
    for (struct list *l = s->waiting.next, *next; l != &s->waiting; l = next) {
        next = l->next;
        look_at_claims(list_entry(l, struct pending, link));
    }
}

static bool claim_in_use(void *context, const char *namespace, const char *claim, const char *except)
{
    const struct scheduler *s = context;
    for (struct map_slot *slot = NULL; (slot = map_next(&s->census.placed, slot));) {
        const struct pod *pod = ((const struct placed *)slot->value)->pod->value;
        if (strcmp(pod->metadata.namespace, namespace) == 0 && strcmp(pod->metadata.uid, except) != 0 &&
            storage_pod_uses(pod, claim))
            return true;
    }
    return false;
}

void claims_timed_out(struct pending *p)
{
    claims_failed(p, "timed out waiting for the condition");
}

void claims_start(struct scheduler *s)
{
    volume_book_init(&s->book, s->informers);
    s->book.in_use = claim_in_use;
    s->book.context = s;
    informer_add_handler(s->book.claims, storage_changed, s);
    informer_add_handler(s->book.volumes, storage_changed, s);
    informer_add_handler(s->book.classes, storage_changed, s);
}
