#include "node/grpc_answer.h"

#include "base/cleanup.h"
#include "base/encode.h"

int grpc_code_of_http(int status)
{
    static const struct {
        int status, code;
    } codes[] = {{400, 13}, {401, 16}, {403, 7}, {404, 12}, {429, 14}, {502, 14}, {503, 14}, {504, 14}};
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        if (codes[i].status == status)
            return codes[i].code;
    return 2; /* Unknown */
}

int grpc_answer_status(const char *data, size_t data_size)
{
    const uint8_t *at = (const uint8_t *)data, *end = at + data_size;
    int status = 0;
    if (data_size < GRPC_PREFIX_SIZE || at[0] != 0)
        return -1;
    uint32_t size = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
    at += GRPC_PREFIX_SIZE;
    if (size != (size_t)(end - at))
        return -1;
    while (at < end) {
        uint64_t value = 0;
        uint8_t tag = *at++;
        if ((tag & 7) != 0 || tag & 0x80) /* only varints, of small fields, are known to be there */
            return -1;
        unsigned shift = 0;
        do {
            if (at == end || shift > 63)
                return -1;
            value |= (uint64_t)(*at & 0x7f) << shift;
            shift += 7;
        } while (*at++ & 0x80);
        if (tag >> 3 == 1)
            status = value > INT32_MAX ? INT32_MAX : (int)value;
    }
    return status;
}

void grpc_answer_message(const uint8_t *value, size_t size, char out[GRPC_MESSAGE_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < size && n < GRPC_MESSAGE_MAX - 1; i++) {
        int c = value[i];
        if (c == '%' && i + 2 < size && hex_value(value[i + 1]) >= 0 && hex_value(value[i + 2]) >= 0) {
            c = hex_value(value[i + 1]) * 16 + hex_value(value[i + 2]);
            i += 2;
        }
        out[n++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    out[n] = 0;
}
