/* One measurement of bench/dataplane: how long the rules of many services take to install and to change, and what they
 * cost a connection. Everything happens in network namespaces of this process' own: a node with its bridge, a client
 * pod, and ENDPOINTS server pods.
 *
 *   dataplane_bench --services N --rules data-plane|iptables [--restore PROGRAM] [--connections C]
 *
 * Each service has ENDPOINTS endpoints of its own; those of the one in the middle are the server pods, the others are
 * addresses where nobody is. With iptables, the rules have the shape that kube-proxy gives them, and PROGRAM
 * (iptables-restore) installs them; a change writes what kube-proxy's partial sync writes: the chain of all services,
 * and the chains of the one that changed.
 *
 * Prints one JSON object. Times are in microseconds; *_processor_us is processor time. Endpoints are taken to be on
 * other nodes, but for the server pods, as most are. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "network/dataplane.h"
#include "network/namespace.h"
#include "network/pod_network.h"

enum {
    ENDPOINTS = 10,
    SERVICES_MAX = 60000,
    PORT = 80,
    TARGET_PORT = 8080,
    CHANGES = 20,
    APPLY_WAIT_SECONDS = 600,
};

#define POD_CIDR "10.0.0.0/8"
#define SERVICE_CIDR "10.96.0.0/16"

static int service_count = 10, connection_count = 4000;
static bool iptables;
static const char *restore = "iptables-restore";
static struct pod_network *network;
static int client_pod;
static struct in_addr endpoint_addresses[ENDPOINTS];

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "dataplane_bench: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* Of this process and of the children that it has waited for. */
static int64_t processor_us(void)
{
    int64_t sum = 0;
    static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage usage;
        getrusage(whose[i], &usage);
        sum += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_usec;
    }
    return sum;
}

/* ---- the node and its pods ---- */

static void *new_namespace(void *out)
{
    if (unshare(CLONE_NEWNET) < 0)
        die("unshare", NULL);
    *(int *)out = network_namespace_open("/proc/thread-self/ns/net", NULL);
    return NULL;
}

static int add_pod(const char *key, struct in_addr *address)
{
    pthread_t thread;
    struct error err;
    char path[64];
    int fd = -1;
    if (pthread_create(&thread, NULL, new_namespace, &fd) || pthread_join(thread, NULL) || fd < 0)
        die("namespace of a pod", NULL);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (pod_network_attach(network, key, path, address, &err) < 0)
        die("pod", &err);
    return fd;
}

static int open_socket(int namespace_fd, int flags)
{
    int previous;
    if (network_namespace_enter(namespace_fd, &previous, NULL) < 0)
        die("enter", NULL);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    network_namespace_leave(&previous);
    if (fd < 0)
        die("socket", NULL);
    return fd;
}

static int listeners;

/* Greets whoever comes with one byte, and closes. */
static void *serve(void *unused)
{
    struct epoll_event events[ENDPOINTS];
    for (;;) {
        int n = epoll_wait(listeners, events, ENDPOINTS, -1);
        for (int i = 0; i < n; i++)
            for (int fd; (fd = accept4(events[i].data.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; close(fd))
                send(fd, "!", 1, MSG_NOSIGNAL);
    }
    return unused;
}

static void set_up(void)
{
    struct error err;
    struct pod_network_config config = {.namespace_fd = -1, .own_namespace = true};
    struct in_addr address;
    pthread_t server;
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
        die("namespaces (root is needed)", NULL);
    if (pod_network_open(&config, &network, &err) < 0)
        die("network", &err);
    client_pod = add_pod("client", &address);
    listeners = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < ENDPOINTS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "server-%d", i);
        int pod = add_pod(key, &endpoint_addresses[i]), fd = open_socket(pod, SOCK_NONBLOCK);
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(TARGET_PORT)};
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 1024) < 0 ||
            epoll_ctl(listeners, EPOLL_CTL_ADD, fd, &event) < 0)
            die("server", NULL);
    }
    if (pthread_create(&server, NULL, serve, NULL))
        die("thread", NULL);
}

