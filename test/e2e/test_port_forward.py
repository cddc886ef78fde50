"""kubectl port-forward: both wire forms, many connections at once, refusals; Python's client."""
import concurrent.futures
import contextlib
import hashlib
import re
import select
import socket

import pytest
from kubernetes import client, config
from kubernetes.stream import portforward

import harness
from test_pod import phase


@pytest.fixture
def server(api, pods):
    """A pod `it` with the model server on 8080."""
    api.create(pods, {"metadata": {"name": "it"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "main", "image": harness.IMAGE_V1,
         "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}}]}})
    harness.wait_for(api, pods, phase("Running"))
    return "it"


@contextlib.contextmanager
def forward(kubectl, target, *ports):
    """The local ports."""
    with kubectl.follow("port-forward", target, *ports) as follower:
        follower.until(lambda lines: sum("Forwarding from 127.0.0.1" in line for line in lines) >= len(ports))
        found = [re.search(r"127\.0\.0\.1:(\d+) ->", line) for line in follower.lines]
        yield follower, [int(match[1]) for match in found if match]


def fetch(port, path="/", timeout=30):
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def test_requests_to_a_pod_many_at_once(kubectl, server):
    with forward(kubectl, "pod/it", ":8080") as (_, (port,)):
        assert fetch(port, "/ready").startswith(b"HTTP/1.1 200 ")
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: fetch(port, "/ready"), range(150)))
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


def test_a_port_that_nobody_listens_at(kubectl, server):
    with forward(kubectl, "pod/it", ":9", ":8080") as (follower, (closed, good)):
        with contextlib.suppress(OSError):
            assert fetch(closed) == b""
        follower.until_line("error forwarding port 9 to pod it, uid ")
        line = next(line for line in follower.lines if "error forwarding port 9" in line)
        assert "dial tcp4 127.0.0.1:9: connect: connection refused" in line
        if kubectl.version == "1.20":  # later ones give the session up with the first failure
            assert fetch(good, "/ready").startswith(b"HTTP/1.1 200 ")


def test_forwarding_to_a_service_and_a_deployment(kubectl, api, namespace):
    kubectl.apply(harness.server_deployment("model", replicas=1), harness.service("model"))
    kubectl("rollout", "status", "deployment/model", timeout=harness.WAIT_LIMIT)
    for target, port in (("service/model", ":80"), ("deployment/model", ":8080")):
        with forward(kubectl, target, port) as (_, (local,)):
            assert fetch(local, "/ready").startswith(b"HTTP/1.1 200 ")


def test_megabytes_and_half_closed_connections(kubectl, api, pods):
    data = bytes(range(256)) * 16000
    api.create(pods, harness.shell_pod("it", "mkfifo /tmp/open; sleep 1000 > /tmp/open & "
                                       "nc -l -p 7000 > /tmp/got < /tmp/open; sha256sum < /tmp/got | nc -l -p 7001; sleep 1000"))
    harness.wait_for(api, pods, phase("Running"))
    with forward(kubectl, "pod/it", ":7000", ":7001") as (_, (first, second)):
        def send():
            with socket.create_connection(("127.0.0.1", first), timeout=60) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(1) == b""
        assert send()
        harness.eventually(lambda: listening(kubectl, 7001))
        with socket.create_connection(("127.0.0.1", second), timeout=60) as connection:
            assert connection.recv(1000).split()[0].decode() == hashlib.sha256(data).hexdigest()


def listening(kubectl, port):
    return f":{port:04X} " in kubectl("exec", "it", "--", "cat", "/proc/net/tcp", "/proc/net/tcp6")


def test_pythons_client(cluster, api, namespace, server):
    core = client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
    session = portforward(core.connect_get_namespaced_pod_portforward, "it", namespace, ports="8080,9")
    connection = session.socket(8080)
    connection.setblocking(True)
    connection.sendall(b"GET /ready HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n")
    answer = b""
    while select.select([connection], [], [], 20)[0] and (data := connection.recv(1024)):
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert session.error(8080) is None
    harness.eventually(lambda: "connection refused" in (session.error(9) or ""))


def test_bad_requests_are_refused(api, pods, server):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Protocol": "v4.channel.k8s.io"}
    for query in ("", "?ports=0", "?ports=65536", "?ports=1,,2", "?ports=" + ",".join(["80"] * 65)):
        assert api.request("GET", f"{pods}/it/portforward{query}", headers=upgrade).status == 400, query
    assert api.request("GET", f"{pods}/no/portforward?ports=80", headers=upgrade).status == 404
    assert api.request("GET", f"{pods}/it/portforward?ports=80").status == 400
