/* Checks of probes, and of the time that a pod gets to end in. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/text.h"
#include "lint/private.h"

/* Whether a container says that it listens where the Service sends its traffic. */
static bool declares_target(const struct container *container, const struct service *service)
{
    for (size_t i = 0; i < service->spec.ports.count; i++) {
        const struct service_port *port = &service->spec.ports.items[i];
        const struct int_or_string *target = &port->target_port;
        for (size_t k = 0; k < container->ports.count; k++) {
            const struct container_port *own = &container->ports.items[k];
            bool same = target->kind == INT_OR_STRING_STRING
                            ? own->name && strcmp(own->name, target->text) == 0
                            : own->container_port == (target->number ? target->number : port->port);
            if (same)
                return true;
        }
    }
    return false;
}

/* Containers that declare the Service's port need a probe, sidecars too; when none does, one probe of any container
 * will do. */
static void check_service(struct lint_run *run, const struct lint_workload *workload, const struct service *service)
{
    const struct container *container;
    bool declared = false, probed = false;
    for (size_t at = 0; (container = api_next_serving(workload->spec, &at));) {
        probed |= container->readiness_probe != NULL;
        if (!declares_target(container, service))
            continue;
        declared = true;
        if (!container->readiness_probe)
            lint_find_container(run, workload, container, "readinessProbe", "missing behind Service \"%s\"",
                                service->metadata.name);
    }
    if (!declared && !probed && workload->spec->containers.count)
        lint_find_container(run, workload, workload->spec->containers.items, "readinessProbe",
                            "missing behind Service \"%s\"", service->metadata.name);
}

void lint_readiness_missing(struct lint_run *run, const struct lint_workload *workload)
{
    size_t position = 0;
    const struct service *service;
    while ((service = lint_next_service(run, workload, &position)))
        if (!service->spec.publish_not_ready_addresses) /* asked for pods that are not ready */
            check_service(run, workload, service);
}

void lint_initial_delay(struct lint_run *run, const struct lint_workload *workload)
{
    const struct container *container;
    for (size_t at = 0; (container = api_next_serving(workload->spec, &at));) {
        const struct {
            const char *field;
            const struct probe *probe;
        } probes[] = {{"livenessProbe.initialDelaySeconds", container->liveness_probe},
                      {"readinessProbe.initialDelaySeconds", container->readiness_probe}};
        for (size_t k = 0; k < sizeof(probes) / sizeof(probes[0]) && !container->startup_probe; k++)
            if (probes[k].probe && probes[k].probe->initial_delay_seconds >= LINT_INITIAL_DELAY_MIN)
                lint_find_container(run, workload, container, probes[k].field, "%d seconds, and no startupProbe",
                                    probes[k].probe->initial_delay_seconds);
    }
}

/* A probe by what decides whether its check fails, and when. */
struct verdict {
    struct probe probe;
    struct http_get_action http_get;
    struct tcp_socket_action tcp_socket;
};

/* The number behind a name that the container's ports have. */
static void resolve_port(struct int_or_string *port, const struct container *container)
{
    for (size_t i = 0; port->kind == INT_OR_STRING_STRING && i < container->ports.count; i++)
        if (text_equal(container->ports.items[i].name, port->text))
            *port =
                (struct int_or_string){.kind = INT_OR_STRING_INT, .number = container->ports.items[i].container_port};
}

static const struct probe *judge(struct verdict *verdict, const struct probe *probe, const struct container *container)
{
    struct probe *out = &verdict->probe;
    *out = *probe;
    out->initial_delay_seconds = 0;
    out->success_threshold = 0;
    out->termination_grace_period_seconds = (struct opt_int64){0};
    if (probe->http_get) {
        verdict->http_get = *probe->http_get;
        resolve_port(&verdict->http_get.port, container);
        out->http_get = &verdict->http_get;
    }
    if (probe->tcp_socket) {
        verdict->tcp_socket = *probe->tcp_socket;
        resolve_port(&verdict->tcp_socket.port, container);
        out->tcp_socket = &verdict->tcp_socket;
    }
    return out;
}

void lint_same_probes(struct lint_run *run, const struct lint_workload *workload)
{
    const struct container *container;
    for (size_t at = 0; (container = api_next_serving(workload->spec, &at));) {
        if (!container->liveness_probe || !container->readiness_probe)
            continue;
        struct verdict liveness, readiness;
        if (api_equal(&api_type_probe, judge(&liveness, container->liveness_probe, container),
                      judge(&readiness, container->readiness_probe, container)))
            lint_find_container(run, workload, container, "livenessProbe", "the same check as readinessProbe");
    }
}

/* Seconds that the words of a command ask sleep(1) for: ["sleep", "5"], ["sh", "-c", "sleep 5; nginx -s quit"]. */
static int64_t seconds_slept(const struct string_array *command)
{
    static const char separators[] = " \t\n;&|";
    int64_t sum = 0;
    bool sleeps = false;
    for (size_t i = 0; i < command->count; i++) {
        const char *at = command->items[i];
        for (at += strspn(at, separators); *at; at += strspn(at, separators)) {
            size_t size = strcspn(at, separators);
            if (sleeps && *at >= '0' && *at <= '9' && size < 10)
                sum += strtoll(at, NULL, 10);
            sleeps =
                (size == 5 && memcmp(at, "sleep", 5) == 0) || (size > 6 && memcmp(at + size - 6, "/sleep", 6) == 0);
            at += size;
        }
    }
    return sum;
}

static int64_t seconds_of_hook(const struct container *container)
{
    const struct lifecycle_handler *hook = container->lifecycle ? container->lifecycle->pre_stop : NULL;
    if (hook && hook->sleep)
        return hook->sleep->seconds;
    return hook && hook->exec ? seconds_slept(&hook->exec->command) : 0;
}

/* What a request may take: the probes' timeouts are what their author expects of an answer at most, and the lesson
 * asks for twice that. */
static int64_t seconds_of_request(const struct container *container)
{
    const struct probe *probes[] = {container->liveness_probe, container->readiness_probe};
    int64_t longest = 0;
    for (size_t i = 0; i < 2; i++)
        if (probes[i] && probes[i]->timeout_seconds > longest)
            longest = probes[i]->timeout_seconds;
    return 2 * longest;
}

void lint_grace_period(struct lint_run *run, const struct lint_workload *workload)
{
    /* Of a negative one the API server makes the least there is. */
    int64_t asked = workload->spec->termination_grace_period_seconds.value, grace = asked < 0 ? 1 : asked;
    const struct container *container;
    for (size_t at = 0; (container = api_next_serving(workload->spec, &at));) {
        int64_t hook = seconds_of_hook(container), request = seconds_of_request(container);
        if (grace >= hook + request)
            continue;
        const char *field = arena_printf(run->findings->arena, "%s.terminationGracePeriodSeconds", workload->spec_path);
        lint_find(run, workload, field,
                  "%lld seconds, but container \"%s\" needs %lld for preStop and %lld for a request", (long long)grace,
                  container->name, (long long)hook, (long long)request);
    }
}
