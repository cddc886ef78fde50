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
