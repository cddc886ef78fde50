/* Release on scope exit. A function that owns something declares it with one of these and has one way
 * through: no goto ladder, no forgotten path.
 *
 *     cleanup_free char *path = NULL;
 *     cleanup_close int fd = -1;
 */
#ifndef CORACLE_BASE_CLEANUP_H
#define CORACLE_BASE_CLEANUP_H

#include <stddef.h>
#include <stdio.h>

#define cleanup_free __attribute__((cleanup(cleanup_free_pointer)))
#define cleanup_close __attribute__((cleanup(cleanup_close_fd)))
#define cleanup_file __attribute__((cleanup(cleanup_close_file)))

/* Frees what *pointer points to; NULL is fine. */
void cleanup_free_pointer(void *pointer);
/* Closes *fd unless it is negative. Keeps errno. */
void cleanup_close_fd(int *fd);
/* Closes *file unless it is NULL. Keeps errno. */
void cleanup_close_file(FILE **file);

/* Moves ownership out of a cleanup variable: returns its value and leaves it empty. */
#define steal_pointer(p)                                                                                               \
    ({                                                                                                                 \
        __typeof__(p) stolen_ = (p);                                                                                   \
        (p) = NULL;                                                                                                    \
        stolen_;                                                                                                       \
    })
#define steal_fd(fd)                                                                                                   \
    ({                                                                                                                 \
        int stolen_ = (fd);                                                                                            \
        (fd) = -1;                                                                                                     \
        stolen_;                                                                                                       \
    })

/* malloc, calloc, realloc and strdup that never return NULL: every allocation above them is bounded by a
 * named limit, so running out means that the machine is out of memory, and the process aborts with a
 * message rather than go on in an unknown state. */
void *mem_alloc(size_t size);
void *mem_zero(size_t count, size_t size);
void *mem_resize(void *old, size_t size);
char *mem_string(const char *s);
/* Its first n bytes; all of it if it is shorter. */
char *mem_string_n(const char *s, size_t n);
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
