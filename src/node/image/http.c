/* HTTP requests by libcurl. */
#include "node/image/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/http_reason.h"
#include "node/image/curl.h"

#define USER_AGENT "coracle"

struct http_client {
    CURL *curl;
    struct http_options options;
};

/* One request under way. */
struct exchange {
    struct http_client *client;
    const struct http_request *request;
    struct http_response *response;
    struct error failure; /* of a callback */
};

struct http_client *image_http_client_new(const struct http_options *options)
{
    struct error err;
    struct http_client *client = mem_zero(1, sizeof(*client));
    client->options = *options;
    if (image_curl_load(&err) < 0)
        return client; /* sending says why */
    client->curl = curl_easy_init();
    if (!client->curl)
        abort(); /* out of memory */
    return client;
}

void image_http_client_free(struct http_client *client)
{
    if (!client)
        return;
    if (client->curl)
        curl_easy_cleanup(client->curl);
    free(client);
}

void image_http_client_cleanup(struct http_client **client)
{
    image_http_client_free(*client);
}

static void forget_headers(struct http_response *response)
{
    for (size_t i = 0; i < response->challenge_count; i++)
        free(response->challenges[i]);
    response->challenge_count = 0;
    response->content_type[0] = response->content_digest[0] = 0;
    response->has_range = false;
    response->range_start = 0;
    response->retry_after = 0;
}

void image_http_response_free(struct http_response *response)
{
    forget_headers(response);
    buffer_free(&response->body);
    memset(response, 0, sizeof(*response));
}

/* ---- What libcurl calls ---- */

static void take_header(struct http_response *response, const char *name, const char *value)
{
    static const char unit[] = "bytes ";
    if (strcasecmp(name, "content-type") == 0) {
        snprintf(response->content_type, sizeof(response->content_type), "%s", value);
    } else if (strcasecmp(name, "docker-content-digest") == 0) {
        snprintf(response->content_digest, sizeof(response->content_digest), "%s", value);
    } else if (strcasecmp(name, "content-range") == 0) {
        bool in_bytes = strncmp(value, unit, strlen(unit)) == 0 && isdigit((unsigned char)value[strlen(unit)]);
        char *end = NULL;
        unsigned long long start = in_bytes ? strtoull(value + strlen(unit), &end, 10) : 0;
        response->has_range = end && *end == '-';
        response->range_start = response->has_range ? start : 0;
    } else if (strcasecmp(name, "retry-after") == 0) {
        long seconds = strtol(value, NULL, 10);
        response->retry_after = seconds > 0 && seconds < INT32_MAX ? (unsigned)seconds : 0;
    } else if (strcasecmp(name, "www-authenticate") == 0 && response->challenge_count < HTTP_CHALLENGES_MAX) {
        response->challenges[response->challenge_count++] = mem_string(value);
    }
}

static size_t on_header(char *data, size_t one, size_t size, void *context)
{
    struct exchange *exchange = context;
    char line[HTTP_HEADER_MAX];
    size *= one;
    if (size >= sizeof(line))
        return size; /* none that matters is so long */
    memcpy(line, data, size);
    line[size] = 0;
    line[strcspn(line, "\r\n")] = 0;
    char *colon = strchr(line, ':');
    if (strncmp(line, "HTTP/", 5) == 0)
        forget_headers(exchange->response); /* of a redirect before */
    else if (colon) {
        *colon++ = 0;
        take_header(exchange->response, line, colon + strspn(colon, " \t"));
    }
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
    struct exchange *exchange = context;
    struct http_response *response = exchange->response;
    const struct http_request *request = exchange->request;
    size *= one;
    curl_easy_getinfo(exchange->client->curl, CURLINFO_RESPONSE_CODE, &response->status);
    bool good = response->status == 200 || response->status == 206;
    if (good && request->sink)
        return request->sink(request->context, response, data, size, &exchange->failure) < 0 ? 0 : size;
    size_t limit = good ? request->body_limit : HTTP_ERROR_BODY_MAX;
    if (response->body.size + size > limit && good) {
        error_set(&exchange->failure, E2BIG, "the answer to %s is larger than %zu bytes", request->url, limit);
        return 0;
    }
    if (response->body.size < limit)
        buffer_add(&response->body, data, response->body.size + size > limit ? limit - response->body.size : size);
    return size;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
    struct exchange *exchange = context;
    (void)total, (void)now, (void)up_total, (void)up_now;
    return cancelled(exchange->client->options.cancel);
}

/* ---- Errors, in the words of Go's HTTP client ---- */

