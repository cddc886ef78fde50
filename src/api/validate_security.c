/* Rules for the security contexts of pods and containers. */
#include "api/sysctl.h"
#include "api/validate_parts.h"
#include "base/cleanup.h"

#define PROFILE_PATH_MAX 4095
#define SYSCTL_NAME_MAX 253

static const char *const seccomp_types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
static const char *const proc_mounts[] = {"Default", "Unmasked", NULL};
static const char *const group_change_policies[] = {"Always", "OnRootMismatch", NULL};
static const char *const group_policies[] = {"Merge", "Strict", NULL};
static const char *const label_change_policies[] = {"MountOption", "Recursive", NULL};

static void validate_id(struct api_field_errors *errors, const struct api_path *path, const struct opt_int64 *id)
{
    if (id->set)
        validate_range(errors, path, id->value, 0, INT32_MAX);
}

static void validate_seccomp(struct api_field_errors *errors, const struct api_path *path,
                             const struct seccomp_profile *profile)
{
    if (!profile)
        return;
    const struct api_path *local = PATH(path, "localhostProfile");
    if (text_empty(profile->type))
        field_required(errors, PATH(path, "type"), "type is required when seccompProfile is set");
    else
        validate_one_of(errors, PATH(path, "type"), profile->type, seccomp_types);
    if (text_equal(profile->type, "Localhost")) {
        if (!profile->localhost_profile)
            field_required(errors, local, "must be set when seccomp type is Localhost");
        else
            validate_relative_path(errors, local, profile->localhost_profile);
    } else if (profile->localhost_profile) {
        field_invalid_struct(errors, local, &api_type_seccomp_profile, profile,
                             "can only be set when seccomp type is Localhost");
    }
}

static bool is_padded(const char *text)
{
    size_t n = strlen(text);
    return n && (strchr(" \t\r\n", text[0]) || strchr(" \t\r\n", text[n - 1]));
}

static void validate_app_armor(struct api_field_errors *errors, const struct api_path *path,
                               const struct app_armor_profile *profile)
{
    if (!profile)
        return;
    const struct api_path *local = PATH(path, "localhostProfile");
    const char *name = profile->localhost_profile;
    if (text_equal(profile->type, "Localhost")) {
        if (name && is_padded(name))
            field_invalid(errors, local, name, "must not be padded with whitespace");
        else if (text_empty(name))
            field_required(errors, local, "must be set when AppArmor type is Localhost");
        if (name && strlen(name) > PROFILE_PATH_MAX)
            field_too_long(errors, local, PROFILE_PATH_MAX);
    } else if (text_empty(profile->type)) {
        field_required(errors, PATH(path, "type"), "type is required when appArmorProfile is set");
    } else if (!validate_is_one_of(profile->type, seccomp_types)) {
        field_not_supported(errors, PATH(path, "type"), profile->type, seccomp_types);
    } else if (name) {
        field_invalid(errors, local, name, "can only be set when AppArmor type is Localhost");
    }
}

static bool has_capability(const struct capabilities *capabilities, const char *name)
{
    for (size_t i = 0; capabilities && i < capabilities->add.count; i++)
        if (text_equal(capabilities->add.items[i], name))
            return true;
    return false;
}

