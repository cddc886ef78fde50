"""Traffic policies of Services whose endpoints are made by hand: those of this node, of another, and of none."""
import json

import harness
from test_services import pool, ready  # noqa: F401 (a fixture)

HERE = object()


def slice_of(service, pod, node):
    """An EndpointSlice of one endpoint: the pod's address, on a node of that name, or without a name."""
    endpoint = {"addresses": [pod["status"]["podIP"]], "conditions": {"ready": True}}
    if node:
        endpoint["nodeName"] = pod["spec"]["nodeName"] if node is HERE else node
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}], "endpoints": [endpoint]}


def by_hand(name, **spec):
    made = harness.service(name, **spec)
    del made["spec"]["selector"]
    return made


def test_endpoints_that_name_no_node_are_not_this_nodes(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=1))
    pod = ready(api, namespace, 1)[0]
    kubectl.apply(by_hand("mine", type="LoadBalancer", externalTrafficPolicy="Local"), slice_of("mine", pod, None))
    port = kubectl.json("get", "service", "mine")["spec"]["healthCheckNodePort"]

    def local_endpoints(service_sees):
        text = cluster.fetch(f"http://127.0.0.1:{port}/healthz", check=False)
        return text and json.loads(text)["localEndpoints"] == service_sees

    # Its cluster address leads to it once the node knows the slice; then the count is of this slice.
    address = kubectl.json("get", "service", "mine")["spec"]["clusterIP"]
    assert harness.eventually(lambda: cluster.fetch(f"http://{address}/healthz", check=False)) == "ok\n"
    assert local_endpoints(0)
    kubectl.apply(slice_of("mine", pod, HERE))
    harness.eventually(lambda: local_endpoints(1))
    kubectl.apply(slice_of("mine", pod, "elsewhere"))
    harness.eventually(lambda: local_endpoints(0))


def test_a_port_has_the_endpoints_of_its_protocol_alone(api, namespace, kubectl, cluster):
    """A slice's port of the same name and another protocol is not the Service's."""
    kubectl.apply(harness.server_deployment("web", replicas=1))
    pod = ready(api, namespace, 1)[0]
    slices = [slice_of("mine", pod, HERE), slice_of("mine", pod, HERE)]
    slices[0]["ports"][0].update(protocol="UDP", port=9)
    slices[1]["metadata"]["name"] = "tcp"
    kubectl.apply(by_hand("mine"), slices[1])
    url = f"http://{kubectl.json('get', 'service', 'mine')['spec']['clusterIP']}/healthz"
    assert harness.eventually(lambda: cluster.fetch(url, check=False)) == "ok\n"
    kubectl.apply(slices[0])
    kubectl("delete", "endpointslice", "tcp")
    harness.eventually(lambda: cluster.enter("curl", "--silent", "--max-time", "5", url, check=False).returncode == 7)


def test_a_local_service_without_endpoints_here_drops_what_comes_from_outside(pool):
    """From inside, its ports for outside lead to the endpoints on other nodes, as upstream has it."""
    cluster, neighbour, kubectl = pool
    pod = kubectl.json("get", "pods", "-l", "app=web")["items"][0]
    kubectl.apply(by_hand("far", type="NodePort", externalTrafficPolicy="Local"), slice_of("far", pod, "elsewhere"))
    kubectl.apply(harness.shell_pod("inside", "exec sleep 3600"))
    kubectl("wait", "--for=condition=Ready", "pod/inside")
    url = f"http://10.89.0.1:{kubectl.json('get', 'service', 'far')['spec']['ports'][0]['nodePort']}/healthz"
    assert harness.eventually(lambda: cluster.fetch(url, check=False)) == "ok\n"
    assert kubectl("exec", "inside", "--", "wget", "-q", "-O", "-", url) == "ok\n"
    assert neighbour.exit_code("curl", "--silent", "--max-time", "2", url) == 28  # nobody answers
    kubectl.apply(slice_of("far", pod, HERE))
    assert harness.eventually(lambda: neighbour.fetch(url)) == "ok\n"
    # Without any endpoint it refuses.
    kubectl("delete", "endpointslice", "far")
    harness.eventually(lambda: neighbour.exit_code("curl", "--silent", "--max-time", "2", url) == 7)
    kubectl("delete", "pod,service", "inside", "far", "--ignore-not-found")


