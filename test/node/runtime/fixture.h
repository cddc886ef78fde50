/* A runtime with a loop and a root file system for real containers. Needs root, busybox (static), conmon and crun; a
 * machine without them skips the tests. */
#ifndef CORACLE_TEST_NODE_RUNTIME_FIXTURE_H
#define CORACLE_TEST_NODE_RUNTIME_FIXTURE_H

#include <uv.h>

#include "base/buffer.h"
#include "node/runtime/container.h"
#include "node/runtime/exec.h"
#include "node/runtime/log.h"
#include "node/runtime/sandbox.h"

/* No wait of a test is longer. */
#define FIXTURE_TIMEOUT_MS 30000

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct env *env;
    struct runtime *runtime;
    char directory[64];
    char run[80];
    char logs[80];
    char rootfs[80];
    char cgroup_parent[64];
    int ended; /* calls of container_ended */
    char last_ended[65];
};

/* A private mount namespace with cgroups as crun wants them. Returns 0, or 77 (skip) with the reason printed. */
int fixture_enter(void);
void fixture_open(struct fixture *f);
/* Ends all containers and removes everything. */
void fixture_close(struct fixture *f);
/* The same for cmocka: the state is the fixture, with the sandbox "pod-1". */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);
/* Only the runtime, as the agent's restart does it: containers go on. */
void fixture_close_runtime(struct fixture *f);
void fixture_open_runtime(struct fixture *f);

/* Runs the loop until *flag is set; fails the test after FIXTURE_TIMEOUT_MS. */
void fixture_wait(struct fixture *f, const int *flag);
/* An answer to wait for. */
struct reply {
    int done;
    struct error err; /* code 0: success */
};
void fixture_reply(void *context, const struct error *err);
/* Waits for the reply and fails the test unless it is a success. */
void fixture_succeed(struct fixture *f, struct reply *reply);

void fixture_sandbox(struct fixture *f, const char *pod_uid);
/* Creates a container that runs `sh -c script`; `change` may alter the config. Returns the answer's error code. */
int fixture_create(struct fixture *f, const char *pod_uid, const char *name, const char *script, char id[65],
                   void (*change)(struct runtime_container_config *config), struct reply *reply);
/* Creates and starts. */
void fixture_run(struct fixture *f, const char *pod_uid, const char *name, const char *script, char id[65],
                 void (*change)(struct runtime_container_config *config));
/* Waits until the container has ended. */
const struct runtime_container_status *fixture_await_end(struct fixture *f, const char *id);
void fixture_delete(struct fixture *f, const char *id);
/* The whole log, or with options what they let through, up to the end. */
void fixture_read_log(struct fixture *f, const char *path, const struct runtime_log_options *options,
                      struct buffer *out);
/* Follows the log until it holds the text. */
void fixture_await_log(struct fixture *f, const char *id, const char *text);

#endif
