"""What a node says to pods that come to it past the scheduler (spec.nodeName), as upstream's kubelet does."""
import json
import pathlib
import re

import harness
from test_lesson_rollouts import fill_node
from test_pod import wait_for_event
from test_transcript import ready_pods

PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
AFFINITY = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"


def node_name(api):
    return api.ok("GET", NODES)["items"][0]["metadata"]["name"]


def named(items, name):
    return next((item for item in items if item["metadata"]["name"] == name), None)


def failed(api, pods, name="it"):
    return harness.wait_for(api, pods, lambda items: (pod := named(items, name)) and pod["status"]["phase"] == "Failed"
                            and pod)["status"]


def ready(api, pods, name="it"):
    return harness.wait_for(api, pods, lambda items: (pod := named(items, name)) and harness.is_true(pod, "Ready") and pod)


def direct(api, name="it", container=None, **spec):
    return harness.shell_pod(name, "exec sleep 600", nodeName=node_name(api), container=container, **spec)


def test_a_pod_that_asks_for_more_than_the_node_has_is_rejected(api, namespace, pods, kubectl):
    api.create(pods, direct(api, container={"resources": {"requests": {"cpu": "100"}}}))
    status = failed(api, pods)
    assert status["reason"] == "OutOfcpu"
    told = re.fullmatch(r"Pod was rejected: (Node didn't have enough resource: cpu, requested: 100000, used: \d+, "
                        r"capacity: \d+)", status["message"])
    assert told and not status.get("containerStatuses")
    event = wait_for_event(api, namespace, "OutOfcpu", f"^{re.escape(told[1])}$")
    assert (event["type"], event["source"]["component"]) == ("Warning", "kubelet")
    assert "OutOfcpu" in kubectl("get", "pod", "it")


def test_a_pod_for_another_node_is_rejected(api, namespace, pods):
    api.create(pods, direct(api, nodeSelector={"x": "q"}))
    status = failed(api, pods)
    assert (status["reason"], status["message"]) == ("NodeAffinity", f"Pod was rejected: {AFFINITY}")
    wait_for_event(api, namespace, "NodeAffinity", f"^{re.escape(AFFINITY)}$")


def test_a_label_counts_from_the_moment_that_it_is_there(make_cluster, tmp_path):
    cluster = make_cluster(data_directory=tmp_path / "data")
    cluster.start()
    api, node = cluster.api, node_name(cluster.api)
    for i in range(10):
        api.patch(f"{NODES}/{node}", {"metadata": {"labels": {"x": f"v{i}"}}})
        api.create(PODS, direct(api, f"p{i}", nodeSelector={"x": f"v{i}"}))
    harness.wait_for(api, PODS, lambda items: all(harness.is_true(item, "Ready") for item in items) and len(items) == 10)
    # What is there stays when the label goes, and when the agent starts anew.
    api.patch(f"{NODES}/{node}", {"metadata": {"labels": {"x": None}}})
    cluster.kill()
    cluster.start()
    api = cluster.api
    api.create(PODS, direct(api, "late", nodeSelector={"x": "v1"}))
    assert failed(api, PODS, "late")["reason"] == "NodeAffinity"
    assert all(harness.is_true(item, "Ready") for item in api.ok("GET", PODS)["items"]
               if item["metadata"]["name"] != "late")


def test_a_port_of_the_node_is_not_given_twice(api, pods):
    port = {"ports": [{"containerPort": 8080, "hostPort": 31999}]}
    api.create(pods, direct(api, "first", container=port))
    ready(api, pods, "first")
    api.create(pods, direct(api, "second", container=port))
    assert failed(api, pods, "second")["reason"] == "NodePorts"


