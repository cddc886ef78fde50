/* Probes. One attempt at a time per prober; a timer starts the next. HTTP goes through http_probe.c, gRPC through
 * grpc_probe.c, TCP through dial.c, exec through the runtime. */
#include "node/prober.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "node/dial.h"
#include "node/grpc_probe.h"
#include "node/http_probe.h"
#include "node/node.h"
#include "node/runtime/exec.h"

/* Upstream looks for the first time when a server has long begun to listen; this agent is there before it. So between
 * the first attempt and the second that is due, more are made, and a failure among them does not count. */
#define EARLY_FIRST (50 * MILLISECOND)

struct exec_attempt {
    struct prober *prober; /* NULL: dropped */
    struct runtime_exec *running;
};

struct prober {
    struct agent *agent;
    struct object *pod;
    struct prober_options options;
    char *pod_ip;
    char *container_id;
    prober_callback callback;
    void *context;
    struct env_timer *timer;
    int successes, failures; /* in a row */
    bool healthy;
    bool undecided; /* no threshold has been reached, and healthy is no verdict */
    int64_t early; /* until the next early attempt; 0: only those that are due */
    int64_t due;   /* env_monotonic of the next attempt that counts */
    bool *freed; /* set when the callback frees the prober */
    struct dial *tcp;
    struct env_timer *tcp_limit; /* NULL: no probe of this kind */
    struct http_probe *http;
    struct grpc_probe *grpc;
    struct exec_attempt *exec;
};

static int32_t or_default(int32_t value, int32_t fallback)
{
    return value > 0 ? value : fallback;
}

static int64_t timeout(const struct prober *p)
{
    return or_default(p->options.probe->timeout_seconds, 1) * SECOND;
}

/* After a failure that turned nothing: true if another attempt is arranged before the next is due. */
static bool look_again_early(struct prober *p, int64_t now)
{
    if (!p->early || now + p->early >= p->due)
        return false;
    env_timer_start(p->timer, p->early);
    p->early *= 2;
    return true;
}

/* Counts a success or a failure. Returns whether the verdict turned. */
static bool count(struct prober *p, bool success)
{
    const struct probe *probe = p->options.probe;
    int *row = success ? &p->successes : &p->failures;
    int enough = success ? or_default(probe->success_threshold, 1) : or_default(probe->failure_threshold, 3);
    *(success ? &p->failures : &p->successes) = 0;
    if (++*row < enough)
        return false;
    bool turned = p->undecided || p->healthy != success;
    p->undecided = false;
    p->healthy = success;
    return turned;
}

/* Arranges the next attempt, and tells. `why` is NULL of a plain success. */
static void settle(struct prober *p, enum prober_result result, const char *why)
{
    static const char *const forms[] = {[PROBER_WARNED] = "warning: %s",
                                        [PROBER_FAILED] = "failed: %s",
                                        [PROBER_ERRORED] = "errored and resulted in unknown state: %s"};
    bool success = result == PROBER_SUCCEEDED || result == PROBER_WARNED, freed = false;
    int64_t now = env_monotonic(p->agent->env), period = or_default(p->options.probe->period_seconds, 10) * SECOND;
    bool counts = now >= p->due;
    if (counts && p->due)
        p->early = 0; /* the second that was due */
    if (counts)
        p->due = now + period;
    if (success)
        p->early = 0;
    if (!counts && !success) {
        if (!look_again_early(p, now))
            env_timer_start(p->timer, p->due - now);
        return;
    }
    bool changed = result != PROBER_ERRORED && count(p, success);
    if (success || !look_again_early(p, now))
        env_timer_start(p->timer, success ? period : p->due - now);
    cleanup_free char *text = why ? mem_printf(forms[result], why) : NULL;
    p->freed = &freed;
    p->callback(p->context, p->options.kind, result, p->healthy, changed, text);
    if (!freed)
        p->freed = NULL;
}

/* `failure` NULL is a success. */
static void result(struct prober *p, const char *failure)
{
    settle(p, failure ? PROBER_FAILED : PROBER_SUCCEEDED, failure);
}

