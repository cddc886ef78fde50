/* Shared by the files of the API server. */
#ifndef CORACLE_SERVER_PRIVATE_H
#define CORACLE_SERVER_PRIVATE_H

#include "api/status.h"
#include "api/table.h"
#include "server/http/http.h"
#include "server/route.h"
#include "server/server.h"

struct documents;
struct request_metrics;

struct server {
    struct server_options options;
    struct http_server *http;
    struct mailbox *core; /* to the core thread */
    struct client *client; /* submits as the user of each request; core thread */
    struct documents *documents;
    struct request_metrics *metrics;
    env_callback stopped;
    void *stopped_context;
    struct env_timer *renewal; /* of the server certificate */
};

/* ---- Negotiation: what the client wants to get ---- */

enum answer_form { ANSWER_OBJECT, ANSWER_TABLE, ANSWER_METADATA };

struct negotiated {
    enum answer_form form;
    const char *version; /* of meta.k8s.io: "v1" or "v1beta1" */
    bool pretty;
};

#define CONTENT_JSON "application/json"

/* Reads Accept. False: nothing that we can write is accepted. */
bool negotiate(const struct http_request *request, struct negotiated *out);
/* The media type of the body, without parameters, in lower case, cut to size. */
void content_type(const struct http_request *request, char *out, size_t size);
/* True when the parameter is given and is not "false" or "0". */
bool parameter_flag(const struct http_request *request, const char *name);

/* ---- Answers, on the I/O thread ---- */

void answer_status(struct http_request *request, const struct status *status);
void answer_warning(struct http_request *request, const char *text);
/* A body made here, as JSON. */
void answer_json(struct http_request *request, int code, struct buffer *json);

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

/* Fills selectors of a list or watch from the parameters; a Status when they are wrong. */
struct status *rest_selectors(struct arena *arena, const struct http_request *request, const struct route *route,
                              const struct selector **labels, const struct field_selector **fields);
/* Table options from parameters; NULL or a Status. */
struct status *rest_table_options(struct arena *arena, const struct http_request *request,
                                  const struct negotiated *negotiated, struct table_options *out);

/* ---- Documents that never change: discovery, OpenAPI, version ---- */

struct documents *documents_new(void);
void documents_free(struct documents *documents);
/* Answers when the path is one of them. */
bool documents_handle(struct documents *documents, struct http_request *request);

/* ---- Metrics ---- */

struct request_metrics *request_metrics_new(void);
void request_metrics_free(struct request_metrics *metrics);
/* Any thread. verb is upstream's: "GET", "LIST", "WATCH", "POST"... */
void request_metrics_count(struct request_metrics *metrics, const char *verb, const char *resource, int code,
                           int64_t microseconds);
/* Answers /metrics, gathering on the core thread. */
void metrics_handle(struct server *server, struct http_request *request);
void request_metrics_write(struct request_metrics *metrics, struct buffer *out);

#endif
