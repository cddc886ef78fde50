"""Registries on loopback: Debian's docker-registry, and one of our own that misbehaves on purpose.

Both serve plain HTTP, which clients accept from loopback addresses.
"""
import base64
import contextlib
import crypt
import hashlib
import http.server
import json
import re
import socket
import subprocess
import tarfile
import threading
import urllib.parse
import urllib.request

import harness

DOCKER_REGISTRY = harness.TOOLS / "docker-registry/usr/bin/docker-registry"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    """An OCI image in memory: its manifest and blobs by digest."""

    def __init__(self, archive):
        with tarfile.open(archive) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        self.blobs = {"sha256:" + name.rpartition("/")[2]: data for name, data in files.items()
                      if name.startswith("blobs/")}
        self.manifest_digest = json.loads(files["index.json"])["manifests"][0]["digest"]
        self.manifest = self.blobs.pop(self.manifest_digest)
        parsed = json.loads(self.manifest)
        self.config_digest = parsed["config"]["digest"]
        self.layer_digests = [layer["digest"] for layer in parsed["layers"]]


def request(method, url, data=None, user=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    return urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=10)


def push(base, name, tag, image, user=None):
    for blob_digest, data in image.blobs.items():
        with request("POST", f"{base}/v2/{name}/blobs/uploads/", b"", user) as answer:
            place = urllib.parse.urljoin(base, answer.headers["Location"])
        place += ("&" if "?" in place else "?") + urllib.parse.urlencode({"digest": blob_digest})
        request("PUT", place, data, user, Content_Type="application/octet-stream").close()
    request("PUT", f"{base}/v2/{name}/manifests/{tag}", image.manifest, user, Content_Type=MANIFEST).close()


@contextlib.contextmanager
def docker_registry(directory, user=None):
    """Debian's docker-registry with its data in directory; yields HOST:PORT. user is "name:password"."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    settings = {"version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(directory)}},
                "http": {"addr": f"127.0.0.1:{port}"}}
    if user:
        name, _, password = user.partition(":")
        (directory / "htpasswd").write_text(f"{name}:{crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH))}\n")
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    (directory / "config.yml").write_text(json.dumps(settings))
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen([DOCKER_REGISTRY, "serve", directory / "config.yml"], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        harness.eventually(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None, timeout=15)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


class FaultyRegistry(http.server.ThreadingHTTPServer):
    """Serves one image as any name and tag. Faults are switched on by its attributes.

    requests holds "METHOD path" of everything that was asked for.
    """

    daemon_threads = True

    def __init__(self, image):
        super().__init__(("127.0.0.1", 0), Handler)
        self.image = image
        self.requests = []
        self.token = None          # demand this bearer token, from our own token service, for this user
        self.token_user = None
        self.corrupt = set()       # digests whose content is wrong
        self.cut_once = set()      # digests whose first transfer breaks off half way
        self.fail_first = 0        # this many requests get 503
        self.index = False         # tags name an index for several architectures
        self.address = f"127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def may_enter(self):
        registry = self.server
        if not registry.token or self.headers.get("Authorization") == f"Bearer {registry.token}":
            return True
        challenge = f'Bearer realm="http://{registry.address}/token",service="test",scope="repository:any:pull"'
        self.reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', WWW_Authenticate=challenge)
        return False

    def do_token(self):
        registry = self.server
        wanted = registry.token_user and "Basic " + base64.b64encode(registry.token_user.encode()).decode()
        if wanted and self.headers.get("Authorization") != wanted:
            self.reply(401)
        else:
            self.reply(200, json.dumps({"token": registry.token}).encode(), Content_Type="application/json")

    def do_manifest(self, reference):
        image = self.server.image
        manifests = {image.manifest_digest: (image.manifest, MANIFEST)}
        tagged = image.manifest_digest
        if self.server.index:
            other = b'{"schemaVersion":2}'
            body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {"mediaType": MANIFEST, "digest": digest(other), "size": len(other),
                 "platform": {"architecture": "s390x", "os": "linux"}},
                {"mediaType": MANIFEST, "digest": image.manifest_digest, "size": len(image.manifest),
                 "platform": {"architecture": architecture(), "os": "linux"}}]}).encode()
            tagged = digest(body)
            manifests[tagged] = (body, INDEX)
        wanted = reference if reference.startswith("sha256:") else tagged
        if wanted not in manifests:
            self.reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            return
        body, kind = manifests[wanted]
        self.reply(200, body, Content_Type=kind, Docker_Content_Digest=wanted)

    def do_blob(self, wanted):
        registry = self.server
        data = registry.image.blobs.get(wanted)
        if data is None:
            self.reply(404)
            return
        if wanted in registry.corrupt:
            data = bytes([data[0] ^ 1]) + data[1:]
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(span[1]) if span else 0
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if wanted in registry.cut_once:
            registry.cut_once.discard(wanted)
            self.wfile.write(data[start:len(data) // 2])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(data[start:])

    def do_GET(self):
        registry = self.server
        registry.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        path = urllib.parse.urlsplit(self.path).path
        if path == "/token":
            self.do_token()
        elif registry.fail_first > 0:
            registry.fail_first -= 1
            self.reply(503)
        elif self.may_enter():
            parts = path.split("/")
            if path == "/v2/":
                self.reply(200)
            elif len(parts) > 4 and parts[-2] == "manifests":
                self.do_manifest(parts[-1])
            elif len(parts) > 4 and parts[-2] == "blobs":
                self.do_blob(parts[-1])
            else:
                self.reply(404)

    do_HEAD = do_GET


def architecture():
    machine = harness.run(["uname", "-m"]).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


@contextlib.contextmanager
def faulty_registry(image):
    server = FaultyRegistry(image)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
