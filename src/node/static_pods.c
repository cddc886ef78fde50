#include "node/static_pods.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/vector.h"
#include "node/runtime/runtime.h"
#include "node/runtime/watch.h"
#include "node/static_pod.h"
#include "node/worker.h"

/* What a file holds. */
struct manifest {
    char *path;
    struct object *pod; /* NULL: nothing that can be run */
    char *complaint;    /* the last one, so that it is reported once; NULL: none */
};

/* One pod by namespace and name. */
struct entry {
    char *path;            /* of the file that it is from */
    struct object *wanted; /* NULL: it is to end */
    struct worker *worker; /* of `wanted`, or of the pod before it, which ends; NULL: none */
    struct object *mirror;
};

typedef VECTOR(struct manifest) manifest_list;

struct static_pods {
    struct agent *agent;
    char *directory;
    env_callback loaded;
    void *context;
    struct watch *watch;
    manifest_list manifests;
    struct map entries; /* "namespace/name" -> struct entry */
    bool reading, again, was_loaded, stopped;
};

static char *key_of(const struct object *pod)
{
    return mem_printf("%s/%s", pod->meta->namespace, pod->meta->name);
}

/* ---- Reading the folder, on the pool ---- */

struct reading {
    struct static_pods *pods;
    char *directory, *node_name;
    int64_t now;
    manifest_list found;
    struct error err;
    bool failed;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct manifest *)a)->path, ((const struct manifest *)b)->path);
}

static void list_files(struct reading *r)
{
    DIR *directory = opendir(r->directory);
    if (!directory) {
        r->failed = true;
        error_errno(&r->err, "read %s", r->directory);
        return;
    }
    for (struct dirent *e; (e = readdir(directory));) {
        struct stat info;
        char *path = mem_printf("%s/%s", r->directory, e->d_name);
        if (e->d_name[0] == '.' || stat(path, &info) < 0 || !S_ISREG(info.st_mode) || !info.st_size)
            free(path);
        else
            vector_push(&r->found, (struct manifest){.path = path});
    }
    closedir(directory);
    if (r->found.count)
        qsort(r->found.items, r->found.count, sizeof(*r->found.items), compare_names);
}

static void read_folder(void *context)
{
    struct reading *r = context;
    list_files(r);
    for (size_t i = 0; i < r->found.count; i++) {
        struct manifest *m = &r->found.items[i];
        struct static_pod_source source = {.path = m->path, .node_name = r->node_name, .seen = r->now};
        cleanup_buffer struct buffer text = {0};
        struct error err;
        if (i >= STATIC_PODS_MAX)
            error_set(&err, E2BIG, "there are more than %d files", STATIC_PODS_MAX);
        else if (file_read(m->path, STATIC_POD_FILE_MAX, &text, &err) == 0)
            m->pod = static_pod_read(text.data, text.size, &source, &err);
        if (!m->pod)
            m->complaint = mem_string(err.text);
    }
}

/* ---- From files to pods ---- */

static void manifest_free(struct manifest *m)
{
    free(m->path);
    free(m->complaint);
    object_unref(m->pod);
}

static struct manifest *find_manifest(struct static_pods *s, const char *path)
{
    for (size_t i = 0; i < s->manifests.count; i++)
        if (strcmp(s->manifests.items[i].path, path) == 0)
            return &s->manifests.items[i];
    return NULL;
}

/* A file that has become unreadable keeps its pod. */
static void keep_what_was_good(struct static_pods *s, struct manifest *now)
{
    struct manifest *before = find_manifest(s, now->path);
    bool reported = before && before->complaint && now->complaint && strcmp(before->complaint, now->complaint) == 0;
    if (now->complaint && !reported)
        log_warning("Static pod %s is not taken: %s", now->path, now->complaint);
    /* When it was read is not what it says. */
    bool same = before && before->pod && (!now->pod || strcmp(before->pod->meta->uid, now->pod->meta->uid) == 0);
    if (same) {
        object_unref(now->pod);
        now->pod = object_ref(before->pod);
    }
}

