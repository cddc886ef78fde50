/* Registers the node and keeps its status and lease. One write at a time; each starts from the newest object. */
#include "node/registration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/json.h"
#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "node/node_resources.h"
#include "node/pressure.h"
#include "node/static_pods.h"

#define RETRY (1 * SECOND)
/* As upstream's lease controller backs off. */
#define LEASE_RETRY_FIRST (200 * MILLISECOND)
#define LEASE_RETRY_MAX (7 * SECOND)
/* The version of the API that the node speaks. */
#define KUBELET_VERSION "v1.35.0+coracle"

struct node_registration {
    struct agent *agent;
    env_callback ready;
    void *context;
    struct env_timer *status_timer, *lease_timer;
    struct node_system_info info;
    struct arena *arena; /* of info and image names */
    bool busy, again, lease_busy, registered;
    int64_t lease_retry; /* since the Lease could not be written; 0: it could */
    /* Listed on the pool. */
    struct image_list images;
    bool stopping;
    size_t pending;
};

/* A file's first line, without the newline, or "". */
static const char *first_line(struct arena *arena, const char *path)
{
    cleanup_buffer struct buffer b = {0};
    if (file_read(path, 65536, &b, NULL) < 0 || !b.size)
        return "";
    return arena_string_n(arena, b.data, strcspn(b.data, "\n"));
}

static const char *os_image(struct arena *arena)
{
    cleanup_buffer struct buffer b = {0};
    if (file_read("/etc/os-release", 65536, &b, NULL) < 0)
        return "Linux";
    const char *at = b.data ? strstr(b.data, "PRETTY_NAME=\"") : NULL;
    if (!at)
        return "Linux";
    at += strlen("PRETTY_NAME=\"");
    return arena_string_n(arena, at, strcspn(at, "\""));
}

static const char *architecture(const char *machine)
{
    return strcmp(machine, "x86_64") == 0 ? "amd64" : strcmp(machine, "aarch64") == 0 ? "arm64" : machine;
}

static int64_t rest(int64_t capacity, int64_t reserved, const struct eviction_threshold *left)
{
    int64_t rest = capacity - reserved - (left ? eviction_amount(left, capacity) : 0);
    return rest > 0 ? rest : 0;
}

/* As upstream: pods get what is neither reserved nor to be left. Memory that is in huge pages is nobody's but theirs.
 */
static void set_allocatable(struct agent *agent)
{
    const struct eviction_thresholds *t = &agent->options.eviction;
    agent->reserved = agent->options.reserved;
    agent->allocatable.cpu_milli = rest(agent->cpu_milli, agent->reserved.cpu_milli, NULL);
    agent->allocatable.memory = rest(rest(agent->memory, agent->reserved.memory, &t->of[EVICTION_MEMORY]),
                                     huge_pages_total(&agent->huge_pages), NULL);
    agent->allocatable.disk = rest(agent->disk, agent->reserved.disk, &t->of[EVICTION_DISK]);
}

