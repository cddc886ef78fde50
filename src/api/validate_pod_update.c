/* Rules for changes of pods: what of a specification may change at all, and what a status may not say. */
#include <stdio.h>

#include "api/json.h"
#include "api/pod_containers.h"
#include "api/static_pod.h"
#include "api/validate_parts.h"
#include "base/cleanup.h"

/* Lines around a difference that the message shows, and the most lines of one difference. */
#define DIFF_CONTEXT 3
#define DIFF_LINE_MAX 40

static const char only_these[] =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

/* Compact JSON, one member or element a line. */
static void indent_json(const char *json, struct buffer *out)
{
    int depth = 0;
    bool quoted = false;
    for (const char *c = json; *c; c++) {
        if (*c == '"' && (c == json || c[-1] != '\\'))
            quoted = !quoted;
        bool closes = !quoted && (*c == '}' || *c == ']');
        if (closes) {
            depth--;
            if (c[-1] != '{' && c[-1] != '[')
                buffer_printf(out, "\n%*s", depth, "");
        }
        buffer_add_char(out, *c);
        if (quoted || closes)
            continue;
        if ((*c == '{' || *c == '[') && depth++ >= 0 && c[1] != '}' && c[1] != ']')
            buffer_printf(out, "\n%*s", depth, "");
        else if (*c == ',')
            buffer_printf(out, "\n%*s", depth, "");
        else if (*c == ':')
            buffer_add_char(out, ' ');
    }
    buffer_add_char(out, '\n');
}

struct lines {
    const char **items; /* each ends with a newline */
    size_t count;
};

static struct lines split_lines(struct arena *arena, const char *text)
{
    struct lines lines = {0};
    for (const char *c = text; *c; c++)
        lines.count += *c == '\n';
    lines.items = arena_alloc(arena, (lines.count + 1) * sizeof(*lines.items));
    lines.items[0] = text;
    size_t n = 0;
    for (const char *c = text; *c; c++)
        if (*c == '\n')
            lines.items[++n] = c + 1;
    return lines;
}

static bool same_line(const struct lines *a, size_t i, const struct lines *b, size_t k)
{
    size_t n = (size_t)(a->items[i + 1] - a->items[i]);
    return n == (size_t)(b->items[k + 1] - b->items[k]) && memcmp(a->items[i], b->items[k], n) == 0;
}

static void add_lines(struct buffer *out, char mark, const struct lines *lines, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < from + DIFF_LINE_MAX; i++) {
        buffer_add_char(out, mark);
        buffer_add(out, lines->items[i], (size_t)(lines->items[i + 1] - lines->items[i]));
    }
    if (to > from + DIFF_LINE_MAX)
        buffer_printf(out, "%c...\n", mark);
}

void validate_diff(struct api_field_errors *errors, const struct api_type *type, const void *old, const void *now,
                   struct buffer *out)
{
    cleanup_buffer struct buffer json = {0}, before = {0}, after = {0};
    json_encode(type, old, &json);
    indent_json(json.data, &before);
    buffer_clear(&json);
    json_encode(type, now, &json);
    indent_json(json.data, &after);
    struct lines a = split_lines(errors->arena, before.data), b = split_lines(errors->arena, after.data);
    size_t head = 0, tail = 0;
    while (head < a.count && head < b.count && same_line(&a, head, &b, head))
        head++;
    while (tail < a.count - head && tail < b.count - head && same_line(&a, a.count - 1 - tail, &b, b.count - 1 - tail))
        tail++;
    size_t from = head > DIFF_CONTEXT ? head - DIFF_CONTEXT : 0;
    size_t a_end = a.count - tail, b_end = b.count - tail;
    size_t context_end = a_end + DIFF_CONTEXT < a.count ? a_end + DIFF_CONTEXT : a.count;
    buffer_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", from + 1, context_end - from, from + 1,
                  context_end - from - (a_end - head) + (b_end - head));
    add_lines(out, ' ', &a, from, head);
    add_lines(out, '-', &a, head, a_end);
    add_lines(out, '+', &b, head, b_end);
    add_lines(out, ' ', &a, a_end, context_end);
}

/* Returns whether the lists are as long as they were. */
static bool validate_container_list(struct api_field_errors *errors, const struct api_path *path,
                                    const struct container_array *now, const struct container_array *old)
{
    if (now->count == old->count)
        return true;
    field_forbidden(errors, path, "pod updates may not add or remove containers");
    return false;
}

