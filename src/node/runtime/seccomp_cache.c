#include "node/runtime/seccomp_cache.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"

/* Largest file: a profile as large as one of type Localhost may be, and its program. */
#define ENTRY_MAX (((size_t)1 << 20) + 1 + BASE64_SIZE(SECCOMP_PROGRAM_MAX))

static char *entry_path(const char *directory, const char *profile)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (const char *c = profile; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return mem_printf("%s/%016llx", directory, (unsigned long long)hash);
}

char *seccomp_cache_find(const char *directory, const char *profile)
{
    cleanup_free char *path = entry_path(directory, profile);
    cleanup_buffer struct buffer entry = {0};
    struct error ignored;
    size_t n = strlen(profile);
    if (file_read(path, ENTRY_MAX, &entry, &ignored) < 0 || entry.size <= n + 1 ||
        memcmp(entry.data, profile, n) != 0 || entry.data[n] != '\n')
        return NULL;
    return mem_string_n(entry.data + n + 1, entry.size - n - 1);
}

static bool is_full(const char *directory)
{
    size_t count = 0;
    DIR *d = opendir(directory);
    if (!d)
        return true;
    while (readdir(d))
        count++;
    closedir(d);
    return count >= SECCOMP_CACHE_MAX + 2; /* with . and .. */
}

void seccomp_cache_add(const char *directory, const char *profile, const char *path)
{
    cleanup_buffer struct buffer program = {0}, entry = {0};
    struct error err;
    if (file_read(path, SECCOMP_PROGRAM_MAX, &program, &err) < 0 || !program.size || is_full(directory))
        return;
    cleanup_free char *to = entry_path(directory, profile);
    buffer_printf(&entry, "%s\n", profile);
    base64_encode(program.data, program.size, buffer_reserve(&entry, BASE64_SIZE(program.size)));
    entry.size += BASE64_SIZE(program.size);
    if (file_write_atomic(to, entry.data, entry.size, 0600, &err) < 0)
        log_debug("a compiled seccomp profile is not kept: %s", err.text);
}
