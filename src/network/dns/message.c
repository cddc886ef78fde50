/* Reading and writing of DNS messages. Whatever the bytes are, reading stays inside them and ends: a pointer must lead
 * to before the name that it stands in, so that no chain of them has a loop, and not into the header. */
#include "network/dns/message.h"

#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

#define POINTER 0xc0
#define OPT_SIZE 11
#define OPT_DNSSEC_OK 0x8000
#define RECORD_FIXED 10 /* type, class, TTL and length of a record */
#define POINTER_TARGET_MAX 0x3fff

/* ---- Names ---- */

bool dns_read_name(const uint8_t *data, size_t size, size_t *offset, char out[DNS_NAME_TEXT_MAX], bool *plain)
{
    size_t at = *offset, before = *offset, used = 0, wire = 1;
    bool jumped = false;
    *plain = true;
    for (;;) {
        if (at >= size)
            return false;
        uint8_t length = data[at];
        if ((length & POINTER) == POINTER) {
            if (at + 2 > size)
                return false;
            size_t target = dns_get16(data + at) & POINTER_TARGET_MAX;
            if (!jumped)
                *offset = at + 2;
            jumped = true;
            if (target >= before || target < DNS_HEADER_SIZE)
                return false;
            at = before = target;
            continue;
        }
        if (length & POINTER)
            return false;
        at++;
        if (!length)
            break;
        wire += (size_t)length + 1;
        if (wire > DNS_NAME_WIRE_MAX || at + length > size)
            return false;
        if (used)
            out[used++] = '.';
        for (size_t i = 0; i < length; i++) {
            uint8_t c = data[at + i];
            if (c == '.' || c <= ' ' || c > '~')
                *plain = false;
            out[used++] = (char)(c ? tolower(c) : ' ');
        }
        at += length;
    }
    out[used] = 0;
    if (!jumped)
        *offset = at;
    return true;
}

/* ---- Queries ---- */

/* Skips a record, and takes what it says if it is an OPT. */
static bool read_query_record(const uint8_t *data, size_t size, size_t *at, struct dns_query *out, bool *bad)
{
    char name[DNS_NAME_TEXT_MAX];
    bool plain;
    if (!dns_read_name(data, size, at, name, &plain) || size - *at < RECORD_FIXED)
        return false;
    const uint8_t *fixed = data + *at;
    size_t length = dns_get16(fixed + 8);
    *at += RECORD_FIXED;
    if (size - *at < length)
        return false;
    *at += length;
    if (dns_get16(fixed) != DNS_OPT)
        return true;
    *bad |= out->edns || *name;
    out->edns = true;
    uint16_t udp_size = dns_get16(fixed + 2);
    out->udp_size = udp_size < DNS_UDP_PLAIN_MAX ? DNS_UDP_PLAIN_MAX : udp_size > DNS_UDP_MAX ? DNS_UDP_MAX : udp_size;
    out->edns_version = fixed[5];
    out->dnssec_ok = dns_get16(fixed + 6) & OPT_DNSSEC_OK;
    return true;
}

int dns_query_parse(const uint8_t *data, size_t size, struct dns_query *out)
{
    memset(out, 0, offsetof(struct dns_query, question));
    out->question_size = 0;
    *out->name = 0;
    out->plain = true;
    out->type = out->class = 0;
    out->edns = out->dnssec_ok = false;
    out->edns_version = 0;
    out->udp_size = DNS_UDP_PLAIN_MAX;
    if (size < DNS_HEADER_SIZE || data[2] & DNS_FLAG_ANSWER)
        return DNS_DROP;
    out->id = dns_get16(data);
    out->opcode = data[2] >> 3 & 0x0f;
    out->recursion_desired = data[2] & DNS_FLAG_RECURSION_DESIRED;
    out->checking_disabled = data[3] & DNS_FLAG_CHECKING_DISABLED;
    if (out->opcode != 0)
        return DNS_NOTIMP;
    if (dns_get16(data + 4) != 1)
        return DNS_FORMERR;
    size_t at = DNS_HEADER_SIZE;
    /* A pointer can lead nowhere yet: dns_read_name refuses it. */
    if (!dns_read_name(data, size, &at, out->name, &out->plain) || size - at < 4)
        return DNS_FORMERR;
    out->type = dns_get16(data + at);
    out->class = dns_get16(data + at + 2);
    at += 4;
    out->question_size = at - DNS_HEADER_SIZE;
    memcpy(out->question, data + DNS_HEADER_SIZE, out->question_size);
    out->has_question = true;
    unsigned records = dns_get16(data + 6) + dns_get16(data + 8) + dns_get16(data + 10);
    bool bad = false;
    for (unsigned i = 0; i < records; i++)
        if (!read_query_record(data, size, &at, out, &bad))
            return DNS_FORMERR;
    if (bad)
        return DNS_FORMERR;
    return out->edns_version ? DNS_BADVERS : 0;
}

