/* The queue of bytes due to a client. */
#include "server/http/output.h"

#include "server/http/connection.h"

void output_add_text(struct output *output, const void *data, size_t size)
{
    if (!size)
        return;
    buffer_add(&output->text, data, size);
    output->size += size;
    if (output->runs.count > output->run_at && !output->runs.items[output->runs.count - 1].data)
        output->runs.items[output->runs.count - 1].size += size;
    else
        vector_push(&output->runs, (struct http_bytes){NULL, size, NULL, NULL});
}

void output_add_run(struct output *output, const struct http_bytes *run)
{
    if (run->size > OUTPUT_COPY_MAX) {
        vector_push(&output->runs, *run);
        output->size += run->size;
        return;
    }
    output_add_text(output, run->data, run->size);
    if (run->release)
        run->release(run->owner);
}

void output_add_apart(struct output *output, const struct http_bytes *run)
{
    vector_push(&output->runs, *run);
    output->size += run->size;
}

size_t output_first(const struct output *output)
{
    return output->run_at < output->runs.count ? output->runs.items[output->run_at].size - output->run_offset : 0;
}

/* Nothing is left: keeps a little memory for the next response. */
static void reset(struct output *output)
{
    buffer_clear(&output->text);
    output->text_at = output->run_at = output->run_offset = output->runs.count = 0;
    if (output->text.capacity > OUTPUT_KEEP_MAX)
        buffer_free(&output->text);
    if (output->runs.capacity * sizeof(output->runs.items[0]) > OUTPUT_KEEP_MAX)
        vector_free(&output->runs);
}

/* A queue that is never quite empty must not keep what it has sent. */
static void compact(struct output *output)
{
    if (output->text_at > OUTPUT_KEEP_MAX && output->text_at > output->text.size / 2) {
        buffer_consume(&output->text, output->text_at);
        output->text_at = 0;
    }
    size_t done = output->run_at;
    if (done > 16 && done > output->runs.count / 2) {
        output->runs.count -= done;
        memmove(output->runs.items, output->runs.items + done, output->runs.count * sizeof(output->runs.items[0]));
        output->run_at = 0;
    }
}

size_t output_put(struct output *output, struct connection *connection, size_t max)
{
    size_t total = 0;
    while (total < max && output->run_at < output->runs.count) {
        struct http_bytes *run = &output->runs.items[output->run_at];
        size_t n = run->size - output->run_offset;
        if (n > max - total)
            n = max - total;
        if (run->data) {
            connection_put(connection, (const char *)run->data + output->run_offset, n);
        } else {
            connection_put(connection, output->text.data + output->text_at, n);
            output->text_at += n;
        }
        total += n;
        output->run_offset += n;
        if (output->run_offset < run->size)
            break;
        output->run_at++;
        output->run_offset = 0;
        if (run->release)
            run->release(run->owner);
    }
    output->size -= total;
    if (output->size)
        compact(output);
    else
        reset(output);
    return total;
}

void output_free(struct output *output)
{
    for (size_t i = output->run_at; i < output->runs.count; i++)
        if (output->runs.items[i].release)
            output->runs.items[i].release(output->runs.items[i].owner);
    buffer_free(&output->text);
    vector_free(&output->runs);
    *output = (struct output){0};
}
