"""What the cluster's DNS says in detail, asked by dig, by glibc inside a pod, and by bare datagrams as musl sends them."""
import re
import select
import subprocess
import time

import harness
from test_dns import DNS, dig, status
from test_network import ready
from test_pod import run_to_end
from test_rollout import deploy


def ask(cluster, *question):
    """All that dig says."""
    return cluster.enter("dig", "+tries=1", "+timeout=5", f"@{DNS}", *question).stdout


def slice_of(name, addresses, service, ready=True, port=8080):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}


def slices(namespace):
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"


def by_hand(api, namespace):
    """A headless service without a selector: its endpoints are ours to write."""
    service = harness.service("it", clusterIP="None")
    del service["spec"]["selector"]
    api.create(f"/api/v1/namespaces/{namespace}/services", service)
    return f"it.{namespace}.svc.cluster.local"


def test_what_is_not_there_is_denied_with_the_zones_soa(cluster, api, namespace):
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("it"))
    name = f"it.{namespace}.svc.cluster.local"
    harness.eventually(lambda: dig(cluster, name))
    for question, code in (((name, "AAAA"), "NOERROR"), ((name, "MX"), "NOERROR"), (("no." + name,), "NXDOMAIN"),
                           ((f"no.{namespace}.svc.cluster.local",), "NXDOMAIN"), (("x.no-such.svc.cluster.local",), "NXDOMAIN")):
        text = ask(cluster, *question)
        assert f"status: {code}" in text and "ANSWER: 0, AUTHORITY: 1" in text, text
        assert re.search(r"^cluster\.local\.\s+\d+\s+IN\s+SOA\s", text, re.M), text
        assert " aa" in re.search(r"flags:([^;]*)", text).group(1), text
    # The levels between a service and the zone exist.
    for between in (f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"):
        assert status(cluster, between) == "NOERROR"


def test_ports_of_headless_services_name_each_endpoint(cluster, api, namespace):
    name = by_hand(api, namespace)
    api.create(slices(namespace), slice_of("it-1", ["10.244.9.1", "10.244.9.2"], "it"))
    wanted = [f"0 50 8080 10-244-9-{i}.{name}." for i in (1, 2)]
    found = harness.eventually(lambda: len(dig(cluster, f"_http._tcp.{name}", "SRV")) == 2 and
                               dig(cluster, f"_http._tcp.{name}", "SRV"))
    assert [line.split()[2:] for line in found] == [line.split()[2:] for line in wanted]
    for address in ("10.244.9.1", "10.244.9.2"):
        assert dig(cluster, f"{address.replace('.', '-')}.{name}") == [address]
        assert address in ask(cluster, f"_http._tcp.{name}", "SRV")
    assert dig(cluster, f"_other._tcp.{name}", "SRV") == [] and status(cluster, f"_http._udp.{name}", "SRV") == "NXDOMAIN"


def test_endpoints_that_are_not_ready_have_no_name(cluster, api, namespace):
    name = by_hand(api, namespace)
    api.create(slices(namespace), slice_of("it-1", ["10.244.9.1"], "it"))
    api.create(slices(namespace), slice_of("it-2", ["10.244.9.2"], "it", ready=False))
    assert harness.eventually(lambda: dig(cluster, name)) == ["10.244.9.1"]


def test_the_address_of_a_pod_is_a_name(cluster, api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "exec sleep 1000"))
    address = ready(api, pods, 1)[0]["status"]["podIP"]
    name = f"{address.replace('.', '-')}.{namespace}.pod.cluster.local"
    assert harness.eventually(lambda: dig(cluster, name)) == [address]
    assert status(cluster, f"10-244-9-9.{namespace}.pod.cluster.local") == "NXDOMAIN"


def test_answers_keep_the_case_of_the_question(cluster, api, namespace):
    created = api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("it"))
    mixed = f"iT.{namespace.upper()}.sVc.ClusTer.LOCAL"
    harness.eventually(lambda: dig(cluster, mixed))
    text = ask(cluster, mixed)
    assert re.search(rf"^{re.escape(mixed)}\.\s+\d+\s+IN\s+A\s+{created['spec']['clusterIP']}$", text, re.M), text


def test_long_answers_are_cut_over_udp_and_whole_over_tcp(cluster, api, namespace):
    name = by_hand(api, namespace)
    addresses = [f"10.244.{9 + i // 100}.{1 + i % 100}" for i in range(200)]
    for i in range(2):
        api.create(slices(namespace), slice_of(f"it-{i}", addresses[i * 100:i * 100 + 100], "it"))
    harness.eventually(lambda: len(dig(cluster, "+tcp", name)) == 200)
    assert dig(cluster, "+tcp", name) == sorted(addresses)
    for option, most in (("+noedns", 512), ("+bufsize=4096", 1232)):
        text = ask(cluster, "+ignore", option, name)
        assert " tc" in re.search(r"flags:([^;]*)", text).group(1), text
        assert int(re.search(r"MSG SIZE  rcvd: (\d+)", text).group(1)) <= most
    assert "EDNS: version: 0" in ask(cluster, "+ignore", "+edns=0", name)
    assert "EDNS" not in ask(cluster, "+ignore", "+noedns", name)
    assert "status: BADVERS" in ask(cluster, "+edns=1", "+noednsnegotiation", name)
    assert dig(cluster, name) == sorted(addresses)  # dig asks again over TCP


