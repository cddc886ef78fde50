"""The lesson's chapters about Deployments: watching a rollout, going back, pausing for a canary, full nodes. Commands
are as the lesson prints them, the manifests are those of examples/lesson."""
import re

import pytest
import yaml

import harness
from test_transcript import ready_pods, table

DEPLOYMENT = "deployment/recommender"


@pytest.fixture
def deployments(namespace):
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


@pytest.fixture
def recommender(api, kubectl, pods):
    """The Deployment of the lesson, rolled out."""
    kubectl("apply", "-f", harness.LESSON / "40-deployment.yaml")
    kubectl("rollout", "status", DEPLOYMENT)
    harness.wait_for(api, pods, lambda items: ready_pods(items, 3, harness.IMAGE_V1))


def images(items):
    """How many pods that are not ending run each image."""
    counted = {}
    for item in items:
        if not item["metadata"].get("deletionTimestamp"):
            image = item["spec"]["containers"][0]["image"]
            counted[image] = counted.get(image, 0) + 1
    return counted


def release(kubectl, version, cause, **options):
    output = kubectl("set", "image", DEPLOYMENT, f"model-server=local/model-server:{version}", **options)
    assert output == "deployment.apps/recommender image updated\n"
    assert kubectl("annotate", DEPLOYMENT, f"kubernetes.io/change-cause={cause}", "--overwrite") in (
        "deployment.apps/recommender annotated\n", "deployment.apps/recommender annotate\n")


def rolled_out(output):
    return output.splitlines()[-1] == 'deployment "recommender" successfully rolled out'


# ---- Watching a rollout ----

def test_status_tells_how_far_a_rollout_is(kubectl, recommender):
    # Held until kubectl looks, so that it sees the rollout from its first step.
    kubectl("rollout", "pause", DEPLOYMENT)
    release(kubectl, "v2", "recommender 1.5")
    with kubectl.follow("rollout", "status", DEPLOYMENT) as follower:
        follower.until_line("0 out of 3 new replicas have been updated...")
        kubectl("rollout", "resume", DEPLOYMENT)
        assert follower.ended() == 0
        lines = follower.lines
    wait = 'Waiting for deployment "recommender" rollout to finish: '
    known = [r"[0-3] out of 3 new replicas have been updated\.\.\.", r"[12] old replicas are pending termination\.\.\.",
             r"[0-2] of 3 updated replicas are available\.\.\."]
    assert rolled_out("\n".join(lines))
    told = [line for line in lines[:-1] if line != "Waiting for deployment spec update to be observed..."]
    assert told, lines
    for line in told:
        assert line.startswith(wait) and any(re.fullmatch(text, line[len(wait):]) for text in known), line
    assert f"{wait}1 out of 3 new replicas have been updated..." in told
    assert f"{wait}1 old replicas are pending termination..." in told


def test_history_names_the_cause_of_each_revision(kubectl, recommender):
    release(kubectl, "v2", "recommender 1.5")
    kubectl("rollout", "status", DEPLOYMENT)
    assert kubectl("rollout", "history", DEPLOYMENT).splitlines() == [
        "deployment.apps/recommender ",
        "REVISION  CHANGE-CAUSE",
        "1         recommender 1.4, first release",
        "2         recommender 1.5",
        ""]
    detail = kubectl("rollout", "history", DEPLOYMENT, "--revision=2")
    assert detail.startswith("deployment.apps/recommender with revision #2\nPod Template:\n")
    assert re.search(r"^ +Annotations:\s+kubernetes.io/change-cause: recommender 1.5$", detail, re.MULTILINE)
    assert re.search(r"^ +Image:\s+local/model-server:v2$", detail, re.MULTILINE)


