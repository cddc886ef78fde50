"""The proxy to services and pods: kubectl get --raw, kubectl proxy, kubectl cluster-info, kubectl expose; redirects, long
answers, refusals, the links of pages."""
import base64
import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import urllib.request
import zlib

import pytest
import yaml

import harness
from test_pod import phase


@pytest.fixture
def service(api, namespace, kubectl):
    """The service `model` in front of one pod `model-...`, port 80 named http. Its path."""
    kubectl.apply(harness.server_deployment("model", replicas=1), harness.service("model"))
    kubectl("rollout", "status", "deployment/model", timeout=harness.WAIT_LIMIT)
    path = f"/api/v1/namespaces/{namespace}/services/"
    harness.eventually(lambda: api.get(path + "model:http/proxy/ready").status == 200)
    return path


def test_a_service_by_name_and_number_of_its_port(api, kubectl, service):
    for name in ("model:http", "model:80", "http:model:http"):
        assert kubectl("get", "--raw", f"{service}{name}/proxy/ready") == api.get(f"{service}model:http/proxy/ready").body.decode()
    assert api.get(f"{service}model:http/proxy/no/such/path?x=1").status == 404
    assert api.request("POST", f"{service}model:http/proxy/ready", body={"a": 1}).status < 500


def test_a_pod_by_its_port(api, pods, kubectl, service):
    name = next(pod["metadata"]["name"] for pod in api.get(pods).json["items"])
    assert api.get(f"{pods}/{name}:8080/proxy/ready").status == 200
    assert api.get(f"{pods}/{name}/proxy/ready").status == 200  # the first port that it names


def test_what_cannot_be_reached_is_said_in_upstreams_words(api, pods, namespace, kubectl, service):
    kubectl.apply(harness.service("nobody"))
    harness.eventually(lambda: api.get(f"/api/v1/namespaces/{namespace}/endpoints/nobody").status == 200)
    for path, status, message in (
            (service + "nobody:http/proxy/", 503, 'no endpoints available for service "nobody"'),
            (service + "model:81/proxy/", 503, 'no service port 81 found for service "model"'),
            (service + "model:other/proxy/", 503, 'no endpoints available for service "model:other"'),
            (service + "none:http/proxy/", 404, 'services "none" not found'),
            (service + "a:b:c:d/proxy/", 400, 'invalid service request "a:b:c:d"'),
            (pods + "/none:80/proxy/", 404, 'pods "none" not found')):
        answer = api.get(path)
        assert (answer.status, answer.json["message"]) == (status, message)
    name = next(pod["metadata"]["name"] for pod in api.get(pods).json["items"])
    answer = api.get(f"{pods}/{name}:9/proxy/")
    assert answer.status == 503
    assert re.fullmatch(r"error trying to reach service: dial tcp [\d.]+:9: connect: connection refused",
                        answer.json["message"])


def test_the_proxys_own_path_leads_to_its_folder(api, service):
    answer = api.get(service + "model:http/proxy?x=1")
    assert answer.status == 301
    assert answer.headers["Location"] == service + "model:http/proxy/?x=1"


def serve(api, pods, answer):
    """A pod `it` that answers every connection on port 7000 with these bytes."""
    script = f"while :; do printf '{answer}' | nc -l -p 7000 > /tmp/request; cp /tmp/request /tmp/last; done"
    api.create(pods, harness.shell_pod("it", script))
    harness.wait_for(api, pods, phase("Running"))


def ask(api, path):
    def reached():
        answer = api.get(path)
        return answer if answer.status != 503 else None
    return harness.eventually(reached)


def test_a_location_of_the_backend_leads_through_the_proxy(api, pods):
    serve(api, pods, r"HTTP/1.1 302 Found\r\nLocation: /there/\r\nContent-Length: 0\r\n\r\n")
    assert ask(api, pods + "/it:7000/proxy/here").headers["Location"] == pods + "/it:7000/proxy/there/"


