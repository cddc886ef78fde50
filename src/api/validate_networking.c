/* Rules for ingresses, their classes, and network policies. */
#include "api/validate_parts.h"
#include "api/well_known.h"

#define CONTROLLER_MAX 250

/* ---- Ingress ---- */

static const char *const path_types[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};

static void validate_reference(struct api_field_errors *errors, const struct api_path *path, const char *api_group,
                               const char *kind, const char *name)
{
    if (api_group)
        field_format(errors, PATH(path, "apiGroup"), api_group, format_dns_subdomain);
    if (text_empty(kind))
        field_required(errors, PATH(path, "kind"), NULL);
    else
        field_format(errors, PATH(path, "kind"), kind, format_path_segment);
    if (text_empty(name))
        field_required(errors, PATH(path, "name"), NULL);
    else
        field_format(errors, PATH(path, "name"), name, format_path_segment);
}

static void validate_service_backend(struct api_field_errors *errors, const struct api_path *path,
                                     const struct ingress_service_backend *service)
{
    const struct api_path *at = PATH(path, "service"), *port = PATH(at, "port");
    if (text_empty(service->name))
        field_required(errors, PATH(at, "name"), NULL);
    else
        field_format(errors, PATH(at, "name"), service->name, format_dns1035_label);
    if (!text_empty(service->port.name) && service->port.number)
        field_invalid(errors, path, "", "cannot set both port name & port number");
    else if (!text_empty(service->port.name))
        field_format(errors, PATH(port, "name"), service->port.name, format_port_name);
    else if (service->port.number)
        validate_port_number(errors, PATH(port, "number"), service->port.number);
    else
        field_required(errors, path, "port name or number is required");
}

static void validate_backend(struct api_field_errors *errors, const struct api_path *path,
                             const struct ingress_backend *backend)
{
    const struct typed_local_object_reference *r = backend->resource;
    if (r && backend->service)
        field_invalid(errors, path, "", "cannot set both resource and service backends");
    else if (r)
        validate_reference(errors, PATH(path, "resource"), r->api_group, r->kind, r->name);
    else if (backend->service)
        validate_service_backend(errors, path, backend->service);
    else
        field_invalid(errors, path, "", "resource or service backend is required");
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void validate_exact_path(struct api_field_errors *errors, const struct api_path *at, const char *path)
{
    static const char *const parts[] = {"//", "/./", "/../", "%2f", "%2F"};
    static const char *const ends[] = {"/..", "/."};
    if (*path != '/')
        field_invalid(errors, at, path, "must be an absolute path");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(path, parts[i]))
            field_invalid(errors, at, path, arena_printf(errors->arena, "must not contain '%s'", parts[i]));
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (ends_with(path, ends[i]))
            field_invalid(errors, at, path, arena_printf(errors->arena, "cannot end with '%s'", ends[i]));
}

static void validate_http_path(struct api_field_errors *errors, const struct api_path *path,
                               const struct http_ingress_path *p)
{
    const char *text = p->path ? p->path : "";
    if (!p->path_type) {
        field_required(errors, PATH(path, "pathType"), "pathType must be specified");
        return;
    }
    if (text_equal(p->path_type, "Exact") || text_equal(p->path_type, "Prefix"))
        validate_exact_path(errors, PATH(path, "path"), text);
    else if (!text_equal(p->path_type, "ImplementationSpecific"))
        field_not_supported(errors, PATH(path, "pathType"), p->path_type, path_types);
    else if (*text && *text != '/')
        field_invalid(errors, PATH(path, "path"), text, "must be an absolute path");
    validate_backend(errors, PATH(path, "backend"), &p->backend);
}

static void validate_host(struct api_field_errors *errors, const struct api_path *path, const char *host)
{
    field_format(errors, path, host, strchr(host, '*') ? format_wildcard_dns_subdomain : format_dns_subdomain);
}

static void validate_rule(struct api_field_errors *errors, const struct api_path *path, const struct ingress_rule *rule)
{
    if (!text_empty(rule->host)) {
        if (format_ip_family(rule->host))
            field_invalid(errors, PATH(path, "host"), rule->host, "must be a DNS name, not an IP address");
        validate_host(errors, PATH(path, "host"), rule->host);
    }
    if (!rule->http)
        return;
    const struct api_path *paths = PATH(PATH(path, "http"), "paths");
    if (!rule->http->paths.count)
        field_required(errors, paths, NULL);
    for (size_t i = 0; i < rule->http->paths.count; i++)
        validate_http_path(errors, PATH_INDEX(paths, i), &rule->http->paths.items[i]);
}

