/* A stage for tests of controllers and scheduler: a simulated cluster, and the verbs of a session with it. Objects are
 * written as JSON and looked up by path, so that a test reads like what a user does and sees. Time passes only when a
 * test lets it pass. */
#ifndef CORACLE_TEST_SIM_STAGE_H
#define CORACLE_TEST_SIM_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/timestamp.h"
#include "sim/cluster.h"
#include "store/store.h"

struct stage {
    struct sim_cluster *cluster;
    struct env *env;
    struct client *client;
};

/* A calm cluster without nodes, controllers running. Containers start and become ready at once. */
struct stage *stage_new(void);
/* Every delay and fault that the options name. */
struct stage *stage_new_with(const struct sim_cluster_options *options);
void stage_free(struct stage *s);
/* A node with 4 cpus, 8 GiB and room for 110 pods; returns its place. */
size_t stage_node(struct stage *s, const char *name);

/* Lets so many microseconds pass. */
void stage_run(struct stage *s, int64_t duration);
/* Lets time pass until the condition holds; fails the test after 10 minutes. */
typedef bool (*stage_condition)(struct stage *s, const void *argument);
#define stage_until(s, condition, argument) stage_until_((s), (condition), (argument), #condition, __FILE__, __LINE__)
void stage_until_(struct stage *s, stage_condition condition, const void *argument, const char *name, const char *file,
                  int line);
/* The condition that the pod of a path has a node. */
bool stage_is_bound(struct stage *s, const void *path);

/* The verbs. Paths: "pods/NAMESPACE/NAME[/SUBRESOURCE]", "nodes/NAME"; a create names the namespace only. They return
 * the HTTP code. */
int stage_create(struct stage *s, const char *path, const char *json);
int stage_patch(struct stage *s, const char *path, const char *json); /* strategic merge, as kubectl */
int stage_delete(struct stage *s, const char *path, const char *propagation);
/* A Deployment of one container with the label app=NAME and some cpu; strategy is JSON or NULL. */
void stage_deploy(struct stage *s, const char *name, int replicas, const char *image, const char *strategy);

/* The stored object, borrowed until time passes; NULL. */
struct object *stage_get(struct stage *s, const char *path);
/* A field of it: "status/replicas", "status/conditions/Available/reason" (elements of lists by number, type or name).
 * Strings come without quotes, the rest as JSON; NULL when it is not there. Valid until the next call. */
const char *stage_field(struct stage *s, const char *path, const char *field);
#define assert_stage(s, path, name, wanted) assert_stage_((s), (path), (name), (wanted), __FILE__, __LINE__)
void assert_stage_(struct stage *s, const char *path, const char *name, const char *wanted, const char *file, int line);

/* Objects of a resource in a namespace ("" for all) with a label (NULL: any), in the order of names. */
size_t stage_list(struct stage *s, const char *plural, const char *namespace, const char *label, const char *value,
                  struct object **out, size_t room);
size_t stage_count(struct stage *s, const char *plural, const char *namespace, const char *label, const char *value);
/* The newest message of an event with this reason about an object of this kind; NULL. */
const char *stage_event(struct stage *s, const char *kind, const char *reason);
/* Ready pods of app=NAME that are not being deleted. */
size_t stage_ready(struct stage *s, const char *app);

#endif
