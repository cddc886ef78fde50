/* The promises about pages behind the proxy: which answers are pages, and that packed ones are packed again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "server/proxy_headers.h"
#include "server/proxy_page.h"

#define PREFIX "/api/v1/namespaces/n/pods/p/proxy"
#define PAGE "<p>hello <a href='/x'>"
#define REWRITTEN "<p>hello <a href='" PREFIX "/x'>"

static const struct proxy_links links = {
    .prefix = PREFIX, .prefix_size = sizeof(PREFIX) - 1, .backend = "10.0.0.1:80", .host = "api"};

static struct proxy_page *page_new(const char *type, const char *coding, const char *location)
{
    struct http_field fields[3];
    size_t n = 0;
    if (type)
        fields[n++] = (struct http_field){"content-type", type};
    if (coding)
        fields[n++] = (struct http_field){"content-encoding", coding};
    if (location)
        fields[n++] = (struct http_field){"location", location};
    return proxy_page_new(fields, n, &links);
}

static void answers_of_html_are_pages(void **state)
{
    (void)state;
    static const struct {
        const char *type, *coding, *location;
        bool page;
    } cases[] = {
        {"text/html", NULL, NULL, true},
        {"text/html; charset=utf-8", NULL, NULL, true},
        {" text/html ;x", "gzip", NULL, true},
        {"text/html", "deflate", NULL, true},
        {"text/html", "", NULL, true},
        {NULL, NULL, NULL, false},
        {"text/plain", NULL, NULL, false},
        {"text/htmlx", NULL, NULL, false},
        {"application/xhtml+xml", NULL, NULL, false},
        {"text/html", "br", NULL, false},
        {"text/html", "gzip, gzip", NULL, false},
        {"text/html", NULL, "/there", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct proxy_page *page = page_new(cases[i].type, cases[i].coding, cases[i].location);
        assert_int_equal(page != NULL, cases[i].page);
        proxy_page_free(page);
    }
}

/* zlib's answer to `in`. */
static void pack(int bits, const char *in, size_t size, struct buffer *out)
{
    z_stream z = {.next_in = (unsigned char *)in, .avail_in = (unsigned)size};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.avail_out = (unsigned)deflateBound(&z, size) + 100;
    z.next_out = (unsigned char *)buffer_reserve(out, z.avail_out);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->size += z.total_out;
    deflateEnd(&z);
}

static void unpack(int bits, const struct buffer *in, struct buffer *out)
{
    z_stream z = {.next_in = (unsigned char *)in->data, .avail_in = (unsigned)in->size};
    int result = Z_OK;
    assert_int_equal(inflateInit2(&z, bits), Z_OK);
    while (result == Z_OK) {
        z.next_out = (unsigned char *)buffer_reserve(out, z.avail_out = 4096);
        result = inflate(&z, Z_NO_FLUSH);
        out->size += 4096 - z.avail_out;
    }
    assert_int_equal(result, Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    buffer_add(out, "", 0);
    inflateEnd(&z);
}

/* 0, or -1 as the page says. */
static int pass(const char *coding, const struct buffer *in, size_t piece, struct buffer *out)
{
    struct proxy_page *page = page_new("text/html", coding, NULL);
    int result = 0;
    for (size_t i = 0; i < in->size && result == 0; i += piece)
        result = proxy_page_feed(page, in->data + i, in->size - i < piece ? in->size - i : piece, out);
    if (result == 0)
        result = proxy_page_end(page, out);
    proxy_page_free(page);
    return result;
}

static const struct {
    const char *coding;
    int bits;
} codings[] = {{"gzip", 15 + 16}, {"deflate", 15}, {"deflate", -15}};

static void packed_pages_are_packed_again(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 5, 100000};
    for (size_t i = 0; i < ARRAY_COUNT(codings); i++)
        for (size_t j = 0; j < ARRAY_COUNT(pieces); j++) {
            cleanup_buffer struct buffer in = {0}, out = {0}, text = {0};
            pack(codings[i].bits, PAGE, strlen(PAGE), &in);
            assert_int_equal(pass(codings[i].coding, &in, pieces[j], &out), 0);
            unpack(codings[i].bits, &out, &text);
            assert_string_equal(text.data, REWRITTEN);
        }
}

