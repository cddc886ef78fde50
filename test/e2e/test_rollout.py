"""A rollout loses no request: not with new connections nor with kept ones, not from outside nor from inside, and not
even with a server that closes its socket the moment it is told to stop."""
import contextlib
import os
import threading

import pytest

import harness
import load

ROLLOUTS = int(os.environ.get("ROLLOUTS", "3"))


class Follower(threading.Thread):
    """Calls see() with the objects of a collection as each event of a watch leaves them."""

    def __init__(self, api, path, see):
        super().__init__(daemon=True)
        self.api, self.path, self.see = api, path, see
        self.end = threading.Event()
        self.started = threading.Event()

    def run(self):
        listed = self.api.ok("GET", self.path)
        objects = {item["metadata"]["uid"]: item for item in listed["items"]}
        self.see(objects.values())
        self.started.set()
        with self.api.watch(self.path, timeout=600, resourceVersion=listed["metadata"]["resourceVersion"],
                            allowWatchBookmarks="true") as events:
            for event in events:
                if self.end.is_set():
                    return
                if event["type"] == "DELETED":
                    objects.pop(event["object"]["metadata"]["uid"], None)
                elif event["type"] in ("ADDED", "MODIFIED"):
                    objects[event["object"]["metadata"]["uid"]] = event["object"]
                self.see(objects.values())


class Census:
    """What a rollout promises about numbers: of available pods, and of those that its ReplicaSets ask for."""

    def __init__(self):
        self.fewest_available, self.most_wanted = float("inf"), 0

    def see_pods(self, pods):
        available = sum(harness.is_true(pod, "Ready") for pod in pods if not pod["metadata"].get("deletionTimestamp"))
        self.fewest_available = min(self.fewest_available, available)

    def see_replica_sets(self, sets):
        self.most_wanted = max(self.most_wanted, sum(item["spec"]["replicas"] for item in sets))


@contextlib.contextmanager
def census(api, namespace, selector):
    counted = Census()
    followers = [Follower(api, f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}", counted.see_pods),
                 Follower(api, f"/apis/apps/v1/namespaces/{namespace}/replicasets?labelSelector={selector}",
                          counted.see_replica_sets)]
    for one in followers:
        one.start()
        assert one.started.wait(10)
    yield counted
    for one in followers:
        one.end.set()


def deploy(api, namespace, name, mode=None, **environment):
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.create(deployments, load.server_deployment(name, mode) if mode
               else harness.server_deployment(name, environment=environment))
    created = api.create(f"/api/v1/namespaces/{namespace}/services", harness.service(name, type="NodePort"))
    rolled_out(api, deployments, name)
    return deployments, created["spec"]


def rolled_out(api, deployments, name, gone=False):
    """Waits for the end of a rollout; gone: and for the end of the pods that it has replaced."""
    def complete(items):
        item = next(item for item in items if item["metadata"]["name"] == name)
        status, wanted = item.get("status", {}), item["spec"]["replicas"]
        return status.get("observedGeneration") == item["metadata"]["generation"] and all(
            status.get(field) == wanted for field in ("replicas", "updatedReplicas", "availableReplicas"))

    harness.wait_for(api, deployments, complete, timeout=120 * harness.PATIENCE, what=f"rollout of {name}")
    if gone:
        pods = deployments.replace("/apis/apps/v1", "/api/v1").replace("deployments", f"pods?labelSelector=app%3D{name}")
        harness.wait_for(api, pods, lambda items: not any(item["metadata"].get("deletionTimestamp") for item in items))
        harness.wait_for(api, deployments, complete, timeout=120 * harness.PATIENCE, what=f"rollout of {name}")


def set_image(api, deployments, name, image):
    api.patch(f"{deployments}/{name}", {"spec": {"template": {"spec": {"containers": [
        {"name": "model-server", "image": image}]}}}})
    rolled_out(api, deployments, name)


@pytest.mark.parametrize("mode", load.MODES)
def test_a_rollout_under_load_loses_no_request(cluster, api, namespace, callers, mode):
    deployments, spec = deploy(api, namespace, "loaded", mode)
    with census(api, namespace, "app%3Dloaded,pod-template-hash") as counted, \
            load.loads(cluster, spec, callers) as loads:
        for number in range(ROLLOUTS):
            set_image(api, deployments, "loaded", (harness.IMAGE_V2, harness.IMAGE_V1)[number % 2])
        rolled_out(api, deployments, "loaded", gone=True)
    load.assert_nothing_lost(loads, mode, ended=3 * ROLLOUTS)
    for (_, style), one in loads.items():
        assert (mode, style) == ("ignore", "kept") or set(one.result["answers"]) == {"v1", "v2"}
    assert counted.fewest_available >= 3
    assert counted.most_wanted <= 4


