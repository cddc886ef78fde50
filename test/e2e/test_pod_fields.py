"""Fields of a pod that change where and how long it runs: deadlines, restart rules, names, and what it shares with others."""
import pathlib

import harness
from test_pod import phase, wait_for_event

PROCESSES = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done"


def ready(items):
    return items and harness.is_true(items[0], "Ready") and items[0]


def ready_reason(item):
    return next((c.get("reason") for c in item["status"].get("conditions", []) if c["type"] == "Ready"), None)


def container(name, script, **fields):
    return {"name": name, "image": harness.IMAGE_V1, "command": ["sh", "-c", script], **fields}


def pod(*containers, name="it", **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec}}


def log(api, pods, name="main", pod_name="it"):
    return api.get(f"{pods}/{pod_name}/log?container={name}").body.decode()


# ---- how long ----

def runs_into_its_deadline(api, pods, body):
    """The pod has been running for longer than it then may."""
    uid = api.create(pods, body)["metadata"]["uid"]
    harness.wait_for(api, pods, ready)
    harness.eventually(lambda: "begun" in log(api, pods))
    api.patch(f"{pods}/it", {"spec": {"activeDeadlineSeconds": 1}})
    return uid


def test_a_pod_fails_at_its_deadline(api, namespace, pods, kubectl):
    runs_into_its_deadline(api, pods, pod(
        container("main", "trap 'exit 3' TERM; echo begun; while :; do usleep 20000; done"),
        terminationGracePeriodSeconds=30))
    it = harness.wait_for(api, pods, phase("Failed"))[0]
    assert it["status"]["reason"] == "DeadlineExceeded"
    assert it["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    wait_for_event(api, namespace, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
    assert it["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    # As upstream prints it: how the container ended goes before why the pod did.
    assert kubectl("get", "pod", "it", "--no-headers").split()[2] == "Error"
    assert "DeadlineExceeded" in kubectl("describe", "pod", "it")


def test_a_pod_over_its_deadline_is_withdrawn_at_once_and_has_failed_at_its_end(api, cluster, namespace, pods):
    body = pod(container("main", "trap 'until [ -e /go/on ]; do usleep 10000; done; exit 3' TERM; echo begun; "
                         "while :; do usleep 20000; done", volumeMounts=[{"name": "go", "mountPath": "/go"}]),
               terminationGracePeriodSeconds=600, volumes=[{"name": "go", "emptyDir": {}}])
    body["metadata"]["labels"] = {"app": "it"}
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("it"))
    uid = runs_into_its_deadline(api, pods, body)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    it = harness.wait_for(api, pods, lambda items: items and ready_reason(items[0]) == "PodFailed" and items[0])
    assert it["status"]["phase"] == "Running" and "reason" not in it["status"] and "message" not in it["status"]
    (endpoint,) = harness.wait_for(api, slices, lambda items: items and items[0].get("endpoints") and
                                   not items[0]["endpoints"][0]["conditions"]["ready"] and items[0]["endpoints"])
    assert endpoint["conditions"] == {"ready": False, "serving": False, "terminating": False}
    (pathlib.Path("/var/lib/coracle") / cluster.name / "pods" / uid / "volumes/go/on").touch()
    it = harness.wait_for(api, pods, phase("Failed"))[0]
    assert it["status"]["reason"] == "DeadlineExceeded"
    assert it["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


def test_a_deadline_counts_for_pods_that_never_start_too(api, pods):
    api.create(pods, pod(container("main", "true", image="local/none:v1", imagePullPolicy="Never"),
                         activeDeadlineSeconds=1))
    assert harness.wait_for(api, pods, phase("Failed"))[0]["status"]["reason"] == "DeadlineExceeded"


# ---- restart policies of containers ----

def status(item, name):
    lists = item["status"].get("initContainerStatuses", []) + item["status"].get("containerStatuses", [])
    return next((entry for entry in lists if entry["name"] == name), {})


def test_a_containers_own_policy_goes_before_the_pods(api, pods):
    api.create(pods, pod(container("never", "exit 1", restartPolicy="Never"),
                         container("failing", "test -e /tmp/x || exit 2", restartPolicy="OnFailure"),
                         container("stays", "exec sleep 1000"), restartPolicy="Always"))
    it = harness.wait_for(api, pods, lambda items: items and status(items[0], "failing").get("restartCount", 0) > 0
                          and status(items[0], "never").get("state", {}).get("terminated") and items[0])
    assert status(it, "never")["restartCount"] == 0
    assert it["status"]["phase"] == "Running"


def test_rules_name_the_exit_codes_that_are_followed_by_a_restart(api, pods):
    rule = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    # The first run ends with 42 and is repeated, the second with 1 and is not.
    script = "if test -e /shared/{0}; then exit 1; else touch /shared/{0}; exit 42; fi"
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    api.create(pods, pod(container("main", script.format("main"), restartPolicy="Never", restartPolicyRules=rule, **mount),
                         volumes=[{"name": "shared", "emptyDir": {}}], restartPolicy="Never"))
    it = harness.wait_for(api, pods, phase("Failed"))[0]
    assert status(it, "main")["restartCount"] == 1
    assert status(it, "main")["state"]["terminated"]["exitCode"] == 1


def test_rules_hold_for_init_containers(api, pods):
    rule = [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [1]}}]
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    api.create(pods, pod(container("main", "true"), initContainers=[container(
        "first", "test -e /shared/x || { touch /shared/x; exit 42; }", restartPolicy="Never", restartPolicyRules=rule,
        **mount)], volumes=[{"name": "shared", "emptyDir": {}}], restartPolicy="Never"))
    it = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert it["status"]["phase"] == "Succeeded"
    assert status(it, "first")["restartCount"] == 1


