/* Guaranteed: every container limits cpu and memory, and all requests equal the limits. BestEffort: no container
 * names either. Burstable: the rest. Pod-level resources, when given, count instead of the containers'. */
#include "api/pod_qos.h"

#include "api/quantity.h"
#include "base/cleanup.h"

static const char *const counted[] = {"cpu", "memory"};

struct sums {
    quantity_t requests[ARRAY_COUNT(counted)];
    quantity_t limits[ARRAY_COUNT(counted)];
    bool all_limited; /* every container so far limits both */
};

static quantity_t amount(const struct string_map *map, const char *name)
{
    const char *text = string_map_get(map, name);
    quantity_t value;
    return text && quantity_parse(text, __builtin_strlen(text), &value) == 0 && value > 0 ? value : 0;
}

static void add(struct sums *sums, const struct resource_requirements *resources)
{
    for (size_t i = 0; i < ARRAY_COUNT(counted); i++) {
        quantity_t limit = amount(&resources->limits, counted[i]);
        sums->requests[i] += amount(&resources->requests, counted[i]);
        sums->limits[i] += limit;
        if (!limit)
            sums->all_limited = false;
    }
}

static void add_all(struct sums *sums, const struct container_array *containers)
{
    for (size_t i = 0; i < containers->count; i++)
        add(sums, &containers->items[i].resources);
}

const char *api_pod_qos_class(const struct pod_spec *spec)
{
    struct sums sums = {.all_limited = true};
    if (spec->resources) {
        add(&sums, spec->resources);
    } else {
        add_all(&sums, &spec->init_containers);
        add_all(&sums, &spec->containers);
    }
    bool none = true, equal = true;
    for (size_t i = 0; i < ARRAY_COUNT(counted); i++) {
        none = none && !sums.requests[i] && !sums.limits[i];
        equal = equal && sums.requests[i] == sums.limits[i];
    }
    return none ? "BestEffort" : sums.all_limited && equal ? "Guaranteed" : "Burstable";
}
