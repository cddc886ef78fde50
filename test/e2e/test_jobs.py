"""Jobs: pods that run until enough of them have succeeded, with real clients and real containers."""
import json

import harness
from test_pod import events


def job(name, script, restart="Never", container=None, pod=None, **spec):
    main = {"name": "main", "image": harness.IMAGE_V1, "command": ["sh", "-c", script], **(container or {})}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"template": {"spec": {"restartPolicy": restart, "containers": [main],
                                           "terminationGracePeriodSeconds": 2, **(pod or {})}}, **spec}}


def jobs(namespace):
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def create(api, namespace, *arguments, **spec):
    return api.create(jobs(namespace), job(*arguments, **spec))


def ended(api, namespace, name, condition="Complete", timeout=harness.WAIT_LIMIT):
    return harness.wait_for(api, jobs(namespace), lambda items: next(
        (item for item in items if item["metadata"]["name"] == name and harness.is_true(item, condition)), None),
        timeout=timeout, what=f"job {name} {condition}")


def reasons(api, namespace, kind="Job"):
    return [event["reason"] for event in api.ok("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
            if event["involvedObject"]["kind"] == kind]


def condition_of(item, kind):
    return next((entry for entry in item["status"].get("conditions", []) if entry["type"] == kind), None)


def tracked(api, pods):
    return [pod["metadata"]["name"] for pod in api.ok("GET", pods)["items"]
            if "batch.kubernetes.io/job-tracking" in pod["metadata"].get("finalizers", [])]


# ---- kubectl ----

def test_kubectl_makes_a_job_waits_for_it_and_reads_its_log(kubectl, api, namespace, pods):
    assert "job.batch/pi created" in kubectl("create", "job", "pi", f"--image={harness.IMAGE_V1}", "--", "echo", "3.14")
    assert "job.batch/pi condition met" in kubectl("wait", "--for=condition=complete", "job/pi", "--timeout=60s")
    assert kubectl("logs", "job/pi") == "3.14\n"
    header, row = [line.split() for line in kubectl("get", "jobs").splitlines()]
    assert header == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert row[:3] == ["pi", "Complete", "1/1"]
    described = kubectl("describe", "job", "pi")
    assert "Pods Statuses:" in described and "1 Succeeded" in described
    assert "Created pod: pi-" in described and "Job completed" in described
    assert json.loads(kubectl("get", "jobs", "--field-selector=status.successful=1", "-o", "json"))["items"]
    assert not json.loads(kubectl("get", "jobs", "--field-selector=status.successful=0", "-o", "json"))["items"]
    assert not tracked(api, pods)
    kubectl("delete", "job", "pi")
    harness.wait_for(api, pods, lambda items: not items, what="the pods of a deleted job to go")


def test_the_status_tells_the_whole_story(api, namespace, pods):
    made = create(api, namespace, "one", "true")
    uid = made["metadata"]["uid"]
    labels = {"job-name": "one", "controller-uid": uid, "batch.kubernetes.io/job-name": "one",
              "batch.kubernetes.io/controller-uid": uid}
    assert made["spec"]["template"]["metadata"]["labels"] == labels
    assert made["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    assert {key: made["spec"][key] for key in ("parallelism", "completions", "backoffLimit", "completionMode", "suspend",
                                               "manualSelector", "podReplacementPolicy")} == \
        {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
         "manualSelector": False, "podReplacementPolicy": "TerminatingOrFailed"}
    status = ended(api, namespace, "one")["status"]
    assert [(entry["type"], entry["status"], entry["reason"], entry["message"]) for entry in status["conditions"]] == [
        (kind, "True", "CompletionsReached", "Reached expected number of succeeded pods")
        for kind in ("SuccessCriteriaMet", "Complete")]
    assert (status["succeeded"], status["ready"], status["terminating"]) == (1, 0, 0)
    assert status["uncountedTerminatedPods"] == {} and status["startTime"] <= status["completionTime"]
    assert harness.eventually(lambda: sorted(reasons(api, namespace)) == ["Completed", "SuccessfulCreate"])


# ---- counting ----

def test_completions_are_reached_with_no_more_than_parallelism_at_once(api, namespace, pods):
    most = [0]

    def watch(items):
        active = [pod for pod in items if pod["status"].get("phase") in ("Pending", "Running")
                  and "deletionTimestamp" not in pod["metadata"]]
        most[0] = max(most[0], len(active))
        return sum(pod["status"].get("phase") == "Succeeded" for pod in items) >= 5
    create(api, namespace, "many", "true", completions=5, parallelism=2)
    harness.wait_for(api, pods, watch)
    assert ended(api, namespace, "many")["status"]["succeeded"] == 5
    assert most[0] <= 2
    assert len(api.ok("GET", pods)["items"]) == 5


