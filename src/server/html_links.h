/* Rewrites the links of an HTML document as it passes, piece by piece. Which attributes of which elements hold links,
 * and what is a tag, is as in upstream's proxy transport (apimachinery, util/proxy) and the tokenizer it uses:
 * comments, doctypes, what looks like CDATA, and the text of script, style, textarea, title, iframe, noembed, noframes,
 * noscript, xmp and plaintext hold no tags. srcset and URLs in style sheets are no links there either.
 *
 * Upstream writes each start tag anew; here only the value of a link changes, and every other byte is as it came, also
 * in documents that are malformed or cut off. No I/O; one document, one thread. */
#ifndef CORACLE_SERVER_HTML_LINKS_H
#define CORACLE_SERVER_HTML_LINKS_H

#include "server/proxy_link.h"

/* Names of elements and attributes that matter are shorter; what is longer is none of them. */
#define HTML_NAME_MAX 15

struct html_name {
    char text[HTML_NAME_MAX + 1]; /* in lower case, NUL-terminated */
    size_t size;                  /* HTML_NAME_MAX + 1: it is longer */
};

/* Zero, and `links` set, is the beginning of a document. What it holds between two pieces is at most the value of one
 * attribute, of PROXY_LINK_MAX bytes; a longer one passes as it is. */
struct html_links {
    const struct proxy_links *links;
    int state;
    struct html_name element, attribute;
    struct html_name tail; /* in raw text, what follows the last '<', with it */
    int escape;            /* of a script */
    unsigned dashes;
    bool end_tag, first; /* first: no character but dashes has come in this comment */
    bool holds;          /* the value goes to `value` */
    char quote;
    struct buffer value;
};

/* Appends to `out` what of the document can go on. */
void html_links_feed(struct html_links *html, const char *data, size_t size, struct buffer *out);
/* The document is over: appends what was held back. */
void html_links_end(struct html_links *html, struct buffer *out);
void html_links_free(struct html_links *html);

#endif
