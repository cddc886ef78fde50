/* Files of variables: no input crashes the parser, and no value is longer than its file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/env_file.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct error err;
    const char *value;
    if (env_file_value(arena, (const char *)data, size, "A", &value, &err) == 0 && strlen(value) > size)
        abort();
    arena_free(arena);
    return 0;
}
