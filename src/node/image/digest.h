/* SHA-256 digests in the form of the OCI image specification: "sha256:" and 64 lower-case hexadecimal digits. */
#ifndef CORACLE_NODE_IMAGE_DIGEST_H
#define CORACLE_NODE_IMAGE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_TEXT_SIZE 72 /* with the NUL */
#define DIGEST_PREFIX "sha256:"
#define DIGEST_HEX_SIZE 64

struct evp_md_ctx_st;

/* A running hash. Start with image_digest_start, release with image_digest_discard (finished or not). */
struct digest {
    struct evp_md_ctx_st *context;
};

void image_digest_start(struct digest *digest);
void image_digest_add(struct digest *digest, const void *data, size_t size);
/* Writes the digest; start again before adding more. */
void image_digest_finish(struct digest *digest, char out[DIGEST_TEXT_SIZE]);
void image_digest_discard(struct digest *digest);
#define cleanup_digest __attribute__((cleanup(image_digest_discard)))

void image_digest_of(const void *data, size_t size, char out[DIGEST_TEXT_SIZE]);
/* Whether text is a digest that this store can check. */
bool image_digest_valid(const char *text);
/* The digits of a valid digest. */
const char *image_digest_hex(const char *digest);
/* The chain ID of a layer upon `parent` ("" for the lowest), as the OCI specification defines it. */
void image_digest_chain(const char *parent, const char *diff_id, char out[DIGEST_TEXT_SIZE]);

#endif
