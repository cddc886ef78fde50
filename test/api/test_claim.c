/* The promise of volumes, claims and classes: upstream's defaults, answers and columns, word for word, and upstream's
 * rules of which volume will do for which claim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "api/node_selector.h"
#include "api/storage.h"
#include "prepare.h"

#define CLAIM(spec) "{'metadata':{'name':'c','namespace':'default','resourceVersion':'1'},'spec':{" spec "}}"
#define RWO "'accessModes':['ReadWriteOnce']"
#define GIB "'resources':{'requests':{'storage':'1Gi'}}"
#define VOLUME(spec) "{'metadata':{'name':'v','resourceVersion':'1'},'spec':{" spec "}}"
#define CAPACITY "'capacity':{'storage':'1Gi'}"
#define HOST_PATH "'hostPath':{'path':'/data'}"
#define CLASS(more) "{'metadata':{'name':'s','resourceVersion':'1'}" more "}"

static const struct {
    enum api_resource_index resource;
    const char *json;
    const char *message;
} creations[] = {
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB), ""},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(""),
     "PersistentVolumeClaim \"c\" is invalid: [spec.accessModes: Required value: at least 1 access mode is required, "
     "spec.resources[storage]: Required value]"},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM("'accessModes':['Often'],'resources':{'requests':{'storage':'0'}}"),
     "PersistentVolumeClaim \"c\" is invalid: [spec.accessModes: Unsupported value: \"Often\": supported values: "
     "\"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\", spec.resources[storage]: Invalid "
     "value: \"0\": must be greater than zero]"},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM("'accessModes':['ReadWriteOncePod','ReadWriteOnce']," GIB),
     "PersistentVolumeClaim \"c\" is invalid: spec.accessModes: Forbidden: may not use ReadWriteOncePod with other "
     "access modes"},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB ",'dataSource':{'kind':'Thing','name':'t'}"),
     "PersistentVolumeClaim \"c\" is invalid: spec.dataSource: Invalid value: \"Thing\": must be "
     "'PersistentVolumeClaim' when referencing the default apiGroup"},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB ",'volumeMode':'Tape'"),
     "PersistentVolumeClaim \"c\" is invalid: spec.volumeMode: Unsupported value: \"Tape\": supported values: "
     "\"Block\", \"Filesystem\""},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY "," HOST_PATH), ""},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY),
     "PersistentVolume \"v\" is invalid: spec: Required value: must specify a volume type"},
    {API_PERSISTENTVOLUMES, VOLUME(HOST_PATH),
     "PersistentVolume \"v\" is invalid: [spec.accessModes: Required value, spec.capacity: Required value, "
     "spec.capacity: Unsupported value: null: supported values: \"storage\"]"},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY "," HOST_PATH ",'nfs':{'server':'s','path':'/x'}"),
     "PersistentVolume \"v\" is invalid: spec.nfs: Forbidden: may not specify more than 1 volume type"},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY ",'local':{'path':'/x/../y'}"),
     "PersistentVolume \"v\" is invalid: [spec.local.path: Invalid value: \"/x/../y\": must not contain '..', "
     "spec.nodeAffinity: Required value: Local volume requires node affinity]"},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY "," HOST_PATH ",'persistentVolumeReclaimPolicy':'Burn'"),
     "PersistentVolume \"v\" is invalid: spec.persistentVolumeReclaimPolicy: Unsupported value: \"Burn\": supported "
     "values: \"Delete\", \"Recycle\", \"Retain\""},
    {API_STORAGECLASSES, CLASS(",'provisioner':'example.com/p'"), ""},
    {API_STORAGECLASSES, CLASS(""), "StorageClass.storage.k8s.io \"s\" is invalid: provisioner: Required value"},
    {API_STORAGECLASSES, CLASS(",'provisioner':'p','reclaimPolicy':'Recycle','volumeBindingMode':'Later'"),
     "StorageClass.storage.k8s.io \"s\" is invalid: [reclaimPolicy: Unsupported value: \"Recycle\": supported values: "
     "\"Delete\", \"Retain\", volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", "
     "\"WaitForFirstConsumer\"]"},
};

static void new_objects_are_judged_in_upstreams_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(creations) / sizeof(creations[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        assert_string_equal(create_message(arena, &api_resources[creations[i].resource], creations[i].json),
                            creations[i].message);
    }
}

#define BOUND_CLAIM(size)                                                                                              \
    "{'metadata':{'name':'c','namespace':'default','resourceVersion':'1'},'spec':{" RWO                                \
    ",'resources':{'requests':{'storage':'" size "'}}},'status':{'phase':'Bound','capacity':{'storage':'2Gi'}}}"

static const struct {
    enum api_resource_index resource;
    const char *old;
    const char *now;
    const char *message; /* how it begins */
} changes[] = {
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB), CLAIM(RWO "," GIB ",'volumeName':'v'"), ""},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB), CLAIM(RWO "," GIB ",'storageClassName':'s'"), ""},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB ",'storageClassName':'t'"),
     CLAIM(RWO "," GIB ",'storageClassName':'s'"),
     "PersistentVolumeClaim \"c\" is invalid: spec: Forbidden: spec is immutable after creation except "
     "resources.requests and volumeAttributesClassName for bound claims\n"},
    {API_PERSISTENTVOLUMECLAIMS, CLAIM(RWO "," GIB ",'volumeName':'v'"), CLAIM(RWO "," GIB ",'volumeName':'w'"),
     "PersistentVolumeClaim \"c\" is invalid: spec: Forbidden: spec is immutable after creation except "},
    {API_PERSISTENTVOLUMECLAIMS, BOUND_CLAIM("2Gi"), BOUND_CLAIM("3Gi"), ""},
    {API_PERSISTENTVOLUMECLAIMS, BOUND_CLAIM("2Gi"), BOUND_CLAIM("1Gi"),
     "PersistentVolumeClaim \"c\" is invalid: spec.resources.requests.storage: Forbidden: field can not be less than "
     "status.capacity"},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY "," HOST_PATH),
     VOLUME(RWO "," CAPACITY "," HOST_PATH ",'claimRef':{'name':'c','namespace':'default'}"), ""},
    {API_PERSISTENTVOLUMES, VOLUME(RWO "," CAPACITY "," HOST_PATH),
     VOLUME(RWO "," CAPACITY ",'hostPath':{'path':'/other'}"),
     "PersistentVolume \"v\" is invalid: spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is "
     "immutable after creation\n"},
    {API_STORAGECLASSES, CLASS(",'provisioner':'p'"), CLASS(",'provisioner':'q','parameters':{'a':'b'}"),
     "StorageClass.storage.k8s.io \"s\" is invalid: [parameters: Forbidden: updates to parameters are forbidden., "
     "provisioner: Forbidden: updates to provisioner are forbidden.]"},
};

