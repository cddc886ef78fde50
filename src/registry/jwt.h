/* JSON Web Tokens in compact form (RFC 7515), signed with ES256: header.payload.signature. Nothing else is read or
 * written: no other algorithm, no critical extension.
 *
 * A key may be used by any thread once it is made. */
#ifndef CORACLE_REGISTRY_JWT_H
#define CORACLE_REGISTRY_JWT_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* A longer token is refused. */
#define JWT_SIZE_MAX (16 * 1024)

struct jwt_key;

/* From a private P-256 key in PEM form. */
int jwt_key_new(const char *pem, struct jwt_key **out, struct error *err);
/* NULL is fine. */
void jwt_key_free(struct jwt_key *key);
/* Appends the public half as a set of one JSON Web Key (RFC 7517), which is how others verify. */
void jwt_key_write_set(const struct jwt_key *key, struct buffer *out);

/* Appends a token with the payload, which is JSON. */
int jwt_sign(const struct jwt_key *key, const char *payload, size_t size, struct buffer *out, struct error *err);
/* Appends the payload of a token that the key has signed; else -1, and nothing of the token is to be believed. */
int jwt_verify(const struct jwt_key *key, const char *token, size_t size, struct buffer *payload, struct error *err);

#endif
