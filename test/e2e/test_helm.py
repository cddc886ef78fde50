"""Helm 4 as it is, with the chart that `helm create` begins everybody's with: install, upgrade, roll back, test, uninstall.

Helm 4 applies on the server's side unless it is told not to; --server-side=false is what it needs here until the server
does that."""
import json
import os

import pytest

import harness

HELM = harness.TOOLS / "helm/helm"
VALUES = {
    "image": {"repository": "local/model-server", "tag": "v1"}, "replicaCount": 2, "service": {"port": 8080},
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    "autoscaling": {"enabled": False}, "ingress": {"enabled": True, "hosts": [
        {"host": "chart.local", "paths": [{"path": "/", "pathType": "ImplementationSpecific"}]}]},
}


@pytest.fixture
def helm(cluster, namespace, tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(cluster.kubeconfig),
                   "HELM_NAMESPACE": namespace}

    def call(*arguments, check=True):
        return harness.run([HELM, *arguments], check=check, cwd=tmp_path, env=environment)

    call("create", "chart")
    (tmp_path / "values.yaml").write_text(json.dumps(VALUES))
    return call


def deploy(helm, verb, *arguments):
    return helm(verb, "web", "chart", "--values", "values.yaml", "--server-side=false", "--wait", "--timeout", "60s",
                *arguments)


def images(api, namespace):
    deployment = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web-chart").json
    assert deployment["status"]["updatedReplicas"] == deployment["status"]["readyReplicas"] == 2
    return [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]


def releases(helm):
    return [(release["revision"], release["status"], release["description"])
            for release in json.loads(helm("history", "web", "--output", "json").stdout)]


def test_release(api, namespace, helm):
    installed = deploy(helm, "install")
    assert "STATUS: deployed" in installed.stdout and "http://chart.local/" in installed.stdout
    assert images(api, namespace) == ["local/model-server:v1"]
    assert json.loads(helm("list", "--output", "json").stdout)[0]["status"] == "deployed"

    deploy(helm, "upgrade", "--set", "image.tag=v2")
    assert images(api, namespace) == ["local/model-server:v2"]
    helm("rollback", "web", "1", "--server-side=false", "--wait")
    assert images(api, namespace) == ["local/model-server:v1"]
    assert releases(helm) == [(1, "superseded", "Install complete"), (2, "superseded", "Upgrade complete"),
                              (3, "deployed", "Rollback to 1")]

    helm("uninstall", "web", "--wait")
    for path in ("apis/apps/v1", "api/v1"):
        kind = "deployments" if "apps" in path else "services"
        assert api.get(f"/{path}/namespaces/{namespace}/{kind}").json["items"] == []
    secrets = api.get(f"/api/v1/namespaces/{namespace}/secrets").json["items"]
    assert [secret for secret in secrets if secret["type"] == "helm.sh/release.v1"] == []


def test_upgrade_that_never_becomes_ready(api, namespace, helm):
    deploy(helm, "install")
    failed = helm("upgrade", "web", "chart", "--values", "values.yaml", "--set", "image.tag=none", "--server-side=false",
                  "--rollback-on-failure", "--wait", "--timeout", "3s", check=False)
    assert failed.returncode and "rolled back" in failed.stderr, failed.stderr
    assert images(api, namespace) == ["local/model-server:v1"]
    assert releases(helm)[-1][1:] == ("deployed", "Rollback to 1")


def test_server_side_apply_is_refused_in_words(helm):
    refused = helm("install", "web", "chart", "--values", "values.yaml", check=False)
    assert refused.returncode and "server-side apply not available on the server" in refused.stderr
