/* Pure arithmetic of rollouts. */
#include "control/rollout.h"

#include <stdlib.h>
#include <string.h>

#include "api/int_or_string.h"
#include "api/json.h"
#include "base/cleanup.h"

static int32_t min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

bool rollout_is_rolling(const struct deployment *d)
{
    return !d->spec.strategy.type || strcmp(d->spec.strategy.type, "Recreate") != 0;
}

int32_t deployment_replicas(const struct deployment *d)
{
    return d->spec.replicas.set ? d->spec.replicas.value : 1;
}

/* Both at once: they depend on each other when both round to 0. */
static void resolve(const struct deployment *d, int32_t *surge, int32_t *unavailable)
{
    const struct rolling_update_deployment *r = d->spec.strategy.rolling_update;
    int32_t replicas = deployment_replicas(d);
    *surge = *unavailable = 0;
    if (r) {
        int_or_string_scaled(&r->max_surge, replicas, true, surge, NULL);
        int_or_string_scaled(&r->max_unavailable, replicas, false, unavailable, NULL);
    }
    if (*surge == 0 && *unavailable == 0)
        *unavailable = 1;
}

int32_t rollout_max_surge(const struct deployment *d)
{
    int32_t surge, unavailable;
    if (!rollout_is_rolling(d))
        return 0;
    resolve(d, &surge, &unavailable);
    return surge;
}

int32_t rollout_max_unavailable(const struct deployment *d)
{
    int32_t surge, unavailable;
    if (!rollout_is_rolling(d) || deployment_replicas(d) == 0)
        return 0;
    resolve(d, &surge, &unavailable);
    return min(unavailable, deployment_replicas(d));
}

/* Sums stop at the largest replica count there is: maxSurge on top of it, or two sets of that size, are legal. */
static int32_t add(int32_t a, int32_t b)
{
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : (int32_t)sum;
}

int32_t rollout_most(const struct deployment *d)
{
    return add(deployment_replicas(d), rollout_max_surge(d));
}

int32_t rollout_replicas(const struct rollout *r, bool all)
{
    int32_t sum = 0;
    for (size_t i = 0; i < r->count; i++)
        if (all || &r->sets[i] != r->fresh)
            sum = add(sum, r->sets[i].target);
    return sum;
}

int32_t rollout_status_replicas(const struct rollout *r)
{
    int32_t sum = 0;
    for (size_t i = 0; i < r->count; i++)
        sum = add(sum, r->sets[i].rs->status.replicas);
    return sum;
}

int32_t rollout_ready(const struct rollout *r)
{
    int32_t sum = 0;
    for (size_t i = 0; i < r->count; i++)
        sum = add(sum, r->sets[i].rs->status.ready_replicas);
    return sum;
}

int32_t rollout_available(const struct rollout *r, bool all)
{
    int32_t sum = 0;
    for (size_t i = 0; i < r->count; i++)
        if (all || &r->sets[i] != r->fresh)
            sum = add(sum, r->sets[i].rs->status.available_replicas);
    return sum;
}

static bool changed(const struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->sets[i].target != r->sets[i].replicas)
            return true;
    return false;
}

/* ---- Rolling ---- */

int32_t rollout_fresh_replicas(const struct rollout *r)
{
    const struct deployment *d = r->deployment;
    int32_t wanted = deployment_replicas(d), present = r->fresh ? r->fresh->replicas : 0;
    if (present > wanted || !rollout_is_rolling(d))
        return wanted;
    int32_t room = rollout_most(d) - rollout_replicas(r, true);
    return room <= 0 ? present : present + min(room, wanted - present);
}

/* Takes up to `count` pods that are not available from the old sets, oldest first. */
static void shrink_unhealthy(struct rollout *r, int32_t count)
{
    int32_t taken = 0;
    for (size_t i = 0; i < r->count && taken < count; i++) {
        struct rollout_set *s = &r->sets[i];
        if (s == r->fresh || s->target == 0 || s->target == s->rs->status.available_replicas)
            continue;
        int32_t n = min(count - taken, s->target - s->rs->status.available_replicas);
        s->target -= n;
        taken += n;
    }
}

