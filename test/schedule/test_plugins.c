/* The plugins against an oracle that looks at every pod on every node, as the documentation of upstream's plugins reads,
 * on random clusters whose pods come and go. */
#include "stage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/node_selector.h"
#include "api/pod_resources.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/vector.h"
#include "schedule/framework.h"
#include "sim/random.h"

#define CLUSTERS 60
#define STEPS 60
#define NODES 9

struct resident {
    struct object *pod;
    size_t node;
};

struct world {
    struct stage *stage;
    struct informer_set *informers;
    struct census census;
    struct sim_random random;
    struct object *nodes[NODES];
    VECTOR(struct resident) pods;
    int names;
};

static uint64_t below(struct world *w, uint64_t n)
{
    return sim_random_below(&w->random, n);
}

static bool chance(struct world *w, unsigned percent)
{
    return below(w, 100) < percent;
}

static struct object *object_of(enum api_resource_index resource, const char *json)
{
    struct arena *arena = arena_new(0);
    struct error err;
    const struct api_resource *r = &api_resources[resource];
    void *value = arena_alloc(arena, r->type->size);
    if (json_decode(r->type, arena, json, strlen(json), value, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, json);
    return object_new(r, arena, value);
}

/* ---- Random objects ---- */

static struct object *random_node(struct world *w, size_t number)
{
    cleanup_buffer struct buffer b = {0};
    buffer_printf(&b, "{\"metadata\":{\"name\":\"n%zu\",\"labels\":{\"kubernetes.io/hostname\":\"n%zu\",\"tier\":\"%d\"",
                  number, number, (int)below(w, 4));
    if (chance(w, 85))
        buffer_printf(&b, ",\"topology.kubernetes.io/zone\":\"z%d\"", (int)below(w, 3));
    buffer_add_string(&b, "}},\"spec\":{\"taints\":[");
    bool closed = chance(w, 15);
    if (closed)
        buffer_add_string(&b, "{\"key\":\"closed\",\"effect\":\"NoSchedule\"}");
    if (chance(w, 30))
        buffer_printf(&b, "%s{\"key\":\"old\",\"effect\":\"PreferNoSchedule\"}", closed ? "," : "");
    buffer_add_string(&b, "]},\"status\":{\"allocatable\":{\"cpu\":\"1000\",\"memory\":\"1000Gi\",\"pods\":\"1000\"}}}");
    return object_of(API_NODES, b.data);
}

static void random_selector(struct world *w, struct buffer *b)
{
    static const char *const apps[] = {"x", "y", "z"};
    switch (below(w, 5)) {
    case 0:
        buffer_add_string(b, "{}");
        break;
    case 1:
        buffer_printf(b, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"%s\"]}]}",
                      apps[below(w, 3)]);
        break;
    case 2:
        buffer_printf(b, "{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[\"%s\",\"%s\"]},"
                         "{\"key\":\"rare\",\"operator\":\"DoesNotExist\"}]}",
                      apps[below(w, 3)], apps[below(w, 3)]);
        break;
    default:
        buffer_printf(b, "{\"matchLabels\":{\"app\":\"%s\"}}", apps[below(w, 3)]);
    }
}

static const char *random_key(struct world *w)
{
    return chance(w, 50) ? "kubernetes.io/hostname" : "topology.kubernetes.io/zone";
}

static void random_term(struct world *w, struct buffer *b)
{
    static const char *const more[] = {"", "", ",\"namespaces\":[\"b\"]", ",\"namespaceSelector\":{}",
                                       ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"red\"}},\"namespaces\":[\"b\"]"};
    buffer_printf(b, "{\"topologyKey\":\"%s\"%s,\"labelSelector\":", random_key(w), more[below(w, 5)]);
    random_selector(w, b);
    buffer_add_char(b, '}');
}

static void random_terms(struct world *w, struct buffer *b, unsigned required)
{
    buffer_add_string(b, "{\"requiredDuringSchedulingIgnoredDuringExecution\":[");
    for (uint64_t i = 0, n = chance(w, required) ? 1 + below(w, 2) : 0; i < n; i++) {
        buffer_add_string(b, i ? "," : "");
        random_term(w, b);
    }
    buffer_add_string(b, "],\"preferredDuringSchedulingIgnoredDuringExecution\":[");
    for (uint64_t i = 0, n = below(w, 3); i < n; i++) {
        buffer_printf(b, "%s{\"weight\":%d,\"podAffinityTerm\":", i ? "," : "", (int)below(w, 100) + 1);
        random_term(w, b);
        buffer_add_char(b, '}');
    }
    buffer_add_string(b, "]}");
}

static void random_affinity(struct world *w, struct buffer *b)
{
    static const char *const operators[] = {"Gt", "Lt", "In", "NotIn"};
    buffer_add_string(b, "\"affinity\":{\"podAffinity\":");
    random_terms(w, b, 15);
    buffer_add_string(b, ",\"podAntiAffinity\":");
    random_terms(w, b, 30);
    buffer_add_string(b, ",\"nodeAffinity\":{");
    if (chance(w, 30))
        buffer_printf(b, "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchExpressions\""
                         ":[{\"key\":\"tier\",\"operator\":\"%s\",\"values\":[\"%d\"]}]},{\"matchFields\":[{\"key\":"
                         "\"metadata.name\",\"operator\":\"In\",\"values\":[\"n%d\"]}]}]},",
                      operators[below(w, 4)], (int)below(w, 4), (int)below(w, NODES));
    buffer_printf(b, "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":%d,\"preference\":{"
                     "\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"In\",\"values\":[\"1\",\"2\"]}]}}]}},",
                  (int)below(w, 100) + 1);
}

static void random_spread(struct world *w, struct buffer *b)
{
    static const char *const more[] = {"", ",\"nodeTaintsPolicy\":\"Honor\"", ",\"nodeAffinityPolicy\":\"Ignore\"",
                                       ",\"minDomains\":4"};
    buffer_add_string(b, "\"topologySpreadConstraints\":[");
    for (uint64_t i = 0, n = 1 + below(w, 2); i < n; i++) {
        bool hard = chance(w, 60);
        buffer_printf(b, "%s{\"maxSkew\":%d,\"topologyKey\":\"%s\",\"whenUnsatisfiable\":\"%s\"%s,\"labelSelector\":",
                      i ? "," : "", (int)below(w, 3) + 1, random_key(w), hard ? "DoNotSchedule" : "ScheduleAnyway",
                      more[below(w, hard ? 4 : 3)]);
        random_selector(w, b);
        buffer_add_char(b, '}');
    }
    buffer_add_string(b, "],");
}

static struct object *random_pod(struct world *w)
{
    static const char *const apps[] = {"x", "y", "z"};
    cleanup_buffer struct buffer b = {0};
    int name = w->names++;
    buffer_printf(&b, "{\"metadata\":{\"name\":\"p%d\",\"uid\":\"u%d\",\"namespace\":\"%s\",\"labels\":{\"app\":\"%s\"%s}%s}"
                      ",\"spec\":{",
                  name, name, chance(w, 60) ? "a" : "b", apps[below(w, 3)], chance(w, 20) ? ",\"rare\":\"yes\"" : "",
                  chance(w, 10) ? ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"" : "");
    if (chance(w, 50))
        random_affinity(w, &b);
    if (chance(w, 50))
        random_spread(w, &b);
    if (chance(w, 30))
        buffer_add_string(&b, "\"tolerations\":[{\"key\":\"closed\",\"operator\":\"Exists\"}],");
    buffer_add_string(&b, "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
    return object_of(API_PODS, b.data);
}

/* ---- The oracle ---- */

static const struct node *node_at(const struct world *w, size_t i)
{
    return w->nodes[i]->value;
}

static const char *label(const struct world *w, size_t node, const char *key)
{
    return string_map_get(&node_at(w, node)->metadata.labels, key);
}

static bool same_domain(const struct world *w, size_t a, size_t b, const char *key)
{
    const char *x = label(w, a, key), *y = label(w, b, key);
    return x && y && strcmp(x, y) == 0;
}

static bool selects(const struct label_selector *from, const struct string_map *labels)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const struct selector *selector;
    assert_int_equal(selector_from_label_selector(arena, from, &selector, NULL), 0);
    return selector_matches(selector, labels);
}

static bool term_selects(const struct pod_affinity_term *t, const struct pod *owner, const struct pod *pod)
{
    const char *namespace = pod->metadata.namespace;
    bool inside = !t->namespaces.count && !t->namespace_selector && strcmp(namespace, owner->metadata.namespace) == 0;
    for (size_t i = 0; i < t->namespaces.count; i++)
        inside |= strcmp(t->namespaces.items[i], namespace) == 0;
    /* Namespace a is red. */
    if (t->namespace_selector)
        inside |= !t->namespace_selector->match_labels.count || strcmp(namespace, "a") == 0;
    return inside && selects(t->label_selector, &pod->metadata.labels);
}

static const struct pod_affinity_term_array *required(const struct pod *pod, bool anti)
{
    static const struct pod_affinity_term_array none;
    const struct affinity *a = pod->spec.affinity;
    return !a     ? &none
           : anti ? &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution
                  : &a->pod_affinity->required_during_scheduling_ignored_during_execution;
}

static const struct weighted_pod_affinity_term_array *preferred(const struct pod *pod, bool anti)
{
    static const struct weighted_pod_affinity_term_array none;
    const struct affinity *a = pod->spec.affinity;
    return !a     ? &none
           : anti ? &a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution
                  : &a->pod_affinity->preferred_during_scheduling_ignored_during_execution;
}

static bool selected_by_all(const struct pod_affinity_term_array *terms, const struct pod *owner, const struct pod *pod)
{
    for (size_t i = 0; i < terms->count; i++)
        if (!term_selects(&terms->items[i], owner, pod))
            return false;
    return true;
}

static const char *affinity_objection(const struct world *w, const struct pod *pod, size_t node)
{
    const struct pod_affinity_term_array *wanted = required(pod, false), *unwanted = required(pod, true);
    bool found_all = true, any = false;
    for (size_t t = 0; t < wanted->count; t++) {
        bool found = false;
        if (!label(w, node, wanted->items[t].topology_key))
            return "node(s) didn't match pod affinity rules";
        for (size_t i = 0; i < w->pods.count; i++) {
            const struct resident *r = &w->pods.items[i];
            if (!selected_by_all(wanted, pod, r->pod->value))
                continue;
            found |= same_domain(w, node, r->node, wanted->items[t].topology_key);
            any |= label(w, r->node, wanted->items[t].topology_key) != NULL;
        }
        found_all &= found;
    }
    if (!found_all && (any || !selected_by_all(wanted, pod, pod)))
        return "node(s) didn't match pod affinity rules";
    for (size_t t = 0; t < unwanted->count; t++)
        for (size_t i = 0; i < w->pods.count; i++)
            if (term_selects(&unwanted->items[t], pod, w->pods.items[i].pod->value) &&
                same_domain(w, node, w->pods.items[i].node, unwanted->items[t].topology_key))
                return "node(s) didn't match pod anti-affinity rules";
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct pod *other = w->pods.items[i].pod->value;
        for (size_t t = 0; t < required(other, true)->count; t++)
            if (term_selects(&required(other, true)->items[t], other, pod) &&
                same_domain(w, node, w->pods.items[i].node, required(other, true)->items[t].topology_key))
                return "node(s) didn't satisfy existing pods anti-affinity rules";
    }
    return NULL;
}