/* ---- the services ---- */

static int measured_service(void)
{
    return service_count / 2;
}

static struct in_addr service_address(int service)
{
    return (struct in_addr){htonl(0x0a600000u + 16 + (uint32_t)service)};
}

/* Of the others: in 10.128.0.0/9, where nobody is. A change moves one endpoint. */
static struct in_addr endpoint_address(int service, int i, int change)
{
    if (service == measured_service())
        return endpoint_addresses[i];
    return (struct in_addr){
        htonl(0x0a800000u + (uint32_t)service * 32 + (uint32_t)i + (i == 0 ? 10u * (change % 2) : 0))};
}

/* ---- ours ---- */

static struct dataplane *plane;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t revision, applied_revision;

static void applied(void *context, uint64_t r, const struct error *err)
{
    (void)context;
    if (err)
        die("apply", err);
    pthread_mutex_lock(&lock);
    applied_revision = r;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void set_service(int service, int change)
{
    struct dataplane_endpoint endpoints[ENDPOINTS];
    struct error err;
    char name[32];
    snprintf(name, sizeof(name), "default/service-%d:http", service);
    for (int i = 0; i < ENDPOINTS; i++)
        endpoints[i] = (struct dataplane_endpoint){.address = ip_address_v4(endpoint_address(service, i, change)),
                                                   .port = TARGET_PORT,
                                                   .ready = true,
                                                   .serving = true,
                                                   .remote = service != measured_service()};
    struct dataplane_service s = {.name = name,
                                  .protocol = IPPROTO_TCP,
                                  .port = PORT,
                                  .cluster_address = ip_address_v4(service_address(service)),
                                  .endpoints = endpoints,
                                  .endpoint_count = ENDPOINTS};
    if (dataplane_set(plane, &s, &err) < 0)
        die("service", &err);
}

static void sync_plane(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += APPLY_WAIT_SECONDS;
    dataplane_revision(plane, ++revision);
    pthread_mutex_lock(&lock);
    while (applied_revision < revision)
        if (pthread_cond_timedwait(&changed, &lock, &until))
            die("the data plane is not done", NULL);
    pthread_mutex_unlock(&lock);
}

static int64_t install_ours(void)
{
    struct error err;
    struct dataplane_config config = {
        .namespace_fd = -1,
        .plan = {.table = "bench", .bridge = POD_NETWORK_BRIDGE, .service_cidr = SERVICE_CIDR},
        .applied = applied,
    };
    int64_t start = now_us();
    if (dataplane_start(&config, &plane, &err) < 0)
        die("data plane", &err);
    for (int i = 0; i < service_count; i++)
        set_service(i, 0);
    sync_plane();
    return now_us() - start;
}

/* ---- kube-proxy's shape ---- */

static void write_dispatch(struct buffer *out)
{
    char address[INET_ADDRSTRLEN];
    for (int s = 0; s < service_count; s++) {
        struct in_addr a = service_address(s);
        inet_ntop(AF_INET, &a, address, sizeof(address));
        buffer_printf(
            out,
            "-A KUBE-SERVICES -m comment --comment \"default/service-%d:http cluster IP\" -m tcp -p tcp -d %s/32 "
            "--dport %d -j KUBE-SVC-%016X\n",
            s, address, PORT, s);
    }
}

static void write_service_chains(struct buffer *out, int service)
{
    buffer_printf(out, ":KUBE-SVC-%016X - [0:0]\n", service);
    for (int i = 0; i < ENDPOINTS; i++)
        buffer_printf(out, ":KUBE-SEP-%012X%04X - [0:0]\n", service, i);
}

static void write_service_rules(struct buffer *out, int service, int change)
{
    char address[INET_ADDRSTRLEN];
    struct in_addr a = service_address(service);
    inet_ntop(AF_INET, &a, address, sizeof(address));
    buffer_printf(
        out,
        "-A KUBE-SVC-%016X -m comment --comment \"default/service-%d:http cluster IP\" -m tcp -p tcp -d %s/32 "
        "--dport %d ! -s " POD_CIDR " -j KUBE-MARK-MASQ\n",
        service, service, address, PORT);
    for (int i = 0; i < ENDPOINTS; i++) {
        a = endpoint_address(service, i, change);
        inet_ntop(AF_INET, &a, address, sizeof(address));
        buffer_printf(out, "-A KUBE-SVC-%016X -m comment --comment \"default/service-%d:http -> %s:%d\"", service,
                      service, address, TARGET_PORT);
        if (i + 1 < ENDPOINTS)
            buffer_printf(out, " -m statistic --mode random --probability %0.10f", 1.0 / (ENDPOINTS - i));
        buffer_printf(out, " -j KUBE-SEP-%012X%04X\n", service, i);
        buffer_printf(out,
                      "-A KUBE-SEP-%012X%04X -m comment --comment default/service-%d:http -s %s/32 -j KUBE-MARK-MASQ\n"
                      "-A KUBE-SEP-%012X%04X -m comment --comment default/service-%d:http -m tcp -p tcp -j DNAT "
                      "--to-destination %s:%d\n",
                      service, i, service, address, service, i, service, address, TARGET_PORT);
    }
}

static void write_frame_rules(struct buffer *out)
{
    buffer_add_string(out, "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
                           "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n"
                           "-A KUBE-POSTROUTING -j MASQUERADE --random-fully\n"
                           "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n");
}

static void write_all(struct buffer *out)
{
    buffer_add_string(out, "*filter\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j KUBE-FORWARD\n"
                           "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n"
                           "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\n"
                           "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n"
                           "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n");
    for (int s = 0; s < service_count; s++)
        write_service_chains(out, s);
    buffer_add_string(
        out, "-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n");
    write_frame_rules(out);
    write_dispatch(out);
    for (int s = 0; s < service_count; s++)
        write_service_rules(out, s, 0);
    buffer_add_string(out, "COMMIT\n");
}

/* Chains that are named are emptied, others stay. */
static void write_partial(struct buffer *out, int service, int change)
{
    buffer_add_string(out, "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n");
    write_service_chains(out, service);
    write_frame_rules(out);
    write_dispatch(out);
    write_service_rules(out, service, change);
    buffer_add_string(out, "COMMIT\n");
}

static int64_t run_restore(const struct buffer *rules)
{
    FILE *file = tmpfile();
    if (!file || fwrite(rules->data, 1, rules->size, file) != rules->size || fflush(file))
        die("rules", NULL);
    rewind(file);
    int64_t start = now_us();
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it goes when its measurement is broken off */
        dup2(fileno(file), 0);
        execlp(restore, restore, "-w", "5", "--noflush", "--counters", (char *)NULL);
        _exit(127);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        die(restore, &(struct error){.text = "failed"});
    fclose(file);
    return now_us() - start;
}

static int64_t install_iptables(void)
{
    struct buffer rules = {0};
    write_all(&rules);
    int64_t took = run_restore(&rules);
    buffer_free(&rules);
    return took;
}

/* ---- changes and connections ---- */

static int compare_times(const void *a, const void *b)
{
    int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
    return p < q ? -1 : p > q;
}

static int64_t part_of(int64_t *times, int count, int percent)
{
    qsort(times, (size_t)count, sizeof(*times), compare_times);
    return times[(count - 1) * percent / 100];
}

/* The median time in which one endpoint of one service is exchanged for another. */
static int64_t measure_change(int changes)
{
    int64_t times[CHANGES];
    for (int i = 0; i < changes; i++) {
        if (iptables) {
            struct buffer rules = {0};
            write_partial(&rules, 0, i + 1);
            times[i] = run_restore(&rules);
            buffer_free(&rules);
        } else {
            int64_t start = now_us();
            set_service(0, i + 1);
            sync_plane();
            times[i] = now_us() - start;
        }
    }
    return part_of(times, changes, 50);
}

struct connections {
    double per_second;
    int64_t p50, p99;
};

/* Connects, hears the greeting, resets; the time until the greeting. */
static int64_t connect_once(const struct sockaddr_in *to)
{
    struct linger reset = {1, 0};
    char greeting;
    int64_t begin = now_us();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 || recv(fd, &greeting, 1, 0) != 1)
        die("connection", NULL);
    int64_t took = now_us() - begin;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    return took;
}

