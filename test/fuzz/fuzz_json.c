/* The JSON codec beside jansson: both accept the same texts and read the same from them.
 *
 * The first byte says which type the rest is read as. Differences that are meant: jansson refuses bad UTF-8,
 * halves of surrogate pairs, NUL in keys and numbers that it cannot hold, passes over a NUL behind a number, and nests
 * deeper; we refuse NUL in strings that have to be C strings. */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/json_text.h"
#include "api/json_tree.h"
#include "api/types.h"
#include "fuzz.h"
#include "fuzz_type.h"

/* Whether jansson's refusal is one of those that we know of. */
static bool meant(const json_error_t *why)
{
    enum json_error_code code = json_error_code(why);
    return code == json_error_invalid_utf8 || code == json_error_numeric_overflow ||
           code == json_error_null_byte_in_key || (code == json_error_invalid_syntax && strstr(why->text, "Unicode"));
}

/* Whether a number is in it that a double may spell in another way. */
static bool has_real(const json_t *t)
{
    size_t i;
    const char *key;
    json_t *v;
    if (json_is_real(t))
        return true;
    json_array_foreach((json_t *)t, i, v)
    {
        if (has_real(v))
            return true;
    }
    json_object_foreach((json_t *)t, key, v)
    {
        if (has_real(v))
            return true;
    }
    return false;
}

static void check_tree(const char *text, size_t size, json_t *theirs)
{
    struct arena *arena = arena_new(0);
    struct error err = {0};
    struct buffer out = {0};
    struct json_tree *tree = json_tree_parse(arena, text, size, &err);
    CHECK(tree || err.code == EINVAL || err.code == E2BIG);
    if (tree) {
        json_tree_write(tree, &out);
        json_t *again = json_loadb(out.data, out.size, JSON_DECODE_ANY, NULL);
        CHECK(again && json_equal(again, theirs));
        CHECK(json_tree_equal(tree, json_tree_copy(arena, tree)));
        json_decref(again);
    }
    buffer_free(&out);
    arena_free(arena);
}

/* What jansson writes of the text means the same to us. */
static void check_meaning(const struct api_type *type, const void *value, json_t *theirs)
{
    char *text = json_dumps(theirs, JSON_COMPACT | JSON_DECODE_ANY | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    struct arena *arena = arena_new(0);
    void *again = arena_alloc(arena, type->size);
    CHECK(json_decode(type, arena, text, strlen(text), again, NULL, NULL) == 0);
    CHECK(api_equal(type, value, again));
    arena_free(arena);
    free(text);
}

static void check_typed(const struct api_type *type, const char *text, size_t size, bool valid)
{
    struct arena *arena = arena_new(0);
    struct json_report report = {0};
    struct error err = {0};
    struct buffer first = {0}, second = {0};
    void *value = arena_alloc(arena, type->size), *again = arena_alloc(arena, type->size);
    int r = json_decode(type, arena, text, size, value, &report, &err);
    CHECK((r == 0) == (err.code == 0));
    CHECK(valid ? err.code != EBADMSG : err.code == EBADMSG);
    if (r == 0) {
        json_encode(type, value, &first);
        CHECK(json_decode(type, arena, first.data, first.size, again, NULL, &err) == 0);
        CHECK(api_equal(type, value, again));
        json_encode(type, again, &second);
        CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
        json_t *ours = json_loadb(first.data, first.size, JSON_REJECT_DUPLICATES, NULL);
        CHECK(ours || strstr(first.data, "fieldsV1"));
        json_decref(ours);
        json_t *theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        /* What is kept as JSON keeps its spelling. */
        if (theirs && !has_real(theirs) && !strstr(first.data, "fieldsV1"))
            check_meaning(type, value, theirs);
        json_decref(theirs);
        void *copy = api_copy(arena, type, value);
        CHECK(api_equal(type, value, copy));
    }
    buffer_free(&first);
    buffer_free(&second);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct api_type *type = fuzz_type(&data, &size);
    if (!type)
        return 0;
    const char *text = (const char *)data;
    struct error err = {0};
    json_error_t why;
    bool valid = json_check_syntax(text, size, &err) == 0;
    json_t *theirs = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (theirs)
        CHECK(valid || strcmp(err.text, "exceeded max depth") == 0 || memchr(text, 0, size));
    else
        CHECK(!valid || meant(&why));
    if (valid && theirs)
        check_tree(text, size, theirs);
    json_decref(theirs);
    check_typed(type, text, size, valid);
    return 0;
}
