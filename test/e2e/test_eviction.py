"""A node that runs short of memory, and pods that outgrow their share of its disk."""
import os
import pathlib
import re

import pytest

import harness
import load
import registry

MIB = 1 << 20


def memory_total():
    return int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) * 1024


def hog(name, mebibytes, resources=None, **spec):
    """Holds memory in a volume: it is there at once, and shows as the container's."""
    return harness.shell_pod(
        name, f"dd if=/dev/zero of=/memory/x bs=1M count={mebibytes} && sleep 600",
        container={"volumeMounts": [{"name": "memory", "mountPath": "/memory"}], "resources": resources or {}},
        volumes=[{"name": "memory", "emptyDir": {"medium": "Memory"}}], **spec)


def condition(item, kind):
    return next((c for c in item["status"].get("conditions", []) if c["type"] == kind), {})


def named(items, name):
    return next((item for item in items if item["metadata"]["name"] == name), {"status": {}})


def is_evicted(item):
    return item["status"].get("phase") == "Failed" and item["status"].get("reason") == "Evicted"


def small_node(make_cluster, mebibytes, *arguments):
    """Its pods have so much memory together, whatever the machine has and does."""
    reserved = memory_total() - mebibytes * MIB
    one = make_cluster(arguments=["--system-reserved", f"memory={reserved}", "--eviction-hard",
                                  "memory.available<100Mi", *arguments])
    one.start()
    return one, one.api, "/api/v1/namespaces/default/pods"


def test_memory_pressure_ends_the_pod_that_exceeds_its_request_by_most(make_cluster):
    one, api, pods = small_node(make_cluster, 400, "--eviction-pressure-transition-period", "3s")
    (node,) = api.ok("GET", "/api/v1/nodes")["items"]
    assert node["status"]["allocatable"]["memory"] == f"{300 * 1024}Ki"
    asked = {"requests": {"memory": "120Mi"}}
    api.create(pods, hog("fair", 100, asked))
    api.create(pods, hog("small", 20))
    harness.wait_for(api, pods, lambda items: len(items) == 2 and all(harness.is_true(i, "Ready") for i in items))
    api.create(pods, hog("greedy", 240))
    items = harness.wait_for(api, pods, lambda items: is_evicted(named(items, "greedy")) and items)
    told = named(items, "greedy")["status"]
    assert re.fullmatch(r"The node was low on resource: memory\. Threshold quantity: 100Mi, available: \d+(Ki|Mi)\. "
                        r"Container main was using \d+(Ki|Mi), request is 0, has larger consumption of memory\. ",
                        told["message"]), told["message"]
    disruption = condition(named(items, "greedy"), "DisruptionTarget")
    assert (disruption["status"], disruption["reason"], disruption["message"]) == \
        ("True", "TerminationByKubelet", told["message"])
    assert {event["reason"] for event in api.ok("GET", "/api/v1/events")["items"]} >= \
        {"Evicted", "EvictionThresholdMet", "NodeHasInsufficientMemory"}
    # Enough is left for the others, and the node says so when it has been for a while.
    harness.wait_for(api, "/api/v1/nodes", lambda nodes: condition(nodes[0], "MemoryPressure")["status"] == "False"
                     and not nodes[0]["spec"].get("taints"))
    items = api.ok("GET", pods)["items"]
    assert [item["metadata"]["name"] for item in items if is_evicted(item)] == ["greedy"]


