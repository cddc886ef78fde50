/* Opening and closing a store, its locks, its index and its small blobs. */
#include "node/image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "node/image/tree.h"

#define INDEX_VERSION 1

static const char *const directories[] = {"blobs", "blobs/sha256", "layers", "uses", "partial", "temporary"};

char *image_store_path(const struct image_store *store, const char *format, ...)
{
    va_list args;
    char *rest = NULL;
    va_start(args, format);
    if (vasprintf(&rest, format, args) < 0)
        abort();
    va_end(args);
    char *path = mem_printf("%s/%s", store->directory, rest);
    free(rest);
    return path;
}

int image_store_lock(struct image_store *store, const char *file, int operation, int *fd, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "%s", file);
    cleanup_close int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return error_errno(err, "open %s", path);
    while (flock(lock, operation) < 0)
        if (errno != EINTR)
            return error_errno(err, "lock %s", path);
    *fd = steal_fd(lock);
    return 0;
}

char *image_store_temporary(struct image_store *store)
{
    return mem_printf("%s/%u", store->session, atomic_fetch_add(&store->next, 1));
}

int image_store_sync_directory(struct image_store *store, const char *name, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "%s", name);
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_errno(err, "sync %s", path);
    return 0;
}

int image_store_blob_write(struct image_store *store, const char *digest, const void *data, size_t size,
                           struct error *err)
{
    cleanup_free char *path = image_store_path(store, "blobs/sha256/%s", image_digest_hex(digest));
    if (file_write_atomic(path, data, size, 0600, err) < 0)
        return -1;
    return image_store_sync_directory(store, "blobs/sha256", err);
}

int image_store_blob_read(struct image_store *store, const char *digest, size_t limit, struct buffer *out,
                          struct error *err)
{
    cleanup_free char *path = image_store_path(store, "blobs/sha256/%s", image_digest_hex(digest));
    char actual[DIGEST_TEXT_SIZE];
    if (file_read(path, limit, out, err) < 0)
        return -1;
    image_digest_of(out->data, out->size, actual);
    if (strcmp(actual, digest) != 0)
        return error_set(err, EBADMSG, "%s is damaged: its digest is %s", path, actual);
    return 0;
}

/* ---- The index ---- */

void image_index_free(struct index *index)
{
    for (size_t i = 0; i < index->records.count; i++) {
        vector_free(&index->records.items[i].names);
        vector_free(&index->records.items[i].digests);
    }
    vector_free(&index->records);
    arena_free(index->arena);
    index->arena = NULL;
}

struct record *image_index_find_id(struct index *index, const char *id)
{
    for (size_t i = 0; i < index->records.count; i++)
        if (strcmp(index->records.items[i].id, id) == 0)
            return &index->records.items[i];
    return NULL;
}

static bool layer_name_valid(const char *text)
{
    return strlen(text) == DIGEST_HEX_SIZE && strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE;
}

static int record_load(struct index *index, json_t *value, struct error *err)
{
    struct record record = {0};
    const char *id = json_string_value(json_object_get(value, "id"));
    json_t *layers = json_object_get(value, "layers"), *item;
    size_t i;
    if (!id || !image_digest_valid(id) || !json_is_array(layers))
        return error_set(err, EBADMSG, "an image without a valid id or layers");
    record.id = arena_string(index->arena, id);
    record.size = (uint64_t)json_integer_value(json_object_get(value, "size"));
    record.stored = json_integer_value(json_object_get(value, "stored"));
    record.layers.items = arena_alloc(index->arena, (json_array_size(layers) + 1) * sizeof(char *));
    json_array_foreach(layers, i, item) {
        if (!json_is_string(item) || !layer_name_valid(json_string_value(item)))
            return error_set(err, EBADMSG, "image %s: layer %zu is not a chain ID", id, i);
        record.layers.items[record.layers.count++] = arena_string(index->arena, json_string_value(item));
    }
    json_array_foreach(json_object_get(value, "names"), i, item)
        if (json_is_string(item))
            vector_push(&record.names, arena_string(index->arena, json_string_value(item)));
    json_array_foreach(json_object_get(value, "digests"), i, item)
        if (json_is_string(item))
            vector_push(&record.digests, arena_string(index->arena, json_string_value(item)));
    vector_push(&index->records, record);
    return 0;
}

static int index_decode(struct index *index, const struct buffer *text, const char *path, struct error *err)
{
    json_error_t where;
    json_t *root = json_loadb(text->data, text->size, 0, &where), *item;
    int result = 0;
    size_t i;
    if (!root)
        return error_set(err, EBADMSG, "%s is damaged: %s (line %d)", path, where.text, where.line);
    if (json_integer_value(json_object_get(root, "version")) != INDEX_VERSION)
        result = error_set(err, EBADMSG, "%s is not of version %d: made by another release?", path, INDEX_VERSION);
    else if (!json_is_array(json_object_get(root, "images")))
        result = error_set(err, EBADMSG, "%s is damaged: no images", path);
    else
        json_array_foreach(json_object_get(root, "images"), i, item)
            if (record_load(index, item, err) < 0) {
                result = error_wrap(err, "%s is damaged", path);
                break;
            }
    json_decref(root);
    return result;
}