size_t dns_query_write(uint8_t *out, uint16_t id, const struct dns_query *query)
{
    memset(out, 0, DNS_HEADER_SIZE);
    dns_put16(out, id);
    out[2] = DNS_FLAG_RECURSION_DESIRED;
    out[3] = query->checking_disabled ? DNS_FLAG_CHECKING_DISABLED : 0;
    dns_put16(out + 4, 1);
    dns_put16(out + 10, 1);
    size_t size = DNS_HEADER_SIZE;
    memcpy(out + size, query->question, query->question_size);
    size += query->question_size;
    memset(out + size, 0, OPT_SIZE);
    dns_put16(out + size + 1, DNS_OPT);
    dns_put16(out + size + 3, DNS_UDP_MAX);
    dns_put16(out + size + 7, query->dnssec_ok ? OPT_DNSSEC_OK : 0);
    return size + OPT_SIZE;
}

/* ---- Answers ---- */

void dns_writer_begin(struct dns_writer *writer, const struct dns_query *query, uint8_t *data, size_t limit)
{
    *writer = (struct dns_writer){.data = data, .limit = limit, .reserved = query->edns ? OPT_SIZE : 0};
    memset(data, 0, DNS_HEADER_SIZE);
    memcpy(data + DNS_HEADER_SIZE, query->question, query->question_size);
    writer->size = DNS_HEADER_SIZE + query->question_size;
    if (query->has_question && query->plain)
        writer->names[writer->name_count++].text = query->name;
    if (writer->name_count)
        writer->names[0].offset = DNS_HEADER_SIZE;
}

static bool room(struct dns_writer *writer, size_t size)
{
    writer->full |= writer->size + size + writer->reserved > writer->limit;
    return !writer->full;
}

/* Where the name, or what is left of it behind a label, stands already; 0: nowhere. A name's text and its labels
 * have the same length in both forms, so that an offset in the text is one in the message. */
static uint16_t find_suffix(const struct dns_writer *writer, const char *suffix)
{
    size_t length = strlen(suffix);
    for (size_t i = 0; i < writer->name_count; i++) {
        const char *text = writer->names[i].text;
        size_t whole = strlen(text);
        if (whole < length || (whole > length && text[whole - length - 1] != '.'))
            continue;
        size_t offset = writer->names[i].offset + (whole - length);
        if (offset <= POINTER_TARGET_MAX && strcmp(text + whole - length, suffix) == 0)
            return (uint16_t)offset;
    }
    return 0;
}

static bool put_name(struct dns_writer *writer, const char *name)
{
    const char *label = name;
    size_t start = writer->size;
    bool pointed = false;
    while (*label) {
        uint16_t known = find_suffix(writer, label);
        if (known) {
            if (!room(writer, 2))
                return false;
            dns_put16(writer->data + writer->size, (uint16_t)(POINTER << 8 | known));
            writer->size += 2;
            pointed = true;
            break;
        }
        size_t length = strcspn(label, ".");
        if (length == 0 || length > DNS_LABEL_MAX || !room(writer, length + 2))
            return false;
        writer->data[writer->size++] = (uint8_t)length;
        memcpy(writer->data + writer->size, label, length);
        writer->size += length;
        label += length + (label[length] == '.');
    }
    if (!pointed) {
        if (!room(writer, 1))
            return false;
        writer->data[writer->size++] = 0;
    }
    /* A name that ends in a pointer is whole as text, but not in the message: its own labels alone can be found. */
    if (!pointed && writer->name_count < DNS_COMPRESSION_NAMES && start <= POINTER_TARGET_MAX) {
        writer->names[writer->name_count].text = name;
        writer->names[writer->name_count++].offset = (uint16_t)start;
    }
    return true;
}

struct record_mark {
    size_t start;
    size_t names;
    size_t length; /* where the length of the data goes */
};

static bool begin_record(struct dns_writer *writer, const char *name, uint16_t type, uint32_t ttl,
                         struct record_mark *mark)
{
    *mark = (struct record_mark){.start = writer->size, .names = writer->name_count};
    if (writer->full || !put_name(writer, name) || !room(writer, RECORD_FIXED))
        return false;
    uint8_t *fixed = writer->data + writer->size;
    dns_put16(fixed, type);
    dns_put16(fixed + 2, DNS_CLASS_IN);
    dns_put32(fixed + 4, ttl);
    writer->size += RECORD_FIXED;
    mark->length = writer->size - 2;
    return true;
}

/* Completes the record, or takes back what there is of it. */
static void end_record(struct dns_writer *writer, enum dns_section section, const struct record_mark *mark, bool whole)
{
    if (!whole) {
        writer->full = true;
        writer->truncated |= section != DNS_ADDITIONAL;
        writer->size = mark->start;
        writer->name_count = mark->names;
        return;
    }
    dns_put16(writer->data + mark->length, (uint16_t)(writer->size - mark->length - 2));
    writer->counts[section]++;
}

