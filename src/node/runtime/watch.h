/* File events: one inotify descriptor for the runtime, watches on directories, and watches on processes. Loop
 * thread only. */
#ifndef CORACLE_NODE_RUNTIME_WATCH_H
#define CORACLE_NODE_RUNTIME_WATCH_H

#include "base/error.h"

struct uv_loop_s;
struct watcher;
struct watch;
struct pidfd_watch;

/* Something was written, created, moved in or removed in the directory. name is NULL when events were lost:
 * look at everything. */
typedef void (*watch_callback)(void *context, const char *name);

int watcher_new(struct uv_loop_s *loop, struct watcher **out, struct error *err);
/* All watches must have been removed. */
void watcher_free(struct watcher *watcher, void (*closed)(void *context), void *context);

/* Several watches may be on one directory. The callback may remove its own watch and any other. */
int watch_add(struct watcher *watcher, const char *directory, watch_callback callback, void *context,
              struct watch **out, struct error *err);
/* The same for those who read whole files: something was written and closed, linked, moved in or out or removed. What is
 * still being written is not told. */
int watch_add_whole(struct watcher *watcher, const char *directory, watch_callback callback, void *context,
                    struct watch **out, struct error *err);
/* NULL is fine. */
void watch_remove(struct watch *watch);

/* Calls back once when the process of the descriptor has ended. The descriptor stays the caller's and must stay
 * open until pidfd_watch_stop, which must be called (in the callback at the earliest; NULL is fine). */
struct pidfd_watch *pidfd_watch_start(struct uv_loop_s *loop, int fd, void (*ended)(void *context), void *context);
void pidfd_watch_stop(struct pidfd_watch *watch);

#endif
