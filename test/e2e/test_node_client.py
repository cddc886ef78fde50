"""The JavaScript client works as it is: requests, patches, watches and informers."""
import json
import os
import shutil

import pytest

import harness

MODULES = harness.TOOLS / "node"


def test_the_javascript_client_drives_a_deployment(cluster, namespace, tmp_path):
    if not (MODULES / "node_modules/@kubernetes/client-node").exists():
        pytest.skip("@kubernetes/client-node is not installed: scripts/install-dependencies clients")
    # An ES module finds packages beside itself, not by a variable of the environment.
    script = tmp_path / "node_client.mjs"
    shutil.copy(harness.ROOT / "test/e2e/node_client.mjs", script)
    os.symlink(MODULES / "node_modules", tmp_path / "node_modules")
    result = harness.run(["node", script], timeout=120 * harness.PATIENCE, env={
        **os.environ, "KUBECONFIG": str(cluster.kubeconfig), "NAMESPACE": namespace, "IMAGE": harness.IMAGE_V1})
    seen = json.loads(result.stdout)
    assert seen["minor"].rstrip("+") == "35"
    assert seen["nodes"] == 1
    assert (seen["added"], seen["patched"], seen["updated"], seen["deleted"]) == ("by-node", "two", "two", "by-node")
    assert seen["stale"] == 409
    assert seen["pods"] == ["Running", "Running"]
    assert "ready" in seen["log"]
    assert seen["end"][-1] == "DELETED"
    assert seen["left"] == 0
