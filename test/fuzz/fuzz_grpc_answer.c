/* What a gRPC server may send: the first byte says whether the rest is a message or the text of a header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/grpc_answer.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[GRPC_MESSAGE_MAX];
    if (!size)
        return 0;
    if (*data & 1) {
        if (grpc_answer_status((const char *)data + 1, size - 1) < -1)
            abort();
        return 0;
    }
    grpc_answer_message(data + 1, size - 1, text);
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            abort();
    if (strlen(text) > size - 1)
        abort();
    return 0;
}