/* A port that is no port: upstream's words. */
static void port_unknown(struct prober *p, const struct int_or_string *port)
{
    char text[128];
    if (port->kind == INT_OR_STRING_STRING)
        snprintf(text, sizeof(text), "strconv.Atoi: parsing \"%s\": invalid syntax", port->text);
    else
        snprintf(text, sizeof(text), "invalid port number: %d", port->number);
    settle(p, PROBER_ERRORED, text);
}

int probe_port(const struct container *container, const struct int_or_string *port)
{
    if (port->kind == INT_OR_STRING_INT)
        return port->number;
    const struct container_port_array *ports = &container->ports;
    for (size_t i = 0; port->kind == INT_OR_STRING_STRING && i < ports->count; i++)
        if (ports->items[i].name && strcmp(ports->items[i].name, port->text) == 0)
            return ports->items[i].container_port;
    if (port->kind != INT_OR_STRING_STRING)
        return 0;
    char *end;
    long number = strtol(port->text, &end, 10);
    return *end || number < 1 || number > UINT16_MAX ? 0 : (int)number;
}

/* ---- tcpSocket ---- */

static const char *tcp_host(const struct prober *p)
{
    const char *host = p->options.probe->tcp_socket->host;
    return text_empty(host) ? p->pod_ip : host;
}

static void socket_closed(uv_handle_t *socket)
{
    free(socket);
}

/* A connection is all that is asked for. */
static void tcp_connected(void *context, uv_tcp_t *socket, const char *failure)
{
    struct prober *p = context;
    p->tcp = NULL;
    env_timer_stop(p->tcp_limit);
    if (socket)
        uv_close((uv_handle_t *)socket, socket_closed);
    result(p, failure);
}

static void tcp_timed_out(void *context)
{
    struct prober *p = context;
    const char *host = tcp_host(p);
    bool colon = strchr(host, ':');
    cleanup_free char *text = mem_printf(colon ? "dial tcp [%s]:%d: i/o timeout" : "dial tcp %s:%d: i/o timeout", host,
                                         probe_port(p->options.container, &p->options.probe->tcp_socket->port));
    dial_cancel(steal_pointer(p->tcp));
    result(p, text);
}

static void tcp_attempt(struct prober *p)
{
    const struct tcp_socket_action *tcp = p->options.probe->tcp_socket;
    int port = probe_port(p->options.container, &tcp->port);
    if (port < 1 || port > UINT16_MAX) {
        port_unknown(p, &tcp->port);
        return;
    }
    if (!p->tcp_limit)
        p->tcp_limit = env_timer_new(p->agent->env, tcp_timed_out, p);
    env_timer_start(p->tcp_limit, timeout(p));
    p->tcp = dial_start(env_uv_loop(p->agent->env), tcp_host(p), port, tcp_connected, p);
}

/* ---- httpGet ---- */

static void http_ended(void *context, enum http_probe_outcome outcome, const char *text)
{
    struct prober *p = context;
    p->http = NULL;
    settle(p,
           outcome == HTTP_PROBE_SUCCEEDED ? PROBER_SUCCEEDED
           : outcome == HTTP_PROBE_WARNED  ? PROBER_WARNED
                                           : PROBER_FAILED,
           text);
}

static void http_attempt(struct prober *p)
{
    const struct http_get_action *get = p->options.probe->http_get;
    struct http_probe_options options = {.host = get->host && *get->host ? get->host : p->pod_ip,
                                         .port = probe_port(p->options.container, &get->port),
                                         .timeout = timeout(p),
                                         .user_agent = "kube-probe/1.35"};
    if (options.port < 1 || options.port > UINT16_MAX)
        port_unknown(p, &get->port);
    else
        p->http = http_probe_start(p->agent->http_prober, get, &options, http_ended, p);
}

/* ---- grpc ---- */

static void grpc_ended(void *context, const char *failure)
{
    struct prober *p = context;
    p->grpc = NULL;
    result(p, failure);
}