def test_room_is_given_again_when_its_pod_has_ended(make_cluster, tmp_path):
    cluster = make_cluster(data_directory=tmp_path / "data")
    cluster.start()
    api = cluster.api
    ask = fill_node(api, 0, 1)["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    half = {"resources": {"requests": {"cpu": ask}}}
    for name in "ab":
        api.create(PODS, direct(api, name, container=half))
        ready(api, PODS, name)
    api.create(PODS, direct(api, "c", container=half))
    assert failed(api, PODS, "c")["reason"] == "OutOfcpu"
    # The agent that comes next counts those that run before those that are new.
    cluster.kill()
    cluster.start()
    api = cluster.api
    harness.wait_for(api, PODS, lambda items: all(harness.is_true(named(items, name), "Ready") for name in "ab"))
    api.create(PODS, direct(api, "0", container=half))
    assert failed(api, PODS, "0")["reason"] == "OutOfcpu"
    api.ok("DELETE", f"{PODS}/a?gracePeriodSeconds=1")
    harness.wait_for(api, PODS, lambda items: not named(items, "a"))
    api.create(PODS, direct(api, "d", container=half))
    ready(api, PODS, "d")


def test_a_full_node_rejects_none_that_the_scheduler_sends(make_cluster):
    cluster = make_cluster()
    cluster.start()
    api, kubectl = cluster.api, cluster.kubectl("1.35", "default")
    deployment = fill_node(api, 0, 1)
    kubectl.apply(deployment)
    kubectl("rollout", "status", "deployment/recommender-packed")
    for round in range(4):
        image = harness.IMAGE_V1 if round % 2 else harness.IMAGE_V2
        kubectl("set", "image", "deployment/recommender-packed", f"model-server={image}")
        kubectl("rollout", "status", "deployment/recommender-packed")
        harness.wait_for(api, PODS, lambda items: ready_pods(items, 2, image))
    # A pod that is rejected is replaced, and stays behind as failed.
    assert not [item for item in api.ok("GET", PODS)["items"] if item["status"]["phase"] == "Failed"]
    assert not [event for event in api.ok("GET", "/api/v1/events")["items"] if event["reason"].startswith("OutOf")]


CRITICAL = "Preempted in order to admit critical pod"


def asking(api, part):
    """A container that asks for a part of the node's CPUs."""
    cpus = float(api.ok("GET", NODES)["items"][0]["status"]["allocatable"]["cpu"])
    return {"resources": {"requests": {"cpu": f"{int(cpus * 1000 * part)}m"}}}


def test_others_end_for_a_critical_pod(make_cluster, tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    cluster = make_cluster(arguments=["--pod-manifest-path", str(folder)])
    cluster.start()
    api = cluster.api
    told = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
    api.create(PODS, harness.shell_pod("small", told, container=asking(api, 0.1)))
    api.create(PODS, harness.shell_pod("large", told, container=asking(api, 0.7)))
    for name in ("small", "large"):
        ready(api, PODS, name)
    api.create(PODS, direct(api, "critical", container=asking(api, 0.6), priorityClassName="system-node-critical"))
    status = failed(api, PODS, "large")
    assert (status["reason"], status["message"]) == ("Preempting", CRITICAL)
    # It has had the time that it needed to end.
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    [target] = [c for c in status["conditions"] if c["type"] == "DisruptionTarget"]
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert target["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."
    event = wait_for_event(api, "default", "Preempting", f"^{CRITICAL}$", "large")
    assert (event["type"], event["involvedObject"]["name"]) == ("Warning", "large")
    critical = ready(api, PODS, "critical")
    assert critical["status"]["startTime"] and harness.is_true(ready(api, PODS, "small"), "Ready")
    assert critical["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] >= \
        status["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    # A static pod is critical, too; another critical one does not end for it, even if that would be enough.
    (folder / "static.json").write_text(json.dumps(harness.shell_pod("static", "exec sleep 600",
                                                                     container=asking(api, 0.4))))
    assert failed(api, PODS, "small")["reason"] == "Preempting"
    ready(api, PODS, f"static-{cluster.name}")
    api.create(PODS, direct(api, "vain", container=asking(api, 0.5), priorityClassName="system-cluster-critical"))
    status = failed(api, PODS, "vain")
    assert status["reason"] == "UnexpectedAdmissionError"
    assert re.fullmatch(r"Pod was rejected: Unexpected error while attempting to recover from admission failure: "
                        r"preemption: error finding a set of pods to preempt: no set of running pods found to reclaim "
                        r"resources: \[\(res: cpu, q: \d+\), \]", status["message"])
    assert harness.is_true(ready(api, PODS, "critical"), "Ready")


def resources_of(api):
    status = api.ok("GET", NODES)["items"][0]["status"]
    return status["capacity"], status["allocatable"]


def test_resources_that_others_declare_are_kept_and_counted(make_cluster, tmp_path):
    cluster = make_cluster(data_directory=tmp_path / "data")
    cluster.start()
    api, kubectl, dongle = cluster.api, cluster.kubectl("1.35", "default"), "example.com/dongle"
    ask = {count: {"resources": {"requests": {dongle: count}, "limits": {dongle: count}}} for count in ("1", "2", "3")}

    def patch(operation):
        kubectl("patch", "node", node_name(api), "--subresource=status", "--type=json", "-p",
                json.dumps([{"path": "/status/capacity/example.com~1dongle", **operation}]))

    patch({"op": "add", "value": "4"})
    harness.wait_for(api, NODES, lambda items: items[0]["status"]["allocatable"].get(dongle) == "4")
    api.create(PODS, harness.shell_pod("three", "exec sleep 600", container=ask["3"]))
    ready(api, PODS, "three")
    api.create(PODS, harness.shell_pod("waits", "exec sleep 600", container=ask["2"]))
    wait_for_event(api, "default", "FailedScheduling", f"1 Insufficient {dongle}", "waits")
    api.create(PODS, direct(api, "direct", container=ask["2"]))
    assert failed(api, PODS, "direct")["message"] == \
        f"Pod was rejected: Node didn't have enough resource: {dongle}, requested: 2, used: 3, capacity: 4"
    # They outlive the agent, whose node it still is.
    cluster.kill()
    cluster.start()
    api = cluster.api
    ready(api, PODS, "three")
    assert [amounts[dongle] for amounts in resources_of(api)] == ["4", "4"]
    patch({"op": "replace", "value": "5"})
    ready(api, PODS, "waits")
    patch({"op": "remove"})
    harness.wait_for(api, NODES, lambda items: dongle not in items[0]["status"]["allocatable"])


def test_a_node_tells_of_its_huge_pages(api):
    sizes = {int(path.name.removeprefix("hugepages-").removesuffix("kB")): int((path / "nr_hugepages").read_text())
             for path in pathlib.Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")}
    units = [(1 << 20, "Gi"), (1 << 10, "Mi"), (1, "Ki")]
    capacity, allocatable = resources_of(api)
    names = {next(f"hugepages-{size // unit}{suffix}" for unit, suffix in units if size % unit == 0): size * count
             for size, count in sizes.items()}
    for amounts in (capacity, allocatable):
        assert {name for name in amounts if name.startswith("hugepages-")} == set(names)
        for name, size in names.items():
            assert (amounts[name] == "0") == (size == 0), amounts
