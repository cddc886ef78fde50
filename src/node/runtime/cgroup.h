/* Control groups, v1 (also beside v2, "hybrid") and v2, behind one face.
 *
 *     PARENT                  the cluster's ("/coracle/NAME")
 *     PARENT/conmon           the conmon processes
 *     PARENT/podUID           a pod, with the limits of the pod as a whole
 *     PARENT/podUID/ID        a container, made by crun
 *
 * On v1 this tree stands under every controller's mount point; membership is judged by one of them, the
 * "primary" hierarchy. Functions block for tens of microseconds to a few milliseconds (the kernel synchronises
 * when a process moves): from the loop only where they say so, else from libuv's pool. A struct cgroup is
 * immutable after cgroup_open: any thread may use it. */
#ifndef CORACLE_NODE_RUNTIME_CGROUP_H
#define CORACLE_NODE_RUNTIME_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct cgroup;

/* Limits. 0 means "not limited" ("not set" for cpu_shares, which then is the kernel's default). */
struct cgroup_resources {
    uint64_t cpu_shares;  /* v1 scale, 2..262144; converted on v2 */
    int64_t cpu_quota;    /* microseconds of CPU per period */
    uint64_t cpu_period;  /* microseconds; 0: CGROUP_CPU_PERIOD */
    int64_t memory_limit; /* bytes */
    int64_t pids_limit;
    /* that it may run on: "0-3,5"; NULL: all of the group above. Only crun applies it; cgroup_set_cpus. */
    const char *cpus;
};

struct cgroup_stats {
    uint64_t cpu_usage;          /* nanoseconds, since the group was made */
    uint64_t memory_usage;       /* bytes, page cache included */
    uint64_t memory_working_set; /* memory_usage less inactive file pages, as upstream reports and evicts by */
    uint64_t memory_rss;         /* anonymous memory */
    uint64_t pids;
    uint64_t oom_kills;
};

/* 100 ms, in microseconds: upstream's default for cpuCFSQuotaPeriod. */
#define CGROUP_CPU_PERIOD 100000
#define CGROUP_CPU_SHARES_MIN 2
#define CGROUP_CPU_SHARES_MAX 262144
/* Least quota that the kernel takes, in microseconds. */
#define CGROUP_CPU_QUOTA_MIN 1000

/* Thousandths of a CPU to shares (requests) and to a quota per period (limits; 0 for 0, which is no limit), and
 * shares to a v2 weight, all as upstream's kubelet computes them. */
uint64_t cgroup_cpu_shares(int64_t milli_cpu);
int64_t cgroup_cpu_quota(int64_t milli_cpu, uint64_t period);
uint64_t cgroup_cpu_weight(uint64_t shares);
/* And back: the smallest that gives this, so that a round trip ends where it began. */
int64_t cgroup_milli_of_shares(uint64_t shares);
int64_t cgroup_milli_of_quota(int64_t quota, uint64_t period);
uint64_t cgroup_shares_of_weight(uint64_t weight);

/* In a mount namespace of the caller's own: hides v2 where v1 controllers are beside it, because crun refuses the
 * mixture. Fine when there is nothing to do. Refuses (EPERM) when the process is still in the mount namespace of
 * PID 1, unless there is nothing to do. Call before cgroup_open. */
int cgroup_prepare_mounts(struct error *err);

/* Finds the hierarchies and makes PARENT. Fails when cpu, memory or pids cannot be limited. */
int cgroup_open(const char *parent, struct cgroup **out, struct error *err);
void cgroup_free(struct cgroup *cgroup);
/* 1 or 2. */
int cgroup_version(const struct cgroup *cgroup);
const char *cgroup_parent(const struct cgroup *cgroup);

/* `name` below is relative to PARENT: "podUID", "podUID/ID", or "" for PARENT itself. */

/* Makes the group, unless it is there, and applies the limits. */
int cgroup_create(const struct cgroup *cgroup, const char *name, const struct cgroup_resources *resources,
                  struct error *err);
int cgroup_update(const struct cgroup *cgroup, const char *name, const struct cgroup_resources *resources,
                  struct error *err);
/* What is in force. A limit that there is not is 0. Fit for the loop. */
int cgroup_read_limits(const struct cgroup *cgroup, const char *name, struct cgroup_resources *out, struct error *err);
/* Which CPUs the processes of the group may run on. `out` gets the kernel's list, cut to size. */
int cgroup_set_cpus(const struct cgroup *cgroup, const char *name, const char *cpus, struct error *err);
int cgroup_read_cpus(const struct cgroup *cgroup, const char *name, char *out, size_t size, struct error *err);
/* Moves a process into the group (on v1: in the primary hierarchy only, which is what finding it needs). */
int cgroup_attach(const struct cgroup *cgroup, const char *name, pid_t pid, struct error *err);
/* SIGKILL for every process in the group and below, until none is left. Blocks until they are gone, at most
 * CGROUP_KILL_WAIT; ETIMEDOUT then. A group that is not there is fine. */
#define CGROUP_KILL_WAIT (5 * INT64_C(1000000))
int cgroup_kill(const struct cgroup *cgroup, const char *name, struct error *err);
/* One pass of cgroup_kill, without waiting: fit for the loop. */
int cgroup_kill_once(const struct cgroup *cgroup, const char *name, struct error *err);
/* Removes the group and all below it, in every hierarchy. They must be empty. One that is not there is fine. */
int cgroup_remove(const struct cgroup *cgroup, const char *name, struct error *err);
/* Removes the groups above PARENT that have become empty. */
void cgroup_remove_ancestors(const struct cgroup *cgroup);
/* Calls visit with each process of the group and below. */
int cgroup_each_process(const struct cgroup *cgroup, const char *name, void (*visit)(void *context, pid_t pid),
                        void *context, struct error *err);
/* Fit for the loop. ENOENT when the group is not there. */
int cgroup_read_stats(const struct cgroup *cgroup, const char *name, struct cgroup_stats *out, struct error *err);
/* Whether groups can be limited in huge pages: the kernel may do without. */
bool cgroup_limits_huge_pages(const struct cgroup *cgroup);
/* How many processes the kernel killed here for memory; 0 when that cannot be told. Fit for the loop. */
uint64_t cgroup_oom_kills(const struct cgroup *cgroup, const char *name);

#endif