static bool node_wanted(const struct world *w, const struct pod *pod, size_t node)
{
    const struct node_selector *s =
        pod->spec.affinity ? pod->spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution
                           : NULL;
    return !s || node_selector_matches(s, &node_at(w, node)->metadata);
}

static bool tolerated(const struct world *w, const struct pod *pod, size_t node)
{
    for (size_t i = 0; i < node_at(w, node)->spec.taints.count; i++)
        if (strcmp(node_at(w, node)->spec.taints.items[i].effect, "NoSchedule") == 0 && !pod->spec.tolerations.count)
            return false;
    return true;
}

static bool counts(const struct world *w, const struct pod *pod, const struct topology_spread_constraint *c, size_t node)
{
    bool ignores = c->node_affinity_policy && strcmp(c->node_affinity_policy, "Ignore") == 0;
    return (ignores || node_wanted(w, pod, node)) && (!c->node_taints_policy || tolerated(w, pod, node));
}

/* Pods in namespace and selection on one node. */
static int on_node(const struct world *w, const struct pod *pod, const struct topology_spread_constraint *c, size_t node)
{
    int n = 0;
    if (c->label_selector && !c->label_selector->match_labels.count && !c->label_selector->match_expressions.count)
        return 0;
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct pod *other = w->pods.items[i].pod->value;
        n += w->pods.items[i].node == node && !other->metadata.deletion_timestamp &&
             strcmp(other->metadata.namespace, pod->metadata.namespace) == 0 &&
             selects(c->label_selector, &other->metadata.labels);
    }
    return n;
}

