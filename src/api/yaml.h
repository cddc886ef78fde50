/* YAML into JSON and back, as sigs.k8s.io/yaml converts it (on go-yaml v2): yes, no, on and off are booleans, 0644 is
 * octal, timestamps stay strings, "<<" merges. For bodies and answers of type application/yaml and for manifests that
 * our own commands read. Thread-safe. */
#ifndef CORACLE_API_YAML_H
#define CORACLE_API_YAML_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* The JSON that one document may become: aliases can make it much longer than the YAML. */
#define YAML_JSON_MAX (16 << 20)
/* Values that one document may have, those of aliases counted wherever they are used. */
#define YAML_VALUE_MAX 1000000
/* What their report begins with; a line for each of them follows. */
#define YAML_DUPLICATES_HEAD "yaml: unmarshal errors:"
/* Keys that are set twice and reported. */
#define YAML_DUPLICATE_MAX 100

/* Bytes of YAML for one of JSON, beyond the first YAML_GROWTH_FREE: deep nesting means many blanks. */
#define YAML_GROWTH_MAX 32
#define YAML_GROWTH_FREE (1 << 16)

/* Appends the first document as JSON; none is "null". Keys that are set twice count as last set; if `duplicates` is
 * not NULL it gets upstream's strict error for them, by line (`yaml: unmarshal errors:\n  line 3: key "a" already
 * set in map`) or stays empty. Errors are "yaml: line 2: ...", code EBADMSG. */
int yaml_to_json(const char *text, size_t size, struct buffer *json, struct buffer *duplicates, struct error *err);

/* Appends one JSON value as YAML, as upstream's server and kubectl print it: block style, keys sorted as go-yaml sorts
 * them (numbers in them by their value), texts of several lines as they are, lines of 80 characters where they may be
 * folded. A string stays one: what YAML 1.1 would take for something else is quoted. The time is linear in `size`, up
 * to the sorting. Errors: EBADMSG with what Go's scanner says of the JSON, E2BIG it would be too long. */
int json_to_yaml(const char *json, size_t size, struct buffer *yaml, struct error *err);

/* Reads all documents of a file one after the other. */
struct yaml_reader;
/* The text has to stay until yaml_reader_free. */
struct yaml_reader *yaml_reader_new(const char *text, size_t size);
void yaml_reader_free(struct yaml_reader *reader);
/* Appends the next document as JSON. 1, 0 at the end, -1. After an error no more can be read. */
int yaml_reader_next(struct yaml_reader *reader, struct buffer *json, struct buffer *duplicates, struct error *err);

#endif