def test_an_answer_without_length_and_one_in_chunks(api, pods):
    serve(api, pods, r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Mine: yes\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    answer = ask(api, pods + "/it:7000/proxy/")
    assert (answer.body, answer.headers["x-mine"]) == (b"hello", "yes")


def test_nonsense_of_a_backend_is_an_error_and_no_more(api, pods):
    serve(api, pods, r"220 mail.example ESMTP\r\n\r\n")
    answer = harness.eventually(lambda: (a := api.get(pods + "/it:7000/proxy/")) and
                                "malformed" in a.json["message"] and a)
    assert answer.status == 503


def test_kubectl_proxy_cluster_info_and_expose(kubectl, api, namespace, service):
    with kubectl.follow("proxy", "--port=0") as follower:
        follower.until_line("Starting to serve on")
        port = int(re.search(r":(\d+)", follower.lines[0])[1])
        url = f"http://127.0.0.1:{port}{service}model:http/proxy/ready"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    # It looks in kube-system where no namespace is asked for.
    text = harness.Kubectl(kubectl.version, kubectl.kubeconfig)("cluster-info")
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert lines[0] in (f"Kubernetes control plane is running at {server}", f"Kubernetes master is running at {server}")
    assert lines[1] == (f"CoreDNS is running at {server}/api/v1/namespaces/kube-system/services/kube-dns:dns/proxy")
    assert "exposed" in kubectl("expose", "deployment", "model", "--port=81", "--target-port=8080", "--name=second")
    harness.eventually(lambda: api.get(service + "second:81/proxy/ready").status == 200)


SERVER = """
import gzip, hashlib, http.server, json, ssl, sys, zlib
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *arguments):
        pass
    def do_GET(self):
        kind, _, value = self.path.partition("?")
        if kind == "/page":
            self.page(value)
        elif kind == "/headers":
            self.answer(json.dumps(self.headers.items()).encode())
        else:
            self.answer(b"x" * int(value.rpartition("=")[2] or 0))
    do_HEAD = do_GET
    def page(self, coding):
        here = "%s:%d" % server.server_address
        body = sys.argv[-1].replace("HERE", here).replace("HOST", self.headers["Host"]).encode()
        packers = {"gzip": gzip.compress, "deflate": zlib.compress}
        headers = {"Content-Type": "text/html; charset=utf-8", "Access-Control-Allow-Origin": "*",
                   "Access-Control-Max-Age": "1", "Connection": "X-Hop", "X-Hop": "1"}
        if coding in packers:
            headers["Content-Encoding"] = coding
            body = packers[coding](body)
        if coding != "pieces":
            self.answer(body, headers)
            return
        self.answer(None, {**headers, "Transfer-Encoding": "chunked"})
        if self.command == "HEAD":
            return
        for byte in body:
            self.wfile.write(b"1\\r\\n%c\\r\\n" % byte)
        self.wfile.write(b"0\\r\\n\\r\\n")
    def do_POST(self):
        size, digest = 0, hashlib.sha256()
        for piece in self.pieces():
            size += len(piece)
            digest.update(piece)
        self.answer(f"{size} {digest.hexdigest()} {self.headers.get('Content-Length')}".encode())
    def pieces(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers["Content-Length"]))
    def answer(self, body, headers={}):
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)
server = http.server.ThreadingHTTPServer((sys.argv[1], 0), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


PAGE = """<!DOCTYPE html>
<html><head><title>a page <a href="/title"></title><BASE HREF='http://HERE/base/'><link href=/style.css rel=stylesheet>
<script src="/code.js?a=1&amp;b=2">document.write("<a href='/written'>")</script></head>
<body><!-- <a href="/comment"> --><a href="http://HOST/host">1 < 2 &amp; 3</a><a href="http://other.example/x">
<a href="relative"><a href="#top"><img src="&#47;image.png" srcset="/image.png 2x"/></body></html>
"""


def page_behind(prefix, host):
    """PAGE as a client has to see it that calls the server `host`; without the backend's address."""
    page = PAGE.replace("'http://HERE/base/'", f"'{prefix}/base/'").replace("HOST/host", f"{host}{prefix}/host")
    for link in ('href=/style.css', 'src="/code.js', 'src="&#47;image.png'):
        path = link.lstrip('hrefsrc="=')
        page = page.replace(link, link.replace(path, prefix + path.replace("&#47;", "/")))
    return page


@pytest.fixture
def on_the_node(cluster, api, namespace, tmp_path):
    """Starts HTTP servers on the node's address, which is a pod's there, behind services without selector; returns the
    path of each."""
    core = f"/api/v1/namespaces/{namespace}"
    pod = api.create(f"{core}/pods", harness.shell_pod("host", "sleep 1000000", hostNetwork=True,
                                                           terminationGracePeriodSeconds=0))
    harness.wait_for(api, f"{core}/pods", phase("Running"))
    address = next(entry["address"] for entry in api.get("/api/v1/nodes").json["items"][0]["status"]["addresses"]
                   if entry["type"] == "InternalIP")
    started = []

    reference = {"kind": "Pod", "name": "host", "namespace": namespace, "uid": pod["metadata"]["uid"]}

    def serve_there(name, *arguments):
        process = subprocess.Popen([harness.CORACLE, "enter", "--name", cluster.name, "--", "python3", "-c", SERVER,
                                    address, *arguments, PAGE], stdout=subprocess.PIPE, text=True)
        started.append(process)
        port = int(process.stdout.readline())
        made = harness.service(name, port=port)
        del made["spec"]["selector"]
        api.create(f"{core}/services", made)
        api.create(f"{core}/endpoints", {"metadata": {"name": name}, "subsets": [
            {"addresses": [{"ip": address, "targetRef": reference}], "ports": [{"name": "http", "port": port}]}]})
        return f"{core}/services/{{}}{name}:http/proxy/"
    yield serve_there
    for process in started:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_a_backend_that_speaks_tls_is_believed_whatever_its_certificate(api, on_the_node, tmp_path):
    harness.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                 "-keyout", tmp_path / "key", "-out", tmp_path / "certificate", "-subj", "/CN=somebody.else"])
    path = on_the_node("secure", str(tmp_path / "certificate"), str(tmp_path / "key"))
    answer = api.get(path.format("https:") + "?size=3000000")
    assert answer.status == 200 and answer.body == b"x" * 3000000
    answer = api.request("POST", path.format("https:"), {"a": "b" * 1000000})
    assert answer.status == 200 and answer.body.startswith(b"1000009 ")
    # Who speaks plainly to it, or TLS to somebody plain, is told.
    assert api.get(path.format("")).status != 200
    plain = on_the_node("plain")
    answer = api.get(plain.format("https:"))
    assert (answer.status, answer.json["message"]) == (
        503, "error trying to reach service: tls: first record does not look like a TLS handshake")


