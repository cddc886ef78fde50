/* Rules for names and other short texts. Character classes instead of regular expressions: they run on every
 * label of every write. */
#include "api/format.h"

#include <string.h>

#include "base/ip_text.h"

#define MUST_FIT_63 "must be no more than 63 bytes"
#define MUST_FIT_253 "must be no more than 253 bytes"
#define MUST_FIT_15 "must be no more than 15 bytes"

#define DNS_LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define DNS_LABEL_MESSAGE                                                                                              \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "    \
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '" DNS_LABEL "')"
#define DNS_SUBDOMAIN_MESSAGE                                                                                          \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "   \
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '" DNS_LABEL             \
    "(\\." DNS_LABEL ")*')"
#define DNS_SEARCH_LABEL "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
#define DNS_SEARCH_MESSAGE                                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must "    \
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "                  \
    "'" DNS_SEARCH_LABEL "(\\." DNS_SEARCH_LABEL ")*')"
#define DNS1035_LABEL_MESSAGE                                                                                          \
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, " \
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "             \
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
#define QUALIFIED_NAME_MESSAGE                                                                                         \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " \
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "                                      \
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define LABEL_VALUE_MESSAGE                                                                                            \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "    \
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "  \
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

static void add(struct format_problems *problems, const char *message)
{
    if (problems->count < FORMAT_PROBLEM_MAX)
        problems->items[problems->count++] = message;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower_or_digit(char c)
{
    return is_lower(c) || is_digit(c);
}

static bool is_alphanumeric(char c)
{
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/* n lower-case letters, digits and characters of `middle`, the latter neither first nor last. */
static bool is_label(const char *s, size_t n, const char *middle)
{
    if (!n || !is_lower_or_digit(s[0]) || !is_lower_or_digit(s[n - 1]))
        return false;
    for (size_t i = 1; i + 1 < n; i++)
        if (!is_lower_or_digit(s[i]) && !strchr(middle, s[i]))
            return false;
    return true;
}

/* Labels with dots between them; with `underscored`, each may have '_' inside and one before it. */
static bool is_subdomain(const char *s, size_t n, bool underscored)
{
    for (;;) {
        const char *dot = memchr(s, '.', n);
        size_t label = dot ? (size_t)(dot - s) : n, first = underscored && label && *s == '_';
        if (!is_label(s + first, label - first, underscored ? "-_" : "-"))
            return false;
        if (!dot)
            return true;
        s += label + 1;
        n -= label + 1;
    }
}

/* Letters and digits at both ends, '-', '_' and '.' too in between. */
static bool is_name(const char *s, size_t n)
{
    if (!n || !is_alphanumeric(s[0]) || !is_alphanumeric(s[n - 1]))
        return false;
    for (size_t i = 1; i + 1 < n; i++)
        if (!is_alphanumeric(s[i]) && !strchr("-_.", s[i]))
            return false;
    return true;
}

void format_dns_label(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    if (n > FORMAT_LABEL_MAX)
        add(problems, MUST_FIT_63);
    if (is_label(text, n, "-"))
        return;
    /* A name that would do as a subdomain is told that dots are the trouble. */
    if (is_subdomain(text, n, false))
        add(problems, "must not contain dots");
    else
        add(problems, DNS_LABEL_MESSAGE);
}

void format_dns_subdomain(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    if (n > FORMAT_SUBDOMAIN_MAX)
        add(problems, MUST_FIT_253);
    if (!is_subdomain(text, n, false))
        add(problems, DNS_SUBDOMAIN_MESSAGE);
}

void format_dns_search(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    if (n > FORMAT_SUBDOMAIN_MAX)
        add(problems, MUST_FIT_253);
    if (!is_subdomain(text, n, true))
        add(problems, DNS_SEARCH_MESSAGE);
}

void format_dns1035_label(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    if (n > FORMAT_LABEL_MAX)
        add(problems, MUST_FIT_63);
    if (!is_label(text, n, "-") || !is_lower(text[0]))
        add(problems, DNS1035_LABEL_MESSAGE);
}

void format_qualified_name(const char *text, struct format_problems *problems)
{
    const char *slash = strchr(text, '/');
    const char *name = text;
    if (slash) {
        size_t n = (size_t)(slash - text);
        name = slash + 1;
        if (strchr(name, '/')) {
            add(problems, "a qualified name " QUALIFIED_NAME_MESSAGE
                          " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return;
        }
        if (!n) {
            add(problems, "prefix part must be non-empty");
        } else {
            if (n > FORMAT_SUBDOMAIN_MAX)
                add(problems, "prefix part " MUST_FIT_253);
            if (!is_subdomain(text, n, false))
                add(problems, "prefix part " DNS_SUBDOMAIN_MESSAGE);
        }
    }
    size_t n = strlen(name);
    if (!n)
        add(problems, "name part must be non-empty");
    else if (n > FORMAT_LABEL_MAX)
        add(problems, "name part " MUST_FIT_63);
    if (!is_name(name, n))
        add(problems, "name part " QUALIFIED_NAME_MESSAGE);
}

void format_label_value(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    if (n > FORMAT_LABEL_MAX)
        add(problems, MUST_FIT_63);
    if (n && !is_name(text, n))
        add(problems, LABEL_VALUE_MESSAGE);
}

void format_env_name(const char *text, struct format_problems *problems)
{
    if (!*text)
        add(problems, "environment variable name must be non-empty");
    for (const char *c = text; *c; c++)
        if (*c < 0x20 || *c >= 0x7f || *c == '=') {
            add(problems,
                "a valid environment variable name must consist only of printable ASCII characters other than '='");
            return;
        }
}

void format_config_key(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    bool fine = n > 0;
    for (size_t i = 0; i < n && fine; i++)
        fine = is_alphanumeric(text[i]) || strchr("-._", text[i]);
    if (n > FORMAT_SUBDOMAIN_MAX)
        add(problems, MUST_FIT_253);
    if (!fine)
        add(problems, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
                      "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
    if (strcmp(text, ".") == 0)
        add(problems, "must not be '.'");
    else if (strcmp(text, "..") == 0)
        add(problems, "must not be '..'");
    else if (strncmp(text, "..", 2) == 0)
        add(problems, "must not start with '..'");
}

void format_port_name(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    bool letters = false, fine = n > 0;
    for (size_t i = 0; i < n; i++) {
        letters |= is_lower(text[i]);
        fine &= is_lower_or_digit(text[i]) || text[i] == '-';
    }
    if (n > FORMAT_PORT_NAME_MAX)
        add(problems, MUST_FIT_15);
    if (!fine)
        add(problems, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    if (!letters)
        add(problems, "must contain at least one letter (a-z)");
    if (strstr(text, "--"))
        add(problems, "must not contain consecutive hyphens");
    if (n && (text[0] == '-' || text[n - 1] == '-'))
        add(problems, "must not begin or end with a hyphen");
}

void format_http_header_name(const char *text, struct format_problems *problems)
{
    bool fine = *text;
    for (const char *c = text; *c; c++)
        fine &= is_alphanumeric(*c) || *c == '-';
    if (!fine)
        add(problems, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
                      "used for validation is '[-A-Za-z0-9]+')");
}

void format_percent(const char *text, struct format_problems *problems)
{
    size_t n = strspn(text, "0123456789");
    if (!n || strcmp(text + n, "%") != 0)
        add(problems, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
                      "'93%', regex used for validation is '[0-9]+%')");
}

int format_ip_family(const char *text)
{
    struct ip_text ip;
    ip_text_parse(text, &ip);
    return ip.family;
}

bool format_cidr_parse(const char *text, struct format_cidr *out)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : 0;
    if (!n || n >= sizeof(address))
        return false;
    memcpy(address, text, n);
    address[n] = 0;
    struct ip_text ip;
    const char *digits = slash + 1;
    if (!ip_text_parse(address, &ip))
        return false;
    *out = (struct format_cidr){.family = ip.mapped ? 6 : ip.family, .mapped = ip.mapped};
    out->padded = ip.padded || (digits[0] == '0' && digits[1]);
    if (ip.mapped)
        memcpy(out->address, ip_mapped, IP_MAPPED_SIZE);
    memcpy(out->address + (ip.mapped ? IP_MAPPED_SIZE : 0), ip.address, ip.mapped ? 4 : 16);
    for (const char *c = digits; *c; c++) {
        if (!is_digit(*c) || out->bits > 128)
            return false;
        out->bits = out->bits * 10 + (*c - '0');
    }
    return *digits && out->bits <= (out->family == 4 ? 32 : 128);
}

void format_cidr_mask(struct format_cidr *cidr)
{
    for (int i = 0; i < 16; i++) {
        int kept = cidr->bits - i * 8;
        cidr->address[i] &= kept >= 8 ? 0xff : kept <= 0 ? 0 : (unsigned char)(0xff << (8 - kept));
    }
}

/* IPv4 within IPv6 becomes IPv4, unless the prefix has more than that in it. */
static void unmap(struct format_cidr *cidr)
{
    if (!cidr->mapped || cidr->bits < IP_MAPPED_SIZE * 8)
        return;
    cidr->family = 4;
    cidr->bits -= IP_MAPPED_SIZE * 8;
    memmove(cidr->address, cidr->address + IP_MAPPED_SIZE, 4);
    memset(cidr->address + 4, 0, 12);
}

bool format_cidr_contains(const struct format_cidr *outer, const struct format_cidr *inner)
{
    struct format_cidr a = *outer, b = *inner;
    unmap(&a);
    unmap(&b);
    format_cidr_mask(&a);
    format_cidr_mask(&b);
    b.bits = a.bits;
    format_cidr_mask(&b);
    return a.family == b.family && memcmp(a.address, b.address, sizeof(a.address)) == 0;
}

void format_wildcard_dns_subdomain(const char *text, struct format_problems *problems)
{
    size_t n = strlen(text);
    if (n > FORMAT_SUBDOMAIN_MAX)
        add(problems, MUST_FIT_253);
    if (strncmp(text, "*.", 2) != 0 || !is_subdomain(text + 2, n - 2, false))
        add(problems,
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
            "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character "
            "(e.g. '*.example.com', regex used for validation is '\\*\\." DNS_LABEL "(\\." DNS_LABEL ")*')");
}

void format_ip(const char *text, struct format_problems *problems)
{
    if (!format_ip_family(text))
        add(problems, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

bool field_format(struct api_field_errors *errors, const struct api_path *path, const char *value, format_rule rule)
{
    struct format_problems problems = {0};
    rule(value ? value : "", &problems);
    for (size_t i = 0; i < problems.count; i++)
        field_invalid(errors, path, value, problems.items[i]);
    return problems.count == 0;
}

void format_path_segment(const char *text, struct format_problems *problems)
{
    if (strcmp(text, ".") == 0)
        add(problems, "may not be '.'");
    if (strcmp(text, "..") == 0)
        add(problems, "may not be '..'");
    if (strchr(text, '/'))
        add(problems, "may not contain '/'");
    if (strchr(text, '%'))
        add(problems, "may not contain '%'");
}
