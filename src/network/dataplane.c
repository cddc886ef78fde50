/* Callers leave changes in `pending`, one per service name, the latest; the worker takes all of them at once, brings
 * the plan up to date and applies the difference. The plan and the nft handle are the worker's alone.
 *
 *     caller: set, remove, revision  --lock-->  pending, wanted   --worker-->  plan --> nft --> applied(revision)
 */
#include "network/dataplane.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "network/forget.h"
#include "network/namespace.h"
#include "network/nft_batch.h"

#define FAMILIES 2
/* Bytes, from which on memory that a transaction has taken goes back to the system: libnftables takes fifty times the
 * size of a script. */
#define TRANSACTION_LARGE (1 << 20)

struct change {
    struct list link;
    char *name;
    char *key; /* in by_name: the name and the family */
    bool v6;
    bool remove;
    struct dataplane_service service; /* unless remove; its arrays follow the struct */
};

struct dataplane {
    struct dataplane_config config;
    char *table;
    int namespace_fd;
    pthread_t thread;

    pthread_mutex_t lock; /* over what follows, up to the next empty line */
    pthread_cond_t wake;
    struct list pending;                  /* of struct change, in the order of their first appearance */
    struct map by_name;                   /* the same */
    uint64_t wanted;                      /* the latest revision asked for */
    bool asked;                           /* for a revision that is not taken yet */
    bool begun;                           /* a revision was asked for at least once */
    struct policy_changes policy_changes; /* pending, too */
    uint64_t policy_number;               /* of the latest of them */
    bool stop;
    bool ready; /* the worker is set up, or failed to: start_error */
    struct error start_error;
    struct dataplane_statistics statistics;

    /* The worker's. */
    struct dataplane_plan *plans[FAMILIES]; /* of IPv4, of IPv6; the latter may be NULL */
    struct policy_table *policies;          /* NULL: none */
    struct nft *nft;
    bool need_full;
    bool judge_flows;                         /* policies have taken rights that flows of UDP may still use */
    bool failing;                             /* the last attempt failed and was reported */
    struct dataplane_transaction transaction; /* withdrawals stay in it until they are done */
};

/* ---- changes ---- */

static void free_change(struct change *change)
{
    free(change->name);
    free(change->key);
    free(change);
}

static struct change *new_change(const char *name, bool v6, size_t room)
{
    struct change *change = mem_zero(1, sizeof(*change) + room);
    change->name = mem_string(name);
    change->key = mem_printf("%d%s", v6, name);
    change->v6 = v6;
    return change;
}

/* Copies an array to *room, which moves behind it. */
static const void *copy_array(char **room, const void *items, size_t size)
{
    void *copy = *room;
    if (size)
        memcpy(copy, items, size);
    *room += size;
    return copy;
}

static struct change *copy_service(const struct dataplane_service *service)
{
    size_t endpoints = service->endpoint_count * sizeof(service->endpoints[0]);
    size_t external = service->external_address_count * sizeof(service->external_addresses[0]);
    size_t balancer = service->balancer_address_count * sizeof(service->balancer_addresses[0]);
    size_t ranges = service->source_range_count * sizeof(service->source_ranges[0]);
    struct change *change =
        new_change(service->name, service->family == AF_INET6, endpoints + external + balancer + ranges);
    char *room = (char *)(change + 1);
    change->service = *service;
    change->service.name = change->name;
    change->service.endpoints = copy_array(&room, service->endpoints, endpoints);
    change->service.external_addresses = copy_array(&room, service->external_addresses, external);
    change->service.balancer_addresses = copy_array(&room, service->balancer_addresses, balancer);
    change->service.source_ranges = copy_array(&room, service->source_ranges, ranges);
    return change;
}

static void leave_change(struct dataplane *plane, struct change *change)
{
    pthread_mutex_lock(&plane->lock);
    struct change *old = map_set(&plane->by_name, change->key, change);
    if (old) {
        list_append(&old->link, &change->link);
        list_remove(&old->link);
        free_change(old);
    } else {
        list_append(&plane->pending, &change->link);
    }
    pthread_mutex_unlock(&plane->lock);
}