def test_a_node_under_pressure_takes_no_pod_that_asks_for_nothing(make_cluster):
    one, api, pods = small_node(make_cluster, 300)
    # The condition outlasts the shortage by five minutes.
    api.create(pods, hog("greedy", 250))
    harness.wait_for(api, "/api/v1/nodes", lambda nodes: condition(nodes[0], "MemoryPressure")["status"] == "True")
    harness.wait_for(api, "/api/v1/nodes", lambda nodes: any(
        t["key"] == "node.kubernetes.io/memory-pressure" and t["effect"] == "NoSchedule"
        for t in nodes[0]["spec"].get("taints", [])))
    name = api.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    # The scheduler sends nobody; who comes past it is turned away at the door.
    api.create(pods, harness.shell_pod("waits", "sleep 600"))
    api.create(pods, harness.shell_pod("direct", "sleep 600", nodeName=name))
    api.create(pods, harness.shell_pod("asks", "sleep 600", nodeName=name,
                                       container={"resources": {"requests": {"memory": "10Mi"}}}))
    items = harness.wait_for(api, pods, lambda items: is_evicted(named(items, "direct"))
                             and harness.is_true(named(items, "asks"), "Ready")
                             and condition(named(items, "waits"), "PodScheduled").get("reason") == "Unschedulable"
                             and items)
    assert named(items, "direct")["status"]["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
    assert "containerStatuses" not in named(items, "direct")["status"]


@pytest.mark.parametrize("mode", load.MODES)
def test_evictions_under_pressure_lose_no_request(make_cluster, mode):
    one, api, pods = small_node(make_cluster, 400, "--eviction-pressure-transition-period", "1s")
    body = load.server_deployment("web", mode, replicas=2)
    api.create("/apis/apps/v1/namespaces/default/deployments", body)
    spec = api.create("/api/v1/namespaces/default/services", harness.service("web", type="NodePort"))["spec"]
    # An endpoint of the same Service that will be the victim: a server beside a container that takes memory.
    template = body["spec"]["template"]
    victim = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "victim", "labels": {"app": "web"}},
              "spec": {**template["spec"], "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
                       "containers": [*template["spec"]["containers"],
                                      {"name": "eater", "image": harness.IMAGE_V1,
                                       "command": ["sh", "-c", "while [ ! -e /memory/go ]; do sleep 0.1; done; "
                                                   "dd if=/dev/zero of=/memory/x bs=1M count=320; sleep 600"],
                                       "volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}]}}
    pod = api.create(pods, victim)
    callers = load.callers(api, pods, {"client": {}})
    harness.wait_for(api, pods, lambda items: len(items) == 4 and all(harness.is_true(i, "Ready") for i in items))
    with load.loads(one, spec, callers, ways=("node port", "cluster address")) as loads:
        root = pathlib.Path(f"/proc/{one.process.pid}/root/var/lib/coracle/{one.name}/pods/{pod['metadata']['uid']}")
        (root / "volumes/memory/go").touch()
        harness.wait_for(api, pods, lambda items: is_evicted(named(items, "victim")))
        harness.wait_for(api, pods, lambda items: all(
            "running" not in status["state"] for status in named(items, "victim")["status"]["containerStatuses"]))
    load.assert_nothing_lost(loads, mode, ended=1)


def test_a_container_that_outgrows_its_ephemeral_storage_is_evicted(api, pods):
    fill = "dd if=/dev/zero of=/tmp/x bs=1M count=30; sleep 600"
    limited = {"resources": {"limits": {"ephemeral-storage": "10Mi"}}}
    api.create(pods, harness.shell_pod("layer", fill, container=limited))
    # Two containers share what they may have together; one of them alone has taken too much.
    two = harness.shell_pod("pair", fill, container=limited)
    two["spec"]["containers"].append({"name": "other", "image": harness.IMAGE_V1, "command": ["sleep", "600"],
                                      "resources": {"limits": {"ephemeral-storage": "100Mi"}}})
    api.create(pods, two)
    # The limits of sidecars and of init containers are the pod's, too.
    before = {"name": "before", "image": harness.IMAGE_V1, "command": ["sh", "-c", fill], **limited}
    api.create(pods, harness.shell_pod("beside", "sleep 600", initContainers=[{**before, "restartPolicy": "Always"}]))
    api.create(pods, harness.shell_pod("prepares", "sleep 600", initContainers=[before]))
    api.create(pods, harness.shell_pod("modest", "sleep 600", container=limited))
    items = harness.wait_for(api, pods, lambda items: all(
        is_evicted(named(items, name)) for name in ("layer", "pair", "beside", "prepares")) and items)
    for name in ("layer", "beside", "prepares"):
        assert named(items, name)["status"]["message"] == \
            "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "
    assert named(items, "pair")["status"]["message"] == \
        'Container main exceeded its local ephemeral storage limit "10Mi". '
    assert not is_evicted(named(items, "modest"))


@pytest.mark.parametrize("signal, resource, kind, taint", [
    ("nodefs.inodesFree", "inodes", "DiskPressure", "disk-pressure"),
    ("imagefs.available", "ephemeral-storage", "DiskPressure", "disk-pressure"),
    ("pid.available", "pids", "PIDPressure", "pid-pressure")])
def test_whatever_else_is_short_ends_pods_and_keeps_others_out(make_cluster, signal, resource, kind, taint):
    one = make_cluster()
    one.start()
    pods = "/api/v1/namespaces/default/pods"
    one.api.create(pods, harness.shell_pod("few", "sleep 600", container={"resources": {"requests": {"cpu": "1m"}}}))
    one.api.create(pods, harness.shell_pod("many", "for i in 1 2 3 4 5 6 7 8 9; do sleep 600 & done; wait",
                                           container={"resources": {"requests": {"cpu": "1m"}}}))
    harness.wait_for(one.api, pods, lambda items: len(items) == 2 and all(harness.is_true(i, "Ready") for i in items))
    one.kill()
    one.arguments = [*one.arguments, "--eviction-hard", f"{signal}<1P"]  # no machine has that
    one.start()
    items = harness.wait_for(one.api, pods, lambda items: all(is_evicted(i) for i in items) and items)
    for item in items:
        assert re.fullmatch(rf"The node was low on resource: {resource}\. Threshold quantity: 1P, available: \w+\. ",
                            item["status"]["message"])
        assert condition(item, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    events = one.api.ok("GET", "/api/v1/events")["items"]
    assert f"Attempting to reclaim {resource}" in [event["message"] for event in events]
    if resource == "pids":
        evicted = sorted((event for event in events if event["reason"] == "Evicted"),
                         key=lambda event: int(event["metadata"]["resourceVersion"]))
        assert [event["involvedObject"]["name"] for event in evicted] == ["many", "few"]
    (node,) = harness.wait_for(one.api, "/api/v1/nodes", lambda nodes: any(
        t["key"] == f"node.kubernetes.io/{taint}" for t in nodes[0]["spec"].get("taints", [])) and nodes)
    assert condition(node, kind)["status"] == "True"
    one.api.create(pods, harness.shell_pod("direct", "sleep 600", nodeName=node["metadata"]["name"],
                                           container={"resources": {"requests": {"cpu": "1m"}}}))
    items = harness.wait_for(one.api, pods, lambda items: is_evicted(named(items, "direct")) and items)
    assert named(items, "direct")["status"]["message"] == f"Pod was rejected: The node had condition: [{kind}]. "


def test_what_nobody_uses_goes_before_a_pod_does(make_cluster, tmp_path, workspace):
    pods = "/api/v1/namespaces/default/pods"
    with harness.small_disk(tmp_path, 256 << 20) as (prefix, disk), \
            registry.docker_registry(workspace / "evict-registry") as address:
        for name, padding in (("used", 1_000_000), ("unused", 40_000_000)):
            archive = harness.make_image("local/any:v1", workspace, format="oci", padding=padding)
            registry.push(f"http://{address}", f"team/{name}", "v1", registry.Image(archive))
        one = make_cluster(images=[], data_directory=tmp_path / "data", prefix=prefix)
        one.start()
        # Three of one image: one serves, one has ended and keeps its log, one leaves an image behind.
        one.api.create(pods, harness.shell_pod("serves", "exec sleep 1000", image=f"{address}/team/used:v1"))
        over = one.api.create(pods, harness.shell_pod("over", "echo done", image=f"{address}/team/used:v1",
                                                      restartPolicy="Never"))
        leaves = one.api.create(pods, harness.shell_pod("leaves", "true", image=f"{address}/team/unused:v1",
                                                        restartPolicy="Never"))
        harness.wait_for(one.api, pods, lambda items: sorted(item["status"].get("phase") for item in items) ==
                         ["Running", "Succeeded", "Succeeded"])
        one.api.ok("DELETE", pods + "/leaves")
        logs = disk / "data/log" / f"default_over_{over['metadata']['uid']}"
        assert harness.eventually(lambda: not (disk / "data/pods" / leaves["metadata"]["uid"]).exists()) and logs.exists()
        one.kill()
        room = os.statvfs(disk)
        # Without the image that nobody uses there is enough.
        one.arguments = ["--eviction-hard", f"nodefs.available<{room.f_bavail * room.f_frsize + 20_000_000}",
                         "--eviction-pressure-transition-period", "1s"]
        one.start()
        harness.wait_for(one.api, "/api/v1/events", lambda items: any(
            item["message"] == "Attempting to reclaim ephemeral-storage" for item in items))
        harness.wait_for(one.api, "/api/v1/nodes", lambda nodes: condition(nodes[0], "DiskPressure")["status"] == "False"
                         and any("used:v1" in name for image in nodes[0]["status"]["images"] for name in image["names"])
                         and not any("unused:v1" in name for image in nodes[0]["status"]["images"]
                                     for name in image["names"]))
        assert not logs.exists()
        items = one.api.ok("GET", pods)["items"]
        assert sorted((item["metadata"]["name"], item["status"]["phase"]) for item in items) == \
            [("over", "Succeeded"), ("serves", "Running")]
        assert named(items, "serves")["status"]["containerStatuses"][0]["restartCount"] == 0
        assert "Evicted" not in {event["reason"] for event in one.api.ok("GET", "/api/v1/events")["items"]}
        one.down()


def test_thresholds_that_make_no_sense_are_refused():
    for arguments, words in ((["--eviction-hard", "memory.available"], "invalid eviction threshold syntax"),
                             (["--eviction-hard", "cats<1"], "unsupported eviction signal cats"),
                             (["--eviction-hard", "memory.available<200%"], "must be <= 100%"),
                             (["--system-reserved", "memory"], "not RESOURCE=QUANTITY"),
                             (["--eviction-pressure-transition-period", "soon"], "invalid duration")):
        result = harness.run([harness.CORACLE, "up", "--sandbox", "--name", "never", *arguments], check=False)
        assert result.returncode == 2 and words in result.stderr, result.stderr
