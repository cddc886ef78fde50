"""The API as a client sees it on the wire: lists, watches, patches, tables, dry runs, deletion, ownership."""
import json

import pytest
import yaml

import harness


@pytest.fixture
def config_maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def make(api, path, name, data=None, **metadata):
    return api.create(path, {"metadata": {"name": name, **metadata}, "data": data or {}})


def mine(items):
    """Without what every namespace has anyway."""
    return [item for item in items if item["metadata"]["name"] != "kube-root-ca.crt"]


def names(answer):
    return [item["metadata"]["name"] for item in mine(answer["items"])]


# ---- metadata ----

def test_create_fills_in_metadata(api, config_maps, namespace):
    created = make(api, config_maps, "it", labels={"a": "b"})
    metadata = created["metadata"]
    assert (created["kind"], created["apiVersion"]) == ("ConfigMap", "v1")
    assert metadata["namespace"] == namespace
    assert len(metadata["uid"]) == 36 and metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")
    assert "generation" not in metadata
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    deployment = api.create(deployments, harness.server_deployment("it", replicas=0))
    assert deployment["metadata"]["generation"] == 1
    again = api.patch(f"{deployments}/it", {"metadata": {"labels": {"x": "y"}}})
    assert again["metadata"]["generation"] == 1
    again = api.patch(f"{deployments}/it", {"spec": {"paused": True}})
    assert again["metadata"]["generation"] == 2


def test_generate_name(api, config_maps):
    created = [api.create(config_maps, {"metadata": {"generateName": "made-"}})["metadata"] for _ in range(5)]
    assert len({item["name"] for item in created}) == 5
    assert all(item["name"].startswith("made-") and len(item["name"]) == 10 for item in created)


