/* Compact tokens, ES256 alone. */
#include "registry/jwt.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"

/* Bytes of one coordinate or of half a signature on P-256. */
#define HALF 32
#define SIGNATURE_SIZE (2 * HALF)
#define DER_MAX 128

struct jwt_key {
    EVP_PKEY *pair;
    char id[BASE64URL_SIZE(SHA256_DIGEST_LENGTH) + 1];
    char x[BASE64URL_SIZE(HALF) + 1], y[BASE64URL_SIZE(HALF) + 1];
    char *header; /* encoded; the same for every token */
};

static void free_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

static void free_signature(ECDSA_SIG **signature)
{
    ECDSA_SIG_free(*signature);
}

static int refuse(struct error *err, const char *why)
{
    ERR_clear_error();
    return error_set(err, EINVAL, "%s", why);
}

static void add_base64url(struct buffer *out, const void *data, size_t size)
{
    base64url_encode(data, size, buffer_reserve(out, BASE64URL_SIZE(size)));
    out->size += BASE64URL_SIZE(size);
    out->data[out->size] = 0;
}

/* ---- Keys ---- */

/* The identity of a key is the hash of its public half, as upstream has it. */
static bool name_key(struct jwt_key *key)
{
    unsigned char *der = NULL, hash[SHA256_DIGEST_LENGTH];
    int size = i2d_PUBKEY(key->pair, &der);
    if (size <= 0)
        return false;
    SHA256(der, (size_t)size, hash);
    OPENSSL_free(der);
    base64url_encode(hash, sizeof(hash), key->id);
    return true;
}

static bool read_coordinate(const EVP_PKEY *pair, const char *name, char *out)
{
    BIGNUM *number = NULL;
    unsigned char bytes[HALF];
    bool ok = EVP_PKEY_get_bn_param(pair, name, &number) == 1 && BN_bn2binpad(number, bytes, HALF) == HALF;
    if (ok)
        base64url_encode(bytes, HALF, out);
    BN_free(number);
    return ok;
}

int jwt_key_new(const char *pem, struct jwt_key **out, struct error *err)
{
    struct jwt_key *key = mem_zero(1, sizeof(*key));
    BIO *bio = BIO_new_mem_buf(pem, -1);
    key->pair = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!key->pair || EVP_PKEY_get_bits(key->pair) != HALF * 8 || !name_key(key) ||
        !read_coordinate(key->pair, OSSL_PKEY_PARAM_EC_PUB_X, key->x) ||
        !read_coordinate(key->pair, OSSL_PKEY_PARAM_EC_PUB_Y, key->y)) {
        jwt_key_free(key);
        return refuse(err, "the key of service account tokens is not an ECDSA key on P-256");
    }
    cleanup_buffer struct buffer header = {0}, encoded = {0};
    buffer_printf(&header, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", key->id);
    add_base64url(&encoded, header.data, header.size);
    key->header = buffer_steal(&encoded, NULL);
    *out = key;
    return 0;
}

void jwt_key_free(struct jwt_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pair);
    free(key->header);
    free(key);
}

void jwt_key_write_set(const struct jwt_key *key, struct buffer *out)
{
    buffer_printf(out,
                  "{\"keys\":[{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"P-256\",\"alg\":\"ES256\","
                  "\"x\":\"%s\",\"y\":\"%s\"}]}",
                  key->id, key->x, key->y);
}

/* ---- Signing ---- */

/* From OpenSSL's form of a signature to the two numbers one behind the other. */
static bool flatten(const unsigned char *der, size_t size, unsigned char out[SIGNATURE_SIZE])
{
    const BIGNUM *r, *s;
    __attribute__((cleanup(free_signature))) ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)size);
    if (!signature)
        return false;
    ECDSA_SIG_get0(signature, &r, &s);
    return BN_bn2binpad(r, out, HALF) == HALF && BN_bn2binpad(s, out + HALF, HALF) == HALF;
}

