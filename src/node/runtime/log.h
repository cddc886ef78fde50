/* Container logs: files in upstream's CRI format, written by conmon, read for `kubectl logs`, rotated as the
 * kubelet rotates them.
 *
 *     PODS_LOG/NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log
 *     2026-01-02T15:04:05.000000000+00:00 stdout F text of one line
 *     2026-01-02T15:04:05.000000000+00:00 stdout P first part of a long line, |
 *     2026-01-02T15:04:05.000000000+00:00 stdout F and its end
 *
 * A rotated file is ATTEMPT.log.YYYYMMDD-HHMMSS beside it. */
#ifndef CORACLE_NODE_RUNTIME_LOG_H
#define CORACLE_NODE_RUNTIME_LOG_H

#include "node/runtime/runtime.h"

/* The path of a container's log file: free() it. */
char *runtime_log_path(struct runtime *runtime, const char *pod_namespace, const char *pod_name, const char *pod_uid,
                       const char *container_name, uint32_t attempt);
/* The directory of a pod's logs, to remove when the pod is gone: free() it. */
char *runtime_pod_log_directory(struct runtime *runtime, const char *pod_namespace, const char *pod_name,
                                const char *pod_uid);

/* Most bytes of one chunk. */
#define RUNTIME_LOG_CHUNK_MAX (64 << 10)
/* A longer line is none of conmon's, which splits what a container writes into lines of some 8 KiB; it is passed over.
 */
#define RUNTIME_LOG_LINE_MAX (32 << 10)

struct runtime_log_options {
    const char *container_id; /* the container that writes; NULL or one that is gone: the file is complete */
    bool follow;              /* wait for more until the container has ended */
    int64_t tail_lines;       /* negative: from the start */
    int64_t since;            /* instant, microseconds; 0: from the start */
    int64_t limit_bytes;      /* of output; negative: no limit */
    bool timestamps;          /* put the time before each line, as written in the file */
    bool skip_stdout;
    bool skip_stderr;
};

struct runtime_log_reader;

/* One chunk of output: whole or cut lines, each with its newline. size 0: the end, with err NULL, or an error.
 * `data` is valid during the call. */
typedef void (*runtime_log_chunk)(void *context, const char *data, size_t size, const struct error *err);

/* A reader of a log file. Nothing is read before the first runtime_log_next(). A file that is not there is an
 * error (ENOENT) in the first chunk. Readers must be closed before the runtime. */
struct runtime_log_reader *runtime_log_open(struct runtime *runtime, const char *path,
                                            const struct runtime_log_options *options);
/* Asks for one chunk; the next is read when it is asked for, which is how a slow receiver holds the reader back. A
 * follower that falls behind reads the rotated files one after another; what it misses is only what rotation removed.
 * One request at a time. With follow, the answer may be long in coming. */
void runtime_log_next(struct runtime_log_reader *reader, runtime_log_chunk chunk, void *context);
/* Ends the reader; a request under way is dropped without an answer. */
void runtime_log_close(struct runtime_log_reader *reader);

/* Upstream's containerLogMaxSize, containerLogMaxFiles (the current file included) and the time between looks. */
#define RUNTIME_LOG_ROTATE_BYTES (INT64_C(10) << 20)
#define RUNTIME_LOG_ROTATE_FILES 5
#define RUNTIME_LOG_ROTATE_PERIOD (10 * INT64_C(1000000))

/* Looks once at the logs of all running containers and rotates those that have grown beyond max_bytes, keeping
 * max_files. A log whose last rotation has not been carried out yet is left for the next look. Idle clusters need no
 * timer: call it every RUNTIME_LOG_ROTATE_PERIOD while containers run. */
void runtime_log_rotate(struct runtime *runtime, int64_t max_bytes, int max_files, runtime_done done, void *context);

#endif
