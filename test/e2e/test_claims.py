"""Claims and volumes on a real node: what is mounted and how, what becomes of the data when the claim goes, and what is
said when nothing comes of it."""
import os
import pathlib
import re

import pytest

import harness
from test_pod import container, log, phase, run_to_end, wait_for_event
from test_volumes import mounted

VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"


@pytest.fixture
def claims(namespace):
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"


@pytest.fixture
def make_volume(api, namespace):
    """Makes PersistentVolumes by hand, of a class that is this test's alone; they go with the test."""
    names = []

    def make(name="v", policy="Retain", **spec):
        names.append(f"{namespace}-{name}")
        return api.create(VOLUMES, {"metadata": {"name": names[-1]}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": namespace,
            "persistentVolumeReclaimPolicy": policy, **spec}})["metadata"]["name"]

    yield make
    for name in names:
        api.request("DELETE", f"{VOLUMES}/{name}")


def local(path, **spec):
    """A local volume; it has to say which nodes have it."""
    return {"local": {"path": str(path)}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}]}}, **spec}


def claim(name="it", **spec):
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
                                                 "resources": {"requests": {"storage": "1Gi"}}, **spec}}


def claimed(name="it", read_only=None, **mount):
    """Options of shell_pod for a pod with a claim at /volume."""
    source = {"claimName": name} if read_only is None else {"claimName": name, "readOnly": read_only}
    return mounted({"persistentVolumeClaim": source}, **mount)


def wait_for_claim(api, claims, wanted="Bound", name="it"):
    return harness.wait_for(api, claims, lambda items: next(
        (item for item in items if item["metadata"]["name"] == name and item["status"].get("phase") == wanted), None),
        what=f"the phase {wanted} of the claim")


def wait_for_volume(api, name, wanted):
    """The PersistentVolume in that phase; None: until it is gone."""
    def condition(items):
        if wanted is None:
            return not items
        return items and items[0]["status"].get("phase") == wanted and items[0]
    return harness.wait_for(api, f"{VOLUMES}?fieldSelector=metadata.name%3D{name}", condition,
                            what=f"the phase {wanted} of the volume")


def release(api, claims, pods=None):
    """Deletes the pod, if there is one, and the claim."""
    if pods:
        api.ok("DELETE", f"{pods}/it?gracePeriodSeconds=0")
        harness.wait_for(api, pods, lambda items: not items or None)
    api.ok("DELETE", f"{claims}/it")
    harness.wait_for(api, claims, lambda items: not items or None)


# ---- the class local-path ----

def test_a_claim_without_a_class_is_served_on_the_node_of_its_first_pod(api, namespace, pods, claims):
    api.create(claims, claim())
    wait_for_event(api, namespace, "WaitForFirstConsumer", "^waiting for first consumer to be created before binding$")
    waiting = api.ok("GET", f"{claims}/it")
    assert waiting["spec"]["storageClassName"] == "local-path" and waiting["status"]["phase"] == "Pending"
    pod, _ = run_to_end(api, pods, "echo data > /volume/file; stat -c %a /volume", **claimed())
    assert log(api, pods) == "777\n"
    bound = wait_for_claim(api, claims)
    assert bound["status"]["capacity"] == {"storage": "1Gi"}
    wait_for_event(api, namespace, "ProvisioningSucceeded", "^Successfully provisioned volume pvc-")
    volume = api.ok("GET", f"{VOLUMES}/{bound['spec']['volumeName']}")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    [term] = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In",
                                         "values": [pod["spec"]["nodeName"]]}]
    folder = pathlib.Path(volume["spec"]["local"]["path"])
    assert (folder / "file").read_text() == "data\n"
    release(api, claims, pods)
    wait_for_volume(api, volume["metadata"]["name"], None)
    assert not folder.exists()


