"""A small ingress controller as others write them, for test_ingress.py, which runs it in pods: it knows nothing but its
service account and the API. One of its pods leads, by a Lease; all serve HTTP by the rules of the ingresses of the class
example.com/tiny; the leader writes its own address into their status."""
import datetime
import http.server
import os
import threading
import time
import urllib.error
import urllib.request

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

CONTROLLER = "example.com/tiny"
LEASE = "tiny-ingress"
LEASE_SECONDS = 3
ME, NAMESPACE, ADDRESS = os.environ["POD_NAME"], os.environ["POD_NAMESPACE"], os.environ["POD_IP"]

config.load_incluster_config()
networking, coordination = client.NetworkingV1Api(), client.CoordinationV1Api()
ingresses = {}  # uid -> ingress, of our classes
leading = False


def hold_lease():
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        lease = coordination.read_namespaced_lease(LEASE, NAMESPACE)
    except ApiException as error:
        if error.status != 404:
            raise
        lease = client.V1Lease(metadata=client.V1ObjectMeta(name=LEASE), spec=client.V1LeaseSpec(
            holder_identity=ME, lease_duration_seconds=LEASE_SECONDS, acquire_time=now, renew_time=now,
            lease_transitions=0))
        coordination.create_namespaced_lease(NAMESPACE, lease)
        return True
    spec = lease.spec
    if spec.holder_identity != ME:
        if spec.renew_time + datetime.timedelta(seconds=spec.lease_duration_seconds) > now:
            return False
        spec.holder_identity, spec.acquire_time = ME, now
        spec.lease_transitions += 1
    spec.renew_time = now
    coordination.replace_namespaced_lease(LEASE, NAMESPACE, lease)
    return True


def elect():
    global leading
    while True:
        try:
            leading = hold_lease()
        except ApiException as error:
            print("lease:", error.status, error.reason, flush=True)
            leading = False
        publish()
        time.sleep(LEASE_SECONDS / 3)


def publish():
    for ingress in list(ingresses.values()) if leading else []:
        shown = [entry.ip for entry in ingress.status.load_balancer.ingress or []]
        if shown == [ADDRESS]:
            continue
        body = {"status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}}
        ingresses[ingress.metadata.uid] = networking.patch_namespaced_ingress_status(
            ingress.metadata.name, ingress.metadata.namespace, body)


def follow():
    while True:
        classes = {item.metadata.name for item in networking.list_ingress_class().items
                   if item.spec.controller == CONTROLLER}
        for event in watch.Watch().stream(networking.list_ingress_for_all_namespaces, timeout_seconds=60):
            ingress = event["object"]
            if event["type"] == "DELETED" or ingress.spec.ingress_class_name not in classes:
                ingresses.pop(ingress.metadata.uid, None)
            else:
                ingresses[ingress.metadata.uid] = ingress
                publish()


def backend_of(host, path):
    for ingress in list(ingresses.values()):
        for rule in ingress.spec.rules or []:
            for entry in rule.http.paths if rule.host in (None, host) else []:
                if path == entry.path or (entry.path_type == "Prefix" and path.startswith(entry.path)):
                    service = entry.backend.service
                    return f"http://{service.name}.{ingress.metadata.namespace}.svc.cluster.local:{service.port.number}"
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        backend = backend_of(self.headers.get("Host", "").split(":")[0], self.path)
        code, body = 404, b"no rule\n"
        if backend:
            try:
                with urllib.request.urlopen(backend + self.path, timeout=5) as answer:
                    code, body = answer.status, answer.read()
            except (urllib.error.URLError, OSError) as error:
                code, body = 502, str(error).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def keep(function):
    """What goes wrong ends the process; the pod starts it anew."""
    def guarded():
        try:
            function()
        except BaseException as error:  # noqa: the other threads must not go on without this one
            print(type(error).__name__, error, flush=True)
            os._exit(1)
    threading.Thread(target=guarded, daemon=True).start()


keep(follow)
keep(elect)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
