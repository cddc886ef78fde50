/* Tables that are made anew: what libnftables would have written, in one transaction. */
#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "network/dataplane.h"
#include "network/fixture.h"
#include "network/nft_batch.h"

#define TABLE "coracle-test"

static const struct dataplane_plan_config plan_config = {.family = AF_INET,
                                                         .table = TABLE,
                                                         .bridge = "coracle0",
                                                         .service_cidr = "10.96.0.0/16",
                                                         .pod_cidr = "10.244.0.0/16",
                                                         .masquerade_egress = true};
static const struct dataplane_plan_config plan6_config = {.family = AF_INET6,
                                                          .table = TABLE,
                                                          .bridge = "coracle0",
                                                          .service_cidr = "fd00:10:96::/112",
                                                          .pod_cidr = "fd00:10:244::/48",
                                                          .masquerade_egress = true};
static const struct policy_table_config policy_config = {
    .table = TABLE, .bridge = "coracle0", .dns_address = "10.96.0.10"};

/* ---- the plane under test ---- */

static struct dataplane *plane;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t reported = PTHREAD_COND_INITIALIZER;
static uint64_t revision, applied_revision;

static void applied(void *context, uint64_t r, const struct error *err)
{
    pthread_mutex_lock(&lock);
    if (err)
        fprintf(stderr, "%s\n", err->text);
    else
        applied_revision = r;
    pthread_cond_broadcast(&reported);
    pthread_mutex_unlock(&lock);
}

static void start_plane(void)
{
    struct dataplane_config config = {
        .namespace_fd = -1, .plan = plan_config, .plan6 = plan6_config, .policies = policy_config, .applied = applied};
    check_ok(dataplane_start(&config, &plane, err));
}

