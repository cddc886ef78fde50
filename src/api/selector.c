/* Label selectors: grammar, matching, text. The lexer and the parser follow apimachinery's labels package token
 * by token, since its messages name the token that it did not expect. */
#include "api/selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/format.h"
#include "api/types.h"
#include "base/buffer.h"
#include "base/vector.h"

enum operator{
    OP_IN,
    OP_NOT_IN,
    OP_EQUALS,
    OP_DOUBLE_EQUALS,
    OP_NOT_EQUALS,
    OP_GREATER,
    OP_LESS,
    OP_EXISTS,
    OP_ABSENT
};

struct requirement {
    const char *key;
    enum operator operator;
    struct string_array values; /* sorted, each once */
};

struct selector {
    struct requirement *items; /* sorted by key */
    size_t count;
    bool nothing;
};

enum token {
    TOKEN_END,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_NOT,
    TOKEN_DOUBLE_EQUALS,
    TOKEN_EQUALS,
    TOKEN_GREATER,
    TOKEN_IDENTIFIER,
    TOKEN_IN,
    TOKEN_LESS,
    TOKEN_NOT_EQUALS,
    TOKEN_NOT_IN,
    TOKEN_OPEN,
};

struct word {
    const char *text;
    enum token token;
};

/* Longest first where one is the start of another. */
static const struct word symbols[] = {
    {"==", TOKEN_DOUBLE_EQUALS}, {"!=", TOKEN_NOT_EQUALS}, {"=", TOKEN_EQUALS},  {"!", TOKEN_NOT},  {"(", TOKEN_OPEN},
    {")", TOKEN_CLOSE},          {",", TOKEN_COMMA},       {">", TOKEN_GREATER}, {"<", TOKEN_LESS},
};

/* What stands between a key and its values. */
static const struct {
    enum token token;
    enum operator operator;
    const char *text;
} binary_operators[] = {
    {TOKEN_IN, OP_IN, " in "},
    {TOKEN_NOT_IN, OP_NOT_IN, " notin "},
    {TOKEN_EQUALS, OP_EQUALS, "="},
    {TOKEN_DOUBLE_EQUALS, OP_DOUBLE_EQUALS, "=="},
    {TOKEN_NOT_EQUALS, OP_NOT_EQUALS, "!="},
    {TOKEN_GREATER, OP_GREATER, ">"},
    {TOKEN_LESS, OP_LESS, "<"},
};

struct parser {
    struct arena *arena;
    const char *rest;
    enum token token; /* the next one */
    const char *text; /* of it */
    struct error *err;
};

/* Reads the next token. */
static void advance(struct parser *p)
{
    p->rest += strspn(p->rest, " \t\r\n");
    size_t n = strcspn(p->rest, "=!(),>< \t\r\n");
    p->token = TOKEN_END;
    for (size_t i = 0; !n && *p->rest && i < ARRAY_COUNT(symbols); i++) {
        size_t length = strlen(symbols[i].text);
        if (strncmp(p->rest, symbols[i].text, length) == 0) {
            p->token = symbols[i].token;
            p->text = symbols[i].text;
            p->rest += length;
            return;
        }
    }
    p->text = arena_string_n(p->arena, p->rest, n);
    p->rest += n;
    if (n)
        p->token = strcmp(p->text, "in") == 0      ? TOKEN_IN
                   : strcmp(p->text, "notin") == 0 ? TOKEN_NOT_IN
                                                   : TOKEN_IDENTIFIER;
}

/* Where a value may stand, "in" and "notin" are values. */
static enum token value_token(const struct parser *p)
{
    return p->token == TOKEN_IN || p->token == TOKEN_NOT_IN ? TOKEN_IDENTIFIER : p->token;
}

