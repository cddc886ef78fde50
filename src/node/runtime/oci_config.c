/* The OCI config.json of a container: what upstream's containerd puts there, from our neutral description. */
#include "node/runtime/oci_config.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "node/runtime/cgroup_internal.h"
#include "node/runtime/oci_internal.h"

/* By number, as the kernel counts them. */
static const char *const capability_names[] = {"CHOWN",
                                               "DAC_OVERRIDE",
                                               "DAC_READ_SEARCH",
                                               "FOWNER",
                                               "FSETID",
                                               "KILL",
                                               "SETGID",
                                               "SETUID",
                                               "SETPCAP",
                                               "LINUX_IMMUTABLE",
                                               "NET_BIND_SERVICE",
                                               "NET_BROADCAST",
                                               "NET_ADMIN",
                                               "NET_RAW",
                                               "IPC_LOCK",
                                               "IPC_OWNER",
                                               "SYS_MODULE",
                                               "SYS_RAWIO",
                                               "SYS_CHROOT",
                                               "SYS_PTRACE",
                                               "SYS_PACCT",
                                               "SYS_ADMIN",
                                               "SYS_BOOT",
                                               "SYS_NICE",
                                               "SYS_RESOURCE",
                                               "SYS_TIME",
                                               "SYS_TTY_CONFIG",
                                               "MKNOD",
                                               "LEASE",
                                               "AUDIT_WRITE",
                                               "AUDIT_CONTROL",
                                               "SETFCAP",
                                               "MAC_OVERRIDE",
                                               "MAC_ADMIN",
                                               "SYSLOG",
                                               "WAKE_ALARM",
                                               "BLOCK_SUSPEND",
                                               "AUDIT_READ",
                                               "PERFMON",
                                               "BPF",
                                               "CHECKPOINT_RESTORE"};

