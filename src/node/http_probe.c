/* libcurl's multi interface driven by libuv: curl says which sockets to poll and when it wants to be called. */
#include "node/http_probe.h"

#include <curl/curl.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/timestamp.h"

/* Bytes of an answer's body that are read; the rest is not waited for. */
#define BODY_MAX (10 * 1024)

struct http_prober {
    struct env *env;
    CURLM *multi;
    uv_timer_t timer;
};

struct poll {
    uv_poll_t handle;
    struct http_prober *prober;
    curl_socket_t socket;
};

struct http_probe {
    struct http_prober *prober;
    CURL *easy;
    struct curl_slist *headers;
    char *url;
    size_t received;
    bool any_status;
    char error[CURL_ERROR_SIZE];
    http_probe_done done;
    void *context;
};

static void probe_free(struct http_probe *p)
{
    curl_multi_remove_handle(p->prober->multi, p->easy);
    curl_easy_cleanup(p->easy);
    curl_slist_free_all(p->headers);
    free(p->url);
    free(p);
}

/* Why there is no connection, as Go words it. */
static void describe_refusal(const struct http_probe *p, char *out, size_t size)
{
    const char *address = strstr(p->url, "://") + 3;
    long number = 0;
    curl_easy_getinfo(p->easy, CURLINFO_OS_ERRNO, &number);
    const char *why = strerror(number ? (int)number : ECONNREFUSED);
    snprintf(out, size, "Get \"%s\": dial tcp %.*s: connect: %c%s", p->url, (int)strcspn(address, "/?"), address,
             tolower((unsigned char)*why), why + 1);
}

static void finish(struct http_probe *p, CURLcode code)
{
    char text[CURL_ERROR_SIZE + 512];
    const char *failure = NULL;
    long status = 0;
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    /* A body that was cut at its limit does not matter, the status came before it. */
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && status)) {
        if (code == CURLE_OPERATION_TIMEDOUT)
            snprintf(text, sizeof(text), "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                     p->url);
        else if (code == CURLE_COULDNT_CONNECT)
            describe_refusal(p, text, sizeof(text));
        else
            snprintf(text, sizeof(text), "Get \"%s\": %s", p->url, *p->error ? p->error : curl_easy_strerror(code));
        failure = text;
    } else if (!p->any_status && (status < 200 || status >= 400)) {
        snprintf(text, sizeof(text), "HTTP probe failed with statuscode: %ld", status);
        failure = text;
    }
    http_probe_done done = p->done;
    void *context = p->context;
    probe_free(p);
    done(context, failure);
}

static void take_finished(struct http_prober *prober)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(prober->multi, &left));) {
        struct http_probe *p;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &p);
        finish(p, message->data.result);
    }
}

static void socket_ready(uv_poll_t *handle, int status, int events)
{
    struct poll *poll = handle->data;
    struct http_prober *prober = poll->prober;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    curl_multi_socket_action(prober->multi, poll->socket, flags, &running);
    take_finished(prober);
}

static void poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *of_socket)
{
    (void)easy;
    struct http_prober *prober = context;
    struct poll *poll = of_socket;
    if (what == CURL_POLL_REMOVE) {
        if (poll) {
            uv_poll_stop(&poll->handle);
            uv_close((uv_handle_t *)&poll->handle, poll_closed);
            curl_multi_assign(prober->multi, socket, NULL);
        }
        return 0;
    }
    if (!poll) {
        poll = mem_zero(1, sizeof(*poll));
        poll->prober = prober;
        poll->socket = socket;
        poll->handle.data = poll;
        uv_poll_init(env_uv_loop(prober->env), &poll->handle, socket);
        curl_multi_assign(prober->multi, socket, poll);
    }
    uv_poll_start(&poll->handle, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  socket_ready);
    return 0;
}

static void timer_fired(uv_timer_t *timer)
{
    struct http_prober *prober = timer->data;
    int running;
    curl_multi_socket_action(prober->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_finished(prober);
}

static int on_timer(CURLM *multi, long milliseconds, void *context)
{
    (void)multi;
    struct http_prober *prober = context;
    if (milliseconds < 0)
        uv_timer_stop(&prober->timer);
    else
        uv_timer_start(&prober->timer, timer_fired, (uint64_t)milliseconds, 0);
    return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    struct http_probe *p = context;
    p->received += size * count;
    return p->received > BODY_MAX ? 0 : size * count;
}

struct http_prober *http_prober_new(struct env *env)
{
    struct http_prober *prober = mem_zero(1, sizeof(*prober));
    prober->env = env;
    prober->multi = curl_multi_init();
    uv_timer_init(env_uv_loop(env), &prober->timer);
    prober->timer.data = prober;
    curl_multi_setopt(prober->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(prober->multi, CURLMOPT_SOCKETDATA, prober);
    curl_multi_setopt(prober->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(prober->multi, CURLMOPT_TIMERDATA, prober);
    return prober;
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void http_prober_free(struct http_prober *prober)
{
    curl_multi_cleanup(prober->multi);
    uv_close((uv_handle_t *)&prober->timer, timer_closed);
}

struct http_probe *http_probe_start(struct http_prober *prober, const struct http_get_action *get,
                                    const struct http_probe_options *options, http_probe_done done, void *context)
{
    struct http_probe *p = mem_zero(1, sizeof(*p));
    const char *path = get->path && *get->path ? get->path : "/";
    bool https = get->scheme && strcmp(get->scheme, "HTTPS") == 0, agent = false, accept = false;
    p->prober = prober;
    p->any_status = options->any_status;
    p->done = done;
    p->context = context;
    p->url = mem_printf("%s://%s:%d%s%s", https ? "https" : "http", options->host, options->port,
                        *path == '/' ? "" : "/", path);
    for (size_t i = 0; i < get->http_headers.count; i++) {
        const struct http_header *h = &get->http_headers.items[i];
        cleanup_free char *line =
            mem_printf(h->value && *h->value ? "%s: %s" : "%s;", h->name, h->value ? h->value : "");
        p->headers = curl_slist_append(p->headers, line);
        agent |= strcasecmp(h->name, "User-Agent") == 0;
        accept |= strcasecmp(h->name, "Accept") == 0;
    }
    if (!agent) {
        cleanup_free char *line = mem_printf("User-Agent: %s", options->user_agent);
        p->headers = curl_slist_append(p->headers, line);
    }
    if (!accept)
        p->headers = curl_slist_append(p->headers, "Accept: */*");
    p->headers = curl_slist_append(p->headers, "Connection: close");
    p->easy = curl_easy_init();
    curl_easy_setopt(p->easy, CURLOPT_URL, p->url);
    curl_easy_setopt(p->easy, CURLOPT_PRIVATE, p);
    curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, p->headers);
    curl_easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(p->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(p->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(p->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(p->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(p->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(p->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)(options->timeout / MILLISECOND));
    curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(p->easy, CURLOPT_WRITEDATA, p);
    curl_easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->error);
    curl_multi_add_handle(prober->multi, p->easy);
    return p;
}

void http_probe_cancel(struct http_probe *p)
{
    if (p)
        probe_free(p);
}
