/* A growable run of bytes, always NUL-terminated so that text can be read as a C string.
 *
 *     cleanup_buffer struct buffer b = {0};
 *     buffer_printf(&b, "%d", 1);
 */
#ifndef CORACLE_BASE_BUFFER_H
#define CORACLE_BASE_BUFFER_H

#include <stddef.h>
#include <string.h>

struct buffer {
    char *data; /* NULL until the first byte */
    size_t size;
    size_t capacity;
};

/* Makes room for `more` bytes behind the present ones and returns where they go; buffer.size is unchanged. */
char *buffer_reserve(struct buffer *b, size_t more);
void buffer_add(struct buffer *b, const void *data, size_t size);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes. */
void buffer_consume(struct buffer *b, size_t n);
/* Forgets the content and keeps the memory. */
void buffer_clear(struct buffer *b);
void buffer_free(struct buffer *b);
/* Moves the content out, NUL-terminated, to be released with free(); the buffer is empty afterwards. */
char *buffer_steal(struct buffer *b, size_t *size);

static inline void buffer_add_char(struct buffer *b, char c)
{
    if (b->size + 1 >= b->capacity)
        buffer_reserve(b, 1);
    b->data[b->size++] = c;
    b->data[b->size] = 0;
}

static inline void buffer_add_string(struct buffer *b, const char *s)
{
    buffer_add(b, s, strlen(s));
}

#define cleanup_buffer __attribute__((cleanup(buffer_free)))

#endif
