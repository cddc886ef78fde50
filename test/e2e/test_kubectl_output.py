"""Everything that both versions of kubectl print about Deployments, their ReplicaSets and pods, line by line as they
print it against an upstream cluster: see recorded.py."""
import pytest
import yaml

import harness
from recorded import Session
from test_transcript import ready_pods

LAST_LINE = "successfully rolled out$"


@pytest.fixture
def deployments(namespace):
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


@pytest.fixture
def web(api, kubectl, deployments, pods):
    """The manifest of a Deployment and its Service, and a function that waits until it is rolled out."""

    class Web:
        @staticmethod
        def manifest(replicas=2, **spec):
            body = harness.server_deployment("web", replicas=replicas, **spec)
            body["metadata"]["labels"] = {"app": "web"}
            body["metadata"]["annotations"] = {"kubernetes.io/change-cause": "first release"}
            container = body["spec"]["template"]["spec"]["containers"][0]
            container["resources"] = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
            container["livenessProbe"] = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10}
            return yaml.safe_dump_all([harness.service("web", type="NodePort"), body])

        @staticmethod
        def rolled_out(count=2, image=None):
            """Until status and pods are at rest, and no pod is ending."""
            harness.wait_for(api, deployments, lambda items: items and all(
                item["status"].get("observedGeneration") == item["metadata"]["generation"] and
                item["status"].get("updatedReplicas") == item["status"].get("replicas") ==
                item["status"].get("availableReplicas") == count for item in items))
            harness.wait_for(api, pods, lambda items: ready_pods(items, count, image))
            # The controller's last word on a rollout.
            harness.wait_for(api, deployments, lambda items: any(
                entry.get("reason") == "NewReplicaSetAvailable" for entry in items[0]["status"]["conditions"]))

        @staticmethod
        def condition(kind, reason):
            harness.wait_for(api, deployments, lambda items: any(
                entry["type"] == kind and entry["reason"] == reason for entry in items[0]["status"]["conditions"]))

        @staticmethod
        def apply(**spec):
            kubectl("apply", "-f", "-", input=Web.manifest(**spec))
            Web.rolled_out(spec.get("replicas", 2))

    return Web


def test_get_prints_what_upstream_prints(cluster, kubectl, web):
    with Session(cluster, kubectl, "get") as session:
        session("apply", "-f", "-", input=web.manifest())
        web.rolled_out()
        session("apply", "-f", "-", input=web.manifest())
        for kind in ("deploy", "rs", "pods", "svc", "endpoints"):
            session("get", kind)
            session("get", kind, "-o", "wide")
        session("get", "deploy,rs,pods", "--show-labels")
        session("get", "deployment/web", "-o", "name")
        session("get", "nodes")
        session("get", "rs", "-L", "app")
        if kubectl.is_modern:
            session("get", "deployment", "web", "--subresource=scale")
        session.fails("get", "deploy", "nothing")
        session("get", "deploy", "-l", "app=nothing")


def test_describe_prints_what_upstream_prints(cluster, kubectl, web, pods):
    with Session(cluster, kubectl, "describe") as session:
        web.apply()
        session("describe", "deployment", "web")
        session("describe", "rs", "-l", "app=web")
        session("describe", "pod", kubectl.json("get", "pods")["items"][0]["metadata"]["name"])
        session("describe", "svc", "web")
        kubectl("set", "image", "deploy/web", f"model-server={harness.IMAGE_V2}")
        web.rolled_out(image=harness.IMAGE_V2)
        session("describe", "deployment", "web")
        session.fails("describe", "deployment", "nothing")


