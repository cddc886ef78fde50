/* The terms of a NodeSelector, against labels and name of a node. */
#include "api/node_selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool has_value(const struct string_array *values, const char *value)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i], value) == 0)
            return true;
    return false;
}

static bool read_number(const char *text, long long *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *text && !*end && errno == 0;
}

/* value NULL: the node has no such label. */
static bool requirement_holds(const struct node_selector_requirement *r, const char *value)
{
    const char *operator = r->operator ? r->operator : "";
    if (strcmp(operator, "Exists") == 0)
        return value != NULL;
    if (strcmp(operator, "DoesNotExist") == 0)
        return !value;
    if (strcmp(operator, "NotIn") == 0)
        return !value || !has_value(&r->values, value);
    if (!value)
        return false;
    if (strcmp(operator, "In") == 0)
        return has_value(&r->values, value);
    bool greater = strcmp(operator, "Gt") == 0;
    long long have, wanted;
    if ((!greater && strcmp(operator, "Lt") != 0) || r->values.count != 1 || !read_number(value, &have) ||
        !read_number(r->values.items[0], &wanted))
        return false;
    return greater ? have > wanted : have < wanted;
}

bool node_selector_term_matches(const struct node_selector_term *term, const struct object_meta *node)
{
    for (size_t i = 0; i < term->match_expressions.count; i++) {
        const struct node_selector_requirement *r = &term->match_expressions.items[i];
        if (!requirement_holds(r, string_map_get(&node->labels, r->key ? r->key : "")))
            return false;
    }
    for (size_t i = 0; i < term->match_fields.count; i++) {
        const struct node_selector_requirement *r = &term->match_fields.items[i];
        bool name = r->key && strcmp(r->key, "metadata.name") == 0;
        if (!name || !requirement_holds(r, node->name))
            return false;
    }
    return term->match_expressions.count + term->match_fields.count > 0;
}

bool node_selector_matches(const struct node_selector *selector, const struct object_meta *node)
{
    for (size_t i = 0; i < selector->node_selector_terms.count; i++)
        if (node_selector_term_matches(&selector->node_selector_terms.items[i], node))
            return true;
    return false;
}

const struct node_selector *pod_node_terms(const struct pod *pod)
{
    const struct affinity *a = pod->spec.affinity;
    return a && a->node_affinity ? a->node_affinity->required_during_scheduling_ignored_during_execution : NULL;
}

bool pod_has_node_requirements(const struct pod *pod)
{
    return pod->spec.node_selector.count || pod_node_terms(pod);
}

bool pod_requires_node(const struct pod *pod, const struct object_meta *node)
{
    const struct node_selector *terms = pod_node_terms(pod);
    return string_map_contains(&node->labels, &pod->spec.node_selector) &&
           (!terms || node_selector_matches(terms, node));
}
