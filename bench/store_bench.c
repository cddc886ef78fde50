/* The core without HTTP: pods created by WRITERS clients through the registry into a SQLite store, then read,
 * listed, watched, changed and deleted. Prints one line per figure.
 *
 *     store_bench [-n PODS] [-w WRITERS] [FILE]      no FILE: the memory engine
 *
 * The file is removed first. Where FILE lies decides what an fsync costs. */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "client/client.h"
#include "client/informer.h"
#include "registry/registry.h"
#include "store/engine.h"
#include "store/store.h"

#define WATCHERS 1000
#define WATCHED 200

static const char pod_json[] =
    "{\"metadata\":{\"generateName\":\"web-6d4cf56db6-\",\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"6d4cf56db6\"},"
    "\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-6d4cf56db6\",\"uid\":"
    "\"0e0f2a8e-9d4e-4a37-8d2c-1f1b8a5f3c11\",\"controller\":true,\"blockOwnerDeletion\":true}]},\"spec\":{\"containers\":"
    "[{\"name\":\"web\",\"image\":\"registry.example.com/team/web:v1\",\"ports\":[{\"containerPort\":8080}],\"env\":[{"
    "\"name\":\"MODE\",\"value\":\"production\"}],\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},"
    "\"limits\":{\"memory\":\"128Mi\"}},\"readinessProbe\":{\"httpGet\":{\"path\":\"/ready\",\"port\":8080},"
    "\"periodSeconds\":5}}]}}";

struct bench {
    uv_loop_t loop;
    struct env *env;
    struct store *store;
    struct registry *registry;
    struct client *client;
    long wanted, sent, answered, failed;
    VECTOR(char *) names;
    void (*send_one)(struct bench *bench, long i);
    int64_t slowest, latency;
    bool quiet;
};

struct call {
    struct bench *bench;
    int64_t start;
};

static void rate(struct bench *bench, const char *what, long count, int64_t micros)
{
    if (!bench->quiet)
        printf("%-40s %10.0f /s\n", what, (double)count * 1e6 / (double)micros);
}

static void answered(void *context, const struct client_result *result)
{
    struct call *call = context;
    struct bench *bench = call->bench;
    int64_t took = env_monotonic(bench->env) - call->start;
    free(call);
    bench->latency += took;
    if (took > bench->slowest)
        bench->slowest = took;
    if (!client_ok(result)) {
        if (!bench->failed++)
            fprintf(stderr, "%d %s\n", result->code, result->status->message);
    } else if (result->code == 201) {
        vector_push(&bench->names, mem_string(result->object->meta->name));
    }
    bench->answered++;
    if (bench->sent < bench->wanted)
        bench->send_one(bench, bench->sent++);
}

static struct call *call_new(struct bench *bench)
{
    struct call *call = mem_alloc(sizeof(*call));
    *call = (struct call){bench, env_monotonic(bench->env)};
    return call;
}

static void send_create(struct bench *bench, long i)
{
    struct client_request *r = client_request_new(CLIENT_CREATE, &api_resources[API_PODS], "default", NULL);
    r->body = arena_alloc(r->arena, api_type_pod.size);
    json_decode(&api_type_pod, r->arena, pod_json, strlen(pod_json), r->body, NULL, NULL);
    client_submit(bench->client, r, answered, call_new(bench));
}

static void send_get(struct bench *bench, long i)
{
    client_get(bench->client, &api_resources[API_PODS], "default", bench->names.items[(size_t)i % bench->names.count],
               answered, call_new(bench));
}

static void send_status(struct bench *bench, long i)
{
    static int change;
    char patch[256];
    snprintf(patch, sizeof(patch),
             "{\"status\":{\"phase\":\"Running\",\"message\":\"%d\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
             "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}",
             ++change);
    client_patch(bench->client, &api_resources[API_PODS], "status", "default",
                 bench->names.items[(size_t)i % bench->names.count], PATCH_STRATEGIC, patch, answered,
                 call_new(bench));
}

static void send_list(struct bench *bench, long i)
{
    client_submit(bench->client, client_request_new(CLIENT_LIST, &api_resources[API_PODS], "default", NULL), answered,
                  call_new(bench));
}

static void send_delete(struct bench *bench, long i)
{
    client_delete(bench->client, &api_resources[API_PODS], "default", bench->names.items[i], NULL, 0, NULL, answered,
                  call_new(bench));
}

