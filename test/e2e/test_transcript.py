"""Every line of the README's transcript, with both versions of kubectl, in the order in which a person types them.

The tests of this file build on one another: they are one session at a terminal.
"""
import re
import shutil

import pytest
import yaml

import harness
from conftest import kubectl_path_or_skip

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module", params=sorted(harness.KUBECTLS))
def terminal(request, workspace, images):
    kubectl_path_or_skip(request.param)
    cluster = harness.Cluster(workspace, images)
    cluster.start()
    cluster.manifests = cluster.directory / "fraud-model"
    shutil.copytree(harness.FRAUD_MODEL, cluster.manifests)
    cluster.version = request.param
    yield cluster
    cluster.down(check=False)
    assert cluster.leftovers() == []


@pytest.fixture
def kubectl(terminal):
    return terminal.kubectl(terminal.version)


def ready_pods(items, count, image=None):
    live = [item for item in items if not item["metadata"].get("deletionTimestamp")]
    return len(items) == count and len(live) == count and all(
        harness.is_true(item, "Ready") and (image is None or item["spec"]["containers"][0]["image"] == image)
        for item in live) and live


def table(text):
    """Rows of a kubectl table, each a dict by column."""
    lines = [line for line in text.splitlines() if line.strip()]
    names = re.split(r"\s{2,}", lines[0].strip())
    starts = [lines[0].index(name) for name in names]
    return [{name: line[start:(starts + [None])[index + 1]].strip()
             for index, (name, start) in enumerate(zip(names, starts))} for line in lines[1:]]


def test_get_nodes_shows_a_ready_node(kubectl):
    rows = table(kubectl("get", "nodes"))
    assert list(rows[0]) == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert [row["STATUS"] for row in rows] == ["Ready"]
    assert rows[0]["VERSION"].startswith("v1.35")


def test_apply_creates_everything(terminal, kubectl):
    assert sorted(kubectl("apply", "-f", terminal.manifests).splitlines()) == [
        "configmap/fraud-model-config created", "deployment.apps/fraud-model created",
        "secret/fraud-model-admin created", "service/fraud-model-svc created"]


def test_apply_again_changes_nothing(terminal, kubectl):
    # stringData is written, never read back, so even upstream sees a Secret that has it as changed by kubectl's diff
    # only if its data differ.
    lines = kubectl("apply", "-f", terminal.manifests).splitlines()
    assert "deployment.apps/fraud-model unchanged" in lines
    assert "service/fraud-model-svc unchanged" in lines
    assert "configmap/fraud-model-config unchanged" in lines


def test_rollout_status_waits_for_the_first_rollout(terminal, kubectl):
    output = kubectl("rollout", "status", "deploy/fraud-model", "--timeout=60s")
    assert output.splitlines()[-1] == 'deployment "fraud-model" successfully rolled out'
    harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 3))


def test_get_many_kinds_wide(kubectl):
    output = kubectl("get", "deploy,rs,pods,svc,endpoints", "-o", "wide")
    sections = output.strip().split("\n\n")
    assert len(sections) == 5
    deployment, replica_set, pods, services, endpoints = (table(section) for section in sections)
    assert list(deployment[0]) == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES",
                                   "SELECTOR"]
    assert deployment[0]["READY"] == "3/3"
    assert deployment[0]["IMAGES"] == harness.IMAGE_V1
    assert deployment[0]["SELECTOR"] == "app=fraud-model"
    assert [replica_set[0][column] for column in ("DESIRED", "CURRENT", "READY")] == ["3", "3", "3"]
    assert list(pods[0]) == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE",
                             "READINESS GATES"]
    assert all(row["READY"] == "1/1" and row["STATUS"] == "Running" and row["RESTARTS"] == "0" for row in pods)
    assert all(row["NOMINATED NODE"] == "<none>" for row in pods)
    addresses = {row["IP"] for row in pods}
    assert len(addresses) == 3
    own = next(row for row in services if row["NAME"] == "service/fraud-model-svc")
    assert own["TYPE"] == "NodePort" and own["EXTERNAL-IP"] == "<none>"
    assert re.fullmatch(r"80:3\d{4}/TCP", own["PORT(S)"])
    assert any(row["NAME"] == "service/kubernetes" for row in services)
    listed = next(row for row in endpoints if row["NAME"] == "endpoints/fraud-model-svc")
    assert set(listed["ENDPOINTS"].split(",")) == {address + ":8080" for address in addresses}


