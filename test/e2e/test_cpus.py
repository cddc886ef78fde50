"""The static CPU manager policy: whole CPUs for those that ask for them."""
import os

import pytest

import harness

PODS = "/api/v1/namespaces/default/pods"
WHOLE = {"requests": {"cpu": "1", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "32Mi"}}


def cpus_of(cluster, pod):
    """The CPUs that the container's first process may run on."""
    (status,) = pod["status"]["containerStatuses"]
    ident = status["containerID"].split("//")[1]
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
        path = f"{root}/coracle/{cluster.name}/pod{pod['metadata']['uid']}/{ident}/cgroup.procs"
        if os.path.exists(path):
            with open(path) as processes:
                return os.sched_getaffinity(int(processes.readline()))
    raise harness.Failure(f"no cgroup of {ident}")


def ready(api, *names):
    items = harness.wait_for(api, PODS, lambda items: {i["metadata"]["name"] for i in items
                                                       if harness.is_true(i, "Ready")} >= set(names) and items)
    return {item["metadata"]["name"]: item for item in items}


@pytest.mark.skipif(os.cpu_count() < 2, reason="one CPU cannot be shared out")
def test_a_guaranteed_container_gets_whole_cpus_that_no_other_has(make_cluster):
    one = make_cluster(arguments=["--cpu-manager-policy", "static", "--system-reserved", "cpu=500m"])
    one.start()
    everything = os.sched_getaffinity(one.process.pid)
    one.api.create(PODS, harness.shell_pod("shares", "sleep 600"))
    pods = ready(one.api, "shares")
    assert cpus_of(one, pods["shares"]) == everything
    one.api.create(PODS, harness.shell_pod("alone", "sleep 600", container={"resources": WHOLE}))
    pods = ready(one.api, "alone")
    mine = cpus_of(one, pods["alone"])
    assert len(mine) == 1 and min(everything) not in mine  # the first one is reserved
    harness.eventually(lambda: cpus_of(one, pods["shares"]) == everything - mine)
    # Newcomers share what is left; a restarted agent knows who has what.
    one.kill()
    one.start()
    one.api.create(PODS, harness.shell_pod("late", "sleep 600"))
    pods = ready(one.api, "shares", "alone", "late")
    assert cpus_of(one, pods["alone"]) == mine
    assert cpus_of(one, pods["late"]) == everything - mine
    # Who has CPUs for himself is not resized.
    one.api.patch(PODS + "/alone/resize", {"spec": {"containers": [{"name": "main", "resources": {
        "requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}}]}})
    pending = harness.wait_for(one.api, PODS, lambda items: next(
        (c for i in items for c in i["status"].get("conditions", []) if c["type"] == "PodResizePending"), None))
    assert (pending["reason"], pending["message"]) == \
        ("Infeasible", "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy")
    # When it has gone, its CPUs are everybody's again.
    one.api.request("DELETE", PODS + "/alone?gracePeriodSeconds=0")
    harness.eventually(lambda: cpus_of(one, pods["shares"]) == cpus_of(one, pods["late"]) == everything)


def test_the_static_policy_wants_a_reservation():
    for arguments in (["--cpu-manager-policy", "static"], ["--cpu-manager-policy", "fair"]):
        result = harness.run([harness.CORACLE, "up", "--sandbox", "--name", "never", *arguments], check=False)
        assert result.returncode == 2, result.stderr