int dataplane_set(struct dataplane *plane, const struct dataplane_service *service, struct error *err)
{
    if (dataplane_service_check(service, err) < 0)
        return -1;
    if (service->endpoint_count > DATAPLANE_ENDPOINTS_MAX)
        log_warning("Service %s has %zu endpoints; only %d of them get traffic", service->name, service->endpoint_count,
                    DATAPLANE_ENDPOINTS_MAX);
    leave_change(plane, copy_service(service));
    return 0;
}

void dataplane_remove(struct dataplane *plane, int family, const char *name)
{
    struct change *change = new_change(name, family == AF_INET6, 0);
    change->remove = true;
    leave_change(plane, change);
}

void dataplane_revision(struct dataplane *plane, uint64_t revision)
{
    pthread_mutex_lock(&plane->lock);
    if (revision > plane->wanted)
        plane->wanted = revision;
    plane->asked = plane->begun = true;
    pthread_cond_signal(&plane->wake);
    pthread_mutex_unlock(&plane->lock);
}

uint64_t dataplane_policies(struct dataplane *plane, struct policy_changes *changes)
{
    pthread_mutex_lock(&plane->lock);
    for (size_t i = 0; i < changes->count; i++)
        vector_push(&plane->policy_changes, changes->items[i]);
    uint64_t number = ++plane->policy_number;
    if (plane->begun) {
        plane->asked = true;
        pthread_cond_signal(&plane->wake);
    }
    pthread_mutex_unlock(&plane->lock);
    changes->count = 0;
    policy_changes_free(changes);
    return number;
}

/* Moves what is pending into the plans. Call with the lock held. */
static void take_changes(struct dataplane *plane)
{
    struct change *change;
    list_for_each(&plane->pending, change, link)
    {
        struct dataplane_plan *plan = plane->plans[change->v6];
        if (plan && change->remove)
            dataplane_plan_remove(plan, change->name);
        else if (plan)
            dataplane_plan_set(plan, &change->service, NULL); /* checked before */
        list_remove(&change->link);
        free_change(change);
    }
    map_free(&plane->by_name);
    if (plane->policies)
        policy_table_apply(plane->policies, &plane->policy_changes);
    policy_changes_free(&plane->policy_changes);
}

/* ---- reports ---- */

struct report {
    void (*applied)(void *context, uint64_t revision, const struct error *err);
    void *context;
    void (*policies_applied)(void *context, uint64_t number);
    void *policies_context;
    uint64_t revision, policy_number;
    bool failed;
    struct error error;
};

static void deliver(void *context)
{
    struct report *report = context;
    if (report->applied)
        report->applied(report->context, report->revision, report->failed ? &report->error : NULL);
    if (report->policies_applied && !report->failed)
        report->policies_applied(report->policies_context, report->policy_number);
    free(report);
}

/* What a round brings into force. */
struct round {
    uint64_t revision, policy_number;
};

static void send_report(struct dataplane *plane, const struct round *round, const struct error *failure)
{
    if (!plane->config.applied && !plane->config.policies_applied)
        return;
    struct report *report = mem_zero(1, sizeof(*report));
    report->applied = plane->config.applied;
    report->context = plane->config.context;
    report->policies_applied = plane->config.policies_applied;
    report->policies_context = plane->config.policies_context;
    report->revision = round->revision;
    report->policy_number = round->policy_number;
    report->failed = failure != NULL;
    if (failure)
        report->error = *failure;
    if (plane->config.mailbox)
        mailbox_send(plane->config.mailbox, deliver, report);
    else
        deliver(report);
}

/* ---- the worker ---- */

static int64_t monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static int family_at(size_t i)
{
    return i ? AF_INET6 : AF_INET;
}

static bool is_kept(void *context, const struct dataplane_withdrawal *binding)
{
    return dataplane_plan_binds(context, binding);
}

