"""Traffic policies of Services whose endpoints are made by hand: those of this node, of another, and of none."""
import json

import harness
from test_services import ready

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
