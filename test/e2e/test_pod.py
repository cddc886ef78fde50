"""The life of a pod: what its containers see, how they start, are probed, fail, and end."""
import pathlib
import re
import time

import pytest

import harness


def phase(*wanted):
    return lambda items: items and all(item["status"].get("phase") in wanted for item in items) and items


def container(pod, name="main"):
    return next(status for status in pod["status"]["containerStatuses"] if status["name"] == name)


def log(api, pods, name="it", **parameters):
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    response = api.get(f"{pods}/{name}/log?{query}")
    assert response.status == 200, response
    return response.body.decode()


def run_to_end(api, pods, script, name="it", **spec):
    """Runs a shell script as a pod to its end; returns (pod, log)."""
    api.create(pods, harness.shell_pod(name, script, restartPolicy="Never", **spec))
    pod = next(item for item in harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3D{name}",
                                                 phase("Succeeded", "Failed")))
    return pod, log(api, pods, name)


def events(api, namespace, name="it"):
    items = api.ok("GET", f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name}")["items"]
    return [(item["type"], item["reason"], item["message"]) for item in items]


def wait_for_event(api, namespace, reason, pattern, name="it"):
    path = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name}"
    return harness.wait_for(api, path, lambda items: next(
        (item for item in items if item["reason"] == reason and re.search(pattern, item["message"])), None),
        what=f"an event {reason} like {pattern}")


def waiting(reason):
    """A condition: the first container waits for this reason; returns the pod."""
    return lambda items: next((item for item in items if any(
        status.get("state", {}).get("waiting", {}).get("reason") == reason
        for status in item["status"].get("containerStatuses", []))), None)


# ---- what a container sees ----

