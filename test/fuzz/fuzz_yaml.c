/* YAML: the outcome is an error or JSON, and where that JSON is YAML again, it means the same. U+0085 is a character
 * in JSON but a line break in YAML. What is written as YAML and read again is always the same. */
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "api/yaml.h"
#include "fuzz.h"

static void check_written(const char *json, size_t size)
{
    struct buffer yaml = {0}, again = {0};
    struct error err;
    int r = json_to_yaml(json, size, &yaml, &err);
    CHECK(r == 0 || err.code == E2BIG);
    if (r == 0) {
        CHECK(yaml_to_json(yaml.data, yaml.size, &again, NULL, NULL) == 0);
        json_t *a = json_loadb(json, size, JSON_DECODE_ANY, NULL);
        json_t *b = json_loadb(again.data, again.size, JSON_DECODE_ANY, NULL);
        CHECK(!a || (b && json_equal(a, b)));
        json_decref(a);
        json_decref(b);
    }
    buffer_free(&yaml);
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer json = {0}, again = {0}, duplicates = {0};
    struct error err = {0};
    int r = yaml_to_json((const char *)data, size, &json, &duplicates, &err);
    CHECK((r == 0) == (err.code == 0));
    if (r == 0) {
        CHECK(json_check_syntax(json.data, json.size, NULL) == 0);
        check_written(json.data, json.size);
        if (!strstr(json.data, "\xc2\x85") && yaml_to_json(json.data, json.size, &again, NULL, NULL) == 0) {
            json_t *a = json_loadb(json.data, json.size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
            json_t *b = json_loadb(again.data, again.size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
            CHECK(!a || (b && json_equal(a, b)));
            json_decref(a);
            json_decref(b);
        }
    }
    struct yaml_reader *reader = yaml_reader_new((const char *)data, size);
    do
        buffer_clear(&json);
    while (yaml_reader_next(reader, &json, NULL, NULL) > 0);
    yaml_reader_free(reader);
    buffer_free(&json);
    buffer_free(&again);
    buffer_free(&duplicates);
    return 0;
}
