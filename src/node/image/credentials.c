/* Credentials from Secrets of the types kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg.
 *
 * Matching follows upstream's credentialprovider: a key is host[:port][/path] (a scheme and a leading /v1/ or /v2/ are
 * taken off); it matches an image name when the numbers of host labels are equal and each label matches as a glob, the
 * ports are equal, and the path is a prefix. Keys are tried in reverse order of their text, so that longer paths come
 * first. Where none matches, an entry for index.docker.io serves images of Docker Hub. */
#include "node/image/image.h"

#include <errno.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/encode.h"

#define DEFAULT_REGISTRY_KEY "index.docker.io"

struct entry {
    const char *key; /* host[:port][/path] */
    struct image_credential credential;
};

struct image_keyring {
    struct arena *arena;
    struct entry entries[IMAGE_CREDENTIALS_MAX]; /* by key, descending; equal keys in the order in which they came */
    size_t count;
};

struct image_keyring *image_keyring_new(void)
{
    struct image_keyring *keyring = mem_zero(1, sizeof(*keyring));
    keyring->arena = arena_new(0);
    return keyring;
}

void image_keyring_free(struct image_keyring *keyring)
{
    if (!keyring)
        return;
    arena_free(keyring->arena);
    free(keyring);
}

static const char *without_prefix(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : text;
}

static char *normalise_key(struct arena *arena, const char *text)
{
    text = without_prefix(without_prefix(text, "https://"), "http://");
    size_t host = strcspn(text, "/?#");
    size_t path = strcspn(text + host, "?#");
    const char *rest = text + host;
    if (path >= 4 && (strncmp(rest, "/v1/", 4) == 0 || strncmp(rest, "/v2/", 4) == 0)) {
        rest += 3;
        path -= 3;
    }
    if (path == 1)
        path = 0;
    return arena_printf(arena, "%.*s%.*s", (int)host, text, (int)path, rest);
}

/* "auth" is base64 of user:password, padded or not. */
static int decode_auth(struct arena *arena, const char *text, struct image_credential *out, struct error *err)
{
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    char *padded = arena_alloc(arena, n + 4);
    memcpy(padded, text, n);
    while (n % 4 && text[n - 1] != '=')
        padded[n++] = '=';
    char *decoded = arena_alloc(arena, n + 1);
    ssize_t size = base64_decode(padded, n, (unsigned char *)decoded);
    if (size < 0)
        return error_set(err, EINVAL, "illegal base64 data in auth field");
    char *colon = memchr(decoded, ':', (size_t)size);
    if (!colon)
        return error_set(err, EINVAL, "unable to parse auth field, must be formatted as base64(username:password)");
    *colon = 0;
    out->username = decoded;
    out->password = colon + 1;
    return 0;
}

static int text_member(json_t *object, const char *key, struct arena *arena, char **out, struct error *err)
{
    json_t *value = json_object_get(object, key);
    *out = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_set(err, EINVAL, "%s is not a string", key);
    *out = arena_string(arena, json_string_value(value));
    return 0;
}

static void insert(struct image_keyring *keyring, const char *key, const struct image_credential *credential)
{
    size_t at = 0;
    while (at < keyring->count && strcmp(keyring->entries[at].key, key) >= 0)
        at++;
    memmove(&keyring->entries[at + 1], &keyring->entries[at], (keyring->count - at) * sizeof(keyring->entries[0]));
    keyring->entries[at] = (struct entry){key, *credential};
    keyring->count++;
}

static int add_entry(struct image_keyring *keyring, const char *location, json_t *value, struct error *err)
{
    struct image_credential credential;
    char *auth;
    if (!json_is_object(value))
        return error_set(err, EINVAL, "not an object");
    if (text_member(value, "username", keyring->arena, &credential.username, err) < 0 ||
        text_member(value, "password", keyring->arena, &credential.password, err) < 0 ||
        text_member(value, "auth", keyring->arena, &auth, err) < 0)
        return -1;
    if (auth && *auth && decode_auth(keyring->arena, auth, &credential, err) < 0)
        return -1;
    if (!credential.username)
        credential.username = arena_string(keyring->arena, "");
    if (!credential.password)
        credential.password = arena_string(keyring->arena, "");
    if (keyring->count == IMAGE_CREDENTIALS_MAX)
        return error_set(err, E2BIG, "more than %d image pull credentials", IMAGE_CREDENTIALS_MAX);
    insert(keyring, normalise_key(keyring->arena, location), &credential);
    return 0;
}

