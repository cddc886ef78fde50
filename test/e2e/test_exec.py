"""kubectl exec, attach and cp: exit codes, bytes both ways, terminals, refusals; with every client."""
import base64
import fcntl
import hashlib
import json
import os
import pty
import secrets
import select
import struct
import subprocess
import termios
import time

import pytest
from kubernetes import client, config
from kubernetes.stream import stream

import harness
from test_pod import phase

SLEEP = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
MEGABYTES = secrets.token_bytes(5_000_003)


@pytest.fixture
def shell(api, pods):
    """A pod named `it` that waits."""
    api.create(pods, harness.shell_pod("it", SLEEP))
    harness.wait_for(api, pods, phase("Running"))
    return "it"


def run(kubectl, *arguments, data=b"", timeout=harness.COMMAND_LIMIT):
    """kubectl with bytes: (exit code, output, errors)."""
    done = subprocess.run(kubectl.command(*arguments), env=kubectl.environment, input=data, capture_output=True,
                          timeout=timeout)
    return done.returncode, done.stdout, done.stderr.decode()


class Terminal:
    """kubectl with a terminal."""

    def __init__(self, kubectl, *arguments, rows=30, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(kubectl.command(*arguments), env=kubectl.environment, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, text, timeout=harness.WAIT_LIMIT):
        deadline = time.monotonic() + timeout
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise harness.Failure(f"{text!r} did not come; there was {self.seen!r}")
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                raise harness.Failure(f"{text!r} did not come before the end; there was {self.seen!r}") from None

    def ended(self):
        code = self.process.wait(harness.WAIT_LIMIT)
        os.close(self.master)
        return code


def test_exit_codes_and_both_outputs(kubectl, shell):
    assert run(kubectl, "exec", shell, "--", "echo", "hello") == (0, b"hello\n", "")
    code, out, err = run(kubectl, "exec", shell, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (code, out) == (7, b"out\n")
    assert err == "err\ncommand terminated with exit code 7\n"
    assert run(kubectl, "exec", shell, "--", "sh", "-c", "kill -9 $$")[0] == 137


def test_a_command_that_is_not_there(kubectl, shell):
    code, out, err = run(kubectl, "exec", shell, "--", "no-such-program")
    assert (code, out) == (1, b"")
    assert err.startswith("error: Internal error occurred: error executing command in container: ")
    assert "no-such-program" in err and len(err.splitlines()) == 1


def test_megabytes_both_ways(kubectl, shell):
    code, out, err = run(kubectl, "exec", "-i", shell, "--", "cat", data=MEGABYTES)
    assert (code, err) == (0, "")
    assert out == MEGABYTES
    code, out, err = run(kubectl, "exec", "-i", shell, "--", "sha256sum", data=MEGABYTES)
    assert out.split()[0].decode() == hashlib.sha256(MEGABYTES).hexdigest()


def test_input_that_nobody_reads_is_no_hindrance(kubectl, shell):
    assert run(kubectl, "exec", "-i", shell, "--", "sh", "-c", "exec <&-; echo done; exit 3", data=MEGABYTES)[:2] == \
        (3, b"done\n")


def test_a_child_that_keeps_the_output_open_does_not_keep_kubectl(kubectl, shell):
    assert run(kubectl, "exec", shell, "--", "sh", "-c", "sleep 1000 & echo begun", timeout=20)[:2] == (0, b"begun\n")


def test_a_terminal_has_the_size_of_the_users(kubectl, shell):
    terminal = Terminal(kubectl, "exec", "-it", shell, "--", "sh", rows=31, columns=97)
    terminal.type("test -t 0 && echo it is a $((40 + 2)) terminal\n")
    terminal.until("it is a 42 terminal")
    terminal.type("while test \"$(stty size)\" != '31 97'; do sleep 0.05; done; echo size $((1 + 1))\n")
    terminal.until("size 2")
    terminal.resize(20, 50)
    terminal.process.send_signal(28)  # SIGWINCH
    terminal.type("while test \"$(stty size)\" != '20 50'; do sleep 0.05; done; echo size $((1 + 2))\n")
    terminal.until("size 3")
    terminal.type("exit 5\n")
    assert terminal.ended() == 5


def test_a_client_that_goes_takes_its_command_along(kubectl, shell):
    with kubectl.follow("exec", shell, "--", "sh", "-c", "echo begun; exec sleep 4711") as follower:
        follower.until_line("begun")
    harness.eventually(lambda: "sleep 4711" not in run(kubectl, "exec", shell, "--", "ps", "x")[1].decode())


def test_files_are_copied_both_ways(kubectl, shell, tmp_path):
    source = tmp_path / "folder"
    (source / "deep").mkdir(parents=True)
    (source / "large").write_bytes(MEGABYTES)
    (source / "deep/small").write_text("small\n")
    kubectl("cp", source, f"{shell}:/tmp/there")
    assert run(kubectl, "exec", shell, "--", "sha256sum", "/tmp/there/large")[1].split()[0].decode() == \
        hashlib.sha256(MEGABYTES).hexdigest()
    kubectl("cp", f"{shell}:/tmp/there", tmp_path / "back")
    assert (tmp_path / "back/large").read_bytes() == MEGABYTES
    assert (tmp_path / "back/deep/small").read_text() == "small\n"


def test_what_cannot_be_run_is_refused_in_upstreams_words(kubectl, api, pods, shell):
    assert "container nope is not valid for pod it" in kubectl.fails("exec", shell, "-c", "nope", "--", "true")
    assert 'pods "other" not found' in kubectl.fails("exec", "other", "--", "true")
    two = harness.shell_pod("two", SLEEP)
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "second"})
    api.create(pods, two)
    answer = api.request("POST", pods + "/two/exec?command=true&stdout=1",
                         headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"})
    assert answer.status == 400
    assert answer.json["message"] == \
        "a container name must be specified for pod two, choose one of: [main second]"


def test_a_container_that_has_ended_is_not_found(kubectl, api, namespace, pods):
    api.create(pods, harness.shell_pod("it", "true", restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Succeeded"))
    # kubectl looks at the phase itself; others learn it from here.
    assert "cannot attach a container in a completed pod; current phase is Succeeded" in kubectl.fails("attach", "it")
    for query, told in (("exec?command=true&stdout=1", 'container not found ("main")'),
                        ("attach?stdout=1", f"container main not found in pod it_{namespace}")):
        answer = api.request("POST", f"{pods}/it/{query}", headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"})
        assert (answer.status, answer.body.decode()) == (500, told)


def test_a_command_ends_with_its_container(kubectl, api, pods):
    """The kernel kills it; the one that was through with its work has its own exit code."""
    api.create(pods, harness.shell_pod("brief", "until [ -e /tmp/go ]; do sleep 0.1; done", restartPolicy="Never"))
    harness.wait_for(api, pods, phase("Running"))
    code, output, errors = run(kubectl, "exec", "brief", "--", "sh", "-c", "echo on; touch /tmp/go; sleep 1000")
    assert (code, output) == (137, b"on\n"), errors
    assert "command terminated with exit code 137" in errors
    harness.wait_for(api, pods, phase("Succeeded"))


def test_bad_requests_are_refused_before_the_upgrade(api, pods, shell):
    upgrade = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
    for query, headers, status in (
            ("?command=true&stdout=1", {}, 400),
            ("?command=true", upgrade, 400),
            ("?stdout=1", upgrade, 400),
            ("?command=true&stdout=1", {**upgrade, "Upgrade": "h2c"}, 400),
            ("?command=true&stdout=1", {**upgrade, "X-Stream-Protocol-Version": "v9.example"}, 403),
            ("?command=true&stdout=1", {"Connection": "Upgrade", "Upgrade": "websocket"}, 400)):
        answer = api.request("POST", f"{pods}/it/exec{query}", headers=headers)
        assert answer.status == status, (query, headers, answer)
    assert api.request("DELETE", f"{pods}/it/exec?command=true&stdout=1", headers=upgrade).status == 405


def raw_upgrade(api, path, protocol, key=b"0123456789abcdef"):
    """A WebSocket by hand: the socket after the handshake."""
    socket = api.socket()
    socket.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(key).decode()}\r\n"
                    f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += socket.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return socket


def test_a_client_that_speaks_nonsense_is_cut_off_and_the_cluster_goes_on(kubectl, api, pods, shell):
    for nonsense in (b"\x82\x01x", b"\xff" * 5000, b"\x89\xfe\xff\xff" + bytes(70000)):
        with raw_upgrade(api, f"{pods}/it/exec?command=cat&stdin=1&stdout=1", "v4.channel.k8s.io") as socket:
            socket.sendall(nonsense)
            while socket.recv(65536):
                pass
    assert run(kubectl, "exec", shell, "--", "echo", "alive")[1] == b"alive\n"


def test_roles_decide_who_may_run_commands(cluster, namespace, api, pods, shell):
    from test_tokens import request_token
    for name, verbs in (("reader", ["get"]), ("writer", ["get", "create"])):
        api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        api.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles", {
            "metadata": {"name": name}, "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs}]})
        api.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", {
            "metadata": {"name": name}, "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}})
    for name, allowed in (("reader", False), ("writer", True)):
        token = api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
                           {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}})
        setup = client.Configuration()
        config.load_kube_config(str(cluster.kubeconfig), client_configuration=setup)
        setup.cert_file = setup.key_file = None
        setup.api_key = {"authorization": "Bearer " + token["status"]["token"]}
        core = client.CoreV1Api(client.ApiClient(setup))
        try:
            out = stream(core.connect_get_namespaced_pod_exec, "it", namespace, command=["echo", "may"], stdout=True)
            assert allowed and out == "may\n"
        except client.ApiException as refused:
            assert not allowed and "403" in str(refused)


@pytest.fixture
def core(cluster):
    return client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))


