/* The CRI log reader: no input crashes it, and nothing is given out beyond what was asked for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "node/runtime/log_line.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct log_filter filter = {
        .limit_bytes = data[0] & 1 ? data[1] : -1,
        .since = data[0] & 2 ? INT64_C(1767366245000000) : 0,
        .timestamps = data[0] & 4,
        .skip_stdout = data[0] & 8,
        .skip_stderr = data[0] & 16,
    };
    int64_t limit = filter.limit_bytes;
    struct buffer out = {0};
    const char *text = (const char *)data + 2, *end = (const char *)data + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = newline ? (size_t)(newline - text) : (size_t)(end - text);
        size_t before = out.size;
        if (!log_filter_line(&filter, text, length, &out))
            break;
        if (out.size - before > length + 1)
            abort();
        text += length + 1;
    }
    if (limit >= 0 && out.size > (size_t)limit)
        abort();
    buffer_free(&out);
    return 0;
}
