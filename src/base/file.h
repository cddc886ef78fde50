/* Small whole-file operations. All block; call them where blocking is allowed. */
#ifndef CORACLE_BASE_FILE_H
#define CORACLE_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/error.h"

/* Appends the file's content to out. A file larger than limit is an error (EFBIG). */
int file_read(const char *path, size_t limit, struct buffer *out, struct error *err);
/* Appends what is left to read of fd: 0, or -1 with errno, EFBIG if it is more than limit bytes. What was read until
 * then is in out, and no more than limit bytes. */
int file_read_rest(int fd, size_t limit, struct buffer *out);
/* Reads a small file, of which size - 1 bytes are enough: 0, or -1 with errno. The text is NUL-terminated. */
int file_read_text(const char *path, char *out, size_t size);
/* Replaces path in one step: writes a temporary file beside it, syncs, renames. */
int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode, struct error *err);
/* Writes to an existing file in one write(2), as /proc and /sys want it. */
int file_poke(const char *path, const char *text, struct error *err);
/* mkdir -p. */
int file_make_directories(const char *path, mode_t mode, struct error *err);
/* rm -rf, without crossing into other file systems. A path that is not there is fine. */
int file_remove_tree(const char *path, struct error *err);
/* The same for everything in the directory, which stays. */
int file_empty_directory(const char *path, struct error *err);

#endif