def test_pythons_client(core, namespace, shell):
    session = stream(core.connect_get_namespaced_pod_exec, shell, namespace, command=["sh"], stdin=True, stdout=True,
                     stderr=True, tty=False, _preload_content=False)
    session.write_stdin("echo out; echo err >&2; read line; echo got $line; exit 9\n")
    assert session.readline_stdout(timeout=20) == "out"
    assert session.readline_stderr(timeout=20) == "err"
    session.write_stdin("this\n")
    assert session.readline_stdout(timeout=20) == "got this"
    session.run_forever(timeout=20)
    assert session.returncode == 9


SCRIPT = """
import * as k8s from '@kubernetes/client-node';
import { PassThrough } from 'node:stream';
const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const out = new PassThrough(), err = new PassThrough(), input = new PassThrough();
const seen = { out: '', err: '' };
out.on('data', (data) => seen.out += data);
err.on('data', (data) => seen.err += data);
const status = await new Promise((resolve, reject) => new k8s.Exec(config).exec(process.env.NAMESPACE, 'it', 'main',
    ['sh', '-c', 'read line; echo got $line; echo err >&2; exit 6'], out, err, input, false, resolve)
    .then(() => input.write('this\\n'), reject));
console.log(JSON.stringify({ ...seen, status }));
process.exit(0);
"""