/* Returns whether the rest may be compared. */
static bool validate_deadline(struct api_field_errors *errors, const struct api_path *path, const struct opt_int64 *now,
                              const struct opt_int64 *old)
{
    if (!now->set) {
        if (old->set)
            field_invalid_json(errors, path, FIELD_NULL_JSON, "must not update from a positive integer to nil value");
        return true;
    }
    if (now->value < 0 || now->value > INT32_MAX) {
        validate_range(errors, path, now->value, 0, INT32_MAX);
        return false;
    }
    if (old->set && old->value < now->value) {
        field_invalid_int(errors, path, now->value, "must be less than or equal to previous value");
        return false;
    }
    return true;
}

/* All of a toleration but its seconds. */
static const char *toleration_text(struct arena *arena, const struct toleration *t)
{
    cleanup_buffer struct buffer json = {0};
    struct toleration alone = *t;
    alone.toleration_seconds = (struct opt_int64){0};
    json_encode(&api_type_toleration, &alone, &json);
    return arena_string_n(arena, json.data, json.size);
}

static void validate_added_tolerations(struct api_field_errors *errors, const struct api_path *path,
                                       const struct toleration_array *now, const struct toleration_array *old)
{
    cleanup_name_set struct name_set present = {0};
    for (size_t i = 0; i < now->count; i++)
        name_set_add(&present, toleration_text(errors->arena, &now->items[i]));
    for (size_t i = 0; i < old->count; i++) {
        if (!name_set_has(&present, toleration_text(errors->arena, &old->items[i]))) {
            field_forbidden(errors, path, "existing toleration can not be modified except its tolerationSeconds");
            return;
        }
    }
}

static void validate_deleted_gates(struct api_field_errors *errors, const struct api_path *path,
                                   const struct pod_scheduling_gate_array *now,
                                   const struct pod_scheduling_gate_array *old)
{
    cleanup_name_set struct name_set before = {0};
    for (size_t i = 0; i < old->count; i++)
        name_set_add(&before, old->items[i].name);
    for (size_t i = 0; i < now->count; i++) {
        if (!name_set_has(&before, now->items[i].name))
            field_forbidden(errors, PATH(PATH_INDEX(path, i), "name"),
                            arena_printf(errors->arena, "only deletion is allowed, but found new scheduling gate '%s'",
                                         now->items[i].name ? now->items[i].name : ""));
    }
}

/* A shallow copy of the containers with the images of the old ones. */
static struct container_array with_images(struct arena *arena, const struct container_array *now,
                                          const struct container_array *old)
{
    struct container_array copy = *now;
    copy.items = arena_array_grow(arena, now->items, now->count, 0, sizeof(*now->items));
    for (size_t i = 0; i < copy.count; i++)
        copy.items[i].image = old->items[i].image;
    return copy;
}

/* A gated pod is not scheduled yet: its node selector may still grow, and its node affinity narrow. */
static void validate_gated(struct api_field_errors *errors, const struct api_path *path, struct pod_spec *now,
                           const struct pod_spec *old)
{
    if (!old->scheduling_gates.count)
        return;
    for (size_t i = 0; i < old->node_selector.count; i++) {
        const char *value = string_map_get(&now->node_selector, old->node_selector.items[i].key);
        if (!value || !text_equal(value, old->node_selector.items[i].value)) {
            field_invalid_map(errors, PATH(path, "nodeSelector"), &now->node_selector,
                              "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
            break;
        }
    }
    now->node_selector = old->node_selector;
    const struct node_affinity *before = old->affinity ? old->affinity->node_affinity : NULL;
    if (!now->affinity || before)
        return;
    struct affinity *affinity = arena_copy(errors->arena, now->affinity, sizeof(*affinity));
    affinity->node_affinity = NULL;
    now->affinity = !old->affinity && !affinity->pod_affinity && !affinity->pod_anti_affinity ? NULL : affinity;
}

/* Upstream's ValidatePodSpecificAnnotationUpdates, of what there is here: a mirror stays one. */
static void validate_mirror(struct api_field_errors *errors, const struct pod *pod, const struct pod *old)
{
    const char *before = string_map_get(&old->metadata.annotations, POD_MIRROR_ANNOTATION);
    const char *now = string_map_get(&pod->metadata.annotations, POD_MIRROR_ANNOTATION);
    if (before ? !now || !text_equal(before, now) : now != NULL)
        field_forbidden(errors, PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), POD_MIRROR_ANNOTATION),
                        before ? "may not remove or update mirror pod annotation"
                               : "may not add mirror pod annotation");
}

