/* Paths as texts: links are not followed, and nothing needs to be there. */
#ifndef CORACLE_BASE_PATH_H
#define CORACLE_BASE_PATH_H

#include <stdbool.h>

/* The same path, absolute and as short as can be: "/etc/hosts" for "etc//x/../hosts/". free() it. */
char *path_normal(const char *path);
/* Whether both lead to one place, however they are written. */
bool path_same(const char *a, const char *b);

#endif
