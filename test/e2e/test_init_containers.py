"""Init containers: in order, each to completion, tried again by restartPolicy, and what kubectl says of it."""
import json

import pytest

import harness
from test_pod import events, log, phase


def init(name, script, **fields):
    return {"name": name, "image": harness.IMAGE_V1, "command": ["sh", "-c", script], **fields}


def status_of(pod, name):
    statuses = pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", [])
    return next((status for status in statuses if status["name"] == name), None)


def condition(pod, kind):
    return next((entry for entry in pod["status"].get("conditions", []) if entry["type"] == kind), {})


def printed(kubectl, name="it"):
    """READY and STATUS as kubectl prints them."""
    return kubectl("get", "pod", name, "--no-headers").split()[1:3]


SHARED = {"volumes": [{"name": "shared", "emptyDir": {}}]}
MOUNT = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


def test_init_containers_run_in_order_each_to_completion(api, pods):
    api.create(pods, harness.shell_pod(
        "it", "cat /shared/log", restartPolicy="Never", container=MOUNT, **SHARED, initContainers=[
            init("first", "test ! -e /shared/log && echo first > /shared/log", **MOUNT),
            init("second", "echo second >> /shared/log", **MOUNT)]))
    pod = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert pod["status"]["phase"] == "Succeeded", pod["status"]
    assert log(api, pods) == "first\nsecond\n"
    first, second = pod["status"]["initContainerStatuses"]
    assert (first["name"], second["name"]) == ("first", "second")
    for status in (first, second):
        assert (status["ready"], status["started"], status["restartCount"]) == (True, False, 0)
        assert status["state"]["terminated"]["reason"] == "Completed"
    assert first["state"]["terminated"]["finishedAt"] <= second["state"]["terminated"]["startedAt"]


def test_kubectl_shows_how_far_initialization_is(api, pods, kubectl):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", initContainers=[
        init("first", "sleep 1"), init("second", "sleep 1")]))
    seen = []

    def remember(items):
        for item in items:
            line = printed_status(api, pods, item)
            if line not in seen:
                seen.append(line)
        return items and harness.is_true(items[0], "Ready")
    harness.wait_for(api, pods, remember)
    assert printed(kubectl) == ["1/1", "Running"]
    # Pending comes before the node has seen it; PodInitializing between the last init container and the first start.
    assert [line for line in seen if line.startswith("Init:")] == ["Init:0/2", "Init:1/2"], seen


def printed_status(api, pods, item):
    """The STATUS column of one revision, as the server prints it for a watch."""
    table = api.request("GET", f"{pods}/{item['metadata']['name']}", headers={
        "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}).json
    return table["rows"][0]["cells"][2]


def test_conditions_name_the_init_containers_that_are_missing(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", initContainers=[
        init("first", "true"), init("second", "sleep 1000"), init("third", "true")]))
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if "running" in (
        status_of(item, "second") or {}).get("state", {})), None))
    assert pod["status"]["phase"] == "Pending"
    initialized = condition(pod, "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    assert initialized["message"] == "containers with incomplete status: [second third]"
    assert condition(pod, "Ready")["message"] == "containers with unready status: [main]"
    assert status_of(pod, "main")["state"]["waiting"]["reason"] == "PodInitializing"
    assert status_of(pod, "third")["state"]["waiting"]["reason"] == "PodInitializing"
    refused = api.get(f"{pods}/it/log")
    assert 'container "main" in pod "it" is waiting to start: PodInitializing' in refused.json["message"]


def test_a_failing_init_container_is_tried_again_with_backoff(api, namespace, pods, kubectl):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", initContainers=[
        init("first", "echo no; exit 3"), init("second", "true")]))
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if (
        (status_of(item, "first") or {}).get("state", {}).get("waiting", {})).get("reason") == "CrashLoopBackOff"), None))
    first = status_of(pod, "first")
    assert pod["status"]["phase"] == "Pending"
    assert first["restartCount"] >= 1 and first["lastState"]["terminated"]["exitCode"] == 3
    assert first["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=first pod=it_")
    assert "terminated" not in status_of(pod, "second")["state"]
    assert printed(kubectl) == ["0/1", "Init:CrashLoopBackOff"]
    assert any(reason == "BackOff" and message.startswith("Back-off restarting failed container first in pod it_")
               for _, reason, message in events(api, namespace))


def test_with_restart_policy_never_a_failed_init_container_is_the_end(api, pods, kubectl):
    api.create(pods, harness.shell_pod("it", "true", restartPolicy="Never", initContainers=[init("first", "exit 3")]))
    pod = harness.wait_for(api, pods, phase("Failed"))[0]
    assert status_of(pod, "first")["state"]["terminated"]["exitCode"] == 3
    assert status_of(pod, "first")["restartCount"] == 0
    assert status_of(pod, "main")["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(pod, "Initialized")["reason"] == "ContainersNotInitialized"
    assert condition(pod, "Ready")["reason"] == "PodFailed"
    assert printed(kubectl) == ["0/1", "Init:Error"]


def test_an_init_container_may_have_a_policy_of_its_own(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", restartPolicy="Always", initContainers=[
        init("first", "exit 3", restartPolicy="Never")]))
    pod = harness.wait_for(api, pods, phase("Failed"))[0]
    assert status_of(pod, "first")["restartCount"] == 0


def test_a_missing_image_of_an_init_container_is_named(api, pods, kubectl):
    api.create(pods, harness.shell_pod("it", "true", initContainers=[
        {"name": "first", "image": "local/nowhere:v1", "imagePullPolicy": "Never"}]))
    harness.wait_for(api, pods, lambda items: next((item for item in items if (
        (status_of(item, "first") or {}).get("state", {}).get("waiting", {})).get("reason") == "ErrImageNeverPull"), None))
    assert printed(kubectl) == ["0/1", "Init:ErrImageNeverPull"]


def test_a_pod_is_deleted_in_the_middle_of_its_initialization(api, pods):
    api.create(pods, harness.shell_pod("it", "true", terminationGracePeriodSeconds=1, initContainers=[
        init("first", "trap 'exit 0' TERM; while :; do usleep 20000; done"), init("second", "true")]))
    harness.wait_for(api, pods, lambda items: next((item for item in items if "running" in (
        status_of(item, "first") or {}).get("state", {})), None))
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None, what="the pod to go")


def test_an_agent_that_starts_again_does_not_initialize_again(make_cluster):
    cluster = make_cluster()
    cluster.start()
    api, pods = cluster.api, "/api/v1/namespaces/default/pods"
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", container=MOUNT, **SHARED, initContainers=[
        init("first", "echo again >> /shared/log", **MOUNT)]))
    before = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    cluster.kill()
    cluster.start()
    after = harness.wait_for(cluster.api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    assert json.dumps(status_of(after, "main")) == json.dumps(status_of(before, "main"))
    assert json.dumps(status_of(after, "first")) == json.dumps(status_of(before, "first"))
