/* The encoding that all protobuf messages share: a sequence of tags, each a field's number and a wire type, with values
 * behind them. Errors have the words of the decoders that upstream generates, code EINVAL. Private to api/. */
#ifndef CORACLE_API_PROTOBUF_WIRE_H
#define CORACLE_API_PROTOBUF_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum wire_type { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_GROUP, WIRE_GROUP_END, WIRE_FIXED32 };

/* What is left of a message. */
struct wire {
    const unsigned char *p;
    const unsigned char *end;
};

struct wire_tag {
    int32_t number; /* above 0 */
    uint8_t type;   /* enum wire_type, or 6 or 7, which do not exist */
};

int wire_read_varint(struct wire *wire, uint64_t *value, struct error *err);
/* A length and as many bytes. */
int wire_read_bytes(struct wire *wire, struct wire *bytes, struct error *err);
/* 8 bytes, the lowest first. */
int wire_read_fixed64(struct wire *wire, uint64_t *value, struct error *err);
/* `message` is the name of the type for errors. */
int wire_read_tag(struct wire *wire, struct wire_tag *tag, const char *message, struct error *err);
/* Passes over the value behind a tag: a group with all that is in it. */
int wire_skip(struct wire *wire, const struct wire_tag *tag, struct error *err);
/* The error of a field whose value is encoded in another way than its type demands; `field` as in JSON. */
int wire_wrong_type(const struct wire_tag *tag, const char *field, struct error *err);

static inline size_t wire_left(const struct wire *wire)
{
    return (size_t)(wire->end - wire->p);
}

#endif
