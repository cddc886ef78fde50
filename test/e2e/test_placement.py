"""Where pods go: the lesson's manifests about anti-affinity and spreading on one node, and who makes room for whom."""
import json
import re

import harness
from test_transcript import ready_pods, table

APART = ("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, "
         "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.")
PODS = "/api/v1/namespaces/default/pods"


def why(pod):
    """What the condition PodScheduled of a pod that waits says."""
    condition = next((c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"), {})
    return condition.get("message") if condition.get("status") == "False" else None


def waiting(count, message):
    return lambda items: [item for item in items if why(item) == message][:count] if \
        sum(why(item) == message for item in items) >= count else None


def described(kubectl, pod):
    """The message of the event FailedScheduling, as `kubectl describe` shows it."""
    text = kubectl("describe", "pod", pod)
    return [" ".join(line.split()[3:]) for line in text.splitlines() if "FailedScheduling" in line]


def test_copies_that_shun_each_other_say_why_they_wait(api, pods, kubectl):
    kubectl("apply", "-f", harness.LESSON / "60-anti-affinity.yaml")
    pod = harness.wait_for(api, pods, waiting(1, APART))[0]["metadata"]["name"]
    placed = harness.wait_for(api, pods, lambda items: [item["metadata"]["name"] for item in items
                                                       if harness.is_true(item, "Ready")])
    assert harness.eventually(lambda: [line for line in described(kubectl, pod) if APART in line])
    rows = {row["NAME"]: row["STATUS"] for row in table(kubectl("get", "pods"))}
    assert rows == {pod: "Pending", placed[0]: "Running"}
    # The other one goes: its place is taken.
    kubectl("delete", "pod", placed[0], "--wait=false")
    harness.wait_for(api, pods, lambda items: [item for item in items if item["metadata"]["name"] == pod
                                               and harness.is_true(item, "Ready")])


def test_copies_are_spread_over_zones_once_there_are_zones(make_cluster):
    cluster = make_cluster()
    cluster.start()
    kubectl, api = cluster.kubectl("1.35", "default"), cluster.api
    kubectl("apply", "-f", harness.LESSON / "65-topology-spread.yaml")
    message = ("0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required "
               "label). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful "
               "for scheduling.")
    harness.wait_for(api, PODS, waiting(3, message))
    node = kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    kubectl("label", "node", node, "topology.kubernetes.io/zone=a")
    harness.wait_for(api, PODS, lambda items: ready_pods(items, 3))


def test_the_important_pod_takes_the_place_of_another(make_cluster):
    cluster = make_cluster()
    cluster.start()
    kubectl, api = cluster.kubectl("1.20", "default"), cluster.api
    kubectl("create", "priorityclass", "important", "--value=1000", "--description=goes first")
    row = next(row for row in table(kubectl("get", "pc")) if row["NAME"] == "important")
    assert (row["VALUE"], row["GLOBAL-DEFAULT"]) == ("1000", "false")
    cpus = float(kubectl.json("get", "nodes")["items"][0]["status"]["allocatable"]["cpu"])
    request = {"requests": {"cpu": f"{int(cpus * 700)}m"}}
    api.create(PODS, harness.shell_pod("usual", "exec sleep 1000", container={"resources": request}))
    harness.wait_for(api, PODS, lambda items: ready_pods(items, 1))
    api.create(PODS, harness.shell_pod("urgent", "exec sleep 1000", container={"resources": request},
                                       priorityClassName="important"))
    harness.wait_for(api, PODS, lambda items: [item["metadata"]["name"] for item in items] == ["urgent"]
                     and ready_pods(items, 1))
    events = kubectl.json("get", "events", "--field-selector=reason=Preempted")["items"]
    assert re.fullmatch(r"Preempted by pod [0-9a-f-]{36} on node \S+", events[0]["message"]), json.dumps(events)
    assert events[0]["involvedObject"]["name"] == "usual"


def test_a_node_on_fire_is_left(make_cluster):
    cluster = make_cluster()
    cluster.start()
    kubectl, api = cluster.kubectl("1.35", "default"), cluster.api
    api.create(PODS, harness.shell_pod("goes", "exec sleep 1000"))
    api.create(PODS, harness.shell_pod("stays", "exec sleep 1000", tolerations=[{"operator": "Exists"}]))
    harness.wait_for(api, PODS, lambda items: ready_pods(items, 2))
    node = kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    kubectl("taint", "node", node, "fire=yes:NoExecute")
    harness.wait_for(api, PODS, lambda items: [item["metadata"]["name"] for item in items] == ["stays"])
    harness.eventually(lambda: "Marking for deletion Pod default/goes" in kubectl("get", "events"))
