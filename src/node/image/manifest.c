/* Reading manifests, indexes and configurations. */
#include "node/image/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "node/image/digest.h"

const char image_manifest_accept[] = "application/vnd.docker.distribution.manifest.v2+json, "
                                     "application/vnd.docker.distribution.manifest.list.v2+json, "
                                     "application/vnd.oci.image.manifest.v1+json, "
                                     "application/vnd.oci.image.index.v1+json, */*";

static const char *const layer_media_types[] = {
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
};

/* Go's names of the machines that uname knows. */
static const struct {
    const char *machine;
    const char *architecture;
} architectures[] = {
    {"x86_64", "amd64"},    {"aarch64", "arm64"},   {"armv7l", "arm"},  {"i686", "386"},
    {"riscv64", "riscv64"}, {"ppc64le", "ppc64le"}, {"s390x", "s390x"}, {"loongarch64", "loong64"},
};

static void release_json(json_t **value)
{
    json_decref(*value);
}
#define cleanup_json __attribute__((cleanup(release_json)))

static int parse(const char *data, size_t size, const char *what, json_t **out, struct error *err)
{
    json_error_t where;
    *out = json_loadb(data, size, 0, &where);
    if (!*out)
        return error_set(err, EBADMSG, "%s is not JSON: %s (line %d)", what, where.text, where.line);
    return 0;
}

/* The member's text, or `otherwise` where it is missing or null. A value of another type is an error. */
static int get_string(json_t *object, const char *key, const char *otherwise, struct arena *arena, const char **out,
                      struct error *err)
{
    json_t *value = json_object_get(object, key);
    *out = otherwise;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_set(err, EBADMSG, "%s is not a string", key);
    *out = arena_string(arena, json_string_value(value));
    return 0;
}

static int get_strings(json_t *object, const char *key, size_t max, struct arena *arena, struct image_strings *out,
                       struct error *err)
{
    json_t *value = json_object_get(object, key);
    size_t count = 0;
    if (value && !json_is_null(value)) {
        if (!json_is_array(value))
            return error_set(err, EBADMSG, "%s is not a list", key);
        count = json_array_size(value);
    }
    if (count > max)
        return error_set(err, E2BIG, "%s has %zu entries, at most %zu are allowed", key, count, max);
    out->items = arena_alloc(arena, (count + 1) * sizeof(*out->items));
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(value, i);
        if (!json_is_string(item))
            return error_set(err, EBADMSG, "%s[%zu] is not a string", key, i);
        out->items[i] = arena_string(arena, json_string_value(item));
    }
    return 0;
}

/* The keys of a map whose values say nothing (ExposedPorts, Volumes). */
static int get_keys(json_t *object, const char *key, struct arena *arena, struct image_strings *out, struct error *err)
{
    json_t *value = json_object_get(object, key), *ignored;
    size_t count = 0;
    const char *name;
    if (value && !json_is_null(value)) {
        if (!json_is_object(value))
            return error_set(err, EBADMSG, "%s is not an object", key);
        count = json_object_size(value);
    }
    if (count > CONFIG_ITEMS_MAX)
        return error_set(err, E2BIG, "%s has %zu entries, at most %d are allowed", key, count, CONFIG_ITEMS_MAX);
    out->items = arena_alloc(arena, (count + 1) * sizeof(*out->items));
    out->count = 0;
    json_object_foreach(value, name, ignored)
        out->items[out->count++] = arena_string(arena, name);
    return 0;
}

static int get_labels(json_t *object, struct arena *arena, struct image_config *config, struct error *err)
{
    json_t *value = json_object_get(object, "Labels"), *text;
    const char *name;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_object(value))
        return error_set(err, EBADMSG, "Labels is not an object");
    size_t count = json_object_size(value);
    if (count > CONFIG_ITEMS_MAX)
        return error_set(err, E2BIG, "Labels has %zu entries, at most %d are allowed", count, CONFIG_ITEMS_MAX);
    config->labels = arena_alloc(arena, (count + 1) * sizeof(*config->labels));
    json_object_foreach(value, name, text) {
        if (!json_is_string(text))
            return error_set(err, EBADMSG, "label %s is not a string", name);
        config->labels[config->label_count++] =
            (struct image_label){arena_string(arena, name), arena_string(arena, json_string_value(text))};
    }
    return 0;
}