def test_one_success_ends_a_job_without_completions(api, namespace, pods):
    create(api, namespace, "queue", "exit 0", parallelism=3)
    status = ended(api, namespace, "queue")["status"]
    assert status["succeeded"] >= 1 and "failed" not in status


def test_a_failing_job_gives_up_after_its_backoff_limit(api, namespace, pods):
    create(api, namespace, "bad", "exit 3", backoffLimit=0)
    item = ended(api, namespace, "bad", "Failed")
    assert item["status"]["failed"] == 1 and "succeeded" not in item["status"]
    for kind in ("FailureTarget", "Failed"):
        assert condition_of(item, kind)["reason"] == "BackoffLimitExceeded"
    assert condition_of(item, "Failed")["message"] == "Job has reached the specified backoff limit"
    harness.eventually(lambda: "BackoffLimitExceeded" in reasons(api, namespace))
    assert not tracked(api, pods)


def test_containers_that_are_restarted_in_place_count_too(api, namespace, pods):
    create(api, namespace, "again", "exit 1", restart="OnFailure", backoffLimit=1)
    item = ended(api, namespace, "again", "Failed")
    assert condition_of(item, "Failed")["reason"] == "BackoffLimitExceeded"


# ---- suspending, deadlines, time to live ----

def test_a_suspended_job_runs_nothing_until_it_is_resumed(api, namespace, pods, kubectl):
    create(api, namespace, "later", "sleep 1000", suspend=True)
    item = ended(api, namespace, "later", "Suspended")
    assert condition_of(item, "Suspended")["reason"] == "JobSuspended" and "startTime" not in item["status"]
    assert kubectl("get", "job", "later", "--no-headers").split()[1:3] == ["Suspended", "0/1"]
    api.patch(f"{jobs(namespace)}/later", {"spec": {"suspend": False}})
    harness.wait_for(api, pods, lambda items: any(harness.is_true(pod, "Ready") for pod in items))
    api.patch(f"{jobs(namespace)}/later", {"spec": {"suspend": True}})
    harness.wait_for(api, pods, lambda items: not items, what="the pods of a suspended job to go")
    item = ended(api, namespace, "later", "Suspended")
    assert item["status"].get("failed", 0) == 0
    assert harness.eventually(lambda: {"Suspended", "Resumed", "SuccessfulDelete"} <= set(reasons(api, namespace)))


def test_a_job_that_ran_goes_on_with_a_status_after_its_suspension(api, namespace, pods, kubectl):
    path = f"{jobs(namespace)}/paused"

    def running(items):
        return next((pod["metadata"]["name"] for pod in items if harness.is_true(pod, "Ready")
                     and "deletionTimestamp" not in pod["metadata"]), None)

    def seen(check):
        return harness.wait_for(api, jobs(namespace), lambda items: next(
            (item for item in items if item["metadata"]["name"] == "paused" and check(item)), None))
    create(api, namespace, "paused", "until [ -e /tmp/go ]; do sleep 0.1; done")
    first = harness.wait_for(api, pods, running)
    started = seen(lambda item: item["status"].get("ready"))["status"]["startTime"]
    api.patch(path, {"spec": {"suspend": True}})
    item = seen(lambda item: harness.is_true(item, "Suspended"))
    assert item["status"].get("active", 0) == 0 and item["status"]["startTime"] == started
    harness.wait_for(api, pods, lambda items: not items, what="the pods of a suspended job to go")
    api.patch(path, {"spec": {"suspend": False}})
    second = harness.wait_for(api, pods, running)
    assert second != first
    item = seen(lambda item: item["status"].get("ready"))
    assert item["status"]["active"] == 1 and item["status"]["startTime"] > started
    assert [(entry["type"], entry["status"], entry["reason"], entry["message"])
            for entry in item["status"]["conditions"]] == [("Suspended", "False", "JobResumed", "Job resumed")]
    assert kubectl("get", "job", "paused", "--no-headers").split()[1:3] == ["Running", "0/1"]
    kubectl("exec", second, "--", "touch", "/tmp/go", check=False)  # its container may end before it has
    item = ended(api, namespace, "paused")
    assert condition_of(item, "Suspended")["status"] == "False" and item["status"]["succeeded"] == 1
    assert harness.eventually(lambda: {"Suspended", "Resumed", "Completed"} <= set(reasons(api, namespace)))


def test_a_job_ends_at_its_deadline(api, namespace, pods):
    create(api, namespace, "slow", "sleep 1000", activeDeadlineSeconds=1)
    item = ended(api, namespace, "slow", "Failed")
    assert condition_of(item, "Failed")["reason"] == "DeadlineExceeded"
    assert condition_of(item, "Failed")["message"] == "Job was active longer than specified deadline"
    harness.wait_for(api, pods, lambda items: not items, what="the pods to go")


