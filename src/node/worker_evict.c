/* Pods that have to go although nobody deletes them, and pods that are not taken in. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "node/eviction.h"
#include "node/preemption.h"
#include "node/worker.h"

/* From here on it ends as a deleted pod does: withdrawn and drained first. One that ends already gets no more time. */
static void begin_end(struct worker *w, int64_t grace)
{
    struct pod_observation *seen = &w->state.seen;
    int64_t by = env_now(w->agent->env) + grace;
    if (!seen->terminating || by < seen->terminate_by)
        seen->terminate_by = by;
    seen->terminating = true;
    w->status_dirty = true;
    worker_poke(w);
}

static void fail(struct worker *w, const char *reason, const char *message)
{
    free(w->state.message);
    w->state.reason = reason;
    w->state.message = mem_string(message);
}

void worker_evict(struct worker *w, const char *message, bool disruption)
{
    fail(w, EVICTION_REASON, message);
    w->state.disruption = disruption ? w->state.message : NULL;
    worker_event(w, NULL, "Warning", EVICTION_REASON, "%s", message);
    begin_end(w, EVICTION_GRACE_SECONDS * SECOND);
}

void worker_preempt(struct worker *w, const struct worker *critical)
{
    fail(w, PREEMPTION_REASON, PREEMPTION_MESSAGE);
    w->state.disruption = PREEMPTION_DISRUPTION;
    w->makes_room_for = mem_string(worker_pod(critical)->metadata.uid);
    worker_event(w, NULL, "Warning", PREEMPTION_REASON, PREEMPTION_MESSAGE);
    begin_end(w, duration_of_seconds(worker_pod(w)->spec.termination_grace_period_seconds.value));
}

void worker_resume_eviction(struct worker *w, const struct pod *shown)
{
    static const char *const reasons[] = {EVICTION_REASON, PREEMPTION_REASON};
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        if (!text_equal(shown->status.reason, reasons[i]))
            continue;
        fail(w, reasons[i], text_or_empty(shown->status.message));
        begin_end(w, 0);
    }
}

void worker_reject(struct worker *w, const char *reason, const char *why)
{
    cleanup_free char *message = mem_printf("Pod was rejected: %s", why);
    fail(w, reason, message);
    worker_event(w, NULL, "Warning", reason, "%s", why);
    w->state.seen.torn_down = w->state.rejected = true;
    begin_end(w, 0);
}
