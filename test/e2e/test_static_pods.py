"""Static pods: coracle up --pod-manifest-path DIR runs what the files of a folder say, with a mirror of each in the API."""
import json

import pytest
import yaml

import harness

PODS = "/api/v1/namespaces/default/pods"


def manifest(name="web", script="exec sleep 1000", **spec):
    pod = harness.shell_pod(name, script, terminationGracePeriodSeconds=1, **spec)
    return pod


@pytest.fixture
def node(make_cluster, tmp_path):
    """A cluster with a folder of static pods that has one pod from the beginning."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder, "web.yaml", manifest())
    cluster = make_cluster(arguments=["--pod-manifest-path", str(folder)])
    cluster.folder = folder
    cluster.start()
    return cluster


def write(folder, file, pod):
    """As editors do it: another file that takes the place of the old one."""
    text = pod if isinstance(pod, str) else json.dumps(pod) if file.endswith(".json") else yaml.safe_dump(pod)
    (folder / f".{file}.new").write_text(text)
    (folder / f".{file}.new").rename(folder / file)


def mirror(cluster, name="web", condition=lambda pod: harness.is_true(pod, "Ready")):
    return harness.wait_for(cluster.api, PODS, lambda items: next(
        (item for item in items if item["metadata"]["name"] == f"{name}-{cluster.name}" and condition(item)), None))


def gone(cluster, name="web"):
    harness.wait_for(cluster.api, PODS, lambda items: not any(
        item["metadata"]["name"] == f"{name}-{cluster.name}" for item in items))


def container_of(pod):
    return pod["status"]["containerStatuses"][0]["containerID"]


def test_a_file_is_a_pod_with_a_mirror(node):
    pod = mirror(node)
    annotations = pod["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
    assert "kubernetes.io/config.seen" in annotations
    assert pod["metadata"]["uid"] != annotations["kubernetes.io/config.hash"]
    [owner] = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Node", node.name, True)
    assert pod["spec"]["nodeName"] == node.name
    assert pod["status"]["phase"] == "Running" and pod["status"]["podIP"]
    assert {"operator": "Exists", "effect": "NoExecute"} in pod["spec"]["tolerations"]
    kubectl = node.kubectl("1.35", "default")
    assert "Started" in harness.eventually(lambda: "Started" in (text := kubectl("describe", "pod", f"web-{node.name}"))
                                           and text)


def test_its_kernel_settings_are_checked_as_those_of_other_pods(node):
    write(node.folder, "unsafe.yaml", manifest("unsafe", securityContext={
        "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}))
    status = mirror(node, "unsafe", lambda pod: pod["status"].get("phase") == "Failed")["status"]
    assert status["reason"] == "SysctlForbidden"
    assert status["message"] == 'Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted'
    # Another file is another pod.
    write(node.folder, "unsafe.yaml", manifest("unsafe", securityContext={
        "sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "321"}]}))
    mirror(node, "unsafe")
    (node.folder / "unsafe.yaml").unlink()
    gone(node, "unsafe")


def test_its_log_is_read_through_the_mirror(node):
    write(node.folder, "talk.yaml", manifest("talk", "echo here I am; exec sleep 1000"))
    mirror(node, "talk")
    for version in harness.KUBECTLS:
        kubectl = node.kubectl(version, "default")
        assert harness.eventually(lambda: kubectl("logs", f"talk-{node.name}")) == "here I am\n"


def test_it_follows_its_file(node):
    first = mirror(node)
    write(node.folder, "other.json", manifest("other"))
    mirror(node, "other")
    changed = manifest(script="trap 'exit 0' TERM; while :; do usleep 20000; done")
    write(node.folder, "web.yaml", changed)
    second = mirror(node, condition=lambda pod: harness.is_true(pod, "Ready") and
                    container_of(pod) != container_of(first))
    assert second["metadata"]["annotations"]["kubernetes.io/config.hash"] != \
        first["metadata"]["annotations"]["kubernetes.io/config.hash"]
    (node.folder / "web.yaml").unlink()
    gone(node)
    assert container_of(mirror(node, "other"))
    # What says the same in other words is the same pod.
    before = mirror(node, "other")
    write(node.folder, "other.json", json.dumps(manifest("other"), indent=8))
    write(node.folder, "last.yaml", manifest("last"))
    mirror(node, "last")
    assert container_of(mirror(node, "other")) == container_of(before)


def test_a_deleted_mirror_comes_back_and_the_pod_goes_on(node):
    first = mirror(node)
    node.kubectl("1.35", "default")("delete", "pod", f"web-{node.name}", "--wait=false")
    second = mirror(node, condition=lambda pod: harness.is_true(pod, "Ready") and
                    pod["metadata"]["uid"] != first["metadata"]["uid"])
    assert container_of(second) == container_of(first)


def test_bad_files_are_named_and_harm_nobody(node):
    first = mirror(node)
    write(node.folder, "bad.yaml", "a: [")
    write(node.folder, "config.yaml", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
    write(node.folder, "secret.yaml", manifest("secret", volumes=[{"name": "v", "secret": {"secretName": "s"}}]))
    write(node.folder, "invalid.yaml", manifest("Not_A_Name"))
    write(node.folder, "twin.yaml", {**manifest(), "metadata": {"name": "web"}})
    (node.folder / "folder.yaml").mkdir()
    (node.folder / "empty.yaml").touch()
    write(node.folder, "web.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {}\n")
    write(node.folder, "good.yaml", manifest("good"))
    mirror(node, "good")
    said = [f"{node.folder}/bad.yaml is not taken: yaml: line 1: did not find expected node content",
            f"{node.folder}/config.yaml is not taken: invalid pod: it is v1, Kind=ConfigMap",
            f"{node.folder}/secret.yaml is not taken: static pods may not reference secrets",
            f"{node.folder}/invalid.yaml is not taken: invalid pod: metadata.name: Invalid value",
            f"{node.folder}/web.yaml is not taken: invalid pod: spec.containers: Required value"]
    for text in said:
        harness.eventually(lambda: text in node.log_path.read_text(), what=text)
    assert "folder.yaml" not in node.log_path.read_text() and "empty.yaml" not in node.log_path.read_text()
    # A pod whose file is spoiled goes on as it was.
    assert container_of(mirror(node)) == container_of(first)
    # Reported once, not at each look.
    assert node.log_path.read_text().count(said[0]) == 1


def test_what_the_api_refuses(node):
    mirror(node)
    path = f"{PODS}/web-{node.name}"
    answer = node.api.request("PATCH", f"{path}/ephemeralcontainers", {"spec": {"ephemeralContainers": [
        {"name": "x", "image": harness.IMAGE_V1}]}}, headers={"Content-Type": "application/strategic-merge-patch+json"})
    assert answer.status == 422 and "static pods do not support ephemeral containers" in answer.json["message"]
    answer = node.api.request("PATCH", path, {"metadata": {"annotations": {"kubernetes.io/config.mirror": None}}},
                              headers={"Content-Type": "application/merge-patch+json"})
    assert answer.status == 422 and "may not remove or update mirror pod annotation" in answer.json["message"]


def test_it_outlives_the_cluster_process_and_is_taken_up_again(node):
    write(node.folder, "once.yaml", manifest("once", "exit 0", restartPolicy="Never"))
    mirror(node, "once", lambda pod: pod["status"]["phase"] == "Succeeded")
    write(node.folder, "away.yaml", manifest("away"))
    mirror(node, "away")
    first = mirror(node)
    node.kill()
    (node.folder / "away.yaml").unlink()
    write(node.folder, "new.yaml", manifest("new"))
    node.start()
    mirror(node, "new")
    gone(node, "away")
    again = mirror(node)
    assert container_of(again) == container_of(first)
    assert again["status"]["containerStatuses"][0]["restartCount"] == 0
    assert mirror(node, "once", lambda pod: True)["status"]["phase"] == "Succeeded"


def test_without_the_option_old_mirrors_go(node):
    mirror(node)
    node.kill()
    node.arguments = []
    node.start()
    gone(node)


def test_the_folder_has_to_be_one(tmp_path):
    result = harness.run([harness.CORACLE, "up", "--sandbox", "--pod-manifest-path", tmp_path / "none"], check=False)
    assert result.returncode == 2
    assert "--pod-manifest-path" in result.stderr and "is not a folder" in result.stderr
