/* Accounts as an image's /etc/passwd and /etc/group name them. Pure: the files are handed in. */
#ifndef CORACLE_NODE_IMAGE_ACCOUNT_H
#define CORACLE_NODE_IMAGE_ACCOUNT_H

#include "node/image/image.h"

/* As image_user_resolve, from the texts of both files, which are used up; NULL: there is none. `out` has its defaults.
 */
int image_user_find(const char *user, char *passwd, char *group, struct image_user *out, struct error *err);

#endif
