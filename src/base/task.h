/* Blocking work off the loop: `work` runs on another thread, then `done` on the loop's thread. The context must
 * stay until done has run; `work` must touch nothing that the loop's thread may touch meanwhile. */
#ifndef CORACLE_BASE_TASK_H
#define CORACLE_BASE_TASK_H

#include "base/env.h"

/* On libuv's pool: for what takes milliseconds. The env must be one of a libuv loop. */
void task_run(struct env *env, env_callback work, env_callback done, void *context);
/* On a thread of its own: for what takes seconds, such as a pull. The caller bounds how many. */
void task_run_long(struct env *env, env_callback work, env_callback done, void *context);

#endif
