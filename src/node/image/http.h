/* One HTTP request after the other, by libcurl. A client belongs to one thread at a time and keeps its connections. */
#ifndef CORACLE_NODE_IMAGE_HTTP_H
#define CORACLE_NODE_IMAGE_HTTP_H

#include "base/buffer.h"
#include "node/image/unpack.h"

#define HTTP_REDIRECTS_MAX 10 /* as Go's client */
#define HTTP_HEADER_MAX 4096  /* bytes of a header that is kept */
#define HTTP_CHALLENGES_MAX 4 /* WWW-Authenticate headers of one answer */
#define HTTP_CONNECT_SECONDS 30
#define HTTP_STALL_SECONDS 60     /* without a byte */
#define HTTP_ERROR_BODY_MAX 65536 /* bytes kept of the body of an error */

struct http_options {
    const struct cancel *cancel;
    const char *ca_file;    /* NULL: the system's */
    bool unverified;        /* accept any certificate */
    bool direct;            /* no proxy from the environment */
    unsigned stall_seconds; /* 0: HTTP_STALL_SECONDS */
};

struct http_response {
    long status; /* 0: none came */
    char content_type[256];
    char content_digest[256]; /* Docker-Content-Digest */
    char *challenges[HTTP_CHALLENGES_MAX];
    size_t challenge_count;
    bool has_range;
    uint64_t range_start; /* of Content-Range */
    unsigned retry_after; /* seconds; 0: not said */
    bool cut;             /* there was a connection, and it broke: another attempt may succeed */
    bool not_http;        /* what answers does not speak this scheme */
    struct buffer body;   /* unless a sink took it */
};
void image_http_response_free(struct http_response *response);
#define cleanup_http_response __attribute__((cleanup(image_http_response_free)))

struct http_request {
    const char *method; /* "GET" or "HEAD" */
    const char *url;
    const char *accept;        /* or NULL */
    const char *authorization; /* or NULL; not passed on when a redirect leads to another host */
    uint64_t from;             /* asks for the bytes from here on; 0: all */
    size_t body_limit;         /* of a body that goes into memory */
    /* Gets the body of a 200 or 206 piece by piece. Returns 0, or -1 with err filled to stop. */
    int (*sink)(void *context, const struct http_response *response, const void *data, size_t size, struct error *err);
    void *context;
};

struct http_client;
struct http_client *image_http_client_new(const struct http_options *options);
void image_http_client_free(struct http_client *client);
void image_http_client_cleanup(struct http_client **client);
#define cleanup_http_client __attribute__((cleanup(image_http_client_cleanup)))

/* 0 when a whole answer came, whatever its status. *response must be zero or freed before. Errors as in image.h, in the
 * words of Go's client. */
int image_http_send(struct http_client *client, const struct http_request *request, struct http_response *response,
                    struct error *err);
/* Fills err with "unexpected status from GET request to URL: 500 Internal Server Error"; EACCES for 401 and 403,
 * ENOENT for 404, EPROTO otherwise. */
int image_http_status_error(const struct http_request *request, const struct http_response *response,
                            struct error *err);
/* Whether the same request may succeed later. */
bool image_http_status_transient(long status);
/* Text with all that means something in a URL's query escaped; release with free(). */
char *image_http_escape(const char *text);

#endif
