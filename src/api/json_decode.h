/* Parts of the decoder that other files of the room use. Private to api/. */
#ifndef CORACLE_API_JSON_DECODE_H
#define CORACLE_API_JSON_DECODE_H

#include "api/json.h"

/* Reads the JSON value of one field of `type` into its slot, which holds the field's present value. */
int json_decode_field(const struct api_type *type, const struct api_field *field, struct arena *arena, const char *json,
                      size_t size, void *slot, struct error *err);

/* What Go says of an instant that no RFC 3339 text could tell. */
#define TIME_OUT_OF_RANGE "year outside of range [0,9999]"

/* Reads RFC 3339 as metav1.Time does (whole seconds are kept; year 1 is "unset") or, if micro, as
 * metav1.MicroTime does. Errors are those of Go's time.Parse, code EINVAL; and TIME_OUT_OF_RANGE where the zone leads
 * out of the four digits that a year has: upstream takes such an instant, and could not read its own text of it. */
int json_parse_time(const char *text, bool micro, int64_t *instant, struct error *err);

#endif