int image_index_load(struct image_store *store, struct index *out, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "index.json");
    cleanup_buffer struct buffer text = {0};
    memset(out, 0, sizeof(*out));
    out->arena = arena_new(0);
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    if (file_read(path, INDEX_SIZE_MAX, &text, err) < 0)
        return -1;
    return index_decode(out, &text, path, err);
}

static json_t *encode_strings(char *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(items[i]));
    return list;
}

int image_index_save(struct image_store *store, const struct index *index, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "index.json");
    json_t *images = json_array();
    for (size_t i = 0; i < index->records.count; i++) {
        const struct record *r = &index->records.items[i];
        json_array_append_new(images, json_pack("{s:s, s:o, s:o, s:o, s:I, s:I}", "id", r->id, "names",
                                                encode_strings(r->names.items, r->names.count), "digests",
                                                encode_strings(r->digests.items, r->digests.count), "layers",
                                                encode_strings(r->layers.items, r->layers.count), "size",
                                                (json_int_t)r->size, "stored", (json_int_t)r->stored));
    }
    json_t *root = json_pack("{s:i, s:o}", "version", INDEX_VERSION, "images", images);
    cleanup_free char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    if (!text)
        return error_set(err, ENOMEM, "encode %s", path);
    if (file_write_atomic(path, text, strlen(text), 0600, err) < 0)
        return -1;
    return image_store_sync_directory(store, ".", err);
}

/* ---- Opening ---- */

/* Removes the sessions whose openers are gone. The caller holds the store's lock, so no session is half made. */
static void remove_dead_sessions(struct image_store *store)
{
    cleanup_free char *path = image_store_path(store, "temporary");
    DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.')
            continue;
        cleanup_close int fd = openat(dirfd(stream), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        if (image_tree_remove(dirfd(stream), entry->d_name) < 0)
            log_warning("Cannot remove %s/%s: %s", path, entry->d_name, strerror(errno));
    }
    if (stream)
        closedir(stream);
}

static int session_start(struct image_store *store, struct error *err)
{
    cleanup_close int lock = -1;
    if (image_store_lock(store, "lock", LOCK_EX, &lock, err) < 0)
        return -1;
    remove_dead_sessions(store);
    store->session = image_store_path(store, "temporary/XXXXXX");
    if (!mkdtemp(store->session))
        return error_errno(err, "make %s", store->session);
    store->session_lock = open(store->session, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->session_lock < 0 || flock(store->session_lock, LOCK_EX | LOCK_NB) < 0)
        return error_errno(err, "lock %s", store->session);
    return 0;
}

static int check_index(struct image_store *store, struct error *err)
{
    cleanup_index struct index index;
    return image_index_load(store, &index, err);
}

int image_store_open(const char *directory, const struct image_limits *limits, struct image_store **out,
                     struct error *err)
{
    struct image_store *store = mem_zero(1, sizeof(*store));
    *out = NULL;
    store->session_lock = -1;
    store->limits = limits ? *limits
                           : (struct image_limits){.layers = IMAGE_LAYERS_MAX,
                                                   .entries = IMAGE_ENTRIES_MAX,
                                                   .unpacked = IMAGE_UNPACKED_MAX};
    if (store->limits.layers > IMAGE_LAYERS_MAX)
        store->limits.layers = IMAGE_LAYERS_MAX;
    int result = file_make_directories(directory, 0700, err);
    if (result == 0 && !(store->directory = realpath(directory, NULL)))
        result = error_errno(err, "%s", directory);
    if (result == 0 && chmod(store->directory, 0700) < 0)
        result = error_errno(err, "chmod %s", directory);
    for (size_t i = 0; i < ARRAY_COUNT(directories) && result == 0; i++) {
        cleanup_free char *path = image_store_path(store, "%s", directories[i]);
        result = file_make_directories(path, 0700, err);
    }
    if (result == 0)
        result = check_index(store, err);
    if (result == 0)
        result = session_start(store, err);
    if (result == 0)
        result = image_store_sweep(store, err);
    if (result < 0) {
        image_store_close(store);
        return error_wrap(err, "open image store %s", directory);
    }
    *out = store;
    return 0;
}

void image_store_close(struct image_store *store)
{
    if (!store)
        return;
    if (store->session && store->session_lock >= 0 && image_tree_remove_path(store->session) < 0)
        log_warning("Cannot remove %s: %s", store->session, strerror(errno));
    if (store->session_lock >= 0)
        close(store->session_lock);
    free(store->session);
    free(store->directory);
    free(store);
}
