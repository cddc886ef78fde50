/* Running a command in a running container: exec probes, lifecycle hooks, and those that a user talks to. */
#ifndef CORACLE_NODE_RUNTIME_EXEC_H
#define CORACLE_NODE_RUNTIME_EXEC_H

#include "node/runtime/runtime.h"

/* Output kept of a command when the caller names no limit: what upstream keeps of a probe's. */
#define RUNTIME_EXEC_OUTPUT_DEFAULT (10 << 10)
/* Most that a caller may ask for. */
#define RUNTIME_EXEC_OUTPUT_MAX (1 << 20)
/* Commands that run at once; more wait in line, their timeout running. */
#define RUNTIME_EXEC_PARALLEL_MAX 64
/* Commands with streams that run at once, beside those; more are refused. */
#define RUNTIME_EXEC_STREAMS_MAX 256

struct runtime_exec;

/* The other ends of a command's standard streams. Nonblocking, taken over by the callee; -1: there is none. Of a
 * terminal, `in` is its master, for both ways, and there are no others. */
struct runtime_exec_streams {
    int in, out, err;
};

struct runtime_exec_options {
    const char *const *args; /* at least one; no shell is involved */
    size_t arg_count;
    int64_t timeout;     /* microseconds; 0: none. When it is over, the command and all its descendants are killed */
    size_t output_limit; /* bytes of standard output and error, as they come; what follows is dropped.
                          * 0: RUNTIME_EXEC_OUTPUT_DEFAULT */
    /* Instead of keeping output: hands out the command's streams, once, when it runs. NULL: output is kept. */
    void (*streams)(void *context, const struct runtime_exec_streams *streams);
    bool in, out, err; /* which there are to be; the others are /dev/null */
    bool tty;          /* a terminal instead */
};

struct runtime_exec_result {
    int exit_code;      /* 128 + n after signal n */
    bool timed_out;     /* exit_code is meaningless then */
    bool truncated;     /* there was more output */
    const char *output; /* NUL-terminated; valid during the call */
    size_t output_size;
};

/* Exactly one of result and err is set. err: ENOENT no such container, ESRCH it does not run, ENOEXEC the command could
 * not be started (the text says why: what upstream calls a probe that errored, not one that failed), ECANCELED, EAGAIN
 * too many. */
typedef void (*runtime_exec_done)(void *context, const struct runtime_exec_result *result, const struct error *err);

/* Runs args in the container with the container's own user, environment, working directory and limits.
 * Returns a handle for runtime_exec_cancel(), valid until done has been called. */
struct runtime_exec *runtime_exec(struct runtime *runtime, const char *container_id,
                                  const struct runtime_exec_options *options, runtime_exec_done done, void *context);
/* Kills the command as a timeout does; done follows with ECANCELED. */
void runtime_exec_cancel(struct runtime_exec *exec);
/* The size of its terminal, now or once it has one. */
void runtime_exec_resize(struct runtime_exec *exec, uint16_t columns, uint16_t rows);

#endif
