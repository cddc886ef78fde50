/* Texts that people and the kernel write for a node; the first byte says which: a list of CPUs, eviction thresholds, a
 * signal. What is read can be written and read again, and thresholds are amounts that a node may have. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "node/cpu_set.h"
#include "node/eviction.h"
#include "node/runtime/runtime.h"
#include "fuzz.h"

static void cpus(struct arena *arena, const char *text)
{
    struct cpu_set set, again;
    char written[CPU_SET_TEXT_MAX];
    (void)arena;
    if (cpu_set_parse(text, &set) < 0)
        return;
    cpu_set_text(&set, written);
    CHECK(cpu_set_parse(written, &again) == 0 && cpu_set_equal(&set, &again));
}

static void thresholds(struct arena *arena, const char *text)
{
    static const int64_t capacity = INT64_C(1) << 40;
    struct eviction_thresholds out;
    struct error err;
    if (eviction_parse(arena, text, &out, &err) < 0)
        return;
    for (size_t i = 0; i < EVICTION_SIGNALS; i++)
        CHECK(eviction_amount(&out.of[i], capacity) >= 0);
}

static void signals(struct arena *arena, const char *text)
{
    int number = runtime_signal_number(text);
    (void)arena;
    CHECK(number == -1 || (number > 0 && number <= SIGRTMAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct arena * arena, const char *text) = {cpus, thresholds, signals};
    if (!size)
        return 0;
    cleanup_arena struct arena *arena = arena_new(0);
    readers[*data % 3](arena, arena_string_n(arena, (const char *)data + 1, size - 1));
    return 0;
}