def test_a_claim_in_use_is_not_taken_away(api, pods, claims):
    api.create(claims, claim())
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", **claimed()))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))
    answer = api.ok("DELETE", f"{claims}/it")
    assert answer["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    folder = pathlib.Path(api.ok("GET", f"{VOLUMES}/{answer['spec']['volumeName']}")["spec"]["local"]["path"])
    assert folder.exists()
    api.ok("DELETE", f"{pods}/it?gracePeriodSeconds=0")
    harness.wait_for(api, claims, lambda items: not items or None)
    wait_for_volume(api, answer["spec"]["volumeName"], None)
    assert not folder.exists()


def test_what_is_retained_is_used_again_when_it_is_given_free(api, namespace, pods, claims):
    api.create(CLASSES, {"metadata": {"name": namespace}, "provisioner": "rancher.io/local-path",
                         "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"})
    api.create(claims, claim(storageClassName=namespace))
    run_to_end(api, pods, "echo data > /volume/file", **claimed())
    name = wait_for_claim(api, claims)["spec"]["volumeName"]
    release(api, claims, pods)
    volume = wait_for_volume(api, name, "Released")
    folder = pathlib.Path(volume["spec"]["local"]["path"])
    assert (folder / "file").read_text() == "data\n"
    api.create(claims, claim(storageClassName=namespace, volumeName=name))
    wait_for_event(api, namespace, "FailedBinding", "already bound to a different claim")
    api.patch(f"{VOLUMES}/{name}", {"spec": {"claimRef": None}})
    wait_for_claim(api, claims)
    _, text = run_to_end(api, pods, "cat /volume/file", **claimed())
    assert text == "data\n"
    release(api, claims, pods)
    wait_for_volume(api, name, "Released")
    api.ok("DELETE", f"{VOLUMES}/{name}")
    wait_for_volume(api, name, None)
    api.ok("DELETE", f"{CLASSES}/{namespace}")
    assert (folder / "file").exists()


def test_a_claim_that_the_class_cannot_serve_says_why(api, namespace, pods, claims):
    api.create(claims, claim(accessModes=["ReadWriteMany"]))
    api.create(pods, harness.shell_pod("it", "true", **claimed()))
    wait_for_event(api, namespace, "ProvisioningFailed", re.escape(
        'failed to provision volume with StorageClass "local-path": NodePath only supports ReadWriteOnce and '
        'ReadWriteOncePod (1.22+) access modes'))
    assert api.ok("GET", f"{claims}/it")["status"]["phase"] == "Pending"


# ---- volumes that were made by hand ----

@pytest.mark.parametrize("kind", ["hostPath", "local"])
def test_a_volume_made_by_hand_is_mounted(api, namespace, pods, claims, make_volume, tmp_path, kind):
    (tmp_path / "file").write_text("from the node\n")
    make_volume(**({"hostPath": {"path": str(tmp_path)}} if kind == "hostPath" else local(tmp_path)))
    api.create(claims, claim(storageClassName=namespace))
    wait_for_claim(api, claims)
    _, text = run_to_end(api, pods, "cat /volume/file; echo back > /volume/answer", **claimed())
    assert text == "from the node\n"
    assert (tmp_path / "answer").read_text() == "back\n"
    release(api, claims, pods)
    wait_for_volume(api, f"{namespace}-v", "Released")
    assert (tmp_path / "answer").exists()


def test_mount_options_hold_inside(api, namespace, pods, claims, make_volume, tmp_path):
    (tmp_path / "program").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "program").chmod(0o755)
    make_volume(**local(tmp_path, mountOptions=["ro", "noexec"]))
    api.create(claims, claim(storageClassName=namespace))
    _, text = run_to_end(api, pods, "mount | grep ' /volume '; touch /volume/x 2>&1; /volume/program 2>&1",
                         **claimed())
    first, write, execute = text.splitlines()
    options = re.search(r"\((.*)\)", first).group(1).split(",")
    assert {"ro", "noexec"} <= set(options)
    assert "Read-only file system" in write and "Permission denied" in execute


