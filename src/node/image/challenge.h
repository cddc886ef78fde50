/* WWW-Authenticate headers (RFC 9110, 11.6.1), as registries send them. */
#ifndef CORACLE_NODE_IMAGE_CHALLENGE_H
#define CORACLE_NODE_IMAGE_CHALLENGE_H

#include <stdbool.h>
#include <stddef.h>

#define CHALLENGE_VALUE_MAX 2048

struct challenge {
    bool bearer; /* otherwise Basic */
    char realm[CHALLENGE_VALUE_MAX];
    char service[CHALLENGE_VALUE_MAX];
    char scope[CHALLENGE_VALUE_MAX];
    char error[CHALLENGE_VALUE_MAX];
};

/* The best challenge of the headers that we can answer: Bearer before Basic. False when there is none. */
bool image_challenge_choose(char *const *headers, size_t count, struct challenge *out);

#endif
