#include "network/relayed_ports.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/task.h"
#include "base/vector.h"
#include "network/protocol.h"

typedef VECTOR(struct relay_port) relay_ports;

struct relayed_ports {
    struct env *env;
    struct relay *relay;
    const struct host_ports *host_ports;
    struct map of_services; /* "namespace/name" -> relay_ports, of Services that have some */
    bool changed, failed, busy, freed;
};

/* ---- What Services have ---- */

static void add_node_port(relay_ports *ports, uint8_t protocol, int32_t port)
{
    if (port && protocol != IPPROTO_SCTP)
        vector_push(ports, (struct relay_port){protocol, (uint16_t)port});
}

static bool same_ports(const relay_ports *a, const relay_ports *b)
{
    size_t count = a ? a->count : 0;
    bool same = count == (b ? b->count : 0);
    for (size_t i = 0; same && i < count; i++)
        same = a->items[i].protocol == b->items[i].protocol && a->items[i].port == b->items[i].port;
    return same;
}

static void free_ports(relay_ports *ports)
{
    if (ports)
        vector_free(ports);
    free(ports);
}

void relayed_ports_note(struct relayed_ports *p, const char *key, const struct service *service)
{
    relay_ports *now = mem_zero(1, sizeof(*now)), *before;
    for (size_t i = 0; service && i < service->spec.ports.count; i++)
        add_node_port(now, protocol_number(service->spec.ports.items[i].protocol),
                      service->spec.ports.items[i].node_port);
    if (service)
        add_node_port(now, IPPROTO_TCP, service->spec.health_check_node_port);
    p->changed |= !same_ports(now, map_get(&p->of_services, key));
    if (now->count) {
        before = map_set(&p->of_services, key, now);
    } else {
        before = map_remove(&p->of_services, key);
        free_ports(now);
    }
    free_ports(before);
}

void relayed_ports_touch(struct relayed_ports *p)
{
    p->changed = true;
}

/* ---- The job ---- */

struct relay_job {
    struct relayed_ports *owner;
    struct relay *relay;
    relay_ports ports;
    struct error err;
    bool failed;
};

static void begin_job(struct relayed_ports *p);

static void relay_done(void *context)
{
    struct relay_job *job = context;
    struct relayed_ports *p = job->owner;
    p->failed = job->failed;
    if (job->failed)
        log_warning("Not every node port is reachable from the host: %s", job->err.text);
    vector_free(&job->ports);
    free(job);
    p->busy = false;
    if (p->freed)
        free(p);
    else
        begin_job(p);
}

static void relay_work(void *context)
{
    struct relay_job *job = context;
    job->failed = relay_set(job->relay, job->ports.items, job->ports.count, &job->err) < 0;
}

static void add_port(void *context, struct relay_port port)
{
    struct relay_job *job = context;
    if (job->ports.count < RELAY_PORTS_MAX)
        vector_push(&job->ports, port);
}

static void begin_job(struct relayed_ports *p)
{
    if (!p->relay || !p->changed || p->busy)
        return;
    struct relay_job *job = mem_zero(1, sizeof(*job));
    job->owner = p;
    job->relay = p->relay;
    for (struct map_slot *s = NULL; (s = map_next(&p->of_services, s));) {
        const relay_ports *ports = s->value;
        for (size_t i = 0; i < ports->count; i++)
            add_port(job, ports->items[i]);
    }
    host_ports_each_relayed(p->host_ports, add_port, job);
    p->changed = false;
    p->busy = true;
    task_run(p->env, relay_work, relay_done, job);
}

/* ---- */

void relayed_ports_sync(struct relayed_ports *p)
{
    p->changed |= p->failed;
    p->failed = false;
    begin_job(p);
}

struct relayed_ports *relayed_ports_new(struct env *env, struct relay *relay, const struct host_ports *host_ports)
{
    struct relayed_ports *p = mem_zero(1, sizeof(*p));
    p->env = env;
    p->relay = relay;
    p->host_ports = host_ports;
    return p;
}

void relayed_ports_free(struct relayed_ports *p)
{
    for (struct map_slot *s = NULL; (s = map_next(&p->of_services, s));)
        free_ports(s->value);
    map_free(&p->of_services);
    p->freed = true;
    if (!p->busy)
        free(p);
}