void validate_pod_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct pod *pod = value, *old = old_value;
    const struct api_path *path = PATH(NULL, "spec");
    validate_pod_metadata_and_spec(errors, pod);
    validate_mirror(errors, pod, old);
    if (!validate_container_list(errors, PATH(path, "containers"), &pod->spec.containers, &old->spec.containers) ||
        !validate_container_list(errors, PATH(path, "initContainers"), &pod->spec.init_containers,
                                 &old->spec.init_containers) ||
        !validate_deadline(errors, PATH(path, "activeDeadlineSeconds"), &pod->spec.active_deadline_seconds,
                           &old->spec.active_deadline_seconds))
        return;
    validate_added_tolerations(errors, PATH(path, "tolerations"), &pod->spec.tolerations, &old->spec.tolerations);
    validate_deleted_gates(errors, PATH(path, "schedulingGates"), &pod->spec.scheduling_gates,
                           &old->spec.scheduling_gates);
    struct pod_spec now = pod->spec;
    now.containers = with_images(errors->arena, &pod->spec.containers, &old->spec.containers);
    now.init_containers = with_images(errors->arena, &pod->spec.init_containers, &old->spec.init_containers);
    now.active_deadline_seconds = old->spec.active_deadline_seconds;
    now.tolerations = old->spec.tolerations;
    now.scheduling_gates = old->spec.scheduling_gates;
    if (old->spec.termination_grace_period_seconds.set && old->spec.termination_grace_period_seconds.value < 0 &&
        now.termination_grace_period_seconds.set && now.termination_grace_period_seconds.value == 1)
        now.termination_grace_period_seconds = old->spec.termination_grace_period_seconds;
    validate_gated(errors, path, &now, &old->spec);
    if (api_equal(&api_type_pod_spec, &now, &old->spec))
        return;
    cleanup_buffer struct buffer detail = {0};
    buffer_add_string(&detail, only_these);
    validate_diff(errors, &api_type_pod_spec, &old->spec, &now, &detail);
    field_forbidden(errors, path, detail.data);
}

/* One that is there stays as it is; a patch may have changed the order. */
static void validate_kept(struct api_field_errors *errors, const struct api_path *path,
                          const struct ephemeral_container *old, const struct ephemeral_container_array *now)
{
    size_t i = 0;
    while (i < now->count && !text_equal(now->items[i].name, old->name))
        i++;
    if (i == now->count) {
        field_forbidden(
            errors, path,
            arena_printf(errors->arena, "existing ephemeral containers \"%s\" may not be removed\n", old->name));
        return;
    }
    if (api_equal(&api_type_ephemeral_container, old, &now->items[i]))
        return;
    cleanup_buffer struct buffer detail = {0};
    buffer_printf(&detail, "existing ephemeral containers \"%s\" may not be changed\n", old->name);
    validate_diff(errors, &api_type_ephemeral_container, old, &now->items[i], &detail);
    field_forbidden(errors, path, detail.data);
}

void validate_pod_ephemeral_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct pod *pod = value, *old = old_value;
    if (string_map_get(&old->metadata.annotations, POD_MIRROR_ANNOTATION)) {
        errors->count = 0; /* as upstream: nothing else matters */
        field_forbidden(errors, PATH(NULL, ""), "static pods do not support ephemeral containers");
        return;
    }
    validate_pod_metadata_and_spec(errors, pod);
    validate_mirror(errors, pod, old);
    for (size_t i = 0; i < old->spec.ephemeral_containers.count; i++)
        validate_kept(errors, PATH(PATH(NULL, "spec"), "ephemeralContainers"), &old->spec.ephemeral_containers.items[i],
                      &pod->spec.ephemeral_containers);
}

