/* JSON into YAML: libyaml's emitter is fed from the JSON text, without a tree in between.
 *
 * A first pass notes where each object and list ends, so that the members of an object are found, to be sorted, without
 * a look at what they hold: the time is linear in the text, whatever its depth. */
#include "api/yaml.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "api/json.h"
#include "api/json_text.h"
#include "api/yaml_scalar.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/vector.h"

/* Room for a number. */
#define NUMBER_MAX 64

/* An object or a list. */
struct container {
    size_t end;  /* behind its last byte */
    size_t next; /* the number of containers that begin before that */
};

/* A place in the text, and the container that begins next. */
struct place {
    const char *p;
    size_t container;
};

struct member {
    const char *key;
    size_t size;
    size_t index;
    struct place value;
};

struct yaml_writer {
    yaml_emitter_t emitter;
    struct arena *arena; /* keys that are not spelled in the text as they are */
    const char *json, *end;
    VECTOR(struct container) containers; /* in the order in which they begin */
    struct buffer text;                  /* of a string with escapes */
    struct buffer *yaml;
    size_t limit; /* of yaml->size */
};

/* ---- The first pass ---- */

/* Behind the string whose quote is at p. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\';
    return p + 1;
}

static void find_containers(struct yaml_writer *w)
{
    VECTOR(size_t) open = {0};
    for (const char *p = w->json; p < w->end;) {
        if (*p == '"') {
            p = string_end(p, w->end);
            continue;
        }
        if (*p == '{' || *p == '[') {
            vector_push(&open, w->containers.count);
            vector_push(&w->containers, (struct container){0});
        } else if (*p == '}' || *p == ']') {
            w->containers.items[open.items[--open.count]] =
                (struct container){.end = (size_t)(p + 1 - w->json), .next = w->containers.count};
        }
        p++;
    }
    vector_free(&open);
}

/* ---- Reading ---- */

static void skip_blanks(const struct yaml_writer *w, struct place *at)
{
    while (at->p < w->end && strchr(" \t\r\n", *at->p))
        at->p++;
}

static size_t scalar_size(const struct yaml_writer *w, const char *p)
{
    const char *from = p;
    while (p < w->end && !strchr(",]} \t\r\n", *p))
        p++;
    return (size_t)(p - from);
}

/* Passes over a value and the blanks behind it. */
static void skip_value(const struct yaml_writer *w, struct place *at)
{
    if (*at->p == '{' || *at->p == '[') {
        const struct container *c = &w->containers.items[at->container];
        *at = (struct place){w->json + c->end, c->next};
    } else if (*at->p == '"') {
        at->p = string_end(at->p, w->end);
    } else {
        at->p += scalar_size(w, at->p);
    }
    skip_blanks(w, at);
}

/* Enters a container; false: it is empty. */
static bool enter(const struct yaml_writer *w, struct place *at)
{
    at->p++;
    at->container++;
    skip_blanks(w, at);
    return *at->p != '}' && *at->p != ']';
}

/* Behind a value: whether there is another one, which *at is moved to. */
static bool advance(const struct yaml_writer *w, struct place *at)
{
    if (*at->p != ',')
        return false;
    at->p++;
    skip_blanks(w, at);
    return true;
}

/* ---- The order of keys, as go-yaml sorts them ---- */

static bool is_digit(const struct member *m, size_t i)
{
    return i < m->size && m->key[i] >= '0' && m->key[i] <= '9';
}

/* All that is not ASCII counts as a letter. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* The number at i goes on with a number that began before it. */
static bool continues_number(const struct member *m, size_t i)
{
    while (i-- > 0 && is_digit(m, i))
        if (m->key[i] != '0')
            return true;
    return false;
}

/* The number whose digits are at i, put behind `start`; *end: where they end. */
static int64_t number_at(const struct member *m, size_t i, int64_t start, size_t *end)
{
    uint64_t value = (uint64_t)start;
    for (; is_digit(m, i); i++)
        value = value * 10 + (uint64_t)(m->key[i] - '0');
    *end = i;
    return (int64_t)value;
}

