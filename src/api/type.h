/* How an API type is described. src/api/types/ holds one description per type, one line per field;
 * src/api/generate.py turns them into C structs (api/types.h, made in the build folder) and into the tables
 * of this header. Everything that is derived from a type walks these tables: the JSON codec, defaulting,
 * copy, equality, patches, OpenAPI, `kubectl explain`.
 *
 * How a field looks in C, by kind and shape:
 *
 *   kind               API_VALUE                API_OPTIONAL              API_ARRAY            API_MAP
 *   string             const char *, NULL = ""  const char *, NULL = unset  struct string_array  struct string_map
 *   bool               bool                     struct opt_bool           -                    -
 *   int32, int64       int32_t, int64_t         struct opt_int32, _int64  struct int32_array…  -
 *   double             double                   -                         -                    -
 *   time, microtime    int64_t microseconds since the epoch, 0 = unset (base/timestamp.h)
 *   quantity           const char *, canonical text, NULL = unset (api/quantity.h)  -          struct string_map
 *   int-or-string      struct int_or_string, kind INT_OR_STRING_UNSET = unset       -          -
 *   bytes              struct bytes             -                         -                    struct bytes_map
 *   raw                const char *, JSON text, NULL = unset                         -          -
 *   struct             the struct, inline       pointer, NULL = unset     struct NAME_array    -
 *
 * An int-or-string held by value that is given as 0 reads as unset, and an unset one is written as 0: upstream
 * knows no difference.
 *
 * All that a value points to lives in one arena, or is static. Values inside a snapshot (api/object.h) are
 * immutable: copy before changing (api_copy). Maps are sorted by key, without duplicates. An array that was
 * given but empty has a non-NULL items. */
#ifndef CORACLE_API_TYPE_H
#define CORACLE_API_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct opt_bool {
    bool set;
    bool value;
};

struct opt_int32 {
    bool set;
    int32_t value;
};

struct opt_int64 {
    bool set;
    int64_t value;
};

enum int_or_string_kind { INT_OR_STRING_UNSET, INT_OR_STRING_INT, INT_OR_STRING_STRING };

struct int_or_string {
    enum int_or_string_kind kind;
    int32_t number;
    const char *text;
};

struct bytes {
    const unsigned char *data;
    size_t size;
};

struct string_array {
    const char **items;
    size_t count;
};

struct int32_array {
    int32_t *items;
    size_t count;
};

struct int64_array {
    int64_t *items;
    size_t count;
};

struct string_pair {
    const char *key;
    const char *value;
};

struct string_map {
    struct string_pair *items; /* sorted by key */
    size_t count;
};

struct bytes_pair {
    const char *key;
    struct bytes value;
};

struct bytes_map {
    struct bytes_pair *items; /* sorted by key */
    size_t count;
};

/* The layout that every struct array shares with the generated NAME_array types. */
struct any_array {
    void *items;
    size_t count;
};

enum api_kind {
    API_STRING,
    API_BOOL,
    API_INT32,
    API_INT64,
    API_DOUBLE,
    API_TIME,
    API_MICRO_TIME,
    API_QUANTITY,
    API_INT_OR_STRING,
    API_BYTES,
    API_RAW,
    API_STRUCT,
};

enum api_shape { API_VALUE, API_OPTIONAL, API_ARRAY, API_MAP };

enum api_flags {
    API_REQUIRED = 1 << 0,    /* required in OpenAPI; always written, also when zero */
    API_ALWAYS = 1 << 1,      /* always written: a time that is unset as null, a number as 0 */
    API_SET = 1 << 2,         /* array of scalars that merges as a set */
    API_RETAIN_KEYS = 1 << 3, /* strategic merge: keys that the patch does not name are dropped */
    API_PATCH_ATOMIC = 1 << 4, /* the keys identify elements for server-side apply only; strategic merge replaces */
    API_EXTENSION = 1 << 5 /* raw: any object (upstream's RawExtension), not a set of fields */
};

struct api_type;

