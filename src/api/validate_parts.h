/* What the files of validation share. Not for other rooms: api/validate.h is.
 *
 * All functions append to errors; `path` is where the value stands. */
#ifndef CORACLE_API_VALIDATE_PARTS_H
#define CORACLE_API_VALIDATE_PARTS_H

#include <string.h>

#include "api/field_error.h"
#include "api/format.h"
#include "api/name_set.h"
#include "api/types.h"
#include "base/text.h"

#define FIELD_IS_IMMUTABLE "field is immutable"

/* Sizes of data maps, all values together, as upstream's MaxSecretSize. */
#define VALIDATE_DATA_MAX (1024 * 1024)
#define VALIDATE_ANNOTATIONS_MAX (256 * 1024)

static inline bool is_true(struct opt_bool value)
{
    return value.set && value.value;
}

extern const char *const validate_protocols[];

/* validate_meta.c */
void validate_meta(struct api_field_errors *errors, const struct api_path *path, const struct object_meta *meta,
                   bool namespaced, format_rule name_rule);
void validate_meta_update(struct api_field_errors *errors, const struct api_path *path, const struct object_meta *meta,
                          const struct object_meta *old);
/* A prefix that a random suffix will complete: it may end in '-'. */
void validate_generate_name(struct api_field_errors *errors, const struct api_path *path, const char *name,
                            format_rule name_rule);
void validate_labels(struct api_field_errors *errors, const struct api_path *path, const struct string_map *labels);
void validate_annotations(struct api_field_errors *errors, const struct api_path *path,
                          const struct string_map *annotations);
void validate_label_selector(struct api_field_errors *errors, const struct api_path *path,
                             const struct label_selector *selector);
/* Whether the operator is In, NotIn, Exists or DoesNotExist; if so, that the requirement at path has the values for it.
 */
bool validate_set_operator(struct api_field_errors *errors, const struct api_path *path,
                           const struct string_array *values, const char *operator);
void validate_finalizer(struct api_field_errors *errors, const struct api_path *path, const char *finalizer);

/* validate.c: rules for single values. */
void validate_nonnegative(struct api_field_errors *errors, const struct api_path *path, int64_t value);
void validate_positive(struct api_field_errors *errors, const struct api_path *path, int64_t value);
void validate_range(struct api_field_errors *errors, const struct api_path *path, int64_t value, int64_t low,
                    int64_t high);
void validate_port_number(struct api_field_errors *errors, const struct api_path *path, int64_t port);
void validate_port(struct api_field_errors *errors, const struct api_path *path, const struct int_or_string *port);
/* Whether value is one of the NULL-terminated values. */
bool validate_is_one_of(const char *value, const char *const *values);
/* Required when empty, unsupported when not one of them. */
void validate_one_of(struct api_field_errors *errors, const struct api_path *path, const char *value,
                     const char *const *values);
/* Unsupported when set (not NULL) to none of them. */
void validate_optional_one_of(struct api_field_errors *errors, const struct api_path *path, const char *value,
                              const char *const *values);
void validate_string_unchanged(struct api_field_errors *errors, const struct api_path *path, const char *value,
                               const char *old);
/* "10.9.8.0/24". */
void validate_cidr(struct api_field_errors *errors, const struct api_path *path, const char *text);
/* Neither unspecified, loopback nor link-local. */
void validate_ordinary_ip(struct api_field_errors *errors, const struct api_path *path, const char *ip);

/* validate_pod.c */
void validate_pod_spec(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec,
                       bool is_pod);
void validate_pod_template(struct api_field_errors *errors, const struct api_path *path,
                           const struct pod_template_spec *template);
void validate_pod_create(struct api_field_errors *errors, const void *value);
/* validate_pod_resize.c */
void validate_pod_resize(struct api_field_errors *errors, const void *value, const void *old);
/* validate_pod_update.c */
void validate_pod_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_pod_ephemeral_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_pod_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_pod_metadata_and_spec(struct api_field_errors *errors, const struct pod *pod);
/* The region in which two values of a type differ, as one hunk of a unified diff of their JSON. */
void validate_diff(struct api_field_errors *errors, const struct api_type *type, const void *old, const void *now,
                   struct buffer *out);

/* A pod's specification and what its containers refer to, by name. */
struct pod_names {
    const struct pod_spec *spec;
    struct map volumes;         /* const struct volume */
    struct name_set claims;     /* of resourceClaims */
    struct name_set containers; /* containers */
};

/* validate_container.c */
void validate_containers(struct api_field_errors *errors, const struct api_path *path, const struct pod_names *pod);
void validate_init_containers(struct api_field_errors *errors, const struct api_path *path,
                              const struct pod_names *pod);
void validate_ephemeral_containers(struct api_field_errors *errors, const struct api_path *path,
                                   const struct pod_names *pod);
/* validate_probe.c */
void validate_container_probes(struct api_field_errors *errors, const struct api_path *path,
                               const struct container *container, const struct pod_spec *spec);
/* validate_env.c */
void validate_env(struct api_field_errors *errors, const struct api_path *path, const struct env_var_array *env,
                  const struct map *volumes);
void validate_env_from(struct api_field_errors *errors, const struct api_path *path,
                       const struct env_from_source_array *env_from);
