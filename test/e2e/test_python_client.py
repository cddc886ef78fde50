"""Python's Kubernetes client, as packaged in Debian, works as it is: typed objects, watches, patches, errors."""
import pytest
from kubernetes import client, config, watch

import harness

ADDRESSES = {"app": "by-python"}


@pytest.fixture(scope="module")
def api_client(cluster):
    return config.new_client_from_config(str(cluster.kubeconfig))


@pytest.fixture(scope="module")
def core(api_client):
    return client.CoreV1Api(api_client)


@pytest.fixture(scope="module")
def apps(api_client):
    return client.AppsV1Api(api_client)


def deployment(name, replicas=2):
    container = client.V1Container(
        name="model-server", image=harness.IMAGE_V1, ports=[client.V1ContainerPort(name="http", container_port=8080)],
        readiness_probe=client.V1Probe(http_get=client.V1HTTPGetAction(path="/ready", port="http"), period_seconds=1))
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=ADDRESSES),
                                        spec=client.V1PodSpec(containers=[container]))
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=client.V1DeploymentSpec(
        replicas=replicas, selector=client.V1LabelSelector(match_labels=ADDRESSES), template=template))


def follow(function, *arguments, until, timeout=harness.WAIT_LIMIT, **options):
    """Events of a watch up to and with the first for which until(event) is true."""
    seen = []
    for event in watch.Watch().stream(function, *arguments, timeout_seconds=int(timeout), **options):
        seen.append(event)
        if until(event):
            return seen
    raise harness.Failure(f"the watch ended after {[(event['type'], event['object'].metadata.name) for event in seen]}")


def test_the_version_and_discovery(api_client):
    assert client.VersionApi(api_client).get_code().minor.rstrip("+") == "35"
    assert "apps" in {group.name for group in client.ApisApi(api_client).get_api_versions().groups}
    kinds = {resource.kind for resource in client.CoreV1Api(api_client).get_api_resources().resources}
    assert {"Pod", "Service", "ConfigMap"} <= kinds


def test_nodes_are_ready_and_have_capacity(core):
    nodes = core.list_node().items
    assert len(nodes) == 1
    ready = next(condition for condition in nodes[0].status.conditions if condition.type == "Ready")
    assert (ready.status, ready.reason) == ("True", "KubeletReady")
    assert int(nodes[0].status.capacity["pods"]) > 0
    assert nodes[0].status.node_info.kubelet_version.startswith("v1.35")


def test_a_deployment_from_create_to_delete(core, apps, namespace):
    created = apps.create_namespaced_deployment(namespace, deployment("by-python"))
    assert created.spec.strategy.rolling_update.max_surge == "25%"
    assert created.spec.progress_deadline_seconds == 600
    events = follow(apps.list_namespaced_deployment, namespace,
                    until=lambda event: event["object"].status.available_replicas == 2)
    assert events[0]["type"] == "ADDED"

    scale = apps.read_namespaced_deployment_scale("by-python", namespace)
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=by-python")
    scale.spec.replicas = 3
    apps.replace_namespaced_deployment_scale("by-python", namespace, scale)
    follow(apps.list_namespaced_deployment, namespace,
           until=lambda event: event["object"].status.available_replicas == 3)

    patched = apps.patch_namespaced_deployment("by-python", namespace, {"spec": {"template": {"spec": {"containers": [
        {"name": "model-server", "image": harness.IMAGE_V2}]}}}})
    assert patched.spec.template.spec.containers[0].readiness_probe.http_get.path == "/ready"
    assert patched.metadata.generation == 3
    follow(apps.list_namespaced_deployment, namespace,
           until=lambda event: event["object"].status.observed_generation == 3 and
           event["object"].status.updated_replicas == 3 and event["object"].status.available_replicas == 3 and
           event["object"].status.replicas == 3)

    apps.delete_namespaced_deployment("by-python", namespace, propagation_policy="Foreground")
    follow(apps.list_namespaced_deployment, namespace, until=lambda event: event["type"] == "DELETED")
    assert core.list_namespaced_pod(namespace).items == []


