/* Reading thresholds, reserved resources and durations. */
#include "cli/node_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/pod_sysctls.h"

/* A Go duration of hours, minutes, seconds and milliseconds: "5m0s". */
static int read_duration(const char *text, int64_t *out, struct error *err)
{
    static const struct {
        const char *name;
        int64_t unit;
    } units[] = {{"ms", MILLISECOND}, {"h", HOUR}, {"m", MINUTE}, {"s", SECOND}};
    const char *at = text;
    *out = 0;
    while (*at) {
        char *end;
        double number = strtod(at, &end);
        size_t u = 0;
        while (u < ARRAY_COUNT(units) && strncmp(end, units[u].name, strlen(units[u].name)) != 0)
            u++;
        if (end == at || u == ARRAY_COUNT(units) || !(number >= 0) || number > 1e6)
            return error_set(err, EINVAL, "time: invalid duration \"%s\"", text);
        *out += (int64_t)(number * (double)units[u].unit);
        at = end + strlen(units[u].name);
    }
    return *text ? 0 : error_set(err, EINVAL, "time: invalid duration \"\"");
}

/* "cpu=500m,memory=1Gi,ephemeral-storage=1Gi" */
static int read_reserved(struct arena *arena, const char *text, struct agent_reserved *out, struct error *err)
{
    char *rest = arena_string(arena, text), *part;
    while ((part = strsep(&rest, ","))) {
        char *equals = strchr(part, '=');
        const char *amount = equals ? quantity_canonical(arena, equals + 1, strlen(equals + 1)) : NULL;
        if (!amount || quantity_compare(amount, "0") < 0)
            return error_set(err, EINVAL, "'%s' is not RESOURCE=QUANTITY", part);
        *equals = 0;
        if (strcmp(part, "cpu") == 0)
            out->cpu_milli = quantity_milli_value(amount);
        else if (strcmp(part, "memory") == 0)
            out->memory = quantity_value(amount);
        else if (strcmp(part, "ephemeral-storage") == 0)
            out->disk = quantity_value(amount);
        else if (strcmp(part, "pid") != 0)
            return error_set(err, EINVAL, "cannot reserve \"%s\" resource", part);
    }
    return 0;
}

int node_options_read(struct arena *arena, const struct up_options *up, struct agent_options *out, struct error *err)
{
    out->eviction = eviction_defaults;
    out->pressure_transition = EVICTION_TRANSITION_SECONDS * SECOND;
    if (up->eviction_hard && eviction_parse(arena, up->eviction_hard, &out->eviction, err) < 0)
        return error_wrap(err, "--eviction-hard");
    if (up->pressure_transition && read_duration(up->pressure_transition, &out->pressure_transition, err) < 0)
        return error_wrap(err, "--eviction-pressure-transition-period");
    if (up->system_reserved && read_reserved(arena, up->system_reserved, &out->reserved, err) < 0)
        return error_wrap(err, "--system-reserved");
    if (pod_sysctls_check_list(up->unsafe_sysctls, err) < 0)
        return error_wrap(err, "--allowed-unsafe-sysctls");
    out->unsafe_sysctls = up->unsafe_sysctls;
    const char *policy = up->cpu_manager_policy ? up->cpu_manager_policy : "none";
    out->static_cpus = strcmp(policy, "static") == 0;
    if (!out->static_cpus && strcmp(policy, "none") != 0)
        return error_set(err, EINVAL, "--cpu-manager-policy: unknown policy: \"%s\"", policy);
    if (out->static_cpus && !out->reserved.cpu_milli)
        return error_set(err, EINVAL,
                         "the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero");
    return 0;
}
