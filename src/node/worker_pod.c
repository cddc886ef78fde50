/* What a worker does for the pod as a whole: volumes, sandbox and address, tearing down. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/sysctl.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/vector.h"
#include "node/limits.h"
#include "node/pod_files.h"
#include "node/pressure.h"
#include "node/runtime/container.h"
#include "node/runtime/log.h"
#include "node/runtime/sandbox.h"
#include "node/volume.h"
#include "node/worker.h"

/* Retries of volumes and sandboxes: upstream's 500 ms doubling to about 2 minutes. */
#define RETRY_FIRST (500 * INT64_C(1000))
#define RETRY_MAX (122 * INT64_C(1000000))
/* Longest host name that the kernel takes. */
#define FQDN_MAX 64

static int64_t next_delay(int64_t *delay)
{
    *delay = !*delay ? RETRY_FIRST : *delay * 2 < RETRY_MAX ? *delay * 2 : RETRY_MAX;
    return *delay;
}

/* ---- Volumes ---- */

struct mount {
    struct worker *worker;
    struct arena *arena;
    struct volume_plan *plan;
    struct object *pod;
    bool update; /* an object has changed under a running pod */
    struct error err;
    bool failed;
    bool told; /* the user knows already */
};

static void mounted(void *context)
{
    struct mount *m = context;
    struct worker *w = m->worker;
    if (m->update)
        w->state.seen.volumes_updating = false;
    if (m->failed) {
        if (!m->told)
            worker_event(w, NULL, "Warning", "FailedMount", "%s", m->err.text);
        if (!m->update) {
            w->state.seen.volumes = PART_FAILED;
            /* What was missing may have come while this was being tried. */
            w->state.seen.volumes_retry_at =
                w->volumes_stale ? 0 : env_now(w->agent->env) + next_delay(&w->volumes_delay);
        }
    } else if (!m->update) {
        w->state.seen.volumes = PART_READY;
        w->volumes_delay = 0;
        worker_watch_usage(w);
    }
    worker_plan_renewal(w);
    object_unref(m->pod);
    arena_free(m->arena);
    free(m);
    if (w->volumes_stale)
        worker_update_volumes(w);
    worker_release(w);
}

static void mount(void *context)
{
    struct mount *m = context;
    m->failed = volume_apply(m->plan, &m->err) < 0;
}

/* All tokens are there, or have been refused. */
static void plan_and_mount(void *context)
{
    struct mount *m = context;
    struct worker *w = m->worker;
    struct environment_source pod = worker_source(w);
    struct volume_source source = {.pod = &pod,
                                   .token = worker_token_text,
                                   .claim = worker_claim,
                                   .persistent_volume = worker_persistent_volume,
                                   .image = worker_volume_image,
                                   .images = w->agent->images,
                                   .context = w};
    pod.pod = m->pod->value;
    if (volume_plan_new(m->arena, m->pod->value, w->directory, &source, &m->plan, &m->err) < 0) {
        m->failed = true;
        mounted(m);
        return;
    }
    task_run(w->agent->env, mount, mounted, m);
}

static void images_answered(void *context, const struct error *err)
{
    struct mount *m = context;
    struct worker *w = m->worker;
    if (err) {
        m->failed = m->told = true;
        m->err = *err;
        mounted(m);
    } else if (!worker_fetch_tokens(w, plan_and_mount, m)) {
        plan_and_mount(m);
    }
}

static void mount_volumes(struct worker *w, bool update)
{
    struct mount *m = mem_zero(1, sizeof(*m));
    m->worker = w;
    m->update = update;
    m->arena = arena_new(4096);
    m->pod = object_ref(w->state.pod);
    worker_hold(w);
    w->volumes_stale = false;
    if (!worker_fetch_volume_images(w, images_answered, m))
        images_answered(m, NULL);
}

void worker_mount_volumes(struct worker *w)
{
    w->state.seen.volumes = PART_BUSY;
    mount_volumes(w, false);
}

void worker_update_volumes(struct worker *w)
{
    if (w->state.seen.terminating || w->state.seen.torn_down || w->agent->stopping)
        return;
    if (w->state.seen.volumes == PART_BUSY || w->state.seen.volumes_updating) {
        w->volumes_stale = true;
    } else if (w->state.seen.volumes == PART_READY) {
        w->state.seen.volumes_updating = true;
        mount_volumes(w, true);
    }
}

