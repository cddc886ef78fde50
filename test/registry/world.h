/* A registry over a memory engine, and calls that wait for their answer. Objects are written as JSON and answers
 * are read as text, so that tests read like a session with the API. */
#ifndef CORACLE_TEST_REGISTRY_WORLD_H
#define CORACLE_TEST_REGISTRY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

#include "base/env.h"
#include "client/client.h"
#include "registry/registry.h"
#include "store/store.h"

struct world {
    uv_loop_t loop;
    struct env *env;
    struct store *store;
    struct registry *registry;
    struct client *client;
};

/* What a request was answered with. `text` is the object's or list item's JSON, or the Status message. */
struct reply {
    bool done;
    int code;
    const char *text;
    const char *reason;
    struct object *object; /* held */
    struct object **items; /* held */
    size_t count;
    const char *continue_;
    int64_t remaining;
    uint64_t revision;
    const struct status *status;
    const void *value;   /* of a Scale, TokenRequest or review */
    const char *warning; /* the first */
    const char **warnings;
    size_t warning_count;
    struct arena *arena;
};

/* Ready to use, with the namespaces and the service that the registry makes at start. */
struct world *world_new(void);
void world_free(struct world *w);
/* A new registry over the same store, as a new process has it. */
void world_restart(struct world *w);
/* Runs the loop until nothing is left to do. */
void settle(struct world *w);

/* Sends the request and waits. The reply is valid until the next call; at most one of them is. */
struct reply *call(struct world *w, struct client_request *request);
/* The verbs. path: "pods/NAMESPACE/NAME", "nodes/NAME", "deployments/NAMESPACE/NAME/scale". */
struct client_request *request(enum client_verb verb, const char *path);
struct reply *get(struct world *w, const char *path);
struct reply *create(struct world *w, const char *path, const char *json);
struct reply *update(struct world *w, const char *path, const char *json);
struct reply *patch(struct world *w, const char *path, const char *json); /* merge patch */
struct reply *delete_(struct world *w, const char *path, const char *options);
struct reply *list(struct world *w, const char *path);

/* Follows "a.b[0].c" in the reply's object; NULL when it is not there. Strings come without quotes. */
const char *field(struct reply *reply, const char *path);

#define assert_field(reply, path, wanted) assert_text_(field((reply), (path)), (wanted), __FILE__, __LINE__)
#define assert_code(reply, wanted) assert_code_((reply), (wanted), __FILE__, __LINE__)
void assert_text_(const char *text, const char *wanted, const char *file, int line);
void assert_code_(struct reply *reply, int wanted, const char *file, int line);

/* The events of a watch as text: "A name=LABEL M ... D ... B" with the value of the label "v". */
struct events {
    struct client_watch *watch;
    char text[8192];
    int code; /* of an error */
    char message[512];
    uint64_t revision;
};
void watch_begin(struct world *w, struct events *events, const struct client_watch_options *options);
/* What came since the last call. */
const char *watch_text(struct world *w, struct events *events);
void watch_end(struct events *events);

#endif
