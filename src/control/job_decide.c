#include "control/job_decide.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/controller.h"
#include "control/job_deciding.h"

static bool has_text(const struct string_array *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (text_equal(list->items[i], text))
            return true;
    return false;
}

/* ---- Facts ---- */

/* A number that an annotation carries; -1: none. */
static int32_t annotation(const struct pod *pod, const char *key)
{
    const char *text = string_map_get(&pod->metadata.annotations, key);
    char *end;
    errno = 0;
    long number = text ? strtol(text, &end, 10) : -1;
    return !text || end == text || *end || errno || number < 0 || number > INT32_MAX ? -1 : (int32_t)number;
}

int32_t job_index_failures(const struct pod *pod)
{
    int32_t count = annotation(pod, JOB_INDEX_FAILURE_COUNT);
    return count < 0 ? 0 : count;
}

int32_t job_index_ignored(const struct pod *pod)
{
    int32_t count = annotation(pod, JOB_INDEX_IGNORED_FAILURE_COUNT);
    return count < 0 ? 0 : count;
}

static void observe(struct job_deciding *d, struct object *object, struct job_fact *f)
{
    const struct pod *pod = object->value;
    bool ended_badly = text_equal(pod->status.phase, "Failed"), deleted = pod->metadata.deletion_timestamp != 0;
    f->object = object;
    f->pod = pod;
    f->any_index = annotation(pod, JOB_COMPLETION_INDEX);
    f->index = d->indexed && f->any_index < d->spec->completions.value ? f->any_index : JOB_NO_INDEX;
    f->tracked = has_text(&pod->metadata.finalizers, JOB_TRACKING_FINALIZER);
    f->active = pod_is_active(pod);
    f->succeeded = text_equal(pod->status.phase, "Succeeded");
    f->terminating = deleted && !f->succeeded && !ended_badly;
    f->failed = ended_badly || (f->terminating && !d->only_replace_failed);
    if (f->failed)
        f->action = job_failure_action(d->arena, d->spec, pod, &f->message);
    f->counts = f->action != JOB_ACTION_IGNORE;
    d->active += f->active;
    d->ready += f->active && pod_is_ready(pod);
    d->terminating += f->terminating;
}

static int compare_indexes(const void *a, const void *b)
{
    const struct job_fact *x = a, *y = b;
    int order = (x->any_index > y->any_index) - (x->any_index < y->any_index);
    return order ? order : strcmp(x->pod->metadata.name, y->pod->metadata.name);
}

static void observe_all(struct job_deciding *d, const struct job_observation *seen)
{
    d->facts = arena_alloc(d->arena, (seen->count + 1) * sizeof(*d->facts));
    d->count = seen->count;
    for (size_t i = 0; i < seen->count; i++)
        observe(d, seen->pods[i], &d->facts[i]);
    qsort(d->facts, d->count, sizeof(*d->facts), compare_indexes);
}

/* ---- Counting ---- */

/* A pod that is not in the counters and not in the lists yet. */
static bool is_new(const struct job_deciding *d, const struct job_fact *f, const struct string_array *listed)
{
    return f->tracked && !has_text(listed, f->object->meta->uid) && (!d->indexed || f->index != JOB_NO_INDEX);
}

static void count(struct job_deciding *d, struct job_backoff old)
{
    const struct uncounted_terminated_pods *uncounted = d->status->uncounted_terminated_pods;
    int64_t *succeeded = arena_alloc(d->arena, (d->count + 1) * sizeof(*succeeded));
    int64_t *failed = arena_alloc(d->arena, (d->count + 1) * sizeof(*failed));
    size_t succeeded_count = 0, failed_count = 0;
    d->succeeded = d->status->succeeded + (int32_t)uncounted->succeeded.count;
    d->failed = d->status->failed + (int32_t)uncounted->failed.count;
    for (size_t i = 0; i < d->count; i++) {
        const struct job_fact *f = &d->facts[i];
        if (f->succeeded && is_new(d, f, &uncounted->succeeded)) {
            succeeded[succeeded_count++] = job_pod_finished_at(f->pod);
            d->succeeded++;
        } else if (f->failed && is_new(d, f, &uncounted->failed)) {
            failed[failed_count++] = job_pod_finished_at(f->pod);
            d->failed += f->counts;
        }
    }
    d->plan->backoff = job_backoff_next(old, succeeded, succeeded_count, failed, failed_count);
}

