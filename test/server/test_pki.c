/* The promises of the cluster's certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/timestamp.h"
#include "server/pki.h"

#define DAY (24 * HOUR)

static const int64_t start = INT64_C(1767225600) * SECOND; /* 2026-01-01 */
static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/test_pki.XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    return file_remove_tree(directory, NULL);
}

static int open_at(int64_t now, const char *name, struct pki **pki, struct error *err)
{
    const struct pki_options options = {.directory = directory, .now = now, .names = &name, .name_count = name ? 1 : 0};
    return pki_open(&options, pki, err);
}

static struct pki *opened(int64_t now, const char *name)
{
    struct pki *pki = NULL;
    struct error err = {0};
    if (open_at(now, name, &pki, &err) < 0)
        fail_msg("%s", err.text);
    return pki;
}

static char *content(const char *name)
{
    cleanup_free char *path = mem_printf("%s/%s", directory, name);
    struct buffer b = {0};
    assert_int_equal(file_read(path, 100000, &b, NULL), 0);
    return buffer_steal(&b, NULL);
}

static void replace(const char *name, const char *text)
{
    cleanup_free char *path = mem_printf("%s/%s", directory, name);
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static X509 *certificate_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(certificate);
    return certificate;
}

/* Whether a TLS stack would take the certificate for this purpose at this time. */
static bool is_valid(const struct pki *pki, const char *pem, int purpose, int64_t now)
{
    X509 *ca = certificate_of(pki_ca_certificate(pki)), *certificate = certificate_of(pem);
    X509_STORE *trusted = X509_STORE_new();
    X509_STORE_add_cert(trusted, ca);
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    X509_STORE_CTX_init(check, trusted, certificate, NULL);
    X509_STORE_CTX_set_purpose(check, purpose);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(check), X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_set_time(check, 0, (time_t)(now / SECOND));
    bool valid = X509_verify_cert(check) == 1;
    X509_STORE_CTX_free(check);
    X509_STORE_free(trusted);
    X509_free(ca);
    X509_free(certificate);
    return valid;
}

static void a_directory_keeps_what_was_made(void **state)
{
    (void)state;
    struct pki *pki = opened(start, "node-1");
    cleanup_free char *ca = mem_string(pki_ca_certificate(pki)), *server = mem_string(pki_server_certificate(pki));
    cleanup_free char *account = mem_string(pki_service_account_key(pki));
    pki_free(pki);
    pki = opened(start + DAY, "node-1");
    assert_string_equal(pki_ca_certificate(pki), ca);
    assert_string_equal(pki_server_certificate(pki), server);
    assert_string_equal(pki_service_account_key(pki), account);
    pki_free(pki);
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"ca.crt", 0644},     {"ca.key", 0600}, {"server.crt", 0644},
                 {"server.key", 0600}, {"sa.pub", 0644}, {"sa.key", 0600}};
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        cleanup_free char *path = mem_printf("%s/%s", directory, files[i].name);
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, files[i].mode);
    }
}

static void the_server_has_all_its_names(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        "localhost",  "node-1.example"};
    static const char *const addresses[] = {"127.0.0.1", "::1", "10.96.0.1", "fd00::7"};
    static const char *const names[] = {"node-1.example", "10.96.0.1", "fd00::7"};
    const struct pki_options options = {.now = start, .names = names, .name_count = 3};
    struct pki *pki = NULL;
    assert_int_equal(pki_open(&options, &pki, NULL), 0);
    assert_true(is_valid(pki, pki_server_certificate(pki), X509_PURPOSE_SSL_SERVER, start));
    assert_false(is_valid(pki, pki_server_certificate(pki), X509_PURPOSE_SSL_CLIENT, start));
    X509 *certificate = certificate_of(pki_server_certificate(pki));
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++)
        assert_int_equal(X509_check_host(certificate, hosts[i], 0, 0, NULL), 1);
    for (size_t i = 0; i < ARRAY_COUNT(addresses); i++)
        assert_int_equal(X509_check_ip_asc(certificate, addresses[i], 0), 1);
    assert_int_equal(X509_check_host(certificate, "example.com", 0, 0, NULL), 0);
    X509_free(certificate);
    pki_free(pki);
}

static void a_client_certificate_names_user_and_groups(void **state)
{
    (void)state;
    struct pki *pki = opened(start, NULL);
    /* Longer than X.520 allows, as node names may be. */
    static const char user[] = "system:node:a-node-whose-name-is-longer-than-the-sixty-four-characters-of-x520.example";
    static const char *const groups[] = {"system:nodes", "system:masters"};
    cleanup_pki_pair struct pki_pair pair = {0};
    assert_int_equal(pki_client(pki, user, groups, 2, start, &pair, NULL), 0);
    assert_true(is_valid(pki, pair.certificate, X509_PURPOSE_SSL_CLIENT, start + 364 * DAY));
    assert_false(is_valid(pki, pair.certificate, X509_PURPOSE_SSL_SERVER, start));
    assert_false(is_valid(pki, pair.certificate, X509_PURPOSE_SSL_CLIENT, start + 366 * DAY));
    X509 *certificate = certificate_of(pair.certificate);
    X509_NAME *name = X509_get_subject_name(certificate);
    char text[256];
    X509_NAME_get_text_by_NID(name, NID_commonName, text, sizeof(text));
    assert_string_equal(text, user);
    int first = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
    assert_true(first >= 0 && X509_NAME_get_index_by_NID(name, NID_organizationName, first) > first);
    X509_free(certificate);
    pki_free(pki);
}

