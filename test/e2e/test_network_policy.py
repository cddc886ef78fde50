"""Network policies: what kubectl makes of them, and what they do to the packets of real pods."""
import json
import secrets
import shlex
import subprocess

import pytest

import harness
from test_pod import run_to_end

NETWORKING = "/apis/networking.k8s.io/v1"
# A client's patience with a server that must not answer, in seconds.
DROP_LIMIT = 1


def policies(namespace):
    return f"{NETWORKING}/namespaces/{namespace}/networkpolicies"


def policy(name, **spec):
    spec.setdefault("podSelector", {})
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def app(name):
    return {"podSelector": {"matchLabels": {"app": name}}}


def server(name, **labels):
    container = {"name": "main", "image": harness.IMAGE_V1, "env": [{"name": "POD_NAME", "value": name}],
                 "ports": [{"name": "http", "containerPort": 8080}],
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}}
    return {"metadata": {"name": name, "labels": {"app": name, **labels}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}


class World:
    """Pods in a namespace, and connections between them, made from inside their network namespaces."""

    def __init__(self, cluster, api, namespace):
        self.cluster, self.api, self.namespace = cluster, api, namespace
        self.pods = f"/api/v1/namespaces/{namespace}/pods"

    def start(self, *items):
        for item in items:
            self.api.create(self.pods, item)
        names = {item["metadata"]["name"] for item in items}
        harness.wait_for(self.api, self.pods, lambda seen: len(
            [pod for pod in seen if pod["metadata"]["name"] in names and harness.is_true(pod, "Ready")]) == len(names))

    def address(self, name):
        return self.api.ok("GET", f"{self.pods}/{name}")["status"]["podIP"]

    def addresses6(self, name):
        """Its IPv6 address in brackets, if the kernel has IPv6."""
        ips = self.api.ok("GET", f"{self.pods}/{name}")["status"].get("podIPs", [])
        return [f"[{entry['ip']}]" for entry in ips if ":" in entry["ip"]]

    def inside(self, name):
        """The beginning of a command that runs in the network of a pod."""
        uid = self.api.ok("GET", f"{self.pods}/{name}")["metadata"]["uid"]
        return ["nsenter", f"--net={self.cluster.run_directory}/node/pods/{uid}/ns/net"]

    def _enter(self, name, command):
        return self.cluster.enter(*self.inside(name), *command, check=False)

    def reaches(self, source, address, port=8080, limit=10):
        result = self._enter(source, ["curl", "--silent", "--max-time", str(limit), "--connect-timeout", str(limit),
                                      f"http://{address}:{port}/predict"])
        return json.loads(result.stdout)["pod"] if result.returncode == 0 else None

    def is_cut_off(self, source, address, port=8080):
        return self.reaches(source, address, port, DROP_LIMIT) is None


@pytest.fixture
def world(cluster, api, namespace):
    return World(cluster, api, namespace)


def test_kubectl_makes_and_shows_policies(kubectl):
    kubectl.apply(policy("web", podSelector={"matchLabels": {"app": "web"}}, ingress=[
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, app("client")],
         "ports": [{"port": 80}, {"port": 100, "endPort": 200, "protocol": "UDP"}]}], egress=[{}]))
    assert kubectl.json("get", "networkpolicy", "web")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    header, row = kubectl("get", "netpol").splitlines()
    assert header.split() == ["NAME", "POD-SELECTOR", "AGE"] and row.split()[:2] == ["web", "app=web"]
    described = kubectl("describe", "netpol", "web")
    for text in ("PodSelector:     app=web", "To Port: 80/TCP", "CIDR: 10.0.0.0/8", "Except: 10.1.0.0/16",
                 "PodSelector: app=client", "Policy Types: Ingress, Egress"):
        assert text in described, described
    assert "must specify a peer" in kubectl.fails("apply", "-f", "-", input=json.dumps(
        policy("bad", ingress=[{"from": [{}]}])))
    kubectl("delete", "netpol", "web")


def test_ambiguous_ranges_are_warned_of(api, namespace):
    answer = api.request("POST", policies(namespace), policy("x", ingress=[
        {"from": [{"ipBlock": {"cidr": "10.1.2.3/8"}}]}]))
    assert answer.status == 201
    assert 'spec.ingress[0].from[0].ipBlock.cidr: CIDR value \\"10.1.2.3/8\\" is ambiguous in this context (should be ' \
        '\\"10.0.0.0/8\\" or \\"10.1.2.3/32\\"?)' in answer.headers["Warning"]


def test_a_policy_holds_back_whom_it_does_not_name(world, api, namespace):
    world.start(server("server"), server("client"), server("stranger"))
    created = api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("server", port=80))
    address, cluster_ip = world.address("server"), created["spec"]["clusterIP"]
    assert world.reaches("stranger", address) == "server"
    api.create(policies(namespace), policy("it", podSelector={"matchLabels": {"app": "server"}}, ingress=[
        {"from": [app("client")], "ports": [{"port": "http"}]}]))
    harness.eventually(lambda: world.is_cut_off("stranger", address), what="the policy in force")
    assert world.is_cut_off("stranger", cluster_ip, 80)
    assert world.reaches("client", address) == "server"
    assert harness.eventually(lambda: world.reaches("client", cluster_ip, 80)) == "server"
    for address6 in world.addresses6("server"):
        assert world.reaches("client", address6) == "server" and world.is_cut_off("stranger", address6)
    # The node itself, and so its probes, come through: the pod stays ready.
    assert json.loads(world.cluster.fetch(f"http://{address}:8080/predict"))["pod"] == "server"
    # Labels count at once, in both directions.
    api.patch(f"{world.pods}/stranger", {"metadata": {"labels": {"app": "client"}}})
    assert harness.eventually(lambda: world.reaches("stranger", address, limit=DROP_LIMIT)) == "server"
    api.patch(f"{world.pods}/stranger", {"metadata": {"labels": {"app": "stranger"}}})
    harness.eventually(lambda: world.is_cut_off("stranger", address), what="the label gone")
    api.ok("DELETE", policies(namespace) + "/it")
    assert harness.eventually(lambda: world.reaches("stranger", address, limit=DROP_LIMIT)) == "server"


