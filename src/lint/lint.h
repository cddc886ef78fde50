/* Lint: manifests that are valid, and invite an outage. One table of checks, each a pure function of an object and of
 * what else its namespace holds; no clock, no store, no I/O. The registry turns findings into Warning headers,
 * `coracle lint` into lines for people and for CI. Nothing is ever refused for a finding.
 *
 * Deployments, ReplicaSets, Pods and Services are looked at; what a controller made is not: what it was made from
 * was. A finding is silenced by an annotation of the object that it is about, or of the Service that it needs. */
#ifndef CORACLE_LINT_LINT_H
#define CORACLE_LINT_LINT_H

#include <stdbool.h>
#include <stddef.h>

#include "api/types.h"
#include "base/arena.h"
#include "base/buffer.h"

/* Ids of checks, separated by commas. */
#define LINT_IGNORE_ANNOTATION "coracle.dev/lint-ignore"
/* Findings about one object; further ones are only counted. */
#define LINT_FINDING_MAX 256
/* Neighbours of each kind that are worth handing in: what lint costs a write has a bound. */
#define LINT_NEIGHBOUR_MAX 256
/* A fixed delay of a probe that is shorter is not worth a startup probe. */
#define LINT_INITIAL_DELAY_MIN 10

/* A root value of its resource, with defaults. */
struct lint_object {
    const struct api_resource *resource;
    const void *value;
};

/* What a container of a pod uses now. */
struct lint_memory {
    const struct string_map *labels; /* of the pod */
    const char *pod, *container;
    int64_t bytes;
};

/* What else there is in the namespace (the object itself may be among it), and the nodes of the cluster. */
struct lint_set {
    const struct lint_object *items;
    size_t count;
    const struct lint_memory *memory; /* of pods in the namespace, as far as it is known */
    size_t memory_count;
    bool nodes_known; /* all nodes are among the items: what needs to know them is checked */
};

struct lint_check {
    const char *id;
    const char *title;  /* what is found, for the table in docs/lint.md */
    const char *reason; /* one sentence without its full stop: what goes wrong */
    const char *remedy; /* one sentence without its full stop: what to do */
};
extern const struct lint_check *const lint_checks[];
extern const size_t lint_check_count;

struct lint_finding {
    const struct lint_check *check;
    const struct lint_object *object; /* the one that was looked at, or a workload behind it when that is a Service */
    const char *field;                /* "spec.template.spec.containers[0].image" */
    const char *problem;              /* what is there */
};

/* Texts live in the arena. */
struct lint_findings {
    struct arena *arena;
    struct lint_finding items[LINT_FINDING_MAX];
    size_t count;
    size_t dropped; /* beyond LINT_FINDING_MAX */
};

/* Whether objects of `neighbour` can make a difference to what is found about `resource`. */
bool lint_needs(const struct api_resource *resource, const struct api_resource *neighbour);
/* Appends what is found. `object` must stay as long as the findings. Costs at most the product of the set's size and
 * the number of checks. */
void lint_object(const struct lint_object *object, const struct lint_set *set, struct lint_findings *findings);
/* Whether `list` has a finding that says the same about the same. */
bool lint_findings_have(const struct lint_findings *list, const struct lint_finding *finding);
/* Appends `FIELD: PROBLEM: REASON; REMEDY [ID]`; a workload behind the Service that was looked at is named first. NULL:
 * the finding is about no object. */
void lint_write(const struct lint_finding *finding, const struct lint_object *looked_at, struct buffer *out);
/* Appends the table of checks in Markdown, as docs/lint.md holds it. */
void lint_write_table(struct buffer *out);

#endif
