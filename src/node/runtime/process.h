/* Short-lived child processes of the runtime: conmon's start and crun's exec. Loop thread only. */
#ifndef CORACLE_NODE_RUNTIME_PROCESS_H
#define CORACLE_NODE_RUNTIME_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct uv_loop_s;
struct process;

/* Descriptors beyond the three standard ones that a child may get. */
#define PROCESS_FDS_MAX 3

struct process_result {
    int exit_code; /* 128 + n after signal n */
    const char *output;
    size_t output_size;
    bool truncated;
};

/* The child has ended; its output is what it and its descendants wrote until then. */
typedef void (*process_done)(void *context, const struct process_result *result);

struct process_options {
    const char *const *args;  /* args[0] is the path; NULL-terminated */
    const char *const *env;   /* NULL-terminated */
    const char *cwd;          /* NULL: ours */
    size_t output_limit;      /* bytes of standard output and error; the rest is read and dropped */
    int fds[PROCESS_FDS_MAX]; /* become 3, 4, 5; the caller closes its own after the call */
    size_t fd_count;
    const int *stdio;   /* its three standard descriptors, -1: /dev/null; NULL: empty input, output and error kept */
    bool output_behind; /* what is kept is written to the first descriptor behind `fds` */
};

/* Starts a child in a session of its own, standard input empty. NULL with err filled when it cannot be started. */
struct process *process_start(struct uv_loop_s *loop, const struct process_options *options, process_done done,
                              void *context, struct error *err);
pid_t process_id(const struct process *process);
/* SIGKILL to the child itself. */
void process_kill(struct process *process);

#endif