static int get_size(json_t *object, uint64_t *out, struct error *err)
{
    json_t *value = json_object_get(object, "size");
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return error_set(err, EBADMSG, "size is not a number of bytes");
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

static int get_platform(json_t *object, struct arena *arena, struct descriptor *out, struct error *err)
{
    json_t *platform = json_object_get(object, "platform");
    out->os = out->architecture = out->variant = "";
    if (!platform || json_is_null(platform))
        return 0;
    if (!json_is_object(platform))
        return error_set(err, EBADMSG, "platform is not an object");
    if (get_string(platform, "os", "", arena, &out->os, err) < 0 ||
        get_string(platform, "architecture", "", arena, &out->architecture, err) < 0 ||
        get_string(platform, "variant", "", arena, &out->variant, err) < 0)
        return -1;
    return 0;
}

/* containerd writes the whole name into its own annotation; others use the OCI one, sometimes for the tag alone. */
static int get_name(json_t *object, struct arena *arena, struct descriptor *out, struct error *err)
{
    static const char *const keys[] = {"io.containerd.image.name", "org.opencontainers.image.ref.name"};
    json_t *annotations = json_object_get(object, "annotations");
    out->name = NULL;
    if (!json_is_object(annotations))
        return 0;
    for (size_t i = 0; i < ARRAY_COUNT(keys) && !out->name; i++)
        if (get_string(annotations, keys[i], NULL, arena, &out->name, err) < 0)
            return -1;
    return 0;
}

static int get_descriptor(json_t *object, struct arena *arena, struct descriptor *out, struct error *err)
{
    if (!json_is_object(object))
        return error_set(err, EBADMSG, "not an object");
    if (get_string(object, "digest", "", arena, &out->digest, err) < 0 ||
        get_string(object, "mediaType", "", arena, &out->media_type, err) < 0 || get_size(object, &out->size, err) < 0)
        return -1;
    if (!image_digest_valid(out->digest))
        return error_set(err, EBADMSG, "'%.80s' is not a sha256 digest", out->digest);
    if (get_platform(object, arena, out, err) < 0)
        return -1;
    return get_name(object, arena, out, err);
}

static int get_descriptors(json_t *root, const char *key, size_t max, struct arena *arena, struct manifest *out,
                           struct error *err)
{
    json_t *list = json_object_get(root, key);
    if (!json_is_array(list))
        return error_set(err, EBADMSG, "%s is not a list", key);
    out->count = json_array_size(list);
    if (out->count > max)
        return error_set(err, E2BIG, "%s has %zu entries, at most %zu are allowed", key, out->count, max);
    out->items = arena_alloc(arena, (out->count + 1) * sizeof(*out->items));
    for (size_t i = 0; i < out->count; i++)
        if (get_descriptor(json_array_get(list, i), arena, &out->items[i], err) < 0)
            return error_wrap(err, "%s[%zu]", key, i);
    return 0;
}

static int check_layer_types(const struct manifest *manifest, struct error *err)
{
    for (size_t i = 0; i < manifest->count; i++) {
        bool known = false;
        for (size_t k = 0; k < ARRAY_COUNT(layer_media_types); k++) {
            size_t n = strlen(layer_media_types[k]);
            const char *rest = manifest->items[i].media_type + n;
            if (strncmp(manifest->items[i].media_type, layer_media_types[k], n) != 0)
                continue;
            known = !*rest || strcmp(rest, ".gzip") == 0 || strcmp(rest, "+gzip") == 0 || strcmp(rest, "+zstd") == 0 ||
                    strcmp(rest, ".zstd") == 0;
        }
        if (!known)
            return error_set(err, EBADMSG, "layers[%zu]: unknown media type '%.100s'", i,
                             manifest->items[i].media_type);
    }
    return 0;
}

int image_manifest_parse(const char *data, size_t size, size_t layers_max, struct arena *arena, struct manifest *out,
                         struct error *err)
{
    cleanup_json json_t *root = NULL;
    memset(out, 0, sizeof(*out));
    if (parse(data, size, "manifest", &root, err) < 0)
        return -1;
    if (!json_is_object(root))
        return error_set(err, EBADMSG, "manifest is not an object");
    json_t *version = json_object_get(root, "schemaVersion");
    if (json_is_integer(version) && json_integer_value(version) == 1)
        return error_set(err, EBADMSG, "manifests of schema 1 are no longer supported, please rebuild the image");
    if (json_object_get(root, "manifests")) {
        /* One document that is both would mean different things to different readers (CVE-2021-41190). */
        if (json_object_get(root, "layers") || json_object_get(root, "config"))
            return error_set(err, EBADMSG, "manifest is both an index and an image");
        out->is_index = true;
        return get_descriptors(root, "manifests", INDEX_ENTRIES_MAX, arena, out, err);
    }
    if (get_descriptor(json_object_get(root, "config"), arena, &out->config, err) < 0)
        return error_wrap(err, "config");
    if (get_descriptors(root, "layers", layers_max, arena, out, err) < 0)
        return -1;
    return check_layer_types(out, err);
}

static const char *this_architecture(struct utsname *name)
{
    if (uname(name) < 0)
        return "";
    for (size_t i = 0; i < ARRAY_COUNT(architectures); i++)
        if (strcmp(name->machine, architectures[i].machine) == 0)
            return architectures[i].architecture;
    return name->machine;
}

int image_manifest_choose(const struct manifest *index, const struct descriptor **out, struct error *err)
{
    struct utsname name;
    const char *architecture = this_architecture(&name);
    *out = NULL;
    for (size_t i = 0; i < index->count; i++) {
        const struct descriptor *item = &index->items[i];
        bool matches = strcmp(item->os, "linux") == 0 && strcmp(item->architecture, architecture) == 0;
        /* An index of one entry that names no platform (an OCI layout's index.json) leaves it to the configuration. */
        if (!matches && !(index->count == 1 && !*item->os && !*item->architecture))
            continue;
        /* The plain variant runs everywhere; v2 and later want newer processors. */
        bool plain = !*item->variant || strcmp(item->variant, "v1") == 0 || strcmp(item->variant, "v8") == 0;
        if (!*out || (plain && *(*out)->variant))
            *out = item;
    }
    if (!*out)
        return error_set(err, ENOENT, "no match for platform in manifest: not found (this machine is linux/%s)",
                         architecture);
    return 0;
}

int image_manifest_platform_check(const struct image_config *config, struct error *err)
{
    struct utsname name;
    const char *architecture = this_architecture(&name);
    if ((*config->os && strcmp(config->os, "linux") != 0) ||
        (*config->architecture && strcmp(config->architecture, architecture) != 0))
        return error_set(err, ENOENT,
                         "no match for platform in manifest: not found (the image is for %s/%s, this "
                         "machine is linux/%s)",
                         config->os, config->architecture, architecture);
    return 0;
}

static int get_diff_ids(json_t *root, size_t max, struct arena *arena, struct image_strings *out, struct error *err)
{
    json_t *rootfs = json_object_get(root, "rootfs");
    if (!json_is_object(rootfs))
        return error_set(err, EBADMSG, "rootfs is not an object: not a container image");
    if (get_strings(rootfs, "diff_ids", max, arena, out, err) < 0)
        return -1;
    for (size_t i = 0; i < out->count; i++)
        if (!image_digest_valid(out->items[i]))
            return error_set(err, EBADMSG, "diff_ids[%zu]: '%.80s' is not a sha256 digest", i, out->items[i]);
    return 0;
}

int image_manifest_config_parse(const char *data, size_t size, size_t layers_max, struct arena *arena,
                                struct image_config *config, struct image_strings *diff_ids, struct error *err)
{
    const struct {
        const char *key;
        char **value;
        bool outer;
    } strings[] = {
        {"architecture", &config->architecture, true},
        {"os", &config->os, true},
        {"created", &config->created, true},
        {"WorkingDir", &config->working_dir, false},
        {"User", &config->user, false},
        {"StopSignal", &config->stop_signal, false},
    };
    const struct {
        const char *key;
        struct image_strings *value;
    } lists[] = {{"Env", &config->env}, {"Entrypoint", &config->entrypoint}, {"Cmd", &config->command}};
    const struct {
        const char *key;
        struct image_strings *value;
    } sets[] = {{"ExposedPorts", &config->exposed_ports}, {"Volumes", &config->volumes}};

    cleanup_json json_t *root = NULL;
    memset(config, 0, sizeof(*config));
    if (parse(data, size, "image configuration", &root, err) < 0)
        return -1;
    if (!json_is_object(root))
        return error_set(err, EBADMSG, "image configuration is not an object");
    json_t *inner = json_object_get(root, "config");
    if (inner && !json_is_null(inner) && !json_is_object(inner))
        return error_set(err, EBADMSG, "image configuration: config is not an object");
    for (size_t i = 0; i < ARRAY_COUNT(strings); i++)
        if (get_string(strings[i].outer ? root : inner, strings[i].key, "", arena, (const char **)strings[i].value,
                       err) < 0)
            return error_wrap(err, "image configuration");
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        if (get_strings(inner, lists[i].key, CONFIG_ITEMS_MAX, arena, lists[i].value, err) < 0)
            return error_wrap(err, "image configuration");
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++)
        if (get_keys(inner, sets[i].key, arena, sets[i].value, err) < 0)
            return error_wrap(err, "image configuration");
    if (get_labels(inner, arena, config, err) < 0 || get_diff_ids(root, layers_max, arena, diff_ids, err) < 0)
        return error_wrap(err, "image configuration");
    return 0;
}

