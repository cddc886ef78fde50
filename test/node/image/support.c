/* Helpers of the image tests. */
#include "support.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/image/tree.h"

static la_ssize_t collect(struct archive *archive, void *context, const void *data, size_t size)
{
    (void)archive;
    buffer_add(context, data, size);
    return (la_ssize_t)size;
}

static void write_entry(struct archive *out, const struct test_entry *item)
{
    struct archive_entry *entry = archive_entry_new();
    bool link = item->type == 'h';
    archive_entry_set_pathname(entry, item->path);
    archive_entry_set_filetype(entry, link ? AE_IFREG : item->type);
    archive_entry_set_perm(entry, item->mode ? item->mode : 0755);
    archive_entry_set_uid(entry, item->uid);
    archive_entry_set_gid(entry, item->gid);
    archive_entry_set_mtime(entry, 1700000000, 0);
    archive_entry_set_size(entry, 0);
    if (link)
        archive_entry_set_hardlink(entry, item->data);
    else if (item->type == AE_IFLNK)
        archive_entry_set_symlink(entry, item->data);
    else if (item->hole) {
        archive_entry_set_size(entry, (la_int64_t)item->hole);
        archive_entry_sparse_add_entry(entry, (la_int64_t)item->hole - 1, 1);
    } else if (item->data)
        archive_entry_set_size(entry, (la_int64_t)strlen(item->data));
    if (item->xattr)
        archive_entry_xattr_add_entry(entry, item->xattr, "value", 5);
    archive_entry_set_rdevmajor(entry, item->major);
    archive_entry_set_rdevminor(entry, item->minor);
    assert_true(archive_write_header(out, entry) >= ARCHIVE_WARN);
    if (item->hole) {
        char zero[4096] = {0};
        for (uint64_t done = 0; done < item->hole; done += sizeof(zero))
            archive_write_data(out, zero, item->hole - done < sizeof(zero) ? item->hole - done : sizeof(zero));
    } else if (!link && item->type == AE_IFREG && item->data) {
        archive_write_data(out, item->data, strlen(item->data));
    }
    archive_entry_free(entry);
}

struct buffer test_tar(const struct test_entry *entries, size_t count, enum test_compression compression)
{
    struct buffer buffer = {0};
    struct archive *out = archive_write_new();
    archive_write_set_format_pax_restricted(out);
    if (compression == TEST_GZIP)
        archive_write_add_filter_gzip(out);
    if (compression == TEST_ZSTD)
        archive_write_add_filter_zstd(out);
    archive_write_set_bytes_in_last_block(out, 1);
    assert_int_equal(archive_write_open(out, &buffer, NULL, collect, NULL), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        write_entry(out, &entries[i]);
    assert_int_equal(archive_write_close(out), ARCHIVE_OK);
    archive_write_free(out);
    return buffer;
}

struct buffer test_zeros(size_t size)
{
    static const char block[65536];
    struct buffer buffer = {0};
    struct archive *out = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    archive_write_set_format_raw(out);
    archive_write_add_filter_gzip(out);
    archive_write_set_bytes_in_last_block(out, 1);
    assert_int_equal(archive_write_open(out, &buffer, NULL, collect, NULL), ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    assert_int_equal(archive_write_header(out, entry), ARCHIVE_OK);
    for (size_t done = 0; done < size; done += sizeof(block))
        archive_write_data(out, block, sizeof(block));
    archive_entry_free(entry);
    assert_int_equal(archive_write_close(out), ARCHIVE_OK);
    archive_write_free(out);
    return buffer;
}

void test_image_add_layer(struct test_image *image, const struct test_entry *entries, size_t count,
                          enum test_compression compression)
{
    assert_true(image->layer_count < TEST_LAYERS_MAX);
    image->layers[image->layer_count] = test_tar(entries, count, compression);
    if (compression != TEST_PLAIN)
        image->plain[image->layer_count] = test_tar(entries, count, TEST_PLAIN);
    image->layer_count++;
}

static const char *architecture(void)
{
    static struct utsname name;
    uname(&name);
    return strcmp(name.machine, "x86_64") == 0    ? "amd64"
           : strcmp(name.machine, "aarch64") == 0 ? "arm64"
                                                  : name.machine;
}

void test_image_finish(struct test_image *image)
{
    buffer_clear(&image->config_blob);
    buffer_clear(&image->manifest);
    buffer_printf(&image->config_blob,
                  "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{%s},\"rootfs\":{\"type\":"
                  "\"layers\",\"diff_ids\":[",
                  architecture(), image->config ? image->config : "");
    for (size_t i = 0; i < image->layer_count; i++) {
        const struct buffer *plain = image->plain[i].size ? &image->plain[i] : &image->layers[i];
        char diff_id[DIGEST_TEXT_SIZE];
        image_digest_of(plain->data, plain->size, diff_id);
        image_digest_of(image->layers[i].data, image->layers[i].size, image->layer_digests[i]);
        buffer_printf(&image->config_blob, "%s\"%s\"", i ? "," : "", diff_id);
    }
    buffer_printf(&image->config_blob, "]}}");
    image_digest_of(image->config_blob.data, image->config_blob.size, image->id);
    buffer_printf(&image->manifest,
                  "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{"
                  "\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
                  "\"layers\":[",
                  image->id, image->config_blob.size);
    for (size_t i = 0; i < image->layer_count; i++)
        buffer_printf(&image->manifest,
                      "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar%s\",\"digest\":\"%s\",\"size\":%zu}",
                      i ? "," : "", image->plain[i].size ? "+gzip" : "", image->layer_digests[i],
                      image->layers[i].size);
    buffer_printf(&image->manifest, "]}");
    image_digest_of(image->manifest.data, image->manifest.size, image->manifest_digest);
}

void test_image_free(struct test_image *image)
{
    for (size_t i = 0; i < image->layer_count; i++) {
        buffer_free(&image->layers[i]);
        buffer_free(&image->plain[i]);
    }
    buffer_free(&image->config_blob);
    buffer_free(&image->manifest);
}

/* ---- Archives ---- */

static void add_file(struct archive *out, const char *path, const void *data, size_t size)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)size);
    assert_int_equal(archive_write_header(out, entry), ARCHIVE_OK);
    archive_write_data(out, data, size);
    archive_entry_free(entry);
}

