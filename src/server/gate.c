/* Who asks, and whether he may: client certificates, bearer tokens, impersonation and authorization.
 *
 * Who shows a certificate of the group that may do everything goes straight on, unless he acts as somebody else. For
 * all others the core thread looks whether what a token is bound to is still there, and asks the registry for a
 * decision; then the I/O thread goes on.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/impersonation.h"
#include "server/private.h"

#define BEARER "bearer "
#define METHOD_NAME_MAX 32

/* A request on its way through the gate; lives in the request's arena. */
struct passage {
    struct rest_request request; /* what goes on */
    bool is_path;                /* of no resource */
    const char *token;           /* NULL: a certificate */
    struct token_claims claims;
    struct status *refused;
    void (*pass)(struct rest_request *request, struct status *refused);
};

/* The user of a verified client certificate, as upstream reads it: CN is the name, O are the groups. */
static const struct client_user *certificate_user(struct arena *arena, const struct http_request *request)
{
    const struct http_peer *peer = request->peer;
    if (peer->certificate != HTTP_CERTIFICATE_VERIFIED || !peer->common_name || !*peer->common_name)
        return NULL;
    struct client_user *user = arena_alloc(arena, sizeof(*user));
    const char **groups = arena_alloc(arena, (peer->organization_count + 2) * sizeof(*groups));
    for (size_t i = 0; i < peer->organization_count; i++)
        groups[i] = arena_string(arena, peer->organizations[i]);
    groups[peer->organization_count] = "system:authenticated";
    user->name = arena_string(arena, peer->common_name);
    user->groups = groups;
    return user;
}

/* A bearer token that is signed, in time and for this server. */
static bool read_token(struct passage *p)
{
    static const char *own[] = {TOKEN_ISSUER};
    const struct string_array audiences = {own, ARRAY_COUNT(own)};
    const struct server *server = p->request.server;
    const char *header = http_request_header(p->request.http, "authorization");
    if (!server->options.tokens || !header || strncasecmp(header, BEARER, sizeof(BEARER) - 1) != 0)
        return false;
    p->token = arena_string(p->request.arena, header + sizeof(BEARER) - 1 + strspn(header + sizeof(BEARER) - 1, " "));
    return token_read(server->options.tokens, p->request.arena, p->token, env_now(server->options.env), &p->claims,
                      NULL) == 0 &&
           token_is_for(&p->claims, &audiences, NULL);
}

static const char *const method_verbs[] = {
    [HTTP_GET] = "get",    [HTTP_HEAD] = "get",    [HTTP_POST] = "create",
    [HTTP_PUT] = "update", [HTTP_PATCH] = "patch", [HTTP_DELETE] = "delete",
};

/* The verb, as upstream's RequestInfo has it. */
static const char *verb_of(const struct passage *p)
{
    const struct http_request *http = p->request.http;
    const struct route *route = &p->request.route;
    const char *verb = http->method < ARRAY_COUNT(method_verbs) ? method_verbs[http->method] : "";
    bool collection = !route->name;
    if (route->watch || (strcmp(verb, "get") == 0 && !route->subresource && parameter_flag(http, "watch")))
        return "watch";
    if (collection && strcmp(verb, "get") == 0)
        return "list";
    return collection && strcmp(verb, "delete") == 0 ? "deletecollection" : verb;
}

/* Whether the request opens a way into a container. Upstream asks for the verb create, too, of those that do with GET,
 * as WebSocket has to: else reading would be enough to run commands. */
static bool opens_container(const struct rest_request *r)
{
    static const char *const names[] = {"attach", "exec", "portforward"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (r->route.resource->index == API_PODS && r->route.subresource && strcmp(r->route.subresource, names[i]) == 0)
            return true;
    return false;
}

static struct access_request access_of(const struct passage *p)
{
    const struct rest_request *r = &p->request;
    struct access_request access = {.user = r->user};
    if (p->is_path) {
        char *method = arena_string_n(r->arena, r->http->method_name, strnlen(r->http->method_name, METHOD_NAME_MAX));
        for (char *c = method; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        access.verb = method;
        access.path = r->http->path;
        return access;
    }
    access.verb = verb_of(p);
    access.group = r->route.resource->group;
    access.version = r->route.resource->version;
    access.resource = r->route.bindings ? "bindings" : r->route.resource->plural;
    access.subresource = r->route.bindings ? NULL : r->route.subresource;
    /* The namespace of a namespace is itself. */
    access.namespace = r->route.resource->index == API_NAMESPACES ? r->route.name : r->route.namespace;
    access.name = r->route.name;
    return access;
}

/* ---- On the core thread, and back ---- */

static void go_on(void *context)
{
    struct passage *p = context;
    struct http_request *http = p->request.http;
    p->pass(&p->request, p->refused);
    http_request_release(http);
}

/* NULL, or why not. */
static struct status *ask(const struct rest_request *r, const struct access_request *access)
{
    struct access_decision decision;
    if (access_is_master(access->user))
        return NULL;
    registry_authorize(r->server->options.registry, r->arena, access, &decision);
    return decision.allowed ? NULL : registry_access_refused(r->arena, access, &decision);
}

/* Goes on as whom the headers name, if the user may. */
static struct status *impersonate(struct rest_request *r)
{
    struct impersonation asked;
    struct error err;
    if (!impersonation_is_asked(r->http))
        return NULL;
    if (impersonation_read(r->arena, r->http, &asked, &err) < 0)
        return api_status_internal_error(r->arena, err.text);
    for (size_t i = 0; i < asked.check_count; i++) {
        struct status *refused;
        asked.checks[i].user = r->user;
        if ((refused = ask(r, &asked.checks[i])))
            return refused;
    }
    r->user = asked.user;
    return NULL;
}

static struct status *decide(struct passage *p)
{
    struct rest_request *r = &p->request;
    if (p->token)
        r->user = registry_token_user(r->server->options.registry, r->arena, &p->claims, p->token, NULL);
    if (!r->user)
        return api_status_unauthorized(r->arena);
    struct status *refused = impersonate(r);
    if (refused)
        return refused;
    struct access_request access = access_of(p);
    refused = ask(r, &access);
    if (!refused && !p->is_path && opens_container(r)) {
        access.verb = "create";
        refused = ask(r, &access);
    }
    return refused;
}

static void judge(void *context)
{
    struct passage *p = context;
    struct rest_request *r = &p->request;
    p->refused = decide(p);
    mailbox_send(http_request_mailbox(r->http), go_on, p);
}

void gate_enter(struct server *server, struct http_request *request, struct arena *arena,
                void (*pass)(struct rest_request *request, struct status *refused))
{
    struct passage *p = arena_alloc(arena, sizeof(*p));
    p->request = (struct rest_request){.server = server, .http = request, .arena = arena};
    p->pass = pass;
    p->request.user = certificate_user(arena, request);
    if (!p->request.user && !read_token(p)) {
        pass(&p->request, api_status_unauthorized(arena));
        return;
    }
    if (p->request.user && access_is_master(p->request.user) && !impersonation_is_asked(request)) {
        pass(&p->request, NULL);
        return;
    }
    p->is_path = !route_parse(arena, request->path, &p->request.route) || !p->request.route.resource;
    http_request_retain(request);
    mailbox_send(server->core, judge, p);
}
