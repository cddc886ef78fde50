"""Sessions with kubectl whose whole output is compared with a recorded expectation.

A Session runs commands one after the other and notes each, with what it printed, in a transcript. When its with block
ends, the transcript is compared with expected/VERSION/NAME.txt: what it said on standard error comes first. What differs from run to run has a name of its own in
there: HASH1 is the hash of the first pod template that the session came across, POD the random end of a pod's name,
and so on. Rows of tables are sorted, and columns are two spaces apart.

    CORACLE_RECORD=1 python3 -m pytest -p no:cacheprovider test/e2e/test_kubectl_output.py

writes the files anew. Read every line of the difference before it is committed: the expectation is what upstream's
kubectl prints against an upstream cluster.
"""
import difflib
import os
import re

import harness

EXPECTED = harness.ROOT / "test/e2e/expected"
RECORD = os.environ.get("CORACLE_RECORD") == "1"

# What one run and the next call differently, in the order in which it is looked for.
VARIABLE = (
    (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
    (r"\bfd[0-9a-f]{2}:[0-9a-f:]+", "ADDRESS"),
    (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", "TIME"),
    (r"\b([a-z-]+://)[0-9a-f]{64}\b", r"\1ID"),
    (r"\bsha256:[0-9a-f]{64}\b", "DIGEST"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
    (r"(:| )3[0-2]\d{3}/(TCP|UDP)", r"\1NODEPORT/\2"),
    (r"(HASH\d+)-[a-z0-9]{5}\b", r"\1-POD"),
    (r"\bkube-api-access-[a-z0-9]{5}\b", "kube-api-access-POD"),
    # Ages stand alone or in "(x2 over 3s)"; neither "op=Exists for 300s" nor "limit of 10m" nor "cpu:  10m" is one.
    (r"(?<![^ (])(?<!for )(?<!of )(?<!:  )(\d+[smhd]){1,2}(?![^\s)])", "AGE"),
    (r"\(x\d+ over AGE\)", "(xN over AGE)"),
)
# A machine that is slow enough sees a probe fail that another does not.
NOISE = re.compile(r"^  Warning  Unhealthy ")


class Session:
    def __init__(self, cluster, kubectl, name):
        self.api, self.kubectl, self.namespace = cluster.api, kubectl, kubectl.namespace
        self.path = EXPECTED / kubectl.version / f"{name}.txt"
        self.nodes = [item["metadata"]["name"] for item in self.api.ok("GET", "/api/v1/nodes")["items"]]
        self.hashes, self.lines = {}, []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            return
        text = "\n".join(self.lines) + "\n"
        if RECORD:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text)
            return
        expected = self.path.read_text() if self.path.exists() else ""
        if text != expected:
            raise harness.Failure("kubectl prints something else than is expected\n" + "".join(difflib.unified_diff(
                expected.splitlines(True), text.splitlines(True), str(self.path.relative_to(harness.ROOT)), "printed")))

    def learn_hashes(self):
        """A number for each template hash, in the order of revisions."""
        sets = self.api.ok("GET", f"/apis/apps/v1/namespaces/{self.namespace}/replicasets")["items"]
        sets.sort(key=lambda item: int(item["metadata"]["annotations"].get("deployment.kubernetes.io/revision", 0)))
        for item in sets:
            self.hashes.setdefault(item["metadata"]["labels"]["pod-template-hash"], f"HASH{len(self.hashes) + 1}")

    def constant(self, text):
        """The text without what varies."""
        for value, name in self.hashes.items():
            text = text.replace(value, name)
        for node in self.nodes:
            text = re.sub(rf"(?<![\w.-]){re.escape(node)}(?![\w.-])", "NODE", text)
        text = text.replace(self.namespace, "NAMESPACE")
        text = re.sub(r"(?<=\S) {2,}", "  ", text)
        for pattern, name in VARIABLE:
            text = re.sub(pattern, name, text)
        return [line.rstrip() for line in text.splitlines() if not NOISE.match(line)]

    def note(self, arguments, output, errors, is_table):
        self.learn_hashes()
        lines = self.constant(output)
        if is_table:
            tables = [table.split("\n") for table in "\n".join(lines).split("\n\n") if table]
            lines = "\n\n".join("\n".join(table[:1] + sorted(table[1:])) for table in tables).split("\n")
        self.lines += self.constant("$ kubectl " + " ".join(arguments)) + self.constant(errors)
        self.lines += [*lines, ""] if lines != [""] else [""]

    def __call__(self, *arguments, keep=None, **options):
        """Runs kubectl, which has to succeed. With keep, only the lines that match it are noted."""
        result = harness.run(self.kubectl.command(*arguments), env=self.kubectl.environment, **options)
        output = result.stdout
        if keep:
            output = "\n".join(line for line in output.splitlines() if re.search(keep, line))
        self.note(arguments, output, result.stderr, arguments[0] == "get")
        return result.stdout

    def fails(self, *arguments, **options):
        self.note(arguments, "", self.kubectl.fails(*arguments, **options), False)