static void the_server_certificate_is_renewed_in_time(void **state)
{
    (void)state;
    struct pki *pki = opened(start, NULL);
    int64_t due = pki_renewal(pki);
    assert_true(due > start + 300 * DAY && due < start + 365 * DAY);
    cleanup_free char *first = mem_string(pki_server_certificate(pki));
    assert_int_equal(pki_renew(pki, due - SECOND, NULL), 0);
    assert_string_equal(pki_server_certificate(pki), first);
    assert_int_equal(pki_renew(pki, due, NULL), 1);
    assert_string_not_equal(pki_server_certificate(pki), first);
    assert_true(is_valid(pki, pki_server_certificate(pki), X509_PURPOSE_SSL_SERVER, start + 400 * DAY));
    cleanup_free char *stored = content("server.crt");
    assert_string_equal(stored, pki_server_certificate(pki));
    pki_free(pki);
    /* And when it was switched off meanwhile. */
    pki = opened(start + 900 * DAY, NULL);
    assert_string_not_equal(pki_server_certificate(pki), stored);
    pki_free(pki);
}

static void a_new_name_makes_a_new_server_certificate_of_the_same_authority(void **state)
{
    (void)state;
    struct pki *pki = opened(start, "node-1");
    cleanup_free char *ca = mem_string(pki_ca_certificate(pki)), *server = mem_string(pki_server_certificate(pki));
    pki_free(pki);
    pki = opened(start, "10.1.2.3");
    assert_string_equal(pki_ca_certificate(pki), ca);
    assert_string_not_equal(pki_server_certificate(pki), server);
    pki_free(pki);
}

static void an_interrupted_start_is_taken_up_again(void **state)
{
    (void)state;
    static const char *const lost[] = {"ca.crt", "server.crt", "server.key", "sa.pub", "sa.key"};
    for (size_t i = 0; i < ARRAY_COUNT(lost); i++) {
        pki_free(opened(start, NULL));
        cleanup_free char *path = mem_printf("%s/%s", directory, lost[i]);
        assert_int_equal(unlink(path), 0);
        struct pki *pki = opened(start, NULL);
        assert_true(is_valid(pki, pki_server_certificate(pki), X509_PURPOSE_SSL_SERVER, start));
        pki_free(pki);
    }
}

static void a_damaged_authority_is_refused_and_left_alone(void **state)
{
    (void)state;
    struct pki *pki = opened(start, NULL);
    cleanup_free char *key = content("ca.key"), *certificate = content("ca.crt");
    cleanup_free char *other = mem_string(pki_service_account_key(pki));
    pki_free(pki);
    const struct {
        const char *file, *text, *says;
    } cases[] = {
        {"ca.crt", "", "not a certificate"},          {"ca.crt", "nonsense", "not a certificate"},
        {"ca.crt", key, "not a certificate"},         {"ca.key", "", "not a private key"},
        {"ca.key", certificate, "not a private key"}, {"ca.key", other, "does not belong"},
        {"sa.key", "nonsense", "not a private key"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_free char *before = content(cases[i].file);
        replace(cases[i].file, cases[i].text);
        struct error err = {0};
        assert_int_equal(open_at(start, NULL, &pki, &err), -1);
        assert_non_null(strstr(err.text, cases[i].says));
        assert_non_null(strstr(err.text, cases[i].file));
        cleanup_free char *after = content(cases[i].file);
        assert_string_equal(after, cases[i].text);
        replace(cases[i].file, before);
    }
    struct error err = {0};
    assert_int_equal(open_at(start + 4000 * DAY, NULL, &pki, &err), -1);
    assert_non_null(strstr(err.text, "expired"));
    pki_free(opened(start, NULL));
}

static void a_name_cannot_smuggle_another_one_in(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a,DNS:evil", "a b", "DNS:evil", "a\nb", "x;y", "1::2::3"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct pki *pki = NULL;
        struct error err = {0};
        const struct pki_options options = {.now = start, .names = &bad[i], .name_count = 1};
        assert_int_equal(pki_open(&options, &pki, &err), -1);
        assert_non_null(strstr(err.text, "is no name"));
    }
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_directory_keeps_what_was_made),
        cmocka_unit_test(the_server_has_all_its_names),
        IN_DIRECTORY(a_client_certificate_names_user_and_groups),
        IN_DIRECTORY(the_server_certificate_is_renewed_in_time),
        IN_DIRECTORY(a_new_name_makes_a_new_server_certificate_of_the_same_authority),
        IN_DIRECTORY(an_interrupted_start_is_taken_up_again),
        IN_DIRECTORY(a_damaged_authority_is_refused_and_left_alone),
        cmocka_unit_test(a_name_cannot_smuggle_another_one_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
