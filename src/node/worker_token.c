/* The service account tokens that a pod's projected volumes show: asked for before the volumes are made, kept, and asked
 * for again when a fifth of their life is left, as upstream's kubelet does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/worker.h"

/* Between two attempts to renew. */
#define RENEW_RETRY (30 * SECOND)
/* A token that lives longer is renewed after a day, as upstream has it. */
#define RENEW_MAX (24 * HOUR)
#define SECONDS_DEFAULT 3600

/* One token; worker->tokens. */
struct worker_token {
    struct worker_token *next;
    char *audience; /* "" is the API server */
    int64_t seconds;
    char *text; /* NULL: none yet */
    int64_t renew_at, expires_at;
    struct error err; /* of the last attempt */
};

/* The requests that one mounting waits for. */
struct token_fetch {
    struct worker *worker;
    size_t pending;
    env_callback done;
    void *context;
};

struct token_call {
    struct token_fetch *fetch;
    struct worker_token *token;
};

static const char *audience_of(const struct service_account_token_projection *p)
{
    return p->audience ? p->audience : "";
}

static int64_t seconds_of(const struct service_account_token_projection *p)
{
    return p->expiration_seconds.set ? p->expiration_seconds.value : SECONDS_DEFAULT;
}

static struct worker_token *find(struct worker *w, const struct service_account_token_projection *p)
{
    for (struct worker_token *t = w->tokens; t; t = t->next)
        if (t->seconds == seconds_of(p) && strcmp(t->audience, audience_of(p)) == 0)
            return t;
    return NULL;
}

int64_t worker_token_renewal(int64_t now, int64_t seconds, int64_t expires_at)
{
    int64_t at = expires_at - seconds * SECOND / 5, latest = now + RENEW_MAX;
    return at < latest ? at : latest;
}

static void forget_text(struct worker_token *t)
{
    if (t->text)
        explicit_bzero(t->text, strlen(t->text));
    free(t->text);
    t->text = NULL;
}

static void answered(void *context, const struct client_result *result)
{
    struct token_call *call = context;
    struct worker_token *t = call->token;
    struct token_fetch *fetch = call->fetch;
    int64_t now = env_now(fetch->worker->agent->env);
    const struct token_request *answer = client_ok(result) ? result->value : NULL;
    if (answer && answer->status.token) {
        forget_text(t);
        t->text = mem_string(answer->status.token);
        t->expires_at = answer->status.expiration_timestamp;
        t->renew_at = worker_token_renewal(now, t->seconds, t->expires_at);
    } else {
        error_set(&t->err, EAGAIN, "failed to fetch token: %s", result->status ? result->status->message : "");
        t->renew_at = now + RENEW_RETRY;
    }
    free(call);
    if (--fetch->pending)
        return;
    fetch->done(fetch->context);
    free(fetch);
}

static void ask(struct token_fetch *fetch, struct worker_token *t)
{
    struct worker *w = fetch->worker;
    const struct pod *pod = worker_pod(w);
    struct client_request *r = client_request_new(CLIENT_CREATE, &api_resources[API_SERVICEACCOUNTS],
                                                  pod->metadata.namespace, pod->spec.service_account_name);
    struct token_request *body = arena_alloc(r->arena, sizeof(*body));
    struct bound_object_reference *bound = arena_alloc(r->arena, sizeof(*bound));
    *bound = (struct bound_object_reference){.api_version = "v1",
                                             .kind = "Pod",
                                             .name = arena_string(r->arena, pod->metadata.name),
                                             .uid = arena_string(r->arena, pod->metadata.uid)};
    body->spec.bound_object_ref = bound;
    body->spec.expiration_seconds = opt_int64(t->seconds);
    if (*t->audience) {
        body->spec.audiences.items = arena_alloc(r->arena, sizeof(*body->spec.audiences.items));
        body->spec.audiences.items[body->spec.audiences.count++] = arena_string(r->arena, t->audience);
    }
    struct token_call *call = mem_zero(1, sizeof(*call));
    *call = (struct token_call){fetch, t};
    r->subresource = "token";
    r->body = body;
    fetch->pending++;
    client_submit(w->agent->client, r, answered, call);
}

/* Calls visit for each token that the volumes show. */
static void each(struct worker *w, void (*visit)(void *context, const struct service_account_token_projection *p),
                 void *context)
{
    const struct pod *pod = worker_pod(w);
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct projected_volume_source *projected = pod->spec.volumes.items[i].projected;
        for (size_t k = 0; projected && k < projected->sources.count; k++)
            if (projected->sources.items[k].service_account_token)
                visit(context, projected->sources.items[k].service_account_token);
    }
}

static void fetch_if_due(void *context, const struct service_account_token_projection *p)
{
    struct token_fetch *fetch = context;
    struct worker *w = fetch->worker;
    struct worker_token *t = find(w, p);
    if (t && t->text && env_now(w->agent->env) < t->renew_at)
        return;
    if (!t) {
        t = mem_zero(1, sizeof(*t));
        t->audience = mem_string(audience_of(p));
        t->seconds = seconds_of(p);
        t->next = w->tokens;
        w->tokens = t;
    } else if (t->renew_at == INT64_MAX) {
        return; /* two volumes show the same token, and it has been asked for */
    }
    t->renew_at = INT64_MAX;
    ask(fetch, t);
}

bool worker_fetch_tokens(struct worker *w, env_callback done, void *context)
{
    struct token_fetch *fetch = mem_zero(1, sizeof(*fetch));
    *fetch = (struct token_fetch){.worker = w, .done = done, .context = context};
    each(w, fetch_if_due, fetch);
    if (fetch->pending)
        return true;
    free(fetch);
    return false;
}

const char *worker_token_text(void *context, const struct service_account_token_projection *p, struct error *err)
{
    struct worker *w = context;
    const struct worker_token *t = find(w, p);
    if (t && t->text && env_now(w->agent->env) < t->expires_at)
        return t->text;
    if (err && t)
        *err = t->err;
    return NULL;
}

static void renew(void *context)
{
    worker_update_volumes(context);
}

void worker_plan_renewal(struct worker *w)
{
    int64_t first = INT64_MAX, now = env_now(w->agent->env);
    for (const struct worker_token *t = w->tokens; t; t = t->next)
        first = t->renew_at < first ? t->renew_at : first;
    if (first == INT64_MAX)
        return;
    if (!w->renewal)
        w->renewal = env_timer_new(w->agent->env, renew, w);
    env_timer_start(w->renewal, first > now ? first - now : 0);
}

void worker_forget_tokens(struct worker *w)
{
    env_timer_free(w->renewal);
    w->renewal = NULL;
    for (struct worker_token *t = w->tokens, *next; t; t = next) {
        next = t->next;
        forget_text(t);
        free(t->audience);
        free(t);
    }
    w->tokens = NULL;
}
