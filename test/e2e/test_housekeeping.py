"""What a node keeps, and for how long: images, ended containers and their logs."""
import os
import pathlib
import re

import harness
import registry


def image(cluster, *arguments):
    return harness.run([harness.CORACLE, "image", "--name", cluster.name, *arguments])


def images_of_node(cluster):
    node = cluster.api.ok("GET", f"/api/v1/nodes/{cluster.name}")
    return {name: entry["sizeBytes"] for entry in node["status"].get("images", []) for name in entry["names"]}


def test_the_nodes_status_shows_images_as_they_come_and_go(cluster, tmp_path):
    tag = "local/passing-by:v1"
    assert f"docker.io/{tag}" not in images_of_node(cluster)
    image(cluster, "import", harness.make_image(tag, tmp_path))
    harness.eventually(lambda: images_of_node(cluster).get(f"docker.io/{tag}"), timeout=10)
    image(cluster, "rm", tag)
    harness.eventually(lambda: f"docker.io/{tag}" not in images_of_node(cluster), timeout=10)


def test_one_ended_container_is_kept_with_its_log_and_no_more(cluster, api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "echo run $RANDOM; exit 1"))
    pod = harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("containerStatuses") and
                           items[0]["status"]["containerStatuses"][0]["restartCount"] == 2 and
                           items[0]["status"]["containerStatuses"][0]["lastState"] and items[0])
    logs = pathlib.Path("/var/lib/coracle") / cluster.name / "log" / f"{namespace}_it_{pod['metadata']['uid']}" / "main"
    files = pathlib.Path("/var/lib/coracle") / cluster.name / "pods" / pod["metadata"]["uid"] / "containers"
    # The present one and the one before it.
    assert harness.eventually(lambda: sorted(path.name for path in logs.iterdir()) == ["1.log", "2.log"])
    assert harness.eventually(lambda: [path.name for path in files.iterdir()] == ["main-2"])


def test_a_log_goes_with_all_of_its_files(cluster, api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "echo begun; until [ -e /go/on ]; do usleep 10000; done; exit 1", container={
        "volumeMounts": [{"name": "go", "mountPath": "/go"}]}, volumes=[{"name": "go", "emptyDir": {}}]))
    pod = harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])
    data, uid = pathlib.Path("/var/lib/coracle") / cluster.name, pod["metadata"]["uid"]
    logs = data / "log" / f"{namespace}_it_{uid}" / "main"
    assert [path.name for path in logs.iterdir()] == ["0.log"]
    # As they are left by rotation.
    for name in ("0.log.20200101-000000", "0.log.20200101-000001"):
        (logs / name).touch()
    (data / "pods" / uid / "volumes/go/on").touch()
    harness.wait_for(api, pods, lambda items: items[0]["status"]["containerStatuses"][0]["restartCount"] == 2)
    assert sorted(path.name for path in logs.iterdir()) == ["1.log", "2.log"]


def test_an_image_that_has_gone_is_looked_for_again(cluster, api, pods, tmp_path):
    tag = "local/comes-back:v1"
    archive = harness.make_image(tag, tmp_path)
    image(cluster, "import", archive)
    api.create(pods, harness.shell_pod("it", "exit 1", image=tag))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("containerStatuses") and
                     items[0]["status"]["containerStatuses"][0]["restartCount"] >= 1)
    image(cluster, "rm", tag)
    harness.wait_for(api, pods, lambda items: items[0]["status"]["containerStatuses"][0]["state"].get(
        "waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"))


def test_a_disk_that_fills_up_loses_the_images_that_nobody_uses(make_cluster, tmp_path, workspace):
    pods, clock = "/api/v1/namespaces/default/pods", harness.MovableClock(workspace / "images-clock")
    with harness.small_disk(tmp_path, 256 << 20) as (prefix, disk), \
            registry.docker_registry(workspace / "images-registry") as address:
        for name, padding in (("used", 3_000_000), ("unused", 4_000_000)):
            archive = harness.make_image("local/any:v1", workspace, format="oci", padding=padding)
            registry.push(f"http://{address}", f"team/{name}", "v1", registry.Image(archive))
        one = make_cluster(images=[], data_directory=tmp_path / "data", prefix=[*prefix, *clock.prefix])
        one.start()

        def tags():
            return sorted(name.split("/")[-1] for name in images_of_node(one) if "@" not in name)

        one.api.create(pods, harness.shell_pod("used", "exec sleep 1000", image=f"{address}/team/used:v1"))
        one.api.create(pods, harness.shell_pod("unused", "true", image=f"{address}/team/unused:v1",
                                               restartPolicy="Never"))
        harness.wait_for(one.api, pods, lambda items: sorted(item["status"].get("phase") for item in items) ==
                         ["Running", "Succeeded"])
        one.api.ok("DELETE", pods + "/unused")
        harness.eventually(lambda: tags() == ["unused:v1", "used:v1"])
        one.kill()
        room = os.statvfs(disk)
        with open(disk / "ballast", "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, (room.f_bavail - room.f_blocks // 10) * room.f_frsize)
        one.start()
        harness.eventually(lambda: tags() == ["used:v1"])
        # That is not enough, and at the next look it is said so.
        clock.advance(one.api, 300)
        (event,) = harness.wait_for(one.api, "/api/v1/events", lambda items: [
            item for item in items if item["reason"] == "FreeDiskSpaceFailed"])
        assert re.fullmatch(r"Failed to garbage collect required amount of images\. Attempted to free \d+ bytes, but only "
                            r"found 0 bytes eligible to free\.", event["message"])
        assert event["involvedObject"]["kind"] == "Node" and event["type"] == "Warning"
        (item,) = one.api.ok("GET", pods)["items"]
        assert item["status"]["containerStatuses"][0]["restartCount"] == 0
        one.down()