static void grpc_attempt(struct prober *p)
{
    const struct grpc_action *grpc = p->options.probe->grpc;
    p->grpc = grpc_probe_start(p->agent->env, p->pod_ip, grpc->port, grpc->service ? grpc->service : "", timeout(p),
                               grpc_ended, p);
}

/* ---- exec ---- */

static void exec_ended(void *context, const struct runtime_exec_result *outcome, const struct error *err)
{
    struct exec_attempt *a = context;
    struct prober *p = a->prober;
    free(a);
    if (!p)
        return;
    p->exec = NULL;
    if (err) {
        if (err->code == ENOENT || err->code == ESRCH || err->code == ECANCELED)
            env_timer_start(p->timer, or_default(p->options.probe->period_seconds, 10) * SECOND);
        else
            settle(p, PROBER_ERRORED, err->text);
        return;
    }
    if (outcome->timed_out) {
        const struct string_array *command = &p->options.probe->exec->command;
        cleanup_buffer struct buffer text = {0};
        char limit[TIME_TEXT_MAX];
        duration_format(timeout(p), limit);
        buffer_add_string(&text, "command timed out: \"");
        for (size_t i = 0; i < command->count; i++)
            buffer_printf(&text, "%s%s", i ? " " : "", command->items[i]);
        buffer_printf(&text, "\" timed out after %s", limit);
        result(p, text.data);
    } else if (outcome->exit_code) {
        result(p, outcome->output);
    } else {
        result(p, NULL);
    }
}

static void exec_attempt(struct prober *p)
{
    const struct string_array *command = &p->options.probe->exec->command;
    struct runtime_exec_options options = {.args = (const char *const *)command->items,
                                           .arg_count = command->count,
                                           .timeout = timeout(p),
                                           .output_limit = PROBER_OUTPUT_MAX};
    p->exec = mem_zero(1, sizeof(*p->exec));
    p->exec->prober = p;
    p->exec->running = runtime_exec(p->agent->runtime, p->container_id, &options, exec_ended, p->exec);
}

/* ---- */

static void attempt(void *context)
{
    struct prober *p = context;
    const struct probe *probe = p->options.probe;
    if (probe->http_get)
        http_attempt(p);
    else if (probe->tcp_socket)
        tcp_attempt(p);
    else if (probe->grpc)
        grpc_attempt(p);
    else if (probe->exec && probe->exec->command.count)
        exec_attempt(p);
    else
        settle(p, PROBER_ERRORED, "missing probe handler");
}

struct prober *prober_new(struct agent *agent, const struct prober_options *options, prober_callback callback,
                          void *context)
{
    struct prober *p = mem_zero(1, sizeof(*p));
    p->agent = agent;
    p->options = *options;
    p->pod = object_ref(options->pod);
    p->pod_ip = mem_string(options->pod_ip ? options->pod_ip : "");
    p->container_id = mem_string(options->container_id);
    p->callback = callback;
    p->context = context;
    p->healthy = options->healthy;
    /* What has not started yet has not failed to start. */
    p->undecided = options->kind == PROBER_STARTUP;
    p->early = p->healthy ? 0 : EARLY_FIRST;
    p->timer = env_timer_new(agent->env, attempt, p);
    int64_t delay = options->probe->initial_delay_seconds * SECOND - options->since_start;
    env_timer_start(p->timer, delay > 0 ? delay : 0);
    return p;
}

void prober_free(struct prober *p)
{
    if (!p)
        return;
    if (p->freed)
        *p->freed = true;
    dial_cancel(p->tcp);
    env_timer_free(p->tcp_limit);
    if (p->exec) {
        p->exec->prober = NULL;
        runtime_exec_cancel(p->exec->running);
    }
    http_probe_cancel(p->http);
    grpc_probe_cancel(p->grpc);
    env_timer_free(p->timer);
    object_unref(p->pod);
    free(p->pod_ip);
    free(p->container_id);
    free(p);
}
