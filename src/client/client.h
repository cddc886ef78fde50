/* Requests to the API, the same for everyone: controllers, scheduler, node agent, network, and the HTTP server
 * that passes on what remote clients ask. A transport carries them: in process (registry/registry.h) or HTTPS
 * (client/https.h). Callers cannot tell which.
 *
 * All calls are asynchronous: the callback runs on the thread of the transport, from its loop, exactly once,
 * never inside the call. A write is answered when it is durable.
 *
 *     struct client_request *r = client_request_new(CLIENT_CREATE, &api_resources[API_PODS], "default", NULL);
 *     r->body = pod;                          // built in r->arena
 *     client_submit(client, r, created, context);
 */
#ifndef CORACLE_CLIENT_CLIENT_H
#define CORACLE_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/object.h"
#include "api/patch.h"
#include "api/selector.h"
#include "base/arena.h"

enum client_verb {
    CLIENT_GET,
    CLIENT_LIST,
    CLIENT_CREATE,
    CLIENT_UPDATE,
    CLIENT_PATCH,
    CLIENT_DELETE,
    CLIENT_DELETE_COLLECTION,
};

/* Who asks. Strings live as long as the request. */
struct client_user {
    const char *name;
    const char *uid;
    const char *const *groups; /* NULL-terminated */
    const char *extra;         /* what else is known: JSON, lists of strings by key; NULL: nothing */
};

enum client_field_validation { CLIENT_VALIDATE_WARN, CLIENT_VALIDATE_STRICT, CLIENT_VALIDATE_IGNORE };

struct client_request {
    struct arena *arena; /* owns the request itself and all that it points to */
    enum client_verb verb;
    const struct api_resource *resource;
    const char *subresource; /* NULL: the object itself */
    const char *namespace;  /* NULL: cluster-scoped, or all namespaces for a list */
    const char *name;
    const struct client_user *user; /* NULL: the transport's own */
    bool trusted; /* set by the registry: it comes from a part of its own process, which no role binds */
    const char *field_manager;
    bool dry_run;

    /* create, update: the object, of type resource->type, or what the subresource takes (api/discovery.h: scale, binding,
     * token). The transport defaults and validates it. */
    void *body;

    /* patch */
    enum patch_kind patch_kind;
    const char *patch;
    size_t patch_size;
    enum client_field_validation field_validation; /* of the patched object */

    /* delete, delete collection; NULL: none */
    const struct delete_options *delete_options;

    /* list, delete collection */
    const struct selector *label_selector;       /* NULL: all */
    const struct field_selector *field_selector; /* NULL: all */
    int64_t limit;                               /* 0: none */
    const char *continue_;
    const char *resource_version; /* get and list; with resource_version_match as upstream defines them */
    const char *resource_version_match;
};

/* Borrowed for the time of the callback; take a reference to keep an object. */
struct client_result {
    int code;                    /* HTTP status: 200, 201, 404, 409 ... */
    const struct status *status; /* set when code >= 400, and when a delete answers with a Status */
    struct object *object;       /* get, create, update, patch, delete */
    const void *value;           /* instead of an object: a Scale, a TokenRequest, a review ... */
    const struct api_type *value_type;
    uint64_t revision;           /* of the write, or of the list */
    /* list */
    struct object *const *items;
    size_t count;
    const char *continue_;
    int64_t remaining; /* items left behind continue_; -1: not known */
    /* Texts for Warning headers. */
    const char *const *warnings;
    size_t warning_count;
};

typedef void (*client_done)(void *context, const struct client_result *result);

/* true when the answer is not an error. */
static inline bool client_ok(const struct client_result *result)
{
    return result->code < 400;
}

enum client_event_kind { CLIENT_ADDED, CLIENT_MODIFIED, CLIENT_DELETED, CLIENT_BOOKMARK, CLIENT_ERROR };

struct client_event {
    enum client_event_kind kind;
    struct object *object; /* borrowed; NULL for bookmarks and errors */
    struct object *previous; /* in process only: the state before; else NULL */
    uint64_t revision;
    bool initial_events_end;     /* the bookmark that ends sendInitialEvents */
    const struct status *status; /* of CLIENT_ERROR; 410: list again. The watch is over and must be freed. */
};

typedef void (*client_event_callback)(void *context, const struct client_event *event);

struct client_watch_options {
    const struct api_resource *resource;
    const char *namespace;                      /* NULL: all */
    const struct selector *label_selector;       /* must outlive the watch; NULL: all */
    const struct field_selector *field_selector; /* as above */
    uint64_t from;                               /* events after this revision; 0 with send_initial_events: all that is there first */
    bool send_initial_events;
    bool bookmarks;
};

struct client;
struct client_watch;

/* A transport embeds this as its first member. */
struct client_operations {
    void (*submit)(struct client *client, struct client_request *request, client_done done, void *context);
    struct client_watch *(*watch)(struct client *client, const struct client_watch_options *options,
                                  client_event_callback callback, void *context);
    void (*watch_free)(struct client_watch *watch);
};

struct client {
    const struct client_operations *operations;
    struct env *env;
};

struct client_watch {
    struct client *client;
};

/* A request in an arena of its own. Strings are copied. */
struct client_request *client_request_new(enum client_verb verb, const struct api_resource *resource,
                                          const char *namespace, const char *name);
/* For a request that is not submitted after all. */
void client_request_free(struct client_request *request);
/* Takes the request. done may be NULL. */
void client_submit(struct client *client, struct client_request *request, client_done done, void *context);
/* Events in the order of revisions. No callback runs after client_watch_free. */
struct client_watch *client_watch(struct client *client, const struct client_watch_options *options,
                                  client_event_callback callback, void *context);
void client_watch_free(struct client_watch *watch);

/* The verbs in short. Values are copied, except that client_create and client_update take over `arena` when it is not NULL. */
void client_get(struct client *client, const struct api_resource *resource, const char *namespace, const char *name,
                client_done done, void *context);
void client_create(struct client *client, const struct api_resource *resource, const char *namespace,
                   struct arena *arena, void *value, client_done done, void *context);
void client_update(struct client *client, const struct api_resource *resource, const char *subresource,
                   struct arena *arena, void *value, client_done done, void *context);
/* propagation: "Background", "Foreground", "Orphan" or NULL; grace in seconds, negative: the object's own;
 * uid: precondition, or NULL. */
void client_delete(struct client *client, const struct api_resource *resource, const char *namespace,
                   const char *name, const char *uid, int64_t grace, const char *propagation, client_done done,
                   void *context);
void client_patch(struct client *client, const struct api_resource *resource, const char *subresource,
                  const char *namespace, const char *name, enum patch_kind kind, const char *patch, client_done done,
                  void *context);

#endif
