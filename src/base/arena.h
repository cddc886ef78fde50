/* Arenas: memory for what lives and dies together (a request, a reconcile, a snapshot).
 * An arena belongs to one thread at a time. Everything it gave out is released by arena_free at once. */
#ifndef CORACLE_BASE_ARENA_H
#define CORACLE_BASE_ARENA_H

#include <stddef.h>

struct arena;

/* An arena whose first block holds `first` bytes (0: a default of 1 KiB); it grows by doubling blocks. */
struct arena *arena_new(size_t first);
/* Releases the arena and all that came from it. NULL is fine. */
void arena_free(struct arena *arena);
/* Zeroed memory aligned for any type. Never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
/* A copy of `size` bytes. */
void *arena_copy(struct arena *arena, const void *data, size_t size);
/* A copy of s; NULL stays NULL. */
char *arena_string(struct arena *arena, const char *s);
/* A NUL-terminated copy of the n bytes at s. */
char *arena_string_n(struct arena *arena, const char *s, size_t n);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A copy of `count` elements of `size` bytes with room for `room` more, which are zero: how a list of a
 * snapshot is copied in order to append to it. */
void *arena_array_grow(struct arena *arena, const void *items, size_t count, size_t room, size_t size);
/* The same for an array that is only ever extended by this, one element at a time from none: it moves when its count is
 * a power of two, to twice the room, so that n elements cost memory for less than 4n. */
void *arena_array_extend(struct arena *arena, void *items, size_t count, size_t size);
/* Bytes that the arena holds from malloc. */
size_t arena_size(const struct arena *arena);

void cleanup_free_arena(struct arena **arena);
#define cleanup_arena __attribute__((cleanup(cleanup_free_arena)))

#endif