static void a_large_packed_page_passes(void **state)
{
    (void)state;
    cleanup_buffer struct buffer page = {0}, expected = {0};
    for (int i = 0; i < 20000; i++) {
        buffer_printf(&page, "%d " PAGE, i * i);
        buffer_printf(&expected, "%d " REWRITTEN, i * i);
    }
    for (size_t i = 0; i < ARRAY_COUNT(codings); i++) {
        cleanup_buffer struct buffer in = {0}, out = {0}, text = {0};
        pack(codings[i].bits, page.data, page.size, &in);
        assert_int_equal(pass(codings[i].coding, &in, 1000, &out), 0);
        unpack(codings[i].bits, &out, &text);
        assert_int_equal(text.size, expected.size);
        assert_memory_equal(text.data, expected.data, expected.size);
    }
}

static void files_of_gzip_may_follow_each_other(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 100; piece += 49) {
        cleanup_buffer struct buffer in = {0}, out = {0}, text = {0};
        pack(15 + 16, "<a hre", 6, &in);
        pack(15 + 16, "f='/x'>", 7, &in);
        assert_int_equal(pass("gzip", &in, piece, &out), 0);
        unpack(15 + 16, &out, &text);
        assert_string_equal(text.data, "<a href='" PREFIX "/x'>");
    }
}

static void a_page_goes_on_before_its_end_is_there(void **state)
{
    (void)state;
    cleanup_buffer struct buffer in = {0}, out = {0};
    struct proxy_page *page = page_new("text/html", "gzip", NULL);
    pack(15 + 16, PAGE, strlen(PAGE), &in);
    assert_int_equal(proxy_page_feed(page, in.data, in.size - 8, &out), 0); /* all but its checksum */
    z_stream z = {.next_in = (unsigned char *)out.data, .avail_in = (unsigned)out.size};
    char text[200] = "";
    z.next_out = (unsigned char *)text;
    z.avail_out = sizeof(text) - 1;
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
    inflateEnd(&z);
    assert_string_equal(text, REWRITTEN);
    proxy_page_free(page);
}

static void what_is_not_packed_as_it_says_ends_the_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(codings); i++) {
        cleanup_buffer struct buffer in = {0}, out = {0}, junk = {0};
        pack(codings[i].bits, PAGE, strlen(PAGE), &in);
        in.size -= 3;
        assert_int_equal(pass(codings[i].coding, &in, 7, &out), -1);
        buffer_add_string(&junk, "<p>not packed at all");
        assert_int_equal(pass(codings[i].coding, &junk, 7, &out), -1);
        /* Nothing is nothing. */
        buffer_clear(&junk);
        buffer_clear(&out);
        assert_int_equal(pass(codings[i].coding, &junk, 7, &out), 0);
        assert_int_equal(out.size, 0);
    }
}

/* ---- Header fields ---- */

static void fields_about_a_connection_stay_there(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool in, out;
    } cases[] = {
        {"accept", true, true},
        {"x-mine", true, true},
        {"forwarded", true, true},
        {"x-forwarded-host", true, true},
        {"x-forwarded-proto", true, true},
        {"x-forwarded-for", false, true},
        {"x-forwarded-uri", false, true},
        {"authorization", false, true},
        {"impersonate-user", false, true},
        {"impersonate-extra-scopes", false, true},
        {"access-control-allow-origin", true, false},
        {"access-control-allow-credentials", true, false},
        {"access-control-max-age", true, true},
        {"connection", false, false},
        {"keep-alive", false, false},
        {"te", false, false},
        {"trailer", false, false},
        {"transfer-encoding", false, false},
        {"upgrade", false, false},
        {"proxy-authenticate", false, false},
        {"x-hop", false, false},
        {"x-other-hop", false, false},
    };
    const struct http_field fields[] = {{"connection", "X-Hop, close"}, {"x-hop", "1"}, {"connection", "x-other-hop"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (proxy_header_goes_in(fields, ARRAY_COUNT(fields), cases[i].name) != cases[i].in)
            fail_msg("%s to the backend", cases[i].name);
        if (proxy_header_comes_out(fields, ARRAY_COUNT(fields), cases[i].name) != cases[i].out)
            fail_msg("%s to the client", cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_html_are_pages),
        cmocka_unit_test(packed_pages_are_packed_again),
        cmocka_unit_test(a_large_packed_page_passes),
        cmocka_unit_test(files_of_gzip_may_follow_each_other),
        cmocka_unit_test(a_page_goes_on_before_its_end_is_there),
        cmocka_unit_test(what_is_not_packed_as_it_says_ends_the_page),
        cmocka_unit_test(fields_about_a_connection_stay_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
