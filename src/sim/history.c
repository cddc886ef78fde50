/* A ring of entries; an entry holds the snapshot that was written, and is made into a line only when it is read. */
#include "sim/history.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"

#define NOTE_MAX 240
#define FNV_START UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

struct entry {
    int64_t at;
    enum store_event_kind kind;
    struct object *object; /* NULL: a note */
    char note[NOTE_MAX];
};

struct sim_history {
    struct env *env;
    FILE *out;
    uint64_t hash, count;
    struct entry ring[SIM_HISTORY_MAX];
};

struct sim_history *sim_history_new(struct env *env, FILE *out)
{
    struct sim_history *history = mem_zero(1, sizeof(*history));
    history->env = env;
    history->out = out;
    history->hash = FNV_START;
    return history;
}

void sim_history_free(struct sim_history *history)
{
    if (!history)
        return;
    for (size_t i = 0; i < SIM_HISTORY_MAX; i++)
        object_unref(history->ring[i].object);
    free(history);
}

static void add_bytes(struct sim_history *history, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        history->hash = (history->hash ^ bytes[i]) * FNV_PRIME;
}

static void add_text(struct sim_history *history, const char *text)
{
    add_bytes(history, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void print_pod(const struct pod *pod, FILE *out)
{
    const char *ready = "-";
    for (size_t i = 0; i < pod->status.conditions.count; i++)
        if (strcmp(pod->status.conditions.items[i].type, "Ready") == 0)
            ready = pod->status.conditions.items[i].status;
    fprintf(out, " node=%s phase=%s ready=%s%s", pod->spec.node_name ? pod->spec.node_name : "-", pod->status.phase,
            ready, pod->metadata.deletion_timestamp ? " terminating" : "");
}

static void print_replica_set(const struct replica_set *rs, FILE *out)
{
    fprintf(out, " generation=%lld/%lld replicas=%d status=%d/%d/%d", (long long)rs->status.observed_generation,
            (long long)rs->metadata.generation, rs->spec.replicas.value, rs->status.replicas, rs->status.ready_replicas,
            rs->status.available_replicas);
}

static void print_deployment(const struct deployment *d, FILE *out)
{
    fprintf(out, " generation=%lld/%lld replicas=%d%s image=%s status=%d updated=%d ready=%d available=%d",
            (long long)d->status.observed_generation, (long long)d->metadata.generation, d->spec.replicas.value,
            d->spec.paused ? " paused" : "", d->spec.template.spec.containers.items[0].image, d->status.replicas,
            d->status.updated_replicas, d->status.ready_replicas, d->status.available_replicas);
}

static void print_job(const struct job *job, FILE *out)
{
    const struct job_status *s = &job->status;
    const struct uncounted_terminated_pods *uncounted = s->uncounted_terminated_pods;
    fprintf(out, " %s parallelism=%d completions=%d image=%s active=%d terminating=%d succeeded=%d+%zu failed=%d+%zu",
            job->spec.completion_mode, job->spec.parallelism.value,
            job->spec.completions.set ? job->spec.completions.value : -1,
            job->spec.template.spec.containers.items[0].image, s->active, s->terminating.value, s->succeeded,
            uncounted ? uncounted->succeeded.count : 0, s->failed, uncounted ? uncounted->failed.count : 0);
    if (s->completed_indexes && *s->completed_indexes)
        fprintf(out, " indexes=%s", s->completed_indexes);
    for (size_t i = 0; i < s->conditions.count; i++)
        fprintf(out, " %s=%s", s->conditions.items[i].type, s->conditions.items[i].status);
}

static void print_details(const struct object *object, FILE *out)
{
    switch (object->resource->index) {
    case API_PODS:
        print_pod(object->value, out);
        break;
    case API_REPLICASETS:
        print_replica_set(object->value, out);
        break;
    case API_DEPLOYMENTS:
        print_deployment(object->value, out);
        break;
    case API_JOBS:
        print_job(object->value, out);
        break;
    case API_EVENTS:
        fprintf(out, " %s: %s", ((const struct event *)object->value)->reason,
                ((const struct event *)object->value)->message);
        break;
    default:
        break;
    }
}

static void print(const struct entry *entry, FILE *out)
{
    static const char *const kinds[] = {"added", "modified", "deleted"};
    fprintf(out, "%10.6f ", (double)entry->at / SECOND);
    if (!entry->object) {
        fprintf(out, "---------- %s\n", entry->note);
        return;
    }
    const struct object_meta *meta = entry->object->meta;
    fprintf(out, "%6llu %-8s %s %s%s%s", (unsigned long long)entry->object->revision, kinds[entry->kind],
            entry->object->resource->singular, meta->namespace ? meta->namespace : "", meta->namespace ? "/" : "",
            meta->name);
    print_details(entry->object, out);
    fputc('\n', out);
}

static struct entry *next(struct sim_history *history)
{
    struct entry *entry = &history->ring[history->count++ % SIM_HISTORY_MAX];
    object_unref(entry->object);
    entry->object = NULL;
    entry->at = env_monotonic(history->env);
    add_bytes(history, &entry->at, sizeof(entry->at));
    return entry;
}

void sim_history_write(struct sim_history *history, const struct store_event *event)
{
    const struct object_meta *meta = event->object->meta;
    struct entry *entry = next(history);
    entry->kind = event->kind;
    entry->object = object_ref(event->object);
    add_bytes(history, &event->kind, sizeof(event->kind));
    add_bytes(history, &event->object->resource->index, sizeof(event->object->resource->index));
    add_bytes(history, &event->object->revision, sizeof(event->object->revision));
    add_bytes(history, &meta->generation, sizeof(meta->generation));
    add_bytes(history, &meta->deletion_timestamp, sizeof(meta->deletion_timestamp));
    add_text(history, meta->namespace);
    add_text(history, meta->name);
    add_text(history, meta->uid);
    if (history->out)
        print(entry, history->out);
}

void sim_history_note(struct sim_history *history, const char *format, ...)
{
    struct entry *entry = next(history);
    va_list args;
    va_start(args, format);
    vsnprintf(entry->note, sizeof(entry->note), format, args);
    va_end(args);
    add_text(history, entry->note);
    if (history->out)
        print(entry, history->out);
}

uint64_t sim_history_hash(const struct sim_history *history)
{
    return history->hash;
}

uint64_t sim_history_count(const struct sim_history *history)
{
    return history->count;
}

void sim_history_print(const struct sim_history *history, FILE *out)
{
    uint64_t from = history->count > SIM_HISTORY_MAX ? history->count - SIM_HISTORY_MAX : 0;
    for (uint64_t i = from; i < history->count; i++)
        print(&history->ring[i % SIM_HISTORY_MAX], out);
}
