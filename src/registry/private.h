/* What the files of the registry share: the task that a request becomes, and the steps that verbs have in
 * common. All runs on the store's thread, from its loop. */
#ifndef CORACLE_REGISTRY_PRIVATE_H
#define CORACLE_REGISTRY_PRIVATE_H

#include "api/status.h"
#include "api/types.h"
#include "base/list.h"
#include "base/text.h"
#include "base/vector.h"
#include "registry/registry.h"

/* Names that a create with generateName draws before it gives up (upstream: maxNameGenerationCreateAttempts). */
#define REGISTRY_NAME_ATTEMPTS 8
/* Requests that may wait for their turn; further ones are answered 429. */
#define REGISTRY_QUEUE_MAX 65536
/* Bytes of an object's JSON. Upstream's store takes 1.5 MiB of protobuf; as for the bodies of requests, twice that is
 * allowed for what it becomes as JSON. Answered 500 with the words of etcd, as upstream does. */
#define REGISTRY_OBJECT_MAX (3 << 20)
/* Seconds that a client should wait after a 429. */
#define REGISTRY_RETRY_SECONDS 1

/* A request on its way to its answer. Lives in the request's arena. */
struct task {
    struct list node; /* in registry.tasks */
    struct registry *registry;
    struct client_request *request;
    struct arena *arena;
    const struct api_resource *resource; /* as the client named it */
    const struct api_resource *stored;   /* as the store holds it; differs for a second view (events.k8s.io) */
    client_done done;
    void *context;
    int code;              /* the answer's, when the write succeeds */
    struct object *answer; /* held; what a delete that took two writes answers with, ... */
    bool answer_status;    /* a delete answers with a Status, not the object */
    bool answer_scale;     /* answer with the Scale of the object written */
    bool evicts;           /* a delete that was asked for by an Eviction: answered with 201 */
    bool removes;          /* the write takes the object away */
    bool refused;          /* the queue was full */
    bool internal;         /* made by the registry: answered even while it is being freed */
    bool service_write;    /* the service's addresses are settled when the write is */
    struct object *old;    /* held; the state that the write is based on */
    const char **warnings;
    size_t warning_count;
};

struct service_addresses;
struct expiry;
struct triggers;

struct registry {
    struct env *env;
    struct store *store;
    const struct token_issuer *issuer;                                                 /* NULL: no tokens */
    char *service_cidr, *service_cidr6;                                                /* the latter NULL: no IPv6 */
    int64_t (*memory_used)(void *context, const char *pod_uid, const char *container); /* NULL: nobody knows */
    void *memory_context;
    int node_port_first, node_port_last;
    struct service_addresses *addresses;
    struct expiry *expiry;
    struct triggers *triggers;
    VECTOR(struct task *) queue;
    struct list tasks;   /* struct task.node: all that are not answered */
    struct list watches; /* struct registry_watch.node */
    struct env_timer *bookmarks;
    bool bookmarks_run;
    uint64_t watch_removals; /* counts up: watches that were freed */
    bool turn_deferred, freed;
    unsigned deferred; /* calls from the loop that are to come and need the shell */
};

enum generation_rule {
    GENERATION_NONE,
    GENERATION_FIRST,            /* 1 for good (priorityclasses) */
    GENERATION_SPEC,             /* bumped when the spec changes */
    GENERATION_SPEC_ANNOTATIONS, /* ... or the annotations (deployments) */
    GENERATION_ENDPOINTS,        /* when anything but metadata changes, or the labels do (endpointslices) */
};

/* How upstream's strategies for a resource differ from each other. */
struct strategy {
    enum generation_rule generation;
    bool create_on_update;      /* PUT of what is not there creates it */
    bool must_have_revision;    /* PUT without a resourceVersion is refused */
    bool returns_deleted;       /* delete answers with the object, not a Status */
    bool graceful;              /* has a grace period (pods) */
    bool no_garbage_collection; /* propagation policies mean nothing (events) */
    bool keeps_status;          /* a create may bring a status (nodes) */
    bool no_collection;         /* cannot be deleted as a collection (namespaces) */
};
const struct strategy *registry_strategy(const struct api_resource *resource);

/* registry.c: a request of the registry's own (internal), or of a client. */
void registry_submit(struct registry *registry, struct client_request *request, bool internal, client_done done,
                     void *context);