static int transport_error(struct exchange *exchange, CURLcode code, const char *detail, struct error *err)
{
    const struct http_request *request = exchange->request;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "Head" : "Get";
    const char *authority = strstr(request->url, "://");
    char host[256] = "";
    long port = 0, os_error = 0;
    curl_easy_getinfo(exchange->client->curl, CURLINFO_OS_ERRNO, &os_error);
    curl_easy_getinfo(exchange->client->curl, CURLINFO_PRIMARY_PORT, &port);
    if (authority) {
        authority += strlen("://");
        size_t size = *authority == '[' ? strcspn(authority, "]") + 1 : strcspn(authority, ":/?#");
        snprintf(host, sizeof(host), "%.*s", (int)size, authority);
    }
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return error_set(err, EHOSTUNREACH, "failed to do request: %s \"%s\": dial tcp: lookup %s: no such host",
                         method, request->url, host);
    case CURLE_COULDNT_CONNECT:
        return error_set(err, EHOSTUNREACH, "failed to do request: %s \"%s\": dial tcp: connect: %s", method,
                         request->url, os_error ? strerror((int)os_error) : detail);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(err, EHOSTUNREACH, "failed to do request: %s \"%s\": i/o timeout (%s)", method, request->url,
                         detail);
    case CURLE_PEER_FAILED_VERIFICATION:
        return error_set(err, EHOSTUNREACH, "failed to do request: %s \"%s\": tls: failed to verify certificate: %s",
                         method, request->url, detail);
    default:
        return error_set(err, EPROTO, "failed to do request: %s \"%s\": %s", method, request->url, detail);
    }
}

int image_http_status_error(const struct http_request *request, const struct http_response *response, struct error *err)
{
    const char *text = http_reason((int)response->status);
    int code = response->status == 401 || response->status == 403 ? EACCES : response->status == 404 ? ENOENT : EPROTO;
    return error_set(err, code, "unexpected status from %s request to %s: %ld%s%s", request->method, request->url,
                     response->status, text ? " " : "", text ? text : "");
}

bool image_http_status_transient(long status)
{
    return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

char *image_http_escape(const char *text)
{
    struct buffer out = {0};
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        buffer_printf(&out, isalnum(*c) || strchr("-._~", *c) ? "%c" : "%%%02X", *c);
    return buffer_steal(&out, NULL);
}

/* ---- Sending ---- */

static struct curl_slist *make_headers(const struct http_request *request)
{
    struct curl_slist *headers = NULL;
    if (request->accept) {
        cleanup_free char *line = mem_printf("Accept: %s", request->accept);
        headers = curl_slist_append(headers, line);
    }
    if (request->authorization) {
        cleanup_free char *line = mem_printf("Authorization: %s", request->authorization);
        headers = curl_slist_append(headers, line);
    }
    return headers;
}

static void configure(struct exchange *exchange, struct curl_slist *headers, char detail[CURL_ERROR_SIZE])
{
    CURL *curl = exchange->client->curl;
    const struct http_options *options = &exchange->client->options;
    const struct http_request *request = exchange->request;
    bool secure = strncmp(request->url, "https:", 6) == 0 && !options->unverified;
    curl_easy_reset(curl); /* connections stay */
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(request->method, "HEAD") == 0 ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, USER_AGENT);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)HTTP_REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                     options->stall_seconds ? (long)options->stall_seconds : (long)HTTP_STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    if (options->direct)
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (options->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    if (options->unverified) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (request->from) {
        char range[32];
        snprintf(range, sizeof(range), "%llu-", (unsigned long long)request->from);
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
    }
}

int image_http_send(struct http_client *client, const struct http_request *request, struct http_response *response,
                    struct error *err)
{
    struct exchange exchange = {.client = client, .request = request, .response = response};
    char detail[CURL_ERROR_SIZE] = "";
    memset(response, 0, sizeof(*response));
    if (image_curl_load(err) < 0)
        return -1;
    struct curl_slist *headers = make_headers(request);
    configure(&exchange, headers, detail);
    CURLcode code = curl_easy_perform(client->curl);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &response->status);
    curl_slist_free_all(headers);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(client->curl, CURLOPT_ERRORBUFFER, NULL);
    if (code == CURLE_OK)
        return 0;
    if (cancelled(client->options.cancel))
        return error_set(err, ECANCELED, "context canceled");
    if (exchange.failure.code)
        return error_set(err, exchange.failure.code, "%s", exchange.failure.text);
    response->not_http =
        response->status == 0 && (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
                                  code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY);
    response->cut = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
                    code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_HTTP2_STREAM ||
                    code == CURLE_HTTP2;
    return transport_error(&exchange, code, *detail ? detail : curl_easy_strerror(code), err);
}
