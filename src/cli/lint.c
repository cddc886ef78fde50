/* coracle lint: looks at manifests without a cluster, for people and for CI. What all files hold is taken as one set
 * of objects, each in its namespace; kinds that lint does not know are passed over. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/defaults.h"
#include "api/json.h"
#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "base/vector.h"
#include "cli/command.h"
#include "lint/lint.h"

#define MANIFEST_MAX (16 << 20) /* bytes of one file, or of standard input */
#define OBJECTS_MAX 4096
#define FILES_MAX 1024 /* -f options */
#define FOLDER_DEPTH_MAX 16
#define NODES_MAX 10000

struct manifest {
    struct lint_object object;
    const char *file;
    const char *namespace;
};

/* Where a finding is: as much of an object as is printed with it. */
struct document {
    const char *file, *namespace, *kind, *name;
};

/* A key that a document in YAML sets twice. Not in lint's table: no object shows it any more. */
struct duplicate {
    struct document document;
    struct lint_finding finding; /* as api/yaml.h words it: "line 3", "key \"a\" already set in map" */
};

static const struct lint_check duplicate_check = {.id = "duplicate-key",
                                                  .reason = "the last one counts, and what the others say is lost",
                                                  .remedy = "keep one of them"};

struct manifests {
    struct arena *arena;
    VECTOR(struct manifest) items;
    VECTOR(struct duplicate) duplicates;
    size_t files; /* that were read */
};

/* Reading. */

