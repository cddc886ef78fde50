/* Protobuf from values, for tests of the decoder: what upstream's generated encoders make of the same object. */
#ifndef CORACLE_TEST_PROTOBUF_ENCODE_H
#define CORACLE_TEST_PROTOBUF_ENCODE_H

#include "api/type.h"
#include "base/buffer.h"

struct protobuf_style {
    bool backwards; /* fields in the opposite order */
    bool packed;    /* lists of integers in one piece */
};

/* Appends the message. */
void protobuf_encode(const struct api_type *type, const void *value, struct protobuf_style style, struct buffer *out);
/* Appends the prefix, and the envelope around the message. */
void protobuf_encode_object(const struct api_type *type, const char *api_version, const char *kind, const void *value,
                            struct protobuf_style style, struct buffer *out);
/* Pieces to put messages together by hand. */
void protobuf_put_varint(struct buffer *out, uint64_t value);
void protobuf_put_number(struct buffer *out, unsigned field, uint64_t value);
void protobuf_put_bytes(struct buffer *out, unsigned field, const void *data, size_t size);

#endif
