"""Native sidecars: init containers with restartPolicy Always. Started in order, kept while containers run, stopped
last in reverse order."""
import harness
from test_init_containers import condition, init, printed, printed_status, status_of
from test_pod import events, phase

# Writes its name to the diary when it starts and when it is told to stop.
DIARIST = ("echo {0} starts >> /shared/diary; trap 'echo {0} stops >> /shared/diary; exit 0' TERM; "
           "while :; do usleep 20000; done")
MOUNT = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


def sidecar(name, script=None, **fields):
    return init(name, script or DIARIST.format(name), restartPolicy="Always", **MOUNT, **fields)


def pod_with(directory, script, sidecars, **spec):
    """A pod whose containers share a directory with the test."""
    directory.chmod(0o777)
    return harness.shell_pod("it", script, container=MOUNT, initContainers=sidecars, volumes=[
        {"name": "shared", "hostPath": {"path": str(directory)}}], **spec)


def diary(directory):
    path = directory / "diary"
    return path.read_text().splitlines() if path.exists() else []


def ready(items):
    return items and harness.is_true(items[0], "Ready") and items[0]


def test_sidecars_start_in_order_and_stop_in_reverse_order_after_the_containers(api, pods, tmp_path):
    api.create(pods, pod_with(tmp_path, DIARIST.format("main"), [sidecar("first"), sidecar("second")]))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: len(diary(tmp_path)) == 3)
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)
    started, stopped = diary(tmp_path)[:3], diary(tmp_path)[3:]
    assert sorted(started) == ["first starts", "main starts", "second starts"]
    assert stopped == ["main stops", "second stops", "first stops"]


def test_a_container_waits_until_the_sidecars_startup_probe_has_passed(api, pods, kubectl, tmp_path):
    probe = {"exec": {"command": ["test", "-e", "/shared/up"]}, "periodSeconds": 1, "failureThreshold": 1000}
    api.create(pods, pod_with(tmp_path, "exec sleep 1000", [sidecar("first", startupProbe=probe), init("last", "true")]))
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if "running" in (
        status_of(item, "first") or {}).get("state", {})), None))
    assert (status_of(pod, "first")["started"], status_of(pod, "first")["ready"]) == (False, False)
    assert condition(pod, "Initialized")["message"] == "containers with incomplete status: [first last]"
    assert printed(kubectl) == ["0/2", "Init:0/2"]
    (tmp_path / "up").touch()
    pod = harness.wait_for(api, pods, ready)
    assert (status_of(pod, "first")["started"], status_of(pod, "first")["ready"]) == (True, True)
    assert printed(kubectl) == ["2/2", "Running"]


def test_a_pod_is_complete_when_its_containers_are(api, pods, kubectl, tmp_path):
    api.create(pods, pod_with(tmp_path, "echo main >> /shared/diary", [sidecar("first"), sidecar("second")],
                              restartPolicy="Never"))
    pod = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert pod["status"]["phase"] == "Succeeded", pod["status"]
    assert diary(tmp_path)[-2:] == ["second stops", "first stops"]
    for name in ("first", "second"):
        assert status_of(pod, name)["state"]["terminated"]["exitCode"] == 0
        assert status_of(pod, name)["restartCount"] == 0
    assert condition(pod, "Initialized")["status"] == "True"
    assert printed(kubectl) == ["0/3", "Completed"]


def test_how_a_sidecar_ends_does_not_matter_for_the_pod(api, pods, tmp_path):
    stubborn = sidecar("first", "trap 'exit 7' TERM; touch /shared/trapped; while :; do usleep 20000; done")
    api.create(pods, pod_with(tmp_path, "until [ -e /shared/trapped ]; do usleep 20000; done", [stubborn],
                              restartPolicy="OnFailure"))
    pod = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert pod["status"]["phase"] == "Succeeded"
    assert status_of(pod, "first")["state"]["terminated"]["exitCode"] == 7


def test_a_sidecar_that_ends_is_started_again_whatever_the_pods_policy(api, pods, kubectl, tmp_path):
    api.create(pods, pod_with(tmp_path, "until [ -e /shared/over ]; do usleep 20000; done", [
        sidecar("first", "echo run >> /shared/diary; until [ -e /shared/end ]; do usleep 20000; done; rm /shared/end")],
        restartPolicy="Never"))
    harness.wait_for(api, pods, ready)
    (tmp_path / "end").touch()
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if status_of(item, "first")[
        "restartCount"] == 1 and harness.is_true(item, "Ready")), None))
    assert status_of(pod, "main")["restartCount"] == 0
    assert condition(pod, "Initialized")["status"] == "True"
    assert pod["status"]["phase"] == "Running"
    (tmp_path / "over").touch()
    assert harness.wait_for(api, pods, phase("Succeeded"))


def test_the_readiness_of_sidecars_counts(api, pods, tmp_path):
    probe = {"exec": {"command": ["test", "-e", "/shared/ready"]}, "periodSeconds": 1}
    api.create(pods, pod_with(tmp_path, "exec sleep 1000", [sidecar("first", readinessProbe=probe)]))
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if "running" in (
        status_of(item, "main") or {}).get("state", {})), None))
    assert condition(pod, "Ready")["message"] == "containers with unready status: [first]"
    (tmp_path / "ready").touch()
    harness.wait_for(api, pods, ready)


def test_an_unhealthy_sidecar_is_restarted(api, namespace, pods, tmp_path):
    probe = {"exec": {"command": ["test", "!", "-e", "/shared/sick"]}, "periodSeconds": 1, "failureThreshold": 1}
    api.create(pods, pod_with(tmp_path, "exec sleep 1000", [
        sidecar("first", "rm -f /shared/sick; trap 'exit 0' TERM; while :; do usleep 20000; done", livenessProbe=probe)]))
    harness.wait_for(api, pods, ready)
    (tmp_path / "sick").touch()
    harness.wait_for(api, pods, lambda items: next((
        item for item in items if status_of(item, "first")["restartCount"] == 1), None))
    told = [message for _, reason, message in events(api, namespace) if reason == "Killing"]
    assert told == ["Init container first failed liveness probe"]


def test_kubectl_shows_a_crashing_sidecar(api, pods, kubectl, tmp_path):
    api.create(pods, pod_with(tmp_path, "exec sleep 1000", [sidecar("first", "exit 3")]))
    # Between two runs it has not started, although the containers go on.
    harness.wait_for(api, pods, lambda items: next((item for item in items if (
        (status_of(item, "first") or {}).get("state", {}).get("waiting", {})).get("reason") == "CrashLoopBackOff"), None))
    assert printed(kubectl) == ["1/2", "Init:CrashLoopBackOff"]
    assert printed_status(api, pods, {"metadata": {"name": "it"}}) == printed(kubectl)[1]


def test_a_sidecar_that_ignores_its_signal_does_not_take_longer_than_the_grace_period(api, pods, tmp_path):
    stubborn = sidecar("first", "trap '' TERM; touch /shared/deaf; while :; do usleep 20000; done")
    api.create(pods, pod_with(tmp_path, DIARIST.format("main"), [stubborn], terminationGracePeriodSeconds=2))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: (tmp_path / "deaf").exists() and diary(tmp_path) == ["main starts"])
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None, timeout=10 * harness.PATIENCE)
    assert diary(tmp_path)[-1] == "main stops"
