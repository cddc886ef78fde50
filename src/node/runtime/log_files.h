/* The files of one log: LOG, which conmon writes, and the older ones, LOG.YYYYMMDD-HHMMSS or, for one more in the same
 * second, LOG.YYYYMMDD-HHMMSS-NN. Their names sort by age. All of it blocks. */
#ifndef CORACLE_NODE_RUNTIME_LOG_FILES_H
#define CORACLE_NODE_RUNTIME_LOG_FILES_H

#include <stdbool.h>

#include "base/vector.h"

struct log_files {
    VECTOR(char *) paths; /* whole paths, oldest first */
};

/* Finds the rotated files of a log. A directory that cannot be read has none. */
void log_files_find(const char *path, struct log_files *files);
void log_files_free(struct log_files *files);

/* Removes a log with all of its files. */
void log_files_remove(const char *path);

/* Opens the file that follows the one that is open as `fd`: the next older than LOG, or LOG itself. When it has been
 * removed by now, the oldest that is left. Returns a descriptor, or -1 when there is none: `fd` is LOG. */
int log_files_open_next(const char *path, int fd);

#endif
