/* The claims of service account tokens, as upstream lays them out. */
#include "registry/token.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/service_account.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/jwt.h"

#define PRIVATE_CLAIMS "kubernetes.io"
#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY_PREFIX LEGACY_ISSUER "/"
/* An instant beyond it is no instant. */
#define SECONDS_MAX 253402300799.0

struct token_issuer {
    struct jwt_key *key;
};

int token_issuer_new(const char *private_key_pem, struct token_issuer **out, struct error *err)
{
    struct token_issuer *issuer = mem_zero(1, sizeof(*issuer));
    if (jwt_key_new(private_key_pem, &issuer->key, err) < 0) {
        free(issuer);
        return -1;
    }
    *out = issuer;
    return 0;
}

void token_issuer_free(struct token_issuer *issuer)
{
    if (!issuer)
        return;
    jwt_key_free(issuer->key);
    free(issuer);
}

void token_issuer_write_keys(const struct token_issuer *issuer, struct buffer *out)
{
    jwt_key_write_set(issuer->key, out);
}

void token_issuer_write_configuration(const char *server_address, struct buffer *out)
{
    buffer_add_string(out, "{\"issuer\":\"" TOKEN_ISSUER "\",\"jwks_uri\":");
    cleanup_free char *keys = mem_printf("https://%s/openid/v1/jwks", server_address);
    json_encode_string(out, keys);
    buffer_add_string(out, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
                           "\"id_token_signing_alg_values_supported\":[\"ES256\"]}");
}

/* ---- Issuing ---- */

static void add_string(struct buffer *out, const char *name, const char *value)
{
    if (out->data[out->size - 1] != '{')
        buffer_add_char(out, ',');
    json_encode_string(out, name);
    buffer_add_char(out, ':');
    json_encode_string(out, value ? value : "");
}

static void add_instant(struct buffer *out, const char *name, int64_t instant)
{
    buffer_printf(out, ",\"%s\":%lld", name, (long long)(instant / SECOND));
}

static void add_reference(struct buffer *out, const char *name, const struct token_reference *r)
{
    if (!r->name)
        return;
    buffer_printf(out, "%s\"%s\":{", out->data[out->size - 1] == '{' ? "" : ",", name);
    add_string(out, "name", r->name);
    if (r->uid)
        add_string(out, "uid", r->uid);
    buffer_add_char(out, '}');
}

static void write_bound(const struct token_claims *claims, struct buffer *out)
{
    buffer_add_string(out, "{\"aud\":[");
    for (size_t i = 0; i < claims->audiences.count; i++) {
        if (i)
            buffer_add_char(out, ',');
        json_encode_string(out, claims->audiences.items[i]);
    }
    buffer_add_char(out, ']');
    add_instant(out, "exp", claims->expires_at);
    add_instant(out, "iat", claims->issued_at);
    add_string(out, "iss", TOKEN_ISSUER);
    add_string(out, "jti", claims->id);
    buffer_add_string(out, ",\"" PRIVATE_CLAIMS "\":{");
    add_string(out, "namespace", claims->namespace);
    add_reference(out, "node", &claims->node);
    add_reference(out, "pod", &claims->pod);
    add_reference(out, "secret", &claims->secret);
    add_reference(out, "serviceaccount", &claims->account);
    if (claims->warn_after)
        add_instant(out, "warnafter", claims->warn_after);
    buffer_add_char(out, '}');
    add_instant(out, "nbf", claims->not_before);
}

static void write_legacy(const struct token_claims *claims, struct buffer *out)
{
    buffer_add_char(out, '{');
    add_string(out, "iss", LEGACY_ISSUER);
    add_string(out, LEGACY_PREFIX "namespace", claims->namespace);
    add_string(out, LEGACY_PREFIX "secret.name", claims->secret.name);
    add_string(out, LEGACY_PREFIX "service-account.name", claims->account.name);
    add_string(out, LEGACY_PREFIX "service-account.uid", claims->account.uid);
}

const char *token_issue(const struct token_issuer *issuer, struct arena *arena, const struct token_claims *claims,
                        struct error *err)
{
    cleanup_buffer struct buffer payload = {0}, token = {0};
    const char *subject = service_account_user(arena, claims->namespace, claims->account.name);
    if (claims->legacy)
        write_legacy(claims, &payload);
    else
        write_bound(claims, &payload);
    add_string(&payload, "sub", subject);
    buffer_add_char(&payload, '}');
    if (jwt_sign(issuer->key, payload.data, payload.size, &token, err) < 0)
        return NULL;
    return arena_string_n(arena, token.data, token.size);
}

/* ---- Reading ---- */

static const char *read_string(struct arena *arena, const json_t *object, const char *name)
{
    return arena_string(arena, json_string_value(json_object_get(object, name)));
}

static int read_instant(const json_t *object, const char *name, int64_t *out, struct error *err)
{
    const json_t *value = json_object_get(object, name);
    double seconds = value ? json_number_value(value) : 0;
    *out = 0;
    if (!value)
        return 0;
    if (!json_is_number(value) || !isfinite(seconds) || seconds < 0 || seconds > SECONDS_MAX)
        return error_set(err, EINVAL, "the claim %s is no instant", name);
    *out = (int64_t)(seconds * SECOND);
    return 0;
}

