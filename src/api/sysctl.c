#include "api/sysctl.h"

#include <string.h>

#include "base/cleanup.h"

char *sysctl_normal(const char *name)
{
    char *out = mem_string(name);
    if (name[strcspn(name, "./")] == '/')
        for (char *c = out; *c; c++)
            *c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
    return out;
}

enum sysctl_scope sysctl_scope_of(const char *normal)
{
    static const struct {
        const char *prefix;
        enum sysctl_scope scope;
    } scopes[] = {
        {"net.", SYSCTL_OF_NETWORK},
        {"kernel.shm", SYSCTL_OF_IPC},
        {"kernel.msg", SYSCTL_OF_IPC},
        {"fs.mqueue.", SYSCTL_OF_IPC},
    };
    if (strcmp(normal, "kernel.sem") == 0)
        return SYSCTL_OF_IPC;
    for (size_t i = 0; i < ARRAY_COUNT(scopes); i++)
        if (strncmp(normal, scopes[i].prefix, strlen(scopes[i].prefix)) == 0)
            return scopes[i].scope;
    return SYSCTL_OF_NODE;
}
