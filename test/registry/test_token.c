/* Tokens at chosen instants: what is signed reads back, and what is forged, late, early or for others is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/token.h"

#define NOW (INT64_C(1700000000) * SECOND)

static const char *audiences[] = {TOKEN_ISSUER, "me"};

static struct token_issuer *new_issuer(void)
{
    struct token_issuer *issuer;
    struct error err;
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL), 1);
    long n = BIO_get_mem_data(bio, &data);
    cleanup_free char *pem = mem_string_n(data, (size_t)n);
    if (token_issuer_new(pem, &issuer, &err) < 0)
        fail_msg("%s", err.text);
    BIO_free(bio);
    EVP_PKEY_free(pair);
    return issuer;
}

static struct token_claims some_claims(void)
{
    return (struct token_claims){.id = "1",
                                 .namespace = "n",
                                 .account = {"a", "uid-a"},
                                 .pod = {"p", "uid-p"},
                                 .audiences = {audiences, 2},
                                 .issued_at = NOW,
                                 .not_before = NOW,
                                 .expires_at = NOW + HOUR};
}

static void what_is_signed_reads_back(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct token_issuer *issuer = new_issuer();
    struct token_claims claims = some_claims(), read;
    const char *token = token_issue(issuer, arena, &claims, NULL);
    assert_int_equal(token_read(issuer, arena, token, NOW, &read, NULL), 0);
    assert_string_equal(read.namespace, "n");
    assert_string_equal(read.account.name, "a");
    assert_string_equal(read.pod.uid, "uid-p");
    assert_null(read.node.name);
    assert_int_equal(read.expires_at, NOW + HOUR);
    const char *wanted[] = {"me"}, *foreign[] = {"you"};
    assert_true(token_is_for(&read, &(struct string_array){wanted, 1}, NULL));
    struct error err;
    assert_false(token_is_for(&read, &(struct string_array){foreign, 1}, &err));
    assert_string_equal(err.text, "token audiences [\"" TOKEN_ISSUER "\" \"me\"] is invalid for the target audiences "
                                  "[\"you\"]");
    token_issuer_free(issuer);
}

static void a_token_counts_between_its_instants(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct token_issuer *issuer = new_issuer();
    struct token_claims claims = some_claims(), read;
    struct error err;
    const char *token = token_issue(issuer, arena, &claims, NULL);
    assert_int_equal(token_read(issuer, arena, token, NOW + HOUR + TOKEN_LEEWAY, &read, NULL), 0);
    assert_int_equal(token_read(issuer, arena, token, NOW + HOUR + TOKEN_LEEWAY + SECOND, &read, &err), -1);
    assert_string_equal(err.text, "service account token has expired");
    assert_int_equal(token_read(issuer, arena, token, NOW - TOKEN_LEEWAY - SECOND, &read, &err), -1);
    assert_string_equal(err.text, "service account token is not valid yet");
    token_issuer_free(issuer);
}

static void no_changed_byte_is_believed(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct token_issuer *issuer = new_issuer(), *other = new_issuer();
    struct token_claims claims = some_claims(), read;
    const char *token = token_issue(issuer, arena, &claims, NULL);
    assert_int_equal(token_read(other, arena, token, NOW, &read, NULL), -1);
    for (size_t i = 0; token[i]; i++) {
        char *forged = arena_string(arena, token);
        forged[i] = forged[i] == 'A' ? 'B' : 'A';
        assert_int_equal(token_read(issuer, arena, forged, NOW, &read, NULL), -1);
        forged[i] = 0;
        assert_int_equal(token_read(issuer, arena, forged, NOW, &read, NULL), -1);
    }
    token_issuer_free(issuer);
    token_issuer_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_reads_back),
        cmocka_unit_test(a_token_counts_between_its_instants),
        cmocka_unit_test(no_changed_byte_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
