/* Thresholds, ranking and words of evictions. */
#include "node/eviction.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_qos.h"
#include "api/quantity.h"
#include "base/buffer.h"
#include "base/cleanup.h"

/* Pods of this priority and above are the system's own. */
#define SYSTEM_CRITICAL 2000000000
#define TAINT_MEMORY "node.kubernetes.io/memory-pressure"

const struct eviction_thresholds eviction_defaults = {.of = {[EVICTION_MEMORY] = {.quantity = "100Mi"}}};

static const struct {
    const char *name, *resource;
    enum eviction_condition condition;
    bool counted; /* not in bytes */
} signals[EVICTION_SIGNALS] = {
    [EVICTION_MEMORY] = {"memory.available", "memory", EVICTION_MEMORY_PRESSURE, false},
    [EVICTION_DISK] = {"nodefs.available", "ephemeral-storage", EVICTION_DISK_PRESSURE, false},
    [EVICTION_INODES] = {"nodefs.inodesFree", "inodes", EVICTION_DISK_PRESSURE, true},
    [EVICTION_IMAGE_DISK] = {"imagefs.available", "ephemeral-storage", EVICTION_DISK_PRESSURE, false},
    [EVICTION_IMAGE_INODES] = {"imagefs.inodesFree", "inodes", EVICTION_DISK_PRESSURE, true},
    [EVICTION_PIDS] = {"pid.available", "pids", EVICTION_PID_PRESSURE, true}};

static const char *const conditions[EVICTION_CONDITIONS] = {"MemoryPressure", "DiskPressure", "PIDPressure"};

const char *eviction_resource(enum eviction_signal signal)
{
    return signals[signal].resource;
}

enum eviction_condition eviction_condition(enum eviction_signal signal)
{
    return signals[signal].condition;
}

bool eviction_reclaims(enum eviction_signal signal, bool shared)
{
    bool images = signal == EVICTION_IMAGE_DISK || signal == EVICTION_IMAGE_INODES;
    return images || (shared && (signal == EVICTION_DISK || signal == EVICTION_INODES));
}

bool eviction_is_counted(enum eviction_signal signal)
{
    return signals[signal].counted;
}

/* ---- Thresholds ---- */

static int parse_percentage(const char *signal, const char *amount, struct eviction_threshold *out, struct error *err)
{
    char *end;
    double percent = strtod(amount, &end);
    if (end == amount || strcmp(end, "%") != 0 || percent != percent)
        return error_set(err, EINVAL, "eviction percentage threshold %s is not a number: %s", signal, amount);
    if (percent < 0)
        return error_set(err, EINVAL, "eviction percentage threshold %s must be >= 0%%: %s", signal, amount);
    if (percent > 100)
        return error_set(err, EINVAL, "eviction percentage threshold %s must be <= 100%%: %s", signal, amount);
    out->part = percent == 100 ? 0 : (float)percent / 100; /* 0% and 100% are no thresholds */
    return 0;
}

static int parse_amount(struct arena *arena, const char *signal, const char *text, size_t n,
                        struct eviction_threshold *out, struct error *err)
{
    const char *amount = arena_string_n(arena, text, n);
    *out = (struct eviction_threshold){0};
    if (n && text[n - 1] == '%')
        return parse_percentage(signal, amount, out, err);
    out->quantity = quantity_canonical(arena, text, n);
    if (!out->quantity || quantity_compare(out->quantity, "0") <= 0)
        return error_set(err, EINVAL, "eviction threshold %s must be positive: %s", signal, amount);
    return 0;
}

static int parse_one(struct arena *arena, const char *text, size_t n, struct eviction_thresholds *out,
                     struct error *err)
{
    const char *less = memchr(text, '<', n);
    struct eviction_threshold amount;
    if (!less)
        return error_set(err, EINVAL, "invalid eviction threshold syntax %.*s, expected <signal>%s<quantity>", (int)n,
                         text, "<");
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++) {
        if (strlen(signals[i].name) != (size_t)(less - text) ||
            strncmp(signals[i].name, text, (size_t)(less - text)) != 0)
            continue;
        if (parse_amount(arena, signals[i].name, less + 1, (size_t)(text + n - less - 1), &amount, err) < 0)
            return -1;
        out->of[i] = amount;
        return 0;
    }
    return error_set(err, EINVAL, "unsupported eviction signal %.*s", (int)(less - text), text);
}

int eviction_parse(struct arena *arena, const char *text, struct eviction_thresholds *out, struct error *err)
{
    *out = (struct eviction_thresholds){0};
    while (*text) {
        size_t n = strcspn(text, ",");
        if (parse_one(arena, text, n, out, err) < 0)
            return -1;
        text += n + (text[n] == ',');
    }
    return 0;
}

