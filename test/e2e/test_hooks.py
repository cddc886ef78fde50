"""Lifecycle hooks and stop signals: what runs right after the start and right before the end of a container."""
import re
import time

import pytest

import harness
from test_init_containers import init, status_of
from test_pod import events, phase, wait_for_event
from test_sidecars import DIARIST, MOUNT, diary, pod_with, ready


def hooks(**handlers):
    return {**MOUNT, "lifecycle": handlers}


def write(text):
    return {"exec": {"command": ["sh", "-c", f"echo {text} >> /shared/diary"]}}


def with_hooks(directory, script, container, **spec):
    pod = pod_with(directory, script, [], **spec)
    pod["spec"]["containers"][0].update(container)
    return pod


def delete_and_wait(api, pods):
    begin = time.monotonic()
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)
    return time.monotonic() - begin


# Ready when somebody listens at port 9000.
LISTENS = {"readinessProbe": {"exec": {"command": ["sh", "-c", "grep -q ':2328 .* 0A ' /proc/net/tcp*"]}, "periodSeconds": 1}}


# ---- postStart ----

def test_a_container_runs_when_its_post_start_hook_is_over(api, pods, tmp_path):
    """Upstream starts containers one after the other, hook by hook: proxies make the others wait this way."""
    pod = with_hooks(tmp_path, DIARIST.format("main"), hooks(postStart={"exec": {"command": [
        "sh", "-c", "until [ -e /shared/go ]; do usleep 20000; done; echo hook over >> /shared/diary"]}}))
    pod["spec"]["containers"].append(init("second", DIARIST.format("second"), **MOUNT))
    api.create(pods, pod)
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    seen = api.ok("GET", f"{pods}/it")
    assert status_of(seen, "main")["state"]["waiting"]["reason"] == "ContainerCreating"
    assert status_of(seen, "second")["state"]["waiting"]["reason"] == "ContainerCreating"
    assert seen["status"]["phase"] == "Pending"
    (tmp_path / "go").touch()
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: diary(tmp_path) == ["main starts", "hook over", "second starts"])


def test_a_failed_post_start_hook_ends_the_container(api, namespace, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, DIARIST.format("main"), hooks(postStart={"exec": {"command": [
        "sh", "-c", "echo because; exit 7"]}})))
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if (
        (status_of(item, "main") or {}).get("state", {}).get("waiting", {})).get("reason") == "PostStartHookError"), None))
    message = status_of(pod, "main")["state"]["waiting"]["message"]
    assert re.match(r'Exec lifecycle hook \(\[sh -c echo because; exit 7\]\) for Container "main" in Pod "it_.*" failed - '
                    r"error: command 'sh -c echo because; exit 7' exited with 7: because", message), message
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if (
        status_of(item, "main").get("state", {}).get("waiting", {})).get("reason") == "CrashLoopBackOff"), None))
    assert status_of(pod, "main")["restartCount"] >= 1
    told = events(api, namespace)
    assert ("Warning", "FailedPostStartHook", "PostStartHook failed") in told
    assert ("Normal", "Killing", "FailedPostStartHook") in told


def test_a_failed_post_start_hook_is_the_end_where_nothing_is_restarted(api, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, DIARIST.format("main"), hooks(postStart={"exec": {"command": ["false"]}}),
                                restartPolicy="Never"))
    pod = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert status_of(pod, "main")["restartCount"] == 0
    assert "terminated" in status_of(pod, "main")["state"]


def test_a_pod_is_deleted_while_its_post_start_hook_hangs(api, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, DIARIST.format("main"), hooks(postStart={"sleep": {"seconds": 5}})))
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    assert delete_and_wait(api, pods) < 4 * harness.PATIENCE
    assert diary(tmp_path) == ["main starts", "main stops"]


# ---- preStop ----

def test_the_pre_stop_hook_runs_before_the_signal(api, namespace, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, DIARIST.format("main"), hooks(preStop=write("hook"))))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    delete_and_wait(api, pods)
    assert diary(tmp_path) == ["main starts", "hook", "main stops"]
    assert ("Normal", "Killing", "Stopping container main") in events(api, namespace)


def test_pre_stop_sleep(api, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, DIARIST.format("main"), hooks(preStop={"sleep": {"seconds": 2}})))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    assert 2 <= delete_and_wait(api, pods) < 4 * harness.PATIENCE
    assert diary(tmp_path) == ["main starts", "main stops"]


def test_pre_stop_http_get_counts_whatever_the_answer(api, namespace, pods, tmp_path):
    answer = "printf 'HTTP/1.0 503 No\\r\\n\\r\\n' | nc -l -p 9000 > /shared/request; echo asked >> /shared/diary; "
    api.create(pods, with_hooks(tmp_path, answer + DIARIST.format("main"), {
        **hooks(preStop={"httpGet": {"path": "/bye?now", "port": "control",
                                     "httpHeaders": [{"name": "X-Why", "value": "the end"}]}}),
        "ports": [{"name": "control", "containerPort": 9000}], **LISTENS}))
    harness.wait_for(api, pods, ready)
    delete_and_wait(api, pods)
    request = (tmp_path / "request").read_text()
    assert request.startswith("GET /bye?now HTTP/1.1")
    assert "User-Agent: kube-lifecycle/1.35" in request and "X-Why: the end" in request
    assert diary(tmp_path)[0] == "asked"
    assert not [reason for _, reason, _ in events(api, namespace) if reason == "FailedPreStopHook"]


