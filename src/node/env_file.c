#include "node/env_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

struct scanner {
    const char *at, *end;
    int line; /* of the last one taken */
};

/* The next line, without its end. */
static bool next_line(struct scanner *s, const char **line, size_t *size)
{
    if (s->at >= s->end)
        return false;
    const char *newline = memchr(s->at, '\n', (size_t)(s->end - s->at));
    *line = s->at;
    *size = (size_t)((newline ? newline : s->end) - s->at);
    s->at = newline ? newline + 1 : s->end;
    s->line++;
    if (*size && (*line)[*size - 1] == '\r')
        --*size;
    return true;
}

static void skip_blanks(const char **text, size_t *size)
{
    while (*size && (**text == ' ' || **text == '\t')) {
        ++*text;
        --*size;
    }
}

static int refuse(const struct scanner *s, const char *why, struct error *err)
{
    return error_set(err, EBADMSG, "invalid environment variable format at line %d: %s", s->line, why);
}

/* What stands between the quotes; `text` begins behind the first. */
static int take_quoted(struct scanner *s, const char *text, size_t size, struct buffer *value, struct error *err)
{
    int first = s->line;
    const char *quote;
    while (!(quote = memchr(text, '\'', size))) {
        buffer_add(value, text, size);
        buffer_add_char(value, '\n');
        if (!next_line(s, &text, &size))
            return error_set(err, EBADMSG,
                             "invalid environment variable format starting at line %d: unclosed single quote", first);
    }
    buffer_add(value, text, (size_t)(quote - text));
    size -= (size_t)(quote + 1 - text);
    text = quote + 1;
    skip_blanks(&text, &size);
    return size && *text != '#' ? refuse(s, "unexpected content after closing quote", err) : 0;
}

int env_file_value(struct arena *arena, const char *text, size_t size, const char *key, const char **out,
                   struct error *err)
{
    struct scanner s = {text, text + size, 0};
    const char *line;
    size_t rest;
    *out = "";
    while (next_line(&s, &line, &rest)) {
        skip_blanks(&line, &rest);
        if (!rest || *line == '#')
            continue;
        const char *equals = memchr(line, '=', rest);
        if (!equals)
            return refuse(&s, "missing '='", err);
        size_t name = (size_t)(equals - line);
        if (!name)
            return refuse(&s, "empty variable name", err);
        if (line[name - 1] == ' ' || line[name - 1] == '\t')
            return refuse(&s, "whitespace before '=' is not allowed", err);
        bool wanted = name == strlen(key) && memcmp(line, key, name) == 0;
        rest -= name + 1;
        const char *value = equals + 1;
        if (rest && (*value == ' ' || *value == '\t')) {
            if (wanted)
                return 0;
            continue;
        }
        if (!rest || *value != '\'')
            return refuse(&s, "value must be enclosed in single quotes", err);
        cleanup_buffer struct buffer quoted = {0};
        if (take_quoted(&s, value + 1, rest - 1, &quoted, err) < 0)
            return -1;
        if (wanted) {
            *out = arena_string_n(arena, quoted.data ? quoted.data : "", quoted.size);
            return 0;
        }
    }
    return 0;
}

/* A regular file below the volume; others may put anything there, a pipe that never ends included. */
static int read_file(const char *volume, const char *path, struct buffer *out, struct error *err)
{
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    struct stat info;
    cleanup_close int root = open(volume, O_PATH | O_CLOEXEC);
    cleanup_close int fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    if (fd < 0 || fstat(fd, &info) < 0)
        return error_errno(err, "failed to open environment variable file \"%s\"", path);
    if (!S_ISREG(info.st_mode))
        return error_set(err, EINVAL, "environment variable file \"%s\" is not a regular file", path);
    if (file_read_rest(fd, ENV_FILE_MAX, out) == 0)
        return 0;
    if (errno == EFBIG)
        return error_set(err, E2BIG, "environment variable file \"%s\" is larger than %d bytes", path, ENV_FILE_MAX);
    return error_errno(err, "read environment variable file \"%s\"", path);
}

int env_file_read(struct arena *arena, const char *pod_directory, const struct file_key_selector *selector,
                  const char **out, struct error *err)
{
    bool optional = selector->optional.set && selector->optional.value;
    cleanup_free char *volume = mem_printf("%s/volumes/%s", pod_directory, selector->volume_name);
    cleanup_buffer struct buffer text = {0};
    struct error why;
    *out = NULL;
    if (strlen(selector->key) > ENV_FILE_KEY_MAX)
        return error_set(err, EINVAL, "environment variable key \"%s\" exceeds maximum length of %d characters",
                         selector->key, ENV_FILE_KEY_MAX);
    if (read_file(volume, selector->path, &text, &why) < 0) {
        if (why.code == ENOENT && optional)
            return 0;
        log_warning("Variable %s: %s", selector->key, why.text);
        return error_set(err, why.code, "couldn't parse env file");
    }
    if (env_file_value(arena, text.data ? text.data : "", text.size, selector->key, out, &why) < 0) {
        *out = NULL;
        log_warning("Variable %s: %s", selector->key, why.text);
        return error_set(err, EBADMSG, "couldn't parse env file");
    }
    if (strlen(*out) > ENV_FILE_VALUE_MAX)
        return error_set(err, E2BIG, "environment variable value for key \"%s\" exceeds maximum size of 32KB",
                         selector->key);
    if (**out)
        return 0;
    *out = NULL;
    return optional ? 0
                    : error_set(err, ENOENT, "environment variable key \"%s\" not found in file \"%s\"", selector->key,
                                selector->path);
}
