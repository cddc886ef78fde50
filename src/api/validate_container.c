/* Rules for containers of all three sorts. */
#include "api/pod_containers.h"
#include "api/validate_parts.h"

#define RESTART_RULE_MAX 20
#define RESTART_EXIT_CODE_MAX 255

static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};
static const char *const message_policies[] = {"File", "FallbackToLogsOnError", NULL};
static const char *const resize_resources[] = {"cpu", "memory", NULL};
static const char *const resize_policies[] = {"NotRequired", "RestartContainer", NULL};

static void validate_ports(struct api_field_errors *errors, const struct api_path *path,
                           const struct container_port_array *ports)
{
    cleanup_name_set struct name_set names = {0};
    for (size_t i = 0; i < ports->count; i++) {
        const struct container_port *p = &ports->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        if (!text_empty(p->name) && field_format(errors, PATH(at, "name"), p->name, format_port_name) &&
            !name_set_add(&names, p->name))
            field_duplicate(errors, PATH(at, "name"), p->name);
        if (!p->container_port)
            field_required(errors, PATH(at, "containerPort"), NULL);
        else
            validate_port_number(errors, PATH(at, "containerPort"), p->container_port);
        if (p->host_port)
            validate_port_number(errors, PATH(at, "hostPort"), p->host_port);
        validate_one_of(errors, PATH(at, "protocol"), p->protocol, validate_protocols);
    }
}

static void validate_resize_policy(struct api_field_errors *errors, const struct api_path *path,
                                   const struct container_resize_policy_array *policies, const char *restart_policy)
{
    cleanup_name_set struct name_set resources = {0};
    for (size_t i = 0; i < policies->count; i++) {
        const struct container_resize_policy *p = &policies->items[i];
        if (!name_set_add(&resources, p->resource_name))
            field_duplicate(errors, PATH_INDEX(path, i), p->resource_name);
        validate_one_of(errors, path, p->resource_name, resize_resources);
        validate_one_of(errors, path, p->restart_policy, resize_policies);
        if (text_equal(restart_policy, "Never") && !text_equal(p->restart_policy, "NotRequired"))
            field_invalid(errors, path, p->restart_policy, "must be 'NotRequired' when `restartPolicy` is 'Never'");
    }
}

static void validate_common(struct api_field_errors *errors, const struct api_path *path, const struct container *c,
                            const struct pod_names *pod)
{
    const struct pod_spec *spec = pod->spec;
    if (text_empty(c->name))
        field_required(errors, PATH(path, "name"), NULL);
    else
        field_format(errors, PATH(path, "name"), c->name, format_dns_label);
    if (text_empty(c->image))
        field_required(errors, PATH(path, "image"), NULL);
    validate_one_of(errors, PATH(path, "terminationMessagePolicy"), c->termination_message_policy, message_policies);
    validate_ports(errors, PATH(path, "ports"), &c->ports);
    validate_env(errors, PATH(path, "env"), &c->env, &pod->volumes);
    validate_env_from(errors, PATH(path, "envFrom"), &c->env_from);
    validate_volume_mounts(errors, PATH(path, "volumeMounts"), c, &pod->volumes);
    validate_volume_devices(errors, PATH(path, "volumeDevices"), c, &pod->volumes);
    validate_one_of(errors, PATH(path, "imagePullPolicy"), c->image_pull_policy, pull_policies);
    validate_resources(errors, PATH(path, "resources"), &c->resources, pod, false);
    validate_resize_policy(errors, PATH(path, "resizePolicy"), &c->resize_policy, spec->restart_policy);
    if (c->security_context)
        validate_security_context(errors, PATH(path, "securityContext"), c->security_context,
                                  !spec->host_users.set || spec->host_users.value);
}

/* Ports of the node that two containers of the list both want. */
static void validate_host_port_conflicts(struct api_field_errors *errors, const struct api_path *path,
                                         const struct container *containers, size_t count)
{
    cleanup_name_set struct name_set seen = {0};
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < containers[i].ports.count; k++) {
            const struct container_port *p = &containers[i].ports.items[k];
            if (!p->host_port)
                continue;
            const char *key = arena_printf(errors->arena, "%s/%s/%d", p->protocol ? p->protocol : "",
                                           p->host_ip ? p->host_ip : "", p->host_port);
            if (!name_set_add(&seen, key))
                field_duplicate(errors, PATH(PATH_INDEX(PATH(PATH_INDEX(path, i), "ports"), k), "hostPort"), key);
        }
}