@pytest.mark.parametrize("mode", load.MODES)
def test_scaling_down_and_deleting_pods_under_load_loses_no_request(cluster, api, namespace, pods, callers, mode):
    deployments, spec = deploy(api, namespace, "loaded", mode)
    steps = (6, 2, 5, 3) * (ROLLOUTS if mode == "close" else 1)
    with load.loads(cluster, spec, callers) as loads:
        for replicas in steps:
            api.patch(f"{deployments}/loaded/scale", {"spec": {"replicas": replicas}},
                      "application/merge-patch+json")
            rolled_out(api, deployments, "loaded")
        for pod in api.ok("GET", f"{pods}?labelSelector=pod-template-hash")["items"][:2]:
            api.request("DELETE", f"{pods}/{pod['metadata']['name']}")
            rolled_out(api, deployments, "loaded", gone=True)
    load.assert_nothing_lost(loads, mode, ended=2 + 6 * len(steps) // 4)


def test_a_server_that_answers_503_once_it_is_told_to_stop_refuses_no_new_connection(cluster, api, namespace, callers):
    """As the lesson's does. Kept connections get such an answer: their client has to know what it means."""
    deployments, spec = deploy(api, namespace, "loaded", SIGTERM_MODE="reject", PREDICT_DELAY_MS="5")
    with load.loads(cluster, spec, callers, styles=("new",)) as loads:
        set_image(api, deployments, "loaded", harness.IMAGE_V2)
        rolled_out(api, deployments, "loaded", gone=True)
    load.assert_nothing_lost(loads, "reject", ended=3)
    assert all(set(one.result["answers"]) == {"v1", "v2"} for one in loads.values())


def test_a_rollout_of_a_broken_version_stops_before_it_hurts(api, namespace):
    deployments, spec = deploy(api, namespace, "careful")
    with census(api, namespace, "app%3Dcareful") as counted, \
            load.load_of(None, "node port", "new", spec) as running:
        container = {"name": "model-server", "env": [{"name": "MODEL_PATH", "value": "/nowhere"}]}
        api.patch(f"{deployments}/careful", {"spec": {
            "progressDeadlineSeconds": 3, "template": {"spec": {"containers": [container]}}}})

        def stalled(items):
            return any(condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
                       for condition in items[0]["status"]["conditions"])

        harness.wait_for(api, deployments, stalled)
    running.assert_nothing_lost()
    assert set(running.result["answers"]) == {"v1"}
    assert counted.fewest_available >= 3


def test_a_slow_model_gets_no_request_before_it_has_loaded(api, namespace):
    deployments, spec = deploy(api, namespace, "slow", LOAD_DELAY_MS="1500")
    with load.load_of(None, "node port", "new", spec) as running:
        set_image(api, deployments, "slow", harness.IMAGE_V2)
    # The server answers 503 while it loads, so one request too early would be a failure here.
    running.assert_nothing_lost()


def test_recreate_never_runs_two_versions_at_once(api, namespace, pods):
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = harness.server_deployment("single")
    body["spec"]["strategy"] = {"type": "Recreate"}
    api.create(deployments, body)
    rolled_out(api, deployments, "single")
    version = api.ok("GET", pods)["metadata"]["resourceVersion"]
    set_image(api, deployments, "single", harness.IMAGE_V2)
    running, mixed = {}, False
    with api.watch(pods, timeout=15, resourceVersion=version) as events:
        for event in events:
            pod = event["object"]
            running[pod["metadata"]["name"]] = pod["spec"]["containers"][0]["image"]
            if event["type"] == "DELETED" or pod["status"]["phase"] in ("Succeeded", "Failed"):
                running.pop(pod["metadata"]["name"])
            mixed = mixed or len(set(running.values())) > 1
            if list(running.values()) == [harness.IMAGE_V2] * 3 and event["object"]["status"]["phase"] == "Running":
                break
    assert not mixed
