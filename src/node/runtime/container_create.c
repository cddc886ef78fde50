/* Creating a container.
 *
 *     pool   directories, record, termination message file, config.json under another name
 *     loop   conmon is started and waits for a sign
 *     pool   conmon is put into the cluster's cgroup, config.json gets its name
 *     loop   the sign; conmon detaches itself and runs `crun create`, then tells the container's pid
 *     pool   pid files are read; a seccomp profile that crun has compiled is kept for the next
 *
 * A conmon whose parent dies before the sign goes on without it. It then finds no config.json, or is in the cluster's
 * cgroup already: recovery finds all that is left in either case. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/runtime/log.h"
#include "node/runtime/oci_config.h"
#include "node/runtime/process.h"
#include "node/runtime/runtime_internal.h"
#include "node/runtime/seccomp_cache.h"

/* What conmon tells through its pipe: one line of JSON, with crun's last words when it fails. */
#define CONMON_ANSWER_MAX (64 << 10)
#define CONMON_OUTPUT_MAX (8 << 10)

struct creation {
    struct list node; /* in runtime.creations while conmon works */
    struct runtime *runtime;
    struct container *container;
    struct runtime_container_config config; /* a deep copy in `arena` */
    struct arena *arena;
    struct oci_surroundings around;
    char *new_seccomp; /* a profile that crun is to compile; jansson's allocator is malloc */
    char *seccomp_program;
    runtime_done done;
    void *context;

    struct process *process; /* conmon, until it has detached itself */
    char *conmon_output;
    pid_t process_id;
    int sign_fd; /* conmon waits on the other end */
    uv_pipe_t answer_pipe;
    struct buffer answer;
    char block[4096];
    uv_timer_t timer;
    int open_handles;
    bool answered;
    bool placed;
    int result;
    struct error err;
};

static const struct container *config_target(struct runtime *runtime, const struct runtime_container_config *config)
{
    return config->target_id ? runtime_find_container(runtime, config->target_id) : NULL;
}

static void read_surroundings(struct creation *creation, const struct sandbox *sandbox)
{
    struct runtime *runtime = creation->runtime;
    const struct runtime_sandbox_status *pod = &sandbox->status;
    struct oci_surroundings *around = &creation->around;
    const char *uid = pod->pod_uid;
    *around = (struct oci_surroundings){
        .hostname = text_empty(pod->hostname) ? NULL : arena_string(creation->arena, pod->hostname),
        .network_namespace = arena_string(creation->arena, pod->network_namespace),
        .host_pid = pod->host_pid,
        .shm = "/dev/shm",
        .cgroup = arena_printf(creation->arena, "%s/%s", cgroup_parent(runtime->cgroup), creation->container->cgroup),
        .cgroup_version = cgroup_version(runtime->cgroup),
        .limit_swap = runtime->limit_swap,
        .limit_huge_pages = cgroup_limits_huge_pages(runtime->cgroup),
    };
    if (!pod->host_network)
        around->uts_namespace = arena_printf(creation->arena, "%s/pods/%s/ns/uts", runtime->run, uid);
    if (!pod->host_ipc) {
        around->ipc_namespace = arena_printf(creation->arena, "%s/pods/%s/ns/ipc", runtime->run, uid);
        around->shm = arena_printf(creation->arena, "%s/pods/%s/shm", runtime->run, uid);
    }
    const struct container *target = config_target(runtime, &creation->config);
    if (pod->share_process_namespace)
        around->pid_namespace = arena_printf(creation->arena, "%s/pods/%s/ns/pid", runtime->run, uid);
    else if (target)
        around->pid_namespace = arena_printf(creation->arena, "/proc/%d/ns/pid", (int)target->status.pid);
    if (creation->config.termination_message_path)
        around->termination_log =
            arena_printf(creation->arena, "%s/containers/%s/termination-log", runtime->run, creation->config.id);
}

