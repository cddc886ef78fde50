/* Which pods a Job makes and deletes, to have as many active ones as it should. */
#include "control/controller.h"
#include "control/job_deciding.h"
#include "control/victims.h"

void job_pods_delete(struct job_deciding *d, struct job_fact *f)
{
    f->to_delete = true;
    d->plan->deletions[d->plan->deletion_count++] = f->object;
    d->active--;
    d->terminating++;
    d->ready -= pod_is_ready(f->pod);
}

static struct job_fact *fact_of(struct job_deciding *d, const struct object *object)
{
    size_t i = 0;
    while (d->facts[i].object != object)
        i++;
    return &d->facts[i];
}

/* Those of the pods that are to go first, `count` of them. */
static void delete_first(struct job_deciding *d, struct object **pods, size_t pod_count, size_t count)
{
    if (count && count < pod_count)
        victims_sort(d->arena, pods, pod_count, pods, pod_count, 0, d->now);
    for (size_t i = 0; i < count && d->plan->deletion_count < JOB_BURST; i++)
        job_pods_delete(d, fact_of(d, pods[i]));
}

/* Active pods that an Indexed Job has no use for: without an index, with one too high, or all but one with the same. */
static void delete_superfluous(struct job_deciding *d)
{
    struct object **same = arena_alloc(d->arena, (d->count + 1) * sizeof(struct object *));
    for (size_t i = 0; i < d->count;) {
        int32_t index = d->facts[i].any_index;
        bool useless = d->facts[i].index == JOB_NO_INDEX;
        size_t found = 0;
        for (; i < d->count && d->facts[i].any_index == index; i++)
            if (d->facts[i].active)
                same[found++] = d->facts[i].object;
        if (found)
            delete_first(d, same, found, useless ? found : found - 1);
    }
}

static void delete_pods(struct job_deciding *d, int32_t at_least)
{
    d->plan->release_first = true;
    if (d->indexed)
        delete_superfluous(d);
    if ((int32_t)d->plan->deletion_count >= at_least)
        return;
    struct object **left = arena_alloc(d->arena, (d->count + 1) * sizeof(struct object *));
    size_t left_count = 0, more = (size_t)at_least - d->plan->deletion_count;
    for (size_t i = 0; i < d->count; i++)
        if (d->facts[i].active && !d->facts[i].to_delete)
            left[left_count++] = d->facts[i].object;
    delete_first(d, left, left_count, more < left_count ? more : left_count);
}

static int32_t wanted_active(const struct job_deciding *d)
{
    int32_t parallelism = d->spec->parallelism.value;
    if (!d->spec->completions.set)
        return d->succeeded > 0 ? d->active : parallelism;
    int32_t left = d->spec->completions.value - d->succeeded;
    return left > parallelism ? parallelism : left < 0 ? 0 : left;
}

static void create_indexes(struct job_deciding *d, size_t count)
{
    int32_t *indexes = arena_alloc(d->arena, (count + 1) * sizeof(*indexes));
    struct index_set taken = job_indexes_with(d, &d->succeeded_indexes, job_fact_is_active);
    int64_t least = 0;
    if (d->only_replace_failed)
        taken = job_indexes_with(d, &taken, job_fact_is_terminating);
    taken = index_set_merge(d->arena, &taken, &d->failed_indexes);
    count = index_set_missing(&taken, d->spec->completions.value, indexes, count);
    for (size_t i = 0; i < count; i++) {
        struct job_creation creation = {.index = indexes[i]};
        const struct job_fact *last = d->per_index ? job_delayed_at(d, indexes[i]) : NULL;
        if (last) {
            int32_t failures = job_index_failures(last->pod), ignored = job_index_ignored(last->pod);
            int64_t left = job_backoff_left(failures + ignored + 1, job_pod_finished_at(last->pod), d->now);
            if (left) {
                least = least && least < left ? least : left;
                continue;
            }
            creation.failures = failures + last->counts;
            creation.ignored = ignored + !last->counts;
        }
        d->plan->creations[d->plan->creation_count++] = creation;
    }
    job_again_after(d, least);
}

static void create_pods(struct job_deciding *d, int32_t wanted)
{
    int32_t lacking = wanted - d->active - (d->only_replace_failed ? d->terminating : 0);
    struct job_plan *plan = d->plan;
    if (lacking <= 0)
        return;
    if (!d->per_index) {
        int64_t left = job_backoff_left(plan->backoff.failures, plan->backoff.last, d->now);
        if (left) {
            job_again_after(d, left);
            return;
        }
    }
    size_t count = lacking < JOB_BURST ? (size_t)lacking : JOB_BURST;
    plan->creations = arena_alloc(d->arena, count * sizeof(*plan->creations));
    if (d->indexed)
        create_indexes(d, count);
    else
        while (plan->creation_count < count)
            plan->creations[plan->creation_count++] = (struct job_creation){.index = JOB_NO_INDEX};
    d->active += (int32_t)plan->creation_count;
}

void job_pods_manage(struct job_deciding *d)
{
    if (d->suspended) {
        delete_pods(d, d->active);
        return;
    }
    int32_t wanted = wanted_active(d);
    delete_pods(d, d->active > wanted ? d->active - wanted : 0);
    if (!d->plan->deletion_count)
        create_pods(d, wanted);
}