/* Clients stay with their endpoints when the table is made anew. */
static void keep_clients(struct dataplane *plane, size_t family, struct netlink_batch *batch)
{
    struct error e = {0};
    if (nft_keep_clients(plane->nft, family_at(family), plane->table, is_kept, plane->plans[family], batch, &e) < 0)
        log_warning("Clients may be led to other endpoints than before: %s", e.text);
}

/* Chains that libnftables cannot write, and that the changes are about to lead to. */
static int run_script(struct dataplane *plane, struct error *err)
{
    const struct dataplane_transaction *t = &plane->transaction;
    if (t->remember.count) {
        cleanup_netlink_batch struct netlink_batch batch = {0};
        nft_batch_begin(&batch);
        for (size_t i = 0; i < t->remember.count; i++)
            nft_batch_remember(&batch, plane->table, t->remember.items[i]);
        if (nft_batch_commit(plane->nft, &batch, err) < 0)
            return -1;
    }
    return t->script.size ? nft_run(plane->nft, t->script.data, err) : 0;
}

/* Whatever there is of our tables goes, and comes as the transaction has it. */
static void write_tables(struct dataplane *plane, struct netlink_batch *batch)
{
    const struct dataplane_transaction *t = &plane->transaction;
    for (size_t i = 0; i < FAMILIES; i++) {
        if (!plane->plans[i])
            continue;
        nft_batch_elements(batch, family_at(i), plane->table, t->elements[i].items, t->elements[i].count);
        keep_clients(plane, i, batch);
    }
    for (size_t i = 0; i < t->remember.count; i++)
        nft_batch_remember(batch, plane->table, t->remember.items[i]);
}

static int replace_tables(struct dataplane *plane, size_t *size, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    nft_batch_begin(&batch);
    for (size_t i = 0; i < FAMILIES; i++)
        if (plane->plans[i])
            nft_batch_delete_table(&batch, family_at(i), plane->table);
    if (plane->policies)
        nft_batch_delete_table(&batch, NFPROTO_INET, policy_table_name(plane->policies));
    if (nft_batch_frame(&batch, plane->transaction.script.data, err) < 0)
        return -1;
    write_tables(plane, &batch);
    *size = batch.data.size;
    return nft_batch_commit(plane->nft, &batch, err);
}

static void prepare(struct dataplane *plane, bool full)
{
    struct dataplane_transaction *t = &plane->transaction;
    buffer_clear(&t->script);
    t->remember.count = 0;
    for (size_t i = 0; i < FAMILIES; i++)
        if (plane->plans[i])
            (full ? dataplane_plan_full : dataplane_plan_diff)(plane->plans[i], t);
    if (plane->policies)
        (full ? policy_table_full : policy_table_diff)(plane->policies, &t->script);
}

/* Gives back to the system what a large transaction has taken. */
static void clean_up(struct dataplane *plane, size_t size)
{
    struct dataplane_transaction *t = &plane->transaction;
    for (size_t i = 0; i < FAMILIES; i++)
        vector_free(&t->elements[i]);
    if (size < TRANSACTION_LARGE)
        return;
    buffer_free(&t->script);
    malloc_trim(0);
}

static int apply_changes(struct dataplane *plane, bool full, struct error *err)
{
    prepare(plane, full);
    size_t size = plane->transaction.script.size;
    int64_t start = monotonic();
    int result = full ? replace_tables(plane, &size, err) : run_script(plane, err);
    pthread_mutex_lock(&plane->lock);
    if (size) {
        plane->statistics.transactions += result == 0;
        plane->statistics.full += result == 0 && full;
        plane->statistics.failures += result < 0;
        plane->statistics.last_duration = monotonic() - start;
        plane->statistics.last_size = size;
    }
    pthread_mutex_unlock(&plane->lock);
    clean_up(plane, size);
    return result;
}

