/* The server's thread: one loop with a UDP socket, TCP connections, and a mailbox for changes of the zone. */
#include "network/dns/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "network/dns/internal.h"

/* ---- Changes ---- */

enum change_kind { SET_SERVICE, REMOVE_SERVICE, SET_NAMESPACE, SET_POD };

struct change_item {
    enum change_kind kind;
    struct dns_service *service;
    char *namespace, *name;
    bool there;
    struct ip_address address;
};

struct dns_change {
    VECTOR(struct change_item) items;
    struct dns_server *server;
};

struct dns_change *dns_change_new(void)
{
    return mem_zero(1, sizeof(struct dns_change));
}

void dns_change_set_service(struct dns_change *change, struct dns_service *service)
{
    vector_push(&change->items, (struct change_item){.kind = SET_SERVICE, .service = service});
}

void dns_change_remove_service(struct dns_change *change, const char *namespace, const char *name)
{
    vector_push(
        &change->items,
        (struct change_item){.kind = REMOVE_SERVICE, .namespace = mem_string(namespace), .name = mem_string(name)});
}

void dns_change_set_namespace(struct dns_change *change, const char *namespace, bool there)
{
    vector_push(&change->items,
                (struct change_item){.kind = SET_NAMESPACE, .namespace = mem_string(namespace), .there = there});
}

void dns_change_set_pod(struct dns_change *change, const char *key, const char *namespace,
                        const struct ip_address *address)
{
    struct change_item item = {
        .kind = SET_POD, .namespace = mem_string(namespace), .name = mem_string(key), .there = address != NULL};
    if (address)
        item.address = *address;
    vector_push(&change->items, item);
}

static void apply_item(struct dns_zone *zone, struct change_item *item)
{
    switch (item->kind) {
    case SET_SERVICE:
        dns_zone_set_service(zone, steal_pointer(item->service));
        break;
    case REMOVE_SERVICE:
        dns_zone_remove_service(zone, item->namespace, item->name);
        break;
    case SET_NAMESPACE:
        dns_zone_set_namespace(zone, item->namespace, item->there);
        break;
    case SET_POD:
        dns_zone_set_pod(zone, item->name, item->namespace, item->there ? &item->address : NULL);
        break;
    }
}

void dns_change_free(struct dns_change *change)
{
    for (size_t i = 0; i < change->items.count; i++) {
        dns_service_free(change->items.items[i].service);
        free(change->items.items[i].namespace);
        free(change->items.items[i].name);
    }
    vector_free(&change->items);
    free(change);
}

static void apply(void *context)
{
    struct dns_change *change = context;
    for (size_t i = 0; i < change->items.count; i++)
        apply_item(change->server->zone, &change->items.items[i]);
    dns_change_free(change);
}

void dns_server_apply(struct dns_server *server, struct dns_change *change)
{
    change->server = server;
    mailbox_send(server->mailbox, apply, change);
}

/* ---- Answers ---- */

bool dns_server_allows(const struct dns_server *server, struct in_addr client)
{
    if (client.s_addr == server->address.s_addr)
        return true;
    for (size_t i = 0; i < server->client_count; i++)
        if (ipv4_prefix_contains(&server->clients[i], client))
            return true;
    return false;
}

static void count_code(struct dns_server *server, unsigned code)
{
    if (code < ARRAY_COUNT(server->count.codes))
        server->count.codes[code]++;
}

static size_t finish(struct dns_server *server, struct dns_writer *writer, const struct dns_query *query,
                     enum dns_code code, bool authoritative)
{
    count_code(server, code);
    return dns_writer_finish(writer, query, code, authoritative);
}

static size_t answer_code(struct dns_server *server, const struct dns_query *query, enum dns_code code, uint8_t *out,
                          size_t limit)
{
    struct dns_writer writer;
    dns_writer_begin(&writer, query, out, limit);
    return finish(server, &writer, query, code, false);
}

