"""Volumes: what is in them, who may write, and that what changes outside changes inside, all at once."""
import os
import re
import socket
import stat

import pytest

import harness
from test_pod import container, log, phase, run_to_end, wait_for_event

MOUNT = "/volume"


def mounted(volume, **mount):
    """Options of shell_pod for a pod with one volume at /volume."""
    return {"volumes": [{"name": "it", **volume}],
            "container": {"volumeMounts": [{"name": "it", "mountPath": MOUNT, **mount}]}}


@pytest.fixture
def settings(api, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.create(path, {"metadata": {"name": "settings"}, "data": {"a": "one", "b": "two"},
                      "binaryData": {"raw": "AP8="}})
    return path + "/settings"


def test_empty_dir_starts_empty_and_is_shared(api, pods):
    body = harness.shell_pod("it", "", restartPolicy="Never", volumes=[{"name": "it", "emptyDir": {}}])
    mount = {"image": harness.IMAGE_V1, "volumeMounts": [{"name": "it", "mountPath": MOUNT}]}
    body["spec"]["containers"] = [
        {"name": "writer", "command": ["sh", "-c", "ls -A /volume; echo hello > /volume/.new && mv /volume/.new "
                                                   "/volume/file"], **mount},
        {"name": "reader", "command": ["sh", "-c", "until test -e /volume/file; do usleep 20000; done; "
                                                   "cat /volume/file"], **mount}]
    api.create(pods, body)
    harness.wait_for(api, pods, phase("Succeeded"))
    assert log(api, pods, container="writer") == ""
    assert log(api, pods, container="reader") == "hello\n"


def test_empty_dir_in_memory_has_its_size(api, pods):
    script = "mount | grep ' /volume '; dd if=/dev/zero of=/volume/x bs=1M count=8 2>&1 | tail -1; stat -c %s /volume/x"
    _, text = run_to_end(api, pods, script, **mounted({"emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}))
    assert "tmpfs" in text.splitlines()[0]
    assert int(text.split()[-1]) <= 2 * 1024 * 1024


def test_empty_dir_of_an_unknown_medium(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "true", **mounted({"emptyDir": {"medium": "Foo"}})))
    wait_for_event(api, namespace, "FailedMount",
                   'MountVolume.SetUp failed for volume "it" : unknown storage medium "Foo"')


def test_empty_dir_over_its_size_evicts(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "dd if=/dev/zero of=/volume/x bs=1M count=8; exec sleep 1000",
                                       **mounted({"emptyDir": {"sizeLimit": "1Mi"}})))
    pod = harness.wait_for(api, pods, phase("Failed"), timeout=120 * harness.PATIENCE)[0]
    assert pod["status"]["reason"] == "Evicted"
    assert 'Usage of EmptyDir volume "it" exceeds the limit "1Mi".' in pod["status"]["message"]


def test_config_map_files(api, pods, settings):
    script = "cd /volume; for f in *; do echo $f $(stat -L -c %a $f); done; cat a b; od -An -tx1 raw"
    _, text = run_to_end(api, pods, script, **mounted({"configMap": {"name": "settings"}}))
    assert text.split() == ["a", "644", "b", "644", "raw", "644", "onetwo", "00", "ff"]


def test_config_map_items_and_modes(api, pods, settings):
    script = ("cd /volume; find . -follow -type f | grep -v '/[.][.]' | sort | while read f; "
              "do echo $f $(stat -L -c %a $f) $(cat $f); done")
    _, text = run_to_end(api, pods, script, **mounted({"configMap": {
        "name": "settings", "defaultMode": 0o400, "items": [{"key": "a", "path": "deep/er/one"},
                                                            {"key": "b", "path": "two", "mode": 0o640}]}}))
    assert text.splitlines() == ["./deep/er/one 400 one", "./two 640 two"]


def test_secret_files_are_in_memory_and_closed(api, namespace, pods):
    api.create(f"/api/v1/namespaces/{namespace}/secrets",
               {"metadata": {"name": "keys"}, "stringData": {"k": "hunter2"}})
    _, text = run_to_end(api, pods, "cat /volume/k; echo; stat -L -c %a /volume/k; mount | grep ' /volume '",
                         **mounted({"secret": {"secretName": "keys", "defaultMode": 0o400}}))
    lines = text.splitlines()
    assert lines[:2] == ["hunter2", "400"]
    assert "tmpfs" in lines[2]


def test_fields_of_the_pod_are_files_and_follow_it(api, pods):
    body = harness.shell_pod(
        "it", "cd /volume; cat labels; echo; cat name cpu; echo; stat -L -c %a labels; until grep -q new labels; "
              "do usleep 20000; done; cat labels; echo; cat notes",
        restartPolicy="Never", **mounted({"downwardAPI": {"items": [
            {"path": "labels", "mode": 0o440, "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
            {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}}]}}))
    body["metadata"]["labels"] = {"b": "two", "a": "one"}
    body["metadata"]["annotations"] = {"said": '"hi"'}
    body["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1500m"}}
    api.create(pods, body)
    harness.eventually(lambda: "440" in log(api, pods), what="the first look")
    api.patch(pods + "/it", {"metadata": {"labels": {"b": "new"}}})
    harness.wait_for(api, pods, phase("Succeeded"))
    assert log(api, pods) == 'a="one"\nb="two"\nit2\n440\na="one"\nb="new"\nsaid="\\"hi\\""'


def test_projected_files_of_several_sources(api, namespace, pods, settings):
    api.create(f"/api/v1/namespaces/{namespace}/secrets",
               {"metadata": {"name": "keys"}, "stringData": {"k": "hunter2"}})
    script = "cd /volume; for f in *; do echo $f $(stat -L -c %a $f) $(cat $f); done; mount | grep ' /volume '"
    _, text = run_to_end(api, pods, script, **mounted({"projected": {"defaultMode": 0o444, "sources": [
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "one"}]}},
        {"secret": {"name": "keys", "items": [{"key": "k", "path": "two", "mode": 0o400}]}},
        {"downwardAPI": {"items": [{"path": "who", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"secret": {"name": "none", "optional": True}}]}}))
    lines = text.splitlines()
    assert lines[:3] == ["one 444 one", "two 400 hunter2", f"who 444 {namespace}"]
    assert "tmpfs" in lines[3]


