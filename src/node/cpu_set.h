/* Sets of CPUs, and which of them a container gets for itself under the kubelet's static CPU manager policy. Pure. */
#ifndef CORACLE_NODE_CPU_SET_H
#define CORACLE_NODE_CPU_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/types.h"

/* CPUs of one machine; those beyond are not handed out. */
#define CPU_SET_MAX 1024
/* Room for the text of any set. */
#define CPU_SET_TEXT_MAX 4096

struct cpu_set {
    uint64_t words[CPU_SET_MAX / 64];
};

void cpu_set_add(struct cpu_set *set, size_t cpu);
bool cpu_set_has(const struct cpu_set *set, size_t cpu);
size_t cpu_set_count(const struct cpu_set *set);
void cpu_set_add_all(struct cpu_set *set, const struct cpu_set *other);
void cpu_set_remove_all(struct cpu_set *set, const struct cpu_set *other);
bool cpu_set_equal(const struct cpu_set *a, const struct cpu_set *b);
/* "0-3,5", as the kernel writes it. Returns 0, or -1 when the text is no such list. */
int cpu_set_parse(const char *text, struct cpu_set *out);
void cpu_set_text(const struct cpu_set *set, char out[CPU_SET_TEXT_MAX]);

/* Where a CPU sits. */
struct cpu_place {
    int core, socket; /* cores are numbered within their socket */
};
struct cpu_topology {
    struct cpu_set online;
    struct cpu_place places[CPU_SET_MAX];
};

/* Takes `count` of the free CPUs: whole sockets as far as that goes, then whole cores, then single CPUs, of cores that
 * are in use already before others. False: there are not so many. */
bool cpu_take(const struct cpu_topology *topology, const struct cpu_set *free, size_t count, struct cpu_set *out);

/* How many CPUs the container gets for itself: those that it asks for, if they are whole and its pod is Guaranteed;
 * else 0, and it shares the others. */
size_t cpu_exclusive_count(const struct pod *pod, const struct resource_requirements *resources);

#endif
