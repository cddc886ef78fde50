/* A probe is one exchange, and one more for each redirect that it follows. */
#include "node/http_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "node/http_exchange.h"
#include "node/http_url.h"

struct http_prober {
    struct env *env;
    struct http_client *client;
};

struct http_probe {
    struct http_prober *prober;
    const struct http_get_action *get;
    struct arena *arena;
    struct http_url url;
    const char *first_host;
    const char *host_header; /* the action's own; NULL: none any more */
    const char *referrer;    /* NULL: none */
    const char *user_agent;
    int requests;
    bool any_status, plain;
    struct http_exchange *exchange;
    struct env_timer *timer;
    http_probe_done done;
    void *context;
};

static void probe_free(struct http_probe *p)
{
    http_exchange_cancel(p->exchange);
    env_timer_free(p->timer);
    arena_free(p->arena);
    free(p);
}

void http_probe_cancel(struct http_probe *p)
{
    if (p)
        probe_free(p);
}

const char *http_probe_authority(const struct http_probe *p)
{
    return p->url.authority;
}

static void finish(struct http_probe *p, enum http_probe_outcome outcome, const char *text)
{
    env_timer_stop(p->timer);
    p->done(p->context, outcome, text);
    probe_free(p);
}

/* As Go's client words an error of a request. */
static void fail(struct http_probe *p, const char *url, const char *reason)
{
    bool plain = strcmp(reason, HTTP_EXCHANGE_PLAIN) == 0;
    finish(p, plain ? HTTP_PROBE_UNENCRYPTED : HTTP_PROBE_FAILED,
           arena_printf(p->arena, "Get \"%s\": %s", url, reason));
}

static void timed_out(void *context)
{
    struct http_probe *p = context;
    bool answered = http_exchange_status(p->exchange);
    fail(p, http_url_text(p->arena, &p->url),
         answered ? "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                  : "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

/* ---- The request ---- */

static void ask(struct http_probe *p);

/* A header that is named with an empty value is not sent, as by Go. */
static void write_request(struct http_probe *p, struct buffer *out)
{
    static const char *const names[] = {"Host", "User-Agent", "Accept", "Referer"};
    enum { HOST, REFERRER = 3 };
    const char *values[] = {p->url.authority, p->user_agent, "*/*", p->referrer};
    const struct http_header_array *headers = &p->get->http_headers;
    for (size_t i = 0; i < headers->count; i++)
        for (size_t n = HOST + 1; n < ARRAY_COUNT(names); n++)
            if (strcasecmp(headers->items[i].name, names[n]) == 0)
                values[n] = headers->items[i].value;
    if (!text_empty(p->host_header))
        values[HOST] = p->host_header;
    buffer_printf(out, "GET %s HTTP/1.1\r\n", p->url.target);
    for (size_t n = 0; n < ARRAY_COUNT(names); n++)
        if (!text_empty(values[n]))
            buffer_printf(out, "%s: %s\r\n", names[n], values[n]);
    for (size_t i = 0; i < headers->count; i++) {
        const struct http_header *h = &headers->items[i];
        bool sent = p->plain && strcasecmp(h->name, "Authorization") == 0;
        for (size_t n = 0; n < ARRAY_COUNT(names); n++)
            sent |= strcasecmp(h->name, names[n]) == 0;
        if (!sent)
            buffer_printf(out, "%s: %s\r\n", h->name, text_or_empty(h->value));
    }
    buffer_add_string(out, "Connection: close\r\n\r\n");
}

/* ---- The answer ---- */

static bool leads_on(const struct http_answer *answer)
{
    int status = answer->status;
    return !text_empty(answer->location) &&
           (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}

static void judge(struct http_probe *p, const struct http_answer *answer)
{
    int status = answer->status;
    if (p->any_status || (status >= 200 && status < 300))
        finish(p, HTTP_PROBE_SUCCEEDED, NULL);
    else if (status >= 300 && status < 400)
        finish(
            p, HTTP_PROBE_WARNED,
            arena_printf(p->arena, "Probe terminated redirects, Response body: %s", text_or_empty(answer->text.data)));
    else
        finish(p, HTTP_PROBE_FAILED, arena_printf(p->arena, "HTTP probe failed with statuscode: %d", status));
}

static void follow(struct http_probe *p, const struct http_answer *answer)
{
    struct http_url next;
    const char *location = answer->location;
    if (http_url_resolve(p->arena, &p->url, location, &next) < 0) {
        fail(p, http_url_text(p->arena, &p->url),
             arena_printf(p->arena, "failed to parse Location header \"%s\"", location));
    } else if (!text_equal(next.host, p->first_host)) {
        judge(p, answer);
    } else if (p->requests == HTTP_PROBE_REQUESTS_MAX) {
        fail(p, location, "stopped after 10 redirects");
    } else if (strcmp(next.scheme, "http") != 0 && strcmp(next.scheme, "https") != 0) {
        fail(p, location, arena_printf(p->arena, "unsupported protocol scheme \"%s\"", next.scheme));
    } else {
        bool to_clear = strcmp(p->url.scheme, "https") == 0 && strcmp(next.scheme, "http") == 0;
        p->referrer = to_clear ? NULL : http_url_text(p->arena, &p->url);
        if (http_url_is_absolute(location))
            p->host_header = NULL;
        p->url = next;
        ask(p);
    }
}

static void answered(void *context, const struct http_answer *answer, const char *failure)
{
    struct http_probe *p = context;
    p->exchange = NULL;
    if (failure)
        fail(p, http_url_text(p->arena, &p->url), failure);
    else if (leads_on(answer))
        follow(p, answer);
    else
        judge(p, answer);
}

static void ask(struct http_probe *p)
{
    cleanup_buffer struct buffer request = {0};
    write_request(p, &request);
    p->requests++;
    p->exchange = http_exchange_start(p->prober->client, strcmp(p->url.scheme, "https") == 0, p->url.host, p->url.port,
                                      request.data, answered, p);
}

/* ---- */

struct http_prober *http_prober_new(struct env *env)
{
    struct http_prober *prober = mem_zero(1, sizeof(*prober));
    prober->env = env;
    prober->client = http_client_new(env_uv_loop(env));
    return prober;
}

void http_prober_free(struct http_prober *prober)
{
    http_client_free(prober->client);
    free(prober);
}

struct http_probe *http_probe_start(struct http_prober *prober, const struct http_get_action *get,
                                    const struct http_probe_options *options, http_probe_done done, void *context)
{
    struct http_probe *p = mem_zero(1, sizeof(*p));
    const char *path = text_empty(get->path) ? "/" : get->path;
    p->prober = prober;
    p->get = get;
    p->arena = arena_new(1024);
    p->any_status = options->any_status;
    p->plain = options->plain;
    p->user_agent = arena_string(p->arena, options->user_agent);
    p->done = done;
    p->context = context;
    http_url_make(p->arena, text_equal(get->scheme, "HTTPS") && !options->plain, options->host, options->port, path,
                  &p->url);
    p->first_host = p->url.host;
    for (size_t i = 0; i < get->http_headers.count; i++)
        if (strcasecmp(get->http_headers.items[i].name, "Host") == 0)
            p->host_header = get->http_headers.items[i].value;
    p->timer = env_timer_new(prober->env, timed_out, p);
    if (options->timeout)
        env_timer_start(p->timer, options->timeout);
    ask(p);
    return p;
}
