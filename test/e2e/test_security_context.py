"""securityContext of pods and containers: each field is looked at from inside a container that has it."""
import json
import pathlib

import pytest

import harness
from test_claims import claim, claimed, claims  # noqa: F401
from test_pod import events, log, run_to_end, wait_for_event, waiting  # noqa: F401

SECCOMP_FILTER, SECCOMP_OFF = "2", "0"


def process_status(text):
    """/proc/self/status as a dictionary."""
    return {key: value.strip() for key, value in
            (line.split(":", 1) for line in text.splitlines() if ":" in line)}


def run_with(api, pods, script, context=None, pod_context=None, name="it", **spec):
    """Runs a script under a container's and a pod's securityContext to its end; returns its output."""
    pod, text = run_to_end(api, pods, script, name=name, container={"securityContext": context or {}},
                           securityContext=pod_context or {}, **spec)
    assert pod["status"]["phase"] == "Succeeded", (pod["status"], text)
    return text


# ---- seccomp ----

@pytest.mark.parametrize("context,pod_context,mode", [
    (None, None, SECCOMP_FILTER),
    ({"seccompProfile": {"type": "RuntimeDefault"}}, None, SECCOMP_FILTER),
    ({"seccompProfile": {"type": "Unconfined"}}, None, SECCOMP_OFF),
    (None, {"seccompProfile": {"type": "Unconfined"}}, SECCOMP_OFF),
    ({"seccompProfile": {"type": "RuntimeDefault"}}, {"seccompProfile": {"type": "Unconfined"}}, SECCOMP_FILTER),
    ({"privileged": True}, {"seccompProfile": {"type": "RuntimeDefault"}}, SECCOMP_OFF),
], ids=["unset", "default", "unconfined", "pod-unconfined", "container-wins", "privileged"])
def test_seccomp_profile(api, pods, context, pod_context, mode):
    text = run_with(api, pods, "cat /proc/self/status", context, pod_context)
    assert process_status(text)["Seccomp"] == mode


def test_default_profile_refuses_namespaces_and_mounts(api, pods):
    script = "unshare -U true && echo unshared; mkdir /m; mount -t tmpfs t /m && echo mounted; touch /tmp/x && echo written"
    assert run_with(api, pods, "{ " + script + "; } 2>/dev/null").splitlines() == ["written"]
    free = run_with(api, pods, f"({script}) 2>&1; true", {"privileged": True}, name="free")
    assert "mounted" in free and "written" in free


def test_local_seccomp_profile(make_cluster):
    cluster = make_cluster()
    cluster.start()
    api, pods = cluster.api, "/api/v1/namespaces/default/pods"
    folder = pathlib.Path("/var/lib/coracle") / cluster.name / "seccomp/profiles"
    folder.mkdir(parents=True)
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    (folder / "no-mkdir.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    (folder / "broken.json").write_text("{")

    def context(file):
        return {"seccompProfile": {"type": "Localhost", "localhostProfile": f"profiles/{file}"}}

    text = run_with(api, pods, "mkdir /tmp/d 2>&1 || touch /tmp/f && echo written", context("no-mkdir.json"))
    assert "Operation not supported" in text or "Not supported" in text
    assert text.endswith("written\n")
    for name, complaint in (("missing", "cannot load seccomp profile"), ("broken", "decoding seccomp profile failed")):
        api.create(pods, harness.shell_pod(name, "true", container={"securityContext": context(f"{name}.json")}))
        pod = harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3D{name}", waiting("CreateContainerError"))
        message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        assert complaint in message and f"{folder}/{name}.json" in message
    assert "no such file or directory" in wait_for_event(api, "default", "Failed", "cannot load", "missing")["message"]


# ---- users and groups ----

def test_user_and_groups_are_those_of_the_contexts_and_told_in_the_status(api, pods):
    shared = {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000]}
    pod, text = run_to_end(api, pods, "id -u; id -g; id -G", securityContext=shared)
    assert text.split("\n")[:2] == ["1000", "3000"]
    assert set(text.split("\n")[2].split()) == {"3000", "2000", "4000"}
    user = pod["status"]["containerStatuses"][0]["user"]["linux"]
    assert (user["uid"], user["gid"]) == (1000, 3000) and set(user["supplementalGroups"]) == {3000, 2000, 4000}
    assert run_with(api, pods, "id -u; id -g", {"runAsUser": 7, "runAsGroup": 8}, shared, name="own") == "7\n8\n"


@pytest.mark.parametrize("context,message", [
    ({}, "container has runAsNonRoot and image will run as root"),
    ({"runAsUser": 0}, "container's runAsUser breaks non-root policy"),
], ids=["image", "spec"])
def test_root_is_refused_where_it_must_not_be(api, pods, context, message):
    api.create(pods, harness.shell_pod("it", "true", container={"securityContext": context},
                                       securityContext={"runAsNonRoot": True}))
    pod = harness.wait_for(api, pods, waiting("CreateContainerConfigError"))
    assert message in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]


