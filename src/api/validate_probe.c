/* Rules for probes, lifecycle hooks and what they do. */
#include <stdio.h>

#include "api/validate_parts.h"

static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
/* Signals that may stop a container, in the order of upstream's message. */
static const char *const linux_signals[] = {
    "SIGABRT",     "SIGALRM",     "SIGBUS",      "SIGCHLD",     "SIGCLD",      "SIGCONT",     "SIGFPE",
    "SIGHUP",      "SIGILL",      "SIGINT",      "SIGIO",       "SIGIOT",      "SIGKILL",     "SIGPIPE",
    "SIGPOLL",     "SIGPROF",     "SIGPWR",      "SIGQUIT",     "SIGRTMAX",    "SIGRTMAX-1",  "SIGRTMAX-10",
    "SIGRTMAX-11", "SIGRTMAX-12", "SIGRTMAX-13", "SIGRTMAX-14", "SIGRTMAX-2",  "SIGRTMAX-3",  "SIGRTMAX-4",
    "SIGRTMAX-5",  "SIGRTMAX-6",  "SIGRTMAX-7",  "SIGRTMAX-8",  "SIGRTMAX-9",  "SIGRTMIN",    "SIGRTMIN+1",
    "SIGRTMIN+10", "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15", "SIGRTMIN+2",
    "SIGRTMIN+3",  "SIGRTMIN+4",  "SIGRTMIN+5",  "SIGRTMIN+6",  "SIGRTMIN+7",  "SIGRTMIN+8",  "SIGRTMIN+9",
    "SIGSEGV",     "SIGSTKFLT",   "SIGSTOP",     "SIGSYS",      "SIGTERM",     "SIGTRAP",     "SIGTSTP",
    "SIGTTIN",     "SIGTTOU",     "SIGURG",      "SIGUSR1",     "SIGUSR2",     "SIGVTALRM",   "SIGWINCH",
    "SIGXCPU",     "SIGXFSZ",     NULL};
static const char *const windows_signals[] = {"SIGKILL", "SIGTERM", NULL};

/* The actions that a probe or a hook may name; at most one is set. */
struct handler {
    const struct exec_action *exec;
    const struct http_get_action *http_get;
    const struct tcp_socket_action *tcp_socket;
    const struct grpc_action *grpc;
    const struct sleep_action *sleep;
};

static void validate_http_get(struct api_field_errors *errors, const struct api_path *path,
                              const struct http_get_action *http)
{
    if (text_empty(http->path))
        field_required(errors, PATH(path, "path"), NULL);
    validate_port(errors, PATH(path, "port"), &http->port);
    if (!validate_is_one_of(http->scheme, schemes))
        field_not_supported(errors, PATH(path, "scheme"), http->scheme, schemes);
    for (size_t i = 0; i < http->http_headers.count; i++)
        field_format(errors, PATH(path, "httpHeaders"), http->http_headers.items[i].name, format_http_header_name);
}

static void validate_sleep(struct api_field_errors *errors, const struct api_path *path,
                           const struct sleep_action *sleep, const struct opt_int64 *grace)
{
    if (!grace->set || (sleep->seconds >= 0 && sleep->seconds <= grace->value))
        return;
    char detail[120];
    snprintf(detail, sizeof(detail), "must be non-negative and less than terminationGracePeriodSeconds (%lld)",
             (long long)grace->value);
    field_invalid_int(errors, path, sleep->seconds, detail);
}

/* Returns whether the action may be looked at: it is set, and the first one. */
static bool first_handler(struct api_field_errors *errors, const struct api_path *path, const void *action, int *count)
{
    if (action && (*count)++ == 0)
        return true;
    if (action)
        field_forbidden(errors, path, "may not specify more than 1 handler type");
    return false;
}

