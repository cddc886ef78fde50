"""Probes against servers of every kind: over TLS, redirected, by name, by address of IPv6, and gRPC."""
import pathlib
import re
import shutil

import pytest

import harness
from test_pod import events, wait_for_event

OPENSSL, GRPC = "local/openssl:v1", "local/grpc-health:v1"


def ready(items):
    return items and harness.is_true(items[0], "Ready") and items[0]


def probed(script, probe, image=harness.IMAGE_V1, **spec):
    return harness.shell_pod("it", script, image=image, container={"readinessProbe": {"periodSeconds": 1, **probe}}, **spec)


def answer_always(answer):
    """A shell's web server: the same answer to everyone."""
    return f"while :; do printf '{answer}' | nc -l -p 9000 > /dev/null; done"


# ---- httpGet ----

def test_a_redirect_to_another_host_counts_and_is_told(api, namespace, pods):
    script = answer_always(r"HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nContent-Length: 2\r\n\r\ngo")
    api.create(pods, probed(script, {"httpGet": {"port": 9000}}))
    harness.wait_for(api, pods, ready)
    wait_for_event(api, namespace, "ProbeWarning",
                   "^Readiness probe warning: Probe terminated redirects, Response body: go$")


def test_a_redirect_within_the_host_is_followed(api, namespace, pods):
    script = answer_always(r"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
    api.create(pods, probed(script, {"httpGet": {"port": 9000}, "timeoutSeconds": 10, "failureThreshold": 1}))
    wait_for_event(api, namespace, "Unhealthy", r'^Readiness probe failed: Get "(/again": stopped after 10 redirects|'
                                                r'http://\S+": dial tcp .* connection refused)$')
    harness.wait_for(api, pods, lambda items: items[0]["status"].get("phase") == "Running" and not ready(items))


@pytest.fixture(scope="module")
def openssl_image(cluster, workspace):
    program, key, certificate = shutil.which("openssl"), workspace / "key.pem", workspace / "certificate.pem"
    harness.run([program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody", "-keyout", key,
                 "-out", certificate])
    path = harness.make_image(OPENSSL, workspace, program=program, add_file=[
        *sorted(harness.libraries(program)), f"{key}:key.pem", f"{certificate}:certificate.pem"])
    harness.run([harness.CORACLE, "image", "import", "--name", cluster.name, path])
    return OPENSSL


def test_a_server_of_https_needs_no_certificate_that_anyone_trusts(api, namespace, pods, openssl_image):
    script = "OPENSSL_CONF=/dev/null exec openssl s_server -accept 9443 -key /key.pem -cert /certificate.pem -www -quiet"
    api.create(pods, probed(script, {"httpGet": {"port": 9443, "scheme": "HTTPS", "path": "/status"}}, openssl_image))
    harness.wait_for(api, pods, ready)
    assert not [event for event in events(api, namespace) if event[1] == "ProbeWarning"]


def test_https_to_a_server_of_http_fails(api, namespace, pods):
    script = answer_always(r"HTTP/1.0 400 Bad Request\r\n\r\n")
    api.create(pods, probed(script, {"httpGet": {"port": 9000, "scheme": "HTTPS"}}))
    wait_for_event(api, namespace, "Unhealthy", r'^Readiness probe failed: Get "https://[\d.]+:9000/": http: server gave '
                                                "HTTP response to HTTPS client$")


# ---- tcpSocket ----

@pytest.mark.parametrize("host, listens", [("localhost", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_a_tcp_probe_goes_to_names_and_addresses_of_both_families(api, pods, host, listens):
    api.create(pods, probed(f"exec httpd -f -p '{listens}:9471'", {"tcpSocket": {"host": host, "port": 9471}},
                            hostNetwork=True))
    harness.wait_for(api, pods, ready)


def test_a_tcp_probe_says_where_nobody_listens(api, namespace, pods):
    api.create(pods, probed("exec sleep 1000", {"tcpSocket": {"host": "::1", "port": 9471}}))
    wait_for_event(api, namespace, "Unhealthy",
                   r"^Readiness probe failed: dial tcp \[::1\]:9471: connect: connection refused$")


# ---- grpc ----

@pytest.fixture(scope="module")
def grpc_image(cluster, workspace):
    program = pathlib.Path(harness.CORACLE).parent / "test/e2e/grpc-health"
    path = harness.make_image(GRPC, workspace, program=program, add_file=sorted(harness.libraries(program)))
    harness.run([harness.CORACLE, "image", "import", "--name", cluster.name, path])
    return GRPC


def grpc(services, **action):
    return f"exec grpc-health 9090 {services}", {"grpc": {"port": 9090, **action}}, GRPC


@pytest.mark.parametrize("action", [{}, {"service": "models"}], ids=["whole", "named"])
def test_a_grpc_server_that_serves_is_ready(api, pods, grpc_image, action):
    api.create(pods, probed(*grpc("=1 models=1", **action)))
    harness.wait_for(api, pods, ready)


@pytest.mark.parametrize("services, action, message", [
    ("=2", {}, 'service unhealthy (responded with "NOT_SERVING")'),
    ("=1 models=2", {"service": "models"}, 'service unhealthy (responded with "NOT_SERVING")'),
    ("=1", {"service": "models"}, "error: health rpc probe failed: rpc error: code = NotFound desc = "),
    ("unimplemented", {}, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "),
], ids=["not-serving", "named", "unknown", "unimplemented"])
def test_a_grpc_server_that_does_not_is_not(api, namespace, pods, grpc_image, services, action, message):
    api.create(pods, probed(*grpc(services, **action)))
    wait_for_event(api, namespace, "Unhealthy", "^Readiness probe failed: " + re.escape(message))
    assert not ready([api.ok("GET", f"{pods}/it")])
