/* Growable bytes; capacity doubles. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

char *buffer_reserve(struct buffer *b, size_t more)
{
    size_t need = b->size + more + 1;
    if (need > b->capacity) {
        size_t capacity = b->capacity ? b->capacity : 64;
        while (capacity < need)
            capacity *= 2;
        b->data = mem_resize(b->data, capacity);
        b->capacity = capacity;
    }
    return b->data + b->size;
}

void buffer_add(struct buffer *b, const void *data, size_t size)
{
    char *to = buffer_reserve(b, size);
    if (size)
        memcpy(to, data, size);
    b->size += size;
    b->data[b->size] = 0;
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        char *to = buffer_reserve(b, (size_t)n);
        vsnprintf(to, (size_t)n + 1, format, again);
        b->size += (size_t)n;
    }
    va_end(again);
}

void buffer_consume(struct buffer *b, size_t n)
{
    memmove(b->data, b->data + n, b->size - n + 1);
    b->size -= n;
}

void buffer_clear(struct buffer *b)
{
    b->size = 0;
    if (b->data)
        b->data[0] = 0;
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

char *buffer_steal(struct buffer *b, size_t *size)
{
    buffer_reserve(b, 0)[0] = 0;
    char *data = b->data;
    if (size)
        *size = b->size;
    *b = (struct buffer){0};
    return data;
}
