/* The documents that describe images: manifests and indexes (OCI image specification 1.1 and Docker schema 2), image
 * configurations, and the manifest.json of a docker-archive. Everything read lives in the arena given.
 *
 * All of them come from outside: sizes are bounded by the callers (IMAGE_MANIFEST_MAX), and every field is checked
 * here. Errors are EBADMSG, or E2BIG for too many layers. */
#ifndef CORACLE_NODE_IMAGE_MANIFEST_H
#define CORACLE_NODE_IMAGE_MANIFEST_H

#include "base/arena.h"
#include "node/image/image.h"

#define INDEX_ENTRIES_MAX 1024  /* manifests of one index */
#define ARCHIVE_IMAGES_MAX 1024 /* images of one docker-archive */
#define ARCHIVE_NAMES_MAX 1024  /* names of one image in it */
#define CONFIG_ITEMS_MAX 65536  /* entries of one list or map of a configuration */

/* What to accept from a registry. */
extern const char image_manifest_accept[];

struct descriptor {
    const char *digest; /* valid (see image_digest_valid) */
    const char *media_type;
    uint64_t size;
    const char *os; /* "" when the entry names no platform */
    const char *architecture;
    const char *variant;
    const char *name; /* the annotation io.containerd.image.name or org.opencontainers.image.ref.name, or NULL */
};

struct manifest {
    bool is_index;
    struct descriptor config; /* of an image */
    struct descriptor *items; /* its layers, lowest first; or the manifests of an index */
    size_t count;
};

int image_manifest_parse(const char *data, size_t size, size_t layers_max, struct arena *arena, struct manifest *out,
                         struct error *err);
/* The entry of an index that suits this machine. ENOENT when none does. */
int image_manifest_choose(const struct manifest *index, const struct descriptor **out, struct error *err);

/* A configuration and the digests of its layers' uncompressed tar files, lowest first. */
int image_manifest_config_parse(const char *data, size_t size, size_t layers_max, struct arena *arena,
                                struct image_config *config, struct image_strings *diff_ids, struct error *err);

/* ENOENT when the image is for another operating system or architecture. */
int image_manifest_platform_check(const struct image_config *config, struct error *err);

/* One image of a docker-archive's manifest.json: paths inside the archive. */
struct archive_image {
    const char *config;
    struct image_strings names; /* as written */
    struct image_strings layers;
};

int image_manifest_archive_parse(const char *data, size_t size, size_t layers_max, struct arena *arena,
                                 struct archive_image **out, size_t *count, struct error *err);

#endif