int jwt_sign(const struct jwt_key *key, const char *payload, size_t size, struct buffer *out, struct error *err)
{
    unsigned char der[DER_MAX], signature[SIGNATURE_SIZE];
    size_t der_size = sizeof(der), start = out->size;
    __attribute__((cleanup(free_context))) EVP_MD_CTX *context = EVP_MD_CTX_new();
    buffer_printf(out, "%s.", key->header);
    add_base64url(out, payload, size);
    if (!context || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pair) != 1 ||
        EVP_DigestSign(context, der, &der_size, (const unsigned char *)out->data + start, out->size - start) != 1 ||
        !flatten(der, der_size, signature)) {
        out->size = start;
        return refuse(err, "cannot sign a token");
    }
    buffer_add_char(out, '.');
    add_base64url(out, signature, sizeof(signature));
    return 0;
}

/* ---- Verifying ---- */

static int decode_part(const char *text, size_t size, struct buffer *out)
{
    ssize_t n = base64url_decode(text, size, (unsigned char *)buffer_reserve(out, size / 4 * 3 + 3));
    if (n < 0)
        return -1;
    out->size += (size_t)n;
    out->data[out->size] = 0;
    return 0;
}

/* What upstream's authenticator says of what it cannot read, of a key that is not there, and of a forgery. */
#define NO_TOKEN "invalid bearer token"
#define NO_KEY "invalid signature, no keys found"
#define FORGED "go-jose/go-jose: error in cryptographic primitive"

/* The header has to name our algorithm, and our key if it names one: returns NULL, or what is wrong. */
static const char *header_fault(const struct jwt_key *key, const char *text, size_t size)
{
    cleanup_buffer struct buffer header = {0};
    if (decode_part(text, size, &header) < 0)
        return NO_TOKEN;
    json_t *json = json_loadb(header.data, header.size, JSON_REJECT_DUPLICATES, NULL);
    const char *algorithm = json_string_value(json_object_get(json, "alg"));
    const char *id = json_string_value(json_object_get(json, "kid"));
    bool fits = algorithm && strcmp(algorithm, "ES256") == 0 && !json_object_get(json, "crit");
    bool ours = !id || strcmp(id, key->id) == 0;
    json_decref(json);
    return !fits ? NO_TOKEN : ours ? NULL : NO_KEY;
}

static bool signature_fits(const struct jwt_key *key, const char *signed_text, size_t signed_size, const char *text,
                           size_t size)
{
    unsigned char bytes[SIGNATURE_SIZE + 3], der[DER_MAX], *end = der;
    if (size != BASE64URL_SIZE(SIGNATURE_SIZE) || base64url_decode(text, size, bytes) != SIGNATURE_SIZE)
        return false;
    __attribute__((cleanup(free_signature))) ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, HALF, NULL), *s = BN_bin2bn(bytes + HALF, HALF, NULL);
    if (!signature || !r || !s || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return false;
    }
    int der_size = i2d_ECDSA_SIG(signature, &end);
    __attribute__((cleanup(free_context))) EVP_MD_CTX *context = EVP_MD_CTX_new();
    return der_size > 0 && context && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->pair) == 1 &&
           EVP_DigestVerify(context, der, (size_t)der_size, (const unsigned char *)signed_text, signed_size) == 1;
}

int jwt_verify(const struct jwt_key *key, const char *token, size_t size, struct buffer *payload, struct error *err)
{
    const char *end = token + size;
    const char *first = size <= JWT_SIZE_MAX ? memchr(token, '.', size) : NULL;
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first) - 1) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second) - 1))
        return refuse(err, NO_TOKEN);
    const char *fault = header_fault(key, token, (size_t)(first - token));
    if (fault)
        return refuse(err, fault);
    if (!signature_fits(key, token, (size_t)(second - token), second + 1, (size_t)(end - second) - 1))
        return refuse(err, FORGED);
    if (decode_part(first + 1, (size_t)(second - first) - 1, payload) < 0)
        return refuse(err, NO_TOKEN);
    return 0;
}
