/* What a YAML scalar means. Private to api/. */
#ifndef CORACLE_API_YAML_SCALAR_H
#define CORACLE_API_YAML_SCALAR_H

#include <stdbool.h>
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

#endif
