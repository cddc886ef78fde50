/* The version 2 document as protobuf: gnostic's openapi_v2.Document. The messages that our documents use are
 * tables of (JSON key, field number, how it is encoded); whatever begins with "x-" is a vendor extension. */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/openapi.h"
#include "base/cleanup.h"

enum wire {
    WIRE_STRING,   /* also repeated, from an array */
    WIRE_BOOL,
    WIRE_MESSAGE,  /* also repeated, from an array */
    WIRE_NAMED,    /* an object as repeated {1: key, 2: message} */
    WIRE_NAMED_IN, /* the same, inside a message of its own, as its field 1 */
    WIRE_WRAPPED,  /* as WIRE_MESSAGE, inside a message of its own, as its field 1 */
    WIRE_TYPE,     /* a string as {1: string} */
    WIRE_ANY,      /* any value as {2: text} */
    WIRE_PARAMETER
};

struct member {
    const char *key; /* NULL ends a message */
    int number;
    enum wire wire;
    const struct member *message;
};

#define EXTENSIONS(number) {"x-", number, WIRE_NAMED, NULL}

static const struct member schema[] = {
    {"$ref", 1, WIRE_STRING, NULL},
    {"format", 2, WIRE_STRING, NULL},
    {"description", 4, WIRE_STRING, NULL},
    {"default", 5, WIRE_ANY, NULL},
    {"required", 19, WIRE_STRING, NULL},
    {"enum", 20, WIRE_ANY, NULL},
    {"additionalProperties", 21, WIRE_WRAPPED, schema},
    {"type", 22, WIRE_TYPE, NULL},
    {"items", 23, WIRE_WRAPPED, schema},
    {"properties", 25, WIRE_NAMED_IN, schema},
    EXTENSIONS(31),
    {0}};
static const struct member query_parameter[] = {
    {"required", 1, WIRE_BOOL, NULL},      {"in", 2, WIRE_STRING, NULL},   {"description", 3, WIRE_STRING, NULL},
    {"name", 4, WIRE_STRING, NULL},        {"type", 6, WIRE_STRING, NULL}, {0}};
static const struct member path_parameter[] = {
    {"required", 1, WIRE_BOOL, NULL},      {"in", 2, WIRE_STRING, NULL},   {"description", 3, WIRE_STRING, NULL},
    {"name", 4, WIRE_STRING, NULL},        {"type", 5, WIRE_STRING, NULL}, {0}};
static const struct member body_parameter[] = {{"description", 1, WIRE_STRING, NULL},
                                               {"name", 2, WIRE_STRING, NULL},
                                               {"in", 3, WIRE_STRING, NULL},
                                               {"required", 4, WIRE_BOOL, NULL},
                                               {"schema", 5, WIRE_MESSAGE, schema},
                                               {0}};
static const struct member response[] = {
    {"description", 1, WIRE_STRING, NULL}, {"schema", 2, WIRE_WRAPPED, schema}, {0}};
/* A response or a reference to one: the former is field 1. */
static const struct member response_value[] = {{"", 1, WIRE_MESSAGE, response}, {0}};
static const struct member operation[] = {
    {"description", 3, WIRE_STRING, NULL},
    {"operationId", 5, WIRE_STRING, NULL},
    {"produces", 6, WIRE_STRING, NULL},
    {"consumes", 7, WIRE_STRING, NULL},
    {"parameters", 8, WIRE_PARAMETER, NULL},
    {"responses", 9, WIRE_NAMED_IN, response_value},
    EXTENSIONS(13),
    {0}};
static const struct member path_item[] = {{"get", 2, WIRE_MESSAGE, operation},
                                          {"put", 3, WIRE_MESSAGE, operation},
                                          {"post", 4, WIRE_MESSAGE, operation},
                                          {"delete", 5, WIRE_MESSAGE, operation},
                                          {"patch", 8, WIRE_MESSAGE, operation},
                                          {"parameters", 9, WIRE_PARAMETER, NULL},
                                          {0}};
static const struct member info[] = {{"title", 1, WIRE_STRING, NULL}, {"version", 2, WIRE_STRING, NULL}, {0}};
static const struct member document[] = {{"swagger", 1, WIRE_STRING, NULL},
                                         {"info", 2, WIRE_MESSAGE, info},
                                         {"paths", 8, WIRE_NAMED_IN, path_item},
                                         {"definitions", 9, WIRE_NAMED_IN, schema},
                                         {0}};

/* `paths` keeps its members in field 2, other maps in field 1. */
#define PATHS_FIELD 8
#define WIRE_VARINT 0
#define WIRE_BYTES 2

