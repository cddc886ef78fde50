"""hostPort and hostIP: ports of the node that lead to a container, and in a sandbox from the host's loopback too."""
import socket
import urllib.request

import harness

def server(name, host_port, container_port=8080, **port):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "main", "image": harness.IMAGE_V1,
                 "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                         {"name": "PORT", "value": str(container_port)}],
                 "ports": [{"containerPort": container_port, "hostPort": host_port, **port}],
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": container_port}, "periodSeconds": 1}}]}}


def ready(api, pods, name="it"):
    return harness.wait_for(api, pods, lambda items: next(
        (item for item in items if item["metadata"]["name"] == name and harness.is_true(item, "Ready")), None))


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, address="127.0.0.1"):
    with urllib.request.urlopen(f"http://{address}:{port}/predict", data=b'{"amount": 1, "foreign": 0}', timeout=2) as answer:
        return answer.read().decode()


def refuses(port):
    try:
        ask(port)
    except OSError:
        return True
    return False


def test_a_host_port_leads_to_its_pod_and_goes_with_it(api, pods, cluster):
    port = free_port()
    api.create(pods, server("it", port))
    pod = ready(api, pods)
    assert '"pod":"it"' in harness.eventually(lambda: ask(port))
    assert '"pod":"it"' in cluster.fetch(f"http://{pod['status']['hostIP']}:{port}/predict", "--data", "{}")
    api.ok("DELETE", f"{pods}/it")
    harness.eventually(lambda: refuses(port))


def test_the_next_pod_waits_for_the_port(api, pods, kubectl):
    port = free_port()
    api.create(pods, server("it", port))
    ready(api, pods)
    api.create(pods, server("next", port))
    pod = harness.wait_for(api, pods, lambda items: next(
        (item for item in items if item["metadata"]["name"] == "next" and item["status"].get("conditions")), None))
    [condition] = pod["status"]["conditions"]
    assert "1 node(s) didn't have free ports for the requested pod ports." in condition["message"]
    assert f"Host Port: {port}/TCP" in " ".join(kubectl("describe", "pod", "next").split())
    api.ok("DELETE", f"{pods}/it")
    ready(api, pods, "next")
    assert '"pod":"next"' in harness.eventually(lambda: ask(port))


def test_a_host_ip_narrows_it(api, pods, cluster):
    port = free_port()
    api.create(pods, server("it", port, hostIP="127.0.0.1"))
    pod = ready(api, pods)
    assert '"pod":"it"' in harness.eventually(lambda: ask(port))
    assert pod["spec"]["containers"][0]["ports"][0]["hostIP"] == "127.0.0.1"
    other = free_port()
    api.create(pods, server("other", other, hostIP="192.0.2.1"))
    ready(api, pods, "other")
    assert refuses(other)


def test_udp_ports_are_as_good(api, pods):
    port = free_port(socket.SOCK_DGRAM)
    pod = server("it", free_port())
    pod["spec"]["containers"][0]["env"].append({"name": "UDP_PORT", "value": "5353"})
    pod["spec"]["containers"][0]["ports"].append({"containerPort": 5353, "hostPort": port, "protocol": "UDP"})
    api.create(pods, pod)
    ready(api, pods)

    def echo():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.sendto(b"hello", ("127.0.0.1", port))
            return client.recv(100)

    assert b"it" in harness.eventually(echo)


def test_a_pod_of_the_nodes_network_has_its_ports_on_the_node(api, pods):
    port = free_port()
    pod = server("it", port, container_port=port)
    pod["spec"]["hostNetwork"] = True
    del pod["spec"]["containers"][0]["ports"][0]["hostPort"]
    created = api.create(pods, pod)
    assert created["spec"]["containers"][0]["ports"][0]["hostPort"] == port
    pod = ready(api, pods)
    assert pod["status"]["podIP"] == pod["status"]["hostIP"]
    assert '"pod":"it"' in harness.eventually(lambda: ask(port))


def test_host_ports_are_there_again_after_a_crash(make_cluster):
    cluster = make_cluster()
    cluster.start()
    port, pods = free_port(), "/api/v1/namespaces/default/pods"
    cluster.api.create(pods, server("it", port))
    ready(cluster.api, pods)
    assert '"pod":"it"' in harness.eventually(lambda: ask(port))
    cluster.kill()
    cluster.start()
    assert '"pod":"it"' in harness.eventually(lambda: ask(port))
