/* Sets of names. */
#include "api/name_set.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* Any value but NULL, to mark a name as present. */
static char present;

bool name_set_add(struct name_set *set, const char *name)
{
    name = name ? name : "";
    if (!set->first) {
        set->first = name;
        return true;
    }
    if (!set->map.capacity)
        map_set(&set->map, set->first, &present);
    return !map_set(&set->map, name, &present);
}

bool name_set_has(const struct name_set *set, const char *name)
{
    name = name ? name : "";
    return set->map.capacity ? map_has(&set->map, name) : set->first && strcmp(set->first, name) == 0;
}

bool name_set_add_format(struct name_set *set, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    int n = vasprintf(&text, format, list);
    va_end(list);
    if (n < 0)
        return true;
    /* The text does not stay, so even the first one goes into the map. */
    set->first = set->first ? set->first : "";
    bool added = !map_set(&set->map, text, &present);
    cleanup_free_pointer(&text);
    return added;
}

void name_set_free(struct name_set *set)
{
    map_free(&set->map);
    set->first = NULL;
}
