/* Shared by the files of the API server. */
#ifndef CORACLE_SERVER_PRIVATE_H
#define CORACLE_SERVER_PRIVATE_H

#include "api/json.h"
#include "api/status.h"
#include "api/table.h"
#include "server/http/http.h"
#include "server/route.h"
#include "server/server.h"

struct documents;
struct list_cache;
struct request_metrics;

struct server {
    struct server_options options;
    struct http_server *http;
    struct mailbox *core;  /* to the core thread */
    struct client *client; /* submits as the user of each request; core thread */
    struct documents *documents;
    struct list_cache *lists;
    struct request_metrics *metrics;
    env_callback stopped;
    void *stopped_context;
    struct env_timer *renewal; /* of the server certificate */
    int64_t started;           /* microseconds since the epoch */
    size_t watches;            /* of clients; core thread */
};

/* ---- Negotiation: what the client wants to get (negotiate.c) ---- */

enum answer_form { ANSWER_OBJECT, ANSWER_TABLE, ANSWER_METADATA };
enum answer_encoding { ENCODE_JSON, ENCODE_YAML };

struct negotiated {
    enum answer_form form;
    enum answer_encoding encoding;
    const char *api_version; /* "meta.k8s.io/v1" or "meta.k8s.io/v1beta1" */
};

#define CONTENT_JSON "application/json"
#define CONTENT_YAML "application/yaml"
/* What negotiation chooses from: for a whole answer, and for a watch. */
#define ACCEPTED CONTENT_JSON ", " CONTENT_YAML
#define ACCEPTED_WATCH CONTENT_JSON ";stream=watch"

/* Reads Accept, by the quality of what it names. False: nothing that we can write is accepted. */
bool negotiate(const struct http_request *request, struct negotiated *out);
/* The same for what comes in no other form, a Status or discovery; JSON when nothing else is accepted. */
enum answer_encoding negotiate_plain(const struct http_request *request);
/* The media type of the body, without parameters, in lower case, cut to size (decode.c). */
void content_type(const struct http_request *request, char *out, size_t size);
/* True when the parameter is given and is not "false" or "0" (options.c). */
bool parameter_flag(const struct http_request *request, const char *name);

/* ---- Answers, on the I/O thread (answer.c) ---- */

/* In the encoding that Accept asks for. */
void answer_status(struct http_request *request, const struct status *status);
/* When to ask again; 0: nothing is said. */
void answer_retry_after(struct http_request *request, int seconds);
/* Each text once; the last header says how many did not fit. */
void answer_warnings(struct http_request *request, const char *const *texts, size_t count);
/* Warns of a kind that upstream has deprecated, whatever is done with it. */
void answer_deprecation(struct http_request *request, const struct api_resource *resource);
/* A body of JSON without blanks, in lent runs, which are taken over; they are copied unless JSON is what is wanted. */
void answer_runs(struct http_request *request, int code, enum answer_encoding encoding, const struct http_bytes *runs,
                 size_t count);
/* A body made here, as JSON, which is taken over. */
void answer_json(struct http_request *request, int code, enum answer_encoding encoding, struct buffer *json);

/* ---- The kinds of requests ---- */

struct rest_request {
    struct server *server;
    struct http_request *http;
    struct route route;
    struct negotiated negotiated;
    const struct client_user *user; /* in the arena */
    struct arena *arena;            /* of the request; passes to whoever carries it on */
};

/* Each takes the arena over and answers. On the I/O thread. */
void rest_handle(struct rest_request *request);
void watch_handle(struct rest_request *request);
void log_handle(struct rest_request *request);
/* pods/exec and pods/attach. */
void exec_handle(struct rest_request *request);
void port_forward_handle(struct rest_request *request);
/* pods/proxy, services/proxy and nodes/proxy. */
void proxy_handle(struct rest_request *request);

/* Finds out who asks and whether he may, then calls pass on the request's I/O thread, now or later; refused: why not.
 * The arena goes to pass (gate.c). */
void gate_enter(struct server *server, struct http_request *request, struct arena *arena,
                void (*pass)(struct rest_request *request, struct status *refused));

/* The container that a request for a pod's log or streams means: *container, or the only one when it is NULL; else the
 * Status in upstream's words (pod_container.c). */
struct status *pod_container_choose(struct arena *arena, const struct pod *pod, const char **container);

/* ---- What is measured, not stored (usage.c) ---- */

