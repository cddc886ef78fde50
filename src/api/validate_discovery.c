/* Rules for EndpointSlices and Events. */
#include "api/validate_parts.h"

#define ENDPOINT_MAX 1000
#define ENDPOINT_ADDRESS_MAX 100
#define ENDPOINT_PORT_MAX 20000
#define TOPOLOGY_MAX 16
#define HINT_MAX 8 /* zones, and nodes, that an endpoint is meant for */

#define EVENT_TEXT_MAX 128
#define EVENT_NOTE_MAX 1024

static const char *const address_types[] = {"FQDN", "IPv4", "IPv6", NULL};
static const char *const event_types[] = {"Normal", "Warning", NULL};

/* Tells of all that is wrong as of one error. Returns whether nothing is. */
static bool validate_as(struct api_field_errors *errors, const struct api_path *path, const char *text,
                        format_rule rule)
{
    struct format_problems problems = {.count = 0};
    const char *all = "";
    rule(text, &problems);
    for (size_t i = 0; i < problems.count; i++)
        all = arena_printf(errors->arena, "%s%s%s", all, i ? "," : "", problems.items[i]);
    if (problems.count)
        field_invalid(errors, path, text, all);
    return !problems.count;
}

/* Two labels at least, with or without a dot at the end. */
static void validate_full_name(struct api_field_errors *errors, const struct api_path *path, const char *name)
{
    size_t n = strlen(name);
    if (!n) {
        field_required(errors, path, NULL);
        return;
    }
    name = name[n - 1] == '.' ? arena_string_n(errors->arena, name, n - 1) : name;
    if (!validate_as(errors, path, name, format_dns_subdomain))
        return;
    if (!strchr(name, '.')) {
        field_invalid(errors, path, name, "should be a domain with at least two segments separated by dots");
        return;
    }
    for (const char *label = name; *label;) {
        size_t length = strcspn(label, ".");
        if (!validate_as(errors, path, arena_string_n(errors->arena, label, length), format_dns_label))
            return;
        label += length + (label[length] == '.');
    }
}

static void validate_slice_address(struct api_field_errors *errors, const struct api_path *path, const char *type,
                                   const char *address)
{
    int family = format_ip_family(address);
    if (text_equal(type, "FQDN")) {
        validate_full_name(errors, path, address ? address : "");
        return;
    }
    if (text_equal(type, "IPv4") && family != 4)
        field_invalid(errors, path, address, "must be a valid IPv4 address");
    else if (text_equal(type, "IPv6") && family != 6)
        field_invalid(errors, path, address, "must be a valid IPv6 address");
    if (text_equal(type, "IPv4") || text_equal(type, "IPv6"))
        validate_ordinary_ip(errors, path, address);
}

/* As upstream: too many of either are refused before any of them is looked at. */
static void validate_hints(struct api_field_errors *errors, const struct api_path *path,
                           const struct endpoint_hints *hints)
{
    const struct api_path *zones = PATH(path, "forZones"), *nodes = PATH(path, "forNodes");
    cleanup_name_set struct name_set zone_names = {0}, node_names = {0};
    if (hints->for_zones.count > HINT_MAX || hints->for_nodes.count > HINT_MAX) {
        bool zones_first = hints->for_zones.count > HINT_MAX;
        field_too_many(errors, zones_first ? zones : nodes,
                       (int)(zones_first ? hints->for_zones.count : hints->for_nodes.count), HINT_MAX);
        return;
    }
    for (size_t i = 0; i < hints->for_zones.count; i++) {
        const struct api_path *at = PATH(PATH_INDEX(zones, i), "name");
        if (!name_set_add(&zone_names, hints->for_zones.items[i].name))
            field_duplicate(errors, at, hints->for_zones.items[i].name);
        field_format(errors, at, hints->for_zones.items[i].name, format_label_value);
    }
    for (size_t i = 0; i < hints->for_nodes.count; i++) {
        const struct api_path *at = PATH(PATH_INDEX(nodes, i), "name");
        if (!name_set_add(&node_names, hints->for_nodes.items[i].name))
            field_duplicate(errors, at, hints->for_nodes.items[i].name);
        field_format(errors, at, hints->for_nodes.items[i].name, format_dns_subdomain);
    }
}

