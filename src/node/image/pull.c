/* Pulling an image: resolve the reference, read manifest and configuration, fetch and unpack the layers that are
 * missing, several at a time, and store the image.
 *
 * Layers are made permanent from the lowest up, each as soon as it and all below it are unpacked. */
#include "node/image/image.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "node/image/download.h"
#include "node/image/registry.h"
#include "node/image/store.h"
#include "node/image/tree.h"
#include "node/image/unpack.h"

#define INDEX_DEPTH_MAX 4 /* indexes that name indexes */
#define UNPACK_STEP 65536

struct pull;

struct layer {
    struct pull *pull;
    size_t index;
    struct descriptor blob;
    const char *diff_id;
    char chain[DIGEST_TEXT_SIZE];
    char *temporary; /* where it is unpacked, or NULL */
    bool ready;      /* unpacked, or in the store */
    struct unpack_result result;
};

struct pull {
    struct image_store *store;
    const struct image_pull_options *options;
    struct image_reference reference;
    struct arena *arena;
    struct registry registry;
    struct cancel cancel;
    char digest[DIGEST_TEXT_SIZE]; /* what the reference resolves to */
    struct buffer config;
    struct record record;
    struct layer *layers;
    size_t layer_count;
    struct unpack_budget budget;
    pthread_mutex_t progress_mutex;
    pthread_mutex_t mutex; /* for what follows */
    size_t next;           /* layer to fetch */
    size_t committed;      /* layers that are permanent, from the lowest */
    atomic_bool stop;      /* a layer failed */
    struct error failure;  /* of the first that did */
};

/* ---- Progress ---- */

static void report(struct layer *layer, enum image_progress_state state, uint64_t done)
{
    struct pull *pull = layer->pull;
    const struct image_progress progress = {.layer = layer->index,
                                            .layer_count = pull->layer_count,
                                            .digest = layer->blob.digest,
                                            .state = state,
                                            .done = done,
                                            .total = layer->blob.size};
    if (!pull->options->progress)
        return;
    pthread_mutex_lock(&pull->progress_mutex);
    pull->options->progress(&progress, pull->options->context);
    pthread_mutex_unlock(&pull->progress_mutex);
}

static void report_bytes(void *context, uint64_t done)
{
    report(context, IMAGE_PROGRESS_DOWNLOADING, done);
}

/* ---- Layers ---- */

struct file_source {
    int fd;
    off_t position;
    char block[UNPACK_STEP];
};

static ssize_t read_file_block(void *context, const void **block, struct error *err)
{
    struct file_source *source = context;
    ssize_t n;
    do
        n = pread(source->fd, source->block, sizeof(source->block), source->position);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(err, "read a download");
    source->position += n;
    *block = source->block;
    return n;
}

static int unpack(struct layer *layer, int fd, struct error *err)
{
    struct pull *pull = layer->pull;
    struct file_source file = {.fd = fd};
    const struct unpack_source source = {read_file_block, &file};
    report(layer, IMAGE_PROGRESS_UNPACKING, layer->blob.size);
    layer->temporary = image_store_temporary(pull->store);
    if (image_unpack_layer(&source, layer->temporary, &pull->budget, &pull->cancel, &layer->result, err) < 0)
        return error_wrap(err, "failed to extract layer %s", layer->diff_id);
    if (strcmp(layer->result.diff_id, layer->diff_id) != 0)
        return error_set(err, EBADMSG, "failed to extract layer %s: wrong diff id calculated on extraction \"%s\"",
                         layer->diff_id, layer->result.diff_id);
    return 0;
}

static int fetch_layer(struct layer *layer, struct http_client *client, struct error *err)
{
    struct pull *pull = layer->pull;
    struct download download = {.fd = -1};
    report(layer, IMAGE_PROGRESS_WAITING, 0);
    int result = image_download_open(pull->store, &layer->blob, &pull->cancel, &download, err);
    if (result == 0 && image_store_has_layer(pull->store, image_digest_hex(layer->chain))) {
        report(layer, IMAGE_PROGRESS_PRESENT, layer->blob.size);
        image_download_remove(pull->store, layer->blob.digest);
    } else if (result == 0) {
        download.progress = report_bytes;
        download.context = layer;
        result = image_download_run(&download, &pull->registry, client, &layer->blob, err);
        if (result < 0)
            error_wrap(err, "failed to copy");
        else
            result = unpack(layer, download.fd, err);
        /* What was fetched whole and is still no layer will not become one. */
        if (result < 0 && err->code == EBADMSG)
            image_download_remove(pull->store, layer->blob.digest);
    }
    image_download_discard(&download);
    return result;
}

