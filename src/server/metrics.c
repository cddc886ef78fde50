/* /metrics in Prometheus' text format: requests by what they were about, their duration, and the figures of store,
 * transport and process.
 *
 * Counting takes no lock: every combination of resource, verb and subresource has a series of atomic counters, made
 * when it is first met. Figures of the store are gathered on the core thread, all else on the I/O thread. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/timestamp.h"
#include "server/private.h"

#define CONTENT_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

/* Upper bounds of the duration histogram, microseconds, from upstream's. */
static const int64_t bounds[] = {5000, 25000, 50000, 100000, 200000, 500000, 1000000, 5000000, 10000000, 60000000};
/* The codes that are told apart; 0: any other. */
static const int codes[] = {200, 201, 202, 304, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 500, 503, 504,
                            0};
static const char *const subresources[] = {"", "binding", "ephemeralcontainers", "finalize", "log", "scale", "status", "token"};
static const char *const verbs[] = {
    [VERB_GET] = "GET",       [VERB_LIST] = "LIST",     [VERB_WATCH] = "WATCH",
    [VERB_POST] = "POST",     [VERB_PUT] = "PUT",       [VERB_PATCH] = "PATCH",
    [VERB_DELETE] = "DELETE", [VERB_DELETE_COLLECTION] = "DELETECOLLECTION", [VERB_OTHER] = "OTHER",
};

struct series {
    _Atomic uint64_t codes[ARRAY_COUNT(codes)];
    _Atomic uint64_t buckets[ARRAY_COUNT(bounds) + 1]; /* each without those below it; the last is beyond all */
    _Atomic int64_t sum;                               /* microseconds */
};

#define SERIES_PER_RESOURCE (ARRAY_COUNT(verbs) * ARRAY_COUNT(subresources))

struct request_metrics {
    _Atomic(struct series *) *series; /* by resource (the last: none), verb and subresource */
    size_t count;
};

struct request_metrics *request_metrics_new(void)
{
    struct request_metrics *m = mem_zero(1, sizeof(*m));
    m->count = (api_resource_count + 1) * SERIES_PER_RESOURCE;
    m->series = mem_zero(m->count, sizeof(*m->series));
    return m;
}

void request_metrics_free(struct request_metrics *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(atomic_load(&m->series[i]));
    free((void *)m->series);
    free(m);
}

static size_t subresource_index(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_COUNT(subresources); i++)
        if (strcmp(name, subresources[i]) == 0)
            return i;
    return 0;
}

static struct series *find_series(struct request_metrics *m, const struct route *route, enum request_verb verb)
{
    const struct api_resource *resource = route ? route->resource : NULL;
    size_t at = (resource ? resource->index : api_resource_count) * SERIES_PER_RESOURCE +
                (size_t)verb * ARRAY_COUNT(subresources) + (resource ? subresource_index(route->subresource) : 0);
    struct series *series = atomic_load_explicit(&m->series[at], memory_order_acquire), *none = NULL;
    if (series)
        return series;
    series = mem_zero(1, sizeof(*series));
    if (atomic_compare_exchange_strong(&m->series[at], &none, series))
        return series;
    free(series); /* another thread was quicker */
    return none;
}

static void add(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void request_metrics_count(struct request_metrics *m, const struct route *route, enum request_verb verb, int code,
                           int64_t microseconds)
{
    struct series *series = find_series(m, route, verb);
    size_t i = 0, bucket = 0;
    while (codes[i] && codes[i] != code)
        i++;
    while (bucket < ARRAY_COUNT(bounds) && microseconds > bounds[bucket])
        bucket++;
    add(&series->codes[i]);
    add(&series->buckets[bucket]);
    atomic_fetch_add_explicit(&series->sum, microseconds, memory_order_relaxed);
}

/* ---- Writing ---- */

/* `group="apps",resource="deployments",subresource="",verb="GET",version="v1"` of the series at an index. */
static void labels(size_t at, char *out, size_t size)
{
    size_t resource = at / SERIES_PER_RESOURCE, rest = at % SERIES_PER_RESOURCE;
    bool known = resource < api_resource_count;
    snprintf(out, size, "group=\"%s\",resource=\"%s\",subresource=\"%s\",verb=\"%s\",version=\"%s\"",
             known ? api_resources[resource].group : "", known ? api_resources[resource].plural : "",
             subresources[rest % ARRAY_COUNT(subresources)], verbs[rest / ARRAY_COUNT(subresources)],
             known ? api_resources[resource].version : "");
}

static void write_total(const struct series *series, const char *label, struct buffer *out)
{
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
        unsigned long long n = atomic_load_explicit(&series->codes[i], memory_order_relaxed);
        if (n)
            buffer_printf(out, "apiserver_request_total{code=\"%d\",%s} %llu\n", codes[i], label, n);
    }
}