int image_keyring_add(struct image_keyring *keyring, const char *data, size_t size, bool legacy, struct error *err)
{
    json_error_t where;
    json_t *root = json_loadb(data, size, 0, &where), *value;
    const char *location;
    int result = 0;
    if (!root)
        return error_set(err, EINVAL, "image pull secret is not JSON: %s (line %d)", where.text, where.line);
    json_t *entries = legacy ? root : json_object_get(root, "auths");
    if (!json_is_object(root) || (entries && !json_is_null(entries) && !json_is_object(entries)))
        result =
            error_set(err, EINVAL, "image pull secret: %s is not an object", json_is_object(root) ? "auths" : "it");
    json_object_foreach(entries, location, value) {
        if (result == 0 && add_entry(keyring, location, value, err) < 0)
            result = error_wrap(err, "image pull secret: \"%.200s\"", location);
    }
    json_decref(root);
    return result;
}

/* Each label of the host against its glob. */
static bool host_matches(const char *glob, size_t glob_size, const char *host, size_t host_size)
{
    char pattern[IMAGE_NAME_MAX + 1], label[IMAGE_NAME_MAX + 1];
    for (;;) {
        const char *glob_dot = memchr(glob, '.', glob_size), *host_dot = memchr(host, '.', host_size);
        size_t g = glob_dot ? (size_t)(glob_dot - glob) : glob_size;
        size_t h = host_dot ? (size_t)(host_dot - host) : host_size;
        if (!glob_dot != !host_dot || g > IMAGE_NAME_MAX || h > IMAGE_NAME_MAX)
            return false;
        memcpy(pattern, glob, g);
        memcpy(label, host, h);
        pattern[g] = label[h] = 0;
        if (fnmatch(pattern, label, 0) != 0)
            return false;
        if (!glob_dot)
            return true;
        glob += g + 1;
        glob_size -= g + 1;
        host += h + 1;
        host_size -= h + 1;
    }
}

/* Where the host ends and ":port" begins, in the n characters before the path. */
static size_t host_end(const char *text, size_t n)
{
    const char *bracket = n && text[0] == '[' ? memchr(text, ']', n) : NULL;
    size_t start = bracket ? (size_t)(bracket - text) : 0;
    const char *colon = memchr(text + start, ':', n - start);
    return colon ? (size_t)(colon - text) : n;
}

static bool key_matches(const char *key, const char *name)
{
    size_t key_domain = strcspn(key, "/"), name_domain = strcspn(name, "/");
    size_t key_host = host_end(key, key_domain), name_host = host_end(name, name_domain);
    if (key_domain - key_host != name_domain - name_host ||
        memcmp(key + key_host, name + name_host, key_domain - key_host) != 0)
        return false;
    if (strncmp(key + key_domain, name + name_domain, strlen(key + key_domain)) != 0)
        return false;
    return host_matches(key, key_host, name, name_host);
}

int image_keyring_find(const struct image_keyring *keyring, const char *reference, struct image_credential **out,
                       size_t *count, struct error *err)
{
    struct image_reference parsed;
    *out = NULL;
    *count = 0;
    if (image_reference_parse(reference, &parsed, err) < 0)
        return -1;
    struct image_credential *found = mem_zero(keyring->count + 1, sizeof(*found));
    for (size_t i = 0; i < keyring->count; i++)
        if (key_matches(keyring->entries[i].key, parsed.name))
            found[(*count)++] = keyring->entries[i].credential;
    bool fallback = *count == 0 && strcmp(parsed.domain, "docker.io") == 0;
    for (size_t i = 0; i < keyring->count && fallback; i++)
        if (strcmp(keyring->entries[i].key, DEFAULT_REGISTRY_KEY) == 0)
            found[(*count)++] = keyring->entries[i].credential;
    *out = found;
    return 0;
}
