/* The promises of lint: each check finds what its line in the table says, keeps quiet about what only looks like it,
 * and is silenced by its id; the page in docs/ is the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../api/prepare.h"
#include "api/patch.h"
#include "base/file.h"
#include "lint/lint.h"

#define OBJECTS_MAX 8
#define DOCUMENT_MAX (64 * 1024)

static const char *document; /* docs/lint.md */

/* Nothing to find in this one. */
static const char good[] =
    "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'shop'},'spec':{'replicas':3,"
    "'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web','tier':'front'}},'spec':{"
    "'containers':[{'name':'server','image':'web:v1','ports':[{'name':'http','containerPort':8080}],"
    "'resources':{'requests':{'cpu':'100m','memory':'64Mi'}},"
    "'readinessProbe':{'httpGet':{'path':'/ready','port':'http'}},"
    "'livenessProbe':{'httpGet':{'path':'/alive','port':'http'}}}]}}}}";

#define SERVICE(extra)                                                                                                 \
    "{'apiVersion':'v1','kind':'Service','metadata':{'name':'door'},'spec':{'selector':{'app':'web'},"                 \
    "'ports':[{'port':80,'targetPort':'http'}]" extra "}}"
#define NODE(name, extra)                                                                                              \
    "{'apiVersion':'v1','kind':'Node','metadata':{'name':'" name "','labels':{'kubernetes.io/hostname':'" name         \
    "'}}" extra "}"
#define SPEC(fields) "{'spec':{" fields "}}"
#define POD(fields) SPEC("'template':{'spec':{" fields "}}")
#define CONTAINER(fields) POD("'containers':[{'name':'server'," fields "}]")
/* An init container that has requests, and the same as a sidecar. */
#define INIT(fields)                                                                                                   \
    POD("'initContainers':[{'name':'sidecar','image':'s:1','resources':{'requests':{'cpu':'1m'}}," fields "}]")
#define SIDECAR(fields) INIT("'restartPolicy':'Always'," fields)
#define IGNORE(id) "{'metadata':{'annotations':{'coracle.dev/lint-ignore':'" id "'}}}"
#define REPELS(key)                                                                                                    \
    "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'" key "',"       \
    "'labelSelector':{'matchLabels':{'app':'web'}}}]}}"
#define REPELS_OWN(keys)                                                                                               \
    "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':"                 \
    "'kubernetes.io/hostname','labelSelector':{'matchLabels':{'app':'web'}}," keys "}]}}"
#define TAINT(key, effect) ",'spec':{'taints':[{'key':'" key "','effect':'" effect "'}]}"
#define OTHER(kind, labels, selector)                                                                                  \
    "{'apiVersion':'apps/v1','kind':'" kind                                                                            \
    "','metadata':{'name':'other'},'spec':{'selector':{'matchLabels':" selector                                        \
    "},'template':{'metadata':{'labels':" labels "},'spec':{'containers':[{'name':'c','image':'i:1'}]}}}}"
#define BARE_POD                                                                                                       \
    "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'bare','labels':{'app':'web'}},'spec':{'containers':["         \
    "{'name':'c','image':'i:1','resources':{'requests':{'cpu':'1'}}}]}}"

static char *quoted(struct arena *arena, const char *json)
{
    char *text = arena_string(arena, json);
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    return text;
}

/* From JSON, with patches: what a user would have changed. */
static struct lint_object object(struct arena *arena, const char *json, const char *const *patches)
{
    struct error err = {0};
    cleanup_buffer struct buffer text = {0};
    buffer_add_string(&text, quoted(arena, json));
    const struct api_resource *resource = NULL;
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (strstr(text.data, arena_printf(arena, "\"apiVersion\":\"%s\",\"kind\":\"%s\"", r->api_version, r->kind)))
            resource = r;
    }
    assert_non_null(resource);
    for (; patches && *patches; patches++) {
        cleanup_buffer struct buffer patched = {0};
        const char *patch = quoted(arena, *patches);
        if (patch_apply(PATCH_STRATEGIC, resource->type, text.data, text.size, patch, strlen(patch), &patched, &err) <
            0)
            fail_msg("%s: %s", err.text, patch);
        buffer_clear(&text);
        buffer_add(&text, patched.data, patched.size);
    }
    return (struct lint_object){resource, prepare(arena, resource, text.data)};
}