GLIBC = {"/usr": "/usr", "/lib": "/usr/lib", "/lib64": "/usr/lib64"}


def test_glibc_finds_short_names(cluster, api, namespace, pods):
    """getent of this machine, with its C library, inside a pod."""
    _, spec = deploy(api, namespace, "it")
    mounts = [{"name": f"m{i}", "mountPath": path, "readOnly": True} for i, path in enumerate(GLIBC)]
    volumes = [{"name": f"m{i}", "hostPath": {"path": source}} for i, source in enumerate(GLIBC.values())]
    script = f"for n in it it.{namespace} it.{namespace}.svc it.{namespace}.svc.cluster.local kubernetes.default; do " \
             "/usr/bin/getent ahostsv4 $n; /usr/bin/getent hosts $n; done; /usr/bin/getent hosts nobody || echo none; " \
             f"/usr/bin/getent hosts {spec['clusterIP']}"
    pod, text = run_to_end(api, pods, script, name="visitor", container={"volumeMounts": mounts}, volumes=volumes)
    lines = [line.split() for line in text.splitlines()]
    full = f"it.{namespace}.svc.cluster.local"
    assert lines.count([spec["clusterIP"], full]) == 5, (text, pod["status"])
    assert sum(line[:2] == [spec["clusterIP"], "STREAM"] for line in lines) == 4
    assert ["10.96.0.1", "kubernetes.default.svc.cluster.local"] in lines and ["none"] in lines


# ---- bare datagrams, from the node's network ----

# Prints, for each question "ID TYPE NAME" of the arguments, "ID CODE ANSWERS"; all are sent from one socket before the
# first answer is read, as musl's resolver does it.
AT_ONCE = r"""
import socket, struct, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
questions = [argument.split() for argument in sys.argv[1:]]
for number, kind, name in questions:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    sock.sendto(struct.pack(">HHHHHH", int(number), 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", int(kind), 1),
                ("10.96.0.10", 53))
for _ in questions:
    answer = sock.recv(4096)
    number, flags, _, count = struct.unpack(">HHHH", answer[:8])
    print(number, flags & 15, count)
"""


def test_questions_for_both_families_at_once_are_both_answered(cluster, api, namespace):
    api.create(f"/api/v1/namespaces/{namespace}/services", harness.service("it"))
    name = f"it.{namespace}.svc.cluster.local"
    harness.eventually(lambda: dig(cluster, name))
    # NODATA, not NXDOMAIN, for the family that is not there: musl would believe that the name does not exist.
    for _ in range(20):
        said = cluster.enter("/usr/bin/python3", "-c", AT_ONCE, f"1 1 {name}", f"2 28 {name}", f"3 1 no.{name}").stdout
        assert sorted(said.splitlines()) == ["1 0 1", "2 0 0", "3 3 0"]


# Asks for a name again and again, and prints each new answer with the time at which it came.
FOLLOW = r"""
import socket, struct, sys, time
name, last = sys.argv[1], None
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
sock.connect(("10.96.0.10", 53))
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
while True:
    sock.send(question)
    address = socket.inet_ntoa(sock.recv(4096)[-4:])
    if address != last:
        print(address, time.monotonic(), flush=True)
        last = address
"""


def test_answers_follow_endpoints_at_once(cluster, api, namespace):
    """From the answer to the write until the first DNS answer with the new address; the best of some tries, because the
    machine does other things, too."""
    name = by_hand(api, namespace)
    api.create(slices(namespace), slice_of("it-1", ["10.244.9.1"], "it"))
    harness.eventually(lambda: dig(cluster, name))
    command = [harness.CORACLE, "enter", "--name", cluster.name, "--", "/usr/bin/python3", "-c", FOLLOW, name]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    delays = []
    try:
        assert follower.stdout.readline().startswith("10.244.9.1 ")
        for i in range(2, 22):
            api.ok("PUT", slices(namespace) + "/it-1", slice_of("it-1", [f"10.244.9.{i}"], "it"))
            written = time.monotonic()
            assert select.select([follower.stdout], [], [], harness.WAIT_LIMIT)[0]
            address, seen = follower.stdout.readline().split()
            assert address == f"10.244.9.{i}"
            delays.append(float(seen) - written)
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    assert min(delays) < 0.005, delays