#define BIT(capability) (UINT64_C(1) << (capability))
/* containerd's default set. */
#define DEFAULT_CAPABILITIES                                                                                           \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) | BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) |  \
     BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) |             \
     BIT(CAP_SYS_CHROOT) | BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE))

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char *const masked_paths[] = {"/proc/acpi",       "/proc/asound",      "/proc/interrupts",
                                           "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                           "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                           "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};

static const char *const read_only_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

struct default_mount {
    const char *destination;
    const char *type;
    const char *source;
    const char *options[8]; /* up to the first NULL; "ro" is dropped when privileged */
};

static const struct default_mount default_mounts[] = {
    {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
    {"/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};

static const char *const propagations[] = {
    [RUNTIME_PROPAGATION_PRIVATE] = "rprivate",
    [RUNTIME_PROPAGATION_SLAVE] = "rslave",
    [RUNTIME_PROPAGATION_SHARED] = "rshared",
};

void oci_read_own_limits(struct oci_surroundings *surroundings)
{
    char text[8192];
    uint64_t effective = 0;
    if (file_read_text("/proc/self/status", text, sizeof(text)) == 0) {
        const char *line = strstr(text, "\nCapBnd:");
        surroundings->bounding_capabilities = line ? strtoull(line + 8, NULL, 16) : 0;
        line = strstr(text, "\nCapEff:");
        effective = line ? strtoull(line + 8, NULL, 16) : 0;
        surroundings->bounding_capabilities &= effective;
    }
    surroundings->oom_score_adj_min = -1000;
    if (!(effective & BIT(CAP_SYS_RESOURCE)) && file_read_text("/proc/self/oom_score_adj", text, sizeof(text)) == 0)
        surroundings->oom_score_adj_min = atoi(text);
}

static bool is_all(const char *name)
{
    return !strcasecmp(name, "ALL");
}

/* The bit of a capability named as the API names it (without CAP_, any case), or 0. */
static uint64_t capability_bit(const char *name)
{
    if (!strncasecmp(name, "CAP_", 4))
        name += 4;
    for (size_t i = 0; i < ARRAY_COUNT(capability_names); i++)
        if (!strcasecmp(name, capability_names[i]))
            return BIT(i);
    return 0;
}

static int collect(const char *const *names, size_t count, bool *all, uint64_t *bits, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = capability_bit(names[i]);
        if (is_all(names[i]))
            *all = true;
        else if (!bit)
            return error_set(err, EINVAL, "unknown capability \"CAP_%s\"", names[i]);
        *bits |= bit;
    }
    return 0;
}

/* containerd's order: ALL first, then what is added by name, then what is dropped by name. */
static int capability_set(const struct runtime_container_config *config, uint64_t bounding, uint64_t *out,
                          struct error *err)
{
    bool add_all = false, drop_all = false;
    uint64_t add = 0, drop = 0, set = DEFAULT_CAPABILITIES & bounding;
    if (collect(config->add_capabilities, config->add_capability_count, &add_all, &add, err) < 0 ||
        collect(config->drop_capabilities, config->drop_capability_count, &drop_all, &drop, err) < 0)
        return -1;
    if (add_all)
        set = bounding;
    if (drop_all)
        set = 0;
    *out = config->privileged ? bounding : (set | add) & ~drop;
    return 0;
}

static json_t *capability_array(uint64_t set)
{
    json_t *array = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(capability_names); i++)
        if (set & BIT(i)) {
            char name[40];
            snprintf(name, sizeof(name), "CAP_%s", capability_names[i]);
            json_array_append_new(array, json_string(name));
        }
    return array;
}

static json_t *string_array(const char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count && items[i]; i++)
        json_array_append_new(array, json_string(items[i]));
    return array;
}

/* Text from outside: fails when it is not UTF-8, which JSON cannot carry. */
static int append_text(json_t *array, const char *what, const char *text, struct error *err)
{
    if (json_array_append_new(array, json_string(text)) < 0)
        return error_set(err, EINVAL, "%s is not valid UTF-8", what);
    return 0;
}

static int set_text(json_t *object, const char *key, const char *text, struct error *err)
{
    if (json_object_set_new(object, key, json_string(text)) < 0)
        return error_set(err, EINVAL, "%s is not valid UTF-8: %s", key, text);
    return 0;
}

static bool has_variable(const struct runtime_container_config *config, const char *name)
{
    for (size_t i = 0; i < config->env_count; i++)
        if (!strcmp(config->env[i].key, name))
            return true;
    return false;
}

static bool is_overridden(const struct runtime_container_config *config, size_t index)
{
    for (size_t i = index + 1; i < config->env_count; i++)
        if (!strcmp(config->env[i].key, config->env[index].key))
            return true;
    return false;
}

static int add_variable(json_t *array, const char *name, const char *value, struct error *err)
{
    cleanup_free char *text = mem_printf("%s=%s", name, value);
    return append_text(array, name, text, err);
}

static int add_environment(json_t *array, const struct runtime_container_config *config,
                           const struct oci_surroundings *around, struct error *err)
{
    if (!has_variable(config, "PATH") && add_variable(array, "PATH", default_path, err) < 0)
        return -1;
    if (around->hostname && !has_variable(config, "HOSTNAME") &&
        add_variable(array, "HOSTNAME", around->hostname, err) < 0)
        return -1;
    if (config->tty && !has_variable(config, "TERM") && add_variable(array, "TERM", "xterm", err) < 0)
        return -1;
    for (size_t i = 0; i < config->env_count; i++)
        if (!is_overridden(config, i) && add_variable(array, config->env[i].key, config->env[i].value, err) < 0)
            return -1;
    return 0;
}

static int reachable_oom_score(int wanted, int least)
{
    static bool warned;
    if (wanted >= least)
        return wanted;
    if (!__atomic_exchange_n(&warned, true, __ATOMIC_RELAXED))
        log_warning("oom_score_adj cannot be lowered to %d without CAP_SYS_RESOURCE: using %d, for all containers",
                    wanted, least);
    return least;
}

static int add_process(json_t *root, const struct runtime_container_config *config,
                       const struct oci_surroundings *around, struct error *err)
{
    json_t *process = json_object(), *user = json_object(), *args = json_array(), *env = json_array();
    json_object_set_new(root, "process", process);
    json_object_set_new(process, "terminal", json_boolean(config->tty));
    json_object_set_new(process, "user", user);
    json_object_set_new(process, "args", args);
    json_object_set_new(process, "env", env);

    json_object_set_new(user, "uid", json_integer(config->uid));
    json_object_set_new(user, "gid", json_integer(config->gid));
    json_t *gids = json_array();
    json_object_set_new(user, "additionalGids", gids);
    for (size_t i = 0; i < config->additional_gid_count; i++)
        json_array_append_new(gids, json_integer(config->additional_gids[i]));

    if (!config->arg_count)
        return error_set(err, EINVAL, "no command specified");
    for (size_t i = 0; i < config->arg_count; i++)
        if (append_text(args, "command", config->args[i], err) < 0)
            return -1;
    if (add_environment(env, config, around, err) < 0 ||
        set_text(process, "cwd", config->cwd && *config->cwd ? config->cwd : "/", err) < 0)
        return -1;

    uint64_t set;
    if (capability_set(config, around->bounding_capabilities, &set, err) < 0)
        return -1;
    json_t *capabilities = json_object();
    json_object_set_new(process, "capabilities", capabilities);
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++)
        json_object_set_new(capabilities, sets[i], capability_array(set));
    json_object_set_new(process, "noNewPrivileges", json_boolean(config->no_new_privileges));
    json_object_set_new(process, "oomScoreAdj",
                        json_integer(reachable_oom_score(config->oom_score_adj, around->oom_score_adj_min)));
    return 0;
}

