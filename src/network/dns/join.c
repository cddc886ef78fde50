/* Answers that two servers make: this one up to where a name leads out of the cluster, another from there on. */
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "network/dns/zone.h"

/* Texts that the writer needs until the message is finished. */
struct names {
    VECTOR(char *) kept;
};

static const char *keep(struct names *names, const char *text)
{
    vector_push(&names->kept, mem_string(text));
    return names->kept.items[names->kept.count - 1];
}

static void forget(struct names *names)
{
    for (size_t i = 0; i < names->kept.count; i++)
        free(names->kept.items[i]);
    vector_free(&names->kept);
}

/* False: the record cannot be read, and no later one. */
static bool add_record(struct names *names, struct dns_writer *writer, const struct dns_record *record,
                       const uint8_t *data, size_t size, uint32_t age)
{
    uint32_t ttl = record->ttl > age ? record->ttl - age : 0;
    if (record->type == DNS_CNAME) {
        char target[DNS_NAME_TEXT_MAX];
        bool plain;
        if (!dns_read_name(data, size, &(size_t){record->data_offset}, target, &plain) || !plain)
            return false;
        dns_write_name(writer, DNS_ANSWER, keep(names, record->name), DNS_CNAME, ttl, keep(names, target));
    } else if (record->type == DNS_A || record->type == DNS_AAAA || record->type == DNS_TXT) {
        dns_write_raw(writer, DNS_ANSWER, keep(names, record->name), record->type, ttl, data + record->data_offset,
                      record->data_size);
    }
    return true;
}

size_t dns_zone_join(struct dns_zone *zone, const struct dns_query *query, uint64_t random, const uint8_t *data,
                     size_t size, uint32_t age, uint8_t *out, size_t limit)
{
    struct dns_writer writer;
    struct dns_result result;
    struct dns_reader reader;
    struct dns_record record;
    struct names names = {0};
    dns_writer_begin(&writer, query, out, limit);
    dns_zone_answer(zone, query, random, &writer, &result);
    /* The name may have come to lead elsewhere while others were asked. */
    if (result.verdict == DNS_ANSWERED)
        return dns_writer_finish(&writer, query, result.code, result.authoritative);
    bool read = data && dns_reader_begin(&reader, data, size);
    enum dns_code code = read ? data[3] & DNS_CODE_MASK : DNS_SERVFAIL;
    while (read && dns_reader_next(&reader, &record) > 0)
        if (record.section == DNS_ANSWER && record.class == DNS_CLASS_IN)
            read = add_record(&names, &writer, &record, data, size, age);
    size_t written = dns_writer_finish(&writer, query, code, false);
    forget(&names);
    return written;
}
