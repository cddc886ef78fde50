/* Downloading a blob.
 *
 * The bytes go to a file named by their digest, hashed as they come. A connection that breaks is taken up where it
 * broke (Range), now or by a later pull; the file's lock keeps two pulls from writing it at once. */
#include "node/image/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_POLL_MILLISECONDS 20
#define READ_STEP 65536

void image_download_discard(struct download *download)
{
    cleanup_close_fd(&download->fd);
    download->fd = -1;
    image_digest_discard(&download->digest);
}

void image_download_remove(struct image_store *store, const char *digest)
{
    cleanup_free char *path = image_store_path(store, "partial/%s", image_digest_hex(digest));
    unlink(path);
}

static int wait_for_lock(int fd, const char *path, const struct cancel *cancel, struct error *err)
{
    const struct timespec pause = {0, LOCK_POLL_MILLISECONDS * 1000000};
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_errno(err, "lock %s", path);
        if (cancelled(cancel))
            return error_set(err, ECANCELED, "context canceled");
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int start_over(struct download *download, struct error *err)
{
    image_digest_start(&download->digest);
    download->done = 0;
    return ftruncate(download->fd, 0) < 0 ? error_errno(err, "truncate a partial download") : 0;
}

/* Takes what an earlier attempt left into the digest. */
static int take_up(struct download *download, struct error *err)
{
    char block[READ_STEP];
    struct stat info;
    if (fstat(download->fd, &info) < 0)
        return error_errno(err, "read a partial download");
    if ((uint64_t)info.st_size > download->size)
        return start_over(download, err);
    image_digest_start(&download->digest);
    for (;;) {
        ssize_t n = pread(download->fd, block, sizeof(block), (off_t)download->done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, "read a partial download");
        if (n == 0)
            return 0;
        image_digest_add(&download->digest, block, (size_t)n);
        download->done += (uint64_t)n;
    }
}

int image_download_open(struct image_store *store, const struct descriptor *blob, const struct cancel *cancel,
                        struct download *out, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "partial/%s", image_digest_hex(blob->digest));
    struct stat info;
    *out = (struct download){.fd = -1, .size = blob->size};
    for (;;) {
        out->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out->fd < 0)
            return error_errno(err, "open %s", path);
        if (wait_for_lock(out->fd, path, cancel, err) < 0)
            return -1;
        /* Who had the lock may have removed the file. */
        if (fstat(out->fd, &info) == 0 && info.st_nlink > 0)
            return take_up(out, err);
        image_download_discard(out);
    }
}

static int write_body(void *context, const struct http_response *response, const void *data, size_t size,
                      struct error *err)
{
    struct download *download = context;
    /* A server may give the whole although a part was asked for. */
    if (!download->answered && response->status == 200 && download->done && start_over(download, err) < 0)
        return -1;
    if (response->status == 206 && !download->answered &&
        (!response->has_range || response->range_start != download->done))
        return error_set(err, EPROTO, "the registry answers another range than it was asked for");
    download->answered = true;
    if (size > download->size - download->done)
        return error_set(err, EBADMSG, "the blob is larger than the %llu bytes that the manifest says",
                         (unsigned long long)download->size);
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(download->fd, (const char *)data + done, size - done, (off_t)(download->done + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, "write a download");
        done += (size_t)n;
    }
    image_digest_add(&download->digest, data, size);
    download->done += size;
    if (download->progress)
        download->progress(download->context, download->done);
    return 0;
}

/* One request for what is missing. 1 when it brought all, 0 when it is worth trying again, -1 otherwise. */
static int attempt(struct download *download, struct registry *registry, struct http_client *client,
                   const struct registry_request *request, unsigned *retry_after, struct error *err)
{
    cleanup_http_response struct http_response response = {0};
    struct error failure = {0};
    download->answered = false;
    int result = image_registry_send(registry, client, request, &response, &failure);
    *retry_after = response.retry_after;
    if (result == 0 && (response.status == 200 || response.status == 206)) {
        if (download->done == download->size)
            return 1;
        error_set(err, EPROTO, "the blob ended after %llu of %llu bytes: unexpected EOF",
                  (unsigned long long)download->done, (unsigned long long)download->size);
        return 0;
    }
    error_set(err, failure.code ? failure.code : EPROTO, "%s", failure.text);
    if (result == 0 && response.status == 416)
        return start_over(download, err);
    if (result == 0)
        return image_http_status_transient(response.status) ? 0 : -1;
    if (failure.code == ENOSPC)
        start_over(download, NULL);
    return response.cut ? 0 : -1;
}

static int fetch_missing(struct download *download, struct registry *registry, struct http_client *client,
                         const struct descriptor *blob, struct error *err)
{
    int failures = 0;
    cleanup_free char *path = mem_printf("blobs/%s", blob->digest);
    for (int resumptions = 0; download->done < download->size; resumptions++) {
        const struct registry_request request = {
            .method = "GET", .path = path, .from = download->done, .sink = write_body, .data = download};
        uint64_t before = download->done;
        unsigned retry_after;
        int result = attempt(download, registry, client, &request, &retry_after, err);
        if (result)
            return result < 0 ? -1 : 0;
        failures = download->done > before ? 1 : failures + 1;
        if (failures == REGISTRY_ATTEMPTS_MAX || resumptions == DOWNLOAD_RESUMPTIONS_MAX)
            return -1;
        if (image_registry_pause(registry, failures, retry_after, err) < 0)
            return -1;
    }
    return 0;
}

int image_download_run(struct download *download, struct registry *registry, struct http_client *client,
                       const struct descriptor *blob, struct error *err)
{
    char actual[DIGEST_TEXT_SIZE];
    for (;;) {
        bool resumed = download->done > 0;
        if (fetch_missing(download, registry, client, blob, err) < 0)
            return -1;
        image_digest_finish(&download->digest, actual);
        if (strcmp(actual, blob->digest) == 0)
            return 0;
        /* What an earlier attempt left may be what is wrong; a whole download that is wrong stays wrong. */
        if (start_over(download, err) < 0)
            return -1;
        if (!resumed)
            return error_set(err, EBADMSG, "unexpected commit digest %s, expected %s: failed precondition", actual,
                             blob->digest);
    }
}
