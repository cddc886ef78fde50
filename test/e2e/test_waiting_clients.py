"""Clients that wait to be let in when their pod is told to go are served before its server is, also by one that closes
its socket at the first word of it and resets all that it has not accepted."""
import subprocess

import pytest

import harness

TOKEN, PORT = "secret", 18090
CLIENTS = 40
# For so long the server lets nobody in: longer than it takes to delete a pod, shorter than clients are waited for.
PAUSE_MS = 700

# Runs in the node's network: stops the server's accepting, queues up, says so, and counts who was answered.
CLIENT = f"""
import socket, sys

def connect():
    return socket.create_connection((sys.argv[1], {PORT}), 10)

def answer(one):
    try:
        return one.makefile("rb").read()
    except OSError as error:
        return str(error).encode()

pause = connect()
pause.sendall(b"POST /admin/pause?ms={PAUSE_MS} HTTP/1.1\\r\\nAuthorization: Bearer {TOKEN}\\r\\n"
              b"Connection: close\\r\\n\\r\\n")
assert answer(pause).startswith(b"HTTP/1.1 200")
waiting = [connect() for _ in range({CLIENTS})]
for one in waiting:
    one.sendall(b"GET /predict HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n")
print("waiting", flush=True)
answers = [answer(one) for one in waiting]
print([text[:40] for text in answers if not text.startswith(b"HTTP/1.1 200")])
"""


def server(**spec):
    body = harness.server_deployment("queue", environment={
        "SIGTERM_MODE": "close", "ADMIN_TOKEN": TOKEN, "PORT": str(PORT)})["spec"]["template"]
    container = body["spec"]["containers"][0]
    container["ports"][0]["containerPort"] = PORT
    container["readinessProbe"]["failureThreshold"] = 1
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "queue", "labels": {"app": "queue"}},
            "spec": {**body["spec"], **spec}}


@pytest.mark.parametrize("kind", ["ready", "unready", "published though unready", "host network"])
def test_clients_that_wait_to_be_let_in_are_served(cluster, api, namespace, pods, kind):
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service(
        "queue", target=PORT, publishNotReadyAddresses=kind == "published though unready"))
    api.create(pods, server(hostNetwork=kind == "host network"))
    (pod,) = harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready") and items)
    address = pod["status"]["podIP"]
    if "unready" in kind:
        cluster.fetch(f"http://{address}:{PORT}/admin/unready", "--request", "POST", "--header",
                      f"Authorization: Bearer {TOKEN}")
        harness.wait_for(api, pods, lambda items: not harness.is_true(items[0], "Ready"))
    command = [harness.CORACLE, "enter", "--name", cluster.name, "--", "/usr/bin/python3", "-c", CLIENT, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as clients:
        assert clients.stdout.readline() == "waiting\n"
        api.ok("DELETE", f"{pods}/queue")
        assert clients.stdout.read() == "[]\n"
    harness.wait_for(api, pods, lambda items: not items)