def test_internalTrafficPolicy_local_uses_no_other_nodes_endpoints(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=2))
    pods = ready(api, namespace, 2)
    here, far = slice_of("near", pods[0], HERE), slice_of("near", pods[1], "elsewhere")
    far["metadata"]["name"] = "far"
    kubectl.apply(by_hand("near", internalTrafficPolicy="Local"), here, far)
    address = kubectl.json("get", "service", "near")["spec"]["clusterIP"]

    def answer():
        return json.loads(cluster.fetch(f"http://{address}/predict", check=False) or "{}").get("pod")

    names = [pod["metadata"]["name"] for pod in pods]
    harness.eventually(answer)
    assert {answer() for _ in range(20)} == {names[0]}
    kubectl("patch", "service", "near", "-p", '{"spec":{"internalTrafficPolicy":"Cluster"}}')
    harness.eventually(lambda: answer() == names[1])
    # With the one here gone, a policy of Local leaves nobody: packets are dropped, not refused.
    kubectl("patch", "service", "near", "-p", '{"spec":{"internalTrafficPolicy":"Local"}}')
    kubectl("delete", "endpointslice", "near")
    harness.eventually(lambda: not answer())
    assert cluster.fetch(f"http://{address}/healthz", "--write-out", "%{exitcode}", timeout=2, check=False) == "28"


def test_traffic_prefers_the_endpoints_that_hints_name(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=2))
    pods = ready(api, namespace, 2)
    here, far = slice_of("hinted", pods[0], HERE), slice_of("hinted", pods[1], "elsewhere")
    far["metadata"]["name"] = "hinted-far"
    here["endpoints"][0]["hints"] = {"forNodes": [{"name": pods[0]["spec"]["nodeName"]}], "forZones": [{"name": "east"}]}
    far["endpoints"][0]["hints"] = {"forNodes": [{"name": "elsewhere"}], "forZones": [{"name": "east"}]}
    kubectl.apply(by_hand("hinted", trafficDistribution="PreferSameNode"), here, far)
    address = kubectl.json("get", "service", "hinted")["spec"]["clusterIP"]

    def answer():
        return json.loads(cluster.fetch(f"http://{address}/predict", check=False) or "{}").get("pod")

    names = [pod["metadata"]["name"] for pod in pods]
    harness.eventually(lambda: {answer() for _ in range(20)} == {names[0]})
    # The preferred one is not ready any more: the other node's is better than none.
    here["endpoints"][0]["conditions"]["ready"] = False
    kubectl.apply(here)
    harness.eventually(lambda: {answer() for _ in range(20)} == {names[1]})


def test_clients_stay_with_their_pod_over_a_restart_and_no_longer_than_they_may(make_cluster, tmp_path):
    cluster = make_cluster(data_directory=tmp_path / "data")
    cluster.start()
    kubectl = cluster.kubectl("1.35")
    both = {"selector": "web", "ipFamilyPolicy": "RequireDualStack", "sessionAffinity": "ClientIP"}
    kubectl.apply(harness.server_deployment("web", replicas=3), harness.service("long", **both),
                  harness.service("brief", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}}, **both))
    kubectl("rollout", "status", "deployment", "web")

    def hosts(name):
        return [f"[{ip}]" if ":" in ip else ip for ip in kubectl.json("get", "service", name)["spec"]["clusterIPs"]]

    def ask(host):
        return json.loads(cluster.fetch(f"http://{host}/predict"))["pod"]

    def bound(host):
        family = "ip6" if ":" in host else "ip"
        return host.strip("[]") in cluster.enter("nft", "list", "map", family, f"coracle-{cluster.name}", "affinity").stdout

    first = {host: harness.eventually(lambda: ask(host)) for host in hosts("long")}
    assert len(first) == 2
    for _ in range(3):
        cluster.kill()
        cluster.start()
        harness.wait_for(cluster.api, "/api/v1/namespaces/default/pods", lambda items: all(
            harness.is_true(item, "Ready") for item in items))
        assert {host: ask(host) for host in first} == first
        assert all(bound(host) for host in first)
    for host in hosts("brief"):
        before = ask(host)
        assert bound(host)
        # The kernel forgets it; then any pod may be next.
        harness.eventually(lambda: not bound(host) and ask(host) != before)
