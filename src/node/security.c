#include "node/security.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"

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
    config->unmasked_proc = c->proc_mount && strcmp(c->proc_mount, "Unmasked") == 0;
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
