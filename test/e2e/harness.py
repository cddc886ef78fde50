"""What the end-to-end tests stand on: clusters, kubectl, the bare API, and waiting.

Nothing here sleeps and hopes. wait_for() follows the API's own watch; eventually() looks at things that have no watch
(a process, a file, an answer over the network) again and again. Both give up after a bound and say what they saw last.
"""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORACLE = os.environ.get("CORACLE", str(ROOT / "build/coracle"))
TOOLS = ROOT / "build/tools"
KUBECTLS = {"1.20": TOOLS / "kubectl-1.20/kubectl", "1.35": TOOLS / "kubectl-1.35/kubectl"}
IMAGE_V1, IMAGE_V2 = "local/model-server:v1", "local/model-server:v2"
FRAUD_MODEL = ROOT / "examples/fraud-model"
LESSON = ROOT / "examples/lesson"
TRAINING = ROOT / "examples/distributed-training"

# Bounds, in seconds. An instrumented binary or a busy machine gets more by CORACLE_TEST_PATIENCE.
PATIENCE = float(os.environ.get("CORACLE_TEST_PATIENCE", "1"))
START_LIMIT = 30 * PATIENCE
STOP_LIMIT = 30 * PATIENCE
COMMAND_LIMIT = 60 * PATIENCE
WAIT_LIMIT = 60 * PATIENCE
POLL_INTERVAL = 0.05


class Failure(AssertionError):
    """A promise that was not kept, with what was seen instead."""


def run(arguments, check=True, timeout=COMMAND_LIMIT, **options):
    result = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, timeout=timeout,
                            stdin=None if "input" in options else subprocess.DEVNULL, **options)
    if check and result.returncode:
        raise Failure(f"{' '.join(map(str, arguments))}: code {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def eventually(look, timeout=WAIT_LIMIT, what=None):
    """Returns the first true value of look(); the AssertionErrors and OSErrors it raises before that are its doubts."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = look()
            if value:
                return value
            doubt = f"got {value!r}"
        except (AssertionError, OSError, http.client.HTTPException) as error:
            doubt = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise Failure(f"{what or getattr(look, '__name__', 'condition')}: not within {timeout:g} s; {doubt}")
        time.sleep(POLL_INTERVAL)


# ---- images ----

def make_image(tag, directory, **options):
    """Path of a docker archive of the model server, or of what the options say (examples/model-server/make-image)."""
    path = pathlib.Path(directory) / (tag.replace("/", "_").replace(":", "_") + ".tar")
    arguments = [ROOT / "examples/model-server/make-image", "--server", ROOT / "build/examples/model-server",
                 "--tag", tag, "--output", path]
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            arguments += ["--" + name.replace("_", "-"), str(item)]
    run(arguments)
    return path


def libraries(program, unpacked="/usr"):
    """What the dynamic linker would load for a program, for make_image(add_file=...); some of it from a directory where
    packages are unpacked."""
    [own] = (pathlib.Path(unpacked) / "lib").glob("*-linux-gnu")
    listed = run(["ldd", program], env={**os.environ, "LD_LIBRARY_PATH": str(own)}).stdout
    for line in listed.splitlines():
        found = re.match(r"\s*(?:\S+ => )?(/\S+) \(0x", line)
        if not found:
            continue
        path = found.group(1)
        name = f"lib/{own.name}/{pathlib.Path(path).name}" if path.startswith(str(unpacked)) else path
        yield f"{path}:{name}"


# ---- the bare API ----

class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"


class Api:
    """HTTP/1.1 with the administrator's certificate: for what no client library would ever send."""

    def __init__(self, kubeconfig):
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        cluster = config["clusters"][0]["cluster"]
        user = config["users"][0]["user"]
        self.server = cluster["server"]
        address = urllib.parse.urlsplit(self.server)
        self.host, self.port = address.hostname, address.port
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.anonymous_context = ssl.create_default_context(cadata=authority)
        self.context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n" +
                       base64.b64decode(user["client-key-data"]))
            pair.flush()
            self.context.load_cert_chain(pair.name)

    def connect(self, timeout=30, anonymous=False):
        context = self.anonymous_context if anonymous else self.context
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)

    def socket(self, timeout=30, anonymous=False):
        """A TLS connection with nothing said on it yet."""
        raw = socket.create_connection((self.host, self.port), timeout=timeout)
        context = self.anonymous_context if anonymous else self.context
        return context.wrap_socket(raw, server_hostname=self.host)

    def request(self, method, path, body=None, headers=None, timeout=30, anonymous=False):
        connection = self.connect(timeout, anonymous)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def ok(self, method, path, body=None, **options):
        """The object in the answer; anything but success is a failure."""
        response = self.request(method, path, body, **options)
        if response.status not in (200, 201, 202):
            raise Failure(f"{method} {path}: {response}")
        return response.json

    def create(self, path, body, **options):
        return self.ok("POST", path, body, **options)

    def patch(self, path, body, kind="application/strategic-merge-patch+json", **options):
        return self.ok("PATCH", path, body, headers={"Content-Type": kind}, **options)

    @contextlib.contextmanager
    def watch(self, path, timeout=WAIT_LIMIT, **parameters):
        """Yields an iterator of the events of a watch; it ends when the server ends it or time is up."""
        parameters = {"watch": "true", **{key: value for key, value in parameters.items() if value is not None}}
        separator = "&" if "?" in path else "?"
        connection = self.connect(timeout)
        deadline = time.monotonic() + timeout
        try:
            connection.request("GET", path + separator + urllib.parse.urlencode(parameters))
            response = connection.getresponse()
            if response.status != 200:
                raise Failure(f"watch {path}: {Response(response.status, response.headers, response.read())}")

            def events():
                while time.monotonic() < deadline:
                    connection.sock.settimeout(max(deadline - time.monotonic(), 0.001))
                    try:
                        line = response.readline()
                    except (TimeoutError, socket.timeout):
                        return
                    if not line:
                        return
                    yield json.loads(line)

            yield events()
        finally:
            connection.close()