static void measure(struct bench *bench, const char *what, long count, long at_once,
                    void (*send_one)(struct bench *, long))
{
    struct store_figures before, after;
    store_figures(bench->store, &before);
    bench->wanted = count;
    bench->sent = bench->answered = bench->failed = 0;
    bench->latency = bench->slowest = 0;
    bench->send_one = send_one;
    int64_t start = env_monotonic(bench->env);
    while (bench->sent < at_once && bench->sent < count)
        send_one(bench, bench->sent++);
    while (bench->answered < count)
        uv_run(&bench->loop, UV_RUN_ONCE);
    rate(bench, what, count, env_monotonic(bench->env) - start);
    store_figures(bench->store, &after);
    if (!bench->quiet && after.batches > before.batches)
        printf("    %.1f writes per batch, mean %.2f ms, slowest %.2f ms\n",
               (double)(after.writes - before.writes) / (double)(after.batches - before.batches),
               (double)bench->latency / 1000.0 / (double)count, (double)bench->slowest / 1000.0);
    if (bench->failed)
        printf("    %ld FAILED\n", bench->failed);
}

static void count_event(void *context, const struct client_event *event)
{
    ++*(long *)context;
}

static void measure_watches(struct bench *bench)
{
    static struct client_watch *watches[WATCHERS];
    long events = 0;
    struct client_watch_options options = {.resource = &api_resources[API_PODS],
                                           .from = store_revision(bench->store)};
    for (int i = 0; i < WATCHERS; i++)
        watches[i] = client_watch(bench->client, &options, count_event, &events);
    int64_t start = env_monotonic(bench->env);
    bench->quiet = true;
    measure(bench, "", WATCHED, 32, send_status);
    bench->quiet = false;
    rate(bench, "events to 1000 watchers", events, env_monotonic(bench->env) - start);
    for (int i = 0; i < WATCHERS; i++)
        client_watch_free(watches[i]);
}

static void ready(void *context)
{
    *(bool *)context = true;
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    cleanup_file FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &pages, &resident) != 2)
        return 0;
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void open_bench(struct bench *bench, const char *path)
{
    struct error err = {0};
    uv_loop_init(&bench->loop);
    bench->env = env_uv_new(&bench->loop);
    int64_t start = env_monotonic(bench->env);
    struct store_engine *engine =
        path ? engine_sqlite_new(bench->env, path, &err) : engine_memory_new(bench->env);
    if (engine)
        bench->store = store_new(bench->env, engine);
    if (!engine || store_open(bench->store, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    size_t there = store_count(bench->store, &api_resources[API_PODS]);
    if (there)
        printf("%-40s %10.3f s\n", "opening the store again", (double)(env_monotonic(bench->env) - start) / 1e6);
    struct registry_options options = {"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767};
    bench->registry = registry_new(bench->env, bench->store, &options);
    bench->client = registry_client(bench->registry, NULL);
    bool is_ready = false;
    registry_bootstrap(bench->registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443}, ready, &is_ready);
    while (!is_ready)
        uv_run(&bench->loop, UV_RUN_ONCE);
}

static void close_bench(struct bench *bench)
{
    registry_client_free(bench->client);
    registry_free(bench->registry);
    store_free(bench->store);
    uv_run(&bench->loop, UV_RUN_NOWAIT);
    env_uv_free(bench->env);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    uv_loop_close(&bench->loop);
}

int main(int argc, char **argv)
{
    long count = 10000, writers = 32;
    for (int option; (option = getopt(argc, argv, "n:w:")) >= 0;) {
        if (option == 'n')
            count = atol(optarg);
        else if (option == 'w')
            writers = atol(optarg);
        else
            return 2;
    }
    const char *path = argv[optind];
    if (path) {
        cleanup_free char *log = mem_printf("%s-wal", path);
        unlink(path);
        unlink(log);
    }
    struct bench bench = {0};
    open_bench(&bench, path);
    long before = resident_kib();
    char what[64];
    snprintf(what, sizeof(what), "pods created, %ld at once", writers);
    measure(&bench, what, count, writers, send_create);
    printf("%-40s %10.1f KiB\n", "memory per pod", (double)(resident_kib() - before) / (double)count);
    measure(&bench, "one pod got", count * 4, writers, send_get);
    snprintf(what, sizeof(what), "lists of %ld pods", count);
    measure(&bench, what, 100, 1, send_list);
    measure(&bench, "status patched", count, writers, send_status);
    measure_watches(&bench);
    if (path) {
        close_bench(&bench);
        open_bench(&bench, path);
    }
    measure(&bench, "pods deleted", count, writers, send_delete);
    close_bench(&bench);
    for (size_t i = 0; i < bench.names.count; i++)
        free(bench.names.items[i]);
    vector_free(&bench.names);
    return 0;
}
