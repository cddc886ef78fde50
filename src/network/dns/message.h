/* DNS messages (RFC 1035, 6891): reads queries and answers of other servers, writes answers. No I/O, no allocation.
 *
 * Names are text here: labels joined by dots, without the last dot, at most DNS_NAME_TEXT_MAX bytes with NUL. The
 * root is "". */
#ifndef CORACLE_NETWORK_DNS_MESSAGE_H
#define CORACLE_NETWORK_DNS_MESSAGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER_SIZE 12
#define DNS_NAME_WIRE_MAX 255
#define DNS_NAME_TEXT_MAX 256
#define DNS_LABEL_MAX 63
/* Longest message, which only TCP carries. */
#define DNS_MESSAGE_MAX 65535
/* Longest answer over UDP: to clients that do not say more, and to the others (what passes every link unfragmented, as
 * the operators of DNS agreed for 2020). */
#define DNS_UDP_PLAIN_MAX 512
#define DNS_UDP_MAX 1232
/* Names of one answer that later ones can point back to; the others are written in full. */
#define DNS_COMPRESSION_NAMES 64

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_HINFO = 13,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255
};

enum dns_code {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16
};

#define DNS_CLASS_IN 1
#define DNS_CLASS_ANY 255

struct dns_query {
    uint16_t id;
    bool recursion_desired;
    bool checking_disabled;
    uint8_t opcode;
    bool has_question;
    uint8_t question[DNS_NAME_WIRE_MAX + 4]; /* as it came: name, type, class */
    size_t question_size;
    char name[DNS_NAME_TEXT_MAX]; /* in lower case */
    bool plain;                   /* no label holds a dot, or a byte that is not printable: the text is the name */
    uint16_t type;
    uint16_t class;
    bool edns;
    uint8_t edns_version;
    uint16_t udp_size; /* what the client takes; DNS_UDP_PLAIN_MAX without EDNS */
    bool dnssec_ok;
};

#define DNS_DROP (-1)

/* Reads a query. 0: fine. DNS_DROP: it is no query, and must not be answered. Else the code of the answer to give, with
 * as much filled in as could be read. */
int dns_query_parse(const uint8_t *data, size_t size, struct dns_query *out);

/* ---- Answers ---- */

enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };

/* Records are added section by section, in order. What does not fit any more is left out, with all that comes after
 * it; unless it is merely additional, the answer is marked as truncated. */
struct dns_writer {
    uint8_t *data;
    size_t size;
    size_t limit;     /* of the whole message */
    size_t reserved;  /* of these, bytes for the OPT record */
    uint16_t counts[3];
    bool full;
    bool truncated;
    struct {
        const char *text; /* must stay until the message is finished */
        uint16_t offset;
    } names[DNS_COMPRESSION_NAMES];
    size_t name_count;
};

/* Begins the answer to a query in `data`, which has room for `limit` bytes, at least DNS_UDP_PLAIN_MAX. The query must
 * stay until the end. */
void dns_writer_begin(struct dns_writer *writer, const struct dns_query *query, uint8_t *data, size_t limit);
/* The owner is `name` in the case of the question if it is the question's. Texts must stay until the end. */
void dns_write_address(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl, int family,
                       const void *address);
/* CNAME, NS and PTR. */
void dns_write_name(struct dns_writer *writer, enum dns_section section, const char *name, uint16_t type, uint32_t ttl,
                    const char *target);
void dns_write_srv(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl,
                   uint16_t priority, uint16_t weight, uint16_t port, const char *target);
/* At most 255 bytes. */
void dns_write_txt(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl,
                   const char *text);
struct dns_soa {
    const char *server;
    const char *mailbox;
    uint32_t serial, refresh, retry, expire, minimum; /* seconds, but for the serial */
};
void dns_write_soa(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl,
                   const struct dns_soa *soa);
/* A record as it stands, its data without pointers. */
void dns_write_raw(struct dns_writer *writer, enum dns_section section, const char *name, uint16_t type, uint32_t ttl,
                   const void *data, size_t size);
/* Fills in the header and the OPT record; returns the size of the message. */
size_t dns_writer_finish(struct dns_writer *writer, const struct dns_query *query, enum dns_code code,
                         bool authoritative);

/* ---- Answers of other servers ---- */

/* A query of ours: recursion desired, EDNS. Returns its size. `out` has room for DNS_UDP_PLAIN_MAX. */
size_t dns_query_write(uint8_t *out, uint16_t id, const struct dns_query *query);

struct dns_record {
    char name[DNS_NAME_TEXT_MAX];
    uint16_t type;
    uint16_t class;
    uint32_t ttl;
    size_t offset;     /* of the record */
    size_t ttl_offset; /* of its TTL */
    size_t data_offset, data_size;
    enum dns_section section;
};

struct dns_reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    uint16_t left[3];
};

/* Whether it is an answer to a query that had this id and, byte for byte, this question. */
bool dns_message_answers(const uint8_t *data, size_t size, uint16_t id, const struct dns_query *query);
/* Begins to read an answer. False if it has no question. */
bool dns_reader_begin(struct dns_reader *reader, const uint8_t *data, size_t size);
/* The next record: 1, 0 at the end, -1 if the message is broken. */
int dns_reader_next(struct dns_reader *reader, struct dns_record *out);
/* The name at an offset of the message, pointers followed. False if it is broken. */
bool dns_read_name(const uint8_t *data, size_t size, size_t *offset, char out[DNS_NAME_TEXT_MAX], bool *plain);

/* The least TTL of the records of the answer, or for one without a record what its SOA says about that; -1 for a broken
 * message, and one without either. */
int64_t dns_message_ttl(const uint8_t *data, size_t size);
/* Writes another server's answer to one that asked the same question, `age` seconds later: with the query's id, case
 * and EDNS. One that is longer than `limit` becomes a truncated one without records. Returns the size, or 0 if the message
 * is broken. */
size_t dns_message_relay(const uint8_t *data, size_t size, const struct dns_query *query, uint32_t age, uint8_t *out,
                         size_t limit);

static inline uint16_t dns_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t dns_get32(const uint8_t *p)
{
    return (uint32_t)dns_get16(p) << 16 | dns_get16(p + 2);
}

static inline void dns_put16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void dns_put32(uint8_t *p, uint32_t value)
{
    dns_put16(p, (uint16_t)(value >> 16));
    dns_put16(p + 2, (uint16_t)value);
}

/* Bits of a message's third and fourth byte. */
#define DNS_FLAG_ANSWER 0x80
#define DNS_FLAG_AUTHORITATIVE 0x04
#define DNS_FLAG_TRUNCATED 0x02
#define DNS_FLAG_RECURSION_DESIRED 0x01
#define DNS_FLAG_RECURSION_AVAILABLE 0x80
#define DNS_FLAG_CHECKING_DISABLED 0x10
#define DNS_CODE_MASK 0x0f

#endif
