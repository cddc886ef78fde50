/* YAML into JSON: libyaml's events become a tree of nodes in an arena, in which aliases point to what they name,
 * and the tree is written as JSON. */
#include "api/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#include "api/field_error.h"
#include "api/json.h"
#include "api/json_text.h"
#include "api/yaml_scalar.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/encode.h"
#include "base/map.h"
#include "base/vector.h"

#define TAG_PREFIX "tag:yaml.org,2002:"

enum node_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct node {
    enum node_kind kind;
    bool plain;      /* a scalar without quotes */
    bool writing;    /* to find anchors that contain themselves */
    size_t line;     /* from 1 */
    const char *tag; /* NULL: none */
    const char *text;
    size_t size;
    struct node **items; /* keys and values in turn for a mapping */
    size_t count;
};

struct yaml_reader {
    yaml_parser_t parser;
    bool failed;
};

struct composer {
    yaml_parser_t *parser;
    struct arena *arena;
    struct map anchors;
    size_t count;
    int depth;
    struct error *err;
};

/* A member of a JSON object before repeated keys are dropped. */
struct pair {
    const char *key;
    const struct node *key_node;
    struct node *value;
    size_t index;
};

struct writer {
    struct arena *arena;
    struct buffer *json;
    size_t start;
    int depth;
    size_t visits;
    VECTOR(const struct pair *) duplicates; /* in the arena; the later ones of two */
    struct error *err;
};

typedef VECTOR(struct pair) pair_vector;

static int fails(struct error *err, size_t line, const char *text)
{
    if (line)
        return error_set(err, EBADMSG, "yaml: line %zu: %s", line, text);
    return error_set(err, EBADMSG, "yaml: %s", text);
}

static int parser_failed(const yaml_parser_t *parser, struct error *err)
{
    size_t line = parser->problem_mark.line;
    if (line)
        line += parser->error == YAML_SCANNER_ERROR;
    else
        line = parser->context_mark.line;
    return fails(err, line, parser->problem ? parser->problem : "unknown problem parsing YAML content");
}

static int next_event(struct composer *c, yaml_event_t *event)
{
    return yaml_parser_parse(c->parser, event) ? 0 : parser_failed(c->parser, c->err);
}

static const char *copy_text(struct composer *c, const yaml_char_t *text)
{
    return text ? arena_string(c->arena, (const char *)text) : NULL;
}

/* A node for the start event of what it holds, known by its anchor from now on. */
static struct node *node_new(struct composer *c, enum node_kind kind, const yaml_event_t *event,
                             const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct node *n = arena_alloc(c->arena, sizeof(*n));
    n->kind = kind;
    n->line = event->start_mark.line + 1;
    n->tag = copy_text(c, tag);
    if (anchor)
        map_set(&c->anchors, (const char *)anchor, n);
    return n;
}

static struct node *compose(struct composer *c, yaml_event_t *event);

/* The children up to the end event. */
static int compose_children(struct composer *c, struct node *n, yaml_event_type_t end)
{
    VECTOR(struct node *) items = {0};
    int result = 0;
    if (++c->depth > JSON_DEPTH_MAX)
        return fails(c->err, n->line, "exceeded max depth");
    for (;;) {
        yaml_event_t event;
        if (next_event(c, &event) < 0) {
            result = -1;
            break;
        }
        if (event.type == end) {
            yaml_event_delete(&event);
            break;
        }
        struct node *child = compose(c, &event);
        yaml_event_delete(&event);
        if (!child) {
            result = -1;
            break;
        }
        vector_push(&items, child);
    }
    n->count = items.count;
    n->items = arena_copy(c->arena, items.items, items.count * sizeof(*items.items));
    vector_free(&items);
    c->depth--;
    return result;
}

