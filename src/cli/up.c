/* coracle up: in the foreground this process becomes the cluster; with --detach a child does, and this process
 * passes its milestones on until it is ready. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cluster.h"
#include "cli/command.h"
#include "cli/node_options.h"
#include "cli/sandbox.h"

#define LISTEN_BACKLOG 512
/* A bootstrap of everything is a matter of milliseconds; images may take longer to load. */
#define POOL_THREADS "8"

static const struct option flags[] = {
    {"sandbox", no_argument, NULL, 's'},
    {"name", required_argument, NULL, 'n'},
    {"data-dir", required_argument, NULL, 'd'},
    {"listen", required_argument, NULL, 'l'},
    {"kubeconfig", required_argument, NULL, 'k'},
    {"load-image", required_argument, NULL, 'i'},
    {"pod-manifest-path", required_argument, NULL, 'p'},
    {"detach", no_argument, NULL, 'D'},
    {"verbose", no_argument, NULL, 'v'},
    {"load-balancer-pool", required_argument, NULL, 'b'},
    {"eviction-hard", required_argument, NULL, 'E'},
    {"eviction-pressure-transition-period", required_argument, NULL, 'T'},
    {"system-reserved", required_argument, NULL, 'R'},
    {"cpu-manager-policy", required_argument, NULL, 'C'},
    {"allowed-unsafe-sysctls", required_argument, NULL, 'U'},
    HELP_OPTION,
    {NULL, 0, NULL, 0},
};

static int parse(int argc, char **argv, struct up_options *o)
{
    *o = (struct up_options){.name = DEFAULT_NAME};
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", flags, NULL)) != -1;) {
        switch (c) {
        case 's':
            o->sandbox = true;
            break;
        case 'n':
            o->name = optarg;
            break;
        case 'd':
            o->data_directory = optarg;
            break;
        case 'l':
            o->listen = optarg;
            break;
        case 'k':
            o->kubeconfig = optarg;
            break;
        case 'p':
            o->manifests = optarg;
            break;
        case 'E':
            o->eviction_hard = optarg;
            break;
        case 'T':
            o->pressure_transition = optarg;
            break;
        case 'R':
            o->system_reserved = optarg;
            break;
        case 'C':
            o->cpu_manager_policy = optarg;
            break;
        case 'U':
            o->unsafe_sysctls = optarg;
            break;
        case 'i':
            if (o->image_count == UP_IMAGES_MAX)
                return command_misused("up", "too many --load-image");
            o->images[o->image_count++] = optarg;
            break;
        case 'D':
            o->detach = true;
            break;
        case 'v':
            o->verbose = true;
            break;
        case 'b':
            o->balancer_pool = optarg;
            break;
        case 'h':
            o->help = true;
            return EXIT_DONE;
        default:
            fprintf(stderr, "coracle up: %s '%s'\n", c == ':' ? "a value is missing after" : "unknown option",
                    argv[optind - 1]);
            return command_misused("up", "wrong usage");
        }
    }
    if (optind < argc)
        return command_misused("up", "takes no arguments, only options");
    return EXIT_DONE;
}

/* The API's socket, made where the host sees it. */
static int open_listener(const struct up_options *o, char url[64], struct error *err)
{
    const char *text = o->listen ? o->listen : o->sandbox ? "127.0.0.1:0" : "127.0.0.1:6443";
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN] = "";
    struct sockaddr_in address = {.sin_family = AF_INET};
    char *end;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || (size_t)(colon - text) >= sizeof(host) || !colon[1] || *end || port < 0 || port > 65535)
        return error_set(err, EINVAL, "--listen wants ADDRESS:PORT, not '%s'", text);
    memcpy(host, text, (size_t)(colon - text));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return error_set(err, EINVAL, "--listen wants an IPv4 address, not '%s'", host);
    address.sin_port = htons((uint16_t)port);
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    socklen_t size = sizeof(address);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (const struct sockaddr *)&address, size) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return error_errno(err, "listen on %s", text);
    snprintf(url, 64, "https://%s:%d", address.sin_addr.s_addr ? host : "127.0.0.1", ntohs(address.sin_port));
    return steal_fd(fd);
}

struct progress {
    struct timespec began;
    bool ready;
    int ready_pipe; /* closed when ready; -1 in the foreground */
    const char *log_path;
};

