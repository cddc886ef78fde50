/* Columns and cells of the kinds, but those of pods, storage and jobs, which have files of their own. */
#include "api/table_columns.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/node_status.h"
#include "api/selector.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"

/* More addresses or ports than these are only counted. */
#define SHOWN_MAX 3

/* As upstream prints the kinds that it has no columns for: when they were made, not how old they are. */
static const struct table_column_definition default_columns[] = {
    COLUMN_NAME, {"Created At", "date", NULL, "When the object was created.", 0}, {0}};

static const struct table_column_definition pod_columns[] = {
    COLUMN_NAME,
    {"Ready", "string", NULL, "Ready containers of all containers of the pod.", 0},
    {"Status", "string", NULL, "What the pod is doing, summed up from its phase and its containers.", 0},
    {"Restarts", "string", NULL, "How often its containers restarted, and when the last restart was.", 0},
    COLUMN_AGE,
    {"IP", "string", NULL, "Address of the pod in the cluster.", 1},
    {"Node", "string", NULL, "Node that the pod is bound to.", 1},
    {"Nominated Node", "string", NULL, "Node on which room is being made for the pod.", 1},
    {"Readiness Gates", "string", NULL, "Readiness gates that are true, of all that the pod names.", 1},
    {0}};

static const struct table_column_definition deployment_columns[] = {
    COLUMN_NAME,
    {"Ready", "string", NULL, "Ready pods of wanted pods.", 0},
    {"Up-to-date", "string", NULL, "Pods that run the present template.", 0},
    {"Available", "string", NULL, "Pods that have been ready for at least minReadySeconds.", 0},
    COLUMN_AGE,
    {"Containers", "string", NULL, "Names of the containers in the template.", 1},
    {"Images", "string", NULL, "Images of the containers in the template.", 1},
    {"Selector", "string", NULL, "Label selector of the pods that belong to it.", 1},
    {0}};

static const struct table_column_definition replica_set_columns[] = {
    COLUMN_NAME,
    {"Desired", "integer", NULL, "Wanted pods.", 0},
    {"Current", "integer", NULL, "Pods that exist.", 0},
    {"Ready", "integer", NULL, "Pods that are ready.", 0},
    COLUMN_AGE,
    {"Containers", "string", NULL, "Names of the containers in the template.", 1},
    {"Images", "string", NULL, "Images of the containers in the template.", 1},
    {"Selector", "string", NULL, "Label selector of the pods that belong to it.", 1},
    {0}};

static const struct table_column_definition service_columns[] = {
    COLUMN_NAME,
    {"Type", "string", NULL, "How the service is exposed.", 0},
    {"Cluster-IP", "string", NULL, "Address of the service inside the cluster.", 0},
    {"External-IP", "string", NULL, "Addresses under which it is reached from outside.", 0},
    {"Port(s)", "string", NULL, "Ports of the service, with the port of the nodes where there is one.", 0},
    COLUMN_AGE,
    {"Selector", "string", NULL, "Labels of the pods that the service sends traffic to.", 1},
    {0}};

static const struct table_column_definition endpoints_columns[] = {
    COLUMN_NAME, {"Endpoints", "string", NULL, "Ready addresses with their ports.", 0}, COLUMN_AGE, {0}};

static const struct table_column_definition endpoint_slice_columns[] = {
    COLUMN_NAME,
    {"AddressType", "string", NULL, "Kind of the addresses in the slice.", 0},
    {"Ports", "string", NULL, "Ports that each endpoint serves.", 0},
    {"Endpoints", "string", NULL, "Addresses in the slice.", 0},
    COLUMN_AGE,
    {0}};

