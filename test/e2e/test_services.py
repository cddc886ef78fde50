"""The types and policies of Services: who gets their traffic, from where, and what load balancers are told."""
import json

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