/* crun takes "/file/" for a directory. */
static int add_mount(json_t *mounts, const char *destination, const char *type, const char *source, json_t *options,
                     struct error *err)
{
    json_t *mount = json_object();
    json_array_append_new(mounts, mount);
    json_object_set_new(mount, "options", options);
    json_object_set_new(mount, "type", json_string(type));
    if (destination[0] != '/')
        return error_set(err, EINVAL, "mount destination %s is not absolute", destination);
    cleanup_free char *normal = path_normal(destination);
    return set_text(mount, "destination", normal, err) < 0 || set_text(mount, "source", source, err) < 0 ? -1 : 0;
}

static int add_bind(json_t *mounts, const char *destination, const char *source, const struct runtime_mount *how,
                    struct error *err)
{
    static const struct {
        unsigned long flag;
        const char *name;
    } flags[] = {{MS_NOSUID, "nosuid"},
                 {MS_NODEV, "nodev"},
                 {MS_NOEXEC, "noexec"},
                 {MS_NOATIME, "noatime"},
                 {MS_NODIRATIME, "nodiratime"}};
    const char *options[3 + ARRAY_COUNT(flags)] = {"rbind", propagations[how->propagation],
                                                   !how->read_only    ? "rw"
                                                   : how->recursively ? "rro"
                                                                      : "ro"};
    size_t count = 3;
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
        if (how->flags & flags[i].flag)
            options[count++] = flags[i].name;
    return add_mount(mounts, destination, "bind", source, string_array(options, count), err);
}

static int add_default_mounts(json_t *mounts, bool privileged, struct error *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(default_mounts); i++) {
        const struct default_mount *m = &default_mounts[i];
        json_t *options = json_array();
        for (size_t k = 0; k < ARRAY_COUNT(m->options) && m->options[k]; k++)
            if (!privileged || strcmp(m->options[k], "ro"))
                json_array_append_new(options, json_string(m->options[k]));
        if (add_mount(mounts, m->destination, m->type, m->source, options, err) < 0)
            return -1;
    }
    return 0;
}

/* How deep a path is: 2 for /a/b, however it is written. */
static size_t depth(const char *path)
{
    cleanup_free char *normal = path_normal(path);
    size_t parts = 0;
    for (const char *at = normal; *at && at[1]; at += 1 + strcspn(at + 1, "/"))
        parts++;
    return parts;
}

/* Stable, as containerd sorts: those of one depth keep their order. */
static void insert_by_depth(struct runtime_mount *sorted, size_t count, struct runtime_mount mount)
{
    size_t parts = depth(mount.destination);
    for (; count && depth(sorted[count - 1].destination) > parts; count--)
        sorted[count] = sorted[count - 1];
    sorted[count] = mount;
}

/* The system's own come first, then what the pod mounts and its files, upper directories before what is in them: none
 * hides another. */
