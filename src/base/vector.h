/* A growable array of any type.
 *
 *     VECTOR(struct route) routes = {0};
 *     vector_push(&routes, (struct route){...});
 *     for (size_t i = 0; i < routes.count; i++) use(&routes.items[i]);
 *     vector_free(&routes);
 */
#ifndef CORACLE_BASE_VECTOR_H
#define CORACLE_BASE_VECTOR_H

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define VECTOR(T)                                                                                                      \
    struct {                                                                                                           \
        T *items;                                                                                                      \
        size_t count;                                                                                                  \
        size_t capacity;                                                                                               \
    }

#define vector_push(v, ...)                                                                                            \
    do {                                                                                                               \
        if ((v)->count == (v)->capacity) {                                                                             \
            (v)->capacity = (v)->capacity ? (v)->capacity * 2 : 8;                                                     \
            (v)->items = mem_resize((v)->items, (v)->capacity * sizeof(*(v)->items));                                  \
        }                                                                                                              \
        (v)->items[(v)->count++] = (__VA_ARGS__);                                                                      \
    } while (0)

/* Removes element i and keeps the order. */
#define vector_remove(v, i)                                                                                            \
    do {                                                                                                               \
        size_t index_ = (i);                                                                                           \
        memmove(&(v)->items[index_], &(v)->items[index_ + 1], ((v)->count - index_ - 1) * sizeof(*(v)->items));        \
        (v)->count--;                                                                                                  \
    } while (0)

#define vector_free(v)                                                                                                 \
    do {                                                                                                               \
        free((v)->items);                                                                                              \
        (v)->items = NULL;                                                                                             \
        (v)->count = (v)->capacity = 0;                                                                                \
    } while (0)

#endif
