/* /metrics in Prometheus' text format: requests by verb, resource and code, their duration, and the figures of store,
 * transport and process. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/map.h"
#include "base/timestamp.h"
#include "server/private.h"

#define CONTENT_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

/* Upper bounds of the duration histogram, microseconds; upstream's lower ones. */
static const int64_t bounds[] = {5000, 25000, 50000, 100000, 200000, 500000, 1000000, 5000000, 10000000, 60000000};

struct series {
    uint64_t count;
    uint64_t buckets[ARRAY_COUNT(bounds)];
    int64_t sum; /* microseconds */
};

struct request_metrics {
    pthread_mutex_t lock;
    struct map counts;    /* labels -> number of requests */
    struct map durations; /* labels -> struct series */
};

struct request_metrics *request_metrics_new(void)
{
    struct request_metrics *m = mem_zero(1, sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void request_metrics_free(struct request_metrics *m)
{
    for (struct map_slot *s = NULL; (s = map_next(&m->durations, s));)
        free(s->value);
    map_free(&m->counts);
    map_free(&m->durations);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void request_metrics_count(struct request_metrics *m, const char *verb, const char *resource, int code,
                           int64_t microseconds)
{
    char labels[256];
    pthread_mutex_lock(&m->lock);
    snprintf(labels, sizeof(labels), "code=\"%d\",resource=\"%s\",verb=\"%s\"", code, resource, verb);
    map_set(&m->counts, labels, (void *)((uintptr_t)map_get(&m->counts, labels) + 1));
    snprintf(labels, sizeof(labels), "resource=\"%s\",verb=\"%s\"", resource, verb);
    struct series *series = map_get(&m->durations, labels);
    if (!series) {
        series = mem_zero(1, sizeof(*series));
        map_set(&m->durations, labels, series);
    }
    series->count++;
    series->sum += microseconds;
    for (size_t i = 0; i < ARRAY_COUNT(bounds); i++)
        series->buckets[i] += microseconds <= bounds[i];
    pthread_mutex_unlock(&m->lock);
}

void request_metrics_write(struct request_metrics *m, struct buffer *out)
{
    pthread_mutex_lock(&m->lock);
    buffer_add_string(out, "# HELP apiserver_request_total Requests answered.\n# TYPE apiserver_request_total counter\n");
    for (struct map_slot *s = NULL; (s = map_next(&m->counts, s));)
        buffer_printf(out, "apiserver_request_total{%s} %lu\n", s->key, (unsigned long)(uintptr_t)s->value);
    buffer_add_string(out, "# HELP apiserver_request_duration_seconds Time to answer a request.\n"
                           "# TYPE apiserver_request_duration_seconds histogram\n");
    for (struct map_slot *s = NULL; (s = map_next(&m->durations, s));) {
        const struct series *series = s->value;
        for (size_t i = 0; i < ARRAY_COUNT(bounds); i++)
            buffer_printf(out, "apiserver_request_duration_seconds_bucket{%s,le=\"%g\"} %llu\n", s->key,
                          (double)bounds[i] / 1e6, (unsigned long long)series->buckets[i]);
        buffer_printf(out, "apiserver_request_duration_seconds_bucket{%s,le=\"+Inf\"} %llu\n", s->key,
                      (unsigned long long)series->count);
        buffer_printf(out, "apiserver_request_duration_seconds_sum{%s} %g\n", s->key, (double)series->sum / 1e6);
        buffer_printf(out, "apiserver_request_duration_seconds_count{%s} %llu\n", s->key,
                      (unsigned long long)series->count);
    }
    pthread_mutex_unlock(&m->lock);
}

/* One figure with its help and type. */
static void figure(struct buffer *out, const char *name, const char *type, const char *help, double value)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

static void write_process(struct buffer *out)
{
    struct rusage usage;
    cleanup_buffer struct buffer statm = {0};
    long pages = 0;
    getrusage(RUSAGE_SELF, &usage);
    if (file_read("/proc/self/statm", 4096, &statm, NULL) == 0)
        sscanf(statm.data, "%*s %ld", &pages);
    figure(out, "process_cpu_seconds_total", "counter", "Processor time used.",
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    figure(out, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)pages * 4096);
}

struct gathering {
    struct server *server;
    struct http_request *http;
    struct buffer out;
};

static void send_metrics(void *context)
{
    struct gathering *g = context;
    size_t size;
    char *data = buffer_steal(&g->out, &size);
    struct http_bytes run = http_bytes_owned(data, size);
    http_response_header(g->http, "Content-Type", CONTENT_PROMETHEUS);
    http_respond(g->http, 200, &run, 1);
    http_request_release(g->http);
    free(g);
}

static void gather(void *context)
{
    struct gathering *g = context;
    struct server *server = g->server;
    struct store_figures store;
    struct http_statistics http;
    store_figures(server->options.store, &store);
    http_server_statistics(server->http, &http);
    request_metrics_write(server->metrics, &g->out);
    figure(&g->out, "coracle_store_revision", "gauge", "The last revision.", (double)store.revision);
    figure(&g->out, "coracle_store_objects", "gauge", "Objects stored.", (double)store.objects);
    figure(&g->out, "coracle_store_writes_total", "counter", "Writes made durable.", (double)store.writes);
    figure(&g->out, "coracle_store_write_failures_total", "counter", "Writes that failed.", (double)store.failures);
    figure(&g->out, "coracle_store_batches_total", "counter", "Transactions, each one fsync.", (double)store.batches);
    figure(&g->out, "coracle_store_commit_seconds_total", "counter", "Time that writes waited to become durable.",
           (double)store.commit_microseconds / 1e6);
    figure(&g->out, "coracle_store_pending", "gauge", "Writes that wait to become durable.", (double)store.pending);
    figure(&g->out, "coracle_watches", "gauge", "Watches, those of controllers included.", (double)store.watches);
    figure(&g->out, "coracle_http_connections", "gauge", "Open connections.", (double)http.connections_open);
    figure(&g->out, "coracle_http_requests_in_flight", "gauge", "Requests being answered, watches included.",
           (double)http.requests_in_flight);
    figure(&g->out, "coracle_http_received_bytes_total", "counter", "Bytes received.", (double)http.bytes_received);
    figure(&g->out, "coracle_http_sent_bytes_total", "counter", "Bytes sent.", (double)http.bytes_sent);
    write_process(&g->out);
    if (server->options.node.metrics)
        server->options.node.metrics(server->options.node.context, &g->out);
    mailbox_send(http_request_mailbox(g->http), send_metrics, g);
}

void metrics_handle(struct server *server, struct http_request *request)
{
    struct gathering *g = mem_zero(1, sizeof(*g));
    g->server = server;
    g->http = request;
    http_request_retain(request);
    mailbox_send(server->core, gather, g);
}