static int found(const struct parser *p, const char *expected)
{
    return error_set(p->err, EINVAL, "found '%s', expected: %s", p->text, expected);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the values and drops repeated ones. */
static struct string_array make_set(struct arena *arena, const char *const *values, size_t count)
{
    struct string_array set = {arena_copy(arena, values, count * sizeof(*values)), count};
    qsort(set.items, count, sizeof(*set.items), by_text);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!i || strcmp(set.items[i], set.items[kept - 1]) != 0)
            set.items[kept++] = set.items[i];
    set.count = kept;
    return set;
}

/* Adds `path: Invalid value: "value": problem; problem` to the aggregate, once. */
static void add_invalid(struct buffer *all, const char *path, const char *value, const char *detail)
{
    cleanup_buffer struct buffer one = {0};
    buffer_printf(&one, "%s: Invalid value: ", path);
    go_quote(&one, value);
    buffer_printf(&one, ": %s", detail);
    if (all->size && strstr(all->data, one.data))
        return;
    if (all->size)
        buffer_add_string(all, ", ");
    buffer_add(all, one.data, one.size);
}

static void join_problems(const struct format_problems *problems, struct buffer *out)
{
    for (size_t i = 0; i < problems->count; i++)
        buffer_printf(out, "%s%s", i ? "; " : "", problems->items[i]);
}

static bool is_integer(const char *text, int64_t *value)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (!*p || strspn(p, "0123456789") != strlen(p))
        return false;
    errno = 0;
    *value = strtoll(text, NULL, 10);
    return errno == 0;
}

static const char *join_values(struct arena *arena, const struct string_array *values)
{
    cleanup_buffer struct buffer text = {0};
    buffer_add_char(&text, '[');
    for (size_t i = 0; i < values->count; i++) {
        if (i)
            buffer_add_char(&text, ',');
        go_quote(&text, values->items[i]);
    }
    buffer_add_char(&text, ']');
    return arena_string(arena, text.data);
}

/* How many values an operator takes. */
static const char *count_problem(enum operator operator, size_t count)
{
    switch (operator) {
    case OP_IN:
    case OP_NOT_IN:
        return count ? NULL : "for 'in', 'notin' operators, values set can't be empty";
    case OP_EQUALS:
    case OP_DOUBLE_EQUALS:
    case OP_NOT_EQUALS:
        return count == 1 ? NULL : "exact-match compatibility requires one single value";
    case OP_EXISTS:
    case OP_ABSENT:
        return count ? "values set must be empty for exists and does not exist" : NULL;
    case OP_GREATER:
    case OP_LESS:
        break;
    }
    return count == 1 ? NULL : "for 'Gt', 'Lt' operators, exactly one value is required";
}

/* Checks key and values as labels.NewRequirement does. */
static int check_requirement(struct arena *arena, const struct requirement *r, struct error *err)
{
    cleanup_buffer struct buffer all = {0};
    struct format_problems problems = {0};
    format_qualified_name(r->key, &problems);
    if (problems.count) {
        cleanup_buffer struct buffer detail = {0};
        join_problems(&problems, &detail);
        add_invalid(&all, "key", r->key, detail.data);
    }
    const char *wrong = count_problem(r->operator, r->values.count);
    if (wrong) {
        if (all.size)
            buffer_add_string(&all, ", ");
        buffer_printf(&all, "values: Invalid value: %s: %s", join_values(arena, &r->values), wrong);
    }
    for (size_t i = 0; i < r->values.count; i++) {
        const char *value = r->values.items[i];
        int64_t ignored;
        if ((r->operator== OP_GREATER || r->operator== OP_LESS) && !is_integer(value, &ignored))
            add_invalid(&all, arena_printf(arena, "values[%zu]", i), value,
                        "for 'Gt', 'Lt' operators, the value must be an integer");
    }
    for (size_t i = 0; i < r->values.count; i++) {
        problems.count = 0;
        format_label_value(r->values.items[i], &problems);
        if (!problems.count)
            continue;
        cleanup_buffer struct buffer detail = {0};
        join_problems(&problems, &detail);
        add_invalid(&all, arena_printf(arena, "values[%zu][%s]", i, r->key), r->values.items[i], detail.data);
    }
    if (!all.size)
        return 0;
    bool several = strstr(all.data, ", values") != NULL;
    return error_set(err, EINVAL, several ? "[%s]" : "%s", all.data);
}

