/* Tags, varints and lengths of protobuf. */
#include "api/protobuf_wire.h"

#include <ctype.h>
#include <errno.h>

static int unexpected_end(struct error *err)
{
    return error_set(err, EINVAL, "unexpected EOF");
}

int wire_read_varint(struct wire *wire, uint64_t *value, struct error *err)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (wire->p >= wire->end)
            return unexpected_end(err);
        unsigned char byte = *wire->p++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = v;
            return 0;
        }
    }
    return error_set(err, EINVAL, "proto: integer overflow");
}

int wire_read_bytes(struct wire *wire, struct wire *bytes, struct error *err)
{
    uint64_t size;
    if (wire_read_varint(wire, &size, err) < 0)
        return -1;
    if (size > INT64_MAX)
        return error_set(err, EINVAL, "proto: negative length found during unmarshaling");
    if (size > wire_left(wire))
        return unexpected_end(err);
    *bytes = (struct wire){wire->p, wire->p + size};
    wire->p += size;
    return 0;
}

int wire_read_fixed64(struct wire *wire, uint64_t *value, struct error *err)
{
    if (wire_left(wire) < 8)
        return unexpected_end(err);
    *value = 0;
    for (int i = 7; i >= 0; i--)
        *value = *value << 8 | wire->p[i];
    wire->p += 8;
    return 0;
}

int wire_read_tag(struct wire *wire, struct wire_tag *tag, const char *message, struct error *err)
{
    uint64_t v;
    if (wire_read_varint(wire, &v, err) < 0)
        return -1;
    *tag = (struct wire_tag){.number = (int32_t)(uint32_t)(v >> 3), .type = v & 7};
    if (tag->type == WIRE_GROUP_END)
        return error_set(err, EINVAL, "proto: %s: wiretype end group for non-group", message);
    if (tag->number <= 0)
        return error_set(err, EINVAL, "proto: %s: illegal tag %d (wire type %u)", message, (int)tag->number,
                         (unsigned)(v & 7));
    return 0;
}

static int skip_fixed(struct wire *wire, size_t size, struct error *err)
{
    if (wire_left(wire) < size)
        return unexpected_end(err);
    wire->p += size;
    return 0;
}

/* The value of one tag; a group's tag has none. */
static int skip_value(struct wire *wire, unsigned type, struct error *err)
{
    uint64_t ignored;
    struct wire bytes;
    switch (type) {
    case WIRE_VARINT:
        return wire_read_varint(wire, &ignored, err);
    case WIRE_FIXED64:
        return skip_fixed(wire, 8, err);
    case WIRE_BYTES:
        return wire_read_bytes(wire, &bytes, err);
    case WIRE_GROUP:
    case WIRE_GROUP_END:
        return 0;
    case WIRE_FIXED32:
        return skip_fixed(wire, 4, err);
    default:
        return error_set(err, EINVAL, "proto: illegal wireType %u", type);
    }
}

int wire_skip(struct wire *wire, const struct wire_tag *tag, struct error *err)
{
    if (skip_value(wire, tag->type, err) < 0)
        return -1;
    /* Groups are counted, not entered: they may nest as deep as they like. */
    for (size_t groups = tag->type == WIRE_GROUP; groups;) {
        uint64_t v;
        if (wire_read_varint(wire, &v, err) < 0 || skip_value(wire, v & 7, err) < 0)
            return -1;
        if ((v & 7) == WIRE_GROUP)
            groups++;
        else if ((v & 7) == WIRE_GROUP_END)
            groups--;
    }
    return 0;
}

int wire_wrong_type(const struct wire_tag *tag, const char *field, struct error *err)
{
    return error_set(err, EINVAL, "proto: wrong wireType = %u for field %c%s", tag->type,
                     toupper((unsigned char)field[0]), field + 1);
}
