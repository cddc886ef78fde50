/* Volumes on a real file system, in a mount namespace of the test's own; skipped without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/timestamp.h"
#include "node/volume.h"
#include "node/worker.h"

struct world {
    char root[64];
    char *directory;
    struct object *config, *secret, *claim, *volume;
    const char *token;
};

static struct object *read_object(enum api_resource_index index, const char *json)
{
    struct error err;
    struct object *o = object_from_json(&api_resources[index], json, strlen(json), &err);
    if (!o)
        fail_msg("%s", err.text);
    return o;
}

static struct object *config_map(void *context, const char *name)
{
    struct world *w = context;
    return strcmp(name, "config") == 0 ? w->config : NULL;
}

static struct object *claim(void *context, const char *name)
{
    struct world *w = context;
    return strcmp(name, "claim") == 0 ? w->claim : NULL;
}

static struct object *persistent_volume(void *context, const char *name)
{
    struct world *w = context;
    return strcmp(name, "pv") == 0 ? w->volume : NULL;
}

static struct object *secret(void *context, const char *name)
{
    struct world *w = context;
    return strcmp(name, "secret") == 0 ? w->secret : NULL;
}

static const char *token(void *context, const struct service_account_token_projection *wanted, struct error *err)
{
    struct world *w = context;
    if (!w->token)
        error_set(err, ENOENT, "no token for %s", wanted->audience);
    return w->token;
}

static int set_up(void **state)
{
    struct world *w = mem_zero(1, sizeof(*w));
    *state = w;
    strcpy(w->root, "/tmp/coracle-volume-XXXXXX");
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mkdtemp(w->root))
        return 0;
    w->directory = mem_printf("%s/pod", w->root);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    if (w->directory) {
        volume_remove_all(w->directory, NULL);
        file_remove_tree(w->root, NULL);
    }
    object_unref(w->config);
    object_unref(w->secret);
    object_unref(w->claim);
    object_unref(w->volume);
    free(w->directory);
    free(w);
    return 0;
}

#define NEED_ROOT(w)                                                                                                   \
    do {                                                                                                               \
        if (!(w)->directory)                                                                                           \
            skip();                                                                                                    \
    } while (0)

static int apply(struct world *w, const struct object *pod, struct error *err)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct environment_source fields = {.pod = pod->value,
                                        .node_cpu_milli = 2000,
                                        .node_memory = INT64_C(4) << 30,
                                        .node_disk = INT64_C(10) << 30,
                                        .config_map = config_map,
                                        .secret = secret,
                                        .context = w};
    struct volume_source source = {
        .pod = &fields, .token = token, .claim = claim, .persistent_volume = persistent_volume, .context = w};
    struct volume_plan *plan;
    if (volume_plan_new(arena, pod->value, w->directory, &source, &plan, err) < 0)
        return -1;
    return volume_apply(plan, err);
}

/* What a file below the pod's volumes says, or "(none)". */
static void expect_file(const struct world *w, const char *path, const char *content)
{
    cleanup_free char *full = mem_printf("%s/volumes/%s", w->directory, path);
    cleanup_buffer struct buffer b = {0};
    int result = file_read(full, 1 << 20, &b, NULL);
    if (!content)
        assert_int_equal(result, -1);
    else
        assert_string_equal(b.data ? b.data : "(none)", content);
}

static void set_config(struct world *w, const char *json)
{
    object_unref(w->config);
    w->config = read_object(API_CONFIGMAPS, json);
}

static void a_mounted_config_map_changes_all_at_once(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    set_config(w, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"a\":\"1\",\"b\":\"1\"}}");
    cleanup_object struct object *pod = read_object(
        API_PODS, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{"
                  "\"name\":\"config\",\"defaultMode\":256}}]}}");
    assert_int_equal(apply(w, pod, &err), 0);
    expect_file(w, "v/a", "1");
    cleanup_free char *path = mem_printf("%s/volumes/v/a", w->directory);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0400);
    /* One rename turns every file; a key that went is gone, a new one is there. */
    set_config(w, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"a\":\"2\",\"c\":\"2\"}}");
    assert_int_equal(apply(w, pod, &err), 0);
    expect_file(w, "v/a", "2");
    expect_file(w, "v/b", NULL);
    expect_file(w, "v/c", "2");
    expect_file(w, "v/..data/c", "2");
}

