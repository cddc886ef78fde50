/* Tokens: no text crashes the reader, and none that the cluster has not signed is believed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/token.h"

/* A key that signs nothing else. */
static const char key[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkSQSsgxmHMBnYuiV\n"
                          "aXznT7zpt5VkoONrDKogbk8vEAGhRANCAAQYpCIyOdFXHYc7DKLZF+1ywjb3VcSo\n"
                          "L+RYQxclYnN7oo2kdppmCLtTgeGx1LnqLqfgvt8OQ9rJ+vjC22QofWpA\n"
                          "-----END PRIVATE KEY-----\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_issuer *issuer;
    struct token_claims claims;
    if (!issuer && token_issuer_new(key, &issuer, NULL) < 0)
        abort();
    cleanup_arena struct arena *arena = arena_new(0);
    char *text = arena_string_n(arena, (const char *)data, size);
    if (token_read(issuer, arena, text, 1, &claims, NULL) == 0)
        abort();
    return 0;
}
