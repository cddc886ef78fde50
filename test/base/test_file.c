/* The promises of base/file.h about what is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define SIZE 100000 /* more than one read(2) of file_read */

static char path[] = "/tmp/coracle-file-XXXXXX";

static int make_file(void **state)
{
    static char content[SIZE];
    memset(content, 'x', SIZE);
    cleanup_close int fd = mkstemp(path);
    return fd >= 0 && write(fd, content, SIZE) == SIZE ? 0 : -1;
}

static int remove_file(void **state)
{
    return unlink(path);
}

static void test_as_large_as_allowed(void **state)
{
    cleanup_buffer struct buffer out = {0};
    struct error err = {0};
    buffer_add_string(&out, "before ");
    assert_int_equal(file_read(path, SIZE, &out, &err), 0);
    assert_int_equal(out.size, SIZE + 7);
    assert_int_equal(out.data[out.size], 0);
}

static void test_larger_than_allowed(void **state)
{
    cleanup_buffer struct buffer out = {0}, rest = {0};
    struct error err = {0};
    assert_int_equal(file_read(path, SIZE - 1, &out, &err), -1);
    assert_int_equal(err.code, EFBIG);
    assert_non_null(strstr(err.text, "is larger than 99999 bytes"));
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(fd, 10, SEEK_SET), 10);
    assert_int_equal(file_read_rest(fd, 70000, &rest), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(rest.size, 70000); /* the first of it, for those whom that is enough */
}

static void test_missing(void **state)
{
    cleanup_buffer struct buffer out = {0};
    char text[8];
    struct error err = {0};
    assert_int_equal(file_read("/nowhere/at/all", 1, &out, &err), -1);
    assert_int_equal(err.code, ENOENT);
    assert_int_equal(file_read_text("/nowhere/at/all", text, sizeof(text)), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_small_text(void **state)
{
    char text[8];
    assert_int_equal(file_read_text(path, text, sizeof(text)), 0);
    assert_string_equal(text, "xxxxxxx");
    assert_int_equal(file_read_text("/dev/null", text, sizeof(text)), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_large_as_allowed),
        cmocka_unit_test(test_larger_than_allowed),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_small_text),
    };
    return cmocka_run_group_tests_name("file", tests, make_file, remove_file);
}