@pytest.mark.parametrize("volume", [{"configMap": {"name": "none", "optional": True}},
                                    {"secret": {"secretName": "none", "optional": True}}])
def test_an_optional_source_may_be_missing(api, pods, volume):
    _, text = run_to_end(api, pods, "ls /volume | wc -l", **mounted(volume))
    assert text.strip() == "0"


def test_a_missing_source_holds_the_pod_until_it_comes(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "cat /volume/a", restartPolicy="Never",
                                       **mounted({"configMap": {"name": "later"}})))
    wait_for_event(api, namespace, "FailedMount",
                   'MountVolume.SetUp failed for volume "it" : configmap "later" not found')
    assert api.ok("GET", f"{pods}/it")["status"]["phase"] == "Pending"
    api.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "later"}, "data": {"a": "came"}})
    harness.wait_for(api, pods, phase("Succeeded"))
    assert log(api, pods) == "came"


def test_mounted_files_change_all_at_once(api, pods, settings):
    """The reader sees both keys of one version through one directory handle, never a mixture."""
    script = ("while :; do d=$(readlink -f /volume/..data); echo $(cat $d/a 2>/dev/null) $(cat $d/b 2>/dev/null); "
              "usleep 10000; done")
    api.create(pods, harness.shell_pod("it", script, **mounted({"configMap": {"name": "settings"}})))
    harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready"))
    for number in range(1, 4):
        value = f"version{number}"
        api.patch(settings, {"data": {"a": value, "b": value}})
        harness.eventually(lambda: f"{value} {value}" in log(api, pods, tailLines=5), timeout=120 * harness.PATIENCE)
    pairs = {line for line in log(api, pods).splitlines() if len(line.split()) == 2}
    assert pairs <= {"one two", "version1 version1", "version2 version2", "version3 version3"}