def test_describe_pod_tells_its_story(kubectl):
    name = kubectl.json("get", "pods")["items"][0]["metadata"]["name"]
    output = kubectl("describe", "pod", name)
    for text in (f"Name:         {name}" if not kubectl.is_modern else name, "Controlled By:  ReplicaSet/fraud-model-",
                 "IP:", "Image:          local/model-server:v1", "State:          Running", "Ready:          True",
                 "Restart Count:  0", "Liveness:", "Readiness:", "ContainersReady", "PodScheduled",
                 "QoS Class:", "Burstable", "Scheduled", "Pulled", "Created", "Started",
                 "fraud-model-config", "fraud-model-admin"):
        assert text in output, text
    assert re.search(r"Successfully assigned default/%s to \S+" % name, output)


def test_describe_every_kind(kubectl):
    for kind, text in (("node", "Allocated resources:"), ("deployment", "RollingUpdateStrategy:"),
                       ("replicaset", "3 current / 3 desired"), ("service", "Endpoints:"),
                       ("configmap", "fraud-model-config"), ("secret", "token:"), ("endpoints", "Addresses:")):
        assert text in kubectl("describe", kind), kind


def test_logs_follow_shows_lines_as_they_come(terminal, kubectl):
    port = kubectl.json("get", "service", "fraud-model-svc")["spec"]["ports"][0]["nodePort"]
    with kubectl.follow("logs", "-f", "deploy/fraud-model") as follower:
        follower.until_line("listens on port 8080")
        for _ in range(30):
            harness.run(["curl", "-sSf", f"http://127.0.0.1:{port}/predict"])
        follower.until_line("predict score=")


def test_scale_up(terminal, kubectl):
    assert kubectl("scale", "deploy/fraud-model", "--replicas=5") == "deployment.apps/fraud-model scaled\n"
    harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 5))


def test_set_image_rolls_out_the_new_version(terminal, kubectl):
    assert kubectl("set", "image", "deploy/fraud-model", "model-server=local/model-server:v2") == \
        "deployment.apps/fraud-model image updated\n"
    output = kubectl("rollout", "status", "deploy/fraud-model", "--timeout=90s", timeout=120)
    assert "Waiting for deployment" in output
    assert output.splitlines()[-1] == 'deployment "fraud-model" successfully rolled out'
    harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 5, harness.IMAGE_V2))
    rows = table(kubectl("get", "rs"))
    assert sorted(row["DESIRED"] for row in rows) == ["0", "5"]


def test_endpoints_watch_shows_pods_come_and_go(terminal, kubectl):
    def addresses(lines):
        last = [line.split() for line in lines if line.startswith("fraud-model-svc")]
        return last and last[-1][1]

    with kubectl.follow("get", "endpoints", "fraud-model-svc", "-w") as follower:
        follower.until(lambda lines: addresses(lines) and "+ 2 more..." in lines[-1])
        kubectl("scale", "deploy/fraud-model", "--replicas=2")
        follower.until(lambda lines: addresses(lines) and len(addresses(lines).split(",")) == 2 and
                       "more" not in lines[-1])


def test_rollout_history_and_undo(terminal, kubectl):
    history = kubectl("rollout", "history", "deploy/fraud-model")
    assert re.search(r"^1 +first version of the fraud model", history, re.MULTILINE)
    assert re.search(r"^2 ", history, re.MULTILINE)
    assert kubectl("rollout", "undo", "deploy/fraud-model") == "deployment.apps/fraud-model rolled back\n"
    kubectl("rollout", "status", "deploy/fraud-model", "--timeout=60s")
    harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 2, harness.IMAGE_V1))


def test_pause_holds_a_rollout_and_resume_lets_it_go(terminal, kubectl):
    assert kubectl("rollout", "pause", "deploy/fraud-model") == "deployment.apps/fraud-model paused\n"
    kubectl("set", "image", "deploy/fraud-model", "model-server=local/model-server:v2")
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    harness.wait_for(terminal.api, deployments, lambda items: items[0]["status"]["observedGeneration"] ==
                     items[0]["metadata"]["generation"])
    images = {item["spec"]["containers"][0]["image"] for item in terminal.api.get(PODS).json["items"]}
    assert images == {harness.IMAGE_V1}
    assert kubectl("rollout", "resume", "deploy/fraud-model") == "deployment.apps/fraud-model resumed\n"
    kubectl("rollout", "status", "deploy/fraud-model", "--timeout=60s")
    harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 2, harness.IMAGE_V2))


def test_rollout_restart(terminal, kubectl):
    before = {item["metadata"]["name"] for item in terminal.api.get(PODS).json["items"]}
    assert kubectl("rollout", "restart", "deploy/fraud-model") == "deployment.apps/fraud-model restarted\n"
    kubectl("rollout", "status", "deploy/fraud-model", "--timeout=60s")
    pods = harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 2))
    assert not before & {item["metadata"]["name"] for item in pods}