/* registry.c: answers. Each ends the task. */
void registry_answer(struct task *task, const struct client_result *result);
void registry_answer_status(struct task *task, const struct status *status);
/* With the object as the client wants to see it. */
void registry_answer_object(struct task *task, int code, struct object *object);
void registry_answer_scale(struct task *task, int code, struct object *object);
void registry_add_warning(struct task *task, const char *text);
/* A warning for each field that the client sets (value, before defaults) and that does not act yet, unless `old`
 * (NULL: nothing) has it too. */
void registry_warn_inert(struct task *task, const void *value, const void *old);
/* A warning where the client sends managedFields, before they are dropped. */
void registry_warn_managed(struct task *task, const struct object_meta *meta);
void registry_unsupported(struct task *task);

/* registry.c: the last step of every write. Copies value, a root value of task->resource in any arena, into a
 * snapshot and puts it into the store; answers task->code with it when it is durable, or answers with what
 * went wrong. A dry run answers at once. expected: 0 creates, else the revision of the head it is based on.
 * The manager of the fields that this write changes is known here: task->request->field_manager, against
 * task->old. */
void registry_put(struct task *task, const void *value, uint64_t expected);
/* Deletes the head with the revision `expected`, and answers as a delete does. */
void registry_remove(struct task *task, const struct object_meta *meta, uint64_t expected);
/* Sets kind and apiVersion, which clients of typed libraries leave out. */
void registry_name_type(const struct api_resource *resource, void *value);
/* The head, as the client sees it (a reference), or NULL. */
struct object *registry_head(struct task *task, const char *namespace, const char *name);
/* A value's struct at an offset that the resource describes; NULL when it has none. */
void *registry_status_of(const struct api_resource *resource, void *value, size_t *size);
const struct api_field *registry_spec_field(const struct api_resource *resource);

/* create.c */
void registry_create(struct task *task);
void registry_create_value(struct task *task, void *value);

/* update.c: `value` (in the task's arena) replaces the head `task->old`. */
void registry_update(struct task *task);
void registry_replace(struct task *task, void *value);
/* What the object calls itself must be what the URL names; NULL when it is. */
struct status *registry_match_url(struct task *task, const struct object_meta *meta);
/* The head is durable and already is what the client wants: no new revision is needed. */
bool registry_unchanged(const struct task *task, const void *value);

/* patch.c */
void registry_patch(struct task *task);

/* delete.c */
void registry_delete(struct task *task);
void registry_delete_collection(struct task *task);
/* The two halves of a delete. The first finds the object (task->old) and checks that it may be deleted; false: it has
 * answered. The second deletes it; value is a copy whose top level may be changed, and what is kept of it meanwhile. */
bool registry_begin_delete(struct task *task);
void registry_delete_value(struct task *task, void *value);
/* Checks the options; NULL when they are fine. */
struct status *registry_check_delete_options(struct task *task);

/* list.c */
void registry_get(struct task *task);
void registry_list(struct task *task);
/* Compares a resourceVersion ("", "0" and NULL: any) with the store; NULL when the store has it. */
struct status *registry_check_revision(struct task *task, const char *text, uint64_t *revision);
bool registry_matches(const struct selector *labels, const struct field_selector *fields,
                      const struct api_resource *resource, const struct object *object);

/* subresource.c */
void registry_bind(struct task *task);
void registry_get_scale(struct task *task);
void registry_update_scale(struct task *task);
/* The Scale of a deployment or replica set, in the arena. */
struct scale *registry_scale_of(struct arena *arena, const struct object *object);
/* Applies a Scale to task->old; used by update and patch. */
void registry_apply_scale(struct task *task, const struct scale *scale);

/* The condition of that type in a value that is the task's own, added when it is not there. */
struct pod_condition *registry_pod_condition(struct task *task, struct pod *pod, const char *type);

/* eviction.c */
void registry_evict(struct task *task);

/* token_request.c */
void registry_create_token(struct task *task);

/* review.c: answers a question (resource->create_only). */
void registry_review(struct task *task);

/* admission.c: NULL, or the Status that refuses the request. */
struct status *registry_admit_create(struct task *task, void *value);
struct status *registry_admit_update(struct task *task, const void *value);
struct status *registry_admit_delete(struct task *task, const char *name);