# ---- names ----

def test_the_host_name_is_the_full_name_where_that_is_asked_for(api, namespace, pods):
    show = "hostname; cat /etc/hostname; grep it-name /etc/hosts; exec sleep 1000"
    api.create(pods, pod(container("main", show), hostname="it-name", subdomain="sub", setHostnameAsFQDN=True))
    harness.wait_for(api, pods, ready)
    full = f"it-name.sub.{namespace}.svc.cluster.local"
    lines = harness.eventually(lambda: (text := log(api, pods)).count("\n") >= 3 and text).splitlines()
    assert lines[:2] == [full, full]
    assert lines[2].split()[1:] == [full, "it-name"]


def test_a_full_name_that_is_too_long_is_told(api, namespace, pods):
    api.create(pods, pod(container("main", "true"), hostname="h" * 40, subdomain="sub", setHostnameAsFQDN=True))
    full = f"{'h' * 40}.sub.{namespace}.svc.cluster.local"
    wait_for_event(api, namespace, "FailedCreatePodSandBox",
                   f"FQDN {full} is too long \\(64 characters is the max, {len(full)} characters requested\\)")


# ---- what is shared ----

def test_containers_share_their_processes(api, pods, kubectl):
    api.create(pods, pod(container("main", "exec sleep 2000"), container("other", "exec sleep 3000"),
                         shareProcessNamespace=True))
    harness.wait_for(api, pods, ready)
    api.patch(f"{pods}/it/ephemeralcontainers", {"spec": {"ephemeralContainers": [
        container("look", PROCESSES + "; cat /proc/1/status; ls /proc/1/root/ 2>&1; exec sleep 1000",
                  securityContext={"capabilities": {"add": ["SYS_PTRACE"]}})]}})
    text = harness.eventually(lambda: "Threads" in (seen := log(api, pods, "look")) and seen)
    seen = text.splitlines()
    assert seen[0].strip() == "/pause"
    assert "sleep 2000 " in seen and "sleep 3000 " in seen
    # It is nobody, without privileges, and there is nothing to be seen through it.
    assert "Uid:\t65535\t65535\t65535\t65535" in seen
    assert "CapEff:\t0000000000000000" in seen
    root = text.split("nonvoluntary_ctxt_switches:")[-1].splitlines()[1:]
    assert all("etc" not in line and "bin" not in line for line in root), root