struct api_field {
    const char *name; /* as in JSON */
    const char *doc;  /* one sentence */
    const struct api_type *type; /* of a struct, or of the elements; else NULL */
    /* JSON names of the fields that identify an element of an array, NULL-terminated; NULL: an atomic list.
     * The first is the strategic-merge key. */
    const char *const *keys;
    const char *default_json; /* the JSON text to set when the field is unset; NULL: none */
    const char *const *values; /* the allowed values of a string, NULL-terminated; NULL: any */
    uint32_t offset;
    uint8_t kind;  /* enum api_kind, of the elements for an array or map */
    uint8_t shape; /* enum api_shape */
    uint8_t name_size;
    /* The field's number in protobuf, 0: it has none. A second one: the number inside the message that the first one
     * names, which JSON has in line. */
    uint8_t pb[2];
    uint16_t flags;
    /* Why this field does not act yet, for Warning headers and docs/compatibility.md; NULL: it acts. */
    const char *inert;
    /* Values of an inert field that ask for what happens anyway, NULL-terminated; NULL: none but its default. */
    const char *const *harmless;
};

struct api_type {
    const char *name;    /* "PodSpec" */
    const char *openapi; /* "io.k8s.api.core.v1.PodSpec" */
    const char *doc;
    const struct api_field *fields;
    uint32_t field_count;
    uint32_t size; /* of the C struct */
};

/* A kind that the API serves. */
struct api_resource {
    const char *group; /* "" = core */
    const char *version;
    const char *api_version; /* "apps/v1" */
    const char *kind;
    const char *list_kind;
    const char *plural;
    const char *singular;
    const char *const *short_names; /* NULL-terminated */
    const char *const *categories;
    const char *const *subresources;
    const struct api_type *type;
    bool namespaced;
    bool create_only;       /* a question: what is created is answered, and never stored */
    bool computed;          /* measured when it is read, and never stored */
    uint16_t index;         /* in api_resources */
    uint32_t meta_offset;   /* of struct object_meta in the C struct */
    uint32_t status_offset; /* of the status; 0: none */
    /* The resource that holds the objects of this one; itself, but for an API that is a second view of
     * the same objects (events.k8s.io over core events). */
    uint16_t storage;
};

/* All types that have a description, and all resources; enum api_resource_index (api/types.h) names the
 * positions: &api_resources[API_PODS]. */
extern const struct api_type *const api_types[];
extern const size_t api_type_count;
extern const struct api_resource api_resources[];
extern const size_t api_resource_count;

/* Whether objects of this resource lie in the store under it. */
static inline bool api_is_stored(const struct api_resource *resource)
{
    return resource->storage == resource->index && !resource->create_only && !resource->computed;
}

struct arena;
struct object_meta;

/* The metadata of a root value of this resource. */
static inline struct object_meta *api_meta(const struct api_resource *resource, const void *value)
{
    return (struct object_meta *)((char *)(uintptr_t)value + resource->meta_offset);
}

/* The field of a type by its JSON name (n bytes), or NULL. */
const struct api_field *api_type_field(const struct api_type *type, const char *name, size_t n);
/* By group ("" = core), version and plural name, or NULL. */
const struct api_resource *api_resource_find(const char *group, const char *version, const char *plural);
/* Whether no resource before this one has its group and version: to visit each version once. */
bool api_resource_is_first_of_version(size_t index);
/* By apiVersion ("apps/v1") and kind, or NULL. */
const struct api_resource *api_resource_of_kind(const char *api_version, const char *kind);
/* Why an object of that apiVersion and kind cannot be read as one of another kind, as upstream's conversion says it; in
 * the arena. */
const char *api_why_not_converted(struct arena *arena, const char *api_version, const char *kind,
                                  const char *wanted_version, const char *wanted_kind);

/* The value of a key, or NULL. */
const char *string_map_get(const struct string_map *map, const char *key);
/* Whether all pairs are in the map. */
bool string_map_contains(const struct string_map *map, const struct string_map *pairs);
/* Whether they hold the same pairs. */
bool string_map_equal(const struct string_map *a, const struct string_map *b);
/* Whether they hold the same texts in the same order. */
bool string_array_equal(const struct string_array *a, const struct string_array *b);
/* Adds or replaces a pair. The items are copied into the arena first, so a map that is shared with a snapshot
 * may be given; key and value are not copied. */
void string_map_set(struct arena *arena, struct string_map *map, const char *key, const char *value);
void bytes_map_set(struct arena *arena, struct bytes_map *map, const char *key, struct bytes value);

static inline struct opt_bool opt_bool(bool value)
{
    return (struct opt_bool){true, value};
}

static inline struct opt_int32 opt_int32(int32_t value)
{
    return (struct opt_int32){true, value};
}

static inline struct opt_int64 opt_int64(int64_t value)
{
    return (struct opt_int64){true, value};
}

#endif
