#include "messages.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/cleanup.h"

struct ip_address test_address(const char *text)
{
    struct ip_address out = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
    assert_int_equal(inet_pton(out.family, text, &out.v4), 1);
    return out;
}

size_t test_question(uint8_t *out, uint16_t id, const char *name, uint16_t type, uint16_t udp_size)
{
    static const uint8_t counts[] = {0, 1, 0, 0, 0, 0, 0, 0};
    size_t size = DNS_HEADER_SIZE;
    dns_put16(out, id);
    out[2] = DNS_FLAG_RECURSION_DESIRED;
    out[3] = 0;
    memcpy(out + 4, counts, sizeof(counts));
    while (*name) {
        size_t length = strcspn(name, ".");
        out[size++] = (uint8_t)length;
        memcpy(out + size, name, length);
        size += length;
        name += length + (name[length] == '.');
    }
    out[size++] = 0;
    dns_put16(out + size, type);
    dns_put16(out + size + 2, DNS_CLASS_IN);
    size += 4;
    if (!udp_size)
        return size;
    memset(out + size, 0, 11);
    dns_put16(out + size + 1, DNS_OPT);
    dns_put16(out + size + 3, udp_size);
    out[11] = 1;
    return size + 11;
}

static void print_data(struct buffer *b, const uint8_t *message, size_t size, const struct dns_record *record)
{
    char text[DNS_NAME_TEXT_MAX];
    const uint8_t *data = message + record->data_offset;
    size_t at = record->data_offset;
    bool plain;
    switch (record->type) {
    case DNS_A:
        buffer_printf(b, "A %s", inet_ntop(AF_INET, data, text, sizeof(text)));
        break;
    case DNS_AAAA:
        buffer_printf(b, "AAAA %s", inet_ntop(AF_INET6, data, text, sizeof(text)));
        break;
    case DNS_SRV:
        at += 6;
        assert_true(dns_read_name(message, size, &at, text, &plain));
        buffer_printf(b, "SRV %u %u %u %s", dns_get16(data), dns_get16(data + 2), dns_get16(data + 4), text);
        break;
    case DNS_CNAME:
    case DNS_PTR:
    case DNS_NS:
        assert_true(dns_read_name(message, size, &at, text, &plain));
        buffer_printf(b, "%s %s", record->type == DNS_CNAME ? "CNAME" : record->type == DNS_PTR ? "PTR" : "NS", text);
        break;
    case DNS_TXT:
        buffer_printf(b, "TXT %.*s", data[0], (const char *)data + 1);
        break;
    case DNS_SOA:
        assert_true(dns_read_name(message, size, &at, text, &plain));
        buffer_printf(b, "SOA %s", text);
        break;
    default:
        buffer_printf(b, "TYPE%u", record->type);
    }
}

const char *test_text(const uint8_t *message, size_t size)
{
    static char out[65536];
    static const char *const codes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    cleanup_buffer struct buffer b = {0};
    struct dns_reader reader;
    struct dns_record record;
    int more = 0, section = DNS_ANSWER;
    const char *before = " ";
    buffer_printf(&b, "%s%s%s", codes[message[3] & DNS_CODE_MASK],
                  message[2] & DNS_FLAG_AUTHORITATIVE ? " aa" : "", message[2] & DNS_FLAG_TRUNCATED ? " tc" : "");
    if (dns_reader_begin(&reader, message, size))
        while ((more = dns_reader_next(&reader, &record)) > 0) {
            if (record.type == DNS_OPT)
                continue;
            for (; section < (int)record.section; section++)
                before = " | ";
            buffer_printf(&b, "%s%s ", before, record.name);
            print_data(&b, message, size, &record);
            before = "; ";
        }
    assert_int_equal(more, 0);
    snprintf(out, sizeof(out), "%s", b.data);
    return out;
}

struct dns_service *test_service(const char *namespace, const char *name, const char *const *addresses)
{
    struct dns_service *out = mem_zero(1, sizeof(*out));
    out->namespace = mem_string(namespace);
    out->name = mem_string(name);
    while (addresses && addresses[out->address_count]) {
        out->addresses = mem_resize(out->addresses, (out->address_count + 1) * sizeof(*out->addresses));
        out->addresses[out->address_count] = test_address(addresses[out->address_count]);
        out->address_count++;
    }
    out->ports = mem_zero(1, sizeof(*out->ports));
    out->ports[0] = (struct dns_port){.name = mem_string("http"), .protocol = "tcp", .number = 80};
    out->port_count = 1;
    return out;
}

void test_endpoint(struct dns_service *service, const char *hostname, const char *address)
{
    service->endpoints = mem_resize(service->endpoints, (service->endpoint_count + 1) * sizeof(*service->endpoints));
    struct dns_endpoint *endpoint = &service->endpoints[service->endpoint_count++];
    *endpoint = (struct dns_endpoint){.hostname = mem_string(hostname ? hostname : address),
                                      .address = test_address(address)};
    for (char *c = endpoint->hostname; *c; c++)
        *c = *c == '.' || *c == ':' ? '-' : *c;
    endpoint->ports = mem_zero(1, sizeof(*endpoint->ports));
    endpoint->ports[0] = (struct dns_port){.name = mem_string("http"), .protocol = "tcp", .number = 8080};
    endpoint->port_count = 1;
}