def test_environment(api, namespace, pods):
    base = f"/api/v1/namespaces/{namespace}"
    api.create(f"{base}/configmaps", {"metadata": {"name": "settings"}, "data": {"COLOUR": "blue", "LEVEL": "5"}})
    api.create(f"{base}/secrets", {"metadata": {"name": "keys"}, "stringData": {"KEY": "hunter2"}})
    api.create(f"{base}/services", harness.service("earlier-svc", port=4321))

    def field(path):
        return {"valueFrom": {"fieldRef": {"fieldPath": path}}}

    variables = {
        "PLAIN": {"value": "a b"}, "EXPANDED": {"value": "$(PLAIN)-$$(PLAIN)-$(NOBODY)"},
        "NAME": field("metadata.name"), "NAMESPACE": field("metadata.namespace"), "UID": field("metadata.uid"),
        "LABEL": field("metadata.labels['app']"), "NOTE": field("metadata.annotations['note']"),
        "IP": field("status.podIP"), "HOST": field("status.hostIP"), "NODE": field("spec.nodeName"),
        "ACCOUNT": field("spec.serviceAccountName"),
        "CPU": {"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        "MEMORY": {"valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
        "ONE": {"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOUR"}}},
        "NONE": {"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "SIZE", "optional": True}}},
        "SECRET": {"valueFrom": {"secretKeyRef": {"name": "keys", "key": "KEY"}}},
    }
    pod = harness.shell_pod("it", "env", restartPolicy="Never", container={
        "env": [{"name": name, **source} for name, source in variables.items()],
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "SET_"}, {"secretRef": {"name": "keys"}},
                    {"configMapRef": {"name": "nowhere", "optional": True}}],
        "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"memory": "32Mi"}}})
    pod["metadata"]["annotations"] = {"note": "hello"}
    api.create(pods, pod)
    pod = harness.wait_for(api, pods, phase("Succeeded"))[0]
    seen = dict(line.split("=", 1) for line in log(api, pods).splitlines())
    expected = {
        "PLAIN": "a b", "EXPANDED": "a b-$(PLAIN)-$(NOBODY)", "NAME": "it", "NAMESPACE": namespace,
        "UID": pod["metadata"]["uid"], "LABEL": "it", "NOTE": "hello", "IP": pod["status"]["podIP"],
        "HOST": pod["status"]["hostIP"], "NODE": pod["spec"]["nodeName"], "ACCOUNT": "default", "CPU": "250",
        "MEMORY": "32", "ONE": "blue", "SECRET": "hunter2", "SET_COLOUR": "blue", "SET_LEVEL": "5", "KEY": "hunter2",
        "EARLIER_SVC_SERVICE_PORT": "4321", "KUBERNETES_SERVICE_PORT": "443", "HOSTNAME": "it",
        "MODEL_VERSION": "v1",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert "NONE" not in seen
    assert re.fullmatch(r"tcp://[\d.]+:4321", seen["EARLIER_SVC_PORT"])


def test_command_arguments_and_working_directory(api, pods):
    pod = harness.shell_pod("it", "", restartPolicy="Never", container={
        "command": ["sh", "-c", 'pwd; echo "$0 $1"'], "args": ["$(GREETING)", "wörld"], "workingDir": "/models",
        "env": [{"name": "GREETING", "value": "hello"}]})
    api.create(pods, pod)
    harness.wait_for(api, pods, phase("Succeeded"))
    assert log(api, pods) == "/models\nhello wörld\n"


def test_name_resolution_files(api, pods):
    pod, text = run_to_end(api, pods, "hostname; cat /etc/hosts; echo ---; cat /etc/resolv.conf", dnsPolicy="Default",
                            hostAliases=[{"ip": "192.0.2.7", "hostnames": ["elsewhere"]}])
    hosts, resolver = text.split("---\n")
    assert hosts.splitlines()[0] == "it"
    assert re.search(r"^127\.0\.0\.1\s+localhost$", hosts, re.MULTILINE)
    assert re.search(r"^%s\s+it$" % re.escape(pod["status"]["podIP"]), hosts, re.MULTILINE)
    assert re.search(r"^192\.0\.2\.7\s+elsewhere$", hosts, re.MULTILINE)
    # dnsPolicy Default: the node's own. (test_dns.py has the others.)
    assert re.findall(r"^nameserver .*$", resolver, re.MULTILINE) == re.findall(
        r"^nameserver .*$", pathlib.Path("/etc/resolv.conf").read_text(), re.MULTILINE)


def test_containers_of_a_pod_share_network_but_not_files(api, pods):
    body = harness.shell_pod("it", "", restartPolicy="Never")
    body["spec"]["containers"] = [
        {"name": "server", "image": harness.IMAGE_V1, "command": [
            "sh", "-c", "touch /only-here; printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 9000 >/dev/null"]},
        {"name": "client", "image": harness.IMAGE_V1, "command": [
            "sh", "-c", "until wget -q -O - http://127.0.0.1:9000; do usleep 50000; done; test ! -e /only-here"]}]
    api.create(pods, body)
    pod = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert pod["status"]["phase"] == "Succeeded", pod["status"]
    assert log(api, pods, container="client").endswith("hello")
    refused = api.get(f"{pods}/it/log")
    assert refused.status == 400
    assert "a container name must be specified for pod it, choose one of: [server client]" in refused.json["message"]


# ---- status ----

def test_status_is_complete(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000"))
    pod = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    status = pod["status"]
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == {"PodScheduled": "True", "PodReadyToStartContainers": "True", "Initialized": "True",
                          "ContainersReady": "True", "Ready": "True"}
    assert status["podIPs"][0] == {"ip": status["podIP"]}
    assert status["hostIPs"][0] == {"ip": status["hostIP"]}
    assert status["qosClass"] == "BestEffort"
    main = container(pod)
    assert re.fullmatch(r"[a-z-]+://[0-9a-f]{64}", main["containerID"])
    assert re.search(r"sha256:[0-9a-f]{64}", main["imageID"])
    assert main["image"] == "docker.io/" + harness.IMAGE_V1
    assert (main["ready"], main["started"], main["restartCount"]) == (True, True, 0)
    assert list(main["state"]) == ["running"]
    assert pod["spec"]["tolerations"] and pod["spec"]["serviceAccountName"] == "default"


@pytest.mark.parametrize("resources, wanted", [
    ({}, "BestEffort"), ({"requests": {"cpu": "10m"}}, "Burstable"),
    ({"limits": {"cpu": "100m", "memory": "32Mi"}}, "Guaranteed"),
])
def test_quality_of_service(api, pods, resources, wanted):
    created = api.create(pods, harness.shell_pod("it", "true", container={"resources": resources}))
    assert created["status"]["qosClass"] == wanted


def test_events_tell_the_story(api, namespace, pods):
    run_to_end(api, pods, "true")
    told = {reason: message for _, reason, message in events(api, namespace)}
    node = api.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    assert told["Scheduled"] == f"Successfully assigned {namespace}/it to {node}"
    assert told["Pulled"].startswith(f'Container image "{harness.IMAGE_V1}" already present on machine')
    assert told["Created"].startswith(("Created container main", "Container created", "Created container: main"))
    assert told["Started"].startswith(("Started container main", "Container started"))


# ---- ends ----

@pytest.mark.parametrize("script, ending, code, reason", [
    ("exit 0", "Succeeded", 0, "Completed"), ("exit 3", "Failed", 3, "Error"),
    # The first process of a container cannot kill itself; and $$ in a command stands for one $.
    ("sh -c 'kill -9 $$$$'; exit $?", "Failed", 137, "Error"),
])
def test_how_a_container_ended(api, pods, script, ending, code, reason):
    pod, _ = run_to_end(api, pods, script)
    state = container(pod)["state"]["terminated"]
    assert (pod["status"]["phase"], state["exitCode"], state["reason"]) == (ending, code, reason)
    assert state["startedAt"] <= state["finishedAt"]
    assert not harness.is_true(pod, "Ready")


def test_last_words(api, pods):
    pod, _ = run_to_end(api, pods, "echo -n because > /dev/termination-log; exit 1")
    assert container(pod)["state"]["terminated"]["message"] == "because"


def test_last_words_from_the_log(api, pods):
    api.create(pods, harness.shell_pod("it", "echo first; echo the reason; exit 1", restartPolicy="Never", container={
        "terminationMessagePolicy": "FallbackToLogsOnError"}))
    pod = harness.wait_for(api, pods, phase("Failed"))[0]
    assert container(pod)["state"]["terminated"]["message"] == "first\nthe reason\n"


def test_out_of_memory(api, pods):
    api.create(pods, harness.shell_pod("it", "dd if=/dev/zero of=/dev/null bs=200M count=1", restartPolicy="Never",
                                       container={"resources": {"limits": {"memory": "32Mi"}}}))
    pod = harness.wait_for(api, pods, phase("Failed"))[0]
    state = container(pod)["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


def test_a_cpu_limit_holds(api, pods):
    # A tenth of a core: two seconds of busy looping get about 0.2 s of processor time, in hundredths below.
    script = ("timeout 2 sh -c 'while :; do :; done'; "
              "read -r line < /proc/self/stat; set -- $line; echo $((${16} + ${17}))")
    pod = harness.shell_pod("it", script, restartPolicy="Never",
                            container={"resources": {"limits": {"cpu": "100m"}}})
    api.create(pods, pod)
    harness.wait_for(api, pods, phase("Succeeded", "Failed"))
    # The shell also tells that its child was terminated.
    ticks = next(int(line) for line in log(api, pods).splitlines() if line.isdigit())
    assert ticks < 60, f"{ticks} hundredths of a second of processor time"


def test_a_crash_loop_backs_off(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "echo attempt; exit 7"))
    pod = harness.wait_for(api, pods, waiting("CrashLoopBackOff"))
    main = container(pod)
    assert main["lastState"]["terminated"]["exitCode"] == 7
    assert re.match(r"back-off \d+m?\d*s restarting failed container=main pod=it_", main["state"]["waiting"]["message"])
    assert pod["status"]["phase"] == "Running"
    assert main["restartCount"] >= 1
    wait_for_event(api, namespace, "BackOff", "Back-off restarting failed container main in pod it_")
    harness.wait_for(api, pods, lambda items: container(items[0])["restartCount"] >= 2)
    assert log(api, pods, previous="true") == "attempt\n"


def test_a_container_that_starts_again_is_shown_as_it_ended_until_it_runs(api, pods):
    """As upstream shows it: Error at first, CrashLoopBackOff later, and never ContainerCreating once more."""
    seen = []
    with api.watch(pods, resourceVersion=api.ok("GET", pods)["metadata"]["resourceVersion"]) as events:
        api.create(pods, harness.shell_pod("it", "exit 7"))
        for event in events:
            for status in event["object"].get("status", {}).get("containerStatuses", []):
                [(kind, state)] = status["state"].items()
                seen.append((status["restartCount"], state.get("reason", kind)))
            if seen and seen[-1] == (2, "CrashLoopBackOff"):
                break
    first = next(i for i, (_, reason) in enumerate(seen) if reason != "ContainerCreating")
    assert not any(reason == "ContainerCreating" for _, reason in seen[first:]), seen
    assert (0, "Error") in seen, seen
    assert {reason for count, reason in seen if count == 1} <= {"running", "Error", "CrashLoopBackOff"}, seen


def test_on_failure_restarts_failures_only(api, pods):
    volume = {"volumes": [{"name": "memory", "emptyDir": {}}], "restartPolicy": "OnFailure"}
    mount = {"volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
    api.create(pods, harness.shell_pod("it", "test -e /memory/again || { touch /memory/again; exit 1; }",
                                       container=mount, **volume))
    pod = harness.wait_for(api, pods, phase("Succeeded"))[0]
    assert container(pod)["restartCount"] == 1


# ---- probes ----

def test_readiness_follows_its_probe(api, namespace, pods):
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("it"))
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

    def serving(wanted):
        return lambda items: any(endpoint["conditions"].get("ready") is wanted
                                 for item in items for endpoint in item.get("endpoints") or [])

    script = "while :; do touch /tmp/ready; sleep 4; rm /tmp/ready; sleep 4; done"
    api.create(pods, harness.shell_pod("it", script, container={"readinessProbe": {
        "exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}}))
    harness.wait_for(api, slices, serving(True))
    harness.wait_for(api, slices, serving(False))
    harness.wait_for(api, slices, serving(True))
    wait_for_event(api, namespace, "Unhealthy", "^Readiness probe failed: ")
    pod = api.ok("GET", f"{pods}/it")
    assert container(pod)["restartCount"] == 0


@pytest.mark.parametrize("kind, threshold", [("readinessProbe", 3), ("startupProbe", 2)])
def test_a_server_that_needs_a_moment_is_not_ready_a_whole_period_late(api, namespace, pods, kind, threshold):
    began = time.monotonic()
    api.create(pods, harness.shell_pod("it", "sleep 1; touch /tmp/ready; exec sleep 1000", container={
        kind: {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 30, "failureThreshold": threshold}}))
    pod = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    assert time.monotonic() - began < 10 * harness.PATIENCE
    assert container(pod)["restartCount"] == 0
    # What is tried between two attempts that are due is nobody's business.
    item = wait_for_event(api, namespace, "Unhealthy", " probe failed: ")
    assert item.get("count", 1) == 1


def test_a_failed_liveness_probe_restarts_the_container(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "touch /tmp/alive; sleep 2; rm /tmp/alive; exec sleep 1000", container={
        "livenessProbe": {"exec": {"command": ["sh", "-c", "test -e /tmp/alive || { echo gone; exit 1; }"]},
                          "periodSeconds": 1, "failureThreshold": 2, "initialDelaySeconds": 1}},
        terminationGracePeriodSeconds=1))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("containerStatuses") and
                     container(items[0])["restartCount"] >= 1)
    wait_for_event(api, namespace, "Unhealthy", "^Liveness probe failed: gone")
    wait_for_event(api, namespace, "Killing", "^Container main failed liveness probe, will be restarted$")


@pytest.mark.parametrize("kind", ["startup", "liveness"])
def test_a_probe_that_condemns_gives_the_time_that_it_names(api, namespace, pods, kind):
    # The pod's grace period would be half an hour, and the container does not go by itself.
    api.create(pods, harness.shell_pod("it", "trap '' TERM; while :; do usleep 50000; done", container={
        kind + "Probe": {"exec": {"command": ["sh", "-c", "echo no; exit 1"]}, "periodSeconds": 1, "failureThreshold": 1,
                         "terminationGracePeriodSeconds": 1}}, terminationGracePeriodSeconds=1800))
    item = harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("containerStatuses") and
                            container(items[0])["restartCount"] >= 1 and items[0])
    assert container(item)["lastState"]["terminated"]["exitCode"] == 137
    wait_for_event(api, namespace, "Unhealthy", f"^{kind.capitalize()} probe failed: no")
    wait_for_event(api, namespace, "Killing", f"^Container main failed {kind} probe, will be restarted$")
    api.ok("DELETE", f"{pods}/it?gracePeriodSeconds=0")


def test_a_container_is_not_ready_before_its_startup_probe_has_passed(cluster, api, namespace, pods):
    probe = {"exec": {"command": ["test", "-e", "/go/up"]}, "periodSeconds": 1}
    # The liveness probe would end the container if it were tried now.
    uid = api.create(pods, harness.shell_pod("it", "exec sleep 1000", container={
        "startupProbe": {**probe, "failureThreshold": 1000}, "livenessProbe": {**probe, "failureThreshold": 1},
        "volumeMounts": [{"name": "go", "mountPath": "/go"}]}, volumes=[{"name": "go", "emptyDir": {}}]))["metadata"]["uid"]
    wait_for_event(api, namespace, "Unhealthy", "^Startup probe failed: ")
    it = container(api.ok("GET", f"{pods}/it"))
    assert (it["started"], it["ready"]) == (False, False)
    (pathlib.Path("/var/lib/coracle") / cluster.name / "pods" / uid / "volumes/go/up").touch()
    it = container(harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready") and items[0]))
    assert it["started"] and it["restartCount"] == 0


@pytest.mark.parametrize("probe, complaint", [
    ({"httpGet": {"path": "/nothing", "port": 8080}}, "HTTP probe failed with statuscode: 404"),
    ({"httpGet": {"path": "/healthz", "port": 8081}}, "connection refused"),
    ({"tcpSocket": {"port": 8081}}, "connection refused"),
    ({"exec": {"command": ["false"]}}, ""),
    ({"exec": {"command": ["sleep", "5"]}, "timeoutSeconds": 1}, "(timed out|deadline exceeded)"),
])
def test_probes_that_fail_say_why(api, namespace, pods, probe, complaint):
    api.create(pods, harness.shell_pod("it", "", container={
        "command": None, "readinessProbe": {"periodSeconds": 1, **probe}}))
    wait_for_event(api, namespace, "Unhealthy", "(?s)^Readiness probe (failed|errored).*" + complaint)
    pod = api.ok("GET", f"{pods}/it")
    assert not container(pod)["ready"]


@pytest.mark.parametrize("probe", [
    {"httpGet": {"path": "/healthz", "port": "http"}}, {"tcpSocket": {"port": 8080}}, {"exec": {"command": ["true"]}},
    {"httpGet": {"path": "/ready", "port": 8080, "httpHeaders": [{"name": "X-Probe", "value": "1"}]},
     "successThreshold": 2, "periodSeconds": 1},
])
def test_probes_that_succeed(api, pods, probe):
    api.create(pods, harness.shell_pod("it", "", container={
        "command": None, "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe}))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))


# ---- readiness gates ----

def test_a_gate_that_others_open_and_close_makes_the_pod_ready_and_not(api, namespace, pods):
    gate, slices = "example.com/warm", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("it"))
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", labels={"app": "it"},
                                       readinessGates=[{"conditionType": gate}]))

    def ready_and_why(value):
        def look(items):
            c = next((c for item in items for c in item["status"].get("conditions", []) if c["type"] == "Ready"), {})
            return c.get("status") == value and (c.get("reason"), c.get("message"))
        return look

    def endpoint_is(value):
        harness.wait_for(api, slices, lambda items: items and items[0].get("endpoints") and
                         items[0]["endpoints"][0]["conditions"]["ready"] is value)

    def set_gate(value):
        api.patch(f"{pods}/it/status", {"status": {"conditions": [{"type": gate, "status": value}]}})

    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "ContainersReady"))
    missing = f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    assert harness.wait_for(api, pods, ready_and_why("False")) == ("ReadinessGatesNotReady", missing)
    endpoint_is(False)
    set_gate("True")
    assert harness.wait_for(api, pods, ready_and_why("True")) == (None, None)
    endpoint_is(True)
    set_gate("False")
    closed = f'the status of pod readiness gate "{gate}" is not "True", but False'
    assert harness.wait_for(api, pods, ready_and_why("False")) == ("ReadinessGatesNotReady", closed)
    endpoint_is(False)


# ---- termination ----

def delete_and_time(api, pods, query=""):
    began = time.monotonic()
    api.request("DELETE", f"{pods}/it{query}")
    harness.wait_for(api, pods, lambda items: not items)
    return time.monotonic() - began


def start(api, pods, script, **options):
    api.create(pods, harness.shell_pod("it", script, **options))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))
    harness.eventually(lambda: "started" in log(api, pods))


