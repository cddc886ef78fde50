/* Paths without detours. */
#include "base/path.h"

#include <string.h>

#include "base/cleanup.h"

char *path_normal(const char *path)
{
    char *out = mem_alloc(strlen(path) + 2), *end = out;
    for (size_t size; *(path += strspn(path, "/")); path += size) {
        size = strcspn(path, "/");
        if (size == 1 && *path == '.')
            continue;
        if (size == 2 && memcmp(path, "..", 2) == 0) {
            while (end > out && *--end != '/')
                ;
            continue;
        }
        *end++ = '/';
        memcpy(end, path, size);
        end += size;
    }
    if (end == out)
        *end++ = '/';
    *end = 0;
    return out;
}

bool path_same(const char *a, const char *b)
{
    cleanup_free char *x = path_normal(a), *y = path_normal(b);
    return strcmp(x, y) == 0;
}