def test_explain_prints_something_useful(kubectl):
    output = kubectl("explain", "deployment.spec.strategy")
    assert "rollingUpdate" in output and "type" in output
    assert re.search(r"KIND:\s+Deployment", output)
    assert "RollingUpdate" in output
    for path in ("pod", "pod.spec.containers.readinessProbe", "service.spec.ports", "configmap.data",
                 "deployment.spec.template.spec.volumes.configMap.items"):
        assert "DESCRIPTION:" in kubectl("explain", path)


def test_api_resources_and_versions(kubectl):
    names = {line.split()[0] for line in kubectl("api-resources").splitlines()[1:]}
    assert {"namespaces", "nodes", "pods", "services", "endpoints", "configmaps", "secrets", "serviceaccounts",
            "events", "deployments", "replicasets", "endpointslices", "leases"} <= names
    assert {"v1", "apps/v1", "discovery.k8s.io/v1", "coordination.k8s.io/v1", "events.k8s.io/v1"} <= \
        set(kubectl("api-versions").split())


def test_version_and_cluster_info(kubectl):
    version = yaml.safe_load(kubectl("version", "-o", "yaml"))
    assert version["serverVersion"]["major"] == "1"
    assert version["serverVersion"]["minor"].rstrip("+") == "35"
    assert "127.0.0.1" in kubectl("cluster-info")


def test_edit_by_patch_label_and_annotate(terminal, kubectl):
    for kind, patch in (("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"model-server","env":'
                                      '[{"name":"EXTRA","value":"1"}]}]}}}}'),
                        ("merge", '{"metadata":{"labels":{"patched":"merge"}}}'),
                        ("json", '[{"op":"add","path":"/metadata/labels/also","value":"json"}]')):
        assert kubectl("patch", "deploy/fraud-model", "--type", kind, "-p", patch) == \
            "deployment.apps/fraud-model patched\n"
    kubectl("label", "deploy/fraud-model", "team=risk")
    kubectl("annotate", "deploy/fraud-model", "note=seen")
    deployment = kubectl.json("get", "deploy/fraud-model")
    assert deployment["metadata"]["labels"] == {"app": "fraud-model", "patched": "merge", "also": "json",
                                                "team": "risk"}
    assert deployment["metadata"]["annotations"]["note"] == "seen"
    names = [entry["name"] for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert "EXTRA" in names and "POD_NAME" in names
    kubectl("rollout", "status", "deploy/fraud-model", "--timeout=60s")


def test_other_output_forms(terminal, kubectl):
    harness.wait_for(terminal.api, PODS, lambda items: ready_pods(items, 2))
    names = kubectl("get", "pods", "-o", "name").split()
    assert all(name.startswith("pod/fraud-model-") for name in names)
    assert kubectl("get", "deploy", "fraud-model", "-o", "jsonpath={.spec.strategy.type}") == "RollingUpdate"
    assert yaml.safe_load(kubectl("get", "svc", "fraud-model-svc", "-o", "yaml"))["kind"] == "Service"
    assert kubectl("get", "pods", "-l", "app=fraud-model", "--no-headers").count("\n") == len(names)
    assert kubectl("get", "pods", "-l", "app=other", "-o", "name") == ""
    assert kubectl("get", "pods", "--field-selector=status.phase=Running", "-o", "name").split() == names
    assert kubectl("get", "pods", "--sort-by=.metadata.name", "-o", "name").split() == sorted(names)
    assert "Error from server (NotFound): pods \"nobody\" not found" in kubectl.fails("get", "pod", "nobody")


def test_diff_finds_nothing_to_change(terminal, kubectl):
    # kubectl diff asks the server by a dry run.
    kubectl("apply", "-f", terminal.manifests)
    kubectl("diff", "-f", terminal.manifests / "30-service.yaml")


def test_invalid_manifest_is_refused_before_it_is_sent(terminal, kubectl):
    text = (terminal.manifests / "20-deployment.yaml").read_text().replace("replicas: 3", "replicsa: 3")
    message = kubectl.fails("apply", "-f", "-", input=text)
    assert "replicsa" in message and "unknown field" in message


def test_delete_removes_everything(terminal, kubectl):
    # Newer versions of kubectl add the namespace to the line.
    lines = [re.sub(r" from \S+ namespace$", "", line)
             for line in kubectl("delete", "-f", terminal.manifests).splitlines()]
    assert sorted(lines) == ['configmap "fraud-model-config" deleted', 'deployment.apps "fraud-model" deleted',
                             'secret "fraud-model-admin" deleted', 'service "fraud-model-svc" deleted']
    for path in (PODS, "/apis/apps/v1/namespaces/default/replicasets"):
        harness.wait_for(terminal.api, path, lambda items: not items)
    assert "No resources found in default namespace." in harness.run(
        kubectl.command("get", "deploy,rs,pods"), env=kubectl.environment).stderr


def test_down_ends_it_all(terminal):
    namespace = terminal.network_namespace()
    terminal.down()
    assert terminal.leftovers(namespace) == []
