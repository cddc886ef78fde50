/* OpenAPI documents, made from the type descriptions: what kubectl explains, validates against and asks for
 * the parameters that a server understands. They never change while the program runs: make them once and keep
 * them. */
#ifndef CORACLE_API_OPENAPI_H
#define CORACLE_API_OPENAPI_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

/* What clients put in Accept to get the protobuf form, and the Content-Type that answers it: the first is no
 * valid media type, and clients refuse to read it back. */
#define OPENAPI_V2_ACCEPT_OLD "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#define OPENAPI_V2_ANSWER_OLD "application/octet-stream"
#define OPENAPI_V2_ACCEPT "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* /openapi/v2 as JSON; version is that of the server ("v1.35.0"). */
void openapi_v2_write(const char *version, struct buffer *out);
/* The same as gnostic's openapi_v2.Document, which clients before 1.24 ask for in order to validate; made from
 * the JSON. */
int openapi_v2_write_protobuf(const char *json, size_t size, struct buffer *out, struct error *err);
/* /openapi/v3: where the documents are, each with a hash of its content. */
void openapi_v3_write_index(const char *version, struct buffer *out);
/* /openapi/v3/PATH: "api/v1", "apis/apps/v1". Returns false when there is no such group version. */
bool openapi_v3_write(const char *path, const char *version, struct buffer *out);

#endif