void worker_config_changed(struct worker *w, const struct api_resource *resource, const char *name)
{
    if (w->state.seen.terminating || w->state.seen.torn_down)
        return;
    if (volume_uses(worker_pod(w), resource, name))
        worker_update_volumes(w);
    /* What was missing may be there now: volumes and references to it are tried at once. */
    if (w->state.seen.volumes == PART_FAILED)
        w->state.seen.volumes_retry_at = 0;
    for (size_t i = 0; i < w->state.seen.container_count; i++) {
        const char *waiting = w->state.records[i].waiting_reason;
        if (waiting && strcmp(waiting, "CreateContainerConfigError") == 0)
            w->state.seen.containers[i].restart = (struct backoff){0};
    }
    worker_poke(w);
}

/* ---- Sandbox ---- */

struct attach {
    struct worker *worker;
    char *namespace_path; /* NULL: the node's network */
    char *hostname;       /* as the kernel has it */
    char *name;           /* without its domain */
    struct object *pod;
    struct in_addr address;
    struct resolver_omissions omitted;
    struct error err;
    bool failed;
};

static void attach_free(struct attach *a)
{
    free(a->omitted.servers);
    free(a->omitted.searches);
    object_unref(a->pod);
    free(a->namespace_path);
    free(a->hostname);
    free(a->name);
    free(a);
}