def test_a_finished_job_goes_when_its_time_is_up(api, namespace, pods):
    create(api, namespace, "brief", "true", ttlSecondsAfterFinished=0)
    harness.wait_for(api, jobs(namespace), lambda items: not items, what="the job to be deleted")
    harness.wait_for(api, pods, lambda items: not items, what="its pods to be deleted")


# ---- deletion ----

def test_deleting_a_running_job_takes_its_pods(api, namespace, pods, kubectl):
    create(api, namespace, "run", "sleep 1000")
    harness.wait_for(api, pods, lambda items: any(harness.is_true(pod, "Ready") for pod in items))
    kubectl("delete", "job", "run")
    harness.wait_for(api, pods, lambda items: not items, what="the pods to go")


def test_orphans_of_a_job_stay_and_can_be_deleted(api, namespace, pods, kubectl):
    create(api, namespace, "run", "sleep 1000")
    harness.wait_for(api, pods, lambda items: any(harness.is_true(pod, "Ready") for pod in items))
    kubectl("delete", "job", "run", "--cascade=orphan" if kubectl.is_modern else "--cascade=false")
    pod = harness.wait_for(api, pods, lambda items: next(
        (pod for pod in items if not pod["metadata"].get("finalizers")
         and not pod["metadata"].get("ownerReferences")), None))
    assert "deletionTimestamp" not in pod["metadata"]
    kubectl("delete", "pod", pod["metadata"]["name"])
    harness.wait_for(api, pods, lambda items: not items, what="the pod to go")


def test_a_pod_that_is_deleted_is_replaced_and_counted_as_failed(api, namespace, pods):
    create(api, namespace, "run", "sleep 1000")
    pod = harness.wait_for(api, pods, lambda items: next((pod for pod in items if harness.is_true(pod, "Ready")), None))
    api.ok("DELETE", f"{pods}/{pod['metadata']['name']}")
    harness.wait_for(api, jobs(namespace), lambda items: items[0]["status"].get("failed") == 1)
    harness.wait_for(api, pods, lambda items: any(
        item["metadata"]["uid"] != pod["metadata"]["uid"] and "deletionTimestamp" not in item["metadata"]
        for item in items), timeout=harness.WAIT_LIMIT, what="a replacement")


# ---- what is refused ----

def refused(api, namespace, body):
    answer = api.request("POST", jobs(namespace), body)
    assert answer.status == 422, answer
    return answer.json["message"]


def test_bad_jobs_are_refused_in_upstreams_words(api, namespace):
    assert 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"' in \
        refused(api, namespace, job("it", "true", restart="Always"))
    assert "spec.completions: Required value: when completion mode is Indexed" in \
        refused(api, namespace, job("it", "true", completionMode="Indexed", parallelism=1))
    assert "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode" in \
        refused(api, namespace, job("it", "true", backoffLimitPerIndex=1))
    assert "spec.parallelism: Invalid value: -1: must be greater than or equal to 0" in \
        refused(api, namespace, job("it", "true", parallelism=-1))
    assert 'spec.podFailurePolicy.rules[0].action: Unsupported value: "Explode": supported values: "Count", ' \
        '"FailIndex", "FailJob", "Ignore"' in refused(api, namespace, job("it", "true", podFailurePolicy={
            "rules": [{"action": "Explode", "onExitCodes": {"operator": "In", "values": [1]}}]}))
    assert "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-9\": error parsing succeededIndexes: too " \
        "large index: \"9\"" in refused(api, namespace, job("it", "true", completionMode="Indexed", completions=3,
                                                          successPolicy={"rules": [{"succeededIndexes": "0-9"}]}))
    assert "will not able to create pod with invalid DNS label" in \
        refused(api, namespace, job("a" * 62, "true", completionMode="Indexed", completions=3))


def test_what_a_job_runs_cannot_be_changed(api, namespace):
    create(api, namespace, "fixed", "sleep 1000", suspend=True)
    path = f"{jobs(namespace)}/fixed"

    def change(spec):
        return api.request("PATCH", path, {"spec": spec},
                           headers={"Content-Type": "application/merge-patch+json"}).json.get("message", "")
    assert "spec.completions: Invalid value: 5: field is immutable" in change({"completions": 5})
    assert "spec.completionMode: Invalid value: \"Indexed\": field is immutable" in change({"completionMode": "Indexed"})
    assert "field is immutable" in change({"template": {"spec": {"restartPolicy": "OnFailure"}}})
    # Before its first start, where it runs may still change.
    assert change({"template": {"spec": {"nodeSelector": {"zone": "a"}}}}) == ""
    status = api.request("PUT", path + "/status", {**api.ok("GET", path), "status": {
        "conditions": [{"type": "Complete", "status": "True"}]}}).json["message"]
    assert "cannot set Complete=True condition without the SuccessCriteriaMet=true condition" in status
    assert "status.completionTime: Required value: completionTime is required for Complete jobs" in status
