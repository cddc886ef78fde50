"""Pods, services and the addresses between them."""
import collections
import json
import re
import time
import urllib.request

import pytest

import harness
from test_pod import log, phase, run_to_end
from test_rollout import deploy


def services(namespace):
    return f"/api/v1/namespaces/{namespace}/services"


def ready(api, pods, count):
    return harness.wait_for(api, pods, lambda items: len(items) == count and
                            all(harness.is_true(item, "Ready") for item in items) and items)


def test_every_pod_has_an_address_that_others_reach(cluster, api, namespace, pods):
    deploy(api, namespace, "it")
    addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in ready(api, pods, 3)}
    assert len(set(addresses.values())) == 3
    for name, address in addresses.items():
        assert json.loads(cluster.fetch(f"http://{address}:8080/predict"))["pod"] == name
    first = next(iter(addresses.values()))
    _, text = run_to_end(api, pods, f"wget -q -O - http://{first}:8080/healthz", name="visitor")
    assert text == "ok\n"


def test_a_cluster_address_reaches_every_ready_pod_from_node_and_pod(cluster, api, namespace, pods):
    _, spec = deploy(api, namespace, "it")
    ready(api, pods, 3)
    answers = collections.Counter(json.loads(cluster.fetch(f"http://{spec['clusterIP']}/predict"))["pod"]
                                  for _ in range(60))
    assert len(answers) == 3 and min(answers.values()) >= 5, answers
    _, text = run_to_end(api, pods, f"for i in $(seq 30); do wget -q -O - http://{spec['clusterIP']}/predict; done; "
                                    "wget -q -O - http://$IT_SERVICE_HOST:$IT_SERVICE_PORT/healthz", name="visitor")
    lines = text.splitlines()
    assert len({json.loads(line)["pod"] for line in lines[:30]}) == 3
    assert lines[30] == "ok"


