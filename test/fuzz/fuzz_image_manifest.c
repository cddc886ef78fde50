/* All that is read from registries, archives and Secrets as text: manifests, configurations, references, challenges,
 * credentials. No input crashes a parser; a failure has a text; what is accepted keeps its promises. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "node/image/challenge.h"
#include "node/image/digest.h"
#include "node/image/manifest.h"
#include "fuzz.h"

static void check(int status, const struct error *err)
{
    if (status < 0 && (!err->code || !*err->text))
        abort();
}

static void try_manifest(const char *text, size_t size, struct arena *arena)
{
    struct error err = {0};
    struct manifest manifest;
    const struct descriptor *chosen;
    int status = image_manifest_parse(text, size, IMAGE_LAYERS_MAX, arena, &manifest, &err);
    check(status, &err);
    for (size_t i = 0; i < manifest.count && status == 0; i++)
        if (!image_digest_valid(manifest.items[i].digest))
            abort();
    if (status == 0 && manifest.is_index)
        check(image_manifest_choose(&manifest, &chosen, &err), &err);
}

static void try_config(const char *text, size_t size, struct arena *arena)
{
    struct error err = {0};
    struct image_config config;
    struct image_strings diff_ids;
    int status = image_manifest_config_parse(text, size, IMAGE_LAYERS_MAX, arena, &config, &diff_ids, &err);
    check(status, &err);
    for (size_t i = 0; i < diff_ids.count && status == 0; i++)
        if (!image_digest_valid(diff_ids.items[i]))
            abort();
    if (status == 0 && (!config.user || !config.working_dir || config.env.items[config.env.count]))
        abort();
}

static void try_archive(const char *text, size_t size, struct arena *arena)
{
    struct error err = {0};
    struct archive_image *images;
    size_t count;
    check(image_manifest_archive_parse(text, size, IMAGE_LAYERS_MAX, arena, &images, &count, &err), &err);
}

/* What is accepted is a reference again, and the same one. */
static void try_reference(const char *text, size_t size, struct arena *arena)
{
    struct error err = {0};
    struct image_reference reference, again;
    char *copy = arena_string_n(arena, text, size);
    int status = image_reference_parse(copy, &reference, &err);
    check(status, &err);
    if (status == 0 && (image_reference_parse(reference.text, &again, &err) < 0 ||
                        strcmp(reference.text, again.text) != 0 || strstr(reference.path, "..")))
        abort();
}

static void try_challenge(const char *text, size_t size, struct arena *arena)
{
    struct challenge challenge;
    char *headers[] = {arena_string_n(arena, text, size)};
    image_challenge_choose(headers, 1, &challenge);
}

static void try_keyring(const char *text, size_t size, struct arena *arena)
{
    struct error err = {0};
    struct image_keyring *keyring = image_keyring_new();
    struct image_credential *found;
    size_t count;
    int status = image_keyring_add(keyring, text, size, size % 2, &err);
    check(status, &err);
    if (image_keyring_find(keyring, "quay.io/team/app:v1", &found, &count, &err) < 0)
        abort();
    free(found);
    image_keyring_free(keyring);
}

static void (*const targets[])(const char *text, size_t size, struct arena *arena) = {
    try_manifest, try_config, try_archive, try_reference, try_challenge, try_keyring,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct arena *arena = arena_new(0);
    targets[data[0] % ARRAY_COUNT(targets)]((const char *)data + 1, size - 1, arena);
    arena_free(arena);
    return 0;
}
