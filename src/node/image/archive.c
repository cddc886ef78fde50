/* Importing archives: docker-archive (`docker save`) and OCI layout in a tar file, which newer tools write both in one.
 *
 * The archive is read several times, and nothing of it is copied: the first pass keeps the JSON documents and the names
 * of links, the documents say which entries are layers, and each further pass unpacks every wanted layer as it comes
 * by. One more pass suffices, except where one tar file is a layer at several heights. */
#include "node/image/store.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "node/image/archive_import.h"
#include "node/image/manifest.h"
#include "node/image/tree.h"
#include "node/image/unpack.h"

#define ARCHIVE_FILES_MAX 100000 /* entries of an archive */
#define ARCHIVE_BLOCK_SIZE 65536
#define LINKS_MAX 8 /* symbolic links from one name to the file meant */

/* ---- Reading the archive ---- */

static void close_archive(struct archive **archive)
{
    archive_read_free(*archive);
}
#define cleanup_archive __attribute__((cleanup(close_archive)))

static int archive_failure(struct import *import, struct archive *archive, struct error *err)
{
    const char *text = archive_error_string(archive);
    int code = archive_errno(archive);
    return error_set(err, code == ENOENT || code == EACCES || code == EISDIR ? code : EBADMSG,
                     "%s is not a readable tar archive: %s", import->path, text ? text : "unknown error");
}

static int open_archive(struct import *import, struct archive **out, struct error *err)
{
    *out = archive_read_new();
    archive_read_support_filter_gzip(*out);
    archive_read_support_filter_zstd(*out);
    archive_read_support_format_tar(*out);
    if (archive_read_open_filename(*out, import->path, ARCHIVE_BLOCK_SIZE) != ARCHIVE_OK)
        return archive_failure(import, *out, err);
    return 0;
}

/* The entry's path without "." components; for a link, its target below the link's directory. "" for one that leads
 * out of the archive or says nothing. Nothing is opened by such a name, it is only compared. */
static char *plain_path(struct arena *arena, const char *directory, size_t directory_size, const char *name)
{
    char *text = arena_printf(arena, "%.*s/%s", (int)(*name == '/' ? 0 : directory_size), directory, name);
    char *out = arena_alloc(arena, strlen(text) + 1);
    size_t n = 0;
    for (const char *p = text; *p;) {
        size_t size = strcspn(p, "/");
        if (size == 2 && p[0] == '.' && p[1] == '.') {
            if (n == 0)
                return arena_string(arena, "");
            while (n > 0 && out[--n] != '/')
                ;
        } else if (size && !(size == 1 && p[0] == '.')) {
            if (n)
                out[n++] = '/';
            memcpy(out + n, p, size);
            n += size;
        }
        p += size + (p[size] == '/');
    }
    out[n] = 0;
    return out;
}

const char *image_archive_resolve(struct import *import, const char *name)
{
    const char *path = plain_path(import->arena, "", 0, name);
    for (int i = 0; i < LINKS_MAX; i++) {
        const char *target = map_get(&import->links, path);
        if (!target)
            break;
        path = target;
    }
    return path;
}

/* Reads the start of an entry; keeps the whole of it when it looks like JSON. */
static int keep_document(struct import *import, struct archive *archive, const char *path, size_t size,
                         struct error *err)
{
    char first[1];
    if (size == 0 || size > IMAGE_MANIFEST_MAX)
        return 0;
    la_ssize_t n = archive_read_data(archive, first, 1);
    if (n < 0)
        return archive_failure(import, archive, err);
    if (n == 0 || !strchr("{[ \t\r\n", first[0]) || !first[0])
        return 0;
    if (import->document_bytes + size > IMAGE_ARCHIVE_DOCUMENTS_MAX)
        return error_set(err, E2BIG, "%s has more than %zu bytes of JSON documents", import->path,
                         IMAGE_ARCHIVE_DOCUMENTS_MAX);
    struct document *document = arena_alloc(import->arena, sizeof(*document));
    document->data = arena_alloc(import->arena, size + 1);
    document->data[0] = first[0];
    document->size = 1;
    while (document->size < size) {
        n = archive_read_data(archive, document->data + document->size, size - document->size);
        if (n < 0)
            return archive_failure(import, archive, err);
        if (n == 0)
            break;
        document->size += (size_t)n;
    }
    import->document_bytes += document->size;
    map_set(&import->documents, path, document);
    return 0;
}

