/* What the cluster's names are, as the DNS-based service discovery specification 1.1.0 has them. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "messages.h"

#define REVERSE_SOA " | in-addr.arpa SOA ns.dns.cluster.local"
#define SOA " | cluster.local SOA ns.dns.cluster.local"

static struct dns_zone *zone;

static int set_up(void **state)
{
    static const char *const web[] = {"10.96.0.7", "fd00::7", NULL}, *const dual[] = {"10.96.0.8", NULL};
    struct ip_prefix networks[2];
    assert_true(ip_prefix_parse("10.244.0.0/16", &networks[0]));
    assert_true(ip_prefix_parse("10.96.0.0/16", &networks[1]));
    struct dns_zone_config config = {
        .domain = "cluster.local", .server = test_address("10.96.0.10"), .networks = networks, .network_count = 2};
    zone = dns_zone_new(&config);
    dns_zone_set_namespace(zone, "default", true);
    dns_zone_set_namespace(zone, "ml", true);
    dns_zone_set_service(zone, test_service("default", "web", web));
    struct dns_service *ready = test_service("default", "ready", dual);
    test_endpoint(ready, NULL, "10.244.0.9");
    dns_zone_set_service(zone, ready);
    struct dns_service *workers = test_service("ml", "workers", NULL);
    test_endpoint(workers, "rank-0", "10.244.0.20");
    test_endpoint(workers, NULL, "10.244.0.21");
    dns_zone_set_service(zone, workers);
    dns_zone_set_service(zone, test_service("ml", "empty", NULL));
    struct dns_service *outside = test_service("default", "outside", NULL);
    outside->external_name = strdup("db.example.com");
    dns_zone_set_service(zone, outside);
    struct dns_service *alias = test_service("default", "alias", NULL);
    alias->external_name = strdup("web.default.svc.cluster.local");
    dns_zone_set_service(zone, alias);
    struct dns_service *round = test_service("default", "round", NULL);
    round->external_name = strdup("round.default.svc.cluster.local");
    dns_zone_set_service(zone, round);
    dns_zone_set_pod(zone, "uid-1", "ml",
                     &(struct ip_address){.family = AF_INET, .v4.s_addr = inet_addr("10.244.0.20")});
    return 0;
}

static int tear_down(void **state)
{
    dns_zone_free(zone);
    return 0;
}

/* The answer as text; a question that is for others gives "FORWARD". */
static const char *ask_with(const char *name, uint16_t type, uint16_t udp_size, uint64_t random)
{
    static uint8_t question[DNS_UDP_PLAIN_MAX], out[DNS_MESSAGE_MAX];
    static char text[256];
    struct dns_query query;
    struct dns_writer writer;
    struct dns_result result;
    assert_int_equal(dns_query_parse(question, test_question(question, 7, name, type, udp_size), &query), 0);
    dns_writer_begin(&writer, &query, out, query.udp_size);
    dns_zone_answer(zone, &query, random, &writer, &result);
    if (result.verdict == DNS_FORWARD)
        return "FORWARD";
    if (result.verdict == DNS_FORWARD_TARGET) {
        snprintf(text, sizeof(text), "FORWARD %s", result.target);
        return text;
    }
    size_t size = dns_writer_finish(&writer, &query, result.code, result.authoritative);
    assert_true(size <= query.udp_size);
    return test_text(out, size);
}

static const char *ask(const char *name, uint16_t type)
{
    return ask_with(name, type, 0, 0);
}

static void a_service_has_its_addresses(void **state)
{
    assert_string_equal(ask("web.default.svc.cluster.local", DNS_A),
                        "NOERROR aa web.default.svc.cluster.local A 10.96.0.7");
    assert_string_equal(ask("web.default.svc.cluster.local", DNS_AAAA),
                        "NOERROR aa web.default.svc.cluster.local AAAA fd00::7");
    assert_string_equal(ask("WEB.Default.svc.CLUSTER.local", DNS_A),
                        "NOERROR aa web.default.svc.cluster.local A 10.96.0.7");
}

