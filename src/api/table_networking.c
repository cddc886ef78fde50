/* Columns and cells of ingresses, their classes, and network policies. */
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "api/table_columns.h"
#include "base/arena.h"
#include "base/cleanup.h"

/* More hosts than these are only counted. */
#define HOSTS_MAX 3

const struct table_column_definition ingress_columns[] = {
    COLUMN_NAME,
    {"Class", "string", NULL, "IngressClass that serves it.", 0},
    {"Hosts", "string", NULL, "Hosts that it has rules for.", 0},
    {"Address", "string", NULL, "Where it is reached.", 0},
    {"Ports", "string", NULL, "Ports that it listens on.", 0},
    COLUMN_AGE,
    {0}};

const struct table_column_definition ingress_class_columns[] = {
    {"Name", "string", "name", "Name of the object, unique within its kind.", 0},
    {"Controller", "string", NULL, "Controller that serves the class.", 0},
    {"Parameters", "string", NULL, "Object with more settings of the class.", 0},
    COLUMN_AGE,
    {0}};

const struct table_column_definition network_policy_columns[] = {
    COLUMN_NAME,
    {"Pod-Selector", "string", NULL, "Labels of the pods that the policy is about.", 0},
    COLUMN_AGE,
    {0}};

static void hosts_cell(struct cells *cells, const struct ingress_rule_array *rules)
{
    cleanup_buffer struct buffer list = {0};
    size_t shown = 0;
    bool more = false;
    for (size_t i = 0; i < rules->count; i++) {
        const char *host = rules->items[i].host;
        more |= shown == HOSTS_MAX;
        if (!more && host && *host)
            buffer_printf(&list, "%s%s", shown++ ? "," : "", host);
    }
    if (more)
        buffer_printf(&list, " + %zu more...", rules->count - HOSTS_MAX);
    cell_text_or(cells, list.data, "*");
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each address once, in order. */
static void address_cell(struct cells *cells, const struct ingress_load_balancer_ingress_array *ingress)
{
    cleanup_free const char **texts = mem_zero(ingress->count + 1, sizeof(*texts));
    cleanup_buffer struct buffer list = {0};
    size_t count = 0;
    for (size_t i = 0; i < ingress->count; i++) {
        const struct ingress_load_balancer_ingress *in = &ingress->items[i];
        const char *text = in->ip && *in->ip ? in->ip : in->hostname;
        if (text && *text)
            texts[count++] = text;
    }
    qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < count; i++)
        if (!i || strcmp(texts[i], texts[i - 1]) != 0)
            buffer_printf(&list, "%s%s", i ? "," : "", texts[i]);
    cell_text(cells, list.data);
}

void ingress_cells(struct cells *cells, const void *value)
{
    const struct ingress *i = value;
    cell_text(cells, i->metadata.name);
    cell_text(cells, i->spec.ingress_class_name ? i->spec.ingress_class_name : "<none>");
    hosts_cell(cells, &i->spec.rules);
    address_cell(cells, &i->status.load_balancer.ingress);
    cell_text(cells, i->spec.tls.count ? "80, 443" : "80");
    cell_age(cells, i->metadata.creation_timestamp);
}

void ingress_class_cells(struct cells *cells, const void *value)
{
    const struct ingress_class *c = value;
    const struct ingress_class_parameters_reference *p = c->spec.parameters;
    cell_text(cells, c->metadata.name);
    cell_text(cells, c->spec.controller);
    if (p)
        cell_format(cells, "%s%s%s/%s", p->kind ? p->kind : "", p->api_group ? "." : "",
                    p->api_group ? p->api_group : "", p->name ? p->name : "");
    else
        cell_text(cells, "<none>");
    cell_age(cells, c->metadata.creation_timestamp);
}

void network_policy_cells(struct cells *cells, const void *value)
{
    const struct network_policy *p = value;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct selector *parsed;
    cell_text(cells, p->metadata.name);
    if (selector_from_label_selector(arena, &p->spec.pod_selector, &parsed, NULL) < 0)
        cell_text(cells, "<error>");
    else
        cell_text_or(cells, selector_text(arena, parsed), "<none>");
    cell_age(cells, p->metadata.creation_timestamp);
}