static int read_entry(struct import *import, struct archive *archive, struct archive_entry *entry, struct error *err)
{
    const char *name = archive_entry_pathname(entry);
    const char *target = archive_entry_symlink(entry), *hard = archive_entry_hardlink(entry);
    if (!name)
        return error_set(err, EBADMSG, "%s: an entry without a name", import->path);
    char *path = plain_path(import->arena, "", 0, name);
    if (hard || target) {
        const char *slash = strrchr(path, '/');
        size_t directory = slash && !hard ? (size_t)(slash - path) : 0;
        map_set(&import->links, path, plain_path(import->arena, path, directory, hard ? hard : target));
        return 0;
    }
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_size(entry) < 0)
        return 0;
    uint64_t *size = arena_alloc(import->arena, sizeof(*size));
    *size = (uint64_t)archive_entry_size(entry);
    map_set(&import->sizes, path, size);
    return keep_document(import, archive, path, *size, err);
}

static int read_documents(struct import *import, struct error *err)
{
    cleanup_archive struct archive *archive = NULL;
    struct archive_entry *entry;
    if (open_archive(import, &archive, err) < 0)
        return -1;
    for (size_t count = 0;; count++) {
        int got = archive_read_next_header(archive, &entry);
        if (got == ARCHIVE_EOF)
            return 0;
        if (got < ARCHIVE_WARN)
            return archive_failure(import, archive, err);
        if (cancelled(&import->cancel))
            return error_set(err, ECANCELED, "cancelled");
        if (count == ARCHIVE_FILES_MAX)
            return error_set(err, E2BIG, "%s has more than %d entries", import->path, ARCHIVE_FILES_MAX);
        if (read_entry(import, archive, entry, err) < 0)
            return -1;
    }
}

/* ---- Unpacking ---- */

struct entry_source {
    struct archive *archive;
    struct digest digest;
    int64_t position;
};

static void entry_source_end(struct entry_source *source)
{
    image_digest_discard(&source->digest);
}

static ssize_t read_entry_data(void *context, const void **block, struct error *err)
{
    struct entry_source *source = context;
    size_t size = 0;
    la_int64_t offset;
    int got = ARCHIVE_OK;
    while (got == ARCHIVE_OK && size == 0)
        got = archive_read_data_block(source->archive, block, &size, &offset);
    if (got == ARCHIVE_EOF)
        return 0;
    if (got < ARCHIVE_WARN)
        return error_set(err, EBADMSG, "%s", archive_error_string(source->archive));
    if (offset != source->position)
        return error_set(err, EBADMSG, "a sparse file cannot be a layer");
    source->position += (int64_t)size;
    image_digest_add(&source->digest, *block, size);
    return (ssize_t)size;
}

static int unpack_entry(struct import *import, struct archive *archive, struct wanted_image *image,
                        struct wanted_layer *layer, struct error *err)
{
    __attribute__((cleanup(entry_source_end))) struct entry_source from = {.archive = archive};
    const struct unpack_source source = {read_entry_data, &from};
    char actual[DIGEST_TEXT_SIZE];
    const void *block;
    ssize_t rest = 0;
    image_digest_start(&from.digest);
    layer->temporary = image_store_temporary(import->store);
    if (image_unpack_layer(&source, layer->temporary, &image->budget, &import->cancel, &layer->result, err) < 0)
        return error_wrap(err, "%s: layer %s", import->path, layer->path);
    while ((rest = read_entry_data(&from, &block, err)) > 0)
        ;
    if (rest < 0)
        return error_wrap(err, "%s: layer %s", import->path, layer->path);
    image_digest_finish(&from.digest, actual);
    if (*layer->digest && strcmp(actual, layer->digest) != 0)
        return error_set(err, EBADMSG, "%s: layer %s does not match its digest: it is %s", import->path, layer->path,
                         actual);
    if (strcmp(layer->result.diff_id, layer->diff_id) != 0)
        return error_set(err, EBADMSG, "%s: layer %s does not match its digest: %s is wanted, %s unpacked",
                         import->path, layer->path, layer->diff_id, layer->result.diff_id);
    return 0;
}

/* The next layer that this entry of the archive is to become. */
static bool next_layer(struct import *import, const char *path, struct wanted_image **image,
                       struct wanted_layer **layer)
{
    for (size_t i = 0; i < import->images.count; i++)
        for (size_t k = 0; k < import->images.items[i]->layer_count; k++) {
            *image = import->images.items[i];
            *layer = &(*image)->layers[k];
            if (!(*layer)->temporary && !(*layer)->present && (!path || strcmp((*layer)->path, path) == 0))
                return true;
        }
    return false;
}

/* Images of one archive share layers; one copy is unpacked. */
static void share_layer(struct import *import, const struct wanted_layer *done)
{
    for (size_t i = 0; i < import->images.count; i++)
        for (size_t k = 0; k < import->images.items[i]->layer_count; k++) {
            struct wanted_layer *layer = &import->images.items[i]->layers[k];
            if (layer != done && strcmp(layer->chain, done->chain) == 0)
                layer->present = true;
        }
}

