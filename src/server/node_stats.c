#include "server/node_stats.h"

#include <inttypes.h>
#include <stdbool.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"

static void sum_up(const struct pod_usage *pod, struct usage_figures *out, int64_t *started_at)
{
    *out = (struct usage_figures){0};
    *started_at = 0;
    for (size_t i = 0; i < pod->count; i++) {
        const struct container_usage *c = &pod->containers[i];
        out->cpu += c->figures.cpu;
        out->cpu_time += c->figures.cpu_time;
        out->memory += c->figures.memory;
        if (!*started_at || c->started_at < *started_at)
            *started_at = c->started_at;
    }
}

/* ---- JSON ---- */

static void write_text(struct buffer *out, const char *key, const char *value)
{
    buffer_printf(out, "\"%s\":", key);
    json_encode_string(out, text_or_empty(value));
}

static void write_instant(struct buffer *out, const char *key, int64_t instant)
{
    char text[TIME_TEXT_MAX];
    time_format(instant, text);
    write_text(out, key, text);
}

/* memory_total 0: not known. */
static void write_figures(struct buffer *out, int64_t instant, const struct usage_figures *figures,
                          int64_t memory_total)
{
    buffer_add_string(out, ",\"cpu\":{");
    write_instant(out, "time", instant);
    buffer_printf(out, ",\"usageNanoCores\":%" PRId64 ",\"usageCoreNanoSeconds\":%" PRId64 "},\"memory\":{",
                  figures->cpu, figures->cpu_time);
    write_instant(out, "time", instant);
    if (memory_total > figures->memory)
        buffer_printf(out, ",\"availableBytes\":%" PRId64, memory_total - figures->memory);
    buffer_printf(out, ",\"workingSetBytes\":%" PRId64 "}", figures->memory);
}

static void write_pod(struct buffer *out, const struct pod_usage *pod)
{
    struct usage_figures all;
    int64_t started_at;
    sum_up(pod, &all, &started_at);
    buffer_add_string(out, "{\"podRef\":{");
    write_text(out, "name", pod->name);
    buffer_add_char(out, ',');
    write_text(out, "namespace", pod->namespace);
    buffer_add_char(out, ',');
    write_text(out, "uid", pod->uid);
    buffer_add_string(out, "},");
    write_instant(out, "startTime", started_at);
    buffer_add_string(out, ",\"containers\":[");
    for (size_t i = 0; i < pod->count; i++) {
        buffer_add_string(out, i ? ",{" : "{");
        write_text(out, "name", pod->containers[i].name);
        buffer_add_char(out, ',');
        write_instant(out, "startTime", pod->containers[i].started_at);
        write_figures(out, pod->instant, &pod->containers[i].figures, 0);
        buffer_add_char(out, '}');
    }
    buffer_add_char(out, ']');
    write_figures(out, pod->instant, &all, 0);
    buffer_add_char(out, '}');
}

void node_stats_summary(const struct node_usage *usage, struct buffer *out)
{
    buffer_add_string(out, "{\"node\":{");
    write_text(out, "nodeName", usage->name);
    buffer_add_char(out, ',');
    write_instant(out, "startTime", usage->started_at);
    write_figures(out, usage->instant, &usage->figures, usage->memory_total);
    buffer_add_string(out, "},\"pods\":[");
    size_t written = 0;
    for (size_t i = 0; i < usage->count; i++) {
        if (!usage->pods[i].count)
            continue;
        if (written++)
            buffer_add_char(out, ',');
        write_pod(out, &usage->pods[i]);
    }
    buffer_add_string(out, "]}\n");
}

/* ---- Prometheus' text ---- */