static void items_choose_keys_and_paths(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    set_config(w, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"a\":\"1\"}}");
    cleanup_object struct object *pod = read_object(
        API_PODS, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":"
                  "\"v\",\"configMap\":{\"name\":\"config\",\"items\":[{\"key\":\"a\",\"path\":\"deep/er/a\"}]}}]}}");
    assert_int_equal(apply(w, pod, &err), 0);
    expect_file(w, "v/deep/er/a", "1");
    expect_file(w, "v/a", NULL);
    cleanup_object struct object *wrong = read_object(
        API_PODS, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":"
                  "\"v\",\"configMap\":{\"name\":\"config\",\"items\":[{\"key\":\"z\",\"path\":\"z\"}]}}]}}");
    assert_int_equal(apply(w, wrong, &err), -1);
    assert_string_equal(err.text, "MountVolume.SetUp failed for volume \"v\" : configmap references non-existent "
                                  "config key: z");
    w->secret = read_object(API_SECRETS, "{\"metadata\":{\"name\":\"secret\"},\"data\":{\"a\":\"MQ==\"}}");
    cleanup_object struct object *wrong_secret = read_object(
        API_PODS, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":"
                  "\"v\",\"secret\":{\"secretName\":\"secret\",\"items\":[{\"key\":\"z\",\"path\":\"z\"}]}}]}}");
    assert_int_equal(apply(w, wrong_secret, &err), -1);
    assert_string_equal(err.text, "MountVolume.SetUp failed for volume \"v\" : references non-existent secret key: z");
}

static void what_is_missing_is_an_error_unless_it_is_optional(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    cleanup_object struct object *pod =
        read_object(API_PODS, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\","
                              "\"configMap\":{\"name\":\"gone\"}}]}}");
    assert_int_equal(apply(w, pod, &err), -1);
    assert_string_equal(err.text, "MountVolume.SetUp failed for volume \"v\" : configmap \"gone\" not found");
    cleanup_object struct object *optional =
        read_object(API_PODS, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\","
                              "\"configMap\":{\"name\":\"gone\",\"optional\":true}}]}}");
    assert_int_equal(apply(w, optional, &err), 0);
}

static void expect_mode(const struct world *w, const char *path, mode_t mode, uid_t owner)
{
    cleanup_free char *full = mem_printf("%s/volumes/%s", w->directory, path);
    struct stat info;
    assert_int_equal(stat(full, &info), 0);
    assert_int_equal(info.st_mode & 07777, mode);
    assert_int_equal(info.st_uid, owner);
}

