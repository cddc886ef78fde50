/* Records: what has to be known of sandboxes and containers when another process takes over. JSON files in the run
 * directory, replaced in one step. They are not synced: they need to survive this process, not the machine. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "node/runtime/runtime_internal.h"

const struct runtime_pair *pairs_copy(struct arena *arena, const struct runtime_pair *pairs, size_t count)
{
    struct runtime_pair *copy = arena_alloc(arena, (count + 1) * sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i].key = arena_string(arena, pairs[i].key);
        copy[i].value = arena_string(arena, pairs[i].value);
    }
    return copy;
}

static int write_file(const char *path, json_t *root, struct error *err)
{
    cleanup_free char *text = json_dumps(root, JSON_COMPACT);
    cleanup_free char *temporary = mem_printf("%s.new", path);
    json_decref(root);
    if (!text)
        return error_set(err, EINVAL, "%s would hold text that is not UTF-8", path);
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = strlen(text);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size || rename(temporary, path) < 0)
        return error_errno(err, "write %s", path);
    return 0;
}

static json_t *read_file(const char *path, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    if (file_read(path, RUNTIME_RECORD_MAX, &text, err) < 0)
        return NULL;
    json_error_t where;
    json_t *root = json_loadb(text.data, text.size, 0, &where);
    if (!json_is_object(root)) {
        error_set(err, EINVAL, "%s is damaged: %s", path, where.text);
        json_decref(root);
        return NULL;
    }
    return root;
}

static json_t *pairs_json(const struct runtime_pair *pairs, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_pack("[ss]", pairs[i].key, pairs[i].value));
    return array;
}

static const struct runtime_pair *pairs_read(struct arena *arena, json_t *array, size_t *count)
{
    struct runtime_pair *pairs = arena_alloc(arena, (json_array_size(array) + 1) * sizeof(*pairs));
    *count = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *key, *value;
        if (json_unpack(json_array_get(array, i), "[ss]", &key, &value) == 0)
            pairs[(*count)++] = (struct runtime_pair){arena_string(arena, key), arena_string(arena, value)};
    }
    return pairs;
}

/* NULL when there is no such text. */
static const char *text_field(struct arena *arena, json_t *root, const char *key)
{
    return arena_string(arena, json_string_value(json_object_get(root, key)));
}

int container_record_write(const struct container *container, struct error *err)
{
    const struct runtime_container_status *s = &container->status;
    cleanup_free char *path = container_path(container->runtime, s->id, "container.json");
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:s, s:s*, s:I, s:b, s:s, s:o}", "id", s->id, "podUID", s->pod_uid, "name", s->name,
        "attempt", (json_int_t)s->attempt, "rootfs", s->rootfs, "logPath", s->log_path, "terminationMessagePath",
        s->termination_message_path, "createdAt", (json_int_t)s->created_at, "hostPID", container->shares_pids, "bootID",
        container->runtime->boot_id, "annotations", pairs_json(s->annotations, s->annotation_count));
    return write_file(path, root, err);
}

int container_record_read(struct container *container, const char *id, bool *same_boot, struct error *err)
{
    struct runtime_container_status *s = &container->status;
    struct arena *arena = container->arena;
    cleanup_free char *path = container_path(container->runtime, id, "container.json");
    json_t *root = read_file(path, err);
    if (!root)
        return -1;
    s->id = text_field(arena, root, "id");
    s->pod_uid = text_field(arena, root, "podUID");
    s->name = text_field(arena, root, "name");
    s->attempt = (uint32_t)json_integer_value(json_object_get(root, "attempt"));
    s->rootfs = text_field(arena, root, "rootfs");
    s->log_path = text_field(arena, root, "logPath");
    s->termination_message_path = text_field(arena, root, "terminationMessagePath");
    s->created_at = json_integer_value(json_object_get(root, "createdAt"));
    s->annotations = pairs_read(arena, json_object_get(root, "annotations"), &s->annotation_count);
    container->shares_pids = json_is_true(json_object_get(root, "hostPID"));
    const char *boot_id = json_string_value(json_object_get(root, "bootID"));
    *same_boot = boot_id && !strcmp(boot_id, container->runtime->boot_id);
    json_decref(root);
    if (!s->id || strcmp(s->id, id) || !s->pod_uid || !runtime_name_valid(s->pod_uid) || !s->name || !s->rootfs ||
        !s->log_path)
        return error_set(err, EINVAL, "%s is damaged", path);
    char pod[RUNTIME_POD_CGROUP_MAX];
    runtime_pod_cgroup(s->pod_uid, pod);
    snprintf(container->cgroup, sizeof(container->cgroup), "%s/%s", pod, id);
    return 0;
}

