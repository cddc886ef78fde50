#include "server/stream/terminal_size.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The number behind "name": in any case, as Go reads it; 0 when there is none that fits. */
static uint16_t number(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = text; (at = strchr(at, '"')); at++) {
        if (strncasecmp(at + 1, name, n) != 0 || at[n + 1] != '"')
            continue;
        const char *value = at + n + 2;
        value += strspn(value, " \t\r\n");
        if (*value != ':')
            continue;
        value++;
        value += strspn(value, " \t\r\n");
        unsigned long parsed = *value >= '0' && *value <= '9' ? strtoul(value, NULL, 10) : 0;
        return parsed <= UINT16_MAX ? (uint16_t)parsed : 0;
    }
    return 0;
}

bool terminal_size_read(struct terminal_size_reader *r, const char **data, size_t *size, uint16_t *columns,
                        uint16_t *rows)
{
    while (*size) {
        char c = **data;
        ++*data;
        --*size;
        if (r->size < TERMINAL_SIZE_TEXT_MAX)
            r->text[r->size++] = c;
        else
            r->too_long = true;
        if (c != '}')
            continue;
        r->text[r->size] = 0;
        *columns = number(r->text, "Width");
        *rows = number(r->text, "Height");
        bool good = !r->too_long && *columns && *rows;
        r->size = 0;
        r->too_long = false;
        if (good)
            return true;
    }
    return false;
}
