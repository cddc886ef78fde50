/* Rules for the status of a Job: whoever runs it (managedBy), its conditions and counters only move forward. A rule
 * whose field does not change is not applied, so that a status from before the rule can still be written. */
#include "api/index_set.h"
#include "api/job.h"
#include "api/json.h"
#include "api/validate_job.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

static void invalid_time(struct api_field_errors *errors, const struct api_path *path, int64_t time, const char *detail)
{
    char text[TIME_TEXT_MAX];
    time_format(time, text);
    field_invalid(errors, path, text, detail);
}

static void validate_uids(struct api_field_errors *errors, const struct api_path *path, const struct string_array *uids,
                          struct name_set *seen)
{
    for (size_t i = 0; i < uids->count; i++) {
        if (text_empty(uids->items[i]))
            field_invalid(errors, PATH_INDEX(path, i), uids->items[i], "must not be empty");
        else if (!name_set_add(seen, uids->items[i]))
            field_duplicate(errors, PATH_INDEX(path, i), uids->items[i]);
    }
}

static void validate_counters(struct api_field_errors *errors, const struct api_path *path,
                              const struct job_status *status)
{
    validate_nonnegative(errors, PATH(path, "active"), status->active);
    validate_nonnegative(errors, PATH(path, "succeeded"), status->succeeded);
    validate_nonnegative(errors, PATH(path, "failed"), status->failed);
    if (status->ready.set)
        validate_nonnegative(errors, PATH(path, "ready"), status->ready.value);
    if (status->terminating.set)
        validate_nonnegative(errors, PATH(path, "terminating"), status->terminating.value);
    if (!status->uncounted_terminated_pods)
        return;
    const struct api_path *uncounted = PATH(path, "uncountedTerminatedPods");
    cleanup_name_set struct name_set seen = {0};
    validate_uids(errors, PATH(uncounted, "succeeded"), &status->uncounted_terminated_pods->succeeded, &seen);
    validate_uids(errors, PATH(uncounted, "failed"), &status->uncounted_terminated_pods->failed, &seen);
}

static size_t uncounted(const struct job_status *status)
{
    const struct uncounted_terminated_pods *pods = status->uncounted_terminated_pods;
    return pods ? pods->succeeded.count + pods->failed.count : 0;
}

/* Two statuses, and what the rules ask about them. */
struct change {
    const struct job_spec *spec;
    const struct job_status *now, *old;
    bool finished, complete, failed, failure_target, met; /* now */
    bool finished_changed, complete_changed, failed_changed, failure_target_changed;
    bool completed_indexes_changed, failed_indexes_changed, start_changed, completion_changed;
    bool resuming; /* this write says that the suspension is over */
};

static bool condition_is_false(const struct job_status *status, const char *type)
{
    const struct job_condition *condition = job_condition_find(status, type);
    return condition && text_equal(condition->status, "False");
}

static struct change compare(const struct job *job, const struct job *old_job)
{
    const struct job_status *now = &job->status, *old = &old_job->status;
    struct change c = {.spec = &job->spec, .now = now, .old = old};
    c.finished = job_is_finished(now);
    c.complete = job_condition_is_true(now, "Complete");
    c.failed = job_condition_is_true(now, "Failed");
    c.failure_target = job_condition_is_true(now, "FailureTarget");
    c.met = job_condition_is_true(now, "SuccessCriteriaMet");
    c.finished_changed = c.finished != job_is_finished(old);
    c.complete_changed = c.complete != job_condition_is_true(old, "Complete");
    c.failed_changed = c.failed != job_condition_is_true(old, "Failed");
    c.failure_target_changed = c.failure_target != job_condition_is_true(old, "FailureTarget");
    c.completed_indexes_changed = !text_equal(now->completed_indexes, old->completed_indexes);
    c.failed_indexes_changed =
        !now->failed_indexes != !old->failed_indexes || !text_equal(now->failed_indexes, old->failed_indexes);
    c.start_changed = now->start_time != old->start_time;
    c.completion_changed = now->completion_time != old->completion_time;
    c.resuming = job_condition_is_true(old, "Suspended") && condition_is_false(now, "Suspended");
    return c;
}

