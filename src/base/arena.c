/* Arenas as a chain of blocks, newest first; each new block is twice the last, up to BLOCK_MAX. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BLOCK_FIRST 1024
#define BLOCK_MAX (256 * 1024)
#define ALIGN 16

struct block {
    struct block *next;
    size_t size;
    size_t used;
    _Alignas(ALIGN) unsigned char data[];
};

/* The arena itself lives at the start of its first block, which is the last of the chain. */
struct arena {
    struct block *newest;
    size_t total;
};

static struct block *block_new(size_t size)
{
    struct block *b = mem_alloc(sizeof(*b) + size);
    b->next = NULL;
    b->size = size;
    b->used = 0;
    return b;
}

static size_t aligned(size_t size)
{
    return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

struct arena *arena_new(size_t first)
{
    size_t own = aligned(sizeof(struct arena));
    struct block *b = block_new(own + aligned(first ? first : BLOCK_FIRST));
    struct arena *arena = (struct arena *)b->data;
    b->used = own;
    arena->newest = b;
    arena->total = sizeof(*b) + b->size;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    struct block *b = arena->newest;
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

void *arena_alloc(struct arena *arena, size_t size)
{
    struct block *b = arena->newest;
    size_t need = aligned(size ? size : 1);
    if (b->size - b->used < need) {
        size_t want = b->size * 2 < BLOCK_MAX ? b->size * 2 : BLOCK_MAX;
        struct block *fresh = block_new(need > want ? need : want);
        fresh->next = b;
        arena->newest = b = fresh;
        arena->total += sizeof(*b) + b->size;
    }
    void *p = b->data + b->used;
    b->used += need;
    return memset(p, 0, size);
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
    void *p = arena_alloc(arena, size);
    if (size)
        memcpy(p, data, size);
    return p;
}

char *arena_string(struct arena *arena, const char *s)
{
    return s ? arena_copy(arena, s, strlen(s) + 1) : NULL;
}

char *arena_string_n(struct arena *arena, const char *s, size_t n)
{
    char *p = arena_alloc(arena, n + 1);
    if (n)
        memcpy(p, s, n);
    return p;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = arena_alloc(arena, n < 0 ? 1 : (size_t)n + 1);
    if (n > 0)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}

void *arena_array_grow(struct arena *arena, const void *items, size_t count, size_t room, size_t size)
{
    void *p = arena_alloc(arena, (count + room) * size);
    if (count)
        memcpy(p, items, count * size);
    return p;
}

void *arena_array_extend(struct arena *arena, void *items, size_t count, size_t size)
{
    if (count & (count - 1))
        return items;
    return arena_array_grow(arena, items, count, count ? count : 1, size);
}

size_t arena_size(const struct arena *arena)
{
    return arena->total;
}

void cleanup_free_arena(struct arena **arena)
{
    arena_free(*arena);
}