PLAIN_SERVER = r"""#!/bin/sh
first=$(dd bs=1 count=1 2>/dev/null)
if [ "$first" = G ]; then
    while read -r line && [ "$line" != "$(printf '\r')" ]; do echo "$line" >> /shared/request; done
    printf 'HTTP/1.0 200 OK\r\n\r\n'
else
    printf 'HTTP/1.0 400 Bad Request\r\n\r\n'
fi
"""


def test_a_hook_for_https_falls_back_to_http_without_authorization(api, namespace, pods, tmp_path):
    (tmp_path / "answer").write_text(PLAIN_SERVER)
    (tmp_path / "answer").chmod(0o755)
    api.create(pods, with_hooks(tmp_path, "nc -ll -p 9000 -e /shared/answer & " + DIARIST.format("main"), {
        **hooks(preStop={"httpGet": {"path": "/bye", "port": 9000, "scheme": "HTTPS", "httpHeaders": [
            {"name": "Authorization", "value": "secret"}, {"name": "X-Why", "value": "the end"}]}}), **LISTENS}))
    address = harness.wait_for(api, pods, ready)["status"]["podIP"]
    delete_and_wait(api, pods)
    request = (tmp_path / "request").read_text()
    assert request.startswith("ET /bye HTTP/1.1") and "X-Why: the end" in request and "secret" not in request
    told = events(api, namespace)
    assert ("Warning", "LifecycleHTTPFallback", f"request to HTTPS lifecycle hook {address}:9000 got HTTP response, retry "
            "with HTTP succeeded") in told
    assert not [reason for _, reason, _ in told if reason == "FailedPreStopHook"]


def test_a_failed_pre_stop_hook_is_reported_and_does_not_hold_anything_up(api, namespace, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, DIARIST.format("main"), hooks(preStop={"exec": {"command": ["false"]}})))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    delete_and_wait(api, pods)
    assert diary(tmp_path) == ["main starts", "main stops"]
    wait_for_event(api, namespace, "FailedPreStopHook", "^PreStopHook failed$")


def test_a_pre_stop_hook_that_hangs_has_the_grace_period_and_the_signal_two_seconds_more(api, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, "echo main starts >> /shared/diary; trap 'echo TERM >> /shared/diary' TERM; "
                                          "while :; do usleep 20000; done",
                                hooks(preStop={"exec": {"command": ["sleep", "1000"]}}), terminationGracePeriodSeconds=1))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    assert 3 <= delete_and_wait(api, pods) < 6 * harness.PATIENCE
    assert diary(tmp_path) == ["main starts", "TERM"]


def test_pre_stop_hooks_run_for_containers_that_are_restarted(api, pods, tmp_path):
    probe = {"exec": {"command": ["test", "!", "-e", "/shared/sick"]}, "periodSeconds": 1, "failureThreshold": 1}
    api.create(pods, with_hooks(tmp_path, "rm -f /shared/sick; " + DIARIST.format("main"), {
        **hooks(preStop=write("hook")), "livenessProbe": probe}))
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: diary(tmp_path) == ["main starts"])
    (tmp_path / "sick").touch()
    harness.wait_for(api, pods, lambda items: status_of(items[0], "main")["restartCount"] == 1)
    harness.eventually(lambda: diary(tmp_path)[:4] == ["main starts", "hook", "main stops", "main starts"])


# ---- signals ----

def test_the_stop_signal_of_the_spec(api, pods, tmp_path):
    api.create(pods, with_hooks(tmp_path, "trap 'echo USR1 >> /shared/diary; exit 0' USR1; echo up >> /shared/diary; "
                                          "while :; do usleep 20000; done",
                                {**MOUNT, "lifecycle": {"stopSignal": "SIGUSR1"}}, os={"name": "linux"}))
    pod = harness.wait_for(api, pods, ready)
    assert status_of(pod, "main")["stopSignal"] == "SIGUSR1"
    harness.eventually(lambda: diary(tmp_path) == ["up"])
    delete_and_wait(api, pods)
    assert diary(tmp_path) == ["up", "USR1"]


@pytest.mark.parametrize("name", ["USR1", "QUIT"])
def test_the_stop_signal_of_the_image(cluster, api, pods, tmp_path, name):
    image = f"local/ends-by-{name.lower()}:v1"
    archive = harness.make_image(image, tmp_path, stop_signal=f"SIG{name}")
    harness.run([harness.CORACLE, "image", "--name", cluster.name, "import", archive])
    api.create(pods, with_hooks(tmp_path, f"trap 'echo {name} >> /shared/diary; exit 0' {name}; echo up >> /shared/diary; "
                                          "while :; do usleep 20000; done", {**MOUNT, "image": image}))
    harness.eventually(lambda: diary(tmp_path) == ["up"])
    delete_and_wait(api, pods)
    assert diary(tmp_path) == ["up", name]


@pytest.mark.parametrize("lifecycle, os, message", [
    ({"stopSignal": "SIGUSR1"}, None,
     "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"),
    ({"stopSignal": "SIGNOTHING"}, "linux",
     'spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGNOTHING": supported values: "SIGABRT", '),
    ({"stopSignal": "SIGUSR1"}, "windows",
     'spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGUSR1": supported values: "SIGKILL", "SIGTERM"'),
    ({"preStop": {"sleep": {"seconds": 60}}}, None,
     "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than "
     "terminationGracePeriodSeconds (5)"),
    ({"preStop": {}}, None, "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"),
])
def test_hooks_and_signals_that_make_no_sense(api, pods, lifecycle, os, message):
    spec = {"os": {"name": os}} if os else {}
    answer = api.request("POST", pods, harness.shell_pod("it", "true", container={"lifecycle": lifecycle}, **spec))
    assert answer.status == 422, answer
    assert message in answer.json["message"]