static void validate_endpoint(struct api_field_errors *errors, const struct api_path *path, const struct endpoint *e,
                              const char *type)
{
    const struct api_path *addresses = PATH(path, "addresses");
    if (!e->addresses.count)
        field_required(errors, addresses, "must contain at least 1 endpoint");
    else if (e->addresses.count > ENDPOINT_ADDRESS_MAX)
        field_too_many(errors, addresses, (int)e->addresses.count, ENDPOINT_ADDRESS_MAX);
    for (size_t i = 0; i < e->addresses.count; i++)
        validate_slice_address(errors, PATH_INDEX(addresses, i), type, e->addresses.items[i]);
    if (e->node_name)
        field_format(errors, PATH(path, "nodeName"), e->node_name, format_dns_subdomain);
    if (e->deprecated_topology.count) {
        if (e->deprecated_topology.count > TOPOLOGY_MAX)
            field_too_many(errors, PATH(path, "deprecatedTopology"), (int)e->deprecated_topology.count, TOPOLOGY_MAX);
        validate_labels(errors, PATH(path, "deprecatedTopology"), &e->deprecated_topology);
        if (string_map_get(&e->deprecated_topology, "kubernetes.io/hostname"))
            field_invalid(errors, PATH_KEY(PATH(path, "deprecatedTopology"), "kubernetes.io/hostname"),
                          string_map_get(&e->deprecated_topology, "kubernetes.io/hostname"),
                          "may not be set unless nodeName is unset");
    }
    if (e->hostname)
        field_format(errors, PATH(path, "hostname"), e->hostname, format_dns_label);
    if (e->hints)
        validate_hints(errors, PATH(path, "hints"), e->hints);
}

void validate_endpoint_slice(struct api_field_errors *errors, const void *value)
{
    const struct endpoint_slice *s = value;
    const struct api_path *ports = PATH(NULL, "ports"), *endpoints = PATH(NULL, "endpoints");
    validate_one_of(errors, PATH(NULL, "addressType"), s->address_type, address_types);
    if (s->endpoints.count > ENDPOINT_MAX)
        field_too_many(errors, endpoints, (int)s->endpoints.count, ENDPOINT_MAX);
    else
        for (size_t i = 0; i < s->endpoints.count; i++)
            validate_endpoint(errors, PATH_INDEX(endpoints, i), &s->endpoints.items[i], s->address_type);
    if (s->ports.count > ENDPOINT_PORT_MAX) {
        field_too_many(errors, ports, (int)s->ports.count, ENDPOINT_PORT_MAX);
        return;
    }
    cleanup_name_set struct name_set names = {0};
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct discovery_endpoint_port *p = &s->ports.items[i];
        const struct api_path *at = PATH_INDEX(ports, i);
        if (!text_empty(p->name))
            field_format(errors, PATH(at, "name"), p->name, format_dns_label);
        if (!name_set_add(&names, p->name))
            field_duplicate(errors, PATH(at, "name"), p->name);
        validate_one_of(errors, PATH(at, "protocol"), p->protocol, validate_protocols);
        if (p->app_protocol)
            field_format(errors, PATH(at, "appProtocol"), p->app_protocol, format_qualified_name);
    }
}

void validate_endpoint_slice_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_string_unchanged(errors, PATH(NULL, "addressType"), ((const struct endpoint_slice *)value)->address_type,
                              ((const struct endpoint_slice *)old)->address_type);
}

