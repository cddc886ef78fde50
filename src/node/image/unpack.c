/* Unpacking a layer.
 *
 * Two libarchive readers in a row: the first undoes the compression, its output is hashed (the diff ID) and counted,
 * and feeds the second, which reads tar. Entries are placed by entry.c. */
#include "node/image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/image/entry.h"

struct unpack {
    const struct unpack_source *source;
    struct unpack_budget *budget;
    const struct cancel *cancel;
    struct archive *raw;
    bool raw_empty; /* the blob has no bytes at all */
    struct archive *tar;
    struct digest digest;
    struct error failure; /* of source, budget or cancel, seen inside a libarchive callback */
};

void image_unpack_budget_start(struct unpack_budget *budget, const struct image_limits *limits)
{
    atomic_init(&budget->entries, 0);
    atomic_init(&budget->files, 0);
    atomic_init(&budget->stream, 0);
    budget->limits = *limits;
}

void image_unpack_result_free(struct unpack_result *result)
{
    map_free(&result->implied);
}

static int check(struct unpack *u)
{
    if (cancelled(u->cancel))
        return error_set(&u->failure, ECANCELED, "cancelled");
    return 0;
}

static la_ssize_t read_blob(struct archive *raw, void *context, const void **block)
{
    struct unpack *u = context;
    if (check(u) == 0) {
        ssize_t n = u->source->read(u->source->context, block, &u->failure);
        if (n >= 0)
            return n;
    }
    archive_set_error(raw, u->failure.code, "%s", u->failure.text);
    return -1;
}

static la_ssize_t read_uncompressed(struct archive *tar, void *context, const void **block)
{
    struct unpack *u = context;
    size_t size = 0;
    la_int64_t offset;
    int result = ARCHIVE_OK;
    if (u->raw_empty)
        return 0;
    do
        result = archive_read_data_block(u->raw, block, &size, &offset);
    while (result == ARCHIVE_OK && size == 0);
    if (result == ARCHIVE_EOF)
        return 0;
    if (result < ARCHIVE_WARN) {
        if (!u->failure.code)
            error_set(&u->failure, EBADMSG, "cannot decompress: %s", archive_error_string(u->raw));
        archive_set_error(tar, u->failure.code, "%s", u->failure.text);
        return -1;
    }
    image_digest_add(&u->digest, *block, size);
    if (atomic_fetch_add(&u->budget->stream, size) + size > u->budget->limits.unpacked) {
        error_set(&u->failure, E2BIG, "the image is larger than %llu bytes unpacked",
                  (unsigned long long)u->budget->limits.unpacked);
        archive_set_error(tar, u->failure.code, "%s", u->failure.text);
        return -1;
    }
    return (la_ssize_t)size;
}

static int archive_failure(struct unpack *u, struct archive *archive, const char *what, struct error *err)
{
    if (u->failure.code)
        return error_set(err, u->failure.code, "%s", u->failure.text);
    const char *text = archive_error_string(archive);
    return error_set(err, EBADMSG, "%s: %s", what, text ? text : "unknown error");
}

static int open_readers(struct unpack *u, struct error *err)
{
    struct archive_entry *entry;
    archive_read_support_filter_gzip(u->raw);
    archive_read_support_filter_zstd(u->raw);
    archive_read_support_format_raw(u->raw);
    archive_read_support_format_empty(u->raw);
    if (archive_read_open(u->raw, u, NULL, read_blob, NULL) != ARCHIVE_OK)
        return archive_failure(u, u->raw, "cannot read", err);
    int result = archive_read_next_header(u->raw, &entry);
    if (result < ARCHIVE_WARN)
        return archive_failure(u, u->raw, "cannot read", err);
    u->raw_empty = result == ARCHIVE_EOF;
    archive_read_support_format_tar(u->tar);
    archive_read_support_format_empty(u->tar);
    if (archive_read_open(u->tar, u, NULL, read_uncompressed, NULL) != ARCHIVE_OK)
        return archive_failure(u, u->tar, "not a tar file", err);
    return 0;
}

static int unpack_entries(struct unpack *u, int root, struct unpack_result *result, struct error *err)
{
    struct archive_entry *entry;
    struct placer placer;
    int status = 0;
    image_placer_start(&placer, root, u->tar, u->budget, &result->implied);
    for (;;) {
        int got = archive_read_next_header(u->tar, &entry);
        if (got == ARCHIVE_EOF) {
            status = image_placer_finish(&placer, err);
            break;
        }
        if (check(u) < 0 || got < ARCHIVE_WARN) {
            status = archive_failure(u, u->tar, "damaged tar file", err);
            break;
        }
        struct error failure = {0};
        if (image_placer_add(&placer, entry, &failure) < 0) {
            /* What libarchive reports of our own callbacks is the consequence; the cause is in failure. */
            const struct error *cause = u->failure.code ? &u->failure : &failure;
            status = error_set(err, cause->code, "%s", cause->text);
            break;
        }
    }
    image_placer_discard(&placer);
    return status;
}

/* The digest covers what follows the end of the archive, too. */
static int drain(struct unpack *u, struct error *err)
{
    const void *block;
    la_ssize_t n;
    do
        n = read_uncompressed(u->tar, u, &block);
    while (n > 0);
    return n < 0 ? archive_failure(u, u->tar, "cannot read", err) : 0;
}

int image_unpack_layer(const struct unpack_source *source, const char *directory, struct unpack_budget *budget,
                       const struct cancel *cancel, struct unpack_result *result, struct error *err)
{
    struct unpack u = {.source = source, .budget = budget, .cancel = cancel};
    /* Names are bytes to us; libarchive converts those of PAX headers from UTF-8 to the thread's locale. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    int status = 0;
    *result = (struct unpack_result){0};
    cleanup_close int root = -1;
    if (mkdir(directory, 0755) < 0 || (root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        fchmod(root, 0755) < 0)
        status = error_errno(err, "make %s", directory);
    u.raw = archive_read_new();
    u.tar = archive_read_new();
    image_digest_start(&u.digest);
    if (status == 0)
        status = open_readers(&u, err);
    if (status == 0)
        status = unpack_entries(&u, root, result, err);
    if (status == 0)
        status = drain(&u, err);
    if (status == 0)
        image_digest_finish(&u.digest, result->diff_id);
    image_digest_discard(&u.digest);
    archive_read_free(u.tar);
    archive_read_free(u.raw);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    return status;
}
