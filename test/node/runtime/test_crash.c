/* An agent that is killed at any instant loses no container and leaves none behind that the next one does not know.
 *
 * A child process creates, starts and deletes containers as fast as it can, telling on a pipe what has been
 * acknowledged to it. It is killed after a time drawn from a seeded generator; then another runtime recovers, and what
 * it knows is compared with what was acknowledged, with the files and with the processes there are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "fixture.h"

/* The agent lives up to this long, in microseconds. */
#define LIFE_MAX 90000
#define WORKERS 3

static int rounds = 6;
static unsigned seed = 1;

struct worker {
    struct fixture *f;
    int pipe;
    char id[65];
    int number;
};

static void next_container(struct worker *worker);

/* One line per acknowledged deed: shorter than PIPE_BUF, so that lines do not mix. */
static void tell(struct worker *worker, char deed)
{
    char line[80];
    int n = snprintf(line, sizeof(line), "%c %s\n", deed, worker->id);
    if (write(worker->pipe, line, (size_t)n) != n)
        _exit(3);
}

static void on_deleted(void *context, const struct error *err)
{
    if (err)
        _exit(4);
    next_container(context);
}

static void on_started(void *context, const struct error *err)
{
    struct worker *worker = context;
    if (err)
        _exit(5);
    tell(worker, 'S');
    if (worker->number++ % 2) {
        tell(worker, 'D');
        runtime_container_delete(worker->f->runtime, worker->id, on_deleted, worker);
    } else {
        next_container(worker);
    }
}

static void on_created(void *context, const struct error *err)
{
    struct worker *worker = context;
    if (err) {
        fprintf(stderr, "%s\n", err->text);
        _exit(6);
    }
    runtime_container_start(worker->f->runtime, worker->id, on_started, worker);
}

static void next_container(struct worker *worker)
{
    static const char *const args[] = {"/bin/sleep", "100000"};
    runtime_container_id(worker->f->env, worker->id);
    struct runtime_container_config config = {
        .id = worker->id,
        .pod_uid = "pod-1",
        .name = "main",
        .attempt = (uint32_t)worker->number,
        .rootfs = worker->f->rootfs,
        .args = args,
        .arg_count = 2,
    };
    runtime_container_create(worker->f->runtime, &config, on_created, worker);
}

/* Blocks until no process holds the cluster's lock. Children of a killed agent hold it until they have come to exec, as
 * they do that of a real cluster (cli/sandbox.h). */
static int lock_cluster(const struct fixture *f)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/lock", f->directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        _exit(8);
    return fd;
}

/* The agent's life. Its loop and runtime are its own; it ends by being killed. */
static void agent(struct fixture *f, int pipe)
{
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->watchdog);
    f->env = env_uv_new(&f->loop);
    lock_cluster(f);
    fixture_open_runtime(f);
    struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.f = f, .pipe = pipe, .number = i};
        next_container(&workers[i]);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    _exit(7);
}

/* Reads what was acknowledged: ids that were started and whose deletion was not asked for. */
static void read_deeds(int pipe, struct map *alive)
{
    static char started[] = "started";
    FILE *f = fdopen(pipe, "r");
    char deed, id[65];
    while (fscanf(f, " %c %64s", &deed, id) == 2)
        if (deed == 'S')
            map_set(alive, id, started);
        else
            map_remove(alive, id);
    fclose(f);
}

struct census {
    struct fixture *f;
    const struct map *alive;
    size_t running;
};

static void count_running(void *context, const struct runtime_container_status *status)
{
    struct census *census = context;
    /* One whose deletion was under way may have ended by it. */
    if (!map_has(census->alive, status->id))
        return;
    assert_int_equal(status->state, RUNTIME_RUNNING);
    assert_false(status->lost);
    assert_int_equal(kill(status->pid, 0), 0);
    census->running++;
}

static bool read_text(pid_t pid, const char *file, char *text, size_t size, ssize_t *n)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    cleanup_close int fd = open(path, O_RDONLY);
    *n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (*n > 0)
        text[*n] = 0;
    return *n > 0;
}

/* Every process of the cluster is of a container that is known, or its conmon. */
static void check_process(void *context, pid_t pid)
{
    static const char group[] = "/podpod-1/";
    struct census *census = context;
    char cgroups[4096], line[4096];
    ssize_t n;
    if (!read_text(pid, "cgroup", cgroups, sizeof(cgroups), &n) || !read_text(pid, "cmdline", line, sizeof(line), &n))
        return; /* it has just ended */
    char *id = strstr(cgroups, group);
    if (id) {
        id += strlen(group);
        id[64] = 0;
    }
    for (char *p = line; !id && p < line + n; p += strlen(p) + 1)
        if (!strcmp(p, "-c"))
            id = p + 3;
    if (!id || !runtime_container_get(census->f->runtime, id))
        fail_msg("process %d (%s) of %s is left", (int)pid, line, id ? id : "no container");
}

static void check_directory(struct fixture *f, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", f->run, name);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.' && !runtime_container_get(f->runtime, entry->d_name))
            fail_msg("%s/%s is left", path, entry->d_name);
    closedir(d);
}

static void collect_id(void *context, const struct runtime_container_status *status)
{
    struct map *ids = context;
    map_set(ids, status->id, ids);
}

static void play_round(struct fixture *f, int64_t life)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fixture_close_runtime(f);
    pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        struct fixture *own = malloc(sizeof(*own));
        memcpy(own, f, sizeof(*own));
        agent(own, fds[1]);
    }
    close(fds[1]);
    struct timespec instant = {.tv_nsec = life * 1000};
    nanosleep(&instant, NULL); /* the fault's time, not a wait for something */
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status))
        fail_msg("the agent ended by itself: %d", WEXITSTATUS(status));
    struct map alive = {0};
    read_deeds(fds[0], &alive);

    int lock = lock_cluster(f);
    fixture_open_runtime(f);
    struct census census = {.f = f, .alive = &alive};
    runtime_container_each(f->runtime, NULL, count_running, &census);
    assert_int_equal(census.running, alive.count);
    struct error err;
    struct cgroup *cgroup;
    assert_int_equal(cgroup_open(f->cgroup_parent, &cgroup, &err), 0);
    assert_int_equal(cgroup_each_process(cgroup, "", check_process, &census, &err), 0);
    cgroup_free(cgroup);
    check_directory(f, "containers");
    check_directory(f, "crun");
    check_directory(f, "exits");
    map_free(&alive);

    struct map ids = {0};
    runtime_container_each(f->runtime, NULL, collect_id, &ids);
    for (struct map_slot *s = NULL; (s = map_next(&ids, s));)
        fixture_delete(f, s->key);
    map_free(&ids);
    close(lock);
}

static void killed_agent_loses_and_leaves_nothing(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    fixture_open(f);
    fixture_sandbox(f, "pod-1");
    for (int i = 0; i < rounds; i++)
        play_round(f, rand_r(&seed) % LIFE_MAX);
    fixture_close(f);
    free(f);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    if (argc > 2)
        seed = (unsigned)atoi(argv[2]);
    int result = fixture_enter();
    if (result)
        return result;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_agent_loses_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
