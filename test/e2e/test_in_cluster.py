"""Clients inside the cluster: every container finds a token, the API server's certificate and its namespace where they
look for them, unless the pod or its account says no."""
import shutil

import harness
import pytest
from kubernetes import client
from kubernetes.config.incluster_config import InClusterConfigLoader

DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
IMAGE = "local/curl:v1"
ASK = (f'curl -sS --cacert {DIRECTORY}/ca.crt -H "Authorization: Bearer $(cat {DIRECTORY}/token)" '
       f'https://kubernetes.default.svc/api/v1/namespaces/$(cat {DIRECTORY}/namespace)/pods')


@pytest.fixture(scope="module")
def curl_image(cluster, workspace):
    program = shutil.which("curl")
    path = harness.make_image(IMAGE, workspace, program=program, add_file=sorted(harness.libraries(program)))
    harness.run([harness.CORACLE, "image", "import", "--name", cluster.name, path])
    return IMAGE


def allow_pods(api, namespace):
    api.create(f"{RBAC}/namespaces/{namespace}/roles", {
        "metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]})
    api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", {
        "metadata": {"name": "reader"}, "subjects": [{"kind": "ServiceAccount", "name": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}})


def running(api, pods, body):
    api.create(pods, body)
    return harness.wait_for(api, pods, lambda items: next(
        (item for item in items if item["metadata"]["name"] == body["metadata"]["name"] and
         item.get("status", {}).get("phase") == "Running"), None), what="a running pod")


def token_mounts(container):
    return [mount for mount in container.get("volumeMounts", []) if mount["mountPath"] == DIRECTORY]


def certificate(api, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    return harness.wait_for(api, path, lambda items: next(
        (item for item in items if item["metadata"]["name"] == "kube-root-ca.crt"), None), what="the certificate")


def test_the_volume_is_upstreams(api, namespace, pods):
    init = {"name": "first", "image": harness.IMAGE_V1, "command": ["cat", DIRECTORY + "/token"]}
    pod = running(api, pods, harness.shell_pod("it", "exec sleep 1000", initContainers=[init]))
    spec = pod["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    [volume] = spec["volumes"]
    name = volume.pop("name")
    assert name.startswith("kube-api-access-") and len(name) == len("kube-api-access-") + 5
    assert volume == {"projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                                    "path": "namespace"}]}}]}}
    mount = {"name": name, "readOnly": True, "mountPath": DIRECTORY}
    assert spec["containers"][0]["volumeMounts"] == spec["initContainers"][0]["volumeMounts"] == [mount]
    [status] = pod["status"]["containerStatuses"]
    assert status["volumeMounts"] == [{**mount, "recursiveReadOnly": "Disabled"}]


def test_a_pod_asks_the_api_with_what_it_finds(api, namespace, pods, curl_image):
    running(api, pods, harness.shell_pod("it", f"while :; do {ASK}; sleep 0.1; done", image=curl_image))
    log = lambda: api.request("GET", pods + "/it/log").body.decode()
    harness.eventually(lambda: '"code": 403' in log(), what="a refusal")
    assert "PodList" not in log()
    allow_pods(api, namespace)
    harness.eventually(lambda: '"kind": "PodList"' in log(), what="the list of pods")


def test_in_cluster_configuration_works_as_it_is(api, namespace, pods, kubectl, tmp_path):
    running(api, pods, harness.shell_pod("it", "exec sleep 1000"))
    for name in ("token", "ca.crt", "namespace"):
        (tmp_path / name).write_text(kubectl("exec", "it", "--", "cat", f"{DIRECTORY}/{name}"))
    assert (tmp_path / "namespace").read_text() == namespace
    environment = {"KUBERNETES_SERVICE_HOST": api.host, "KUBERNETES_SERVICE_PORT": str(api.port)}
    configuration = client.Configuration()
    InClusterConfigLoader(str(tmp_path / "token"), str(tmp_path / "ca.crt"),
                          environ=environment).load_and_set(configuration)
    core = client.CoreV1Api(client.ApiClient(configuration))
    with pytest.raises(client.ApiException) as refused:
        core.list_namespaced_pod(namespace)
    assert refused.value.status == 403
    allow_pods(api, namespace)
    assert [item.metadata.name for item in core.list_namespaced_pod(namespace).items] == ["it"]


def test_pod_and_account_may_say_no(api, namespace, pods):
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    api.create(accounts, {"metadata": {"name": "quiet"}, "automountServiceAccountToken": False})
    cases = {"pod": ({"automountServiceAccountToken": False}, False),
             "account": ({"serviceAccountName": "quiet"}, False),
             "both": ({"serviceAccountName": "quiet", "automountServiceAccountToken": True}, True)}
    for name, (spec, wanted) in cases.items():
        made = api.create(pods, harness.shell_pod(name, "exec sleep 1000", **spec))
        assert bool(token_mounts(made["spec"]["containers"][0])) is wanted, name
        assert bool(made["spec"].get("volumes")) is wanted, name
    running(api, pods, harness.shell_pod("none", f"test ! -e {DIRECTORY} && exec sleep 1000",
                                         automountServiceAccountToken=False))


def test_what_a_container_mounts_there_itself_stays(api, pods):
    own = {"volumeMounts": [{"name": "own", "mountPath": DIRECTORY}]}
    made = api.create(pods, harness.shell_pod("it", "exec sleep 1000", container=own,
                                              volumes=[{"name": "own", "emptyDir": {}}]))
    assert token_mounts(made["spec"]["containers"][0]) == own["volumeMounts"]
    assert [volume["name"] for volume in made["spec"]["volumes"]] == ["own"]


def test_the_certificate_comes_back(api, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
    published = certificate(api, namespace)
    assert list(published["data"]) == ["ca.crt"]
    assert published["metadata"]["annotations"]["kubernetes.io/description"].startswith("Contains a CA bundle that can")
    api.patch(path, {"data": {"ca.crt": "mine", "more": "1"}, "metadata": {"labels": {"mine": "1"}}})
    harness.eventually(lambda: api.ok("GET", path)["data"] == published["data"], what="the old content")
    assert api.ok("GET", path)["metadata"]["labels"] == {"mine": "1"}
    api.ok("DELETE", path)
    harness.eventually(lambda: api.request("GET", path).status == 200 and
                       api.ok("GET", path)["metadata"]["uid"] != published["metadata"]["uid"], what="a new one")
    assert api.ok("GET", path)["data"] == published["data"]


def test_the_first_pod_of_a_namespace_does_not_wait(api):
    for n in range(5):
        name = f"new-{n}"
        api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            path = f"/api/v1/namespaces/{name}"
            pod = running(api, path + "/pods", harness.shell_pod("it", "exec sleep 1000"))
            events = [event["reason"] for event in api.ok("GET", path + "/events")["items"]]
            assert "FailedMount" not in events
            assert token_mounts(pod["spec"]["containers"][0])
        finally:
            api.request("DELETE", path)
