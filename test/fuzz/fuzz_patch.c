/* Patches: whatever they are applied to, the outcome is an error or JSON that we read; merging twice is merging
 * once.
 *
 * The first byte says which patch, the rest of the line which type; then come the object, a NUL and the patch. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "api/patch.h"
#include "api/types.h"
#include "fuzz.h"
#include "fuzz_type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    enum patch_kind kind = (enum patch_kind)(data[0] % 3);
    data++, size--;
    const struct api_type *type = fuzz_type(&data, &size);
    const char *object = (const char *)data;
    const char *separator = type && size ? memchr(object, 0, size) : NULL;
    if (!separator)
        return 0;
    const char *patch = separator + 1;
    size_t object_size = (size_t)(separator - object), patch_size = (size_t)((const char *)data + size - patch);
    struct buffer once = {0}, twice = {0};
    struct error err = {0};
    int r = patch_apply(kind, type, object, object_size, patch, patch_size, &once, &err);
    CHECK((r == 0) == (err.code == 0));
    if (r == 0) {
        CHECK(json_check_syntax(once.data, once.size, NULL) == 0);
        if (kind == PATCH_MERGE) {
            CHECK(patch_apply(kind, type, once.data, once.size, patch, patch_size, &twice, NULL) == 0);
            CHECK(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
        }
    }
    buffer_free(&once);
    buffer_free(&twice);
    return 0;
}