def test_rollout_prints_what_upstream_prints(cluster, kubectl, web):
    with Session(cluster, kubectl, "rollout") as session:
        kubectl("apply", "-f", "-", input=web.manifest())
        session("rollout", "status", "deployment/web", keep=LAST_LINE)
        web.rolled_out()
        session("rollout", "history", "deployment/web")
        session.fails("rollout", "undo", "deployment/web")
        session("set", "image", "deployment/web", f"model-server={harness.IMAGE_V2}")
        session("annotate", "deployment/web", "kubernetes.io/change-cause=second release", "--overwrite")
        session("rollout", "status", "deployment/web", keep=LAST_LINE)
        web.rolled_out()
        session("rollout", "history", "deployment/web")
        session("rollout", "history", "deployment/web", "--revision=1")
        session("rollout", "history", "deployment/web", "--revision=2")
        session.fails("rollout", "history", "deployment/web", "--revision=7")
        session("rollout", "restart", "deployment/web")
        session("rollout", "status", "deployment/web", keep=LAST_LINE)
        web.rolled_out()
        session("rollout", "history", "deployment/web")
        session("rollout", "undo", "deployment/web", "--to-revision=1", "--dry-run=client")
        session("rollout", "undo", "deployment/web", "--to-revision=1")
        session("rollout", "status", "deployment/web", keep=LAST_LINE)
        web.rolled_out(image=harness.IMAGE_V1)
        session("rollout", "history", "deployment/web")
        session("rollout", "undo", "deployment/web", "--to-revision=4")
        session.fails("rollout", "undo", "deployment/web", "--to-revision=1")
        session("rollout", "undo", "deployment/web")
        web.rolled_out(image=harness.IMAGE_V2)
        session("rollout", "history", "deployment/web")
        session("rollout", "status", "deployment/web", "--revision=5")
        session.fails("rollout", "status", "deployment/web", "--revision=1")
        session.fails("rollout", "status", "deployment/nothing")
        session.fails("rollout", "history", "replicaset")


def test_pausing_prints_what_upstream_prints(cluster, kubectl, web, deployments, api):
    with Session(cluster, kubectl, "pause") as session:
        web.apply()
        kubectl("set", "env", "deployment/web", "RELEASE=second")
        web.rolled_out()
        session("rollout", "pause", "deployment/web")
        web.condition("Progressing", "DeploymentPaused")
        session.fails("rollout", "pause", "deployment/web")
        session("set", "image", "deployment/web", f"model-server={harness.IMAGE_V2}")
        session("set", "env", "deployment/web", "LOAD_DELAY_MS=0")
        session("scale", "deployment/web", "--replicas=3")
        harness.wait_for(api, deployments, lambda items: items[0]["status"].get("availableReplicas") == 3 and
                         items[0]["status"]["observedGeneration"] == items[0]["metadata"]["generation"])
        session("rollout", "status", "deployment/web", "--watch=false")
        session("get", "deployment,rs")
        session("describe", "deployment", "web")
        session.fails("rollout", "undo", "deployment/web")
        session.fails("rollout", "restart", "deployment/web")
        session("rollout", "resume", "deployment/web")
        session.fails("rollout", "resume", "deployment/web")
        session("rollout", "status", "deployment/web", keep=LAST_LINE)
        web.rolled_out(3, harness.IMAGE_V2)
        session("rollout", "history", "deployment/web")
        session("describe", "deployment", "web")


