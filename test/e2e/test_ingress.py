"""Ingresses and their classes: kubectl makes and shows them, and a controller that knows nothing but the API can run as a
pod and serve them."""
import base64
import json
import pathlib

import pytest
import yaml

import harness
from test_rollout import deploy

NETWORKING = "/apis/networking.k8s.io/v1"
CONTROLLER = pathlib.Path(__file__).with_name("ingress_controller.py")
DEFAULT = "ingressclass.kubernetes.io/is-default-class"


@pytest.fixture
def ingress_class(api, namespace):
    """Makes classes, which belong to the whole cluster, and takes them away again."""
    made = []

    def make(name, controller="example.com/other", **metadata):
        made.append(f"{namespace}-{name}")
        api.create(NETWORKING + "/ingressclasses", {"metadata": {"name": made[-1], **metadata},
                                                    "spec": {"controller": controller}})
        return made[-1]

    yield make
    for name in made:
        api.request("DELETE", f"{NETWORKING}/ingressclasses/{name}")


def ingresses(namespace):
    return f"{NETWORKING}/namespaces/{namespace}/ingresses"


def ingress(name, **spec):
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
            "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}, **spec}}


def test_kubectl_makes_and_shows_ingresses(kubectl, api, namespace):
    kubectl("create", "ingress", "shop", "--class=tiny", "--rule=a.example/cart*=cart:80",
            "--rule=a.example/=front:http,tls=certificate", "--default-backend=other:8080")
    spec = kubectl.json("get", "ingress", "shop")["spec"]
    assert spec["ingressClassName"] == "tiny" and spec["defaultBackend"]["service"]["port"] == {"number": 8080}
    paths = spec["rules"][0]["http"]["paths"]
    assert [(path["path"], path["pathType"]) for path in paths] == [("/cart", "Prefix"), ("/", "Exact")]
    assert paths[1]["backend"] == {"service": {"name": "front", "port": {"name": "http"}}}
    assert spec["tls"] == [{"hosts": ["a.example"], "secretName": "certificate"}]
    api.patch(ingresses(namespace) + "/shop/status", {"status": {"loadBalancer": {"ingress": [{"ip": "10.1.2.3"}]}}})
    header, row = kubectl("get", "ing").splitlines()
    assert header.split() == ["NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE"]
    assert row.split()[:6] == ["shop", "tiny", "a.example", "10.1.2.3", "80,", "443"]
    described = kubectl("describe", "ingress", "shop")
    for words in (["a.example"], ["/cart", "cart:80"], ["/", "front:http"], ["certificate", "terminates", "a.example"]):
        assert any(line.split()[:len(words)] == words for line in described.splitlines()), described
    assert "10.1.2.3" in described


def test_kubectl_shows_classes(kubectl, ingress_class):
    name = ingress_class("tiny")
    header, row = kubectl("get", "ingressclass", name).splitlines()
    assert header.split() == ["NAME", "CONTROLLER", "PARAMETERS", "AGE"]
    assert row.split()[:3] == [name, "example.com/other", "<none>"]
    assert "example.com/other" in kubectl("describe", "ingressclass", name)


def test_ingresses_without_a_class_get_the_default_one(api, namespace, ingress_class):
    made = api.create(ingresses(namespace), ingress("before"))
    assert "ingressClassName" not in made["spec"]
    first = ingress_class("first", annotations={DEFAULT: "true"})
    made = api.create(ingresses(namespace), ingress("after"))
    assert made["spec"]["ingressClassName"] == first and made["metadata"]["generation"] == 1
    assert api.create(ingresses(namespace), ingress("own", ingressClassName="other"))["spec"]["ingressClassName"] == "other"
    annotated = ingress("old")
    annotated["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "other"}
    answer = api.request("POST", ingresses(namespace), annotated)
    assert "ingressClassName" not in answer.json["spec"]
    assert "annotation \\\"kubernetes.io/ingress.class\\\" is deprecated, please use 'spec.ingressClassName' instead" in \
        answer.headers["Warning"]
    # Of several the newest counts; of two of one age, the first by name.
    ingress_class("a-second", annotations={DEFAULT: "true"})
    assert api.create(ingresses(namespace), ingress("torn"))["spec"]["ingressClassName"] == f"{namespace}-a-second"


def test_status_and_spec_are_written_apart(api, namespace):
    path = ingresses(namespace)
    body = ingress("it")
    body["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    made = api.create(path, body)
    assert made["status"] == {"loadBalancer": {}}
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.2", "ports": [{"port": 80, "protocol": "TCP"}]}]}}
    made["spec"]["defaultBackend"]["service"]["name"] = "elsewhere"
    after = api.ok("PUT", path + "/it/status", made)
    assert after["spec"]["defaultBackend"]["service"]["name"] == "web" and after["metadata"]["generation"] == 1
    assert after["status"]["loadBalancer"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    after["spec"]["defaultBackend"]["service"]["name"] = "elsewhere"
    after["status"] = {}
    last = api.ok("PUT", path + "/it", after)
    assert last["metadata"]["generation"] == 2 and last["status"]["loadBalancer"]["ingress"][0]["ip"] == "10.0.0.2"
    bad = {"status": {"loadBalancer": {"ingress": [{"ip": "ten"}]}}}
    refused = api.request("PATCH", path + "/it/status", bad, headers={"Content-Type": "application/merge-patch+json"})
    assert refused.status == 422 and refused.json["details"]["causes"][0]["field"] == "status.loadBalancer.ingress[0].ip"


# ---- a controller in pods ----

RULES = [
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "ingressclasses"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["patch", "update"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]


def give_access(api, namespace):
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "controller"}})
    api.create(rbac + "/clusterroles", {"metadata": {"name": namespace}, "rules": RULES})
    api.create(rbac + "/clusterrolebindings", {
        "metadata": {"name": namespace},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "controller"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace}})