static void add_blob(struct archive *out, const struct buffer *blob)
{
    char digest[DIGEST_TEXT_SIZE], path[128];
    image_digest_of(blob->data, blob->size, digest);
    snprintf(path, sizeof(path), "blobs/sha256/%s", image_digest_hex(digest));
    add_file(out, path, blob->data, blob->size);
}

static void write_oci(struct archive *out, struct test_image *const *images, size_t count)
{
    cleanup_buffer struct buffer index = {0};
    buffer_printf(&index, "{\"schemaVersion\":2,\"manifests\":[");
    for (size_t i = 0; i < count; i++) {
        const struct test_image *image = images[i];
        buffer_printf(&index,
                      "%s{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\","
                      "\"size\":%zu",
                      i ? "," : "", image->manifest_digest, image->manifest.size);
        if (image->name)
            buffer_printf(&index, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}", image->name);
        buffer_printf(&index, "}");
        add_blob(out, &image->manifest);
        add_blob(out, &image->config_blob);
        for (size_t k = 0; k < image->layer_count; k++)
            add_blob(out, &image->layers[k]);
    }
    buffer_printf(&index, "]}");
    add_file(out, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
    add_file(out, "index.json", index.data, index.size);
}

static void write_docker(struct archive *out, struct test_image *const *images, size_t count)
{
    cleanup_buffer struct buffer manifest = {0};
    char path[128];
    buffer_printf(&manifest, "[");
    for (size_t i = 0; i < count; i++) {
        const struct test_image *image = images[i];
        buffer_printf(&manifest, "%s{\"Config\":\"%s.json\",\"RepoTags\":[", i ? "," : "", image_digest_hex(image->id));
        if (image->name)
            buffer_printf(&manifest, "\"%s\"", image->name);
        buffer_printf(&manifest, "],\"Layers\":[");
        for (size_t k = 0; k < image->layer_count; k++) {
            snprintf(path, sizeof(path), "%zu-%zu/layer.tar", i, k);
            add_file(out, path, image->layers[k].data, image->layers[k].size);
            buffer_printf(&manifest, "%s\"%s\"", k ? "," : "", path);
        }
        buffer_printf(&manifest, "]}");
        snprintf(path, sizeof(path), "%s.json", image_digest_hex(image->id));
        add_file(out, path, image->config_blob.data, image->config_blob.size);
    }
    buffer_printf(&manifest, "]");
    add_file(out, "manifest.json", manifest.data, manifest.size);
}

void test_write_archive(const char *path, struct test_image *const *images, size_t count, bool oci)
{
    struct archive *out = archive_write_new();
    archive_write_set_format_pax_restricted(out);
    assert_int_equal(archive_write_open_filename(out, path), ARCHIVE_OK);
    (oci ? write_oci : write_docker)(out, images, count);
    assert_int_equal(archive_write_close(out), ARCHIVE_OK);
    archive_write_free(out);
}

void test_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- Directories ---- */

char *test_directory(void)
{
    const char *top = getenv("TMPDIR");
    char *path = mem_printf("%s/coracle-image-XXXXXX", top ? top : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

void test_directory_free(char *directory)
{
    assert_int_equal(image_tree_remove_path(directory), 0);
    free(directory);
}

bool test_exists(const char *format, ...)
{
    char path[4096];
    struct stat info;
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    return lstat(path, &info) == 0;
}

size_t test_count(const char *format, ...)
{
    char path[4096];
    size_t count = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream && (entry = readdir(stream)))
        count += entry->d_name[0] != '.';
    if (stream)
        closedir(stream);
    return count;
}
