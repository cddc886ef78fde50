/* The promises about links behind the proxy: which of them lead through it, in a Location and in HTML, and that all
 * else of a page passes byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/html_links.h"

#define PREFIX "/api/v1/namespaces/n/services/https:s:443/proxy"

static const struct proxy_links links = {
    .prefix = PREFIX "/not/of/it", .prefix_size = sizeof(PREFIX) - 1, .backend = "10.0.0.1:80", .host = "api:6443"};

/* ---- One link ---- */

static void check_link(const char *link, bool markup, const char *expected)
{
    cleanup_buffer struct buffer out = {0};
    buffer_add_string(&out, "before ");
    bool changed = proxy_link_rewrite(&links, link, strlen(link), markup, &out);
    if (changed != (expected != NULL))
        fail_msg("%s was %s: %s", link, changed ? "changed" : "left", out.data);
    if (expected)
        assert_string_equal(out.data + strlen("before "), expected);
    else
        assert_string_equal(out.data, "before ");
}

static void absolute_paths_of_the_same_host_lead_through_the_proxy(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/", PREFIX "/"},
        {"/there", PREFIX "/there"},
        {"/there/", PREFIX "/there/"},
        {"/x?y=/z#/w", PREFIX "/x?y=/z#/w"},
        {"/x?", PREFIX "/x?"},
        {"/a%2Fb%20c", PREFIX "/a%2Fb%20c"},
        {"//10.0.0.1:80/x", PREFIX "/x"},
        {"http://10.0.0.1:80/x?y", PREFIX "/x?y"},
        {"https://10.0.0.1:80/x", PREFIX "/x"},
        {"http://user:word@10.0.0.1:80/x", PREFIX "/x"},
        {"http://api:6443/x", "http://api:6443" PREFIX "/x"},
        {"//api:6443/x", "//api:6443" PREFIX "/x"},
        {"http://10.0.0.1:80" PREFIX "/x", PREFIX "/x"},
        {"file:///x", PREFIX "/x"}, /* upstream looks at hosts, not at schemes */
        {"/a//b/./c", PREFIX "/a/b/c"},
        {"/a/../b", PREFIX "/b"},
        {"/../../../b/", PREFIX "/b/"},
        {"/..", PREFIX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check_link(cases[i][0], false, cases[i][1]);
}

static void other_links_stay(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "there",
        "there:8/x",
        "./x",
        "../x",
        "?x",
        "#/x",
        " /x",
        "http://elsewhere/x",
        "//elsewhere/x",
        "http://10.0.0.1:81/x",
        "http://10.0.0.1/x",
        "http://10.0.0.1:80@elsewhere/x",
        "http://10.0.0.1:80", /* no path: neither upstream adds one */
        "http://10.0.0.1:80?x",
        "mailto:somebody@example.com",
        "data:text/html,/x",
        "/bad%zzescape",
        "/x#bad%escape",
        "/x\ny",
        PREFIX "/x",
        PREFIX,
        "http://api:6443" PREFIX "/x",
        ":/x",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check_link(cases[i], false, NULL);
}

static void references_to_characters_are_read_and_stay_as_they_are(void **state)
{
    (void)state;
    check_link("&#47;x", true, PREFIX "/x");
    check_link("&#x2F;x&#x2fy", true, PREFIX "/x/y");
    check_link("&sol;x&quest;&sol;", true, PREFIX "/x&quest;&sol;");
    check_link("/x?a=1&amp;b=2&c=3", true, PREFIX "/x?a=1&amp;b=2&c=3");
    check_link("/&eacute;&#233;&#34;", true, PREFIX "/&eacute;&#233;&#34;");
    check_link("/a/&period;./b", true, PREFIX "/b");
    check_link("http&colon;//10.0.0.1:8&#48;/x", true, PREFIX "/x");
    check_link("http://elsewhere&sol;x", true, NULL);
    check_link("/x&Tab;y", true, NULL); /* no URL */
    check_link("/x&#1;y", true, NULL);
    check_link("/x&#37zz", true, NULL); /* a bad escape */
    check_link("&amp;#47;x", true, NULL);
    check_link("&#;x", true, NULL);
    /* A Location has none. */
    check_link("&#47;x", false, NULL);
    check_link("/a&#47;x", false, PREFIX "/a&#47;x");
}

static void a_link_that_is_too_long_stays(void **state)
{
    (void)state;
    char link[PROXY_LINK_MAX + 2];
    cleanup_buffer struct buffer out = {0};
    memset(link, 'x', sizeof(link));
    *link = '/';
    assert_false(proxy_link_rewrite(&links, link, PROXY_LINK_MAX + 1, true, &out));
    assert_true(proxy_link_rewrite(&links, link, PROXY_LINK_MAX, true, &out));
    assert_int_equal(out.size, PROXY_LINK_MAX + links.prefix_size);
}

/* ---- A document ---- */

static void feed_in_pieces(const char *in, size_t piece, struct buffer *out)
{
    struct html_links html = {.links = &links};
    size_t size = strlen(in);
    for (size_t i = 0; i < size; i += piece)
        html_links_feed(&html, in + i, size - i < piece ? size - i : piece, out);
    html_links_end(&html, out);
    html_links_free(&html);
}

static void check_html(const char *in, const char *expected)
{
    static const size_t pieces[] = {1, 2, 3, 7, 100000};
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        cleanup_buffer struct buffer out = {0};
        feed_in_pieces(in, pieces[i], &out);
        assert_string_equal(out.data, expected);
    }
}