/* What is not forgotten is tried again with the next round. */
static int forget(struct dataplane *plane, bool everything, struct error *err)
{
    struct dataplane_transaction *t = &plane->transaction;
    const struct forgetting f = {plane->nft, plane->table, {plane->plans[0], plane->plans[1]}, plane->policies};
    if ((everything ? forget_stale(&f, err) : forget_withdrawn(&f, t->withdrawals.items, t->withdrawals.count, err)) <
        0)
        return -1;
    t->withdrawals.count = 0;
    for (size_t i = 0; i < FAMILIES; i++) {
        if (t->opened[i] && forget_early(&f, family_at(i), err) < 0)
            return -1;
        t->opened[i] = false;
    }
    plane->judge_flows |= plane->policies && policy_table_has_narrowed(plane->policies);
    if (plane->judge_flows && forget_forbidden(&f, err) < 0)
        return -1;
    plane->judge_flows = false;
    return 0;
}

static int apply(struct dataplane *plane, struct error *err)
{
    bool full = plane->need_full;
    if (!full && apply_changes(plane, false, err) < 0) {
        log_warning("The data plane writes all rules anew, because a change was refused: %s", err->text);
        full = plane->need_full = true;
    }
    if (full && apply_changes(plane, true, err) < 0)
        return -1;
    if (forget(plane, full, err) < 0)
        return -1;
    plane->need_full = false;
    return 0;
}

