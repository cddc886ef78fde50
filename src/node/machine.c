/* Reads /proc/stat, /proc/meminfo, /proc/loadavg and two limits of the kernel. */
#include "node/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The columns of the first line of /proc/stat: nice and steal are time, idle and iowait are not. */
enum column { USER, NICE, SYSTEM, IDLE, IO_WAIT, IRQ, SOFT_IRQ, COLUMNS };

int64_t machine_parse_cpu(const char *text, long ticks_per_second)
{
    long long ticks[COLUMNS] = {0};
    if (ticks_per_second <= 0 ||
        sscanf(text, "cpu %lld %lld %lld %lld %lld %lld %lld", &ticks[USER], &ticks[NICE], &ticks[SYSTEM], &ticks[IDLE],
               &ticks[IO_WAIT], &ticks[IRQ], &ticks[SOFT_IRQ]) < 4)
        return 0;
    return (int64_t)(ticks[USER] + ticks[NICE] + ticks[SYSTEM] + ticks[IRQ] + ticks[SOFT_IRQ]) *
           (1000000000 / ticks_per_second);
}

/* Bytes behind key, which ends with a colon, at the start of a line; 0 when there is none. */
static int64_t field(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) == 0)
            return strtoll(line + n, NULL, 10) * 1024;
    }
    return 0;
}

void machine_parse_memory(const char *text, struct machine_memory *out)
{
    int64_t used;
    out->total = field(text, "MemTotal:");
    used = out->total - field(text, "MemFree:") - field(text, "Inactive(file):");
    out->working_set = used > 0 ? used : 0;
}

#define TEXT_MAX 4096

static void read_start(const char *path, char out[TEXT_MAX])
{
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(out, 1, TEXT_MAX - 1, file) : 0;
    out[n] = 0;
    if (file)
        fclose(file);
}

int64_t machine_cpu_usage(void)
{
    char text[TEXT_MAX];
    read_start("/proc/stat", text);
    return machine_parse_cpu(text, sysconf(_SC_CLK_TCK));
}

void machine_memory(struct machine_memory *out)
{
    char text[TEXT_MAX];
    read_start("/proc/meminfo", text);
    machine_parse_memory(text, out);
}

int64_t machine_parse_running(const char *text)
{
    long long running;
    return sscanf(text, "%*f %*f %*f %*d/%lld", &running) == 1 ? running : 0;
}

void machine_processes(struct machine_processes *out)
{
    static const char *const limits[] = {"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"};
    char text[TEXT_MAX];
    *out = (struct machine_processes){0};
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        read_start(limits[i], text);
        int64_t limit = strtoll(text, NULL, 10);
        if (limit > 0 && (!out->most || limit < out->most))
            out->most = limit;
    }
    read_start("/proc/loadavg", text);
    out->running = machine_parse_running(text);
}