static void fields_of_the_pod_are_files(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    cleanup_object struct object *pod = read_object(
        API_PODS,
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{\"b\":\"2\",\"a\":\"1\"},"
        "\"annotations\":{\"k\":\"a \\\"quoted\\\"\\nline\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{"
        "\"requests\":{\"cpu\":\"250m\"}}}],\"initContainers\":[{\"name\":\"i\",\"resources\":{\"limits\":{\"memory\":"
        "\"3Mi\"}}}],\"volumes\":[{\"name\":\"v\",\"downwardAPI\":{\"defaultMode\":256,\"items\":["
        "{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}},"
        "{\"path\":\"annotations\",\"fieldRef\":{\"fieldPath\":\"metadata.annotations\"}},"
        "{\"path\":\"one/label\",\"mode\":292,\"fieldRef\":{\"fieldPath\":\"metadata.labels['b']\"}},"
        "{\"path\":\"name\",\"fieldRef\":{\"fieldPath\":\"metadata.name\"}},"
        "{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":\"c\",\"resource\":\"requests.cpu\",\"divisor\":"
        "\"1m\"}},"
        "{\"path\":\"disk\",\"resourceFieldRef\":{\"containerName\":\"c\",\"resource\":"
        "\"limits.ephemeral-storage\",\"divisor\":\"1Gi\"}},"
        "{\"path\":\"memory\",\"resourceFieldRef\":{\"containerName\":\"i\",\"resource\":\"limits.memory\","
        "\"divisor\":\"1Mi\"}}]}}]}}");
    assert_int_equal(apply(w, pod, &err), 0);
    expect_file(w, "v/labels", "a=\"1\"\nb=\"2\"");
    expect_file(w, "v/annotations", "k=\"a \\\"quoted\\\"\\nline\"");
    expect_file(w, "v/one/label", "2");
    expect_file(w, "v/name", "p");
    expect_file(w, "v/cpu", "250");
    expect_file(w, "v/disk", "10");
    expect_file(w, "v/memory", "3");
    expect_mode(w, "v/labels", 0400, 0);
    expect_mode(w, "v/one/label", 0444, 0);
    assert_true(volume_shows_fields(pod->value));
}

static void a_projected_volume_has_the_files_of_all_its_sources(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    set_config(w, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"a\":\"1\",\"ca\":\"x\"}}");
    cleanup_object struct object *pod = read_object(
        API_PODS,
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{\"securityContext\":{\"runAsUser\":"
        "7},"
        "\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"v\",\"projected\":{\"defaultMode\":420,\"sources\":"
        "["
        "{\"serviceAccountToken\":{\"path\":\"token\",\"audience\":\"me\"}},"
        "{\"configMap\":{\"name\":\"config\",\"items\":[{\"key\":\"ca\",\"path\":\"ca.crt\"}]}},"
        "{\"secret\":{\"name\":\"none\",\"optional\":true}},"
        "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"fieldPath\":\"metadata.namespace\"}}]}}"
        "]}}]}}");
    assert_int_equal(apply(w, pod, &err), -1);
    assert_string_equal(err.text, "MountVolume.SetUp failed for volume \"v\" : no token for me");
    w->token = "abc";
    assert_int_equal(apply(w, pod, &err), 0);
    expect_file(w, "v/token", "abc");
    expect_file(w, "v/ca.crt", "x");
    expect_file(w, "v/namespace", "n");
    expect_file(w, "v/a", NULL);
    /* Only the user that all containers run as reads the token. */
    expect_mode(w, "v/token", 0600, 7);
    expect_mode(w, "v/ca.crt", 0644, 0);
    assert_true(volume_uses(pod->value, &api_resources[API_CONFIGMAPS], "config"));
    assert_true(volume_uses(pod->value, &api_resources[API_SECRETS], "none"));
}

static void a_token_is_renewed_when_a_fifth_of_its_life_is_left(void **state)
{
    (void)state;
    const int64_t now = 1000 * SECOND;
    assert_int_equal(worker_token_renewal(now, 600, now + 600 * SECOND), now + 480 * SECOND);
    /* At the latest after a day. */
    assert_int_equal(worker_token_renewal(now, 864000, now + 864000 * SECOND), now + 24 * HOUR);
}

static void what_has_not_changed_is_not_written_again(void **state)
{
    struct world *w = *state;
    struct error err;
    char before[64] = "", after[64] = "";
    NEED_ROOT(w);
    set_config(w, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"a\":\"1\"}}");
    cleanup_object struct object *pod =
        read_object(API_PODS, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\","
                              "\"configMap\":{\"name\":\"config\"}}]}}");
    cleanup_free char *data = mem_printf("%s/volumes/v/..data", w->directory);
    struct stat first, second;
    assert_int_equal(apply(w, pod, &err), 0);
    assert_true(readlink(data, before, sizeof(before) - 1) > 0);
    assert_int_equal(lstat(data, &first), 0);
    assert_int_equal(apply(w, pod, &err), 0);
    assert_int_equal(lstat(data, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    set_config(w, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"a\":\"2\"}}");
    assert_int_equal(apply(w, pod, &err), 0);
    assert_true(readlink(data, after, sizeof(after) - 1) > 0);
    assert_string_not_equal(before, after);
}

static const char *same(void *context, const char *text, struct error *err)
{
    (void)context;
    return text;
}

static void a_sub_path_cannot_leave_its_volume(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_object struct object *object = read_object(
        API_PODS,
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}],"
        "\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/m\",\"subPath\":"
        "\"way/out\"}]}]}}");
    const struct pod *pod = object->value;
    struct runtime_mount *mounts;
    size_t count;
    assert_int_equal(apply(w, object, &err), 0);
    /* A container of the pod has left a link that leads out of the volume. */
    cleanup_free char *link = mem_printf("%s/volumes/v/way", w->directory);
    cleanup_free char *inside = mem_printf("%s/volumes/v%s/out", w->directory, w->root);
    cleanup_free char *outside = mem_printf("%s/out", w->root);
    assert_int_equal(symlink(w->root, link), 0);
    assert_int_equal(file_make_directories(inside, 0755, &err), 0);
    assert_int_equal(file_make_directories(outside, 0755, &err), 0);
    cleanup_free char *secret = mem_printf("%s/secret", outside);
    assert_int_equal(file_write_atomic(secret, "x", 1, 0644, &err), 0);
    assert_int_equal(volume_resolve_mounts(arena, pod, &pod->spec.containers.items[0], w->directory, same, NULL,
                                           &mounts, &count, &err),
                     0);
    assert_int_equal(count, 1);
    cleanup_free char *seen = mem_printf("%s/secret", mounts[0].source);
    assert_int_equal(access(seen, F_OK), -1);
}

static void a_sub_path_below_a_file_is_refused_in_words(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_object struct object *object = read_object(
        API_PODS,
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}],"
        "\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/m\",\"subPath\":"
        "\"file/below\"}]}]}}");
    const struct pod *pod = object->value;
    struct runtime_mount *mounts;
    size_t count;
    assert_int_equal(apply(w, object, &err), 0);
    cleanup_free char *file = mem_printf("%s/volumes/v/file", w->directory);
    assert_int_equal(file_write_atomic(file, "x", 1, 0644, &err), 0);
    assert_int_equal(volume_resolve_mounts(arena, pod, &pod->spec.containers.items[0], w->directory, same, NULL,
                                           &mounts, &count, &err),
                     -1);
    assert_string_equal(err.text, "failed to prepare subPath for volumeMount \"v\" of container \"c\"");
}

