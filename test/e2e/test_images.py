"""Images: from archives and from registries, with everything checked that can be wrong about them."""
import base64
import json
import pathlib
import secrets
import shutil

import pytest

import harness
import registry
from test_pod import log, phase, run_to_end, waiting


@pytest.fixture(scope="session")
def oci_image(workspace):
    directory = workspace / "oci"
    directory.mkdir()
    return registry.Image(harness.make_image("local/any:v1", directory, format="oci", padding=3_000_000))


@pytest.fixture
def new_oci_image(tmp_path):
    """An image with a layer that no store has yet."""
    padding = 3_000_000 + secrets.randbelow(1_000_000)
    return registry.Image(harness.make_image("local/any:v1", tmp_path, format="oci", padding=padding))


def image(cluster, *arguments, **options):
    return harness.run([harness.CORACLE, "image", "--name", cluster.name, *arguments], **options)


def listed(cluster):
    return image(cluster, "ls").stdout


def pod_runs(api, pods, reference, name="it", **spec):
    api.create(pods, harness.shell_pod(name, "head -1 /etc/passwd", image=reference, restartPolicy="Never", **spec))
    harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3D{name}", phase("Succeeded"))
    assert log(api, pods, name).startswith("root:")


# ---- archives ----

@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_archive_is_imported_listed_used_and_removed(cluster, api, pods, tmp_path, kind):
    tag = f"local/imported-{kind}:v7"
    archive = harness.make_image(tag, tmp_path, format=kind)
    image(cluster, "import", archive)
    assert tag in listed(cluster) or "docker.io/" + tag in listed(cluster)
    pod_runs(api, pods, tag, container={"imagePullPolicy": "Never"})
    api.request("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items)
    image(cluster, "rm", tag)
    assert tag not in listed(cluster)


def test_the_store_of_a_cluster_is_where_its_data_is(make_cluster, tmp_path):
    cluster = make_cluster(data_directory=tmp_path / "data")
    cluster.start()
    default = pathlib.Path("/var/lib/coracle") / cluster.name
    assert harness.IMAGE_V1 in listed(cluster), "what the cluster has loaded"
    image(cluster, "import", harness.make_image("local/elsewhere:v1", tmp_path))
    pods = "/api/v1/namespaces/default/pods"
    pod_runs(cluster.api, pods, "local/elsewhere:v1", container={"imagePullPolicy": "Never"})
    cluster.kill()
    assert "local/elsewhere:v1" in listed(cluster), "the cluster has stopped and is still there"
    assert not default.exists()
    cluster.down()
    result = image(cluster, "ls", check=False)
    assert (result.returncode, result.stderr) == (1, f'coracle image: there is no cluster "{cluster.name}"\n')
    assert not default.exists()


@pytest.mark.parametrize("arguments", [["ls"], ["import", "/dev/null"], ["rm", "local/none:v1"]])
def test_no_store_is_made_for_a_name_that_nobody_has(arguments):
    result = harness.run([harness.CORACLE, "image", "--name", "never-was", *arguments], check=False)
    assert (result.returncode, result.stderr) == (1, 'coracle image: there is no cluster "never-was"\n')
    assert not pathlib.Path("/var/lib/coracle/never-was").exists()
    assert not pathlib.Path("/run/coracle/never-was").exists()


def test_the_images_that_a_cluster_has_left_are_still_listed():
    name = "left-" + secrets.token_hex(4)
    store = pathlib.Path("/var/lib/coracle") / name / "images"
    store.mkdir(parents=True)
    try:
        assert harness.run([harness.CORACLE, "image", "--name", name, "ls"]).stdout.startswith("IMAGE")
    finally:
        shutil.rmtree(store.parent)


@pytest.mark.parametrize("entry, refusal", [
    ("file:../escaped", "leads out of the layer"),
    ("file:/../escaped", "leads out of the layer"),
    ("file:bin/../../../escaped", "leads out of the layer"),
    ("hardlink:it->/etc/shadow", 'hard link to "/etc/shadow", which the layer has not got'),
    # Taken as they are: what they lead to is looked up inside of the tree.
    ("symlink:out->/tmp", None),
    ("device:planted", None),
])
def test_an_archive_never_writes_outside_its_own_tree(cluster, tmp_path, entry, refusal):
    extra = [entry] + (["file:out/escaped"] if entry.startswith("symlink") else [])
    archive = harness.make_image("local/evil:v1", tmp_path, add_entry=extra)
    result = image(cluster, "import", archive, check=False)
    assert result.returncode == (1 if refusal else 0), result
    assert (refusal or "") in result.stderr
    assert "escaped" not in harness.run(["ls", "/", "/tmp"]).stdout.split()
    image(cluster, "rm", "local/evil:v1", check=False)


def test_a_device_of_an_image_is_dead(cluster, api, pods, tmp_path):
    """A node that an archive plants is there, and opens for nobody in the container, root included: its cgroup knows
    the devices that every container has, and no others."""
    image(cluster, "import", harness.make_image("local/device:v1", tmp_path, add_entry="device:planted"))
    try:
        api.create(pods, harness.shell_pod("it", "test -c /planted && id -u && head -c 1 /planted 2>&1; head -c 1 /dev/zero | wc -c",
                                           image="local/device:v1", restartPolicy="Never"))
        harness.wait_for(api, pods, phase("Succeeded"))
        lines = log(api, pods, "it").splitlines()
        assert lines[0] == "0" and "Operation not permitted" in lines[1] and lines[2].strip() == "1", lines
        api.ok("DELETE", f"{pods}/it")
        harness.wait_for(api, pods, lambda items: not items)
    finally:
        image(cluster, "rm", "local/device:v1", check=False)


def test_volumes_that_an_image_declares(cluster, api, pods, tmp_path):
    """A directory of the container's own each, with what the image has there, unless the pod mounts something on it."""
    image(cluster, "import", harness.make_image(
        "local/declares:v1", tmp_path, volume=["/models", "/new/volume", "/own/"],
        add_entry=["file:models/deep/file", "symlink:models/link->deep/file", "file:own/file"]))
    try:
        script = ("cat models/link; for it in models new/volume own; do echo x > $it/new && cat $it/new; done; "
                  "ls own; touch /tmp/x 2>&1; stat -c %a models /new/volume; grep -c -E ' /(models|new/volume) ' /proc/mounts")
        pod, text = run_to_end(api, pods, script, image="local/declares:v1",
                               volumes=[{"name": "own", "emptyDir": {}}], container={
                                   "securityContext": {"readOnlyRootFilesystem": True},
                                   "volumeMounts": [{"name": "own", "mountPath": "/own"}]})
        assert text.splitlines() == ["planted", "x", "x", "x", "new", "touch: /tmp/x: Read-only file system", "755",
                                     "755", "2"], text
        # A container that comes after another starts with what the image has.
        script = "ls /models; touch /models/new; test -e /own/again || { touch /own/again; exit 1; }"
        body = harness.shell_pod("again", script, image="local/declares:v1", restartPolicy="OnFailure",
                                 volumes=[{"name": "own", "emptyDir": {}}],
                                 container={"volumeMounts": [{"name": "own", "mountPath": "/own"}]})
        api.create(pods, body)
        pod = harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3Dagain", phase("Succeeded"))[0]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        assert log(api, pods, "again").split() == ["deep", "link", "weights"]
    finally:
        for name in ("it", "again"):
            api.request("DELETE", f"{pods}/{name}?gracePeriodSeconds=0")
        harness.wait_for(api, pods, lambda items: not items)
        image(cluster, "rm", "local/declares:v1", check=False)


@pytest.mark.parametrize("entry", ["file:../escaped", "file:bin/../../../escaped", "hardlink:it->../../etc/shadow"])
def test_an_archive_with_parent_paths_is_refused_in_words(cluster, tmp_path, entry):
    result = image(cluster, "import", harness.make_image("local/evil:v1", tmp_path, add_entry=entry), check=False)
    assert result.returncode == 1
    assert ".." in result.stderr
    assert "local/evil" not in listed(cluster)


def test_a_wrong_checksum_is_refused(cluster, tmp_path):
    # What the store has already is not read again: the layer has to be new.
    archive = harness.make_image("local/bent:v1", tmp_path, format="oci", padding=secrets.randbelow(1_000_000))
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    result = image(cluster, "import", archive, check=False)
    assert result.returncode == 1
    assert "sha256" in result.stderr or "digest" in result.stderr or "checksum" in result.stderr
    assert "local/bent" not in listed(cluster)


@pytest.mark.parametrize("content", [b"", b"not a tar at all" * 100, b"\0" * 10240])
def test_what_is_no_archive(cluster, tmp_path, content):
    path = tmp_path / "nothing.tar"
    path.write_bytes(content)
    result = image(cluster, "import", path, check=False)
    assert result.returncode == 1
    assert "nothing.tar" in result.stderr


def test_a_truncated_archive(cluster, tmp_path):
    archive = harness.make_image("local/cut:v1", tmp_path)
    archive.write_bytes(archive.read_bytes()[:1_000_000])
    assert image(cluster, "import", archive, check=False).returncode == 1
    assert "local/cut" not in listed(cluster)


# ---- registries ----

def test_docker_registry(cluster, api, pods, oci_image, tmp_path):
    with registry.docker_registry(tmp_path / "registry") as address:
        registry.push(f"http://{address}", "team/model", "v1", oci_image)
        image(cluster, "pull", f"{address}/team/model:v1")
        assert f"{address}/team/model" in listed(cluster)
        pod_runs(api, pods, f"{address}/team/model:v1", "by-tag", container={"imagePullPolicy": "Always"})
        pod_runs(api, pods, f"{address}/team/model@{oci_image.manifest_digest}", "by-digest")
        pod = api.ok("GET", f"{pods}/by-digest")
        assert pod["status"]["containerStatuses"][0]["imageID"].endswith(oci_image.manifest_digest)


def test_docker_registry_with_a_password(cluster, api, namespace, pods, oci_image, tmp_path):
    with registry.docker_registry(tmp_path / "registry", "user:secret") as address:
        registry.push(f"http://{address}", "team/private", "v1", oci_image, "user:secret")
        reference = f"{address}/team/private:v1"
        api.create(pods, harness.shell_pod("without", "true", image=reference))
        harness.wait_for(api, pods, waiting("ErrImagePull"))
        api.create(f"/api/v1/namespaces/{namespace}/secrets", {
            "metadata": {"name": "login"}, "type": "kubernetes.io/dockerconfigjson", "stringData": {
                ".dockerconfigjson": json.dumps({"auths": {address: {
                    "auth": base64.b64encode(b"user:secret").decode()}}})}})
        pod_runs(api, pods, reference, "with", imagePullSecrets=[{"name": "login"}])
        # Those of the service account are the pod's, unless it names others.
        api.patch(f"/api/v1/namespaces/{namespace}/serviceaccounts/default", {"imagePullSecrets": [{"name": "login"}]})
        pod_runs(api, pods, reference, "by-account", container={"imagePullPolicy": "Always"})
        assert api.ok("GET", f"{pods}/by-account")["spec"]["imagePullSecrets"] == [{"name": "login"}]
        created = api.create(pods, harness.shell_pod("other", "true", image=reference, imagePullSecrets=[{"name": "x"}]))
        assert created["spec"]["imagePullSecrets"] == [{"name": "x"}]


def test_pull_takes_the_password_from_a_login(cluster, oci_image, tmp_path):
    with registry.docker_registry(tmp_path / "registry", "user:secret") as address:
        registry.push(f"http://{address}", "team/private", "v2", oci_image, "user:secret")
        reference = f"{address}/team/private:v2"
        home = tmp_path / "home"
        (home / ".docker").mkdir(parents=True)
        nowhere = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
        answer = image(cluster, "pull", reference, check=False, env=nowhere)
        assert answer.returncode == 1 and "no basic auth credentials" in answer.stderr
        login = json.dumps({"auths": {address: {"auth": base64.b64encode(b"user:secret").decode()}}})
        wrong = json.dumps({"auths": {address: {"auth": base64.b64encode(b"user:guess").decode()}}})
        helper = json.dumps({"auths": {address: {}}, "credsStore": "desktop"})
        config, other = home / ".docker/config.json", tmp_path / "auth.json"
        config.write_text(helper)
        answer = image(cluster, "pull", reference, check=False, env=nowhere)
        assert answer.returncode == 1 and "no basic auth credentials" in answer.stderr
        config.write_text(wrong)
        assert "401 Unauthorized" in image(cluster, "pull", reference, check=False, env=nowhere).stderr
        other.write_text(login)
        image(cluster, "pull", "--authfile", other, reference, env=nowhere)
        image(cluster, "rm", reference)
        image(cluster, "pull", reference, env={**nowhere, "REGISTRY_AUTH_FILE": str(other)})
        image(cluster, "rm", reference)
        config.write_text(login)
        image(cluster, "pull", reference, env=nowhere)
        assert f"{address}/team/private" in listed(cluster)
        answer = image(cluster, "pull", "--authfile", tmp_path / "none", reference, check=False, env=nowhere)
        assert answer.returncode == 1 and "No such file" in answer.stderr
        other.write_text("{")
        answer = image(cluster, "pull", "--authfile", other, reference, check=False, env=nowhere)
        assert answer.returncode == 1 and str(other) in answer.stderr


def test_an_image_is_pulled_while_a_pod_waits_and_events_tell(cluster, api, namespace, pods, oci_image):
    with registry.faulty_registry(oci_image) as server:
        pod_runs(api, pods, f"{server.address}/told:v1")
    events = api.ok("GET", f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3Dit")["items"]
    messages = {event["reason"]: event["message"] for event in events}
    assert messages["Pulling"] == f'Pulling image "{server.address}/told:v1"'
    assert messages["Pulled"].startswith(f'Successfully pulled image "{server.address}/told:v1" in ')


def test_tokens(cluster, oci_image):
    with registry.faulty_registry(oci_image) as server:
        server.token = "sesame"
        image(cluster, "pull", f"{server.address}/any/token:v1")
        assert any(line.startswith("GET /token?") and "scope=repository" in line for line in server.requests)


def test_an_index_leads_to_this_machines_architecture(cluster, api, pods, oci_image):
    with registry.faulty_registry(oci_image) as server:
        server.index = True
        pod_runs(api, pods, f"{server.address}/any/index:v1")


def test_a_transfer_that_breaks_off_is_taken_up_where_it_ended(cluster, new_oci_image):
    with registry.faulty_registry(new_oci_image) as server:
        layer = new_oci_image.layer_digests[0]
        server.cut_once.add(layer)
        image(cluster, "pull", f"{server.address}/any/cut:v1")
        tries = [line for line in server.requests if layer in line]
        assert len(tries) >= 2
        assert "bytes=" in tries[-1] and "bytes=0-" not in tries[-1]


def test_wrong_content_is_refused(cluster, api, pods, new_oci_image):
    with registry.faulty_registry(new_oci_image) as server:
        server.corrupt.add(new_oci_image.layer_digests[0])
        reference = f"{server.address}/any/corrupt:v1"
        result = image(cluster, "pull", reference, check=False)
        assert result.returncode == 1
        assert new_oci_image.layer_digests[0][7:19] in result.stderr or "digest" in result.stderr
        assert "any/corrupt" not in listed(cluster)
        api.create(pods, harness.shell_pod("it", "true", image=reference))
        harness.wait_for(api, pods, waiting("ErrImagePull"))
        harness.wait_for(api, pods, waiting("ImagePullBackOff"))


def test_a_registry_in_passing_trouble(cluster, api, pods, oci_image):
    with registry.faulty_registry(oci_image) as server:
        server.fail_first = 3
        pod_runs(api, pods, f"{server.address}/any/trouble:v1")


def test_an_image_that_is_not_there(cluster, oci_image):
    with registry.faulty_registry(oci_image) as server:
        result = image(cluster, "pull", f"{server.address}/any/it@sha256:{'0' * 64}", check=False)
        assert result.returncode == 1
        assert "not found" in result.stderr.lower() or "404" in result.stderr


@pytest.mark.parametrize("reference", ["", "UPPER/case:v1", "a:b:c", "name@sha256:short", "x" * 300, "../up:v1"])
def test_references_that_are_none(cluster, reference):
    result = image(cluster, "pull", reference, check=False)
    assert result.returncode in (1, 2)
    assert result.stderr.strip()


@pytest.mark.parametrize("policy, pulled_again", [("Always", True), ("IfNotPresent", False), ("Never", False)])
def test_pull_policies(cluster, api, pods, oci_image, policy, pulled_again):
    with registry.faulty_registry(oci_image) as server:
        reference = f"{server.address}/any/policy:v1"
        image(cluster, "pull", reference)
        server.requests.clear()
        pod_runs(api, pods, reference, container={"imagePullPolicy": policy})
        assert bool(server.requests) is pulled_again


def test_an_image_that_is_imported_later(cluster, api, pods, tmp_path):
    archive = harness.make_image("local/later:v1", tmp_path)
    api.create(pods, harness.shell_pod("it", "true", image="local/later:v1", restartPolicy="Never",
                                       container={"imagePullPolicy": "Never"}))
    harness.wait_for(api, pods, waiting("ErrImageNeverPull"))
    image(cluster, "import", archive)
    harness.wait_for(api, pods, phase("Succeeded"))


def test_the_default_policy_depends_on_the_tag(api, pods):
    policies = {}
    for number, reference in enumerate(("local/a:v1", "local/a:latest", "local/a", "local/a@sha256:" + "0" * 64)):
        created = api.create(pods, harness.shell_pod(f"it-{number}", "true", image=reference))
        policies[reference.replace("0" * 64, "")] = created["spec"]["containers"][0]["imagePullPolicy"]
    assert policies == {"local/a:v1": "IfNotPresent", "local/a:latest": "Always", "local/a": "Always",
                        "local/a@sha256:": "IfNotPresent"}
