"""Ephemeral containers: added to a running pod in order to look into it (kubectl debug)."""
import harness

TICK = "while :; do usleep 20000; done"


def ephemeral(name, script="exec sleep 1000", **fields):
    return {"name": name, "image": harness.IMAGE_V1, "command": ["sh", "-c", script], **fields}


def add(api, pods, *containers, name="it", kind="application/strategic-merge-patch+json"):
    return api.patch(f"{pods}/{name}/ephemeralcontainers", {"spec": {"ephemeralContainers": list(containers)}}, kind)


def running(api, pods, **spec):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000", **spec))
    return harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready") and items[0])


def statuses(pod):
    return {status["name"]: status for status in pod["status"].get("ephemeralContainerStatuses", [])}


def until_state(api, pods, name, state):
    return harness.wait_for(api, pods, lambda items: next(
        (item for item in items if state in statuses(item).get(name, {}).get("state", {})), None))


def refused(api, method, path, body, kind="application/json"):
    answer = api.request(method, path, body, headers={"Content-Type": kind})
    assert answer.status == 422, answer
    return answer.json["message"]


def test_one_is_started_in_a_running_pod_and_shows_in_its_status(api, pods, kubectl):
    before = running(api, pods)
    changed = add(api, pods, ephemeral("probe", "echo here; exec sleep 1000"))
    assert changed["metadata"]["generation"] == before["metadata"]["generation"] + 1
    [spec] = changed["spec"]["ephemeralContainers"]
    assert (spec["imagePullPolicy"], spec["terminationMessagePath"]) == ("IfNotPresent", "/dev/termination-log")
    pod = until_state(api, pods, "probe", "running")
    status = statuses(pod)["probe"]
    assert (status["ready"], status["restartCount"], "started" in status) == (False, 0, False)
    assert pod["status"]["phase"] == "Running" and harness.is_true(pod, "Ready")
    assert [c["name"] for c in pod["status"]["containerStatuses"]] == ["main"]
    assert harness.eventually(lambda: kubectl("logs", "it", "-c", "probe")) == "here\n"
    described = kubectl("describe", "pod", "it")
    assert "Ephemeral Containers:\n  probe:" in described and "Image:         " + harness.IMAGE_V1 in described
    paths = api.ok("GET", pods.replace("/pods", "/events"))["items"]
    assert ("Started", "spec.ephemeralContainers{probe}") in [
        (event["reason"], event["involvedObject"].get("fieldPath")) for event in paths]


def test_it_is_never_restarted_and_does_not_count_for_the_phase(api, pods):
    api.create(pods, harness.shell_pod("it", "trap 'exit 0' TERM; while :; do usleep 20000; done"))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))
    add(api, pods, ephemeral("fails", "echo why > /dev/termination-log; exit 3"))
    pod = until_state(api, pods, "fails", "terminated")
    ended = statuses(pod)["fails"]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")
    assert pod["status"]["phase"] == "Running" and harness.is_true(pod, "Ready")
    # A second one starts; the first stays as it is.
    add(api, pods, ephemeral("second"), ephemeral("fails", "echo why > /dev/termination-log; exit 3"))
    pod = until_state(api, pods, "second", "running")
    assert statuses(pod)["fails"]["state"]["terminated"] == ended
    assert statuses(pod)["fails"]["restartCount"] == 0
    api.ok("DELETE", f"{pods}/it")
    harness.wait_for(api, pods, lambda items: not items or None)


def test_it_is_ended_with_the_pod_whose_containers_are_done(api, pods, tmp_path):
    tmp_path.chmod(0o777)
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    api.create(pods, harness.shell_pod("it", "until test -e /shared/end; do usleep 20000; done", container=mount,
                                       restartPolicy="Never", volumes=[
                                           {"name": "shared", "hostPath": {"path": str(tmp_path)}}]))
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))
    add(api, pods, ephemeral("beside", f"trap 'exit 7' TERM; {TICK}"))
    until_state(api, pods, "beside", "running")
    (tmp_path / "end").touch()
    pod = until_state(api, pods, "beside", "terminated")
    assert statuses(pod)["beside"]["state"]["terminated"]["exitCode"] == 7
    harness.wait_for(api, pods, lambda items: items[0]["status"]["phase"] == "Succeeded")


def test_with_a_target_it_sees_the_processes_of_that_container(api, pods, kubectl):
    running(api, pods)
    look = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; exec sleep 1000"
    add(api, pods, ephemeral("alone", look), ephemeral("inside", look, targetContainerName="main"))
    until_state(api, pods, "inside", "running")
    until_state(api, pods, "alone", "running")
    seen = harness.eventually(lambda: kubectl("logs", "it", "-c", "inside"))
    assert "sleep 1000" in seen.splitlines()[0], seen
    alone = harness.eventually(lambda: kubectl("logs", "it", "-c", "alone"))
    assert alone.startswith("sh -c"), alone
    api.ok("DELETE", f"{pods}/it?gracePeriodSeconds=0")


def test_one_whose_image_is_not_there_waits_and_harms_nobody(api, pods):
    running(api, pods)
    add(api, pods, ephemeral("lost", image="local/no-such:v1", imagePullPolicy="Never"))
    pod = until_state(api, pods, "lost", "waiting")
    pod = harness.wait_for(api, pods, lambda items: next((item for item in items if statuses(item)["lost"]["state"][
        "waiting"]["reason"] == "ErrImageNeverPull"), None))
    assert harness.is_true(pod, "Ready")


