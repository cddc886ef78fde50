/* What the documents of an archive say: which images there are, and which entries their layers are. */
#include <errno.h>
#include <string.h>

#include "node/image/archive_import.h"
#include "node/image/manifest.h"

#define INDEX_DEPTH_MAX 4 /* indexes that name indexes */

/* A document by its digest, checked. */
static int find_blob(struct import *import, const struct descriptor *item, struct document **out, struct error *err)
{
    char actual[DIGEST_TEXT_SIZE];
    char *path = arena_printf(import->arena, "blobs/sha256/%s", image_digest_hex(item->digest));
    *out = map_get(&import->documents, image_archive_resolve(import, path));
    if (!*out)
        return error_set(err, EBADMSG, "%s has no document %s", import->path, path);
    image_digest_of((*out)->data, (*out)->size, actual);
    if (strcmp(actual, item->digest) != 0 || (*out)->size != item->size)
        return error_set(err, EBADMSG, "%s: %s does not match its digest or size: it is %zu bytes, %s", import->path,
                         path, (*out)->size, actual);
    return 0;
}

/* Starts an image from its configuration, or finds the one that the other half of the archive has given already. */
static int add_image(struct import *import, const struct document *config, struct wanted_image **out,
                     struct image_strings *diff_ids, struct error *err)
{
    char id[DIGEST_TEXT_SIZE];
    struct image_config parsed;
    size_t layers_max = import->store->limits.layers;
    if (image_manifest_config_parse(config->data, config->size, layers_max, import->arena, &parsed, diff_ids, err) <
            0 ||
        image_manifest_platform_check(&parsed, err) < 0)
        return -1;
    image_digest_of(config->data, config->size, id);
    for (size_t i = 0; i < import->images.count; i++)
        if (strcmp(import->images.items[i]->record.id, id) == 0) {
            *out = import->images.items[i];
            return 0;
        }
    struct wanted_image *image = arena_alloc(import->arena, sizeof(*image));
    image->record.id = arena_string(import->arena, id);
    image->config = config->data;
    image->config_size = config->size;
    image->record.size = config->size;
    image->layer_count = diff_ids->count;
    image->layers = arena_alloc(import->arena, (diff_ids->count + 1) * sizeof(*image->layers));
    image->record.layers.items = arena_alloc(import->arena, (diff_ids->count + 1) * sizeof(char *));
    image->record.layers.count = diff_ids->count;
    image_unpack_budget_start(&image->budget, &import->store->limits);
    for (size_t i = 0; i < diff_ids->count; i++) {
        image->layers[i].diff_id = diff_ids->items[i];
        image_digest_chain(i ? image->layers[i - 1].chain : "", diff_ids->items[i], image->layers[i].chain);
        image->record.layers.items[i] = arena_string(import->arena, image_digest_hex(image->layers[i].chain));
    }
    vector_push(&import->images, image);
    *out = image;
    return 0;
}

static int set_layer(struct import *import, struct wanted_image *image, size_t i, const char *name, const char *digest,
                     struct error *err)
{
    struct wanted_layer *layer = &image->layers[i];
    layer->path = image_archive_resolve(import, name);
    layer->digest = digest;
    uint64_t *size = map_get(&import->sizes, layer->path);
    if (!size)
        return error_set(err, EBADMSG, "%s has no layer %s", import->path, name);
    layer->size = *size;
    image->record.size += *size;
    return 0;
}

static int add_name(struct import *import, struct wanted_image *image, const char *name, struct error *err)
{
    struct image_reference reference;
    if (image_reference_parse(name, &reference, err) < 0)
        return error_wrap(err, "%s: image name \"%.300s\"", import->path, name);
    if (*reference.digest)
        return 0;
    for (size_t i = 0; i < image->record.names.count; i++)
        if (strcmp(image->record.names.items[i], reference.text) == 0)
            return 0;
    vector_push(&image->record.names, arena_string(import->arena, reference.text));
    return 0;
}

static int read_oci_manifest(struct import *import, const struct document *document, const struct manifest *manifest,
                             const char *name, struct error *err)
{
    struct document *config;
    struct wanted_image *image;
    struct image_strings diff_ids;
    if (find_blob(import, &manifest->config, &config, err) < 0 || add_image(import, config, &image, &diff_ids, err) < 0)
        return -1;
    if (diff_ids.count != manifest->count)
        return error_set(err, EBADMSG, "%s: the manifest has %zu layers, the configuration %zu", import->path,
                         manifest->count, diff_ids.count);
    bool first = image->record.size == config->size;
    for (size_t i = 0; i < manifest->count && first; i++) {
        char *path = arena_printf(import->arena, "blobs/sha256/%s", image_digest_hex(manifest->items[i].digest));
        if (set_layer(import, image, i, path, manifest->items[i].digest, err) < 0)
            return -1;
    }
    if (first)
        image->record.size += document->size;
    /* A tag alone ("latest") is no name. */
    bool whole = name && (strchr(name, '/') || strchr(name, ':'));
    return whole ? add_name(import, image, name, err) : 0;
}

