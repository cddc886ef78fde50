"""What strangers and neighbours do to a node: floods of questions, port scans, connections that never say anything. The
cluster goes on answering, and does not grow."""
import json
import subprocess

import harness
from test_dns import dig

DNS_LOAD = harness.ROOT / "build/bench/dns_load"
# Megabytes that the process may have grown by meanwhile.
GROWTH_MAX = 64


def resident_megabytes(process):
    for line in open(f"/proc/{process}/status", encoding="ascii"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def answers(cluster, api):
    """The API and the DNS do what they are there for, now."""
    assert api.get("/readyz", timeout=harness.COMMAND_LIMIT).status == 200
    assert harness.eventually(lambda: dig(cluster, "kubernetes.default.svc.cluster.local")) == ["10.96.0.1"]
    made = api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "flood-"}})
    api.ok("DELETE", f"/api/v1/namespaces/default/configmaps/{made['metadata']['name']}")


def python(cluster, script, *arguments):
    return [harness.CORACLE, "enter", "--name", cluster.name, "--", "/usr/bin/python3", "-c", script,
            *map(str, arguments)]


def during(cluster, api, *commands):
    """Runs the commands, sees that the cluster answers meanwhile and afterwards, and returns what they printed."""
    before = resident_megabytes(cluster.process.pid)
    running = [subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        rounds = 0
        while any(process.poll() is None for process in running) or not rounds:
            answers(cluster, api)
            rounds += 1
        said = [process.communicate(timeout=harness.COMMAND_LIMIT)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running] == [0] * len(running)
    answers(cluster, api)
    grown = resident_megabytes(cluster.process.pid) - before
    assert grown < GROWTH_MAX, grown
    return said


# Datagrams that are no questions, questions for names that are not there, and answers that nobody asked for.
NONSENSE = r"""
import os, random, socket, struct, sys, time
random.seed(1)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.monotonic() + 4
while time.monotonic() < end:
    kind = random.randrange(4)
    data = os.urandom(random.randrange(0, 600))
    if kind:
        name = b"\x20" + os.urandom(16).hex().encode() + b"\x03svc\x07cluster\x05local\0"
        flags = 0x8180 if kind == 1 else 0x100
        data = struct.pack(">HHHHHH", random.randrange(65536), flags, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)
    try:
        sock.sendto(data, ("10.96.0.10", 53))
    except OSError:
        pass
"""


def test_a_flood_of_questions(cluster, api):
    """As fast as a client can ask, for names that are there, while another sends nonsense."""
    load = [harness.CORACLE, "enter", "--name", cluster.name, "--", DNS_LOAD, "--server", "10.96.0.10", "--port", "53",
            "--name", "kubernetes.default.svc.cluster.local", "--window", "256", "--seconds", "4"]
    said = json.loads(during(cluster, api, load, python(cluster, NONSENSE))[0])
    assert said["failed"] == 0 and said["questions"] > 1000, said


SCAN = r"""
import errno, socket
found = []
for port in range(1, 65536):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Who asks from the very port that it asks for meets itself.
    if sock.connect_ex(("10.244.0.1", port)) == 0 and sock.getsockname() != sock.getpeername():
        found.append(port)
    sock.close()
print(found)
"""


def test_a_port_scan(cluster, api):
    """Every port of the node, from its own network; only what is meant to listen does."""
    def ports(namespace, name):
        subsets = api.ok("GET", f"/api/v1/namespaces/{namespace}/endpoints/{name}")["subsets"]
        return {port["port"] for subset in subsets for port in subset["ports"]}

    meant = ports("default", "kubernetes") | ports("kube-system", "kube-dns")
    node_ports = {port.get("nodePort") for item in api.ok("GET", "/api/v1/services")["items"]
                  for port in item["spec"]["ports"]}
    found = set(json.loads(during(cluster, api, python(cluster, SCAN))[0]))
    assert found - node_ports == meant, found


# SYNs from addresses where nobody is: each leaves a connection half open. Through the API's service, its port, and the DNS.
HALF_OPEN = r"""
import random, socket, struct, sys
random.seed(2)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
targets = [("10.96.0.1", 443), ("10.96.0.10", 53), ("10.244.0.1", int(sys.argv[1]))]
for i in range(10000):
    source = socket.inet_aton("10.244.%d.%d" % (random.randrange(100, 250), random.randrange(1, 250)))
    address, port = targets[i % 3]
    to = socket.inet_aton(address)
    tcp = struct.pack(">HHIIBBHHH", random.randrange(1024, 65535), port, random.randrange(1 << 32), 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = source + to + struct.pack(">BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    raw.sendto(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, source, to) + tcp, (address, 0))
print("sent")
"""

# Connections that are open and say nothing.
SILENT = r"""
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
for i in range(int(sys.argv[2])):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(5)
    try:
        sock.connect((sys.argv[1], 443))
    except OSError:
        break
    kept.append(sock)
time.sleep(2)
print(len(kept))
"""


def test_connections_that_are_half_open(cluster, api):
    port = int(api.ok("GET", "/api/v1/namespaces/default/endpoints/kubernetes")["subsets"][0]["ports"][0]["port"])
    assert during(cluster, api, python(cluster, HALF_OPEN, port)) == ["sent\n"]


def test_connections_that_say_nothing(cluster, api):
    assert int(during(cluster, api, python(cluster, SILENT, "10.96.0.1", 1000))[0]) > 0
