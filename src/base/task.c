/* Work on libuv's pool, or on a thread of its own that reports through a uv_async_t. */
#include "base/task.h"

#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#include "base/cleanup.h"

struct task {
    uv_work_t request;
    uv_async_t finished;
    env_callback work;
    env_callback done;
    void *context;
    pthread_t thread;
};

static void pool_work(uv_work_t *request)
{
    struct task *task = request->data;
    task->work(task->context);
}

static void pool_done(uv_work_t *request, int status)
{
    (void)status;
    struct task *task = request->data;
    task->done(task->context);
    free(task);
}

void task_run(struct env *env, env_callback work, env_callback done, void *context)
{
    struct task *task = mem_zero(1, sizeof(*task));
    task->work = work;
    task->done = done;
    task->context = context;
    task->request.data = task;
    uv_queue_work(env_uv_loop(env), &task->request, pool_work, pool_done);
}

static void long_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void long_done(uv_async_t *finished)
{
    struct task *task = finished->data;
    pthread_join(task->thread, NULL);
    task->done(task->context);
    uv_close((uv_handle_t *)finished, long_closed);
}

static void *long_work(void *argument)
{
    struct task *task = argument;
    task->work(task->context);
    uv_async_send(&task->finished);
    return NULL;
}

void task_run_long(struct env *env, env_callback work, env_callback done, void *context)
{
    struct task *task = mem_zero(1, sizeof(*task));
    task->work = work;
    task->done = done;
    task->context = context;
    task->finished.data = task;
    uv_async_init(env_uv_loop(env), &task->finished, long_done);
    if (pthread_create(&task->thread, NULL, long_work, task) == 0)
        return;
    /* No thread to be had: the pool will do, if slowly. */
    uv_close((uv_handle_t *)&task->finished, NULL);
    task_run(env, work, done, context);
}
