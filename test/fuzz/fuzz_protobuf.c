/* Protobuf bodies: whatever is read survives the way through JSON, and the parts of a body are read as the whole is.
 *
 * The first line says which type the rest is read as: a message and, where it begins with the prefix, a body. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/json_text.h"
#include "api/protobuf.h"
#include "api/types.h"
#include "fuzz.h"
#include "fuzz_type.h"

static void check_value(const struct api_type *type, struct arena *arena, const void *value)
{
    struct buffer first = {0}, second = {0};
    struct error err = {0};
    void *again = arena_alloc(arena, type->size);
    json_encode(type, value, &first);
    CHECK(json_check_syntax(first.data, first.size, &err) == 0);
    int r = json_decode(type, arena, first.data, first.size, again, NULL, &err);
    CHECK(r == 0 || err.code == E2BIG);
    if (r == 0) {
        CHECK(api_equal(type, value, again));
        json_encode(type, again, &second);
        CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    }
    CHECK(api_equal(type, value, api_copy(arena, type, value)));
    buffer_free(&first);
    buffer_free(&second);
}

typedef int (*decode_function)(const struct api_type *type, struct arena *arena, const void *data, size_t size,
                               void *value, struct error *err);

static void check_decode(decode_function decode, const struct api_type *type, const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct error err = {0};
    void *value = arena_alloc(arena, type->size);
    int r = decode(type, arena, data, size, value, &err);
    CHECK((r == 0) == (err.code == 0));
    CHECK(r == 0 || err.code == EINVAL || err.code == E2BIG ||
          (err.code == EBADMSG && decode == protobuf_decode_object));
    if (r == 0)
        check_value(type, arena, value);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct api_type *type = fuzz_type(&data, &size);
    if (!type)
        return 0;
    /* A block of its own, so that reading past its end is seen. */
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    check_decode(protobuf_decode, type, copy, size);
    check_decode(protobuf_decode_object, type, copy, size);
    free(copy);
    return 0;
}
