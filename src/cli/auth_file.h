/* The credentials of whoever sits at the keyboard, as `docker login`, `podman login` and `skopeo login` leave them. */
#ifndef CORACLE_CLI_AUTH_FILE_H
#define CORACLE_CLI_AUTH_FILE_H

#include "node/image/image.h"

/* Adds the entries of the file at path (or, when that is NULL, at $REGISTRY_AUTH_FILE), which has to be there; without
 * either, of the first that there is of $XDG_RUNTIME_DIR/containers/auth.json, $DOCKER_CONFIG/config.json and
 * ~/.docker/config.json. Helpers that keep credentials elsewhere (credHelpers, credsStore) are not asked. */
int auth_file_add(struct image_keyring *keyring, const char *path, struct error *err);

#endif