/* Single precision, then double, as upstream: its figures are these. */
int64_t eviction_amount(const struct eviction_threshold *threshold, int64_t capacity)
{
    return threshold->quantity ? quantity_value(threshold->quantity)
                               : (int64_t)((double)capacity * (double)threshold->part);
}

/* ---- Ranking ---- */

/* The order in which they came settles what nothing else does. */
static int compare(const struct eviction_pod *a, const struct eviction_pod *b)
{
    if (a->measured != b->measured)
        return a->measured ? 1 : -1;
    bool a_over = a->measured && a->usage > a->request, b_over = b->measured && b->usage > b->request;
    if (a_over != b_over)
        return a_over ? -1 : 1;
    int32_t a_priority = a->pod->spec.priority.value, b_priority = b->pod->spec.priority.value;
    if (a_priority != b_priority)
        return a_priority < b_priority ? -1 : 1;
    int64_t a_excess = a->usage - a->request, b_excess = b->usage - b->request;
    return a_excess == b_excess ? 0 : a_excess > b_excess ? -1 : 1;
}

/* By insertion: few pods, and stable. */
void eviction_rank(struct eviction_pod *pods, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct eviction_pod moving = pods[i];
        size_t at = i;
        for (; at && compare(&moving, &pods[at - 1]) < 0; at--)
            pods[at] = pods[at - 1];
        pods[at] = moving;
    }
}

/* ---- Words ---- */

static const char *amount_text(struct arena *arena, int64_t amount, bool counted)
{
    return quantity_format(arena, (quantity_t)amount * 1000000000, !counted);
}

static const char *bytes_text(struct arena *arena, int64_t bytes)
{
    return amount_text(arena, bytes, false);
}

const char *eviction_message(struct arena *arena, const struct eviction_shortage *s, const struct eviction_pod *victim)
{
    cleanup_buffer struct buffer text = {0};
    const char *resource = signals[s->signal].resource;
    const char *threshold =
        s->threshold->quantity ? s->threshold->quantity : bytes_text(arena, eviction_amount(s->threshold, s->capacity));
    buffer_printf(&text, "The node was low on resource: %s. Threshold quantity: %s, available: %s. ", resource,
                  threshold, amount_text(arena, s->available, signals[s->signal].counted));
    for (size_t i = 0; i < victim->count; i++) {
        const struct eviction_container *c = &victim->containers[i];
        if (c->usage > c->request)
            buffer_printf(&text, "Container %s was using %s, request is %s, has larger consumption of %s. ", c->name,
                          bytes_text(arena, c->usage), bytes_text(arena, c->request), resource);
    }
    return arena_string(arena, text.data);
}

/* ---- Taking in ---- */

bool eviction_is_critical(const struct pod *pod)
{
    const char *source = string_map_get(&pod->metadata.annotations, "kubernetes.io/config.source");
    if (string_map_get(&pod->metadata.annotations, "kubernetes.io/config.mirror") ||
        (source && strcmp(source, "api") != 0))
        return true;
    return pod->spec.priority.set && pod->spec.priority.value >= SYSTEM_CRITICAL;
}

static bool tolerates_memory_pressure(const struct pod *pod)
{
    for (size_t i = 0; i < pod->spec.tolerations.count; i++) {
        const struct toleration *t = &pod->spec.tolerations.items[i];
        bool key = t->key && *t->key ? strcmp(t->key, TAINT_MEMORY) == 0 : true;
        bool effect = !t->effect || !*t->effect || strcmp(t->effect, "NoSchedule") == 0;
        bool value =
            t->operator&& strcmp(t->operator, "Exists") == 0 ? true : key && t->key && (!t->value || !*t->value);
        if (key && effect && value)
            return true;
    }
    return false;
}

bool eviction_admits(const struct pod *pod, const bool shown[EVICTION_CONDITIONS])
{
    bool memory = shown[EVICTION_MEMORY_PRESSURE], others = false;
    for (int i = 0; i < EVICTION_CONDITIONS; i++)
        others |= i != EVICTION_MEMORY_PRESSURE && shown[i];
    if ((!memory && !others) || eviction_is_critical(pod))
        return true;
    return !others && (strcmp(api_pod_qos_class(&pod->spec), "BestEffort") != 0 || tolerates_memory_pressure(pod));
}

const char *eviction_refusal(struct arena *arena, const bool shown[EVICTION_CONDITIONS])
{
    cleanup_buffer struct buffer text = {0};
    for (int i = 0; i < EVICTION_CONDITIONS; i++)
        if (shown[i])
            buffer_printf(&text, "%s%s", text.size ? " " : "", conditions[i]);
    return arena_printf(arena, "The node had condition: [%.*s]. ", (int)text.size, text.size ? text.data : "");
}
