/* What troubles a cluster is drawn from the seed, kind by kind, so that many histories have few kinds of trouble (and
 * are easy to read), and some have all. */
#include "sim/scenario.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "sim/audit.h"
#include "sim/converge.h"
#include "sim/user.h"

#define NODES_MAX 5
#define ZONES_MAX 3
/* A container that was to fail does so, and is running again, within so long. */
#define AFTERMATH (2 * MINUTE)
/* After the faults a cluster has so long to come to rest: back-offs of a few minutes, several times over. */
#define REST_WITHIN (60 * MINUTE)
/* A cluster at rest writes nothing for so long. */
#define QUIET (5 * MINUTE)

/* Of a thousand histories, so many are large: more pods than a slice holds, on nodes that have room for them. */
#define LARGE 10

enum stream { STREAM_SCENARIO = 1000, STREAM_ACTIONS, STREAM_SIZE };

enum trouble {
    TROUBLE_DELAYS = 1 << 0,  /* news, requests and answers are late */
    TROUBLE_DISK = 1 << 1,    /* commits are slow and sometimes fail */
    TROUBLE_PODS = 1 << 2,    /* pulls and starts fail, containers crash, probes flap */
    TROUBLE_NODES = 1 << 3,   /* nodes go and come back */
    TROUBLE_CONTROL = 1 << 4, /* the control plane crashes */
    TROUBLE_LINKS = 1 << 5,   /* requests of nodes and users are lost, watches break */
    TROUBLE_ALL = (1 << 6) - 1
};

struct scenario {
    struct env *env;
    struct sim_random random;
    unsigned trouble;
    int64_t lag; /* the longest delay of anything */
    bool large;
    struct sim_history *history;
    struct sim_audit *audit;
    struct sim_cluster *cluster;
    struct sim_user *user;
    struct sim_result *result;
};

static int64_t between(struct scenario *s, int64_t low, int64_t high)
{
    return sim_random_between(&s->random, low, high);
}

static bool troubles(const struct scenario *s, enum trouble kind)
{
    return (s->trouble & kind) != 0;
}

static unsigned draw_trouble(struct scenario *s)
{
    uint64_t some;
    switch (sim_random_below(&s->random, 8)) {
    case 0:
        return 0;
    case 1:
        return TROUBLE_ALL;
    default:
        /* One or a few kinds. */
        some = sim_random_next(&s->random);
        some &= sim_random_next(&s->random);
        return (unsigned)some & TROUBLE_ALL;
    }
}

static void draw_delays(struct scenario *s, struct sim_cluster_options *options)
{
    static const int64_t lags[] = {2 * MILLISECOND, 50 * MILLISECOND, SECOND, 5 * SECOND};
    s->lag = lags[sim_random_below(&s->random, ARRAY_COUNT(lags))];
    options->control_link =
        (struct sim_link_options){.request_max = s->lag / 10, .answer_max = s->lag / 10, .event_max = s->lag};
    options->node_link = options->user_link = options->control_link;
}

static void draw_options(struct scenario *s, struct sim_cluster_options *options)
{
    options->behaviour = (struct sim_behaviour){.pull_max = between(s, 0, 5) * SECOND,
                                                .start_max = between(s, 0, 2) * SECOND,
                                                .ready_max = between(s, 0, 10) * SECOND,
                                                .stop_max = between(s, 0, 10) * SECOND};
    if (troubles(s, TROUBLE_DELAYS))
        draw_delays(s, options);
    if (troubles(s, TROUBLE_DISK))
        options->disk = (struct sim_disk_options){
            .delay_min = MILLISECOND, .delay_max = between(s, 1, 200) * MILLISECOND, .failing = 20};
    if (troubles(s, TROUBLE_PODS)) {
        options->behaviour.pull_fails = 100;
        options->behaviour.start_fails = 50;
        options->behaviour.crashes = 100;
        options->behaviour.flaps = 200;
    }
    if (troubles(s, TROUBLE_LINKS)) {
        options->node_link.lost_before = options->node_link.lost_after = 20;
        options->user_link.lost_before = options->user_link.lost_after = 20;
        options->node_link.broken = options->control_link.broken = 3;
    }
    s->lag += options->disk.delay_max;
}

static void add_nodes(struct scenario *s)
{
    size_t count = (size_t)between(s, 1, NODES_MAX), zones = (size_t)between(s, 1, ZONES_MAX);
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *name = mem_printf("node-%zu", i);
        cleanup_free char *zone = mem_printf("zone-%zu", i % zones);
        cleanup_free char *pods = mem_printf("%d", (int)between(s, 60 / (int)count, 110) * (s->large ? 10 : 1));
        struct sim_node_options options = {.name = name,
                                           .zone = zone,
                                           .cpu = s->large ? "160" : "16",
                                           .memory = "16Gi",
                                           .pods = pods,
                                           .heartbeat = 10 * SECOND,
                                           .status_period = MINUTE};
        sim_cluster_add_node(s->cluster, &options);
    }
}

/* Faults that come at an instant. */

static void trouble_node(struct scenario *s)
{
    size_t place = (size_t)between(s, 0, (int64_t)sim_cluster_node_count(s->cluster) - 1);
    const char *name = sim_node_name(sim_cluster_node(s->cluster, place));
    bool reboot = sim_random_chance(&s->random, 500);
    if (sim_node_up(sim_cluster_node(s->cluster, place))) {
        sim_history_note(s->history, "%s %s", name, reboot ? "loses power" : "loses its kubelet");
        sim_cluster_crash_node(s->cluster, place, reboot);
    } else {
        sim_history_note(s->history, "%s is back", name);
        sim_cluster_return_node(s->cluster, place);
    }
}