struct node_registration *registration_new(struct agent *agent)
{
    struct node_registration *r = mem_zero(1, sizeof(*r));
    struct utsname uts;
    struct sysinfo system;
    struct statvfs disk;
    r->agent = agent;
    r->arena = arena_new(0);
    uname(&uts);
    sysinfo(&system);
    agent->memory = (int64_t)system.totalram * system.mem_unit;
    agent->cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
    if (statvfs(agent->options.data_directory, &disk) == 0)
        agent->disk = (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
    agent->huge_pages = huge_pages_read(r->arena, HUGE_PAGES_DIRECTORY);
    set_allocatable(agent);
    r->info = (struct node_system_info){
        .architecture = arena_string(r->arena, architecture(uts.machine)),
        .boot_id = first_line(r->arena, "/proc/sys/kernel/random/boot_id"),
        .container_runtime_version = "crun://1",
        .kernel_version = arena_string(r->arena, uts.release),
        .kube_proxy_version = "",
        .kubelet_version = KUBELET_VERSION,
        .machine_id = first_line(r->arena, "/etc/machine-id"),
        .operating_system = "linux",
        .os_image = os_image(r->arena),
        .system_uuid = first_line(r->arena, "/sys/class/dmi/id/product_uuid"),
    };
    return r;
}

/* ---- The Node ---- */

static struct string_map amounts(const struct node_registration *r, struct arena *arena, int64_t cpu_milli,
                                 int64_t memory, int64_t disk)
{
    const struct agent *agent = r->agent;
    struct string_map map = {0};
    string_map_set(arena, &map, "cpu", quantity_format(arena, (quantity_t)cpu_milli * 1000000, false));
    string_map_set(arena, &map, "ephemeral-storage", arena_printf(arena, "%lldKi", (long long)disk / 1024));
    for (size_t i = 0; i < agent->huge_pages.count; i++) {
        const struct huge_page *page = &agent->huge_pages.items[i];
        string_map_set(arena, &map, page->resource, quantity_format(arena, (quantity_t)page->total * 1000000000, true));
    }
    string_map_set(arena, &map, "memory", arena_printf(arena, "%lldKi", (long long)memory / 1024));
    string_map_set(arena, &map, "pods",
                   arena_printf(arena, "%d", agent->options.pods_max ? agent->options.pods_max : AGENT_PODS_MAX));
    return map;
}

struct string_map registration_allocatable(const struct node_registration *r, struct arena *arena)
{
    const struct agent *agent = r->agent;
    return amounts(r, arena, agent->allocatable.cpu_milli, agent->allocatable.memory, agent->allocatable.disk);
}

static struct node_amounts amounts_to_show(const struct node_registration *r, struct arena *arena,
                                           const struct node_status *shown)
{
    const struct agent *agent = r->agent;
    struct node_amounts own = {.capacity = amounts(r, arena, agent->cpu_milli, agent->memory, agent->disk),
                               .allocatable = registration_allocatable(r, arena)};
    return node_resources_merge(arena, shown, &own);
}

/* By what the pressure is not, and is. */
static const struct {
    const char *type, *reasons[2], *messages[2];
} pressures[EVICTION_CONDITIONS] = {
    [EVICTION_MEMORY_PRESSURE] = {"MemoryPressure",
                                  {"KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"},
                                  {"kubelet has sufficient memory available",
                                   "kubelet has insufficient memory available"}},
    [EVICTION_DISK_PRESSURE] = {"DiskPressure",
                                {"KubeletHasNoDiskPressure", "KubeletHasDiskPressure"},
                                {"kubelet has no disk pressure", "kubelet has disk pressure"}},
    [EVICTION_PID_PRESSURE] = {"PIDPressure",
                               {"KubeletHasSufficientPID", "KubeletHasInsufficientPID"},
                               {"kubelet has sufficient PID available", "kubelet has insufficient PID available"}},
};

static void set_condition(const struct node_status *old, struct node_condition *out, const char *type, bool value,
                          const char *reason, const char *message, int64_t now)
{
    *out = (struct node_condition){.type = type,
                                   .status = value ? "True" : "False",
                                   .reason = reason,
                                   .message = message,
                                   .last_heartbeat_time = now,
                                   .last_transition_time = now};
    for (size_t i = 0; i < old->conditions.count; i++) {
        const struct node_condition *c = &old->conditions.items[i];
        if (strcmp(c->type, type) == 0 && strcmp(c->status, out->status) == 0)
            out->last_transition_time = c->last_transition_time;
    }
}

static int by_size(const void *a, const void *b)
{
    const struct image *const *x = a, *const *y = b;
    return (*x)->size < (*y)->size ? 1 : (*x)->size > (*y)->size ? -1 : 0;
}

static void set_images(struct node_registration *r, struct arena *arena, struct node_status *status)
{
    size_t count = r->images.count < REGISTRATION_IMAGES_MAX ? r->images.count : REGISTRATION_IMAGES_MAX;
    if (r->images.count)
        qsort(r->images.items, r->images.count, sizeof(*r->images.items), by_size);
    status->images.items = arena_alloc(arena, count * sizeof(*status->images.items));
    status->images.count = count;
    for (size_t i = 0; i < count; i++) {
        const struct image *image = r->images.items[i];
        struct container_image *out = &status->images.items[i];
        out->size_bytes = (int64_t)image->size;
        out->names.items = arena_alloc(arena, (image->digests.count + image->names.count) * sizeof(*out->names.items));
        for (size_t n = 0; n < image->digests.count; n++)
            out->names.items[out->names.count++] = arena_string(arena, image->digests.items[n]);
        for (size_t n = 0; n < image->names.count; n++)
            out->names.items[out->names.count++] = arena_string(arena, image->names.items[n]);
    }
}

static void set_status(struct node_registration *r, struct arena *arena, const struct node_status *old,
                       struct node_status *out)
{
    const struct agent_options *o = &r->agent->options;
    int64_t now = env_now(r->agent->env) / SECOND * SECOND;
    *out = *old;
    out->node_info = r->info;
    struct node_amounts amounts = amounts_to_show(r, arena, old);
    out->capacity = amounts.capacity;
    out->allocatable = amounts.allocatable;
    struct node_address *addresses = arena_alloc(arena, 3 * sizeof(*addresses));
    size_t count = 0;
    addresses[count++] = (struct node_address){.type = "InternalIP", .address = o->node_address};
    if (o->node_address6)
        addresses[count++] = (struct node_address){.type = "InternalIP", .address = o->node_address6};
    addresses[count++] = (struct node_address){.type = "Hostname", .address = o->node_name};
    out->addresses = (struct node_address_array){addresses, count};
    out->conditions.count = EVICTION_CONDITIONS + 1;
    out->conditions.items = arena_alloc(arena, out->conditions.count * sizeof(*out->conditions.items));
    struct node_condition *c = out->conditions.items;
    for (int i = 0; i < EVICTION_CONDITIONS; i++) {
        bool shown = pressure_shown(r->agent->pressure)[i];
        set_condition(old, &c[i], pressures[i].type, shown, pressures[i].reasons[shown], pressures[i].messages[shown],
                      now);
    }
    set_condition(old, &c[EVICTION_CONDITIONS], "Ready", true, "KubeletReady", "kubelet is posting ready status", now);
    set_images(r, arena, out);
}

static void list_images(void *context);
static void begin(void *context);

static void again_later(struct node_registration *r, int64_t delay)
{
    r->busy = false;
    if (!r->stopping)
        env_timer_start(r->status_timer, r->again ? 0 : delay);
    r->again = false;
}

/* Something that a stop waits for has ended. */
static void over(struct node_registration *r)
{
    r->pending--;
    agent_settled(r->agent);
}

static void status_written(void *context, const struct client_result *result)
{
    struct node_registration *r = context;
    over(r);
    if (!client_ok(result)) {
        if (result->code != 409)
            log_warning("Cannot write the status of node %s: %s", r->agent->options.node_name,
                        result->status ? result->status->message : "");
        again_later(r, RETRY);
        return;
    }
    if (!r->registered) {
        r->registered = true;
        r->agent->node_uid = mem_string(result->object->meta->uid);
        static_pods_api_ready(r->agent->static_pods);
        recorder_event(r->agent->recorder, &api_resources[API_NODES], result->object->meta, NULL, "Normal", "NodeReady",
                       "Node %s status is now: NodeReady", r->agent->options.node_name);
        if (r->ready)
            r->ready(r->context);
    }
    again_later(r, REGISTRATION_STATUS);
}

static void write_status(struct node_registration *r, struct object *object)
{
    struct arena *arena = arena_new(8192);
    struct node *node = object_copy(arena, object);
    struct node_status status;
    set_status(r, arena, &node->status, &status);
    node->status = status;
    r->pending++;
    client_update(r->agent->client, &api_resources[API_NODES], "status", arena, node, status_written, r);
}

static void created(void *context, const struct client_result *result)
{
    struct node_registration *r = context;
    over(r);
    if (!client_ok(result))
        again_later(r, RETRY);
    else
        write_status(r, result->object);
}

struct node *registration_node(const struct node_registration *r, struct arena *arena)
{
    const struct agent_options *o = &r->agent->options;
    struct node *node = arena_alloc(arena, sizeof(*node));
    const struct string_pair labels[] = {{"beta.kubernetes.io/arch", r->info.architecture},
                                         {"beta.kubernetes.io/os", "linux"},
                                         {"kubernetes.io/arch", r->info.architecture},
                                         {"kubernetes.io/hostname", o->node_name},
                                         {"kubernetes.io/os", "linux"},
                                         {"node-role.kubernetes.io/control-plane", ""}};
    node->metadata.name = arena_string(arena, o->node_name);
    node->metadata.labels.items = arena_copy(arena, labels, sizeof(labels));
    node->metadata.labels.count = ARRAY_COUNT(labels);
    node->spec.pod_cidr = arena_string(arena, o->pod_cidr);
    const char *cidrs[] = {node->spec.pod_cidr, arena_string(arena, o->pod_cidr6)};
    node->spec.pod_cidrs.items = arena_copy(arena, cidrs, sizeof(cidrs));
    node->spec.pod_cidrs.count = o->pod_cidr6 ? 2 : 1;
    return node;
}

static void create(struct node_registration *r)
{
    struct arena *arena = arena_new(4096);
    r->pending++;
    client_create(r->agent->client, &api_resources[API_NODES], NULL, arena, registration_node(r, arena), created, r);
}

static void got(void *context, const struct client_result *result)
{
    struct node_registration *r = context;
    over(r);
    if (result->code == 404)
        create(r);
    else if (client_ok(result))
        write_status(r, result->object);
    else
        again_later(r, RETRY);
}

static void images_listed(void *context)
{
    struct node_registration *r = context;
    over(r);
    if (r->stopping)
        return;
    r->pending++;
    client_get(r->agent->client, &api_resources[API_NODES], NULL, r->agent->options.node_name, got, r);
}

static void list_images(void *context)
{
    struct node_registration *r = context;
    struct error err;
    image_list_free(&r->images);
    if (image_list(r->agent->images, &r->images, &err) < 0)
        log_warning("Cannot list the images: %s", err.text);
}

static void begin(void *context)
{
    struct node_registration *r = context;
    if (r->busy) {
        r->again = true;
        return;
    }
    r->busy = true;
    r->pending++;
    task_run(r->agent->env, list_images, images_listed, r);
}

void registration_poke(struct node_registration *r)
{
    begin(r);
}

void registration_node_changed(struct node_registration *r, const struct node *node)
{
    cleanup_arena struct arena *arena = arena_new(1024);
    struct node_amounts amounts = amounts_to_show(r, arena, &node->status);
    if (r->registered && (!string_map_equal(&amounts.capacity, &node->status.capacity) ||
                          !string_map_equal(&amounts.allocatable, &node->status.allocatable)))
        begin(r);
}

/* ---- The Lease ---- */

static void lease_written(void *context, const struct client_result *result)
{
    struct node_registration *r = context;
    over(r);
    r->lease_busy = false;
    if (client_ok(result))
        r->lease_retry = 0;
    else
        r->lease_retry = !r->lease_retry                        ? LEASE_RETRY_FIRST
                         : r->lease_retry < LEASE_RETRY_MAX / 2 ? r->lease_retry * 2
                                                                : LEASE_RETRY_MAX;
    if (!r->stopping)
        env_timer_start(r->lease_timer, r->lease_retry ? r->lease_retry : REGISTRATION_RENEW);
}

static struct lease *fill_lease(struct node_registration *r, struct arena *arena, struct lease *lease)
{
    lease->spec.holder_identity = arena_string(arena, r->agent->options.node_name);
    lease->spec.lease_duration_seconds = opt_int32(REGISTRATION_LEASE_SECONDS);
    lease->spec.renew_time = env_now(r->agent->env);
    /* It goes with its node. */
    if (r->agent->node_uid && !lease->metadata.owner_references.count) {
        struct owner_reference *owner = arena_alloc(arena, sizeof(*owner));
        owner->api_version = "v1";
        owner->kind = "Node";
        owner->name = arena_string(arena, r->agent->options.node_name);
        owner->uid = arena_string(arena, r->agent->node_uid);
        lease->metadata.owner_references = (struct owner_reference_array){owner, 1};
    }
    return lease;
}

static void lease_got(void *context, const struct client_result *result)
{
    struct node_registration *r = context;
    struct arena *arena = arena_new(2048);
    const struct api_resource *leases = &api_resources[API_LEASES];
    if (client_ok(result)) {
        struct lease *lease = fill_lease(r, arena, object_copy(arena, result->object));
        client_update(r->agent->client, leases, NULL, arena, lease, lease_written, r);
    } else if (result->code == 404) {
        struct lease *lease = fill_lease(r, arena, arena_alloc(arena, sizeof(*lease)));
        lease->metadata.name = arena_string(arena, r->agent->options.node_name);
        lease->metadata.namespace = "kube-node-lease";
        client_create(r->agent->client, leases, "kube-node-lease", arena, lease, lease_written, r);
    } else {
        arena_free(arena);
        lease_written(r, result);
    }
}

static void renew(void *context)
{
    struct node_registration *r = context;
    if (r->lease_busy)
        return;
    r->lease_busy = true;
    r->pending++;
    client_get(r->agent->client, &api_resources[API_LEASES], "kube-node-lease", r->agent->options.node_name, lease_got,
               r);
}

void registration_start(struct node_registration *r, env_callback ready, void *context)
{
    r->ready = ready;
    r->context = context;
    r->status_timer = env_timer_new(r->agent->env, begin, r);
    r->lease_timer = env_timer_new(r->agent->env, renew, r);
    begin(r);
    renew(r);
}

bool registration_idle(const struct node_registration *r)
{
    return r->pending == 0;
}

void registration_stop(struct node_registration *r)
{
    r->stopping = true;
    if (r->status_timer)
        env_timer_stop(r->status_timer);
    if (r->lease_timer)
        env_timer_stop(r->lease_timer);
}

void registration_free(struct node_registration *r)
{
    env_timer_free(r->status_timer);
    env_timer_free(r->lease_timer);
    image_list_free(&r->images);
    arena_free(r->arena);
    free(r);
}
