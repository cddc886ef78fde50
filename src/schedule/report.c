/* What a pod that fits nowhere is told: an event, and the condition PodScheduled. */
#include <string.h>

#include "api/json.h"
#include "api/pod_condition.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/timestamp.h"
#include "schedule/private.h"

/* Adds the condition to a patch of the status, unless the pod says so already. */
static bool add_condition(struct pending *p, const char *message, struct buffer *out)
{
    const struct pod_condition *old =
        pod_condition_find(&((const struct pod *)p->pod->value)->status.conditions, "PodScheduled");
    bool same = old && strcmp(old->status, "False") == 0;
    if (same && old->message && strcmp(old->message, message) == 0)
        return false;
    char time[TIME_TEXT_MAX];
    time_format(same ? old->last_transition_time : env_now(p->scheduler->env), time);
    buffer_printf(out,
                  "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\","
                  "\"observedGeneration\":%lld,\"lastTransitionTime\":\"%s\",\"message\":",
                  (long long)p->pod->meta->generation, time);
    json_encode_string(out, message);
    buffer_add_string(out, "}]");
    return true;
}

void report_failure(struct pending *p, const char *message, bool nominated_changed)
{
    struct scheduler *s = p->scheduler;
    const struct object_meta *meta = p->pod->meta;
    cleanup_buffer struct buffer patch = {0};
    recorder_event(s->recorder, p->pod->resource, meta, NULL, "Warning", "FailedScheduling", "%s", message);
    buffer_printf(&patch, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{", p->uid);
    bool told = add_condition(p, message, &patch);
    if (!told && !nominated_changed)
        return;
    if (nominated_changed) {
        buffer_add_string(&patch, told ? ",\"nominatedNodeName\":" : "\"nominatedNodeName\":");
        if (p->nominated)
            json_encode_string(&patch, p->nominated);
        else
            buffer_add_string(&patch, "null");
    }
    buffer_add_string(&patch, "}}");
    client_patch(s->client, p->pod->resource, "status", meta->namespace, meta->name, PATCH_STRATEGIC, patch.data, NULL,
                 NULL);
}