def wait_for(api, path, condition, timeout=WAIT_LIMIT, what=None):
    """Follows the collection at path until condition(objects) is true; returns its value.

    objects is the list as it stands after each event, so a condition sees every state that a watch shows.
    """
    deadline = time.monotonic() + timeout
    objects = {}
    while time.monotonic() < deadline:
        answer = api.ok("GET", path)
        items = answer["items"]
        objects = {item["metadata"]["uid"]: item for item in items}
        value = condition(list(objects.values()))
        if value:
            return value
        version = answer["metadata"]["resourceVersion"]
        with api.watch(path, timeout=max(deadline - time.monotonic(), 0.001), resourceVersion=version) as events:
            for event in events:
                if event["type"] == "ERROR":
                    break
                if event["type"] == "BOOKMARK":
                    continue
                uid = event["object"]["metadata"]["uid"]
                if event["type"] == "DELETED":
                    objects.pop(uid, None)
                else:
                    objects[uid] = event["object"]
                value = condition(list(objects.values()))
                if value:
                    return value
    seen = json.dumps([{"name": item["metadata"]["name"], "status": item.get("status")} for item in objects.values()])
    raise Failure(f"{what or getattr(condition, '__name__', 'condition')} on {path}: not within {timeout:g} s; "
                  f"last seen: {seen[:3000]}")


# ---- objects ----

def is_true(item, condition):
    return any(entry["type"] == condition and entry["status"] == "True"
               for entry in item.get("status", {}).get("conditions", []))


def shell_pod(name, script, image=IMAGE_V1, labels=None, container=None, **spec):
    """A pod with one container, "main", that runs a shell script."""
    main = {"name": "main", "image": image, "command": ["sh", "-c", script], **(container or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
            "spec": {"containers": [main], "terminationGracePeriodSeconds": 5, **spec}}


def server_deployment(name, replicas=3, image=IMAGE_V1, environment=None, **spec):
    """A Deployment of the model server with a quick readiness probe."""
    variables = [{"name": key, "value": value} for key, value in (environment or {}).items()]
    variables.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    container = {"name": "model-server", "image": image, "ports": [{"name": "http", "containerPort": 8080}],
                 "env": variables,
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "strategy": {"type": "RollingUpdate",
                                  "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"containers": [container], "terminationGracePeriodSeconds": 10}},
                     **spec}}


def service(name, selector=None, port=80, target=8080, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": selector or name},
                     "ports": [{"name": "http", "port": port, "targetPort": target}], **spec}}


# ---- kubectl ----

