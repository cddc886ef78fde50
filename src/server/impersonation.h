/* Acting as somebody else: the Impersonate-* headers of a request (kubectl --as, --as-group, --as-uid), and what who
 * sends them has to be allowed, as upstream's WithImpersonation reads them. Pure functions; all that they give out
 * lives in the arena. */
#ifndef CORACLE_SERVER_IMPERSONATION_H
#define CORACLE_SERVER_IMPERSONATION_H

#include "client/client.h"
#include "registry/access.h"
#include "server/http/http.h"

struct impersonation {
    const struct client_user *user; /* to act as */
    struct access_request *checks;  /* each has to be allowed; of whom is not set */
    size_t check_count;
};

/* Whether there is any such header. */
bool impersonation_is_asked(const struct http_request *request);
/* -1 and the words of an internal error, which is what upstream makes of groups, a uid or extras without a user. */
int impersonation_read(struct arena *arena, const struct http_request *request, struct impersonation *out,
                       struct error *err);

#endif