def test_a_read_only_claim_is_read_only(api, namespace, pods, claims, make_volume, tmp_path):
    (tmp_path / "file").write_text("kept\n")
    make_volume(**local(tmp_path))
    api.create(claims, claim(storageClassName=namespace))
    _, text = run_to_end(api, pods, "cat /volume/file; touch /volume/x 2>&1", **claimed(read_only=True))
    assert text.splitlines()[0] == "kept" and "Read-only file system" in text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("volume, message", [
    (local("/", mountOptions=["ro", "colour=blue"]),
     'MountVolume.SetUp failed for volume "{name}" : mount failed: unknown mount option "colour=blue"'),
    ({"hostPath": {"path": "/"}, "mountOptions": ["ro"]},
     'MountVolume.MountOptionSupport check failed for volume "{name}" : mount options are not supported for this volume '
     'type'),
    (local("/no/such/folder"),
     'MountVolume.NewMounter initialization failed for volume "{name}" : path "/no/such/folder" does not exist'),
])
def test_a_volume_that_cannot_be_mounted_says_why(api, namespace, pods, claims, make_volume, volume, message):
    name = make_volume(**volume)
    api.create(claims, claim(storageClassName=namespace))
    api.create(pods, harness.shell_pod("it", "true", **claimed()))
    wait_for_event(api, namespace, "FailedMount", "^" + re.escape(message.format(name=name)) + "$")
    assert api.ok("GET", f"{pods}/it")["status"]["phase"] == "Pending"


def test_a_pod_that_was_put_on_a_node_without_its_claim_says_so(cluster, api, namespace, pods, claims):
    [node] = api.ok("GET", "/api/v1/nodes")["items"]
    api.create(pods, harness.shell_pod("it", "true", nodeName=node["metadata"]["name"], restartPolicy="Never",
                                       **claimed()))
    beginning = ("Unable to attach or mount volumes: unmounted volumes=[it], unattached volumes=[], failed to process "
                 f"volumes=[it]: error processing PVC {namespace}/it: ")
    wait_for_event(api, namespace, "FailedMount", "^" + re.escape(
        beginning + 'failed to fetch PVC from API server: persistentvolumeclaims "it" not found') + "$")
    api.create(claims, claim())
    wait_for_event(api, namespace, "FailedMount", "^" + re.escape(beginning + "PVC is not bound") + "$")


# ---- what becomes of a hostPath ----

def test_delete_removes_a_host_path_below_tmp(api, namespace, pods, claims, make_volume, tmp_path):
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "beside").write_text("kept")
    (folder / "link").symlink_to(tmp_path / "beside")
    name = make_volume(policy="Delete", hostPath={"path": str(folder)})
    api.create(claims, claim(storageClassName=namespace))
    run_to_end(api, pods, "echo x > /volume/deep/file", **claimed())
    release(api, claims, pods)
    wait_for_volume(api, name, None)
    assert not folder.exists() and (tmp_path / "beside").read_text() == "kept"


def test_delete_leaves_every_other_host_path_alone(api, namespace, claims, make_volume, kubectl):
    name = make_volume(policy="Delete", hostPath={"path": "/srv/coracle-test"})
    api.create(claims, claim(storageClassName=namespace))
    wait_for_claim(api, claims)
    release(api, claims)
    message = "host_path deleter only supports /tmp/.+ but received provided /srv/coracle-test"
    assert wait_for_volume(api, name, "Failed")["status"]["message"] == message
    wait_for_event(api, "default", "VolumeFailedDelete", "^" + re.escape(message) + "$", name)
    assert re.search(r"^Message:\s+" + re.escape(message), kubectl("describe", "pv", name), re.MULTILINE)


def test_recycle_empties_a_host_path_and_offers_it_to_the_next(api, namespace, pods, claims, make_volume, tmp_path):
    name = make_volume(policy="Recycle", hostPath={"path": str(tmp_path)})
    api.create(claims, claim(storageClassName=namespace))
    run_to_end(api, pods, "mkdir /volume/.hidden; echo x > /volume/.hidden/file; echo y > /volume/file", **claimed())
    release(api, claims, pods)
    volume = wait_for_volume(api, name, "Available")
    assert "claimRef" not in volume["spec"] and not list(tmp_path.iterdir())
    wait_for_event(api, "default", "VolumeRecycled", "^Volume recycled$", name)
    api.create(claims, claim(storageClassName=namespace))
    wait_for_claim(api, claims)