def test_another_user_may_be_non_root(api, pods):
    assert run_with(api, pods, "id -u", {"runAsUser": 1000}, {"runAsNonRoot": True}) == "1000\n"


def test_volumes_belong_to_the_fs_group(api, namespace, pods):
    api.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "settings"}, "data": {"a": "b"}})
    script = ("touch /data/mine; stat -c '%g %a' /data /data/mine /memory; stat -L -c '%g %a' /settings/a; "
              "touch /settings/a 2>/dev/null || echo read-only")
    pod = harness.shell_pod("it", script, restartPolicy="Never", securityContext={"runAsUser": 1000, "fsGroup": 2000},
                            volumes=[{"name": "data", "emptyDir": {}},
                                     {"name": "memory", "emptyDir": {"medium": "Memory"}},
                                     {"name": "settings", "configMap": {"name": "settings", "defaultMode": 0o400}}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": name, "mountPath": "/" + name}
                                                    for name in ("data", "memory", "settings")]
    api.create(pods, pod)
    done = harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") in (
        "Succeeded", "Failed") and items)[0]
    text = log(api, pods)
    assert done["status"]["phase"] == "Succeeded", (done["status"], text)
    assert text.splitlines() == ["2000 2777", "2000 644", "2000 3777", "2000 440", "read-only"]


