/* A queue of bytes that are due to a client: lent runs, which are sent from where they are, and short pieces, which
 * are copied together so that a response head and a small body cost no bookkeeping of their own.
 *
 * Layout: `runs` holds the queue in order. A run without data stands for the next `size` bytes of `text`. */
#ifndef CORACLE_SERVER_HTTP_OUTPUT_H
#define CORACLE_SERVER_HTTP_OUTPUT_H

#include "base/buffer.h"
#include "base/vector.h"
#include "server/http/http.h"

struct connection;

/* Runs up to this size are copied and released at once. */
#define OUTPUT_COPY_MAX 1024
/* Memory that an empty queue keeps. */
#define OUTPUT_KEEP_MAX 2048

struct output {
    struct buffer text;
    size_t text_at; /* sent bytes of text */
    VECTOR(struct http_bytes) runs;
    size_t run_at;     /* the first run that is not done */
    size_t run_offset; /* bytes of it that are sent */
    size_t size;       /* unsent bytes in all */
};

/* Appends a copy. */
void output_add_text(struct output *output, const void *data, size_t size);
/* Appends a lent run and takes its ownership. */
void output_add_run(struct output *output, const struct http_bytes *run);
/* The same, of any size, without joining it with what is before or behind it. */
void output_add_apart(struct output *output, const struct http_bytes *run);
/* Bytes left of the first run: no more than those of one output_add_apart. */
size_t output_first(const struct output *output);
/* Puts up to `max` bytes into the connection and drops them from the queue. Returns how many. */
size_t output_put(struct output *output, struct connection *connection, size_t max);
/* Releases everything. */
void output_free(struct output *output);

#endif