class Kubectl:
    def __init__(self, version, kubeconfig, namespace=None):
        self.version, self.path, self.kubeconfig, self.namespace = version, KUBECTLS[version], kubeconfig, namespace
        # kubectl caches discovery; one cache per cluster, or it would ask a cluster that is gone.
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig),
                            "HOME": str(pathlib.Path(kubeconfig).parent)}

    @property
    def is_modern(self):
        return self.version != "1.20"

    def command(self, *arguments):
        scope = ["--namespace", self.namespace] if self.namespace else []
        return [str(self.path), *scope, *map(str, arguments)]

    def __call__(self, *arguments, **options):
        return run(self.command(*arguments), env=self.environment, **options).stdout

    def fails(self, *arguments, **options):
        """What kubectl says on standard error when it fails, as it must."""
        result = run(self.command(*arguments), check=False, env=self.environment, **options)
        if result.returncode == 0:
            raise Failure(f"kubectl {' '.join(map(str, arguments))} should fail; it printed {result.stdout}")
        return result.stderr

    def json(self, *arguments, **options):
        return json.loads(self(*arguments, "-o", "json", **options))

    def apply(self, *objects):
        text = "---\n".join(yaml.safe_dump(item) for item in objects)
        return self("apply", "-f", "-", input=text)

    @contextlib.contextmanager
    def follow(self, *arguments):
        """A kubectl that keeps running (get -w, logs -f): yields a Follower."""
        process = subprocess.Popen(self.command(*arguments), env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        follower = Follower(process)
        try:
            yield follower
        finally:
            process.kill()
            process.wait()
            follower.close()


class Follower:
    """Reads a process's output as it comes."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def until(self, condition, timeout=WAIT_LIMIT):
        """Waits until condition(lines) is true, and returns its value."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                value = condition(self.lines)
                if value:
                    return value
                remaining = deadline - time.monotonic()
                if self._ended or remaining <= 0:
                    raise Failure(f"the output {'ended' if self._ended else 'came to a stop'} at: " +
                                  "\n".join(self.lines[-40:]))
                self._changed.wait(remaining)

    def until_line(self, text, timeout=WAIT_LIMIT):
        return self.until(lambda lines: next((line for line in lines if text in line), None), timeout)

    def ended(self, timeout=WAIT_LIMIT):
        """Waits for the process to end; returns its code."""
        code = self.process.wait(timeout)
        self._thread.join(timeout)
        return code

    def close(self):
        self._thread.join(5)
        self.process.stdout.close()


# ---- clusters ----

@contextlib.contextmanager
def small_disk(directory, size):
    """A disk of so many bytes, mounted on directory in a mount namespace of its own: yields (prefix, path).

    prefix puts a command into that namespace; path is how the directory looks from out here.
    """
    holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                               f"mount -t tmpfs -o size={size} tmpfs {directory} && echo mounted && exec sleep 600"],
                              stdout=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "mounted\n":
            raise Failure(f"cannot mount a small disk on {directory}")
        yield (["nsenter", "--mount", "--target", str(holder.pid)],
               pathlib.Path(f"/proc/{holder.pid}/root{directory}"))
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


class MovableClock:
    """The clock of a cluster whose command has this prefix: it runs as all clocks do, and ahead by what advance() adds."""

    def __init__(self, path):
        self.path, self.ahead = pathlib.Path(path), 0
        self.path.write_bytes(struct.pack("q", 0))
        library = pathlib.Path(CORACLE).parent / "test/e2e/movable_clock.so"
        self.prefix = ["env", f"LD_PRELOAD={library}", f"MOVABLE_CLOCK={self.path}"]

    def advance(self, api, seconds, step=5):
        """In steps that are shorter than what the cluster's parts may be silent for; each request wakes the cluster, so
        that what is due begins."""
        end = self.ahead + seconds
        while self.ahead < end:
            self.ahead = min(self.ahead + step, end)
            with open(self.path, "r+b") as file:
                file.write(struct.pack("q", int(self.ahead * 1e9)))
            api.ok("GET", "/api/v1/namespaces/default")


