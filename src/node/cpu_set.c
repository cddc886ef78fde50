/* Sets, their text, and the choice. */
#include "node/cpu_set.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_qos.h"
#include "api/quantity.h"

void cpu_set_add(struct cpu_set *set, size_t cpu)
{
    set->words[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

bool cpu_set_has(const struct cpu_set *set, size_t cpu)
{
    return cpu < CPU_SET_MAX && set->words[cpu / 64] >> cpu % 64 & 1;
}

size_t cpu_set_count(const struct cpu_set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
        count += (size_t)__builtin_popcountll(set->words[i]);
    return count;
}

void cpu_set_add_all(struct cpu_set *set, const struct cpu_set *other)
{
    for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
        set->words[i] |= other->words[i];
}

void cpu_set_remove_all(struct cpu_set *set, const struct cpu_set *other)
{
    for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
        set->words[i] &= ~other->words[i];
}

bool cpu_set_equal(const struct cpu_set *a, const struct cpu_set *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

int cpu_set_parse(const char *text, struct cpu_set *out)
{
    memset(out, 0, sizeof(*out));
    while (*text && *text != '\n') {
        char *end;
        if (!isdigit((unsigned char)*text))
            return -1;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (*end == '-') {
            text = end + 1;
            if (!isdigit((unsigned char)*text))
                return -1;
            last = strtoul(text, &end, 10);
        }
        if (last < first || last >= CPU_SET_MAX)
            return -1;
        for (unsigned long i = first; i <= last; i++)
            cpu_set_add(out, i);
        if (*end && *end != ',' && *end != '\n')
            return -1;
        text = end + (*end == ',');
    }
    return 0;
}

void cpu_set_text(const struct cpu_set *set, char out[CPU_SET_TEXT_MAX])
{
    size_t used = 0;
    *out = 0;
    for (size_t i = 0; i < CPU_SET_MAX; i++) {
        size_t last = i;
        if (!cpu_set_has(set, i))
            continue;
        while (cpu_set_has(set, last + 1))
            last++;
        int n = last == i ? snprintf(out + used, CPU_SET_TEXT_MAX - used, "%s%zu", used ? "," : "", i)
                          : snprintf(out + used, CPU_SET_TEXT_MAX - used, "%s%zu-%zu", used ? "," : "", i, last);
        used += (size_t)n;
        i = last;
    }
}

/* ---- The choice ---- */

static bool together(const struct cpu_topology *t, size_t a, size_t b, bool core)
{
    return t->places[a].socket == t->places[b].socket && (!core || t->places[a].core == t->places[b].core);
}

/* All CPUs of the core or socket of one. */
static struct cpu_set group_of(const struct cpu_topology *t, size_t cpu, bool core)
{
    struct cpu_set group = {{0}};
    for (size_t i = 0; i < CPU_SET_MAX; i++)
        if (cpu_set_has(&t->online, i) && together(t, i, cpu, core))
            cpu_set_add(&group, i);
    return group;
}

static bool contains(const struct cpu_set *set, const struct cpu_set *part)
{
    struct cpu_set rest = *part;
    cpu_set_remove_all(&rest, set);
    return cpu_set_count(&rest) == 0;
}

/* Whole cores or sockets, in the order of their CPUs, as long as they are not more than is needed. */
static void take_groups(const struct cpu_topology *t, struct cpu_set *free, size_t *count, bool core,
                        struct cpu_set *out)
{
    for (size_t i = 0; i < CPU_SET_MAX && *count; i++) {
        if (!cpu_set_has(free, i))
            continue;
        struct cpu_set group = group_of(t, i, core);
        size_t size = cpu_set_count(&group);
        if (size > *count || !contains(free, &group))
            continue;
        cpu_set_add_all(out, &group);
        cpu_set_remove_all(free, &group);
        *count -= size;
    }
}

/* Of the cores with the fewest free CPUs first: whole ones stay whole for others. */
static void take_single(const struct cpu_topology *t, struct cpu_set *free, struct cpu_set *out)
{
    size_t best = CPU_SET_MAX, fewest = 0;
    for (size_t i = 0; i < CPU_SET_MAX; i++) {
        if (!cpu_set_has(free, i))
            continue;
        struct cpu_set taken = group_of(t, i, true), rest = taken;
        cpu_set_remove_all(&taken, free);
        cpu_set_remove_all(&rest, &taken);
        size_t left = cpu_set_count(&rest);
        if (best == CPU_SET_MAX || left < fewest) {
            best = i;
            fewest = left;
        }
    }
    struct cpu_set one = {{0}};
    cpu_set_add(&one, best);
    cpu_set_add_all(out, &one);
    cpu_set_remove_all(free, &one);
}

bool cpu_take(const struct cpu_topology *t, const struct cpu_set *available, size_t count, struct cpu_set *out)
{
    struct cpu_set free = *available;
    memset(out, 0, sizeof(*out));
    if (cpu_set_count(available) < count)
        return false;
    take_groups(t, &free, &count, false, out);
    take_groups(t, &free, &count, true, out);
    for (; count; count--)
        take_single(t, &free, out);
    return true;
}

size_t cpu_exclusive_count(const struct pod *pod, const struct resource_requirements *resources)
{
    int64_t milli = quantity_milli_value(string_map_get(&resources->requests, "cpu"));
    bool whole = milli > 0 && milli % 1000 == 0 && milli / 1000 <= CPU_SET_MAX;
    return whole && strcmp(api_pod_qos_class(&pod->spec), "Guaranteed") == 0 ? (size_t)(milli / 1000) : 0;
}