static void a_name_without_such_records_exists(void **state)
{
    assert_string_equal(ask("ready.default.svc.cluster.local", DNS_AAAA), "NOERROR aa" SOA);
    assert_string_equal(ask("web.default.svc.cluster.local", DNS_TXT), "NOERROR aa" SOA);
    assert_string_equal(ask("default.svc.cluster.local", DNS_A), "NOERROR aa" SOA);
    assert_string_equal(ask("svc.cluster.local", DNS_A), "NOERROR aa" SOA);
    assert_string_equal(ask("_tcp.web.default.svc.cluster.local", DNS_SRV), "NOERROR aa" SOA);
}

static void what_does_not_exist_is_denied(void **state)
{
    static const char *const names[] = {"nope.default.svc.cluster.local",
                                        "web.nope.svc.cluster.local",
                                        "nope.svc.cluster.local",
                                        "nope.cluster.local",
                                        "a.b.c.d.e.f.g.h.svc.cluster.local",
                                        "*.default.svc.cluster.local",
                                        "empty.ml.svc.cluster.local",
                                        "rank-9.workers.ml.svc.cluster.local",
                                        "_udp.web.default.svc.cluster.local",
                                        "10-244-0-99.ml.pod.cluster.local",
                                        "10-244-0-20.default.pod.cluster.local"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_string_equal(ask(names[i], DNS_A), "NXDOMAIN aa" SOA);
}

static void a_headless_service_has_those_of_its_endpoints(void **state)
{
    assert_string_equal(ask("workers.ml.svc.cluster.local", DNS_A),
                        "NOERROR aa workers.ml.svc.cluster.local A 10.244.0.20; "
                        "workers.ml.svc.cluster.local A 10.244.0.21");
    assert_string_equal(ask_with("workers.ml.svc.cluster.local", DNS_A, 0, 2),
                        "NOERROR aa workers.ml.svc.cluster.local A 10.244.0.21; "
                        "workers.ml.svc.cluster.local A 10.244.0.20");
    assert_string_equal(ask("rank-0.workers.ml.svc.cluster.local", DNS_A),
                        "NOERROR aa rank-0.workers.ml.svc.cluster.local A 10.244.0.20");
    assert_string_equal(ask("10-244-0-21.workers.ml.svc.cluster.local", DNS_A),
                        "NOERROR aa 10-244-0-21.workers.ml.svc.cluster.local A 10.244.0.21");
    assert_string_equal(ask("10-244-0-9.ready.default.svc.cluster.local", DNS_A),
                        "NOERROR aa 10-244-0-9.ready.default.svc.cluster.local A 10.244.0.9");
}

static void named_ports_have_srv_records(void **state)
{
    assert_string_equal(ask("_http._tcp.web.default.svc.cluster.local", DNS_SRV),
                        "NOERROR aa _http._tcp.web.default.svc.cluster.local SRV 0 100 80 web.default.svc.cluster.local"
                        " | web.default.svc.cluster.local A 10.96.0.7; web.default.svc.cluster.local AAAA fd00::7");
    assert_string_equal(ask("_http._tcp.workers.ml.svc.cluster.local", DNS_SRV),
                        "NOERROR aa _http._tcp.workers.ml.svc.cluster.local SRV 0 50 8080 "
                        "rank-0.workers.ml.svc.cluster.local; _http._tcp.workers.ml.svc.cluster.local SRV 0 50 8080 "
                        "10-244-0-21.workers.ml.svc.cluster.local | rank-0.workers.ml.svc.cluster.local A 10.244.0.20; "
                        "10-244-0-21.workers.ml.svc.cluster.local A 10.244.0.21");
    assert_string_equal(ask("_nope._tcp.web.default.svc.cluster.local", DNS_SRV), "NXDOMAIN aa" SOA);
    assert_string_equal(ask("_http._udp.web.default.svc.cluster.local", DNS_SRV), "NXDOMAIN aa" SOA);
}

static void an_external_name_leads_away(void **state)
{
    assert_string_equal(ask("outside.default.svc.cluster.local", DNS_A), "FORWARD db.example.com");
    assert_string_equal(ask("outside.default.svc.cluster.local", DNS_CNAME),
                        "NOERROR aa outside.default.svc.cluster.local CNAME db.example.com");
    assert_string_equal(ask("alias.default.svc.cluster.local", DNS_A),
                        "NOERROR aa alias.default.svc.cluster.local CNAME web.default.svc.cluster.local; "
                        "web.default.svc.cluster.local A 10.96.0.7");
}

/* It has a CNAME and nothing else: no ports, no endpoints; and no CNAME leads to an address. */
static void an_external_name_has_nothing_of_its_own(void **state)
{
    struct dns_service *outside = test_service("default", "outside", NULL);
    outside->external_name = strdup("web.default.svc.cluster.local");
    test_endpoint(outside, "rank-0", "10.244.0.30");
    dns_zone_set_service(zone, outside);
    assert_string_equal(ask("outside.default.svc.cluster.local", DNS_SRV),
                        "NOERROR aa outside.default.svc.cluster.local CNAME web.default.svc.cluster.local; "
                        "web.default.svc.cluster.local SRV 0 100 80 web.default.svc.cluster.local | "
                        "web.default.svc.cluster.local A 10.96.0.7; web.default.svc.cluster.local AAAA fd00::7");
    assert_string_equal(ask("_http._tcp.outside.default.svc.cluster.local", DNS_SRV), "NXDOMAIN aa" SOA);
    assert_string_equal(ask("_tcp.outside.default.svc.cluster.local", DNS_SRV), "NXDOMAIN aa" SOA);
    assert_string_equal(ask("rank-0.outside.default.svc.cluster.local", DNS_A), "NXDOMAIN aa" SOA);
    static const char *const addresses[] = {"192.0.2.1", "2001:db8::1"};
    for (size_t i = 0; i < 2; i++) {
        struct dns_service *address = test_service("default", "address", NULL);
        address->external_name = strdup(addresses[i]);
        dns_zone_set_service(zone, address);
        assert_string_equal(ask("address.default.svc.cluster.local", DNS_A), "NXDOMAIN aa" SOA);
        assert_string_equal(ask("address.default.svc.cluster.local", DNS_CNAME), "NXDOMAIN aa" SOA);
    }
}

static void add_port(struct dns_endpoint *endpoint, const char *name, uint16_t number)
{
    endpoint->ports = realloc(endpoint->ports, (endpoint->port_count + 1) * sizeof(*endpoint->ports));
    assert_non_null(endpoint->ports);
    endpoint->ports[endpoint->port_count++] =
        (struct dns_port){.name = strdup(name), .protocol = "tcp", .number = number};
}

static void an_endpoint_in_two_slices_is_told_once(void **state)
{
    struct dns_service *workers = test_service("ml", "workers", NULL);
    test_endpoint(workers, "rank-0", "10.244.0.20");
    test_endpoint(workers, "rank-0", "10.244.0.20"); /* the same, with one port more */
    add_port(&workers->endpoints[1], "more", 9090);
    test_endpoint(workers, "other", "10.244.0.20"); /* another name of the same address */
    dns_zone_set_service(zone, workers);
    for (uint64_t turn = 0; turn < 6; turn++)
        assert_string_equal(ask_with("workers.ml.svc.cluster.local", DNS_A, 0, turn),
                            "NOERROR aa workers.ml.svc.cluster.local A 10.244.0.20");
    assert_string_equal(ask("rank-0.workers.ml.svc.cluster.local", DNS_A),
                        "NOERROR aa rank-0.workers.ml.svc.cluster.local A 10.244.0.20");
    assert_string_equal(ask("20.0.244.10.in-addr.arpa", DNS_PTR),
                        "NOERROR aa 20.0.244.10.in-addr.arpa PTR rank-0.workers.ml.svc.cluster.local; "
                        "20.0.244.10.in-addr.arpa PTR other.workers.ml.svc.cluster.local");
    assert_string_equal(ask("_http._tcp.workers.ml.svc.cluster.local", DNS_SRV),
                        "NOERROR aa _http._tcp.workers.ml.svc.cluster.local SRV 0 50 8080 "
                        "rank-0.workers.ml.svc.cluster.local; _http._tcp.workers.ml.svc.cluster.local SRV 0 50 8080 "
                        "other.workers.ml.svc.cluster.local | rank-0.workers.ml.svc.cluster.local A 10.244.0.20; "
                        "other.workers.ml.svc.cluster.local A 10.244.0.20");
    /* Only what the answer points to is added to it. */
    assert_string_equal(ask("_more._tcp.workers.ml.svc.cluster.local", DNS_SRV),
                        "NOERROR aa _more._tcp.workers.ml.svc.cluster.local SRV 0 50 9090 "
                        "rank-0.workers.ml.svc.cluster.local | rank-0.workers.ml.svc.cluster.local A 10.244.0.20");
    dns_zone_remove_service(zone, "ml", "workers");
    assert_string_equal(ask("20.0.244.10.in-addr.arpa", DNS_PTR), "NXDOMAIN aa" REVERSE_SOA);
}

/* A name with addresses of both families, or several ports of one number, is one target. */
static void a_port_of_a_name_is_told_once(void **state)
{
#define WORKERS "workers.ml.svc.cluster.local"
#define ADDRESSES "rank-0." WORKERS " A 10.244.0.20; rank-0." WORKERS " AAAA fd00::20"
    struct dns_service *workers = test_service("ml", "workers", NULL);
    test_endpoint(workers, "rank-0", "10.244.0.20");
    test_endpoint(workers, "rank-0", "fd00::20");
    add_port(&workers->endpoints[0], "more", 8080);
    dns_zone_set_service(zone, workers);
    assert_string_equal(ask("_http._tcp." WORKERS, DNS_SRV),
                        "NOERROR aa _http._tcp." WORKERS " SRV 0 50 8080 rank-0." WORKERS " | " ADDRESSES);
    assert_string_equal(ask("_more._tcp." WORKERS, DNS_SRV),
                        "NOERROR aa _more._tcp." WORKERS " SRV 0 50 8080 rank-0." WORKERS " | rank-0." WORKERS
                        " A 10.244.0.20");
    assert_string_equal(ask(WORKERS, DNS_SRV), "NOERROR aa " WORKERS " SRV 0 50 8080 rank-0." WORKERS " | " ADDRESSES);
#undef ADDRESSES
#undef WORKERS
}

static void a_circle_of_names_ends(void **state)
{
    assert_non_null(strstr(ask("round.default.svc.cluster.local", DNS_A), "CNAME round.default.svc.cluster.local"));
}

static void pods_have_names(void **state)
{
    assert_string_equal(ask("10-244-0-20.ml.pod.cluster.local", DNS_A),
                        "NOERROR aa 10-244-0-20.ml.pod.cluster.local A 10.244.0.20");
    dns_zone_set_pod(zone, "uid-1", "ml", NULL);
    assert_string_equal(ask("10-244-0-20.ml.pod.cluster.local", DNS_A), "NXDOMAIN aa" SOA);
}

static void addresses_lead_back_to_names(void **state)
{
    assert_string_equal(ask("7.0.96.10.in-addr.arpa", DNS_PTR),
                        "NOERROR aa 7.0.96.10.in-addr.arpa PTR web.default.svc.cluster.local");
    assert_string_equal(ask("20.0.244.10.in-addr.arpa", DNS_PTR),
                        "NOERROR aa 20.0.244.10.in-addr.arpa PTR rank-0.workers.ml.svc.cluster.local");
    assert_string_equal(ask("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_PTR),
                        "NOERROR aa 7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR "
                        "web.default.svc.cluster.local");
    /* The cluster's own addresses are nobody else's business; the others are. */
    assert_string_equal(ask("99.0.244.10.in-addr.arpa", DNS_PTR), "NXDOMAIN aa" REVERSE_SOA);
    assert_string_equal(ask("9.0.244.10.in-addr.arpa", DNS_PTR), "NXDOMAIN aa" REVERSE_SOA);
    assert_string_equal(ask("7.0.96.10.in-addr.arpa", DNS_A), "NOERROR aa" REVERSE_SOA);
    assert_string_equal(ask("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_A),
                        "NOERROR aa | ip6.arpa SOA ns.dns.cluster.local");
    assert_string_equal(ask("1.1.168.192.in-addr.arpa", DNS_PTR), "FORWARD");
    assert_string_equal(ask("0.244.10.in-addr.arpa", DNS_PTR), "FORWARD");
}

static void the_zone_tells_of_itself(void **state)
{
    assert_string_equal(ask("dns-version.cluster.local", DNS_TXT), "NOERROR aa dns-version.cluster.local TXT 1.1.0");
    assert_string_equal(ask("cluster.local", DNS_NS), "NOERROR aa cluster.local NS ns.dns.cluster.local");
    assert_string_equal(ask("cluster.local", DNS_SOA), "NOERROR aa cluster.local SOA ns.dns.cluster.local");
    assert_string_equal(ask("ns.dns.cluster.local", DNS_A), "NOERROR aa ns.dns.cluster.local A 10.96.0.10");
}

static void other_names_are_for_others(void **state)
{
    assert_string_equal(ask("example.com", DNS_A), "FORWARD");
    assert_string_equal(ask("local", DNS_A), "FORWARD");
    assert_string_equal(ask("xcluster.local", DNS_A), "FORWARD");
    assert_string_equal(ask("", DNS_NS), "FORWARD");
}

static void who_asks_for_everything_gets_little(void **state)
{
    assert_string_equal(ask("workers.ml.svc.cluster.local", DNS_ANY), "NOERROR aa workers.ml.svc.cluster.local TYPE13");
}

static void a_change_replaces_all_that_was(void **state)
{
    struct dns_service *workers = test_service("ml", "workers", NULL);
    test_endpoint(workers, "rank-1", "10.244.0.22");
    dns_zone_set_service(zone, workers);
    assert_string_equal(ask("workers.ml.svc.cluster.local", DNS_A),
                        "NOERROR aa workers.ml.svc.cluster.local A 10.244.0.22");
    assert_string_equal(ask("20.0.244.10.in-addr.arpa", DNS_PTR), "NXDOMAIN aa" REVERSE_SOA);
    dns_zone_remove_service(zone, "ml", "workers");
    dns_zone_remove_service(zone, "ml", "workers");
    assert_string_equal(ask("workers.ml.svc.cluster.local", DNS_A), "NXDOMAIN aa" SOA);
    dns_zone_set_namespace(zone, "ml", false);
    assert_string_equal(ask("ml.svc.cluster.local", DNS_A), "NXDOMAIN aa" SOA);
}

static void what_does_not_fit_is_cut_and_marked(void **state)
{
    struct dns_service *many = test_service("ml", "many", NULL);
    for (int i = 0; i < 200; i++) {
        char address[32];
        snprintf(address, sizeof(address), "10.244.1.%d", i);
        test_endpoint(many, NULL, address);
    }
    dns_zone_set_service(zone, many);
    assert_non_null(strstr(ask_with("many.ml.svc.cluster.local", DNS_A, 0, 0), "NOERROR aa tc many"));
    assert_non_null(strstr(ask_with("many.ml.svc.cluster.local", DNS_A, 4096, 0), "NOERROR aa tc many"));
    /* Only the addresses of targets are missing here: they are a favour. */
    assert_null(strstr(ask_with("_http._tcp.workers.ml.svc.cluster.local", DNS_SRV, 512, 0), " tc "));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_service_has_its_addresses),
        TEST(a_name_without_such_records_exists),
        TEST(what_does_not_exist_is_denied),
        TEST(a_headless_service_has_those_of_its_endpoints),
        TEST(named_ports_have_srv_records),
        TEST(an_external_name_leads_away),
        TEST(an_external_name_has_nothing_of_its_own),
        TEST(an_endpoint_in_two_slices_is_told_once),
        TEST(a_port_of_a_name_is_told_once),
        TEST(a_circle_of_names_ends),
        TEST(pods_have_names),
        TEST(addresses_lead_back_to_names),
        TEST(the_zone_tells_of_itself),
        TEST(other_names_are_for_others),
        TEST(who_asks_for_everything_gets_little),
        TEST(a_change_replaces_all_that_was),
        TEST(what_does_not_fit_is_cut_and_marked),
    };
    return cmocka_run_group_tests_name("dns zone", tests, NULL, NULL);
}