def test_a_sub_path_is_one_file(api, pods, settings):
    _, text = run_to_end(api, pods, "cat /etc/a.conf; ls /etc/passwd", volumes=[
        {"name": "it", "configMap": {"name": "settings"}}], container={
            "volumeMounts": [{"name": "it", "mountPath": "/etc/a.conf", "subPath": "a"}]})
    assert text == "one/etc/passwd\n"


@pytest.mark.parametrize("empty_dir, mode", [({}, "777"), ({"medium": "Memory"}, "1777")], ids=["disk", "memory"])
def test_sub_path_of_an_empty_dir_is_made(api, pods, empty_dir, mode):
    script = "echo x > /volume/f; ls /all/some/where; stat -c %a /all /all/some /all/some/where"
    _, text = run_to_end(api, pods, script, volumes=[{"name": "it", "emptyDir": empty_dir}], container={
        "securityContext": {"runAsUser": 1000}, "volumeMounts": [
            {"name": "it", "mountPath": MOUNT, "subPath": "some/where"},
            {"name": "it", "mountPath": "/all"}]})
    assert text.split() == ["f", mode, "755", mode]


def test_a_sub_path_that_is_made_has_the_pods_group(api, pods):
    _, text = run_to_end(api, pods, "echo x > /volume/f; stat -c '%a %g' /volume; stat -c %g /volume/f",
                         volumes=[{"name": "it", "emptyDir": {}}],
                         securityContext={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000},
                         container={"volumeMounts": [{"name": "it", "mountPath": MOUNT, "subPath": "q/w"}]})
    assert text.split() == ["2777", "2000", "2000"]


def test_a_sub_path_may_be_made_of_variables(api, namespace, pods):
    name = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    _, text = run_to_end(api, pods, "echo x > /volume/f; ls /all/logs/it-$(echo $NAMESPACE)",
                         volumes=[{"name": "it", "emptyDir": {}}], container={
                             "securityContext": {"runAsUser": 1000},
                             "env": [name, {"name": "NAMESPACE", "value": namespace}], "volumeMounts": [
                                 {"name": "it", "mountPath": MOUNT, "subPathExpr": "logs/$(NAME)-$(NAMESPACE)"},
                                 {"name": "it", "mountPath": "/all"}]})
    assert text == "f\n"


def test_a_mount_does_not_hide_those_below_it(api, pods, settings):
    script = ("cd /data && ls cm inner && echo x > new && echo y > inner/new && cat new inner/new && grep -q localhost "
              "/etc/hosts && ls /etc/own && echo done > /dev/termination-log")
    pod, text = run_to_end(api, pods, script, volumes=[
        {"name": "f", "emptyDir": {}}, {"name": "cm", "configMap": {"name": "settings"}},
        {"name": "all", "emptyDir": {}}, {"name": "etc", "emptyDir": {}}], container={
            "volumeMounts": [{"name": "f", "mountPath": "/data/inner"}, {"name": "cm", "mountPath": "/data/cm"},
                             {"name": "all", "mountPath": "/data"}, {"name": "cm", "mountPath": "/etc/own"},
                             {"name": "etc", "mountPath": "/etc/"}]})
    assert text.split() == ["cm:", "a", "b", "raw", "inner:", "x", "y", "a", "b", "raw"], text
    assert container(pod)["state"]["terminated"]["message"] == "done\n"


def test_a_sub_path_of_unknown_variables_holds_the_container(api, namespace, pods):
    body = harness.shell_pod("it", "true", volumes=[{"name": "it", "emptyDir": {}}], container={
        "volumeMounts": [{"name": "it", "mountPath": MOUNT, "subPathExpr": "$(NOBODY)"}]})
    api.create(pods, body)
    wait_for_event(api, namespace, "Failed", "^Error: missing value for NOBODY$")