/* A set that has more pods available than it asks for has not shrunk yet to what it was told: its status still counts
 * pods that are about to go, and nothing can be taken away on its word. Upstream fails such a run. */
static bool is_shrinking(const struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->sets[i].replicas < r->sets[i].rs->status.available_replicas)
            return true;
    return false;
}

static void shrink_available(struct rollout *r)
{
    int32_t floor = deployment_replicas(r->deployment) - rollout_max_unavailable(r->deployment);
    int32_t count = rollout_available(r, true) - floor, taken = 0;
    for (size_t i = 0; i < r->count && taken < count; i++) {
        struct rollout_set *s = &r->sets[i];
        if (s == r->fresh || s->target == 0)
            continue;
        int32_t n = min(s->target, count - taken);
        s->target -= n;
        taken += n;
    }
}

bool rollout_step_rolling(struct rollout *r)
{
    if (!r->fresh)
        return false;
    r->fresh->target = rollout_fresh_replicas(r);
    if (r->fresh->target != r->fresh->replicas)
        return true;
    if (rollout_replicas(r, false) == 0)
        return false;
    const struct deployment *d = r->deployment;
    int32_t floor = deployment_replicas(d) - rollout_max_unavailable(d);
    int32_t fresh_unavailable = r->fresh->replicas - r->fresh->rs->status.available_replicas;
    int32_t most = rollout_replicas(r, true) - floor - fresh_unavailable;
    if (most <= 0 || is_shrinking(r))
        return false;
    shrink_unhealthy(r, most);
    shrink_available(r);
    return changed(r);
}

bool rollout_step_recreate(struct rollout *r, bool old_pods_running)
{
    for (size_t i = 0; i < r->count; i++)
        if (&r->sets[i] != r->fresh)
            r->sets[i].target = 0;
    if (changed(r) || old_pods_running || !r->fresh)
        return changed(r);
    r->fresh->target = deployment_replicas(r->deployment);
    return changed(r);
}

/* ---- Scaling ---- */

static int64_t annotation_number(const struct object_meta *meta, const char *key, int64_t missing)
{
    const char *text = string_map_get(&meta->annotations, key);
    return text ? strtoll(text, NULL, 10) : missing;
}

int64_t rollout_revision(const struct object_meta *meta)
{
    return annotation_number(meta, ANNOTATION_REVISION, 0);
}

bool rollout_is_scaling(const struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++) {
        int64_t desired = annotation_number(r->sets[i].object->meta, ANNOTATION_DESIRED, -1);
        if (r->sets[i].replicas > 0 && desired >= 0 && desired != deployment_replicas(r->deployment))
            return true;
    }
    return false;
}

/* The only set that has pods, or the newest when none has; NULL when several have. */
static struct rollout_set *only_active(struct rollout *r)
{
    struct rollout_set *active = NULL;
    for (size_t i = 0; i < r->count; i++)
        if (r->sets[i].replicas > 0) {
            if (active)
                return NULL;
            active = &r->sets[i];
        }
    if (active)
        return active;
    return r->fresh ? r->fresh : r->count ? &r->sets[r->count - 1] : NULL;
}

/* By creation time, then by name. */
static int by_age(const struct rollout_set *x, const struct rollout_set *y)
{
    int64_t s = x->object->meta->creation_timestamp, t = y->object->meta->creation_timestamp;
    return s != t ? (s < t ? -1 : 1) : strcmp(x->object->meta->name, y->object->meta->name);
}

static int by_size_newest_first(const void *a, const void *b)
{
    const struct rollout_set *const *x = a, *const *y = b;
    return (*x)->replicas != (*y)->replicas ? (*y)->replicas - (*x)->replicas : by_age(*y, *x);
}

static int by_size_oldest_first(const void *a, const void *b)
{
    const struct rollout_set *const *x = a, *const *y = b;
    return (*x)->replicas != (*y)->replicas ? (*y)->replicas - (*x)->replicas : by_age(*x, *y);
}

