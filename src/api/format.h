/* The rules for names and other short texts, with upstream's messages (apimachinery, util/validation). A rule
 * appends what is wrong with a text; nothing appended means that it is fine. The messages are static. */
#ifndef CORACLE_API_FORMAT_H
#define CORACLE_API_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "api/field_error.h"

/* No rule finds more. */
#define FORMAT_PROBLEM_MAX 6

#define FORMAT_LABEL_MAX 63      /* a DNS label, a label value, the name part of a qualified name */
#define FORMAT_SUBDOMAIN_MAX 253 /* a DNS name, the prefix of a qualified name, a key of a ConfigMap */
#define FORMAT_PORT_NAME_MAX 15

struct format_problems {
    const char *items[FORMAT_PROBLEM_MAX];
    size_t count;
};

typedef void (*format_rule)(const char *text, struct format_problems *problems);

void format_dns_label(const char *text, struct format_problems *problems);
void format_dns_subdomain(const char *text, struct format_problems *problems);
/* As format_dns_subdomain, with '_' allowed inside a label and once before it, as upstream's relaxed check of search
 * paths has it. */
void format_dns_search(const char *text, struct format_problems *problems);
/* What may stand in a path: names of roles. */
void format_path_segment(const char *text, struct format_problems *problems);
/* RFC 1035: begins with a letter. */
void format_dns1035_label(const char *text, struct format_problems *problems);
/* "prefix/name": keys of labels and annotations, condition types, finalizers. */
void format_qualified_name(const char *text, struct format_problems *problems);
void format_label_value(const char *text, struct format_problems *problems);
void format_env_name(const char *text, struct format_problems *problems);
void format_config_key(const char *text, struct format_problems *problems);
void format_port_name(const char *text, struct format_problems *problems);
void format_http_header_name(const char *text, struct format_problems *problems);
void format_percent(const char *text, struct format_problems *problems);
void format_ip(const char *text, struct format_problems *problems);
/* "*.example.com". */
void format_wildcard_dns_subdomain(const char *text, struct format_problems *problems);

/* Appends one error per problem of value (NULL = "") at path. Returns whether there was none. */
bool field_format(struct api_field_errors *errors, const struct api_path *path, const char *value, format_rule rule);

/* The address families of a text, as base/ip_text.h reads it: 4, 6, or 0 when it is no IP address. */
int format_ip_family(const char *text);

/* "10.9.8.0/24": an address, whose further bits may be set, and the length of its prefix. */
struct format_cidr {
    int family;                /* 4 or 6 */
    bool mapped;               /* of IPv4 within IPv6: family 6, and bits counts from the front of that */
    bool padded;               /* a number is written with zeros before it */
    int bits;                  /* of the prefix */
    unsigned char address[16]; /* the first 4, or all */
};
bool format_cidr_parse(const char *text, struct format_cidr *out);
/* Clears the bits behind the prefix. */
void format_cidr_mask(struct format_cidr *cidr);
/* Whether the first address of `inner` is in `outer`, as Go's net.IPNet tells it, which upstream asks: IPv4 within IPv6
 * is IPv4 like any other, unless its prefix is so short (below 96) that it has more than IPv4 in it. */
bool format_cidr_contains(const struct format_cidr *outer, const struct format_cidr *inner);

#endif