@pytest.mark.parametrize("arguments", [[], ["--http1.1"], ["--http1.1", "--header", "Transfer-Encoding: chunked"]])
def test_a_body_of_any_length_is_handed_on(api, cluster, on_the_node, tmp_path, arguments):
    body = os.urandom(1000) * 20000
    (tmp_path / "body").write_bytes(body)
    path = on_the_node("plain")
    user = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]
    for name in ("client-certificate", "client-key"):
        (tmp_path / name).write_bytes(base64.b64decode(user[name + "-data"]))
    answer = harness.run(["curl", "--silent", "--show-error", "--max-time", "60", "--insecure",
                          "--cert", tmp_path / "client-certificate", "--key", tmp_path / "client-key", *arguments,
                          "--request", "POST", "--upload-file", tmp_path / "body", api.server + path.format("")]).stdout
    length = None if "Transfer-Encoding: chunked" in arguments else len(body)
    assert answer == f"{len(body)} {hashlib.sha256(body).hexdigest()} {length}"


def test_links_of_pages_lead_through_the_proxy(api, kubectl, cluster, on_the_node):
    path = on_the_node("pages").format("")
    expected = page_behind(path.rstrip("/"), f"{api.host}:{api.port}")
    for coding, unpack in (("", bytes), ("pieces", bytes), ("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        answer = api.get(path + "page?" + coding)
        assert unpack(answer.body).decode() == expected
        assert answer.headers.get("Content-Encoding", "") == coding.replace("pieces", "")
        assert not {"Access-Control-Allow-Origin", "X-Hop"} & set(answer.headers) and answer.headers["Access-Control-Max-Age"]
        answer = api.request("HEAD", path + "page?" + coding)
        assert (answer.status, answer.body) == (200, b"")
        if coding != "deflate":  # which no Go client asks for
            assert kubectl("get", "--raw", path + "page?" + coding) == expected  # over HTTP/2
        assert "Content-Length" not in answer.headers
    # What is no page passes as it is.
    for method, body in (("GET", b"x" * 70000), ("HEAD", b"")):
        answer = api.request(method, path + "?size=70000")
        assert (answer.body, answer.headers["Content-Length"]) == (body, "70000")
    with kubectl.follow("proxy", "--port=0") as follower:
        follower.until_line("Starting to serve on")
        here = "127.0.0.1:" + re.search(r":(\d+)", follower.lines[0])[1]
        host = here if kubectl.version == "1.20" else f"{api.host}:{api.port}"  # later ones ask for the server by its name
        with urllib.request.urlopen(f"http://{here}{path}page", timeout=20) as answer:
            assert answer.read().decode() == page_behind(path.rstrip("/"), host)
    # Nodes have a proxy, too.
    core, _, rest = path.partition("/namespaces/")
    port = api.get(f"{core}/namespaces/{rest.split('/')[0]}/endpoints/pages").json["subsets"][0]["ports"][0]["port"]
    node = f"{core}/nodes/{api.get(core + '/nodes').json['items'][0]['metadata']['name']}:{port}/proxy"
    assert api.get(node + "/page").body.decode() == page_behind(node, f"{api.host}:{api.port}")


def test_links_of_a_pods_page_lead_through_the_proxy(api, pods):
    serve(api, pods, r"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<a href=/there>there</a> <a href=here>")
    assert ask(api, pods + "/it:7000/proxy/").body.decode() == f"<a href={pods}/it:7000/proxy/there>there</a> <a href=here>"


def test_a_service_leads_to_pods_alone(api, namespace, pods, on_the_node):
    """Who may write endpoints reaches through the proxy what pods serve, and nothing else that the server could reach."""
    path = on_the_node("pages").format("")
    endpoints = f"/api/v1/namespaces/{namespace}/endpoints/pages"
    made = api.get(endpoints).json
    assert api.get(path + "?size=1").body == b"x"
    good = made["subsets"][0]["addresses"][0]
    bad = [{"ip": good["ip"]}, {**good, "targetRef": {**good["targetRef"], "name": "none"}},
           {**good, "targetRef": {**good["targetRef"], "namespace": "default"}}, {**good, "ip": "10.200.0.1"}]
    for address in bad:
        made["subsets"][0]["addresses"] = [address]
        api.ok("PUT", endpoints, {**made, "metadata": {"name": "pages"}})
        answer = api.get(path + "?size=1")
        assert (answer.status, answer.json["message"]) == (503, 'no endpoints available for service "pages:http"')
    made["subsets"][0]["addresses"] = [bad[3], good]
    api.ok("PUT", endpoints, {**made, "metadata": {"name": "pages"}})
    assert all(api.get(path + "?size=1").body == b"x" for _ in range(10))


def test_a_backend_sees_who_asks_and_for_what(api, on_the_node):
    path = on_the_node("pages").format("")
    sent = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "a.example", "X-Forwarded-Proto": "https", "X-Mine": "1",
            "Connection": "X-Hop", "X-Hop": "1"}
    seen = {name.lower(): value for name, value in api.get(path + "headers?x=1", headers=sent).json}
    assert seen["x-forwarded-uri"] == path + "headers"
    assert seen["x-forwarded-for"].startswith("192.0.2.1, ")
    assert (seen["x-forwarded-host"], seen["x-forwarded-proto"], seen["x-mine"]) == ("a.example", "https", "1")
    assert not {"x-hop", "authorization"} & set(seen)


def summary_with(kubectl, node, uid):
    """The node's summary and its part about that pod, if it has one."""
    summary = json.loads(kubectl("get", "--raw", node + "/proxy/stats/summary"))
    return next(((summary, pod) for pod in summary["pods"] if pod["podRef"]["uid"] == uid), None)


def test_a_node_and_its_ports(api, namespace, kubectl, service, on_the_node):
    name = api.get("/api/v1/nodes").json["items"][0]["metadata"]["name"]
    node = "/api/v1/nodes/" + name
    assert kubectl("get", "--raw", node + "/proxy/healthz") == "ok"
    assert api.get(f"{node}:10250/proxy/healthz").body == b"ok"
    pods = api.get(node + "/proxy/pods").json
    assert pods["kind"] == "PodList" and all(pod["spec"]["nodeName"] == name for pod in pods["items"])
    # Of pods of other tests some may be going meanwhile.
    mine = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods["items"]
            if pod["metadata"]["namespace"] == namespace}
    assert mine == {pod["metadata"]["name"]: pod["metadata"]["uid"]
                    for pod in api.get(f"/api/v1/namespaces/{namespace}/pods").json["items"]}
    assert api.get(node + "/proxy/no/such").status == 404
    assert api.request("POST", node + "/proxy/pods", {}).status == 405
    # Figures, for those who gather them from nodes. The model's are there after the next look.
    uid = next(uid for pod, uid in mine.items() if pod.startswith("model-"))
    summary, model = harness.eventually(lambda: summary_with(kubectl, node, uid))
    assert summary["node"]["nodeName"] == name
    assert 0 < summary["node"]["memory"]["workingSetBytes"] and 0 < summary["node"]["cpu"]["usageCoreNanoSeconds"]
    assert model["cpu"]["usageCoreNanoSeconds"] > 0 and model["memory"]["workingSetBytes"] > 0
    assert [container["name"] for container in model["containers"]] == ["model-server"]
    page = api.get(node + "/proxy/metrics/resource").body.decode()
    assert "\nnode_cpu_usage_seconds_total " in page
    assert f'pod_memory_working_set_bytes{{namespace="{model["podRef"]["namespace"]}",pod="{model["podRef"]["name"]}"}}' in page
    assert 'container_cpu_usage_seconds_total{container="' in api.get(node + "/proxy/metrics/cadvisor").body.decode()
    assert f'kubelet_node_name{{node="{name}"}} 1' in api.get(node + "/proxy/metrics").body.decode()
    # Another port is that of whoever listens there.
    port = api.get(on_the_node("plain").format("").replace("/services/", "/endpoints/").split("plain:")[0] + "plain").json[
        "subsets"][0]["ports"][0]["port"]
    assert api.get(f"{node}:{port}/proxy/?size=5").body == b"xxxxx"
    answer = api.get("/api/v1/nodes/none/proxy/healthz")
    assert (answer.status, answer.json["message"]) == (404, 'nodes "none" not found')
    assert api.get("/api/v1/nodes/a:b:c:d/proxy/").json["message"] == 'invalid node request "a:b:c:d"'


