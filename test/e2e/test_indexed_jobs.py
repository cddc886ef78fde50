"""Indexed Jobs: numbers, names, and what their failures mean."""
import harness
from test_jobs import condition_of, create, ended, jobs, job, tracked
from test_pod import log


def index_of(pod):
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def create_indexed(api, namespace, name, script, completions, **spec):
    return create(api, namespace, name, script, completionMode="Indexed", completions=completions,
                  **{"parallelism": completions, **spec})


def test_each_index_knows_its_number_and_runs_once(api, namespace, pods):
    create_indexed(api, namespace, "it", 'echo "$JOB_COMPLETION_INDEX $(hostname)"', 3)
    status = ended(api, namespace, "it")["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    items = sorted(api.ok("GET", pods)["items"], key=index_of)
    assert [index_of(pod) for pod in items] == [0, 1, 2]
    for index, pod in enumerate(items):
        name = pod["metadata"]["name"]
        assert name.startswith(f"it-{index}-") and pod["spec"]["hostname"] == f"it-{index}"
        assert pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == str(index)
        assert log(api, pods, name) == f"{index} it-{index}\n"
    assert not tracked(api, pods)


def test_an_indexed_job_can_grow_and_shrink(api, namespace, pods):
    create_indexed(api, namespace, "it", "test $JOB_COMPLETION_INDEX -lt 2 || sleep 1000", 3)
    path = f"{jobs(namespace)}/it"
    harness.wait_for(api, jobs(namespace), lambda items: items[0]["status"].get("completedIndexes") == "0,1")
    refused = api.request("PATCH", path, {"spec": {"completions": 5}},
                          headers={"Content-Type": "application/merge-patch+json"}).json["message"]
    assert "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism" in refused
    api.patch(path, {"spec": {"completions": 4, "parallelism": 4}})
    harness.wait_for(api, pods, lambda items: {index_of(pod) for pod in items} == {0, 1, 2, 3})
    api.patch(path, {"spec": {"completions": 2, "parallelism": 2}})
    status = ended(api, namespace, "it")["status"]
    assert (status["succeeded"], status["completedIndexes"]) == (2, "0,1")


def test_with_a_limit_per_index_the_others_go_on(api, namespace, pods):
    create_indexed(api, namespace, "it", "test $JOB_COMPLETION_INDEX -ne 1", 3, backoffLimitPerIndex=0)
    item = ended(api, namespace, "it", "Failed")
    assert (item["status"]["completedIndexes"], item["status"]["failedIndexes"]) == ("0,2", "1")
    assert condition_of(item, "Failed")["reason"] == "FailedIndexes"
    assert condition_of(item, "Failed")["message"] == "Job has failed indexes"
    assert item["spec"]["backoffLimit"] == 2147483647


def test_too_many_failed_indexes_end_the_job(api, namespace, pods):
    create_indexed(api, namespace, "it", "test $JOB_COMPLETION_INDEX -gt 1 && sleep 1000; exit 1", 4,
                   backoffLimitPerIndex=0, maxFailedIndexes=1)
    item = ended(api, namespace, "it", "Failed")
    assert condition_of(item, "Failed")["reason"] == "MaxFailedIndexesExceeded"
    harness.wait_for(api, pods, lambda items: all(pod["status"]["phase"] == "Failed" for pod in items))


def test_a_success_policy_ends_the_job_early(api, namespace, pods):
    create_indexed(api, namespace, "it", "test $JOB_COMPLETION_INDEX -eq 0 || sleep 1000", 3,
                   successPolicy={"rules": [{"succeededIndexes": "0"}]})
    item = ended(api, namespace, "it")
    assert item["status"]["completedIndexes"] == "0"
    for kind in ("SuccessCriteriaMet", "Complete"):
        assert (condition_of(item, kind)["reason"], condition_of(item, kind)["message"]) == \
            ("SuccessPolicy", "Matched rules at index 0")
    harness.wait_for(api, pods, lambda items: len(items) == 1, what="the other workers to go")


# ---- Pod failure policies ----

def policy(action, code=42):
    return {"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [code]}}]}


def test_a_failure_can_fail_the_job_at_once(api, namespace, pods):
    create(api, namespace, "it", "exit 42", podFailurePolicy=policy("FailJob"))
    item = ended(api, namespace, "it", "Failed")
    assert item["spec"]["podReplacementPolicy"] == "Failed"
    pod = api.ok("GET", pods)["items"][0]["metadata"]["name"]
    for kind in ("FailureTarget", "Failed"):
        assert condition_of(item, kind)["reason"] == "PodFailurePolicy"
        assert condition_of(item, kind)["message"] == \
            f"Container main for pod {namespace}/{pod} failed with exit code 42 matching FailJob rule at index 0"


def test_an_ignored_failure_is_not_counted(api, namespace, pods):
    create(api, namespace, "it", "exit 42", backoffLimit=0, podFailurePolicy=policy("Ignore"))
    # Its replacement comes after the back-off; the Job has not failed by then.
    harness.wait_for(api, pods, lambda items: len(items) >= 2, what="a replacement")
    status = api.ok("GET", f"{jobs(namespace)}/it")["status"]
    assert "failed" not in status and not any(entry["type"] == "Failed" for entry in status.get("conditions", []))


def test_a_failure_can_fail_its_index(api, namespace, pods):
    create_indexed(api, namespace, "it", "test $JOB_COMPLETION_INDEX -ne 0 || exit 42", 2, backoffLimitPerIndex=5,
                   podFailurePolicy=policy("FailIndex"))
    item = ended(api, namespace, "it", "Failed")
    assert (item["status"]["failedIndexes"], item["status"]["completedIndexes"]) == ("0", "1")


def test_with_replacement_policy_failed_a_pod_is_replaced_when_it_has_ended(api, namespace, pods):
    create(api, namespace, "it", "trap 'exit 1' TERM; echo up; while :; do sleep 0.1; done",
           podReplacementPolicy="Failed", pod={"terminationGracePeriodSeconds": 10})
    first = harness.wait_for(api, pods, lambda items: next((p for p in items if harness.is_true(p, "Ready")), None))
    both = [False]

    def replaced(items):
        alive = [pod for pod in items if pod["status"]["phase"] in ("Pending", "Running")]
        both[0] = both[0] or len(alive) > 1
        return any(pod["metadata"]["uid"] != first["metadata"]["uid"] for pod in items)
    api.ok("DELETE", f"{pods}/{first['metadata']['name']}")
    harness.wait_for(api, pods, replaced, what="a replacement")
    assert not both[0]


# ---- The server dies ----

def test_no_pod_is_lost_or_counted_twice_when_the_server_is_killed(make_cluster, workspace):
    cluster = make_cluster(data_directory=workspace / "killed-jobs")
    cluster.start()
    namespace, pods = "default", "/api/v1/namespaces/default/pods"
    cluster.api.create(jobs(namespace), job("it", "true", completions=12, parallelism=3))
    for step in (2, 5, 8):
        harness.wait_for(cluster.api, jobs(namespace), lambda items: items[0]["status"].get("succeeded", 0) >= step)
        cluster.kill()
        cluster.start()
    status = ended(cluster.api, namespace, "it")["status"]
    assert status["succeeded"] == 12 and status.get("failed", 0) == 0
    items = cluster.api.ok("GET", pods)["items"]
    assert len([pod for pod in items if pod["status"]["phase"] == "Succeeded"]) == 12
    assert not tracked(cluster.api, pods)