static bool has_keys(const struct world *w, const struct topology_spread_constraint_array *all, bool hard, size_t node)
{
    for (size_t i = 0; i < all->count; i++)
        if ((strcmp(all->items[i].when_unsatisfiable, "DoNotSchedule") == 0) == hard &&
            !label(w, node, all->items[i].topology_key))
            return false;
    return true;
}

/* Pods in the domain of a node, over nodes that count; -1: no node of it does. */
static int in_domain(const struct world *w, const struct pod *pod, const struct topology_spread_constraint_array *all,
                     const struct topology_spread_constraint *c, bool hard, bool keys, size_t node)
{
    int sum = -1;
    for (size_t n = 0; n < NODES; n++)
        if (same_domain(w, n, node, c->topology_key) && (!keys || has_keys(w, all, hard, n)) && counts(w, pod, c, n))
            sum = (sum < 0 ? 0 : sum) + on_node(w, pod, c, n);
    return sum;
}

static const char *spread_objection(const struct world *w, const struct pod *pod, size_t node)
{
    const struct topology_spread_constraint_array *all = &pod->spec.topology_spread_constraints;
    for (size_t i = 0; i < all->count; i++) {
        const struct topology_spread_constraint *c = &all->items[i];
        if (strcmp(c->when_unsatisfiable, "DoNotSchedule") != 0)
            continue;
        if (!label(w, node, c->topology_key))
            return "node(s) didn't match pod topology spread constraints (missing required label)";
        int64_t least = INT32_MAX;
        struct map domains = {0};
        for (size_t n = 0; n < NODES; n++) {
            int64_t sum = label(w, n, c->topology_key) ? in_domain(w, pod, all, c, true, true, n) : -1;
            if (sum < 0)
                continue;
            least = sum < least ? sum : least;
            map_set(&domains, label(w, n, c->topology_key), &least);
        }
        if (domains.count < (size_t)(c->min_domains.set ? c->min_domains.value : 1))
            least = 0;
        map_free(&domains);
        int64_t here = in_domain(w, pod, all, c, true, true, node);
        if ((here < 0 ? 0 : here) + selects(c->label_selector, &pod->metadata.labels) - least > c->max_skew)
            return "node(s) didn't match pod topology spread constraints";
    }
    return NULL;
}