static void validate_conditions(struct api_field_errors *errors, const struct api_path *path,
                                const struct pod_condition_array *conditions)
{
    static const char *const system[] = {"PodScheduled", "Ready", "Initialized", NULL};
    for (size_t i = 0; i < conditions->count; i++) {
        const struct pod_condition *c = &conditions->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        if (c->observed_generation < 0)
            field_invalid_int(errors, PATH(at, "observedGeneration"), c->observed_generation,
                              "must be a non-negative integer");
        if (!validate_is_one_of(c->type, system))
            field_format(errors, PATH(at, "Type"), c->type, format_qualified_name);
    }
}

/* A container that ended for good does not run again; one that is not in the specification never does. */
static void validate_transitions(struct api_field_errors *errors, const struct api_path *path,
                                 const struct container_status_array *now, const struct container_status_array *old,
                                 const struct pod_spec *spec, const struct container_array *containers)
{
    cleanup_name_set struct name_set alive = {0};
    struct map specs = {0};
    for (size_t i = 0; i < now->count; i++)
        if (!now->items[i].state.terminated)
            name_set_add(&alive, now->items[i].name);
    for (size_t i = 0; containers && i < containers->count; i++)
        map_set(&specs, text_or_empty(containers->items[i].name), &containers->items[i]);
    for (size_t i = 0; i < old->count; i++) {
        const struct container_state_terminated *ended = old->items[i].state.terminated;
        if (!ended || !name_set_has(&alive, old->items[i].name))
            continue;
        const struct container *c = map_get(&specs, text_or_empty(old->items[i].name));
        if (!c || !api_container_should_restart(c, spec, ended->exit_code))
            field_forbidden(errors, PATH(PATH_INDEX(path, i), "state"),
                            "may not be transitioned to non-terminated state");
    }
    map_free(&specs);
}

static void validate_ips(struct api_field_errors *errors, const struct api_path *path, const struct pod_ip_array *ips)
{
    int families[2] = {0, 0};
    for (size_t i = 0; i < ips->count; i++) {
        field_format(errors, PATH_INDEX(path, i), ips->items[i].ip, format_ip);
        if (i < 2)
            families[i] = format_ip_family(ips->items[i].ip ? ips->items[i].ip : "");
    }
    if (ips->count > 2 || (ips->count == 2 && families[0] == families[1])) {
        cleanup_buffer struct buffer json = {0};
        for (size_t i = 0; i < ips->count; i++) {
            buffer_add_string(&json, i ? "," : "[");
            json_encode(&api_type_pod_ip, &ips->items[i], &json);
        }
        buffer_add_char(&json, ']');
        field_invalid_json(errors, path, json.data, "may specify no more than one IP for each IP family");
    }
}

void validate_pod_status_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct pod *pod = value, *old = old_value;
    const struct pod_status *s = &pod->status;
    const struct api_path *path = PATH(NULL, "status");
    validate_conditions(errors, PATH(path, "conditions"), &s->conditions);
    if (!text_equal(pod->spec.node_name, old->spec.node_name))
        field_forbidden(errors, PATH(path, "nodeName"), "may not be changed directly");
    if (!text_equal(s->nominated_node_name, old->status.nominated_node_name) && !text_empty(s->nominated_node_name))
        field_format(errors, PATH(path, "nominatedNodeName"), s->nominated_node_name, format_dns_subdomain);
    if (s->observed_generation < 0)
        field_invalid_int(errors, PATH(path, "observedGeneration"), s->observed_generation,
                          "must be a non-negative integer");
    validate_string_unchanged(errors, PATH(path, "qosClass"), s->qos_class, old->status.qos_class);
    const struct pod_spec *spec = &old->spec;
    validate_transitions(errors, PATH(path, "containerStatuses"), &s->container_statuses,
                         &old->status.container_statuses, spec, &spec->containers);
    validate_transitions(errors, PATH(path, "initContainerStatuses"), &s->init_container_statuses,
                         &old->status.init_container_statuses, spec, &spec->init_containers);
    validate_transitions(errors, PATH(path, "ephemeralContainerStatuses"), &s->ephemeral_container_statuses,
                         &old->status.ephemeral_container_statuses, spec, NULL);
    validate_ips(errors, PATH(path, "podIPs"), &s->pod_ips);
    if (s->host_ips.count && !text_equal(s->host_ip, s->host_ips.items[0].ip))
        field_invalid(errors, PATH(PATH_INDEX(PATH(path, "hostIPs"), 0), "ip"), s->host_ips.items[0].ip,
                      "must be equal to `hostIP`");
}