static size_t relay(struct dns_server *server, const struct dns_query *query, const uint8_t *data, size_t size,
                    uint32_t age, uint8_t *out, size_t limit)
{
    size_t written = data ? dns_message_relay(data, size, query, age, out, limit) : 0;
    if (!written)
        return answer_code(server, query, DNS_SERVFAIL, out, limit);
    count_code(server, out[3] & DNS_CODE_MASK);
    return written;
}

static size_t join(struct dns_server *server, const struct dns_query *query, const uint8_t *data, size_t size,
                   uint32_t age, uint8_t *out, size_t limit)
{
    size_t written = dns_zone_join(server->zone, query, server->random, data, size, age, out, limit);
    count_code(server, out[3] & DNS_CODE_MASK);
    return written;
}

static size_t limit_of(const struct dns_pending *pending)
{
    return pending->tcp ? DNS_MESSAGE_MAX : pending->query.udp_size;
}

static void answered(void *context, const uint8_t *data, size_t size)
{
    struct dns_pending *pending = context;
    struct dns_server *server = pending->server;
    cleanup_free uint8_t *out = mem_alloc(limit_of(pending));
    size_t written = pending->resumed ? join(server, &pending->query, data, size, 0, out, limit_of(pending))
                                      : relay(server, &pending->query, data, size, 0, out, limit_of(pending));
    if (!pending->tcp)
        dns_udp_send(server, &pending->client, out, written);
    else if (pending->connection)
        dns_tcp_send(pending->connection, out, written);
    list_remove(&pending->link);
    server->waiting_count--;
    free(pending);
}

/* The question that others are asked instead: the same type, of another name. */
static bool make_question(struct dns_query *out, const struct dns_query *query, const char *name)
{
    size_t at = 0;
    *out = *query;
    for (const char *label = name; *label;) {
        size_t length = strcspn(label, ".");
        if (!length || length > DNS_LABEL_MAX || at + length + 2 > DNS_NAME_WIRE_MAX)
            return false;
        out->question[at++] = (uint8_t)length;
        memcpy(out->question + at, label, length);
        at += length;
        label += length + (label[length] == '.');
    }
    out->question[at++] = 0;
    dns_put16(out->question + at, query->type);
    dns_put16(out->question + at + 2, query->class);
    out->question_size = at + 4;
    snprintf(out->name, sizeof(out->name), "%s", name);
    out->plain = true;
    return true;
}

/* Answers with what is kept, or asks others. */
static size_t ask_others(struct dns_server *server, const struct dns_pending *asked, const char *target, uint8_t *out,
                         size_t limit)
{
    const struct dns_query *query = &asked->query;
    struct dns_query outside;
    size_t size;
    uint32_t age;
    if (target && !make_question(&outside, query, target))
        return answer_code(server, query, DNS_SERVFAIL, out, limit);
    const uint8_t *data = dns_forward_cached(server->forwarder, target ? &outside : query, &size, &age);
    if (data) {
        server->count.cached++;
        return target ? join(server, query, data, size, age, out, limit)
                      : relay(server, query, data, size, age, out, limit);
    }
    if (!query->recursion_desired)
        return answer_code(server, query, DNS_REFUSED, out, limit);
    if (server->waiting_count >= DNS_WAITING_MAX)
        return answer_code(server, query, DNS_SERVFAIL, out, limit);
    struct dns_pending *pending = mem_alloc(sizeof(*pending));
    *pending = *asked;
    pending->resumed = target != NULL;
    if (!dns_forward(server->forwarder, target ? &outside : query, asked->tcp, answered, pending)) {
        free(pending);
        return answer_code(server, query, DNS_SERVFAIL, out, limit);
    }
    list_append(&server->waiting, &pending->link);
    server->waiting_count++;
    server->count.forwarded++;
    return 0;
}