/* "ID at FIELD, ..." of all that is found about the first object. */
static const char *found(struct arena *arena, const struct lint_object *subject, const struct lint_set *set)
{
    struct lint_findings findings = {.arena = arena};
    struct buffer out = {0};
    lint_object(subject, set, &findings);
    for (size_t i = 0; i < findings.count; i++)
        buffer_printf(&out, "%s%s at %s", i ? ", " : "", findings.items[i].check->id, findings.items[i].field);
    const char *text = arena_string_n(arena, out.data ? out.data : "", out.size);
    buffer_free(&out);
    return text;
}

struct sample {
    const char *patches[2]; /* of `good` */
    const char *neighbours[4];
    const char *finds; /* "": nothing */
};

#define P "spec.template.spec."
#define C P "containers[0]."
#define S P "initContainers[0]."

static const struct sample samples[] = {
    {{NULL}, {SERVICE("")}, ""},

    {{CONTAINER("'readinessProbe':null")}, {SERVICE("")}, "readiness-probe-missing at " C "readinessProbe"},
    {{CONTAINER("'readinessProbe':null")}, {NULL}, ""},
    {{CONTAINER("'readinessProbe':null")}, {SERVICE(",'publishNotReadyAddresses':true")}, ""},
    {{CONTAINER("'readinessProbe':null"), IGNORE("readiness-probe-missing")}, {SERVICE("")}, ""},
    /* A sidecar does not need one. */
    {{POD("'containers':[{'name':'shipper','image':'s:1','resources':{'requests':{'cpu':'1m'}}}]")}, {SERVICE("")}, ""},
    /* But for one that is the Service's door, and then the container behind it does not need one. */
    {{SIDECAR("'ports':[{'name':'http','containerPort':15001}],'readinessProbe':{'tcpSocket':{'port':15001}}"),
      CONTAINER("'ports':[{'$patch':'replace'}],'readinessProbe':null")},
     {SERVICE("")},
     ""},
    {{SIDECAR("'ports':[{'name':'http','containerPort':15001}]"), CONTAINER("'ports':[{'$patch':'replace'}]")},
     {SERVICE("")},
     "readiness-probe-missing at " S "readinessProbe"},
    /* Nobody says which container listens: the probe of any will do. */
    {{CONTAINER("'ports':[{'$patch':'replace'}]")}, {SERVICE("")}, ""},

    {{CONTAINER("'readinessProbe':{'initialDelaySeconds':60}")},
     {NULL},
     "initial-delay at " C "readinessProbe.initialDelaySeconds"},
    {{CONTAINER("'livenessProbe':{'initialDelaySeconds':10}")},
     {NULL},
     "initial-delay at " C "livenessProbe.initialDelaySeconds"},
    {{CONTAINER("'readinessProbe':{'initialDelaySeconds':9}")}, {NULL}, ""},
    {{CONTAINER("'readinessProbe':{'initialDelaySeconds':60},'startupProbe':{'tcpSocket':{'port':1}}")}, {NULL}, ""},
    {{CONTAINER("'readinessProbe':{'initialDelaySeconds':60}"), IGNORE("same-probes,initial-delay")}, {NULL}, ""},

    {{SIDECAR("'readinessProbe':{'tcpSocket':{'port':1},'initialDelaySeconds':60}")},
     {NULL},
     "initial-delay at " S "readinessProbe.initialDelaySeconds"},

    {{SIDECAR("'readinessProbe':{'tcpSocket':{'port':1}},'livenessProbe':{'tcpSocket':{'port':1}}")},
     {NULL},
     "same-probes at " S "livenessProbe"},
    {{CONTAINER("'livenessProbe':{'httpGet':{'path':'/ready'}}")}, {NULL}, "same-probes at " C "livenessProbe"},
    {{CONTAINER("'livenessProbe':{'httpGet':{'path':'/ready'},'initialDelaySeconds':5}")},
     {NULL},
     "same-probes at " C "livenessProbe"},
    {{CONTAINER("'livenessProbe':{'httpGet':{'path':'/ready'},'failureThreshold':9}")}, {NULL}, ""},
    {{CONTAINER("'livenessProbe':{'httpGet':{'path':'/ready'}}"), IGNORE("same-probes")}, {NULL}, ""},
    /* A port by its name and by its number is the same port. */
    {{CONTAINER("'livenessProbe':{'httpGet':{'path':'/ready','port':8080}}")},
     {NULL},
     "same-probes at " C "livenessProbe"},
    {{CONTAINER("'livenessProbe':{'httpGet':{'path':'/ready','port':8081}}")}, {NULL}, ""},
    {{SIDECAR("'ports':[{'name':'a','containerPort':1}],'readinessProbe':{'tcpSocket':{'port':1}},"
              "'livenessProbe':{'tcpSocket':{'port':'a'}}")},
     {NULL},
     "same-probes at " S "livenessProbe"},

    {{CONTAINER("'readinessProbe':{'timeoutSeconds':16}")},
     {NULL},
     "grace-period-short at " P "terminationGracePeriodSeconds"},
    {{CONTAINER("'readinessProbe':{'timeoutSeconds':15}")}, {NULL}, ""},
    {{CONTAINER("'lifecycle':{'preStop':{'sleep':{'seconds':29}}}")},
     {NULL},
     "grace-period-short at " P "terminationGracePeriodSeconds"},
    {{CONTAINER("'lifecycle':{'preStop':{'sleep':{'seconds':28}}}")}, {NULL}, ""},
    {{CONTAINER("'lifecycle':{'preStop':{'exec':{'command':['sh','-c','sleep 20; /bin/sleep 9']}}}")},
     {NULL},
     "grace-period-short at " P "terminationGracePeriodSeconds"},
    {{CONTAINER("'lifecycle':{'preStop':{'exec':{'command':['sleep','28']}}}")}, {NULL}, ""},
    {{SIDECAR("'lifecycle':{'preStop':{'sleep':{'seconds':31}}}")},
     {NULL},
     "grace-period-short at " P "terminationGracePeriodSeconds"},
    {{CONTAINER("'readinessProbe':{'timeoutSeconds':16}"), POD("'terminationGracePeriodSeconds':32")}, {NULL}, ""},
    {{CONTAINER("'readinessProbe':{'timeoutSeconds':16}"), IGNORE("grace-period-short")}, {NULL}, ""},
    /* The API server makes one second of a negative time. */
    {{POD("'terminationGracePeriodSeconds':-1,'containers':[{'name':'server',"
          "'readinessProbe':null,'livenessProbe':null,"
          "'lifecycle':{'preStop':{'sleep':{'seconds':1}}}}]")},
     {NULL},
     ""},

    {{SPEC("'replicas':1")}, {SERVICE("")}, "one-replica at spec.replicas"},
    {{SPEC("'replicas':1")}, {NULL}, ""},
    {{SPEC("'replicas':1")}, {SERVICE(",'type':'ExternalName','externalName':'a.example'")}, ""},
    {{SPEC("'replicas':2")}, {SERVICE("")}, ""},
    {{SPEC("'replicas':0")}, {SERVICE("")}, ""},
    {{SPEC("'replicas':1"), IGNORE("one-replica")}, {SERVICE("")}, ""},
    /* A canary beside the stable Deployment. */
    {{SPEC("'replicas':1,'selector':{'matchLabels':{'tier':'front'}}")},
     {SERVICE(""), OTHER("Deployment", "{'app':'web','track':'canary'}", "{'track':'canary'}")},
     ""},

    {{POD(REPELS("kubernetes.io/hostname"))},
     {NODE("a", ""), NODE("b", "")},
     "anti-affinity-nodes at " P "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"},
    /* There is a node for each, but none for the one that a rollout adds. */
    {{POD(REPELS("kubernetes.io/hostname"))},
     {NODE("a", ""), NODE("b", ""), NODE("c", "")},
     "anti-affinity-nodes at " P "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"},
    {{POD(REPELS("kubernetes.io/hostname"))}, {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", "")}, ""},
    {{POD(REPELS("kubernetes.io/hostname"))},
     {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", ",'spec':{'unschedulable':true}")},
     "anti-affinity-nodes at " P "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"},
    {{POD(REPELS("kubernetes.io/hostname")), SPEC("'strategy':{'rollingUpdate':{'maxUnavailable':1}}")},
     {NODE("a", ""), NODE("b", ""), NODE("c", "")},
     ""},
    {{POD(REPELS("kubernetes.io/hostname")), IGNORE("anti-affinity-nodes")}, {NODE("a", "")}, ""},
    {{POD(REPELS("kubernetes.io/hostname")), SPEC("'replicas':1")}, {NODE("a", "")}, ""},
    /* Pods of the old template are in nobody's way: the surge has room. */
    {{POD(REPELS_OWN("'matchLabelKeys':['pod-template-hash']"))}, {NODE("a", ""), NODE("b", ""), NODE("c", "")}, ""},
    {{POD(REPELS_OWN("'matchLabelKeys':['pod-template-hash']"))},
     {NODE("a", ""), NODE("b", "")},
     "anti-affinity-nodes at " P "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"},
    /* Only those of other templates are kept out. */
    {{POD(REPELS_OWN("'mismatchLabelKeys':['pod-template-hash']"))}, {NODE("a", "")}, ""},
    /* Nodes that it does not want, or that do not want it. */
    {{POD(REPELS("kubernetes.io/hostname")),
      POD("'affinity':{'nodeAffinity':{"
          "'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[{'matchExpressions':[{"
          "'key':'kubernetes.io/hostname','operator':'NotIn','values':['d']}]}]}}}")},
     {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", "")},
     "anti-affinity-nodes at " P "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"},
    {{POD(REPELS("kubernetes.io/hostname"))},
     {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", TAINT("gpu", "NoSchedule"))},
     "anti-affinity-nodes at " P "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"},
    {{POD(REPELS("kubernetes.io/hostname")), POD("'tolerations':[{'key':'gpu','operator':'Exists'}]")},
     {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", TAINT("gpu", "NoSchedule"))},
     ""},
    {{POD(REPELS("kubernetes.io/hostname"))},
     {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", TAINT("gpu", "PreferNoSchedule"))},
     ""},
    /* Not ready just now. */
    {{POD(REPELS("kubernetes.io/hostname"))},
     {NODE("a", ""), NODE("b", ""), NODE("c", ""), NODE("d", TAINT("node.kubernetes.io/not-ready", "NoExecute"))},
     ""},
    /* Nodes without the label keep nobody out. */
    {{POD(REPELS("topology.kubernetes.io/zone"))}, {NODE("a", "")}, ""},
    {{POD(REPELS("kubernetes.io/hostname"))}, {NULL}, ""},

    {{CONTAINER("'imagePullPolicy':'Always'")}, {NULL}, "mutable-tag at " C "imagePullPolicy"},
    {{SIDECAR("'imagePullPolicy':'Always'")}, {NULL}, "mutable-tag at " S "imagePullPolicy"},
    {{INIT("'imagePullPolicy':'Always'")}, {NULL}, ""},
    {{CONTAINER("'image':'web'")}, {NULL}, "mutable-tag at " C "imagePullPolicy"},
    {{CONTAINER("'image':'web','imagePullPolicy':'IfNotPresent'")}, {NULL}, ""},
    {{CONTAINER("'imagePullPolicy':'Always','image':'web@sha256:"
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'")},
     {NULL},
     ""},
    {{CONTAINER("'imagePullPolicy':'Always'"), IGNORE("mutable-tag")}, {NULL}, ""},

    {{SPEC("'strategy':{'rollingUpdate':{'maxUnavailable':3}}")},
     {NULL},
     "max-unavailable-all at spec.strategy.rollingUpdate.maxUnavailable"},
    {{SPEC("'strategy':{'rollingUpdate':{'maxUnavailable':'100%'}}")},
     {NULL},
     "max-unavailable-all at spec.strategy.rollingUpdate.maxUnavailable"},
    /* Nothing may surge and 25 % of 1 is 0: one has to go first. */
    {{SPEC("'replicas':1,'strategy':{'rollingUpdate':{'maxSurge':0}}")},
     {NULL},
     "max-unavailable-all at spec.strategy.rollingUpdate.maxUnavailable"},
    {{SPEC("'strategy':{'rollingUpdate':{'maxUnavailable':'99%'}}")}, {NULL}, ""},
    {{SPEC("'strategy':{'type':'Recreate'}")}, {NULL}, ""},
    {{SPEC("'strategy':{'rollingUpdate':{'maxUnavailable':3}}"), IGNORE("max-unavailable-all")}, {NULL}, ""},

    {{NULL}, {OTHER("Deployment", "{'app':'web'}", "{'app':'web'}")}, "selector-overlap at spec.selector"},
    {{NULL},
     {OTHER("ReplicaSet", "{'tier':'front'}", "{'tier':'front'}")},
     "selector-overlap at spec.template.metadata.labels"},
    {{NULL}, {OTHER("Deployment", "{'app':'db'}", "{'app':'db'}")}, ""},
    /* Left behind by a Deployment that was deleted without it: there to be adopted. */
    {{NULL}, {OTHER("ReplicaSet", "{'app':'web','pod-template-hash':'1'}", "{'app':'web'}")}, ""},
    {{IGNORE("selector-overlap")}, {OTHER("Deployment", "{'app':'web'}", "{'app':'web'}")}, ""},

    {{CONTAINER("'resources':null")}, {NULL}, "requests-missing at " C "resources.requests"},
    {{SIDECAR("'resources':null")}, {NULL}, "requests-missing at " S "resources.requests"},
    /* What ends before the others begin. */
    {{INIT("'resources':null")}, {NULL}, ""},
    /* Limits stand for requests. */
    {{CONTAINER("'resources':{'requests':null,'limits':{'memory':'64Mi'}}")}, {NULL}, ""},
    {{CONTAINER("'resources':null"), POD("'resources':{'requests':{'cpu':'1'}}")}, {NULL}, ""},
    {{CONTAINER("'resources':null"), IGNORE("requests-missing")}, {NULL}, ""},

    /* The pods use 40Mi; those of others, and other containers, do not count. */
    {{CONTAINER("'resources':{'limits':{'memory':'32Mi'}}")},
     {NULL},
     "memory-limit-low at " C "resources.limits.memory"},
    {{CONTAINER("'resources':{'limits':{'memory':'40Mi'}}")}, {NULL}, ""},
    {{SIDECAR("'resources':{'limits':{'memory':'32Mi'}}")}, {NULL}, "memory-limit-low at " S "resources.limits.memory"},
    {{CONTAINER("'resources':{'limits':{'memory':'32Mi'}}"), IGNORE("memory-limit-low")}, {NULL}, ""},
};

static struct string_pair web_labels[] = {{"app", "web"}}, db_labels[] = {{"app", "db"}};
static const struct string_map web = {web_labels, 1}, db = {db_labels, 1};
static const struct lint_memory memory[] = {{&web, "web-1", "server", 30 << 20},
                                            {&web, "web-2", "server", 40 << 20},
                                            {&web, "web-2", "sidecar", 90 << 20},
                                            {&db, "db-1", "server", 90 << 20}};

static size_t add_neighbours(struct arena *arena, const char *const *neighbours, size_t max, struct lint_object *items)
{
    size_t count = 0;
    while (count < max && neighbours[count]) {
        items[count] = object(arena, neighbours[count], NULL);
        count++;
    }
    return count;
}

static void each_check_finds_what_it_says_and_nothing_else(void **state)
{
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const struct sample *sample = &samples[i];
        cleanup_arena struct arena *arena = arena_new(0);
        const char *patches[3] = {sample->patches[0], sample->patches[1]};
        struct lint_object subject = object(arena, good, patches), items[OBJECTS_MAX];
        struct lint_set set = {.items = items, .nodes_known = true, .memory = memory, .memory_count = 4};
        set.count = add_neighbours(arena, sample->neighbours, 4, items);
        items[set.count++] = subject;
        const char *text = found(arena, &subject, &set);
        if (strcmp(text, sample->finds) != 0)
            fail_msg("sample %zu (%s): found \"%s\", not \"%s\"", i, patches[0] ? patches[0] : "good", text,
                     sample->finds);
    }
}

static void every_check_is_found_and_silenced_by_some_sample(void **state)
{
    for (size_t i = 0; i < lint_check_count; i++) {
        const char *id = lint_checks[i]->id;
        size_t finds = 0, silent = 0;
        for (size_t k = 0; k < sizeof(samples) / sizeof(samples[0]); k++) {
            finds += strncmp(samples[k].finds, id, strlen(id)) == 0;
            for (size_t p = 0; p < 2 && samples[k].patches[p]; p++)
                silent += strstr(samples[k].patches[p], "lint-ignore") && strstr(samples[k].patches[p], id);
        }
        if (!finds || !silent)
            fail_msg("%s: %zu samples find it, %zu silence it", id, finds, silent);
    }
}

static void a_service_tells_of_the_workloads_behind_it(void **state)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const char *one[] = {SPEC("'replicas':1"), NULL}, *quiet[] = {IGNORE("one-replica"), NULL};
    struct lint_object items[] = {object(arena, good, one), object(arena, SERVICE(""), NULL),
                                  object(arena, SERVICE(""), quiet), object(arena, BARE_POD, NULL)};
    struct lint_set set = {.items = items, .count = 2};
    struct lint_findings findings = {.arena = arena};
    lint_object(&items[1], &set, &findings);
    assert_int_equal(findings.count, 1);
    cleanup_buffer struct buffer text = {0};
    lint_write(&findings.items[0], &items[1], &text);
    const char *begin = "Deployment \"web\": spec.replicas: 1 behind Service \"door\": whenever that pod";
    assert_memory_equal(text.data, begin, strlen(begin));
    assert_non_null(strstr(text.data, "; run at least 2 replicas [one-replica]"));
    /* The Service's own annotation silences it too. */
    assert_string_equal(found(arena, &items[2], &set), "");
    /* A bare pod behind the Service adds to the replicas, and has no readiness probe. */
    set.count = 4;
    assert_string_equal(found(arena, &items[1], &set), "readiness-probe-missing at spec.containers[0].readinessProbe");
}

static void a_pod_is_looked_at_unless_a_controller_made_it(void **state)
{
    static const char owner[] = "{'metadata':{'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet',"
                                "'name':'r','uid':'u','controller':true}]}}";
    cleanup_arena struct arena *arena = arena_new(0);
    const char *owned[] = {owner, NULL};
    struct lint_object items[] = {object(arena, SERVICE(""), NULL), object(arena, good, NULL)};
    struct lint_set set = {.items = items, .count = 2};
    struct lint_object pod = object(arena, BARE_POD, NULL), made = object(arena, BARE_POD, owned);
    assert_string_equal(found(arena, &pod, &set), "readiness-probe-missing at spec.containers[0].readinessProbe, "
                                                  "selector-overlap at metadata.labels");
    assert_string_equal(found(arena, &made, &set), "");
}

static void what_needs_the_nodes_is_not_guessed_without_them(void **state)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const char *patches[] = {POD(REPELS("kubernetes.io/hostname")), NULL};
    struct lint_object subject = object(arena, good, patches);
    struct lint_set set = {0};
    assert_string_equal(found(arena, &subject, &set), "");
}

static void findings_about_one_object_are_bounded(void **state)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct lint_object subject = object(arena, good, NULL);
    struct deployment *deployment = api_copy(arena, subject.resource->type, subject.value);
    struct container_array *containers = &deployment->spec.template.spec.containers;
    containers->count = LINT_FINDING_MAX + 5;
    containers->items = arena_alloc(arena, containers->count * sizeof(*containers->items));
    subject.value = deployment;
    struct lint_set set = {0};
    struct lint_findings findings = {.arena = arena};
    lint_object(&subject, &set, &findings);
    assert_int_equal(findings.count, LINT_FINDING_MAX);
    assert_int_equal(findings.dropped, 5);
}

static void the_page_is_the_table(void **state)
{
    struct error err;
    cleanup_buffer struct buffer page = {0}, table = {0};
    assert_int_equal(file_read(document, DOCUMENT_MAX, &page, &err), 0);
    lint_write_table(&table);
    if (!strstr(page.data, table.data))
        fail_msg("%s does not hold this table:\n%s", document, table.data);
}

int main(int argc, char **argv)
{
    document = argc > 1 ? argv[1] : "docs/lint.md";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_check_finds_what_it_says_and_nothing_else),
        cmocka_unit_test(every_check_is_found_and_silenced_by_some_sample),
        cmocka_unit_test(a_service_tells_of_the_workloads_behind_it),
        cmocka_unit_test(a_pod_is_looked_at_unless_a_controller_made_it),
        cmocka_unit_test(what_needs_the_nodes_is_not_guessed_without_them),
        cmocka_unit_test(findings_about_one_object_are_bounded),
        cmocka_unit_test(the_page_is_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