static bool put_bytes(struct dns_writer *writer, const void *bytes, size_t size)
{
    if (!room(writer, size))
        return false;
    memcpy(writer->data + writer->size, bytes, size);
    writer->size += size;
    return true;
}

void dns_write_raw(struct dns_writer *writer, enum dns_section section, const char *name, uint16_t type, uint32_t ttl,
                   const void *data, size_t size)
{
    struct record_mark mark;
    bool whole = begin_record(writer, name, type, ttl, &mark) && put_bytes(writer, data, size);
    end_record(writer, section, &mark, whole);
}

void dns_write_address(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl, int family,
                       const void *address)
{
    dns_write_raw(writer, section, name, family == AF_INET6 ? DNS_AAAA : DNS_A, ttl, address,
                  family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr));
}

void dns_write_name(struct dns_writer *writer, enum dns_section section, const char *name, uint16_t type, uint32_t ttl,
                    const char *target)
{
    struct record_mark mark;
    bool whole = begin_record(writer, name, type, ttl, &mark) && put_name(writer, target);
    end_record(writer, section, &mark, whole);
}

void dns_write_srv(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl,
                   uint16_t priority, uint16_t weight, uint16_t port, const char *target)
{
    struct record_mark mark;
    uint8_t fixed[6];
    dns_put16(fixed, priority);
    dns_put16(fixed + 2, weight);
    dns_put16(fixed + 4, port);
    bool whole = begin_record(writer, name, DNS_SRV, ttl, &mark) && put_bytes(writer, fixed, sizeof(fixed)) &&
                 put_name(writer, target);
    end_record(writer, section, &mark, whole);
}

void dns_write_txt(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl, const char *text)
{
    uint8_t data[256];
    size_t size = strnlen(text, sizeof(data) - 1);
    data[0] = (uint8_t)size;
    memcpy(data + 1, text, size);
    dns_write_raw(writer, section, name, DNS_TXT, ttl, data, size + 1);
}

void dns_write_soa(struct dns_writer *writer, enum dns_section section, const char *name, uint32_t ttl,
                   const struct dns_soa *soa)
{
    struct record_mark mark;
    uint8_t numbers[20];
    dns_put32(numbers, soa->serial);
    dns_put32(numbers + 4, soa->refresh);
    dns_put32(numbers + 8, soa->retry);
    dns_put32(numbers + 12, soa->expire);
    dns_put32(numbers + 16, soa->minimum);
    bool whole = begin_record(writer, name, DNS_SOA, ttl, &mark) && put_name(writer, soa->server) &&
                 put_name(writer, soa->mailbox) && put_bytes(writer, numbers, sizeof(numbers));
    end_record(writer, section, &mark, whole);
}

size_t dns_writer_finish(struct dns_writer *writer, const struct dns_query *query, enum dns_code code,
                         bool authoritative)
{
    uint8_t *header = writer->data;
    dns_put16(header, query->id);
    header[2] = (uint8_t)(DNS_FLAG_ANSWER | query->opcode << 3 | (authoritative ? DNS_FLAG_AUTHORITATIVE : 0) |
                          (writer->truncated ? DNS_FLAG_TRUNCATED : 0) |
                          (query->recursion_desired ? DNS_FLAG_RECURSION_DESIRED : 0));
    header[3] = (uint8_t)(DNS_FLAG_RECURSION_AVAILABLE |
                          (query->checking_disabled ? DNS_FLAG_CHECKING_DISABLED : 0) | (code & DNS_CODE_MASK));
    dns_put16(header + 4, query->question_size ? 1 : 0);
    if (query->edns) {
        uint8_t *opt = writer->data + writer->size;
        memset(opt, 0, OPT_SIZE);
        dns_put16(opt + 1, DNS_OPT);
        dns_put16(opt + 3, DNS_UDP_MAX);
        opt[5] = (uint8_t)(code >> 4);
        dns_put16(opt + 7, query->dnssec_ok ? OPT_DNSSEC_OK : 0);
        writer->size += OPT_SIZE;
        writer->counts[DNS_ADDITIONAL]++;
    }
    for (size_t i = 0; i < 3; i++)
        dns_put16(header + 6 + 2 * i, writer->counts[i]);
    return writer->size;
}

/* ---- Answers of other servers ---- */

bool dns_message_answers(const uint8_t *data, size_t size, uint16_t id, const struct dns_query *query)
{
    return size >= DNS_HEADER_SIZE + query->question_size && dns_get16(data) == id && data[2] & DNS_FLAG_ANSWER &&
           dns_get16(data + 4) == 1 && memcmp(data + DNS_HEADER_SIZE, query->question, query->question_size) == 0;
}