/* Makes permanent what can be. The caller holds the mutex. */
static int commit_ready(struct pull *pull, struct error *err)
{
    for (; pull->committed < pull->layer_count && pull->layers[pull->committed].ready; pull->committed++) {
        struct layer *layer = &pull->layers[pull->committed];
        if (!layer->temporary)
            continue;
        if (image_store_layer_commit(pull->store, layer->temporary, &layer->result.implied, pull->record.layers.items,
                                     layer->index, image_digest_hex(layer->chain), err) < 0)
            return -1;
        image_download_remove(pull->store, layer->blob.digest);
        report(layer, IMAGE_PROGRESS_DONE, layer->blob.size);
    }
    return 0;
}

static void *work(void *context)
{
    struct pull *pull = context;
    cleanup_http_client struct http_client *client = image_registry_client(&pull->registry);
    pthread_mutex_lock(&pull->mutex);
    while (pull->next < pull->layer_count && !cancelled(&pull->cancel)) {
        struct layer *layer = &pull->layers[pull->next++];
        struct error failure = {0};
        int result = 0;
        if (!layer->ready) {
            pthread_mutex_unlock(&pull->mutex);
            result = fetch_layer(layer, client, &failure);
            pthread_mutex_lock(&pull->mutex);
        }
        layer->ready = result == 0;
        if (result == 0)
            result = commit_ready(pull, &failure);
        if (result < 0 && !atomic_exchange(&pull->stop, true))
            pull->failure = failure;
    }
    pthread_mutex_unlock(&pull->mutex);
    return NULL;
}

static int fetch_layers(struct pull *pull, struct error *err)
{
    pthread_t threads[IMAGE_PARALLEL_DOWNLOADS];
    size_t missing = 0, started = 0;
    for (size_t i = 0; i < pull->layer_count; i++) {
        struct layer *layer = &pull->layers[i];
        layer->ready = image_store_has_layer(pull->store, image_digest_hex(layer->chain));
        if (layer->ready)
            report(layer, IMAGE_PROGRESS_PRESENT, layer->blob.size);
        else
            missing++;
    }
    while (started < IMAGE_PARALLEL_DOWNLOADS && started + 1 < missing &&
           pthread_create(&threads[started], NULL, work, pull) == 0)
        started++;
    if (missing)
        work(pull); /* this thread works, too */
    while (started > 0)
        pthread_join(threads[--started], NULL);
    if (atomic_load(&pull->stop))
        return error_set(err, pull->failure.code, "%s", pull->failure.text);
    if (cancelled(&pull->cancel))
        return error_set(err, ECANCELED, "context canceled");
    return 0;
}

/* ---- Manifest and configuration ---- */

static int check_digest(const struct buffer *body, const char *wanted, struct error *err)
{
    char actual[DIGEST_TEXT_SIZE];
    image_digest_of(body->data ? body->data : "", body->size, actual);
    if (strcmp(actual, wanted) != 0)
        return error_set(err, EBADMSG, "unexpected commit digest %s, expected %s: failed precondition", actual, wanted);
    return 0;
}

/* What a tag means now. Registries that do not say it in a header are asked for the manifest itself. */
static int resolve(struct pull *pull, struct http_client *client, struct error *err)
{
    cleanup_http_response struct http_response response = {0};
    struct image_reference *reference = &pull->reference;
    struct error failure = {0};
    if (*reference->digest) {
        if (!image_digest_valid(reference->digest))
            return error_set(err, EINVAL, "only sha256 digests can be pulled");
        strcpy(pull->digest, reference->digest);
        return 0;
    }
    cleanup_free char *path = mem_printf("manifests/%s", reference->tag);
    struct registry_request request = {
        .method = "HEAD", .path = path, .accept = image_manifest_accept, .body_limit = IMAGE_MANIFEST_MAX};
    int result = image_registry_fetch(&pull->registry, client, &request, &response, &failure);
    if ((result == 0 && !*response.content_digest) || (result < 0 && response.status == 405)) {
        image_http_response_free(&response);
        request.method = "GET";
        result = image_registry_fetch(&pull->registry, client, &request, &response, &failure);
        if (result == 0)
            image_digest_of(response.body.data ? response.body.data : "", response.body.size, pull->digest);
    } else if (result == 0) {
        if (!image_digest_valid(response.content_digest))
            return error_set(err, EPROTO, "\"%.100s\" in header not a valid digest", response.content_digest);
        strcpy(pull->digest, response.content_digest);
    }
    if (result < 0 && response.status == 404)
        return error_set(err, ENOENT, "%s: not found", reference->text);
    return result < 0 ? error_set(err, failure.code, "%s", failure.text) : 0;
}