def test_undo_goes_back_one_revision(api, pods, kubectl, recommender):
    release(kubectl, "v2", "recommender 1.5")
    kubectl("rollout", "status", DEPLOYMENT)
    assert kubectl("rollout", "undo", DEPLOYMENT) == "deployment.apps/recommender rolled back\n"
    assert rolled_out(kubectl("rollout", "status", DEPLOYMENT))
    harness.wait_for(api, pods, lambda items: ready_pods(items, 3, harness.IMAGE_V1))
    # The revision that was gone back to is the newest one now.
    assert [line.split()[0] for line in kubectl("rollout", "history", DEPLOYMENT).splitlines()[2:-1]] == ["2", "3"]


def test_undo_goes_back_to_a_revision(api, pods, kubectl, recommender):
    release(kubectl, "v2", "recommender 1.5")
    kubectl("rollout", "status", DEPLOYMENT)
    kubectl("set", "env", DEPLOYMENT, "LOAD_DELAY_MS=0")
    kubectl("rollout", "status", DEPLOYMENT)
    assert "unable to find specified revision 9 in history" in \
        kubectl.fails("rollout", "undo", DEPLOYMENT, "--to-revision=9")
    assert kubectl("rollout", "undo", DEPLOYMENT, "--to-revision=1") == "deployment.apps/recommender rolled back\n"
    assert rolled_out(kubectl("rollout", "status", DEPLOYMENT))
    harness.wait_for(api, pods, lambda items: ready_pods(items, 3, harness.IMAGE_V1))
    assert kubectl.json("get", DEPLOYMENT)["metadata"]["annotations"]["kubernetes.io/change-cause"] == \
        "recommender 1.4, first release"


# ---- Pause and resume for a canary ----

LARGER = "local/model-server:v2-larger"
LOAD_PACE = 100_000  # bytes a second
LOAD_SECONDS = 3 * harness.PATIENCE


@pytest.fixture(scope="module")
def larger_model(cluster, workspace):
    """A second version that loads for so long that there is time to pause its rollout."""
    weights = workspace / "larger-weights"
    weights.write_text((harness.ROOT / "examples/model-server/weights").read_text() +
                       "# a larger model\n" * int(LOAD_PACE * LOAD_SECONDS / len("# a larger model\n")))
    harness.run([harness.CORACLE, "image", "import", "--name", cluster.name,
                 harness.make_image(LARGER, workspace, weights=weights)])


@pytest.fixture
def canary(api, pods, kubectl, larger_model):
    """A rollout of v2 that is paused after its first pod."""
    body = yaml.safe_load((harness.LESSON / "40-deployment.yaml").read_text())
    body["spec"]["template"]["spec"]["containers"][0]["env"].append(
        {"name": "LOAD_BYTES_PER_SECOND", "value": str(LOAD_PACE)})
    kubectl.apply(body)
    kubectl("rollout", "status", DEPLOYMENT)
    assert kubectl("set", "image", DEPLOYMENT, f"model-server={LARGER}") == \
        "deployment.apps/recommender image updated\n"
    harness.wait_for(api, pods, lambda items: images(items).get(LARGER))
    assert kubectl("rollout", "pause", DEPLOYMENT) == "deployment.apps/recommender paused\n"
    harness.wait_for(api, pods, lambda items: sum(harness.is_true(item, "Ready") for item in items) == 4)