def test_what_cannot_be_recycled_says_so(api, namespace, claims, make_volume, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    ours = make_volume("local", policy="Recycle", **local(tmp_path))
    api.create(claims, claim(storageClassName=namespace))
    wait_for_claim(api, claims)
    release(api, claims)
    assert wait_for_volume(api, ours, "Failed")["status"]["message"] == "No recycler plugin found for the volume!"
    file = make_volume("file", policy="Recycle", hostPath={"path": str(tmp_path / "file")})
    api.create(claims, claim(storageClassName=namespace))
    wait_for_claim(api, claims)
    release(api, claims)
    assert wait_for_volume(api, file, "Failed")["status"]["message"].startswith("Recycle failed: ")
    assert (tmp_path / "file").exists()


# ---- what does not come ----

def test_a_claim_that_never_binds_says_why_to_whoever_looks(api, namespace, pods, claims, kubectl):
    api.create(claims, claim(storageClassName="no-such-class"))
    api.create(claims, claim("plain", storageClassName=""))
    api.create(pods, harness.shell_pod("it", "true", **claimed()))
    wait_for_event(api, namespace, "ProvisioningFailed", '^storageclass.storage.k8s.io "no-such-class" not found$')
    wait_for_event(api, namespace, "FailedBinding",
                   "^no persistent volumes available for this claim and no storage class is set$", "plain")
    wait_for_event(api, namespace, "FailedScheduling", "pod has unbound immediate PersistentVolumeClaims")
    text = kubectl("describe", "pvc", "it")
    assert re.search(r"^Status:\s+Pending$", text, re.MULTILINE)
    assert 'storageclass.storage.k8s.io "no-such-class" not found' in text
    assert re.search(r"^(Used|Mounted) By:\s+it$", text, re.MULTILINE)
    assert "no storage class is set" in kubectl("describe", "pvc", "plain")
    assert "pod has unbound immediate PersistentVolumeClaims" in kubectl("describe", "pod", "it")


# ---- across an end of the agent ----

def test_a_mounted_claim_outlives_the_agent(make_cluster):
    cluster = make_cluster()
    cluster.start()
    pods, claims = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/persistentvolumeclaims"
    script = "until test -e /volume/go; do usleep 20000; done; echo later > /volume/file; exec sleep 1000"
    cluster.api.create(claims, claim())
    cluster.api.create(pods, harness.shell_pod("it", script, **claimed()))
    before = harness.wait_for(cluster.api, pods, lambda items: harness.is_true(items[0], "Ready") and items[0])
    name = wait_for_claim(cluster.api, claims)["spec"]["volumeName"]
    folder = pathlib.Path(cluster.api.ok("GET", f"{VOLUMES}/{name}")["spec"]["local"]["path"])
    cluster.kill()
    cluster.start()
    after = harness.wait_for(cluster.api, pods, lambda items: harness.is_true(items[0], "Ready") and items[0])
    assert container(after)["containerID"] == container(before)["containerID"]
    assert container(after)["restartCount"] == 0
    (folder / "go").touch()
    harness.eventually(lambda: (folder / "file").read_text() == "later\n")
    # A second pod, made by the new agent, sees the same; and nothing holds the volume when both are gone.
    cluster.api.create(pods, harness.shell_pod("second", "cat /volume/file", restartPolicy="Never", **claimed()))
    harness.wait_for(cluster.api, f"{pods}?fieldSelector=metadata.name%3Dsecond", phase("Succeeded"))
    assert log(cluster.api, pods, "second") == "later\n"
    cluster.api.ok("DELETE", f"{pods}/second")
    release(cluster.api, claims, pods)
    wait_for_volume(cluster.api, name, None)
    assert not folder.exists()


# ---- what else a volume can be asked for ----

def test_an_ephemeral_volume_is_a_claim_that_lives_as_long_as_its_pod(api, namespace, pods, claims):
    template = {"metadata": {"labels": {"kind": "scratch"}}, "spec": claim()["spec"]}
    api.create(pods, harness.shell_pod("it", "echo data > /volume/file; exec sleep 1000",
                                       **mounted({"ephemeral": {"volumeClaimTemplate": template}})))
    pod = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    made = wait_for_claim(api, claims, name="it-it")
    assert made["metadata"]["labels"] == {"kind": "scratch"}
    [owner] = made["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "it", "uid": pod["metadata"]["uid"],
                     "controller": True, "blockOwnerDeletion": True}
    volume = api.ok("GET", f"{VOLUMES}/{made['spec']['volumeName']}")
    folder = pathlib.Path(volume["spec"]["local"]["path"])
    harness.eventually(lambda: (folder / "file").read_text() == "data\n")
    api.ok("DELETE", f"{pods}/it?gracePeriodSeconds=0")
    harness.wait_for(api, claims, lambda items: not items or None)
    wait_for_volume(api, volume["metadata"]["name"], None)
    assert not folder.exists()


def test_an_ephemeral_volume_takes_no_claim_of_another(api, namespace, pods, claims):
    api.create(claims, claim("it-it"))
    api.create(pods, harness.shell_pod("it", "true", **mounted({"ephemeral": {
        "volumeClaimTemplate": {"spec": claim()["spec"]}}})))
    wait_for_event(api, namespace, "FailedScheduling", f"PVC {namespace}/it-it was not created for pod {namespace}/it")


def test_the_group_of_the_pod_gets_its_volume(api, namespace, pods, claims, make_volume, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("x")
    make_volume(**local(tmp_path))
    api.create(claims, claim(storageClassName=namespace))
    look = "stat -c '%g %a' /volume /volume/file; id -G; touch /volume/new && stat -c %g /volume/new"

    def seen(**security):
        _, text = run_to_end(api, pods, look, securityContext={"runAsUser": 1000, "fsGroup": 2000, **security},
                             **claimed())
        api.ok("DELETE", f"{pods}/it")
        harness.wait_for(api, pods, lambda items: not items or None)
        return text.splitlines()

    root, file, groups, new = seen()
    assert (root, file, new) == ("2000 2775", "2000 664", "2000") and "2000" in groups.split()
    # The policy looks at the root only: what has changed below stays as it is.
    os.chown(tmp_path / "file", 0, 7)
    assert seen(fsGroupChangePolicy="OnRootMismatch")[1].split()[0] == "7"
    assert seen(fsGroupChangePolicy="Always")[1].split()[0] == "2000"


def test_parts_of_a_claim_are_mounted_by_name(api, namespace, pods, claims, make_volume, tmp_path):
    make_volume(**local(tmp_path))
    api.create(claims, claim(storageClassName=namespace))
    mounts = [{"name": "it", "mountPath": "/whole"}, {"name": "it", "mountPath": "/part", "subPath": "deep/er"},
              {"name": "it", "mountPath": "/own", "subPathExpr": "pods/$(POD)"},
              {"name": "it", "mountPath": "/seen", "subPath": "deep", "readOnly": True}]
    pod, text = run_to_end(
        api, pods, "echo x > /part/file; echo y > /own/file; cat /whole/deep/er/file /seen/er/file; touch /seen/no 2>&1",
        volumes=claimed()["volumes"], container={
            "volumeMounts": mounts,
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]})
    assert text.splitlines()[:2] == ["x", "x"] and "Read-only file system" in text
    assert (tmp_path / "pods/it/file").read_text() == "y\n"


def test_a_claim_for_one_pod_keeps_the_second_out(api, namespace, pods, claims):
    api.create(claims, claim(accessModes=["ReadWriteOncePod"]))
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", **claimed()))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))
    api.create(pods, harness.shell_pod("second", "true", restartPolicy="Never", **claimed()))
    wait_for_event(api, namespace, "FailedScheduling",
                   "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
                   "second")
    api.ok("DELETE", f"{pods}/it?gracePeriodSeconds=0")
    harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3Dsecond", phase("Succeeded"))


def test_a_claim_of_the_class_grows(api, pods, claims):
    api.create(claims, claim())
    run_to_end(api, pods, "true", **claimed())
    wait_for_claim(api, claims)
    api.patch(f"{claims}/it", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    harness.wait_for(api, claims, lambda items: items[0]["status"]["capacity"] == {"storage": "2Gi"})
    refused = api.request("PATCH", f"{claims}/it", {"spec": {"resources": {"requests": {"storage": "1Gi"}}}},
                          headers={"Content-Type": "application/merge-patch+json"})
    assert refused.status == 422 and "field can not be less than status.capacity" in refused.json["message"]
