/* Questions as clients send them, and as attackers do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "messages.h"

static uint8_t data[DNS_MESSAGE_MAX], out[DNS_MESSAGE_MAX];
static struct dns_query query;

static void a_question_is_read(void **state)
{
    size_t size = test_question(data, 0x1234, "Web.Default.SVC", DNS_SRV, 0);
    assert_int_equal(dns_query_parse(data, size, &query), 0);
    assert_int_equal(query.id, 0x1234);
    assert_string_equal(query.name, "web.default.svc");
    assert_int_equal(query.type, DNS_SRV);
    assert_int_equal(query.udp_size, DNS_UDP_PLAIN_MAX);
    assert_true(query.recursion_desired && query.plain && !query.edns);
}

static void what_is_no_question_is_dropped(void **state)
{
    size_t size = test_question(data, 1, "a", DNS_A, 0);
    for (size_t cut = 0; cut < DNS_HEADER_SIZE; cut++)
        assert_int_equal(dns_query_parse(data, cut, &query), DNS_DROP);
    data[2] |= DNS_FLAG_ANSWER;
    assert_int_equal(dns_query_parse(data, size, &query), DNS_DROP);
}

static void broken_questions_get_a_format_error(void **state)
{
    size_t size = test_question(data, 1, "abc.def", DNS_A, 4096);
    for (size_t cut = DNS_HEADER_SIZE; cut < size; cut++)
        assert_int_equal(dns_query_parse(data, cut, &query), DNS_FORMERR);
    test_question(data, 1, "abc.def", DNS_A, 4096);
    data[5] = 2; /* two questions */
    assert_int_equal(dns_query_parse(data, size, &query), DNS_FORMERR);
    test_question(data, 1, "abc.def", DNS_A, 4096);
    data[DNS_HEADER_SIZE] = 0xc0; /* a pointer to itself */
    data[DNS_HEADER_SIZE + 1] = DNS_HEADER_SIZE;
    assert_int_equal(dns_query_parse(data, size, &query), DNS_FORMERR);
    test_question(data, 1, "abc.def", DNS_A, 4096);
    data[DNS_HEADER_SIZE] = 0x40; /* a kind of label that there is not */
    assert_int_equal(dns_query_parse(data, size, &query), DNS_FORMERR);
    size = test_question(data, 1, "abc", DNS_A, 4096);
    memcpy(data + size, data + size - 11, 11); /* two OPT records */
    data[11] = 2;
    assert_int_equal(dns_query_parse(data, size + 11, &query), DNS_FORMERR);
}

static void a_name_of_more_than_255_bytes_is_refused(void **state)
{
    char name[300] = "";
    for (int i = 0; i < 4; i++)
        sprintf(name + strlen(name), "%s%063d", i ? "." : "", 0);
    size_t size = test_question(data, 1, name, DNS_A, 0);
    assert_int_equal(dns_query_parse(data, size, &query), DNS_FORMERR);
    name[253] = 0; /* the longest that there is */
    size = test_question(data, 1, name, DNS_A, 0);
    assert_int_equal(dns_query_parse(data, size, &query), 0);
    assert_int_equal(strlen(query.name), 253);
}

static void other_requests_are_not_implemented(void **state)
{
    size_t size = test_question(data, 1, "a", DNS_A, 0);
    data[2] |= 5 << 3; /* UPDATE */
    assert_int_equal(dns_query_parse(data, size, &query), DNS_NOTIMP);
}

static void an_unknown_version_of_edns_is_told_so(void **state)
{
    struct dns_writer writer;
    size_t size = test_question(data, 1, "a", DNS_A, 4096);
    data[size - 5] = 1; /* the version in the OPT record's TTL */
    assert_int_equal(dns_query_parse(data, size, &query), DNS_BADVERS);
    dns_writer_begin(&writer, &query, out, query.udp_size);
    size = dns_writer_finish(&writer, &query, DNS_BADVERS, false);
    assert_int_equal(out[3] & DNS_CODE_MASK, 0);
    assert_int_equal(out[size - 6], 1); /* the upper bits of the code */
}