static bool index_has_failed(const struct job_deciding *d, const struct job_fact *f)
{
    return f->failed && (f->action == JOB_ACTION_FAIL_INDEX ||
                         (f->counts && job_index_failures(f->pod) >= d->spec->backoff_limit_per_index.value));
}

struct index_set job_indexes_with(struct job_deciding *d, const struct index_set *set,
                                  bool (*chosen)(const struct job_deciding *d, const struct job_fact *f))
{
    int32_t *found = arena_alloc(d->arena, (d->count + 1) * sizeof(*found));
    size_t count = 0;
    for (size_t i = 0; i < d->count; i++)
        if (d->facts[i].index != JOB_NO_INDEX && chosen(d, &d->facts[i]))
            found[count++] = d->facts[i].index;
    struct index_set fresh = index_set_of(d->arena, found, count);
    return index_set_merge(d->arena, set, &fresh);
}

static bool is_newly_succeeded(const struct job_deciding *d, const struct job_fact *f)
{
    (void)d;
    return f->succeeded && f->tracked;
}

static bool is_newly_failed(const struct job_deciding *d, const struct job_fact *f)
{
    return f->tracked && index_has_failed(d, f);
}

/* Per index without an active pod, the failed pod that carries its count of failures on to its replacement. */
static void find_delayed(struct job_deciding *d)
{
    static const struct index_set none;
    struct index_set active = job_indexes_with(d, &none, job_fact_is_active);
    d->delayed = arena_alloc(d->arena, (d->count + 1) * sizeof(struct job_fact *));
    for (size_t i = 0; i < d->count; i++) {
        struct job_fact *f = &d->facts[i];
        if (!f->failed || !f->tracked || f->index == JOB_NO_INDEX || index_set_has(&d->succeeded_indexes, f->index) ||
            index_set_has(&d->failed_indexes, f->index) || index_set_has(&active, f->index))
            continue;
        if (!d->delayed_count || d->delayed[d->delayed_count - 1]->index != f->index) {
            d->delayed[d->delayed_count++] = f;
            continue;
        }
        struct job_fact **last = &d->delayed[d->delayed_count - 1];
        int32_t before = job_index_failures((*last)->pod) + job_index_ignored((*last)->pod);
        if (before <= job_index_failures(f->pod) + job_index_ignored(f->pod) &&
            job_pod_finished_at(f->pod) >= job_pod_finished_at((*last)->pod))
            *last = f;
    }
}

struct job_fact *job_delayed_at(const struct job_deciding *d, int32_t index)
{
    size_t low = 0, high = d->delayed_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->delayed[middle]->index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->delayed_count && d->delayed[low]->index == index ? d->delayed[low] : NULL;
}

/* ---- Whether it is to end ---- */

static struct job_condition *condition(struct job_deciding *d, const char *type, const char *status, const char *reason,
                                       const char *message)
{
    struct job_condition *c = arena_alloc(d->arena, sizeof(*c));
    *c = (struct job_condition){.type = type,
                                .status = status,
                                .reason = reason,
                                .message = message,
                                .last_probe_time = d->second,
                                .last_transition_time = d->second};
    return c;
}

