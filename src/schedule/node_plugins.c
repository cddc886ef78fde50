/* NodeUnschedulable, NodeName, NodeAffinity (the node selector), TaintToleration and NodePorts. */
#include <string.h>

#include "schedule/plugin.h"

#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"

/* As upstream's ToleratesTaint: an empty key with Exists tolerates everything; an empty effect every effect. */
static bool tolerates(const struct toleration *t, const char *key, const char *value, const char *effect)
{
    bool exists = t->operator && strcmp(t->operator, "Exists") == 0;
    if (t->effect && *t->effect && strcmp(t->effect, effect) != 0)
        return false;
    if (t->key && *t->key && strcmp(t->key, key) != 0)
        return false;
    if ((!t->key || !*t->key) && !exists)
        return false;
    return exists || strcmp(t->value ? t->value : "", value ? value : "") == 0;
}

static bool tolerated(const struct pod *pod, const char *key, const char *value, const char *effect)
{
    for (size_t i = 0; i < pod->spec.tolerations.count; i++)
        if (tolerates(&pod->spec.tolerations.items[i], key, value, effect))
            return true;
    return false;
}

void filter_node_unschedulable(const struct schedule_pod *pod, const struct node_info *node,
                               struct schedule_verdict *verdict)
{
    if (node->node->spec.unschedulable && !tolerated(pod->pod, TAINT_UNSCHEDULABLE, "", "NoSchedule"))
        schedule_object(verdict, "node(s) were unschedulable", true);
}

void filter_node_name(const struct schedule_pod *pod, const struct node_info *node, struct schedule_verdict *verdict)
{
    const char *wanted = pod->pod->spec.node_name;
    if (wanted && *wanted && strcmp(wanted, node->object->meta->name) != 0)
        schedule_object(verdict, "node(s) didn't match the requested node name", true);
}

void filter_taint_toleration(const struct schedule_pod *pod, const struct node_info *node,
                             struct schedule_verdict *verdict)
{
    for (size_t i = 0; i < node->node->spec.taints.count; i++) {
        const struct taint *t = &node->node->spec.taints.items[i];
        bool keeps_out = strcmp(t->effect, "NoSchedule") == 0 || strcmp(t->effect, "NoExecute") == 0;
        if (keeps_out && !tolerated(pod->pod, t->key, t->value, t->effect)) {
            schedule_object(verdict, "node(s) had untolerated taint(s)", true);
            return;
        }
    }
}

/* The fewer PreferNoSchedule taints are not tolerated, the better. */
int64_t score_taint_toleration(const struct schedule_pod *pod, const struct node_info *node)
{
    size_t bad = 0, all = node->node->spec.taints.count;
    for (size_t i = 0; i < all; i++) {
        const struct taint *t = &node->node->spec.taints.items[i];
        bad += strcmp(t->effect, "PreferNoSchedule") == 0 && !tolerated(pod->pod, t->key, t->value, t->effect);
    }
    return all ? SCHEDULE_SCORE_MAX - (int64_t)(bad * SCHEDULE_SCORE_MAX / all) : SCHEDULE_SCORE_MAX;
}

void filter_node_affinity(const struct schedule_pod *pod, const struct node_info *node,
                          struct schedule_verdict *verdict)
{
    const struct string_map *selector = &pod->pod->spec.node_selector;
    for (size_t i = 0; i < selector->count; i++) {
        const char *value = string_map_get(&node->object->meta->labels, selector->items[i].key);
        if (!value || strcmp(value, selector->items[i].value) != 0) {
            schedule_object(verdict, "node(s) didn't match Pod's node affinity/selector", true);
            return;
        }
    }
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
