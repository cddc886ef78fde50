"""Resources that change under a running pod: kubectl patch --subresource resize."""
import json

import pytest

import harness

RESOURCES = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}


def resources(requests, limits):
    return {"spec": {"containers": [{"name": "main", "resources": {"requests": requests, "limits": limits}}]}}


def condition(pod, kind):
    return next((c for c in pod["status"].get("conditions", []) if c["type"] == kind), None)


def status_of(pod):
    (status,) = pod["status"].get("containerStatuses", [{}])
    return status


def started(api, pods, policy=(), **container):
    body = harness.shell_pod("one", "sleep 600", container={
        "resources": RESOURCES, "resizePolicy": [{"resourceName": r, "restartPolicy": p} for r, p in policy],
        **container})
    pod = api.create(pods, body)
    harness.wait_for(api, pods, lambda items: items and status_of(items[0]).get("ready"))
    return pod


def until(api, pods, condition_):
    return harness.wait_for(api, pods, lambda items: condition_(items[0]) and items[0])


def resized(limits):
    def look(pod):
        status = status_of(pod)
        return (status.get("ready") and status["resources"]["limits"] == limits
                and not condition(pod, "PodResizeInProgress"))
    return look


def group_limits(cluster, pod):
    """Of the container: bytes of memory, and microseconds of CPU in 100 ms."""
    uid, ident = pod["metadata"]["uid"], status_of(pod)["containerID"].split("//")[1]
    found = {}
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"):
        for file in ("memory.limit_in_bytes", "cpu.cfs_quota_us", "memory.max", "cpu.max"):
            try:
                with open(f"{root}/coracle/{cluster.name}/pod{uid}/{ident}/{file}") as text:
                    found[file.split(".")[0]] = int(text.read().split()[0])
            except OSError:
                pass
    return found["memory"], found["cpu"]


def test_a_resize_changes_the_limits_of_a_container_that_goes_on(cluster, api, pods, kubectl):
    if not kubectl.is_modern:
        pytest.skip("kubectl 1.20 has no --subresource")
    started(api, pods)
    wanted = {"cpu": "400m", "memory": "128Mi"}
    patch = resources({"cpu": "200m", "memory": "48Mi"}, wanted)
    assert kubectl("patch", "pod", "one", "--subresource", "resize", "-p", json.dumps(patch)) == "pod/one patched\n"
    pod = until(api, pods, resized(wanted))
    status = status_of(pod)
    assert status["restartCount"] == 0
    assert status["resources"]["requests"] == status["allocatedResources"] == {"cpu": "200m", "memory": "48Mi"}
    assert group_limits(cluster, pod) == (128 << 20, 40000)
    assert pod["metadata"]["generation"] == pod["status"]["observedGeneration"] == 2
    events = kubectl("get", "events", "--field-selector", "involvedObject.name=one", "-o",
                     "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}")
    told = ('{"containers":[{"name":"main","resources":{"limits":{"cpu":"400m","memory":"128Mi"},'
            '"requests":{"cpu":"200m","memory":"48Mi"}}}],"generation":2}')
    assert f"ResizeStarted: Pod resize started: {told}" in events
    assert f"ResizeCompleted: Pod resize completed: {told}" in events
    # And back to less.
    api.patch(pods + "/one/resize", resources(RESOURCES["requests"], RESOURCES["limits"]))
    pod = until(api, pods, resized(RESOURCES["limits"]))
    assert group_limits(cluster, pod) == (64 << 20, 20000) and status_of(pod)["restartCount"] == 0


def test_a_container_that_asks_for_it_is_started_again_with_its_new_memory(cluster, api, pods):
    started(api, pods, policy=[("memory", "RestartContainer"), ("cpu", "NotRequired")])
    api.patch(pods + "/one/resize", resources({}, {"cpu": "300m"}))
    pod = until(api, pods, resized({"cpu": "300m", "memory": "64Mi"}))
    assert status_of(pod)["restartCount"] == 0
    api.patch(pods + "/one/resize", resources({}, {"memory": "96Mi"}))
    pod = until(api, pods, lambda pod: status_of(pod).get("restartCount") == 1
                and resized({"cpu": "300m", "memory": "96Mi"})(pod))
    assert group_limits(cluster, pod) == (96 << 20, 30000)
    events = api.ok("GET", pods.replace("pods", "events"))["items"]
    assert any(e["message"] == "Container main resize requires restart" for e in events)


def test_what_no_node_of_this_size_can_give_is_infeasible(api, pods):
    started(api, pods)
    api.patch(pods + "/one/resize", resources({"memory": "9000Gi"}, {"memory": "9000Gi"}))
    pod = until(api, pods, lambda pod: condition(pod, "PodResizePending"))
    pending = condition(pod, "PodResizePending")
    assert (pending["status"], pending["reason"], pending["observedGeneration"]) == ("True", "Infeasible", 2)
    assert pending["message"].startswith(f"Node didn't have enough capacity: memory, requested: {9000 << 30}, capacity: ")
    assert status_of(pod)["resources"] == RESOURCES
    # It was not meant: the condition goes.
    api.patch(pods + "/one/resize", resources(RESOURCES["requests"], RESOURCES["limits"]))
    until(api, pods, lambda pod: not condition(pod, "PodResizePending"))


