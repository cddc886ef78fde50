"""Evictions by request: kubectl drain, cordon and uncordon, and what an evicted pod is told."""
import json

import pytest

import harness
import load
from test_rollout import deploy, rolled_out


def eviction(name, **options):
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name},
            **({"deleteOptions": options} if options else {})}


@pytest.mark.parametrize("version", sorted(harness.KUBECTLS))
def test_drain_empties_the_node_and_uncordon_fills_it_again(make_cluster, version):
    one = make_cluster()
    one.start()
    kubectl = one.kubectl(version, "default")
    deployments, pods = "/apis/apps/v1/namespaces/default/deployments", "/api/v1/namespaces/default/pods"
    one.api.create(deployments, harness.server_deployment("web", replicas=2))
    harness.wait_for(one.api, pods, lambda items: sum(harness.is_true(item, "Ready") for item in items) == 2)
    (node,) = one.api.ok("GET", "/api/v1/nodes")["items"]
    name = node["metadata"]["name"]

    assert f"node/{name} cordoned" in kubectl("cordon", name)
    assert "Ready,SchedulingDisabled" in kubectl("get", "nodes")
    output = kubectl("drain", name)
    # kubectl 1.20 evicts only where there are budgets; it deletes.
    assert output.count("evicted" if kubectl.is_modern else "deleted") >= 2, output
    # Their successors wait for a node.
    harness.wait_for(one.api, pods, lambda items: len(items) == 2 and all(
        any(c["type"] == "PodScheduled" and c["reason"] == "Unschedulable" for c in item["status"].get("conditions", []))
        for item in items))
    assert f"node/{name} uncordoned" in kubectl("uncordon", name)
    harness.wait_for(one.api, pods, lambda items: sum(harness.is_true(item, "Ready") for item in items) == 2)


def test_drain_asks_before_it_takes_what_nobody_replaces(api, pods, kubectl):
    api.create(pods, harness.shell_pod("alone", "sleep 600"))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") == "Running")
    (node,) = api.ok("GET", "/api/v1/nodes")["items"]
    kubectl.namespace = None
    words = kubectl.fails("drain", node["metadata"]["name"], "--dry-run=client",
                          "--pod-selector", "app=alone")
    assert "alone" in words and "--force" in words, words
    kubectl("uncordon", node["metadata"]["name"])


def test_an_evicted_pod_is_told_why_and_gets_its_grace(api, pods):
    api.create(pods, harness.shell_pod("one", "trap '' TERM; sleep 600 & wait; wait"))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") == "Running")
    dry = api.create(pods + "/one/eviction?dryRun=All", eviction("one"))
    assert dry["status"] == "Success" and "deletionTimestamp" not in api.ok("GET", pods + "/one")["metadata"]
    answer = api.request("POST", pods + "/one/eviction", eviction("one", gracePeriodSeconds=3))
    assert (answer.status, answer.json["kind"], answer.json["status"]) == (201, "Status", "Success")
    pod = api.ok("GET", pods + "/one")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 3
    (told,) = [c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    assert (told["status"], told["reason"], told["message"]) == \
        ("True", "EvictionByEvictionAPI", "Eviction API: evicting")
    # Again is fine: it is on its way.
    assert api.request("POST", pods + "/one/eviction", eviction("one")).status == 201
    harness.wait_for(api, pods, lambda items: not items)


def test_evictions_that_make_no_sense_are_refused(api, pods):
    api.create(pods, harness.shell_pod("one", "sleep 600"))
    refused = [("other", 400, "name in URL does not match name in Eviction object")]
    for name, code, message in refused:
        answer = api.request("POST", pods + "/one/eviction", eviction(name))
        assert (answer.status, answer.json["message"]) == (code, message)
    answer = api.request("POST", pods + "/nosuch/eviction", eviction("nosuch"))
    assert (answer.status, answer.json["message"]) == (404, 'pods "nosuch" not found')
    uid = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert api.request("POST", pods + "/one/eviction", eviction("one", **uid)).status == 409
    assert api.request("GET", pods + "/one/eviction").status == 405
    assert api.request("POST", pods + "/one/eviction", "{").status == 400
    old = {**eviction("one"), "apiVersion": "policy/v1beta1"}
    assert api.request("POST", pods + "/one/eviction", json.dumps(old)).status == 201
    strange = {**eviction("one"), "apiVersion": "v7"}
    assert api.request("POST", pods + "/one/eviction", strange).status == 400


@pytest.mark.parametrize("mode", load.MODES)
def test_evictions_lose_no_request(cluster, api, namespace, pods, callers, mode):
    deployments, spec = deploy(api, namespace, "loaded", mode)
    first = api.ok("GET", f"{pods}?labelSelector=pod-template-hash")["items"]
    assert len(first) == 3
    with load.loads(cluster, spec, callers) as loads:
        for pod in first:
            name = pod["metadata"]["name"]
            api.create(f"{pods}/{name}/eviction", eviction(name))
            rolled_out(api, deployments, "loaded", gone=True)
    load.assert_nothing_lost(loads, mode, ended=3)