static const struct table_column_definition node_columns[] = {
    COLUMN_NAME,
    {"Status", "string", NULL, "Whether the node is ready and takes new pods.", 0},
    {"Roles", "string", NULL, "Roles that its labels give the node.", 0},
    COLUMN_AGE,
    {"Version", "string", NULL, "Version of the node's agent.", 0},
    {"Internal-IP", "string", NULL, "Address of the node inside the cluster.", 1},
    {"External-IP", "string", NULL, "Address of the node outside the cluster.", 1},
    {"OS-Image", "string", NULL, "Operating system, as the node reports it.", 1},
    {"Kernel-Version", "string", NULL, "Version of the node's kernel.", 1},
    {"Container-Runtime", "string", NULL, "Container runtime and its version.", 1},
    {0}};

static const struct table_column_definition namespace_columns[] = {
    COLUMN_NAME, {"Status", "string", NULL, "Whether the namespace is active or being emptied.", 0}, COLUMN_AGE, {0}};

static const struct table_column_definition config_map_columns[] = {
    COLUMN_NAME, {"Data", "string", NULL, "Number of keys.", 0}, COLUMN_AGE, {0}};

static const struct table_column_definition secret_columns[] = {COLUMN_NAME,
                                                                {"Type", "string", NULL, "What the secret is for.", 0},
                                                                {"Data", "string", NULL, "Number of keys.", 0},
                                                                COLUMN_AGE,
                                                                {0}};

static const struct table_column_definition service_account_columns[] = {
    COLUMN_NAME, {"Secrets", "string", NULL, "Number of secrets that belong to the account.", 0}, COLUMN_AGE, {0}};

static const struct table_column_definition event_columns[] = {
    {"Last Seen", "string", NULL, "Time since the event happened last.", 0},
    {"Type", "string", NULL, "Normal, or Warning.", 0},
    {"Reason", "string", NULL, "Why it happened, in one word for programs.", 0},
    {"Object", "string", NULL, "Object that the event is about.", 0},
    {"Subobject", "string", NULL, "Part of the object that the event is about.", 1},
    {"Source", "string", NULL, "Component that reported the event.", 1},
    {"Message", "string", NULL, "What happened, for people.", 0},
    {"First Seen", "string", NULL, "Time since the event happened first.", 1},
    {"Count", "string", NULL, "How often it happened.", 1},
    {"Name", "string", "name", "Name of the event.", 1},
    {0}};

static const struct table_column_definition priority_class_columns[] = {
    COLUMN_NAME,
    {"Value", "integer", NULL, "Priority of the pods of the class.", 0},
    {"Global-Default", "boolean", NULL, "Whether pods that name no class have this one.", 0},
    COLUMN_AGE,
    {"PreemptionPolicy", "string", NULL, "Whether its pods may displace others of lower priority.", 0},
    {0}};

static const struct table_column_definition lease_columns[] = {
    COLUMN_NAME, {"Holder", "string", NULL, "Who holds the lease.", 0}, COLUMN_AGE, {0}};

void cell_containers(struct cells *cells, const struct pod_spec *spec)
{
    cleanup_buffer struct buffer names = {0}, images = {0};
    for (size_t i = 0; i < spec->containers.count; i++) {
        buffer_printf(&names, "%s%s", i ? "," : "", text_or_empty(spec->containers.items[i].name));
        buffer_printf(&images, "%s%s", i ? "," : "", text_or_empty(spec->containers.items[i].image));
    }
    cell_text(cells, names.data);
    cell_text(cells, images.data);
}

void cell_selector(struct cells *cells, const struct label_selector *selector)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const struct selector *parsed;
    if (selector_from_label_selector(arena, selector, &parsed, NULL) < 0)
        cell_text(cells, "<error>");
    else
        cell_text_or(cells, selector_text(arena, parsed), "<none>");
}

static void deployment_cells(struct cells *cells, const void *value)
{
    const struct deployment *d = value;
    cell_text(cells, d->metadata.name);
    cell_format(cells, "%d/%d", d->status.ready_replicas, d->spec.replicas.value);
    cell_number(cells, d->status.updated_replicas);
    cell_number(cells, d->status.available_replicas);
    cell_age(cells, d->metadata.creation_timestamp);
    cell_containers(cells, &d->spec.template.spec);
    cell_selector(cells, d->spec.selector);
}