static void start_entry(struct static_pods *s, struct entry *e)
{
    if (e->worker || !e->wanted || s->stopped)
        return;
    bool shown = e->mirror && static_pod_is_shown(e->wanted, e->mirror);
    e->worker = worker_new_static(s->agent, e->wanted, shown ? e->mirror : NULL);
    if (e->mirror && !shown)
        worker_mirror_changed(e->worker, e->mirror);
}

static void entry_free(struct static_pods *s, const char *key)
{
    struct entry *e = map_remove(&s->entries, key);
    free(e->path);
    object_unref(e->wanted);
    object_unref(e->mirror);
    free(e);
}

/* `pod` NULL: it is to end. */
static void want(struct static_pods *s, const char *key, const char *path, struct object *pod)
{
    struct entry *e = map_get(&s->entries, key);
    if (!e) {
        e = mem_zero(1, sizeof(*e));
        map_set(&s->entries, key, e);
        struct object *mirror = pod ? informer_get(s->agent->pods, pod->meta->namespace, pod->meta->name) : NULL;
        e->mirror = mirror && static_pod_is_mirror(mirror) ? object_ref(mirror) : NULL;
    }
    if (path) {
        free(e->path);
        e->path = mem_string(path);
    }
    bool same = e->wanted && pod && strcmp(e->wanted->meta->uid, pod->meta->uid) == 0;
    if (same)
        return;
    object_unref(e->wanted);
    e->wanted = pod ? object_ref(pod) : NULL;
    if (e->worker)
        worker_leave(e->worker);
    else
        start_entry(s, e);
}

/* Two files with one name: the first in the order of their names has it. */
static bool is_taken(struct static_pods *s, size_t before, const struct object *pod, const char **by)
{
    for (size_t i = 0; i < before; i++) {
        const struct object *other = s->manifests.items[i].pod;
        *by = s->manifests.items[i].path;
        if (other && strcmp(other->meta->name, pod->meta->name) == 0 &&
            strcmp(other->meta->namespace, pod->meta->namespace) == 0)
            return true;
    }
    return false;
}

static void follow_files(struct static_pods *s)
{
    struct map wanted = {0};
    VECTOR(char *) gone = {0};
    for (size_t i = 0; i < s->manifests.count; i++) {
        struct manifest *m = &s->manifests.items[i];
        const char *by;
        if (!m->pod)
            continue;
        if (is_taken(s, i, m->pod, &by)) {
            log_warning("Static pod %s is not taken: %s has a pod of the same name", m->path, by);
            continue;
        }
        cleanup_free char *key = key_of(m->pod);
        map_set(&wanted, key, m);
    }
    for (struct map_slot *slot = NULL; (slot = map_next(&s->entries, slot));)
        if (!map_has(&wanted, slot->key) && ((struct entry *)slot->value)->wanted)
            vector_push(&gone, mem_string(slot->key));
    for (size_t i = 0; i < gone.count; i++) {
        want(s, gone.items[i], NULL, NULL);
        free(gone.items[i]);
    }
    vector_free(&gone);
    for (struct map_slot *slot = NULL; (slot = map_next(&wanted, slot));) {
        struct manifest *m = slot->value;
        want(s, slot->key, m->path, m->pod);
    }
    map_free(&wanted);
}

static void look(struct static_pods *s);

static void folder_read(void *context)
{
    struct reading *r = context;
    struct static_pods *s = r->pods;
    s->reading = false;
    if (r->failed)
        log_warning("Static pods stay as they are: %s", r->err.text);
    for (size_t i = 0; i < r->found.count; i++)
        keep_what_was_good(s, &r->found.items[i]);
    manifest_list old = r->failed ? r->found : s->manifests;
    if (!r->failed)
        s->manifests = r->found;
    for (size_t i = 0; i < old.count; i++)
        manifest_free(&old.items[i]);
    vector_free(&old);
    free(r->directory);
    free(r->node_name);
    free(r);
    if (s->stopped) {
        agent_settled(s->agent);
        return;
    }
    follow_files(s);
    if (!s->was_loaded) {
        s->was_loaded = true;
        s->loaded(s->context);
    }
    if (s->again)
        look(s);
}