static struct connections sum_up(int64_t *times)
{
    struct connections out = {0};
    for (int i = 0; i < connection_count; i++)
        out.per_second += (double)times[i];
    out.per_second = connection_count * 1e6 / out.per_second;
    out.p99 = part_of(times, connection_count, 99);
    out.p50 = times[(connection_count - 1) / 2];
    free(times);
    return out;
}

/* To both in turn, so that what else the machine does falls on both. */
static void connect_to_both(struct connections *direct, struct connections *service)
{
    struct sockaddr_in to[2] = {
        {.sin_family = AF_INET, .sin_addr = endpoint_addresses[0], .sin_port = htons(TARGET_PORT)},
        {.sin_family = AF_INET, .sin_addr = service_address(measured_service()), .sin_port = htons(PORT)},
    };
    int64_t *times[2];
    int warm = connection_count / 10, previous;
    for (int k = 0; k < 2; k++)
        times[k] = mem_zero((size_t)connection_count, sizeof(*times[k]));
    if (network_namespace_enter(client_pod, &previous, NULL) < 0)
        die("enter", NULL);
    for (int i = -warm; i < connection_count; i++)
        for (int k = 0; k < 2; k++) {
            int64_t took = connect_once(&to[k]);
            if (i >= 0)
                times[k][i] = took;
        }
    network_namespace_leave(&previous);
    *direct = sum_up(times[0]);
    *service = sum_up(times[1]);
}