class Cluster:
    """One sandboxed cluster in the foreground, so that its output and its end are ours to see."""

    def __init__(self, directory, images=(), name=None, data_directory=None, arguments=(), prefix=()):
        self.name = name or "e2e-" + secrets.token_hex(4)
        self.directory = pathlib.Path(directory) / self.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = self.directory / "kubeconfig"
        self.log_path = self.directory / "coracle.log"
        self.images, self.data_directory, self.arguments = list(images), data_directory, list(arguments)
        self.prefix = list(prefix)
        self.process = self.api = None
        self.starts = 0

    def command(self):
        command = [*self.prefix, CORACLE, "up", "--sandbox", "--name", self.name, "--listen", "127.0.0.1:0",
                   "--kubeconfig", str(self.kubeconfig)]
        if self.data_directory:
            command += ["--data-dir", str(self.data_directory)]
        for image in self.images:
            command += ["--load-image", str(image)]
        return command + self.arguments

    def start(self, timeout=START_LIMIT):
        """Starts the cluster and waits for its line `ready`. Returns the seconds that it took."""
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=log, text=True)
        self.output = Follower(self.process)
        try:
            self.output.until(lambda lines: any(line.split()[:1] == ["ready"] for line in lines), timeout)
        except Failure as failure:
            tail = self.log_tail()
            self.kill()
            self.down(check=False)
            raise Failure(f"{' '.join(self.command())} did not get ready: {failure}\n{tail}") from None
        self.starts += 1
        self.api = Api(self.kubeconfig)
        return time.monotonic() - began

    def kill(self):
        """kill -9 of the cluster's process; its containers are nobody's for now."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOP_LIMIT)
            self.output.close()
            self.process = None

    def down(self, check=True):
        """What a user does: coracle down. Afterwards the process has ended too."""
        result = run([*self.prefix, CORACLE, "down", "--name", self.name], check=check, timeout=STOP_LIMIT)
        if self.process:
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failure(f"coracle up went on after coracle down: {result.stdout}{result.stderr}") from None
            self.output.close()
            code, self.process = self.process.returncode, None
            if check and code == -signal.SIGKILL:
                raise Failure("coracle down had to kill coracle up, which says nothing of leaks then")
        return result

    def log_tail(self, lines=60):
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def sanitizer_reports(self):
        """What ASan, LSan or UBSan had to say, if the binary is instrumented."""
        marks = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "SUMMARY: ")
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return [line for line in text.splitlines() if any(mark in line for mark in marks)]

    def kubectl(self, version="1.20", namespace=None):
        return Kubectl(version, self.kubeconfig, namespace)

    def enter(self, *command, **options):
        """Runs a command inside the node's network."""
        return run([*self.prefix, CORACLE, "enter", "--name", self.name, "--", *command], **options)

    def fetch(self, url, *options, timeout=10, check=True):
        """An HTTP request from the node: what a pod or the node itself sees of a pod or a service."""
        return self.enter("curl", "--silent", "--show-error", "--max-time", str(timeout), *options, url,
                          check=check).stdout

    @property
    def run_directory(self):
        return pathlib.Path("/run/coracle") / self.name

    def network_namespace(self):
        """Identity of the sandbox's network namespace."""
        return os.stat(self.run_directory / "ns/net").st_ino

    def leftovers(self, network_namespace=None):
        """Everything on this machine that still belongs to the cluster, in words."""
        found = []
        for directory in (self.run_directory, pathlib.Path("/var/lib/coracle") / self.name):
            if directory.exists():
                found.append(f"directory {directory}")
        for root, directories, _ in os.walk("/sys/fs/cgroup"):
            found += [f"cgroup {root}/{name}" for name in directories
                      if name == self.name and os.path.basename(root) == "coracle"]
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            if self.name in line:
                found.append(f"mount {line}")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                namespace = os.stat(process / "ns/net").st_ino
                groups = (process / "cgroup").read_text()
            except OSError:
                continue
            if int(process.name) == os.getpid():
                continue
            if f"coracle/{self.name}" in groups or (network_namespace and namespace == network_namespace) or \
                    (self.name in command and CORACLE in command):
                found.append(f"process {process.name}: {command}")
        return found

    def describe(self):
        """What a person would look at first when a test has failed."""
        kubectl = self.kubectl()
        parts = []
        if not self.kubeconfig.exists():
            return f"it never got ready\n--- {self.log_path}\n{self.log_tail()}"
        for arguments in (("get", "nodes,pods,deployments,replicasets,services,endpoints", "-A", "-o", "wide"),
                          ("get", "events", "-A"), ("describe", "pods", "-A")):
            try:
                result = run(kubectl.command(*arguments), check=False, timeout=15, env=kubectl.environment)
                parts.append(f"$ kubectl {' '.join(arguments)}\n{result.stdout[-12000:]}{result.stderr[-2000:]}")
            except (subprocess.TimeoutExpired, OSError) as error:
                parts.append(f"$ kubectl {' '.join(arguments)}\n{error}")
        return "\n".join(parts) + f"\n--- {self.log_path}\n{self.log_tail()}"
