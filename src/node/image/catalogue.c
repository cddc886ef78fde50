/* Images by name: listing, looking up, tagging, removing. */
#include "node/image/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "base/log.h"
#include "base/timestamp.h"
#include "node/image/manifest.h"

void image_free(struct image *image)
{
    if (image)
        arena_free(image->arena);
}

void cleanup_free_image(struct image **image)
{
    image_free(*image);
}

void image_list_free(struct image_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        image_free(list->items[i]);
    free(list->items);
    *list = (struct image_list){0};
}

void image_list_add(struct image_list *list, struct image *image)
{
    list->items = mem_resize(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] = image;
}

const char *image_status_id(const struct image *image)
{
    return image->digests.count ? image->digests.items[0] : image->id;
}

static struct image_strings copy_strings(struct arena *arena, char *const *items, size_t count)
{
    struct image_strings out = {.items = arena_alloc(arena, (count + 1) * sizeof(char *)), .count = count};
    for (size_t i = 0; i < count; i++)
        out.items[i] = arena_string(arena, items[i]);
    return out;
}

int image_store_image_load(struct image_store *store, const struct record *record, struct image **out,
                           struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    cleanup_arena struct arena *arena = arena_new(0);
    struct image *image = arena_alloc(arena, sizeof(*image));
    struct image_strings diff_ids;
    *out = NULL;
    if (image_store_blob_read(store, record->id, IMAGE_MANIFEST_MAX, &text, err) < 0 ||
        image_manifest_config_parse(text.data, text.size, IMAGE_LAYERS_MAX, arena, &image->config, &diff_ids, err) < 0)
        return error_wrap(err, "load image %s", record->id);
    image->id = arena_string(arena, record->id);
    image->names = copy_strings(arena, record->names.items, record->names.count);
    image->digests = copy_strings(arena, record->digests.items, record->digests.count);
    image->layers = copy_strings(arena, record->layers.items, record->layers.count);
    image->size = record->size;
    image->stored = record->stored;
    image->arena = steal_pointer(arena);
    *out = image;
    return 0;
}

int image_list(struct image_store *store, struct image_list *out, struct error *err)
{
    cleanup_index struct index index;
    *out = (struct image_list){0};
    if (image_index_load(store, &index, err) < 0)
        return -1;
    for (size_t i = 0; i < index.records.count; i++) {
        struct error failure = {0};
        struct image *image;
        if (image_store_image_load(store, &index.records.items[i], &image, &failure) < 0)
            log_warning("An image is left out of the list: %s", failure.text);
        else
            image_list_add(out, image);
    }
    return 0;
}

/* ---- Looking up ---- */

static size_t find_string(char *const *items, size_t count, const char *text)
{
    size_t i = 0;
    while (i < count && strcmp(items[i], text) != 0)
        i++;
    return i;
}

/* The record with this name or name@digest. */
static struct record *find_name(struct index *index, const char *text)
{
    for (size_t i = 0; i < index->records.count; i++) {
        struct record *record = &index->records.items[i];
        if (find_string(record->names.items, record->names.count, text) < record->names.count ||
            find_string(record->digests.items, record->digests.count, text) < record->digests.count)
            return record;
    }
    return NULL;
}

