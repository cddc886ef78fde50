/* One inotify descriptor, many watches. The kernel gives one number per directory; watches of the same directory
 * share it. A watch that is removed while events are being handed out is only marked, and freed afterwards. */
#include "node/runtime/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/list.h"

#define EVENTS (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR)
#define EVENTS_WHOLE (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)
#define EVENT_BLOCK 16384
/* Events handed out in one turn of the loop. */
#define BLOCKS_PER_TURN 8

struct watcher {
    uv_poll_t poll;
    int fd;
    struct list watches;
    int dispatching;
    void (*closed)(void *context);
    void *closed_context;
};

struct watch {
    struct list node;
    struct watcher *watcher;
    int number;
    char *directory; /* of watch_add_whole; else NULL */
    bool removed;
    watch_callback callback;
    void *context;
};

static void sweep(struct watcher *watcher)
{
    struct watch *watch;
    list_for_each(&watcher->watches, watch, node)
    {
        if (watch->removed) {
            list_remove(&watch->node);
            free(watch->directory);
            free(watch);
        }
    }
}

/* A new file is told of when it is closed; a link is complete at once. */
static bool is_unfinished(const struct watch *watch, uint32_t mask, const char *name)
{
    struct stat info;
    if (!watch->directory || !(mask & IN_CREATE))
        return false;
    cleanup_free char *path = mem_printf("%s/%s", watch->directory, name);
    return lstat(path, &info) < 0 || (S_ISREG(info.st_mode) && info.st_nlink == 1);
}

static void dispatch(struct watcher *watcher, int number, uint32_t mask, const char *name)
{
    struct watch *watch;
    list_for_each(&watcher->watches, watch, node)
    {
        if (!watch->removed && (number < 0 || (watch->number == number && !is_unfinished(watch, mask, name))))
            watch->callback(watch->context, name);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct watcher *watcher = poll->data;
    char block[EVENT_BLOCK] __attribute__((aligned(__alignof__(struct inotify_event))));
    watcher->dispatching++;
    for (int i = 0; i < BLOCKS_PER_TURN; i++) {
        ssize_t n = read(watcher->fd, block, sizeof(block));
        if (n <= 0)
            break;
        for (char *p = block; p < block + n;) {
            const struct inotify_event *event = (const struct inotify_event *)p;
            p += sizeof(*event) + event->len;
            if (event->mask & IN_Q_OVERFLOW)
                dispatch(watcher, -1, 0, NULL);
            else if (event->len)
                dispatch(watcher, event->wd, event->mask, event->name);
        }
    }
    watcher->dispatching--;
    sweep(watcher);
}

int watcher_new(struct uv_loop_s *loop, struct watcher **out, struct error *err)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "start watching files (fs.inotify.max_user_instances may be too low)");
    struct watcher *watcher = mem_zero(1, sizeof(*watcher));
    watcher->fd = fd;
    watcher->poll.data = watcher;
    list_init(&watcher->watches);
    uv_poll_init(loop, &watcher->poll, fd);
    uv_poll_start(&watcher->poll, UV_READABLE, on_readable);
    *out = watcher;
    return 0;
}

static void on_watcher_closed(uv_handle_t *handle)
{
    struct watcher *watcher = handle->data;
    close(watcher->fd);
    if (watcher->closed)
        watcher->closed(watcher->closed_context);
    free(watcher);
}

void watcher_free(struct watcher *watcher, void (*closed)(void *context), void *context)
{
    sweep(watcher);
    watcher->closed = closed;
    watcher->closed_context = context;
    uv_close((uv_handle_t *)&watcher->poll, on_watcher_closed);
}

static int add(struct watcher *watcher, const char *directory, uint32_t events, watch_callback callback, void *context,
               struct watch **out, struct error *err)
{
    int number = inotify_add_watch(watcher->fd, directory, events);
    if (number < 0)
        return error_errno(err, "watch %s", directory);
    struct watch *watch = mem_zero(1, sizeof(*watch));
    *watch = (struct watch){.watcher = watcher, .number = number, .callback = callback, .context = context};
    list_append(&watcher->watches, &watch->node);
    *out = watch;
    return 0;
}

int watch_add(struct watcher *watcher, const char *directory, watch_callback callback, void *context,
              struct watch **out, struct error *err)
{
    return add(watcher, directory, EVENTS, callback, context, out, err);
}

int watch_add_whole(struct watcher *watcher, const char *directory, watch_callback callback, void *context,
                    struct watch **out, struct error *err)
{
    if (add(watcher, directory, EVENTS_WHOLE, callback, context, out, err) < 0)
        return -1;
    (*out)->directory = mem_string(directory);
    return 0;
}

void watch_remove(struct watch *watch)
{
    if (!watch)
        return;
    struct watcher *watcher = watch->watcher;
    watch->removed = true;
    bool shared = false;
    struct watch *other;
    list_for_each(&watcher->watches, other, node)
    {
        shared |= !other->removed && other->number == watch->number;
    }
    if (!shared)
        inotify_rm_watch(watcher->fd, watch->number);
    if (!watcher->dispatching)
        sweep(watcher);
}

struct pidfd_watch {
    uv_poll_t poll;
    void (*ended)(void *context);
    void *context;
};

static void on_ended(uv_poll_t *poll, int status, int events)
{
    struct pidfd_watch *watch = poll->data;
    uv_poll_stop(poll);
    watch->ended(watch->context);
}

struct pidfd_watch *pidfd_watch_start(struct uv_loop_s *loop, int fd, void (*ended)(void *context), void *context)
{
    struct pidfd_watch *watch = mem_zero(1, sizeof(*watch));
    watch->poll.data = watch;
    watch->ended = ended;
    watch->context = context;
    uv_poll_init(loop, &watch->poll, fd);
    uv_poll_start(&watch->poll, UV_READABLE, on_ended);
    return watch;
}

static void on_pidfd_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void pidfd_watch_stop(struct pidfd_watch *watch)
{
    if (!watch)
        return;
    /* The descriptor leaves the loop's epoll set here and now: the caller may close it after this call. */
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, on_pidfd_closed);
}
