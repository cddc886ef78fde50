/* What comes on a resize stream: JSON objects one after the other, {"Width":80,"Height":24}. */
#ifndef CORACLE_SERVER_STREAM_TERMINAL_SIZE_H
#define CORACLE_SERVER_STREAM_TERMINAL_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An object longer than this is passed over. */
#define TERMINAL_SIZE_TEXT_MAX 256

/* Zero at the start. */
struct terminal_size_reader {
    char text[TERMINAL_SIZE_TEXT_MAX + 1];
    size_t size;
    bool too_long;
};

/* Consumes from *data. True: a size has been read, and there may be more; false: all was consumed. */
bool terminal_size_read(struct terminal_size_reader *reader, const char **data, size_t *size, uint16_t *columns,
                        uint16_t *rows);

#endif
