"""The types and policies of Services: who gets their traffic, from where, and what load balancers are told."""
import contextlib
import json
import subprocess

import pytest

import harness


def ready(api, namespace, count):
    path = f"/api/v1/namespaces/{namespace}/pods"
    return harness.wait_for(api, path, lambda items: len(items) == count and all(
        harness.is_true(item, "Ready") for item in items) and items)


def test_every_request_for_v1_endpoints_is_answered_with_a_deprecation(api, namespace):
    text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    answers = [api.get("/api/v1/endpoints"), api.get(f"/api/v1/namespaces/{namespace}/endpoints/nothing"),
               api.request("POST", f"/api/v1/namespaces/{namespace}/endpoints", {"metadata": {"name": "by-hand"}})]
    assert [answer.headers.get_all("Warning") for answer in answers] == [[f'299 - "{text}"']] * 3
    assert api.get(f"/apis/discovery.k8s.io/v1/endpointslices").headers.get_all("Warning") is None


def test_a_node_tells_load_balancers_whether_it_has_endpoints(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=2),
                  harness.service("web", type="LoadBalancer", externalTrafficPolicy="Local"))
    ready(api, namespace, 2)
    port = kubectl.json("get", "service", "web")["spec"]["healthCheckNodePort"]
    url = f"http://127.0.0.1:{port}/healthz"

    def answer(wanted):
        code, _, body = cluster.fetch(url, "--write-out", "\n%{http_code}", check=False).strip().rpartition("\n")[::-1]
        return code == wanted and json.loads(body)

    assert harness.eventually(lambda: answer("200")) == {
        "service": {"namespace": namespace, "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": True}
    kubectl("scale", "deployment", "web", "--replicas=0")
    assert harness.eventually(lambda: answer("503"))["localEndpoints"] == 0
    # Another policy needs no such port, and gives it back.
    kubectl("patch", "service", "web", "-p", '{"spec":{"externalTrafficPolicy":"Cluster"}}')
    assert "healthCheckNodePort" not in kubectl.json("get", "service", "web")["spec"]
    harness.eventually(lambda: not cluster.fetch(url, check=False))


# ---- Both address families ----

def test_pods_and_services_have_both_families(api, namespace, pods, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=2),
                  harness.service("web", type="NodePort", ipFamilyPolicy="PreferDualStack"))
    items = ready(api, namespace, 2)
    node = kubectl.json("get", "nodes")["items"][0]
    node_ips = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    assert len(node_ips) == len(node["spec"]["podCIDRs"]) == 2
    for item in items:
        v4, v6 = (entry["ip"] for entry in item["status"]["podIPs"])
        assert v4 == item["status"]["podIP"] and ":" in v6
        assert [entry["ip"] for entry in item["status"]["hostIPs"]] == node_ips
        assert cluster.fetch(f"http://[{v6}]:8080/healthz") == "ok\n"
    spec = kubectl.json("get", "service", "web")["spec"]
    slices = kubectl.json("get", "endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    assert sorted(one["addressType"] for one in slices) == ["IPv4", "IPv6"]
    urls = [f"http://[{spec['clusterIPs'][1]}]", f"http://[{node_ips[1]}]:{spec['ports'][0]['nodePort']}"]
    for url in urls:
        names = harness.eventually(lambda: {json.loads(cluster.fetch(url + "/predict"))["pod"] for _ in range(20)})
        assert names == {item["metadata"]["name"] for item in items}
    api.create(pods, harness.shell_pod(
        "visitor", f"cat /etc/hosts; echo $IPS; wget -q -O - {urls[0]}/healthz", restartPolicy="Never",
        container={"env": [{"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]}))
    visitor = harness.wait_for(api, pods, lambda items: [
        item for item in items if item["metadata"]["name"] == "visitor" and item["status"]["phase"] == "Succeeded"])[0]
    text = kubectl("logs", "visitor")
    for entry in visitor["status"]["podIPs"]:
        assert f"{entry['ip']}\tvisitor\n" in text
    assert ",".join(entry["ip"] for entry in visitor["status"]["podIPs"]) in text and text.endswith("ok\n")
    # One family is given up, and answers no more.
    kubectl("patch", "service", "web", "-p", '{"spec":{"ipFamilyPolicy":"SingleStack"}}')
    harness.eventually(lambda: not cluster.fetch(urls[0], check=False))
    assert harness.eventually(lambda: len(kubectl.json(
        "get", "endpointslices", "-l", "kubernetes.io/service-name=web")["items"]) == 1)


def test_a_client_of_ipv6_stays_with_its_pod(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=3),
                  harness.service("web", ipFamilies=["IPv6"], sessionAffinity="ClientIP"))
    ready(api, namespace, 3)
    address = kubectl.json("get", "service", "web")["spec"]["clusterIP"]

    def ask():
        return json.loads(cluster.fetch(f"http://[{address}]/predict"))["pod"]

    first = harness.eventually(ask)
    assert {ask() for _ in range(20)} == {first}
    kubectl("delete", "pod", first)
    second = ask()
    assert second != first and {ask() for _ in range(20)} == {second}
    kubectl("patch", "service", "web", "-p", '{"spec":{"sessionAffinity":"None"}}')
    harness.eventually(lambda: len({ask() for _ in range(20)}) == 3)


# ---- Addresses from outside ----

def test_an_external_address_leads_to_the_pods(api, namespace, pods, kubectl):
    kubectl.apply(harness.server_deployment("web", replicas=1), harness.service("web", externalIPs=["203.0.113.7"]))
    ready(api, namespace, 1)
    api.create(pods, harness.shell_pod("visitor", "until wget -q -O - http://203.0.113.7/healthz; do sleep 0.2; done",
                                       restartPolicy="Never"))
    harness.wait_for(api, pods, lambda items: any(
        item["metadata"]["name"] == "visitor" and item["status"]["phase"] == "Succeeded" for item in items))
    assert kubectl("logs", "visitor").endswith("ok\n")
    assert "203.0.113.7" in kubectl("get", "service", "web")
    refused = api.request("POST", f"/api/v1/namespaces/{namespace}/services",
                          harness.service("wrong", externalIPs=["127.0.0.1"]))
    assert refused.status == 422 and "spec.externalIPs[0]" in refused.json["message"]


def test_a_load_balancer_without_a_pool_has_the_nodes_address_and_its_port(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("web", replicas=1), balancer("first", port=8888))
    ready(api, namespace, 1)
    node = kubectl.json("get", "nodes")["items"][0]
    node_ip = next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP")
    assert wait_for_address(kubectl, "first") == [(node_ip, "VIP")]
    assert harness.eventually(lambda: cluster.fetch(f"http://{node_ip}:8888/healthz", check=False)) == "ok\n"
    kubectl.apply(balancer("second", port=8888))
    harness.eventually(lambda: "Error syncing load balancer: failed to ensure load balancer: a port of the service is "
                       f"another's on node {node['metadata']['name']}" in kubectl("get", "events"))
    assert addresses(kubectl, "second") == []
    # The first gives the port back and keeps its address.
    kubectl("patch", "service", "first", "--type=json", "-p",
            '[{"op":"replace","path":"/spec/ports/0/port","value":8889}]')
    assert wait_for_address(kubectl, "second") == addresses(kubectl, "first") == [(node_ip, "VIP")]
    for port in (8888, 8889):
        assert harness.eventually(lambda: cluster.fetch(f"http://{node_ip}:{port}/healthz", check=False)) == "ok\n"


def test_addresses_and_ports_outlast_the_process(make_cluster, tmp_path):
    one = make_cluster(data_directory=tmp_path / "data")
    one.start()
    services = "/api/v1/namespaces/default/services"
    made = one.api.create(services, harness.service("kept", type="LoadBalancer", externalTrafficPolicy="Local"))["spec"]
    one.kill()
    one.start()
    kept = one.api.ok("GET", services + "/kept")["spec"]
    assert [kept[field] for field in ("clusterIP", "ports", "healthCheckNodePort")] == [
        made[field] for field in ("clusterIP", "ports", "healthCheckNodePort")]
    for spec, text in (({"clusterIP": made["clusterIP"]}, "provided IP is already allocated"),
                       ({"type": "NodePort", "ports": [{"port": 80, "nodePort": made["ports"][0]["nodePort"]}]},
                        "provided port is already allocated"),
                       ({"type": "NodePort", "ports": [{"port": 80, "nodePort": made["healthCheckNodePort"]}]},
                        "provided port is already allocated")):
        refused = one.api.request("POST", services, harness.service("other", **spec))
        assert refused.status == 422 and text in refused.json["message"]


# ---- Load balancers ----

class Neighbour:
    """A machine on the link of the node: a network namespace with a cable to it."""

    def __init__(self, cluster):
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        inside = cluster.enter("sh", "-c", "readlink /proc/self/ns/net").stdout.strip()
        harness.eventually(lambda: self.run("readlink", "/proc/self/ns/net").strip() not in (
            inside, harness.run(["readlink", "/proc/self/ns/net"]).stdout.strip()))
        cluster.enter("ip", "link", "add", "port0", "type", "veth", "peer", "name", "eth0", "netns",
                      str(self.process.pid))
        for command in ("ip link set port0 master node0 up", "ip link set node0 up"):
            cluster.enter(*command.split())
        for command in ("ip addr add 10.89.0.2/24 dev eth0", "ip addr add fd00:10:89::2/64 dev eth0 nodad",
                        "ip link set eth0 up", "ip link set lo up"):
            self.run(*command.split())

    def run(self, *command, check=True):
        return harness.run(["nsenter", "--target", str(self.process.pid), "--net", *command], check=check).stdout

    def exit_code(self, *command):
        return subprocess.run(["nsenter", "--target", str(self.process.pid), "--net", *command],
                              stdout=subprocess.DEVNULL, timeout=harness.COMMAND_LIMIT).returncode

    def fetch(self, url, check=False):
        return self.run("curl", "--silent", "--max-time", "3", url, check=check)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def pool(workspace, images):
    """A cluster with a pool of addresses, and a machine beside it."""
    one = harness.Cluster(workspace, images, arguments=[
        "--load-balancer-pool", "10.89.0.240-10.89.0.241,fd00:10:89::f0/127"])
    one.start()
    with contextlib.closing(Neighbour(one)) as neighbour:
        kubectl = one.kubectl("1.35")
        kubectl.apply(harness.server_deployment("web", replicas=2))
        kubectl("rollout", "status", "deployment", "web")
        yield one, neighbour, kubectl
    one.down()
    assert not one.leftovers()


def balancer(name, **spec):
    return harness.service(name, selector="web", type="LoadBalancer", **spec)


def addresses(kubectl, name):
    status = kubectl.json("get", "service", name)["status"]["loadBalancer"]
    return [(entry["ip"], entry["ipMode"]) for entry in status.get("ingress", [])]


def wait_for_address(kubectl, name):
    return harness.eventually(lambda: addresses(kubectl, name))


def test_a_load_balancer_is_found_by_its_neighbours(pool):
    cluster, neighbour, kubectl = pool
    kubectl.apply(balancer("both", ipFamilyPolicy="PreferDualStack"))
    assert wait_for_address(kubectl, "both") == [("10.89.0.240", "VIP"), ("fd00:10:89::f0", "VIP")]
    # Nobody on the link has these addresses; the node says that they are its own.
    for url in ("http://10.89.0.240", "http://[fd00:10:89::f0]"):
        assert harness.eventually(lambda: neighbour.fetch(url + "/healthz")) == "ok\n"
    reasons = [event["reason"] for event in kubectl.json("get", "events")["items"]
               if event["involvedObject"]["name"] == "both"]
    assert harness.eventually(lambda: {"EnsuringLoadBalancer", "EnsuredLoadBalancer"} <= set(reasons))
    assert kubectl.json("get", "service", "both")["metadata"]["finalizers"] == [
        "service.kubernetes.io/load-balancer-cleanup"]
    kubectl("delete", "service", "both")
    assert harness.eventually(lambda: neighbour.fetch("http://10.89.0.240/healthz") == "")


def test_addresses_of_the_pool_are_given_once_and_given_back(pool):
    cluster, neighbour, kubectl = pool
    kubectl.apply(balancer("asks", loadBalancerIP="10.89.0.241"), balancer("foreign", loadBalancerClass="example.com/x"))
    assert wait_for_address(kubectl, "asks") == [("10.89.0.241", "VIP")]
    kubectl.apply(balancer("other", allocateLoadBalancerNodePorts=False))
    assert wait_for_address(kubectl, "other") == [("10.89.0.240", "VIP")]
    assert "nodePort" not in kubectl.json("get", "service", "other")["spec"]["ports"][0]
    kubectl.apply(balancer("waits"))
    harness.eventually(lambda: "no IPv4 address of the pool is free" in kubectl("get", "events"))
    assert addresses(kubectl, "waits") == addresses(kubectl, "foreign") == []
    # Who asks for what is not to be had keeps what it has.
    kubectl("patch", "service", "other", "-p", '{"spec":{"loadBalancerIP":"10.89.0.9"}}')
    harness.eventually(lambda: "the requested address 10.89.0.9 is not in the pool" in kubectl("get", "events"))
    assert addresses(kubectl, "other") == [("10.89.0.240", "VIP")]
    # Another type gives back what it held.
    kubectl("patch", "service", "asks", "-p", '{"spec":{"type":"ClusterIP"}}')
    assert wait_for_address(kubectl, "waits") == [("10.89.0.241", "VIP")]
    asks = harness.eventually(lambda: "finalizers" not in (
        one := kubectl.json("get", "service", "asks"))["metadata"] and one)
    assert asks["status"]["loadBalancer"] == {} and "allocateLoadBalancerNodePorts" not in asks["spec"]
    kubectl("delete", "service", "asks", "foreign", "other", "waits")


def test_a_load_balancer_is_open_to_its_source_ranges_alone(pool):
    cluster, neighbour, kubectl = pool
    kubectl.apply(balancer("guarded", loadBalancerSourceRanges=["10.89.0.128/25", "192.0.2.0/24"]))
    url = f"http://{wait_for_address(kubectl, 'guarded')[0][0]}/healthz"
    assert neighbour.fetch(url) == ""
    ports = kubectl.json("get", "service", "guarded")["spec"]
    assert cluster.fetch(f"http://{ports['clusterIP']}/healthz") == "ok\n"
    kubectl("patch", "service", "guarded", "-p", '{"spec":{"loadBalancerSourceRanges":["10.89.0.0/24","10.89.0.0/28"]}}')
    assert harness.eventually(lambda: neighbour.fetch(url)) == "ok\n"
    # The annotation counts where the field is empty, and is judged.
    name = "service.beta.kubernetes.io/load-balancer-source-ranges"
    kubectl("patch", "service", "guarded", "-p", '{"spec":{"loadBalancerSourceRanges":null}}')
    kubectl("annotate", "service", "guarded", name + "=192.0.2.0/24")
    harness.eventually(lambda: neighbour.fetch(url) == "")
    assert f"metadata.annotations[{name}]: Invalid value: \"x\": must be a valid CIDR value" in kubectl.fails(
        "annotate", "--overwrite", "service", "guarded", name + "=x")
    kubectl("delete", "service", "guarded")


def test_externalTrafficPolicy_local_keeps_the_address_of_the_client(pool):
    cluster, neighbour, kubectl = pool
    kubectl.apply(harness.shell_pod("source", "exec busybox httpd -f -vv -p 8080 -h /etc"),
                  harness.service("source", type="LoadBalancer", externalTrafficPolicy="Local"))
    url = f"http://{wait_for_address(kubectl, 'source')[0][0]}/hostname"
    harness.eventually(lambda: neighbour.fetch(url))
    assert "10.89.0.2" in kubectl("logs", "source")
    kubectl("patch", "service", "source", "-p", '{"spec":{"externalTrafficPolicy":"Cluster"}}')
    harness.eventually(lambda: neighbour.fetch(url) and "10.244.0.1]" in kubectl("logs", "source"))
    kubectl("delete", "pod,service", "source")


def test_a_pool_that_is_none_is_refused():
    for text in ("x", "10.0.0.9-10.0.0.1", "10.0.0.0/33", ""):
        result = harness.run([harness.CORACLE, "up", "--sandbox", "--name", "never", "--load-balancer-pool", text],
                             check=False)
        assert result.returncode == 2 and "--load-balancer-pool" in result.stderr


# ---- Floods ----

FLOOD = """
import socket, struct, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def total(data):
    words = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    words = (words >> 16) + (words & 0xffff)
    return ~(words + (words >> 16)) & 0xffff
def syn(source, source_port, to_port):
    ends = socket.inet_aton(source) + socket.inet_aton(address)
    def tcp(sum):
        return struct.pack("!HHIIBBHHH", source_port, to_port, 1, 0, 5 << 4, 2, 64000, sum, 0)
    ip = struct.pack("!BBHHHBBH", 69, 0, 40, 0, 0, 64, 6, 0) + ends
    raw.sendto(ip + tcp(total(ends + struct.pack("!HH", 6, 20) + tcp(0))), (address, 0))
if port:
    # Half-open connections: from addresses of the link where nobody answers.
    for i in range(count):
        syn("10.89.0.%d" % (100 + i % 100), 1024 + i // 100, port)
else:
    for to in range(1, count):
        syn("10.89.0.99", 40000, to)
"""


def test_half_open_connections_to_a_load_balancer_and_a_scan_of_it_leave_the_cluster_answering(pool):
    cluster, neighbour, kubectl = pool
    kubectl.apply(balancer("target"))
    address = wait_for_address(kubectl, "target")[0][0]
    url = f"http://{address}/healthz"
    harness.eventually(lambda: neighbour.fetch(url) == "ok\n")
    cluster_ip = kubectl.json("get", "service", "target")["spec"]["clusterIP"]
    for to, port, count in ((address, 80, 10000), (address, 0, 65536)):
        neighbour.run("python3", "-c", FLOOD, to, str(port), str(count))
        assert neighbour.fetch(url) == "ok\n"
        assert cluster.fetch(f"http://{cluster_ip}/healthz") == "ok\n"
        assert kubectl("get", "--raw", "/readyz") == "ok"
    # What is changed meanwhile takes effect.
    kubectl("scale", "deployment", "web", "--replicas=3")
    kubectl("rollout", "status", "deployment", "web")
    harness.eventually(lambda: len({json.loads(neighbour.fetch(f"http://{address}/predict"))["pod"]
                                    for _ in range(20)}) == 3)


DATAGRAMS = """
import socket, sys
client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
client.settimeout(1)
client.connect((sys.argv[1], 5000))
for line in sys.stdin:
    for _ in range(10):
        try:
            client.send(b"who?")
            print(client.recv(1000).decode().strip(), flush=True)
            break
        except OSError:
            pass
    else:
        print("nobody", flush=True)
"""


def test_a_udp_flow_of_ipv6_leaves_a_pod_that_goes(api, namespace, kubectl, cluster):
    kubectl.apply(harness.server_deployment("datagrams", replicas=2, environment={"UDP_PORT": "9000"}),
                  harness.service("datagrams", ipFamilies=["IPv6"], ports=[
                      {"name": "udp", "protocol": "UDP", "port": 5000, "targetPort": 9000}]))
    ready(api, namespace, 2)
    address = kubectl.json("get", "service", "datagrams")["spec"]["clusterIP"]
    with subprocess.Popen([*cluster.prefix, harness.CORACLE, "enter", "--name", cluster.name, "--", "python3", "-c", DATAGRAMS, address],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        def ask():
            client.stdin.write("\n")
            client.stdin.flush()
            return client.stdout.readline()

        first = harness.eventually(lambda: (answer := ask()) != "nobody\n" and answer)
        assert [ask() for _ in range(5)] == [first] * 5
        pod = next(item["metadata"]["name"] for item in kubectl.json("get", "pods")["items"]
                   if item["metadata"]["name"] in first)
        kubectl("delete", "pod", pod)
        second = ask()
        assert second != "nobody\n" and pod not in second
        client.stdin.close()