static void validate_completion(struct api_field_errors *errors, const struct api_path *path, const struct change *c)
{
    const struct api_path *conditions = PATH(path, "conditions"), *completion = PATH(path, "completionTime");
    const struct job_status *now = c->now;
    if ((c->complete_changed || c->failed_changed) && c->complete && c->failed)
        field_invalid_json(errors, conditions, NULL, "cannot set Complete=True and Failed=true conditions");
    if ((c->complete_changed || c->failure_target_changed) && c->complete && c->failure_target)
        field_invalid_json(errors, conditions, NULL, "cannot set Complete=True and FailureTarget=true conditions");
    if ((c->complete_changed || c->completion_changed) && now->completion_time && !c->complete)
        invalid_time(errors, completion, now->completion_time,
                     "cannot set completionTime when there is no Complete=True condition");
    if ((c->complete_changed || c->completion_changed) && !now->completion_time && c->complete)
        field_required(errors, completion, "completionTime is required for Complete jobs");
    if ((c->start_changed || c->completion_changed) && now->start_time && now->completion_time &&
        now->completion_time < now->start_time)
        invalid_time(errors, completion, now->completion_time, "completionTime cannot be set before startTime");
    if (c->failed_changed && c->failed && !c->failure_target)
        field_invalid_json(errors, conditions, NULL,
                           "cannot set Failed=True condition without the FailureTarget=true condition");
    if (c->complete_changed && c->complete && !c->met)
        field_invalid_json(errors, conditions, NULL,
                           "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
}

static void validate_finished(struct api_field_errors *errors, const struct api_path *path, const struct change *c)
{
    const struct job_status *now = c->now, *old = c->old;
    bool terminating_changed =
        now->terminating.set != old->terminating.set || now->terminating.value != old->terminating.value;
    if (!c->finished)
        return;
    if ((c->finished_changed || now->active != old->active) && now->active > 0)
        field_invalid_int(errors, PATH(path, "active"), now->active, "active>0 is invalid for finished job");
    if ((c->finished_changed || c->start_changed) && !now->start_time)
        field_required(errors, PATH(path, "startTime"), "startTime is required for finished job");
    if (uncounted(now) && (c->finished_changed || uncounted(now) != uncounted(old)))
        field_invalid_struct(errors, PATH(path, "uncountedTerminatedPods"), &api_type_uncounted_terminated_pods,
                             now->uncounted_terminated_pods,
                             "uncountedTerminatedPods needs to be empty for finished job");
    if ((c->finished_changed || terminating_changed) && now->terminating.value > 0)
        field_invalid_int(errors, PATH(path, "terminating"), now->terminating.value,
                          "terminating>0 is invalid for finished job");
}

static void validate_index_text(struct api_field_errors *errors, const struct api_path *path, const char *name,
                                const char *text, int32_t completions)
{
    int32_t total;
    const char *problem = index_set_check(errors->arena, text, completions, &total);
    if (problem)
        field_invalid(errors, PATH(path, name), text,
                      arena_printf(errors->arena, "error parsing %s: %s", name, problem));
}

static void validate_indexes(struct api_field_errors *errors, const struct api_path *path, const struct change *c)
{
    const struct job_status *now = c->now;
    const struct opt_int32 *completions = &c->spec->completions;
    bool per_index = c->spec->backoff_limit_per_index.set;
    if (c->completed_indexes_changed && completions->set)
        validate_index_text(errors, path, "completedIndexes", now->completed_indexes, completions->value);
    if (c->failed_indexes_changed && completions->set && per_index && now->failed_indexes)
        validate_index_text(errors, path, "failedIndexes", now->failed_indexes, completions->value);
    if (c->completed_indexes_changed && !text_empty(now->completed_indexes) && !job_is_indexed(c->spec))
        field_invalid(errors, PATH(path, "completedIndexes"), now->completed_indexes,
                      "cannot set non-empty completedIndexes when non-indexed completion mode");
    if (c->failed_indexes_changed && !per_index && now->failed_indexes)
        field_invalid(errors, PATH(path, "failedIndexes"), now->failed_indexes,
                      "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    if (!(c->failed_indexes_changed || c->completed_indexes_changed) || !completions->set || !now->failed_indexes)
        return;
    int32_t overlap = index_set_overlap(now->completed_indexes, now->failed_indexes, completions->value);
    if (overlap >= 0)
        field_invalid(errors, PATH(path, "failedIndexes"), now->failed_indexes,
                      arena_printf(errors->arena, "failedIndexes and completedIndexes overlap at index: %d", overlap));
}

static void validate_success_criteria(struct api_field_errors *errors, const struct api_path *path,
                                      const struct change *c)
{
    const struct api_path *conditions = PATH(path, "conditions");
    bool met_before = job_condition_is_true(c->old, "SuccessCriteriaMet");
    bool ready_changed = c->now->ready.set != c->old->ready.set || c->now->ready.value != c->old->ready.value;
    if ((ready_changed || c->now->active != c->old->active) && c->now->ready.value > c->now->active)
        field_invalid_int(errors, PATH(path, "ready"), c->now->ready.value, "cannot set more ready pods than active");
    if (c->met && c->failed)
        field_invalid_json(errors, conditions, NULL, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    if (c->met && c->failure_target)
        field_invalid_json(errors, conditions, NULL,
                           "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    if (c->spec->success_policy && !c->met && c->complete)
        field_invalid_json(errors, conditions, NULL,
                           "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    if (met_before && !c->met)
        field_invalid_json(errors, conditions, NULL, "cannot disable the SuccessCriteriaMet=True condition");
    if (job_condition_is_true(c->old, "Complete") && !met_before && c->met)
        field_invalid_json(errors, conditions, NULL,
                           "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

static void validate_progress(struct api_field_errors *errors, const struct api_path *path, const struct change *c)
{
    static const char *const terminal[] = {"Failed", "Complete", "FailureTarget"};
    const struct job_status *now = c->now, *old = c->old;
    const struct opt_int32 *completions = &c->spec->completions, *parallelism = &c->spec->parallelism;
    for (size_t i = 0; i < ARRAY_COUNT(terminal); i++)
        if (job_condition_is_true(old, terminal[i]) && !job_condition_is_true(now, terminal[i]))
            field_invalid_json(
                errors, PATH(path, "conditions"), NULL,
                arena_printf(errors->arena, "cannot disable the terminal %s=True condition", terminal[i]));
    if (now->failed < old->failed)
        field_invalid_int(errors, PATH(path, "failed"), now->failed, "cannot decrease the failed counter");
    /* An Indexed Job may be made smaller, with indexes that have succeeded. */
    bool elastic =
        job_is_indexed(c->spec) && completions->set == parallelism->set && completions->value == parallelism->value;
    if (!elastic && now->succeeded < old->succeeded)
        field_invalid_int(errors, PATH(path, "succeeded"), now->succeeded, "cannot decrease the succeeded counter");
    if (now->completion_time && old->completion_time && c->completion_changed)
        invalid_time(errors, PATH(path, "completionTime"), now->completion_time, "completionTime cannot be mutated");
    /* A Job that is resumed starts anew, as upstream has it since 1.35. */
    if (c->start_changed && !c->resuming && old->start_time && !is_true(c->spec->suspend))
        field_required(errors, PATH(path, "startTime"), "startTime cannot be removed for unsuspended job");
}

void validate_job_status_update(struct api_field_errors *errors, const void *value, const void *old)
{
    const struct api_path *path = PATH(NULL, "status");
    struct change c = compare(value, old);
    validate_counters(errors, path, c.now);
    validate_completion(errors, path, &c);
    validate_finished(errors, path, &c);
    validate_indexes(errors, path, &c);
    validate_progress(errors, path, &c);
    validate_success_criteria(errors, path, &c);
}