static void replica_set_cells(struct cells *cells, const void *value)
{
    const struct replica_set *r = value;
    cell_text(cells, r->metadata.name);
    cell_number(cells, r->spec.replicas.value);
    cell_number(cells, r->status.replicas);
    cell_number(cells, r->status.ready_replicas);
    cell_age(cells, r->metadata.creation_timestamp);
    cell_containers(cells, &r->spec.template.spec);
    cell_selector(cells, r->spec.selector);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_listed(struct buffer *list, const char *text)
{
    if (text && *text)
        buffer_printf(list, "%s%s", list->size ? "," : "", text);
}

/* Each once, in order; sorts them where they are. */
static void add_sorted(struct buffer *list, const char **texts, size_t count)
{
    if (count)
        qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < count; i++)
        if (!i || strcmp(texts[i], texts[i - 1]) != 0)
            add_listed(list, texts[i]);
}

static void external_ip_cell(struct cells *cells, const struct service *s)
{
    cleanup_buffer struct buffer list = {0};
    const struct load_balancer_ingress_array *ingress = &s->status.load_balancer.ingress;
    bool balanced = text_equal(s->spec.type, "LoadBalancer");
    if (text_equal(s->spec.type, "ExternalName")) {
        cell_text(cells, s->spec.external_name);
        return;
    }
    cleanup_free const char **addresses = mem_zero(ingress->count + 1, sizeof(*addresses));
    for (size_t i = 0; i < ingress->count; i++)
        addresses[i] =
            text_or_empty(*text_or_empty(ingress->items[i].ip) ? ingress->items[i].ip : ingress->items[i].hostname);
    add_sorted(&list, addresses, balanced ? ingress->count : 0);
    for (size_t i = 0; i < s->spec.external_ips.count; i++)
        add_listed(&list, s->spec.external_ips.items[i]);
    cell_text_or(cells, list.data, balanced ? "<pending>" : "<none>");
}

static void service_cells(struct cells *cells, const void *value)
{
    const struct service *s = value;
    cell_text(cells, s->metadata.name);
    cell_text(cells, s->spec.type);
    cell_text_or(cells, s->spec.cluster_ips.count ? s->spec.cluster_ips.items[0] : NULL, "<none>");
    external_ip_cell(cells, s);
    cleanup_buffer struct buffer ports = {0};
    for (size_t i = 0; i < s->spec.ports.count; i++) {
        const struct service_port *p = &s->spec.ports.items[i];
        buffer_printf(&ports, "%s%d", i ? "," : "", p->port);
        if (p->node_port)
            buffer_printf(&ports, ":%d", p->node_port);
        buffer_printf(&ports, "/%s", text_or_empty(p->protocol));
    }
    cell_text_or(cells, ports.data, "<none>");
    cell_age(cells, s->metadata.creation_timestamp);
    cell_labels(cells, &s->spec.selector);
}

/* The first few of a list, and how many more there are. */
struct shown {
    struct buffer text;
    size_t count;
};

static void show(struct shown *shown, const char *text)
{
    if (shown->count++ < SHOWN_MAX)
        buffer_printf(&shown->text, "%s%s", shown->count > 1 ? "," : "", text);
}

static void shown_cell(struct cells *cells, struct shown *shown, const char *otherwise)
{
    if (shown->count > SHOWN_MAX)
        buffer_printf(&shown->text, " + %zu more...", shown->count - SHOWN_MAX);
    cell_text_or(cells, shown->text.data, otherwise);
    buffer_free(&shown->text);
}

