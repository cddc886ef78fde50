/* What every walker over the descriptors needs to know about the slot of a field in its C struct. Private to
 * api/. */
#ifndef CORACLE_API_WALK_H
#define CORACLE_API_WALK_H

#include <string.h>

#include "api/type.h"

/* The size of one element of an array, or of a value that is neither optional nor repeated. */
static inline size_t walk_element_size(const struct api_field *f)
{
    switch ((enum api_kind)f->kind) {
    case API_BOOL:
        return sizeof(bool);
    case API_INT32:
        return sizeof(int32_t);
    case API_INT64:
    case API_TIME:
    case API_MICRO_TIME:
        return sizeof(int64_t);
    case API_DOUBLE:
        return sizeof(double);
    case API_INT_OR_STRING:
        return sizeof(struct int_or_string);
    case API_BYTES:
        return sizeof(struct bytes);
    case API_STRUCT:
        return f->type->size;
    case API_STRING:
    case API_QUANTITY:
    case API_RAW:
        break;
    }
    return sizeof(const char *);
}

static inline size_t walk_slot_size(const struct api_field *f)
{
    if (f->shape == API_ARRAY || f->shape == API_MAP)
        return sizeof(struct any_array);
    if (f->shape == API_OPTIONAL) {
        if (f->kind == API_STRUCT)
            return sizeof(void *);
        if (f->kind == API_BOOL)
            return sizeof(struct opt_bool);
        if (f->kind == API_INT32)
            return sizeof(struct opt_int32);
        if (f->kind == API_INT64)
            return sizeof(struct opt_int64);
    }
    return walk_element_size(f);
}

/* Whether a field has no value: an optional one that is not set, a list or map that was not given, the zero of
 * everything else. Never true of a struct held by value. */
static inline bool walk_is_unset(const struct api_field *f, const char *slot)
{
    if (f->shape == API_ARRAY || f->shape == API_MAP)
        return !((const struct any_array *)slot)->items && !((const struct any_array *)slot)->count;
    bool optional = f->shape == API_OPTIONAL;
    switch ((enum api_kind)f->kind) {
    case API_BOOL:
        return optional ? !((const struct opt_bool *)slot)->set : !*(const bool *)slot;
    case API_INT32:
        return optional ? !((const struct opt_int32 *)slot)->set : !*(const int32_t *)slot;
    case API_INT64:
        return optional ? !((const struct opt_int64 *)slot)->set : !*(const int64_t *)slot;
    case API_TIME:
    case API_MICRO_TIME:
        return !*(const int64_t *)slot;
    case API_DOUBLE:
        return *(const double *)slot == 0;
    case API_INT_OR_STRING:
        return ((const struct int_or_string *)slot)->kind == INT_OR_STRING_UNSET;
    case API_BYTES:
        return !((const struct bytes *)slot)->size;
    case API_STRUCT:
        return optional && !*(void *const *)slot;
    case API_STRING:
        if (!optional)
            return !*(const char *const *)slot || !**(const char *const *)slot;
        break;
    case API_QUANTITY:
    case API_RAW:
        break;
    }
    return !*(const char *const *)slot;
}

/* The empty list of any type. */
extern const max_align_t walk_empty_items;

#endif
