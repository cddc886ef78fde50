"""kubectl logs: every flag, while a container runs, after it has ended, and across restarts."""
import calendar
import re
import time

import pytest

import harness
from test_pod import phase

COUNT = "for i in 1 2 3 4 5; do echo line $i; done"


@pytest.fixture
def finished(api, pods):
    api.create(pods, harness.shell_pod("it", COUNT, restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Succeeded"))


def test_the_whole_log(kubectl, finished):
    assert kubectl("logs", "it") == "".join(f"line {number}\n" for number in range(1, 6))


def test_tail(kubectl, finished):
    assert kubectl("logs", "it", "--tail=2") == "line 4\nline 5\n"
    assert kubectl("logs", "it", "--tail=0") == ""
    assert kubectl("logs", "it", "--tail=99").count("\n") == 5


def test_limit_bytes(kubectl, finished):
    assert kubectl("logs", "it", "--limit-bytes=9") == "line 1\nli"


def test_timestamps_are_in_order(kubectl, finished):
    stamps = []
    for number, line in enumerate(kubectl("logs", "it", "--timestamps").splitlines(), 1):
        stamp, text = line.split(" ", 1)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)", stamp)
        assert text == f"line {number}"
        stamps.append(stamp)
    assert stamps == sorted(stamps)


def test_since(kubectl, api, pods):
    api.create(pods, harness.shell_pod("it", "echo old; sleep 8; echo new", restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Succeeded"))
    # A second after the old line, counted from now: a kubectl that takes up to 7 s to start still asks in between.
    stamp = kubectl("logs", "it", "--timestamps").split()[0]
    age = time.time() - calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
    assert kubectl("logs", "it", f"--since={int(age) - 1}s") == "new\n"
    assert kubectl("logs", "it", "--since=1h") == "old\nnew\n"
    stamp = kubectl("logs", "it", "--timestamps", "--tail=1").split()[0]
    assert kubectl("logs", "it", f"--since-time={stamp}") == "new\n"


def test_follow_shows_lines_as_they_are_written_and_ends_with_the_container(kubectl, api, pods, tmp_path):
    tmp_path.chmod(0o755)
    wait = "until [ -e /gate/{} ]; do usleep 20000; done; echo {}"
    api.create(pods, harness.shell_pod(
        "it", f"echo first; {wait.format('second', 'second')}; {wait.format('third', 'third')}", restartPolicy="Never",
        volumes=[{"name": "gate", "hostPath": {"path": str(tmp_path)}}],
        container={"volumeMounts": [{"name": "gate", "mountPath": "/gate"}]}))
    harness.wait_for(api, pods, phase("Running"))
    with kubectl.follow("logs", "-f", "it") as follower:
        follower.until_line("first")
        (tmp_path / "second").touch()
        follower.until_line("second")
        assert follower.lines == ["first", "second"]
        (tmp_path / "third").touch()
        assert follower.ended() == 0
        assert follower.lines == ["first", "second", "third"]


def test_previous(kubectl, api, pods):
    api.create(pods, harness.shell_pod(
        "it", "test -e /memory/x || { echo first life; touch /memory/x; exit 1; }; echo second life; exec sleep 1000",
        volumes=[{"name": "memory", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}))
    harness.wait_for(api, pods, lambda items: items[0]["status"].get("containerStatuses", [{}])[0].get("restartCount"))
    harness.eventually(lambda: kubectl("logs", "it") == "second life\n")
    assert kubectl("logs", "it", "--previous") == "first life\n"


def test_no_previous_container(kubectl, finished):
    assert 'previous terminated container "main" in pod "it" not found' in kubectl.fails("logs", "it", "--previous")


def test_several_containers(kubectl, api, pods):
    body = harness.shell_pod("it", "", restartPolicy="Never")
    body["spec"]["containers"] = [{"name": name, "image": harness.IMAGE_V1, "command": ["echo", f"I am {name}"]}
                                  for name in ("one", "two")]
    api.create(pods, body)
    harness.wait_for(api, pods, phase("Succeeded"))
    assert kubectl("logs", "it", "-c", "two") == "I am two\n"
    assert sorted(kubectl("logs", "it", "--all-containers").splitlines()) == ["I am one", "I am two"]
    assert sorted(kubectl("logs", "it", "--all-containers", "--prefix").splitlines()) == [
        "[pod/it/one] I am one", "[pod/it/two] I am two"]
    assert "container none is not valid for pod it" in kubectl.fails("logs", "it", "-c", "none")


def test_by_selector_and_by_deployment(kubectl, api, namespace, pods):
    for name in ("a", "b"):
        api.create(pods, harness.shell_pod(name, f"echo {name}", labels={"app": "both"}, restartPolicy="Never"))
    harness.wait_for(api, pods, lambda items: len(items) == 2 and phase("Succeeded")(items))
    assert sorted(kubectl("logs", "-l", "app=both").splitlines()) == ["a", "b"]


def test_a_container_that_has_not_started(kubectl, api, pods):
    api.create(pods, harness.shell_pod("it", "true", image="127.0.0.1:1/none:v1"))
    harness.wait_for(api, pods, lambda items: items[0]["status"].get("containerStatuses"))
    message = kubectl.fails("logs", "it")
    assert 'container "main" in pod "it" is waiting to start' in message


def test_long_and_partial_lines_arrive_whole(kubectl, api, pods):
    # Longer than the runtime's buffer, so that the log holds it in parts.
    api.create(pods, harness.shell_pod("it", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo -n unfinished",
                                       restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Succeeded"))
    lines = kubectl("logs", "it").split("\n")
    assert lines[0] == "x" * 100000
    assert lines[1].rstrip("\n") == "unfinished"


def test_both_streams_in_order(kubectl, api, pods):
    api.create(pods, harness.shell_pod("it", "echo out; usleep 500000; echo err >&2; usleep 500000; echo out again",
                                       restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Succeeded"))
    assert kubectl("logs", "it") == "out\nerr\nout again\n"


def test_logs_rotate_and_follow_goes_on(cluster, api, pods):
    """Thirty megabytes, more than one file may hold: a follower sees every line of them, a reader the end."""
    lines = 300_000
    api.create(pods, harness.shell_pod(
        "it", f"sleep 1; i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo $i "
              + "x" * 93 + "; done", restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Running"))
    began = time.monotonic()
    with cluster.kubectl("1.20", pods.split("/")[4]).follow("logs", "-f", "it") as follower:
        assert follower.ended(timeout=180 * harness.PATIENCE) == 0
        numbers = [int(line.split()[0]) for line in follower.lines]
    assert numbers == list(range(1, lines + 1)), (len(numbers), time.monotonic() - began)
    response = api.get(f"{pods}/it/log?tailLines=1")
    assert response.body.decode().startswith(f"{lines} ")