def test_a_paused_rollout_stays_at_its_first_pod(api, deployments, pods, kubectl, canary):
    assert images(api.ok("GET", pods)["items"]) == {harness.IMAGE_V1: 3, LARGER: 1}
    harness.wait_for(api, deployments, lambda items: items[0]["status"].get("availableReplicas") == 4)
    row = kubectl("get", "deployment", "recommender", "--no-headers").split()
    assert row[:4] == ["recommender", "4/3", "1", "4"]
    progressing = next(entry for entry in kubectl.json("get", DEPLOYMENT)["status"]["conditions"]
                       if entry["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("Unknown", "DeploymentPaused")
    # To go back while it is paused is refused: it would not be carried out.
    assert "cannot rollback a paused deployment; resume it first" in kubectl.fails("rollout", "undo", DEPLOYMENT)
    assert "deployments.apps \"recommender\" is already paused" in kubectl.fails("rollout", "pause", DEPLOYMENT)


def test_a_good_canary_is_resumed(api, pods, kubectl, canary):
    assert kubectl("rollout", "resume", DEPLOYMENT) == "deployment.apps/recommender resumed\n"
    assert rolled_out(kubectl("rollout", "status", DEPLOYMENT))
    harness.wait_for(api, pods, lambda items: ready_pods(items, 3, LARGER))


def test_a_bad_canary_is_undone(api, pods, kubectl, canary):
    kubectl("rollout", "resume", DEPLOYMENT)
    assert kubectl("rollout", "undo", DEPLOYMENT) == "deployment.apps/recommender rolled back\n"
    assert rolled_out(kubectl("rollout", "status", DEPLOYMENT))
    harness.wait_for(api, pods, lambda items: ready_pods(items, 3, harness.IMAGE_V1))


# ---- Full nodes ----

def fill_node(api, surge, unavailable):
    """The Deployment for full nodes, whose two pods leave no room for a third."""
    body = yaml.safe_load((harness.LESSON / "45-full-node.yaml").read_text())
    node = api.ok("GET", "/api/v1/nodes")["items"][0]
    milli = int(float(node["status"]["allocatable"]["cpu"].removesuffix("m")) *
                (1 if node["status"]["allocatable"]["cpu"].endswith("m") else 1000))
    body["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": unavailable}
    body["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = f"{milli * 2 // 5}m"
    return body


@pytest.mark.parametrize("version", sorted(harness.KUBECTLS))
def test_without_surge_a_rollout_on_a_full_node_progresses(make_cluster, version):
    cluster = make_cluster()
    cluster.start()
    api, kubectl = cluster.api, cluster.kubectl(version, "default")
    kubectl("apply", "-f", "-", input=yaml.safe_dump(fill_node(api, 0, 1)))
    kubectl("rollout", "status", "deployment/recommender-packed")
    kubectl("set", "image", "deployment/recommender-packed", f"model-server={harness.IMAGE_V2}")
    kubectl("rollout", "status", "deployment/recommender-packed")
    harness.wait_for(api, "/api/v1/namespaces/default/pods", lambda items: ready_pods(items, 2, harness.IMAGE_V2))


def test_with_surge_a_rollout_on_a_full_node_says_why_it_waits(make_cluster):
    cluster = make_cluster()
    cluster.start()
    api, kubectl = cluster.api, cluster.kubectl("1.35", "default")
    kubectl("apply", "-f", "-", input=yaml.safe_dump(fill_node(api, 1, 0)))
    kubectl("rollout", "status", "deployment/recommender-packed")
    kubectl("set", "image", "deployment/recommender-packed", f"model-server={harness.IMAGE_V2}")
    pods = "/api/v1/namespaces/default/pods"

    def unschedulable(items):
        for item in items:
            for entry in item["status"].get("conditions", []):
                if entry["type"] == "PodScheduled" and entry["status"] == "False":
                    return item["metadata"]["name"], entry["message"]
        return None

    name, message = harness.wait_for(api, pods, unschedulable)
    assert message.startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert table(kubectl("get", "pod", name))[0]["STATUS"] == "Pending"
    assert "FailedScheduling" in kubectl("describe", "pod", name)
    # Nobody who serves has been taken away for it.
    assert images(api.ok("GET", pods)["items"]) == {harness.IMAGE_V1: 2, harness.IMAGE_V2: 1}
    assert "timed out waiting for the condition" in kubectl.fails(
        "rollout", "status", "deployment/recommender-packed", "--timeout=1s")
    # Nor does it wait in silence.
    kubectl("patch", "deployment", "recommender-packed", "-p", '{"spec":{"progressDeadlineSeconds":3}}')
    assert kubectl.fails("rollout", "status", "deployment/recommender-packed") == \
        'error: deployment "recommender-packed" exceeded its progress deadline\n'
    progressing = next(entry for entry in kubectl.json("get", "deployment", "recommender-packed")["status"]["conditions"]
                       if entry["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert re.fullmatch(r'ReplicaSet "recommender-packed-\S+" has timed out progressing\.', progressing["message"])