static void look(struct static_pods *s)
{
    s->again = s->reading;
    if (s->reading || s->stopped)
        return;
    struct reading *r = mem_zero(1, sizeof(*r));
    r->pods = s;
    r->directory = mem_string(s->directory);
    r->node_name = mem_string(s->agent->options.node_name);
    r->now = env_now(s->agent->env);
    s->reading = true;
    task_run(s->agent->env, read_folder, folder_read, r);
}

static void folder_changed(void *context, const char *name)
{
    if (!name || name[0] != '.')
        look(context);
}

/* ---- Mirrors ---- */

static void orphan_deleted(void *context, const struct client_result *result)
{
    struct static_pods *s = context;
    if (!client_ok(result) && result->code != 404 && result->code != 409)
        log_warning("Cannot delete the mirror of a static pod that has gone: %s",
                    result->status ? result->status->message : "");
    s->agent->removals--;
    agent_settled(s->agent);
}

static void delete_orphan(struct static_pods *s, const struct object *mirror)
{
    s->agent->removals++;
    client_delete(s->agent->client, &api_resources[API_PODS], mirror->meta->namespace, mirror->meta->name,
                  mirror->meta->uid, 0, NULL, orphan_deleted, s);
}

void static_pods_mirror_changed(struct static_pods *s, enum informer_change change, struct object *mirror)
{
    cleanup_free char *key = key_of(mirror);
    struct entry *e = map_get(&s->entries, key);
    struct object *now = change == INFORMER_DELETED ? NULL : mirror;
    if (s->stopped)
        return;
    if (!e) {
        if (now)
            delete_orphan(s, now);
        return;
    }
    object_unref(e->mirror);
    e->mirror = now ? object_ref(now) : NULL;
    if (e->worker)
        worker_mirror_changed(e->worker, now);
}

void static_pods_api_ready(struct static_pods *s)
{
    for (struct map_slot *slot = NULL; (slot = map_next(&s->entries, slot));) {
        struct entry *e = slot->value;
        if (e->worker)
            worker_poke(e->worker);
    }
}

void static_pods_worker_gone(struct static_pods *s, const struct worker *worker)
{
    cleanup_free char *key = key_of(worker->state.pod);
    struct entry *e = map_get(&s->entries, key);
    if (!e || e->worker != worker)
        return;
    e->worker = NULL;
    if (!e->wanted)
        entry_free(s, key);
    else
        start_entry(s, e);
}

/* ---- */

struct static_pods *static_pods_new(struct agent *agent, const char *directory, env_callback loaded, void *context)
{
    struct static_pods *s = mem_zero(1, sizeof(*s));
    s->agent = agent;
    s->directory = directory ? mem_string(directory) : NULL;
    s->loaded = loaded;
    s->context = context;
    return s;
}

void static_pods_start(struct static_pods *s)
{
    struct error err;
    if (!s->directory) {
        s->loaded(s->context);
        return;
    }
    if (watch_add_whole(runtime_watcher(s->agent->runtime), s->directory, folder_changed, s, &s->watch, &err) < 0)
        log_warning("Changes of static pods are not seen: %s", err.text);
    look(s);
}

void static_pods_stop(struct static_pods *s)
{
    s->stopped = true;
    watch_remove(s->watch);
    s->watch = NULL;
}

bool static_pods_idle(const struct static_pods *s)
{
    return !s->reading;
}

void static_pods_free(struct static_pods *s)
{
    if (!s)
        return;
    while (s->entries.count) {
        cleanup_free char *key = mem_string(map_next(&s->entries, NULL)->key);
        entry_free(s, key);
    }
    map_free(&s->entries);
    for (size_t i = 0; i < s->manifests.count; i++)
        manifest_free(&s->manifests.items[i]);
    vector_free(&s->manifests);
    free(s->directory);
    free(s);
}
