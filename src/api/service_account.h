/* Who a service account is to authorization: the name of its user, and its groups. Pure functions. */
#ifndef CORACLE_API_SERVICE_ACCOUNT_H
#define CORACLE_API_SERVICE_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

/* "system:serviceaccounts" and "system:serviceaccounts:NAMESPACE". */
#define SERVICE_ACCOUNT_GROUP "system:serviceaccounts"
#define SERVICE_ACCOUNT_GROUPS 2

/* "system:serviceaccount:NAMESPACE:NAME", in the arena. */
const char *service_account_user(struct arena *arena, const char *namespace, const char *name);
/* Whether `user` is that name; NULL is none. */
bool service_account_is(const char *user, const char *namespace, const char *name);
/* Takes such a name apart, into the arena; false: it is none, or lacks a part. */
bool service_account_split(struct arena *arena, const char *user, const char **namespace, const char **name);
/* Writes SERVICE_ACCOUNT_GROUPS of them; returns that number. */
size_t service_account_groups(struct arena *arena, const char *namespace, const char **groups);

#endif