static bool is_known(const struct api_resource *resource)
{
    return resource && (resource->index == API_NODES || lint_needs(resource, &api_resources[API_DEPLOYMENTS]));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int add_object(struct manifests *all, const char *file, const json_t *tree, struct error *err)
{
    const struct api_resource *resource = api_resource_of_kind(text_of(tree, "apiVersion"), text_of(tree, "kind"));
    if (!is_known(resource))
        return 0;
    if (all->items.count == OBJECTS_MAX)
        return error_set(err, E2BIG, "more than %d objects", OBJECTS_MAX);
    cleanup_free char *json = json_dumps(tree, JSON_COMPACT);
    void *value = arena_alloc(all->arena, resource->type->size);
    if (!json || json_decode(resource->type, all->arena, json, strlen(json), value, NULL, err) < 0)
        return error_wrap(err, "%s \"%s\"", resource->kind, text_of(json_object_get(tree, "metadata"), "name"));
    api_set_defaults(all->arena, resource, value);
    const char *namespace = api_meta(resource, value)->namespace;
    vector_push(&all->items, (struct manifest){.object = {resource, value},
                                               .file = file,
                                               .namespace = namespace && *namespace ? namespace : "default"});
    return 0;
}

/* An object, or a list of objects as kubectl get -o yaml prints it. */
static int add_tree(struct manifests *all, const char *file, const json_t *tree, struct error *err)
{
    const json_t *items = json_object_get(tree, "items");
    const char *kind = text_of(tree, "kind");
    size_t size = strlen(kind), index;
    json_t *item;
    if (json_is_null(tree))
        return 0;
    if (!json_is_object(tree) || !*kind)
        return error_set(err, EINVAL, "holds something that is no object: kind is missing");
    if (!json_is_array(items) || size < 4 || strcmp(kind + size - 4, "List") != 0)
        return add_object(all, file, tree, err);
    json_array_foreach(items, index, item) {
        if (add_object(all, file, item, err) < 0)
            return -1;
    }
    return 0;
}

/* JSON objects one after the other. */
static int add_json(struct manifests *all, const char *file, const char *text, size_t size, struct error *err)
{
    static const char blanks[] = " \t\r\n";
    for (size_t at = strspn(text, blanks); at < size; at += strspn(text + at, blanks)) {
        json_error_t problem;
        json_t *tree = json_loadb(text + at, size - at, JSON_DISABLE_EOF_CHECK, &problem);
        if (!tree)
            return error_set(err, EBADMSG, "%s", problem.text);
        int result = add_tree(all, file, tree, err);
        json_decref(tree);
        if (result < 0)
            return -1;
        at += (size_t)problem.position;
    }
    return 0;
}

/* The lines of api/yaml.h's report about the document. */
static void add_duplicates(struct manifests *all, const char *file, const json_t *tree, const char *report)
{
    const json_t *metadata = json_object_get(tree, "metadata");
    const char *namespace = text_of(metadata, "namespace");
    const struct document document = {.file = file,
                                      .namespace = arena_string(all->arena, *namespace ? namespace : "default"),
                                      .kind = arena_string(all->arena, text_of(tree, "kind")),
                                      .name = arena_string(all->arena, text_of(metadata, "name"))};
    char *rest = arena_string(all->arena, report + strlen(YAML_DUPLICATES_HEAD)), *line;
    while ((line = strsep(&rest, "\n"))) {
        char *problem = line + strspn(line, " "), *field = strsep(&problem, ":");
        if (problem)
            vector_push(&all->duplicates, (struct duplicate){.document = document,
                                                             .finding = {.check = &duplicate_check,
                                                                         .field = field,
                                                                         .problem = problem + strspn(problem, " ")}});
    }
}

static int add_yaml(struct manifests *all, const char *file, const char *text, size_t size, struct error *err)
{
    struct yaml_reader *reader = yaml_reader_new(text, size);
    int more;
    do {
        cleanup_buffer struct buffer json = {0}, duplicates = {0};
        more = yaml_reader_next(reader, &json, &duplicates, err);
        if (more == 1) {
            json_t *tree = json_loadb(json.data, json.size, JSON_DECODE_ANY, NULL);
            if (!tree || add_tree(all, file, tree, err) < 0)
                more = tree ? -1 : error_set(err, EBADMSG, "cannot be read");
            else if (duplicates.size)
                add_duplicates(all, file, tree, duplicates.data);
            json_decref(tree);
        }
    } while (more == 1);
    yaml_reader_free(reader);
    return more;
}

static int add_text(struct manifests *all, const char *file, const struct buffer *text, struct error *err)
{
    const char *data = text->data ? text->data : "";
    bool json = data[strspn(data, " \t\r\n")] == '{';
    all->files++;
    if ((json ? add_json : add_yaml)(all, file, data, text->size, err) < 0)
        return error_wrap(err, "%s", file);
    return 0;
}

static int add_standard_input(struct manifests *all, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    ssize_t n;
    do {
        n = read(STDIN_FILENO, buffer_reserve(&text, 65536), 65536);
        if (n > 0)
            text.size += (size_t)n;
        if (text.size > MANIFEST_MAX)
            return error_set(err, EFBIG, "standard input is longer than %d bytes", MANIFEST_MAX);
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return error_errno(err, "standard input");
    buffer_add_char(&text, 0);
    text.size--;
    return add_text(all, "-", &text, err);
}

static bool is_manifest(const char *name)
{
    static const char *const endings[] = {".yaml", ".yml", ".json"};
    size_t size = strlen(name);
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++)
        if (size > strlen(endings[i]) && strcmp(name + size - strlen(endings[i]), endings[i]) == 0)
            return true;
    return false;
}

static int add_path(struct manifests *all, const char *path, int depth, struct error *err);

static int add_folder(struct manifests *all, const char *path, int depth, struct error *err)
{
    struct dirent **entries = NULL;
    int result = 0, count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return error_errno(err, "%s", path);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *full = arena_printf(all->arena, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", name);
        struct stat info;
        if (result == 0 && *name != '.' && stat(full, &info) == 0 &&
            ((S_ISDIR(info.st_mode) && depth < FOLDER_DEPTH_MAX) || (S_ISREG(info.st_mode) && is_manifest(name))))
            result = add_path(all, full, depth + 1, err);
        free(entries[i]);
    }
    free(entries);
    return result;
}

static int add_path(struct manifests *all, const char *path, int depth, struct error *err)
{
    struct stat info;
    cleanup_buffer struct buffer text = {0};
    if (strcmp(path, "-") == 0 && !depth)
        return add_standard_input(all, err);
    if (stat(path, &info) < 0)
        return error_errno(err, "%s", path);
    if (S_ISDIR(info.st_mode))
        return add_folder(all, path, depth, err);
    if (file_read(path, MANIFEST_MAX, &text, err) < 0)
        return -1;
    return add_text(all, path, &text, err);
}

static void add_nodes(struct manifests *all, int count)
{
    for (int i = 1; i <= count; i++) {
        struct node *node = arena_alloc(all->arena, sizeof(*node));
        node->metadata.name = arena_printf(all->arena, "node-%d", i);
        string_map_set(all->arena, &node->metadata.labels, "kubernetes.io/hostname", node->metadata.name);
        vector_push(&all->items, (struct manifest){.object = {&api_resources[API_NODES], node}, .namespace = ""});
    }
}

/* Looking. */

static void set_for(const struct manifests *all, const struct manifest *manifest, struct lint_object *items,
                    struct lint_set *set)
{
    *set = (struct lint_set){.items = items};
    for (size_t i = 0; i < all->items.count; i++) {
        const struct manifest *other = &all->items.items[i];
        bool node = other->object.resource->index == API_NODES;
        set->nodes_known |= node;
        if (node || strcmp(other->namespace, manifest->namespace) == 0)
            items[set->count++] = other->object;
    }
}

static struct document document_of(const struct manifest *manifest)
{
    return (struct document){.file = manifest->file,
                             .namespace = manifest->namespace,
                             .kind = manifest->object.resource->kind,
                             .name = text_or_empty(api_meta(manifest->object.resource, manifest->object.value)->name)};
}

static void print_text(const struct document *document, const struct lint_finding *finding,
                       const struct lint_object *looked_at)
{
    cleanup_buffer struct buffer text = {0};
    lint_write(finding, looked_at, &text);
    printf("%s: %s \"%s\": %s\n", document->file, document->kind, document->name, text.data);
}

static void print_json(const struct document *document, const struct lint_finding *finding, bool first)
{
    const struct {
        const char *key, *value;
    } fields[] = {
        {"file", document->file},      {"namespace", document->namespace}, {"kind", document->kind},
        {"name", document->name},      {"check", finding->check->id},      {"field", finding->field},
        {"problem", finding->problem}, {"reason", finding->check->reason}, {"remedy", finding->check->remedy},
    };
    cleanup_buffer struct buffer out = {0};
    buffer_add_string(&out, first ? "\n" : ",\n");
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        buffer_add_string(&out, i ? ", " : "    {");
        json_encode_string(&out, fields[i].key);
        buffer_add_string(&out, ": ");
        json_encode_string(&out, fields[i].value);
    }
    printf("%s}", out.data);
}

