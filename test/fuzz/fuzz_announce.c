/* Frames from the link, and ranges of addresses as people write them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/address_range.h"
#include "base/cleanup.h"
#include "network/announce_packet.h"
#include "fuzz.h"

static void frame(const uint8_t *data, size_t size)
{
    static const unsigned char own[HARDWARE_ADDRESS_SIZE] = {2};
    unsigned char answer[ANNOUNCE_PACKET_MAX];
    struct announce_question question, again;
    if (!announce_read(data, size, &question))
        return;
    size_t written = announce_answer(&question, own, answer);
    CHECK(written > 0 && written <= sizeof(answer));
    CHECK(!announce_read(answer, written, &again)); /* nodes do not answer each other's answers */
}

static void ranges(const uint8_t *data, size_t size)
{
    struct address_ranges ranges;
    char text[INET6_ADDRSTRLEN];
    cleanup_free char *copy = mem_string_n((const char *)data, size);
    if (address_ranges_parse(copy, &ranges, NULL) < 0)
        return;
    for (int v6 = 0; v6 < 2; v6++)
        for (uint32_t place = 0; place < 3 && address_ranges_at(&ranges, v6 ? AF_INET6 : AF_INET, place, text); place++)
            CHECK(address_ranges_contain(&ranges, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size)
        (*data & 1 ? frame : ranges)(data + 1, size - 1);
    return 0;
}
