/* Texts as the API's types hold them, where NULL stands for "". No function here keeps or frees anything. */
#ifndef CORACLE_BASE_TEXT_H
#define CORACLE_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static inline bool text_empty(const char *text)
{
    return !text || !*text;
}

static inline bool text_equal(const char *a, const char *b)
{
    return strcmp(text_or_empty(a), text_or_empty(b)) == 0;
}

#endif