/* By where the keys differ: what is no letter comes before letters, and digits count as numbers. */
static int by_difference(const struct member *a, const struct member *b, size_t i)
{
    char x = a->key[i], y = b->key[i];
    if (is_letter(x) != is_letter(y))
        return is_letter(x) ? 1 : -1;
    if (!is_letter(x)) {
        int64_t start = (x == '0' || y == '0') && continues_number(a, i);
        size_t a_end, b_end;
        int64_t m = number_at(a, i, start, &a_end), n = number_at(b, i, start, &b_end);
        if (m != n)
            return m < n ? -1 : 1;
        if (a_end != b_end)
            return a_end < b_end ? -1 : 1;
    }
    return (unsigned char)x < (unsigned char)y ? -1 : 1;
}

static int by_key(const void *left, const void *right)
{
    const struct member *a = left, *b = right;
    size_t common = a->size < b->size ? a->size : b->size;
    for (size_t i = 0; i < common; i++)
        if (a->key[i] != b->key[i])
            return by_difference(a, b, i);
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* ---- Writing ---- */

static int emit(struct yaml_writer *w, int made, yaml_event_t *event)
{
    return made && yaml_emitter_emit(&w->emitter, event) ? 0 : -1;
}

static int emit_scalar(struct yaml_writer *w, const char *text, size_t size, yaml_scalar_style_t style)
{
    yaml_event_t event;
    return emit(
        w, yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)size, true, true, style),
        &event);
}

/* A text of several lines is written as it is; of others, what would be read as something else is quoted. */
static int emit_string(struct yaml_writer *w, const char *text, size_t size)
{
    yaml_scalar_style_t style = memchr(text, '\n', size)        ? YAML_LITERAL_SCALAR_STYLE
                                : yaml_needs_quotes(text, size) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
                                                                : YAML_PLAIN_SCALAR_STYLE;
    return emit_scalar(w, text, size, style);
}

/* A number as go-yaml reads it, written as it writes it: strconv's format 'g' for what is no integer. */
static int emit_number(struct yaml_writer *w, const char *text, size_t size)
{
    cleanup_free char *spelled = mem_printf("%.*s", (int)size, text);
    struct yaml_scalar value = yaml_resolve(spelled);
    char out[NUMBER_MAX];
    int precision = 0;
    if (value.kind == YAML_INT) {
        snprintf(out, sizeof(out), "%lld", (long long)value.number);
    } else if (value.kind == YAML_UINT) {
        snprintf(out, sizeof(out), "%llu", (unsigned long long)value.large);
    } else if (value.kind == YAML_FLOAT) {
        do
            snprintf(out, sizeof(out), "%.*e", precision, value.real);
        while (strtod(out, NULL) != value.real && precision++ < 17);
        int exponent = atoi(strchr(out, 'e') + 1);
        if (exponent >= -4 && exponent < 6)
            snprintf(out, sizeof(out), "%.*f", precision > exponent ? precision - exponent : 0, value.real);
    } else {
        return emit_string(w, text, size);
    }
    return emit_scalar(w, out, strlen(out), YAML_PLAIN_SCALAR_STYLE);
}

static int emit_value(struct yaml_writer *w, struct place at);

static int emit_members(struct yaml_writer *w, struct member *members, size_t count)
{
    if (count)
        qsort(members, count, sizeof(*members), by_key);
    for (size_t i = 0; i < count; i++) {
        const struct member *m = &members[i];
        /* Of a repeated key the last one counts. */
        if (i + 1 < count && m[1].size == m->size && memcmp(m[1].key, m->key, m->size) == 0)
            continue;
        if (emit_string(w, m->key, m->size) < 0 || emit_value(w, m->value) < 0)
            return -1;
    }
    return 0;
}

static void read_key(struct yaml_writer *w, struct place *at, struct member *m)
{
    at->p++;
    if (json_read_string(&at->p, w->end, &w->text, &m->key, &m->size) == 0 && m->key == w->text.data)
        m->key = arena_string_n(w->arena, m->key, m->size);
    skip_blanks(w, at);
    at->p++; /* the colon */
    skip_blanks(w, at);
}