static void endpoints_cells(struct cells *cells, const void *value)
{
    const struct endpoints *e = value;
    struct shown shown = {0};
    for (size_t i = 0; i < e->subsets.count; i++) {
        const struct endpoint_subset *s = &e->subsets.items[i];
        for (size_t k = 0; !s->ports.count && k < s->addresses.count; k++)
            show(&shown, text_or_empty(s->addresses.items[k].ip));
        for (size_t p = 0; p < s->ports.count; p++)
            for (size_t k = 0; k < s->addresses.count; k++) {
                char text[80];
                const char *ip = text_or_empty(s->addresses.items[k].ip);
                snprintf(text, sizeof(text), strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, s->ports.items[p].port);
                show(&shown, text);
            }
    }
    cell_text(cells, e->metadata.name);
    /* As upstream: nothing is shown of addresses none of which is ready. */
    shown_cell(cells, &shown, e->subsets.count ? "" : "<none>");
    cell_age(cells, e->metadata.creation_timestamp);
}

static void endpoint_slice_cells(struct cells *cells, const void *value)
{
    const struct endpoint_slice *s = value;
    struct shown ports = {0}, addresses = {0};
    for (size_t i = 0; i < s->ports.count; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", s->ports.items[i].port.value);
        show(&ports, s->ports.items[i].port.set ? number : s->ports.items[i].name ? s->ports.items[i].name : "*");
    }
    for (size_t i = 0; i < s->endpoints.count; i++)
        for (size_t k = 0; k < s->endpoints.items[i].addresses.count; k++)
            show(&addresses, s->endpoints.items[i].addresses.items[k]);
    cell_text(cells, s->metadata.name);
    cell_text(cells, s->address_type);
    shown_cell(cells, &ports, "<unset>");
    shown_cell(cells, &addresses, "<unset>");
    cell_age(cells, s->metadata.creation_timestamp);
}

static void roles_cell(struct cells *cells, const struct string_map *labels)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    cleanup_arena struct arena *arena = arena_new(0);
    const char **roles = arena_alloc(arena, (labels->count + 1) * sizeof(*roles));
    size_t count = 0;
    for (size_t i = 0; i < labels->count; i++) {
        const char *key = labels->items[i].key;
        if (strncmp(key, prefix, sizeof(prefix) - 1) == 0 && key[sizeof(prefix) - 1])
            roles[count++] = key + sizeof(prefix) - 1;
        else if (text_equal(key, "kubernetes.io/role") && *text_or_empty(labels->items[i].value))
            roles[count++] = labels->items[i].value;
    }
    cleanup_buffer struct buffer list = {0};
    add_sorted(&list, roles, count);
    cell_text_or(cells, list.data, "<none>");
}

static void node_cells(struct cells *cells, const void *value)
{
    const struct node *n = value;
    const char *status = "Unknown";
    for (size_t i = 0; i < n->status.conditions.count; i++)
        if (text_equal(n->status.conditions.items[i].type, "Ready"))
            status = text_equal(n->status.conditions.items[i].status, "True") ? "Ready" : "NotReady";
    cell_text(cells, n->metadata.name);
    cell_format(cells, "%s%s", status, n->spec.unschedulable ? ",SchedulingDisabled" : "");
    roles_cell(cells, &n->metadata.labels);
    cell_age(cells, n->metadata.creation_timestamp);
    cell_text(cells, n->status.node_info.kubelet_version);
    cell_text_or(cells, node_address(n, "InternalIP"), "<none>");
    cell_text_or(cells, node_address(n, "ExternalIP"), "<none>");
    cell_text_or(cells, n->status.node_info.os_image, "<unknown>");
    cell_text_or(cells, n->status.node_info.kernel_version, "<unknown>");
    cell_text_or(cells, n->status.node_info.container_runtime_version, "<unknown>");
}

static void namespace_cells(struct cells *cells, const void *value)
{
    const struct namespace *n = value;
    cell_text(cells, n->metadata.name);
    cell_text(cells, n->status.phase);
    cell_age(cells, n->metadata.creation_timestamp);
}

