/* The promises of a node's own pages: what is measured is there, in the forms of upstream's kubelet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "server/node_stats.h"

#define AT (1700000000 * SECOND)

static struct container_usage containers[] = {
    {.name = "web", .image = "web:1", .started_at = AT - 60 * SECOND, .figures = {250000000, 1500000000, 1048576}},
    {.name = "log", .started_at = AT - 90 * SECOND, .figures = {1000, 123456789, 4096}},
};
static struct pod_usage pods[] = {
    {.namespace = "default", .name = "ended", .uid = "u0"}, /* nothing of it runs */
    {.namespace = "default",
     .name = "a",
     .uid = "u\"1",
     .instant = AT,
     .window = SECOND,
     .containers = containers,
     .count = 2},
};
static const struct node_usage usage = {.name = "node-1",
                                        .instant = AT + SECOND,
                                        .window = SECOND,
                                        .started_at = AT - 3600 * SECOND,
                                        .memory_total = 1000,
                                        .figures = {500000000, 7250000000, 400},
                                        .pods = pods,
                                        .count = 2};

static void assert_written(node_stats_writer write, const char *wanted)
{
    cleanup_buffer struct buffer out = {0};
    write(&usage, &out);
    assert_string_equal(out.data, wanted);
}

static void a_summary_has_the_node_its_pods_and_their_containers(void **state)
{
    (void)state;
    assert_written(
        node_stats_summary,
        "{\"node\":{\"nodeName\":\"node-1\",\"startTime\":\"2023-11-14T21:13:20Z\",\"cpu\":{\"time\":"
        "\"2023-11-14T22:13:21Z\",\"usageNanoCores\":500000000,\"usageCoreNanoSeconds\":7250000000},\"memory\":{"
        "\"time\":"
        "\"2023-11-14T22:13:21Z\",\"availableBytes\":600,\"workingSetBytes\":400}},\"pods\":[{\"podRef\":{\"name\":"
        "\"a\","
        "\"namespace\":\"default\",\"uid\":\"u\\\"1\"},\"startTime\":\"2023-11-14T22:11:50Z\",\"containers\":[{"
        "\"name\":"
        "\"web\",\"startTime\":\"2023-11-14T22:12:20Z\",\"cpu\":{\"time\":\"2023-11-14T22:13:20Z\",\"usageNanoCores\":"
        "250000000,\"usageCoreNanoSeconds\":1500000000},\"memory\":{\"time\":\"2023-11-14T22:13:20Z\","
        "\"workingSetBytes\":"
        "1048576}},{\"name\":\"log\",\"startTime\":\"2023-11-14T22:11:50Z\",\"cpu\":{\"time\":\"2023-11-14T22:13:20Z\","
        "\"usageNanoCores\":1000,\"usageCoreNanoSeconds\":123456789},\"memory\":{\"time\":\"2023-11-14T22:13:20Z\","
        "\"workingSetBytes\":4096}}],\"cpu\":{\"time\":\"2023-11-14T22:13:20Z\",\"usageNanoCores\":250001000,"
        "\"usageCoreNanoSeconds\":1623456789},\"memory\":{\"time\":\"2023-11-14T22:13:20Z\",\"workingSetBytes\":"
        "1052672}}]}"
        "\n");
}

static void figures_are_for_prometheus_too(void **state)
{
    (void)state;
    cleanup_buffer struct buffer resource = {0}, cadvisor = {0};
    node_stats_resource(&usage, &resource);
    static const char *const wanted[] = {
        "# TYPE container_cpu_usage_seconds_total counter\n"
        "container_cpu_usage_seconds_total{container=\"web\",namespace=\"default\",pod=\"a\"} 1.5 1700000000000\n"
        "container_cpu_usage_seconds_total{container=\"log\",namespace=\"default\",pod=\"a\"} 0.123456789",
        ("\ncontainer_memory_working_set_bytes{container=\"web\",namespace=\"default\",pod=\"a\"} 1048576 "
         "1700000000000\n"),
        "\ncontainer_start_time_seconds{container=\"web\",namespace=\"default\",pod=\"a\"} 1699999940 1700000000000\n",
        "\nnode_cpu_usage_seconds_total 7.25 1700000001000\n",
        "\nnode_memory_working_set_bytes 400 1700000001000\n",
        "\npod_memory_working_set_bytes{namespace=\"default\",pod=\"a\"} 1052672 1700000000000\n",
        "\nresource_scrape_error 0\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++)
        if (!strstr(resource.data, wanted[i]))
            fail_msg("%s\nis not in\n%s", wanted[i], resource.data);
    assert_null(strstr(resource.data, "ended"));
    node_stats_cadvisor(&usage, &cadvisor);
    assert_non_null(strstr(cadvisor.data,
                           "\ncontainer_cpu_usage_seconds_total{container=\"web\",image=\"web:1\",namespace="
                           "\"default\",pod=\"a\"} 1.5 1700000000000\n"));
    assert_non_null(strstr(cadvisor.data, "\nmachine_memory_bytes 1000\n"));
    assert_written(node_stats_metrics, "# HELP kubelet_node_name The node; always 1.\n# TYPE kubelet_node_name gauge\n"
                                       "kubelet_node_name{node=\"node-1\"} 1\n"
                                       "# HELP kubelet_running_pods Pods with a container that runs.\n"
                                       "# TYPE kubelet_running_pods gauge\nkubelet_running_pods 1\n"
                                       "# HELP kubelet_running_containers Containers that run.\n"
                                       "# TYPE kubelet_running_containers gauge\n"
                                       "kubelet_running_containers{container_state=\"running\"} 2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_summary_has_the_node_its_pods_and_their_containers),
        cmocka_unit_test(figures_are_for_prometheus_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