def test_a_resize_waits_for_the_room_that_another_pod_takes(make_cluster):
    one = make_cluster()
    one.start()
    api, pods = one.api, "/api/v1/namespaces/default/pods"
    (node,) = api.ok("GET", "/api/v1/nodes")["items"]
    cpus = int(node["status"]["allocatable"]["cpu"])
    before = {"requests": RESOURCES["requests"], "limits": {"memory": "64Mi"}}
    started(api, pods, resources=before)
    api.create(pods, harness.shell_pod("big", "sleep 600", container={
        "resources": {"requests": {"cpu": f"{cpus * 1000 - 300}m"}}}))
    harness.wait_for(api, pods, lambda items: sum(harness.is_true(item, "Ready") for item in items) == 2)
    api.patch(pods + "/one/resize", resources({"cpu": "600m"}, {"cpu": "900m"}))

    def of_one(items):
        return next(item for item in items if item["metadata"]["name"] == "one")

    pending = harness.wait_for(api, pods, lambda items: condition(of_one(items), "PodResizePending"))
    assert pending["reason"] == "Deferred"
    assert pending["message"] == (f"Node didn't have enough resource: cpu, requested: 600, used: {cpus * 1000 - 300}, "
                                  f"capacity: {cpus * 1000}")
    # An agent that starts again has not made the change by that.
    assert status_of(of_one(api.ok("GET", pods)["items"]))["resources"] == before
    one.kill()
    one.start()
    api = one.api
    harness.wait_for(api, pods, lambda items: status_of(of_one(items)).get("ready")
                     and condition(of_one(items), "PodResizePending"))
    assert status_of(of_one(api.ok("GET", pods)["items"]))["resources"] == before
    # The scheduler counts what is asked for already: nothing new gets in before it.
    api.create(pods, harness.shell_pod("small", "sleep 600", container={"resources": {"requests": {"cpu": "100m"}}}))
    harness.wait_for(api, pods, lambda items: any(
        c["reason"] == "Unschedulable" for item in items if item["metadata"]["name"] == "small"
        for c in item["status"].get("conditions", []) if c["type"] == "PodScheduled"))
    api.request("DELETE", pods + "/big?gracePeriodSeconds=0")
    harness.wait_for(api, pods, lambda items: resized({"cpu": "900m", "memory": "64Mi"})(of_one(items)))


def test_memory_that_is_in_use_is_not_taken_away(api, pods):
    # 24 MiB of a variable: shells keep them.
    started(api, pods, command=["sh", "-c", "x=$(head -c 25165824 /dev/zero | tr '\\0' x); echo ready; sleep 600"],
            readinessProbe={"exec": {"command": ["sh", "-c", "test $(cat /proc/1/statm | cut -d' ' -f2) -gt 5000"]},
                            "periodSeconds": 1})
    api.patch(pods + "/one/resize", resources({"memory": "8Mi"}, {"memory": "8Mi"}))
    pod = until(api, pods, lambda pod: (condition(pod, "PodResizeInProgress") or {}).get("reason") == "Error")
    words = condition(pod, "PodResizeInProgress")["message"]
    assert words.startswith("cannot decrease memory limits: attempting to set container main memory limit (8388608) "
                            "below current usage ("), words
    assert status_of(pod)["resources"]["limits"]["memory"] == "64Mi" and status_of(pod)["ready"]


def test_resizes_that_upstream_refuses_are_refused_in_its_words(api, pods):
    started(api, pods)
    refused = [
        (resources({}, {"memory": None}), "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"),
        (resources({"cpu": "200m", "memory": "64Mi"}, {}),
         'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'),
        (resources({"cpu": "900m"}, {}), 'spec.containers[0].resources.requests: Invalid value: "900m": '
                                         'must be less than or equal to cpu limit of 200m'),
        (resources({}, {"ephemeral-storage": "1Gi"}), "spec: Forbidden: only cpu and memory resources are mutable"),
        ({"spec": {"containers": [{"name": "two", "image": "x"}]}},
         "spec.containers: Forbidden: containers may not be added or removed on resize"),
    ]
    for patch, words in refused:
        answer = api.request("PATCH", pods + "/one/resize", patch,
                             headers={"Content-Type": "application/strategic-merge-patch+json"})
        assert answer.status == 422 and words in answer.json["message"], (patch, answer)
    # An ordinary update still may not change them.
    answer = api.request("PATCH", pods + "/one", resources({}, {"cpu": "300m"}),
                         headers={"Content-Type": "application/strategic-merge-patch+json"})
    assert answer.status == 422 and "pod updates may not change fields other than" in answer.json["message"]


def test_new_limits_outlive_the_agent(make_cluster):
    one = make_cluster()
    one.start()
    pods = "/api/v1/namespaces/default/pods"
    started(one.api, pods)
    wanted = {"cpu": "400m", "memory": "128Mi"}
    one.api.patch(pods + "/one/resize", resources({}, wanted))
    before = until(one.api, pods, resized(wanted))
    one.kill()
    one.start()
    pod = until(one.api, pods, resized(wanted))
    assert status_of(pod)["containerID"] == status_of(before)["containerID"]
    assert status_of(pod)["restartCount"] == 0 and group_limits(one, pod) == (128 << 20, 40000)
    one.api.patch(pods + "/one/resize", resources({}, {"cpu": "500m"}))
    assert group_limits(one, until(one.api, pods, resized({"cpu": "500m", "memory": "128Mi"})))[1] == 50000