def test_sigterm_comes_first(api, namespace, pods):
    start(api, pods, "trap 'echo told; exit 0' TERM; echo started; while :; do usleep 50000; done",
          terminationGracePeriodSeconds=30)
    assert delete_and_time(api, pods) < 5 * harness.PATIENCE
    wait_for_event(api, namespace, "Killing", "^Stopping container main$")


def test_sigkill_comes_when_the_grace_period_is_over(api, pods):
    start(api, pods, "trap '' TERM; echo started; while :; do usleep 50000; done", terminationGracePeriodSeconds=2)
    assert 1.9 <= delete_and_time(api, pods) < 2 + 5 * harness.PATIENCE


def test_a_grace_period_given_with_delete_counts(api, pods):
    start(api, pods, "trap '' TERM; echo started; while :; do usleep 50000; done", terminationGracePeriodSeconds=60)
    assert delete_and_time(api, pods, "?gracePeriodSeconds=1") < 1 + 5 * harness.PATIENCE


def test_a_forced_delete_does_not_wait(api, pods):
    start(api, pods, "trap '' TERM; echo started; while :; do usleep 50000; done", terminationGracePeriodSeconds=60)
    assert delete_and_time(api, pods, "?gracePeriodSeconds=0") < 2 * harness.PATIENCE


