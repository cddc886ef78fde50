/* Label and field selectors: parsing with upstream's grammar and messages, and matching. A selector lives in
 * the arena it was parsed into and is immutable: any thread may match. */
#ifndef CORACLE_API_SELECTOR_H
#define CORACLE_API_SELECTOR_H

#include <stdbool.h>

#include "api/type.h"
#include "base/arena.h"
#include "base/error.h"

/* A label or field selector with more requirements is refused. */
#define SELECTOR_REQUIREMENT_MAX 1000

struct label_selector;
struct selector;
struct field_selector;

/* "a=b,c!=d,e in (f,g),!h,i>3". Empty text selects everything. */
int selector_parse(struct arena *arena, const char *text, const struct selector **out, struct error *err);
/* From a metav1.LabelSelector: NULL selects nothing, an empty one everything. */
int selector_from_label_selector(struct arena *arena, const struct label_selector *from, const struct selector **out,
                                 struct error *err);
/* Whether a LabelSelector selects, straight from its description: for one look, where selector_matches is for many. One
 * that cannot be read selects nothing. */
bool label_selector_matches(const struct label_selector *selector, const struct string_map *labels);
/* From a map (Service.spec.selector, ReplicationController-style): all pairs must be there; empty selects nothing. */
const struct selector *selector_from_map(struct arena *arena, const struct string_map *map);
bool selector_matches(const struct selector *selector, const struct string_map *labels);
bool selector_is_empty(const struct selector *selector);
/* Canonical text, as Scale.status.selector carries it. */
const char *selector_text(struct arena *arena, const struct selector *selector);

/* "metadata.name=x,status.phase!=Running". */
int field_selector_parse(struct arena *arena, const char *text, const struct field_selector **out, struct error *err);
/* Checks that the resource supports every field named, with upstream's message: `field label not supported: x`. */
int field_selector_check(const struct field_selector *selector, const struct api_resource *resource, struct error *err);
bool field_selector_matches(const struct field_selector *selector, const struct api_resource *resource,
                            const void *value);
/* The value that the selector demands of a field with "=" (for an index), or NULL. */
const char *field_selector_required(const struct field_selector *selector, const char *field);

#endif
