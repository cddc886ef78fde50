/* Speaking to a registry: which scheme, which authorization, and when to try again. */
#include "node/image/registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "node/image/challenge.h"

#define CANCEL_POLL_MILLISECONDS 20

/* Docker Hub's registry has another name than its images. */
#define HUB_DOMAIN "docker.io"
#define HUB_HOST "registry-1.docker.io"

static bool is_loopback(const char *host)
{
    char name[IMAGE_NAME_MAX + 1];
    struct in_addr address;
    size_t n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    snprintf(name, sizeof(name), "%.*s", (int)n, host);
    if (strcmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

void image_registry_start(struct registry *registry, const struct image_reference *reference,
                          const struct image_pull_options *options, const struct image_credential *credential,
                          const struct cancel *cancel)
{
    const char *host = strcmp(reference->domain, HUB_DOMAIN) == 0 ? HUB_HOST : reference->domain;
    *registry =
        (struct registry){.reference = reference, .options = options, .credential = credential, .cancel = cancel};
    registry->host = mem_string(host);
    registry->loopback = registry->insecure = is_loopback(host);
    for (size_t i = 0; i < options->insecure_registry_count; i++)
        if (strcmp(options->insecure_registries[i], host) == 0)
            registry->insecure = true;
    registry->tls = !registry->insecure;
    registry->scheme_settled = !registry->insecure;
    pthread_mutex_init(&registry->mutex, NULL);
}

void image_registry_discard(struct registry *registry)
{
    free(registry->host);
    free(registry->authorization);
    pthread_mutex_destroy(&registry->mutex);
}

struct http_client *image_registry_client(const struct registry *registry)
{
    const struct http_options options = {.cancel = registry->cancel,
                                         .ca_file = registry->options->ca_file,
                                         .unverified = registry->insecure,
                                         .direct = registry->loopback,
                                         .stall_seconds = registry->options->stall_seconds};
    return image_http_client_new(&options);
}

/* ---- Authorization ---- */

static bool has_credential(const struct registry *registry)
{
    return registry->credential && *registry->credential->username;
}

static char *basic_value(const struct image_credential *credential)
{
    cleanup_free char *plain = mem_printf("%s:%s", credential->username, credential->password);
    size_t n = strlen(plain);
    cleanup_free char *encoded = mem_zero(1, BASE64_SIZE(n) + 1);
    base64_encode(plain, n, encoded);
    return mem_printf("Basic %s", encoded);
}

/* The URL that gives a token for pulling from the repository, with the scope that the challenge asks for, too. */
static char *token_url(const struct registry *registry, const struct challenge *challenge)
{
    cleanup_free char *own = mem_printf("repository:%s:pull", registry->reference->path);
    cleanup_free char *scope = image_http_escape(own), *asked = image_http_escape(challenge->scope);
    cleanup_free char *service = image_http_escape(challenge->service);
    cleanup_buffer struct buffer url = {0};
    bool more = *asked && strcmp(challenge->scope, own) != 0;
    buffer_printf(&url, "%s%cscope=%s", challenge->realm, strchr(challenge->realm, '?') ? '&' : '?', scope);
    if (more)
        buffer_printf(&url, "&scope=%s", asked);
    if (*service)
        buffer_printf(&url, "&service=%s", service);
    return buffer_steal(&url, NULL);
}

static bool is_host_of(const char *host, const char *url)
{
    const char *start = strstr(url, "://");
    return start && strcspn(start + 3, "/?#") == strlen(host) && strncmp(start + 3, host, strlen(host)) == 0;
}

static int read_token(const struct http_response *response, char **out, struct error *err)
{
    json_error_t where;
    json_t *root = json_loadb(response->body.data ? response->body.data : "", response->body.size, 0, &where);
    const char *token = json_string_value(json_object_get(root, "token"));
    if (!token)
        token = json_string_value(json_object_get(root, "access_token"));
    bool printable = token && *token;
    for (const char *p = token; printable && *p; p++)
        printable = *p > ' ' && *p < 127; /* it goes into a header */
    if (printable)
        *out = mem_printf("Bearer %s", token);
    json_decref(root);
    return printable ? 0 : error_set(err, EPROTO, "authorization server did not include a token in the response");
}

static int fetch_token(const struct registry *registry, const struct challenge *challenge, char **out,
                       struct error *err)
{
    cleanup_http_response struct http_response response = {0};
    cleanup_free char *url = token_url(registry, challenge);
    cleanup_free char *basic = has_credential(registry) ? basic_value(registry->credential) : NULL;
    const struct http_request request = {
        .method = "GET", .url = url, .authorization = basic, .body_limit = REGISTRY_TOKEN_MAX};
    bool https = strncmp(challenge->realm, "https://", 8) == 0;
    if (!https && strncmp(challenge->realm, "http://", 7) != 0)
        return error_set(err, EPROTO, "invalid token auth challenge realm: %.200s", challenge->realm);
    if (!https && basic && registry->tls)
        return error_set(err, EACCES, "refusing to send credentials to %.200s without TLS", challenge->realm);
    /* The token server is another host than the registry: what was granted for that one does not hold here. */
    const struct http_options options = {.cancel = registry->cancel,
                                         .ca_file = registry->options->ca_file,
                                         .unverified =
                                             registry->insecure && is_host_of(registry->host, challenge->realm),
                                         .direct = registry->loopback,
                                         .stall_seconds = registry->options->stall_seconds};
    cleanup_http_client struct http_client *client = image_http_client_new(&options);
    int result = image_http_send(client, &request, &response, err);
    if (result == 0 && response.status != 200)
        result = image_http_status_error(&request, &response, err);
    if (result == 0)
        result = read_token(&response, out, err);
    return result == 0 ? 0 : error_wrap(err, "failed to fetch %s token", basic ? "oauth" : "anonymous");
}

/* Answers a 401: sets the authorization that the next attempt carries. `sent` is the generation that was refused. */
static int authorize(struct registry *registry, const struct http_response *response, unsigned sent, struct error *err)
{
    struct challenge challenge = {0};
    char *value = NULL;
    pthread_mutex_lock(&registry->mutex);
    int result = 0;
    if (registry->generation == sent) {
        if (!image_challenge_choose(response->challenges, response->challenge_count, &challenge))
            result = error_set(err, EACCES, "failed to find supported auth scheme: not implemented");
        else if (challenge.bearer)
            result = fetch_token(registry, &challenge, &value, err);
        else if (!has_credential(registry))
            result = error_set(err, EACCES,
                               "pull access denied, repository does not exist or may require "
                               "authorization: authorization failed: no basic auth credentials");
        else
            value = basic_value(registry->credential);
        if (result == 0) {
            free(registry->authorization);
            registry->authorization = value;
            registry->generation++;
        } else if (challenge.bearer) {
            error_wrap(err, "failed to authorize");
        }
    }
    pthread_mutex_unlock(&registry->mutex);
    return result;
}

/* A token was refused although it was made for this: say what the registry says of it. */
static int refused(const struct http_request *request, const struct http_response *response, struct error *err)
{
    struct challenge challenge;
    if (image_challenge_choose(response->challenges, response->challenge_count, &challenge) && challenge.bearer &&
        *challenge.error)
        return error_set(err, EACCES,
                         "pull access denied, repository does not exist or may require authorization: "
                         "server message: %.64s: authorization failed",
                         challenge.error);
    return image_http_status_error(request, response, err);
}

/* ---- Requests ---- */

static int send_once(struct registry *registry, struct http_client *client, const struct registry_request *request,
                     struct http_response *response, unsigned *generation, bool *tls, struct error *err)
{
    pthread_mutex_lock(&registry->mutex);
    cleanup_free char *authorization = registry->authorization ? mem_string(registry->authorization) : NULL;
    *generation = registry->generation;
    *tls = registry->tls;
    pthread_mutex_unlock(&registry->mutex);
    cleanup_free char *url = mem_printf("%s://%s/v2/%s/%s", *tls ? "https" : "http", registry->host,
                                        registry->reference->path, request->path);
    const struct http_request http = {.method = request->method,
                                      .url = url,
                                      .accept = request->accept,
                                      .authorization = authorization,
                                      .from = request->from,
                                      .body_limit = request->body_limit,
                                      .sink = request->sink,
                                      .context = request->data};
    if (image_http_send(client, &http, response, err) < 0)
        return -1;
    if (response->status == 401 && *generation > 0)
        refused(&http, response, err);
    else if (response->status >= 300)
        image_http_status_error(&http, response, err);
    return 0;
}

/* An insecure registry is spoken to without TLS first; what answers like a TLS server is tried with it. */
static bool should_switch_scheme(struct registry *registry, const struct http_response *response, bool tls)
{
    pthread_mutex_lock(&registry->mutex);
    bool wrong = response->not_http || (response->status == 400 && response->challenge_count == 0);
    bool change = !registry->scheme_settled && !tls && wrong;
    if (change)
        registry->tls = true;
    if (change || response->status)
        registry->scheme_settled = true;
    pthread_mutex_unlock(&registry->mutex);
    return change;
}

int image_registry_send(struct registry *registry, struct http_client *client, const struct registry_request *request,
                        struct http_response *response, struct error *err)
{
    struct error failure = {0};
    unsigned generation;
    bool tls;
    int result = send_once(registry, client, request, response, &generation, &tls, &failure);
    if (should_switch_scheme(registry, response, tls)) {
        struct error second = {0};
        image_http_response_free(response);
        result = send_once(registry, client, request, response, &generation, &tls, &second);
        failure = second;
    }
    if (result == 0 && response->status == 401) {
        /* A token may have expired in a long pull; a new one is as good as the first. */
        if (authorize(registry, response, generation, err) < 0)
            return -1;
        image_http_response_free(response);
        result = send_once(registry, client, request, response, &generation, &tls, &failure);
    }
    if (result < 0 || response->status >= 300)
        error_set(err, failure.code, "%s", failure.text);
    return result;
}

int image_registry_pause(struct registry *registry, int attempt, unsigned retry_after, struct error *err)
{
    uint64_t wait =
        registry->options->retry_milliseconds ? registry->options->retry_milliseconds : REGISTRY_PAUSE_MILLISECONDS;
    wait <<= attempt > 1 ? attempt - 1 : 0;
    if (wait < (uint64_t)retry_after * 1000)
        wait = (uint64_t)retry_after * 1000;
    if (wait > REGISTRY_PAUSE_MAX_MILLISECONDS)
        wait = REGISTRY_PAUSE_MAX_MILLISECONDS;
    for (uint64_t waited = 0; waited < wait; waited += CANCEL_POLL_MILLISECONDS) {
        uint64_t step = wait - waited < CANCEL_POLL_MILLISECONDS ? wait - waited : CANCEL_POLL_MILLISECONDS;
        const struct timespec pause = {0, (long)step * 1000000};
        if (cancelled(registry->cancel))
            return error_set(err, ECANCELED, "context canceled");
        nanosleep(&pause, NULL);
    }
    return 0;
}

int image_registry_fetch(struct registry *registry, struct http_client *client, const struct registry_request *request,
                         struct http_response *response, struct error *err)
{
    for (int attempt = 1;; attempt++) {
        struct error failure = {0};
        int result = image_registry_send(registry, client, request, response, &failure);
        if (result == 0 && response->status == 200)
            return 0;
        bool again = result < 0 ? response->cut : image_http_status_transient(response->status);
        if (!again || attempt == REGISTRY_ATTEMPTS_MAX)
            return error_set(err, failure.code ? failure.code : EPROTO, "%s", failure.text);
        unsigned retry_after = response->retry_after;
        image_http_response_free(response);
        if (image_registry_pause(registry, attempt, retry_after, err) < 0)
            return -1;
    }
}