static void sync_plane(void)
{
    struct timespec until;
    int result = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    dataplane_revision(plane, ++revision);
    pthread_mutex_lock(&lock);
    while (applied_revision < revision && result == 0)
        result = pthread_cond_timedwait(&reported, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(result, 0);
}

/* ---- what there is ---- */

static struct ip_address address(const char *text)
{
    struct ip_address a;
    assert_true(ip_address_parse(text, &a));
    return a;
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p;
    assert_true(ip_prefix_parse(text, &p));
    return p;
}

typedef void (*service_sink)(void *context, const struct dataplane_service *service);

/* Services of one family with all that a service can have, but affinity of IPv6. */
static void give_services(int family, service_sink sink, void *context)
{
    bool v6 = family == AF_INET6;
    struct dataplane_endpoint endpoints[] = {
        {.address = address(v6 ? "fd00:10:244::2" : "10.244.0.2"), .port = 8080, .ready = true, .serving = true},
        {.address = address(v6 ? "fd00:10:244::3" : "10.244.0.3"), .port = 8081, .ready = true, .serving = true},
        {.address = address(v6 ? "fd00:10:244:1::2" : "10.244.1.2"), .port = 65535, .ready = true, .remote = true},
    };
    const struct ip_address external = address(v6 ? "2001:db8::7" : "192.0.2.7");
    const struct ip_address balancer = address(v6 ? "2001:db8::8" : "192.0.2.8");
    const struct ip_prefix ranges[] = {prefix(v6 ? "2001:db8:1::/49" : "198.51.100.0/25"),
                                       prefix(v6 ? "2001:db8:2::1/128" : "203.0.113.7/32")};
    struct dataplane_service s = {.name = "default/web:http",
                                  .family = family,
                                  .protocol = IPPROTO_TCP,
                                  .port = 80,
                                  .cluster_address = address(v6 ? "fd00:10:96::7" : "10.96.0.7"),
                                  .node_port = 30080,
                                  .external_addresses = &external,
                                  .external_address_count = 1,
                                  .balancer_addresses = &balancer,
                                  .balancer_address_count = 1,
                                  .source_limited = true,
                                  .source_ranges = ranges,
                                  .source_range_count = 2,
                                  .affinity_seconds = v6 ? 0 : 10800,
                                  .external_local = true,
                                  .endpoints = endpoints,
                                  .endpoint_count = ARRAY_COUNT(endpoints)};
    sink(context, &s);
    s.name = "default/dns:udp";
    s.protocol = IPPROTO_UDP;
    s.port = 53;
    s.external_local = s.source_limited = false;
    s.endpoint_count = 1;
    sink(context, &s);
    s.name = "default/signal:sctp";
    s.protocol = IPPROTO_SCTP;
    sink(context, &s);
    s.name = "default/elsewhere:http";
    s.protocol = IPPROTO_TCP;
    s.internal_local = s.external_local = true;
    s.endpoints = endpoints + 2;
    sink(context, &s);
    s.name = "default/empty:http";
    s.port = 81;
    s.node_port = 30081;
    s.endpoint_count = 0;
    sink(context, &s);
}

/* Ranges that touch, that end where addresses end, and of one address. */
static struct policy_changes policies(void)
{
    static const struct policy_change all[] = {
        {POLICY_PEERS, false, false, "10.244.0.2", 1},
        {POLICY_PEERS, true, false, "fd00:10:244::2", 1},
        {POLICY_BLOCKS, false, false, "0.0.0.0-9.255.255.255", 2},
        {POLICY_BLOCKS, false, false, "10.0.0.0-10.0.0.255", 3},
        {POLICY_BLOCKS, false, false, "10.0.1.0-10.0.1.0", 4},
        {POLICY_BLOCKS, false, false, "192.0.2.0-255.255.255.255", 5},
        {POLICY_BLOCKS, true, false, "2001:db8::-2001:db8::ffff", 6},
        {POLICY_BLOCKS, true, false, "fd00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7},
        {POLICY_EGRESS, false, false, "10.244.0.2 . 3", 5},
        {POLICY_EGRESS_DEFAULT, false, false, "10.244.0.2", POLICY_NOTHING},
        {POLICY_INGRESS, true, false, "fd00:10:244::2 . 1", 5},
        {POLICY_INGRESS_DEFAULT, true, false, "fd00:10:244::2", POLICY_EVERYTHING},
        {POLICY_SELF, false, false, "10.244.0.2 . 10.244.0.2", 0},
        {POLICY_DNS, false, false, "10.244.0.2 . udp", 0},
        {POLICY_PORTS, false, false, "5 . tcp . 80", 0},
        {POLICY_PORT_RANGES, false, false, "5 . tcp . 8000-8999", 0},
        {POLICY_PORT_RANGES, false, false, "5 . udp . 1-65535", 0},
        {POLICY_PROTOCOLS, false, false, "5 . sctp", 0},
    };
    struct policy_changes changes = {0};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        struct policy_change change = all[i];
        change.key = mem_string(change.key);
        vector_push(&changes, change);
    }
    return changes;
}

/* ---- what the kernel has ---- */

/* All rules of the namespace, as nft lists them. */
static char *list_rules(void)
{
    struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
    assert_int_equal(nft_ctx_buffer_output(context), 0);
    assert_int_equal(nft_run_cmd_from_buffer(context, "list ruleset"), 0);
    char *text = mem_string(nft_ctx_get_output_buffer(context));
    nft_ctx_free(context);
    return text;
}

static void take_generation(void *context, const struct nlmsghdr *message)
{
    *(uint32_t *)context = ntohl(netlink_u32(netlink_find(message, sizeof(struct nfgenmsg), NFTA_GEN_ID)));
}

/* How many transactions the kernel has made in this namespace. */
static uint32_t generation(void)
{
    uint32_t number = 0;
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    cleanup_netlink_batch struct netlink_batch batch = {0};
    check_ok(netlink_open(-1, NETLINK_NETFILTER, &netlink, err));
    nft_batch_message(&batch, AF_UNSPEC, NFT_MSG_GETGEN, 0);
    check_ok(netlink_query(&netlink, &batch, take_generation, &number, err));
    return number;
}

static void set_service(void *context, const struct dataplane_service *service)
{
    check_ok(dataplane_set(plane, service, err));
}

static void set_in_plan(void *context, const struct dataplane_service *service)
{
    check_ok(dataplane_plan_set(context, service, err));
}

/* ---- promises ---- */

static void write_family(struct buffer *script, const struct dataplane_plan_config *config)
{
    struct dataplane_plan *plan;
    struct dataplane_transaction t = {0};
    check_ok(dataplane_plan_new(config, &plan, err));
    dataplane_plan_full(plan, &t);
    give_services(config->family, set_in_plan, plan);
    dataplane_plan_diff(plan, &t);
    buffer_add(script, t.script.data, t.script.size);
    dataplane_transaction_free(&t);
    dataplane_plan_free(plan);
}

/* By libnftables alone. */
static char *rules_by_script(void)
{
    cleanup_buffer struct buffer script = {0};
    struct policy_changes changes = policies();
    struct policy_table *table = policy_table_new(&policy_config);
    struct nft *nft;
    write_family(&script, &plan_config);
    write_family(&script, &plan6_config);
    policy_table_apply(table, &changes);
    policy_table_full(table, &script);
    check_ok(nft_open(&nft, err));
    check_ok(nft_run(nft, script.data, err));
    nft_close(nft);
    policy_changes_free(&changes);
    policy_table_free(table);
    char *rules = list_rules();
    check_ok(dataplane_destroy(-1, TABLE, err));
    cleanup_free char *none = list_rules();
    assert_string_equal(none, "");
    return rules;
}

static void tables_made_anew_are_those_that_nft_writes(void **state)
{
    cleanup_free char *wanted = rules_by_script();
    assert_non_null(strstr(wanted, ": jump remember-10800 }"));
    start_plane();
    give_services(AF_INET, set_service, NULL);
    give_services(AF_INET6, set_service, NULL);
    struct policy_changes changes = policies();
    dataplane_policies(plane, &changes);
    sync_plane();
    cleanup_free char *rules = list_rules();
    assert_string_equal(rules, wanted);
    /* Over a table that is there, too. */
    dataplane_stop(plane);
    start_plane();
    give_services(AF_INET, set_service, NULL);
    give_services(AF_INET6, set_service, NULL);
    changes = policies();
    dataplane_policies(plane, &changes);
    sync_plane();
    cleanup_free char *again = list_rules();
    assert_string_equal(again, wanted);
    dataplane_stop(plane);
    check_ok(dataplane_destroy(-1, TABLE, err));
}

static void a_restart_is_one_transaction_with_whatever_the_tables_have(void **state)
{
    struct dataplane_endpoint endpoint = {
        .address = address("fd00:10:244::2"), .port = 8080, .ready = true, .serving = true};
    struct dataplane_service s = {.name = "default/bound:http",
                                  .family = AF_INET6,
                                  .protocol = IPPROTO_TCP,
                                  .port = 80,
                                  .cluster_address = address("fd00:10:96::9"),
                                  .affinity_seconds = 10800,
                                  .endpoints = &endpoint,
                                  .endpoint_count = 1};
    for (int restart = 0; restart < 2; restart++) {
        uint32_t before = generation();
        start_plane();
        set_service(NULL, &s);
        give_services(AF_INET, set_service, NULL);
        struct policy_changes changes = policies();
        dataplane_policies(plane, &changes);
        sync_plane();
        assert_int_equal(generation(), before + 1);
        cleanup_free char *rules = list_rules();
        const char *chain = strstr(rules, "chain remember-10800 {\n\t\tmeta mark set 0x00000000 update @affinity");
        assert_non_null(chain);
        dataplane_stop(plane);
    }
    check_ok(dataplane_destroy(-1, TABLE, err));
}

/* More than one message can hold, and a socket would take by itself. */
static void thousands_of_services_come_in_one_transaction(void **state)
{
    enum { SERVICES = 5000 };
    struct dataplane_endpoint endpoint = {
        .address = address("10.244.0.2"), .port = 8080, .ready = true, .serving = true};
    struct dataplane_service s = {
        .protocol = IPPROTO_TCP, .port = 80, .endpoints = &endpoint, .endpoint_count = 1, .family = AF_INET};
    struct dataplane_statistics after_install, after_removal;
    char name[32];
    uint32_t before = generation();
    start_plane();
    for (uint32_t i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof(name), "bulk/%u:http", i);
        s.name = name;
        s.cluster_address = ip_address_v4((struct in_addr){htonl(0x0a601000 + i)});
        set_service(NULL, &s);
    }
    sync_plane();
    assert_int_equal(generation(), before + 1);
    dataplane_statistics(plane, &after_install);
    assert_in_range(after_install.last_size, 256 << 10, 4 << 20);
    /* The kernel refuses to delete an element that is not there. */
    for (uint32_t i = 0; i < SERVICES; i++) {
        snprintf(name, sizeof(name), "bulk/%u:http", i);
        dataplane_remove(plane, AF_INET, name);
    }
    sync_plane();
    dataplane_statistics(plane, &after_removal);
    assert_int_equal(after_removal.failures, 0);
    assert_int_equal(after_removal.full, 1);
    assert_int_equal(after_removal.transactions, 2);
    dataplane_stop(plane);
    check_ok(dataplane_destroy(-1, TABLE, err));
}

int main(void)
{
    if (!fixture_enter())
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_made_anew_are_those_that_nft_writes),
        cmocka_unit_test(a_restart_is_one_transaction_with_whatever_the_tables_have),
        cmocka_unit_test(thousands_of_services_come_in_one_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
