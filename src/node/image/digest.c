/* SHA-256 digests, by OpenSSL. */
#include "node/image/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"

/* OpenSSL fails here only for lack of memory, which base/ treats as the end of the process as well. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

void image_digest_start(struct digest *digest)
{
    if (!digest->context)
        digest->context = EVP_MD_CTX_new();
    must(digest->context && EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL));
}

void image_digest_add(struct digest *digest, const void *data, size_t size)
{
    must(EVP_DigestUpdate(digest->context, data, size));
}

void image_digest_finish(struct digest *digest, char out[DIGEST_TEXT_SIZE])
{
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    must(EVP_DigestFinal_ex(digest->context, value, &size));
    assert(size == DIGEST_HEX_SIZE / 2);
    memcpy(out, DIGEST_PREFIX, strlen(DIGEST_PREFIX));
    hex_encode(value, size, out + strlen(DIGEST_PREFIX));
}

void image_digest_discard(struct digest *digest)
{
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

void image_digest_of(const void *data, size_t size, char out[DIGEST_TEXT_SIZE])
{
    cleanup_digest struct digest digest = {0};
    image_digest_start(&digest);
    image_digest_add(&digest, data, size);
    image_digest_finish(&digest, out);
}

bool image_digest_valid(const char *text)
{
    size_t prefix = strlen(DIGEST_PREFIX);
    return strncmp(text, DIGEST_PREFIX, prefix) == 0 && strlen(text) == prefix + DIGEST_HEX_SIZE &&
           strspn(text + prefix, "0123456789abcdef") == DIGEST_HEX_SIZE;
}

const char *image_digest_hex(const char *digest)
{
    assert(image_digest_valid(digest));
    return digest + strlen(DIGEST_PREFIX);
}

void image_digest_chain(const char *parent, const char *diff_id, char out[DIGEST_TEXT_SIZE])
{
    if (!*parent) {
        memcpy(out, diff_id, DIGEST_TEXT_SIZE);
        return;
    }
    char text[2 * DIGEST_TEXT_SIZE];
    int n = snprintf(text, sizeof(text), "%s %s", parent, diff_id);
    image_digest_of(text, (size_t)n, out);
}
