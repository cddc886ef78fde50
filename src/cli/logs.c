/* A server_log on top of the runtime's log reader. */
#include "cli/logs.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "node/runtime/log.h"

struct log {
    struct server_log base;
    struct runtime_log_reader *reader;
};

static void next(struct server_log *base,
                 void (*chunk)(void *context, const char *data, size_t size, const struct error *err), void *context)
{
    runtime_log_next(((struct log *)base)->reader, chunk, context);
}

static void close_log(struct server_log *base)
{
    struct log *log = (struct log *)base;
    runtime_log_close(log->reader);
    free(log);
}

struct server_log *logs_open(struct agent *agent, const struct server_log_request *request, struct error *err)
{
    struct agent_log_source source;
    if (agent_find_log(agent, request->namespace, request->pod, request->container, request->previous, &source, err) < 0)
        return NULL;
    struct runtime_log_options options = {.container_id = *source.container_id ? source.container_id : NULL,
                                          .follow = request->follow,
                                          .tail_lines = request->tail_lines,
                                          .since = request->since,
                                          .limit_bytes = request->limit_bytes,
                                          .timestamps = request->timestamps,
                                          .skip_stdout = request->skip_stdout,
                                          .skip_stderr = request->skip_stderr};
    struct log *log = mem_zero(1, sizeof(*log));
    log->base.next = next;
    log->base.close = close_log;
    log->reader = runtime_log_open(agent_runtime(agent), source.path, &options);
    free(source.path);
    return &log->base;
}