static void write_head(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

enum figure { CPU_SECONDS, MEMORY_BYTES, START_SECONDS };

static double value_of(enum figure figure, const struct usage_figures *figures, int64_t started_at)
{
    return figure == CPU_SECONDS    ? (double)figures->cpu_time / 1e9
           : figure == MEMORY_BYTES ? (double)figures->memory
                                    : (double)started_at / SECOND;
}

/* instant 0: none is written. The value has all digits of a count of nanoseconds or bytes. */
static void write_value(struct buffer *out, double value, int64_t instant)
{
    buffer_printf(out, " %.17g", value);
    if (instant)
        buffer_printf(out, " %" PRId64, instant / MILLISECOND);
    buffer_add_char(out, '\n');
}

static void write_of_containers(const struct node_usage *usage, struct buffer *out, const char *name,
                                enum figure figure, bool image)
{
    for (size_t i = 0; i < usage->count; i++)
        for (size_t k = 0; k < usage->pods[i].count; k++) {
            const struct pod_usage *pod = &usage->pods[i];
            const struct container_usage *c = &pod->containers[k];
            buffer_printf(out, "%s{container=\"%s\",", name, c->name);
            /* References of images have neither quotes nor backslashes. */
            if (image)
                buffer_printf(out, "image=\"%s\",", text_or_empty(c->image));
            buffer_printf(out, "namespace=\"%s\",pod=\"%s\"}", pod->namespace, pod->name);
            write_value(out, value_of(figure, &c->figures, c->started_at), pod->instant);
        }
}

static void write_of_pods(const struct node_usage *usage, struct buffer *out, const char *name, enum figure figure)
{
    for (size_t i = 0; i < usage->count; i++) {
        const struct pod_usage *pod = &usage->pods[i];
        struct usage_figures all;
        int64_t started_at;
        if (!pod->count)
            continue;
        sum_up(pod, &all, &started_at);
        buffer_printf(out, "%s{namespace=\"%s\",pod=\"%s\"}", name, pod->namespace, pod->name);
        write_value(out, value_of(figure, &all, started_at), pod->instant);
    }
}

static const struct container_figure {
    const char *name, *type, *help;
    enum figure figure;
} of_containers[] = {
    {"container_cpu_usage_seconds_total", "counter", "CPU time that the container has used.", CPU_SECONDS},
    {"container_memory_working_set_bytes", "gauge", "Memory that the container uses now.", MEMORY_BYTES},
    {"container_start_time_seconds", "gauge", "When the container started.", START_SECONDS},
};

static void write_containers(const struct node_usage *usage, struct buffer *out, bool image)
{
    for (size_t i = 0; i < ARRAY_COUNT(of_containers); i++) {
        write_head(out, of_containers[i].name, of_containers[i].type, of_containers[i].help);
        write_of_containers(usage, out, of_containers[i].name, of_containers[i].figure, image);
    }
}

void node_stats_resource(const struct node_usage *usage, struct buffer *out)
{
    write_containers(usage, out, false);
    write_head(out, "node_cpu_usage_seconds_total", "counter", "CPU time that the node has used.");
    buffer_add_string(out, "node_cpu_usage_seconds_total");
    write_value(out, value_of(CPU_SECONDS, &usage->figures, 0), usage->instant);
    write_head(out, "node_memory_working_set_bytes", "gauge", "Memory that the node uses now.");
    buffer_add_string(out, "node_memory_working_set_bytes");
    write_value(out, value_of(MEMORY_BYTES, &usage->figures, 0), usage->instant);
    write_head(out, "pod_cpu_usage_seconds_total", "counter", "CPU time that the pod's containers have used.");
    write_of_pods(usage, out, "pod_cpu_usage_seconds_total", CPU_SECONDS);
    write_head(out, "pod_memory_working_set_bytes", "gauge", "Memory that the pod's containers use now.");
    write_of_pods(usage, out, "pod_memory_working_set_bytes", MEMORY_BYTES);
    write_head(out, "resource_scrape_error", "gauge", "1 if something could not be measured.");
    buffer_add_string(out, "resource_scrape_error 0\n");
}

void node_stats_cadvisor(const struct node_usage *usage, struct buffer *out)
{
    write_containers(usage, out, true);
    write_head(out, "machine_memory_bytes", "gauge", "Memory of the machine.");
    buffer_add_string(out, "machine_memory_bytes");
    write_value(out, (double)usage->memory_total, 0);
}

void node_stats_metrics(const struct node_usage *usage, struct buffer *out)
{
    size_t pods = 0, containers = 0;
    for (size_t i = 0; i < usage->count; i++) {
        pods += usage->pods[i].count > 0;
        containers += usage->pods[i].count;
    }
    write_head(out, "kubelet_node_name", "gauge", "The node; always 1.");
    buffer_printf(out, "kubelet_node_name{node=\"%s\"} 1\n", usage->name);
    write_head(out, "kubelet_running_pods", "gauge", "Pods with a container that runs.");
    buffer_printf(out, "kubelet_running_pods %zu\n", pods);
    write_head(out, "kubelet_running_containers", "gauge", "Containers that run.");
    buffer_printf(out, "kubelet_running_containers{container_state=\"running\"} %zu\n", containers);
}