static void validate_ingress(struct api_field_errors *errors, const void *value)
{
    const struct ingress_spec *spec = &((const struct ingress *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec"), *rules = PATH(path, "rules"), *tls = PATH(path, "tls");
    if (!spec->rules.count && !spec->default_backend)
        field_invalid_json(errors, path, "null", "either `defaultBackend` or `rules` must be specified");
    if (spec->default_backend)
        validate_backend(errors, PATH(path, "defaultBackend"), spec->default_backend);
    for (size_t i = 0; i < spec->rules.count; i++)
        validate_rule(errors, PATH_INDEX(rules, i), &spec->rules.items[i]);
    for (size_t i = 0; i < spec->tls.count; i++) {
        const struct ingress_tls *t = &spec->tls.items[i];
        const struct api_path *at = PATH_INDEX(tls, i), *hosts = PATH(at, "hosts");
        for (size_t k = 0; k < t->hosts.count; k++)
            validate_host(errors, PATH_INDEX(hosts, k), t->hosts.items[k]);
        if (!text_empty(t->secret_name))
            field_format(errors, PATH(at, "secretName"), t->secret_name, format_dns_subdomain);
    }
    if (spec->ingress_class_name)
        field_format(errors, PATH(path, "ingressClassName"), spec->ingress_class_name, format_dns_subdomain);
}

void validate_ingress_create(struct api_field_errors *errors, const void *value)
{
    const struct ingress *ingress = value;
    const char *class = string_map_get(&ingress->metadata.annotations, INGRESS_CLASS_ANNOTATION);
    validate_ingress(errors, value);
    if (class && ingress->spec.ingress_class_name && !text_equal(class, ingress->spec.ingress_class_name))
        field_invalid(errors, PATH(PATH(NULL, "annotations"), INGRESS_CLASS_ANNOTATION), class,
                      "must match `ingressClassName` when both are specified");
}

void validate_ingress_update(struct api_field_errors *errors, const void *value, const void *old)
{
    (void)old;
    validate_ingress(errors, value);
}

void validate_ingress_status_update(struct api_field_errors *errors, const void *value, const void *old)
{
    (void)old;
    const struct ingress_load_balancer_ingress_array *list =
        &((const struct ingress *)value)->status.load_balancer.ingress;
    const struct api_path *path = PATH(PATH(PATH(NULL, "status"), "loadBalancer"), "ingress");
    for (size_t i = 0; i < list->count; i++) {
        const struct ingress_load_balancer_ingress *in = &list->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        if (!text_empty(in->ip))
            field_format(errors, PATH(at, "ip"), in->ip, format_ip);
        if (text_empty(in->hostname))
            continue;
        field_format(errors, PATH(at, "hostname"), in->hostname, format_dns_subdomain);
        if (format_ip_family(in->hostname))
            field_invalid(errors, PATH(at, "hostname"), in->hostname, "must be a DNS name, not an IP address");
    }
}

/* ---- IngressClass ---- */

#define HTTP_PATH_PUNCTUATION "/-._~%!$&'()*+,;=:"

/* "example.com/ingress". */
static void validate_domain_prefixed_path(struct api_field_errors *errors, const struct api_path *path,
                                          const char *text)
{
    const char *slash = strchr(text, '/');
    if (!slash || slash == text || !slash[1]) {
        field_invalid(errors, path, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    }
    field_format(errors, path, arena_string_n(errors->arena, text, (size_t)(slash - text)), format_dns_subdomain);
    for (const char *c = slash + 1; *c; c++)
        if (!(*c >= '0' && *c <= '9') && !((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') &&
            !strchr(HTTP_PATH_PUNCTUATION, *c)) {
            field_invalid(errors, path, slash + 1,
                          "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
            return;
        }
}

static void validate_parameters(struct api_field_errors *errors, const struct api_path *path,
                                const struct ingress_class_parameters_reference *p)
{
    static const char *const scopes[] = {"Cluster", "Namespace", NULL};
    const struct api_path *namespace = PATH(path, "namespace");
    validate_reference(errors, path, p->api_group, p->kind, p->name);
    if (!p->scope)
        field_required(errors, PATH(path, "scope"), NULL);
    else if (!validate_is_one_of(p->scope, scopes))
        field_not_supported(errors, PATH(path, "scope"), p->scope, scopes);
    else if (text_equal(p->scope, "Cluster") && p->namespace)
        field_forbidden(errors, namespace, "`parameters.scope` is set to 'Cluster'");
    else if (text_equal(p->scope, "Namespace") && !p->namespace)
        field_required(errors, namespace, "`parameters.scope` is set to 'Namespace'");
    else if (text_equal(p->scope, "Namespace"))
        field_format(errors, namespace, p->namespace, format_dns_label);
}

void validate_ingress_class(struct api_field_errors *errors, const void *value)
{
    const struct ingress_class_spec *spec = &((const struct ingress_class *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec"), *controller = PATH(path, "controller");
    if (text_empty(spec->controller)) {
        field_required(errors, controller, NULL);
    } else {
        if (strlen(spec->controller) > CONTROLLER_MAX)
            field_too_long(errors, controller, CONTROLLER_MAX);
        validate_domain_prefixed_path(errors, controller, spec->controller);
    }
    if (spec->parameters)
        validate_parameters(errors, PATH(path, "parameters"), spec->parameters);
}

void validate_ingress_class_update(struct api_field_errors *errors, const void *value, const void *old)
{
    validate_string_unchanged(errors, PATH(PATH(NULL, "spec"), "controller"),
                              ((const struct ingress_class *)value)->spec.controller,
                              ((const struct ingress_class *)old)->spec.controller);
    validate_ingress_class(errors, value);
}

/* ---- NetworkPolicy ---- */

static void validate_policy_port(struct api_field_errors *errors, const struct api_path *path,
                                 const struct network_policy_port *p)
{
    static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
    const struct api_path *port = PATH(path, "port"), *end = PATH(path, "endPort");
    validate_optional_one_of(errors, PATH(path, "protocol"), p->protocol, protocols);
    if (p->port.kind == INT_OR_STRING_UNSET) {
        if (p->end_port.set)
            field_invalid_int(errors, end, p->end_port.value, "may not be specified when `port` is not specified");
        return;
    }
    if (p->port.kind == INT_OR_STRING_STRING) {
        if (p->end_port.set)
            field_invalid_int(errors, end, p->end_port.value, "may not be specified when `port` is non-numeric");
        field_format(errors, port, p->port.text, format_port_name);
        return;
    }
    validate_port_number(errors, port, p->port.number);
    if (!p->end_port.set)
        return;
    /* Upstream shows the port here. */
    if (p->end_port.value < p->port.number)
        field_invalid_int(errors, end, p->port.number, "must be greater than or equal to `port`");
    validate_port_number(errors, end, p->end_port.value);
}

static void validate_ip_block(struct api_field_errors *errors, const struct api_path *path,
                              const struct ip_block *block)
{
    struct format_cidr cidr, except;
    if (text_empty(block->cidr)) {
        field_required(errors, PATH(path, "cidr"), NULL);
        return;
    }
    validate_cidr(errors, PATH(path, "cidr"), block->cidr);
    if (!format_cidr_parse(block->cidr, &cidr))
        return;
    for (size_t i = 0; i < block->except.count; i++) {
        const char *text = block->except.items[i] ? block->except.items[i] : "";
        const struct api_path *at = PATH_INDEX(PATH(path, "except"), i);
        validate_cidr(errors, at, text);
        if (format_cidr_parse(text, &except) && (!format_cidr_contains(&cidr, &except) || cidr.bits >= except.bits))
            field_invalid(errors, at, text, "must be a strict subset of `cidr`");
    }
}

static void validate_peer(struct api_field_errors *errors, const struct api_path *path,
                          const struct network_policy_peer *peer)
{
    if (peer->pod_selector)
        validate_label_selector(errors, PATH(path, "podSelector"), peer->pod_selector);
    if (peer->namespace_selector)
        validate_label_selector(errors, PATH(path, "namespaceSelector"), peer->namespace_selector);
    if (peer->ip_block)
        validate_ip_block(errors, PATH(path, "ipBlock"), peer->ip_block);
    if (!peer->pod_selector && !peer->namespace_selector && !peer->ip_block)
        field_required(errors, path, "must specify a peer");
    else if (peer->ip_block && (peer->pod_selector || peer->namespace_selector))
        field_forbidden(errors, path, "may not specify both ipBlock and another peer");
}

/* Rules of both directions are the same, but for the name of their peers. */
static void validate_policy_rule(struct api_field_errors *errors, const struct api_path *path,
                                 const struct network_policy_port_array *ports, const char *peers_name,
                                 const struct network_policy_peer_array *peers)
{
    for (size_t i = 0; i < ports->count; i++)
        validate_policy_port(errors, PATH_INDEX(PATH(path, "ports"), i), &ports->items[i]);
    for (size_t i = 0; i < peers->count; i++)
        validate_peer(errors, PATH_INDEX(PATH(path, peers_name), i), &peers->items[i]);
}

void validate_network_policy(struct api_field_errors *errors, const void *value)
{
    static const char *const types[] = {"Ingress", "Egress", NULL};
    const struct network_policy_spec *spec = &((const struct network_policy *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec"), *policy_types = PATH(path, "policyTypes");
    const struct api_path *ingress = PATH(path, "ingress"), *egress = PATH(path, "egress");
    validate_label_selector(errors, PATH(path, "podSelector"), &spec->pod_selector);
    for (size_t i = 0; i < spec->ingress.count; i++)
        validate_policy_rule(errors, PATH_INDEX(ingress, i), &spec->ingress.items[i].ports, "from",
                             &spec->ingress.items[i].from);
    for (size_t i = 0; i < spec->egress.count; i++)
        validate_policy_rule(errors, PATH_INDEX(egress, i), &spec->egress.items[i].ports, "to",
                             &spec->egress.items[i].to);
    if (spec->policy_types.count > 2) {
        field_invalid_strings(errors, policy_types, &spec->policy_types, "may not specify more than two policyTypes");
        return;
    }
    for (size_t i = 0; i < spec->policy_types.count; i++)
        if (!validate_is_one_of(spec->policy_types.items[i], types))
            field_not_supported(errors, PATH_INDEX(policy_types, i), spec->policy_types.items[i], types);
}
