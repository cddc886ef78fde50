#include "api/service_account.h"

#include <string.h>

#define USER_PREFIX "system:serviceaccount:"

/* What is behind the prefix; NULL: another user. */
static const char *parts_of(const char *user)
{
    return user && strncmp(user, USER_PREFIX, strlen(USER_PREFIX)) == 0 ? user + strlen(USER_PREFIX) : NULL;
}

const char *service_account_user(struct arena *arena, const char *namespace, const char *name)
{
    return arena_printf(arena, USER_PREFIX "%s:%s", namespace, name);
}

bool service_account_is(const char *user, const char *namespace, const char *name)
{
    const char *parts = parts_of(user);
    size_t n = strlen(namespace);
    return parts && strncmp(parts, namespace, n) == 0 && parts[n] == ':' && strcmp(parts + n + 1, name) == 0;
}

bool service_account_split(struct arena *arena, const char *user, const char **namespace, const char **name)
{
    const char *parts = parts_of(user), *colon = parts ? strchr(parts, ':') : NULL;
    if (!colon || colon == parts || !colon[1] || strchr(colon + 1, ':'))
        return false;
    *namespace = arena_string_n(arena, parts, (size_t)(colon - parts));
    *name = arena_string(arena, colon + 1);
    return true;
}

size_t service_account_groups(struct arena *arena, const char *namespace, const char **groups)
{
    groups[0] = SERVICE_ACCOUNT_GROUP;
    groups[1] = arena_printf(arena, SERVICE_ACCOUNT_GROUP ":%s", namespace);
    return SERVICE_ACCOUNT_GROUPS;
}