static int add_mounts(json_t *root, const struct runtime_container_config *config,
                      const struct oci_surroundings *around, struct error *err)
{
    json_t *mounts = json_array();
    json_object_set_new(root, "mounts", mounts);
    if (add_default_mounts(mounts, config->privileged, err) < 0)
        return -1;
    cleanup_free struct runtime_mount *sorted = mem_zero(config->mount_count + 2, sizeof(*sorted));
    size_t count = 0;
    if (around->shm)
        insert_by_depth(sorted, count++, (struct runtime_mount){.source = around->shm, .destination = "/dev/shm"});
    for (size_t i = 0; i < config->mount_count; i++)
        insert_by_depth(sorted, count++, config->mounts[i]);
    if (config->termination_message_path && around->termination_log)
        insert_by_depth(
            sorted, count++,
            (struct runtime_mount){.source = around->termination_log, .destination = config->termination_message_path});
    for (size_t i = 0; i < count; i++)
        if (add_bind(mounts, sorted[i].destination, sorted[i].source, &sorted[i], err) < 0)
            return -1;
    return 0;
}

static json_t *resources_object(const struct runtime_container_config *config, const struct oci_surroundings *around)
{
    const struct cgroup_resources *r = &config->resources;
    json_t *resources = json_object(), *cpu = json_object();
    json_object_set_new(resources, "devices",
                        json_pack("[{s:b, s:s}]", "allow", config->privileged ? 1 : 0, "access", "rwm"));
    if (r->cpu_shares)
        json_object_set_new(cpu, "shares", json_integer((json_int_t)r->cpu_shares));
    if (r->cpu_quota > 0) {
        json_object_set_new(cpu, "quota", json_integer(r->cpu_quota));
        json_object_set_new(cpu, "period",
                            json_integer((json_int_t)(r->cpu_period ? r->cpu_period : CGROUP_CPU_PERIOD)));
    }
    if (r->cpus)
        json_object_set_new(cpu, "cpus", json_string(r->cpus));
    if (json_object_size(cpu))
        json_object_set(resources, "cpu", cpu);
    json_decref(cpu);
    if (r->memory_limit > 0) {
        json_t *memory = json_object();
        json_object_set_new(resources, "memory", memory);
        json_object_set_new(memory, "limit", json_integer(r->memory_limit));
        if (around->limit_swap)
            json_object_set_new(memory, "swap", json_integer(r->memory_limit));
    }
    if (around->limit_huge_pages && config->huge_page_count) {
        json_t *pages = json_array();
        json_object_set_new(resources, "hugepageLimits", pages);
        for (size_t i = 0; i < config->huge_page_count; i++)
            json_array_append_new(pages, json_pack("{s:s, s:I}", "pageSize", config->huge_pages[i].size, "limit",
                                                   (json_int_t)config->huge_pages[i].limit));
    }
    if (r->pids_limit > 0)
        json_object_set_new(resources, "pids", json_pack("{s:I}", "limit", (json_int_t)r->pids_limit));
    /* A container is killed as one: half a program is no program. As upstream on v2. */
    if (around->cgroup_version == 2)
        json_object_set_new(resources, "unified", json_pack("{s:s}", "memory.oom.group", "1"));
    return resources;
}

static int add_namespace(json_t *namespaces, const char *type, const char *path, struct error *err)
{
    json_t *entry = json_object();
    json_array_append_new(namespaces, entry);
    json_object_set_new(entry, "type", json_string(type));
    return path ? set_text(entry, "path", path, err) : 0;
}

static int add_namespaces(json_t *namespaces, const struct oci_surroundings *around, struct error *err)
{
    if (add_namespace(namespaces, "mount", NULL, err) < 0 ||
        (!around->host_pid && add_namespace(namespaces, "pid", around->pid_namespace, err) < 0) ||
        (around->cgroup_version == 2 && add_namespace(namespaces, "cgroup", NULL, err) < 0) ||
        (around->network_namespace && add_namespace(namespaces, "network", around->network_namespace, err) < 0) ||
        (around->ipc_namespace && add_namespace(namespaces, "ipc", around->ipc_namespace, err) < 0) ||
        (around->uts_namespace && add_namespace(namespaces, "uts", around->uts_namespace, err) < 0))
        return -1;
    return 0;
}

