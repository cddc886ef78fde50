"""The lesson's feature cache with the real thing: Debian's Redis as a Service, and as a sidecar that keeps the features at
hand on localhost."""
import pytest

import harness
from test_network import services
from test_pod import log

REDIS = harness.TOOLS / "redis/usr"
IMAGE = "local/redis:v7"
PORT = 6379


@pytest.fixture(scope="module")
def redis_image(cluster, workspace):
    server, client = REDIS / "bin/redis-server", REDIS / "bin/redis-cli"
    if not server.exists():
        pytest.skip("Redis is not unpacked: scripts/install-dependencies test")
    files = [f"{client}:bin/redis-cli", *sorted({*harness.libraries(server, REDIS), *harness.libraries(client, REDIS)})]
    path = harness.make_image(IMAGE, workspace, program=server, add_file=files)
    harness.run([harness.CORACLE, "image", "import", "--name", cluster.name, path])


def container(name, *arguments, port=PORT, **fields):
    return {"name": name, "image": IMAGE, "args": ["--port", str(port), "--protected-mode", "no", "--save", "", *arguments],
            "ports": [{"containerPort": port}],
            "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}, **fields}


@pytest.fixture
def redis(api, namespace, pods, redis_image):
    """A Redis behind a Service, with the features of one user in it."""
    api.create(services(namespace), harness.service("redis-svc", port=PORT, target=PORT))
    api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", {
        "metadata": {"name": "redis-svc"}, "spec": {"selector": {"matchLabels": {"app": "redis-svc"}}, "template": {
            "metadata": {"labels": {"app": "redis-svc"}},
            "spec": {"containers": [container("redis")], "terminationGracePeriodSeconds": 5}}}})
    harness.wait_for(api, pods, lambda items: any(harness.is_true(pod, "Ready") for pod in items))
    assert ask(api, pods, "writer", "set user:7:score 0.93", "get user:7:score") == "OK\n0.93\n"


def ask(api, pods, name, *commands, host="redis-svc", port=PORT):
    """What redis-cli prints for each command, in a pod of its own."""
    script = " && ".join(f"redis-cli -h {host} -p {port} {command}" for command in commands)
    api.create(pods, harness.shell_pod(name, script, image=IMAGE, restartPolicy="Never"))
    harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3D{name}",
                     lambda items: items and items[0]["status"].get("phase") in ("Succeeded", "Failed"))
    return log(api, pods, name)


def test_redis_serves_other_pods_by_the_name_of_its_service(api, pods, redis):
    assert ask(api, pods, "reader", "ping", "get user:7:score", "incr visits") == "PONG\n0.93\n1\n"


def test_a_sidecar_keeps_the_features_at_hand(api, namespace, pods, redis):
    """The cache is a replica on localhost; the server goes on with what it has when the Redis behind it is gone."""
    cache = container("feature-cache", "--replicaof", "redis-svc", str(PORT), port=9999, restartPolicy="Always",
                      startupProbe={"tcpSocket": {"port": 9999}, "periodSeconds": 1})
    script = """
        until test "$(redis-cli -p 9999 get user:7:score)" = 0.93; do sleep 0.2; done; echo fresh
        until redis-cli -p 9999 info replication | grep -q master_link_status:down; do sleep 0.2; done; echo alone
        redis-cli -p 9999 get user:7:score
        redis-cli -p 9999 set user:7:score 1
    """
    api.create(pods, harness.shell_pod("server", script, image=IMAGE, restartPolicy="Never", initContainers=[cache]))
    harness.eventually(lambda: log(api, pods, "server", container="main") == "fresh\n")
    api.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/redis-svc", {"spec": {"replicas": 0}})
    harness.wait_for(api, f"{pods}?fieldSelector=metadata.name%3Dserver",
                     lambda items: items[0]["status"]["phase"] in ("Succeeded", "Failed"))
    text = log(api, pods, "server", container="main")
    assert text.startswith("fresh\nalone\n0.93\nREADONLY "), text
