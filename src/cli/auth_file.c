/* Finding and reading the file. */
#include "cli/auth_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define AUTH_FILE_MAX (1 << 20)

/* 1 when there is none there and none has been asked for. */
static int add_file(struct image_keyring *keyring, const char *path, bool wanted, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    struct error why = {0};
    if (file_read(path, AUTH_FILE_MAX, &text, &why) < 0) {
        if (why.code == ENOENT && !wanted)
            return 1;
        return error_set(err, why.code, "%s", why.text);
    }
    return image_keyring_add(keyring, text.data, text.size, false, err) < 0 ? error_wrap(err, "%s", path) : 0;
}

/* The first of the usual places where there is one. */
static int add_usual(struct image_keyring *keyring, struct error *err)
{
    static const struct {
        const char *variable, *rest;
    } places[] = {
        {"XDG_RUNTIME_DIR", "containers/auth.json"},
        {"DOCKER_CONFIG", "config.json"},
        {"HOME", ".docker/config.json"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        const char *directory = getenv(places[i].variable);
        if (text_empty(directory))
            continue;
        cleanup_free char *path = mem_printf("%s/%s", directory, places[i].rest);
        int result = add_file(keyring, path, false, err);
        if (result <= 0)
            return result;
    }
    return 0;
}

int auth_file_add(struct image_keyring *keyring, const char *path, struct error *err)
{
    const char *named = path ? path : getenv("REGISTRY_AUTH_FILE");
    return text_empty(named) ? add_usual(keyring, err) : add_file(keyring, named, true, err);
}
