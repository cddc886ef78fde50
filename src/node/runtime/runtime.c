/* The runtime as a whole: opening, closing, ending a cluster. */
#include "node/runtime/runtime.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mount.h"
#include "node/runtime/log.h"
#include "node/runtime/runtime_internal.h"

/* Directories below RUN. */
static const char *const directories[] = {"pods", "containers", "exits", "crun", "seccomp"};

/* Work in the pool, answers in later turns. */

void runtime_hold(struct runtime *runtime)
{
    runtime->held++;
}

static void runtime_free(struct runtime *runtime)
{
    void (*closed)(void *context) = runtime->closed;
    void *context = runtime->closed_context;
    struct container *container;
    list_for_each(&runtime->container_list, container, node)
    {
        container_remove(container);
        container_free(container);
    }
    struct sandbox *sandbox;
    list_for_each(&runtime->sandbox_list, sandbox, node)
    {
        list_remove(&sandbox->node);
        sandbox_free(sandbox);
    }
    map_free(&runtime->containers);
    map_free(&runtime->sandboxes);
    cgroup_free(runtime->cgroup);
    free(runtime->run);
    free(runtime->logs);
    free(runtime->conmon);
    free(runtime->crun);
    free(runtime);
    if (closed)
        closed(context);
}

void runtime_release(struct runtime *runtime)
{
    if (--runtime->held == 0)
        runtime_free(runtime);
}

struct work {
    uv_work_t request;
    struct runtime *runtime;
    void (*work)(void *context);
    void (*after)(void *context);
    void *context;
};

static void work_run(uv_work_t *request)
{
    struct work *work = request->data;
    work->work(work->context);
}

static void work_done(uv_work_t *request, int status)
{
    struct work *work = request->data;
    struct runtime *runtime = work->runtime;
    work->after(work->context);
    free(work);
    runtime_release(runtime);
}

void runtime_work(struct runtime *runtime, void (*run)(void *context), void (*after)(void *context), void *context)
{
    struct work *work = mem_zero(1, sizeof(*work));
    *work = (struct work){.runtime = runtime, .work = run, .after = after, .context = context};
    work->request.data = work;
    runtime_hold(runtime);
    uv_queue_work(runtime->loop, &work->request, work_run, work_done);
}

struct answer {
    struct runtime *runtime;
    runtime_done done;
    void *context;
    struct error err;
};

static void give_answer(void *context)
{
    struct answer *answer = context;
    answer->done(answer->context, answer->err.code ? &answer->err : NULL);
    runtime_release(answer->runtime);
    free(answer);
}

void runtime_answer(struct runtime *runtime, runtime_done done, void *context, const struct error *err)
{
    struct answer *answer = mem_zero(1, sizeof(*answer));
    *answer = (struct answer){.runtime = runtime, .done = done, .context = context};
    if (err)
        answer->err = *err;
    runtime_hold(runtime);
    env_defer(runtime->env, give_answer, answer);
}

void waiters_answer(waiter_list *waiters, const struct error *err)
{
    for (size_t i = 0; i < waiters->count; i++)
        waiters->items[i].done(waiters->items[i].context, err);
    vector_free(waiters);
}

/* Opening. */

bool runtime_name_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > RUNTIME_NAME_MAX || name[0] == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return false;
    return true;
}

static int check_directory(const char *what, const char *path, struct error *err)
{
    if (!path || path[0] != '/' || strpbrk(path, ":\n") || strlen(path) > RUNTIME_DIRECTORY_MAX)
        return error_set(err, EINVAL, "%s '%s' has to be absolute, without ':', and of at most %d characters", what,
                         path ? path : "", RUNTIME_DIRECTORY_MAX);
    return 0;
}