static int read_oci_item(struct import *import, const struct descriptor *item, const char *name, int depth,
                         struct error *err)
{
    struct document *document;
    struct manifest manifest;
    const struct descriptor *chosen;
    if (find_blob(import, item, &document, err) < 0)
        return -1;
    if (image_manifest_parse(document->data, document->size, import->store->limits.layers, import->arena, &manifest,
                             err) < 0)
        return error_wrap(err, "%s: %s", import->path, item->digest);
    if (!manifest.is_index)
        return read_oci_manifest(import, document, &manifest, name, err);
    if (depth == INDEX_DEPTH_MAX)
        return error_set(err, EBADMSG, "%s: indexes within indexes", import->path);
    if (image_manifest_choose(&manifest, &chosen, err) < 0)
        return error_wrap(err, "%s", import->path);
    return read_oci_item(import, chosen, name, depth + 1, err);
}

static int read_oci(struct import *import, const struct document *index, struct error *err)
{
    struct manifest manifest;
    if (image_manifest_parse(index->data, index->size, import->store->limits.layers, import->arena, &manifest, err) < 0)
        return error_wrap(err, "%s: index.json", import->path);
    if (!manifest.is_index)
        return error_set(err, EBADMSG, "%s: index.json is no index", import->path);
    for (size_t i = 0; i < manifest.count; i++)
        if (read_oci_item(import, &manifest.items[i], manifest.items[i].name, 0, err) < 0)
            return -1;
    return 0;
}

/* A docker-archive names its configuration by its digest, in one of two places. */
static int check_config_name(struct import *import, const char *name, const struct document *config, struct error *err)
{
    char actual[DIGEST_TEXT_SIZE];
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    size_t digits = strspn(base, "0123456789abcdef");
    image_digest_of(config->data, config->size, actual);
    if (digits == DIGEST_HEX_SIZE && (!base[digits] || strcmp(base + digits, ".json") == 0) &&
        strncmp(base, image_digest_hex(actual), digits) != 0)
        return error_set(err, EBADMSG, "%s: %s does not match its digest: it is %s", import->path, name, actual);
    return 0;
}

static int read_docker_image(struct import *import, const struct archive_image *item, struct error *err)
{
    struct document *config = map_get(&import->documents, image_archive_resolve(import, item->config));
    struct wanted_image *image;
    struct image_strings diff_ids;
    if (!config)
        return error_set(err, EBADMSG, "%s has no image configuration \"%.200s\"", import->path, item->config);
    if (check_config_name(import, item->config, config, err) < 0 ||
        add_image(import, config, &image, &diff_ids, err) < 0)
        return -1;
    if (diff_ids.count != item->layers.count)
        return error_set(err, EBADMSG, "%s: manifest.json has %zu layers, the configuration %zu", import->path,
                         item->layers.count, diff_ids.count);
    bool first = image->record.size == config->size;
    for (size_t i = 0; i < diff_ids.count && first; i++)
        if (set_layer(import, image, i, item->layers.items[i], "", err) < 0)
            return -1;
    for (size_t i = 0; i < item->names.count; i++)
        if (add_name(import, image, item->names.items[i], err) < 0)
            return -1;
    return 0;
}

static int read_docker(struct import *import, const struct document *document, struct error *err)
{
    struct archive_image *items;
    size_t count;
    if (image_manifest_archive_parse(document->data, document->size, import->store->limits.layers, import->arena,
                                     &items, &count, err) < 0)
        return error_wrap(err, "%s", import->path);
    for (size_t i = 0; i < count; i++)
        if (read_docker_image(import, &items[i], err) < 0)
            return -1;
    return 0;
}

int image_archive_plan(struct import *import, struct error *err)
{
    const struct document *index = map_get(&import->documents, "index.json");
    const struct document *manifest = map_get(&import->documents, "manifest.json");
    if (!index && !manifest)
        return error_set(err, EBADMSG, "%s is no image archive: it has neither manifest.json nor index.json",
                         import->path);
    if ((index && read_oci(import, index, err) < 0) || (manifest && read_docker(import, manifest, err) < 0))
        return -1;
    if (import->images.count == 0)
        return error_set(err, EBADMSG, "%s has no image", import->path);
    for (size_t i = 0; i < import->images.count && import->name; i++)
        if (import->images.items[i]->record.names.count == 0 &&
            add_name(import, import->images.items[i], import->name, err) < 0)
            return -1;
    return 0;
}
