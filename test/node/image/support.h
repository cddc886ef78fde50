/* Helpers of the image tests: tar files, image archives and a directory that is gone afterwards. */
#ifndef CORACLE_TEST_NODE_IMAGE_SUPPORT_H
#define CORACLE_TEST_NODE_IMAGE_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "node/image/digest.h"
#include "node/image/image.h"

/* One entry of a tar file. type is an AE_IF... value, or 'h' for a hard link. */
struct test_entry {
    const char *path;
    unsigned type;
    unsigned mode;
    const char *data; /* content, or target of a link */
    unsigned major, minor;
    unsigned uid, gid;
    const char *xattr; /* name; its value is "value" */
    uint64_t hole;     /* declared size without content: a sparse file */
};

enum test_compression { TEST_PLAIN, TEST_GZIP, TEST_ZSTD };

/* A tar file of these entries; release with buffer_free. */
struct buffer test_tar(const struct test_entry *entries, size_t count, enum test_compression compression);
/* So many zero bytes, compressed with gzip. */
struct buffer test_zeros(size_t size);
#define TEST_TAR(entries, compression) test_tar(entries, sizeof(entries) / sizeof(entries[0]), compression)

#define TEST_LAYERS_MAX 200

/* An image to be made into an archive or served by the fake registry. */
struct test_image {
    const char *config;                    /* members of the "config" object */
    const char *name;                      /* for RepoTags, or NULL */
    struct buffer layers[TEST_LAYERS_MAX]; /* blobs as transferred */
    struct buffer plain[TEST_LAYERS_MAX];  /* the same uncompressed; empty where they are not compressed */
    size_t layer_count;
    /* Filled by test_image_finish: */
    struct buffer config_blob;
    struct buffer manifest; /* OCI */
    char id[DIGEST_TEXT_SIZE];
    char manifest_digest[DIGEST_TEXT_SIZE];
    char layer_digests[TEST_LAYERS_MAX][DIGEST_TEXT_SIZE];
};

void test_image_add_layer(struct test_image *image, const struct test_entry *entries, size_t count,
                          enum test_compression compression);
void test_image_finish(struct test_image *image);
void test_image_free(struct test_image *image);

/* Writes a docker-archive of several images; with `oci`, an OCI layout. */
void test_write_archive(const char *path, struct test_image *const *images, size_t count, bool oci);
/* Writes a file. */
void test_write(const char *path, const void *data, size_t size);

/* A fresh directory; test_directory_free removes it and what is in it. */
char *test_directory(void);
void test_directory_free(char *directory);
/* Whether a path exists (links not followed). */
bool test_exists(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The number of entries of a directory. */
size_t test_count(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        struct error err = {0};                                                                                        \
        if ((call) < 0)                                                                                                \
            fail_msg("%s: %s", #call, err.text);                                                                       \
    } while (0)

/* The call fails with this code and a text that contains this. */
#define assert_fails(call, wanted_code, part)                                                                          \
    do {                                                                                                               \
        struct error err = {0};                                                                                        \
        assert_int_equal((call), -1);                                                                                  \
        if (err.code != (wanted_code) || !strstr(err.text, part))                                                      \
            fail_msg("%s: code %d, \"%s\"", #call, err.code, err.text);                                                \
    } while (0)

#endif