/* The one record whose ID begins with these digits; "sha256:" may come first. */
static struct record *find_id_prefix(struct index *index, const char *text)
{
    struct record *found = NULL;
    if (strncmp(text, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0)
        text += strlen(DIGEST_PREFIX);
    size_t n = strlen(text);
    if (n < IMAGE_ID_PREFIX_MIN || strspn(text, "0123456789abcdef") != n)
        return NULL;
    for (size_t i = 0; i < index->records.count; i++) {
        struct record *record = &index->records.items[i];
        if (strncmp(image_digest_hex(record->id), text, n) != 0)
            continue;
        if (found)
            return NULL;
        found = record;
    }
    return found;
}

/* The record that a user's reference means. *by_name is set to whether it was a name. EINVAL when the reference is
 * neither valid nor an ID, ENOENT when there is no such image. */
static struct record *find_reference(struct index *index, const char *reference, struct image_reference *parsed,
                                     bool *by_name, struct error *err)
{
    struct error invalid = {0};
    bool valid = image_reference_parse(reference, parsed, &invalid) == 0;
    struct record *record = valid ? find_name(index, parsed->text) : NULL;
    *by_name = record != NULL;
    if (!record)
        record = find_id_prefix(index, reference);
    if (record)
        return record;
    bool id = strncmp(reference, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0 || strlen(reference) == DIGEST_HEX_SIZE;
    if (!valid && !id)
        error_set(err, EINVAL, "couldn't parse image reference \"%.300s\": %s", reference, invalid.text);
    else
        error_set(err, ENOENT, "image \"%s\": not found", valid && !id ? parsed->text : reference);
    return NULL;
}

int image_find(struct image_store *store, const char *reference, struct image **out, struct error *err)
{
    cleanup_index struct index index;
    struct image_reference parsed;
    bool by_name;
    *out = NULL;
    if (image_index_load(store, &index, err) < 0)
        return -1;
    struct record *record = find_reference(&index, reference, &parsed, &by_name, err);
    return record ? image_store_image_load(store, record, out, err) : -1;
}

/* ---- Changing ---- */

static void take_name(struct index *index, const struct record *owner, const char *name)
{
    for (size_t i = 0; i < index->records.count; i++) {
        struct record *record = &index->records.items[i];
        size_t at = find_string(record->names.items, record->names.count, name);
        if (record != owner && at < record->names.count)
            vector_remove(&record->names, at);
    }
}

static void give_name(struct index *index, struct record *record, char *name)
{
    take_name(index, record, name);
    if (find_string(record->names.items, record->names.count, name) == record->names.count)
        vector_push(&record->names, name);
}

int image_store_image_commit(struct image_store *store, const struct record *record, struct error *err)
{
    cleanup_close int lock = -1;
    cleanup_index struct index index = {0};
    if (image_store_lock(store, "lock", LOCK_EX, &lock, err) < 0 || image_index_load(store, &index, err) < 0)
        return -1;
    struct record *mine = image_index_find_id(&index, record->id);
    if (!mine) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        vector_push(&index.records, (struct record){.id = record->id,
                                                    .layers = record->layers,
                                                    .size = record->size,
                                                    .stored = now.tv_sec * SECOND + now.tv_nsec / 1000});
        mine = &index.records.items[index.records.count - 1];
    }
    for (size_t i = 0; i < record->names.count; i++)
        give_name(&index, mine, record->names.items[i]);
    for (size_t i = 0; i < record->digests.count; i++)
        if (find_string(mine->digests.items, mine->digests.count, record->digests.items[i]) == mine->digests.count)
            vector_push(&mine->digests, record->digests.items[i]);
    return image_index_save(store, &index, err);
}

int image_tag(struct image_store *store, const char *reference, const char *name, struct error *err)
{
    cleanup_close int lock = -1;
    cleanup_index struct index index = {0};
    struct image_reference parsed, wanted;
    bool by_name;
    if (image_reference_parse(name, &wanted, err) < 0)
        return error_wrap(err, "couldn't parse image reference \"%.300s\"", name);
    if (*wanted.digest)
        return error_set(err, EINVAL, "\"%.300s\" is a digest, not a name that an image can be given", name);
    if (image_store_lock(store, "lock", LOCK_EX, &lock, err) < 0 || image_index_load(store, &index, err) < 0)
        return -1;
    struct record *record = find_reference(&index, reference, &parsed, &by_name, err);
    if (!record)
        return -1;
    give_name(&index, record, arena_string(index.arena, wanted.text));
    return image_index_save(store, &index, err);
}

static int remove_locked(struct image_store *store, const char *reference, struct error *err)
{
    cleanup_close int lock = -1;
    cleanup_index struct index index = {0};
    struct image_reference parsed;
    bool by_name;
    if (image_store_lock(store, "lock", LOCK_EX, &lock, err) < 0 || image_index_load(store, &index, err) < 0)
        return -1;
    struct record *record = find_reference(&index, reference, &parsed, &by_name, err);
    if (!record)
        return -1;
    size_t name = find_string(record->names.items, record->names.count, parsed.text);
    size_t digest = find_string(record->digests.items, record->digests.count, parsed.text);
    if (by_name && name < record->names.count)
        vector_remove(&record->names, name);
    else if (by_name && digest < record->digests.count)
        vector_remove(&record->digests, digest);
    if (!by_name || record->names.count == 0) {
        vector_free(&record->names);
        vector_free(&record->digests);
        vector_remove(&index.records, (size_t)(record - index.records.items));
    }
    return image_index_save(store, &index, err);
}

int image_remove(struct image_store *store, const char *reference, struct error *err)
{
    if (remove_locked(store, reference, err) < 0)
        return -1;
    return image_store_sweep(store, err);
}
