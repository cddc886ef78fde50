/* Unpacking a layer: no input crashes it, escapes its directory, or leaves a tree that cannot be removed. The limits
 * are small, so that an input is quick. Run as root to reach owners and device nodes. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/image/tree.h"
#include "node/image/unpack.h"
#include "fuzz.h"

static char top[4096];

static void clean_up(void)
{
    image_tree_remove_path(top);
}

/* Makes the directory that all layers are in, once. */
static void prepare(void)
{
    const char *memory = "/dev/shm", *base = getenv("TMPDIR");
    if (*top)
        return;
    if (!base)
        base = access(memory, W_OK) == 0 ? memory : "/tmp";
    snprintf(top, sizeof(top), "%s/coracle-fuzz-XXXXXX", base);
    if (!mkdtemp(top) || atexit(clean_up) != 0)
        abort();
}

struct memory {
    const uint8_t *data;
    size_t left;
};

static ssize_t read_memory(void *context, const void **block, struct error *err)
{
    struct memory *memory = context;
    size_t n = memory->left < 512 ? memory->left : 512;
    *block = memory->data;
    memory->data += n;
    memory->left -= n;
    return (ssize_t)n;
}

/* Entries of the directory that all layers are in. */
static size_t neighbours(void)
{
    size_t count = 0;
    DIR *stream = opendir(top);
    while (stream && readdir(stream))
        count++;
    if (stream)
        closedir(stream);
    return count;
}

/* Makes the checksums of all tar headers right: otherwise nearly no change to a header would get past them. */
static void repair(uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 512 <= size; at += 512) {
        uint8_t *header = data + at;
        unsigned sum = 0;
        char text[8];
        if (memcmp(header + 257, "ustar", 5) != 0)
            continue;
        memset(header + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++)
            sum += header[i];
        snprintf(text, sizeof(text), "%06o", sum);
        memcpy(header + 148, text, 7);
    }
}

static void unpack(const uint8_t *data, size_t size)
{
    const struct image_limits limits = {.layers = 1, .entries = 64, .unpacked = 1 << 20};
    const struct cancel cancel = {NULL, NULL};
    struct memory memory = {data, size};
    const struct unpack_source source = {read_memory, &memory};
    struct unpack_budget budget;
    struct unpack_result result;
    struct error err = {0};
    char directory[4200];
    snprintf(directory, sizeof(directory), "%s/layer", top);
    image_unpack_budget_start(&budget, &limits);
    int status = image_unpack_layer(&source, directory, &budget, &cancel, &result, &err);
    if ((status == 0 && !image_digest_valid(result.diff_id)) || (status < 0 && (!err.code || !*err.text)))
        abort();
    image_unpack_result_free(&result);
    if (neighbours() != 3 || image_tree_remove_path(directory) < 0 || neighbours() != 2)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_alloc(size + 1);
    prepare();
    memcpy(copy, data, size);
    repair(copy, size);
    unpack(copy, size);
    free(copy);
    return 0;
}
