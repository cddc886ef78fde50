"""The cluster's names, asked for inside pods and on the node: Services, headless ones, hostnames, ports, other names."""
import re

import pytest

import harness
from test_network import ready, services
from test_pod import run_to_end, wait_for_event
from test_rollout import deploy

DNS = "10.96.0.10"


def dig(cluster, *question):
    """The answers' data, sorted."""
    return sorted(cluster.enter("dig", "+short", "+tries=1", "+timeout=5", f"@{DNS}", *question).stdout.split("\n")[:-1])


def status(cluster, *question):
    text = cluster.enter("dig", "+tries=1", "+timeout=5", f"@{DNS}", *question).stdout
    return re.search(r"status: (\w+)", text).group(1)


def headless(api, namespace, name="workers", **spec):
    api.create(services(namespace), harness.service(name, clusterIP="None", **spec))


def test_the_service_of_the_dns_is_where_users_look_for_it(api):
    service = api.ok("GET", "/api/v1/namespaces/kube-system/services/kube-dns")
    assert service["spec"]["clusterIP"] == DNS
    assert {(port["name"], port["port"], port["protocol"]) for port in service["spec"]["ports"]} == {
        ("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")}
    assert service["metadata"]["labels"]["k8s-app"] == "kube-dns"


def test_a_pod_reaches_a_service_by_its_name_short_and_long(api, namespace, pods):
    deploy(api, namespace, "it")
    ready(api, pods, 3)
    names = ("it", f"it.{namespace}", f"it.{namespace}.svc", f"it.{namespace}.svc.cluster.local")
    script = "; ".join(f"wget -q -O - http://{name}/healthz" for name in names)
    pod, text = run_to_end(api, pods, script, name="visitor")
    assert text == "ok\n" * len(names), (text, pod["status"])


def test_a_pod_reaches_the_api_by_its_name(api, pods):
    _, text = run_to_end(api, pods, "nslookup -type=a kubernetes.default.svc.cluster.local", name="visitor")
    assert "Address: 10.96.0.1" in text, text


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_names_of_services_follow_the_specification(cluster, api, namespace, pods, transport):
    _, spec = deploy(api, namespace, "it")
    ready(api, pods, 3)
    name = f"it.{namespace}.svc.cluster.local"
    assert dig(cluster, transport, name) == [spec["clusterIP"]]
    assert dig(cluster, transport, name, "AAAA") == []
    assert status(cluster, transport, name, "AAAA") == "NOERROR"
    assert status(cluster, transport, "nope." + name) == "NXDOMAIN"
    assert dig(cluster, transport, "-x", spec["clusterIP"]) == [name + "."]
    assert dig(cluster, transport, "dns-version.cluster.local", "TXT") == ['"1.1.0"']


def test_a_named_port_has_a_record(cluster, api, namespace):
    api.create(services(namespace), harness.service("it"))
    name = f"it.{namespace}.svc.cluster.local"
    assert harness.eventually(lambda: dig(cluster, f"_http._tcp.{name}", "SRV")) == [f"0 100 80 {name}."]


def test_a_headless_service_gives_the_addresses_of_its_ready_pods(cluster, api, namespace, pods):
    headless(api, namespace, selector="it")
    api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", harness.server_deployment("it"))
    addresses = sorted(pod["status"]["podIP"] for pod in ready(api, pods, 3))
    name = f"workers.{namespace}.svc.cluster.local"
    assert harness.eventually(lambda: len(dig(cluster, name)) == 3 and dig(cluster, name)) == addresses
    assert dig(cluster, f"{addresses[0].replace('.', '-')}.{name}") == [addresses[0]]
    # A pod that is being deleted is found no more, from the moment on at which its endpoint says so.
    victim = api.ok("GET", pods)["items"][0]
    api.ok("DELETE", f"{pods}/{victim['metadata']['name']}")
    harness.wait_for(api, f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", lambda items: not any(
        endpoint["conditions"].get("ready") and endpoint["addresses"] == [victim["status"]["podIP"]]
        for item in items for endpoint in item.get("endpoints") or []))
    harness.eventually(lambda: victim["status"]["podIP"] not in dig(cluster, name))


def test_a_pod_with_hostname_and_subdomain_has_a_name_of_its_own(cluster, api, namespace, pods):
    headless(api, namespace, publishNotReadyAddresses=True)
    for rank in range(2):
        api.create(pods, harness.shell_pod(f"w{rank}", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done",
                                           labels={"app": "workers"}, hostname=f"rank-{rank}", subdomain="workers"))
    running = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in ready(api, pods, 2)}
    name = f"rank-0.workers.{namespace}.svc.cluster.local"
    assert harness.eventually(lambda: dig(cluster, name)) == [running["w0"]]
    assert dig(cluster, "-x", running["w1"]) == [f"rank-1.workers.{namespace}.svc.cluster.local."]
    pod, text = run_to_end(api, pods, "ping -c 1 -W 5 rank-1.workers", name="visitor")
    assert text.startswith(f"PING rank-1.workers ({running['w1']})"), (text, pod["status"])


def test_an_external_name_is_an_alias(cluster, api, namespace):
    api.create(services(namespace), harness.service("db", type="ExternalName", externalName="db.example.com"))
    name = f"db.{namespace}.svc.cluster.local"
    assert harness.eventually(lambda: dig(cluster, name, "CNAME")) == ["db.example.com."]
    api.create(services(namespace), harness.service("api", type="ExternalName",
                                                    externalName="kubernetes.default.svc.cluster.local"))
    alias = f"api.{namespace}.svc.cluster.local"
    assert harness.eventually(lambda: dig(cluster, alias)) == ["10.96.0.1", "kubernetes.default.svc.cluster.local."]


def test_dns_policy_and_config_make_the_resolvers_file(api, namespace, pods):
    text = run_to_end(api, pods, "cat /etc/resolv.conf", name="first")[1]
    assert text.startswith(f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local")
    assert f"nameserver {DNS}\noptions ndots:5\n" in text
    text = run_to_end(api, pods, "cat /etc/resolv.conf", name="second", dnsPolicy="None", dnsConfig={
        "nameservers": ["192.0.2.1"], "searches": ["x.example"], "options": [{"name": "ndots", "value": "2"}]})[1]
    assert text == "search x.example\nnameserver 192.0.2.1\noptions ndots:2\n"


def test_what_a_resolver_does_not_take_is_told_as_events_of_the_pod(api, namespace, pods):
    searches = [f"d{i}.example" for i in range(30)]
    run_to_end(api, pods, "true", dnsConfig={"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "searches": searches})
    wait_for_event(api, namespace, "DNSConfigForming", "^Nameserver limits were exceeded, some nameservers have been "
                   f"omitted, the applied nameserver line is: {DNS} 192.0.2.1 192.0.2.2$")
    wait_for_event(api, namespace, "DNSConfigForming", "^Search Line limits were exceeded, some search paths have been "
                   f"omitted, the applied search line is: {namespace}.svc.cluster.local svc.cluster.local ")


def test_a_name_of_the_world_is_refused_at_once_where_there_is_no_way_out(cluster):
    assert status(cluster, "example.com") == "SERVFAIL"
