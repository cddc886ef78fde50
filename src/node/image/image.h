/* Images: a content-addressed store on disk, import of archives, pulls from registries, and root file systems.
 *
 * Threads. Every function blocks and may be called from any thread; a store may be used by several threads, and
 * several processes may open the same directory (locks are flock(2)s inside it). Nothing depends on the calling
 * process's state except the namespaces of the calling thread: a pull from a thread that has joined another network
 * namespace pulls through that namespace, a mount lands in the mount namespace of the calling thread.
 *
 * Errors. -1 with err filled, as everywhere. err->code tells what kind it is:
 *
 *     EINVAL        the reference is not valid                         (reason InvalidImageName)
 *     ENOENT        no such image, here or in the registry
 *     EACCES        the registry refuses: no credentials, or wrong ones
 *     EHOSTUNREACH  the registry does not answer
 *     EPROTO        the registry answers what it should not
 *     EBADMSG       content is damaged, hostile or not of a known format; a digest does not match
 *     E2BIG         a limit below is exceeded
 *     ECANCELED     the cancel flag was set
 *     other errno   the system refused (ENOSPC, EPERM, ...)
 *
 * Texts follow containerd ("failed to pull and unpack image ...") and the kubelet. */
#ifndef CORACLE_NODE_IMAGE_IMAGE_H
#define CORACLE_NODE_IMAGE_IMAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* ---- References ---- */

#define IMAGE_NAME_MAX 255        /* characters of domain and path, as upstream's distribution/reference */
#define IMAGE_TAG_MAX 128         /* characters of a tag */
#define IMAGE_DIGEST_TEXT_MAX 136 /* "sha512:" and 128 digits, with the NUL */
#define IMAGE_REFERENCE_MAX (IMAGE_NAME_MAX + IMAGE_TAG_MAX + IMAGE_DIGEST_TEXT_MAX + 3)

/* A normalised reference: `nginx` is docker.io / library/nginx : latest. */
struct image_reference {
    char domain[IMAGE_NAME_MAX + 1];
    char path[IMAGE_NAME_MAX + 1];
    char tag[IMAGE_TAG_MAX + 1];        /* empty when there is a digest */
    char digest[IMAGE_DIGEST_TEXT_MAX]; /* "sha256:..." or empty */
    char name[IMAGE_NAME_MAX + 1];      /* domain/path */
    char text[IMAGE_REFERENCE_MAX];     /* domain/path:tag or domain/path@digest, as status shows it */
};

/* Reads a reference as upstream's ParseNormalizedNamed does, and adds the tag latest where there is neither tag nor
 * digest. Errors (EINVAL) carry upstream's words, without the kubelet's prefix:
 * "invalid reference format: repository name (Foo) must be lowercase". */
int image_reference_parse(const char *text, struct image_reference *out, struct error *err);

/* ---- The store ---- */

#define IMAGE_LAYERS_MAX 128                           /* layers of one image, as Docker */
#define IMAGE_ENTRIES_MAX 2000000                      /* files, directories, links and nodes of one image */
#define IMAGE_UNPACKED_MAX (UINT64_C(256) << 30)       /* bytes of one image, unpacked */
#define IMAGE_MANIFEST_MAX ((size_t)4 << 20)           /* bytes of a manifest, an index or a configuration */
#define IMAGE_ARCHIVE_DOCUMENTS_MAX ((size_t)64 << 20) /* bytes of all JSON documents of one archive */

struct image_limits {
    size_t layers;
    uint64_t entries;
    uint64_t unpacked;
};

struct image_store;

/* Opens the store in a directory, which is made if need be (mode 0700: layers hold set-user-ID programs). Removes what
 * a process that died left half done. limits NULL: the defaults above. */
int image_store_open(const char *directory, const struct image_limits *limits, struct image_store **out,
                     struct error *err);
/* No other call may be under way. NULL is fine. */
void image_store_close(struct image_store *store);

/* `count` strings and a NULL behind them. */
struct image_strings {
    char **items;
    size_t count;
};

struct image_label {
    char *key;
    char *value;
};

/* What a container made from the image starts with. Strings are "" and lists are empty where the image says nothing. */
struct image_config {
    struct image_strings env; /* KEY=value */
    struct image_strings entrypoint;
    struct image_strings command;
    char *working_dir;
    char *user; /* "", "name", "1000", "name:group", "1000:1000" */
    char *stop_signal;
    struct image_strings exposed_ports; /* "8080/tcp" */
    struct image_strings volumes;       /* paths */
    struct image_label *labels;
    size_t label_count;
    char *architecture;
    char *os;
    char *created; /* RFC 3339, as the image has it */
};

/* An image as it was when it was looked up: a snapshot owned by the caller, unaffected by later changes. */
struct image {
    char *id;                     /* "sha256:...", the digest of the configuration */
    struct image_strings names;   /* "docker.io/library/nginx:latest", in the order in which they came */
    struct image_strings digests; /* "docker.io/library/nginx@sha256:..."; none for an imported image */
    struct image_strings layers;  /* chain IDs in hexadecimal, lowest first */
    uint64_t size;                /* bytes of manifest, configuration and layers as transferred */
    int64_t stored;               /* when it came into the store, microseconds since the epoch */
    struct image_config config;
    struct arena *arena; /* everything above */
};

void image_free(struct image *image);
void cleanup_free_image(struct image **image);
#define cleanup_image __attribute__((cleanup(cleanup_free_image)))

struct image_list {
    struct image **items;
    size_t count;
};
void image_list_free(struct image_list *list);
#define cleanup_image_list __attribute__((cleanup(image_list_free)))

