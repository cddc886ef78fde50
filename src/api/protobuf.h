/* Protobuf bodies, which Go clients such as kubectl send in place of JSON. The C structs are filled as json_decode
 * fills them from the JSON of the same object. Thread-safe: no global state.
 *
 * Numbers of fields are those of upstream's generated.proto; they stand in the descriptions (api_field.pb). */
#ifndef CORACLE_API_PROTOBUF_H
#define CORACLE_API_PROTOBUF_H

#include "api/type.h"
#include "base/arena.h"
#include "base/error.h"

#define PROTOBUF_CONTENT_TYPE "application/vnd.kubernetes.protobuf"

/* Reads a message of `type` into *value, which the caller has zeroed (type->size bytes). All that it points to comes
 * from the arena, nothing points into `data`. As in upstream's decoder, unknown fields are passed over, a message that
 * is given twice is merged, a scalar's last value counts. Bytes that are not UTF-8 become U+FFFD, which is how they
 * leave upstream's server. A string with a NUL character is an error: C strings hold the values.
 *
 * err->code: EINVAL the message is broken or does not fit the type ("unexpected EOF", "proto: wrong wireType = 0 for
 * field Name"), E2BIG it takes more than JSON_MEMORY_MAX. */
int protobuf_decode(const struct api_type *type, struct arena *arena, const void *data, size_t size, void *value,
                    struct error *err);

/* Reads the body of a request: the prefix "k8s\0" and a runtime.Unknown with the kind and the message. Sets kind and
 * apiVersion of the value to what the envelope names. An envelope of another kind than `type` leaves the rest of the
 * value as it is: the caller compares the kinds anyway.
 *
 * err->code: EBADMSG it does not begin with an envelope ("provided data does not appear to be a protobuf message,
 * expected prefix [107 56 115 0]"), else as protobuf_decode. */
int protobuf_decode_object(const struct api_type *type, struct arena *arena, const void *data, size_t size, void *value,
                           struct error *err);

#endif
