/* Scope-exit helpers and the allocation functions that abort instead of returning NULL. */
#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cleanup_free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

void cleanup_close_fd(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    errno = saved;
}

void cleanup_close_file(FILE **file)
{
    int saved = errno;
    if (*file)
        fclose(*file);
    errno = saved;
}

static void *or_abort(void *p, size_t size)
{
    if (!p) {
        fprintf(stderr, "coracle: out of memory (asked for %zu bytes)\n", size);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size)
{
    return or_abort(malloc(size ? size : 1), size);
}

void *mem_zero(size_t count, size_t size)
{
    return or_abort(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *mem_resize(void *old, size_t size)
{
    return or_abort(realloc(old, size ? size : 1), size);
}

char *mem_string(const char *s)
{
    return or_abort(strdup(s), strlen(s) + 1);
}

char *mem_string_n(const char *s, size_t n)
{
    return or_abort(strndup(s, n), n + 1);
}

char *mem_printf(const char *format, ...)
{
    char *out = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&out, format, args);
    va_end(args);
    return or_abort(n < 0 ? NULL : out, 0);
}