def test_a_strict_policy_leaves_out_the_groups_of_the_image(cluster, api, pods, tmp_path):
    (tmp_path / "group").write_text("root:x:0:\nserver:x:1000:\nteam:x:4321:server\n")
    archive = harness.make_image("local/groups:v1", tmp_path, add_file=f"{tmp_path}/group:etc/group")
    harness.run([harness.CORACLE, "image", "--name", cluster.name, "import", archive])
    shared = {"runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000]}
    merged = run_with(api, pods, "id -G", None, shared, name="merged", image="local/groups:v1")
    strict = run_with(api, pods, "id -G", None, {**shared, "supplementalGroupsPolicy": "Strict"}, name="strict",
                      image="local/groups:v1")
    assert set(merged.split()) == {"3000", "4000", "4321"}
    assert set(strict.split()) == {"3000", "4000"}


def test_the_policy_says_when_the_group_of_a_volume_is_looked_at_again(api, pods, claims):
    api.create(claims, claim())

    def run(name, script, policy):
        pod, text = run_to_end(api, pods, script, name=name, **claimed(),
                               securityContext={"fsGroup": 2000, "fsGroupChangePolicy": policy})
        assert pod["status"]["phase"] == "Succeeded", (pod["status"], text)
        return text

    run("first", "touch /volume/file; chown 0:0 /volume/file", "Always")
    assert run("second", "stat -c %g /volume/file", "OnRootMismatch") == "0\n"
    assert run("third", "stat -c %g /volume/file", "Always") == "2000\n"
    run("fourth", "chown 0:0 /volume/file /volume", "OnRootMismatch")
    assert run("fifth", "stat -c %g /volume/file", "OnRootMismatch") == "2000\n"


# ---- privileges ----

NET_BIND_SERVICE, NET_RAW, NET_ADMIN = 1 << 10, 1 << 13, 1 << 12


@pytest.mark.parametrize("capabilities, has, lacks", [
    ({}, NET_BIND_SERVICE | NET_RAW, NET_ADMIN),
    ({"add": ["NET_ADMIN"]}, NET_BIND_SERVICE | NET_RAW | NET_ADMIN, 0),
    ({"drop": ["NET_RAW"]}, NET_BIND_SERVICE, NET_RAW | NET_ADMIN),
    ({"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}, NET_BIND_SERVICE, ~NET_BIND_SERVICE),
    ({"add": ["ALL"], "drop": ["NET_RAW"]}, NET_BIND_SERVICE | NET_ADMIN, NET_RAW),
], ids=["default", "add", "drop", "only", "all-but"])
def test_capabilities_are_added_and_dropped(api, pods, capabilities, has, lacks):
    status = process_status(run_with(api, pods, "cat /proc/self/status", {"capabilities": capabilities}))
    for kind in ("CapEff", "CapBnd"):
        assert int(status[kind], 16) & has == has
        assert not int(status[kind], 16) & lacks


@pytest.mark.parametrize("context, told", [({}, "0"), ({"allowPrivilegeEscalation": False}, "1"),
                                           ({"allowPrivilegeEscalation": True}, "0")], ids=["unset", "false", "true"])
def test_a_program_may_gain_privileges_unless_the_container_says_no(api, pods, context, told):
    assert process_status(run_with(api, pods, "cat /proc/self/status", context))["NoNewPrivs"] == told


def test_a_read_only_root_leaves_volumes_writable(api, pods):
    script = "touch /file 2>/dev/null || echo refused; touch /volume/file && touch /dev/shm/file && echo written"
    pod = harness.shell_pod("it", script, restartPolicy="Never", volumes=[{"name": "it", "emptyDir": {}}], container={
        "securityContext": {"readOnlyRootFilesystem": True}, "volumeMounts": [{"name": "it", "mountPath": "/volume"}]})
    api.create(pods, pod)
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") == "Succeeded")
    assert log(api, pods).splitlines() == ["refused", "written"]


@pytest.mark.parametrize("context, refused", [({}, set()), ({"readOnlyRootFilesystem": True},
                                                            {"hostname", "resolv.conf"})], ids=["writable", "read-only"])
def test_the_files_of_a_pod_are_as_writable_as_upstreams(api, pods, context, refused):
    script = "for file in hosts hostname resolv.conf; do { echo '# mine' >> /etc/$file; } 2>/dev/null || echo $file; done"
    assert set(run_with(api, pods, script, context).split()) == refused


def test_what_is_mounted_in_place_of_a_file_of_the_pod_stays_however_it_is_written(api, pods):
    items = [{"path": name, "fieldRef": {"fieldPath": "metadata.name"}} for name in ("hosts", "hostname", "resolv.conf")]
    mounts = [{"name": "it", "subPath": name, "mountPath": path} for name, path in (
        ("hosts", "/etc/hosts/"), ("hostname", "/etc//hostname"), ("resolv.conf", "/etc/./resolv.conf"))]
    api.create(pods, harness.shell_pod("it", "cat /etc/hosts; echo; cat /etc/hostname; echo; cat /etc/resolv.conf",
                                       restartPolicy="Never", volumes=[{"name": "it", "downwardAPI": {"items": items}}],
                                       container={"volumeMounts": mounts}))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") in ("Succeeded", "Failed"))
    assert log(api, pods).split() == ["it"] * 3


# ---- /proc and user namespaces ----

def test_proc_is_masked_in_all_but_privileged_containers(api, pods):
    script = "{ echo 1 > /proc/sys/net/ipv4/tcp_syncookies && echo written; wc -c < /proc/keys; true; } 2>/dev/null"
    assert run_with(api, pods, script).splitlines() == ["0"]
    assert run_with(api, pods, script, {"privileged": True}, name="free").splitlines()[0] == "written"


@pytest.mark.parametrize("context", [{}, {"procMount": "Unmasked"}], ids=["users", "proc"])
def test_a_pod_that_asks_for_a_user_namespace_does_not_get_the_nodes(api, namespace, pods, context):
    """Nodes make none: as upstream's, where the runtime makes none, they start no container with the node's root."""
    api.create(pods, harness.shell_pod("it", "cat /proc/interrupts", container={"securityContext": context}, hostUsers=False))
    wait_for_event(api, namespace, "FailedCreatePodSandBox", "^Failed to create pod sandbox: can't set `spec.hostUsers: "
                   "false`, runtime does not support user namespaces$")
    pod = api.ok("GET", f"{pods}/it")
    assert pod["status"]["phase"] == "Pending"
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"


# ---- sysctls ----

def test_safe_sysctls_are_the_pods_own(api, pods):
    context = {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "321"},
                           {"name": "net/ipv4/ip_local_port_range", "value": "40000 40010"},
                           {"name": "kernel.shm_rmid_forced", "value": "1"}]}
    show = ("cd /proc/sys; cat net/ipv4/tcp_keepalive_time net/ipv4/ip_local_port_range kernel/shm_rmid_forced "
            "net/ipv4/ip_unprivileged_port_start")
    assert run_with(api, pods, show, None, context).split() == ["321", "40000", "40010", "1", "0"]
    assert run_with(api, pods, show, name="other").split()[0] != "321"


def test_other_sysctls_are_refused_by_the_node(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "true", securityContext={
        "sysctls": [{"name": "net/core/somaxconn", "value": "1024"}]}))
    status = harness.wait_for(api, pods, lambda items: items and items[0]["status"]["phase"] == "Failed" and items[0])["status"]
    assert status["reason"] == "SysctlForbidden"
    assert status["message"] == 'Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted'
    assert not status.get("containerStatuses")
    wait_for_event(api, namespace, "SysctlForbidden", '^forbidden sysctl: "net.core.somaxconn" not allowlisted$')


def test_a_node_may_allow_unsafe_sysctls(make_cluster):
    cluster = make_cluster(arguments=["--allowed-unsafe-sysctls", "net.core.somaxconn,kernel.shm*"])
    cluster.start()
    context = {"sysctls": [{"name": "net.core.somaxconn", "value": "77"}, {"name": "kernel.shmmni", "value": "99"}]}
    text = run_with(cluster.api, "/api/v1/namespaces/default/pods",
                    "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni", None, context)
    assert text.split() == ["77", "99"]