def test_a_sub_path_leads_nowhere_else(api, pods):
    body = harness.shell_pod("it", "true", volumes=[{"name": "it", "emptyDir": {}}], container={
        "volumeMounts": [{"name": "it", "mountPath": MOUNT, "subPath": "../../etc"}]})
    response = api.request("POST", pods, body)
    assert response.status == 422
    assert "must not contain '..'" in response.json["message"]


def test_read_only_means_it(api, pods):
    _, text = run_to_end(api, pods, "touch /volume/x 2>&1", **mounted({"emptyDir": {}}, readOnly=True))
    assert "Read-only file system" in text


def test_a_config_map_is_read_only(api, pods, settings):
    _, text = run_to_end(api, pods, "(echo x > /volume/a) 2>&1; touch /volume/new 2>&1; cat /volume/a",
                         **mounted({"configMap": {"name": "settings"}}))
    assert text.endswith("one") and "Read-only file system" in text


def test_host_path(api, pods, tmp_path):
    (tmp_path / "file").write_text("from the node")
    _, text = run_to_end(api, pods, "cat /volume/file; echo back > /volume/answer",
                         **mounted({"hostPath": {"path": str(tmp_path), "type": "Directory"}}))
    assert text == "from the node"
    assert (tmp_path / "answer").read_text() == "back\n"


def test_a_host_path_is_made_where_that_is_asked_for(api, pods, tmp_path):
    """DirectoryOrCreate and FileOrCreate make what is missing and take what is there."""
    for number in range(2):
        api.create(pods, harness.shell_pod(f"it-{number}", "echo run >> /directory/runs; echo run >> /file",
                                           restartPolicy="Never", volumes=[
            {"name": "d", "hostPath": {"path": str(tmp_path / "deep/directory"), "type": "DirectoryOrCreate"}},
            {"name": "f", "hostPath": {"path": str(tmp_path / "file"), "type": "FileOrCreate"}}],
            container={"volumeMounts": [{"name": "d", "mountPath": "/directory"}, {"name": "f", "mountPath": "/file"}]}))
        harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3Dit-{number}", phase("Succeeded"))
    assert (tmp_path / "deep/directory/runs").read_text() == "run\n" * 2
    assert (tmp_path / "file").read_text() == "run\n" * 2
    assert (tmp_path / "deep/directory").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind, make", [
    ("Socket", lambda path: socket.socket(socket.AF_UNIX).bind(str(path))),
    ("CharDevice", lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))),
    ("BlockDevice", lambda path: os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, 0))),
])
def test_a_host_path_of_a_special_type(api, pods, tmp_path, kind, make):
    path = tmp_path / "special"
    make(path)
    letter = {"Socket": "s", "CharDevice": "c", "BlockDevice": "b"}[kind]
    _, text = run_to_end(api, pods, "ls -l /volume", **mounted({"hostPath": {"path": str(path), "type": kind}}))
    assert text.startswith(letter)


@pytest.mark.parametrize("kind, message", [
    ("DirectoryOrCreate", "hostPath type check failed: {path} is not a directory"),
    ("FileOrCreate", "hostPath type check failed: {path} is not a file"),
    ("Socket", "hostPath type check failed: {path} is not a socket file"),
    ("CharDevice", "hostPath type check failed: {path} is not a character device"),
    ("BlockDevice", "hostPath type check failed: {path} is not a block device"),
])
def test_a_host_path_that_is_there_is_of_the_type(api, namespace, pods, tmp_path, kind, message):
    path = tmp_path / "it"
    os.mkfifo(path)
    api.create(pods, harness.shell_pod("it", "true", **mounted({"hostPath": {"path": str(path), "type": kind}})))
    wait_for_event(api, namespace, "FailedMount", re.escape(message.format(path=path)))


@pytest.mark.parametrize("kind, message", [
    ("Directory", "hostPath type check failed: {path} is not a directory"),
    ("File", "hostPath type check failed: {path} is not a file"),
])
def test_a_host_path_of_the_wrong_type(api, namespace, pods, tmp_path, kind, message):
    path = tmp_path / "nothing"
    api.create(pods, harness.shell_pod("it", "true", **mounted({"hostPath": {"path": str(path), "type": kind}})))
    wait_for_event(api, namespace, "FailedMount", re.escape(message.format(path=path)))