static void show(void *context, const char *name, const char *text)
{
    struct progress *p = context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - p->began.tv_sec) + (double)(now.tv_nsec - p->began.tv_nsec) / 1e9;
    printf("%-8s %s  (%.3f s)\n", name, text, seconds);
    fflush(stdout);
    p->ready = p->ready || strcmp(name, "ready") == 0;
    if (!p->ready || p->ready_pipe < 0)
        return;
    /* From here on nobody listens: what the cluster has to say goes to its log. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(null, STDIN_FILENO);
    dup2(log >= 0 ? log : null, STDOUT_FILENO);
    dup2(log >= 0 ? log : null, STDERR_FILENO);
    if (write(p->ready_pipe, "1", 1) < 0)
        log_warning("Nobody waits for the cluster to be ready");
    close(p->ready_pipe);
    p->ready_pipe = -1;
}

/* Back to where the command was given. Threads of the pool idle on inside until the process ends. */
static int go_outside(int mount_fd, int network_fd, struct error *err)
{
    /* A thread that shares its root and working directory with others cannot change its mount namespace. */
    if (unshare(CLONE_FS) < 0 || setns(mount_fd, CLONE_NEWNS) < 0 || setns(network_fd, CLONE_NEWNET) < 0)
        return error_errno(err, "leave the sandbox");
    return 0;
}

/* Ctrl-C on a sandbox in the foreground takes all of it away, from outside, as `down` does. */
static int take_away(const char *name, int mount_fd, int network_fd)
{
    char *arguments[] = {"down", "--name", (char *)(uintptr_t)name, NULL};
    struct error err = {0};
    if (go_outside(mount_fd, network_fd, &err) < 0)
        return command_failed("up", err.text);
    return command_down(3, arguments);
}

/* What a run of `up` is about to make, and has to undo if it comes to nothing. */
struct making {
    const struct up_options *up;
    const char *data;
    bool data_made;    /* by this run */
    bool bridge_found; /* on the host's network: it may be another cluster's */
    int mount_fd;      /* where the command was given */
    int network_fd;
};

static int undo(const struct making *m, struct error *err)
{
    if (go_outside(m->mount_fd, m->network_fd, err) < 0 || sandbox_undo(m->up->name, m->data_made, err) < 0)
        return -1;
    return m->up->sandbox ? 0 : cluster_host_clean(m->up->name, m->bridge_found, err);
}

/* A cluster that was not there before and did not get ready leaves no more behind than it found. Returns EXIT_FAILED.
 */
static int give_up(const struct making *m, const struct sandbox *sandbox, const char *why)
{
    struct error err = {0};
    int code = command_failed("up", why);
    if (sandbox->made && undo(m, &err) < 0)
        command_failed("up", err.text);
    return code;
}

static int run_cluster(const struct making *m, const struct cluster_options *cluster, struct sandbox *sandbox)
{
    struct error err = {0};
    const struct progress *progress = cluster->context;
    int result = cluster_run(cluster, &err);
    sandbox_close(sandbox);
    if (result < 0)
        return give_up(m, sandbox, err.text);
    if (!progress->ready)
        return give_up(m, sandbox, "it was stopped before it was ready");
    if (result == SIGINT && m->up->sandbox && !m->up->detach)
        return take_away(m->up->name, m->mount_fd, m->network_fd);
    return EXIT_DONE;
}

static int make_and_run(struct making *m, struct cluster_options *cluster)
{
    struct error err = {0};
    struct sandbox sandbox;
    struct sandbox_options where = {.name = m->up->name,
                                    .isolated = m->up->sandbox,
                                    .data_directory = m->data,
                                    .disposable = m->up->sandbox && !m->up->data_directory};
    /* While something is half made, a signal waits until it can be answered: cluster_run lets it in. */
    cluster_mask_ends(SIG_BLOCK);
    m->bridge_found = cluster_host_has_bridge();
    m->data_made = access(m->data, F_OK) < 0 && errno == ENOENT;
    if (file_make_directories(m->data, 0711, &err) < 0)
        return command_failed("up", err.text);
    if (sandbox_enter(&where, &sandbox, &err) < 0) {
        int code = give_up(m, &sandbox, err.text);
        if (m->data_made)
            rmdir(m->data); /* nothing was written to it yet */
        return code;
    }
    cluster->sandbox = &sandbox;
    return run_cluster(m, cluster, &sandbox);
}

