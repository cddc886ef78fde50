/* What a gRPC server's answer to a health check says. Pure: no input reaches beyond its end. */
#ifndef CORACLE_NODE_GRPC_ANSWER_H
#define CORACLE_NODE_GRPC_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "node/grpc_probe.h"

/* A gRPC message begins with a flag and its length. */
#define GRPC_PREFIX_SIZE 5

/* gRPC's code for an HTTP status that came without one. */
int grpc_code_of_http(int status);
/* The status in a HealthCheckResponse with its prefix: an enum in field 1; absent is 0. -1 when the message is not one.
 */
int grpc_answer_status(const char *data, size_t size);
/* The text of a grpc-message header, which is percent-encoded. What is not text is replaced. */
void grpc_answer_message(const uint8_t *value, size_t size, char out[GRPC_MESSAGE_MAX]);

#endif