def test_data_of_a_volume_outlives_a_container_but_not_a_pod(api, pods):
    api.create(pods, harness.shell_pod("it", "echo run >> /volume/runs; test $(wc -l < /volume/runs) -ge 2",
                                       restartPolicy="OnFailure", **mounted({"emptyDir": {}})))
    pod = harness.wait_for(api, pods, phase("Succeeded"))[0]
    assert container(pod)["restartCount"] == 1


def test_read_only_holds_for_mounts_below_where_that_is_asked_for(api, pods):
    def reader(name, **mount):
        return {"name": name, "image": harness.IMAGE_V1, "command": ["sh", "-c", (
            "touch /outer/x 2>/dev/null && echo top; touch /outer/below/x 2>/dev/null && echo below; echo end; "
            "exec sleep 1000")], "volumeMounts": [{"name": "outer", "mountPath": "/outer", **mount}]}

    mounter = {"name": "mounter", "image": harness.IMAGE_V1, "securityContext": {"privileged": True},
               "command": ["sh", "-c", "mkdir /outer/below && mount -t tmpfs tmpfs /outer/below"],
               "volumeMounts": [{"name": "outer", "mountPath": "/outer", "mountPropagation": "Bidirectional"}]}
    pod = harness.shell_pod("it", "", initContainers=[mounter], volumes=[{"name": "outer", "emptyDir": {}}])
    pod["spec"]["containers"] = [reader("plain", readOnly=True), reader("writes"),
                                 reader("deep", readOnly=True, recursiveReadOnly="Enabled"),
                                 reader("maybe", readOnly=True, recursiveReadOnly="IfPossible")]
    api.create(pods, pod)
    it = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    wrote = {name: harness.eventually(lambda: (text := log(api, pods, container=name)).endswith("end\n") and text).split()
             for name in ("plain", "writes", "deep", "maybe")}
    assert wrote == {"plain": ["below", "end"], "writes": ["top", "below", "end"], "deep": ["end"], "maybe": ["end"]}
    shown = {status["name"]: [(mount["readOnly"] if "readOnly" in mount else False, mount.get("recursiveReadOnly"))
                              for mount in status["volumeMounts"] if mount["name"] == "outer"]
             for status in it["status"]["containerStatuses"]}
    assert shown == {"plain": [(True, "Disabled")], "writes": [(False, None)], "deep": [(True, "Enabled")],
                     "maybe": [(True, "Enabled")]}


def test_a_volume_shows_the_content_of_an_image_that_nothing_changes_or_runs(api, pods, cluster):
    look = ("head -1 /data/etc/passwd; touch /data/x 2>/dev/null || echo read-only; "
            "/data/bin/model-server 2>/dev/null || echo not executable; ls /part; exec sleep 1000")
    api.create(pods, harness.shell_pod("it", look, container={"volumeMounts": [
        {"name": "content", "mountPath": "/data"}, {"name": "content", "mountPath": "/part", "subPath": "etc"}]},
        volumes=[{"name": "content", "image": {"reference": harness.IMAGE_V2}}]))
    it = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    assert it["spec"]["volumes"][0]["image"]["pullPolicy"] == "IfNotPresent"
    lines = harness.eventually(lambda: (text := log(api, pods)).count("\n") >= 4 and text).splitlines()
    assert lines[0].startswith("root:") and lines[1:3] == ["read-only", "not executable"] and "passwd" in lines[3:]
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)


def test_a_volume_of_an_image_that_is_not_there_says_so_at_the_containers(api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "true", volumes=[
        {"name": "content", "image": {"reference": "local/none:v1", "pullPolicy": "Never"}}]))
    it = harness.wait_for(api, pods, lambda items: items and (items[0]["status"].get("containerStatuses") or [{}])[0].get(
        "state", {}).get("waiting", {}).get("reason") == "ErrImageNeverPull" and items[0])
    assert it["status"]["phase"] == "Pending"
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)