static void validate_handler(struct api_field_errors *errors, const struct api_path *path, const struct handler *h,
                             const struct opt_int64 *grace)
{
    int count = 0;
    if (first_handler(errors, PATH(path, "exec"), h->exec, &count) && !h->exec->command.count)
        field_required(errors, PATH(PATH(path, "exec"), "command"), NULL);
    if (first_handler(errors, PATH(path, "httpGet"), h->http_get, &count))
        validate_http_get(errors, PATH(path, "httpGet"), h->http_get);
    if (first_handler(errors, PATH(path, "tcpSocket"), h->tcp_socket, &count))
        validate_port(errors, PATH(PATH(path, "tcpSocket"), "port"), &h->tcp_socket->port);
    if (first_handler(errors, PATH(path, "grpc"), h->grpc, &count))
        validate_port_number(errors, PATH(PATH(path, "grpc"), "port"), h->grpc->port);
    if (first_handler(errors, PATH(path, "sleep"), h->sleep, &count))
        validate_sleep(errors, PATH(path, "sleep"), h->sleep, grace);
    if (!count)
        field_required(errors, path, "must specify a handler type");
}

static void validate_hook(struct api_field_errors *errors, const struct api_path *path,
                          const struct lifecycle_handler *hook, const struct opt_int64 *grace)
{
    if (!hook)
        return;
    const struct handler handler = {hook->exec, hook->http_get, hook->tcp_socket, NULL, hook->sleep};
    validate_handler(errors, path, &handler, grace);
}

/* Signals depend on the system that the pod names. */
static void validate_stop_signal(struct api_field_errors *errors, const struct api_path *path, const char *signal,
                                 const struct pod_os *os)
{
    const char *system = os ? os->name : NULL;
    const char *const *known = text_equal(system, "linux")     ? linux_signals
                               : text_equal(system, "windows") ? windows_signals
                                                               : NULL;
    if (text_empty(system))
        field_forbidden(errors, path, "may not be set for containers with empty `spec.os.name`");
    else if (known && !validate_is_one_of(signal, known))
        field_not_supported(errors, path, signal, known);
}

/* once: a single success decides (liveness, startup). */
static void validate_probe(struct api_field_errors *errors, const struct api_path *path, const struct probe *p,
                           const struct opt_int64 *grace, bool once)
{
    if (!p)
        return;
    const struct handler handler = {p->exec, p->http_get, p->tcp_socket, p->grpc, NULL};
    validate_handler(errors, path, &handler, grace);
    validate_nonnegative(errors, PATH(path, "initialDelaySeconds"), p->initial_delay_seconds);
    validate_nonnegative(errors, PATH(path, "timeoutSeconds"), p->timeout_seconds);
    validate_nonnegative(errors, PATH(path, "periodSeconds"), p->period_seconds);
    validate_nonnegative(errors, PATH(path, "successThreshold"), p->success_threshold);
    validate_nonnegative(errors, PATH(path, "failureThreshold"), p->failure_threshold);
    const struct api_path *seconds = PATH(path, "terminationGracePeriodSeconds");
    if (p->termination_grace_period_seconds.set && p->termination_grace_period_seconds.value <= 0)
        field_invalid_int(errors, seconds, p->termination_grace_period_seconds.value, "must be greater than 0");
    if (once && p->success_threshold != 1)
        field_invalid_int(errors, PATH(path, "successThreshold"), p->success_threshold, "must be 1");
    if (!once && p->termination_grace_period_seconds.set)
        field_invalid_int(errors, seconds, p->termination_grace_period_seconds.value,
                          "must not be set for readinessProbes");
}

void validate_container_probes(struct api_field_errors *errors, const struct api_path *path,
                               const struct container *container, const struct pod_spec *spec)
{
    const struct opt_int64 *grace = &spec->termination_grace_period_seconds;
    if (container->lifecycle) {
        const struct api_path *lifecycle = PATH(path, "lifecycle");
        validate_hook(errors, PATH(lifecycle, "postStart"), container->lifecycle->post_start, grace);
        validate_hook(errors, PATH(lifecycle, "preStop"), container->lifecycle->pre_stop, grace);
        if (container->lifecycle->stop_signal)
            validate_stop_signal(errors, PATH(lifecycle, "stopSignal"), container->lifecycle->stop_signal, spec->os);
    }
    validate_probe(errors, PATH(path, "livenessProbe"), container->liveness_probe, grace, true);
    validate_probe(errors, PATH(path, "readinessProbe"), container->readiness_probe, grace, false);
    validate_probe(errors, PATH(path, "startupProbe"), container->startup_probe, grace, true);
}