/* The end, one way or the other: everything of the creation is closed by now. */
static void finish(struct creation *creation)
{
    struct container *container = creation->container;
    list_remove(&creation->node);
    container->busy = false;
    if (creation->result == 0) {
        container->phase = PHASE_CREATED;
        container->status.state = RUNTIME_CREATED;
        if (container->conmon_pidfd >= 0)
            container_watch_conmon(container);
    }
    creation->done(creation->context, creation->result < 0 ? &creation->err : NULL);
    if (creation->result < 0) {
        waiters_answer(&container->deleters, NULL);
        container_remove(container);
        container_free(container);
    } else {
        container_check_exit(container);
        container_idle(container);
    }
    struct runtime *runtime = creation->runtime;
    buffer_free(&creation->answer);
    free(creation->conmon_output);
    free(creation->new_seccomp);
    free(creation->seccomp_program);
    arena_free(creation->arena);
    free(creation);
    runtime_release(runtime);
}

static void finish_after(void *context)
{
    finish(context);
}

static void undo_work(void *context)
{
    struct creation *creation = context;
    struct container *container = creation->container;
    struct error err;
    if (container_kill_all(creation->runtime, container->status.id, container->cgroup, 0, &err) < 0 ||
        container_remove_files(creation->runtime, container->status.id, container->cgroup, &err) < 0)
        log_warning("container %s is left behind: %s", container->status.id, err.text);
}

static void undo(struct creation *creation)
{
    creation->result = -1;
    if (creation->runtime->closing)
        finish(creation); /* the next process's recovery clears it away */
    else
        runtime_work(creation->runtime, undo_work, finish_after, creation);
}

/* Step 1. */

static char *seccomp_cache(const struct runtime *runtime)
{
    return mem_printf("%s/seccomp", runtime->run);
}

/* A profile that has been compiled before is not compiled again. */
static int find_seccomp_program(struct creation *creation)
{
    cleanup_free char *cache = seccomp_cache(creation->runtime), *profile = NULL;
    if (oci_seccomp_text(&creation->config, &creation->around, &profile, &creation->err) < 0)
        return -1;
    if (!profile)
        return 0;
    creation->seccomp_program = seccomp_cache_find(cache, profile);
    creation->around.seccomp_program = creation->seccomp_program;
    if (!creation->seccomp_program)
        creation->new_seccomp = steal_pointer(profile);
    return 0;
}

static void keep_seccomp_program(struct creation *creation)
{
    cleanup_free char *cache = seccomp_cache(creation->runtime);
    cleanup_free char *program = container_crun_path(creation->runtime, creation->config.id, "seccomp.bpf");
    if (creation->new_seccomp)
        seccomp_cache_add(cache, creation->new_seccomp, program);
}

static int write_config(struct creation *creation)
{
    cleanup_buffer struct buffer text = {0};
    cleanup_free char *path = container_path(creation->runtime, creation->config.id, "config.json.new");
    if (oci_config_write(&creation->config, &creation->around, &text, &creation->err) < 0)
        return -1;
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.data, text.size) != (ssize_t)text.size)
        return error_errno(&creation->err, "write %s", path);
    return 0;
}

static int make_termination_log(struct creation *creation)
{
    if (!creation->around.termination_log)
        return 0;
    const char *path = creation->around.termination_log;
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    /* Whoever the container runs as may write it. */
    if (fd < 0 || fchmod(fd, 0666) < 0)
        return error_errno(&creation->err, "create %s", path);
    return 0;
}

static int make_log_directory(struct creation *creation)
{
    cleanup_free char *directory = mem_string(creation->container->status.log_path);
    *strrchr(directory, '/') = 0;
    return file_make_directories(directory, 0755, &creation->err);
}

static void prepare_work(void *context)
{
    struct creation *creation = context;
    cleanup_free char *bundle = container_path(creation->runtime, creation->config.id, NULL);
    oci_read_own_limits(&creation->around);
    if (mkdir(bundle, 0711) < 0)
        creation->result = error_errno(&creation->err, "make directory %s", bundle);
    else if (container_record_write(creation->container, &creation->err) < 0 || make_log_directory(creation) < 0 ||
             make_termination_log(creation) < 0 || find_seccomp_program(creation) < 0 || write_config(creation) < 0)
        creation->result = -1;
}

/* Step 2. */

static void on_handle_closed(uv_handle_t *handle)
{
    struct creation *creation = handle->data;
    if (--creation->open_handles)
        return;
    if (creation->result < 0)
        undo(creation);
    else
        finish(creation);
}