static int parse_key(struct parser *p, struct requirement *r)
{
    bool absent = value_token(p) == TOKEN_NOT;
    if (absent)
        advance(p);
    if (value_token(p) != TOKEN_IDENTIFIER)
        return found(p, "identifier");
    struct format_problems problems = {0};
    format_qualified_name(p->text, &problems);
    if (problems.count) {
        cleanup_buffer struct buffer detail = {0}, text = {0};
        join_problems(&problems, &detail);
        add_invalid(&text, "<nil>", p->text, detail.data);
        return error_set(p->err, EINVAL, "%s", text.data);
    }
    r->key = p->text;
    advance(p);
    bool alone = p->token == TOKEN_END || p->token == TOKEN_COMMA;
    r->operator= absent ? OP_ABSENT : alone ? OP_EXISTS : OP_EQUALS;
    return absent || alone ? 0 : 1;
}

static int parse_operator(struct parser *p, struct requirement *r)
{
    for (size_t i = 0; i < ARRAY_COUNT(binary_operators); i++) {
        if (binary_operators[i].token == p->token) {
            r->operator= binary_operators[i].operator;
            advance(p);
            return 0;
        }
    }
    return found(p, "in, notin, =, ==, !=, gt, lt");
}

/* "(a,b)"; a missing value is an empty one. */
static int parse_values(struct parser *p, struct requirement *r)
{
    VECTOR(const char *) values = {0};
    int result = 0;
    if (p->token != TOKEN_OPEN)
        return error_set(p->err, EINVAL, "found '%s' expected: '('", p->text);
    advance(p);
    if (p->token != TOKEN_CLOSE && p->token != TOKEN_COMMA && value_token(p) != TOKEN_IDENTIFIER)
        return found(p, "',', ')' or identifier");
    if (p->token == TOKEN_CLOSE)
        vector_push(&values, "");
    while (result == 0 && p->token != TOKEN_CLOSE) {
        if (value_token(p) == TOKEN_IDENTIFIER) {
            vector_push(&values, p->text);
            advance(p);
            if (p->token != TOKEN_COMMA && p->token != TOKEN_CLOSE)
                result = found(p, "',' or ')'");
        } else if (p->token == TOKEN_COMMA) {
            if (!values.count)
                vector_push(&values, "");
            advance(p);
            if (p->token == TOKEN_CLOSE || p->token == TOKEN_COMMA)
                vector_push(&values, "");
        } else {
            result = found(p, "',', or identifier");
        }
    }
    if (result == 0) {
        advance(p);
        r->values = make_set(p->arena, values.items, values.count);
    }
    vector_free(&values);
    return result;
}

static int parse_exact_value(struct parser *p, struct requirement *r)
{
    const char *value = "";
    if (p->token != TOKEN_END && p->token != TOKEN_COMMA) {
        if (value_token(p) != TOKEN_IDENTIFIER)
            return found(p, "identifier");
        value = p->text;
        advance(p);
    }
    r->values = make_set(p->arena, &value, 1);
    return 0;
}

static int parse_requirement(struct parser *p, struct requirement *r)
{
    int has_values = parse_key(p, r);
    if (has_values < 0)
        return -1;
    if (has_values) {
        if (parse_operator(p, r) < 0)
            return -1;
        bool set = r->operator== OP_IN || r->operator== OP_NOT_IN;
        if ((set ? parse_values(p, r) : parse_exact_value(p, r)) < 0)
            return -1;
    }
    return check_requirement(p->arena, r, p->err);
}

/* By key; of equal keys the order stays. */
static void sort_requirements(struct requirement *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct requirement r = items[i];
        size_t at = i;
        for (; at > 0 && strcmp(items[at - 1].key, r.key) > 0; at--)
            items[at] = items[at - 1];
        items[at] = r;
    }
}