def test_set_prints_what_upstream_prints(cluster, kubectl, web):
    with Session(cluster, kubectl, "set") as session:
        web.apply()
        kubectl("rollout", "pause", "deployment/web")
        session("set", "image", "deployment/web", f"model-server={harness.IMAGE_V2}")
        session("set", "image", "deployment/web", f"model-server={harness.IMAGE_V2}")
        session("set", "image", "deployment/web", f"*={harness.IMAGE_V1}", "--dry-run=server")
        session.fails("set", "image", "deployment/web", f"nobody={harness.IMAGE_V1}")
        session.fails("set", "image", "deployment/web")
        session("set", "env", "deployment/web", "LOAD_DELAY_MS=0", "OTHER=a b")
        session("set", "env", "deployment/web", "--list")
        session("set", "env", "deployment/web", "OTHER-")
        session("set", "resources", "deployment/web", "--limits=cpu=200m,memory=128Mi", "--requests=cpu=20m")
        session.fails("set", "resources", "deployment/web", "--limits=cpu=10m")
        session.fails("set", "resources", "deployment/web", "--limits=cpu=lots")
        session("annotate", "deployment/web", "kubernetes.io/change-cause=tuned", "--overwrite")
        session("annotate", "deployment/web", "kubernetes.io/change-cause=tuned again")
        session("annotate", "deployment/web", "owner=ranking")
        session.fails("annotate", "deployment/web", "owner=search")
        session("label", "deployment/web", "team=ranking")
        kubectl("rollout", "resume", "deployment/web")
        web.rolled_out(image=harness.IMAGE_V2)
        session("rollout", "history", "deployment/web", "--revision=2")


def test_scaling_prints_what_upstream_prints(cluster, kubectl, web):
    with Session(cluster, kubectl, "scale") as session:
        web.apply()
        session("scale", "deployment/web", "--replicas=3")
        web.rolled_out(3)
        session("get", "deployment,rs")
        session("scale", "deployment/web", "--replicas=1", "--current-replicas=3")
        web.rolled_out(1)
        session.fails("scale", "deployment/web", "--replicas=2", "--current-replicas=3")
        session.fails("scale", "deployment/web", "--replicas=-1")
        session.fails("scale", "deployment/nothing", "--replicas=2")
        session("describe", "deployment", "web")
        session("describe", "rs", "-l", "app=web", keep="^(Name|Replicas|Pods Status|Events|  Type|  ----|  Normal)")


def test_a_stuck_rollout_prints_what_upstream_prints(cluster, kubectl, web, api, pods, deployments):
    with Session(cluster, kubectl, "stuck") as session:
        web.apply(progressDeadlineSeconds=5, minReadySeconds=1)
        session("set", "image", "deployment/web", "model-server=Not/Valid:1")
        harness.wait_for(api, pods, lambda items: any(
            (status.get("state", {}).get("waiting") or {}).get("reason") == "InvalidImageName"
            for item in items for status in item["status"].get("containerStatuses", [])))
        session("rollout", "status", "deployment/web", "--watch=false")
        session("get", "deployment,rs,pods")
        web.condition("Progressing", "ProgressDeadlineExceeded")
        session.fails("rollout", "status", "deployment/web")
        session("describe", "deployment", "web")
        session("rollout", "undo", "deployment/web")
        session("rollout", "status", "deployment/web", keep=LAST_LINE)
        web.rolled_out(image=harness.IMAGE_V1)
        session("get", "deployment,rs")


def test_a_refused_pod_prints_what_upstream_prints(cluster, kubectl, web, api, pods, deployments):
    """The pods' service account does not exist: the ReplicaSet fails, and its Deployment says so."""
    with Session(cluster, kubectl, "refused") as session:
        web.apply()
        session("set", "serviceaccount", "deployment/web", "nobody")
        web.condition("ReplicaFailure", "FailedCreate")
        session("get", "deployment,rs")
        session("describe", "deployment", "web")
        session("rollout", "status", "deployment/web", "--watch=false")
        session("rollout", "undo", "deployment/web")
        web.rolled_out()
        session("describe", "deployment", "web", keep="^(Conditions|  Available|  Progressing|  ReplicaFailure|OldRep|NewRep)")


def test_deleting_prints_what_upstream_prints(cluster, kubectl, web, api, pods):
    with Session(cluster, kubectl, "delete") as session:
        web.apply()
        session("delete", "deployment/web", "service/web")
        harness.wait_for(api, pods, lambda items: not items)
        session("get", "deploy,rs,pods,svc")
        session.fails("delete", "deployment", "web")
        session("delete", "deployment", "web", "--ignore-not-found")