static void write_duration(const struct series *series, const char *label, struct buffer *out)
{
    static const char name[] = "apiserver_request_duration_seconds";
    unsigned long long total = 0;
    for (size_t i = 0; i <= ARRAY_COUNT(bounds); i++) {
        char bound[16] = "+Inf";
        if (i < ARRAY_COUNT(bounds))
            snprintf(bound, sizeof(bound), "%g", (double)bounds[i] / 1e6);
        total += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        buffer_printf(out, "%s_bucket{%s,le=\"%s\"} %llu\n", name, label, bound, total);
    }
    buffer_printf(out, "%s_sum{%s} %g\n%s_count{%s} %llu\n", name, label,
                  (double)atomic_load_explicit(&series->sum, memory_order_relaxed) / 1e6, name, label, total);
}

static void write_requests(const struct request_metrics *m, struct buffer *out)
{
    char label[256];
    buffer_add_string(out, "# HELP apiserver_request_total Requests answered.\n"
                           "# TYPE apiserver_request_total counter\n");
    for (size_t i = 0; i < m->count; i++) {
        const struct series *series = atomic_load_explicit(&m->series[i], memory_order_acquire);
        labels(i, label, sizeof(label));
        if (series)
            write_total(series, label, out);
    }
    buffer_add_string(out, "# HELP apiserver_request_duration_seconds Time to answer a request; of a watch or log, how "
                           "long it lasted.\n# TYPE apiserver_request_duration_seconds histogram\n");
    for (size_t i = 0; i < m->count; i++) {
        const struct series *series = atomic_load_explicit(&m->series[i], memory_order_acquire);
        labels(i, label, sizeof(label));
        if (series)
            write_duration(series, label, out);
    }
}

/* One figure with its help and type. */
static void figure(struct buffer *out, const char *name, const char *type, const char *help, double value)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.*f\n", name, help, name, type, name,
                  value == (double)(int64_t)value ? 0 : 6, value);
}

static double open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the directory itself */
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count > 0 ? count : 0;
}

static void write_process(const struct server *server, struct buffer *out)
{
    struct rusage usage;
    cleanup_buffer struct buffer statm = {0};
    long virtual = 0, resident = 0, page = sysconf(_SC_PAGESIZE);
    getrusage(RUSAGE_SELF, &usage);
    if (file_read("/proc/self/statm", 4096, &statm, NULL) == 0)
        sscanf(statm.data, "%ld %ld", &virtual, &resident);
    figure(out, "process_cpu_seconds_total", "counter", "Processor time used.",
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    figure(out, "process_open_fds", "gauge", "Open file descriptors.", open_files());
    figure(out, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)resident * (double)page);
    figure(out, "process_start_time_seconds", "gauge", "When the server started, since the epoch.",
           (double)server->started / 1e6);
    figure(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)virtual * (double)page);
}

static void write_http(const struct server *server, struct buffer *out)
{
    struct http_statistics http;
    http_server_statistics(server->http, &http);
    figure(out, "coracle_http_connections", "gauge", "Open connections.", (double)http.connections_open);
    figure(out, "coracle_http_connections_accepted_total", "counter", "Connections accepted.",
           (double)http.connections_accepted);
    figure(out, "coracle_http_handshakes_failed_total", "counter", "TLS handshakes that failed.",
           (double)http.handshakes_failed);
    figure(out, "coracle_http_requests_in_flight", "gauge", "Requests being answered, watches included.",
           (double)http.requests_in_flight);
    figure(out, "coracle_http_received_bytes_total", "counter", "Bytes received.", (double)http.bytes_received);
    figure(out, "coracle_http_sent_bytes_total", "counter", "Bytes sent.", (double)http.bytes_sent);
}

static void write_store(const struct server *server, struct buffer *out)
{
    struct store_figures store;
    store_figures(server->options.store, &store);
    figure(out, "coracle_store_revision", "gauge", "The last revision.", (double)store.revision);
    figure(out, "coracle_store_objects", "gauge", "Objects stored.", (double)store.objects);
    figure(out, "coracle_store_writes_total", "counter", "Writes made durable.", (double)store.writes);
    figure(out, "coracle_store_write_failures_total", "counter", "Writes that failed.", (double)store.failures);
    figure(out, "coracle_store_batches_total", "counter", "Transactions, each one fsync.", (double)store.batches);
    figure(out, "coracle_store_commit_seconds_total", "counter", "Time that writes waited to become durable.",
           (double)store.commit_microseconds / 1e6);
    figure(out, "coracle_store_pending", "gauge", "Writes that wait to become durable.", (double)store.pending);
    figure(out, "coracle_store_watches", "gauge", "Watches of the store, those of controllers included.",
           (double)store.watches);
    figure(out, "coracle_watches", "gauge", "Watches of clients.", (double)server->watches);
}

/* ---- The answer ---- */

struct gathering {
    struct server *server;
    struct http_request *http;
    struct buffer out;
};

static void send_metrics(void *context)
{
    struct gathering *g = context;
    size_t size;
    write_requests(g->server->metrics, &g->out);
    write_http(g->server, &g->out);
    write_process(g->server, &g->out);
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
    write_store(server, &g->out);
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
