/* What kind of resource a name stands for, as upstream tells them apart. */
#ifndef CORACLE_API_RESOURCE_NAME_H
#define CORACLE_API_RESOURCE_NAME_H

#include <stdbool.h>
#include <string.h>

#define HUGE_PAGE_PREFIX "hugepages-"

/* "cpu", "hugepages-2Mi", "x.kubernetes.io/y": of Kubernetes itself (IsNativeResource). */
static inline bool resource_name_is_native(const char *name)
{
    return !strchr(name, '/') || strstr(name, "kubernetes.io/");
}

/* "example.com/gpu": declared by whoever has it (IsExtendedResourceName). */
static inline bool resource_name_is_extended(const char *name)
{
    return !resource_name_is_native(name) && strncmp(name, "requests.", strlen("requests.")) != 0;
}

static inline bool resource_name_is_huge_page(const char *name)
{
    return strncmp(name, HUGE_PAGE_PREFIX, strlen(HUGE_PAGE_PREFIX)) == 0;
}

#endif
