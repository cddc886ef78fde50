/* What a YAML scalar means. Private to api/. */
#ifndef CORACLE_API_YAML_SCALAR_H
#define CORACLE_API_YAML_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum yaml_kind { YAML_NULL, YAML_BOOL, YAML_INT, YAML_UINT, YAML_FLOAT, YAML_STRING, YAML_MERGE };

struct yaml_scalar {
    enum yaml_kind kind;
    bool boolean;
    int64_t number;
    uint64_t large; /* of YAML_UINT: more than an int64_t holds */
    double real;    /* may be infinite or not a number */
};

/* The meaning of a plain scalar without a tag. */
struct yaml_scalar yaml_resolve(const char *text);
/* Whether a string, written without quotes, would be read as something else: by go-yaml v2, which quotes the same, or
 * by PyYAML (dates that do not exist, ".5_", "0x_", "="). U+2028 and U+2029 are quoted, too. */
bool yaml_needs_quotes(const char *text, size_t size);

#endif
