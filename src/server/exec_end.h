/* What a client of pods/exec or pods/attach is told, on the error stream, of how it ended. Pure. */
#ifndef CORACLE_SERVER_EXEC_END_H
#define CORACLE_SERVER_EXEC_END_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"

struct exec_end {
    int version; /* of the protocol: from 4 on it is a Status, before that a sentence, and nothing when all went well */
    bool attach;
    int exit_code;
    const char *problem; /* why it did not run, or not to its end; NULL: it did */
};

void exec_end_write(struct arena *arena, const struct exec_end *end, struct buffer *out);

#endif
