"""A rollout loses no request: not with new connections nor with kept ones, not from outside nor from inside, and not
even with a server that closes its socket the moment it is told to stop."""
import contextlib
import json
import os
import subprocess
import threading

import pytest

import harness

ROLLOUTS = int(os.environ.get("ROLLOUTS", "3"))
LOAD_THREADS = 8


class Load:
    """load.py in the background; result is there after the with block."""

    def __init__(self, url, style, prefix=()):
        self.command = [*prefix, "/usr/bin/python3", str(harness.ROOT / "test/e2e/load.py"), url, "--style", style,
                        "--threads", str(LOAD_THREADS)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        try:
            output, errors = self.process.communicate("", timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, errors
        self.result = json.loads(output)


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


def deploy(api, namespace, name, **environment):
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.create(deployments, harness.server_deployment(name, environment=environment))
    created = api.create(f"/api/v1/namespaces/{namespace}/services", harness.service(name, type="NodePort"))
    rolled_out(api, deployments, name)
    return deployments, created["spec"]


def rolled_out(api, deployments, name):
    def complete(items):
        item = next(item for item in items if item["metadata"]["name"] == name)
        status, wanted = item.get("status", {}), item["spec"]["replicas"]
        return status.get("observedGeneration") == item["metadata"]["generation"] and all(
            status.get(field) == wanted for field in ("replicas", "updatedReplicas", "availableReplicas"))

    harness.wait_for(api, deployments, complete, timeout=120 * harness.PATIENCE, what=f"rollout of {name}")


def set_image(api, deployments, name, image):
    api.patch(f"{deployments}/{name}", {"spec": {"template": {"spec": {"containers": [
        {"name": "model-server", "image": image}]}}}})
    rolled_out(api, deployments, name)


@pytest.mark.parametrize("mode", ["drain", "close"])
@pytest.mark.parametrize("style", ["new", "keep-alive"])
@pytest.mark.parametrize("way", ["node port", "cluster address"])
def test_a_rollout_under_load_loses_no_request(cluster, api, namespace, way, style, mode):
    deployments, spec = deploy(api, namespace, "loaded", SIGTERM_MODE=mode, PREDICT_DELAY_MS="5")
    if way == "node port":
        load = Load(f"http://127.0.0.1:{spec['ports'][0]['nodePort']}/predict", style)
    else:
        load = Load(f"http://{spec['clusterIP']}:80/predict", style,
                    [harness.CORACLE, "enter", "--name", cluster.name, "--"])
    with census(api, namespace, "app%3Dloaded") as counted, load:
        for number in range(ROLLOUTS):
            set_image(api, deployments, "loaded", (harness.IMAGE_V2, harness.IMAGE_V1)[number % 2])
    result = load.result
    assert result["failed"] == 0, result
    assert result["requests"] > 100, result
    assert set(result["versions"]) == {"v1", "v2"}
    assert counted.fewest_available >= 3
    assert counted.most_wanted <= 4


def test_scaling_down_and_deleting_pods_under_load_loses_no_request(api, namespace, pods):
    deployments, spec = deploy(api, namespace, "shrinking", SIGTERM_MODE="close", PREDICT_DELAY_MS="5")
    with Load(f"http://127.0.0.1:{spec['ports'][0]['nodePort']}/predict", "new") as load:
        for replicas in (6, 2, 5, 3):
            api.patch(f"{deployments}/shrinking/scale", {"spec": {"replicas": replicas}},
                      "application/merge-patch+json")
            rolled_out(api, deployments, "shrinking")
        for pod in api.ok("GET", pods)["items"][:2]:
            api.request("DELETE", f"{pods}/{pod['metadata']['name']}")
            rolled_out(api, deployments, "shrinking")
    assert load.result["failed"] == 0, load.result


def test_a_rollout_of_a_broken_version_stops_before_it_hurts(api, namespace):
    deployments, spec = deploy(api, namespace, "careful")
    with census(api, namespace, "app%3Dcareful") as counted, \
            Load(f"http://127.0.0.1:{spec['ports'][0]['nodePort']}/predict", "new") as load:
        container = {"name": "model-server", "env": [{"name": "MODEL_PATH", "value": "/nowhere"}]}
        api.patch(f"{deployments}/careful", {"spec": {
            "progressDeadlineSeconds": 3, "template": {"spec": {"containers": [container]}}}})

        def stalled(items):
            return any(condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
                       for condition in items[0]["status"]["conditions"])

        harness.wait_for(api, deployments, stalled)
    assert load.result["failed"] == 0, load.result
    assert set(load.result["versions"]) == {"v1"}
    assert counted.fewest_available >= 3


def test_a_slow_model_gets_no_request_before_it_has_loaded(api, namespace):
    deployments, spec = deploy(api, namespace, "slow", LOAD_DELAY_MS="1500")
    with Load(f"http://127.0.0.1:{spec['ports'][0]['nodePort']}/predict", "new") as load:
        set_image(api, deployments, "slow", harness.IMAGE_V2)
    # The server answers 503 while it loads, so one request too early would be a failure here.
    assert load.result["failed"] == 0, load.result


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