static char *find_program(const char *name, const char *given, struct error *err)
{
    if (given) {
        if (access(given, X_OK) == 0)
            return mem_string(given);
        error_errno(err, "%s (%s)", name, given);
        return NULL;
    }
    const char *path = getenv("PATH");
    cleanup_free char *copy = mem_string(path && *path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    for (char *rest = copy, *directory; (directory = strsep(&rest, ":"));) {
        char *candidate = mem_printf("%s/%s", directory, name);
        if (*directory && access(candidate, X_OK) == 0)
            return candidate;
        free(candidate);
    }
    error_set(err, ENOENT, "%s is not installed (Debian: apt-get install %s)", name, name);
    return NULL;
}

static bool can_limit_swap(const struct cgroup *cgroup)
{
    char path[PATH_MAX];
    struct error ignored;
    return cgroup_version(cgroup) == 2 && cgroup_path(cgroup, 0, "", "memory.swap.max", path, &ignored) == 0 &&
           access(path, W_OK) == 0;
}

static int set_up(struct runtime *runtime, const struct runtime_options *options, struct error *err)
{
    if (check_directory("run directory", options->run_directory, err) < 0 ||
        check_directory("log directory", options->pods_log_directory, err) < 0)
        return -1;
    runtime->run = mem_string(options->run_directory);
    runtime->logs = mem_string(options->pods_log_directory);
    runtime->conmon = find_program("conmon", options->conmon, err);
    runtime->crun = runtime->conmon ? find_program("crun", options->crun, err) : NULL;
    if (!runtime->crun)
        return -1;
    if (file_read_text("/proc/sys/kernel/random/boot_id", runtime->boot_id, sizeof(runtime->boot_id)) < 0)
        return error_errno(err, "read the boot id");
    runtime->boot_id[strcspn(runtime->boot_id, "\n")] = 0;
    for (size_t i = 0; i < ARRAY_COUNT(directories); i++) {
        cleanup_free char *path = mem_printf("%s/%s", runtime->run, directories[i]);
        if (file_make_directories(path, 0711, err) < 0)
            return -1;
    }
    if (file_make_directories(runtime->logs, 0755, err) < 0 ||
        cgroup_open(options->cgroup_parent, &runtime->cgroup, err) < 0)
        return -1;
    runtime->limit_swap = can_limit_swap(runtime->cgroup);
    if (watcher_new(runtime->loop, &runtime->watcher, err) < 0)
        return -1;
    cleanup_free char *exits = mem_printf("%s/exits", runtime->run);
    return watch_add(runtime->watcher, exits, containers_check_exit, runtime, &runtime->exits, err);
}

struct watcher *runtime_watcher(struct runtime *runtime)
{
    return runtime->watcher;
}

static void on_watcher_freed(void *context)
{
    runtime_release(context);
}

static void let_go(struct runtime *runtime)
{
    watch_remove(runtime->exits);
    if (runtime->watcher) {
        runtime_hold(runtime);
        watcher_free(runtime->watcher, on_watcher_freed, runtime);
    }
    runtime_release(runtime);
}

int runtime_new(const struct runtime_options *options, struct runtime **out, struct error *err)
{
    struct runtime *runtime = mem_zero(1, sizeof(*runtime));
    runtime->env = options->env;
    runtime->loop = env_uv_loop(options->env);
    runtime->container_ended = options->container_ended;
    runtime->context = options->context;
    runtime->held = 1;
    list_init(&runtime->sandbox_list);
    list_init(&runtime->container_list);
    list_init(&runtime->execs);
    list_init(&runtime->exec_queue);
    list_init(&runtime->log_readers);
    list_init(&runtime->creations);
    signal(SIGPIPE, SIG_IGN);
    if (set_up(runtime, options, err) < 0) {
        error_wrap(err, "container runtime");
        let_go(runtime);
        return -1;
    }
    *out = runtime;
    return 0;
}

void runtime_close(struct runtime *runtime, void (*done)(void *context), void *context)
{
    runtime->closing = true;
    runtime->closed = done;
    runtime->closed_context = context;
    execs_cancel(runtime, NULL);
    creations_cancel(runtime);
    let_go(runtime);
}

/* Ending a cluster. */

int runtime_destroy(const char *run_directory, const char *parent, struct error *err)
{
    struct cgroup *cgroup;
    size_t mounts;
    if (check_directory("run directory", run_directory, err) < 0 || cgroup_find(parent, &cgroup, err) < 0)
        return -1;
    int result = cgroup_kill(cgroup, "", err);
    if (result == 0)
        result = cgroup_remove(cgroup, "", err);
    if (result == 0)
        cgroup_remove_ancestors(cgroup);
    cgroup_free(cgroup);
    if (result < 0 || mount_detach_below(run_directory, &mounts, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_COUNT(directories); i++) {
        cleanup_free char *path = mem_printf("%s/%s", run_directory, directories[i]);
        if (file_remove_tree(path, err) < 0)
            return -1;
    }
    if (rmdir(run_directory) < 0 && errno != ENOENT && errno != ENOTEMPTY)
        return error_errno(err, "remove %s", run_directory);
    return 0;
}

/* Small things. */

void runtime_container_id(struct env *env, char out[65])
{
    uint64_t random[4];
    for (size_t i = 0; i < ARRAY_COUNT(random); i++)
        random[i] = env_random(env);
    hex_encode(random, sizeof(random), out);
}

/* Second names of signals, of which sigabbrev_np() knows only one. */
static const struct {
    const char *name;
    int number;
} signal_aliases[] = {{"CLD", SIGCHLD}, {"IO", SIGIO}, {"IOT", SIGABRT}, {"POLL", SIGPOLL}};

int runtime_signal_number(const char *name)
{
    char *end;
    long number = strtol(name, &end, 10);
    if (isdigit((unsigned char)*name) && !*end)
        return number > 0 && number <= SIGRTMAX ? (int)number : -1;
    if (!strncasecmp(name, "SIG", 3))
        name += 3;
    for (size_t i = 0; i < ARRAY_COUNT(signal_aliases); i++)
        if (!strcasecmp(name, signal_aliases[i].name))
            return signal_aliases[i].number;
    for (int i = 1; i < NSIG; i++)
        if (sigabbrev_np(i) && !strcasecmp(name, sigabbrev_np(i)))
            return i;
    int offset;
    if (sscanf(name, "RTMIN+%d", &offset) == 1 && offset >= 0 && offset <= SIGRTMAX - SIGRTMIN)
        return SIGRTMIN + offset;
    if (sscanf(name, "RTMAX-%d", &offset) == 1 && offset >= 0 && offset <= SIGRTMAX - SIGRTMIN)
        return SIGRTMAX - offset;
    if (!strcasecmp(name, "RTMIN"))
        return SIGRTMIN;
    return strcasecmp(name, "RTMAX") ? -1 : SIGRTMAX;
}

char *runtime_pod_log_directory(struct runtime *runtime, const char *pod_namespace, const char *pod_name,
                                const char *pod_uid)
{
    return mem_printf("%s/%s_%s_%s", runtime->logs, pod_namespace, pod_name, pod_uid);
}

char *runtime_log_path(struct runtime *runtime, const char *pod_namespace, const char *pod_name, const char *pod_uid,
                       const char *container_name, uint32_t attempt)
{
    return mem_printf("%s/%s_%s_%s/%s/%u.log", runtime->logs, pod_namespace, pod_name, pod_uid, container_name,
                      attempt);
}