static void write_varint(struct buffer *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buffer_add_char(out, (char)(value | 0x80));
    buffer_add_char(out, (char)value);
}

static void write_bytes(struct buffer *out, int number, const char *data, size_t size)
{
    write_varint(out, (uint64_t)number << 3 | WIRE_BYTES);
    write_varint(out, size);
    buffer_add(out, data, size);
}

static void write_message(struct buffer *out, const struct member *message, json_t *object);

static void write_sub(struct buffer *out, int number, const struct member *message, json_t *object)
{
    cleanup_buffer struct buffer sub = {0};
    write_message(&sub, message, object);
    write_bytes(out, number, sub.data ? sub.data : "", sub.size);
}

/* Any{yaml}: JSON is YAML. */
static void write_any(struct buffer *out, int number, json_t *value)
{
    cleanup_buffer struct buffer any = {0};
    cleanup_free char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    write_bytes(&any, 2, text, strlen(text));
    write_bytes(out, number, any.data, any.size);
}

static void write_named(struct buffer *out, int number, const struct member *message, const char *key, json_t *value)
{
    cleanup_buffer struct buffer named = {0};
    write_bytes(&named, 1, key, strlen(key));
    if (!message)
        write_any(&named, 2, value);
    else
        write_sub(&named, 2, message, value);
    write_bytes(out, number, named.data, named.size);
}

/* ParametersItem{Parameter{...}}: a body, or one of the kinds that are no body. */
static void write_parameter(struct buffer *out, int number, json_t *p)
{
    cleanup_buffer struct buffer parameter = {0}, item = {0};
    const char *in = json_string_value(json_object_get(p, "in"));
    if (in && strcmp(in, "body") == 0) {
        write_sub(&parameter, 1, body_parameter, p);
    } else {
        cleanup_buffer struct buffer other = {0};
        bool path = in && strcmp(in, "path") == 0;
        write_sub(&other, path ? 4 : 3, path ? path_parameter : query_parameter, p);
        write_bytes(&parameter, 2, other.data, other.size);
    }
    write_bytes(&item, 1, parameter.data, parameter.size);
    write_bytes(out, number, item.data, item.size);
}

static void write_value(struct buffer *out, const struct member *m, json_t *value)
{
    size_t i;
    json_t *item;
    const char *key;
    if (json_is_array(value) && (m->wire != WIRE_ANY || strcmp(m->key, "enum") == 0)) {
        json_array_foreach(value, i, item) write_value(out, m, item);
        return;
    }
    cleanup_buffer struct buffer sub = {0};
    switch (m->wire) {
    case WIRE_STRING:
        write_bytes(out, m->number, json_string_value(value), json_string_length(value));
        break;
    case WIRE_BOOL:
        write_varint(out, (uint64_t)m->number << 3 | WIRE_VARINT);
        write_varint(out, json_is_true(value));
        break;
    case WIRE_MESSAGE:
        write_sub(out, m->number, m->message, value);
        break;
    case WIRE_WRAPPED:
        write_sub(&sub, 1, m->message, value);
        write_bytes(out, m->number, sub.data, sub.size);
        break;
    case WIRE_TYPE:
        write_bytes(&sub, 1, json_string_value(value), json_string_length(value));
        write_bytes(out, m->number, sub.data, sub.size);
        break;
    case WIRE_ANY:
        write_any(out, m->number, value);
        break;
    case WIRE_NAMED:
    case WIRE_NAMED_IN:
        json_object_foreach(value, key, item)
            write_named(&sub, m->number == PATHS_FIELD ? 2 : 1, m->message, key, item);
        write_bytes(out, m->number, sub.data ? sub.data : "", sub.size);
        break;
    case WIRE_PARAMETER:
        write_parameter(out, m->number, value);
        break;
    }
}

static void write_message(struct buffer *out, const struct member *message, json_t *object)
{
    for (const struct member *m = message; m->key; m++) {
        if (!*m->key) {
            write_sub(out, m->number, m->message, object);
        } else if (strcmp(m->key, "x-") == 0) {
            const char *key;
            json_t *value;
            json_object_foreach(object, key, value)
                if (strncmp(key, "x-", 2) == 0)
                    write_named(out, m->number, NULL, key, value);
        } else if (json_object_get(object, m->key)) {
            write_value(out, m, json_object_get(object, m->key));
        }
    }
}

int openapi_v2_write_protobuf(const char *json, size_t size, struct buffer *out, struct error *err)
{
    json_error_t problem;
    json_t *tree = json_loadb(json, size, 0, &problem);
    if (!tree)
        return error_set(err, EINVAL, "the OpenAPI document is not JSON: %s", problem.text);
    write_message(out, document, tree);
    json_decref(tree);
    return 0;
}
