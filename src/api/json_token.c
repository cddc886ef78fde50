/* Tokens of JSON, and the scratch memory of a decode. */
#include <errno.h>
#include <stdlib.h>

#include "api/json_decoder.h"
#include "base/cleanup.h"

void *json_scratch_take(struct json_decoder *d, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct json_scratch *b = d->scratch;
    if (b->size - b->used < size) {
        size_t want = b->size * 2 > size ? b->size * 2 : size;
        b = mem_alloc(sizeof(*b) + want);
        b->previous = d->scratch;
        b->size = want;
        b->used = 0;
        d->scratch = b;
    }
    void *p = (char *)b->data + b->used;
    b->used += size;
    return memset(p, 0, size);
}

/* Gives back everything taken since `used` of `block` was noted. */
void json_scratch_release(struct json_decoder *d, const struct json_scratch *block, size_t used)
{
    while (d->scratch != block) {
        struct json_scratch *previous = d->scratch->previous;
        free(d->scratch);
        d->scratch = previous;
    }
    d->scratch->used = used;
}

/* A zeroed element behind *tail, within the limit on memory; NULL with d->fatal set beyond it. */
void *json_element_new(struct json_decoder *d, struct json_element ***tail, size_t size)
{
    d->memory += size;
    if (d->memory > d->memory_max) {
        error_set(&d->fatal, E2BIG, "the object takes more than %d MiB of memory", JSON_MEMORY_MAX >> 20);
        return NULL;
    }
    struct json_element *e = json_scratch_take(d, sizeof(*e) + size);
    **tail = e;
    *tail = &e->next;
    return e->value;
}

int json_read_text(struct json_decoder *d, struct json_slice *out)
{
    if (json_decoder_string(d, out) < 0)
        return -1;
    if (out->data == d->text.data && memchr(out->data, 0, out->size))
        return error_set(&d->fatal, EINVAL, "strings with a NUL character are not supported");
    return 0;
}

static inline bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

int json_read_number(struct json_decoder *d, struct json_slice *out)
{
    const char *p = d->p;
    if (p < d->end && *p == '-')
        p++;
    if (!is_digit(p, d->end))
        return json_syntax();
    if (*p++ != '0')
        while (is_digit(p, d->end))
            p++;
    if (p < d->end && *p == '.') {
        p++;
        if (!is_digit(p, d->end))
            return json_syntax();
        while (is_digit(p, d->end))
            p++;
    }
    if (p < d->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < d->end && (*p == '+' || *p == '-'))
            p++;
        if (!is_digit(p, d->end))
            return json_syntax();
        while (is_digit(p, d->end))
            p++;
    }
    *out = (struct json_slice){d->p, (size_t)(p - d->p)};
    d->p = p;
    return 0;
}

int json_read_literal(struct json_decoder *d)
{
    static const char *const literals[] = {"true", "false", "null"};
    for (size_t i = 0; i < ARRAY_COUNT(literals); i++) {
        size_t n = strlen(literals[i]);
        if ((size_t)(d->end - d->p) >= n && memcmp(d->p, literals[i], n) == 0) {
            d->p += n;
            return 0;
        }
    }
    return json_syntax();
}

/* Passes over one value. */
int json_skip_value(struct json_decoder *d)
{
    struct json_slice ignored;
    if (d->p >= d->end)
        return json_syntax();
    char open = *d->p;
    if (open == '"') {
        d->p++;
        return json_decoder_string(d, &ignored);
    }
    if (open == '-' || (open >= '0' && open <= '9'))
        return json_read_number(d, &ignored);
    if (open != '{' && open != '[')
        return json_read_literal(d);
    if (json_enter(d) < 0)
        return -1;
    char close = open == '{' ? '}' : ']';
    d->p++;
    json_skip_blanks(d);
    if (d->p < d->end && *d->p == close) {
        d->p++;
        d->depth--;
        return 0;
    }
    for (;;) {
        if (open == '{') {
            if (d->p >= d->end || *d->p++ != '"' || json_decoder_string(d, &ignored) < 0)
                return json_syntax();
            json_skip_blanks(d);
            if (d->p >= d->end || *d->p++ != ':')
                return json_syntax();
            json_skip_blanks(d);
        }
        if (json_skip_value(d) < 0)
            return -1;
        json_skip_blanks(d);
        if (d->p >= d->end)
            return json_syntax();
        char c = *d->p++;
        if (c == close)
            break;
        if (c != ',')
            return json_syntax();
        json_skip_blanks(d);
    }
    d->depth--;
    return 0;
}