def test_namespaces_are_told_apart(world, api, namespace, cluster):
    other = "other-" + secrets.token_hex(4)
    api.create("/api/v1/namespaces", {"metadata": {"name": other}})
    harness.wait_for(api, f"/api/v1/namespaces/{other}/serviceaccounts", lambda items: items)
    try:
        there = World(cluster, api, other)
        world.start(server("server"), server("client"))
        there.start(server("client"), server("stranger"))
        address = world.address("server")
        api.create(policies(namespace), policy("it", podSelector={"matchLabels": {"app": "server"}}, ingress=[
            {"from": [{"namespaceSelector": {"matchLabels": {"team": "friends"}}, **app("client")}]}]))
        harness.eventually(lambda: world.is_cut_off("client", address))
        assert there.is_cut_off("client", address)
        api.patch(f"/api/v1/namespaces/{other}", {"metadata": {"labels": {"team": "friends"}}})
        assert harness.eventually(lambda: there.reaches("client", address, limit=DROP_LIMIT)) == "server"
        assert there.is_cut_off("stranger", address) and world.is_cut_off("client", address)
    finally:
        api.request("DELETE", f"/api/v1/namespaces/{other}")


def test_egress_and_names(world, api, namespace):
    """A pod that may send nothing has no names either, until a policy lets it ask as it would ask upstream's servers."""
    world.start(server("server"), server("client"))
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("server", port=80))
    address = world.address("server")
    api.create(policies(namespace), policy("none", podSelector={"matchLabels": {"app": "client"}}, policyTypes=["Egress"]))
    harness.eventually(lambda: world.is_cut_off("client", address))
    dig = ["dig", "+time=1", "+tries=1", "+short", "@10.96.0.10", f"server.{namespace}.svc.cluster.local"]
    assert world._enter("client", dig).returncode != 0
    assert world._enter("client", [*dig, "+tcp"]).returncode != 0
    assert world._enter("server", dig).stdout.startswith("10.96.")
    api.create(policies(namespace), policy("names", policyTypes=["Egress"], egress=[
        {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                 "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
         "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        {"to": [app("server")], "ports": [{"port": 8080}]}]))
    harness.eventually(lambda: world._enter("client", dig).stdout.startswith("10.96."))
    assert world._enter("client", [*dig, "+tcp"]).stdout.startswith("10.96.")
    assert harness.eventually(lambda: world.reaches("client", address)) == "server"
    assert world.is_cut_off("client", world.address("client").rsplit(".", 1)[0] + ".1", 10250)


def test_a_new_pod_sends_nothing_before_its_policies_are_in_force(world, api, namespace):
    """Its very first packet is held back, and the first one that is sent to it."""
    world.start(server("server"))
    api.create(policies(namespace), policy("it", podSelector={"matchLabels": {"app": "prisoner"}}, policyTypes=["Egress"]))
    script = f'for i in 1 2 3; do timeout 1 wget -q -O - http://{world.address("server")}:8080/healthz; done; echo over'
    for i in range(5):
        _, text = run_to_end(api, world.pods, script, name=f"prisoner-{i}", labels={"app": "prisoner"})
        assert "over" in text.splitlines() and "ok" not in text.splitlines(), text


def test_policies_outlast_the_process(make_cluster):
    """A kill leaves the rules in the kernel; the next process takes them over without a gap."""
    cluster = make_cluster()
    cluster.start()
    api, namespace = cluster.api, "default"
    world = World(cluster, api, namespace)
    harness.wait_for(api, "/api/v1/namespaces/default/serviceaccounts", lambda items: items)
    world.start(server("server"), server("client"), server("stranger"))
    address = world.address("server")
    api.create(policies(namespace), policy("it", podSelector={"matchLabels": {"app": "server"}},
                                           ingress=[{"from": [app("client")]}]))
    harness.eventually(lambda: world.is_cut_off("stranger", address))
    watcher = shlex.join(["curl", "--silent", "--max-time", "0.3", f"http://{address}:8080/predict"])
    prisoner = subprocess.Popen([harness.CORACLE, "enter", "--name", cluster.name, "--", *world.inside("stranger"), "sh",
                                 "-c", f"while true; do {watcher} && echo out; done"], stdout=subprocess.PIPE, text=True)
    try:
        cluster.kill()
        cluster.start()
        assert harness.eventually(lambda: World(cluster, cluster.api, namespace).reaches("client", address)) == "server"
    finally:
        prisoner.kill()
        said, _ = prisoner.communicate()
    assert "out" not in said, said
