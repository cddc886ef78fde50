/* How long a Job waits before it replaces failed pods. */
#include <stdlib.h>

#include "api/pod_condition.h"
#include "control/job_decide.h"

/* The latest end of its containers; 0 when one has not ended. */
static int64_t containers_finished_at(const struct pod *pod)
{
    int64_t latest = 0;
    for (size_t i = 0; i < pod->status.container_statuses.count; i++) {
        const struct container_state_terminated *t = pod->status.container_statuses.items[i].state.terminated;
        if (!t || !t->finished_at)
            return 0;
        if (t->finished_at > latest)
            latest = t->finished_at;
    }
    return latest;
}

int64_t job_pod_finished_at(const struct pod *pod)
{
    const struct object_meta *meta = &pod->metadata;
    const struct pod_condition *ready = pod_condition_find(&pod->status.conditions, "Ready");
    int64_t at = containers_finished_at(pod);
    if (at)
        return at;
    if (ready && ready->status && *ready->status == 'F' && ready->last_transition_time)
        return ready->last_transition_time;
    if (meta->deletion_timestamp)
        return meta->deletion_timestamp - meta->deletion_grace_period_seconds.value * SECOND;
    return meta->creation_timestamp;
}

int64_t job_backoff_left(int32_t failures, int64_t last, int64_t now)
{
    int64_t delay = JOB_BACKOFF_FIRST;
    if (!failures)
        return 0;
    for (int32_t i = 1; i < failures && delay < JOB_BACKOFF_MAX; i++)
        delay *= 2;
    if (delay > JOB_BACKOFF_MAX)
        delay = JOB_BACKOFF_MAX;
    return delay < now - last ? 0 : delay - (now - last);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

struct job_backoff job_backoff_next(struct job_backoff old, const int64_t *succeeded, size_t succeeded_count,
                                    int64_t *failed, size_t failed_count)
{
    struct job_backoff next = {0};
    int64_t last_success = 0;
    if (!succeeded_count && !failed_count)
        return old;
    if (failed_count)
        qsort(failed, failed_count, sizeof(*failed), compare_times);
    if (!succeeded_count)
        return (struct job_backoff){old.failures + (int32_t)failed_count, failed[failed_count - 1]};
    for (size_t i = 0; i < succeeded_count; i++)
        if (succeeded[i] > last_success)
            last_success = succeeded[i];
    for (size_t i = failed_count; i-- && failed[i] > last_success; next.failures++)
        if (!next.last)
            next.last = failed[i];
    return next;
}