static void validate_event_text(struct api_field_errors *errors, const struct api_path *path, const char *text)
{
    if (text_empty(text))
        field_required(errors, path, NULL);
    else if (strlen(text) > EVENT_TEXT_MAX)
        field_invalid(errors, path, "", "can have at most 128 characters");
}

/* What both views of an event share once it carries eventTime. */
static void validate_new_event(struct api_field_errors *errors, const char *controller_field, const char *controller,
                               const char *instance, const char *action, const char *reason)
{
    const struct api_path *at = PATH(NULL, controller_field);
    if (text_empty(controller))
        field_required(errors, at, NULL);
    field_format(errors, at, controller, format_qualified_name);
    validate_event_text(errors, PATH(NULL, "reportingInstance"), instance);
    validate_event_text(errors, PATH(NULL, "action"), action);
    validate_event_text(errors, PATH(NULL, "reason"), reason);
}

void validate_event(struct api_field_errors *errors, const void *value)
{
    static const char message[] = "does not match event.namespace";
    const struct event *e = value;
    const struct api_path *namespace = PATH(PATH(NULL, "involvedObject"), "namespace");
    const char *home = e->metadata.namespace, *involved = e->involved_object.namespace;
    if (!e->event_time) {
        if (text_empty(involved) ? !text_empty(home) && !text_equal(home, "default") : !text_equal(home, involved))
            field_invalid(errors, namespace, involved, message);
        return;
    }
    if (text_empty(involved) && !text_equal(home, "default") && !text_equal(home, "kube-system"))
        field_invalid(errors, namespace, involved, message);
    validate_new_event(errors, "reportingController", e->reporting_component, e->reporting_instance, e->action,
                       e->reason);
    if (e->message && strlen(e->message) > EVENT_NOTE_MAX)
        field_invalid(errors, PATH(NULL, "message"), "", "can have at most 1024 characters");
}

void validate_events_event(struct api_field_errors *errors, const void *value)
{
    const struct events_event *e = value;
    if (!e->event_time)
        field_required(errors, PATH(NULL, "eventTime"), NULL);
    validate_new_event(errors, "reportingController", e->reporting_controller, e->reporting_instance, e->action,
                       e->reason);
    if (e->note && strlen(e->note) > EVENT_NOTE_MAX)
        field_invalid(errors, PATH(NULL, "message"), "", "can have at most 1024 characters");
    if (!validate_is_one_of(e->type, event_types))
        field_invalid(errors, PATH(NULL, "type"), "", "has invalid value: ");
    if (e->deprecated_count)
        field_invalid(errors, PATH(NULL, "count"), "", "needs to be unset");
    if (e->deprecated_first_timestamp)
        field_invalid(errors, PATH(NULL, "firstTimestamp"), "", "needs to be unset");
    if (e->deprecated_last_timestamp)
        field_invalid(errors, PATH(NULL, "lastTimestamp"), "", "needs to be unset");
    if (!text_empty(e->deprecated_source.component) || !text_empty(e->deprecated_source.host))
        field_invalid(errors, PATH(NULL, "source"), "", "needs to be unset");
    if (e->series && e->series->count < 2)
        field_invalid(errors, PATH(PATH(NULL, "series"), "count"), "", "should be at least 2");
    if (e->series && !e->series->last_observed_time)
        field_required(errors, PATH(PATH(NULL, "series"), "lastObservedTime"), NULL);
}

/* An event of this API is a fact: only its series goes on. */
void validate_events_event_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct events_event *e = value, *old = old_value;
    const struct {
        const char *name;
        const char *now;
        const char *before;
    } fixed[] = {
        {"reportingController", e->reporting_controller, old->reporting_controller},
        {"reportingInstance", e->reporting_instance, old->reporting_instance},
        {"action", e->action, old->action},
        {"reason", e->reason, old->reason},
        {"message", e->note, old->note},
        {"type", e->type, old->type},
    };
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        validate_string_unchanged(errors, PATH(NULL, fixed[i].name), fixed[i].now, fixed[i].before);
}