static void config_map_cells(struct cells *cells, const void *value)
{
    const struct config_map *c = value;
    cell_text(cells, c->metadata.name);
    cell_number(cells, (int64_t)(c->data.count + c->binary_data.count));
    cell_age(cells, c->metadata.creation_timestamp);
}

static void secret_cells(struct cells *cells, const void *value)
{
    const struct secret *s = value;
    cell_text(cells, s->metadata.name);
    cell_text(cells, s->type);
    cell_number(cells, (int64_t)s->data.count);
    cell_age(cells, s->metadata.creation_timestamp);
}

static void service_account_cells(struct cells *cells, const void *value)
{
    const struct service_account *s = value;
    cell_text(cells, s->metadata.name);
    cell_number(cells, (int64_t)s->secrets.count);
    cell_age(cells, s->metadata.creation_timestamp);
}

/* What both views of an event show. */
struct event_view {
    int64_t first, last, at, series_last;
    int32_t count, series_count;
    bool series;
    const char *type, *reason, *message, *name, *component, *host;
    const struct object_reference *object;
};

static void write_event(struct cells *cells, const struct event_view *e)
{
    char first[HUMAN_DURATION_MAX], last[HUMAN_DURATION_MAX];
    age_text(cells, e->first ? e->first : e->at, first);
    if (e->series)
        age_text(cells, e->series_last, last);
    else if (e->last)
        age_text(cells, e->last, last);
    else
        strcpy(last, first);
    cleanup_buffer struct buffer object = {0}, source = {0};
    buffer_printf(&object, "%s", text_or_empty(e->object->kind));
    for (size_t i = 0; i < object.size; i++)
        object.data[i] = (char)tolower((unsigned char)object.data[i]);
    if (*text_or_empty(e->object->name))
        buffer_printf(&object, "/%s", e->object->name);
    buffer_printf(&source, *text_or_empty(e->host) ? "%s, %s" : "%s%s", text_or_empty(e->component),
                  text_or_empty(e->host));
    const char *message = text_or_empty(e->message);
    message += strspn(message, " \t\r\n");
    size_t n = strlen(message);
    while (n && strchr(" \t\r\n", message[n - 1]))
        n--;
    cleanup_buffer struct buffer trimmed = {0};
    buffer_add(&trimmed, message, n);
    cell_text(cells, last);
    cell_text(cells, e->type);
    cell_text(cells, e->reason);
    cell_text(cells, object.data);
    cell_text(cells, e->object->field_path);
    cell_text(cells, source.data);
    cell_text(cells, trimmed.data);
    cell_text(cells, first);
    cell_number(cells, e->series ? e->series_count : e->count ? e->count : 1);
    cell_text(cells, e->name);
}

static const char *first_of(const char *a, const char *b)
{
    return *text_or_empty(a) ? a : b;
}

static void event_cells(struct cells *cells, const void *value)
{
    const struct event *e = value;
    write_event(cells, &(struct event_view){
                           .first = e->first_timestamp,
                           .last = e->last_timestamp,
                           .at = e->event_time,
                           .series = e->series,
                           .series_last = e->series ? e->series->last_observed_time : 0,
                           .series_count = e->series ? e->series->count : 0,
                           .count = e->count,
                           .type = e->type,
                           .reason = e->reason,
                           .message = e->message,
                           .name = e->metadata.name,
                           .component = first_of(e->source.component, e->reporting_component),
                           .host = first_of(e->source.host, e->reporting_instance),
                           .object = &e->involved_object,
                       });
}

static void events_event_cells(struct cells *cells, const void *value)
{
    const struct events_event *e = value;
    write_event(cells, &(struct event_view){
                           .first = e->deprecated_first_timestamp,
                           .last = e->deprecated_last_timestamp,
                           .at = e->event_time,
                           .series = e->series,
                           .series_last = e->series ? e->series->last_observed_time : 0,
                           .series_count = e->series ? e->series->count : 0,
                           .count = e->deprecated_count,
                           .type = e->type,
                           .reason = e->reason,
                           .message = e->note,
                           .name = e->metadata.name,
                           .component = first_of(e->deprecated_source.component, e->reporting_controller),
                           .host = first_of(e->deprecated_source.host, e->reporting_instance),
                           .object = &e->regarding,
                       });
}

