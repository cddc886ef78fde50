"""kubectl top, and the API behind it: metrics.k8s.io measures when somebody asks, and only then."""
import re

import harness

METRICS = "/apis/metrics.k8s.io/v1beta1"
SPIN = "while :; do :; done"


def running(api, pods, *names):
    return harness.wait_for(api, pods, lambda items: {item["metadata"]["name"]: item for item in items
                                                      if item["status"].get("phase") == "Running"}.keys() >= set(names))


def milli(text):
    return {"n": 1e-6, "u": 1e-3, "m": 1}.get(text[-1], 1000) * float(text.rstrip("num"))


def test_top_shows_what_pods_and_their_containers_use(api, pods, kubectl):
    limited = {"resources": {"limits": {"cpu": "200m", "memory": "64Mi"}}}
    busy = harness.shell_pod("busy", SPIN, container=limited)
    busy["spec"]["containers"].append({**busy["spec"]["containers"][0], "name": "idle",
                                       "command": ["sleep", "600"]})
    api.create(pods, busy)
    api.create(pods, harness.shell_pod("quiet", "sleep 600"))
    running(api, pods, "busy", "quiet")

    def table(*arguments):
        lines = kubectl("top", "pods", *arguments).splitlines()
        return lines[0].split(), [line.split() for line in lines[1:]]

    def burning():
        header, rows = table()
        assert header == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
        used = {row[0]: int(re.fullmatch(r"(\d+)m", row[1])[1]) for row in rows}
        assert used.keys() == {"busy", "quiet"}, used
        return 50 <= used["busy"] <= 260 and used["quiet"] <= 50

    harness.eventually(burning)
    header, rows = table("--containers")
    assert header == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert sorted(row[:2] for row in rows) == [["busy", "idle"], ["busy", "main"], ["quiet", "main"]]
    assert [row[0] for row in table("-l", "app=quiet")[1]] == ["quiet"]
    assert [row[0] for row in table("busy")[1]] == ["busy"]
    assert 'pods "nosuch" not found' in kubectl.fails("top", "pod", "nosuch")
    header = kubectl("top", "nodes").splitlines()[0].split()
    assert header[:3] == ["NAME", "CPU(cores)", "CPU%"] or header[:2] == ["NAME", "CPU(cores)"], header


def test_metrics_are_read_only_objects_that_name_what_they_measure(cluster, api, pods, namespace):
    api.create(pods, harness.shell_pod("busy", SPIN, labels={"app": "busy", "tier": "web"}))
    running(api, pods, "busy")
    path = f"{METRICS}/namespaces/{namespace}/pods"
    # A container has to run for a while before it has an average.
    one = harness.eventually(lambda: (answer := api.get(path + "/busy")).status == 200 and answer.json)
    assert one["kind"] == "PodMetrics" and one["metadata"]["labels"] == {"app": "busy", "tier": "web"}
    assert re.fullmatch(r"[\d.]+m?s|\d+m[\d.]+s", one["window"]), one["window"]
    (container,) = one["containers"]
    assert container["name"] == "main" and milli(container["usage"]["cpu"]) > 0
    assert container["usage"]["memory"].endswith(("Ki", "Mi"))
    assert [item["metadata"]["name"] for item in api.ok("GET", path + "?labelSelector=tier%3Dweb")["items"]] == ["busy"]
    assert api.ok("GET", path + "?labelSelector=tier%3Ddb")["items"] == []
    assert api.ok("GET", path + "?fieldSelector=metadata.name%3Dother")["items"] == []
    (node,) = api.ok("GET", f"{METRICS}/nodes")["items"]
    assert node["metadata"]["labels"]["kubernetes.io/os"] == "linux"
    assert milli(node["usage"]["cpu"]) > 0
    table = api.ok("GET", path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert table["rows"][0]["cells"][0] == "busy"
    for method in ("POST", "DELETE"):
        assert api.request(method, path, {}).status == 405
    for method in ("PUT", "DELETE"):
        assert api.request(method, path + "/busy", {}).status == 405
    # There are no metrics of what does not run.
    api.create(pods, harness.shell_pod("never", "true", image="local/nosuch:v1", container={"imagePullPolicy": "Never"}))
    answer = api.get(path + "/never")
    assert (answer.status, answer.json["message"]) == \
        (404, f'podmetrics.metrics.k8s.io "{namespace}/never" not found')


def test_metrics_are_discovered_as_an_api_group(cluster, api):
    groups = [group["name"] for group in api.ok("GET", "/apis")["groups"]]
    assert "metrics.k8s.io" in groups
    kinds = {(r["name"], r["kind"], r["namespaced"]): r["verbs"] for r in api.ok("GET", METRICS)["resources"]}
    assert kinds == {("nodes", "NodeMetrics", False): ["get", "list"], ("pods", "PodMetrics", True): ["get", "list"]}
    paths = api.ok("GET", "/openapi/v3/apis/metrics.k8s.io/v1beta1")["paths"]
    assert set(paths[f"{METRICS}/namespaces/{{namespace}}/pods/{{name}}"]) >= {"get"}
    assert "post" not in paths[f"{METRICS}/namespaces/{{namespace}}/pods"]
