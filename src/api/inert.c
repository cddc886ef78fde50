/* A walk over all fields that are set, with the path in one buffer that grows and shrinks with the depth. */
#include "api/inert.h"

#include <stdio.h>

#include "api/walk.h"

struct walk {
    char path[INERT_PATH_MAX];
    int depth;
    inert_visit visit;
    void *context;
};

static bool is_zero(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static bool is_set(const struct api_field *f, const char *slot)
{
    if (f->kind == API_STRUCT && f->shape == API_VALUE)
        return !is_zero(slot, f->type->size);
    return !walk_is_unset(f, slot);
}

static void walk_struct(struct walk *walk, const struct api_type *type, const char *value, size_t end);

static void walk_field(struct walk *walk, const struct api_field *f, const char *slot, size_t end)
{
    if (f->inert) {
        walk->visit(walk->context, walk->path, f->inert);
        return;
    }
    if (f->kind != API_STRUCT || f->shape == API_MAP)
        return;
    if (f->shape != API_ARRAY) {
        walk_struct(walk, f->type, f->shape == API_OPTIONAL ? *(const char *const *)slot : slot, end);
        return;
    }
    const struct any_array *array = (const struct any_array *)slot;
    for (size_t i = 0; i < array->count; i++) {
        int n = snprintf(walk->path + end, INERT_PATH_MAX - end, "[%zu]", i);
        size_t below = end + (size_t)n < INERT_PATH_MAX ? end + (size_t)n : INERT_PATH_MAX - 1;
        walk_struct(walk, f->type, (const char *)array->items + i * f->type->size, below);
    }
}

/* `end` is the length of the path of the value itself. */
static void walk_struct(struct walk *walk, const struct api_type *type, const char *value, size_t end)
{
    if (++walk->depth <= INERT_DEPTH_MAX) {
        for (uint32_t i = 0; i < type->field_count; i++) {
            const struct api_field *f = &type->fields[i];
            if (!is_set(f, value + f->offset))
                continue;
            int n = snprintf(walk->path + end, INERT_PATH_MAX - end, "%s%s", end ? "." : "", f->name);
            size_t below = end + (size_t)n < INERT_PATH_MAX ? end + (size_t)n : INERT_PATH_MAX - 1;
            walk_field(walk, f, value + f->offset, below);
        }
    }
    walk->depth--;
}

void api_each_inert(const struct api_type *type, const void *value, inert_visit visit, void *context)
{
    struct walk walk = {.visit = visit, .context = context};
    walk_struct(&walk, type, value, 0);
}