/* Appends or changes a condition; one that is not there is not set to False. Returns whether anything changed. */
static bool set_condition(struct job_deciding *d, const struct job_condition *wanted)
{
    struct job_condition_array *list = &d->status->conditions;
    for (size_t i = 0; i < list->count; i++) {
        struct job_condition *c = &list->items[i];
        if (!text_equal(c->type, wanted->type))
            continue;
        if (text_equal(c->status, wanted->status) && text_equal(c->reason, wanted->reason) &&
            text_equal(c->message, wanted->message))
            return false;
        *c = *wanted;
        return true;
    }
    if (text_equal(wanted->status, "False"))
        return false;
    list->items[list->count++] = *wanted;
    return true;
}

static void fail(struct job_deciding *d, const char *reason, const char *message)
{
    d->finish = condition(d, "FailureTarget", "True", reason, message);
}

/* Containers that are restarted in place count as failures of pods. */
static bool restarted_too_often(const struct job_deciding *d)
{
    int64_t restarts = 0;
    if (!text_equal(d->spec->template.spec.restart_policy, "OnFailure"))
        return false;
    for (size_t i = 0; i < d->count; i++) {
        const struct pod_status *s = &d->facts[i].pod->status;
        if (!text_equal(s->phase, "Running") && !text_equal(s->phase, "Pending"))
            continue;
        for (size_t k = 0; k < s->init_container_statuses.count; k++)
            restarts += s->init_container_statuses.items[k].restart_count;
        for (size_t k = 0; k < s->container_statuses.count; k++)
            restarts += s->container_statuses.items[k].restart_count;
    }
    int32_t limit = d->spec->backoff_limit.value;
    return limit ? restarts >= limit : restarts > 0;
}

void job_again_after(struct job_deciding *d, int64_t delay)
{
    if (delay > 0 && (!d->plan->again_after || delay < d->plan->again_after))
        d->plan->again_after = delay;
}

