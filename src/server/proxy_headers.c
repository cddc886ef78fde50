#include "server/proxy_headers.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "server/http/http1_parse.h"

static const char *const connection[] = {
    "connection",        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",    "content-length" /* said anew */};

static const char *const request[] = {"authorization", "expect", "host", "x-forwarded-for", "x-forwarded-uri"};

static const char *const response[] = {"date" /* said anew */, "access-control-allow-credentials",
                                       "access-control-allow-headers", "access-control-allow-methods",
                                       "access-control-allow-origin"};

static bool is_in(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (text_equal(names[i], name))
            return true;
    return false;
}

/* Whether a Connection field names it. */
static bool is_named(const struct http_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (text_equal(fields[i].name, "connection") && http_list_has(fields[i].value, name))
            return true;
    return false;
}

bool proxy_header_goes_in(const struct http_field *fields, size_t count, const char *name)
{
    return !is_in(connection, ARRAY_COUNT(connection), name) && !is_in(request, ARRAY_COUNT(request), name) &&
           strncmp(name, "impersonate-", 12) != 0 && !is_named(fields, count, name);
}

bool proxy_header_comes_out(const struct http_field *fields, size_t count, const char *name)
{
    return !is_in(connection, ARRAY_COUNT(connection), name) && !is_in(response, ARRAY_COUNT(response), name) &&
           !is_named(fields, count, name);
}