/* Carries out a get or list of a computed resource as client_submit carries out others. Core thread. */
void usage_submit(struct server *server, struct client_request *request, client_done done, void *context);

/* ---- Parameters (options.c): NULL, or the Status that refuses them ---- */

/* A number; unset when it is missing or empty. */
struct status *parameter_int(struct arena *arena, const struct http_request *request, const char *name,
                             struct opt_int64 *out);
/* fieldManager, fieldValidation and dryRun; kind is that of the options: "CreateOptions". */
struct status *options_for_write(struct arena *arena, const struct http_request *request, const char *kind,
                                 struct client_request *out);
struct status *options_for_delete(struct arena *arena, const struct http_request *request, struct delete_options *out);
struct status *options_selectors(struct arena *arena, const struct http_request *request, const struct route *route,
                                 const struct selector **labels, const struct field_selector **fields);
struct status *options_for_list(struct arena *arena, const struct http_request *request, const struct route *route,
                                struct client_request *out);
/* What `out` points to lives in the arena and in the route. */
struct status *options_for_watch(struct arena *arena, const struct http_request *request, const struct route *route,
                                 struct client_watch_options *out, struct opt_int64 *timeout);
struct status *options_for_table(struct arena *arena, const struct http_request *request,
                                 const struct negotiated *negotiated, struct table_options *out);

/* ---- Bodies (decode.c) ---- */

/* What a body has to be. */
struct body_type {
    const struct api_type *type; /* with the fields kind and apiVersion */
    const char *api_version, *kind;
    const char *older; /* another apiVersion that will do; NULL: none */
    bool any_version;  /* of any group: DeleteOptions */
};

/* What a lenient decoder passed over. */
struct body_report {
    struct json_report fields;
    const char *yaml; /* keys that a YAML body sets twice, as api/yaml.h reports them; NULL: none. In the arena */
};

/* Reads the body into *value, in the arena `values`; a body without kind and version is taken for what it has to be.
 * NULL, or the Status that refuses it, in `arena`. */
struct status *decode_body(struct arena *arena, const struct http_request *http, const struct body_type *expected,
                           struct arena *values, void **value, struct body_report *report);
/* `X in version "v1" cannot be handled as a X`. */
const char *decode_complaint(struct arena *arena, const struct body_type *expected);

/* ---- Lists (lists.c) ---- */

/* The serialized items of a list. Any thread. */
struct list_body;
/* Lists with fewer items are not worth keeping, and longer bodies are not made: their items are sent one by one. */
#define LIST_CACHE_MIN 32
#define LIST_BODY_MAX (32 * 1024 * 1024)

/* NULL when it would be longer than LIST_BODY_MAX. */
struct list_body *list_body_new(struct object *const *items, size_t count);
struct list_body *list_body_ref(struct list_body *body);
/* NULL is fine. */
void list_body_unref(struct list_body *body);
/* The items with a reference to them. */
struct http_bytes list_body_run(struct list_body *body);

/* Core thread. */
struct list_cache *list_cache_new(struct server *server);
void list_cache_free(struct list_cache *cache);
/* The items of all objects of the route's resource and namespace as they are now, with a reference; or NULL. */
struct list_body *list_cache_find(struct list_cache *cache, const struct route *route);
/* Takes a body over that was true when the resource had last changed at that revision. */
void list_cache_offer(struct list_cache *cache, const struct route *route, uint64_t changed, struct list_body *body);

/* ---- Documents that never change: discovery, OpenAPI, version ---- */

struct documents *documents_new(void);
void documents_free(struct documents *documents);
/* Answers when the path is one of them. */
bool documents_handle(struct documents *documents, struct http_request *request);

/* ---- Metrics ---- */

enum request_verb {
    VERB_GET,
    VERB_LIST,
    VERB_WATCH,
    VERB_POST,
    VERB_PUT,
    VERB_PATCH,
    VERB_DELETE,
    VERB_DELETE_COLLECTION,
    VERB_OTHER,
};

struct request_metrics *request_metrics_new(void);
void request_metrics_free(struct request_metrics *metrics);
/* Any thread. route NULL: of no resource. */
void request_metrics_count(struct request_metrics *metrics, const struct route *route, enum request_verb verb, int code,
                           int64_t microseconds);
/* Answers /metrics, gathering on the core thread. */
void metrics_handle(struct server *server, struct http_request *request);

#endif