def test_a_terminating_pod_says_so(api, pods):
    start(api, pods, "trap '' TERM; echo started; while :; do usleep 50000; done", terminationGracePeriodSeconds=3)
    api.request("DELETE", f"{pods}/it")
    pod = api.ok("GET", f"{pods}/it")
    assert pod["metadata"]["deletionTimestamp"]
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 3
    harness.wait_for(api, pods, lambda items: not items)


# ---- what cannot start ----

@pytest.mark.parametrize("image, policy, reasons, message", [
    ("local/nothing:v1", "Never", ("ErrImageNeverPull",),
     'Container image "local/nothing:v1" is not present with pull policy of Never'),
    ("No Image!", "IfNotPresent", ("InvalidImageName",), ""),
    ("127.0.0.1:1/none:v1", "IfNotPresent", ("ErrImagePull", "ImagePullBackOff"), "127.0.0.1:1/none:v1"),
])
def test_images_that_are_not_to_be_had(api, pods, image, policy, reasons, message):
    api.create(pods, harness.shell_pod("it", "true", image=image, container={"imagePullPolicy": policy}))
    pod = None
    for reason in reasons:
        pod = harness.wait_for(api, pods, waiting(reason))
    assert pod["status"]["phase"] == "Pending"
    assert message in container(pod)["state"]["waiting"].get("message", "")


