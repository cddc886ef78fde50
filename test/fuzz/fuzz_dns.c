/* DNS messages: whatever comes, reading ends and stays inside; an answer is always a message that can be read, asks
 * what was asked, and is no longer than it may be.
 *
 * The first byte says what the rest is: a question to the zone, another server's answer that is handed on, or one that
 * is joined to what the zone says of a name that leads out. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "network/dns/zone.h"
#include "fuzz.h"

static struct ip_address address(const char *text)
{
    struct ip_address out = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
    CHECK(inet_pton(out.family, text, &out.v4) == 1);
    return out;
}

static struct dns_service *service(const char *name)
{
    struct dns_service *out = mem_zero(1, sizeof(*out));
    out->namespace = mem_string("n");
    out->name = mem_string(name);
    out->ports = mem_zero(1, sizeof(*out->ports));
    out->ports[0] = (struct dns_port){.name = mem_string("p"), .protocol = "tcp", .number = 80};
    out->port_count = 1;
    return out;
}

/* One Service of each kind; names are short, so that they are found soon. */
static struct dns_zone *make_zone(void)
{
    static struct dns_zone *zone;
    if (zone)
        return zone;
    struct dns_zone_config config = {.domain = "c.l", .server = address("10.96.0.10")};
    zone = dns_zone_new(&config);
    struct dns_service *one = service("a");
    one->addresses = mem_zero(2, sizeof(*one->addresses));
    one->addresses[0] = address("10.96.0.1");
    one->addresses[1] = address("fd00::1");
    one->address_count = 2;
    dns_zone_set_service(zone, one);
    struct dns_service *headless = service("h");
    headless->endpoints = mem_zero(200, sizeof(*headless->endpoints));
    headless->endpoint_count = 200;
    for (size_t i = 0; i < 200; i++) {
        struct dns_endpoint *endpoint = &headless->endpoints[i];
        endpoint->hostname = mem_printf("e%zu", i);
        endpoint->address = address("10.244.0.2");
        endpoint->ports = mem_zero(1, sizeof(*endpoint->ports));
        endpoint->ports[0] = (struct dns_port){.name = mem_string("p"), .protocol = "tcp", .number = 80};
        endpoint->port_count = 1;
    }
    dns_zone_set_service(zone, headless);
    struct dns_service *external = service("x"), *loop = service("y"), *outside = service("o");
    external->external_name = mem_string("y.n.svc.c.l");
    loop->external_name = mem_string("x.n.svc.c.l");
    outside->external_name = mem_string("example.com");
    dns_zone_set_service(zone, outside);
    dns_zone_set_service(zone, external);
    dns_zone_set_service(zone, loop);
    dns_zone_set_namespace(zone, "n", true);
    return zone;
}

static void check_message(const uint8_t *message, size_t size, size_t limit, const struct dns_query *query)
{
    struct dns_reader reader;
    struct dns_record record;
    int more;
    CHECK(size >= DNS_HEADER_SIZE && size <= limit);
    CHECK(message[2] & DNS_FLAG_ANSWER && dns_get16(message) == query->id);
    if (!query->question_size)
        return;
    CHECK(memcmp(message + DNS_HEADER_SIZE, query->question, query->question_size) == 0);
    CHECK(dns_reader_begin(&reader, message, size));
    while ((more = dns_reader_next(&reader, &record)) > 0)
        ;
    CHECK(more == 0 && reader.at == size);
}

static void question(const uint8_t *data, size_t size)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query query;
    struct dns_writer writer;
    struct dns_result result;
    int parsed = dns_query_parse(data, size, &query);
    if (parsed == DNS_DROP)
        return;
    dns_writer_begin(&writer, &query, out, query.udp_size);
    if (!parsed)
        dns_zone_answer(make_zone(), &query, size, &writer, &result);
    size_t written = dns_writer_finish(&writer, &query, parsed ? (enum dns_code)parsed : result.code, true);
    check_message(out, written, query.udp_size, &query);
    if (!parsed) {
        uint8_t again[DNS_UDP_PLAIN_MAX];
        struct dns_query copy;
        CHECK(dns_query_parse(again, dns_query_write(again, 7, &query), &copy) == 0);
        CHECK(strcmp(copy.name, query.name) == 0 && copy.type == query.type);
    }
}

static void answer(const uint8_t *data, size_t size)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query query;
    if (size < DNS_HEADER_SIZE)
        return;
    /* The question that this could be the answer to. */
    cleanup_free uint8_t *copy = mem_alloc(size);
    memcpy(copy, data, size);
    copy[2] = copy[2] & ~DNS_FLAG_ANSWER & 0x07;
    memset(copy + 6, 0, 6);
    if (dns_query_parse(copy, size, &query))
        return;
    dns_message_ttl(data, size);
    size_t written = dns_message_relay(data, size, &query, 3, out, query.udp_size);
    if (written)
        check_message(out, written, query.udp_size, &query);
}

/* The name leads out, or no longer does. */
static void joined(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"\1o\1n\3svc\1c\1l", "\1a\1n\3svc\1c\1l"};
    static uint8_t out[DNS_MESSAGE_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        uint8_t asked[DNS_UDP_PLAIN_MAX] = {0, 7, 1, 0, 0, 1};
        size_t length = strlen(names[i]) + 1;
        struct dns_query query;
        memcpy(asked + DNS_HEADER_SIZE, names[i], length);
        dns_put16(asked + DNS_HEADER_SIZE + length, size & 1 ? DNS_A : DNS_TXT);
        dns_put16(asked + DNS_HEADER_SIZE + length + 2, DNS_CLASS_IN);
        CHECK(dns_query_parse(asked, DNS_HEADER_SIZE + length + 4, &query) == 0);
        size_t written = dns_zone_join(make_zone(), &query, 0, data, size, 1, out, query.udp_size);
        check_message(out, written, query.udp_size, &query);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size || size > DNS_MESSAGE_MAX)
        return 0;
    (*data & 2 ? joined : *data & 1 ? answer : question)(data + 1, size - 1);
    return 0;
}