static int emit_object(struct yaml_writer *w, struct place at)
{
    VECTOR(struct member) members = {0};
    yaml_event_t event;
    if (emit(w, yaml_mapping_start_event_initialize(&event, NULL, NULL, true, YAML_BLOCK_MAPPING_STYLE), &event) < 0)
        return -1;
    for (bool more = enter(w, &at); more; more = advance(w, &at)) {
        struct member m = {.key = "", .index = members.count};
        read_key(w, &at, &m);
        m.value = at;
        vector_push(&members, m);
        skip_value(w, &at);
    }
    int result = emit_members(w, members.items, members.count);
    vector_free(&members);
    return result < 0 ? -1 : emit(w, yaml_mapping_end_event_initialize(&event), &event);
}

static int emit_list(struct yaml_writer *w, struct place at)
{
    yaml_event_t event;
    if (emit(w, yaml_sequence_start_event_initialize(&event, NULL, NULL, true, YAML_BLOCK_SEQUENCE_STYLE), &event) < 0)
        return -1;
    for (bool more = enter(w, &at); more; more = advance(w, &at)) {
        if (emit_value(w, at) < 0)
            return -1;
        skip_value(w, &at);
    }
    return emit(w, yaml_sequence_end_event_initialize(&event), &event);
}

static int emit_value(struct yaml_writer *w, struct place at)
{
    const char *text = "";
    size_t size = 0;
    switch (*at.p) {
    case '{':
        return emit_object(w, at);
    case '[':
        return emit_list(w, at);
    case '"':
        at.p++;
        return json_read_string(&at.p, w->end, &w->text, &text, &size) < 0 ? -1 : emit_string(w, text, size);
    case 't':
    case 'f':
    case 'n':
        return emit_scalar(w, at.p, scalar_size(w, at.p), YAML_PLAIN_SCALAR_STYLE);
    default:
        return emit_number(w, at.p, scalar_size(w, at.p));
    }
}

static int write_bytes(void *context, unsigned char *data, size_t size)
{
    struct yaml_writer *w = context;
    if (w->yaml->size + size > w->limit)
        return 0;
    buffer_add(w->yaml, data, size);
    return 1;
}

static int emit_document(struct yaml_writer *w)
{
    struct place at = {w->json, 0};
    yaml_event_t event;
    skip_blanks(w, &at);
    if (emit(w, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event) < 0 ||
        emit(w, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, true), &event) < 0 ||
        emit_value(w, at) < 0)
        return -1;
    if (emit(w, yaml_document_end_event_initialize(&event, true), &event) < 0)
        return -1;
    w->emitter.open_ended = 0; /* no "..." behind a text that ends in empty lines, as there is no second document */
    return emit(w, yaml_stream_end_event_initialize(&event), &event);
}

int json_to_yaml(const char *json, size_t size, struct buffer *yaml, struct error *err)
{
    struct yaml_writer w = {.json = json, .end = json + size, .yaml = yaml};
    w.limit = yaml->size + YAML_GROWTH_FREE + size * YAML_GROWTH_MAX;
    if (json_check_syntax(json, size, err) < 0)
        return -1;
    if (!yaml_emitter_initialize(&w.emitter))
        return error_set(err, ENOMEM, "no memory for YAML");
    yaml_emitter_set_output(&w.emitter, write_bytes, &w);
    yaml_emitter_set_unicode(&w.emitter, true);
    w.arena = arena_new(0);
    find_containers(&w);
    int result = emit_document(&w);
    if (result < 0 && w.emitter.error == YAML_WRITER_ERROR)
        error_set(err, E2BIG, "the YAML would be more than %d times as long as the JSON", YAML_GROWTH_MAX);
    else if (result < 0)
        error_set(err, EBADMSG, "cannot write YAML: %s", w.emitter.problem ? w.emitter.problem : "out of memory");
    yaml_emitter_delete(&w.emitter);
    arena_free(w.arena);
    vector_free(&w.containers);
    buffer_free(&w.text);
    return result;
}