static const char *objection(const struct world *w, const struct pod *pod, size_t node)
{
    const char *why = NULL;
    if (!tolerated(w, pod, node))
        return "node(s) had untolerated taint(s)";
    if (!node_wanted(w, pod, node))
        return "node(s) didn't match Pod's node affinity/selector";
    why = spread_objection(w, pod, node);
    return why ? why : affinity_objection(w, pod, node);
}

static int64_t near_score(const struct world *w, const struct pod *pod, size_t node)
{
    int64_t sum = 0;
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct pod *other = w->pods.items[i].pod->value;
        size_t at = w->pods.items[i].node;
        for (int anti = 0; anti < 2; anti++) {
            const struct weighted_pod_affinity_term_array *own = preferred(pod, anti), *theirs = preferred(other, anti);
            for (size_t t = 0; t < own->count; t++)
                if (term_selects(&own->items[t].pod_affinity_term, pod, other) &&
                    same_domain(w, node, at, own->items[t].pod_affinity_term.topology_key))
                    sum += anti ? -own->items[t].weight : own->items[t].weight;
            for (size_t t = 0; t < theirs->count; t++)
                if (term_selects(&theirs->items[t].pod_affinity_term, other, pod) &&
                    same_domain(w, node, at, theirs->items[t].pod_affinity_term.topology_key))
                    sum += anti ? -theirs->items[t].weight : theirs->items[t].weight;
        }
        for (size_t t = 0; t < required(other, false)->count; t++)
            sum += term_selects(&required(other, false)->items[t], other, pod) &&
                   same_domain(w, node, at, required(other, false)->items[t].topology_key);
    }
    return sum;
}