static int fetch_manifest(struct pull *pull, struct http_client *client, const char *digest, struct manifest *out,
                          struct error *err)
{
    cleanup_http_response struct http_response response = {0};
    cleanup_free char *path = mem_printf("manifests/%s", digest);
    const struct registry_request request = {
        .method = "GET", .path = path, .accept = image_manifest_accept, .body_limit = IMAGE_MANIFEST_MAX};
    if (image_registry_fetch(&pull->registry, client, &request, &response, err) < 0) {
        if (err->code == ENOENT)
            return error_set(err, ENOENT, "%s@%s: not found", pull->reference.name, digest);
        return -1;
    }
    if (check_digest(&response.body, digest, err) < 0)
        return -1;
    pull->record.size += response.body.size;
    return image_manifest_parse(response.body.data ? response.body.data : "", response.body.size,
                                pull->store->limits.layers, pull->arena, out, err);
}

/* The manifest of the image for this machine, through as many indexes as it takes. */
static int find_manifest(struct pull *pull, struct http_client *client, struct manifest *out, struct error *err)
{
    const struct descriptor *chosen;
    const char *digest = pull->digest;
    for (int depth = 0; depth < INDEX_DEPTH_MAX; depth++) {
        if (fetch_manifest(pull, client, digest, out, err) < 0)
            return -1;
        if (!out->is_index)
            return 0;
        if (image_manifest_choose(out, &chosen, err) < 0)
            return -1;
        digest = chosen->digest;
    }
    return error_set(err, EBADMSG, "indexes within indexes");
}

static int fetch_config(struct pull *pull, struct http_client *client, const struct descriptor *blob, struct error *err)
{
    cleanup_http_response struct http_response response = {0};
    cleanup_free char *path = mem_printf("blobs/%s", blob->digest);
    const struct registry_request request = {.method = "GET", .path = path, .body_limit = IMAGE_MANIFEST_MAX};
    if (image_registry_fetch(&pull->registry, client, &request, &response, err) < 0 ||
        check_digest(&response.body, blob->digest, err) < 0)
        return error_wrap(err, "image configuration");
    pull->config = response.body;
    response.body = (struct buffer){0};
    return 0;
}

static int plan_layers(struct pull *pull, const struct manifest *manifest, struct error *err)
{
    struct image_config config;
    struct image_strings diff_ids;
    const char *text = pull->config.data ? pull->config.data : "";
    if (image_manifest_config_parse(text, pull->config.size, pull->store->limits.layers, pull->arena, &config,
                                    &diff_ids, err) < 0 ||
        image_manifest_platform_check(&config, err) < 0)
        return -1;
    if (diff_ids.count != manifest->count)
        return error_set(err, EBADMSG, "mismatched image rootfs and manifest layers: %zu and %zu", diff_ids.count,
                         manifest->count);
    pull->layer_count = manifest->count;
    pull->layers = arena_alloc(pull->arena, (manifest->count + 1) * sizeof(*pull->layers));
    pull->record.layers.items = arena_alloc(pull->arena, (manifest->count + 1) * sizeof(char *));
    pull->record.layers.count = manifest->count;
    pull->record.id = arena_string(pull->arena, manifest->config.digest);
    pull->record.size += pull->config.size;
    for (size_t i = 0; i < manifest->count; i++) {
        struct layer *layer = &pull->layers[i];
        layer->pull = pull;
        layer->index = i;
        layer->blob = manifest->items[i];
        layer->diff_id = diff_ids.items[i];
        image_digest_chain(i ? pull->layers[i - 1].chain : "", layer->diff_id, layer->chain);
        pull->record.layers.items[i] = arena_string(pull->arena, image_digest_hex(layer->chain));
        pull->record.size += layer->blob.size;
    }
    return 0;
}

/* ---- The whole ---- */

/* An image that is here already under the digest that the reference resolves to, with all its layers. */
static int find_present(struct pull *pull, const char *repository_digest, bool *found, struct error *err)
{
    cleanup_image struct image *image = NULL;
    struct error failure = {0};
    *found = false;
    if (image_find(pull->store, repository_digest, &image, &failure) < 0)
        return failure.code == ENOENT ? 0 : error_set(err, failure.code, "%s", failure.text);
    for (size_t i = 0; i < image->layers.count; i++)
        if (!image_store_has_layer(pull->store, image->layers.items[i]))
            return 0;
    pull->record.id = arena_string(pull->arena, image->id);
    pull->record.size = image->size;
    pull->record.layers.count = image->layers.count;
    pull->record.layers.items = arena_alloc(pull->arena, (image->layers.count + 1) * sizeof(char *));
    for (size_t i = 0; i < image->layers.count; i++)
        pull->record.layers.items[i] = arena_string(pull->arena, image->layers.items[i]);
    *found = true;
    return 0;
}

static int fetch_image(struct pull *pull, struct http_client *client, struct error *err)
{
    struct manifest manifest;
    if (find_manifest(pull, client, &manifest, err) < 0 || fetch_config(pull, client, &manifest.config, err) < 0 ||
        plan_layers(pull, &manifest, err) < 0 || fetch_layers(pull, err) < 0)
        return -1;
    return image_store_blob_write(pull->store, pull->record.id, pull->config.data ? pull->config.data : "",
                                  pull->config.size, err);
}

