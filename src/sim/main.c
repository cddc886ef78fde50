/* coracle-sim: runs simulated histories of a cluster and looks for violations. See usage(). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/timestamp.h"
#include "sim/bench.h"
#include "sim/scenario.h"

enum { EXIT_USAGE = 2 };

static void usage(FILE *out)
{
    fputs("Usage: coracle-sim --seeds A-B [--fault NAME] [--verbose]\n"
          "       coracle-sim --trace SEED [--fault NAME]\n"
          "       coracle-sim --bench PODSxNODES [--choosy]\n"
          "Runs one simulated history of a cluster per seed: users, faults, and then rest. Exits with 1 when one\n"
          "breaks a promise; its last events are written to standard error.\n"
          "\n"
          "  --seeds A-B   the seeds to run, both ends included; --seeds A runs one\n"
          "  --verbose     a line for every seed\n"
          "  --trace SEED  every event of one history\n"
          "  --fault NAME  with controllers that are wrong in one way; list: the faults that there are\n"
          "  --bench PxN   how fast P pods of one Deployment are created and bound on N nodes\n"
          "  --choosy      ... that are spread over zones and keep away from each other; before --bench\n",
          out);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* "7" or "1-2000". */
static bool read_range(const char *text, uint64_t *first, uint64_t *last)
{
    char *end;
    *first = *last = strtoull(text, &end, 10);
    if (end == text)
        return false;
    if (*end != '-')
        return *end == 0;
    text = end + 1;
    *last = strtoull(text, &end, 10);
    return end != text && *end == 0 && *last >= *first;
}

static int run_seeds(uint64_t first, uint64_t last, const struct sim_fault *fault, bool verbose, FILE *history)
{
    uint64_t failed = 0, writes = 0;
    int64_t simulated = 0;
    double begun = seconds_now();
    for (uint64_t seed = first;; seed++) {
        struct sim_result result;
        sim_scenario_run(seed, fault, history, stderr, &result);
        failed += result.failed;
        writes += result.writes;
        simulated += result.simulated;
        if (verbose)
            printf("seed %llu: hash %016llx, %llu writes in %.0f s, at rest after %.0f s%s%s\n",
                   (unsigned long long)seed, (unsigned long long)result.hash, (unsigned long long)result.writes,
                   (double)result.simulated / SECOND, (double)result.rest / SECOND, result.failed ? ": " : "",
                   result.failure);
        if (seed == last)
            break;
    }
    uint64_t histories = last - first + 1;
    printf("%llu histories, %llu failed; %llu writes, %.1f hours simulated in %.1f s\n", (unsigned long long)histories,
           (unsigned long long)failed, (unsigned long long)writes, (double)simulated / HOUR, seconds_now() - begun);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_bench(const char *text, bool choosy)
{
    int pods = 0, nodes = 0, end = 0;
    if (sscanf(text, "%dx%d%n", &pods, &nodes, &end) != 2 || text[end] || pods < 1 || nodes < 1) {
        fprintf(stderr, "coracle-sim: \"%s\" is not PODSxNODES\n", text);
        return EXIT_USAGE;
    }
    return sim_bench_run(pods, nodes, choosy, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int list_faults(const char *asked_for)
{
    bool listed = strcmp(asked_for, "list") == 0;
    if (!listed)
        fprintf(stderr, "coracle-sim: there is no fault \"%s\"; these there are:\n", asked_for);
    for (size_t i = 0; i < sim_fault_count; i++)
        fprintf(listed ? stdout : stderr, "%-12s %s\n", sim_faults[i].name, sim_faults[i].does);
    return listed ? EXIT_SUCCESS : EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 's'}, {"trace", required_argument, NULL, 't'},
        {"bench", required_argument, NULL, 'b'}, {"fault", required_argument, NULL, 'f'},
        {"choosy", no_argument, NULL, 'c'},      {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    uint64_t first = 0, last = 0;
    bool verbose = false, given = false, choosy = false;
    FILE *history = NULL;
    const struct sim_fault *fault = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 's':
        case 't':
            given = read_range(optarg, &first, &last);
            history = option == 't' ? stdout : NULL;
            if (!given) {
                fprintf(stderr, "coracle-sim: \"%s\" is not a range of seeds\n", optarg);
                return EXIT_USAGE;
            }
            break;
        case 'f':
            fault = sim_fault_find(optarg);
            if (!fault)
                return list_faults(optarg);
            break;
        case 'b':
            return run_bench(optarg, choosy);
        case 'c':
            choosy = true;
            break;
        case 'v':
            verbose = true;
            break;
        case 'h':
            usage(stdout);
            return EXIT_SUCCESS;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (!given || optind != argc) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return run_seeds(first, last, fault, verbose, history);
}
