/* coracle down and coracle enter: clusters from outside. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/sandbox.h"

/* How long an orderly stop may take before the process is killed. */
#define STOP_WAIT_MILLISECONDS 15000

static const struct option name_flag[] = {{"name", required_argument, NULL, 'n'}, HELP_OPTION, {NULL, 0, NULL, 0}};

/* Instead of an index of arguments. */
#define WRONG_OPTION (-1)
#define HELP_WANTED (-2)

/* Reads --name; returns the index of the first other argument, WRONG_OPTION or HELP_WANTED. */
static int parse_name(int argc, char **argv, const char **name)
{
    *name = DEFAULT_NAME;
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "+:h", name_flag, NULL)) != -1;) {
        if (c != 'n')
            return c == 'h' ? HELP_WANTED : WRONG_OPTION;
        *name = optarg;
    }
    return optind;
}

static void wait_for_end(int fd, int milliseconds)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    while (poll(&end, 1, milliseconds) < 0 && errno == EINTR)
        ;
}

static void stop_process(pid_t process)
{
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, process, 0);
    if (fd < 0)
        return; /* it has gone meanwhile */
    syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
    wait_for_end(fd, STOP_WAIT_MILLISECONDS);
    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    wait_for_end(fd, STOP_WAIT_MILLISECONDS);
}

int command_down(int argc, char **argv)
{
    const char *name;
    struct error err;
    enum sandbox_presence presence;
    pid_t process;
    int rest = parse_name(argc, argv, &name);
    if (rest == HELP_WANTED)
        return command_help("down");
    if (rest < 0 || rest < argc)
        return command_misused("down", "takes --name NAME and nothing else");
    if (geteuid() != 0)
        return command_failed("down", "needs root. Try sudo.");
    if (sandbox_find(name, &presence, &process, &err) < 0)
        return command_failed("down", err.text);
    if (presence == SANDBOX_RUNNING && process > 0)
        stop_process(process);
    bool on_host = !sandbox_is_isolated(name);
    if (sandbox_destroy(name, &err) < 0 || (on_host && cluster_host_clean(name, false, &err) < 0))
        return command_failed("down", err.text);
    if (presence == SANDBOX_ABSENT) {
        printf("There is no cluster named %s.\n", name);
        return EXIT_DONE;
    }
    printf("Cluster %s is gone.\n", name);
    return EXIT_DONE;
}

int command_enter(int argc, char **argv)
{
    const char *name;
    struct error err;
    int rest = parse_name(argc, argv, &name);
    if (rest == HELP_WANTED)
        return command_help("enter");
    if (rest < 0 || rest >= argc)
        return command_misused("enter", "takes [--name NAME] -- COMMAND...");
    if (geteuid() != 0)
        return command_failed("enter", "needs root. Try sudo.");
    if (sandbox_join(name, &err) < 0)
        return command_failed("enter", err.text);
    execvp(argv[rest], argv + rest);
    fprintf(stderr, "coracle enter: %s: %s\n", argv[rest], strerror(errno));
    return EXIT_FAILED;
}