static void close_handles(struct creation *creation)
{
    uv_close((uv_handle_t *)&creation->answer_pipe, on_handle_closed);
    uv_close((uv_handle_t *)&creation->timer, on_handle_closed);
}

static void pids_work(void *context);
static void pids_after(void *context);

/* crun's sentence without what is for log files: "2026-...Z: sentence\n" -> "sentence". */
static const char *trim_message(char *message)
{
    size_t n = strlen(message);
    while (n && (message[n - 1] == '\n' || message[n - 1] == ' '))
        message[--n] = 0;
    char *text = message;
    if (n > 20 && text[4] == '-' && text[7] == '-' && text[10] == 'T') {
        char *behind = strstr(text, "Z: ");
        if (behind)
            text = behind + 3;
    }
    return text;
}

static void take_answer(struct creation *creation)
{
    json_error_t where;
    json_t *root = json_loadb(creation->answer.data, creation->answer.size, JSON_DISABLE_EOF_CHECK, &where);
    const char *message = json_string_value(json_object_get(root, "message"));
    json_int_t pid = json_integer_value(json_object_get(root, "data"));
    if (pid > 0) {
        creation->container->status.pid = (pid_t)pid;
    } else {
        cleanup_free char *text = mem_string(message                   ? message
                                             : creation->conmon_output ? creation->conmon_output
                                                                       : "");
        const char *sentence = trim_message(text);
        creation->result =
            error_set(&creation->err, EIO, "%s", *sentence ? sentence : "conmon ended without creating the container");
    }
    json_decref(root);
}

/* Goes on when conmon has answered, its first process (our child) has ended, and the pool has let go of it. */
static void proceed(struct creation *creation)
{
    if (!creation->answered || creation->process || !creation->placed)
        return;
    if (creation->result == 0)
        take_answer(creation);
    if (creation->result == 0)
        runtime_work(creation->runtime, pids_work, pids_after, creation);
    else
        close_handles(creation);
}

static void on_conmon_ended(void *context, const struct process_result *result)
{
    struct creation *creation = context;
    creation->process = NULL;
    if (result->output_size)
        creation->conmon_output = mem_string(result->output);
    /* If it failed before it detached itself, the pipe ends with it: proceed comes with that. */
    proceed(creation);
}

static void on_answer_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct creation *creation = handle->data;
    *buf = uv_buf_init(creation->block, sizeof(creation->block));
}

static void on_answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct creation *creation = stream->data;
    if (n == 0 || creation->answered)
        return;
    if (n > 0)
        buffer_add(&creation->answer, buf->base, (size_t)n);
    bool whole = creation->answer.size && memchr(creation->answer.data, '\n', creation->answer.size);
    if (n > 0 && !whole && creation->answer.size < CONMON_ANSWER_MAX)
        return;
    uv_read_stop(stream);
    uv_timer_stop(&creation->timer);
    creation->answered = true;
    proceed(creation);
}

static void give_up(struct creation *creation)
{
    if (creation->answered)
        return;
    uv_read_stop((uv_stream_t *)&creation->answer_pipe);
    uv_timer_stop(&creation->timer);
    creation->answered = true;
    creation->result = -1;
    if (creation->process)
        process_kill(creation->process);
    proceed(creation);
}

static void on_timeout(uv_timer_t *timer)
{
    struct creation *creation = timer->data;
    error_set(&creation->err, ETIMEDOUT, "conmon and crun took longer than %d s to create the container",
              (int)(RUNTIME_CREATE_TIMEOUT / 1000000));
    give_up(creation);
}

void creations_cancel(struct runtime *runtime)
{
    struct creation *creation;
    list_for_each(&runtime->creations, creation, node)
    {
        error_set(&creation->err, ECANCELED, "the container runtime is closing");
        give_up(creation);
    }
}

