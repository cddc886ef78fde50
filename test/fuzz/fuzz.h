/* What every fuzzing target has. */
#ifndef CORACLE_FUZZ_H
#define CORACLE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* libFuzzer calls it with each input; 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the target, whatever the build: the input is a finding. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