int selector_parse(struct arena *arena, const char *text, const struct selector **out, struct error *err)
{
    struct parser p = {.arena = arena, .rest = text, .err = err};
    VECTOR(struct requirement) items = {0};
    int result = 0;
    advance(&p);
    while (result == 0 && p.token != TOKEN_END) {
        struct requirement r = {0};
        if (value_token(&p) != TOKEN_IDENTIFIER && p.token != TOKEN_NOT) {
            result = found(&p, "!, identifier, or 'end of string'");
        } else if (items.count == SELECTOR_REQUIREMENT_MAX) {
            result = error_set(err, EINVAL, "more than %d requirements", SELECTOR_REQUIREMENT_MAX);
        } else if (parse_requirement(&p, &r) < 0) {
            result = error_wrap(err, "unable to parse requirement");
        } else {
            vector_push(&items, r);
            if (p.token == TOKEN_COMMA) {
                advance(&p);
                if (value_token(&p) != TOKEN_IDENTIFIER && p.token != TOKEN_NOT)
                    result = found(&p, "identifier after ','");
            } else if (p.token != TOKEN_END) {
                result = found(&p, "',' or 'end of string'");
            }
        }
    }
    if (result == 0) {
        struct selector *s = arena_alloc(arena, sizeof(*s));
        s->count = items.count;
        s->items = arena_copy(arena, items.items, items.count * sizeof(*items.items));
        sort_requirements(s->items, s->count);
        *out = s;
    }
    vector_free(&items);
    return result;
}

static const struct selector *make_nothing(struct arena *arena)
{
    struct selector *s = arena_alloc(arena, sizeof(*s));
    s->nothing = true;
    return s;
}

static int requirement_from_expression(struct arena *arena, const struct label_selector_requirement *from,
                                       struct requirement *to, struct error *err)
{
    static const struct {
        const char *name;
        enum operator operator;
    } operators[] = {{"In", OP_IN}, {"NotIn", OP_NOT_IN}, {"Exists", OP_EXISTS}, {"DoesNotExist", OP_ABSENT}};
    const char *name = from->operator? from->operator: "";
    to->key = from->key ? arena_string(arena, from->key) : "";
    const char **values = arena_alloc(arena, from->values.count * sizeof(*values));
    for (size_t i = 0; i < from->values.count; i++)
        values[i] = arena_string(arena, from->values.items[i] ? from->values.items[i] : "");
    to->values = make_set(arena, values, from->values.count);
    for (size_t i = 0; i < ARRAY_COUNT(operators); i++) {
        if (strcmp(operators[i].name, name) == 0) {
            to->operator= operators[i].operator;
            return check_requirement(arena, to, err);
        }
    }
    cleanup_buffer struct buffer quoted = {0};
    go_quote(&quoted, name);
    return error_set(err, EINVAL, "%s is not a valid label selector operator", quoted.data);
}

/* The requirements key=value of a map, at `to`. */
static void requirements_from_map(struct arena *arena, const struct string_map *map, struct requirement *to)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *value = arena_string(arena, map->items[i].value ? map->items[i].value : "");
        to[i].key = arena_string(arena, map->items[i].key);
        to[i].operator= OP_EQUALS;
        to[i].values = make_set(arena, &value, 1);
    }
}

int selector_from_label_selector(struct arena *arena, const struct label_selector *from, const struct selector **out,
                                 struct error *err)
{
    if (!from) {
        *out = make_nothing(arena);
        return 0;
    }
    size_t labels = from->match_labels.count, expressions = from->match_expressions.count;
    struct selector *s = arena_alloc(arena, sizeof(*s));
    s->count = labels + expressions;
    s->items = arena_alloc(arena, s->count * sizeof(*s->items));
    requirements_from_map(arena, &from->match_labels, s->items);
    for (size_t i = 0; i < labels; i++)
        if (check_requirement(arena, &s->items[i], err) < 0)
            return -1;
    for (size_t i = 0; i < expressions; i++)
        if (requirement_from_expression(arena, &from->match_expressions.items[i], &s->items[labels + i], err) < 0)
            return -1;
    sort_requirements(s->items, s->count);
    *out = s;
    return 0;
}

