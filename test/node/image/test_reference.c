/* Names of images and the credentials for them: the promises of reference.c, credentials.c and challenge.c. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/image/challenge.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void references_are_normalised_as_upstream_does(void **state)
{
    static const struct {
        const char *text, *domain, *path, *tag, *normal;
    } cases[] = {
        {"nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"},
        {"nginx:1.27", "docker.io", "library/nginx", "1.27", "docker.io/library/nginx:1.27"},
        {"local/model-server:v1", "docker.io", "local/model-server", "v1", "docker.io/local/model-server:v1"},
        {"index.docker.io/library/nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"},
        {"docker.io/nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"},
        {"localhost/app", "localhost", "app", "latest", "localhost/app:latest"},
        {"localhost:5000/app", "localhost:5000", "app", "latest", "localhost:5000/app:latest"},
        {"127.0.0.1:5000/a/b/c:x_Y.z-1", "127.0.0.1:5000", "a/b/c", "x_Y.z-1", "127.0.0.1:5000/a/b/c:x_Y.z-1"},
        {"[::1]:5000/app", "[::1]:5000", "app", "latest", "[::1]:5000/app:latest"},
        {"Uppercase/app", "Uppercase", "app", "latest", "Uppercase/app:latest"},
        {"x/a__b.c---d/e_f", "docker.io", "x/a__b.c---d/e_f", "latest", "docker.io/x/a__b.c---d/e_f:latest"},
        {"nginx@sha256:" HEX64, "docker.io", "library/nginx", "", "docker.io/library/nginx@sha256:" HEX64},
        {"ghcr.io/a/b:v1@sha256:" HEX64, "ghcr.io", "a/b", "", "ghcr.io/a/b@sha256:" HEX64},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct image_reference reference;
        assert_ok(image_reference_parse(cases[i].text, &reference, &err));
        assert_string_equal(reference.domain, cases[i].domain);
        assert_string_equal(reference.path, cases[i].path);
        assert_string_equal(reference.tag, cases[i].tag);
        assert_string_equal(reference.text, cases[i].normal);
    }
}

static void invalid_references_get_upstreams_words(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "invalid reference format"},
        {"DUMMY_IMAGE:TEST", "invalid reference format: repository name (library/DUMMY_IMAGE) must be lowercase"},
        {"a//b", "invalid reference format"},
        {"/a", "invalid reference format"},
        {"a/", "invalid reference format"},
        {"-a", "invalid reference format"},
        {"a:", "invalid reference format"},
        {"a:-x", "invalid reference format"},
        {"a___b", "invalid reference format"},
        {"a..b/c:x:y", "invalid reference format"},
        {"a b", "invalid reference format"},
        {"a\n", "invalid reference format"},
        {"[::1/app", "invalid reference format"},
        {"host:port/app", "invalid reference format"},
        {"a@sha256:1234", "invalid reference format"},
        {"a@sha256:" HEX64 "00", "invalid checksum digest length"},
        {"a@md5:" HEX64, "unsupported digest algorithm"},
        {HEX64, "invalid repository name (" HEX64 "), cannot specify 64-byte hexadecimal strings"},
    };
    char text[700];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct image_reference reference;
        assert_fails(image_reference_parse(cases[i].text, &reference, &err), EINVAL, cases[i].error);
    }
    for (size_t n = 200; n < sizeof(text); n++) {
        struct image_reference reference;
        memset(text, 'a', n);
        text[n] = 0;
        struct error err = {0};
        assert_int_equal(image_reference_parse(text, &reference, &err),
                         n + strlen("docker.io/library/") > 255 ? -1 : 0);
    }
}

static struct image_credential *find(struct image_keyring *keyring, const char *reference, size_t *count)
{
    struct image_credential *found;
    assert_ok(image_keyring_find(keyring, reference, &found, count, &err));
    return found;
}

static void credentials_are_found_as_the_kubelet_finds_them(void **state)
{
    static const char json[] =
        "{\"auths\":{\"https://index.docker.io/v1/\":{\"username\":\"hub\",\"password\":\"p\"},"
        "\"quay.io\":{\"auth\":\"cXVheTpwYXNz\"},\"quay.io/team\":{\"auth\":\"dGVhbTpwYTpzcw==\"},"
        "\"*.example.com\":{\"username\":\"glob\",\"password\":\"g\"},"
        "\"http://localhost:5000/v2/\":{\"username\":\"local\",\"password\":\"l\"}}}";
    static const char legacy[] = "{\"quay.io\":{\"username\":\"old\",\"password\":\"o\",\"email\":\"x\"}}";
    static const struct {
        const char *reference, *users[4];
    } cases[] = {
        {"nginx", {"hub"}},
        {"docker.io/local/app:v1", {"hub"}},
        {"quay.io/team/app", {"team", "quay", "old"}},
        {"quay.io/other/app", {"quay", "old"}},
        {"quay.io:443/other/app", {NULL}},
        {"a.example.com/app", {"glob"}},
        {"a.b.example.com/app", {NULL}},
        {"localhost:5000/app", {"local"}},
        {"localhost:5001/app", {NULL}},
        {"ghcr.io/app", {NULL}},
    };
    (void)state;
    struct image_keyring *keyring = image_keyring_new();
    assert_ok(image_keyring_add(keyring, json, strlen(json), false, &err));
    assert_ok(image_keyring_add(keyring, legacy, strlen(legacy), true, &err));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t count;
        cleanup_free struct image_credential *found = find(keyring, cases[i].reference, &count);
        for (size_t k = 0; k < count; k++) {
            assert_non_null(cases[i].users[k]);
            assert_string_equal(found[k].username, cases[i].users[k]);
        }
        assert_null(cases[i].users[count]);
    }
    size_t count;
    cleanup_free struct image_credential *team = find(keyring, "quay.io/team/app", &count);
    assert_string_equal(team[0].password, "pa:ss");
    image_keyring_free(keyring);
}

static void a_broken_pull_secret_is_refused(void **state)
{
    static const char *const cases[] = {"",
                                        "{",
                                        "[]",
                                        "{\"auths\":[]}",
                                        "{\"auths\":{\"a\":1}}",
                                        "{\"auths\":{\"a\":{\"auth\":\"???\"}}}",
                                        "{\"auths\":{\"a\":{\"auth\":\"YWJj\"}}}",
                                        "{\"auths\":{\"a\":{\"username\":5}}}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct image_keyring *keyring = image_keyring_new();
        assert_fails(image_keyring_add(keyring, cases[i], strlen(cases[i]), false, &err), EINVAL, "");
        image_keyring_free(keyring);
    }
}

static void challenges_are_read_in_all_their_forms(void **state)
{
    char *several[] = {"Basic realm=\"x\", Bearer realm=\"https://auth.example/token\",service=\"reg, istry\", "
                       "scope=\"repository:a/b:pull\",error=insufficient_scope"};
    char *basic[] = {"Negotiate", "BASIC Realm = \"a \\\"b\\\"\""};
    char *none[] = {"Digest realm=\"x\"", "", ",,,", "Bearer realm=\"unterminated", "=", "\"x\""};
    struct challenge challenge;
    (void)state;
    assert_true(image_challenge_choose(several, 1, &challenge));
    assert_true(challenge.bearer);
    assert_string_equal(challenge.realm, "https://auth.example/token");
    assert_string_equal(challenge.service, "reg, istry");
    assert_string_equal(challenge.scope, "repository:a/b:pull");
    assert_string_equal(challenge.error, "insufficient_scope");
    assert_true(image_challenge_choose(basic, 2, &challenge));
    assert_false(challenge.bearer);
    assert_string_equal(challenge.realm, "a \"b\"");
    assert_false(image_challenge_choose(none, ARRAY_COUNT(none), &challenge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_normalised_as_upstream_does),
        cmocka_unit_test(invalid_references_get_upstreams_words),
        cmocka_unit_test(credentials_are_found_as_the_kubelet_finds_them),
        cmocka_unit_test(a_broken_pull_secret_is_refused),
        cmocka_unit_test(challenges_are_read_in_all_their_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
