/* The environment variables, command and arguments of a container: literal values, field, resource, ConfigMap
 * and Secret references, service variables, and $(VAR) expansion. Pure: what it needs is handed in. */
#ifndef CORACLE_NODE_ENVIRONMENT_H
#define CORACLE_NODE_ENVIRONMENT_H

#include <stdbool.h>

#include "api/object.h"
#include "base/arena.h"
#include "base/error.h"

/* Variables of one container, service variables included; more is an error (E2BIG). */
#define ENVIRONMENT_MAX 16384
/* What an expansion may come to, and all variables together: no kernel starts a program with more (MAX_ARG_STRLEN, and a
 * quarter of the stack). */
#define ENVIRONMENT_VALUE_MAX (128 << 10)
#define ENVIRONMENT_BYTES_MAX (8 << 20)

struct environment_source {
    const struct pod *pod;
    const char *pod_ip; /* NULL: none yet */
    const char *pod_ip6; /* the second one; NULL: none */
    const char *host_ip;
    const char *host_ip6; /* NULL: none */
    int64_t node_cpu_milli; /* allocatable of the node: what an unset limit stands for */
    int64_t node_memory;
    int64_t node_disk;
    /* The object of the pod's namespace, borrowed, or NULL. */
    struct object *(*config_map)(void *context, const char *name);
    struct object *(*secret)(void *context, const char *name);
    /* Calls visit for each Service of a namespace. */
    void (*services)(void *context, const char *namespace, void (*visit)(void *visitor, const struct service *service),
                     void *visitor);
    void *context;
    /* The value of a variable from a file, which has been read; NULL in *out: it is left out. NULL: there are no files. */
    int (*file)(void *file_context, const struct file_key_selector *selector, const char **out, struct error *err);
    void *file_context;
};

struct environment {
    struct string_pair *items; /* no name twice; a later definition replaced an earlier one in place */
    size_t count;
};

/* All variables of the container. Fails with upstream's text for a reference that cannot be resolved
 * (`configmap "x" not found`), which makes CreateContainerConfigError. */
int environment_build(struct arena *arena, const struct environment_source *source, const struct container *container,
                      struct environment *out, struct error *err);
/* The value of a variable, or NULL. */
const char *environment_get(const struct environment *environment, const char *name);
/* Expands $(VAR) from the environment; $$ stands for $; a reference to nothing stays as it is. NULL with err set (E2BIG)
 * when that is more than ENVIRONMENT_VALUE_MAX. */
const char *environment_expand(struct arena *arena, const struct environment *environment, const char *text,
                               struct error *err);
/* The same of a subPathExpr, whose references all have to have a value, and one that is not empty: otherwise NULL with
 * upstream's `missing value for A, B` (ENOENT). */
const char *environment_expand_path(struct arena *arena, const struct environment *environment, const char *text,
                                    struct error *err);

/* The value of a downward API field ("metadata.labels['app']", "status.podIP"). */
int pod_field_value(struct arena *arena, const struct environment_source *source, const char *path, const char **out,
                    struct error *err);
/* A container or init container of the pod by its name, or NULL. */
const struct container *pod_find_container(const struct pod *pod, const char *name);
/* The value of a resourceFieldRef for the container, divided and rounded up. */
int pod_resource_value(struct arena *arena, const struct environment_source *source, const struct container *container,
                       const char *resource, const char *divisor, const char **out, struct error *err);

#endif
