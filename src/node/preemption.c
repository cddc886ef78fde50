/* Who makes room for a critical pod. */
#include "node/preemption.h"

#include <assert.h>
#include <string.h>

#include "api/pod_qos.h"
#include "api/pod_resources.h"
#include "api/quantity.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "node/eviction.h"

/* The first go first. */
static const char *const classes[] = {"BestEffort", "Burstable", "Guaranteed"};
#define CLASSES ARRAY_COUNT(classes)

/* What is still missing of a resource. */
struct need {
    const char *name;
    int64_t amount; /* above 0 */
};

struct needs {
    struct need *items;
    size_t count;
};

/* Pods by their places in the request. */
struct group {
    size_t *items;
    size_t count;
};

struct choice {
    struct arena *arena;
    const struct admission_request *request;
    struct group candidates[CLASSES]; /* that may end */
    struct group chosen[CLASSES];     /* that do */
};

static bool is_preemptable(const struct pod *by, const struct pod *pod)
{
    if (eviction_is_critical(by) && !eviction_is_critical(pod))
        return true;
    return by->spec.priority.set && pod->spec.priority.set && by->spec.priority.value > pod->spec.priority.value;
}

static int64_t request_of(const struct pod *pod, const char *name)
{
    return strcmp(name, "pods") == 0 ? 1 : pod_resource_request(pod, name, POD_COUNT_SPEC, 0);
}

static struct needs needs_of(struct arena *arena, const struct admission_shortages *shortages)
{
    struct needs needs = {arena_alloc(arena, shortages->count * sizeof(*needs.items)), shortages->count};
    for (size_t i = 0; i < needs.count; i++) {
        const struct admission_shortage *s = &shortages->items[i];
        needs.items[i] = (struct need){s->name, quantity_add(s->requested - s->capacity, s->used)};
    }
    return needs;
}

/* Without what the pods of a group give back. */
static void subtract(const struct choice *c, struct needs *needs, const struct group *group)
{
    size_t count = 0;
    for (size_t n = 0; n < needs->count; n++) {
        struct need need = needs->items[n];
        for (size_t i = 0; i < group->count && need.amount > 0; i++)
            need.amount -= request_of(c->request->others[group->items[i]], need.name);
        if (need.amount > 0)
            needs->items[count++] = need;
    }
    needs->count = count;
}

static struct needs copy(const struct choice *c, const struct needs *needs)
{
    return (struct needs){arena_copy(c->arena, needs->items, needs->count * sizeof(*needs->items)), needs->count};
}

/* How much the pod falls short of what is needed: each resource counts by the part of it that would still be missing.
 */
static double distance(const struct needs *needs, const struct pod *pod)
{
    double sum = 0;
    for (size_t i = 0; i < needs->count; i++) {
        double amount = (double)needs->items[i].amount,
               left = (double)(needs->items[i].amount - request_of(pod, needs->items[i].name));
        if (left > 0)
            sum += left / amount * (left / amount);
    }
    return sum;
}

static bool asks_for_no_more(const struct pod *a, const struct pod *b)
{
    static const char *const order[] = {"memory", "cpu"};
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        int64_t of_a = request_of(a, order[i]), of_b = request_of(b, order[i]);
        if (of_a != of_b)
            return of_a < of_b;
    }
    return true;
}

/* The nearest of the group, until nothing is missing: that all of them suffice is known. */
static void pick(const struct choice *c, const struct group *group, struct needs needs, struct group *out)
{
    const struct pod *const *pods = c->request->others;
    struct group left = {arena_copy(c->arena, group->items, group->count * sizeof(*group->items)), group->count};
    out->items = arena_alloc(c->arena, group->count * sizeof(*out->items));
    while (needs.count) {
        double nearest = (double)needs.count + 1;
        size_t best = 0;
        assert(left.count);
        for (size_t i = 0; i < left.count; i++) {
            double d = distance(&needs, pods[left.items[i]]);
            if (d < nearest || (d == nearest && asks_for_no_more(pods[left.items[i]], pods[left.items[best]]))) {
                nearest = d;
                best = i;
            }
        }
        struct group one = {&left.items[best], 1};
        subtract(c, &needs, &one);
        out->items[out->count++] = left.items[best];
        left.items[best] = left.items[--left.count];
    }
}

static void find_candidates(struct choice *c)
{
    const struct admission_request *r = c->request;
    for (size_t k = 0; k < CLASSES; k++) {
        struct group *group = &c->candidates[k];
        group->items = arena_alloc(c->arena, r->count * sizeof(*group->items));
        for (size_t i = 0; i < r->count; i++)
            if (is_preemptable(r->pod, r->others[i]) && strcmp(api_pod_qos_class(&r->others[i]->spec), classes[k]) == 0)
                group->items[group->count++] = i;
    }
}

static const char *refusal(struct arena *arena, const struct needs *needs)
{
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < needs->count; i++)
        buffer_printf(&text, "(res: %s, q: %lld), ", needs->items[i].name, (long long)needs->items[i].amount);
    return arena_printf(
        arena,
        "Unexpected error while attempting to recover from admission failure: preemption: error finding "
        "a set of pods to preempt: no set of running pods found to reclaim resources: [%s]",
        text.data);
}

const char *preemption_choose(struct arena *arena, const struct admission_request *request,
                              const struct admission_shortages *shortages, size_t *chosen, size_t *count)
{
    struct choice c = {.arena = arena, .request = request};
    struct needs all = needs_of(arena, shortages), left = copy(&c, &all);
    find_candidates(&c);
    for (size_t k = 0; k < CLASSES; k++)
        subtract(&c, &left, &c.candidates[k]);
    if (left.count)
        return refusal(arena, &left);
    *count = 0;
    /* Of each class those without whom it would not do if all of the lower ones ended. */
    for (size_t k = CLASSES; k-- > 0;) {
        left = copy(&c, &all);
        for (size_t j = 0; j < CLASSES; j++)
            subtract(&c, &left, j < k ? &c.candidates[j] : &c.chosen[j]);
        pick(&c, &c.candidates[k], left, &c.chosen[k]);
        for (size_t i = 0; i < c.chosen[k].count; i++)
            chosen[(*count)++] = c.chosen[k].items[i];
    }
    return NULL;
}
