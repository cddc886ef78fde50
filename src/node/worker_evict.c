/* Pods that have to go although nobody deletes them, and pods that are not taken in. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/eviction.h"
#include "node/worker.h"

/* From here on it ends as a deleted pod does: withdrawn and drained first. */
static void begin_end(struct worker *w, int64_t grace)
{
    w->state.seen.terminating = true;
    w->state.seen.terminate_by = env_now(w->agent->env) + grace;
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
    w->state.disrupted = disruption;
    worker_event(w, NULL, "Warning", EVICTION_REASON, "%s", message);
    begin_end(w, EVICTION_GRACE_SECONDS * SECOND);
}

void worker_resume_eviction(struct worker *w, const struct pod *shown)
{
    if (!shown->status.reason || strcmp(shown->status.reason, EVICTION_REASON) != 0)
        return;
    fail(w, EVICTION_REASON, shown->status.message ? shown->status.message : "");
    begin_end(w, 0);
}

void worker_reject(struct worker *w, const char *reason, const char *why)
{
    cleanup_free char *message = mem_printf("Pod was rejected: %s", why);
    fail(w, reason, message);
    worker_event(w, NULL, "Warning", reason, "%s", why);
    w->state.seen.torn_down = w->state.rejected = true;
    begin_end(w, 0);
}