def test_a_container_that_shares_its_processes_restarts_and_ends_like_any_other(api, pods, tmp_path):
    tmp_path.chmod(0o777)
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    volumes = [{"name": "shared", "hostPath": {"path": str(tmp_path)}}]
    script = "sleep 4000 & test -e /shared/x || { touch /shared/x; exit 1; }; trap 'exit 0' TERM; while :; do usleep 20000; done"
    api.create(pods, pod(container("main", script, **mount), shareProcessNamespace=True, volumes=volumes))
    it = harness.wait_for(api, pods, lambda items: ready(items) and
                          items[0]["status"]["containerStatuses"][0]["restartCount"] == 1 and items[0])
    assert it["status"]["phase"] == "Running"
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)


def test_shared_processes_outlive_the_agent(make_cluster):
    cluster = make_cluster()
    cluster.start()
    pods = "/api/v1/namespaces/default/pods"
    cluster.api.create(pods, pod(container("main", "exec sleep 2000"), shareProcessNamespace=True))
    before = harness.wait_for(cluster.api, pods, ready)
    cluster.kill()
    cluster.start()
    after = harness.wait_for(cluster.api, pods, ready)
    assert after["status"]["containerStatuses"][0]["containerID"] == before["status"]["containerStatuses"][0]["containerID"]
    cluster.api.patch(f"{pods}/it/ephemeralcontainers", {"spec": {"ephemeralContainers": [container("look", PROCESSES)]}})
    text = harness.eventually(lambda: "sleep 2000" in (seen := log(cluster.api, pods, "look")) and seen)
    assert text.startswith("/pause")


def test_a_pod_of_the_node_sees_its_processes_network_and_ipc(api, pods, cluster):
    show = f"echo NET $(readlink /proc/self/ns/net); echo IPC $(readlink /proc/self/ns/ipc); {PROCESSES}; exec sleep 1000"
    api.create(pods, pod(container("main", show), hostNetwork=True, hostPID=True, hostIPC=True))
    it = harness.wait_for(api, pods, ready)
    text = harness.eventually(lambda: "coracle" in (seen := log(api, pods)) and seen)
    of_node = cluster.enter("readlink", "/proc/self/ns/net").stdout.strip()
    assert f"NET {of_node}" in text.splitlines()
    assert it["status"]["podIP"] == it["status"]["hostIP"]
    api.create(pods, pod(container("main", "echo IPC $(readlink /proc/self/ns/ipc); exec sleep 1000"), name="own"))
    own = harness.eventually(lambda: (seen := log(api, pods, pod_name="own").strip()).startswith("IPC ") and seen)
    assert own not in text.splitlines()


def test_containers_of_a_pod_share_system_v_memory_and_pods_do_not(api, pods):
    """syslogd keeps its ring in a segment of System V, which logread reads."""
    write = "syslogd -C16; until logger here 2>/dev/null; do usleep 20000; done; exec sleep 1000"
    read = "until logread 2>/dev/null | grep -q here; do usleep 20000; done; echo found; exec sleep 1000"
    api.create(pods, pod(container("main", write), container("second", read)))
    harness.eventually(lambda: log(api, pods, "second") == "found\n")
    api.create(pods, pod(container("main", "logread 2>&1; exec sleep 1000"), name="other"))
    harness.eventually(lambda: "can't find syslogd buffer" in log(api, pods, pod_name="other"))


