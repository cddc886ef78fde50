/* A copy of what a container is to be, for as long as it is being made. */
#include "node/runtime/runtime_internal.h"

static const char *const *strings_copy(struct arena *arena, const char *const *items, size_t count)
{
    const char **copy = arena_alloc(arena, (count + 1) * sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = arena_string(arena, items[i]);
    return copy;
}

void container_config_copy(struct runtime_container_config *to, const struct runtime_container_config *from,
                           struct arena *arena)
{
    *to = *from;
    to->id = arena_string(arena, from->id);
    to->pod_uid = arena_string(arena, from->pod_uid);
    to->name = arena_string(arena, from->name);
    to->target_id = arena_string(arena, from->target_id);
    to->rootfs = arena_string(arena, from->rootfs);
    to->args = strings_copy(arena, from->args, from->arg_count);
    to->env = pairs_copy(arena, from->env, from->env_count);
    to->cwd = arena_string(arena, from->cwd);
    to->resources.cpus = arena_string(arena, from->resources.cpus);
    struct runtime_huge_page_limit *pages =
        arena_copy(arena, from->huge_pages, from->huge_page_count * sizeof(*from->huge_pages));
    for (size_t i = 0; i < from->huge_page_count; i++)
        pages[i].size = arena_string(arena, pages[i].size);
    to->huge_pages = pages;
    to->additional_gids = arena_copy(arena, from->additional_gids, from->additional_gid_count * sizeof(uint32_t));
    to->add_capabilities = strings_copy(arena, from->add_capabilities, from->add_capability_count);
    to->drop_capabilities = strings_copy(arena, from->drop_capabilities, from->drop_capability_count);
    to->seccomp_profile = arena_string(arena, from->seccomp_profile);
    to->termination_message_path = arena_string(arena, from->termination_message_path);
    struct runtime_mount *mounts = arena_alloc(arena, (from->mount_count + 1) * sizeof(*mounts));
    for (size_t i = 0; i < from->mount_count; i++) {
        mounts[i] = from->mounts[i];
        mounts[i].source = arena_string(arena, from->mounts[i].source);
        mounts[i].destination = arena_string(arena, from->mounts[i].destination);
    }
    to->mounts = mounts;
}
