/* coracle image: the node's image store, whether the cluster runs or not. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/auth_file.h"
#include "cli/command.h"
#include "cli/sandbox.h"
#include "node/image/image.h"

/* What the flags say, and the argument of the verb. */
struct wish {
    const char *argument;
    const char *auth_file; /* NULL: the usual places */
};

static int import(struct image_store *store, const struct wish *wish, struct error *err)
{
    struct image_list list = {0};
    int result = image_import(store, wish->argument, NULL, NULL, &list, err);
    for (size_t i = 0; i < list.count; i++)
        for (size_t n = 0; n < list.items[i]->names.count; n++)
            printf("%s\n", list.items[i]->names.items[n]);
    image_list_free(&list);
    return result;
}

static const char *const states[] = {[IMAGE_PROGRESS_WAITING] = "waiting",
                                     [IMAGE_PROGRESS_DOWNLOADING] = "downloading",
                                     [IMAGE_PROGRESS_UNPACKING] = "unpacking",
                                     [IMAGE_PROGRESS_DONE] = "done",
                                     [IMAGE_PROGRESS_PRESENT] = "already here"};

static void show_progress(const struct image_progress *p, void *context)
{
    (void)context;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rlayer %zu of %zu: %s %.1f of %.1f MB\033[K", p->layer + 1, p->layer_count, states[p->state],
                (double)p->done / 1e6, (double)p->total / 1e6);
}

/* What has no user is the mark of a helper that keeps the rest. */
static size_t without_empty(struct image_credential *credentials, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!text_empty(credentials[i].username))
            credentials[kept++] = credentials[i];
    return kept;
}

static int pull_with(struct image_store *store, const struct wish *wish, struct image_keyring *keyring,
                     struct error *err)
{
    cleanup_image struct image *image = NULL;
    cleanup_free struct image_credential *credentials = NULL;
    size_t count = 0;
    if (auth_file_add(keyring, wish->auth_file, err) < 0 ||
        image_keyring_find(keyring, wish->argument, &credentials, &count, err) < 0)
        return -1;
    struct image_pull_options options = {
        .progress = show_progress, .credentials = credentials, .credential_count = without_empty(credentials, count)};
    int result = image_pull(store, wish->argument, &options, &image, err);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (result == 0)
        printf("%s\n", image_status_id(image));
    return result;
}

static int pull(struct image_store *store, const struct wish *wish, struct error *err)
{
    struct image_keyring *keyring = image_keyring_new();
    int result = pull_with(store, wish, keyring, err);
    image_keyring_free(keyring);
    return result;
}

static int list(struct image_store *store, const struct wish *wish, struct error *err)
{
    cleanup_image_list struct image_list images = {0};
    (void)wish;
    if (image_list(store, &images, err) < 0)
        return -1;
    printf("%-60s %-15s %10s\n", "IMAGE", "ID", "SIZE");
    for (size_t i = 0; i < images.count; i++) {
        const struct image *image = images.items[i];
        const char *digits = strchr(image->id, ':');
        for (size_t n = 0; n < (image->names.count ? image->names.count : 1); n++)
            printf("%-60s %-15.12s %7.1f MB\n", image->names.count ? image->names.items[n] : "<none>",
                   digits ? digits + 1 : image->id, (double)image->size / 1e6);
    }
    return 0;
}

static int take_away(struct image_store *store, const struct wish *wish, struct error *err)
{
    return image_remove(store, wish->argument, err);
}

static const struct {
    const char *name;
    int (*run)(struct image_store *store, const struct wish *wish, struct error *err);
    int arguments;
} verbs[] = {{"import", import, 1}, {"pull", pull, 1}, {"ls", list, 0}, {"rm", take_away, 1}};

static const struct option flags[] = {{"name", required_argument, NULL, 'n'},
                                      {"data-dir", required_argument, NULL, 'd'},
                                      {"authfile", required_argument, NULL, 'a'},
                                      HELP_OPTION,
                                      {NULL, 0, NULL, 0}};

/* The store of a cluster: in the data directory that it was started with, or where `down` has left what is kept.
 * None is made for a name that nobody has. */
static int find_store(const char *name, char **out, struct error *err)
{
    cleanup_free char *data = NULL;
    struct error e = {0};
    if (sandbox_data_directory(name, &data, &e) == 0) {
        *out = mem_printf("%s/images", data);
        return 0;
    }
    if (e.code != ENOENT)
        return error_set(err, e.code, "%s", e.text);
    cleanup_free char *kept = mem_printf(DATA_ROOT "/%s/images", name);
    if (access(kept, F_OK) < 0)
        return errno == ENOENT ? error_set(err, ENOENT, "%s", e.text) : error_errno(err, "%s", kept);
    *out = steal_pointer(kept);
    return 0;
}

int command_image(int argc, char **argv)
{
    const char *name = DEFAULT_NAME, *data = NULL;
    struct wish wish = {0};
    struct error err;
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", flags, NULL)) != -1;) {
        if (c == 'n')
            name = optarg;
        else if (c == 'd')
            data = optarg;
        else if (c == 'a')
            wish.auth_file = optarg;
        else if (c == 'h')
            return command_help("image");
        else
            return command_misused("image", "unknown option");
    }
    for (size_t i = 0; optind < argc && i < ARRAY_COUNT(verbs); i++) {
        if (strcmp(argv[optind], verbs[i].name) != 0)
            continue;
        if (argc - optind - 1 != verbs[i].arguments)
            return command_misused("image", verbs[i].arguments ? "one argument is wanted" : "no argument is wanted");
        cleanup_free char *directory = data ? mem_printf("%s/images", data) : NULL;
        struct image_store *store;
        if ((!data && find_store(name, &directory, &err) < 0) || image_store_open(directory, NULL, &store, &err) < 0)
            return command_failed("image", err.text);
        wish.argument = argv[optind + 1];
        int result = verbs[i].run(store, &wish, &err);
        image_store_close(store);
        return result < 0 ? command_failed("image", err.text) : EXIT_DONE;
    }
    return command_misused("image", "wants import FILE.tar, pull REF, ls or rm REF");
}