static void trouble_control(struct scenario *s)
{
    if (sim_cluster_store(s->cluster)) {
        sim_history_note(s->history, "the control plane crashes");
        sim_cluster_crash(s->cluster);
    } else {
        sim_cluster_restart(s->cluster);
    }
}

static bool is_well(const struct scenario *s)
{
    return !sim_audit_violation(s->audit) && !sim_environment_stuck(s->env);
}

/* Lets time pass, or stops at the first violation. */
static void pass(struct scenario *s, int64_t duration)
{
    int64_t until = env_monotonic(s->env) + duration;
    while (is_well(s) && sim_environment_step(s->env, until))
        ;
}

/* The part with users and faults. */
static void trouble_time(struct scenario *s)
{
    int64_t end = env_monotonic(s->env) + between(s, 20, 240) * SECOND;
    int64_t pace = between(s, 1, 15) * SECOND;
    while (env_monotonic(s->env) < end && is_well(s)) {
        /* Bursts and pauses. */
        pass(s, sim_random_chance(&s->random, 300) ? between(s, 0, 50 * MILLISECOND) : between(s, 0, 2 * pace));
        if (!is_well(s))
            return;
        if (sim_cluster_store(s->cluster))
            sim_user_act(s->user);
        if (troubles(s, TROUBLE_NODES) && sim_random_chance(&s->random, 150))
            trouble_node(s);
        if (troubles(s, TROUBLE_CONTROL) &&
            sim_random_chance(&s->random, sim_cluster_store(s->cluster) ? 100 : 700))
            trouble_control(s);
    }
}

static void come_to_rest(struct scenario *s)
{
    char why[SIM_FAILURE_MAX / 2] = "nothing was looked at";
    int64_t begun = env_monotonic(s->env);
    bool rests = false;
    sim_history_note(s->history, "faults stop");
    sim_cluster_calm(s->cluster);
    pass(s, AFTERMATH);
    while (is_well(s) && !rests && env_monotonic(s->env) - begun < REST_WITHIN) {
        pass(s, SECOND);
        rests = is_well(s) && !sim_user_mend(s->user) && sim_converged(s->cluster, why, sizeof(why));
    }
    s->result->rest = env_monotonic(s->env) - begun;
    if (!is_well(s))
        return;
    if (!rests) {
        snprintf(s->result->failure, sizeof(s->result->failure), "not at rest after an hour: %s", why);
        return;
    }
    sim_history_note(s->history, "at rest");
    uint64_t writes = sim_audit_writes(s->audit);
    pass(s, QUIET);
    if (sim_audit_writes(s->audit) != writes)
        snprintf(s->result->failure, sizeof(s->result->failure), "%llu writes by a cluster at rest",
                 (unsigned long long)(sim_audit_writes(s->audit) - writes));
    else if (is_well(s) && !sim_converged(s->cluster, why, sizeof(why)))
        snprintf(s->result->failure, sizeof(s->result->failure), "at rest no longer: %s", why);
}

static void judge(struct scenario *s)
{
    struct sim_result *result = s->result;
    if (sim_audit_violation(s->audit))
        snprintf(result->failure, sizeof(result->failure), "%s", sim_audit_violation(s->audit));
    else if (sim_environment_stuck(s->env))
        snprintf(result->failure, sizeof(result->failure), "something runs for ever at one instant");
    result->failed = *result->failure != 0;
    result->hash = sim_history_hash(s->history);
    result->writes = sim_history_count(s->history);
    result->steps = sim_environment_steps(s->env);
    result->simulated = env_monotonic(s->env);
}

void sim_scenario_run(uint64_t seed, const struct sim_fault *fault, FILE *history, FILE *failures,
                      struct sim_result *result)
{
    struct scenario s = {.random = sim_random_stream(seed, STREAM_SCENARIO), .result = result};
    struct sim_cluster_options options = {.seed = seed};
    struct sim_random size = sim_random_stream(seed, STREAM_SIZE);
    *result = (struct sim_result){0};
    s.large = sim_random_chance(&size, LARGE);
    s.env = sim_environment_new(seed, SIM_START);
    s.trouble = draw_trouble(&s);
    draw_options(&s, &options);
    s.history = sim_history_new(s.env, history);
    /* News of a change passes through several controllers, each of which may be late. */
    s.audit = sim_audit_new(s.env, s.history, 4 * s.lag + 2 * SECOND);
    sim_history_note(s.history, "seed %llu, trouble %x, lag %lld us%s", (unsigned long long)seed, s.trouble,
                     (long long)s.lag, s.large ? ", large" : "");
    s.cluster = sim_cluster_new(s.env, &options, sim_audit_opened, sim_audit_closing, s.audit);
    sim_link_observe(sim_cluster_control_link(s.cluster), sim_audit_request, s.audit);
    if (fault)
        sim_fault_plant(s.cluster, fault);
    s.user = sim_user_new(s.cluster, s.history, sim_random_stream(seed, STREAM_ACTIONS),
                          s.large ? SIM_REPLICAS_MAX_LARGE : SIM_REPLICAS_MAX);
    add_nodes(&s);
    trouble_time(&s);
    if (is_well(&s))
        come_to_rest(&s);
    judge(&s);
    if (result->failed && failures) {
        fprintf(failures, "seed %llu: %s\n", (unsigned long long)seed, result->failure);
        sim_history_print(s.history, failures);
    }
    sim_user_free(s.user);
    sim_cluster_free(s.cluster);
    sim_audit_free(s.audit);
    sim_history_free(s.history);
    sim_environment_free(s.env);
}