void validate_security_context(struct api_field_errors *errors, const struct api_path *path,
                               const struct security_context *c, bool host_users)
{
    validate_id(errors, PATH(path, "runAsUser"), &c->run_as_user);
    validate_id(errors, PATH(path, "runAsGroup"), &c->run_as_group);
    validate_optional_one_of(errors, PATH(path, "procMount"), c->proc_mount, proc_mounts);
    if (host_users && c->proc_mount && text_equal(c->proc_mount, "Unmasked"))
        field_invalid(errors, PATH(path, "procMount"), c->proc_mount, "`hostUsers` must be false to use `Unmasked`");
    validate_seccomp(errors, PATH(path, "seccompProfile"), c->seccomp_profile);
    if (c->allow_privilege_escalation.set && !c->allow_privilege_escalation.value) {
        if (is_true(c->privileged))
            field_invalid_struct(errors, path, &api_type_security_context, c,
                                 "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        if (has_capability(c->capabilities, "CAP_SYS_ADMIN"))
            field_invalid_struct(errors, path, &api_type_security_context, c,
                                 "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` "
                                 "CAP_SYS_ADMIN");
    }
    validate_app_armor(errors, PATH(path, "appArmorProfile"), c->app_armor_profile);
}

/* Segments of lower-case letters, digits, '-' and '_', with '.' or '/' between them. */
static bool is_sysctl_name(const char *name)
{
    bool inside = false; /* the last character was a letter or digit */
    size_t n = strlen(name);
    if (!n || n > SYSCTL_NAME_MAX)
        return false;
    for (const char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        bool start = c == name || c[-1] == '.' || c[-1] == '/';
        if (*c == '.' || *c == '/' ? !inside : !plain && (start || (*c != '-' && *c != '_')))
            return false;
        inside = plain;
    }
    return inside;
}

/* A pod that shares the node's namespaces cannot set what the kernel keeps there. */
static void validate_sysctl_scope(struct api_field_errors *errors, const struct api_path *path,
                                  const struct pod_spec *spec, const char *name)
{
    cleanup_free char *normal = sysctl_normal(text_or_empty(name));
    enum sysctl_scope scope = sysctl_scope_of(normal);
    if (spec->host_network && scope == SYSCTL_OF_NETWORK)
        field_invalid(errors, path, name, "may not be specified when 'hostNetwork' is true");
    else if (spec->host_ipc && scope == SYSCTL_OF_IPC)
        field_invalid(errors, path, name, "may not be specified when 'hostIPC' is true");
}

static void validate_sysctls(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec)
{
    const struct sysctl_array *sysctls = &spec->security_context->sysctls;
    cleanup_name_set struct name_set names = {0};
    for (size_t i = 0; i < sysctls->count; i++) {
        const char *name = sysctls->items[i].name;
        const struct api_path *at = PATH(PATH_INDEX(path, i), "name");
        if (text_empty(name))
            field_required(errors, at, NULL);
        else if (!is_sysctl_name(name))
            field_invalid(errors, at, name,
                          "must have at most 253 characters and match regex "
                          "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        else if (!name_set_add(&names, name))
            field_duplicate(errors, at, name);
        validate_sysctl_scope(errors, at, spec, name);
    }
}

void validate_pod_security_context(struct api_field_errors *errors, const struct api_path *path,
                                   const struct pod_spec *spec)
{
    const struct pod_security_context *c = spec->security_context;
    if (!c)
        return;
    validate_id(errors, PATH(path, "fsGroup"), &c->fs_group);
    validate_id(errors, PATH(path, "runAsUser"), &c->run_as_user);
    validate_id(errors, PATH(path, "runAsGroup"), &c->run_as_group);
    for (size_t i = 0; i < c->supplemental_groups.count; i++)
        validate_range(errors, PATH_INDEX(PATH(path, "supplementalGroups"), i), c->supplemental_groups.items[i], 0,
                       INT32_MAX);
    if (is_true(spec->share_process_namespace) && spec->host_pid)
        field_invalid_bool(errors, PATH(path, "shareProcessNamespace"), true,
                           "ShareProcessNamespace and HostPID cannot both be enabled");
    validate_sysctls(errors, PATH(path, "sysctls"), spec);
    validate_optional_one_of(errors, PATH(path, "fsGroupChangePolicy"), c->fs_group_change_policy,
                             group_change_policies);
    validate_seccomp(errors, PATH(path, "seccompProfile"), c->seccomp_profile);
    validate_app_armor(errors, PATH(path, "appArmorProfile"), c->app_armor_profile);
    validate_optional_one_of(errors, PATH(path, "supplementalGroupsPolicy"), c->supplemental_groups_policy,
                             group_policies);
    validate_optional_one_of(errors, PATH(path, "seLinuxChangePolicy"), c->se_linux_change_policy,
                             label_change_policies);
}
