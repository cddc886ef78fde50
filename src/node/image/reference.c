/* References to images: `nginx`, `localhost:5000/team/app:v1`, `name@sha256:...`.
 *
 * The grammar, the defaults and the texts of errors are those of distribution/reference, which the kubelet and
 * containerd use:
 *     name      [domain/]component(/component)*     component: [a-z0-9]+ joined by . _ __ or any number of -
 *     domain    labels of letters, digits and inner -, or [IPv6], with an optional :port
 *     tag       [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
 *     digest    algorithm:hexadecimal
 * The first component is a domain when it has a '.', a ':' or an upper-case letter, or is "localhost". */
#include "node/image/image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DOMAIN "index.docker.io"
#define OFFICIAL_PREFIX "library/"
#define DEFAULT_TAG "latest"
#define ID_DIGITS 64

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static const struct {
    const char *name;
    size_t digits;
} algorithms[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};

static bool has_any(const char *text, size_t n, const char *characters)
{
    for (size_t i = 0; i < n; i++)
        if (strchr(characters, text[i]))
            return true;
    return false;
}

static bool all_of(const char *text, size_t n, const char *characters)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(characters, text[i]))
            return false;
    return n > 0;
}

/* One component of a path: runs of letters and digits with separators between them. */
static bool component_valid(const char *text, size_t n)
{
    for (size_t i = 0;;) {
        size_t start = i;
        while (i < n && strchr(LOWER DIGITS, text[i]))
            i++;
        if (i == start)
            return false;
        if (i == n)
            return true;
        if (text[i] == '.') {
            i++;
        } else if (text[i] == '_') {
            i += i + 1 < n && text[i + 1] == '_' ? 2 : 1;
        } else if (text[i] == '-') {
            while (i < n && text[i] == '-')
                i++;
        } else {
            return false;
        }
    }
}

static bool path_valid(const char *path)
{
    for (;;) {
        size_t n = strcspn(path, "/");
        if (!component_valid(path, n))
            return false;
        if (!path[n])
            return true;
        path += n + 1;
    }
}

static bool host_valid(const char *text, size_t n)
{
    if (n && text[0] == '[')
        return n > 2 && text[n - 1] == ']' && all_of(text + 1, n - 2, "abcdefABCDEF:" DIGITS);
    for (size_t i = 0; i <= n; i++) {
        size_t start = i;
        while (i < n && text[i] != '.')
            i++;
        if (!all_of(text + start, i - start, LOWER UPPER DIGITS "-") || text[start] == '-' || text[i - 1] == '-')
            return false;
    }
    return true;
}

static bool domain_valid(const char *text)
{
    size_t n = strlen(text), host;
    if (n && text[0] == '[')
        host = strcspn(text, "]") + 1;
    else
        host = strcspn(text, ":");
    if (host > n || !host_valid(text, host))
        return false;
    return host == n || (text[host] == ':' && all_of(text + host + 1, n - host - 1, DIGITS));
}

static bool tag_valid(const char *text)
{
    size_t n = strlen(text);
    return n <= IMAGE_TAG_MAX && all_of(text, n, LOWER UPPER DIGITS "_.-") && text[0] != '.' && text[0] != '-';
}

/* Upstream's regular expression first (any algorithm, 32 digits or more), then go-digest's validation. */
static int digest_check(const char *text, struct error *err)
{
    const char *colon = strchr(text, ':');
    if (!colon || !all_of(text, (size_t)(colon - text), LOWER UPPER DIGITS "-_+.") || !strchr(LOWER UPPER, text[0]) ||
        strlen(colon + 1) < 32 || !all_of(colon + 1, strlen(colon + 1), "abcdefABCDEF" DIGITS))
        return error_set(err, EINVAL, "invalid reference format");
    for (size_t i = 0; i < ARRAY_COUNT(algorithms); i++) {
        if (strlen(algorithms[i].name) != (size_t)(colon - text) || memcmp(algorithms[i].name, text, colon - text) != 0)
            continue;
        if (strlen(colon + 1) != algorithms[i].digits)
            return error_set(err, EINVAL, "invalid checksum digest length");
        if (has_any(colon + 1, strlen(colon + 1), "ABCDEF"))
            return error_set(err, EINVAL, "invalid checksum digest format");
        return 0;
    }
    return error_set(err, EINVAL, "unsupported digest algorithm");
}

