/* Negotiation: what of Accept is answered with, as upstream's server chooses it. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "server/private.h"

/* Elements of Accept that are looked at. */
#define CLAUSE_MAX 64
/* Bytes of one that are looked at. */
#define CLAUSE_SIZE 256

/* One element, such as "application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9". */
struct clause {
    char text[CLAUSE_SIZE]; /* without blanks, cut into the parts below */
    const char *type, *subtype;
    double quality;
    bool converts; /* as, g or v is given */
    const char *as, *group, *version, *stream;
};

static const struct {
    const char *subtype; /* of "application" */
    enum answer_encoding encoding;
    bool streams; /* fit for a watch */
} encodings[] = {{"json", ENCODE_JSON, true}, {"yaml", ENCODE_YAML, false}};

static double parse_quality(const char *text)
{
    char *end;
    double quality = strtod(text, &end);
    return *end || end == text ? 0 : quality;
}

static void parse_parameter(struct clause *c, char *parameter)
{
    char *value = parameter, *name = strsep(&value, "=");
    if (text_empty(value))
        return;
    const char **known = strcmp(name, "as") == 0       ? &c->as
                         : strcmp(name, "g") == 0      ? &c->group
                         : strcmp(name, "v") == 0      ? &c->version
                         : strcmp(name, "stream") == 0 ? &c->stream
                                                       : NULL;
    c->converts |= known && known != &c->stream;
    if (known)
        *known = value;
    else if (strcmp(name, "q") == 0)
        c->quality = parse_quality(value);
}

/* False: it names no type. */
static bool parse_clause(const char *element, size_t size, struct clause *c)
{
    size_t n = 0;
    *c = (struct clause){.quality = 1};
    for (size_t i = 0; i < size && n + 1 < sizeof(c->text); i++)
        if (element[i] != ' ' && element[i] != '\t')
            c->text[n++] = element[i];
    char *rest = c->text, *type = strsep(&rest, ";"), *parameter;
    c->type = strsep(&type, "/");
    c->subtype = !type && strcmp(c->type, "*") == 0 ? "*" : type;
    while ((parameter = strsep(&rest, ";")))
        parse_parameter(c, parameter);
    return !text_empty(c->subtype);
}

/* As upstream's parser orders them: a type goes before any type, whatever their qualities. */
static bool goes_before(const struct clause *a, const struct clause *b)
{
    return a->quality > b->quality || (strcmp(a->type, "*") != 0 && strcmp(b->type, "*") == 0) ||
           (strcmp(a->subtype, "*") != 0 && strcmp(b->subtype, "*") == 0);
}

/* The clauses as they are preferred; each points into itself, so that their order is kept apart. */
static size_t parse_accept(const char *accept, struct clause *clauses, const struct clause **order)
{
    size_t count = 0;
    for (const char *at = accept; *at && count < CLAUSE_MAX;) {
        size_t size = strcspn(at, ","), k = count;
        struct clause *c = &clauses[count];
        if (parse_clause(at, size, c)) {
            for (; k > 0 && goes_before(c, order[k - 1]); k--)
                order[k] = order[k - 1];
            order[k] = c;
            count++;
        }
        at += size + (at[size] == ',');
    }
    return count;
}

static bool names_type(const struct clause *c, const char *subtype)
{
    if (strcmp(c->type, "*") == 0)
        return strcmp(c->subtype, "*") == 0;
    return strcmp(c->type, "application") == 0 && (strcmp(c->subtype, "*") == 0 || strcmp(c->subtype, subtype) == 0);
}

/* The form that is asked for; false: there is no such form. */
static bool read_form(const struct clause *c, struct negotiated *out)
{
    if (!c->converts)
        return true;
    if (!text_equal(c->group, "meta.k8s.io"))
        return false;
    if (text_equal(c->version, "v1beta1"))
        out->api_version = "meta.k8s.io/v1beta1";
    else if (!text_equal(c->version, "v1"))
        return false;
    if (text_equal(c->as, "Table"))
        out->form = ANSWER_TABLE;
    else if (text_equal(c->as, "PartialObjectMetadata") || text_equal(c->as, "PartialObjectMetadataList"))
        out->form = ANSWER_METADATA;
    else
        return false;
    return true;
}

/* The first of what is preferred that can be written; plain: as it is, in no other form. */
static bool choose(const struct http_request *request, bool plain, struct negotiated *out)
{
    const char *accept = http_request_header(request, "accept");
    const struct negotiated whole = {.api_version = "meta.k8s.io/v1"};
    *out = whole;
    if (text_empty(accept))
        return true;
    cleanup_free struct clause *clauses = mem_alloc(CLAUSE_MAX * sizeof(*clauses));
    const struct clause *order[CLAUSE_MAX];
    size_t count = parse_accept(accept, clauses, order);
    for (size_t i = 0; i < count; i++) {
        const struct clause *c = order[i];
        for (size_t k = 0; k < ARRAY_COUNT(encodings); k++) {
            *out = whole;
            out->encoding = encodings[k].encoding;
            bool streams = !c->stream || (encodings[k].streams && strcmp(c->stream, "watch") == 0);
            if (names_type(c, encodings[k].subtype) && streams && !(plain && c->converts) && read_form(c, out))
                return true;
        }
    }
    *out = whole;
    return false;
}

bool negotiate(const struct http_request *request, struct negotiated *out)
{
    return choose(request, false, out);
}

enum answer_encoding negotiate_plain(const struct http_request *request)
{
    struct negotiated chosen;
    choose(request, true, &chosen);
    return chosen.encoding;
}
