#include "node/security.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "node/image/image.h"

static bool is_true(struct opt_bool value)
{
    return value.set && value.value;
}

static const struct seccomp_profile *seccomp_profile(const struct pod *pod, const struct container *container)
{
    const struct security_context *own = container->security_context;
    const struct pod_security_context *shared = pod->spec.security_context;
    return own && own->seccomp_profile ? own->seccomp_profile : shared ? shared->seccomp_profile : NULL;
}

static enum runtime_seccomp seccomp_kind(const struct seccomp_profile *profile)
{
    if (profile && strcmp(profile->type, "Unconfined") == 0)
        return RUNTIME_SECCOMP_UNCONFINED;
    if (profile && strcmp(profile->type, "Localhost") == 0)
        return RUNTIME_SECCOMP_PROFILE;
    return RUNTIME_SECCOMP_DEFAULT;
}

void security_configure(const struct pod *pod, const struct container *container,
                        struct runtime_container_config *config)
{
    const struct security_context *c = container->security_context;
    config->seccomp = seccomp_kind(seccomp_profile(pod, container));
    if (!c)
        return;
    config->privileged = is_true(c->privileged);
    config->read_only_rootfs = is_true(c->read_only_root_filesystem);
    config->no_new_privileges = c->allow_privilege_escalation.set && !c->allow_privilege_escalation.value;
    if (c->capabilities) {
        config->add_capabilities = (const char *const *)c->capabilities->add.items;
        config->add_capability_count = c->capabilities->add.count;
        config->drop_capabilities = (const char *const *)c->capabilities->drop.items;
        config->drop_capability_count = c->capabilities->drop.count;
    }
}

int security_load_seccomp(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *data_directory, struct runtime_container_config *config, struct error *err)
{
    const struct seccomp_profile *profile = seccomp_profile(pod, container);
    cleanup_buffer struct buffer text = {0};
    struct error cause;
    json_error_t where;
    if (config->seccomp != RUNTIME_SECCOMP_PROFILE || config->privileged)
        return 0;
    cleanup_free char *path = mem_printf("%s/seccomp/%s", data_directory, profile->localhost_profile);
    if (file_read(path, SECURITY_PROFILE_MAX, &text, &cause) < 0)
        return error_set(err, cause.code, "cannot load seccomp profile \"%s\": open %s: %s", path, path,
                         cause.code == ENOENT ? "no such file or directory" : strerror(cause.code));
    json_t *parsed = json_loadb(text.data ? text.data : "", text.size, 0, &where);
    const char *complaint = !parsed ? where.text : !json_is_object(parsed) ? "it is not an object" : NULL;
    json_decref(parsed);
    if (complaint)
        return error_set(err, EINVAL, "decoding seccomp profile failed \"%s\": %s", path, complaint);
    config->seccomp_profile = arena_string_n(arena, text.data, text.size);
    return 0;
}

/* ---- Users and groups ---- */

static const struct pod_security_context no_pod_context;
static const struct security_context no_context;

static const struct pod_security_context *context_of_pod(const struct pod *pod)
{
    return pod->spec.security_context ? pod->spec.security_context : &no_pod_context;
}

static const struct security_context *context_of(const struct container *container)
{
    return container->security_context ? container->security_context : &no_context;
}

static struct opt_int64 first(struct opt_int64 own, struct opt_int64 shared)
{
    return own.set ? own : shared;
}

int security_check_non_root(const struct pod *pod, const struct container *container, const char *image_user,
                            struct error *err)
{
    const struct pod_security_context *shared = context_of_pod(pod);
    const struct security_context *own = context_of(container);
    const struct object_meta *meta = &pod->metadata;
    struct opt_int64 user = first(own->run_as_user, shared->run_as_user);
    if (!is_true(own->run_as_non_root.set ? own->run_as_non_root : shared->run_as_non_root) || (user.set && user.value))
        return 0;
    cleanup_free char *where =
        mem_printf("(pod: \"%s_%s(%s)\", container: %s)", meta->name, meta->namespace, meta->uid, container->name);
    if (user.set)
        return error_set(err, EPERM, "container's runAsUser breaks non-root policy %s", where);
    /* The user without a group behind it: a number, a name, or nothing, which is root. */
    cleanup_free char *name = mem_string_n(image_user, strcspn(image_user, ":"));
    if (name[strspn(name, "0123456789")])
        return error_set(err, EPERM,
                         "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is "
                         "non-root %s",
                         name, where);
    if (!name[strspn(name, "0")])
        return error_set(err, EPERM, "container has runAsNonRoot and image will run as root %s", where);
    return 0;
}

static void add_group(struct runtime_container_config *config, uint32_t *groups, uint32_t group)
{
    for (size_t i = 0; i < config->additional_gid_count; i++)
        if (groups[i] == group)
            return;
    groups[config->additional_gid_count++] = group;
}

int security_resolve_user(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *image_user, struct runtime_container_config *config, const char **home,
                          struct error *err)
{
    const struct pod_security_context *shared = context_of_pod(pod);
    const struct security_context *own = context_of(container);
    struct opt_int64 uid = first(own->run_as_user, shared->run_as_user);
    struct opt_int64 gid = first(own->run_as_group, shared->run_as_group);
    struct image_user user = {0};
    cleanup_free char *number = uid.set ? mem_printf("%lld", (long long)uid.value) : NULL;
    if (image_user_resolve(config->rootfs, number ? number : image_user, &user, err) < 0)
        return -1;
    config->uid = user.uid;
    config->gid = gid.set ? (uint32_t)gid.value : user.gid;
    bool strict = shared->supplemental_groups_policy && strcmp(shared->supplemental_groups_policy, "Strict") == 0;
    uint32_t *groups = arena_alloc(arena, (2 + user.group_count + shared->supplemental_groups.count) * sizeof(*groups));
    config->additional_gids = groups;
    config->additional_gid_count = 0;
    add_group(config, groups, config->gid);
    for (size_t i = 0; i < user.group_count && !strict; i++)
        add_group(config, groups, user.groups[i]);
    if (shared->fs_group.set)
        add_group(config, groups, (uint32_t)shared->fs_group.value);
    for (size_t i = 0; i < shared->supplemental_groups.count; i++)
        add_group(config, groups, (uint32_t)shared->supplemental_groups.items[i]);
    *home = arena_string(arena, user.home);
    image_user_free(&user);
    return 0;
}

const char *security_user_text(struct arena *arena, const struct runtime_container_config *config)
{
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "%u %u", config->uid, config->gid);
    for (size_t i = 0; i < config->additional_gid_count; i++)
        buffer_printf(&text, " %u", config->additional_gids[i]);
    return arena_string(arena, text.data);
}

struct container_user *security_user_read(struct arena *arena, const char *text)
{
    int64_t *numbers = arena_alloc(arena, (strlen(text) / 2 + 1) * sizeof(*numbers));
    size_t count = 0;
    for (char *end; *text; text = end) {
        numbers[count++] = strtoll(text, &end, 10);
        if (end == text || (*end && *end != ' '))
            return NULL;
        end += *end == ' ';
    }
    if (count < 2)
        return NULL;
    struct container_user *user = arena_alloc(arena, sizeof(*user));
    user->linux_ = arena_alloc(arena, sizeof(*user->linux_));
    user->linux_->uid = numbers[0];
    user->linux_->gid = numbers[1];
    user->linux_->supplemental_groups.items = numbers + 2;
    user->linux_->supplemental_groups.count = count - 2;
    return user;
}