/* *out: the container's profile, NULL when it is not confined. */
static int seccomp_object(const struct runtime_container_config *config, const struct oci_surroundings *around,
                          json_t **out, struct error *err)
{
    uint64_t set;
    *out = NULL;
    if (config->privileged || config->seccomp == RUNTIME_SECCOMP_UNCONFINED)
        return 0;
    if (capability_set(config, around->bounding_capabilities, &set, err) < 0)
        return -1;
    json_t *seccomp = config->seccomp == RUNTIME_SECCOMP_DEFAULT ? oci_seccomp_default(set)
                                                                 : json_loads(config->seccomp_profile, 0, NULL);
    if (!json_is_object(seccomp)) {
        json_decref(seccomp);
        return error_set(err, EINVAL, "the seccomp profile is not a JSON object");
    }
    *out = seccomp;
    return 0;
}

int oci_seccomp_text(const struct runtime_container_config *config, const struct oci_surroundings *around, char **out,
                     struct error *err)
{
    json_t *seccomp;
    if (seccomp_object(config, around, &seccomp, err) < 0)
        return -1;
    *out = seccomp ? json_dumps(seccomp, JSON_COMPACT) : NULL;
    json_decref(seccomp);
    return 0;
}

static int add_seccomp(json_t *root, json_t *linux_part, const struct runtime_container_config *config,
                       const struct oci_surroundings *around, struct error *err)
{
    json_t *seccomp;
    if (seccomp_object(config, around, &seccomp, err) < 0)
        return -1;
    if (seccomp)
        json_object_set_new(linux_part, "seccomp", seccomp);
    if (seccomp && around->seccomp_program) {
        json_object_del(seccomp, "syscalls");
        json_object_set_new(root, "annotations",
                            json_pack("{s:s}", "run.oci.seccomp_bpf_data", around->seccomp_program));
    }
    return 0;
}

static int add_linux(json_t *root, const struct runtime_container_config *config, const struct oci_surroundings *around,
                     struct error *err)
{
    json_t *linux_part = json_object(), *namespaces = json_array();
    json_object_set_new(root, "linux", linux_part);
    json_object_set_new(linux_part, "namespaces", namespaces);
    json_object_set_new(linux_part, "resources", resources_object(config, around));
    if (add_namespaces(namespaces, around, err) < 0 || set_text(linux_part, "cgroupsPath", around->cgroup, err) < 0)
        return -1;
    if (!config->privileged) {
        json_object_set_new(linux_part, "maskedPaths", string_array(masked_paths, ARRAY_COUNT(masked_paths)));
        json_object_set_new(linux_part, "readonlyPaths", string_array(read_only_paths, ARRAY_COUNT(read_only_paths)));
    }
    if (config->privileged)
        json_object_set_new(linux_part, "devices", oci_node_devices());
    enum runtime_mount_propagation widest = RUNTIME_PROPAGATION_PRIVATE;
    for (size_t i = 0; i < config->mount_count; i++)
        if (config->mounts[i].propagation > widest)
            widest = config->mounts[i].propagation;
    if (widest != RUNTIME_PROPAGATION_PRIVATE)
        json_object_set_new(linux_part, "rootfsPropagation", json_string(propagations[widest]));
    return add_seccomp(root, linux_part, config, around, err);
}

static int append_output(const char *data, size_t size, void *context)
{
    buffer_add(context, data, size);
    return 0;
}

int oci_config_write(const struct runtime_container_config *config, const struct oci_surroundings *around,
                     struct buffer *out, struct error *err)
{
    json_t *root = json_object(), *root_part = json_object();
    json_object_set_new(root, "ociVersion", json_string("1.0.2"));
    json_object_set_new(root, "root", root_part);
    json_object_set_new(root_part, "readonly", json_boolean(config->read_only_rootfs));
    int result = 0;
    if (set_text(root_part, "path", config->rootfs, err) < 0 || add_process(root, config, around, err) < 0 ||
        add_mounts(root, config, around, err) < 0 || add_linux(root, config, around, err) < 0)
        result = -1;
    else
        json_dump_callback(root, append_output, out, JSON_COMPACT);
    json_decref(root);
    return result;
}