def test_a_pod_of_the_nodes_network_has_the_nodes_address_and_names(api, pods):
    def field(name, path):
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    show = "echo $ONE $ALL $HOST; hostname; cat /etc/hostname; echo $HOSTNAME; cat /etc/hosts; exec sleep 1000"
    variables = [field("ONE", "status.podIP"), field("ALL", "status.podIPs"), field("HOST", "status.hostIP")]
    api.create(pods, pod(container("main", show, env=variables), hostNetwork=True))
    it = harness.wait_for(api, pods, ready)
    lines = harness.eventually(lambda: "localhost" in (seen := log(api, pods)) and seen).splitlines()
    status = it["status"]
    assert lines[0].split() == [status["hostIP"], ",".join(ip["ip"] for ip in status["podIPs"]), status["hostIP"]]
    assert lines[1] == lines[2] == lines[3] != "it"
    assert lines[4:] == ["# Kubernetes-managed hosts file (host network).",
                         *pathlib.Path("/etc/hosts").read_text().splitlines()]


def test_lines_of_host_aliases_are_in_etc_hosts(api, pods):
    api.create(pods, pod(container("main", "cat /etc/hosts; exec sleep 1000"), hostAliases=[
        {"ip": "192.0.2.1", "hostnames": ["a", "b"]}, {"ip": "192.0.2.2", "hostnames": ["c"]}]))
    text = harness.eventually(lambda: "192.0.2.2" in (seen := log(api, pods)) and seen)
    assert text.endswith("\n# Entries added by HostAliases.\n192.0.2.1\ta\tb\n192.0.2.2\tc\n")


def test_a_hostname_that_overrides_all_others_is_not_cut(api, pods):
    name = "a." + "b" * 62
    api.create(pods, pod(container("main", "hostname; cat /etc/hostname; exec sleep 1000"), hostname="other",
                         hostnameOverride=name))
    text = harness.eventually(lambda: (seen := log(api, pods)).count("\n") == 2 and seen)
    assert text == f"{name}\n{name}\n"


# ---- variables from files ----

def test_a_container_takes_variables_from_a_file_that_another_has_written(api, namespace, pods):
    write = "printf \"# made here\\nADDRESS='10.0.0.1'\\nTEXT='two\\nlines' # and a comment\\n\" > /data/config.env"

    def variable(name, key, **fields):
        return {"name": name, "valueFrom": {"fileKeyRef": {"volumeName": "config", "path": "config.env", "key": key,
                                                           **fields}}}

    mount = {"volumeMounts": [{"name": "config", "mountPath": "/data"}]}
    api.create(pods, pod(container("main", "echo \"$WHERE|$TEXT|${NONE-unset}|$URL\"", env=[
        variable("WHERE", "ADDRESS"), variable("TEXT", "TEXT"), variable("NONE", "MISSING", optional=True),
        {"name": "URL", "value": "http://$(WHERE)/"}]),
        initContainers=[container("first", write, **mount)], volumes=[{"name": "config", "emptyDir": {}}],
        restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Succeeded", "Failed"))
    assert log(api, pods) == "10.0.0.1|two\nlines|unset|http://10.0.0.1/\n"
    api.create(pods, pod(container("main", "true", env=[variable("WHERE", "MISSING")]), name="missing",
                         initContainers=[container("first", write, **mount)],
                         volumes=[{"name": "config", "emptyDir": {}}]))
    it = harness.wait_for(api, pods, lambda items: next((item for item in items if item["metadata"]["name"] == "missing" and
                          status(item, "main").get("state", {}).get("waiting", {}).get("reason") ==
                          "CreateContainerConfigError"), None))
    assert status(it, "main")["state"]["waiting"]["message"] == \
        'environment variable key "MISSING" not found in file "config.env"'
    for volumes, told in (([], 'Not found: "config"'), ([{"name": "config", "hostPath": {"path": "/etc"}}],
                          'Invalid value: "config": referenced volume must be of type emptyDir')):
        answer = api.request("POST", pods, pod(container("main", "true", env=[variable("WHERE", "ADDRESS")]), name="nowhere",
                                    volumes=volumes))
        assert answer.status == 422
        assert answer.json["message"].endswith(f"spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: {told}")