/* All images, in the order in which they came. */
int image_list(struct image_store *store, struct image_list *out, struct error *err);
/* By name (normalised first), name@digest, ID with or without "sha256:", or the beginning of an ID (at least
 * IMAGE_ID_PREFIX_MIN digits, and unique). ENOENT when there is none. */
#define IMAGE_ID_PREFIX_MIN 4
int image_find(struct image_store *store, const char *reference, struct image **out, struct error *err);
/* What upstream's status shows as imageID: the first repository digest, or the ID. Lives as long as the image. */
const char *image_status_id(const struct image *image);
/* Gives an image one more name; the name is taken from the image that had it. */
int image_tag(struct image_store *store, const char *reference, const char *name, struct error *err);
/* A name: takes the name away, and the image with its last name. An ID: the image with all its names. Layers go when no
 * image and no mounted root file system needs them. */
int image_remove(struct image_store *store, const char *reference, struct error *err);

/* ---- Coming in ---- */

enum image_progress_state {
    IMAGE_PROGRESS_WAITING,
    IMAGE_PROGRESS_DOWNLOADING,
    IMAGE_PROGRESS_UNPACKING,
    IMAGE_PROGRESS_DONE,
    IMAGE_PROGRESS_PRESENT, /* was in the store already */
};

struct image_progress {
    size_t layer; /* index, lowest first */
    size_t layer_count;
    const char *digest;
    enum image_progress_state state;
    uint64_t done; /* bytes, compressed */
    uint64_t total;
};
/* Called from worker threads, one call at a time; must not block for long. */
typedef void (*image_progress_callback)(const struct image_progress *progress, void *context);

/* Imports every image of a docker-archive or OCI archive (a tar file, plain, gzip or zstd). All digests are checked.
 * `name` (or NULL) names an image that the archive does not name. The images are appended to *out when it is not NULL.
 * Images before a damaged one stay. */
int image_import(struct image_store *store, const char *path, const char *name, const atomic_bool *cancel,
                 struct image_list *out, struct error *err);

struct image_credential {
    char *username;
    char *password;
};

#define IMAGE_PARALLEL_DOWNLOADS 3 /* layers under way at once, as containerd */

struct image_pull_options {
    const struct image_credential *credentials; /* tried in turn; none: anonymous */
    size_t credential_count;
    const char *const *insecure_registries; /* host[:port]: plain HTTP or unverified TLS; loopback always is */
    size_t insecure_registry_count;
    const char *ca_file;         /* PEM; NULL: the system's */
    const atomic_bool *cancel;   /* NULL: cannot be cancelled */
    unsigned stall_seconds;      /* give up on a connection that is silent for so long; 0: 60 */
    unsigned retry_milliseconds; /* the first pause between attempts, then doubled; 0: 200 */
    image_progress_callback progress;
    void *context;
};

/* Resolves the reference at its registry, fetches what is missing and stores the image under its name. options NULL:
 * anonymous. Content that is here already is not fetched again. */
int image_pull(struct image_store *store, const char *reference, const struct image_pull_options *options,
               struct image **out, struct error *err);
/* The gRPC code that containerd's CRI plug-in would answer with for an error of image_pull ("NotFound", "Unknown",
 * ...): the kubelet shows "rpc error: code = NotFound desc = ...". */
const char *image_error_grpc_code(const struct error *err);

/* ---- Credentials from Secrets ---- */

#define IMAGE_CREDENTIALS_MAX 256 /* entries of one keyring */

struct image_keyring;
struct image_keyring *image_keyring_new(void);
void image_keyring_free(struct image_keyring *keyring);
/* Adds the entries of a Secret's `.dockerconfigjson` (or `.dockercfg` when legacy) value. */
int image_keyring_add(struct image_keyring *keyring, const char *data, size_t size, bool legacy, struct error *err);
/* The credentials for a reference, most specific first, as upstream's credentialprovider matches them (globs in host
 * names, path prefixes). *out is an array to be released with free(); what it points to lives with the keyring. */
int image_keyring_find(const struct image_keyring *keyring, const char *reference, struct image_credential **out,
                       size_t *count, struct error *err);

/* ---- Root file systems ---- */

/* Mounts the image's layers with a writable layer of its own on <directory>/rootfs; the writable layer is
 * <directory>/upper (which survives an unmount). directory is absolute and exists. Device nodes in it are dead here
 * (MS_NODEV); in a container, whose root crun mounts anew, the device rules of its cgroup decide. Fine when it is
 * mounted already. The layers stay while it is mounted, whatever happens to the image. */
int image_mount_rootfs(struct image_store *store, const struct image *image, const char *directory, struct error *err);
/* Unmounts and lets go of the layers. Fine when it is not mounted. Files in directory stay. */
int image_unmount_rootfs(struct image_store *store, const char *directory, struct error *err);
/* Copies what the directory `path` of a root file system holds into `to`, an empty directory outside of it, which gets
 * the owner, mode and times of the other. No link leads outside. Nothing happens when there is nothing at path. Sockets
 * and device nodes, which would be live there, are left out; hard links become files of their own. Blocks. */
int image_copy_up(const char *rootfs, const char *path, const char *to, struct error *err);

#define IMAGE_USER_GROUPS_MAX 1024

struct image_user {
    uid_t uid;
    gid_t gid;
    char home[256]; /* "/" when unknown */
    gid_t *groups;  /* supplementary groups from /etc/group, without gid */
    size_t group_count;
};

/* Resolves an image's USER against /etc/passwd and /etc/group of a mounted root file system, opened so that no link in
 * it leads outside. A number needs no entry. As containerd: an unknown name is an error (ENOENT). */
int image_user_resolve(const char *rootfs, const char *user, struct image_user *out, struct error *err);
void image_user_free(struct image_user *user);

#endif