def test_a_node_port_answers_on_the_loopback_of_the_host(api, namespace):
    _, spec = deploy(api, namespace, "it")
    port = spec["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767

    def ask():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", timeout=5) as answer:
            return json.load(answer)["pod"]
    harness.eventually(ask)  # a rollout is complete when its pods are; the rules follow in milliseconds
    assert len({ask() for _ in range(40)}) == 3


def test_a_pod_reaches_itself_through_its_service(api, namespace, pods):
    api.create(services(namespace), harness.service("mirror"))
    script = ("/bin/model-server & "
              "until timeout 2 wget -q -O - http://$MIRROR_SERVICE_HOST/healthz; do usleep 100000; done; kill $!; wait")
    api.create(pods, harness.shell_pod("mirror", script, restartPolicy="Never"))
    pod = harness.wait_for(api, pods, phase("Succeeded", "Failed"))[0]
    assert pod["status"]["phase"] == "Succeeded"
    assert log(api, pods, "mirror").splitlines().count("ok") == 1


@pytest.mark.parametrize("way", ["clusterIP", "nodePort"])
def test_datagrams(cluster, api, namespace, pods, way):
    api.create(services(namespace), harness.service("datagrams", type="NodePort", ports=[
        {"name": "udp", "protocol": "UDP", "port": 5000, "targetPort": 9000}]))
    body = harness.server_deployment("datagrams", replicas=2, environment={"UDP_PORT": "9000"})
    api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    names = {pod["metadata"]["name"] for pod in ready(api, pods, 2)}
    spec = api.ok("GET", services(namespace) + "/datagrams")["spec"]
    address, port = (spec["clusterIP"], 5000) if way == "clusterIP" else ("127.0.0.1", spec["ports"][0]["nodePort"])
    script = f"""
import socket
for _ in range(20):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it:
        it.settimeout(5)
        it.connect(({address!r}, {port}))
        it.send(b"who")
        print(it.recv(100).decode().split()[1])
"""
    prefix = [harness.CORACLE, "enter", "--name", cluster.name, "--"] if way == "clusterIP" else []
    output = harness.run([*prefix, "/usr/bin/python3", "-c", script]).stdout
    assert set(output.split()) == names


def test_a_service_without_endpoints_refuses_at_once(cluster, api, namespace):
    spec = api.create(services(namespace), harness.service("nobody", type="NodePort"))["spec"]
    for url in (f"http://{spec['clusterIP']}/", f"http://10.89.0.1:{spec['ports'][0]['nodePort']}/"):
        began = time.monotonic()
        result = cluster.enter("curl", "-sS", "--max-time", "5", url, check=False)
        assert result.returncode == 7, result.stderr  # 7: could not connect; 28 would be time running out
        assert time.monotonic() - began < 3


def test_a_deleted_service_is_gone_from_the_network(cluster, api, namespace):
    deployments, spec = deploy(api, namespace, "it")
    assert cluster.fetch(f"http://{spec['clusterIP']}/healthz") == "ok\n"
    api.request("DELETE", services(namespace) + "/it")
    harness.eventually(lambda: cluster.enter("curl", "-s", "--max-time", "1", f"http://{spec['clusterIP']}/healthz",
                                             check=False).returncode != 0)


def test_the_kubernetes_service_reaches_the_api_from_a_pod(cluster, api, pods):
    _, text = run_to_end(api, pods, "nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo open")
    assert text == "open\n"
    spec = api.ok("GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]
    version = json.loads(cluster.fetch(f"https://{spec['clusterIP']}/version", "--insecure"))
    assert version["major"] == "1"


def test_endpoints_list_ready_pods_and_slices_tell_more(api, namespace, pods):
    deployments, spec = deploy(api, namespace, "it")
    addresses = {pod["status"]["podIP"]: pod for pod in ready(api, pods, 3)}

    subsets = api.ok("GET", f"/api/v1/namespaces/{namespace}/endpoints/it")["subsets"]
    assert [port for port in subsets[0]["ports"]] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert {entry["ip"] for entry in subsets[0]["addresses"]} == set(addresses)
    entry = subsets[0]["addresses"][0]
    assert entry["targetRef"]["kind"] == "Pod"
    assert entry["targetRef"]["uid"] == addresses[entry["ip"]]["metadata"]["uid"]
    assert entry["nodeName"] == addresses[entry["ip"]]["spec"]["nodeName"]

    listed = api.ok("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
    assert len(listed) == 1
    one = listed[0]
    assert one["metadata"]["labels"]["kubernetes.io/service-name"] == "it"
    assert one["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert one["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert one["addressType"] == "IPv4"
    assert {endpoint["addresses"][0] for endpoint in one["endpoints"]} == set(addresses)
    assert all(endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
               for endpoint in one["endpoints"])


def test_named_ports_follow_the_pod(api, namespace, pods):
    api.create(services(namespace), harness.service("it", target="http"))
    for name, port in (("one", 8080), ("two", 8090)):
        api.create(pods, harness.shell_pod(name, "", labels={"app": "it"}, container={
            "command": None, "env": [{"name": "PORT", "value": str(port)}],
            "ports": [{"name": "http", "containerPort": port}]}))
    ready(api, pods, 2)

    def both(items):
        item = next((item for item in items if item["metadata"]["name"] == "it"), {})
        return {port["port"] for subset in item.get("subsets") or [] for port in subset["ports"]} == {8080, 8090}

    harness.wait_for(api, f"/api/v1/namespaces/{namespace}/endpoints", both)


def test_unready_addresses_are_published_on_request_only(api, namespace, pods):
    api.create(services(namespace), harness.service("shy"))
    api.create(services(namespace), harness.service("open", selector="shy", publishNotReadyAddresses=True))
    api.create(pods, harness.shell_pod("shy", "exec sleep 1000", container={
        "readinessProbe": {"exec": {"command": ["false"]}}}))

    def listed(kind):
        return lambda items: {item["metadata"]["name"]: item.get("subsets", [{}])[0].get(kind) for item in items}

    def settled(items):
        return listed("addresses")(items).get("open") and listed("notReadyAddresses")(items).get("shy")

    harness.wait_for(api, f"/api/v1/namespaces/{namespace}/endpoints", settled)
    items = api.ok("GET", f"/api/v1/namespaces/{namespace}/endpoints")["items"]
    assert not listed("addresses")(items)["shy"]


def test_a_headless_service_has_endpoints_but_no_address(api, namespace, pods):
    created = api.create(services(namespace), harness.service("it", clusterIP="None"))
    assert created["spec"]["clusterIPs"] == ["None"]
    api.create(pods, harness.shell_pod("it", "exec sleep 1000"))
    pod = ready(api, pods, 1)[0]
    harness.wait_for(api, f"/api/v1/namespaces/{namespace}/endpoints", lambda items: [
        entry["ip"] for item in items for subset in item.get("subsets") or [] for entry in subset.get("addresses", [])
    ] == [pod["status"]["podIP"]])


def test_addresses_and_ports_of_services_are_given_once(api, namespace):
    first = api.create(services(namespace), harness.service("first", type="NodePort"))["spec"]
    second = api.create(services(namespace), harness.service("second", type="NodePort"))["spec"]
    assert first["clusterIP"] != second["clusterIP"]
    port = first["ports"][0]["nodePort"]
    assert port != second["ports"][0]["nodePort"]
    refused = api.request("POST", services(namespace), harness.service("third", type="NodePort", ports=[
        {"port": 80, "nodePort": port}]))
    assert refused.status == 422
    assert f"spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated" in \
        refused.json["message"]
    refused = api.request("POST", services(namespace), harness.service("third", clusterIP=first["clusterIP"]))
    assert refused.status == 422
    assert re.search(r"spec\.clusterIPs?: Invalid value: .*provided IP is already allocated", refused.json["message"])


def test_a_pods_network_is_gone_with_it(cluster, api, namespace, pods):
    deployments, _ = deploy(api, namespace, "it")
    before = len(cluster.enter("ip", "-o", "link").stdout.splitlines())
    api.patch(f"{deployments}/it/scale", {"spec": {"replicas": 0}}, "application/merge-patch+json")
    harness.wait_for(api, pods, lambda items: not items)
    harness.eventually(lambda: len(cluster.enter("ip", "-o", "link").stdout.splitlines()) == before - 3)


def test_thousands_of_services_leave_the_first_as_quick(cluster, api, namespace):
    """Not a measurement (see bench/): only that the rules of many services can be made and taken away."""
    _, spec = deploy(api, namespace, "it")
    for number in range(300):
        api.create(services(namespace), harness.service(f"many-{number}", selector="it"))
    last = api.ok("GET", services(namespace) + "/many-299")["spec"]
    harness.eventually(lambda: cluster.fetch(f"http://{last['clusterIP']}/healthz") == "ok\n")
    assert cluster.fetch(f"http://{spec['clusterIP']}/healthz") == "ok\n"
