/* Log rotation, to the kubelet's rules. The file gets a second name and conmon is told to open its log again, which it
 * does by putting a new file in the place of the old: at any time there is a file to read under the first name. conmon
 * takes orders from a fifo in the bundle; "2 0 0" is the one for its log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "node/runtime/log.h"
#include "node/runtime/log_files.h"
#include "node/runtime/runtime_internal.h"

#define REOPEN_ORDER "2 0 0\n"
/* Rotations of one log in a second; the time between looks makes it one. */
#define SAME_SECOND_MAX 100
/* An order that conmon has read is carried out by then. */
#define ORDER_SECONDS_MAX 60

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

/* Keeps the newest `keep` rotated files of the log. */
static void remove_old(const char *path, int keep)
{
    struct log_files files;
    log_files_find(path, &files);
    for (size_t i = 0; i + (size_t)keep < files.paths.count; i++)
        unlink(files.paths.items[i]);
    log_files_free(&files);
}

static void suffix_of(time_t when, char *suffix, size_t size)
{
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(suffix, size, "%Y%m%d-%H%M%S", &tm);
}

static int add_name(const struct rotation *rotation, const char *path, char **rotated, struct error *err)
{
    char suffix[32];
    suffix_of(rotation->now, suffix, sizeof(suffix));
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

/* Whether the order to open the log again never reached conmon: its writer was killed after it gave the second name. */
static bool order_was_lost(const struct rotation *rotation, const struct candidate *candidate, int control)
{
    char suffix[32];
    int unread = 0;
    struct log_files files;
    suffix_of(rotation->now - ORDER_SECONDS_MAX, suffix, sizeof(suffix));
    cleanup_free char *old = mem_printf("%s.%s", candidate->path, suffix);
    log_files_find(candidate->path, &files);
    bool lost = files.paths.count && strcmp(files.paths.items[files.paths.count - 1], old) < 0 &&
                ioctl(control, FIONREAD, &unread) == 0 && !unread;
    log_files_free(&files);
    return lost;
}

static int rotate(const struct rotation *rotation, const struct candidate *candidate, bool has_name, struct error *err)
{
    cleanup_free char *rotated = NULL;
    cleanup_close int control = open(candidate->control, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (control < 0)
        return error_errno(err, "open %s", candidate->control);
    /* conmon has not acted on the last order yet. A second one would make it open a log for an instant, and replace it
     * by another before it could be given a name: what is in it would be lost. */
    if (has_name && !order_was_lost(rotation, candidate, control))
        return 0;
    if (!has_name && add_name(rotation, candidate->path, &rotated, err) < 0)
        return -1;
    if (write(control, REOPEN_ORDER, strlen(REOPEN_ORDER)) < 0) {
        error_errno(err, "write to %s", candidate->control);
        if (rotated)
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
            rotate(rotation, &rotation->candidates.items[i], info.st_nlink > 1, &rotation->err) < 0)
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
