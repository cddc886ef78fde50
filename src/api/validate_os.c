/* What a pod may not set on the operating system that it names: upstream's validateLinux and validateWindows. */
#include "api/validate_parts.h"

struct os_rules {
    struct api_field_errors *errors;
    void (*validate)(struct api_field_errors *errors, const struct api_path *path,
                     const struct security_context *context);
};

/* A field of its owner, and whether it is set. */
struct set_field {
    const char *name;
    bool set;
};

static void forbid_set(struct api_field_errors *errors, const struct api_path *path, const struct set_field *fields,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].set)
            field_forbidden(errors, PATH(path, fields[i].name), "cannot be set for a windows pod");
}

static void validate_windows_container(struct api_field_errors *errors, const struct api_path *path,
                                       const struct security_context *c)
{
    const struct set_field fields[] = {
        {"appArmorProfile", c->app_armor_profile != NULL},
        {"seLinuxOptions", c->se_linux_options != NULL},
        {"seccompProfile", c->seccomp_profile != NULL},
        {"capabilities", c->capabilities != NULL},
        {"readOnlyRootFilesystem", c->read_only_root_filesystem.set},
        {"privileged", c->privileged.set},
        {"allowPrivilegeEscalation", c->allow_privilege_escalation.set},
        {"procMount", c->proc_mount != NULL},
        {"runAsUser", c->run_as_user.set},
        {"runAsGroup", c->run_as_group.set},
    };
    forbid_set(errors, path, fields, sizeof(fields) / sizeof(fields[0]));
}

static void validate_windows_pod(struct api_field_errors *errors, const struct api_path *path,
                                 const struct pod_spec *spec)
{
    static const struct pod_security_context none;
    const struct pod_security_context *c = spec->security_context ? spec->security_context : &none;
    const struct set_field of_context[] = {
        {"appArmorProfile", c->app_armor_profile != NULL},
        {"seLinuxOptions", c->se_linux_options != NULL},
        {"seccompProfile", c->seccomp_profile != NULL},
        {"fsGroup", c->fs_group.set},
        {"fsGroupChangePolicy", c->fs_group_change_policy != NULL},
        {"sysctls", c->sysctls.count != 0},
        {"runAsUser", c->run_as_user.set},
        {"runAsGroup", c->run_as_group.set},
        {"supplementalGroups", c->supplemental_groups.count != 0},
        {"supplementalGroupsPolicy", c->supplemental_groups_policy != NULL},
        {"seLinuxChangePolicy", c->se_linux_change_policy != NULL},
    };
    const struct set_field of_spec[] = {
        {"hostUsers", spec->host_users.set},
        {"hostPID", spec->host_pid},
        {"hostIPC", spec->host_ipc},
        {"shareProcessNamespace", spec->share_process_namespace.set},
    };
    forbid_set(errors, PATH(path, "securityContext"), of_context, sizeof(of_context) / sizeof(of_context[0]));
    forbid_set(errors, path, of_spec, sizeof(of_spec) / sizeof(of_spec[0]));
}

static const char linux_message[] = "windows options cannot be set for a linux pod";

static void validate_linux_container(struct api_field_errors *errors, const struct api_path *path,
                                     const struct security_context *context)
{
    if (context->windows_options)
        field_forbidden(errors, PATH(path, "windowsOptions"), linux_message);
}

static void validate_context(const struct os_rules *rules, const struct api_path *path,
                             const struct security_context *context)
{
    if (context)
        rules->validate(rules->errors, PATH(path, "securityContext"), context);
}

/* In upstream's order: init containers are visited first. */
static void validate_contexts(const struct os_rules *rules, const struct api_path *path, const struct pod_spec *spec)
{
    const struct api_path *init = PATH(path, "initContainers"), *main = PATH(path, "containers");
    const struct api_path *ephemeral = PATH(path, "ephemeralContainers");
    for (size_t i = 0; i < spec->init_containers.count; i++)
        validate_context(rules, PATH_INDEX(init, i), spec->init_containers.items[i].security_context);
    for (size_t i = 0; i < spec->containers.count; i++)
        validate_context(rules, PATH_INDEX(main, i), spec->containers.items[i].security_context);
    for (size_t i = 0; i < spec->ephemeral_containers.count; i++)
        validate_context(rules, PATH_INDEX(ephemeral, i), spec->ephemeral_containers.items[i].security_context);
}

void validate_os(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec)
{
    bool windows = text_equal(spec->os->name, "windows");
    const struct os_rules rules = {errors, windows ? validate_windows_container : validate_linux_container};
    if (windows)
        validate_windows_pod(errors, path, spec);
    else if (spec->security_context && spec->security_context->windows_options)
        field_forbidden(errors, PATH(PATH(path, "securityContext"), "windowsOptions"), linux_message);
    validate_contexts(&rules, path, spec);
}
