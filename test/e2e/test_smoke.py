"""The shortest proof that everything hangs together: the README's path, on a cluster of its own."""
import json
import urllib.request

import pytest

import harness
from conftest import kubectl_path_or_skip

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("version", sorted(harness.KUBECTLS))
def test_a_deployment_goes_from_apply_to_answering_to_gone(make_cluster, version):
    kubectl_path_or_skip(version)
    cluster = make_cluster()
    cluster.start()
    namespace = cluster.network_namespace()
    kubectl = cluster.kubectl(version)

    assert "Ready" in kubectl("get", "nodes")
    kubectl("apply", "-f", harness.FRAUD_MODEL)
    kubectl("rollout", "status", "deployment/fraud-model", "--timeout=60s")
    port = kubectl.json("get", "service", "fraud-model-svc")["spec"]["ports"][0]["nodePort"]

    def predict():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict?amount=1900&foreign=1", timeout=5) as answer:
            return json.load(answer)

    prediction = harness.eventually(predict)
    assert prediction["version"] == "v1"
    assert prediction["score"] == pytest.approx(0.993940, abs=1e-6)
    pods = {item["metadata"]["name"] for item in kubectl.json("get", "pods")["items"]}
    assert len(pods) == 3
    assert prediction["pod"] in pods
    assert "predict score=0.993940" in kubectl("logs", prediction["pod"])

    kubectl("scale", "deployment/fraud-model", "--replicas=1")
    harness.wait_for(cluster.api, "/api/v1/namespaces/default/pods", lambda items: len(items) == 1)
    kubectl("delete", "-f", harness.FRAUD_MODEL)
    harness.wait_for(cluster.api, "/api/v1/namespaces/default/pods", lambda items: not items)
    cluster.down()
    assert cluster.leftovers(namespace) == []
