"""Sandboxes: as many as one likes, none in the way of another or of the machine, and nothing left of them."""
import json
import os
import signal
import socket
import subprocess

import pytest

import harness

PODS = "/api/v1/namespaces/default/pods"


def host_state():
    """Names of the host's links and its packet filter's rules; a sandbox must not touch either."""
    links = {line.split(":")[1].strip() for line in harness.run(["ip", "-o", "link"]).stdout.splitlines()}
    rules = harness.run(["nft", "-j", "list", "ruleset"], check=False).stdout
    tables = sorted(item["table"]["name"] for item in json.loads(rules or "{}").get("nftables", []) if "table" in item)
    return links, tables


def start_server(cluster):
    cluster.api.create("/apis/apps/v1/namespaces/default/deployments", harness.server_deployment("it", replicas=2))
    created = cluster.api.create("/api/v1/namespaces/default/services", harness.service("it", type="NodePort"))
    return harness.wait_for(cluster.api, PODS, lambda items: len(items) == 2 and all(
        harness.is_true(item, "Ready") for item in items) and created["spec"])


def test_starting_prints_milestones_and_where_the_kubeconfig_is(make_cluster):
    cluster = make_cluster()
    cluster.start()
    assert cluster.output.lines[-1].startswith("ready")
    assert str(cluster.kubeconfig) in "\n".join(cluster.output.lines)
    assert os.stat(cluster.kubeconfig).st_mode & 0o777 == 0o600
    assert cluster.api.host.startswith("127.")


def test_down_leaves_nothing(make_cluster):
    before = host_state()
    cluster = make_cluster()
    cluster.start()
    namespace = cluster.network_namespace()
    start_server(cluster)
    assert cluster.leftovers(namespace), "the test would not see a sandbox if there were one"
    cluster.down()
    assert cluster.leftovers(namespace) == []
    assert host_state() == before


def test_down_after_a_crash_leaves_nothing(make_cluster):
    before = host_state()
    cluster = make_cluster()
    cluster.start()
    namespace = cluster.network_namespace()
    start_server(cluster)
    cluster.kill()
    assert cluster.leftovers(namespace), "containers outlive the agent"
    cluster.down()
    assert cluster.leftovers(namespace) == []
    assert host_state() == before


def test_an_interrupt_ends_the_process_in_good_order(make_cluster):
    cluster = make_cluster()
    cluster.start()
    namespace = cluster.network_namespace()
    start_server(cluster)
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.process.wait(harness.STOP_LIMIT) == 0
    cluster.down()
    assert cluster.leftovers(namespace) == []


def rest_of_start(cluster):
    """What a start that came to nothing must not leave, before anybody says `down`."""
    found = cluster.leftovers()
    return found + [f"file {cluster.kubeconfig}"] if cluster.kubeconfig.exists() else found


@pytest.mark.parametrize("options", [[], ["--detach"]])
def test_a_start_that_fails_leaves_nothing(make_cluster, options):
    before = host_state()
    cluster = make_cluster(images=["/nope"], arguments=options)
    result = harness.run(cluster.command(), check=False)
    assert result.returncode == 1 and "/nope" in result.stderr, result
    assert rest_of_start(cluster) == []
    assert host_state() == before


def test_a_start_that_fails_keeps_the_data_that_was_there(make_cluster, tmp_path):
    cluster = make_cluster(images=["/nope"], data_directory=tmp_path / "data")
    assert harness.run(cluster.command(), check=False).returncode == 1
    assert rest_of_start(cluster) == [] and not cluster.data_directory.exists(), "it was made by that start"
    cluster.data_directory.mkdir()
    (cluster.data_directory / "mine").write_text("kept")
    assert harness.run(cluster.command(), check=False).returncode == 1
    assert rest_of_start(cluster) == []
    assert (cluster.data_directory / "mine").read_text() == "kept"
    assert not (cluster.data_directory / "kubeconfig").exists()


