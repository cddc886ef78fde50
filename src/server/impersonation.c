#include "server/impersonation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/json.h"
#include "api/service_account.h"
#include "base/cleanup.h"
#include "base/encode.h"
#include "base/text.h"

#define PREFIX "impersonate-"
#define EXTRA_PREFIX PREFIX "extra-"
#define AUTHENTICATED "system:authenticated"
#define UNAUTHENTICATED "system:unauthenticated"

static bool has_prefix(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

bool impersonation_is_asked(const struct http_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (has_prefix(request->headers[i].name, PREFIX))
            return true;
    return false;
}

static void check(struct impersonation *out, struct access_request access)
{
    access.verb = "impersonate";
    access.version = "v1";
    out->checks[out->check_count++] = access;
}

static void check_user(struct arena *arena, const char *name, struct impersonation *out)
{
    const char *namespace = NULL, *account = NULL;
    if (service_account_split(arena, name, &namespace, &account))
        check(out, (struct access_request){
                       .group = "", .resource = "serviceaccounts", .namespace = namespace, .name = account});
    else
        check(out, (struct access_request){.group = "", .resource = "users", .name = name});
}

static bool is_in(const char *const *groups, size_t count, const char *group)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(groups[i], group) == 0)
            return true;
    return false;
}

/* Those that are asked for; without any, those that a service account is in. Who has a name is authenticated. */
static const char *const *groups_of(struct arena *arena, const struct http_request *request, const char *user,
                                    struct impersonation *out)
{
    const char **groups = arena_alloc(arena, (request->header_count + SERVICE_ACCOUNT_GROUPS + 2) * sizeof(*groups));
    const char *namespace = NULL, *account = NULL;
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, PREFIX "group") == 0) {
            groups[count++] = arena_string(arena, request->headers[i].value);
            check(out, (struct access_request){.group = "", .resource = "groups", .name = groups[count - 1]});
        }
    if (!count && service_account_split(arena, user, &namespace, &account))
        count = service_account_groups(arena, namespace, groups);
    if (strcmp(user, "system:anonymous") == 0) {
        if (!is_in(groups, count, UNAUTHENTICATED))
            groups[count++] = UNAUTHENTICATED;
    } else if (!is_in(groups, count, AUTHENTICATED) && !is_in(groups, count, UNAUTHENTICATED)) {
        groups[count++] = AUTHENTICATED;
    }
    return groups;
}

/* The key of an extra in lower case, its escapes undone; as it is if they are malformed. */
static const char *key_of(struct arena *arena, const char *header)
{
    char *key = arena_string(arena, header + strlen(EXTRA_PREFIX)), *plain = arena_string(arena, key), *to = plain;
    for (char *c = key; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
    for (const char *c = key; *c; c++) {
        if (*c != '%') {
            *to++ = *c;
            continue;
        }
        int high = hex_value(c[1]), low = high < 0 ? -1 : hex_value(c[2]);
        if (low < 0)
            return key;
        *to++ = (char)(high * 16 + low);
        c += 2;
    }
    *to = 0;
    return plain;
}

/* {"key":["value", ...], ...} in the order of first appearance; NULL without any. */
static const char *extra_of(struct arena *arena, const struct http_request *request, struct impersonation *out)
{
    cleanup_buffer struct buffer json = {0};
    const char **keys = arena_alloc(arena, (request->header_count + 1) * sizeof(*keys));
    for (size_t i = 0; i < request->header_count; i++) {
        keys[i] = has_prefix(request->headers[i].name, EXTRA_PREFIX) ? key_of(arena, request->headers[i].name) : NULL;
        if (keys[i])
            check(out, (struct access_request){.group = "authentication.k8s.io",
                                               .resource = "userextras",
                                               .subresource = keys[i],
                                               .name = arena_string(arena, request->headers[i].value)});
    }
    for (size_t i = 0; i < request->header_count; i++) {
        if (!keys[i])
            continue;
        buffer_add_char(&json, json.size ? ',' : '{');
        json_encode_string(&json, keys[i]);
        buffer_add_string(&json, ":[");
        const char *key = keys[i];
        for (size_t k = i; k < request->header_count; k++) {
            if (!keys[k] || strcmp(keys[k], key) != 0)
                continue;
            if (k > i)
                buffer_add_char(&json, ',');
            json_encode_string(&json, request->headers[k].value);
            keys[k] = k > i ? NULL : keys[k];
        }
        buffer_add_char(&json, ']');
    }
    if (!json.size)
        return NULL;
    buffer_add_char(&json, '}');
    return arena_string_n(arena, json.data, json.size);
}

int impersonation_read(struct arena *arena, const struct http_request *request, struct impersonation *out,
                       struct error *err)
{
    struct client_user *user = arena_alloc(arena, sizeof(*user));
    const char *name = http_request_header(request, PREFIX "user"), *uid = http_request_header(request, PREFIX "uid");
    *out = (struct impersonation){.user = user,
                                  .checks = arena_alloc(arena, (request->header_count + 1) * sizeof(*out->checks))};
    if (text_empty(name))
        return error_set(err, EINVAL, "requested groups, a uid or extras without impersonating a user");
    user->name = arena_string(arena, name);
    check_user(arena, user->name, out);
    user->groups = groups_of(arena, request, user->name, out);
    user->extra = extra_of(arena, request, out);
    if (!text_empty(uid)) {
        user->uid = arena_string(arena, uid);
        check(out, (struct access_request){.group = "authentication.k8s.io", .resource = "uids", .name = user->uid});
    }
    return 0;
}
