"""The lesson's chapters about Services: endpoints that come and go, the types, headless Services, placement, and the
outage with which the lesson opens."""
import json
import re

import pytest
import yaml

import harness
from test_lesson_rollouts import DEPLOYMENT, recommender, release  # noqa: F401 (a fixture)
from load import STYLES, Load
from test_pod import log
from test_transcript import ready_pods, table


def addresses(line):
    """The addresses in a line of `kubectl get endpoints`."""
    columns = line.split()
    return set(columns[1].split(",")) if len(columns) == 3 else set()


# ---- Endpoint selection in detail ----

def test_endpoints_follow_a_rollout(api, pods, kubectl, recommender):
    kubectl("apply", "-f", harness.LESSON / "50-services.yaml")
    old = {item["status"]["podIP"] + ":8080" for item in api.ok("GET", pods)["items"]}
    with kubectl.follow("get", "endpoints", "recommender-svc", "-w") as follower:
        follower.until(lambda lines: any(addresses(line) == old for line in lines))
        assert follower.lines[[line.startswith("NAME") for line in follower.lines].index(True)].split() == \
            ["NAME", "ENDPOINTS", "AGE"]
        release(kubectl, "v2", "recommender 1.5")
        kubectl("rollout", "status", DEPLOYMENT)
        new = {item["status"]["podIP"] + ":8080" for item in
               harness.wait_for(api, pods, lambda items: ready_pods(items, 3, harness.IMAGE_V2))}
        follower.until(lambda lines: addresses(lines[-1]) == new)
        steps = [addresses(line) for line in follower.lines if line.startswith("recommender-svc") and "more" not in line]
    # Never fewer than three: a new pod is added before an old one is taken out.
    assert all(len(step) >= 3 for step in steps[steps.index(old):]), steps


def test_a_pod_that_is_not_ready_gets_no_traffic(api, namespace, pods, kubectl):
    """What went wrong on that Tuesday: a pod that still loads its weights is none of the Service's."""
    text = (harness.LESSON / "40-deployment.yaml").read_text().replace('"300"', '"60000"')
    kubectl("apply", "-f", "-", input=text)
    kubectl("apply", "-f", harness.LESSON / "50-services.yaml")
    harness.wait_for(api, pods, lambda items: len(items) == 3 and all(
        item["status"]["phase"] == "Running" for item in items))
    # Name and age: addresses that are not ready leave the column empty.
    assert len(kubectl("get", "endpoints", "recommender-svc", "--no-headers").split()) == 2


# ---- Service types ----

def test_the_three_ways_to_a_service(cluster, api, kubectl, recommender):
    kubectl("apply", "-f", harness.LESSON / "50-services.yaml")
    rows = {row["NAME"]: row for row in table(kubectl("get", "services"))}
    inside, door, public = (rows["recommender-" + name] for name in ("svc", "door", "public"))
    assert (inside["TYPE"], inside["EXTERNAL-IP"], inside["PORT(S)"]) == ("ClusterIP", "<none>", "80/TCP")
    assert (door["TYPE"], door["EXTERNAL-IP"]) == ("NodePort", "<none>")
    assert re.fullmatch(r"80:3\d{4}/TCP", door["PORT(S)"])
    assert public["TYPE"] == "LoadBalancer"
    # Without a pool of addresses it has the node's.
    node = kubectl.json("get", "nodes")["items"][0]["status"]["addresses"][0]["address"]
    assert harness.eventually(lambda: kubectl("get", "service", "recommender-public", "--no-headers").split()[3] == node)

    def answers(url):
        return harness.eventually(lambda: json.loads(cluster.fetch(url))["version"] == "v1")

    assert answers(f"http://{inside['CLUSTER-IP']}/predict")
    for row in (door, public):
        port = row["PORT(S)"].removeprefix("80:").removesuffix("/TCP")
        assert answers(f"http://127.0.0.1:{port}/predict")


# ---- Headless Services ----

def test_workers_behind_a_headless_service_find_worker_0_by_its_name(api, namespace, pods, kubectl):
    with kubectl.follow("get", "endpoints", "-w") as follower:
        kubectl("apply", "-f", harness.LESSON / "55-headless.yaml")
        assert table(kubectl("get", "service", "recommender-training"))[0]["CLUSTER-IP"] == "None"
        items = harness.wait_for(api, pods, lambda items: len(items) == 2 and all(
            item["status"].get("podIP") for item in items) and items)
        wanted = {item["status"]["podIP"] + ":23456" for item in items}
        follower.until(lambda lines: any(addresses(line) == wanted for line in lines))
    kubectl("wait", "--for=condition=complete", "job/recommender-training", "--timeout=60s")
    second = next(item["metadata"]["name"] for item in items
                  if item["metadata"]["name"].startswith("recommender-training-1-"))
    assert log(api, pods, second).endswith("come in\n")


# ---- Anti-affinity and topology spread ----

def test_the_manifests_about_placement_are_taken(kubectl):
    for name in ("60-anti-affinity.yaml", "65-topology-spread.yaml"):
        kubectl("apply", "-f", harness.LESSON / name)
    spec = kubectl.json("get", "deployment", "recommender-apart")["spec"]["template"]["spec"]
    assert spec["affinity"] == yaml.safe_load(
        (harness.LESSON / "60-anti-affinity.yaml").read_text())["spec"]["template"]["spec"]["affinity"]


# ---- The outage ----

def test_the_outage_is_announced_before_it_happens(kubectl):
    result = harness.run(kubectl.command("apply", "-f", harness.LESSON / "outage.yaml"), env=kubectl.environment)
    found = re.findall(r"^Warning: spec\..* \[([a-z-]+)\]$", result.stderr, re.MULTILINE)
    assert sorted(found) == ["grace-period-short", "initial-delay", "max-unavailable-all", "mutable-tag",
                             "one-replica", "readiness-probe-missing", "requests-missing"]
    assert result.stdout == "service/hasty created\ndeployment.apps/hasty created\n"


@pytest.mark.parametrize("style", STYLES)
def test_the_lessons_deployment_loses_no_request_while_a_larger_model_is_rolled_out(api, pods, kubectl, recommender,
                                                                                  style):
    kubectl("apply", "-f", harness.LESSON / "50-services.yaml")
    port = kubectl.json("get", "service", "recommender-door")["spec"]["ports"][0]["nodePort"]
    with Load("127.0.0.1", port, style) as load:
        kubectl("set", "env", DEPLOYMENT, "LOAD_DELAY_MS=1500")
        release(kubectl, "v2", "recommender 2, twice as large")
        kubectl("rollout", "status", DEPLOYMENT)
        harness.wait_for(api, pods, lambda items: ready_pods(items, 3, harness.IMAGE_V2))
    load.assert_nothing_lost()
