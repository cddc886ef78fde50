/* The same API over HTTP/2, as Go's clients speak it: many requests and watches at a time on one connection, and
 * streams that are reset while events come. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "base/cleanup.h"

#define WATCHES 100

struct stream {
    CURL *easy;
    struct curl_slist *headers;
    struct buffer body;
    size_t lines;
    bool done;
    CURLcode result;
};

static CURLM *multi;

static size_t take(char *data, size_t size, size_t count, void *context)
{
    struct stream *s = context;
    buffer_add(&s->body, data, size * count);
    for (size_t i = 0; i < size * count; i++)
        s->lines += data[i] == '\n';
    return size * count;
}

static void set_blob(CURL *easy, CURLoption option, const char *pem)
{
    struct curl_blob blob = {.data = (void *)(uintptr_t)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};
    assert_int_equal(curl_easy_setopt(easy, option, &blob), CURLE_OK);
}

static struct stream *begin(const char *method, const char *path, const char *body)
{
    struct stream *s = mem_zero(1, sizeof(*s));
    cleanup_free char *url = mem_printf("https://127.0.0.1:%d%s", api_port(), path);
    s->easy = curl_easy_init();
    set_blob(s->easy, CURLOPT_CAINFO_BLOB, api_authority());
    set_blob(s->easy, CURLOPT_SSLCERT_BLOB, api_admin()->certificate);
    set_blob(s->easy, CURLOPT_SSLKEY_BLOB, api_admin()->key);
    s->headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(s->easy, CURLOPT_URL, url);
    curl_easy_setopt(s->easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
    curl_easy_setopt(s->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(s->easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    if (body)
        curl_easy_setopt(s->easy, CURLOPT_COPYPOSTFIELDS, body);
    curl_multi_add_handle(multi, s->easy);
    return s;
}

static void end(struct stream *s)
{
    curl_multi_remove_handle(multi, s->easy);
    curl_easy_cleanup(s->easy);
    curl_slist_free_all(s->headers);
    buffer_free(&s->body);
    free(s);
}

/* Lets things happen once. */
static void turn(void)
{
    int running, left, ready;
    assert_int_equal(curl_multi_perform(multi, &running), CURLM_OK);
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
        struct stream *s;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &s);
        s->done = true;
        s->result = message->data.result;
    }
    assert_int_equal(curl_multi_poll(multi, NULL, 0, 100, &ready), CURLM_OK);
}

static void wait_done(struct stream *s)
{
    for (int i = 0; !s->done && i < WAIT_SECONDS * 10; i++)
        turn();
    assert_true(s->done);
}

static void wait_lines(struct stream *s, size_t lines)
{
    for (int i = 0; s->lines < lines && !s->done && i < WAIT_SECONDS * 10; i++)
        turn();
    assert_int_equal(s->lines, lines);
}

static long code(struct stream *s)
{
    long n = 0, version = 0;
    wait_done(s);
    assert_int_equal(s->result, CURLE_OK);
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &n);
    curl_easy_getinfo(s->easy, CURLINFO_HTTP_VERSION, &version);
    assert_int_equal(version, CURL_HTTP_VERSION_2);
    return n;
}

static void requests_share_a_connection(void **state)
{
    (void)state;
    struct stream *streams[50];
    char body[64], path[128];
    for (size_t i = 0; i < ARRAY_COUNT(streams); i++) {
        snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"cm-%zu\"}}", i);
        streams[i] = begin("POST", CONFIG_MAPS, body);
    }
    for (size_t i = 0; i < ARRAY_COUNT(streams); i++) {
        assert_int_equal(code(streams[i]), 201);
        end(streams[i]);
        snprintf(path, sizeof(path), CONFIG_MAPS "/cm-%zu", i);
        streams[i] = begin(i % 2 ? "GET" : "DELETE", path, NULL);
    }
    for (size_t i = 0; i < ARRAY_COUNT(streams); i++) {
        assert_int_equal(code(streams[i]), 200);
        end(streams[i]);
    }
    struct stream *s = begin("GET", CONFIG_MAPS, NULL);
    assert_int_equal(code(s), 200);
    assert_non_null(strstr(s->body.data, "\"cm-49\""));
    assert_null(strstr(s->body.data, "\"cm-48\""));
    end(s);
}

static void watches_share_a_connection_and_end_one_by_one(void **state)
{
    (void)state;
    struct stream *streams[WATCHES];
    char name[16];
    for (size_t i = 0; i < WATCHES; i++)
        streams[i] = begin("GET", CONFIG_MAPS "?watch=1", NULL);
    make_config_map("first", "1");
    for (size_t i = 0; i < WATCHES; i++)
        wait_lines(streams[i], 1);
    /* Half of them are reset, one after every event. */
    for (size_t i = 0; i < WATCHES; i += 2) {
        snprintf(name, sizeof(name), "cm-%zu", i);
        make_config_map(name, "1");
        turn();
        end(streams[i]);
    }
    for (size_t i = 1; i < WATCHES; i += 2)
        wait_lines(streams[i], 1 + WATCHES / 2);
    for (size_t i = 1; i < WATCHES; i += 2)
        end(streams[i]);
    /* The connection is as good as new; the client sends its resets with the next request. */
    struct stream *after = begin("GET", CONFIG_MAPS "/first", NULL);
    assert_int_equal(code(after), 200);
    end(after);
}

static void a_watch_ends_with_its_stream(void **state)
{
    (void)state;
    struct stream *s = begin("GET", CONFIG_MAPS "?watch=1&timeoutSeconds=1", NULL);
    assert_int_equal(code(s), 200);
    end(s);
}

static int start(void **state)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1L);
    return api_start(state);
}

static int stop(void **state)
{
    curl_multi_cleanup(multi);
    int result = api_stop(state);
    curl_global_cleanup();
    return result;
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(requests_share_a_connection),
        test(a_watch_ends_with_its_stream),
        test(watches_share_a_connection_and_end_one_by_one),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