def test_another_image_for_a_pod_that_waits_for_one(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", image="local/nothing:v1",
                                       container={"imagePullPolicy": "Never"}))
    harness.wait_for(api, pods, waiting("ErrImageNeverPull"))
    api.patch(f"{pods}/it", {"spec": {"containers": [{"name": "main", "image": harness.IMAGE_V1}]}})
    pod = harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready") and items[0])
    assert container(pod)["restartCount"] == 0
    api.patch(f"{pods}/it", {"spec": {"containers": [{"name": "main", "image": harness.IMAGE_V2}]}})
    harness.wait_for(api, pods, lambda items: container(items[0])["restartCount"] == 1 and
                     container(items[0])["image"].endswith(harness.IMAGE_V2) and harness.is_true(items[0], "Ready"))


def test_another_image_for_a_pod_that_is_never_restarted(api, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", restartPolicy="Never", terminationGracePeriodSeconds=1))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))
    api.patch(f"{pods}/it", {"spec": {"containers": [{"name": "main", "image": harness.IMAGE_V2}]}})
    item = harness.wait_for(api, pods, lambda items: container(items[0])["restartCount"] == 1 and
                            harness.is_true(items[0], "Ready") and items[0])
    assert container(item)["image"].endswith(harness.IMAGE_V2)
    assert item["status"]["phase"] == "Running"


def test_a_deleted_pod_shows_how_it_ended(api, pods):
    start(api, pods, "trap 'exit 3' TERM; echo started; while :; do usleep 50000; done")
    api.patch(f"{pods}/it", {"metadata": {"finalizers": ["example.com/look"]}})
    api.request("DELETE", f"{pods}/it")
    pod = harness.wait_for(api, pods, lambda items: items[0]["status"]["phase"] == "Failed" and items[0])
    assert container(pod)["state"]["terminated"]["exitCode"] == 3
    api.patch(f"{pods}/it", {"metadata": {"finalizers": None}})
    harness.wait_for(api, pods, lambda items: not items)


def test_a_missing_config_map_or_secret(api, pods):
    api.create(pods, harness.shell_pod("it", "true", container={"envFrom": [{"configMapRef": {"name": "later"}}]},
                                       restartPolicy="Never"))
    pod = harness.wait_for(api, pods, waiting("CreateContainerConfigError"))
    assert 'configmap "later" not found' in container(pod)["state"]["waiting"]["message"]
    api.create(pods.replace("/pods", "/configmaps"), {"metadata": {"name": "later"}, "data": {"A": "b"}})
    harness.wait_for(api, pods, phase("Succeeded"))


def test_a_command_that_is_not_there(api, pods):
    api.create(pods, harness.shell_pod("it", "", restartPolicy="Never", container={"command": ["/nothing"]}))
    pod = harness.wait_for(api, pods, phase("Failed"))[0]
    state = container(pod)["state"]["terminated"]
    assert state["exitCode"] in (127, 128) and state["reason"] in ("StartError", "ContainerCannotRun")
    assert "/nothing" in state["message"]
    assert state["startedAt"] == "1970-01-01T00:00:00Z" < state["finishedAt"], "it ended and had never begun"


# ---- the scheduler ----

@pytest.mark.parametrize("spec, text", [
    ({"nodeSelector": {"disk": "gold"}}, "1 node(s) didn't match Pod's node affinity/selector."),
    ({"containers": [{"name": "main", "image": harness.IMAGE_V1, "resources": {"requests": {"cpu": "10k"}}}]},
     "1 Insufficient cpu."),
    ({"containers": [{"name": "main", "image": harness.IMAGE_V1, "resources": {"requests": {"memory": "10Ti"}}}]},
     "1 Insufficient memory."),
])
def test_pods_that_fit_nowhere(api, namespace, pods, spec, text):
    body = harness.shell_pod("it", "true")
    body["spec"].update(spec)
    api.create(pods, body)
    wait_for_event(api, namespace, "FailedScheduling", r"^0/1 nodes are available: " + re.escape(text))
    pod = api.ok("GET", f"{pods}/it")
    condition = next(entry for entry in pod["status"]["conditions"] if entry["type"] == "PodScheduled")
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"].startswith("0/1 nodes are available: " + text)


def test_a_pod_waits_for_its_node(make_cluster):
    cluster = make_cluster()
    cluster.start()
    api, pods = cluster.api, "/api/v1/namespaces/default/pods"
    node = "/api/v1/nodes/" + api.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    api.patch(node, {"spec": {"unschedulable": True}})
    api.create(pods, harness.shell_pod("it", "exec sleep 1000"))
    wait_for_event(api, "default", "FailedScheduling", "1 node\\(s\\) were unschedulable.")
    api.patch(node, {"spec": {"unschedulable": False, "taints": [
        {"key": "maintenance", "value": "now", "effect": "NoSchedule"}]}})
    wait_for_event(api, "default", "FailedScheduling", "1 node\\(s\\) had untolerated taint")
    api.patch(node, {"spec": {"taints": None}})
    harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready"))
