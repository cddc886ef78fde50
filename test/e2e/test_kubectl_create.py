"""kubectl's commands that make objects without a file. Since 1.34 kubectl sends those in protobuf."""
import base64
import json
import secrets

import harness


def test_create_namespace(kubectl, api):
    name = "made-" + secrets.token_hex(4)
    try:
        assert f"namespace/{name} created" in kubectl("create", "namespace", name)
        assert api.ok("GET", f"/api/v1/namespaces/{name}")["status"]["phase"] == "Active"
    finally:
        assert "deleted" in kubectl("delete", "namespace", name)


def test_create_configmap(kubectl, tmp_path):
    (tmp_path / "blob").write_bytes(b"a\0b\xff")
    (tmp_path / "text").write_text("häßlich\n")
    kubectl("create", "configmap", "settings", "--from-literal=b=1", "--from-literal=a=<two>",
            f"--from-file={tmp_path}/blob", f"--from-file={tmp_path}/text")
    made = kubectl.json("get", "configmap", "settings")
    assert made["data"] == {"a": "<two>", "b": "1", "text": "häßlich\n"}
    assert base64.b64decode(made["binaryData"]["blob"]) == b"a\0b\xff"
    assert 'configmaps "settings" already exists' in kubectl.fails("create", "configmap", "settings")


def test_create_secret(kubectl):
    kubectl("create", "secret", "generic", "keys", "--from-literal=password=s3cret")
    made = kubectl.json("get", "secret", "keys")
    assert made["type"] == "Opaque"
    assert base64.b64decode(made["data"]["password"]) == b"s3cret"


def test_create_service_account(kubectl):
    assert "serviceaccount/robot created" in kubectl("create", "serviceaccount", "robot")
    assert kubectl.json("get", "serviceaccount", "robot")["metadata"]["name"] == "robot"


def test_create_services(kubectl):
    kubectl("create", "service", "clusterip", "web", "--tcp=80:8080", "--tcp=443:https")
    spec = kubectl.json("get", "service", "web")["spec"]
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(80, 8080), (443, "https")]
    assert spec["selector"] == {"app": "web"} and spec["clusterIP"]
    kubectl("create", "service", "nodeport", "outside", "--tcp=80:8080")
    assert kubectl.json("get", "service", "outside")["spec"]["ports"][0]["nodePort"] >= 30000


def test_a_server_side_dry_run_keeps_nothing(kubectl):
    made = kubectl.json("create", "configmap", "dry", "--from-literal=a=1", "--dry-run=server")
    assert made["metadata"]["uid"] and made["data"] == {"a": "1"}
    assert "NotFound" in kubectl.fails("get", "configmap", "dry")


def test_what_is_invalid_is_refused(kubectl):
    assert 'Namespace "No_Name" is invalid: metadata.name: Invalid value: "No_Name"' in \
        kubectl.fails("create", "namespace", "No_Name")


def test_a_deployment_from_create_to_restart(kubectl, api, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    available = lambda items: items and items[0]["status"].get("availableReplicas") == 1 and \
        items[0]["status"].get("observedGeneration") == items[0]["metadata"]["generation"]
    kubectl("create", "deployment", "web", f"--image={harness.IMAGE_V1}", "--port=8080")
    harness.wait_for(api, path, available, what="the deployment's pod")
    assert "service/web exposed" in kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    port = kubectl.json("get", "service", "web")["spec"]["ports"][0]
    assert (port["port"], port["targetPort"]) == (80, 8080)

    kubectl("annotate", "deployment", "web", "note=it is mine")
    kubectl("label", "deployment", "web", "tier=front")
    made = kubectl.json("get", "deployment", "web")
    assert made["metadata"]["annotations"]["note"] == "it is mine"
    assert made["metadata"]["labels"] == {"app": "web", "tier": "front"}

    kubectl("set", "env", "deployment/web", "COLOUR=blue")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    container = kubectl.json("get", "deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "COLOUR", "value": "blue"}]
    kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    sets = kubectl.json("get", "replicasets")["items"]
    assert len(sets) == 3
    assert sorted(item["spec"]["replicas"] for item in sets) == [0, 0, 1]
    kubectl("scale", "deployment", "web", "--replicas=0")
    harness.wait_for(api, f"/api/v1/namespaces/{namespace}/pods", lambda items: not items, what="the end of the pods")


def test_run(kubectl, api, pods):
    kubectl("run", "once", f"--image={harness.IMAGE_V1}", "--restart=Never", "--env=NAME=me", "--labels=a=b",
            "--command", "--", "sh", "-c", "echo it is $NAME")
    harness.wait_for(api, pods, lambda items: any(item["status"].get("phase") == "Succeeded" for item in items))
    assert kubectl("logs", "once") == "it is me\n"
    pod = kubectl.json("get", "pod", "once")
    assert pod["metadata"]["labels"] == {"a": "b"}
    assert json.dumps(pod["spec"]["containers"][0]["env"]) == '[{"name": "NAME", "value": "me"}]'


def test_a_kind_that_there_is_not_is_named(kubectl, api):
    for version, kind in (("apps/v1", "Deploymen"), ("v1", "ResourceQuota"), ("example.com/v1", "Thing")):
        text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: it}}\n"
        for command in ("apply", "create"):
            words = kubectl.fails(command, "-f", "-", input=text)
            assert f'no matches for kind "{kind}" in version "{version}"' in words, words
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert api.ok("GET", definitions)["items"] == []
    assert [api.request(*request).status for request in
            (("GET", definitions + "?watch=true"), ("POST", definitions, {}), ("GET", definitions + "/a"))] == [404] * 3


def test_pruning_takes_what_it_is_told_to(kubectl):
    def manifest(*names):
        return "---\n".join(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: one}}}}\n"
                            for name in names)

    kubectl("apply", "-f", "-", input=manifest("kept", "dropped"))
    allowed = "--prune-allowlist" if kubectl.is_modern else "--prune-whitelist"
    words = kubectl("apply", "--prune", "-l", "set=one", f"{allowed}=core/v1/ConfigMap", f"{allowed}=apps/v1/Deployment",
                    "-f", "-", input=manifest("kept"))
    assert words.splitlines() == ["configmap/kept unchanged", "configmap/dropped pruned"]
    assert kubectl("get", "configmaps", "-l", "set=one", "-o", "name").split() == ["configmap/kept"]
    assert 'no matches for kind "ReplicationController"' in \
        kubectl.fails("apply", "--prune", "-l", "set=one", "-f", "-", input=manifest("kept"))


def test_a_config_map_that_is_too_large_is_refused_in_upstreams_words(kubectl, tmp_path):
    (tmp_path / "weights").write_text("x" * (1024 * 1024 + 1))
    assert 'ConfigMap "large" is invalid: []: Too long: may not be more than 1048576 bytes' in \
        kubectl.fails("create", "configmap", "large", f"--from-file={tmp_path}/weights")
    assert 'Secret "large" is invalid: data: Too long: may not be more than 1048576 bytes' in \
        kubectl.fails("create", "secret", "generic", "large", f"--from-file={tmp_path}/weights")