static void check_limits(struct job_deciding *d)
{
    const struct opt_int64 *deadline = &d->spec->active_deadline_seconds;
    /* A Job that is being resumed starts now: what it ran before, and its suspension, do not count. */
    int64_t start = job_condition_is_true(d->status, "Suspended") ? d->second : d->status->start_time;
    if (d->failed > d->spec->backoff_limit.value || restarted_too_often(d)) {
        fail(d, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    } else if (deadline->set && start && !d->suspended) {
        /* Deadlines beyond what time can hold never come. */
        int64_t most = (INT64_MAX - start) / SECOND - 1;
        int64_t end = start + (deadline->value < most ? deadline->value : most) * SECOND;
        if (d->now >= end)
            fail(d, "DeadlineExceeded", "Job was active longer than specified deadline");
        else
            job_again_after(d, end - d->now);
    }
}

static void find_end(struct job_deciding *d)
{
    const struct job_condition *met = job_condition_find(d->status, "SuccessCriteriaMet");
    const struct job_condition *target = job_condition_find(d->status, "FailureTarget");
    if (met && text_equal(met->status, "True")) {
        d->finish = condition(d, met->type, met->status, met->reason, met->message);
        return;
    }
    if (target && text_equal(target->status, "True")) {
        d->finish = condition(d, "Failed", "True", target->reason, target->message);
        return;
    }
    for (size_t i = 0; i < d->count && !d->finish; i++)
        if (d->facts[i].message)
            fail(d, "PodFailurePolicy", d->facts[i].message);
    if (!d->finish)
        check_limits(d);
}

static void decide_indexes(struct job_deciding *d)
{
    const char *message;
    int32_t completions = d->spec->completions.value;
    d->previous_indexes = index_set_parse(d->arena, d->status->completed_indexes, completions);
    d->succeeded_indexes = job_indexes_with(d, &d->previous_indexes, is_newly_succeeded);
    d->succeeded = index_set_total(&d->succeeded_indexes);
    if (d->per_index) {
        struct index_set before = index_set_parse(d->arena, d->status->failed_indexes, completions);
        d->failed_indexes = job_indexes_with(d, &before, is_newly_failed);
        int32_t failed = index_set_total(&d->failed_indexes);
        if (!d->finish && d->spec->max_failed_indexes.set && failed > d->spec->max_failed_indexes.value)
            fail(d, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
        else if (!d->finish && failed && failed + d->succeeded >= completions)
            fail(d, "FailedIndexes", "Job has failed indexes");
        find_delayed(d);
    }
    if (!d->finish && job_success_met(d->arena, d->spec, &d->succeeded_indexes, &message))
        d->finish = condition(d, "SuccessCriteriaMet", "True", "SuccessPolicy", message);
}

/* ---- Its pods ---- */

static void set_suspended(struct job_deciding *d)
{
    if (d->suspended) {
        d->plan->suspended = set_condition(d, condition(d, "Suspended", "True", "JobSuspended", "Job suspended"));
    } else if (set_condition(d, condition(d, "Suspended", "False", "JobResumed", "Job resumed"))) {
        d->plan->resumed = true;
        d->status->start_time = d->second; /* the deadline counts from here */
    }
}

static void decide_pods(struct job_deciding *d)
{
    bool managed = !d->finish && !d->job->metadata.deletion_timestamp;
    if (d->finish) {
        for (size_t i = 0; i < d->count; i++)
            if (d->facts[i].active)
                job_pods_delete(d, &d->facts[i]);
        return;
    }
    if (managed)
        job_pods_manage(d);
    bool complete = d->spec->completions.set ? d->succeeded >= d->spec->completions.value : d->succeeded > 0;
    if (complete && !d->active)
        d->finish = condition(d, "SuccessCriteriaMet", "True", "CompletionsReached",
                              "Reached expected number of succeeded pods");
    else if (managed)
        set_suspended(d);
}

/* ---- Counters and finalizers ---- */

static size_t keep_tracked(struct job_deciding *d, struct string_array *uids)
{
    size_t kept = 0, before = uids->count;
    for (size_t i = 0; i < before; i++) {
        bool tracked = false;
        for (size_t k = 0; k < d->count && !tracked; k++)
            tracked = d->facts[k].tracked && text_equal(d->facts[k].object->meta->uid, uids->items[i]);
        if (tracked)
            uids->items[kept++] = uids->items[i];
    }
    uids->count = kept;
    return before - kept;
}

static bool may_release(const struct job_deciding *d, const struct job_fact *f)
{
    if (!f->tracked)
        return false;
    if (d->job->metadata.deletion_timestamp || d->finish || f->succeeded)
        return true;
    return f->failed && !(d->per_index && f->index != JOB_NO_INDEX && job_delayed_at(d, f->index) == f);
}

/* Puts a pod that may go into the lists. */
static void list_pod(struct job_deciding *d, const struct job_fact *f, struct uncounted_terminated_pods *uncounted,
                     size_t *new_indexes)
{
    const char *uid = f->object->meta->uid;
    bool failing = d->finish && !text_equal(d->finish->type, "SuccessCriteriaMet");
    if (f->succeeded && !has_text(&uncounted->failed, uid)) {
        if (d->indexed)
            *new_indexes += f->index != JOB_NO_INDEX && !index_set_has(&d->previous_indexes, f->index);
        else if (!has_text(&uncounted->succeeded, uid))
            uncounted->succeeded.items[uncounted->succeeded.count++] = uid;
    } else if ((f->failed || failing) && !has_text(&uncounted->failed, uid) &&
               (!d->indexed || f->index != JOB_NO_INDEX)) {
        const char *message;
        if (f->failed ? f->counts : job_failure_action(d->arena, d->spec, f->pod, &message) != JOB_ACTION_IGNORE)
            uncounted->failed.items[uncounted->failed.count++] = uid;
    }
}

static void track(struct job_deciding *d)
{
    struct job_status *status = d->status;
    struct uncounted_terminated_pods *uncounted = status->uncounted_terminated_pods;
    struct job_plan *plan = d->plan;
    size_t new_indexes = 0;
    bool full = false;
    status->succeeded += (int32_t)keep_tracked(d, &uncounted->succeeded);
    status->failed += (int32_t)keep_tracked(d, &uncounted->failed);
    for (size_t i = 0; i < d->count && !full; i++) {
        const struct job_fact *f = &d->facts[i];
        if (!may_release(d, f))
            continue;
        plan->releases[plan->release_count++] = f->object;
        list_pod(d, f, uncounted, &new_indexes);
        full = new_indexes + uncounted->succeeded.count + uncounted->failed.count >= JOB_UNCOUNTED_MAX;
    }
    if (d->indexed) {
        status->succeeded = index_set_total(&d->succeeded_indexes);
        status->completed_indexes = index_set_text(d->arena, &d->succeeded_indexes);
        status->failed_indexes = d->per_index ? index_set_text(d->arena, &d->failed_indexes) : NULL;
    }
    if (!d->finish)
        return;
    /* The reason is written down before the pods that gave it go; the end itself when all of them are counted. */
    bool met = text_equal(d->finish->type, "SuccessCriteriaMet");
    if (!text_equal(d->finish->type, "Failed") && !job_condition_is_true(status, d->finish->type))
        set_condition(d, d->finish);
    if (full || plan->release_count || uncounted->succeeded.count || uncounted->failed.count || d->terminating)
        return;
    struct job_condition *end =
        condition(d, met ? "Complete" : "Failed", "True", d->finish->reason, d->finish->message);
    set_condition(d, end);
    if (met)
        status->completion_time = d->second;
    plan->finished = end;
    plan->too_many = met && d->spec->completions.set && status->succeeded > d->spec->completions.value;
}

/* ---- */

static void copy_uids(struct arena *arena, struct string_array *uids, size_t room)
{
    uids->items = arena_array_grow(arena, uids->items, uids->count, room, sizeof(*uids->items));
}

static void begin(struct job_deciding *d, const struct job_observation *seen)
{
    struct job_status *status = d->status;
    struct uncounted_terminated_pods *uncounted = arena_alloc(d->arena, sizeof(*uncounted));
    *status = d->job->status;
    if (status->uncounted_terminated_pods)
        *uncounted = *status->uncounted_terminated_pods;
    copy_uids(d->arena, &uncounted->succeeded, seen->count);
    copy_uids(d->arena, &uncounted->failed, seen->count);
    status->uncounted_terminated_pods = uncounted;
    status->conditions.items = arena_array_grow(d->arena, status->conditions.items, status->conditions.count, 4,
                                                sizeof(*status->conditions.items));
    d->plan->deletions = arena_alloc(d->arena, (seen->count + 1) * sizeof(struct object *));
    d->plan->releases = arena_alloc(d->arena, (seen->count + 1) * sizeof(struct object *));
}

void job_decide(struct arena *arena, const struct job_observation *seen, struct job_plan *plan)
{
    const struct job_spec *spec = &seen->job->spec;
    *plan = (struct job_plan){0};
    struct job_deciding d = {.arena = arena, .job = seen->job, .spec = spec, .plan = plan, .status = &plan->status};
    d.now = seen->now;
    d.second = seen->now / SECOND * SECOND;
    d.indexed = job_is_indexed(spec);
    d.per_index = d.indexed && spec->backoff_limit_per_index.set;
    d.only_replace_failed = spec->pod_failure_policy || text_equal(spec->pod_replacement_policy, "Failed");
    d.suspended = spec->suspend.set && spec->suspend.value;
    begin(&d, seen);
    observe_all(&d, seen);
    count(&d, seen->backoff);
    if (!d.status->start_time && !d.suspended)
        d.status->start_time = d.second;
    find_end(&d);
    if (d.indexed)
        decide_indexes(&d);
    decide_pods(&d);
    track(&d);
    d.status->active = d.active;
    d.status->ready = opt_int32(d.ready);
    d.status->terminating = opt_int32(d.terminating);
}
