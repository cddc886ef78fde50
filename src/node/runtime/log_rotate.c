/* Log rotation, to the kubelet's rules. The file gets a second name and conmon is told to open its log again, which it
 * does by putting a new file in the place of the old: at any time there is a file to read under the first name. conmon
 * takes orders from a fifo in the bundle; "2 0 0" is the one for its log. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "node/runtime/log.h"
#include "node/runtime/runtime_internal.h"

#define REOPEN_ORDER "2 0 0\n"
/* Rotations of one log in a second; the time between looks makes it one. */
#define SAME_SECOND_MAX 100

struct candidate {
    char *path;
    char *control;
};

struct rotation {
    struct runtime *runtime;
    int64_t max_bytes;
    int max_files;
    time_t now;
    runtime_done done;
    void *context;
    VECTOR(struct candidate) candidates;
    int result;
    struct error err;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Keeps the newest `keep` rotated files of the log; their names sort by age. */
static void remove_old(const char *path, int keep)
{
    cleanup_free char *directory = mem_string(path);
    char *file = strrchr(directory, '/');
    *file++ = 0;
    size_t length = strlen(file);
    DIR *d = opendir(directory);
    if (!d)
        return;
    VECTOR(char *) names = {0};
    for (struct dirent *entry; (entry = readdir(d));)
        if (!strncmp(entry->d_name, file, length) && entry->d_name[length] == '.' &&
            strcmp(entry->d_name + length, ".tmp"))
            vector_push(&names, mem_string(entry->d_name));
    closedir(d);
    if (names.count)
        qsort(names.items, names.count, sizeof(names.items[0]), by_name);
    for (size_t i = 0; i < names.count; i++) {
        cleanup_free char *old = mem_printf("%s/%s", directory, names.items[i]);
        if (names.count - i > (size_t)keep)
            unlink(old);
        free(names.items[i]);
    }
    vector_free(&names);
}

static int add_name(const struct rotation *rotation, const char *path, char **rotated, struct error *err)
{
    struct tm tm;
    char suffix[32];
    gmtime_r(&rotation->now, &tm);
    strftime(suffix, sizeof(suffix), "%Y%m%d-%H%M%S", &tm);
    for (int i = 0; i < SAME_SECOND_MAX; i++) {
        *rotated = i ? mem_printf("%s.%s-%02d", path, suffix, i) : mem_printf("%s.%s", path, suffix);
        if (link(path, *rotated) == 0)
            return 0;
        int code = errno;
        free(steal_pointer(*rotated));
        errno = code;
        if (code != EEXIST)
            break;
    }
    return error_errno(err, "rotate %s", path);
}

static int rotate(const struct rotation *rotation, const struct candidate *candidate, struct error *err)
{
    cleanup_free char *rotated = NULL;
    cleanup_close int control = open(candidate->control, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (control < 0)
        return error_errno(err, "open %s", candidate->control);
    if (add_name(rotation, candidate->path, &rotated, err) < 0)
        return -1;
    if (write(control, REOPEN_ORDER, strlen(REOPEN_ORDER)) < 0) {
        error_errno(err, "write to %s", candidate->control);
        unlink(rotated);
        return -1;
    }
    remove_old(candidate->path, rotation->max_files - 1);
    return 0;
}

static void rotate_work(void *context)
{
    struct rotation *rotation = context;
    for (size_t i = 0; i < rotation->candidates.count; i++) {
        struct stat info;
        if (stat(rotation->candidates.items[i].path, &info) == 0 && info.st_size > rotation->max_bytes &&
            rotate(rotation, &rotation->candidates.items[i], &rotation->err) < 0)
            rotation->result = -1;
    }
}

static void rotate_after(void *context)
{
    struct rotation *rotation = context;
    for (size_t i = 0; i < rotation->candidates.count; i++) {
        free(rotation->candidates.items[i].path);
        free(rotation->candidates.items[i].control);
    }
    vector_free(&rotation->candidates);
    rotation->done(rotation->context, rotation->result < 0 ? &rotation->err : NULL);
    free(rotation);
}

void runtime_log_rotate(struct runtime *runtime, int64_t max_bytes, int max_files, runtime_done done, void *context)
{
    struct rotation *rotation = mem_zero(1, sizeof(*rotation));
    *rotation = (struct rotation){
        .runtime = runtime,
        .max_bytes = max_bytes,
        .max_files = max_files > 1 ? max_files : 1,
        .now = (time_t)(env_now(runtime->env) / 1000000),
        .done = done,
        .context = context,
    };
    struct container *container;
    list_for_each(&runtime->container_list, container, node)
    {
        if (container->phase == PHASE_RUNNING)
            vector_push(&rotation->candidates,
                        (struct candidate){mem_string(container->status.log_path),
                                           container_path(runtime, container->status.id, "ctl")});
    }
    runtime_work(runtime, rotate_work, rotate_after, rotation);
}