def test_it_is_taken_up_by_the_next_agent_and_not_run_twice(make_cluster):
    cluster = make_cluster()
    cluster.start()
    api, pods = cluster.api, "/api/v1/namespaces/default/pods"
    running(api, pods)
    add(api, pods, ephemeral("lives"), ephemeral("ended", "exit 5"))
    until_state(api, pods, "lives", "running")
    before = statuses(until_state(api, pods, "ended", "terminated"))
    cluster.kill()
    cluster.start()
    api = cluster.api
    add(api, pods, ephemeral("later"))
    pod = until_state(api, pods, "later", "running")
    after = statuses(pod)
    for name in ("lives", "ended"):
        assert after[name]["containerID"] == before[name]["containerID"] if name in before else after[name]
    assert after["ended"]["state"]["terminated"]["exitCode"] == 5


def test_all_ways_of_writing_the_subresource_do_the_same(api, pods):
    running(api, pods)
    path = f"{pods}/it/ephemeralcontainers"
    api.patch(path, [{"op": "add", "path": "/spec/ephemeralContainers", "value": [ephemeral("one")]}],
              "application/json-patch+json")
    add(api, pods, ephemeral("two"))
    pod = api.ok("GET", path)
    assert pod["kind"] == "Pod"
    pod["spec"]["ephemeralContainers"].append(ephemeral("three"))
    # Nothing else of the pod is changed here.
    pod["metadata"]["labels"] = {"other": "label"}
    pod["spec"]["containers"][0]["image"] = harness.IMAGE_V2
    pod["status"]["phase"] = "Failed"
    del pod["metadata"]["resourceVersion"]  # the node writes the status meanwhile
    pod = api.ok("PUT", path, pod)
    # A merge patch replaces the list: what is there has to be in it.
    both = pod["spec"]["ephemeralContainers"] + [ephemeral("four")]
    pod = add(api, pods, *both, kind="application/merge-patch+json")
    assert {c["name"] for c in pod["spec"]["ephemeralContainers"]} == {"one", "two", "three", "four"}
    assert pod["metadata"]["labels"] == {"app": "it"}
    assert pod["spec"]["containers"][0]["image"] == harness.IMAGE_V1
    assert pod["status"]["phase"] == "Running"
    until_state(api, pods, "four", "running")


def test_what_may_not_be_is_refused_in_upstreams_words(api, pods):
    running(api, pods)
    path = f"{pods}/it/ephemeralcontainers"
    add(api, pods, ephemeral("one"))
    kind = "application/merge-patch+json"
    bad = {"ports": [{"containerPort": 1}], "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
           "livenessProbe": {"exec": {"command": ["x"]}}, "resources": {"limits": {"cpu": "1"}}, "restartPolicy": "Never"}
    for field, value in bad.items():
        message = refused(api, "PATCH", path, {"spec": {"ephemeralContainers": [ephemeral("one"), ephemeral(
            "two", **{field: value})]}}, kind)
        assert f"spec.ephemeralContainers[1].{field}: Forbidden: cannot be set for an Ephemeral Container" in message

    def attempt(*containers):
        return refused(api, "PATCH", path, {"spec": {"ephemeralContainers": list(containers)}}, kind)

    assert 'spec.ephemeralContainers: Forbidden: existing ephemeral containers "one" may not be removed\n' in attempt()
    assert 'existing ephemeral containers "one" may not be changed\n' in attempt(ephemeral("one", "exit 0"))
    assert 'spec.ephemeralContainers[1].name: Duplicate value: "main"' in attempt(ephemeral("one"), ephemeral("main"))
    assert 'spec.ephemeralContainers[1].targetContainerName: Not found: "no"' in attempt(
        ephemeral("one"), ephemeral("two", targetContainerName="no"))
    assert "spec.ephemeralContainers[1].image: Required value" in attempt(ephemeral("one"), ephemeral("two", image=""))
    # Not through the pod itself, and not from the beginning.
    pod = api.ok("GET", f"{pods}/it")
    del pod["metadata"]["resourceVersion"]  # its status may change meanwhile
    pod["spec"]["ephemeralContainers"].append(ephemeral("three"))
    assert "spec: Forbidden: pod updates may not change fields other than" in refused(api, "PUT", f"{pods}/it", pod)
    assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in refused(
        api, "POST", pods, harness.shell_pod("new", "true", ephemeralContainers=[ephemeral("one")]))
    assert api.request("PUT", f"{pods}/none/ephemeralcontainers", {**pod, "metadata": {"name": "none"}}).status == 404


def test_kubectl_debug_adds_one(api, pods, kubectl):
    running(api, pods)
    if not kubectl.is_modern:
        # Its form of the subresource went with v1.22 of the API: no server since then has satisfied it.
        assert "error" in kubectl.fails("alpha", "debug", "it", "--image", harness.IMAGE_V1, "--", "true").lower()
        return
    kubectl("debug", "it", "--image", harness.IMAGE_V1, "-c", "debugger", "--target", "main", "--", "sh", "-c",
            "echo looking; exec sleep 1000")
    pod = until_state(api, pods, "debugger", "running")
    assert pod["spec"]["ephemeralContainers"][0]["targetContainerName"] == "main"
    assert harness.eventually(lambda: kubectl("logs", "it", "-c", "debugger")) == "looking\n"


def test_kubectl_debug_makes_a_copy(api, pods, kubectl):
    running(api, pods)
    kubectl("debug", "it", "--copy-to", "copy", "--image", harness.IMAGE_V1, "-c", "debugger", "--share-processes=false",
            "--", "sh", "-c", "exec sleep 1000")
    copy = harness.wait_for(api, pods, lambda items: next(
        (item for item in items if item["metadata"]["name"] == "copy" and harness.is_true(item, "Ready")), None))
    assert {c["name"] for c in copy["spec"]["containers"]} == {"main", "debugger"}
    assert "labels" not in copy["metadata"]
