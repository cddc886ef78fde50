#include "node/http_url.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"

/* Bytes of a scheme in front of its ':', or 0. */
static size_t scheme_length(const char *location)
{
    size_t n = 0;
    while (isalnum((unsigned char)location[n]) || (n && location[n] && strchr("+-.", location[n])))
        n++;
    return n && isalpha((unsigned char)*location) && location[n] == ':' ? n : 0;
}

bool http_url_is_absolute(const char *location)
{
    return scheme_length(location) > 0;
}

void http_url_make(struct arena *arena, bool https, const char *host, int port, const char *path, struct http_url *out)
{
    *out = (struct http_url){.scheme = https ? "https" : "http", .host = arena_string(arena, host), .port = port};
    out->authority = arena_printf(arena, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
    out->target = arena_printf(arena, *path == '/' ? "%s" : "/%s", path);
}

const char *http_url_text(struct arena *arena, const struct http_url *url)
{
    return arena_printf(arena, "%s://%s%s", url->scheme, url->authority, url->target);
}

/* "user@[::1]:8080": who the user is does not matter. */
static int read_authority(struct arena *arena, const char *text, struct http_url *out)
{
    const char *at = strrchr(text, '@'), *end, *port;
    if (at)
        text = at + 1;
    out->authority = text;
    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return -1;
        port = end + 1;
    } else {
        end = port = text + strcspn(text, ":");
    }
    out->host = arena_string_n(arena, text, (size_t)(end - text));
    out->port = strcmp(out->scheme, "https") == 0 ? 443 : 80;
    if (port[0] && port[1]) {
        if (strlen(port + 1) > 5 || port[1 + strspn(port + 1, "0123456789")])
            return -1;
        out->port = atoi(port + 1);
    }
    return *out->host && out->port > 0 && out->port <= UINT16_MAX ? 0 : -1;
}

/* Takes "." and ".." out of a path that begins with '/'. */
static char *without_dots(struct arena *arena, const char *path)
{
    char *out = arena_alloc(arena, strlen(path) + 2);
    size_t size = 0;
    while (*path) {
        size_t n = 1 + strcspn(path + 1, "/"); /* "/segment" */
        bool one = n == 2 && path[1] == '.', two = n == 3 && path[1] == '.' && path[2] == '.';
        if (two)
            while (size && out[--size] != '/')
                ;
        if (!one && !two) {
            memcpy(out + size, path, n);
            size += n;
        } else if (!path[n]) {
            out[size++] = '/'; /* "/a/." is "/a/" */
        }
        path += n;
    }
    out[size] = 0;
    return out;
}

/* Bytes that a request line cannot carry as they are. */
static const char *escaped(struct arena *arena, const char *target)
{
    struct buffer out = {0};
    for (const unsigned char *c = (const unsigned char *)target; *c; c++)
        if (*c == ' ' || *c >= 0x80)
            buffer_printf(&out, "%%%02X", *c);
        else
            buffer_add_char(&out, (char)*c);
    const char *copy = arena_string_n(arena, out.data, out.size);
    buffer_free(&out);
    return copy;
}

/* `rest` is path and query; `keeps_base`: without a path of its own it is beside the base's. */
static void set_target(struct arena *arena, const struct http_url *base, const char *rest, bool keeps_base,
                       struct http_url *out)
{
    size_t length = strcspn(rest, "?"), base_length = strcspn(base->target, "?");
    const char *path = arena_string_n(arena, rest, length), *query = rest + length;
    if (keeps_base && !length) {
        path = arena_string_n(arena, base->target, base_length);
        if (!*query)
            query = base->target + base_length;
    } else if (*path != '/') {
        while (keeps_base && base_length && base->target[base_length - 1] != '/')
            base_length--;
        path = arena_printf(arena, "%.*s%s", keeps_base ? (int)base_length : 1, keeps_base ? base->target : "/", path);
    }
    out->target = escaped(arena, arena_printf(arena, "%s%s", without_dots(arena, path), query));
}

int http_url_resolve(struct arena *arena, const struct http_url *base, const char *location, struct http_url *out)
{
    const char *rest = arena_string_n(arena, location, strcspn(location, "#"));
    size_t scheme = scheme_length(rest);
    for (const unsigned char *c = (const unsigned char *)rest; *c; c++)
        if (*c < ' ' || *c == 0x7f)
            return -1;
    *out = *base;
    if (scheme) {
        char *lower = arena_string_n(arena, rest, scheme);
        for (char *c = lower; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        out->scheme = lower;
        rest += scheme + 1;
    }
    bool named = rest[0] == '/' && rest[1] == '/';
    if (named) {
        size_t n = strcspn(rest + 2, "/?");
        if (read_authority(arena, arena_string_n(arena, rest + 2, n), out) < 0)
            return -1;
        rest += 2 + n;
    } else if (scheme) {
        out->host = out->authority = "";
    }
    set_target(arena, base, rest, !scheme && !named, out);
    return 0;
}