static void edns_says_how_much_the_client_takes_within_reason(void **state)
{
    static const struct {
        uint16_t said, used;
    } cases[] = {{1, DNS_UDP_PLAIN_MAX}, {512, 512}, {1000, 1000}, {65535, DNS_UDP_MAX}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t size = test_question(data, 1, "a", DNS_A, cases[i].said);
        assert_int_equal(dns_query_parse(data, size, &query), 0);
        assert_int_equal(query.udp_size, cases[i].used);
    }
}

static void an_answer_keeps_the_case_of_the_question(void **state)
{
    struct dns_writer writer;
    struct ip_address address = test_address("10.0.0.1");
    size_t size = test_question(data, 1, "wEb", DNS_A, 0);
    assert_int_equal(dns_query_parse(data, size, &query), 0);
    dns_writer_begin(&writer, &query, out, query.udp_size);
    dns_write_address(&writer, DNS_ANSWER, "web", 5, AF_INET, &address.v4);
    size = dns_writer_finish(&writer, &query, DNS_NOERROR, true);
    assert_memory_equal(out + DNS_HEADER_SIZE + 1, "wEb", 3);
    /* The record's owner is a pointer to it. */
    assert_int_equal(out[DNS_HEADER_SIZE + 9], 0xc0);
    assert_int_equal(out[DNS_HEADER_SIZE + 10], DNS_HEADER_SIZE);
    assert_string_equal(test_text(out, size), "NOERROR aa web A 10.0.0.1");
}

static void answers_of_others_are_handed_on_aged_and_without_their_edns(void **state)
{
    struct dns_writer writer;
    struct ip_address address = test_address("192.0.2.1");
    struct dns_reader reader;
    struct dns_record record;
    static uint8_t relayed[DNS_MESSAGE_MAX];
    size_t size = test_question(data, 1, "example.com", DNS_A, 1232);
    assert_int_equal(dns_query_parse(data, size, &query), 0);
    dns_writer_begin(&writer, &query, out, query.udp_size);
    dns_write_name(&writer, DNS_ANSWER, "example.com", DNS_CNAME, 60, "www.example.com");
    dns_write_address(&writer, DNS_ANSWER, "www.example.com", 20, AF_INET, &address.v4);
    size = dns_writer_finish(&writer, &query, DNS_NOERROR, false);
    assert_int_equal(dns_message_ttl(out, size), 20);
    size_t asked = test_question(data, 9, "EXAMPLE.com", DNS_A, 0);
    assert_int_equal(dns_query_parse(data, asked, &query), 0);
    size = dns_message_relay(out, size, &query, 7, relayed, query.udp_size);
    assert_string_equal(test_text(relayed, size),
                        "NOERROR example.com CNAME www.example.com; www.example.com A 192.0.2.1");
    assert_int_equal(dns_get16(relayed), 9);
    assert_memory_equal(relayed + DNS_HEADER_SIZE + 1, "EXAMPLE", 7);
    assert_int_equal(dns_get16(relayed + 10), 0); /* no OPT for a client without EDNS */
    assert_true(dns_reader_begin(&reader, relayed, size));
    assert_int_equal(dns_reader_next(&reader, &record), 1);
    assert_int_equal(record.ttl, 53);
    assert_int_equal(dns_reader_next(&reader, &record), 1);
    assert_int_equal(record.ttl, 13);
    assert_int_equal(dns_reader_next(&reader, &record), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_read),
        cmocka_unit_test(what_is_no_question_is_dropped),
        cmocka_unit_test(broken_questions_get_a_format_error),
        cmocka_unit_test(a_name_of_more_than_255_bytes_is_refused),
        cmocka_unit_test(other_requests_are_not_implemented),
        cmocka_unit_test(an_unknown_version_of_edns_is_told_so),
        cmocka_unit_test(edns_says_how_much_the_client_takes_within_reason),
        cmocka_unit_test(an_answer_keeps_the_case_of_the_question),
        cmocka_unit_test(answers_of_others_are_handed_on_aged_and_without_their_edns),
    };
    return cmocka_run_group_tests_name("dns message", tests, NULL, NULL);
}
