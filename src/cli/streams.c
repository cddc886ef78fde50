#include "cli/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/runtime/container.h"
#include "node/runtime/exec.h"

struct process {
    struct server_exec base;
    struct env *env;
    struct agent *const *agent;
    struct server_exec_events events;
    void *context;
    struct runtime_exec *exec; /* of a command */
    char id[65];               /* of an attached container */
    int fd;                    /* not handed out yet; -1 */
    bool canceled;
};

/* ---- A command ---- */

static void on_streams(void *context, const struct runtime_exec_streams *streams)
{
    struct process *p = context;
    struct server_exec_streams out = {.in = streams->in, .out = streams->out, .err = streams->err};
    p->events.streams(p->context, &out);
}

static void on_done(void *context, const struct runtime_exec_result *result, const struct error *err)
{
    struct process *p = context;
    p->events.ended(p->context, result ? result->exit_code : 0, err);
    free(p);
}

static void resize_command(struct server_exec *base, uint16_t columns, uint16_t rows)
{
    runtime_exec_resize(((struct process *)base)->exec, columns, rows);
}

static void cancel_command(struct server_exec *base)
{
    runtime_exec_cancel(((struct process *)base)->exec);
}

/* ---- A container's own process ---- */

static void hand_out(void *context)
{
    struct process *p = context;
    struct server_exec_streams out = {.in = steal_fd(p->fd), .out = -1, .err = -1, .packets = true};
    if (p->canceled) {
        close(out.in);
        p->events.ended(p->context, 0, NULL);
        free(p);
        return;
    }
    p->events.streams(p->context, &out);
}

static void let_go(void *context)
{
    struct process *p = context;
    p->events.ended(p->context, 0, NULL);
    free(p);
}

static void resize_container(struct server_exec *base, uint16_t columns, uint16_t rows)
{
    struct process *p = (struct process *)base;
    if (*p->agent)
        runtime_container_resize(agent_runtime(*p->agent), p->id, columns, rows);
}

static void cancel_container(struct server_exec *base)
{
    struct process *p = (struct process *)base;
    bool handed_out = p->fd < 0;
    p->canceled = true;
    if (handed_out)
        env_defer(p->env, let_go, p);
}

struct server_exec *streams_exec(struct env *env, struct agent *const *agent_slot,
                                 const struct server_exec_request *request, const struct server_exec_events *events,
                                 void *context, struct error *err)
{
    struct agent *agent = *agent_slot;
    const char *id;
    if (!agent) {
        error_set(err, EAGAIN, "the node is still starting");
        return NULL;
    }
    if (agent_find_container(agent, request->namespace, request->pod, request->container, !request->command, &id, err) <
        0)
        return NULL;
    int fd = request->command ? -1 : runtime_container_attach(agent_runtime(agent), id, err);
    if (!request->command && fd < 0)
        return NULL;
    struct process *p = mem_zero(1, sizeof(*p));
    p->env = env;
    p->agent = agent_slot;
    p->events = *events;
    p->context = context;
    p->fd = fd;
    memcpy(p->id, id, strlen(id) + 1);
    if (!request->command) {
        p->base = (struct server_exec){resize_container, cancel_container};
        env_defer(p->env, hand_out, p);
        return &p->base;
    }
    struct runtime_exec_options options = {.args = request->command,
                                           .arg_count = request->command_count,
                                           .streams = on_streams,
                                           .in = request->in,
                                           .out = request->out,
                                           .err = request->err,
                                           .tty = request->tty};
    p->base = (struct server_exec){resize_command, cancel_command};
    p->exec = runtime_exec(agent_runtime(agent), id, &options, on_done, p);
    return &p->base;
}