static struct process *start_conmon(struct creation *creation, const int fds[2], struct error *err)
{
    struct runtime *runtime = creation->runtime;
    struct arena *arena = creation->arena;
    const struct runtime_container_config *config = &creation->config;
    const char *bundle = arena_printf(arena, "%s/containers/%s", runtime->run, config->id);
    const char *exits = arena_printf(arena, "%s/exits", runtime->run);
    const char *log = arena_printf(arena, "k8s-file:%s", creation->container->status.log_path);
    const char *args[40] = {runtime->conmon,
                            "--api-version",
                            "1",
                            "-c",
                            config->id,
                            "-u",
                            config->id,
                            "-n",
                            config->name,
                            "-r",
                            runtime->crun,
                            "-b",
                            bundle,
                            "-p",
                            arena_printf(arena, "%s/pid", bundle),
                            "-P",
                            arena_printf(arena, "%s/conmon.pid", bundle),
                            "-l",
                            log,
                            "--exit-dir",
                            exits,
                            "--full-attach",
                            "--no-sync-log",
                            "--log-level",
                            "error",
                            "--runtime-arg",
                            arena_printf(arena, "--root=%s/crun", runtime->run),
                            "--runtime-arg",
                            "--cgroup-manager=cgroupfs"};
    size_t n = 0;
    while (args[n])
        n++;
    if (config->tty)
        args[n++] = "-t";
    if (config->stdin_open)
        args[n++] = "-i";
    if (config->stdin_open && !config->stdin_once)
        args[n++] = "--leave-stdin-open";
    assert(n < ARRAY_COUNT(args));
    /* conmon writes local time into the log. */
    static const char *const env[] = {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TZ=UTC0", "LC_ALL=C", "_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4", NULL};
    struct process_options options = {
        .args = args,
        .env = env,
        .cwd = bundle, /* conmon writes its `oom` file there */
        .output_limit = CONMON_OUTPUT_MAX,
        .fds = {fds[0], fds[1]},
        .fd_count = 2,
    };
    return process_start(runtime->loop, &options, on_conmon_ended, creation, err);
}

static void place_work(void *context);
static void place_after(void *context);

static void launch(struct creation *creation)
{
    int answer[2] = {-1, -1}, sign[2] = {-1, -1};
    if (pipe2(answer, O_CLOEXEC) < 0 || pipe2(sign, O_CLOEXEC) < 0) {
        error_errno(&creation->err, "make a pipe");
        close_and_forget(&answer[0]);
        close_and_forget(&answer[1]);
        undo(creation);
        return;
    }
    int fds[2] = {answer[1], sign[0]};
    creation->process = start_conmon(creation, fds, &creation->err);
    close(answer[1]);
    close(sign[0]);
    if (!creation->process) {
        close(answer[0]);
        close(sign[1]);
        undo(creation);
        return;
    }
    creation->sign_fd = sign[1];
    creation->process_id = process_id(creation->process);
    uv_pipe_init(creation->runtime->loop, &creation->answer_pipe, 0);
    uv_pipe_open(&creation->answer_pipe, answer[0]);
    uv_timer_init(creation->runtime->loop, &creation->timer);
    creation->answer_pipe.data = creation->timer.data = creation;
    creation->open_handles = 2;
    list_append(&creation->runtime->creations, &creation->node);
    uv_timer_start(&creation->timer, on_timeout, RUNTIME_CREATE_TIMEOUT / 1000, 0);
    uv_read_start((uv_stream_t *)&creation->answer_pipe, on_answer_alloc, on_answer);
    runtime_work(creation->runtime, place_work, place_after, creation);
}

static void prepare_after(void *context)
{
    struct creation *creation = context;
    if (creation->result == 0 && creation->runtime->closing)
        creation->result = error_set(&creation->err, ECANCELED, "the container runtime is closing");
    if (creation->result < 0)
        undo(creation);
    else
        launch(creation);
}

/* Step 3. */

static void place_work(void *context)
{
    struct creation *creation = context;
    cleanup_free char *from = container_path(creation->runtime, creation->config.id, "config.json.new");
    cleanup_free char *to = container_path(creation->runtime, creation->config.id, "config.json");
    struct error err;
    int result = cgroup_attach(creation->runtime->cgroup, "conmon", creation->process_id, &err);
    if (result == 0 && rename(from, to) < 0)
        result = error_errno(&err, "rename %s", from);
    if (result < 0)
        log_warning("conmon of container %s: %s", creation->config.id, err.text);
}

static void place_after(void *context)
{
    struct creation *creation = context;
    creation->placed = true;
    close_and_forget(&creation->sign_fd); /* the end of the pipe is the sign */
    proceed(creation);
}

/* Step 5. */

static void pids_work(void *context)
{
    struct creation *creation = context;
    struct container *container = creation->container;
    cleanup_free char *path = container_path(creation->runtime, creation->config.id, "conmon.pid");
    char text[32];
    container->pidfd = (int)syscall(SYS_pidfd_open, container->status.pid, 0);
    if (file_read_text(path, text, sizeof(text)) == 0)
        container->conmon = (pid_t)atoi(text);
    if (container->conmon > 0)
        container->conmon_pidfd = (int)syscall(SYS_pidfd_open, container->conmon, 0);
    keep_seccomp_program(creation);
}

static void pids_after(void *context)
{
    close_handles(context);
}

static int check_config(struct runtime *runtime, const struct runtime_container_config *config,
                        const struct sandbox *sandbox, struct error *err)
{
    if (runtime->closing)
        return error_set(err, ECANCELED, "the container runtime is closing");
    if (!config->id || !runtime_name_valid(config->id))
        return error_set(err, EINVAL, "container id '%s' does not fit a file name", config->id ? config->id : "");
    if (!config->name || !runtime_name_valid(config->name))
        return error_set(err, EINVAL, "container name '%s' does not fit a file name", config->name ? config->name : "");
    if (!config->rootfs || config->rootfs[0] != '/')
        return error_set(err, EINVAL, "the root file system's path is not absolute");
    if (!sandbox || !sandbox->ready || sandbox->removing)
        return error_set(err, ENOENT, "the sandbox of pod %s is not there", config->pod_uid);
    const struct container *target = config_target(runtime, config);
    if (config->target_id && (!target || target->phase != PHASE_RUNNING))
        return error_set(err, ESRCH, "target container %s is not running", config->target_id);
    if (map_has(&runtime->containers, config->id))
        return error_set(err, EEXIST, "container %s exists", config->id);
    if (runtime->containers.count >= RUNTIME_CONTAINERS_MAX)
        return error_set(err, ENOSPC, "there are %d containers already", RUNTIME_CONTAINERS_MAX);
    return 0;
}

void runtime_container_create(struct runtime *runtime, const struct runtime_container_config *config, runtime_done done,
                              void *context)
{
    struct error err;
    struct sandbox *sandbox = config->pod_uid ? map_get(&runtime->sandboxes, config->pod_uid) : NULL;
    if (check_config(runtime, config, sandbox, &err) < 0) {
        runtime_answer(runtime, done, context, &err);
        return;
    }
    struct container *container = container_new(runtime);
    struct creation *creation = mem_zero(1, sizeof(*creation));
    creation->runtime = runtime;
    creation->container = container;
    creation->arena = arena_new(0);
    creation->done = done;
    creation->context = context;
    creation->sign_fd = -1;
    list_init(&creation->node);
    container_config_copy(&creation->config, config, creation->arena);

    const struct runtime_sandbox_status *pod = &sandbox->status;
    cleanup_free char *log_path =
        runtime_log_path(runtime, pod->pod_namespace, pod->pod_name, pod->pod_uid, config->name, config->attempt);
    container->status = (struct runtime_container_status){
        .id = arena_string(container->arena, config->id),
        .pod_uid = arena_string(container->arena, config->pod_uid),
        .name = arena_string(container->arena, config->name),
        .attempt = config->attempt,
        .rootfs = arena_string(container->arena, config->rootfs),
        .log_path = arena_string(container->arena, log_path),
        .termination_message_path = arena_string(container->arena, config->termination_message_path),
        .created_at = env_now(runtime->env),
        .annotations = pairs_copy(container->arena, config->annotations, config->annotation_count),
        .annotation_count = config->annotation_count,
    };
    char group[RUNTIME_POD_CGROUP_MAX];
    runtime_pod_cgroup(config->pod_uid, group);
    snprintf(container->cgroup, sizeof(container->cgroup), "%s/%s", group, config->id);
    container->phase = PHASE_CREATING;
    container->busy = true;
    container_insert(container);
    read_surroundings(creation, sandbox);
    container->shares_pids = pod->host_pid || creation->around.pid_namespace;
    runtime_hold(runtime);
    runtime_work(runtime, prepare_work, prepare_after, creation);
}