static void lease_cells(struct cells *cells, const void *value)
{
    const struct lease *l = value;
    cell_text(cells, l->metadata.name);
    cell_text(cells, l->spec.holder_identity);
    cell_age(cells, l->metadata.creation_timestamp);
}

static void priority_class_cells(struct cells *cells, const void *value)
{
    const struct priority_class *c = value;
    cell_text(cells, c->metadata.name);
    cell_number(cells, c->value);
    cell_bool(cells, c->global_default);
    cell_age(cells, c->metadata.creation_timestamp);
    cell_text(cells, c->preemption_policy);
}

static const struct {
    const struct table_column_definition *columns;
    void (*cells)(struct cells *cells, const void *value);
} kinds[API_RESOURCE_COUNT] = {
    [API_NAMESPACES] = {namespace_columns, namespace_cells},
    [API_NODES] = {node_columns, node_cells},
    [API_PODS] = {pod_columns, pod_cells},
    [API_SERVICES] = {service_columns, service_cells},
    [API_ENDPOINTS] = {endpoints_columns, endpoints_cells},
    [API_CONFIGMAPS] = {config_map_columns, config_map_cells},
    [API_SECRETS] = {secret_columns, secret_cells},
    [API_SERVICEACCOUNTS] = {service_account_columns, service_account_cells},
    [API_EVENTS] = {event_columns, event_cells},
    [API_REPLICASETS] = {replica_set_columns, replica_set_cells},
    [API_DEPLOYMENTS] = {deployment_columns, deployment_cells},
    [API_JOBS] = {job_columns, job_cells},
    [API_CRONJOBS] = {cron_job_columns, cron_job_cells},
    [API_ENDPOINTSLICES] = {endpoint_slice_columns, endpoint_slice_cells},
    [API_EVENTS_EVENTS] = {event_columns, events_event_cells},
    [API_LEASES] = {lease_columns, lease_cells},
    [API_PERSISTENTVOLUMES] = {persistent_volume_columns, persistent_volume_cells},
    [API_PERSISTENTVOLUMECLAIMS] = {persistent_volume_claim_columns, persistent_volume_claim_cells},
    [API_METRICS_NODES] = {metrics_columns, node_metrics_cells},
    [API_METRICS_PODS] = {metrics_columns, pod_metrics_cells},
    [API_PRIORITYCLASSES] = {priority_class_columns, priority_class_cells},
    [API_STORAGECLASSES] = {storage_class_columns, storage_class_cells},
    [API_INGRESSES] = {ingress_columns, ingress_cells},
    [API_INGRESSCLASSES] = {ingress_class_columns, ingress_class_cells},
    [API_NETWORKPOLICIES] = {network_policy_columns, network_policy_cells},
    [API_ROLEBINDINGS] = {role_binding_columns, role_binding_cells},
    [API_CLUSTERROLEBINDINGS] = {role_binding_columns, cluster_role_binding_cells},
};

const struct table_column_definition *table_columns(const struct api_resource *resource)
{
    return kinds[resource->index].columns ? kinds[resource->index].columns : default_columns;
}

void table_cells(const struct api_resource *resource, struct cells *cells, const void *value)
{
    if (kinds[resource->index].cells) {
        kinds[resource->index].cells(cells, value);
        return;
    }
    char created[TIME_TEXT_MAX] = "0001-01-01T00:00:00Z";
    const struct object_meta *meta = api_meta(resource, value);
    if (meta->creation_timestamp)
        time_format(meta->creation_timestamp, created);
    cell_text(cells, meta->name);
    cell_text(cells, created);
}
