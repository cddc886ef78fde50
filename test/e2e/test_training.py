"""Distributed training: workers that find each other by name and add up what they have."""
import re

import pytest

import harness
from test_jobs import ended
from test_pod import log


@pytest.fixture(scope="module")
def training_image(cluster, workspace):
    path = harness.make_image("local/all-reduce:v1", workspace, program=harness.ROOT / "build/examples/all-reduce")
    harness.run([harness.CORACLE, "image", "import", "--name", cluster.name, path])


@pytest.mark.parametrize("master_name", ["all-reduce-0.training", "training"])
def test_four_workers_find_worker_0_by_name_and_agree_on_the_sum(kubectl, api, pods, training_image, master_name):
    """By its own name, or as in the lesson by that of a Service that publishes what is ready: it stands for all of them,
    and who asks goes from address to address until somebody lets it in, as torchrun does."""
    text = (harness.TRAINING / "training.yaml").read_text()
    if master_name == "training":
        published = "  publishNotReadyAddresses: true\n"
        assert published in text and "value: all-reduce-0.training\n" in text
        text = text.replace(published, "").replace("value: all-reduce-0.training\n", "value: training\n")
    kubectl("apply", "-f", "-", input=text)
    assert "condition met" in kubectl("wait", "--for=condition=complete", "job/all-reduce", "--timeout=120s",
                                      timeout=150)
    items = api.ok("GET", pods)["items"]
    texts = {int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]):
             log(api, pods, pod["metadata"]["name"]) for pod in items if pod["status"]["phase"] == "Succeeded"}
    master = next(pod["status"]["podIP"] for pod in items
                  if pod["metadata"]["name"].startswith("all-reduce-0-") and pod["status"]["phase"] == "Succeeded")
    # (1 + 2 + 3 + 4) times the sum of 1 + i % 7 over a million positions.
    expected = 10 * sum(1 + i % 7 for i in range(1000000))
    assert sorted(texts) == [0, 1, 2, 3]
    for index, text in texts.items():
        assert re.search(rf"worker {index} of 4: the sum of 1000000 numbers is {expected}, after", text), text
        assert index == 0 or f"worker {index}: found {master_name} at {master}" in text


def test_a_worker_that_dies_is_made_anew_and_the_sum_is_right_all_the_same(api, namespace, pods, kubectl,
                                                                         training_image):
    # All wait a moment, so that the victim is there to be deleted.
    wait = """        command: [sh, -c, 'trap "exit 1" TERM; sleep 3 & wait $!; exec all-reduce']\n"""
    policy = "        imagePullPolicy: IfNotPresent\n"
    text = (harness.TRAINING / "training.yaml").read_text().replace(policy, policy + wait)
    kubectl("apply", "-f", "-", input=text)
    victim = harness.wait_for(api, pods, lambda items: next(
        (pod for pod in items if pod["metadata"]["name"].startswith("all-reduce-2-")
         and harness.is_true(pod, "Ready")), None))
    kubectl("delete", "pod", victim["metadata"]["name"], "--wait=false")
    assert ended(api, namespace, "all-reduce", timeout=150)["status"]["completedIndexes"] == "0-3"


def test_bad_environments_are_refused(api, namespace, pods, training_image):
    api.create(pods, harness.shell_pod("it", "exec 2>&1; WORLD_SIZE=4 RANK=4 all-reduce; echo $?; WORLD_SIZE=2 RANK=1 all-reduce; "
                                       "echo $?; WORLD_SIZE=2 RANK=1 MASTER_PORT=1 MASTER_ADDR=nowhere TIMEOUT_SECONDS=1 "
                                       "all-reduce; echo $?", image="local/all-reduce:v1", restartPolicy="Never"))
    harness.wait_for(api, pods, lambda items: items[0]["status"].get("phase") in ("Succeeded", "Failed"))
    text = log(api, pods)
    assert "RANK is 4; it has to be a number from 0 to 3\n2\n" in text, text
    assert "MASTER_PORT is not set\n2\n" in text or "MASTER_ADDR is not set\n2\n" in text, text
    assert "cannot reach nowhere: " in text and text.endswith("\n1\n"), text
