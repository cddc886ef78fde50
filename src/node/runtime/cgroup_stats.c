/* What a cgroup uses, from the kernel's small files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/runtime/cgroup_internal.h"

/* memory.stat is the largest of the files read here, some 2 KiB. */
#define STAT_FILE_MAX 8192

uint64_t cgroup_flat_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, n) && line[n] == ' ')
            return strtoull(line + n + 1, NULL, 10);
    }
    return 0;
}

static int read_text(const struct cgroup *cgroup, enum cgroup_controller controller, const char *name, const char *file,
                     char text[STAT_FILE_MAX], struct error *err)
{
    char path[PATH_MAX];
    if (cgroup_path(cgroup, cgroup->controllers[controller], name, file, path, err) < 0)
        return -1;
    return file_read_text(path, text, STAT_FILE_MAX) < 0 ? error_errno(err, "read %s", path) : 0;
}

static int read_number(const struct cgroup *cgroup, enum cgroup_controller controller, const char *name,
                       const char *file, uint64_t *out, struct error *err)
{
    char text[STAT_FILE_MAX];
    if (read_text(cgroup, controller, name, file, text, err) < 0)
        return -1;
    *out = strtoull(text, NULL, 10);
    return 0;
}

int cgroup_read_stats(const struct cgroup *cgroup, const char *name, struct cgroup_stats *out, struct error *err)
{
    bool v2 = cgroup->version == 2;
    char text[STAT_FILE_MAX];
    memset(out, 0, sizeof(*out));
    if (v2) {
        if (read_text(cgroup, CGROUP_CPU, name, "cpu.stat", text, err) < 0)
            return -1;
        out->cpu_usage = cgroup_flat_value(text, "usage_usec") * 1000;
    } else if (read_number(cgroup, CGROUP_CPUACCT, name, "cpuacct.usage", &out->cpu_usage, err) < 0) {
        return -1;
    }
    if (read_number(cgroup, CGROUP_MEMORY, name, v2 ? "memory.current" : "memory.usage_in_bytes", &out->memory_usage,
                    err) < 0 ||
        read_text(cgroup, CGROUP_MEMORY, name, "memory.stat", text, err) < 0)
        return -1;
    uint64_t inactive = cgroup_flat_value(text, v2 ? "inactive_file" : "total_inactive_file");
    out->memory_working_set = out->memory_usage > inactive ? out->memory_usage - inactive : 0;
    out->memory_rss = cgroup_flat_value(text, v2 ? "anon" : "total_rss");
    out->oom_kills = cgroup_oom_kills(cgroup, name);
    return read_number(cgroup, CGROUP_PIDS, name, "pids.current", &out->pids, err);
}

uint64_t cgroup_oom_kills(const struct cgroup *cgroup, const char *name)
{
    struct error ignored;
    char text[STAT_FILE_MAX];
    if (read_text(cgroup, CGROUP_MEMORY, name, cgroup->version == 2 ? "memory.events" : "memory.oom_control", text,
                  &ignored) < 0)
        return 0;
    return cgroup_flat_value(text, "oom_kill");
}

/* Larger than any machine's memory: how v1 writes that there is no limit. */
#define NO_LIMIT (INT64_C(1) << 62)

static int64_t limit_of(const char *text)
{
    int64_t value = strtoll(text, NULL, 10);
    return value <= 0 || value >= NO_LIMIT ? 0 : value;
}

static int read_limits_v1(const struct cgroup *cgroup, const char *name, struct cgroup_resources *out,
                          struct error *err)
{
    char text[STAT_FILE_MAX];
    if (read_number(cgroup, CGROUP_CPU, name, "cpu.shares", &out->cpu_shares, err) < 0 ||
        read_number(cgroup, CGROUP_CPU, name, "cpu.cfs_period_us", &out->cpu_period, err) < 0 ||
        read_text(cgroup, CGROUP_CPU, name, "cpu.cfs_quota_us", text, err) < 0)
        return -1;
    out->cpu_quota = limit_of(text);
    if (read_text(cgroup, CGROUP_MEMORY, name, "memory.limit_in_bytes", text, err) < 0)
        return -1;
    out->memory_limit = limit_of(text);
    return 0;
}

static int read_limits_v2(const struct cgroup *cgroup, const char *name, struct cgroup_resources *out,
                          struct error *err)
{
    char text[STAT_FILE_MAX];
    uint64_t weight;
    if (read_number(cgroup, CGROUP_CPU, name, "cpu.weight", &weight, err) < 0 ||
        read_text(cgroup, CGROUP_CPU, name, "cpu.max", text, err) < 0)
        return -1;
    const char *period = strchr(text, ' ');
    out->cpu_shares = cgroup_shares_of_weight(weight);
    out->cpu_quota = limit_of(text);
    out->cpu_period = period ? strtoull(period, NULL, 10) : CGROUP_CPU_PERIOD;
    if (read_text(cgroup, CGROUP_MEMORY, name, "memory.max", text, err) < 0)
        return -1;
    out->memory_limit = limit_of(text);
    return 0;
}

int cgroup_read_limits(const struct cgroup *cgroup, const char *name, struct cgroup_resources *out, struct error *err)
{
    *out = (struct cgroup_resources){0};
    return cgroup->version == 2 ? read_limits_v2(cgroup, name, out, err) : read_limits_v1(cgroup, name, out, err);
}
