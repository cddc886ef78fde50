/* Runs a fuzzing target over a corpus without a fuzzer: replay DIRECTORY. Each file is one input. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "fuzz.h"

#define INPUT_MAX (16 * 1024 * 1024)

int main(int argc, char **argv)
{
    struct error err = {0};
    DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
    if (!directory) {
        fprintf(stderr, "usage: replay DIRECTORY\n");
        return 2;
    }
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        cleanup_free char *path = mem_printf("%s/%s", argv[1], entry->d_name);
        cleanup_buffer struct buffer input = {0};
        if (file_read(path, INPUT_MAX, &input, &err) < 0) {
            fprintf(stderr, "replay: %s\n", err.text);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)input.data, input.size);
        count++;
    }
    closedir(directory);
    printf("%u inputs\n", count);
    return count ? 0 : 1;
}