/* The service of namespace a, whose pods are spread by default. */
static const struct topology_spread_constraint_array *soft_constraints(const struct pod *pod, bool *defaults)
{
    static struct string_pair pair = {"app", "x"};
    static struct label_selector selector = {.match_labels = {&pair, 1}};
    static struct topology_spread_constraint items[2] = {
        {.topology_key = "kubernetes.io/hostname", .max_skew = 3, .when_unsatisfiable = "ScheduleAnyway"},
        {.topology_key = "topology.kubernetes.io/zone", .max_skew = 5, .when_unsatisfiable = "ScheduleAnyway"}};
    static const struct topology_spread_constraint_array both = {items, 2}, none;
    items[0].label_selector = items[1].label_selector = &selector;
    *defaults = !pod->spec.topology_spread_constraints.count;
    if (!*defaults)
        return &pod->spec.topology_spread_constraints;
    bool served = strcmp(pod->metadata.namespace, "a") == 0 &&
                  strcmp(string_map_get(&pod->metadata.labels, "app"), "x") == 0;
    return served ? &both : &none;
}

/* -1: not scored, INT64_MIN: there is nothing to score. */
static int64_t spread_score(const struct world *w, const struct pod *pod, const size_t *fit, size_t fit_count,
                            size_t node)
{
    bool defaults, any = false;
    const struct topology_spread_constraint_array *all = soft_constraints(pod, &defaults);
    double score = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct topology_spread_constraint *c = &all->items[i];
        bool by_node = strcmp(c->topology_key, "kubernetes.io/hostname") == 0;
        if (strcmp(c->when_unsatisfiable, "ScheduleAnyway") != 0)
            continue;
        any = true;
        struct map domains = {0};
        size_t size = 0;
        for (size_t n = 0; n < fit_count; n++) {
            const char *value = label(w, fit[n], c->topology_key);
            if (!defaults && !has_keys(w, all, false, fit[n]))
                continue;
            size += by_node || !map_has(&domains, value ? value : "");
            map_set(&domains, value ? value : "", &domains);
        }
        map_free(&domains);
        if (!label(w, node, c->topology_key))
            continue;
        int here = by_node ? on_node(w, pod, c, node) : in_domain(w, pod, all, c, false, !defaults, node);
        score += (here < 0 ? 0 : here) * log((double)size + 2) + (c->max_skew - 1);
    }
    if (!any)
        return INT64_MIN;
    return !defaults && !has_keys(w, all, false, node) ? -1 : (int64_t)round(score);
}

/* ---- Comparison ---- */

static const struct schedule_plugin *plugin(const char *name)
{
    const struct schedule_plugin *p = schedule_plugins;
    while (strcmp(p->name, name) != 0)
        p++;
    return p;
}