/* By how much the set would change if it kept its proportion to the whole. */
static int32_t fraction(const struct deployment *d, const struct rollout_set *s)
{
    if (deployment_replicas(d) == 0)
        return -s->replicas;
    int64_t before = annotation_number(s->object->meta, ANNOTATION_MAX, 0);
    if (before <= 0)
        before = d->status.replicas;
    if (before <= 0)
        return 0;
    double size = (double)s->replicas * rollout_most(d) / (double)before + 0.5;
    return (size < INT32_MAX ? (int32_t)size : INT32_MAX) - s->replicas;
}

/* The set's share of what is to be added or removed, as upstream rounds it; but no set grows when pods are to be
 * removed or the reverse (where maxSurge changed as well, upstream's may, and then exceeds replicas + maxSurge). */
static int32_t share(const struct rollout *r, const struct rollout_set *s, int32_t to_add, int32_t added)
{
    if (s->replicas == 0 || to_add == 0 || to_add == added)
        return 0;
    int32_t allowed = to_add - added, part = fraction(r->deployment, s);
    return to_add > 0 ? max(min(part, allowed), 0) : min(max(part, allowed), 0);
}

/* The new set has all pods: the old ones are scaled down fully. */
static bool is_saturated(const struct rollout *r)
{
    int32_t wanted = deployment_replicas(r->deployment);
    return r->fresh && r->fresh->replicas == wanted && r->fresh->rs->status.available_replicas == wanted &&
           annotation_number(r->fresh->object->meta, ANNOTATION_DESIRED, -1) == wanted;
}

bool rollout_scale(struct rollout *r)
{
    const struct deployment *d = r->deployment;
    int32_t wanted = deployment_replicas(d);
    struct rollout_set *only = only_active(r);
    if (!r->count)
        return false;
    if (only) {
        only->target = wanted;
        return changed(r);
    }
    if (is_saturated(r)) {
        for (size_t i = 0; i < r->count; i++)
            if (&r->sets[i] != r->fresh)
                r->sets[i].target = 0;
        return changed(r);
    }
    if (!rollout_is_rolling(d))
        return false;
    int32_t allowed = wanted > 0 ? rollout_most(d) : 0;
    int32_t to_add = allowed - rollout_replicas(r, true), added = 0;
    cleanup_free struct rollout_set **active = mem_alloc(r->count * sizeof(*active));
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->sets[i].replicas > 0)
            active[n++] = &r->sets[i];
    qsort(active, n, sizeof(active[0]), to_add > 0 ? by_size_newest_first : by_size_oldest_first);
    for (size_t i = 0; i < n; i++) {
        int32_t part = share(r, active[i], to_add, added);
        active[i]->target = active[i]->replicas + part;
        added += part;
    }
    if (n && to_add != added) {
        active[0]->target += to_add - added;
        if (active[0]->target < 0)
            active[0]->target = 0;
    }
    return changed(r);
}

bool rollout_complete(const struct rollout *r, const struct deployment_status *status)
{
    int32_t wanted = deployment_replicas(r->deployment);
    return status->updated_replicas == wanted && status->replicas == wanted && status->available_replicas == wanted &&
           status->observed_generation >= r->deployment->metadata.generation;
}

bool rollout_same_template(const struct pod_template_spec *a, const struct pod_template_spec *b)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct pod_template_spec copies[2] = {*a, *b};
    for (int i = 0; i < 2; i++) {
        struct string_map *labels = &copies[i].metadata.labels;
        struct string_pair *items = arena_alloc(arena, labels->count * sizeof(*items));
        size_t kept = 0;
        for (size_t k = 0; k < labels->count; k++)
            if (strcmp(labels->items[k].key, LABEL_TEMPLATE_HASH) != 0)
                items[kept++] = labels->items[k];
        labels->items = items;
        labels->count = kept;
    }
    return api_equal(&api_type_pod_template_spec, &copies[0], &copies[1]);
}