static void links_of_every_element_that_has_some_are_found(void **state)
{
    (void)state;
    /* Upstream's list. */
    static const char *const cases[][2] = {
        {"a", "href"},          {"applet", "codebase"}, {"area", "href"},       {"audio", "src"},
        {"base", "href"},       {"blockquote", "cite"}, {"body", "background"}, {"button", "formaction"},
        {"command", "icon"},    {"del", "cite"},        {"embed", "src"},       {"form", "action"},
        {"frame", "longdesc"},  {"frame", "src"},       {"head", "profile"},    {"html", "manifest"},
        {"iframe", "longdesc"}, {"iframe", "src"},      {"img", "longdesc"},    {"img", "src"},
        {"img", "usemap"},      {"input", "src"},       {"input", "usemap"},    {"input", "formaction"},
        {"ins", "cite"},        {"link", "href"},       {"object", "classid"},  {"object", "codebase"},
        {"object", "data"},     {"object", "usemap"},   {"q", "cite"},          {"script", "src"},
        {"source", "src"},      {"video", "poster"},    {"video", "src"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_buffer struct buffer in = {0}, expected = {0};
        buffer_printf(&in, "<%s id=/i %s=\"/x\" x=/y>", cases[i][0], cases[i][1]);
        buffer_printf(&expected, "<%s id=/i %s=\"" PREFIX "/x\" x=/y>", cases[i][0], cases[i][1]);
        check_html(in.data, expected.data);
    }
}

static void only_the_value_of_a_link_changes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"<!DOCTYPE html>\r\n<A  HREF = '/x' >1 < 2 & 3</A>\n",
         "<!DOCTYPE html>\r\n<A  HREF = '" PREFIX "/x' >1 < 2 & 3</A>\n"},
        {"<a href=/x>", "<a href=" PREFIX "/x>"},
        {"<a href=/x/>", "<a href=" PREFIX "/x/>"},
        {"<img\tsrc='/x'alt=\">\"/>", "<img\tsrc='" PREFIX "/x'alt=\">\"/>"},
        {"<a/href=\"/x\"/>", "<a/href=\"" PREFIX "/x\"/>"},
        {"<a title=\"<a href='/x'>\" href='/y'>", "<a title=\"<a href='/x'>\" href='" PREFIX "/y'>"},
        {"<a title=a\"b href='/y'>", "<a title=a\"b href='" PREFIX "/y'>"},
        {"<a href=\"/x?a&amp;b'\">", "<a href=\"" PREFIX "/x?a&amp;b'\">"},
        {"<a href\n=\n\"/x\">", "<a href\n=\n\"" PREFIX "/x\">"},
        {"<a b href=/x>", "<a b href=" PREFIX "/x>"},
        {"<a ==href=/x href=/y>", "<a ==href=/x href=" PREFIX "/y>"},
        {"<<a href=/x>", "<<a href=" PREFIX "/x>"},
        {"</p q='>' ><a href=/x>", "</p q='>' ><a href=" PREFIX "/x>"},
        {"<body><svg><a href=/x></svg>", "<body><svg><a href=" PREFIX "/x></svg>"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check_html(cases[i][0], cases[i][1]);
}

