"""Fixtures: images, clusters, a namespace for each test, and kubectl in both versions."""
import pathlib
import secrets

import pytest

import harness
import load


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the short proof that a build works at all")
    config.addinivalue_line("markers", "crash: kills the cluster again and again; minutes")


def pytest_collection_modifyitems(items):
    """Every test is bounded by the bounds inside it; order is by file, smoke first."""
    items.sort(key=lambda item: item.get_closest_marker("smoke") is None)


def pytest_sessionstart(session):
    if session.config.option.collectonly:
        return
    if not pathlib.Path(harness.CORACLE).exists():
        pytest.exit(f"{harness.CORACLE} is not there: build first (scripts/test build)", returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    clusters = []
    for value in getattr(item, "funcargs", {}).values():
        clusters += [value] if isinstance(value, harness.Cluster) else getattr(value, "clusters", [])
    for cluster in clusters:
        report.sections.append((f"cluster {cluster.name}", cluster.describe()))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("coracle")


@pytest.fixture(scope="session")
def images(workspace):
    return [harness.make_image(tag, workspace) for tag in (harness.IMAGE_V1, harness.IMAGE_V2)]


@pytest.fixture(scope="session")
def cluster(workspace, images):
    """The cluster that most tests share, each in a namespace of its own."""
    shared = harness.Cluster(workspace, images)
    shared.start()
    network_namespace = shared.network_namespace()
    yield shared
    shared.down()
    reports, leftovers = shared.sanitizer_reports(), shared.leftovers(network_namespace)
    assert not reports, reports
    assert not leftovers, leftovers


@pytest.fixture
def make_cluster(workspace, images):
    """Makes clusters that are this test's alone, and sees that nothing of them is left."""
    made = []

    def make(**options):
        options.setdefault("images", images)
        one = harness.Cluster(workspace, **options)
        made.append(one)
        return one

    make.clusters = made
    yield make
    leftovers, reports = [], []
    for one in made:
        one.down(check=False)
        leftovers += one.leftovers()
        reports += one.sanitizer_reports()
    assert not leftovers, leftovers
    assert not reports, reports


@pytest.fixture
def api(cluster):
    return cluster.api


@pytest.fixture
def namespace(api):
    """A namespace for one test; it goes away with everything in it when the test is over."""
    name = "test-" + secrets.token_hex(4)
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    harness.wait_for(api, f"/api/v1/namespaces/{name}/serviceaccounts",
                     lambda items: any(item["metadata"]["name"] == "default" for item in items),
                     what="the default service account")
    yield name
    api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def pods(namespace):
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.fixture
def callers(api, pods):
    """Pods whose networks clients may use: one like any other, and one that is an endpoint of the Service "loaded"."""
    return load.callers(api, pods, {"client": {}, "endpoint": {"app": "loaded"}})


def kubectl_path_or_skip(version):
    if not harness.KUBECTLS[version].exists():
        pytest.skip(f"kubectl {version} is not unpacked: scripts/install-dependencies test clients")


@pytest.fixture(params=sorted(harness.KUBECTLS))
def kubectl(request, cluster, namespace):
    """kubectl in the test's namespace; a test that takes it runs once with each version."""
    kubectl_path_or_skip(request.param)
    return cluster.kubectl(request.param, namespace)