def test_an_update_that_changes_nothing_makes_no_revision(api, config_maps):
    created = make(api, config_maps, "it", {"a": "1"})
    updated = api.ok("PUT", f"{config_maps}/it", created)
    assert updated["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


def test_dry_run_answers_but_keeps_nothing(api, config_maps):
    created = api.create(config_maps + "?dryRun=All", {"metadata": {"name": "it"}, "data": {"a": "1"}})
    assert created["metadata"]["uid"]
    assert api.get(f"{config_maps}/it").status == 404
    make(api, config_maps, "it", {"a": "1"})
    assert api.patch(f"{config_maps}/it?dryRun=All", {"data": {"a": "2"}})["data"] == {"a": "2"}
    assert api.ok("GET", f"{config_maps}/it")["data"] == {"a": "1"}
    api.ok("DELETE", f"{config_maps}/it?dryRun=All")
    assert api.get(f"{config_maps}/it").status == 200


def test_a_namespace_has_to_exist(api):
    response = api.request("POST", "/api/v1/namespaces/never-was/configmaps", {"metadata": {"name": "it"}})
    assert response.status == 404
    assert response.json["message"] == 'namespaces "never-was" not found'


# ---- lists ----

def test_label_selectors(api, config_maps):
    for name, labels in (("a", {"tier": "web", "env": "prod"}), ("b", {"tier": "web", "env": "test"}),
                         ("c", {"tier": "db"}), ("d", {})):
        make(api, config_maps, name, labels=labels)
    for selector, expected in (("tier=web", ["a", "b"]), ("tier%3D%3Dweb,env!=prod", ["b"]), ("tier", ["a", "b", "c"]),
                               ("!tier", ["d"]), ("env+in+(prod,test)", ["a", "b"]),
                               ("env+notin+(prod)", ["b", "c", "d"]),
                               ("tier=none", [])):
        assert names(api.ok("GET", f"{config_maps}?labelSelector={selector}")) == expected, selector


def test_field_selectors(api, config_maps, pods):
    make(api, config_maps, "a")
    make(api, config_maps, "b")
    assert names(api.ok("GET", f"{config_maps}?fieldSelector=metadata.name%3Da")) == ["a"]
    assert names(api.ok("GET", f"{config_maps}?fieldSelector=metadata.name!%3Da")) == ["b"]
    api.create(pods, harness.shell_pod("p", "exec sleep 1000"))
    harness.wait_for(api, pods, lambda items: items[0]["status"].get("phase") == "Running")
    node = api.ok("GET", f"{pods}/p")["spec"]["nodeName"]
    assert names(api.ok("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node},metadata.name%3Dp")) == ["p"]


def test_pages_show_one_moment(api, config_maps):
    for number in range(10):
        make(api, config_maps, f"it-{number}", labels={"paged": "yes"})
    first = api.ok("GET", f"{config_maps}?labelSelector=paged&limit=4")
    assert len(first["items"]) == 4 and first["metadata"]["continue"]
    # What is made and deleted meanwhile does not show in later pages of the same list.
    make(api, config_maps, "it-95", labels={"paged": "yes"})
    api.ok("DELETE", f"{config_maps}/it-5")
    second = api.ok("GET", f"{config_maps}?labelSelector=paged&limit=100&continue={first['metadata']['continue']}")
    assert names(first) + names(second) == [f"it-{number}" for number in range(10)]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_list_at_an_exact_version(api, config_maps):
    version = make(api, config_maps, "first")["metadata"]["resourceVersion"]
    make(api, config_maps, "second")
    old = api.ok("GET", f"{config_maps}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert names(old) == ["first"]
    assert old["metadata"]["resourceVersion"] == version
    new = api.ok("GET", f"{config_maps}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
    assert names(new) == ["first", "second"]


def test_tables_have_upstreams_columns(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000"))
    harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready"))
    table = api.ok("GET", pods, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"})
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0] * 5 + [1] * 4
    assert table["rows"][0]["cells"][:4] == ["it", "1/1", "Running", "0"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_partial_metadata(api, config_maps):
    make(api, config_maps, "it", {"secret": "sauce"}, labels={"a": "b"})
    kind = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    one = api.ok("GET", f"{config_maps}/it", headers={"Accept": kind})
    assert one["kind"] == "PartialObjectMetadata" and "data" not in one
    assert one["metadata"]["labels"] == {"a": "b"}
    kind = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    many = api.ok("GET", config_maps, headers={"Accept": kind})
    assert many["kind"] == "PartialObjectMetadataList"


YAML = "application/yaml"
# What a reader of YAML would take for something else, if it were not quoted.
ODD = ["", "yes", "off", "n", "null", "~", "7", "0644", "0x1", "1e3", ".5", ".inf", "1:30", "2025-01-02",
       "2025-01-02T03:04:05Z", "a: b", "a #b", "- a", "'", '"', " lead", "trail ", "x\ty", "x\ny\n", "x\n\n\n", " x\ny",
       "x \ny", "x\r\ny", "é", "日本", "😀", "{}", "[a", "&a", "*a", "!a", "%a", "---", "word " * 60, "x" * 300]


def test_yaml_is_what_kubectl_prints(api, config_maps, kubectl):
    data = {f"key{i}": text for i, text in enumerate(ODD)}
    made = make(api, config_maps, "it", data, annotations={"a10": "1", "a9": "true"})
    answer = api.request("GET", f"{config_maps}/it", headers={"Accept": YAML})
    assert (answer.status, answer.headers["Content-Type"]) == (200, YAML)
    assert answer.body.decode() == kubectl("get", "cm", "it", "-o", "yaml")
    assert yaml.safe_load(answer.body) == made
    sent = api.request("PUT", f"{config_maps}/it", answer.body, headers={"Content-Type": YAML, "Accept": YAML})
    assert yaml.safe_load(sent.body)["data"] == data


def test_lists_tables_and_errors_come_as_yaml(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000"))
    harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready"))

    def ask(path, accept=YAML):
        answer = api.request("GET", path, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == YAML, answer
        return yaml.safe_load(answer.body)

    assert ask(pods) == api.ok("GET", pods)
    assert ask(pods, "application/json;q=0.2, application/yaml;q=0.8")["kind"] == "PodList"
    assert ask(pods, YAML + ";as=Table;v=v1;g=meta.k8s.io")["rows"][0]["cells"][:4] == ["it", "1/1", "Running", "0"]
    assert ask(f"{pods}/other")["reason"] == "NotFound"
    refused = ask(f"{pods}?watch=1")
    assert (refused["code"], refused["message"]) == (
        406, "only the following media types are accepted: application/json;stream=watch")


# ---- watches ----

def test_a_watch_from_a_version_misses_nothing(api, config_maps):
    version = make(api, config_maps, "it", {"step": "0"})["metadata"]["resourceVersion"]
    for step in range(1, 4):
        api.patch(f"{config_maps}/it", {"data": {"step": str(step)}})
    api.ok("DELETE", f"{config_maps}/it")
    seen = []
    with api.watch(config_maps, resourceVersion=version) as events:
        for event in events:
            seen.append((event["type"], event["object"]["data"]["step"]))
            if event["type"] == "DELETED":
                break
    assert seen == [("MODIFIED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]


def test_a_watch_ends_after_its_timeout(api, config_maps):
    with api.watch(config_maps, timeout=10, timeoutSeconds=1) as events:
        assert all(event["type"] in ("ADDED", "BOOKMARK") for event in events)


def test_bookmarks_end_the_initial_events(api, config_maps):
    make(api, config_maps, "a")
    make(api, config_maps, "b")
    seen = []
    with api.watch(config_maps, timeout=10, sendInitialEvents="true", allowWatchBookmarks="true",
                   resourceVersionMatch="NotOlderThan") as events:
        for event in events:
            seen.append(event)
            if event["type"] == "BOOKMARK":
                break
    added = [event["object"] for event in seen if event["type"] == "ADDED"]
    assert names({"items": added}) == ["a", "b"]
    assert seen[-1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
    assert seen[-1]["object"]["metadata"]["resourceVersion"].isdigit()


def test_a_watch_with_a_selector_sees_objects_come_and_go_from_it(api, config_maps):
    version = make(api, config_maps, "it")["metadata"]["resourceVersion"]
    api.patch(f"{config_maps}/it", {"metadata": {"labels": {"shown": "yes"}}})
    api.patch(f"{config_maps}/it", {"data": {"a": "1"}})
    api.patch(f"{config_maps}/it", {"metadata": {"labels": {"shown": None}}})
    with api.watch(config_maps, resourceVersion=version, labelSelector="shown=yes") as events:
        assert [next(events)["type"] for _ in range(3)] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_from_a_version_that_is_too_old_is_gone(api, config_maps):
    """Either the history still reaches back that far, or the answer is upstream's 410; never silence or a gap."""
    with api.watch(config_maps, timeout=10, resourceVersion="1", timeoutSeconds=2) as events:
        first = next(events, None)
    if first and first["type"] == "ERROR":
        assert (first["object"]["code"], first["object"]["reason"]) == (410, "Expired")
        assert first["object"]["message"].startswith("too old resource version: 1 (")


def test_a_single_object_can_be_watched_by_name(api, config_maps):
    make(api, config_maps, "it")
    make(api, config_maps, "other")
    with api.watch(config_maps, fieldSelector="metadata.name=it", timeoutSeconds=1, timeout=10) as events:
        assert [event["object"]["metadata"]["name"] for event in events if event["type"] == "ADDED"] == ["it"]


# ---- patches ----

def test_strategic_merge_merges_lists_by_key(api, namespace):
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = harness.server_deployment("it", replicas=0, environment={"A": "1", "B": "2"})
    api.create(deployments, body)
    path = f"{deployments}/it"

    def container(answer):
        return answer["spec"]["template"]["spec"]["containers"][0]

    def environment(answer):
        return {entry["name"]: entry.get("value") for entry in container(answer)["env"]}

    def patch(container_patch):
        return api.patch(path, {"spec": {"template": {"spec": {"containers": [
            {"name": "model-server", **container_patch}]}}}})

    merged = patch({"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]})
    assert {name: environment(merged)[name] for name in "ABC"} == {"A": "1", "B": "3", "C": "4"}
    deleted = patch({"env": [{"name": "A", "$patch": "delete"}]})
    assert "A" not in environment(deleted) and "B" in environment(deleted)
    replaced = patch({"env": [{"$patch": "replace"}, {"name": "Z", "value": "9"}]})
    assert environment(replaced) == {"Z": "9"}
    cleared = patch({"readinessProbe": None})
    assert "readinessProbe" not in container(cleared)
    recreate = api.patch(path, {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
    assert recreate["spec"]["strategy"] == {"type": "Recreate"}


def test_merge_patch_replaces_lists_and_null_deletes(api, config_maps):
    make(api, config_maps, "it", {"a": "1", "b": "2"}, labels={"x": "1"}, finalizers=["example.com/a", "example.com/b"])
    patched = api.patch(f"{config_maps}/it", {
        "data": {"a": None, "c": "3"}, "metadata": {"finalizers": ["example.com/c"]}}, "application/merge-patch+json")
    assert patched["data"] == {"b": "2", "c": "3"}
    assert patched["metadata"]["finalizers"] == ["example.com/c"]
    api.patch(f"{config_maps}/it", {"metadata": {"finalizers": None}}, "application/merge-patch+json")


def test_json_patch_operations(api, config_maps):
    make(api, config_maps, "it", {"a": "1"}, annotations={"example.com/b": "2"})
    patched = api.patch(f"{config_maps}/it", [
        {"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "move", "from": "/metadata/annotations/example.com~1b", "path": "/data/moved"},
        {"op": "copy", "from": "/data/a", "path": "/data/b"},
        {"op": "remove", "path": "/data/a"}], "application/json-patch+json")
    assert patched["data"] == {"moved": "2", "b": "9"}


def test_a_patch_with_a_stale_version_conflicts(api, config_maps):
    stale = make(api, config_maps, "it")["metadata"]["resourceVersion"]
    api.patch(f"{config_maps}/it", {"data": {"a": "1"}})
    response = api.request("PATCH", f"{config_maps}/it", json.dumps({"metadata": {"resourceVersion": stale}}),
                           headers={"Content-Type": "application/merge-patch+json"})
    assert response.status == 409
    assert response.json["message"] == (
        'Operation cannot be fulfilled on configmaps "it": the object has been modified; please apply your changes to '
        "the latest version and try again")


# ---- deletion and ownership ----

def test_preconditions_of_a_delete(api, config_maps):
    metadata = make(api, config_maps, "it")["metadata"]
    for preconditions in ({"uid": "not-this-one"}, {"resourceVersion": "1"}):
        response = api.request("DELETE", f"{config_maps}/it", {"preconditions": preconditions})
        assert response.status == 409, response
        assert "in the precondition (" in response.json["message"]
    answer = api.ok("DELETE", f"{config_maps}/it", {"preconditions": {"uid": metadata["uid"]}})
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"]["uid"] == metadata["uid"]


def test_finalizers_hold_an_object(api, config_maps):
    make(api, config_maps, "it", finalizers=["example.com/hold"])
    held = api.ok("DELETE", f"{config_maps}/it")
    assert held["metadata"]["deletionTimestamp"]
    assert api.get(f"{config_maps}/it").status == 200
    response = api.request("PATCH", f"{config_maps}/it", json.dumps({"metadata": {"finalizers": [
        "example.com/hold", "example.com/more"]}}), headers={"Content-Type": "application/merge-patch+json"})
    assert response.status == 422, "no finalizer can be added to what is being deleted"
    api.patch(f"{config_maps}/it", {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    assert api.get(f"{config_maps}/it").status == 404


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_propagation(api, namespace, config_maps, policy):
    owner = make(api, config_maps, "owner")["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"],
                 "blockOwnerDeletion": True}
    make(api, config_maps, "dependent", ownerReferences=[reference])
    api.ok("DELETE", f"{config_maps}/owner?propagationPolicy={policy}")
    if policy == "Orphan":
        harness.wait_for(api, config_maps, lambda items: [
            item["metadata"].get("ownerReferences") for item in mine(items)] == [None])
    else:
        harness.wait_for(api, config_maps, lambda items: not mine(items))


def test_a_dependent_of_nobody_is_collected(api, config_maps):
    make(api, config_maps, "stray", ownerReferences=[{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "never-was", "uid": "00000000-0000-0000-0000-000000000000"}])
    harness.wait_for(api, config_maps, lambda items: not mine(items))


def test_a_namespace_takes_everything_with_it(api):
    api.create("/api/v1/namespaces", {"metadata": {"name": "short-lived"}})
    path = "/api/v1/namespaces/short-lived"
    make(api, path + "/configmaps", "it")
    harness.wait_for(api, path + "/serviceaccounts", lambda items: items)
    api.create(path + "/pods", harness.shell_pod("it", "exec sleep 1000", terminationGracePeriodSeconds=1))
    terminating = api.ok("DELETE", path)
    assert terminating["status"]["phase"] == "Terminating"
    refused = api.request("POST", path + "/configmaps", {"metadata": {"name": "late"}})
    assert refused.status in (403, 404), refused
    harness.wait_for(api, "/api/v1/namespaces",
                     lambda items: "short-lived" not in {item["metadata"]["name"] for item in items})
    assert names(api.ok("GET", path + "/configmaps")) == []


def test_a_replica_set_adopts_and_releases(api, namespace, pods):
    sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    api.create(pods, harness.shell_pod("loner", "exec sleep 1000", labels={"app": "it"}))
    template = harness.shell_pod("", "exec sleep 1000", labels={"app": "it"})
    del template["metadata"]["name"]
    created = api.create(sets, {"metadata": {"name": "it"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "it"}},
        "template": {"metadata": template["metadata"], "spec": template["spec"]}}})

    def owned(items):
        return {item["metadata"]["name"] for item in items if any(
            owner["uid"] == created["metadata"]["uid"] and owner["controller"]
            for owner in item["metadata"].get("ownerReferences", []))}

    harness.wait_for(api, pods, lambda items: len(items) == 2 and len(owned(items)) == 2)
    api.patch(f"{pods}/loner", {"metadata": {"labels": {"app": "elsewhere"}}})
    harness.wait_for(api, pods, lambda items: len(items) == 3 and len(owned(items)) == 2 and
                     "loner" not in owned(items))


# ---- discovery ----

def test_discovery_is_complete_both_ways(api):
    groups = {group["name"] for group in api.ok("GET", "/apis")["groups"]}
    assert {"apps", "discovery.k8s.io", "coordination.k8s.io", "events.k8s.io"} <= groups
    assert api.ok("GET", "/api")["versions"] == ["v1"]
    core = {resource["name"]: resource for resource in api.ok("GET", "/api/v1")["resources"]}
    assert core["pods"]["shortNames"] == ["po"] and core["pods"]["namespaced"]
    assert {"pods/log", "pods/status", "pods/binding"} <= set(core)
    assert sorted(core["configmaps"]["verbs"]) == ["create", "delete", "deletecollection", "get", "list", "patch",
                                                   "update", "watch"]
    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = api.ok("GET", "/apis", headers={"Accept": kind})
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    assert {item["metadata"]["name"] for item in aggregated["items"]} == groups


def test_openapi(api):
    second = api.ok("GET", "/openapi/v2")
    assert second["swagger"] == "2.0"
    assert "io.k8s.api.apps.v1.Deployment" in second["definitions"]
    third = api.ok("GET", "/openapi/v3")
    document = api.ok("GET", third["paths"]["apis/apps/v1"]["serverRelativeURL"])
    assert document["openapi"].startswith("3.")
    assert "io.k8s.api.apps.v1.Deployment" in document["components"]["schemas"]
    protobuf = api.get("/openapi/v2", headers={
        "Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})
    assert protobuf.status == 200 and protobuf.body[:1] == b"\x0a"


def test_health_and_metrics(api):
    for path in ("/healthz", "/livez", "/readyz"):
        assert api.get(path).body == b"ok"
    text = api.get("/metrics").body.decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert "apiserver_request_total" in families
    assert any("duration" in family or "latency" in family for family in families)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            float(line.rsplit(" ", 1)[1])


def test_metrics_show_queues_and_waiting_pods(api, namespace, pods):
    """Controllers' work queues and the pods that wait for a node, under upstream's names."""
    def figure(name):
        lines = api.get("/metrics").body.decode().splitlines()
        return [int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")]

    before = {queue: figure(f'scheduler_pending_pods{{queue="{queue}"}}')[0]
              for queue in ("active", "backoff", "gated", "unschedulable")}
    for name in ("deployment", "replicaset", "endpoint_slice", "job", "namespace"):
        assert len(figure(f'workqueue_depth{{name="{name}"}}')) == 1
    api.create(pods, harness.shell_pod("gated", "true", schedulingGates=[{"name": "example.com/wait"}]))
    assert figure('scheduler_pending_pods{queue="gated"}')[0] == before["gated"] + 1
    api.create(pods, harness.shell_pod("nowhere", "true", nodeSelector={"no": "node"}))
    harness.wait_for(api, pods, lambda items: any(
        condition["reason"] == "Unschedulable" for item in items if item["metadata"]["name"] == "nowhere"
        for condition in item.get("status", {}).get("conditions", [])))
    assert figure('scheduler_pending_pods{queue="unschedulable"}')[0] == before["unschedulable"] + 1


def test_the_clusters_own_service_comes_back(api, kubectl):
    """`kubectl delete svc --all` in default does not take the API away from pods."""
    kinds = {"/api/v1/namespaces/default/services": "kubernetes", "/api/v1/namespaces/default/endpoints": "kubernetes",
             "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": "kubernetes"}
    before = {path: api.ok("GET", f"{path}/{name}")["metadata"]["uid"] for path, name in kinds.items()}
    address = api.ok("GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    kubectl("delete", "svc", "--all", "-n", "default")
    for path, name in kinds.items():
        harness.wait_for(api, path, lambda items: any(
            item["metadata"]["name"] == name and (item["metadata"]["uid"] != before[path] or "services" not in path)
            for item in items), what=name)
    assert api.ok("GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"] == address


def test_the_nodes_lease_is_renewed_and_comes_back_with_its_namespace(api):
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    node = api.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]
    path = f"{leases}/{node['name']}"
    lease = api.ok("GET", path)
    assert lease["spec"]["holderIdentity"] == node["name"]
    assert lease["spec"]["leaseDurationSeconds"] == 40
    moved = harness.wait_for(api, leases, lambda items: [
        item for item in items if item["spec"]["renewTime"] > lease["spec"]["renewTime"]])[0]
    owner = moved["metadata"]["ownerReferences"][0]
    assert (owner["apiVersion"], owner["kind"], owner["name"], owner["uid"]) == ("v1", "Node", node["name"], node["uid"])
    api.ok("DELETE", "/api/v1/namespaces/kube-node-lease")
    harness.wait_for(api, leases, lambda items: any(
        item["metadata"]["uid"] != lease["metadata"]["uid"] for item in items), what="a new lease")


def test_what_does_not_act_yet_says_so(api, pods):
    """A field that is accepted but has no effect is named in a Warning header, never ignored in silence."""
    body = harness.shell_pod("it", "true", restartPolicy="Never")
    body["spec"]["hostUsers"] = False
    response = api.request("POST", pods + "?dryRun=All", body)
    assert response.status == 201
    warnings = response.headers.get_all("Warning") or []
    assert sum("spec.hostUsers: stored, but without effect" in warning for warning in warnings) == 1
