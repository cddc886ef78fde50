/* Who has this address? The packets that ask and that answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "network/announce_packet.h"

static const unsigned char own[6] = {2, 0, 0, 0, 0, 9}, other[6] = {2, 0, 0, 0, 0, 1};

static struct ip_address ip(const char *text)
{
    struct ip_address address;
    assert_true(ip_address_parse(text, &address));
    return address;
}

static void an_arp_request_is_answered(void **state)
{
    static const unsigned char request[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   1, 8, 6,
                                            0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,   0, 0, 1,
                                            192,  0,    2,    1,    0,    0,    0, 0, 0, 0, 192, 0, 2, 9};
    unsigned char answer[ANNOUNCE_PACKET_MAX];
    struct announce_question q;
    assert_true(announce_read(request, sizeof(request), &q));
    assert_true(ip_address_equal(&q.target, &(struct ip_address){.family = AF_INET, .v4 = ip("192.0.2.9").v4}));
    assert_int_equal(announce_answer(&q, own, answer), 42);
    static const unsigned char wanted[] = {2, 0, 0, 0, 0, 1, 2, 0,   0, 0, 0, 9, 8, 6, 0, 1, 8, 0,   6, 4, 0,
                                           2, 2, 0, 0, 0, 0, 9, 192, 0, 2, 9, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1};
    assert_memory_equal(answer, wanted, sizeof(wanted));
    assert_false(announce_read(answer, 42, &q)); /* an answer asks nothing */
    for (size_t n = 0; n < sizeof(request); n++)
        assert_false(announce_read(request, n, &q));
}

static void a_solicitation_is_answered(void **state)
{
    /* What the kernel sends: from fd00::1 to the group of fd00::9, its hardware address as an option. */
    unsigned char request[86] = {0x33, 0x33, 0xff, 0,   0,    9, 2, 0, 0,    0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0,
                                 0,    32,   58,   255, 0xfd, 0, 0, 0, 0,    0, 0, 0, 0,    0,    0,    0, 0, 0,
                                 0,    1,    0xff, 2,   0,    0, 0, 0, 0,    0, 0, 0, 0,    1,    0xff, 0, 0, 9,
                                 135,  0,    0,    0,   0,    0, 0, 0, 0xfd, 0, 0, 0, 0,    0,    0,    0, 0, 0,
                                 0,    0,    0,    0,   0,    9, 1, 1, 2,    0, 0, 0, 0,    1};
    struct announce_question q;
    assert_false(announce_read(request, sizeof(request), &q)); /* no checksum */
    uint32_t sum = 58 + 32;
    for (size_t i = 22; i < sizeof(request); i += 2)
        sum += (uint32_t)request[i] << 8 | request[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    request[56] = (unsigned char)(sum >> 8);
    request[57] = (unsigned char)sum;
    assert_true(announce_read(request, sizeof(request), &q));
    struct ip_address target = ip("fd00::9"), source = ip("fd00::1");
    assert_true(ip_address_equal(&q.target, &target) && ip_address_equal(&q.source, &source));
    assert_memory_equal(q.hardware, other, 6);
    unsigned char answer[ANNOUNCE_PACKET_MAX];
    assert_int_equal(announce_answer(&q, own, answer), 86);
    assert_memory_equal(answer, other, 6);
    assert_int_equal(answer[54], 136);
    assert_int_equal(answer[58], 0x60); /* solicited, override */
    assert_memory_equal(answer + 80, own, 6);
    request[21] = 254; /* it came through a router */
    assert_false(announce_read(request, sizeof(request), &q));
}

static void everybody_is_told_unasked(void **state)
{
    unsigned char frame[ANNOUNCE_PACKET_MAX];
    struct ip_address v4 = ip("192.0.2.9"), v6 = ip("fd00::9");
    assert_int_equal(announce_unasked(&v4, own, frame), 42);
    assert_int_equal(frame[0], 0xff);
    assert_memory_equal(frame + 28, frame + 38, 4); /* it asks for itself */
    assert_int_equal(announce_unasked(&v6, own, frame), 86);
    assert_int_equal(frame[0], 0x33);
    assert_int_equal(frame[58], 0x20); /* override alone */
}

static void addresses_are_spread_over_nodes_and_stay(void **state)
{
    static const char *const nodes[] = {"a", "b", "c"}, *const turned[] = {"c", "a", "b"}, *const fewer[] = {"a", "c"};
    size_t counts[3] = {0};
    for (int i = 0; i < 300; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.%d.%d", i / 250, i % 250);
        struct ip_address address = ip(text);
        const char *owner = announce_owner(&address, nodes, 3);
        counts[*owner - 'a']++;
        assert_string_equal(announce_owner(&address, turned, 3), owner);
        if (*owner != 'b')
            assert_string_equal(announce_owner(&address, fewer, 2), owner);
    }
    for (size_t i = 0; i < 3; i++)
        assert_in_range(counts[i], 60, 140);
    struct ip_address address = ip("192.0.2.1");
    assert_null(announce_owner(&address, nodes, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arp_request_is_answered),
        cmocka_unit_test(a_solicitation_is_answered),
        cmocka_unit_test(everybody_is_told_unasked),
        cmocka_unit_test(addresses_are_spread_over_nodes_and_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
