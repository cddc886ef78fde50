/* What the decoder says of values that do not fit, in the words of Go's decoder. */
#include <stdio.h>

#include "api/json_decoder.h"
#include "base/cleanup.h"

/* What Go's decoder calls the value at d->p. */
const char *json_token_name(const struct json_decoder *d)
{
    switch (d->p < d->end ? *d->p : 0) {
    case '"':
        return "string";
    case '{':
        return "object";
    case '[':
        return "array";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

/* "v1.PodSpec" of "io.k8s.api.core.v1.PodSpec". */
const char *json_go_type_name(const struct api_type *type)
{
    const char *dots[2] = {type->openapi, type->openapi};
    for (const char *p = type->openapi; *p; p++) {
        if (*p == '.') {
            dots[0] = dots[1];
            dots[1] = p + 1;
        }
    }
    return dots[0];
}

/* Strings that have a type of their own in Go, which its messages name. */
static const struct {
    const char *type; /* NULL: any */
    const char *field;
    const char *go;
} go_strings[] = {
    {NULL, "uid", "types.UID"},
    {NULL, "imagePullPolicy", "v1.PullPolicy"},
    {NULL, "terminationMessagePolicy", "v1.TerminationMessagePolicy"},
    {NULL, "mountPropagation", "v1.MountPropagationMode"},
    {NULL, "recursiveReadOnly", "v1.RecursiveReadOnlyMode"},
    {NULL, "protocol", "v1.Protocol"},
    {NULL, "stopSignal", "v1.Signal"},
    {"PodSpec", "restartPolicy", "v1.RestartPolicy"},
    {"PodSpec", "dnsPolicy", "v1.DNSPolicy"},
    {"PodSpec", "preemptionPolicy", "v1.PreemptionPolicy"},
    {"Container", "restartPolicy", "v1.ContainerRestartPolicy"},
    {"HTTPGetAction", "scheme", "v1.URIScheme"},
    {"Toleration", "operator", "v1.TolerationOperator"},
    {"Toleration", "effect", "v1.TaintEffect"},
    {"Taint", "effect", "v1.TaintEffect"},
    {"TopologySpreadConstraint", "whenUnsatisfiable", "v1.UnsatisfiableConstraintAction"},
    {"NodeSelectorRequirement", "operator", "v1.NodeSelectorOperator"},
    {"LabelSelectorRequirement", "operator", "v1.LabelSelectorOperator"},
    {"SeccompProfile", "type", "v1.SeccompProfileType"},
    {"AppArmorProfile", "type", "v1.AppArmorProfileType"},
    {"Capabilities", "add", "v1.Capability"},
    {"Capabilities", "drop", "v1.Capability"},
    {"SecurityContext", "procMount", "v1.ProcMountType"},
    {"PodSecurityContext", "fsGroupChangePolicy", "v1.PodFSGroupChangePolicy"},
    {"PodOS", "name", "v1.OSName"},
    {"EmptyDirVolumeSource", "medium", "v1.StorageMedium"},
    {"HostPathVolumeSource", "type", "v1.HostPathType"},
    {"PodStatus", "phase", "v1.PodPhase"},
    {"PodStatus", "qosClass", "v1.PodQOSClass"},
    {"PodCondition", "type", "v1.PodConditionType"},
    {"PodCondition", "status", "v1.ConditionStatus"},
    {"PodReadinessGate", "conditionType", "v1.PodConditionType"},
    {"NodeCondition", "type", "v1.NodeConditionType"},
    {"NodeCondition", "status", "v1.ConditionStatus"},
    {"NodeAddress", "type", "v1.NodeAddressType"},
    {"NamespaceStatus", "phase", "v1.NamespacePhase"},
    {"NamespaceSpec", "finalizers", "v1.FinalizerName"},
    {"NamespaceCondition", "type", "v1.NamespaceConditionType"},
    {"NamespaceCondition", "status", "v1.ConditionStatus"},
    {"ServiceSpec", "type", "v1.ServiceType"},
    {"ServiceSpec", "sessionAffinity", "v1.ServiceAffinity"},
    {"ServiceSpec", "externalTrafficPolicy", "v1.ServiceExternalTrafficPolicy"},
    {"ServiceSpec", "internalTrafficPolicy", "v1.ServiceInternalTrafficPolicy"},
    {"ServiceSpec", "ipFamilyPolicy", "v1.IPFamilyPolicy"},
    {"ServiceSpec", "ipFamilies", "v1.IPFamily"},
    {"Secret", "type", "v1.SecretType"},
    {"EndpointSlice", "addressType", "v1.AddressType"},
    {"Condition", "status", "v1.ConditionStatus"},
    {"ReplicaSetCondition", "type", "v1.ReplicaSetConditionType"},
    {"ReplicaSetCondition", "status", "v1.ConditionStatus"},
    {"DeploymentStrategy", "type", "v1.DeploymentStrategyType"},
    {"DeploymentCondition", "type", "v1.DeploymentConditionType"},
    {"DeploymentCondition", "status", "v1.ConditionStatus"},
    {"JobSpec", "completionMode", "v1.CompletionMode"},
    {"JobSpec", "podReplacementPolicy", "v1.PodReplacementPolicy"},
    {"JobCondition", "type", "v1.JobConditionType"},
    {"JobCondition", "status", "v1.ConditionStatus"},
    {"PodFailurePolicyRule", "action", "v1.PodFailurePolicyAction"},
    {"PodFailurePolicyOnExitCodesRequirement", "operator", "v1.PodFailurePolicyOnExitCodesOperator"},
    {"PodFailurePolicyOnPodConditionsPattern", "type", "v1.PodConditionType"},
    {"PodFailurePolicyOnPodConditionsPattern", "status", "v1.ConditionStatus"},
    {"CronJobSpec", "concurrencyPolicy", "v1.ConcurrencyPolicy"},
    {"DeleteOptions", "propagationPolicy", "v1.DeletionPropagation"},
    {"Status", "reason", "v1.StatusReason"},
    {"StatusCause", "reason", "v1.CauseType"},
};

/* The type of a field, or of its elements, of the struct `type`. */
static const char *go_kind_name(const struct api_type *type, const struct api_field *f)
{
    static const char *const names[] = {
        [API_STRING] = "string",
        [API_BOOL] = "bool",
        [API_INT32] = "int32",
        [API_INT64] = "int64",
        [API_DOUBLE] = "float64",
        [API_TIME] = "v1.Time",
        [API_MICRO_TIME] = "v1.MicroTime",
        [API_QUANTITY] = "resource.Quantity",
        [API_INT_OR_STRING] = "int32",
        [API_BYTES] = "[]uint8",
        [API_RAW] = "v1.FieldsV1",
    };
    for (size_t i = 0; type && f->kind == API_STRING && i < ARRAY_COUNT(go_strings); i++)
        if (strcmp(go_strings[i].field, f->name) == 0 &&
            (!go_strings[i].type || strcmp(go_strings[i].type, type->name) == 0))
            return go_strings[i].go;
    return f->kind == API_STRUCT ? json_go_type_name(f->type) : names[f->kind];
}

/* The path as Go's decoder gives it: names of fields only. Returns the innermost struct. */
static const struct api_type *go_path(const struct json_frame *at, struct buffer *path)
{
    const struct json_frame *fields[JSON_DEPTH_MAX + 1];
    size_t n = 0;
    for (; at && n < ARRAY_COUNT(fields); at = at->up)
        if (at->type)
            fields[n++] = at;
    const struct api_type *innermost = n ? fields[0]->type : NULL;
    for (; n; n--) {
        if (path->size)
            buffer_add_char(path, '.');
        buffer_add(path, fields[n - 1]->name, fields[n - 1]->name_size);
    }
    return innermost;
}

/* Remembers the wrong type unless there was one before. `whole`: the list or map is meant, not its element. */
void json_wrong_type(struct json_decoder *d, const char *token, const struct api_field *f, bool whole,
                     const struct json_frame *at)
{
    if (d->failed)
        return;
    d->failed = true;
    cleanup_buffer struct buffer path = {0};
    const struct api_type *type = go_path(at, &path);
    const char *shape = whole && f->shape == API_ARRAY ? "[]" : whole && f->shape == API_MAP ? "map[string]" : "";
    const char *name = go_kind_name(type, f);
    if (whole && f->shape == API_MAP && f->kind == API_QUANTITY) {
        shape = "";
        name = "v1.ResourceList";
    }
    error_set(&d->first, EINVAL, "json: cannot unmarshal %s into Go struct field %s.%s of type %s%s", token,
              type ? type->name : "", path.data ? path.data : "", shape, name);
}

/* The value at d->p is of the wrong type: says so and passes over it. */
int json_skip_wrong_type(struct json_decoder *d, const struct api_field *f, bool whole, const struct json_frame *at)
{
    json_wrong_type(d, json_token_name(d), f, whole, at);
    return json_skip_value(d);
}

/* Where an unmarshaler of its own wanted `wanted`, Go names no field, and decoding ends. */
int json_wrong_for_unmarshaler(struct json_decoder *d, const char *token, const char *wanted)
{
    return error_set(&d->fatal, EINVAL, "json: cannot unmarshal %s into Go value of type %s", token, wanted);
}

/* Adds to the report: at + name, as sigs.k8s.io/json spells a path. */
void json_report_problem(struct json_decoder *d, enum json_problem_kind kind, const struct json_frame *at,
                         const char *name, size_t name_size)
{
    struct json_report *r = d->report;
    if (!r)
        return;
    const struct json_frame *frames[2 * JSON_DEPTH_MAX + 2];
    size_t n = 0;
    for (; at && n < ARRAY_COUNT(frames); at = at->up)
        frames[n++] = at;
    cleanup_buffer struct buffer path = {0};
    for (; n; n--) {
        const struct json_frame *f = frames[n - 1];
        if (!f->name) {
            buffer_printf(&path, "[%zu]", f->index);
            continue;
        }
        if (path.size)
            buffer_add_char(&path, '.');
        buffer_add(&path, f->name, f->name_size);
    }
    if (path.size)
        buffer_add_char(&path, '.');
    buffer_add(&path, name, name_size);
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].kind == kind && strcmp(r->items[i].path, path.data) == 0)
            return;
    if (r->count == JSON_PROBLEM_MAX) {
        r->dropped++;
        return;
    }
    r->items[r->count++] = (struct json_problem){kind, arena_string_n(d->arena, path.data, path.size)};
}