static void what_is_no_link_passes_byte_for_byte(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "no tags, href=\"/x\", a < b, <3, <>, </>, < a href=/x>",
        "<a>",
        "<a href>",
        "<a href=>",
        "<a href=''>",
        "<a data-href=/x ref=/x src=/x>",
        "<p href=/x><img srcset='/x 2x'><abc href=/x><meta content='0; url=/x'>",
        "<a-very-long-name-of-an-element href=/x><a a-very-long-name-of-an-attribute=/x>",
        "</a href='/x'>",
        "</ a href='/x'><!a href='/x'><?a href='/x'>",
        "<!-- <a href='/x'> --><!---><!--><!-- - -- <a href=/x> --!><!----!- <a href=/x> -->",
        "<![CDATA[<a href='/x'>]]>",
        "<style>a { x: '<a href=/x>' }</style>",
        "<title><a href='/x'></titl></title >",
        "<TEXTAREA><a href='/x'></textareas><a href='/x'></TextArea\n>",
        "<noscript><a href=/x></noscript><xmp><a href=/x></xmp><iframe><a href=/x></iframe>",
        "<script>'<a href=/x>'</script>",
        "<script><!-- <script> </script> <a href=/x> --></script>",
        "<script><!-- <script> --> <a href=/x> </script>",
        "<script><!--><a href=/x></script>",
        "<script/><a href=/x>",
        "<plaintext></plaintext><a href=/x>",
        /* Cut off */
        "<",
        "</",
        "<!",
        "<!-",
        "<a href=/x",
        "<a href='/x",
        "<a title=\"<a href='/x'>",
        "\xff\xfe<\x01\x02 \xc3<a \xc3=/x>",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check_html(cases[i], cases[i]);
}

static void tags_behind_raw_text_are_tags_again(void **state)
{
    (void)state;
    static const char *const before[] = {
        "<!-- x --><!--x--!><!--->",
        "<!>",
        "</>",
        "<!x><?x>",
        "<script src=x>'</scrip' </script>",
        "<script></script x='>'>",
        "<script><!-- </script>",
        "<script><!-- <script> --> </script>",
        "<script><!-- <script> </script> </script>",
        "<script><!-- <scripts> </script>",
        "<style></style/>",
        "<title>x</TITLE>",
        "<textarea><</textarea>",
    };
    for (size_t i = 0; i < ARRAY_COUNT(before); i++) {
        cleanup_buffer struct buffer in = {0}, expected = {0};
        buffer_printf(&in, "%s<a href='/x'>", before[i]);
        buffer_printf(&expected, "%s<a href='" PREFIX "/x'>", before[i]);
        check_html(in.data, expected.data);
    }
}

static void a_long_value_passes_and_what_follows_is_seen(void **state)
{
    (void)state;
    cleanup_buffer struct buffer in = {0}, expected = {0};
    buffer_add_string(&in, "<a href='/");
    for (size_t i = 0; i < 3 * PROXY_LINK_MAX; i++)
        buffer_add_char(&in, 'x');
    buffer_add(&expected, in.data, in.size);
    buffer_add_string(&in, "'><a href='/y'>");
    buffer_add_string(&expected, "'><a href='" PREFIX "/y'>");
    check_html(in.data, expected.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_paths_of_the_same_host_lead_through_the_proxy),
        cmocka_unit_test(other_links_stay),
        cmocka_unit_test(references_to_characters_are_read_and_stay_as_they_are),
        cmocka_unit_test(a_link_that_is_too_long_stays),
        cmocka_unit_test(links_of_every_element_that_has_some_are_found),
        cmocka_unit_test(only_the_value_of_a_link_changes),
        cmocka_unit_test(what_is_no_link_passes_byte_for_byte),
        cmocka_unit_test(tags_behind_raw_text_are_tags_again),
        cmocka_unit_test(a_long_value_passes_and_what_follows_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