static void memory_volumes_have_the_size_that_was_asked_for_and_all_goes_away(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    cleanup_object struct object *pod =
        read_object(API_PODS, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\","
                              "\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"64Ki\"}}]}}");
    assert_int_equal(apply(w, pod, &err), 0);
    cleanup_free char *path = mem_printf("%s/volumes/v/big", w->directory);
    static char big[128 * 1024];
    assert_int_equal(file_write_atomic(path, big, sizeof(big), 0644, &err), -1);
    assert_int_equal(volume_remove_all(w->directory, &err), 0);
    assert_int_equal(access(w->directory, F_OK), -1);
}

/* A pod with a volume "v" in a medium; resources are of its container. */
static struct object *pod_in_medium(const char *empty_dir, const char *resources)
{
    cleanup_free char *json = mem_printf(
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{%s}}],"
        "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{%s}}]}}",
        empty_dir, resources);
    return read_object(API_PODS, json);
}

static void a_memory_volume_is_no_larger_than_the_memory_of_pod_and_node(void **state)
{
    static const struct {
        const char *empty_dir, *resources;
        uint64_t size;
    } cases[] = {
        {"\"medium\":\"Memory\"", "", UINT64_C(4) << 30}, /* what the node has for pods */
        {"\"medium\":\"Memory\"", "\"limits\":{\"memory\":\"64Mi\"}", 64 << 20},
        {"\"medium\":\"Memory\",\"sizeLimit\":\"1Gi\"", "\"limits\":{\"memory\":\"64Mi\"}", 64 << 20},
        {"\"medium\":\"Memory\",\"sizeLimit\":\"1Mi\"", "\"limits\":{\"memory\":\"64Mi\"}", 1 << 20},
        {"\"medium\":\"Memory\",\"sizeLimit\":\"8Gi\"", "\"requests\":{\"memory\":\"64Mi\"}", UINT64_C(4) << 30},
    };
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    cleanup_free char *path = mem_printf("%s/volumes/v", w->directory);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct statfs info;
        cleanup_object struct object *pod = pod_in_medium(cases[i].empty_dir, cases[i].resources);
        assert_int_equal(apply(w, pod, &err), 0);
        assert_int_equal(statfs(path, &info), 0);
        assert_int_equal((uint64_t)info.f_blocks * (uint64_t)info.f_bsize, cases[i].size);
        assert_int_equal(volume_remove_all(w->directory, &err), 0);
    }
}