def test_a_start_without_its_port_leaves_nothing(make_cluster, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cluster = make_cluster(data_directory=tmp_path / "data",
                               arguments=["--listen", f"127.0.0.1:{taken.getsockname()[1]}"])
        assert harness.run(cluster.command(), check=False).returncode == 1
    assert rest_of_start(cluster) == [] and not cluster.data_directory.exists()


@pytest.fixture
def elsewhere():
    """A network namespace to take for the host's, so that a cluster without a sandbox gets in nobody's way."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    prefix = ["nsenter", "--target", str(holder.pid), "--net"]
    ours = os.readlink("/proc/self/ns/net")
    harness.eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != ours, what="the namespace")
    harness.run([*prefix, "ip", "link", "set", "lo", "up"])
    yield prefix
    holder.kill()
    holder.wait()


@pytest.mark.parametrize("neighbour", [False, True])
def test_a_start_without_a_sandbox_that_fails_leaves_nothing(make_cluster, elsewhere, neighbour):
    """The bridge stays where it was there before: it is that of a cluster of another name."""
    def links():
        return harness.run([*elsewhere, "ip", "-br", "link"]).stdout.split()[::4]

    if neighbour:
        harness.run([*elsewhere, "ip", "link", "add", "coracle0", "type", "bridge"])
    before = host_state()
    cluster = make_cluster(images=["/nope"], prefix=elsewhere)
    command = [word for word in cluster.command() if word != "--sandbox"]
    result = harness.run(command, check=False)
    assert result.returncode == 1 and "/nope" in result.stderr, result
    assert "network" in result.stdout, "it had come so far"
    assert rest_of_start(cluster) == []
    assert ("coracle0" in links()) == neighbour
    assert cluster.name not in harness.run([*elsewhere, "nft", "list", "tables"]).stdout
    assert host_state() == before


def test_a_restart_that_fails_keeps_what_runs(make_cluster):
    cluster = make_cluster()
    cluster.start()
    start_server(cluster)
    namespace = cluster.network_namespace()
    cluster.kill()
    cluster.images = ["/nope"]
    assert harness.run(cluster.command(), check=False).returncode == 1
    assert cluster.network_namespace() == namespace
    cluster.images = []
    cluster.start()
    assert all(item["status"]["containerStatuses"][0]["restartCount"] == 0
               for item in cluster.api.ok("GET", PODS)["items"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [[], ["--detach"]])
def test_a_start_that_is_stopped_leaves_nothing(make_cluster, tmp_path, number, options):
    """The archive is a pipe that nobody fills: the start waits for it until the signal has come and it ends."""
    before = host_state()
    pipe = tmp_path / "archive.tar"
    os.mkfifo(pipe)
    cluster = make_cluster(images=[pipe], arguments=options)
    process = subprocess.Popen(cluster.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    with open(pipe, "wb"):
        assert cluster.kubeconfig.exists(), "the API answers already"
        process.send_signal(number)
        harness.eventually(lambda: not cluster.kubeconfig.exists(), what="the end to begin")
    _, complaint = process.communicate(timeout=harness.STOP_LIMIT)
    assert process.returncode == 1 and "stopped before it was ready" in complaint, complaint
    assert rest_of_start(cluster) == []
    assert host_state() == before


def test_several_side_by_side(make_cluster):
    clusters = [make_cluster() for _ in range(3)]
    for cluster in clusters:
        cluster.start()
    ports = {}
    for cluster in clusters:
        ports[cluster.name] = start_server(cluster)["ports"][0]["nodePort"]
    assert len({cluster.api.port for cluster in clusters}) == 3
    for cluster in clusters:
        pods = {item["metadata"]["name"] for item in cluster.api.ok("GET", PODS)["items"]}
        spec = cluster.api.ok("GET", "/api/v1/namespaces/default/services/it")["spec"]
        assert json.loads(cluster.fetch(f"http://{spec['clusterIP']}/predict"))["pod"] in pods
    clusters[0].down()
    for cluster in clusters[1:]:
        assert cluster.api.get("/readyz").status == 200
        assert all(harness.is_true(item, "Ready") for item in cluster.api.ok("GET", PODS)["items"])


def test_a_pod_has_no_way_out(make_cluster):
    cluster = make_cluster()
    cluster.start()
    routes = cluster.enter("ip", "route").stdout
    assert "default" not in routes
    links = {line.split(":")[1].strip().split("@")[0] for line in cluster.enter("ip", "-o", "link").stdout.splitlines()}
    assert links.isdisjoint({"eth0"} | {name for name in os.listdir("/sys/class/net") if name != "lo"})


def test_a_name_can_be_used_again(make_cluster):
    cluster = make_cluster()
    for _ in range(3):
        cluster.start()
        assert cluster.api.ok("GET", PODS)["items"] == []
        start_server(cluster)
        cluster.down()


def test_the_same_name_twice_is_refused(make_cluster):
    cluster = make_cluster()
    cluster.start()
    result = harness.run(cluster.command(), check=False)
    assert result.returncode == 1
    assert cluster.name in result.stderr and "already" in result.stderr
    assert cluster.api.get("/readyz").status == 200


def test_down_of_what_is_not_there_is_harmless():
    harness.run([harness.CORACLE, "down", "--name", "never-was"])


def test_wrong_usage_is_told_apart_from_failure():
    for arguments in ([], ["dance"], ["up", "--nonsense"], ["up", "--listen"], ["up", "--listen", "nowhere"],
                      ["up", "--sandbox", "--name", "No/Name"], ["image"], ["image", "dance"], ["enter"],
                      ["version", "--foo"], ["version", "now"]):
        result = harness.run([harness.CORACLE, *arguments], check=False)
        assert result.returncode == 2, (arguments, result)
        assert result.stderr.strip(), arguments
    result = harness.run([harness.CORACLE, "version"])
    assert "1.35" in result.stdout


@pytest.mark.parametrize("command", ["up", "down", "enter", "image", "lint", "version"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_tells_how_it_is_used(command, option):
    result = harness.run([harness.CORACLE, command, option])
    assert result.stdout.startswith(f"Usage:\n  coracle {command}") and result.stderr == ""
    everything = harness.run([harness.CORACLE, "--help"]).stdout
    assert result.stdout.partition("\n")[2] in everything, "the same as in the list of all commands"


def test_help_is_told_after_other_options_and_left_to_a_command_that_is_run():
    assert harness.run([harness.CORACLE, "image", "--name", "x", "ls", "--help"]).stdout.startswith("Usage:")
    assert harness.run([harness.CORACLE, "up", "--sandbox", "--name", "x", "-h"]).stdout.startswith("Usage:")
    result = harness.run([harness.CORACLE, "enter", "--name", "never-was", "--", "ls", "--help"], check=False)
    assert (result.returncode, result.stdout) == (1, "")


def test_a_detached_cluster_goes_on_after_the_command_has_ended(workspace, images):
    cluster = harness.Cluster(workspace, images)
    try:
        result = harness.run(cluster.command() + ["--detach"], timeout=harness.START_LIMIT)
        assert result.stdout.splitlines()[-1].startswith("ready")
        cluster.api = harness.Api(cluster.kubeconfig)
        start_server(cluster)
        assert cluster.enter("true").returncode == 0
        assert cluster.enter("sh", "-c", "exit 7", check=False).returncode == 7
    finally:
        cluster.down(check=False)
    assert cluster.leftovers() == []


def test_ready_comes_quickly(make_cluster):
    cluster = make_cluster()
    seconds = cluster.start()
    assert seconds < 3 * harness.PATIENCE
