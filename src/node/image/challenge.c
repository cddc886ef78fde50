/* Reading WWW-Authenticate: one or more of  scheme name=value, name="value", ...  separated by commas. */
#include "node/image/challenge.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define TOKEN "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define SPACE " \t"

/* Reads a token or quoted string into out and returns what follows it; NULL when it is neither or too long. */
static const char *read_value(const char *p, char out[CHALLENGE_VALUE_MAX])
{
    size_t n = 0;
    if (*p != '"') {
        n = strcspn(p, "," SPACE);
        if (n >= CHALLENGE_VALUE_MAX)
            return NULL;
        memcpy(out, p, n);
        out[n] = 0;
        return p + n;
    }
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        if (n + 1 >= CHALLENGE_VALUE_MAX)
            return NULL;
        out[n++] = *p;
    }
    out[n] = 0;
    return *p == '"' ? p + 1 : NULL;
}

static void take(struct challenge *challenge, const char *name, size_t size, const char *value)
{
    const struct {
        const char *name;
        char *to;
    } known[] = {{"realm", challenge->realm},
                 {"service", challenge->service},
                 {"scope", challenge->scope},
                 {"error", challenge->error}};
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strlen(known[i].name) == size && strncasecmp(known[i].name, name, size) == 0)
            memcpy(known[i].to, value, strlen(value) + 1);
}

/* Reads one challenge; *rest is where the next begins, or NULL. False when it is of no scheme that we know. */
static bool read_challenge(const char *p, struct challenge *out, const char **rest)
{
    char value[CHALLENGE_VALUE_MAX];
    size_t scheme = strspn(p, TOKEN);
    bool known = true;
    memset(out, 0, sizeof(*out));
    *rest = NULL;
    out->bearer = scheme == 6 && strncasecmp(p, "bearer", 6) == 0;
    if (!out->bearer && !(scheme == 5 && strncasecmp(p, "basic", 5) == 0))
        known = false;
    for (p += scheme;;) {
        p += strspn(p, "," SPACE);
        size_t name = strspn(p, TOKEN);
        if (!*p || !name)
            return known;
        const char *equals = p + name + strspn(p + name, SPACE);
        if (*equals != '=') {
            *rest = p;
            return known;
        }
        const char *after = read_value(equals + 1 + strspn(equals + 1, SPACE), value);
        if (!after)
            return false;
        take(out, p, name, value);
        p = after;
    }
}

bool image_challenge_choose(char *const *headers, size_t count, struct challenge *out)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        for (const char *p = headers[i] + strspn(headers[i], "," SPACE), *rest; p && *p; p = rest) {
            struct challenge challenge;
            bool usable = read_challenge(p, &challenge, &rest);
            if (usable && (!found || (challenge.bearer && !out->bearer))) {
                *out = challenge;
                found = true;
            }
            if (rest == p)
                break;
        }
    return found;
}