/* batch.c */
/* Selector and labels of a new Job, as upstream's strategy makes them. */
void batch_prepare_job(struct task *task, struct job *job);
/* What upstream warns of in a new Job or CronJob, or (old not NULL) in one whose spec changes. */
void batch_warn(struct task *task, const void *value, const void *old);

/* service_account.c: the part of admission that gives a pod its account. */
struct status *service_account_admit_create(struct task *task, struct pod *pod);

/* storage.c: the part of admission that concerns volumes and claims. */
void storage_admit_create(struct task *task, void *value);
struct status *storage_admit_update(struct task *task, const struct persistent_volume_claim *claim);

/* escalation.c: the part of admission that concerns roles and bindings; old NULL on create. */
struct status *escalation_admit(struct task *task, const void *value, const void *old);

/* networking.c: the part of admission that concerns ingresses. */
void networking_admit_create(struct task *task, void *value);

/* network_warnings.c: upstream's warnings about Services, their endpoints, Ingresses and NetworkPolicies; the value is
 * complete as it will be stored. */
void network_warn(struct task *task, const void *value, bool created);
/* The same about an update of their, or a pod's, status. */
void network_warn_status(struct task *task, const void *value);
/* An address, NULL or "" too, that is not written as it will have to be; what is none is others' matter. */
void warn_of_ip(struct task *task, const char *path, const char *text);

/* pod_warnings.c: upstream's warnings about pods, and about the templates of what makes pods; the value is complete as
 * it will be stored. */
void pod_warn(struct task *task, const void *value);

/* priority.c: the part of admission that concerns priorities. */
struct status *priority_admit_create(struct task *task, void *value);
struct status *priority_admit_update(struct task *task, const void *value);
struct status *priority_admit_delete(struct task *task, const char *name);

/* bootstrap.c: whether the object is one that registry_bootstrap makes for the cluster to work: a namespace, a service,
 * or the endpoints of one. */
bool registry_is_bootstrapped(const struct object *object);

/* lint.c: a warning for each finding of the lint room about `value`, complete as it will be stored, that the state it
 * replaces (NULL: none) does not have. */
void registry_lint(struct task *task, const void *value, const void *old);

/* service_families.c: completes ipFamilies and ipFamilyPolicy as upstream does, with what the cluster has, and takes
 * back what a downgrade gives up; old NULL on create. NULL, or the Status that refuses it. */
struct status *service_choose_families(struct task *task, struct service *service, const struct service *old);

/* default_roles.c: creates those of upstream's default cluster roles and bindings that are missing; done runs when all
 * are durable, perhaps before it returns. */
void registry_make_default_roles(struct registry *registry, struct client *client, void (*done)(void *context),
                                 void *context);

/* service.c */
/* What an update leaves out and upstream keeps: addresses and node ports. What the type has no use for goes: fields that
 * are only repeated, and the status of a load balancer. */
void service_carry(struct service *service, const struct service *old);
struct service_addresses *service_addresses_new(struct registry *registry);
void service_addresses_free(struct service_addresses *addresses);
/* Completes and allocates; old NULL on create. NULL, or the Status that refuses it. Called just before the
 * write: what it allocates is taken as soon as the store has accepted the write (service_accepted). */
struct status *service_prepare(struct task *task, struct service *service, const struct service *old);
void service_accepted(struct registry *registry, const struct service *service, const struct service *old);
void service_settled(struct registry *registry, const struct service *now, const struct service *old, bool failed);

/* expire.c: takes events away when their time is up. */
struct expiry *registry_expiry_new(struct registry *registry);
void registry_expiry_free(struct expiry *expiry);

/* events.c: the same object as another resource shows it: a new snapshot, or another reference to the same. */
struct object *registry_view(const struct api_resource *resource, struct object *object);
/* A root value of `from` as one of `to`; parts are shared with it. */
void *registry_convert(struct arena *arena, const struct api_resource *from, const struct api_resource *to,
                       const void *value);

/* watch.c */
struct client_watch *registry_watch(struct client *client, struct registry *registry,
                                    const struct client_watch_options *options, client_event_callback callback,
                                    void *context);
void registry_watch_free(struct client_watch *watch);
void registry_bookmarks_free(struct registry *registry);

#endif
