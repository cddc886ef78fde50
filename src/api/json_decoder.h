/* The state of a decode and the pieces that the decoder's files share: tokens (json_token.c), complaints
 * (json_complaint.c), scalars (json_scalar.c), maps (json_map.c), structs and lists (json_decode.c).
 *
 * A function that returns -1 has set decoder.fatal, or has found a syntax error: the caller of json_decode gets
 * its words from json_check_syntax. Private to api/. */
#ifndef CORACLE_API_JSON_DECODER_H
#define CORACLE_API_JSON_DECODER_H

#include <errno.h>

#include "api/json.h"
#include "api/json_text.h"
#include "base/buffer.h"

struct json_scratch {
    struct json_scratch *previous; /* NULL: the first, which lies on the stack */
    size_t size;
    size_t used;
    max_align_t data[];
};

/* An element of a list or map that is being read. */
struct json_element {
    struct json_element *next;
    max_align_t value[];
};

/* Where we are, innermost first: a field of a struct, an index in a list or a key of a map. */
struct json_frame {
    const struct json_frame *up;
    const struct api_type *type; /* of the struct that has the field; NULL: an index or a key */
    const char *name;            /* NULL: an index */
    size_t name_size;
    size_t index;
};

struct json_decoder {
    const char *p;
    const char *end;
    struct arena *arena;
    struct string_pool strings;
    struct json_report *report;
    int depth;
    bool failed;        /* what follows is set */
    struct error first; /* the first wrong type */
    struct error fatal; /* code 0: none, then a -1 means a syntax error */
    size_t memory;      /* of elements so far */
    size_t memory_max;
    struct json_scratch *scratch;
    struct buffer text; /* of the string that is being unescaped */
};

struct json_slice {
    const char *data;
    size_t size;
};

static inline void json_skip_blanks(struct json_decoder *d)
{
    while (d->p < d->end && (*d->p == ' ' || *d->p == '\n' || *d->p == '\r' || *d->p == '\t'))
        d->p++;
}

/* A syntax error: json_check_syntax finds its words. */
static inline int json_syntax(void)
{
    return -1;
}

static inline int json_enter(struct json_decoder *d)
{
    return ++d->depth > JSON_DEPTH_MAX ? json_syntax() : 0;
}

/* The string whose first byte, behind the quote, is d->p. The slice lies in the text or in d->text. */
static inline int json_decoder_string(struct json_decoder *d, struct json_slice *out)
{
    return json_read_string(&d->p, d->end, &d->text, &out->data, &out->size);
}

static inline int json_decode_null(struct json_decoder *d)
{
    if (d->end - d->p < 4 || memcmp(d->p, "null", 4) != 0)
        return json_syntax();
    d->p += 4;
    return 0;
}

/* Behind a member of a list or object: 1 there is another one, which d->p points to, 0 this was the last, -1. */
static inline int json_next_member(struct json_decoder *d, char close)
{
    json_skip_blanks(d);
    if (d->p >= d->end)
        return json_syntax();
    char c = *d->p++;
    if (c == close)
        return 0;
    if (c != ',')
        return json_syntax();
    json_skip_blanks(d);
    return 1;
}

/* Enters a list or object; 1 there is a member, which d->p points to, 0 it is empty, -1. */
static inline int json_first_member(struct json_decoder *d, char close)
{
    if (json_enter(d) < 0)
        return -1;
    d->p++;
    json_skip_blanks(d);
    if (d->p < d->end && *d->p == close) {
        d->p++;
        return 0;
    }
    return 1;
}

/* Zeroed memory until the release. */
void *json_scratch_take(struct json_decoder *d, size_t size);
/* Gives back everything taken since `used` of `block` was noted. */
void json_scratch_release(struct json_decoder *d, const struct json_scratch *block, size_t used);

/* The string behind the quote before d->p, for C strings: a NUL in it is an error. The slice lies in the input or
 * in d->text. */
int json_read_text(struct json_decoder *d, struct json_slice *out);
int json_read_number(struct json_decoder *d, struct json_slice *out);
/* true, false or null. */
int json_read_literal(struct json_decoder *d);
/* Passes over one value. */
int json_skip_value(struct json_decoder *d);

/* What Go's decoder calls the value at d->p. */
const char *json_token_name(const struct json_decoder *d);
/* "v1.PodSpec" of "io.k8s.api.core.v1.PodSpec". */
const char *json_go_type_name(const struct api_type *type);
/* Remembers the wrong type unless there was one before. `whole`: the list or map is meant, not its element. */
void json_wrong_type(struct json_decoder *d, const char *token, const struct api_field *f, bool whole,
                     const struct json_frame *at);
/* The value at d->p is of the wrong type: says so and passes over it. */
int json_skip_wrong_type(struct json_decoder *d, const struct api_field *f, bool whole, const struct json_frame *at);
/* Where an unmarshaler of its own wanted `wanted`, Go names no field, and decoding ends. */
int json_wrong_for_unmarshaler(struct json_decoder *d, const char *token, const char *wanted);
/* Adds to the report: at + name, as sigs.k8s.io/json spells a path. */
void json_report_problem(struct json_decoder *d, enum json_problem_kind kind, const struct json_frame *at,
                         const char *name, size_t name_size);

/* The value at d->p, which is not null, of any kind but a struct. */
int json_decode_scalar(struct json_decoder *d, const struct api_field *f, bool optional, void *slot,
                       const struct json_frame *at);
/* A map of scalars, on top of what the slot has. */
int json_decode_map(struct json_decoder *d, const struct api_field *f, struct any_array *slot,
                    const struct json_frame *at);
/* A zeroed element behind *tail, within the limit on memory; NULL with d->fatal set beyond it. */
void *json_element_new(struct json_decoder *d, struct json_element ***tail, size_t size);

#endif
