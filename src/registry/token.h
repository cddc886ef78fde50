/* Service account tokens: what they say, issuing and reading them. A token that reads well is signed by this cluster
 * and within its time; whether what it is bound to is still there, registry_token_user() finds out.
 *
 * An issuer may be used by any thread once it is made. */
#ifndef CORACLE_REGISTRY_TOKEN_H
#define CORACLE_REGISTRY_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "api/type.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

/* The issuer, and the one audience that the API server takes itself for. */
#define TOKEN_ISSUER "https://kubernetes.default.svc.cluster.local"
/* How far clocks may be apart, as upstream's library allows. */
#define TOKEN_LEEWAY (INT64_C(60) * 1000000)

struct token_reference {
    const char *name; /* NULL: none */
    const char *uid;
};

/* What a token says. Instants in microseconds since the epoch; 0: not said. */
struct token_claims {
    const char *id; /* jti */
    const char *namespace;
    struct token_reference account, pod, node, secret;
    struct string_array audiences;
    int64_t issued_at, not_before, expires_at, warn_after;
    bool legacy; /* the form that lies in a Secret and never ends */
};

struct token_issuer;

int token_issuer_new(const char *private_key_pem, struct token_issuer **out, struct error *err);
/* NULL is fine. */
void token_issuer_free(struct token_issuer *issuer);
/* The documents by which others verify tokens: /openid/v1/jwks and /.well-known/openid-configuration. */
void token_issuer_write_keys(const struct token_issuer *issuer, struct buffer *out);
void token_issuer_write_configuration(const char *server_address, struct buffer *out);

/* NULL with err set when it cannot be signed. */
const char *token_issue(const struct token_issuer *issuer, struct arena *arena, const struct token_claims *claims,
                        struct error *err);
/* Reads and checks a token at an instant; err says in upstream's words what is wrong with it. */
int token_read(const struct token_issuer *issuer, struct arena *arena, const char *token, int64_t now,
               struct token_claims *out, struct error *err);
/* Whether the token is for one of the audiences; err says that it is not. */
bool token_is_for(const struct token_claims *claims, const struct string_array *audiences, struct error *err);

#endif
