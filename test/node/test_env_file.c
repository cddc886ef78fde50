/* Files of variables, as upstream's strict parser reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/env_file.h"

static void values_are_what_stands_in_quotes(void **state)
{
    static const struct {
        const char *text, *key, *value;
    } cases[] = {
        {"A='1'\n", "A", "1"},
        {"A='1'", "A", "1"},
        {"\n# comment\n  \t\n  A='1' # why\nB='2'\n", "A", "1"},
        {"A='1'\nB='2'", "B", "2"},
        {"A='1'\nA='2'", "A", "1"},
        {"A='$x \\n \"q\" = # '", "A", "$x \\n \"q\" = # "},
        {"A='one\ntwo\n\n# three'\nB='4'", "A", "one\ntwo\n\n# three"},
        {"A='one\ntwo'\nB='4'", "B", "4"},
        {"A= '1'\nB='2'", "A", ""},
        {"A= '1'\nB='2'", "B", "2"},
        {"A=''", "A", ""},
        {"A='1'\r\nB='2'\r\n", "B", "2"},
        {"A='1'\nthis is not looked at", "A", "1"},
        {"AB='1'", "A", ""},
        {"", "A", ""},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *value;
        struct error err;
        if (env_file_value(arena, cases[i].text, strlen(cases[i].text), cases[i].key, &value, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_string_equal(value, cases[i].value);
    }
    arena_free(arena);
}

static void what_is_wrong_is_told_with_its_line(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"\nA", "invalid environment variable format at line 2: missing '='"},
        {"='1'", "invalid environment variable format at line 1: empty variable name"},
        {"A ='1'", "invalid environment variable format at line 1: whitespace before '=' is not allowed"},
        {"A=1", "invalid environment variable format at line 1: value must be enclosed in single quotes"},
        {"A=", "invalid environment variable format at line 1: value must be enclosed in single quotes"},
        {"A=\"1\"", "invalid environment variable format at line 1: value must be enclosed in single quotes"},
        {"B='1'\nA='1'2", "invalid environment variable format at line 2: unexpected content after closing quote"},
        {"A='1\n2\n", "invalid environment variable format starting at line 1: unclosed single quote"},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *value;
        struct error err;
        assert_true(env_file_value(arena, cases[i].text, strlen(cases[i].text), "A", &value, &err) < 0);
        assert_string_equal(err.text, cases[i].message);
    }
    arena_free(arena);
}

/* A pod's directory with a volume "v". */
static char *open_pod(char template[])
{
    struct error err;
    assert_non_null(mkdtemp(template));
    cleanup_free char *volume = mem_printf("%s/volumes/v", template);
    assert_int_equal(file_make_directories(volume, 0755, &err), 0);
    return template;
}

static int read_value(struct arena *arena, const char *pod, const char *path, const char *key, bool optional,
                      const char **out, struct error *err)
{
    struct file_key_selector selector = {.volume_name = "v", .path = path, .key = key, .optional = opt_bool(optional)};
    return env_file_read(arena, pod, &selector, out, err);
}

static void files_are_read_from_the_volume_alone(void **state)
{
    char template[] = "/tmp/coracle-env-XXXXXX";
    const char *pod = open_pod(template), *value;
    struct arena *arena = arena_new(0);
    struct error err;
    (void)state;
    cleanup_free char *good = mem_printf("%s/volumes/v/good", pod), *link = mem_printf("%s/volumes/v/link", pod);
    cleanup_free char *pipe = mem_printf("%s/volumes/v/pipe", pod), *outside = mem_printf("%s/outside", pod);
    assert_int_equal(file_write_atomic(good, "A='1'\n", 6, 0600, &err), 0);
    assert_int_equal(file_write_atomic(outside, "A='stolen'\n", 11, 0600, &err), 0);
    assert_int_equal(symlink("../../outside", link), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);

    assert_int_equal(read_value(arena, pod, "good", "A", false, &value, &err), 0);
    assert_string_equal(value, "1");
    assert_true(read_value(arena, pod, "good", "B", false, &value, &err) < 0);
    assert_string_equal(err.text, "environment variable key \"B\" not found in file \"good\"");
    assert_int_equal(read_value(arena, pod, "good", "B", true, &value, &err), 0);
    assert_null(value);
    assert_int_equal(read_value(arena, pod, "none", "A", true, &value, &err), 0);
    assert_null(value);
    static const char *const bad[] = {"none", "link", "pipe", ".", "../../outside"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_true(read_value(arena, pod, bad[i], "A", false, &value, &err) < 0);
        assert_string_equal(err.text, "couldn't parse env file");
    }
    assert_int_equal(file_remove_tree(pod, &err), 0);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_stands_in_quotes),
        cmocka_unit_test(what_is_wrong_is_told_with_its_line),
        cmocka_unit_test(files_are_read_from_the_volume_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