static int run(const struct up_options *o, struct progress *progress)
{
    struct error err = {0};
    struct address_ranges pool;
    char url[64];
    cleanup_free char *data = o->data_directory ? realpath(o->data_directory, NULL) : NULL;
    if (!data)
        data = o->data_directory ? mem_string(o->data_directory) : mem_printf(DATA_ROOT "/%s", o->name);
    cleanup_free char *log_path = mem_printf("%s/coracle.log", data);
    cleanup_close int mount_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    cleanup_close int network_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    progress->log_path = log_path;
    /* Messages of sandbox_enter want the name checked first. */
    if (sandbox_name_check(o->name, &err) < 0)
        return command_misused("up", err.text);
    if (o->balancer_pool && address_ranges_parse(o->balancer_pool, &pool, &err) < 0) {
        error_wrap(&err, "--load-balancer-pool");
        return command_misused("up", err.text);
    }
    int listen_fd = open_listener(o, url, &err);
    if (listen_fd < 0)
        return err.code == EINVAL ? command_misused("up", err.text) : command_failed("up", err.text);
    struct making making = {.up = o, .data = data, .mount_fd = mount_fd, .network_fd = network_fd};
    struct cluster_options cluster = {.up = o,
                                      .balancer_pool = o->balancer_pool ? &pool : NULL,
                                      .data_directory = data,
                                      .listen_fd = listen_fd,
                                      .server_url = url,
                                      .milestone = show,
                                      .context = progress};
    return make_and_run(&making, &cluster);
}

static pid_t detached;

static void pass_on(int number)
{
    kill(detached, number);
}

/* Whoever stops the command before the cluster is ready stops the cluster. */
static void pass_signals_on(pid_t child)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    detached = child;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    cluster_mask_ends(SIG_UNBLOCK);
}

static int detach(const struct up_options *o, struct progress *progress)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return command_failed("up", strerror(errno));
    cluster_mask_ends(SIG_BLOCK);
    pid_t child = fork();
    if (child < 0)
        return command_failed("up", strerror(errno));
    if (child == 0) {
        close(fds[0]);
        setsid();
        progress->ready_pipe = fds[1];
        exit(run(o, progress));
    }
    pass_signals_on(child);
    close(fds[1]);
    char ready;
    ssize_t n;
    while ((n = read(fds[0], &ready, 1)) < 0 && errno == EINTR)
        ;
    close(fds[0]);
    if (n == 1)
        return EXIT_DONE;
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* Connections, watches and logs each take a descriptor. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Reads what the node is to be told, to refuse it before anything is made. */
static int check_node_options(const struct up_options *o)
{
    struct arena *arena = arena_new(0);
    struct agent_options ignored = {0};
    struct error err;
    int wrong = node_options_read(arena, o, &ignored, &err) < 0 ? command_misused("up", err.text) : EXIT_DONE;
    arena_free(arena);
    return wrong;
}

/* The absolute path of the folder of static pods, in the buffer. */
static int find_manifests(struct up_options *o, char path[PATH_MAX])
{
    struct stat info;
    if (!o->manifests)
        return EXIT_DONE;
    if (!realpath(o->manifests, path) || stat(path, &info) < 0 || !S_ISDIR(info.st_mode)) {
        cleanup_free char *text = mem_printf("--pod-manifest-path %s is not a folder", o->manifests);
        return command_misused("up", text);
    }
    o->manifests = path;
    return EXIT_DONE;
}

int command_up(int argc, char **argv)
{
    struct up_options o;
    char manifests[PATH_MAX];
    struct progress progress = {.ready_pipe = -1};
    int wrong = parse(argc, argv, &o);
    if (wrong == EXIT_DONE && o.help)
        return command_help("up");
    if (!wrong)
        wrong = find_manifests(&o, manifests);
    if (wrong == EXIT_DONE)
        wrong = check_node_options(&o);
    if (wrong)
        return wrong;
    if (geteuid() != 0)
        return command_failed("up", "needs root: it makes namespaces, mounts and cgroups. Try sudo.");
    clock_gettime(CLOCK_MONOTONIC, &progress.began);
    log_set_level(o.verbose ? LOG_DEBUG : LOG_WARNING);
    setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0);
    raise_descriptor_limit();
    return o.detach ? detach(&o, &progress) : run(&o, &progress);
}
