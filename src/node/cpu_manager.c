/* The static policy at work. */
#include "node/cpu_manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/vector.h"
#include "node/runtime/container.h"
#include "node/worker.h"

#define SYSTEM "/sys/devices/system/cpu"

struct cpu_manager {
    struct agent *agent;
    struct cpu_topology topology;
    struct cpu_set reserved;
    struct map given; /* container id -> struct cpu_set */
    bool spreading;   /* groups are being brought up to date */
    bool spread_again;
};

/* ---- The machine ---- */

static int read_number(const char *path)
{
    cleanup_buffer struct buffer text = {0};
    return file_read(path, 64, &text, NULL) < 0 || !text.size ? 0 : atoi(text.data);
}

static int read_topology(struct cpu_topology *t, struct error *err)
{
    cleanup_buffer struct buffer online = {0};
    if (file_read(SYSTEM "/online", CPU_SET_TEXT_MAX, &online, err) < 0)
        return -1;
    if (!online.size || cpu_set_parse(online.data, &t->online) < 0)
        return error_set(err, EINVAL, "%s/online is no list of CPUs", SYSTEM);
    for (size_t i = 0; i < CPU_SET_MAX; i++) {
        if (!cpu_set_has(&t->online, i))
            continue;
        cleanup_free char *core = mem_printf("%s/cpu%zu/topology/core_id", SYSTEM, i);
        cleanup_free char *socket = mem_printf("%s/cpu%zu/topology/physical_package_id", SYSTEM, i);
        t->places[i] = (struct cpu_place){read_number(core), read_number(socket)};
    }
    return 0;
}

/* ---- Who has what ---- */

static struct cpu_set shared_set(const struct cpu_manager *m)
{
    struct cpu_set shared = m->topology.online;
    for (struct map_slot *s = NULL; (s = map_next(&m->given, s));)
        cpu_set_remove_all(&shared, s->value);
    return shared;
}

static void give(struct cpu_manager *m, const char *id, const struct cpu_set *cpus)
{
    struct cpu_set *copy = mem_alloc(sizeof(*copy));
    *copy = *cpus;
    map_set(&m->given, id, copy);
}

/* ---- The shared CPUs of all that share ---- */

/* A container that shares. */
struct member {
    char uid[72], id[65];
};

struct spread {
    struct cpu_manager *manager;
    char text[CPU_SET_TEXT_MAX];
    VECTOR(struct member) members;
};

static void note(void *context, const struct runtime_container_status *s)
{
    struct spread *spread = context;
    struct member member = {"", ""};
    if (s->state == RUNTIME_EXITED || map_has(&spread->manager->given, s->id))
        return;
    memcpy(member.uid, s->pod_uid, strnlen(s->pod_uid, sizeof(member.uid) - 1));
    memcpy(member.id, s->id, strnlen(s->id, sizeof(member.id) - 1));
    vector_push(&spread->members, member);
}

static void spread_work(void *context)
{
    struct spread *s = context;
    struct error err;
    for (size_t i = 0; i < s->members.count; i++) {
        const struct member *m = &s->members.items[i];
        if (runtime_apply_cpus(s->manager->agent->runtime, m->uid, m->id, s->text, &err) < 0 && err.code != ENOENT)
            log_warning("Cannot move container %s to the CPUs %s: %s", m->id, s->text, err.text);
    }
}

static void spread(struct cpu_manager *m);

static void spread_done(void *context)
{
    struct spread *s = context;
    struct cpu_manager *m = s->manager;
    m->spreading = false;
    vector_free(&s->members);
    free(s);
    if (m->spread_again && !m->agent->stopping)
        spread(m);
    agent_settled(m->agent);
}

static void spread(struct cpu_manager *m)
{
    m->spread_again = m->spreading;
    if (m->spreading)
        return;
    struct spread *s = mem_zero(1, sizeof(*s));
    struct cpu_set shared = shared_set(m);
    s->manager = m;
    cpu_set_text(&shared, s->text);
    runtime_container_each(m->agent->runtime, NULL, note, s);
    m->spreading = true;
    task_run(m->agent->env, spread_work, spread_done, s);
}

/* ---- The interface ---- */

struct cpu_manager *cpu_manager_new(struct agent *agent, int64_t reserved_milli, struct error *err)
{
    struct cpu_manager *m = mem_zero(1, sizeof(*m));
    m->agent = agent;
    size_t reserved = (size_t)(reserved_milli + 999) / 1000;
    int result = read_topology(&m->topology, err);
    if (result == 0 && !reserved)
        result = error_set(err, EINVAL,
                           "the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero");
    else if (result == 0 && !cpu_take(&m->topology, &m->topology.online, reserved, &m->reserved))
        result = error_set(err, EINVAL, "unable to reserve the required amount of CPUs (size of %zu is more than %zu)",
                           reserved, cpu_set_count(&m->topology.online));
    if (result < 0) {
        free(m);
        return NULL;
    }
    return m;
}

void cpu_manager_free(struct cpu_manager *m)
{
    if (!m)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&m->given, s));)
        free(s->value);
    map_free(&m->given);
    free(m);
}

int cpu_manager_assign(struct cpu_manager *m, struct worker *w, size_t i, const char *id, struct arena *arena,
                       const char **text, struct error *err)
{
    char list[CPU_SET_TEXT_MAX];
    *text = NULL;
    if (!m)
        return 0;
    size_t count = cpu_exclusive_count(worker_pod(w), &w->state.records[i].allocated);
    struct cpu_set set = shared_set(m);
    if (count) {
        struct cpu_set free = set;
        cpu_set_remove_all(&free, &m->reserved);
        if (!cpu_take(&m->topology, &free, count, &set))
            return error_set(err, ENOSPC, "not enough cpus available to satisfy request: requested=%zu, available=%zu",
                             count, cpu_set_count(&free));
        give(m, id, &set);
        spread(m);
    }
    cpu_set_text(&set, list);
    *text = arena_string(arena, list);
    return 0;
}

void cpu_manager_started(struct cpu_manager *m, const char *id)
{
    if (m && m->given.count && !map_has(&m->given, id))
        spread(m);
}

void cpu_manager_restore(struct cpu_manager *m, struct worker *w, size_t i, const char *id)
{
    struct error err;
    char list[CPU_SET_TEXT_MAX];
    struct cpu_set set;
    if (!m || !cpu_exclusive_count(worker_pod(w), &w->state.records[i].allocated))
        return;
    if (runtime_read_cpus(m->agent->runtime, worker_pod(w)->metadata.uid, id, list, sizeof(list), &err) < 0 ||
        cpu_set_parse(list, &set) < 0)
        return;
    /* One that was made under another policy shares. */
    if (cpu_set_count(&set) == cpu_exclusive_count(worker_pod(w), &w->state.records[i].allocated))
        give(m, id, &set);
    spread(m);
}

void cpu_manager_release(struct cpu_manager *m, const char *id)
{
    struct cpu_set *set = m ? map_get(&m->given, id) : NULL;
    if (!set)
        return;
    map_remove(&m->given, id);
    free(set);
    if (!m->agent->stopping)
        spread(m);
}

bool cpu_manager_idle(const struct cpu_manager *m)
{
    return !m || !m->spreading;
}
