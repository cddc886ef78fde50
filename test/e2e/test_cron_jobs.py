"""CronJobs: Jobs by the clock, with real clients and real minutes; test/control/test_cron_job.c plays years."""
import datetime
import json

import harness
from test_jobs import ended, job, jobs


def cron_jobs(namespace):
    return f"/apis/batch/v1/namespaces/{namespace}/cronjobs"


def cron_job(name, schedule, script="true", **spec):
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": job(name, script)["spec"]}, **spec}}


def test_a_job_is_started_every_minute(api, namespace, kubectl):
    before = datetime.datetime.now(datetime.timezone.utc)
    api.create(cron_jobs(namespace), cron_job("tick", "* * * * *", timeZone="Asia/Kolkata"))
    made = harness.wait_for(api, jobs(namespace), lambda items: items and items[0], timeout=90 * harness.PATIENCE)
    minutes = int(made["metadata"]["name"].removeprefix("tick-"))
    scheduled = datetime.datetime.fromtimestamp(minutes * 60, datetime.timezone.utc)
    assert before < scheduled <= datetime.datetime.now(datetime.timezone.utc)
    stamp = made["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert stamp.endswith("+05:30") and datetime.datetime.fromisoformat(stamp) == scheduled
    assert made["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
    ended(api, namespace, made["metadata"]["name"])
    status = harness.wait_for(api, cron_jobs(namespace), lambda items: "lastSuccessfulTime" in items[0]["status"]
                              and not items[0]["status"].get("active") and items[0]["status"])
    assert status["lastScheduleTime"] == scheduled.strftime("%Y-%m-%dT%H:%M:%SZ")
    reasons = {event["reason"] for event in api.ok("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
               if event["involvedObject"]["kind"] == "CronJob"}
    assert {"SuccessfulCreate", "SawCompletedJob"} <= reasons
    if kubectl.is_modern:
        described = kubectl("describe", "cronjob", "tick")
        assert "Schedule:                      * * * * *" in described and "Created job tick-" in described
    kubectl("delete", "cronjob", "tick")
    harness.wait_for(api, jobs(namespace), lambda items: not items, what="the jobs of a deleted cronjob to go")


def test_kubectl_prints_and_starts_cron_jobs(api, namespace, cluster):
    kubectl = cluster.kubectl("1.35", namespace)
    kubectl("create", "cronjob", "nightly", f"--image={harness.IMAGE_V1}", "--schedule=30 2 * * 1-5", "--", "echo", "hi")
    header, row = [line.split("  ") for line in kubectl("get", "cronjobs").splitlines()]
    assert [text.strip() for text in header if text] == ["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE",
                                                         "LAST SCHEDULE", "AGE"]
    assert [text.strip() for text in row if text][:6] == ["nightly", "30 2 * * 1-5", "<none>", "False", "0", "<none>"]
    kubectl("create", "job", "--from=cronjob/nightly", "now")
    kubectl("wait", "--for=condition=complete", "job/now", "--timeout=60s")
    assert kubectl("logs", "job/now") == "hi\n"
    made = json.loads(kubectl("get", "job", "now", "-o", "json"))
    assert made["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    kubectl("patch", "cronjob", "nightly", "-p", '{"spec":{"suspend":true}}')
    assert kubectl("get", "cj", "nightly", "--no-headers").split()[7] == "True"


def refused(api, namespace, body):
    answer = api.request("POST", cron_jobs(namespace), body)
    assert answer.status == 422, answer
    return answer.json["message"]


def test_bad_cron_jobs_are_refused_in_upstreams_words(api, namespace):
    def of_schedule(schedule, **spec):
        return refused(api, namespace, cron_job("it", schedule, **spec))
    assert 'spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]' in of_schedule("* * * *")
    assert 'spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60' in \
        of_schedule("60 * * * *")
    assert 'failed to parse int from x: strconv.Atoi: parsing \\"x\\": invalid syntax' in of_schedule("x * * * *") or \
        'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax' in of_schedule("x * * * *")
    assert "cannot use TZ or CRON_TZ in schedule, use timeZone field instead" in of_schedule("TZ=UTC * * * * *")
    assert 'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus' in \
        of_schedule("@daily", timeZone="Mars/Olympus")
    assert "spec.timeZone: Invalid value: \"../../etc/passwd\": unknown time zone" in \
        of_schedule("@daily", timeZone="../../etc/passwd")
    assert 'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"' in \
        of_schedule("@daily", concurrencyPolicy="Maybe")
    assert "must be no more than 52 characters" in refused(api, namespace, cron_job("a" * 53, "@daily"))