void validate_field_selector(struct api_field_errors *errors, const struct api_path *path,
                             const struct object_field_selector *selector, bool in_volume);
void validate_resource_field_selector(struct api_field_errors *errors, const struct api_path *path,
                                      const struct resource_field_selector *selector, bool in_volume);
/* validate_resources.c */
void validate_resources(struct api_field_errors *errors, const struct api_path *path,
                        const struct resource_requirements *resources, const struct pod_names *pod, bool of_pod);
/* Those of the pod as a whole, which it has, at path; and that they do for its containers, as upstream's
 * validatePodResourceConsistency has it. */
void validate_pod_resources(struct api_field_errors *errors, const struct api_path *path, const struct pod_names *pod);
void validate_resource_quantity(struct api_field_errors *errors, const struct api_path *path, const char *resource,
                                const char *quantity);
/* validate_volume.c */
void validate_volumes(struct api_field_errors *errors, const struct api_path *path, const struct volume_array *volumes);
void validate_volume_mounts(struct api_field_errors *errors, const struct api_path *path,
                            const struct container *container, const struct map *volumes);
void validate_volume_devices(struct api_field_errors *errors, const struct api_path *path,
                             const struct container *container, const struct map *volumes);
void validate_relative_path(struct api_field_errors *errors, const struct api_path *path, const char *text);
void validate_no_backsteps(struct api_field_errors *errors, const struct api_path *path, const char *text);
void validate_host_path(struct api_field_errors *errors, const struct api_path *path,
                        const struct host_path_volume_source *source);
void validate_nfs(struct api_field_errors *errors, const struct api_path *path, const struct nfs_volume_source *source);
/* The required fields of a source that belongs to outside storage, which has no other rules here. */
void validate_foreign_source(struct api_field_errors *errors, const struct api_path *path, const struct api_type *type,
                             const void *source);
/* validate_os.c: of a spec that names an operating system that there is. */
void validate_os(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec);
/* validate_claim.c */
void validate_claim_spec(struct api_field_errors *errors, const struct api_path *path,
                         const struct persistent_volume_claim_spec *spec);
/* validate_security.c */
void validate_security_context(struct api_field_errors *errors, const struct api_path *path,
                               const struct security_context *context, bool host_users);
void validate_pod_security_context(struct api_field_errors *errors, const struct api_path *path,
                                   const struct pod_spec *spec);
/* validate_scheduling.c */
void validate_scheduling(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec);
void validate_node_selector(struct api_field_errors *errors, const struct api_path *path,
                            const struct node_selector *selector);
void validate_tolerations(struct api_field_errors *errors, const struct api_path *path,
                          const struct toleration_array *tolerations);
void validate_taints(struct api_field_errors *errors, const struct api_path *path, const struct taint_array *taints);

/* Of kinds: the whole object, new or changed (metadata apart). */
void validate_service(struct api_field_errors *errors, const void *value);
void validate_service_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_service_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_endpoints(struct api_field_errors *errors, const void *value);
void validate_endpoint_slice(struct api_field_errors *errors, const void *value);
void validate_endpoint_slice_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_deployment(struct api_field_errors *errors, const void *value);
void validate_deployment_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_deployment_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_replica_set(struct api_field_errors *errors, const void *value);
void validate_replica_set_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_replica_set_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_job(struct api_field_errors *errors, const void *value);
void validate_job_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_job_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_cron_job_create(struct api_field_errors *errors, const void *value);
void validate_cron_job_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_namespace(struct api_field_errors *errors, const void *value);
void validate_namespace_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_node(struct api_field_errors *errors, const void *value);
void validate_node_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_secret(struct api_field_errors *errors, const void *value);
void validate_secret_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_config_map(struct api_field_errors *errors, const void *value);
void validate_config_map_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_event(struct api_field_errors *errors, const void *value);
void validate_events_event(struct api_field_errors *errors, const void *value);
void validate_events_event_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_lease(struct api_field_errors *errors, const void *value);

/* validate_rbac.c */
void validate_role(struct api_field_errors *errors, const void *value);
void validate_cluster_role(struct api_field_errors *errors, const void *value);
void validate_role_binding(struct api_field_errors *errors, const void *value);
void validate_cluster_role_binding(struct api_field_errors *errors, const void *value);
void validate_role_binding_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_cluster_role_binding_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_persistent_volume(struct api_field_errors *errors, const void *value);
void validate_persistent_volume_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_persistent_volume_claim(struct api_field_errors *errors, const void *value);
void validate_persistent_volume_claim_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_persistent_volume_claim_status_update(struct api_field_errors *errors, const void *value,
                                                    const void *old);
void validate_priority_class(struct api_field_errors *errors, const void *value);
void validate_priority_class_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_storage_class(struct api_field_errors *errors, const void *value);
void validate_storage_class_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_ingress_create(struct api_field_errors *errors, const void *value);
void validate_ingress_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_ingress_status_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_ingress_class(struct api_field_errors *errors, const void *value);
void validate_ingress_class_update(struct api_field_errors *errors, const void *value, const void *old);
void validate_network_policy(struct api_field_errors *errors, const void *value);

#endif