int image_manifest_archive_parse(const char *data, size_t size, size_t layers_max, struct arena *arena,
                                 struct archive_image **out, size_t *count, struct error *err)
{
    cleanup_json json_t *root = NULL;
    *out = NULL;
    *count = 0;
    if (parse(data, size, "manifest.json", &root, err) < 0)
        return -1;
    if (!json_is_array(root))
        return error_set(err, EBADMSG, "manifest.json is not a list");
    size_t n = json_array_size(root);
    if (n > ARCHIVE_IMAGES_MAX)
        return error_set(err, E2BIG, "manifest.json has %zu images, at most %d are allowed", n, ARCHIVE_IMAGES_MAX);
    struct archive_image *images = arena_alloc(arena, (n + 1) * sizeof(*images));
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(root, i);
        if (!json_is_object(item))
            return error_set(err, EBADMSG, "manifest.json: entry %zu is not an object", i);
        if (get_string(item, "Config", "", arena, &images[i].config, err) < 0 ||
            get_strings(item, "RepoTags", ARCHIVE_NAMES_MAX, arena, &images[i].names, err) < 0 ||
            get_strings(item, "Layers", layers_max, arena, &images[i].layers, err) < 0)
            return error_wrap(err, "manifest.json: entry %zu", i);
    }
    *out = images;
    *count = n;
    return 0;
}