bool dns_reader_begin(struct dns_reader *reader, const uint8_t *data, size_t size)
{
    char name[DNS_NAME_TEXT_MAX];
    bool plain;
    *reader = (struct dns_reader){.data = data, .size = size, .at = DNS_HEADER_SIZE};
    if (size < DNS_HEADER_SIZE || dns_get16(data + 4) != 1 ||
        !dns_read_name(data, size, &reader->at, name, &plain) || size - reader->at < 4)
        return false;
    reader->at += 4;
    for (size_t i = 0; i < 3; i++)
        reader->left[i] = dns_get16(data + 6 + 2 * i);
    return true;
}

int dns_reader_next(struct dns_reader *reader, struct dns_record *out)
{
    size_t section = 0;
    while (section < 3 && !reader->left[section])
        section++;
    if (section == 3)
        return 0;
    reader->left[section]--;
    out->section = (enum dns_section)section;
    out->offset = reader->at;
    bool plain;
    if (!dns_read_name(reader->data, reader->size, &reader->at, out->name, &plain) ||
        reader->size - reader->at < RECORD_FIXED)
        return -1;
    const uint8_t *fixed = reader->data + reader->at;
    out->type = dns_get16(fixed);
    out->class = dns_get16(fixed + 2);
    out->ttl = dns_get32(fixed + 4);
    out->ttl_offset = reader->at + 4;
    out->data_size = dns_get16(fixed + 8);
    out->data_offset = reader->at + RECORD_FIXED;
    reader->at = out->data_offset;
    if (reader->size - reader->at < out->data_size)
        return -1;
    reader->at += out->data_size;
    return 1;
}

int64_t dns_message_ttl(const uint8_t *data, size_t size)
{
    struct dns_reader reader;
    struct dns_record record;
    int64_t least = -1, negative = -1;
    int more;
    if (!dns_reader_begin(&reader, data, size))
        return -1;
    while ((more = dns_reader_next(&reader, &record)) > 0) {
        if (record.section == DNS_ANSWER && (least < 0 || record.ttl < least))
            least = record.ttl;
        /* RFC 2308: the lesser of the SOA's own TTL and its last number. */
        if (record.section == DNS_AUTHORITY && record.type == DNS_SOA && record.data_size >= 4) {
            uint32_t minimum = dns_get32(data + record.data_offset + record.data_size - 4);
            negative = minimum < record.ttl ? minimum : record.ttl;
        }
    }
    return more < 0 ? -1 : least >= 0 ? least : negative;
}

/* Copies all but the OPT record, which belongs to the hop between that server and us, and is the last of all (or is
 * followed by signatures of that hop). Returns where the copy ends, beyond the limit if it does not fit; 0 if the message is
 * broken. */
static size_t copy_records(const uint8_t *data, size_t size, uint32_t age, uint8_t *out, size_t limit,
                           uint16_t counts[3])
{
    struct dns_reader reader;
    struct dns_record record;
    int more;
    if (!dns_reader_begin(&reader, data, size))
        return 0;
    size_t end = reader.at;
    while ((more = dns_reader_next(&reader, &record)) > 0 && record.type != DNS_OPT) {
        end = reader.at;
        counts[record.section]++;
        if (end > limit)
            continue;
        memcpy(out + record.offset, data + record.offset, end - record.offset);
        dns_put32(out + record.ttl_offset, record.ttl > age ? record.ttl - age : 0);
    }
    bool misplaced = more > 0 && record.section != DNS_ADDITIONAL;
    return more < 0 || misplaced ? 0 : end;
}

static bool is_whole(const uint8_t *data, size_t size)
{
    struct dns_reader reader;
    struct dns_record record;
    int more = dns_reader_begin(&reader, data, size) ? 1 : -1;
    while (more > 0)
        more = dns_reader_next(&reader, &record);
    return more == 0;
}

size_t dns_message_relay(const uint8_t *data, size_t size, const struct dns_query *query, uint32_t age, uint8_t *out,
                         size_t limit)
{
    struct dns_writer writer;
    uint16_t counts[3] = {0};
    dns_writer_begin(&writer, query, out, limit);
    size_t room_left = limit - writer.reserved, end = copy_records(data, size, age, out, room_left, counts);
    if (!end)
        return 0;
    writer.truncated = data[2] & DNS_FLAG_TRUNCATED || end > room_left;
    if (end <= room_left) {
        writer.size = end;
        memcpy(writer.counts, counts, sizeof(counts));
    }
    size_t written = dns_writer_finish(&writer, query, data[3] & DNS_CODE_MASK, false);
    /* A pointer into a TTL, or into the OPT record, leads elsewhere now. Only nonsense has one. */
    return is_whole(out, written) ? written : 0;
}