static struct token_reference read_reference(struct arena *arena, const json_t *object, const char *name)
{
    const json_t *r = json_object_get(object, name);
    return (struct token_reference){read_string(arena, r, "name"), read_string(arena, r, "uid")};
}

/* One audience, or a list of them. */
static void read_audiences(struct arena *arena, const json_t *value, struct string_array *out)
{
    size_t count = json_is_string(value) ? 1 : json_array_size(value);
    out->items = arena_alloc(arena, count * sizeof(*out->items));
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_is_string(value) ? value : json_array_get(value, i));
        if (text)
            out->items[out->count++] = arena_string(arena, text);
    }
}

static int read_bound(struct arena *arena, const json_t *json, struct token_claims *out, struct error *err)
{
    const json_t *own = json_object_get(json, PRIVATE_CLAIMS);
    out->id = read_string(arena, json, "jti");
    out->namespace = read_string(arena, own, "namespace");
    out->account = read_reference(arena, own, "serviceaccount");
    out->pod = read_reference(arena, own, "pod");
    out->node = read_reference(arena, own, "node");
    out->secret = read_reference(arena, own, "secret");
    read_audiences(arena, json_object_get(json, "aud"), &out->audiences);
    return read_instant(json, "iat", &out->issued_at, err) < 0 ||
                   read_instant(json, "nbf", &out->not_before, err) < 0 ||
                   read_instant(json, "exp", &out->expires_at, err) < 0 ||
                   read_instant(own, "warnafter", &out->warn_after, err) < 0
               ? -1
               : 0;
}

static void read_legacy(struct arena *arena, const json_t *json, struct token_claims *out)
{
    out->legacy = true;
    out->namespace = read_string(arena, json, LEGACY_PREFIX "namespace");
    out->secret.name = read_string(arena, json, LEGACY_PREFIX "secret.name");
    out->account.name = read_string(arena, json, LEGACY_PREFIX "service-account.name");
    out->account.uid = read_string(arena, json, LEGACY_PREFIX "service-account.uid");
}

static int check(const struct token_claims *c, const char *subject, int64_t now, struct error *err)
{
    if (!c->namespace || !*c->namespace)
        return error_set(err, EINVAL, "namespace claim is missing");
    if (!c->account.name || !*c->account.name || !c->account.uid || (c->legacy && !c->secret.name))
        return error_set(err, EINVAL, "service account claim is missing");
    if (!service_account_is(subject, c->namespace, c->account.name))
        return error_set(err, EINVAL, "sub claim is missing or wrong");
    if (c->legacy)
        return 0;
    if (now - TOKEN_LEEWAY > c->expires_at)
        return error_set(err, ETIMEDOUT, "service account token has expired");
    if (now + TOKEN_LEEWAY < c->not_before || now + TOKEN_LEEWAY < c->issued_at)
        return error_set(err, EAGAIN, "service account token is not valid yet");
    return 0;
}

int token_read(const struct token_issuer *issuer, struct arena *arena, const char *token, int64_t now,
               struct token_claims *out, struct error *err)
{
    cleanup_buffer struct buffer payload = {0};
    *out = (struct token_claims){0};
    if (jwt_verify(issuer->key, token, strlen(token), &payload, err) < 0)
        return -1;
    json_t *json = json_loadb(payload.data ? payload.data : "", payload.size, JSON_REJECT_DUPLICATES, NULL);
    const char *named = json_string_value(json_object_get(json, "iss"));
    int result = 0;
    if (named && strcmp(named, LEGACY_ISSUER) == 0)
        read_legacy(arena, json, out);
    else if (named && strcmp(named, TOKEN_ISSUER) == 0)
        result = read_bound(arena, json, out, err);
    else
        result = error_set(err, EINVAL, "invalid bearer token");
    if (result == 0)
        result = check(out, json_string_value(json_object_get(json, "sub")), now, err);
    json_decref(json);
    return result;
}

static void quote_all(struct buffer *out, const struct string_array *list)
{
    buffer_add_char(out, '[');
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(out, "%s\"%s\"", i ? " " : "", list->items[i]);
    buffer_add_char(out, ']');
}

bool token_is_for(const struct token_claims *claims, const struct string_array *audiences, struct error *err)
{
    static const char *own[] = {TOKEN_ISSUER};
    /* A token of the legacy form is for the API server. */
    const struct string_array legacy = {own, 1}, *named = claims->legacy ? &legacy : &claims->audiences;
    for (size_t i = 0; i < audiences->count; i++)
        for (size_t k = 0; k < named->count; k++)
            if (strcmp(audiences->items[i], named->items[k]) == 0)
                return true;
    cleanup_buffer struct buffer has = {0}, wants = {0};
    quote_all(&has, named);
    quote_all(&wants, audiences);
    error_set(err, EACCES, "token audiences %s is invalid for the target audiences %s", has.data, wants.data);
    return false;
}