/* The node that begins with the event; NULL with err filled: it is not right. */
static struct node *compose(struct composer *c, yaml_event_t *event)
{
    struct node *n;
    if (++c->count > YAML_VALUE_MAX) {
        error_set(c->err, E2BIG, "yaml: the document has more than %d values", YAML_VALUE_MAX);
        return NULL;
    }
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        n = map_get(&c->anchors, (const char *)event->data.alias.anchor);
        if (!n)
            error_set(c->err, EBADMSG, "yaml: unknown anchor '%s' referenced", (const char *)event->data.alias.anchor);
        return n;
    case YAML_SCALAR_EVENT:
        n = node_new(c, NODE_SCALAR, event, event->data.scalar.anchor, event->data.scalar.tag);
        n->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        n->size = event->data.scalar.length;
        n->text = arena_string_n(c->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
        return n;
    case YAML_SEQUENCE_START_EVENT:
        n = node_new(c, NODE_SEQUENCE, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return compose_children(c, n, YAML_SEQUENCE_END_EVENT) < 0 ? NULL : n;
    case YAML_MAPPING_START_EVENT:
        n = node_new(c, NODE_MAPPING, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return compose_children(c, n, YAML_MAPPING_END_EVENT) < 0 ? NULL : n;
    default:
        fails(c->err, event->start_mark.line + 1, "unexpected event");
        return NULL;
    }
}

/* "!!name" is spelled out by libyaml. */
static bool has_tag(const struct node *n, const char *name)
{
    return n->tag && strncmp(n->tag, TAG_PREFIX, strlen(TAG_PREFIX)) == 0 &&
           strcmp(n->tag + strlen(TAG_PREFIX), name) == 0;
}

/* Whether what the scalar resolved to is what its tag says. */
static bool fits_tag(const struct node *n, const struct yaml_scalar *value)
{
    bool integer = value->kind == YAML_INT || value->kind == YAML_UINT;
    return (has_tag(n, "int") && integer) || (has_tag(n, "float") && (integer || value->kind == YAML_FLOAT)) ||
           (has_tag(n, "bool") && value->kind == YAML_BOOL) || (has_tag(n, "null") && value->kind == YAML_NULL) ||
           (has_tag(n, "merge") && value->kind == YAML_MERGE);
}

static int resolve(struct writer *w, const struct node *n, struct yaml_scalar *value)
{
    static const char *const resolved_tags[] = {"int", "float", "bool", "null", "merge"};
    *value = (struct yaml_scalar){YAML_STRING};
    if (!n->tag) {
        if (n->plain && strlen(n->text) == n->size)
            *value = yaml_resolve(n->text);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(resolved_tags); i++) {
        if (!has_tag(n, resolved_tags[i]))
            continue;
        *value = yaml_resolve(n->text);
        if (fits_tag(n, value))
            return 0;
        return error_set(w->err, EBADMSG, "yaml: line %zu: cannot decode !!str `%.40s` as a !!%s", n->line, n->text,
                         resolved_tags[i]);
    }
    return 0;
}

static int write_string(struct writer *w, const struct node *n)
{
    const char *text = n->text;
    size_t size = n->size;
    if (has_tag(n, "binary")) {
        unsigned char *data = arena_alloc(w->arena, size / 4 * 3 + 4);
        ssize_t decoded = base64_decode(text, size, data);
        if (decoded < 0)
            return fails(w->err, n->line, "!!binary value contains invalid base64 data");
        text = (const char *)data;
        size = (size_t)decoded;
    }
    if (memchr(text, 0, size))
        return fails(w->err, n->line, "strings with a NUL character are not supported");
    json_encode_string(w->json, arena_string_n(w->arena, text, size));
    return 0;
}

static int write_scalar(struct writer *w, const struct node *n)
{
    struct yaml_scalar value;
    if (resolve(w, n, &value) < 0)
        return -1;
    switch (value.kind) {
    case YAML_NULL:
        buffer_add_string(w->json, "null");
        return 0;
    case YAML_BOOL:
        buffer_add_string(w->json, value.boolean ? "true" : "false");
        return 0;
    case YAML_INT:
        buffer_printf(w->json, "%lld", (long long)value.number);
        return 0;
    case YAML_UINT:
        buffer_printf(w->json, "%llu", (unsigned long long)value.large);
        return 0;
    case YAML_FLOAT:
        if (!isfinite(value.real))
            return error_set(w->err, EBADMSG, "json: unsupported value: %s",
                             isnan(value.real) ? "NaN"
                             : value.real > 0  ? "+Inf"
                                               : "-Inf");
        json_encode_double(w->json, value.real);
        return 0;
    case YAML_STRING:
    case YAML_MERGE:
        break;
    }
    return write_string(w, n);
}

/* The JSON key of a mapping's key. */
static int write_key(struct writer *w, const struct node *n, const char **key)
{
    struct yaml_scalar value;
    cleanup_buffer struct buffer number = {0};
    if (n->kind != NODE_SCALAR)
        return error_set(w->err, EBADMSG, "yaml: line %zu: invalid map key: a %s", n->line,
                         n->kind == NODE_MAPPING ? "map" : "list");
    if (resolve(w, n, &value) < 0)
        return -1;
    switch (value.kind) {
    case YAML_NULL:
        return error_set(w->err, EBADMSG, "unsupported map key of type: %%!s(<nil>), on line %zu", n->line);
    case YAML_BOOL:
        *key = value.boolean ? "true" : "false";
        return 0;
    case YAML_INT:
        *key = arena_printf(w->arena, "%lld", (long long)value.number);
        return 0;
    case YAML_UINT:
        *key = arena_printf(w->arena, "%llu", (unsigned long long)value.large);
        return 0;
    case YAML_FLOAT:
        if (!isfinite(value.real)) {
            *key = isnan(value.real) ? ".nan" : value.real > 0 ? ".inf" : "-.inf";
            return 0;
        }
        json_encode_double(&number, value.real);
        *key = arena_string(w->arena, number.data);
        return 0;
    case YAML_STRING:
    case YAML_MERGE:
        break;
    }
    if (memchr(n->text, 0, n->size))
        return fails(w->err, n->line, "strings with a NUL character are not supported");
    *key = n->text;
    return 0;
}

static int collect(struct writer *w, struct node *mapping, pair_vector *pairs);

/* What "<<" names: a mapping, or a list of them, of which the first counts most. */
static int collect_merged(struct writer *w, struct node *value, pair_vector *pairs)
{
    static const char wrong[] = "map merge requires map or sequence of maps as the value";
    if (value->kind == NODE_MAPPING)
        return collect(w, value, pairs);
    if (value->kind != NODE_SEQUENCE)
        return fails(w->err, 0, wrong);
    for (size_t i = value->count; i-- > 0;) {
        if (value->items[i]->kind != NODE_MAPPING)
            return fails(w->err, 0, wrong);
        if (collect(w, value->items[i], pairs) < 0)
            return -1;
    }
    return 0;
}

/* Counts the work that aliases can multiply. */
static int visit(struct writer *w)
{
    if (++w->visits > YAML_VALUE_MAX || w->json->size - w->start > YAML_JSON_MAX)
        return fails(w->err, 0, "document contains excessive aliasing");
    return 0;
}

/* All pairs of a mapping in the order in which they are set. */
static int collect(struct writer *w, struct node *mapping, pair_vector *pairs)
{
    if (mapping->writing)
        return fails(w->err, mapping->line, "anchor value contains itself");
    mapping->writing = true;
    for (size_t i = 0; i + 1 < mapping->count; i += 2) {
        struct node *key = mapping->items[i], *value = mapping->items[i + 1];
        bool merge =
            key->kind == NODE_SCALAR && strcmp(key->text, "<<") == 0 && (key->tag ? has_tag(key, "merge") : key->plain);
        struct pair pair = {.key_node = key, .value = value, .index = pairs->count};
        if (visit(w) < 0 || (merge ? collect_merged(w, value, pairs) : write_key(w, key, &pair.key)) < 0)
            return -1;
        if (!merge)
            vector_push(pairs, pair);
    }
    mapping->writing = false;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->index < y->index ? -1 : 1;
}

static void note_duplicate(struct writer *w, const struct pair *pair)
{
    if (w->duplicates.count < YAML_DUPLICATE_MAX)
        vector_push(&w->duplicates, (const struct pair *)arena_copy(w->arena, pair, sizeof(*pair)));
}

static int by_line(const void *a, const void *b)
{
    const struct pair *const *x = a, *const *y = b;
    size_t i = (*x)->key_node->line, k = (*y)->key_node->line;
    return i < k ? -1 : i > k;
}

static void report_duplicates(struct writer *w, struct buffer *out)
{
    if (!w->duplicates.count)
        return;
    qsort(w->duplicates.items, w->duplicates.count, sizeof(*w->duplicates.items), by_line);
    buffer_add_string(out, YAML_DUPLICATES_HEAD);
    for (size_t i = 0; i < w->duplicates.count; i++) {
        const struct pair *pair = w->duplicates.items[i];
        buffer_printf(out, "\n  line %zu: key ", pair->key_node->line);
        go_quote(out, pair->key);
        buffer_add_string(out, " already set in map");
    }
}

static int write_node(struct writer *w, struct node *n);

static int write_pairs(struct writer *w, struct node *mapping, pair_vector *pairs)
{
    if (collect(w, mapping, pairs) < 0)
        return -1;
    mapping->writing = true;
    if (pairs->count)
        qsort(pairs->items, pairs->count, sizeof(*pairs->items), by_key);
    buffer_add_char(w->json, '{');
    for (size_t i = 0, written = 0; i < pairs->count; i++) {
        struct pair *pair = &pairs->items[i];
        if (i + 1 < pairs->count && strcmp(pair->key, pair[1].key) == 0) {
            note_duplicate(w, &pair[1]);
            continue;
        }
        if (written++)
            buffer_add_char(w->json, ',');
        json_encode_string(w->json, pair->key);
        buffer_add_char(w->json, ':');
        if (write_node(w, pair->value) < 0)
            return -1;
    }
    buffer_add_char(w->json, '}');
    mapping->writing = false;
    return 0;
}

static int write_mapping(struct writer *w, struct node *n)
{
    pair_vector pairs = {0};
    int result = write_pairs(w, n, &pairs);
    vector_free(&pairs);
    return result;
}

static int write_sequence(struct writer *w, struct node *n)
{
    n->writing = true;
    buffer_add_char(w->json, '[');
    for (size_t i = 0; i < n->count; i++) {
        if (i)
            buffer_add_char(w->json, ',');
        if (write_node(w, n->items[i]) < 0)
            return -1;
    }
    buffer_add_char(w->json, ']');
    n->writing = false;
    return 0;
}

static int write_node(struct writer *w, struct node *n)
{
    if (visit(w) < 0)
        return -1;
    if (n->kind == NODE_SCALAR)
        return write_scalar(w, n);
    if (n->writing)
        return fails(w->err, n->line, "anchor value contains itself");
    if (++w->depth > JSON_DEPTH_MAX)
        return fails(w->err, n->line, "exceeded max depth");
    int result = n->kind == NODE_MAPPING ? write_mapping(w, n) : write_sequence(w, n);
    w->depth--;
    return result;
}

/* Reads the document behind its start event. */
static int read_document(yaml_parser_t *parser, struct buffer *json, struct buffer *duplicates, struct error *err)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct composer c = {.parser = parser, .arena = arena, .err = err};
    struct writer w = {.arena = arena, .json = json, .start = json->size, .err = err};
    yaml_event_t event;
    if (next_event(&c, &event) < 0)
        return -1;
    struct node *root = compose(&c, &event);
    yaml_event_delete(&event);
    map_free(&c.anchors);
    int result = !root || write_node(&w, root) < 0 || next_event(&c, &event) < 0 ? -1 : 0;
    if (result == 0) {
        yaml_event_delete(&event); /* the end of the document */
        if (duplicates)
            report_duplicates(&w, duplicates);
    }
    vector_free(&w.duplicates);
    return result;
}

struct yaml_reader *yaml_reader_new(const char *text, size_t size)
{
    struct yaml_reader *reader = mem_zero(1, sizeof(*reader));
    reader->failed = !yaml_parser_initialize(&reader->parser);
    if (!reader->failed) {
        yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, size);
    }
    return reader;
}

void yaml_reader_free(struct yaml_reader *reader)
{
    if (!reader)
        return;
    yaml_parser_delete(&reader->parser);
    free(reader);
}

int yaml_reader_next(struct yaml_reader *reader, struct buffer *json, struct buffer *duplicates, struct error *err)
{
    while (!reader->failed) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) {
            reader->failed = true;
            return parser_failed(&reader->parser, err);
        }
        yaml_event_type_t type = event.type;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return 0;
        if (type != YAML_DOCUMENT_START_EVENT)
            continue;
        if (read_document(&reader->parser, json, duplicates, err) == 0)
            return 1;
        reader->failed = true;
        return -1;
    }
    return error_set(err, EBADMSG, "yaml: the text could not be read");
}

int yaml_to_json(const char *text, size_t size, struct buffer *json, struct buffer *duplicates, struct error *err)
{
    struct yaml_reader *reader = yaml_reader_new(text, size);
    int r = yaml_reader_next(reader, json, duplicates, err);
    if (r == 0)
        buffer_add_string(json, "null");
    yaml_reader_free(reader);
    return r < 0 ? -1 : 0;
}
