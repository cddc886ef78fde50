/* Validation errors: what is wrong, at which field, in the words of apimachinery's field.Error. A list of
 * them turns into the answer 422 (api/status.h).
 *
 *     struct api_field_errors errors = {.arena = arena};
 *     api_validate_create(resource, value, &errors);
 *     if (errors.count) ...
 *
 * A path is a chain of frames on the stack, so that a valid object costs no memory:
 *
 *     const struct api_path *spec = PATH(NULL, "spec");
 *     validate_containers(errors, PATH(spec, "containers"), ...);
 */
#ifndef CORACLE_API_FIELD_ERROR_H
#define CORACLE_API_FIELD_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "api/type.h"
#include "base/arena.h"
#include "base/buffer.h"

/* Further errors of one object are only counted: beyond this number, or once their texts take this much. */
#define API_FIELD_ERROR_MAX 1000
#define API_FIELD_TEXT_MAX (1024 * 1024)
/* A longer value is cut in its message. */
#define API_FIELD_SHOWN_MAX (16 * 1024)

enum api_field_error_type {
    FIELD_NOT_FOUND,
    FIELD_REQUIRED,
    FIELD_DUPLICATE,
    FIELD_INVALID,
    FIELD_NOT_SUPPORTED,
    FIELD_FORBIDDEN,
    FIELD_TOO_LONG,
    FIELD_TOO_MANY,
    FIELD_INTERNAL,
    FIELD_TYPE_INVALID,
};

struct api_field_error {
    enum api_field_error_type type;
    const char *field;  /* "spec.containers[0].name" */
    const char *detail; /* "Required value"; `Invalid value: "x": must be ...` */
};

/* A growing list; all of it lives in the arena. */
struct api_field_errors {
    struct arena *arena;
    struct api_field_error *items;
    size_t count;
    size_t capacity;
    size_t dropped;
    size_t text_size; /* of all details */
};

/* One step of a path: a field, an index (key NULL, name NULL) or a map key. */
struct api_path {
    const struct api_path *parent;
    const char *name;
    const char *key;
    size_t index;
};

/* The frames live until the end of the enclosing block. */
#define PATH(parent_, name_) (&(const struct api_path){(parent_), (name_), NULL, 0})
#define PATH_INDEX(parent_, index_) (&(const struct api_path){(parent_), NULL, NULL, (index_)})
#define PATH_KEY(parent_, key_) (&(const struct api_path){(parent_), NULL, (key_), 0})

/* "spec.containers[0].name". A NULL path is "<nil>", as Go prints it. */
void api_path_write(const struct api_path *path, struct buffer *out);

/* Whether further errors are only counted: expensive values need not be rendered then. */
bool field_errors_full(const struct api_field_errors *errors);

/* The machine word of a type ("FieldValueInvalid") and the one that people read ("Invalid value"). */
const char *api_field_error_reason(enum api_field_error_type type);
const char *api_field_error_title(enum api_field_error_type type);

/* Each appends one error; `detail` may be NULL or "". Texts are copied. */
void field_required(struct api_field_errors *errors, const struct api_path *path, const char *detail);
void field_forbidden(struct api_field_errors *errors, const struct api_path *path, const char *detail);
/* value NULL is the empty string. */
void field_invalid(struct api_field_errors *errors, const struct api_path *path, const char *value,
                   const char *detail);
void field_invalid_int(struct api_field_errors *errors, const struct api_path *path, int64_t value,
                       const char *detail);
void field_invalid_bool(struct api_field_errors *errors, const struct api_path *path, bool value,
                        const char *detail);
/* What upstream shows of a pointer to nothing: a text of that name. */
#define FIELD_NULL "null"
#define FIELD_NULL_JSON "\"" FIELD_NULL "\""
/* The value is given as JSON, or as any text that goes in as it is. */
void field_invalid_json(struct api_field_errors *errors, const struct api_path *path, const char *json,
                        const char *detail);
/* A struct of a described type; NULL prints as "null". */
void field_invalid_struct(struct api_field_errors *errors, const struct api_path *path, const struct api_type *type,
                          const void *value, const char *detail);
void field_invalid_map(struct api_field_errors *errors, const struct api_path *path, const struct string_map *map,
                       const char *detail);
void field_invalid_strings(struct api_field_errors *errors, const struct api_path *path,
                           const struct string_array *array, const char *detail);
void field_duplicate(struct api_field_errors *errors, const struct api_path *path, const char *value);
void field_duplicate_json(struct api_field_errors *errors, const struct api_path *path, const char *json);
void field_duplicate_struct(struct api_field_errors *errors, const struct api_path *path, const struct api_type *type,
                            const void *value, const char *detail);
/* `supported` is NULL-terminated, in the order in which upstream lists it. */
void field_not_supported(struct api_field_errors *errors, const struct api_path *path, const char *value,
                         const char *const *supported);
/* As above, of a value given as JSON. */
void field_not_supported_json(struct api_field_errors *errors, const struct api_path *path, const char *json,
                              const char *const *supported);
void field_not_found(struct api_field_errors *errors, const struct api_path *path, const char *value);
void field_too_long(struct api_field_errors *errors, const struct api_path *path, int max_bytes);
void field_too_many(struct api_field_errors *errors, const struct api_path *path, int count, int max);

/* Text in double quotes as Go's %q writes it. */
void go_quote(struct buffer *out, const char *text);

#endif