static void print_connections(const char *name, const struct connections *c)
{
    printf(", \"%s\": {\"per_second\": %.0f, \"p50_us\": %lld, \"p99_us\": %lld}", name, c->per_second,
           (long long)c->p50, (long long)c->p99);
}

static void usage(void)
{
    fputs("usage: dataplane_bench --services N --rules data-plane|iptables [--restore PROGRAM] [--connections C]\n",
          stderr);
    exit(2);
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"services", required_argument, NULL, 's'},
                                            {"rules", required_argument, NULL, 'r'},
                                            {"restore", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's')
            service_count = atoi(optarg);
        else if (option == 'c')
            connection_count = atoi(optarg);
        else if (option == 'p')
            restore = optarg;
        else if (option == 'r' && strcmp(optarg, "iptables") == 0)
            iptables = true;
        else if (option != 'r' || strcmp(optarg, "data-plane") != 0)
            usage();
    }
    if (service_count < 1 || service_count > SERVICES_MAX || connection_count < 10)
        usage();
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    set_up();
    int64_t before = processor_us(), installed = iptables ? install_iptables() : install_ours();
    int64_t install_processor = processor_us() - before;
    int changes = iptables && service_count > 1000 ? 3 : CHANGES;
    before = processor_us();
    int64_t change = measure_change(changes), change_processor = (processor_us() - before) / changes;
    struct connections direct, service;
    connect_to_both(&direct, &service);
    printf("{\"services\": %d, \"endpoints\": %d, \"install_us\": %lld, \"install_processor_us\": %lld, \"change_us\": "
           "%lld, "
           "\"change_processor_us\": %lld",
           service_count, ENDPOINTS, (long long)installed, (long long)install_processor, (long long)change,
           (long long)change_processor);
    print_connections("direct", &direct);
    print_connections("service", &service);
    puts("}");
    /* The namespaces, and all that is in them, go with the process. */
    fflush(stdout);
    _exit(0);
}