static void only_a_medium_that_there_is_makes_a_volume(void **state)
{
#define FAILED "MountVolume.SetUp failed for volume \"v\" : "
#define NOT_ASKED ": hugePages storage requested, but there is no resource request for huge pages"
    static const struct {
        const char *empty_dir, *resources, *message;
    } cases[] = {
        {"\"medium\":\"Foo\"", "", FAILED "unknown storage medium \"Foo\""},
        {"\"medium\":\"HugePagesX\"", "", FAILED "unknown storage medium \"HugePagesX\""},
        {"\"medium\":\"HugePages\"", "", FAILED "medium HugePages" NOT_ASKED},
        {"\"medium\":\"HugePages-1Gi\"", "\"requests\":{\"hugepages-2Mi\":\"4Mi\"}",
         FAILED "medium HugePages-1Gi" NOT_ASKED},
        {"\"medium\":\"HugePages\"", "\"requests\":{\"hugepages-2Mi\":\"4Mi\",\"hugepages-1Gi\":\"1Gi\"}",
         FAILED "medium: HugePages can't be used if container requests multiple huge page sizes"},
    };
    struct world *w = *state;
    NEED_ROOT(w);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err;
        cleanup_object struct object *pod = pod_in_medium(cases[i].empty_dir, cases[i].resources);
        assert_int_equal(apply(w, pod, &err), -1);
        assert_string_equal(err.text, cases[i].message);
    }
}

static void a_volume_of_huge_pages_has_the_pages_that_the_pod_asks_for(void **state)
{
    struct world *w = *state;
    struct error err;
    struct statfs info;
    NEED_ROOT(w);
    if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK) < 0)
        skip(); /* a kernel without them */
    cleanup_free char *path = mem_printf("%s/volumes/v", w->directory);
    cleanup_object struct object *pod =
        pod_in_medium("\"medium\":\"HugePages-2Mi\"", "\"requests\":{\"hugepages-2Mi\":\"4Mi\"}");
    assert_int_equal(apply(w, pod, &err), 0);
    assert_int_equal(statfs(path, &info), 0);
    assert_int_equal(info.f_type, HUGETLBFS_MAGIC);
    assert_int_equal(info.f_bsize, 2 << 20);
    assert_int_equal(volume_remove_all(w->directory, &err), 0);
}

/* ---- Claims ---- */

/* A bound claim, and the volume "pv" that it is bound to: source is its part of the spec. */
static void set_claim(struct world *w, const char *source)
{
    cleanup_free char *volume = mem_printf("{\"metadata\":{\"name\":\"pv\"},\"spec\":{\"claimRef\":{\"namespace\":"
                                           "\"n\",\"name\":\"claim\",\"uid\":\"c\"},%s}}",
                                           source);
    object_unref(w->claim);
    object_unref(w->volume);
    w->volume = read_object(API_PERSISTENTVOLUMES, volume);
    w->claim =
        read_object(API_PERSISTENTVOLUMECLAIMS,
                    "{\"metadata\":{\"name\":\"claim\",\"namespace\":\"n\",\"uid\":\"c\"},\"spec\":{\"volumeName\":"
                    "\"pv\"},\"status\":{\"phase\":\"Bound\"}}");
}

static struct object *claiming_pod(const char *more)
{
    cleanup_free char *json =
        mem_printf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{\"volumes\":[{\"name\":"
                   "\"v\",\"persistentVolumeClaim\":{\"claimName\":\"claim\"%s}}]}}",
                   more);
    return read_object(API_PODS, json);
}