static bool expression_matches(const struct label_selector_requirement *r, const char *value)
{
    const char *operator= r->operator? r->operator: "";
    bool listed = false;
    for (size_t i = 0; value && i < r->values.count; i++)
        listed |= strcmp(r->values.items[i], value) == 0;
    if (strcmp(operator, "In") == 0)
        return listed;
    if (strcmp(operator, "NotIn") == 0)
        return !listed;
    if (strcmp(operator, "Exists") == 0)
        return value != NULL;
    return strcmp(operator, "DoesNotExist") == 0 && !value;
}

bool label_selector_matches(const struct label_selector *selector, const struct string_map *labels)
{
    if (!selector || !string_map_contains(labels, &selector->match_labels))
        return false;
    for (size_t i = 0; i < selector->match_expressions.count; i++) {
        const struct label_selector_requirement *r = &selector->match_expressions.items[i];
        if (!expression_matches(r, string_map_get(labels, r->key ? r->key : "")))
            return false;
    }
    return true;
}

const struct selector *selector_from_map(struct arena *arena, const struct string_map *map)
{
    if (!map || !map->count)
        return make_nothing(arena);
    struct selector *s = arena_alloc(arena, sizeof(*s));
    s->count = map->count;
    s->items = arena_alloc(arena, s->count * sizeof(*s->items));
    requirements_from_map(arena, map, s->items);
    return s;
}

static bool has_value(const struct requirement *r, const char *value)
{
    if (r->values.count == 1)
        return strcmp(r->values.items[0], value) == 0;
    return bsearch(&value, r->values.items, r->values.count, sizeof(*r->values.items), by_text) != NULL;
}

static bool requirement_matches(const struct requirement *r, const struct string_map *labels)
{
    const char *value = string_map_get(labels, r->key);
    int64_t left, right;
    switch (r->operator) {
    case OP_IN:
    case OP_EQUALS:
    case OP_DOUBLE_EQUALS:
        return value && has_value(r, value);
    case OP_NOT_IN:
    case OP_NOT_EQUALS:
        return !value || !has_value(r, value);
    case OP_EXISTS:
        return value;
    case OP_ABSENT:
        return !value;
    case OP_GREATER:
    case OP_LESS:
        break;
    }
    if (!value || !is_integer(value, &left) || !is_integer(r->values.items[0], &right))
        return false;
    return r->operator== OP_GREATER ? left > right : left<right;
}

bool selector_matches(const struct selector *selector, const struct string_map *labels)
{
    static const struct string_map none = {0};
    if (selector->nothing)
        return false;
    for (size_t i = 0; i < selector->count; i++)
        if (!requirement_matches(&selector->items[i], labels ? labels : &none))
            return false;
    return true;
}

bool selector_is_empty(const struct selector *selector)
{
    return !selector->nothing && !selector->count;
}

static void write_requirement(struct buffer *text, const struct requirement *r)
{
    if (r->operator== OP_ABSENT)
        buffer_add_char(text, '!');
    buffer_add_string(text, r->key);
    for (size_t i = 0; i < ARRAY_COUNT(binary_operators); i++)
        if (binary_operators[i].operator== r->operator)
            buffer_add_string(text, binary_operators[i].text);
    bool set = r->operator== OP_IN || r->operator== OP_NOT_IN;
    buffer_add_string(text, set ? "(" : "");
    for (size_t i = 0; i < r->values.count; i++)
        buffer_printf(text, "%s%s", i ? "," : "", r->values.items[i]);
    buffer_add_string(text, set ? ")" : "");
}

const char *selector_text(struct arena *arena, const struct selector *selector)
{
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < selector->count; i++) {
        if (i)
            buffer_add_char(&text, ',');
        write_requirement(&text, &selector->items[i]);
    }
    return arena_string_n(arena, text.data, text.size);
}
