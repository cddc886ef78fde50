/* What the whole machine has and uses, from /proc. Blocks for the reading of small files: fit for the loop. */
#ifndef CORACLE_NODE_MACHINE_H
#define CORACLE_NODE_MACHINE_H

#include <stdint.h>

struct machine_memory {
    int64_t total;       /* bytes */
    int64_t working_set; /* in use, less what is cached of files and has not been used lately, as upstream counts it */
};

struct machine_processes {
    int64_t most;    /* that there can be: the lesser of the kernel's limits; 0: not known */
    int64_t running; /* threads that there are, as upstream counts them */
};

/* Nanoseconds of CPU since the boot, of all CPUs together; in steps of 10 ms. */
int64_t machine_cpu_usage(void);
void machine_memory(struct machine_memory *out);
void machine_processes(struct machine_processes *out);
/* Of text as /proc/stat, /proc/meminfo and /proc/loadavg hold it. */
int64_t machine_parse_cpu(const char *text, long ticks_per_second);
void machine_parse_memory(const char *text, struct machine_memory *out);
int64_t machine_parse_running(const char *text);

#endif
