/* NodeUnschedulable, NodeName, TaintToleration and NodePorts. */
#include <string.h>

#include "api/host_port.h"
#include "api/toleration.h"
#include "schedule/plugin.h"

#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"

static bool tolerated(const struct pod *pod, const char *key, const char *value, const char *effect)
{
    return toleration_find(&pod->spec, key, value, effect) != NULL;
}

void filter_node_unschedulable(const struct schedule_pod *pod, const struct node_info *node,
                               struct schedule_verdict *verdict)
{
    if (node->node->spec.unschedulable && !tolerated(pod->pod, TAINT_UNSCHEDULABLE, "", "NoSchedule"))
        schedule_object(verdict, "node(s) were unschedulable", true);
}

bool prefilter_node_name(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    (void)verdict;
    return pod->pod->spec.node_name && *pod->pod->spec.node_name;
}

void filter_node_name(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict)
{
    if (strcmp(pod->pod->spec.node_name, node->object->meta->name) != 0)
        schedule_object(verdict, "node(s) didn't match the requested node name", true);
}

const struct taint *node_untolerated_taint(const struct pod *pod, const struct node *node)
{
    for (size_t i = 0; i < node->spec.taints.count; i++) {
        const struct taint *t = &node->spec.taints.items[i];
        bool keeps_out = strcmp(t->effect, "NoSchedule") == 0 || strcmp(t->effect, "NoExecute") == 0;
        if (keeps_out && !tolerated(pod, t->key, t->value, t->effect))
            return t;
    }
    return NULL;
}

void filter_taint_toleration(const struct schedule_pod *pod, const struct node_info *node,
                             struct schedule_verdict *verdict)
{
    if (node->node->spec.taints.count && node_untolerated_taint(pod->pod, node->node))
        schedule_object(verdict, "node(s) had untolerated taint(s)", true);
}

static bool prefers_not(const struct taint *taint)
{
    return strcmp(taint->effect, "PreferNoSchedule") == 0;
}

bool prescore_taint_toleration(struct schedule_pod *pod, struct node_info *const *nodes, size_t count)
{
    (void)pod;
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < nodes[i]->node->spec.taints.count; t++)
            if (prefers_not(&nodes[i]->node->spec.taints.items[t]))
                return true;
    return false;
}

/* Taints that the pod would rather not have; of its tolerations those without an effect or with this one count. */
int64_t score_taint_toleration(const struct schedule_pod *pod, const struct node_info *node)
{
    int64_t bad = 0;
    for (size_t i = 0; i < node->node->spec.taints.count; i++) {
        const struct taint *t = &node->node->spec.taints.items[i];
        bad += prefers_not(t) && !tolerated(pod->pod, t->key, t->value, t->effect);
    }
    return bad;
}

bool hint_taint_toleration(const struct census *census, const struct pod *pod, const struct schedule_change *change)
{
    (void)census;
    return !node_untolerated_taint(pod, change->node->node);
}

static bool asks_for_none(void *context, const struct container_port *port, const char *ip)
{
    return false;
}

bool prefilter_node_ports(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    return !pod_host_ports(&pod->pod->spec, asks_for_none, NULL);
}

static bool is_free(void *context, const struct container_port *port, const char *ip)
{
    return !node_info_has_port(context, port, ip);
}

void filter_node_ports(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict)
{
    if (!pod_host_ports(&pod->pod->spec, is_free, (void *)(uintptr_t)node))
        schedule_object(verdict, "node(s) didn't have free ports for the requested pod ports", false);
}