def controller(cluster):
    """A Deployment whose pods have Python and its Kubernetes client from this machine, and the API's address, certificate
    and token where in-cluster clients look for them."""
    secrets = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounts = {"/usr": "/usr", "/lib": "/usr/lib", "/lib64": "/usr/lib64"}
    variables = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in
                 (("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("POD_IP", "status.podIP"))]
    variables += [{"name": "KUBERNETES_SERVICE_HOST", "value": "kubernetes.default.svc"},
                  {"name": "KUBERNETES_SERVICE_PORT", "value": "443"}]
    item = harness.server_deployment("controller", replicas=2)
    pod = item["spec"]["template"]["spec"]
    pod.update(serviceAccountName="controller", terminationGracePeriodSeconds=1, volumes=[
        {"name": "program", "configMap": {"name": "controller"}},
        {"name": "access", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "controller", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}},
        *({"name": path.strip("/").replace("/", "-"), "hostPath": {"path": source}} for path, source in mounts.items())])
    pod["containers"][0].update(
        command=["/usr/bin/python3", "/controller/controller.py"], env=variables,
        readinessProbe={"tcpSocket": {"port": "http"}, "periodSeconds": 1},
        volumeMounts=[{"name": "program", "mountPath": "/controller"}, {"name": "access", "mountPath": secrets},
                      *({"name": path.strip("/").replace("/", "-"), "mountPath": path, "readOnly": True}
                        for path in mounts)])
    return item


def test_a_controller_runs_as_pods_elects_its_leader_and_serves_ingresses(cluster, api, namespace, pods, ingress_class):
    config = yaml.safe_load(pathlib.Path(cluster.kubeconfig).read_text())
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    give_access(api, namespace)
    api.create(f"/api/v1/namespaces/{namespace}/configmaps", {
        "metadata": {"name": "controller"}, "data": {"controller.py": CONTROLLER.read_text(), "ca.crt": authority}})
    name = ingress_class("tiny", "example.com/tiny")
    for color in ("red", "blue"):
        deploy(api, namespace, color)
    rules = [{"host": f"{color}.example", "http": {"paths": [
        {"path": "/predict", "pathType": "Prefix", "backend": {"service": {"name": color, "port": {"number": 80}}}}]}}
        for color in ("red", "blue")]
    api.create(ingresses(namespace), {"metadata": {"name": "it"}, "spec": {"ingressClassName": name, "rules": rules}})
    api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", controller(cluster))

    def address(but=None):
        return harness.wait_for(
            api, ingresses(namespace), lambda items: next(
                (entry["ip"] for entry in items[0]["status"]["loadBalancer"].get("ingress", []) if entry["ip"] != but),
                None), what="the address that the leader writes")

    def lease():
        return api.ok("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/tiny-ingress")["spec"]

    def answer(where, host, path="/predict"):
        return json.loads(cluster.fetch(f"http://{where}:8080{path}", "--fail", "--header", f"Host: {host}"))["pod"]

    try:
        first = address()
        for color in ("red", "blue"):
            assert harness.eventually(lambda: answer(first, f"{color}.example")).startswith(color)  # noqa: B023
        assert cluster.fetch(f"http://{first}:8080/predict", "--header", "Host: green.example") == "no rule\n"
        leader = lease()["holderIdentity"]
        of_leader = api.ok("GET", f"{pods}/{leader}")
        assert of_leader["status"]["podIP"] == first
        api.ok("DELETE", f"{pods}/{leader}")
        second = address(but=first)
        assert lease()["holderIdentity"] != leader and lease()["leaseTransitions"] == 1
        assert answer(second, "blue.example").startswith("blue")
    finally:
        for kind in ("clusterrolebindings", "clusterroles"):
            api.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{kind}/{namespace}")