static void compare_scores(struct world *w, struct schedule_pod *pod, const size_t *fit, size_t count)
{
    struct node_info *nodes[NODES];
    for (size_t i = 0; i < count; i++)
        nodes[i] = census_node_of(&w->census, w->nodes[fit[i]]->meta->name);
    const struct schedule_plugin *near = plugin("InterPodAffinity"), *spread = plugin("PodTopologySpread");
    bool scored = near->prescore(pod, nodes, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(scored ? near->score(pod, nodes[i]) : 0, near_score(w, pod->pod, fit[i]));
    scored = spread->prescore(pod, nodes, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(scored ? spread->score(pod, nodes[i]) : INT64_MIN,
                         spread_score(w, pod->pod, fit, count, fit[i]));
}

static void compare(struct world *w, struct object *object)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct schedule_pod pod = {
        .pod = object->value,
        .census = &w->census,
        .services = informer_set_get(w->informers, &api_resources[API_SERVICES]),
        .replica_sets = informer_set_get(w->informers, &api_resources[API_REPLICASETS]),
        .arena = arena,
    };
    size_t fit[NODES], count = 0;
    census_refresh(&w->census);
    assert_true(schedule_prepare(&pod, NULL));
    for (size_t i = 0; i < NODES; i++) {
        struct schedule_verdict verdict;
        const char *wanted = objection(w, object->value, i);
        bool fits = schedule_fits(&pod, census_node_of(&w->census, w->nodes[i]->meta->name), &verdict, NULL);
        if (fits != !wanted || (wanted && strcmp(verdict.reasons[0], wanted) != 0))
            fail_msg("%s on n%zu: %s, not %s", object_json(object, NULL), i, fits ? "fits" : verdict.reasons[0],
                     wanted ? wanted : "fits");
        if (fits)
            fit[count++] = i;
    }
    if (count)
        compare_scores(w, &pod, fit, count);
}

static void drop(struct world *w, size_t place)
{
    census_unplace(&w->census, w->pods.items[place].pod->meta->uid);
    object_unref(w->pods.items[place].pod);
    vector_remove(&w->pods, place);
}

static void step(struct world *w)
{
    cleanup_object struct object *pod = random_pod(w);
    if (chance(w, 5)) {
        size_t i = below(w, NODES);
        object_unref(w->nodes[i]);
        w->nodes[i] = random_node(w, i);
        census_node(&w->census, w->nodes[i]->meta->name, w->nodes[i]);
    }
    compare(w, pod);
    if (w->pods.count > 25 || (w->pods.count && chance(w, 30)))
        drop(w, below(w, w->pods.count));
    size_t node = below(w, NODES);
    census_place(&w->census, pod, w->nodes[node]->meta->name, false);
    vector_push(&w->pods, (struct resident){object_ref(pod), node});
    /* What if it were not there? All is as before afterwards. */
    struct placed *placed = map_get(&w->census.placed, pod->meta->uid);
    census_suspend(&w->census, placed);
    if (chance(w, 50)) {
        struct resident last = w->pods.items[--w->pods.count];
        compare(w, pod);
        w->pods.items[w->pods.count++] = last;
    }
    census_resume(&w->census, placed);
}

static void plugins_agree_with_an_oracle_that_looks_at_everything(void **state)
{
    struct world w = {.stage = stage_new()};
    stage_create(w.stage, "namespaces", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"team\":\"red\"}}}");
    stage_create(w.stage, "namespaces", "{\"metadata\":{\"name\":\"b\",\"labels\":{\"team\":\"blue\"}}}");
    stage_create(w.stage, "services/a",
                 "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"selector\":{\"app\":\"x\"},\"ports\":[{\"port\":80}]}}");
    stage_run(w.stage, SECOND);
    w.informers = sim_cluster_informers(w.stage->cluster);
    for (uint64_t seed = 1; seed <= CLUSTERS; seed++) {
        w.random = sim_random_stream(seed, 1);
        census_init(&w.census, informer_set_get(w.informers, &api_resources[API_NAMESPACES]));
        for (size_t i = 0; i < NODES; i++) {
            w.nodes[i] = random_node(&w, i);
            census_node(&w.census, w.nodes[i]->meta->name, w.nodes[i]);
        }
        for (int i = 0; i < STEPS; i++)
            step(&w);
        while (w.pods.count)
            drop(&w, 0);
        assert_int_equal(w.census.carried.count, 0);
        for (size_t i = 0; i < NODES; i++)
            object_unref(w.nodes[i]);
        census_free(&w.census);
    }
    vector_free(&w.pods);
    stage_free(w.stage);
}

/* ---- Extended resources ---- */

static void assert_extended(const char *json, size_t wanted)
{
    cleanup_object struct object *object = object_of(API_PODS, json);
    cleanup_arena struct arena *arena = arena_new(0);
    struct schedule_pod pod = {.pod = object->value, .arena = arena};
    struct schedule_verdict verdict = {0};
    assert_true(prefilter_node_resources(&pod, &verdict));
    assert_int_equal(pod.extended_count, wanted);
    for (size_t i = 0; i < pod.extended_count; i++)
        assert_int_equal(pod.extended[i].amount,
                         pod_resource_request(pod.pod, pod.extended[i].name, POD_COUNT_SPEC, 0));
}

static void extended_resources_are_counted_as_all_others(void **state)
{
#define ASKS(what) "{\"resources\":{\"requests\":{" what "}}}"
#define SIDECAR(what) "{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{" what "}}}"
    static const struct {
        const char *json;
        size_t wanted;
    } rows[] = {
        {"{\"spec\":{\"containers\":[" ASKS("\"cpu\":\"1\",\"memory\":\"1\"") "]}}", 0},
        {"{\"spec\":{\"containers\":[" ASKS("\"a.b/c\":\"1\"") "," ASKS("\"a.b/c\":\"2\",\"a.b/d\":\"0\"") "]}}", 1},
        {"{\"spec\":{\"initContainers\":[" ASKS("\"a.b/c\":\"9\"") "],\"containers\":[" ASKS("\"a.b/c\":\"2\"") "]}}",
         1},
        {"{\"spec\":{\"initContainers\":[" SIDECAR("\"a.b/c\":\"3\"") "," ASKS("\"a.b/c\":\"4\"") "," SIDECAR(
             "\"a.b/c\":\"2\"") "],\"containers\":[" ASKS("\"a.b/c\":\"1\"") "]}}",
         1},
        {"{\"spec\":{\"initContainers\":[" SIDECAR("\"a.b/c\":\"3\"") "],\"containers\":[" ASKS(
             "\"a.b/c\":\"1\"") "]}}",
         1},
        {"{\"spec\":{\"overhead\":{\"a.b/c\":\"5\"},\"containers\":[" ASKS("\"a.b/c\":\"1\"") "]}}", 1},
        {"{\"spec\":{\"resources\":{\"requests\":{\"hugepages-2Mi\":\"4Mi\"}},\"containers\":[" ASKS(
             "\"hugepages-2Mi\":\"2Mi\"") "]}}",
         1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        assert_extended(rows[i].json, rows[i].wanted);
    /* As many as fit into an object. */
    cleanup_buffer struct buffer b = {0};
    for (int i = 0; i < 20000; i++)
        buffer_printf(&b, "%s{\"resources\":{\"requests\":{\"a.b/c%d\":\"1\"}}}",
                      i ? "," : "{\"spec\":{\"containers\":[", i);
    buffer_add_string(&b, "]}}");
    cleanup_object struct object *object = object_of(API_PODS, b.data);
    cleanup_arena struct arena *arena = arena_new(0);
    struct schedule_pod pod = {.pod = object->value, .arena = arena};
    struct schedule_verdict verdict = {0};
    assert_true(prefilter_node_resources(&pod, &verdict));
    assert_int_equal(pod.extended_count, 20000);
    assert_string_equal(pod.extended[19999].name, "a.b/c19999");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extended_resources_are_counted_as_all_others),
        cmocka_unit_test(plugins_agree_with_an_oracle_that_looks_at_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