static void the_mount_of_a_claim_has_the_options_of_its_volume(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
    static const struct {
        const char *options, *pod;
        unsigned long set, clear;
    } table[] = {
        {"", "", 0, ST_RDONLY | ST_NOEXEC | ST_NOSUID | ST_NODEV},
        {"\"defaults\"", "", 0, ST_RDONLY | ST_NOEXEC | ST_NOSUID | ST_NODEV},
        {"\"ro\",\"noexec\"", "", ST_RDONLY | ST_NOEXEC, ST_NOSUID | ST_NODEV},
        {"\"nosuid\",\"nodev\"", "", ST_NOSUID | ST_NODEV, ST_RDONLY | ST_NOEXEC},
        {"\"ro\",\"noexec\",\"rw\",\"exec\"", "", 0, ST_RDONLY | ST_NOEXEC}, /* the last one counts */
        {"\"noatime\",\"nodiratime\"", "", ST_NOATIME | ST_NODIRATIME, 0},
        {"\"noatime\",\"relatime\"", "", ST_RELATIME, ST_NOATIME},
        {"\"rw\"", ",\"readOnly\":true", ST_RDONLY, 0}, /* what the pod asks for comes on top */
    };
    cleanup_free char *folder = mem_printf("%s/folder", w->root), *at = mem_printf("%s/volumes/v", w->directory);
    assert_int_equal(file_make_directories(folder, 0755, &err), 0);
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        cleanup_free char *source =
            mem_printf("\"local\":{\"path\":\"%s\"},\"mountOptions\":[%s]", folder, table[i].options);
        cleanup_object struct object *pod = claiming_pod(table[i].pod);
        struct statvfs info;
        set_claim(w, source);
        if (apply(w, pod, &err) < 0)
            fail_msg("%s: %s", table[i].options, err.text);
        assert_int_equal(statvfs(at, &info), 0);
        if ((info.f_flag & table[i].set) != table[i].set || (info.f_flag & table[i].clear))
            fail_msg("%s: flags are %#lx", table[i].options, info.f_flag);
        assert_int_equal(volume_remove_all(w->directory, &err), 0);
        assert_int_equal(access(folder, F_OK), 0);
    }
}

static void a_claim_that_cannot_be_mounted_says_at_which_step(void **state)
{
    struct world *w = *state;
    struct error err;
    NEED_ROOT(w);
#define UNPROCESSED                                                                                                    \
    "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: " \
    "error processing PVC n/claim: "
    static const struct {
        const char *source, *message;
    } table[] = {
        {"\"local\":{\"path\":\"/\"},\"mountOptions\":[\"ro\",\"colour=blue\"]",
         "MountVolume.SetUp failed for volume \"pv\" : mount failed: unknown mount option \"colour=blue\""},
        {"\"hostPath\":{\"path\":\"/\"},\"mountOptions\":[\"ro\"]",
         "MountVolume.MountOptionSupport check failed for volume \"pv\" : mount options are not supported for this "
         "volume "
         "type"},
        {"\"local\":{\"path\":\"/no/such/folder\"}",
         "MountVolume.NewMounter initialization failed for volume \"pv\" : path \"/no/such/folder\" does not exist"},
        {"\"hostPath\":{\"path\":\"/no/such/folder\",\"type\":\"Directory\"}",
         "MountVolume.SetUp failed for volume \"pv\" : hostPath type check failed: /no/such/folder is not a directory"},
        {"\"local\":{\"path\":\"/\"},\"volumeMode\":\"Block\"",
         UNPROCESSED "volume has volumeMode Block, but is specified in volumeMounts"},
        {NULL, UNPROCESSED "failed to fetch PVC from API server: persistentvolumeclaims \"claim\" not found"},
    };
    cleanup_object struct object *pod = claiming_pod("");
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        if (table[i].source) {
            set_claim(w, table[i].source);
        } else {
            object_unref(w->claim);
            w->claim = NULL;
        }
        assert_int_equal(apply(w, pod, &err), -1);
        assert_string_equal(err.text, table[i].message);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_config_map_changes_all_at_once),
        TEST(items_choose_keys_and_paths),
        TEST(fields_of_the_pod_are_files),
        TEST(a_projected_volume_has_the_files_of_all_its_sources),
        cmocka_unit_test(a_token_is_renewed_when_a_fifth_of_its_life_is_left),
        TEST(what_has_not_changed_is_not_written_again),
        TEST(what_is_missing_is_an_error_unless_it_is_optional),
        TEST(a_sub_path_cannot_leave_its_volume),
        TEST(a_sub_path_below_a_file_is_refused_in_words),
        TEST(memory_volumes_have_the_size_that_was_asked_for_and_all_goes_away),
        TEST(a_memory_volume_is_no_larger_than_the_memory_of_pod_and_node),
        TEST(only_a_medium_that_there_is_makes_a_volume),
        TEST(a_volume_of_huge_pages_has_the_pages_that_the_pod_asks_for),
        TEST(the_mount_of_a_claim_has_the_options_of_its_volume),
        TEST(a_claim_that_cannot_be_mounted_says_at_which_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