/* Waits for `wake` at most that long; 0: for ever. Call with the lock held. */
static void wait_for_work(struct dataplane *plane, int64_t wait)
{
    struct timespec until;
    if (wait == 0) {
        pthread_cond_wait(&plane->wake, &plane->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + wait * 1000;
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_cond_timedwait(&plane->wake, &plane->lock, &until);
}

/* Lets changes come together. Call with the lock held. */
static void gather(struct dataplane *plane)
{
    int64_t end = monotonic() + DATAPLANE_BATCH_WAIT;
    for (int64_t left = DATAPLANE_BATCH_WAIT; left > 0 && !plane->stop; left = end - monotonic())
        wait_for_work(plane, left);
}

static void report_outcome(struct dataplane *plane, const struct round *round, int result, const struct error *failure)
{
    if (result == 0) {
        pthread_mutex_lock(&plane->lock);
        plane->statistics.applied_revision = round->revision;
        pthread_mutex_unlock(&plane->lock);
        send_report(plane, round, NULL);
    } else if (!plane->failing) {
        log_error("The data plane cannot be brought up to date, and tries again: %s", failure->text);
        send_report(plane, round, failure);
    }
    plane->failing = result < 0;
}

static void work(struct dataplane *plane)
{
    pthread_mutex_lock(&plane->lock);
    while (!plane->stop) {
        if (!plane->asked && !plane->failing) {
            wait_for_work(plane, 0);
            continue;
        }
        if (plane->asked)
            gather(plane);
        else
            wait_for_work(plane, DATAPLANE_RETRY_WAIT);
        if (plane->stop)
            break;
        take_changes(plane);
        struct round round = {plane->wanted, plane->policy_number};
        plane->asked = false;
        pthread_mutex_unlock(&plane->lock);
        struct error e = {0};
        int result = apply(plane, &e);
        report_outcome(plane, &round, result, &e);
        pthread_mutex_lock(&plane->lock);
    }
    pthread_mutex_unlock(&plane->lock);
}

static int set_up(struct dataplane *plane, struct error *err)
{
    int previous;
    if (network_namespace_enter(plane->namespace_fd, &previous, err) < 0)
        return -1;
    cleanup_close_fd(&previous); /* this thread never goes back */
    if (nft_open(&plane->nft, err) < 0)
        return -1;
    return nft_run(plane->nft, "list tables\n", err);
}

static void *run(void *context)
{
    struct dataplane *plane = context;
    struct error e = {0};
    int result = set_up(plane, &e);
    pthread_mutex_lock(&plane->lock);
    plane->start_error = e;
    if (result == 0)
        plane->start_error.code = 0;
    plane->ready = true;
    pthread_cond_signal(&plane->wake);
    pthread_mutex_unlock(&plane->lock);
    if (result == 0)
        work(plane);
    nft_close(plane->nft);
    return NULL;
}

static void free_plane(struct dataplane *plane)
{
    struct change *change;
    list_for_each(&plane->pending, change, link)
    {
        free_change(change);
    }
    map_free(&plane->by_name);
    policy_changes_free(&plane->policy_changes);
    policy_table_free(plane->policies);
    for (size_t i = 0; i < FAMILIES; i++)
        dataplane_plan_free(plane->plans[i]);
    dataplane_transaction_free(&plane->transaction);
    pthread_cond_destroy(&plane->wake);
    pthread_mutex_destroy(&plane->lock);
    free(plane->table);
    free(plane);
}

static int start_thread(struct dataplane *plane, struct error *err)
{
    int failure = pthread_create(&plane->thread, NULL, run, plane);
    if (failure)
        return error_set(err, failure, "data plane: make a thread: %s", strerror(failure));
    pthread_mutex_lock(&plane->lock);
    while (!plane->ready)
        pthread_cond_wait(&plane->wake, &plane->lock);
    pthread_mutex_unlock(&plane->lock);
    if (plane->start_error.code == 0)
        return 0;
    pthread_join(plane->thread, NULL);
    return error_set(err, plane->start_error.code, "data plane: %s", plane->start_error.text);
}

int dataplane_start(const struct dataplane_config *config, struct dataplane **out, struct error *err)
{
    struct dataplane_plan *plan, *plan6 = NULL;
    *out = NULL;
    if (dataplane_plan_new(&config->plan, &plan, err) < 0)
        return -1;
    if (config->plan6.table && dataplane_plan_new(&config->plan6, &plan6, err) < 0) {
        dataplane_plan_free(plan);
        return -1;
    }
    struct dataplane *plane = mem_zero(1, sizeof(*plane));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&plane->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&plane->lock, NULL);
    list_init(&plane->pending);
    plane->config = *config;
    plane->table = mem_string(config->plan.table);
    plane->namespace_fd = config->namespace_fd; /* needed until the thread has started */
    plane->plans[0] = plan;
    plane->plans[1] = plan6;
    plane->policies = config->policies.table ? policy_table_new(&config->policies) : NULL;
    plane->need_full = true;
    if (start_thread(plane, err) < 0) {
        free_plane(plane);
        return -1;
    }
    *out = plane;
    return 0;
}

void dataplane_stop(struct dataplane *plane)
{
    if (!plane)
        return;
    pthread_mutex_lock(&plane->lock);
    plane->stop = true;
    pthread_cond_signal(&plane->wake);
    pthread_mutex_unlock(&plane->lock);
    pthread_join(plane->thread, NULL);
    free_plane(plane);
}

void dataplane_statistics(struct dataplane *plane, struct dataplane_statistics *out)
{
    pthread_mutex_lock(&plane->lock);
    *out = plane->statistics;
    pthread_mutex_unlock(&plane->lock);
}

int dataplane_destroy(int namespace_fd, const char *table, struct error *err)
{
    cleanup_free char *script = mem_printf(
        "add table ip %s\ndelete table ip %s\nadd table inet %s\ndelete table inet %s\n", table, table, table, table);
    cleanup_free char *script6 = mem_printf("add table ip6 %s\ndelete table ip6 %s\n", table, table);
    struct nft *nft = NULL;
    int previous;
    if (network_namespace_enter(namespace_fd, &previous, err) < 0)
        return -1;
    int result = nft_open(&nft, err);
    if (result == 0)
        result = nft_run(nft, script, err);
    /* A kernel without IPv6 has no such tables. */
    if (result == 0 && access("/proc/sys/net/ipv6", F_OK) == 0)
        result = nft_run(nft, script6, err);
    nft_close(nft);
    network_namespace_leave(&previous);
    return result;
}