def test_a_watch_shows_each_change_once_and_in_order(core, namespace):
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="watched"), data={"step": "0"})
    core.create_namespaced_config_map(namespace, body)
    for step in range(1, 20):
        core.patch_namespaced_config_map("watched", namespace, {"data": {"step": str(step)}})
    core.delete_namespaced_config_map("watched", namespace)
    events = [event for event in follow(core.list_namespaced_config_map, namespace, resource_version=version,
                                        until=lambda event: event["type"] == "DELETED")
              if event["object"].metadata.name == "watched"]
    assert [event["type"] for event in events] == ["ADDED"] + ["MODIFIED"] * 19 + ["DELETED"]
    assert [event["object"].data["step"] for event in events] == [str(step) for step in range(20)] + ["19"]
    versions = [int(event["object"].metadata.resource_version) for event in events]
    assert versions == sorted(set(versions))


def test_lists_come_in_pages(core, namespace):
    for number in range(7):
        core.create_namespaced_config_map(namespace, client.V1ConfigMap(
            metadata=client.V1ObjectMeta(name=f"page-{number}", labels={"paged": "yes"})))
    names, token, pages = [], None, 0
    while True:
        page = core.list_namespaced_config_map(namespace, limit=3, _continue=token, label_selector="paged=yes")
        assert len(page.items) <= 3
        names += [item.metadata.name for item in page.items]
        pages += 1
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"page-{number}" for number in range(7)]
    assert pages == 3


def test_conflicts_and_absences_are_the_errors_that_the_client_knows(core, namespace):
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="twice"))
    first = core.create_namespaced_config_map(namespace, body)
    with pytest.raises(client.ApiException) as error:
        core.create_namespaced_config_map(namespace, body)
    assert (error.value.status, error.value.reason) == (409, "Conflict")
    assert 'configmaps \\"twice\\" already exists' in error.value.body
    core.patch_namespaced_config_map("twice", namespace, {"data": {"a": "b"}})
    with pytest.raises(client.ApiException) as error:
        core.replace_namespaced_config_map("twice", namespace, first)
    assert error.value.status == 409
    assert "the object has been modified; please apply your changes to the latest version and try again" in \
        error.value.body
    core.delete_namespaced_config_map("twice", namespace)
    with pytest.raises(client.ApiException) as error:
        core.read_namespaced_config_map("twice", namespace)
    assert error.value.status == 404


def test_secrets_hold_bytes(core, namespace):
    core.create_namespaced_secret(namespace, client.V1Secret(
        metadata=client.V1ObjectMeta(name="bytes"), string_data={"text": "plain"}, data={"raw": "AAEC/w=="}))
    secret = core.read_namespaced_secret("bytes", namespace)
    assert secret.data == {"text": "cGxhaW4=", "raw": "AAEC/w=="}
    assert secret.type == "Opaque"
    assert secret.string_data is None


def test_logs_through_the_client(core, api, namespace, pods):
    core.create_namespaced_pod(namespace, harness.shell_pod("speaker", "for i in 1 2 3; do echo line $i; done",
                                                            restartPolicy="Never"))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") == "Succeeded")
    assert core.read_namespaced_pod_log("speaker", namespace) == "line 1\nline 2\nline 3\n"
    assert core.read_namespaced_pod_log("speaker", namespace, tail_lines=1) == "line 3\n"


def test_events_tell_about_pods(core, api, namespace, pods):
    core.create_namespaced_pod(namespace, harness.shell_pod("eventful", "true", restartPolicy="Never"))
    harness.wait_for(api, pods, lambda items: items and items[0]["status"].get("phase") == "Succeeded")
    wanted = {"Scheduled", "Pulled", "Created", "Started"}
    seen = set()
    follow(core.list_namespaced_event, namespace, field_selector="involvedObject.name=eventful",
           until=lambda event: seen.add(event["object"].reason) or wanted <= seen)


def test_a_collection_is_deleted_by_selector(core, namespace):
    for number in range(4):
        core.create_namespaced_config_map(namespace, client.V1ConfigMap(
            metadata=client.V1ObjectMeta(name=f"many-{number}", labels={"odd": str(number % 2)})))
    core.delete_collection_namespaced_config_map(namespace, label_selector="odd=1")
    left = core.list_namespaced_config_map(namespace, label_selector="odd").items
    assert [item.metadata.name for item in left] == ["many-0", "many-2"]
