#include "server/proxy_link.h"

#include <stdint.h>

#include "base/cleanup.h"
#include "base/encode.h"

/* A character that no part of a URL's structure is. */
#define OTHER '\x80'
#define CODE_POINT_MAX 0x10ffff

/* A link as it is read, and where each of its characters was written. */
struct link {
    size_t size;
    char text[PROXY_LINK_MAX];
    uint16_t at[PROXY_LINK_MAX + 1];
};

struct parts {
    size_t host, host_size; /* with its port, without a user */
    size_t path, path_end;
};

/* ---- Character references ---- */

/* "&#47;" or "&#x2f": its length, 0 if it is none. */
static size_t numeric_reference(const char *in, size_t n, char *out)
{
    size_t i = 2;
    unsigned base = i < n && (in[i] | 0x20) == 'x' ? 16 : 10;
    uint32_t value = 0;
    i += base == 16;
    size_t first = i;
    for (int digit; i < n && (digit = hex_value((unsigned char)in[i])) >= 0 && (unsigned)digit < base; i++)
        value = value > CODE_POINT_MAX ? value : value * base + (uint32_t)digit;
    if (i == first)
        return 0;
    *out = value && value < 0x80 ? (char)value : OTHER;
    return i + (i < n && in[i] == ';');
}

/* The reference that `in` begins with: its length, 0 if it is none. Of those with names only the ones that may mean
 * something in a URL are known; the others are read as they are written, which comes to the same. */
static size_t reference(const char *in, size_t n, char *out)
{
    static const struct {
        const char *name;
        char character;
    } names[] = {{"&sol;", '/'},    {"&colon;", ':'},  {"&quest;", '?'},  {"&num;", '#'},     {"&period;", '.'},
                 {"&commat;", '@'}, {"&lsqb;", '['},   {"&rsqb;", ']'},   {"&percnt;", '%'},  {"&Tab;", '\t'},
                 {"&lbrack;", '['}, {"&rbrack;", ']'}, {"&lowbar;", '_'}, {"&NewLine;", '\n'}};
    if (n > 2 && in[1] == '#')
        return numeric_reference(in, n, out);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        size_t size = strlen(names[i].name);
        if (n >= size && memcmp(in, names[i].name, size) == 0) {
            *out = names[i].character;
            return size;
        }
    }
    return 0;
}

/* False: no URL has this, or it is too long. */
static bool read_link(struct link *link, const char *in, size_t size, bool markup)
{
    if (size > PROXY_LINK_MAX)
        return false;
    link->size = 0;
    for (size_t i = 0; i < size;) {
        char c = in[i];
        size_t n = markup && c == '&' ? reference(in + i, size - i, &c) : 0;
        if ((unsigned char)c < ' ' || c == 0x7f)
            return false;
        link->text[link->size] = c;
        link->at[link->size++] = (uint16_t)i;
        i += n ? n : 1;
    }
    link->at[link->size] = (uint16_t)size;
    return true;
}

/* ---- Parts of a URL, as Go's net/url cuts them ---- */

static size_t find(const struct link *link, char c, size_t from, size_t end)
{
    const char *at = memchr(link->text + from, c, end - from);
    return at ? (size_t)(at - link->text) : end;
}

static bool well_escaped(const struct link *link, size_t from, size_t end)
{
    for (size_t i = from; (i = find(link, '%', i, end)) < end; i += 3)
        if (i + 2 >= end || hex_value((unsigned char)link->text[i + 1]) < 0 ||
            hex_value((unsigned char)link->text[i + 2]) < 0)
            return false;
    return true;
}

/* Where the rest begins behind "SCHEME:"; 0: there is no scheme. */
static size_t scheme_size(const struct link *link, size_t end)
{
    for (size_t i = 0; i < end; i++) {
        char c = link->text[i], lower = (char)(c | 0x20);
        if (c == ':')
            return i ? i + 1 : 0;
        bool inside = i && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.');
        if (!inside && (lower < 'a' || lower > 'z'))
            break;
    }
    return 0;
}

/* False: it is no URL with an absolute path. */
static bool split(const struct link *link, struct parts *out)
{
    size_t fragment = find(link, '#', 0, link->size), rest = scheme_size(link, fragment);
    size_t end = find(link, '?', rest, fragment), slashes = rest;
    while (slashes < end && link->text[slashes] == '/')
        slashes++;
    slashes -= rest;
    *out = (struct parts){.path = rest, .path_end = end};
    if (slashes == 2 || (slashes > 2 && rest)) {
        out->path = find(link, '/', rest + 2, end);
        out->host = rest + 2;
        for (size_t i = out->host; i < out->path; i++)
            if (link->text[i] == '@')
                out->host = i + 1;
        out->host_size = out->path - out->host;
    }
    return out->path < end && link->text[out->path] == '/' && well_escaped(link, out->path, end) &&
           well_escaped(link, fragment, link->size);
}

/* ---- Rewriting ---- */

static bool is_host(const struct link *link, const struct parts *parts, const char *host)
{
    return strlen(host) == parts->host_size && memcmp(link->text + parts->host, host, parts->host_size) == 0;
}

/* Appends the path without empty segments, "." and "..". */
static void add_path(const struct link *link, const struct parts *parts, const char *raw, struct buffer *out)
{
    size_t floor = out->size;
    for (size_t at = parts->path; at < parts->path_end;) {
        size_t segment = at + 1, n;
        at = find(link, '/', segment, parts->path_end);
        n = at - segment;
        const char *text = link->text + segment;
        if (!n || (n == 1 && *text == '.'))
            continue;
        if (n == 2 && text[0] == '.' && text[1] == '.') {
            while (out->size > floor && out->data[--out->size] != '/')
                ;
            continue;
        }
        buffer_add_char(out, '/');
        buffer_add(out, raw + link->at[segment], (size_t)(link->at[at] - link->at[segment]));
    }
    if (link->text[parts->path_end - 1] == '/')
        buffer_add_char(out, '/');
}

bool proxy_link_rewrite(const struct proxy_links *links, const char *raw, size_t size, bool markup, struct buffer *out)
{
    struct link link;
    struct parts parts;
    if (!read_link(&link, raw, size, markup) || !split(&link, &parts))
        return false;
    bool ours = is_host(&link, &parts, links->host);
    if (parts.host_size && !ours && !is_host(&link, &parts, links->backend))
        return false;
    size_t path_size = parts.path_end - parts.path;
    bool inside =
        path_size >= links->prefix_size && memcmp(link.text + parts.path, links->prefix, links->prefix_size) == 0;
    if (inside && (ours || !parts.path))
        return false;
    if (ours)
        buffer_add(out, raw, link.at[parts.path]);
    if (inside) {
        buffer_add(out, raw + link.at[parts.path], (size_t)(link.at[parts.path_end] - link.at[parts.path]));
    } else {
        buffer_add(out, links->prefix, links->prefix_size);
        add_path(&link, &parts, raw, out);
    }
    buffer_add(out, raw + link.at[parts.path_end], size - link.at[parts.path_end]);
    return true;
}