/* Splits off the domain; where the text names none, it is Docker Hub. Both results are at most IMAGE_NAME_MAX + 1 long
 * because the caller has bounded the text. */
static const char *domain_split(const char *text, struct image_reference *out)
{
    const char *slash = strchr(text, '/');
    size_t first = slash ? (size_t)(slash - text) : 0;
    bool is_domain = slash && (has_any(text, first, ".:" UPPER) || (first == 9 && memcmp(text, "localhost", 9) == 0));
    if (!is_domain || first > IMAGE_NAME_MAX) {
        strcpy(out->domain, DEFAULT_DOMAIN);
        return text;
    }
    memcpy(out->domain, text, first);
    out->domain[first] = 0;
    if (strcmp(out->domain, LEGACY_DOMAIN) == 0)
        strcpy(out->domain, DEFAULT_DOMAIN);
    return slash + 1;
}

static int name_check(const struct image_reference *reference, struct error *err)
{
    const char *path = reference->path;
    if (has_any(path, strlen(path), UPPER))
        return error_set(err, EINVAL, "invalid reference format: repository name (%s) must be lowercase", path);
    if (!domain_valid(reference->domain) || !path_valid(path))
        return error_set(err, EINVAL, "invalid reference format");
    if (strlen(reference->domain) + 1 + strlen(path) > IMAGE_NAME_MAX)
        return error_set(err, EINVAL, "repository name must not be more than %d characters", IMAGE_NAME_MAX);
    return 0;
}

int image_reference_parse(const char *text, struct image_reference *out, struct error *err)
{
    memset(out, 0, sizeof(*out));
    size_t size = strlen(text);
    if (size >= IMAGE_REFERENCE_MAX)
        return error_set(err, EINVAL, "repository name must not be more than %d characters", IMAGE_NAME_MAX);
    if (size == ID_DIGITS && all_of(text, size, "abcdef" DIGITS))
        return error_set(err, EINVAL, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", text);

    char copy[IMAGE_REFERENCE_MAX];
    const char *rest = domain_split(text, out);
    memcpy(copy, rest, strlen(rest) + 1);
    char *at = strchr(copy, '@');
    if (at)
        *at++ = 0;
    char *colon = strchr(copy, ':');
    if (colon)
        *colon++ = 0;
    bool official = strcmp(out->domain, DEFAULT_DOMAIN) == 0 && !strchr(copy, '/');
    if ((size_t)snprintf(out->path, sizeof(out->path), "%s%s", official ? OFFICIAL_PREFIX : "", copy) >=
        sizeof(out->path))
        return error_set(err, EINVAL, "repository name must not be more than %d characters", IMAGE_NAME_MAX);
    if (name_check(out, err) < 0)
        return -1;
    if (colon && !tag_valid(colon))
        return error_set(err, EINVAL, "invalid reference format");
    if (at && digest_check(at, err) < 0)
        return -1;
    /* A digest says more than a tag beside it, which containerd drops too. */
    snprintf(out->tag, sizeof(out->tag), "%s", at ? "" : colon ? colon : DEFAULT_TAG);
    snprintf(out->digest, sizeof(out->digest), "%s", at ? at : "");
    int n = snprintf(out->name, sizeof(out->name), "%s/%s", out->domain, out->path);
    assert(n > 0 && (size_t)n < sizeof(out->name)); /* name_check */
    (void)n;
    snprintf(out->text, sizeof(out->text), "%s%s%s%s%s", out->name, *out->tag ? ":" : "", out->tag,
             *out->digest ? "@" : "", out->digest);
    return 0;
}