def test_javascripts_client(cluster, namespace, shell, tmp_path):
    modules = harness.TOOLS / "node/node_modules"
    if not (modules / "@kubernetes/client-node").exists():
        pytest.skip("@kubernetes/client-node is not installed: scripts/install-dependencies clients")
    (tmp_path / "exec.mjs").write_text(SCRIPT)
    os.symlink(modules, tmp_path / "node_modules")
    seen = json.loads(harness.run(["node", tmp_path / "exec.mjs"], env={
        **os.environ, "KUBECONFIG": str(cluster.kubeconfig), "NAMESPACE": namespace}).stdout)
    assert (seen["out"], seen["err"]) == ("got this\n", "err\n")
    assert seen["status"]["reason"] == "NonZeroExitCode"
    assert seen["status"]["details"]["causes"] == [{"reason": "ExitCode", "message": "6"}]


def test_attach_sees_output_and_gives_input(kubectl, api, pods):
    api.create(pods, harness.shell_pod("it", "while read line; do echo got $line; echo err $line >&2; done; echo end",
                                       restartPolicy="Never", container={"stdin": True, "stdinOnce": True}))
    harness.wait_for(api, pods, phase("Running"))
    code, out, err = run(kubectl, "attach", "-i", "-q" if kubectl.is_modern else "-i", "it", data=b"one\ntwo\n")
    assert code == 0
    assert out.decode().endswith("got one\ngot two\nend\n")
    assert "err one\nerr two\n" in err
    harness.wait_for(api, pods, phase("Succeeded"))


def test_input_that_is_not_once_stays_open_for_the_next(kubectl, api, pods):
    api.create(pods, harness.shell_pod("it", "while read line; do echo got $line; done; echo end",
                                       restartPolicy="Never", container={"stdin": True}))
    harness.wait_for(api, pods, phase("Running"))
    for word in ("one", "two"):
        process = subprocess.Popen(kubectl.command("attach", "-i", "it"), env=kubectl.environment,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdin.write(word.encode() + b"\n")
        process.stdin.flush()
        while b"got " + word.encode() not in (line := process.stdout.readline()):
            assert line, "attach ended"
        process.kill()
        process.wait()
    assert kubectl("logs", "it") == "got one\ngot two\n"


def test_attach_to_a_terminal(kubectl, api, pods):
    api.create(pods, harness.shell_pod("it", "exec sh", restartPolicy="Never",
                                       container={"stdin": True, "stdinOnce": True, "tty": True}))
    harness.wait_for(api, pods, phase("Running"))
    terminal = Terminal(kubectl, "attach", "-it", "it", rows=33, columns=99)
    terminal.type("while test \"$(stty size)\" != '33 99'; do sleep 0.05; done; echo size $((1 + 1))\n")
    terminal.until("size 2")
    terminal.type("exit 0\n")
    assert terminal.ended() == 0


def test_run_with_input_and_rm(kubectl, api, pods):
    code, out, err = run(kubectl, "run", "it", "--rm", "-i", "--restart=Never", f"--image={harness.IMAGE_V1}",
                         "--command", "--", "sh", "-c", "cat; exit 4", data=b"through and through\n")
    assert b"through and through\n" in out
    assert code == 4 if kubectl.is_modern else code != 0
    harness.eventually(lambda: api.get(pods + "/it").status == 404)
