"""Pods that are up to no good: each gets a clear status, costs bounded memory, and goes when it is told to."""
import pathlib

import pytest

import harness
from test_pod import log, wait_for_event

# What the cluster's process may grow by while a pod does its worst.
GROWTH_MAX = 48 << 20
HEADERS = r"printf 'HTTP/1.1 200 OK\r\n\r\n'"


def memory(cluster):
    status = pathlib.Path(f"/proc/{cluster.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.fixture
def bounded(cluster):
    before = memory(cluster)
    yield
    grown = memory(cluster) - before
    assert grown < GROWTH_MAX, f"{grown >> 20} MiB more"


def ready(items):
    return items and harness.is_true(items[0], "Ready") and items[0]


def gone(api, pods):
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)


def probed(script, probe, kind="readinessProbe", **spec):
    return harness.shell_pod("it", script, container={kind: {"periodSeconds": 1, **probe}}, **spec)


def test_a_probe_that_answers_megabytes_is_read_no_further_than_it_counts(api, pods, bounded):
    api.create(pods, probed(f"while :; do {{ {HEADERS}; dd if=/dev/zero bs=1M count=256 2>/dev/null; }} | "
                            "nc -l -p 8081 > /dev/null; done", {"httpGet": {"path": "/", "port": 8081}}))
    harness.wait_for(api, pods, ready)
    gone(api, pods)


def test_a_probe_whose_headers_never_end_fails(api, namespace, pods, bounded):
    api.create(pods, probed(r"while :; do { printf 'HTTP/1.1 200 OK\r\nX: '; dd if=/dev/zero bs=1M count=256 2>/dev/null; }"
                            " | tr '\\0' 'x' | nc -l -p 8081 > /dev/null; done", {"httpGet": {"path": "/", "port": 8081}}))
    wait_for_event(api, namespace, "Unhealthy", "(?s)^Readiness probe failed")
    gone(api, pods)


def test_a_probe_that_is_never_answered_times_out(api, namespace, pods, bounded):
    api.create(pods, probed("while :; do sleep 1000 | nc -l -p 8081; done", {"httpGet": {"path": "/", "port": 8081}}))
    wait_for_event(api, namespace, "Unhealthy", "context deadline exceeded")
    assert not ready(api.ok("GET", pods)["items"])
    gone(api, pods)


@pytest.mark.parametrize("kind", ["readinessProbe", "livenessProbe", "startupProbe"])
def test_a_command_that_prints_for_ever_is_cut_and_killed(api, namespace, pods, bounded, kind):
    api.create(pods, probed("exec sleep 1000", {"exec": {"command": ["sh", "-c", "yes no end of it; true"]}}, kind))
    event = wait_for_event(api, namespace, "Unhealthy", "timed out")
    assert len(event["message"]) < 2048
    gone(api, pods)


def test_a_hook_that_prints_for_ever_holds_nothing_up_for_good(api, pods, bounded):
    handler = {"exec": {"command": ["yes", "no end of it"]}}
    api.create(pods, harness.shell_pod("it", "trap 'exit 0' TERM; while :; do usleep 20000; done", container={
        "lifecycle": {"preStop": handler}}, terminationGracePeriodSeconds=2))
    harness.wait_for(api, pods, ready)
    gone(api, pods)


def test_a_post_start_hook_that_never_returns_is_a_container_that_never_runs(api, pods, bounded):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", container={
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "yes no end of it"]}}}},
        terminationGracePeriodSeconds=1))
    pod = harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("containerStatuses") and items[0])
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    assert not ready([pod])
    gone(api, pods)


def test_variables_that_name_each_other_in_a_circle_stay_as_they_are(api, pods):
    variables = [{"name": name, "value": value} for name, value in (
        ("A", "$(B)"), ("B", "$(A)"), ("C", "$(C)$(C)$(C)"), ("D", "$(C)$(C)"), ("E", "$$(A)"), ("F", "$(A"))]
    api.create(pods, harness.shell_pod("it", "env | grep '^[A-F]=' | sort; echo \"$0\"", restartPolicy="Never",
                                       container={"env": variables, "args": ["$(A)$(NONE)"]}))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"]["phase"] == "Succeeded")
    assert log(api, pods).splitlines() == ["A=$(B)", "B=$(B)", "C=$(C)$(C)$(C)", "D=$(C)$(C)$(C)$(C)$(C)$(C)", "E=$(A)",
                                           "F=$(A", "$(B)$(NONE)"]


def test_variables_that_double_do_not_grow_without_bounds(api, pods, bounded):
    variables = [{"name": "V0", "value": "x" * 1024}]
    variables += [{"name": f"V{i}", "value": f"$(V{i - 1})" * 4} for i in range(1, 16)]
    api.create(pods, harness.shell_pod("it", "true", container={"env": variables}, restartPolicy="Never"))
    pod = harness.wait_for(api, pods, lambda items: items and (
        items[0]["status"]["phase"] == "Failed" or (items[0]["status"].get("containerStatuses") or [{}])[0].get(
            "state", {}).get("waiting", {}).get("reason", "ContainerCreating") != "ContainerCreating") and items[0])
    state = pod["status"]["containerStatuses"][0]["state"]
    assert state.get("waiting", state.get("terminated")).get("message"), state
    gone(api, pods)


def test_a_claim_that_never_binds_leaves_the_pod_pending_and_deletable(api, namespace, pods):
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    api.create(claims, {"metadata": {"name": "never"}, "spec": {
        "storageClassName": "no-such-class", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}})
    api.create(pods, harness.shell_pod("it", "true", volumes=[
        {"name": "data", "persistentVolumeClaim": {"claimName": "never"}}]))
    pod = harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("conditions") and items[0])
    [condition] = pod["status"]["conditions"]
    assert "pod has unbound immediate PersistentVolumeClaims" in condition["message"]
    assert pod["status"]["phase"] == "Pending"
    gone(api, pods)


def test_an_unknown_stop_signal_of_an_image_is_sigterm(cluster, api, pods, tmp_path):
    archive = harness.make_image("local/strange-signal:v1", tmp_path, stop_signal="SIGNONSENSE")
    harness.run([harness.CORACLE, "image", "--name", cluster.name, "import", archive])
    api.create(pods, harness.shell_pod("it", "trap 'exit 9' TERM; while :; do usleep 20000; done",
                                       image="local/strange-signal:v1", terminationGracePeriodSeconds=30))
    harness.wait_for(api, pods, ready)
    codes = set()
    with api.watch(pods) as changes:
        api.ok("DELETE", f"{pods}/it")
        for event in changes:
            [status] = event["object"]["status"]["containerStatuses"]
            codes.add(status["state"].get("terminated", {}).get("exitCode"))
            if event["type"] == "DELETED":
                break
    assert codes == {None, 9}