static void changes_are_judged_in_upstreams_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const struct api_resource *r = &api_resources[changes[i].resource];
        void *old = prepare(arena, r, changes[i].old), *now = prepare(arena, r, changes[i].now);
        struct api_field_errors errors = {.arena = arena};
        api_validate_update(r, now, old, NULL, &errors);
        const char *message = errors.count ? api_status_invalid(arena, r, api_meta(r, now)->name, &errors)->message
                                           : "";
        if (strncmp(message, changes[i].message, strlen(changes[i].message)) != 0 ||
            (*message && !*changes[i].message))
            fail_msg("%s\n%s", changes[i].now, message);
    }
}

static void what_is_left_out_has_upstreams_defaults(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct persistent_volume *v =
        prepare(arena, &api_resources[API_PERSISTENTVOLUMES], VOLUME(RWO "," CAPACITY "," HOST_PATH));
    assert_string_equal(v->spec.persistent_volume_reclaim_policy, "Retain");
    assert_string_equal(v->spec.volume_mode, "Filesystem");
    assert_string_equal(v->spec.host_path->type, "");
    struct persistent_volume_claim *c =
        prepare(arena, &api_resources[API_PERSISTENTVOLUMECLAIMS], CLAIM(RWO "," GIB));
    assert_string_equal(c->spec.volume_mode, "Filesystem");
    assert_string_equal(c->status.phase, "Pending");
    assert_null(c->spec.storage_class_name);
    struct storage_class *s = prepare(arena, &api_resources[API_STORAGECLASSES], CLASS(",'provisioner':'p'"));
    assert_string_equal(s->reclaim_policy, "Delete");
    assert_string_equal(s->volume_binding_mode, "Immediate");
}

static const struct {
    const char *volume, *claim, *why;
} matches[] = {
    {VOLUME(RWO "," CAPACITY "," HOST_PATH), CLAIM(RWO "," GIB), NULL},
    {VOLUME(RWO ",'capacity':{'storage':'5Gi'}," HOST_PATH), CLAIM(RWO "," GIB), NULL},
    {VOLUME(RWO ",'capacity':{'storage':'1G'}," HOST_PATH), CLAIM(RWO "," GIB), "requested PV is too small"},
    {VOLUME(RWO "," CAPACITY "," HOST_PATH ",'storageClassName':'s'"), CLAIM(RWO "," GIB),
     "storageClassName does not match"},
    {VOLUME(RWO "," CAPACITY "," HOST_PATH), CLAIM("'accessModes':['ReadWriteMany']," GIB), "incompatible accessMode"},
    {VOLUME("'accessModes':['ReadWriteMany','ReadWriteOnce']," CAPACITY "," HOST_PATH), CLAIM(RWO "," GIB), NULL},
    {VOLUME(RWO "," CAPACITY "," HOST_PATH ",'volumeMode':'Block'"), CLAIM(RWO "," GIB), "incompatible volumeMode"},
};