/* A container's own restart policy and the exit codes that override it. */
static void validate_restart_rules(struct api_field_errors *errors, const struct api_path *path,
                                   const struct container *c)
{
    static const char *const policies[] = {"Always", "Never", "OnFailure", NULL};
    static const char *const actions[] = {"Restart", NULL};
    static const char *const operators[] = {"In", "NotIn", NULL};
    const struct api_path *rules = PATH(path, "restartPolicyRules");
    validate_optional_one_of(errors, PATH(path, "restartPolicy"), c->restart_policy, policies);
    if (c->restart_policy_rules.count > RESTART_RULE_MAX)
        field_too_many(errors, rules, (int)c->restart_policy_rules.count, RESTART_RULE_MAX);
    if (c->restart_policy_rules.count && !c->restart_policy)
        field_required(errors, PATH(path, "restartPolicy"), "must specify restartPolicy when restart rules are used");
    for (size_t i = 0; i < c->restart_policy_rules.count; i++) {
        const struct container_restart_rule *rule = &c->restart_policy_rules.items[i];
        const struct api_path *at = PATH_INDEX(rules, i);
        const struct api_path *codes = PATH(at, "exitCodes");
        validate_optional_one_of(errors, PATH(at, "action"), rule->action ? rule->action : "", actions);
        if (!rule->exit_codes) {
            field_required(errors, codes, "must be specified");
            continue;
        }
        validate_optional_one_of(errors, PATH(codes, "operator"),
                                 rule->exit_codes->operator ? rule->exit_codes->operator : "", operators);
        if (rule->exit_codes->values.count > RESTART_EXIT_CODE_MAX)
            field_too_many(errors, PATH(codes, "values"), (int)rule->exit_codes->values.count, RESTART_EXIT_CODE_MAX);
    }
}

void validate_containers(struct api_field_errors *errors, const struct api_path *path, const struct pod_names *pod)
{
    const struct container_array *containers = &pod->spec->containers;
    cleanup_name_set struct name_set names = {0};
    if (!containers->count) {
        field_required(errors, path, NULL);
        return;
    }
    for (size_t i = 0; i < containers->count; i++) {
        const struct container *c = &containers->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        validate_common(errors, at, c, pod);
        if (!name_set_add(&names, c->name))
            field_duplicate(errors, PATH(at, "name"), c->name);
        validate_container_probes(errors, at, c, pod->spec);
        validate_restart_rules(errors, at, c);
    }
    validate_host_port_conflicts(errors, path, containers->items, containers->count);
}

void validate_init_containers(struct api_field_errors *errors, const struct api_path *path, const struct pod_names *pod)
{
    static const char message[] = "may not be set for init containers without restartPolicy=Always";
    const struct container_array *containers = &pod->spec->init_containers;
    cleanup_name_set struct name_set names = {0};
    for (size_t i = 0; i < containers->count; i++) {
        const struct container *c = &containers->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        validate_common(errors, at, c, pod);
        validate_restart_rules(errors, at, c);
        if (name_set_has(&pod->containers, c->name) || (!text_empty(c->name) && !name_set_add(&names, c->name)))
            field_duplicate(errors, PATH(at, "name"), c->name);
        validate_host_port_conflicts(errors, path, c, 1);
        if (text_equal(c->restart_policy, "Always")) {
            validate_container_probes(errors, at, c, pod->spec);
            continue;
        }
        if (c->lifecycle)
            field_forbidden(errors, PATH(at, "lifecycle"), message);
        if (c->liveness_probe)
            field_forbidden(errors, PATH(at, "livenessProbe"), message);
        if (c->readiness_probe)
            field_forbidden(errors, PATH(at, "readinessProbe"), message);
        if (c->startup_probe)
            field_forbidden(errors, PATH(at, "startupProbe"), message);
    }
}

void validate_ephemeral_containers(struct api_field_errors *errors, const struct api_path *path,
                                   const struct pod_names *pod)
{
    static const char message[] = "cannot be set for an Ephemeral Container";
    const struct pod_spec *spec = pod->spec;
    cleanup_name_set struct name_set others = {0}, names = {0};
    for (size_t i = 0; spec->ephemeral_containers.count && i < spec->containers.count; i++)
        name_set_add(&others, spec->containers.items[i].name);
    for (size_t i = 0; spec->ephemeral_containers.count && i < spec->init_containers.count; i++)
        name_set_add(&others, spec->init_containers.items[i].name);
    for (size_t i = 0; i < spec->ephemeral_containers.count; i++) {
        const struct ephemeral_container *e = &spec->ephemeral_containers.items[i];
        const struct container c = api_ephemeral_common(e);
        const struct api_path *at = PATH_INDEX(path, i);
        validate_common(errors, at, &c, pod);
        if (name_set_has(&others, e->name) || !name_set_add(&names, e->name))
            field_duplicate(errors, PATH(at, "name"), e->name);
        const char *target = e->target_container_name;
        if (!text_empty(target) && !name_set_has(&others, target))
            field_not_found(errors, PATH(at, "targetContainerName"), target);
        const struct {
            const char *name;
            bool set;
        } refused[] = {
            {"ports", e->ports.count},
            {"livenessProbe", e->liveness_probe},
            {"readinessProbe", e->readiness_probe},
            {"startupProbe", e->startup_probe},
            {"lifecycle", e->lifecycle},
            {"restartPolicy", e->restart_policy},
            {"restartPolicyRules", e->restart_policy_rules.count},
            {"resizePolicy", e->resize_policy.count},
            {"resources", e->resources.limits.count || e->resources.requests.count || e->resources.claims.count},
        };
        for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++)
            if (refused[k].set)
                field_forbidden(errors, PATH(at, refused[k].name), message);
        for (size_t k = 0; k < e->volume_mounts.count; k++) {
            const struct api_path *mount = PATH_INDEX(PATH(at, "volumeMounts"), k);
            if (!text_empty(e->volume_mounts.items[k].sub_path))
                field_forbidden(errors, PATH(mount, "subPath"), message);
            if (!text_empty(e->volume_mounts.items[k].sub_path_expr))
                field_forbidden(errors, PATH(mount, "subPathExpr"), message);
        }
    }
}