static int unpack_pass(struct import *import, struct error *err)
{
    cleanup_archive struct archive *archive = NULL;
    struct archive_entry *entry;
    struct wanted_image *image;
    struct wanted_layer *layer;
    size_t unpacked = 0;
    int got;
    if (open_archive(import, &archive, err) < 0)
        return -1;
    while ((got = archive_read_next_header(archive, &entry)) >= ARCHIVE_WARN && got != ARCHIVE_EOF) {
        const char *name = archive_entry_pathname(entry);
        if (!name || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
            continue;
        if (!next_layer(import, plain_path(import->arena, "", 0, name), &image, &layer))
            continue;
        if (unpack_entry(import, archive, image, layer, err) < 0)
            return -1;
        share_layer(import, layer);
        unpacked++;
    }
    if (got != ARCHIVE_EOF)
        return archive_failure(import, archive, err);
    if (unpacked == 0)
        return error_set(err, EBADMSG, "%s changed while it was read", import->path);
    return 0;
}

static int unpack_all(struct import *import, struct error *err)
{
    struct wanted_image *image;
    struct wanted_layer *layer;
    for (size_t i = 0; i < import->images.count; i++)
        for (size_t k = 0; k < import->images.items[i]->layer_count; k++) {
            layer = &import->images.items[i]->layers[k];
            layer->present = image_store_has_layer(import->store, image_digest_hex(layer->chain));
        }
    while (next_layer(import, NULL, &image, &layer))
        if (unpack_pass(import, err) < 0)
            return -1;
    return 0;
}

/* The unpacked copy of a layer, which may belong to another image of the archive; NULL when there is none. */
static struct wanted_layer *find_copy(struct import *import, const char *chain)
{
    for (size_t i = 0; i < import->images.count; i++)
        for (size_t k = 0; k < import->images.items[i]->layer_count; k++) {
            struct wanted_layer *layer = &import->images.items[i]->layers[k];
            if (layer->temporary && !layer->present && strcmp(layer->chain, chain) == 0)
                return layer;
        }
    return NULL;
}

static int commit_image(struct import *import, struct wanted_image *image, struct image_list *out, struct error *err)
{
    struct record *record = &image->record;
    for (size_t i = 0; i < image->layer_count; i++) {
        struct wanted_layer *copy = find_copy(import, image->layers[i].chain);
        if (!copy)
            continue;
        if (image_store_layer_commit(import->store, copy->temporary, &copy->result.implied, record->layers.items, i,
                                     record->layers.items[i], err) < 0)
            return -1;
        copy->present = true;
    }
    if (image_store_blob_write(import->store, record->id, image->config, image->config_size, err) < 0 ||
        image_store_image_commit(import->store, record, err) < 0)
        return -1;
    if (out) {
        struct image *loaded;
        if (image_find(import->store, record->id, &loaded, err) < 0)
            return -1;
        image_list_add(out, loaded);
    }
    return 0;
}

static int run(struct import *import, struct image_list *out, struct error *err)
{
    if (read_documents(import, err) < 0 || image_archive_plan(import, err) < 0 || unpack_all(import, err) < 0)
        return -1;
    for (size_t i = 0; i < import->images.count; i++)
        if (commit_image(import, import->images.items[i], out, err) < 0)
            return error_wrap(err, "%s", import->path);
    return 0;
}

static void release(struct import *import)
{
    for (size_t i = 0; i < import->images.count; i++) {
        struct wanted_image *image = import->images.items[i];
        for (size_t k = 0; k < image->layer_count; k++) {
            if (image->layers[k].temporary)
                image_tree_remove_path(image->layers[k].temporary);
            free(image->layers[k].temporary);
            image_unpack_result_free(&image->layers[k].result);
        }
        vector_free(&image->record.names);
    }
    vector_free(&import->images);
    map_free(&import->documents);
    map_free(&import->links);
    map_free(&import->sizes);
    arena_free(import->arena);
}

int image_import(struct image_store *store, const char *path, const char *name, const atomic_bool *cancel,
                 struct image_list *out, struct error *err)
{
    cleanup_close int lease = -1;
    struct import import = {.store = store, .path = path, .name = name, .cancel = {cancel, NULL}};
    if (image_store_lock(store, "lease", LOCK_SH, &lease, err) < 0)
        return -1;
    import.arena = arena_new(0);
    int result = run(&import, out, err);
    release(&import);
    cleanup_close_fd(&lease);
    lease = -1;
    /* A failed import leaves layers that nothing refers to. What this sweep cannot remove, the next one does. */
    if (result < 0)
        image_store_sweep(store, NULL);
    else
        image_store_sweep_if_due(store, NULL);
    return result;
}
