/* coracle: the table of subcommands. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "node/runtime/pause.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
} commands[] = {
    {"up", command_up,
     "up [--sandbox] [--name NAME] [--data-dir DIR] [--listen ADDR:PORT] [--kubeconfig FILE]\n"
     "             [--load-image FILE.tar]... [--pod-manifest-path DIR] [--load-balancer-pool CIDR|FIRST-LAST,...]\n"
     "             [--eviction-hard THRESHOLDS] [--eviction-pressure-transition-period DURATION]\n"
     "             [--system-reserved RESOURCES] [--cpu-manager-policy none|static]\n"
     "             [--allowed-unsafe-sysctls NAMES]\n"
     "             [--detach] [--verbose]      start a cluster"},
    {"down", command_down,
     "down [--name NAME]                                  stop it; a sandbox disappears entirely"},
    {"enter", command_enter,
     "enter [--name NAME] -- COMMAND...                   run a command inside the node's network"},
    {"image", command_image,
     "image [--name NAME | --data-dir DIR] import FILE.tar | pull [--authfile FILE] REF | ls | rm REF   images"},
    {"lint", command_lint,
     "lint -f FILE|DIR|- [-f ...] [-o json] [--nodes N] | --checks   find manifests that invite an outage"},
    {"version", command_version, "version                                             what this is"},
};

static void print_usage(FILE *to)
{
    fprintf(to, "Coracle: Kubernetes in one small program.\n\n");
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        fprintf(to, "  coracle %s\n", commands[i].usage);
}

int command_failed(const char *command, const char *text)
{
    fprintf(stderr, "coracle %s: %s\n", command, text);
    return EXIT_FAILED;
}

int command_misused(const char *command, const char *text)
{
    fprintf(stderr, "coracle %s: %s\nSee 'coracle --help'.\n", command, text);
    return EXIT_USAGE;
}

int command_help(const char *command)
{
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        if (strcmp(command, commands[i].name) == 0)
            printf("Usage:\n  coracle %s\n", commands[i].usage);
    return EXIT_DONE;
}

int command_version(int argc, char **argv)
{
    static const struct option flags[] = {HELP_OPTION, {NULL, 0, NULL, 0}};
    optind = 1;
    opterr = 0;
    int c = getopt_long(argc, argv, ":h", flags, NULL);
    if (c == 'h')
        return command_help("version");
    if (c != -1)
        return command_misused("version", "unknown option");
    if (optind < argc)
        return command_misused("version", "takes no arguments");
    printf("coracle %s (Kubernetes API v1.35)\n", CORACLE_VERSION);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    /* A reader that goes away is an error of write(2), not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[0], PAUSE_NAME) == 0)
        return pause_main(argc, argv);
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "coracle: unknown command '%s'\n", argv[1]);
    print_usage(stderr);
    return EXIT_USAGE;
}
