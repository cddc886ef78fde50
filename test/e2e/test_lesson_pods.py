"""The lesson's chapters about pods: their life, init containers, cached weights, sidecars. Each runs a manifest of
examples/lesson as it is."""
import concurrent.futures
import json
import os
import pathlib
import signal

import harness
from test_init_containers import status_of
from test_pod import log
from test_sidecars import ready


def apply(kubectl, *names):
    for name in names:
        kubectl("apply", "-f", harness.LESSON / name)


def seen(api, pods, version, until):
    """Every different (phase, ready) that the pod had on its way."""
    stages = []
    with api.watch(pods, resourceVersion=version) as events:
        for event in events:
            pod = event["object"]
            stage = (pod["status"]["phase"], harness.is_true(pod, "Ready"))
            if not stages or stages[-1] != stage:
                stages.append(stage)
            if until(event):
                return stages
    raise harness.Failure(f"the pod got no further than {stages}")


def address(pod):
    return f"http://{pod['status']['podIP']}:8080"


# ---- The pod lifecycle in detail ----

def test_a_pod_is_pending_then_running_then_ready(cluster, api, pods, kubectl):
    version = api.ok("GET", pods)["metadata"]["resourceVersion"]
    apply(kubectl, "10-pod.yaml")
    stages = seen(api, pods, version, lambda event: harness.is_true(event["object"], "Ready"))
    assert stages == [("Pending", False), ("Running", False), ("Running", True)]
    row = kubectl("get", "pod", "recommender-alone", "--no-headers").split()
    assert row[:4] == ["recommender-alone", "1/1", "Running", "0"]


def test_a_terminating_pod_finishes_what_it_serves(cluster, api, pods, kubectl):
    text = (harness.LESSON / "10-pod.yaml").read_text().replace('"300"', '"3000"')  # a prediction takes 3 s
    kubectl("apply", "-f", "-", input=text)
    pod = harness.wait_for(api, pods, ready)
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(cluster.fetch, address(pod) + "/predict") for _ in range(4)]
        harness.eventually(lambda: "model_server_connections 5\n" in cluster.fetch(address(pod) + "/metrics"))
        api.ok("DELETE", f"{pods}/recommender-alone")
        assert [json.loads(answer.result(30))["version"] for answer in answers] == ["v1"] * 4
    # Far below the grace period of 60 s: the server exits when it has answered.
    harness.wait_for(api, pods, lambda items: not items or None, timeout=20 * harness.PATIENCE)


# ---- Init containers: pre-loading model weights ----

def test_an_init_container_fetches_and_checks_the_weights(cluster, api, pods, kubectl):
    apply(kubectl, "00-artifacts.yaml", "20-init-container.yaml")
    pod = harness.wait_for(api, pods, ready)
    assert kubectl("logs", "recommender-fetched", "-c", "fetch-model") == \
        "Fetching the weights for north as recommender\nweights: OK\n"
    assert status_of(pod, "fetch-model")["state"]["terminated"]["reason"] == "Completed"
    score = json.loads(cluster.fetch(address(pod) + "/predict?watched_minutes=100&same_genre=1"))["score"]
    assert score > 0.8, "the fetched weights decide, not those of the image"


def test_a_fetch_that_fails_is_tried_again_until_it_succeeds(api, namespace, pods, kubectl):
    apply(kubectl, "00-artifacts.yaml")
    artifacts = f"/api/v1/namespaces/{namespace}/configmaps/artifacts"
    good = api.ok("GET", artifacts)["data"]
    api.patch(artifacts, {"data": {"weights": "bias 1\n"}})  # its checksum is another one now
    apply(kubectl, "20-init-container.yaml")
    harness.wait_for(api, pods, lambda items: (status_of(items[0], "fetch-model") or {}).get("restartCount", 0) >= 1,
                     what="a second try")
    assert kubectl("get", "pods", "--no-headers").split()[1] == "0/1"
    api.patch(artifacts, {"data": good})
    harness.wait_for(api, pods, ready, timeout=2 * harness.WAIT_LIMIT)


# ---- Caching model weights with PersistentVolumeClaims ----

def test_the_second_start_finds_the_weights_in_the_cache(api, namespace, pods, kubectl):
    apply(kubectl, "00-artifacts.yaml", "25-cached-weights.yaml")
    harness.wait_for(api, pods, ready)
    assert log(api, pods, "recommender-cached", container="fetch-model") == "Fetching recommender-1.4\n"
    claim = kubectl.json("get", "pvc", "model-cache")
    assert claim["status"]["phase"] == "Bound"
    kubectl("delete", "pod", "recommender-cached")
    apply(kubectl, "25-cached-weights.yaml")
    harness.wait_for(api, pods, ready)
    assert log(api, pods, "recommender-cached", container="fetch-model") == \
        "The cache holds recommender-1.4. Nothing to fetch.\n"


# ---- Sidecar containers ----

def test_sidecars_share_the_volumes_and_the_address_of_the_pod(cluster, api, pods, kubectl):
    apply(kubectl, "30-sidecars.yaml")
    pod = harness.wait_for(api, pods, ready)
    assert kubectl("get", "pod", "recommender-observed", "--no-headers").split()[1] == "3/3"
    cluster.fetch(address(pod) + "/predict")
    with kubectl.follow("logs", "-f", "recommender-observed", "-c", "log-shipper") as follower:
        follower.until_line("predict score=")
    metrics = harness.eventually(lambda: cluster.fetch(f"http://{pod['status']['podIP']}:9091/metrics"))
    assert "model_" in metrics
    # The server's own container has the sidecar at localhost.
    assert "model_" in kubectl("exec", "recommender-observed", "-c", "model-server", "--",
                               "wget", "-q", "-O", "-", "http://localhost:9091/metrics")


def processes_of(pod, command):
    """Process ids of a pod's processes whose command line begins so."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words.startswith(command) and pod["metadata"]["uid"] in (process / "cgroup").read_text():
                yield int(process.name)
        except OSError:
            continue


def test_a_sidecar_that_ends_is_started_again_and_the_server_goes_on(api, pods, kubectl):
    apply(kubectl, "30-sidecars.yaml")
    pod = harness.wait_for(api, pods, ready)
    server = status_of(pod, "model-server")["containerID"]
    # The shell becomes it a moment after the container has started.
    os.kill(harness.eventually(lambda: next(processes_of(pod, "tail "), None)), signal.SIGKILL)
    again = harness.wait_for(api, pods, lambda items: next((
        item for item in items if status_of(item, "log-shipper")["restartCount"] == 1 and
        harness.is_true(item, "Ready")), None))
    assert status_of(again, "model-server")["containerID"] == server


# ---- Multi-container patterns: the feature cache ----

def test_the_feature_cache_is_there_before_the_server_and_ends_after_it(api, pods, kubectl):
    apply(kubectl, "35-feature-cache.yaml")
    pod = harness.wait_for(api, pods, ready)
    assert kubectl("get", "pod", "recommender-enriched", "--no-headers").split()[1] == "2/2"
    assert log(api, pods, "recommender-enriched", container="model-server").startswith('{"user": 7, "same_genre": 1}')
    cache, server = status_of(pod, "feature-cache"), status_of(pod, "model-server")
    assert cache["state"]["running"]["startedAt"] <= server["state"]["running"]["startedAt"]
    kubectl("delete", "pod", "recommender-enriched")
    assert not api.ok("GET", pods)["items"]