static size_t print_duplicates(const struct manifests *all, bool json)
{
    for (size_t i = 0; i < all->duplicates.count; i++) {
        const struct duplicate *d = &all->duplicates.items[i];
        if (json)
            print_json(&d->document, &d->finding, !i);
        else
            print_text(&d->document, &d->finding, NULL);
    }
    return all->duplicates.count;
}

/* Services are neighbours here: what they do to a workload is told of the workload. Returns how many findings were
 * printed; `more` are those beyond the bound of an object. */
static size_t look(const struct manifests *all, bool json, size_t *more)
{
    cleanup_free struct lint_object *items = mem_alloc((all->items.count + 1) * sizeof(*items));
    size_t found = print_duplicates(all, json);
    for (size_t i = 0; i < all->items.count; i++) {
        const struct manifest *manifest = &all->items.items[i];
        cleanup_arena struct arena *arena = arena_new(0);
        struct lint_set set;
        struct lint_findings findings = {.arena = arena};
        if (manifest->object.resource->index == API_SERVICES || manifest->object.resource->index == API_NODES)
            continue;
        set_for(all, manifest, items, &set);
        lint_object(&manifest->object, &set, &findings);
        const struct document document = document_of(manifest);
        for (size_t k = 0; k < findings.count; k++) {
            if (json)
                print_json(&document, &findings.items[k], !found && !k);
            else
                print_text(&document, &findings.items[k], &manifest->object);
        }
        if (findings.dropped && !json)
            printf("%s: and %zu more of this object\n", manifest->file, findings.dropped);
        *more += findings.dropped;
        found += findings.count;
    }
    return found;
}

static int print_checks(void)
{
    cleanup_buffer struct buffer table = {0};
    lint_write_table(&table);
    fputs(table.data, stdout);
    return EXIT_DONE;
}

static const struct option flags[] = {{"filename", required_argument, NULL, 'f'},
                                      {"output", required_argument, NULL, 'o'},
                                      {"nodes", required_argument, NULL, 'n'},
                                      {"checks", no_argument, NULL, 'c'},
                                      HELP_OPTION,
                                      {NULL, 0, NULL, 0}};

int command_lint(int argc, char **argv)
{
    const char *files[FILES_MAX];
    size_t count = 0;
    long nodes = 0;
    bool json = false;
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":f:o:h", flags, NULL)) != -1;) {
        char *end = NULL;
        if (c == 'h')
            return command_help("lint");
        if (c == 'c')
            return print_checks();
        if (c == 'f' && count == FILES_MAX)
            return command_misused("lint", "too many files");
        if (c == 'f')
            files[count++] = optarg;
        else if (c == 'o' && (strcmp(optarg, "json") == 0 || strcmp(optarg, "text") == 0))
            json = strcmp(optarg, "json") == 0;
        else if (c == 'o')
            return command_misused("lint", "-o wants json or text");
        else if (c == 'n' && (nodes = strtol(optarg, &end, 10)) > 0 && nodes <= NODES_MAX && !*end)
            continue;
        else
            return command_misused("lint", c == 'n' ? "--nodes wants a number of nodes" : "unknown option");
    }
    if (!count || optind < argc)
        return command_misused("lint", "wants -f FILE, -f FOLDER or -f -");

    cleanup_arena struct arena *arena = arena_new(0);
    struct manifests all = {.arena = arena};
    struct error err = {0};
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = add_path(&all, files[i], 0, &err);
    if (result == 0 && !all.files)
        result = error_set(&err, ENOENT, "no .yaml, .yml or .json file there");
    add_nodes(&all, (int)nodes);
    size_t found = 0, more = 0;
    if (result == 0) {
        if (json)
            printf("{\n  \"findings\": [");
        found = look(&all, json, &more);
        if (json)
            printf("%s],\n  \"more\": %zu\n}\n", found ? "\n  " : "", more);
    }
    vector_free(&all.items);
    vector_free(&all.duplicates);
    if (result < 0) {
        fprintf(stderr, "coracle lint: %s\n", err.text);
        return EXIT_USAGE;
    }
    return found ? EXIT_FAILED : EXIT_DONE;
}