static void sandbox_failed(struct worker *w, const struct error *err)
{
    worker_event(w, NULL, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", err->text);
    w->state.seen.sandbox = PART_FAILED;
    w->state.seen.sandbox_retry_at = env_now(w->agent->env) + next_delay(&w->sandbox_delay);
}

static char *address_text(const struct ip_address *address)
{
    char text[IP_ADDRESS_TEXT_MAX];
    return address->family ? mem_string(ip_address_text(address, text)) : NULL;
}

void worker_take_address(struct worker *w, const struct in_addr *address)
{
    struct ip_address ip = {0}, ip6 = {0};
    if (address) {
        ip = ip_address_v4(*address);
        pod_network_address6(w->agent->network, *address, &ip6);
    }
    free(w->state.ip);
    free(w->state.ip6);
    w->state.ip = address_text(&ip);
    w->state.ip6 = address_text(&ip6);
}

const char *worker_address(const struct worker *w)
{
    return worker_pod(w)->spec.host_network ? w->agent->options.node_address : w->state.ip;
}

const char *worker_address6(const struct worker *w)
{
    return worker_pod(w)->spec.host_network ? w->agent->options.node_address6 : w->state.ip6;
}

static void network_ready(struct worker *w)
{
    w->state.seen.sandbox = PART_READY;
    w->sandbox_delay = 0;
    worker_publish_ports(w, true);
}

static void secured(void *context)
{
    struct attach *a = context;
    struct worker *w = a->worker;
    network_ready(w);
    attach_free(a);
    worker_release(w);
}

static void attached(void *context)
{
    struct attach *a = context;
    struct worker *w = a->worker;
    const char *omissions[] = {a->omitted.servers, a->omitted.searches};
    for (size_t i = 0; i < ARRAY_COUNT(omissions); i++)
        if (omissions[i])
            worker_event(w, NULL, "Warning", "DNSConfigForming", "%s", omissions[i]);
    if (a->failed) {
        sandbox_failed(w, &a->err);
    } else {
        worker_take_address(w, a->namespace_path ? &a->address : NULL);
        const struct agent_options *o = &w->agent->options;
        if (w->state.ip && o->secure) {
            o->secure(o->secure_context, a->pod->value, w->state.ip, w->state.ip6, secured, a);
            return;
        }
        network_ready(w);
    }
    attach_free(a);
    worker_release(w);
}

void worker_publish_ports(struct worker *w, bool publish)
{
    const struct agent_options *options = &w->agent->options;
    if (options->host_ports)
        options->host_ports(options->context, worker_pod(w), publish ? worker_address(w) : NULL,
                            publish ? worker_address6(w) : NULL);
}

static void attach(void *context)
{
    struct attach *a = context;
    struct worker *w = a->worker;
    char text[IP_ADDRESS_TEXT_MAX] = "", text6[IP_ADDRESS_TEXT_MAX] = "";
    struct ip_address ip6;
    if (a->namespace_path) {
        if (pod_network_attach(w->agent->network, a->pod->meta->uid, a->namespace_path, &a->address, &a->err) < 0) {
            a->failed = true;
            return;
        }
        inet_ntop(AF_INET, &a->address, text, sizeof(text));
        if (pod_network_address6(w->agent->network, a->address, &ip6))
            ip_address_text(&ip6, text6);
    }
    struct pod_files_options files = {.pod_ip6 = *text6 ? text6 : NULL,
                                      .cluster_domain = w->agent->options.cluster_domain,
                                      .cluster_dns = w->agent->options.cluster_dns};
    files.kernel_hostname = a->hostname;
    a->failed =
        pod_files_write(w->directory, a->pod->value, a->name, *text ? text : NULL, &files, &a->omitted, &a->err) < 0;
}

static void sandbox_created(void *context, const struct error *err)
{
    struct attach *a = context;
    struct worker *w = a->worker;
    /* One that an attempt before has made, and whose network failed, is good enough. */
    if (err && err->code != EEXIST) {
        sandbox_failed(w, err);
        attach_free(a);
        worker_release(w);
        return;
    }
    const struct runtime_sandbox_status *s = runtime_sandbox_get(w->agent->runtime, a->pod->meta->uid);
    a->namespace_path = s && s->network_namespace ? mem_string(s->network_namespace) : NULL;
    task_run(w->agent->env, attach, attached, a);
}

/* As upstream: the pod's name, cut to 63 bytes without a trailing '-' or '.', unless the spec names one. What overrides
 * it is no longer than the kernel takes, and stays as it is. */
static char *hostname(const struct pod *pod)
{
    if (pod->spec.hostname_override)
        return mem_string(pod->spec.hostname_override);
    const char *name = pod->spec.hostname && *pod->spec.hostname ? pod->spec.hostname : pod->metadata.name;
    char *out = mem_string_n(name, 63);
    for (size_t n = strlen(out); n && (out[n - 1] == '-' || out[n - 1] == '.'); n--)
        out[n - 1] = 0;
    return out;
}

/* What the kernel calls the pod: of a pod of the node's network the node's own name, with setHostnameAsFQDN the name
 * that it has in the cluster's DNS. NULL: too long. */
static char *kernel_hostname(const struct worker *w, const struct pod *pod, const char *name, struct error *err)
{
    const struct pod_spec *spec = &pod->spec;
    if (spec->host_network) {
        char own[FQDN_MAX + 1] = "";
        gethostname(own, FQDN_MAX);
        return mem_string(own);
    }
    if (!spec->set_hostname_as_fqdn.set || !spec->set_hostname_as_fqdn.value || spec->hostname_override ||
        !spec->subdomain || !*spec->subdomain)
        return mem_string(name);
    cleanup_free char *fqdn =
        mem_printf("%s.%s.%s.svc.%s", name, spec->subdomain, pod->metadata.namespace, w->agent->options.cluster_domain);
    if (strlen(fqdn) <= FQDN_MAX)
        return steal_pointer(fqdn);
    error_set(
        err, EINVAL,
        "failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the "
        "max, %zu characters requested)",
        fqdn, FQDN_MAX, strlen(fqdn));
    return NULL;
}

void worker_create_sandbox(struct worker *w)
{
    const struct pod *pod = worker_pod(w);
    struct error err;
    cleanup_free char *name = hostname(pod);
    /* The runtime makes no user namespaces, and root of the node is not what the pod has asked for. */
    bool of_node = !pod->spec.host_users.set || pod->spec.host_users.value;
    if (!of_node)
        error_set(&err, ENOTSUP, "can't set `spec.hostUsers: false`, runtime does not support user namespaces");
    char *kernel_name = of_node ? kernel_hostname(w, pod, name, &err) : NULL;
    if (!kernel_name) {
        sandbox_failed(w, &err);
        worker_poke(w);
        return;
    }
    struct attach *a = mem_zero(1, sizeof(*a));
    a->worker = w;
    a->pod = object_ref(w->state.pod);
    a->name = steal_pointer(name);
    a->hostname = kernel_name;
    const struct pod_security_context *security = pod->spec.security_context;
    size_t sysctls = security ? security->sysctls.count : 0;
    struct arena *arena = arena_new(4096);
    struct runtime_pair *pairs = arena_alloc(arena, sysctls * sizeof(*pairs));
    for (size_t i = 0; i < sysctls; i++) {
        cleanup_free char *normal = sysctl_normal(security->sysctls.items[i].name);
        pairs[i] = (struct runtime_pair){arena_string(arena, normal), security->sysctls.items[i].value};
    }
    const struct pod *allocated = worker_allocated_pod(w, arena);
    struct runtime_sandbox_config config = {
        .pod_uid = pod->metadata.uid,
        .pod_namespace = pod->metadata.namespace,
        .pod_name = pod->metadata.name,
        .hostname = a->hostname,
        .host_network = pod->spec.host_network,
        .host_ipc = pod->spec.host_ipc,
        .host_pid = pod->spec.host_pid,
        .share_process_namespace = pod->spec.share_process_namespace.set && pod->spec.share_process_namespace.value,
        .sysctls = pairs,
        .sysctl_count = sysctls,
        .resources = limits_of_pod(allocated),
    };
    w->state.seen.sandbox = PART_BUSY;
    worker_hold(w);
    runtime_sandbox_create(w->agent->runtime, &config, sandbox_created, a);
    arena_free(arena);
}

/* ---- Tearing down ---- */

/* Containers one after the other, then what they have sent, network, mounts and files, then the sandbox. */
struct tear_down {
    struct worker *worker;
    size_t next;
    VECTOR(char *) directories; /* of containers; what the pool works on is its own */
    char *log_directory;        /* NULL: logs stay */
};

static void tear_down_next(struct tear_down *t);

static void sandbox_removed(void *context, const struct error *err)
{
    struct tear_down *t = context;
    struct worker *w = t->worker;
    if (err)
        log_warning("Cannot remove the sandbox of pod %s: %s", w->state.pod->meta->name, err->text);
    w->state.seen.sandbox = PART_NONE;
    w->state.seen.torn_down = true;
    for (size_t i = 0; i < t->directories.count; i++)
        free(t->directories.items[i]);
    vector_free(&t->directories);
    agent_room_made(w->agent);
    worker_made_room(w);
    pressure_pod_ended(w->agent->pressure, worker_pod(w)->metadata.uid);
    free(t->log_directory);
    free(t);
    worker_release(w);
}

static void files_removed(void *context)
{
    struct tear_down *t = context;
    struct worker *w = t->worker;
    runtime_sandbox_remove(w->agent->runtime, w->state.pod->meta->uid, sandbox_removed, t);
}

static void remove_files(void *context)
{
    struct tear_down *t = context;
    struct worker *w = t->worker;
    struct error err;
    if (pod_network_detach(w->agent->network, w->state.pod->meta->uid, &err) < 0)
        log_warning("Cannot detach pod %s from the network: %s", w->state.pod->meta->name, err.text);
    for (size_t i = 0; i < t->directories.count; i++)
        if (image_unmount_rootfs(w->agent->images, t->directories.items[i], &err) < 0)
            log_warning("Cannot unmount %s: %s", t->directories.items[i], err.text);
    if (volume_remove_all(w->directory, &err) < 0)
        log_warning("Cannot remove the volumes of pod %s: %s", w->state.pod->meta->name, err.text);
    if (t->log_directory && file_remove_tree(t->log_directory, &err) < 0)
        log_warning("Cannot remove the logs of pod %s: %s", w->state.pod->meta->name, err.text);
}

static void container_deleted(void *context, const struct error *err)
{
    if (err)
        log_warning("Cannot delete a container: %s", err->text);
    tear_down_next(context);
}

static void flushed(void *context)
{
    struct tear_down *t = context;
    struct worker *w = t->worker;
    worker_publish_ports(w, false);
    for (size_t i = 0; i < w->state.seen.container_count; i++)
        vector_push(&t->directories, mem_printf("%s/containers/%s-%d", w->directory,
                                                w->state.seen.containers[i].spec->name, w->state.records[i].attempt));
    const struct pod *pod = worker_pod(w);
    for (size_t i = 0; i < pod->spec.volumes.count; i++)
        if (pod->spec.volumes.items[i].image)
            vector_push(&t->directories, mem_printf("%s/volumes/%s", w->directory, pod->spec.volumes.items[i].name));
    task_run(w->agent->env, remove_files, files_removed, t);
}

static void tear_down_next(struct tear_down *t)
{
    struct worker *w = t->worker;
    while (t->next < w->state.seen.container_count) {
        const char *id = w->state.records[t->next++].id;
        if (id && runtime_container_get(w->agent->runtime, id)) {
            runtime_container_delete(w->agent->runtime, id, container_deleted, t);
            return;
        }
    }
    worker_flush(w, flushed, t);
}

void worker_tear_down(struct worker *w)
{
    const struct object_meta *meta = w->state.pod->meta;
    struct tear_down *t = mem_zero(1, sizeof(*t));
    t->worker = w;
    /* A pod that ran to its end keeps its logs until it is deleted. */
    if (w->state.seen.terminating)
        t->log_directory = runtime_pod_log_directory(w->agent->runtime, meta->namespace, meta->name, meta->uid);
    w->state.seen.sandbox = PART_BUSY;
    w->state.seen.volumes = PART_NONE;
    worker_hold(w);
    tear_down_next(t);
}