int container_end_write(const struct container *container, struct error *err)
{
    const struct runtime_container_status *s = &container->status;
    cleanup_free char *path = container_path(container->runtime, s->id, "ended.json");
    return write_file(path,
                      json_pack("{s:i, s:b, s:b, s:I, s:I}", "exitCode", s->exit_code, "oomKilled", s->oom_killed,
                                "lost", s->lost, "startedAt", (json_int_t)s->started_at, "finishedAt",
                                (json_int_t)s->finished_at),
                      err);
}

int container_end_read(struct container *container)
{
    struct runtime_container_status *s = &container->status;
    struct error ignored;
    cleanup_free char *path = container_path(container->runtime, s->id, "ended.json");
    json_t *root = read_file(path, &ignored);
    if (!root)
        return -1;
    s->exit_code = (int)json_integer_value(json_object_get(root, "exitCode"));
    s->oom_killed = json_is_true(json_object_get(root, "oomKilled"));
    s->lost = json_is_true(json_object_get(root, "lost"));
    s->started_at = json_integer_value(json_object_get(root, "startedAt"));
    s->finished_at = json_integer_value(json_object_get(root, "finishedAt"));
    json_decref(root);
    return 0;
}

int sandbox_record_write(const struct runtime *runtime, const struct runtime_sandbox_status *s, struct error *err)
{
    cleanup_free char *path = sandbox_path(runtime, s->pod_uid, "sandbox.json");
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s*, s:b, s:b, s:b, s:b, s:I, s:s, s:o}", "podUID", s->pod_uid, "podNamespace",
                  s->pod_namespace, "podName", s->pod_name, "hostname", s->hostname, "hostNetwork", s->host_network,
                  "hostIPC", s->host_ipc, "hostPID", s->host_pid, "sharedPID", s->share_process_namespace, "createdAt", (json_int_t)s->created_at, "bootID",
                  runtime->boot_id, "annotations", pairs_json(s->annotations, s->annotation_count));
    return write_file(path, root, err);
}

int sandbox_record_read(struct sandbox *sandbox, const char *pod_uid, struct error *err)
{
    struct runtime_sandbox_status *s = &sandbox->status;
    struct arena *arena = sandbox->arena;
    cleanup_free char *path = sandbox_path(sandbox->runtime, pod_uid, "sandbox.json");
    json_t *root = read_file(path, err);
    if (!root)
        return -1;
    s->pod_uid = text_field(arena, root, "podUID");
    s->pod_namespace = text_field(arena, root, "podNamespace");
    s->pod_name = text_field(arena, root, "podName");
    s->hostname = text_field(arena, root, "hostname");
    s->host_network = json_is_true(json_object_get(root, "hostNetwork"));
    s->host_ipc = json_is_true(json_object_get(root, "hostIPC"));
    s->host_pid = json_is_true(json_object_get(root, "hostPID"));
    s->share_process_namespace = json_is_true(json_object_get(root, "sharedPID"));
    s->created_at = json_integer_value(json_object_get(root, "createdAt"));
    s->annotations = pairs_read(arena, json_object_get(root, "annotations"), &s->annotation_count);
    const char *boot_id = json_string_value(json_object_get(root, "bootID"));
    bool same_boot = boot_id && !strcmp(boot_id, sandbox->runtime->boot_id);
    json_decref(root);
    if (!s->pod_uid || strcmp(s->pod_uid, pod_uid) || !s->pod_namespace || !s->pod_name)
        return error_set(err, EINVAL, "%s is damaged", path);
    if (!same_boot)
        return error_set(err, ESTALE, "%s is of an earlier boot", path);
    if (!s->host_network) {
        cleanup_free char *network = sandbox_path(sandbox->runtime, pod_uid, "ns/net");
        s->network_namespace = arena_string(arena, network);
    }
    return 0;
}
