/* What the checks share: the workload that they look at, and its neighbours. Private to lint/. */
#ifndef CORACLE_LINT_PRIVATE_H
#define CORACLE_LINT_PRIVATE_H

#include "api/field_error.h"
#include "api/pod_containers.h"
#include "api/selector.h"
#include "lint/lint.h"

/* A Deployment, ReplicaSet or Pod, seen as what runs pods. */
struct lint_workload {
    const struct lint_object *object;
    const struct object_meta *meta;
    const struct object_meta *pod_meta; /* the template's; a pod's own */
    const struct pod_spec *spec;
    const char *spec_path;                 /* "spec.template.spec" or "spec" */
    const struct label_selector *selector; /* NULL: a pod */
    const struct deployment *deployment;   /* NULL: something else */
    int replicas;
};

/* One check on its way. */
struct lint_run {
    const struct lint_check *check;
    const struct lint_set *set;
    const struct lint_object *service; /* the Service that was looked at; NULL: each of the set that fits */
    struct lint_findings *findings;
};

/* False when the object runs no pods or a controller looks after it. */
bool lint_workload_of(const struct lint_object *object, struct lint_workload *out);
/* The next Service that sends the workload traffic and does not silence the check, from *position on; or NULL. */
const struct service *lint_next_service(const struct lint_run *run, const struct lint_workload *workload,
                                        size_t *position);
/* The next workload of the set that is not `but` (NULL: any), from *position on. */
bool lint_next_workload(const struct lint_run *run, const struct lint_object *but, size_t *position,
                        struct lint_workload *out);
bool lint_service_selects(const struct service *service, const struct lint_workload *workload);
bool lint_selector_matches(const struct lint_run *run, const struct label_selector *selector,
                           const struct string_map *labels);

/* Appends a finding. `field` is a path below the object. */
void lint_find(struct lint_run *run, const struct lint_workload *workload, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for a field of a container or sidecar of the workload; `field` "" is the container itself. */
void lint_find_container(struct lint_run *run, const struct lint_workload *workload, const struct container *container,
                         const char *field, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* probes.c, replicas.c, containers.c: the checks. */
typedef void lint_function(struct lint_run *run, const struct lint_workload *workload);
lint_function lint_readiness_missing, lint_initial_delay, lint_same_probes, lint_grace_period;
lint_function lint_one_replica, lint_anti_affinity, lint_max_unavailable, lint_selector_overlap;
lint_function lint_mutable_tag, lint_requests_missing, lint_memory_limit;

#endif
