/* The JSON codec: between bytes and the C structs of api/types.h, in one pass, without a tree in between.
 * Thread-safe: no global state. */
#ifndef CORACLE_API_JSON_H
#define CORACLE_API_JSON_H

#include "api/type.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

/* Deeper nesting is an error. */
#define JSON_DEPTH_MAX 500
/* A type has no more fields. */
#define JSON_FIELD_MAX 128
/* Unknown and duplicate fields that are reported by path; more are only counted. */
#define JSON_PROBLEM_MAX 100
/* Bytes that the elements of lists and maps of one decoded text may take: "[{},{},..." in a few megabytes of
 * text would otherwise ask for gigabytes. */
#define JSON_MEMORY_MAX (128 << 20)

enum json_problem_kind { JSON_UNKNOWN_FIELD, JSON_DUPLICATE_FIELD };

struct json_problem {
    enum json_problem_kind kind;
    const char *path; /* "spec.template.spec.containers[0].imag", in the arena of the decode */
};

/* What a lenient decoder passed over; the layer above makes an error (fieldValidation=Strict) or Warning
 * headers (Warn) of it, in upstream's words: `unknown field "spec.x"`, `duplicate field "spec.y"`. */
struct json_report {
    struct json_problem items[JSON_PROBLEM_MAX];
    size_t count;
    size_t dropped;
};

/* Reads a JSON object of `type` into *value, which the caller has zeroed (type->size bytes). All that it
 * points to comes from the arena, nothing points into `json`. report may be NULL. Errors carry the words
 * that upstream's decoder has ("json: cannot unmarshal string into Go struct field ...", "quantities must
 * match the regular expression ...") with the path. Wrong types, bad UTF-8, numbers out of range, trailing
 * text and nesting beyond JSON_DEPTH_MAX are errors; null leaves a field unset. A string with a NUL
 * character is an error: C strings hold the values.
 *
 * err->code: EBADMSG the text is not JSON (err->text is what Go's scanner says, "unexpected end of JSON input"),
 * EINVAL it does not fit the type, E2BIG it takes more than JSON_MEMORY_MAX. */
int json_decode(const struct api_type *type, struct arena *arena, const char *json, size_t size, void *value,
                struct json_report *report, struct error *err);

/* The same for what json_encode has written and has been kept: without a limit on memory, since defaults and admission
 * may have made more of an object than its text had asked for. */
int json_decode_stored(const struct api_type *type, struct arena *arena, const char *json, size_t size, void *value,
                       struct error *err);

/* Appends the value as upstream's encoder writes it: no blanks, fields in the order of the description, zero
 * values left out unless the field is required or marked always, map keys sorted, HTML characters escaped
 * as Go does. */
void json_encode(const struct api_type *type, const void *value, struct buffer *out);

/* Appends a JSON string with its quotes. */
void json_encode_string(struct buffer *out, const char *text);
/* Appends a finite number in the shortest form that reads back as the same, spelled as Go spells it. */
void json_encode_double(struct buffer *out, double value);

/* A deep copy in the arena. */
void *api_copy(struct arena *arena, const struct api_type *type, const void *value);
/* Deep copy into *to (type->size bytes). */
void api_copy_into(struct arena *arena, const struct api_type *type, const void *value, void *to);
/* Deep equality as apimachinery's equality.Semantic has it: nil and empty lists and maps are equal,
 * quantities compare by value. */
bool api_equal(const struct api_type *type, const void *a, const void *b);
/* Sets every unset field that has a default in its description, throughout the value. */
void api_set_declared_defaults(struct arena *arena, const struct api_type *type, void *value);

#endif
