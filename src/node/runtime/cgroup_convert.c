/* CPU requests and limits as the kernel takes them, by upstream's arithmetic (kubelet,
 * pkg/kubelet/cm/helpers_linux.go; the shares-to-weight conversion is the one of the OCI runtimes). */
#include "node/runtime/cgroup.h"

#define SHARES_PER_CPU 1024
#define MILLI_PER_CPU 1000

uint64_t cgroup_cpu_shares(int64_t milli_cpu)
{
    if (milli_cpu <= 0)
        return CGROUP_CPU_SHARES_MIN;
    if (milli_cpu >= (int64_t)CGROUP_CPU_SHARES_MAX * MILLI_PER_CPU / SHARES_PER_CPU)
        return CGROUP_CPU_SHARES_MAX;
    uint64_t shares = (uint64_t)milli_cpu * SHARES_PER_CPU / MILLI_PER_CPU;
    return shares < CGROUP_CPU_SHARES_MIN ? CGROUP_CPU_SHARES_MIN : shares;
}

int64_t cgroup_cpu_quota(int64_t milli_cpu, uint64_t period)
{
    if (milli_cpu <= 0)
        return 0;
    if (!period)
        period = CGROUP_CPU_PERIOD;
    int64_t quota;
    if (__builtin_mul_overflow(milli_cpu, (int64_t)period, &quota))
        return 0; /* more than any machine has: no limit */
    quota /= MILLI_PER_CPU;
    return quota < CGROUP_CPU_QUOTA_MIN ? CGROUP_CPU_QUOTA_MIN : quota;
}

uint64_t cgroup_cpu_weight(uint64_t shares)
{
    if (shares < CGROUP_CPU_SHARES_MIN)
        shares = CGROUP_CPU_SHARES_MIN;
    if (shares > CGROUP_CPU_SHARES_MAX)
        shares = CGROUP_CPU_SHARES_MAX;
    /* [2, 262144] onto [1, 10000], linearly. */
    return 1 + (shares - 2) * 9999 / 262142;
}

int64_t cgroup_milli_of_shares(uint64_t shares)
{
    return (int64_t)((shares * MILLI_PER_CPU + SHARES_PER_CPU - 1) / SHARES_PER_CPU);
}

int64_t cgroup_milli_of_quota(int64_t quota, uint64_t period)
{
    return quota <= 0 || !period ? 0 : quota * MILLI_PER_CPU / (int64_t)period;
}

uint64_t cgroup_shares_of_weight(uint64_t weight)
{
    return weight <= 1 ? CGROUP_CPU_SHARES_MIN : 2 + ((weight - 1) * 262142 + 9998) / 9999;
}