static void a_volume_does_for_a_claim_by_upstreams_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        const char *why = storage_mismatch(prepare(arena, &api_resources[API_PERSISTENTVOLUMES], matches[i].volume),
                                           prepare(arena, &api_resources[API_PERSISTENTVOLUMECLAIMS], matches[i].claim));
        assert_string_equal(why ? why : "", matches[i].why ? matches[i].why : "");
    }
}

#define TERM(more) VOLUME(RWO "," CAPACITY "," HOST_PATH ",'nodeAffinity':{'required':{'nodeSelectorTerms':[" more "]}}")

static const struct {
    const char *volume;
    bool reaches;
} affinities[] = {
    {VOLUME(RWO "," CAPACITY "," HOST_PATH), true},
    {TERM("{'matchExpressions':[{'key':'zone','operator':'In','values':['a','b']}]}"), true},
    {TERM("{'matchExpressions':[{'key':'zone','operator':'In','values':['c']}]}"), false},
    {TERM("{'matchExpressions':[{'key':'zone','operator':'NotIn','values':['b']}]}"), false},
    {TERM("{'matchExpressions':[{'key':'disk','operator':'NotIn','values':['b']}]}"), true},
    {TERM("{'matchExpressions':[{'key':'zone','operator':'Exists'},{'key':'disk','operator':'DoesNotExist'}]}"), true},
    {TERM("{'matchExpressions':[{'key':'disk','operator':'Exists'}]}"), false},
    {TERM("{'matchExpressions':[{'key':'disk','operator':'Exists'}]},{'matchExpressions':[{'key':'zone','operator':"
          "'Exists'}]}"),
     true},
    {TERM("{'matchExpressions':[{'key':'cores','operator':'Gt','values':['7']}]}"), true},
    {TERM("{'matchExpressions':[{'key':'cores','operator':'Gt','values':['8']}]}"), false},
    {TERM("{'matchExpressions':[{'key':'cores','operator':'Lt','values':['9']}]}"), true},
    {TERM("{'matchExpressions':[{'key':'zone','operator':'Lt','values':['9']}]}"), false},
    {TERM("{'matchFields':[{'key':'metadata.name','operator':'In','values':['n']}]}"), true},
    {TERM("{'matchFields':[{'key':'metadata.name','operator':'In','values':['m']}]}"), false},
    {TERM("{}"), false},
};

static void a_volume_is_reached_from_the_nodes_of_its_affinity(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct node *node = decode(arena, &api_resources[API_NODES],
                               "{'metadata':{'name':'n','labels':{'zone':'b','cores':'8'}}}");
    for (size_t i = 0; i < sizeof(affinities) / sizeof(affinities[0]); i++)
        assert_int_equal(storage_volume_reaches(prepare(arena, &api_resources[API_PERSISTENTVOLUMES],
                                                        affinities[i].volume),
                                                &node->metadata),
                         affinities[i].reaches);
}

static void a_pod_names_its_claims(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct pod *pod = decode(arena, &api_resources[API_PODS],
                             "{'metadata':{'name':'p'},'spec':{'volumes':[{'name':'a','persistentVolumeClaim':{"
                             "'claimName':'c'}},{'name':'b','ephemeral':{}},{'name':'e','emptyDir':{}}]}}");
    assert_string_equal(storage_claim_name(arena, &pod->metadata, &pod->spec.volumes.items[0]), "c");
    assert_string_equal(storage_claim_name(arena, &pod->metadata, &pod->spec.volumes.items[1]), "p-b");
    assert_null(storage_claim_name(arena, &pod->metadata, &pod->spec.volumes.items[2]));
    assert_true(storage_pod_uses(pod, "c"));
    assert_true(storage_pod_uses(pod, "p-b"));
    assert_false(storage_pod_uses(pod, "p-e"));
    assert_false(storage_pod_uses(pod, "p-a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_objects_are_judged_in_upstreams_words),
        cmocka_unit_test(changes_are_judged_in_upstreams_words),
        cmocka_unit_test(what_is_left_out_has_upstreams_defaults),
        cmocka_unit_test(a_volume_does_for_a_claim_by_upstreams_rules),
        cmocka_unit_test(a_volume_is_reached_from_the_nodes_of_its_affinity),
        cmocka_unit_test(a_pod_names_its_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