def test_an_upgrade_passes_through(api, pods):
    serve(api, pods, r"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello from inside")

    def upgraded():
        with api.socket() as connection:
            connection.sendall(f"GET {pods}/it:7000/proxy/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                               "Upgrade: echo\r\n\r\n".encode())
            answer = b""
            while data := connection.recv(4096):
                answer += data
            return answer.startswith(b"HTTP/1.1 101 ") and answer.endswith(b"\r\n\r\nhello from inside")
    harness.eventually(upgraded)


def test_an_upgrade_that_comes_to_nothing_is_said_in_upstreams_words(api, pods):
    serve(api, pods, r"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    path = pods + "/it:7000/proxy/"
    wanted = {"Connection": "Upgrade", "Upgrade": "echo"}
    ask(api, path)

    def refused(path):
        answer = api.get(path, headers=wanted)
        return answer if b"connection refused" not in answer.body or ":9/" in path else None
    for path, message in ((path, "invalid upgrade response: status code 200"),
                          (pods + "/it:9/proxy/", r"error dialing backend: dial tcp [\d.]+:9: connect: connection refused")):
        answer = harness.eventually(lambda: refused(path))
        assert answer.status == 500 and re.fullmatch(message, answer.json["message"]) and "reason" not in answer.json


def test_an_upgrade_that_is_refused_passes_as_it_is(api, pods):
    serve(api, pods, r"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<a href=/x>")
    answer = harness.eventually(lambda: (a := api.get(pods + "/it:7000/proxy/", headers={
        "Connection": "Upgrade", "Upgrade": "echo"})) and a.status == 403 and a)
    assert answer.body == b"<a href=/x>"


def test_an_upgrade_that_nobody_wants_is_an_error(api, pods):
    serve(api, pods, r"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    answer = ask(api, pods + "/it:7000/proxy/")
    assert (answer.status, answer.json["message"]) == (
        500, 'backend tried to switch protocol "echo" when "" was requested')
    assert "Upgrade" not in answer.headers