static int pull_all(struct pull *pull, struct http_client *client, struct error *err)
{
    bool present;
    if (resolve(pull, client, err) < 0)
        return error_wrap(err, "failed to resolve reference \"%s\"", pull->reference.text);
    char *repository_digest = arena_printf(pull->arena, "%s@%s", pull->reference.name, pull->digest);
    if (find_present(pull, repository_digest, &present, err) < 0 || (!present && fetch_image(pull, client, err) < 0))
        return -1;
    if (*pull->reference.tag)
        vector_push(&pull->record.names, pull->reference.text);
    vector_push(&pull->record.digests, repository_digest);
    return image_store_image_commit(pull->store, &pull->record, err);
}

static void discard_layers(struct pull *pull)
{
    for (size_t i = 0; i < pull->layer_count; i++) {
        if (pull->layers[i].temporary)
            image_tree_remove_path(pull->layers[i].temporary);
        free(pull->layers[i].temporary);
        image_unpack_result_free(&pull->layers[i].result);
    }
}

/* One pull with one credential, or anonymously. */
static int pull_once(struct image_store *store, const struct image_reference *reference,
                     const struct image_pull_options *options, const struct image_credential *credential,
                     struct image **out, struct error *err)
{
    struct pull *pull = mem_zero(1, sizeof(*pull));
    pull->store = store;
    pull->options = options;
    pull->reference = *reference;
    pull->arena = arena_new(0);
    pull->cancel = (struct cancel){options->cancel, &pull->stop};
    pthread_mutex_init(&pull->mutex, NULL);
    pthread_mutex_init(&pull->progress_mutex, NULL);
    image_unpack_budget_start(&pull->budget, &store->limits);
    image_registry_start(&pull->registry, &pull->reference, options, credential, &pull->cancel);
    struct http_client *client = image_registry_client(&pull->registry);

    int result = pull_all(pull, client, err);
    if (result == 0 && out)
        result = image_find(store, pull->record.id, out, err);

    image_http_client_free(client);
    image_registry_discard(&pull->registry);
    discard_layers(pull);
    vector_free(&pull->record.names);
    vector_free(&pull->record.digests);
    buffer_free(&pull->config);
    pthread_mutex_destroy(&pull->mutex);
    pthread_mutex_destroy(&pull->progress_mutex);
    arena_free(pull->arena);
    free(pull);
    return result;
}

/* Tries the credentials in turn; one that is refused, or for which the repository does not exist, may not be the right
 * one. Several different refusals are reported together, as the kubelet does. */
static int pull_with_credentials(struct image_store *store, const struct image_reference *reference,
                                 const struct image_pull_options *options, struct image **out, struct error *err)
{
    cleanup_buffer struct buffer texts = {0};
    struct error failure = {0};
    size_t tries = options->credential_count ? options->credential_count : 1;
    size_t different = 0;
    for (size_t i = 0; i < tries; i++) {
        const struct image_credential *credential = options->credential_count ? &options->credentials[i] : NULL;
        char before[ERROR_TEXT_MAX];
        memcpy(before, failure.text, sizeof(before));
        if (pull_once(store, reference, options, credential, out, &failure) == 0)
            return 0;
        error_wrap(&failure, "failed to pull and unpack image \"%s\"", reference->text);
        if (strcmp(before, failure.text) != 0)
            buffer_printf(&texts, "%s%s", different++ ? ", " : "", failure.text);
        if (failure.code != EACCES && failure.code != ENOENT)
            break;
    }
    return error_set(err, failure.code, different > 1 ? "[%s]" : "%s", texts.data);
}

int image_pull(struct image_store *store, const char *reference, const struct image_pull_options *options,
               struct image **out, struct error *err)
{
    static const struct image_pull_options anonymous;
    struct image_reference parsed;
    cleanup_close int lease = -1;
    if (out)
        *out = NULL;
    if (image_reference_parse(reference, &parsed, err) < 0)
        return error_wrap(err, "failed to parse image reference \"%.300s\"", reference);
    if (image_store_lock(store, "lease", LOCK_SH, &lease, err) < 0)
        return -1;
    int result = pull_with_credentials(store, &parsed, options ? options : &anonymous, out, err);
    cleanup_close_fd(&lease);
    lease = -1;
    /* Layers of a failed pull stay for the next attempt; sweeps take them once an image is removed. */
    image_store_sweep_if_due(store, NULL);
    return result;
}

const char *image_error_grpc_code(const struct error *err)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {{EINVAL, "InvalidArgument"}, {ENOENT, "NotFound"}, {ECANCELED, "Canceled"}};
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        if (codes[i].code == err->code)
            return codes[i].name;
    return "Unknown";
}
