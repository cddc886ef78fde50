"""Steady loads of requests through a Service, each over the way that some client takes (see bench/requests.c)."""
import contextlib
import json
import subprocess

import harness

REQUESTS = harness.ROOT / "build/bench/requests"
# So many connections at once, each with such a pause between two requests.
CONNECTIONS = 16
PAUSE_MS = 40
# Kept connections are renewed after so many answers, or all would gather at the pods that are never replaced.
REUSE = 20
WAYS = ("node port", "cluster address", "hairpin")
STYLES = ("new", "kept")
# What a server may do on SIGTERM (examples/model-server), and its grace period: the one that ignores the signal uses it all.
MODES = ("drain", "close", "ignore")
GRACE = {"drain": 10, "close": 10, "ignore": 1}


class Load:
    """Runs from the with statement to its end; afterwards `result` is what bench/requests printed."""

    def __init__(self, host, port, style, prefix=(), connections=CONNECTIONS, pause_ms=PAUSE_MS):
        self.command = [*map(str, prefix), str(REQUESTS), "--host", host, "--port", str(port), "--style", style,
                        "--connections", str(connections), "--pause-ms", str(pause_ms), "--reuse", str(REUSE)]
        self.result = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        if first != "running\n":
            self.process.kill()
            raise harness.Failure(f"{' '.join(self.command)}: {first}{self.process.communicate()[1]}")
        return self

    def say(self, line):
        """"inside" or "outside": what the requests from now on belong to."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def __exit__(self, *_):
        try:
            output, self.errors = self.process.communicate("end\n", timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.process.returncode:
            raise harness.Failure(f"{' '.join(self.command)}: {self.errors}")
        self.result = json.loads(output)

    def assert_nothing_lost(self, repeats=0):
        assert self.result["failed"] == 0, f"{self.result}\n{self.errors}"
        assert self.result["repeated"] <= repeats, self.result
        assert self.result["requests"] > 100, self.result


def caller_pod(name, labels):
    """A model server that no controller replaces: the network of a client. With the labels of a Service it is one of
    its endpoints, and calls itself now and then."""
    pod = harness.server_deployment(name)["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": pod["spec"]}


def callers(api, pods, labels):
    """Makes callers with such labels, by name, and waits for them; returns the pods by name."""
    for name, own in labels.items():
        api.create(pods, caller_pod(name, own))
    items = harness.wait_for(api, pods, lambda items: sum(
        harness.is_true(item, "Ready") for item in items if item["metadata"]["name"] in labels) == len(labels) and items)
    return {item["metadata"]["name"]: item for item in items if item["metadata"]["name"] in labels}


def server_deployment(name, mode, **options):
    """A Deployment of servers of one mode that take 5 ms for an answer."""
    body = harness.server_deployment(name, environment={"SIGTERM_MODE": mode, "PREDICT_DELAY_MS": "5"}, **options)
    body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = GRACE[mode]
    return body


def inside_pod(cluster, pod):
    """The prefix of a command that is to use the network of a pod."""
    pattern = f"{cluster.run_directory}/node/*/{pod['metadata']['uid']}/ns/net"
    script = f'path=$(echo {pattern}); exec nsenter --net="$path" "$@"'
    return [harness.CORACLE, "enter", "--name", cluster.name, "--", "sh", "-c", script, "sh"]


def load_of(cluster, way, style, spec, pods=None, **options):
    """The load of one way to the Service of that spec; pods has the callers by name, for the ways that begin in one."""
    if way == "node port":
        return Load("127.0.0.1", spec["ports"][0]["nodePort"], style, **options)
    caller = pods["endpoint" if way == "hairpin" else "client"]
    return Load(spec["clusterIP"], spec["ports"][0]["port"], style, inside_pod(cluster, caller), **options)


def assert_nothing_lost(loads, mode, ended):
    """What all ways and styles were promised while so many servers of a mode ended. Kept connections stay with one that
    ignores the signal until it is killed: what is under way then is asked again on new ones."""
    for (_, style), one in loads.items():
        one.assert_nothing_lost(repeats=ended * CONNECTIONS if (mode, style) == ("ignore", "kept") else 0)


@contextlib.contextmanager
def loads(cluster, spec, pods, ways=WAYS, styles=STYLES, **options):
    """All ways and styles at once: yields {(way, style): Load}."""
    with contextlib.ExitStack() as stack:
        yield {(way, style): stack.enter_context(load_of(cluster, way, style, spec, pods, **options))
               for way in ways for style in styles}