size_t dns_server_answer(struct dns_server *server, const struct dns_pending *pending, int parsed, uint8_t *out,
                         size_t limit)
{
    const struct dns_query *query = &pending->query;
    struct dns_writer writer;
    struct dns_result result;
    if (parsed)
        return answer_code(server, query, (enum dns_code)parsed, out, limit);
    if (query->class != DNS_CLASS_IN || query->type == DNS_AXFR || query->type == DNS_IXFR)
        return answer_code(server, query, DNS_REFUSED, out, limit);
    server->random = server->random * 6364136223846793005u + 1442695040888963407u;
    dns_writer_begin(&writer, query, out, limit);
    dns_zone_answer(server->zone, query, server->random >> 33, &writer, &result);
    if (result.verdict == DNS_ANSWERED)
        return finish(server, &writer, query, result.code, result.authoritative);
    return ask_others(server, pending, result.verdict == DNS_FORWARD_TARGET ? result.target : NULL, out, limit);
}

/* ---- The thread ---- */

static void serve(void *context)
{
    struct dns_server *server = context;
    dns_udp_begin(server);
    dns_tcp_begin(server);
}

void dns_server_serve(struct dns_server *server)
{
    mailbox_send(server->mailbox, serve, server);
}

static void end(struct dns_server *server)
{
    dns_udp_end(server);
    dns_tcp_end(server);
    dns_forwarder_free(server->forwarder);
    while (!list_empty(&server->waiting))
        free(list_entry(list_take(&server->waiting), struct dns_pending, link));
}

static void stop(void *context)
{
    struct dns_server *server = context;
    end(server);
    uv_stop(&server->loop);
}

static void run(void *context)
{
    struct dns_server *server = context;
    uv_run(&server->loop, UV_RUN_DEFAULT);
}

static void release(struct dns_server *server)
{
    mailbox_free(server->mailbox);
    env_uv_free(server->env);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    dns_zone_free(server->zone);
    free(server->batch);
    free(server);
}

int dns_server_new(const struct dns_server_options *options, struct dns_server **out, struct error *err)
{
    struct dns_server *server = mem_zero(1, sizeof(*server));
    uv_loop_init(&server->loop);
    server->env = env_uv_new(&server->loop);
    server->mailbox = mailbox_new(&server->loop);
    server->zone = dns_zone_new(&options->zone);
    server->address = options->address;
    server->port = options->port;
    server->client_count = options->client_count < DNS_NETWORKS_MAX ? options->client_count : DNS_NETWORKS_MAX;
    for (size_t i = 0; i < server->client_count; i++)
        server->clients[i] = options->clients[i];
    server->random = env_random(server->env);
    list_init(&server->connections);
    list_init(&server->waiting);
    struct dns_forwarder_options forwarder = {.env = server->env,
                                              .loop = &server->loop,
                                              .resolvers = options->resolvers,
                                              .self = options->address,
                                              .port = options->resolver_port};
    server->forwarder = dns_forwarder_new(&forwarder);
    if (dns_udp_listen(server, err) < 0 || dns_tcp_listen(server, err) < 0 ||
        uv_thread_create(&server->thread, run, server) < 0) {
        end(server);
        release(server);
        return -1;
    }
    *out = server;
    return 0;
}

void dns_server_stop(struct dns_server *server)
{
    if (!server)
        return;
    mailbox_send(server->mailbox, stop, server);
    uv_thread_join(&server->thread);
    release(server);
}

uint16_t dns_server_port(const struct dns_server *server)
{
    return server->port;
}

void dns_server_statistics(struct dns_server *server, struct dns_statistics *out)
{
    *out = (struct dns_statistics){.udp = server->count.udp,
                                   .tcp = server->count.tcp,
                                   .dropped = server->count.dropped,
                                   .forwarded = server->count.forwarded,
                                   .cached = server->count.cached};
    for (size_t i = 0; i < ARRAY_COUNT(out->codes); i++)
        out->codes[i] = server->count.codes[i];
}
