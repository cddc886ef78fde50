/* Hashes of values. */
#include "api/hash.h"

#include "api/json.h"
#include "base/map.h"

void api_safe_encode(char *text)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    for (; *text; text++)
        *text = alphabet[(unsigned char)*text % (sizeof(alphabet) - 1)];
}

const char *api_hash_fnv(struct arena *arena, const struct api_type *type, const void *value,
                         struct opt_int32 collision_count)
{
    cleanup_buffer struct buffer bytes = {0};
    json_encode(type, value, &bytes);
    if (collision_count.set) {
        /* Eight bytes, of which upstream sets four, little-endian. */
        for (int shift = 0; shift < 64; shift += 8)
            buffer_add_char(&bytes, shift < 32 ? (char)((uint32_t)collision_count.value >> shift) : 0);
    }
    char *text = arena_printf(arena, "%u", hash_fnv32a(bytes.data, bytes.size));
    api_safe_encode(text);
    return text;
}
