"""Manifests that invite an outage: kubectl prints a warning when they are applied, `coracle lint` finds them without a
cluster. Nothing is refused."""
import copy
import json

import pytest
import yaml

import harness


def deployment(name="web", replicas=1, **changes):
    body = harness.server_deployment(name, replicas)
    body["spec"]["template"]["spec"]["containers"][0].update(
        resources={"requests": {"cpu": "10m", "memory": "16Mi"}}, imagePullPolicy="IfNotPresent", **changes)
    return body


def said(kubectl, *arguments, **options):
    """What kubectl prints on standard error when it succeeds."""
    return harness.run(kubectl.command(*arguments), env=kubectl.environment, **options).stderr


def apply(kubectl, body):
    return said(kubectl, "apply", "-f", "-", input=yaml.safe_dump(body))


def test_kubectl_prints_what_a_manifest_invites(kubectl, api, namespace):
    assert apply(kubectl, harness.service("web")) == ""
    assert apply(kubectl, deployment()) == (
        'Warning: spec.replicas: 1 behind Service "web": whenever that pod is restarted or moved, nobody answers until '
        "the next one has loaded; run at least 2 replicas [one-replica]\n")
    assert kubectl.json("get", "deployment", "web")["spec"]["replicas"] == 1


def test_a_change_is_warned_of_for_what_it_brings(kubectl):
    apply(kubectl, harness.service("web"))
    apply(kubectl, deployment())
    assert said(kubectl, "rollout", "pause", "deployment/web") == ""
    assert said(kubectl, "set", "env", "deployment/web", "A=b") == ""
    warning = said(kubectl, "patch", "deployment", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":'
                   '"model-server","readinessProbe":null}]}}}}')
    assert warning.startswith("Warning: spec.template.spec.containers[0].readinessProbe: missing behind Service")
    assert warning.count("\n") == 1 and warning.endswith("[readiness-probe-missing]\n")


def test_a_service_tells_of_the_deployment_behind_it(kubectl):
    assert apply(kubectl, deployment()) == ""
    assert apply(kubectl, harness.service("web")).startswith(
        'Warning: Deployment "web": spec.replicas: 1 behind Service "web": ')


def test_scaling_is_a_change_too(kubectl):
    apply(kubectl, harness.service("web"))
    apply(kubectl, deployment(replicas=2))
    for form in (("scale", "deployment/web", "--replicas=1"), ("scale", "deployment/web", "--replicas=2")):
        printed = said(kubectl, *form)
        assert ("[one-replica]" in printed) == (form[-1] == "--replicas=1"), printed
        assert kubectl.json("get", "deployment", "web")["spec"]["replicas"] == int(form[-1][-1])
    patch = ("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    if kubectl.is_modern:
        assert "[one-replica]" in said(kubectl, *patch)


def test_labels_and_annotations_bring_findings_too(kubectl, api, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    apply(kubectl, harness.service("web"))
    body = deployment()
    body["metadata"]["annotations"] = {"coracle.dev/lint-ignore": "one-replica"}
    assert apply(kubectl, body) == ""
    assert said(kubectl, "annotate", "deployment", "web", "note=x") == ""
    assert "[one-replica]" in said(kubectl, "annotate", "deployment", "web", "coracle.dev/lint-ignore-")
    pod = {"metadata": {"name": "bare"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "c", "image": harness.IMAGE_V1, "resources": {"requests": {"cpu": "1m"}}}]}}
    api.create(f"/api/v1/namespaces/{namespace}/pods", pod)
    assert "[readiness-probe-missing]" in said(kubectl, "label", "pod", "bare", "app=web")


def test_findings_beyond_the_bound_are_counted(api, kubectl, namespace):
    body = deployment(replicas=2)
    first = container(body)
    del first["resources"], first["readinessProbe"], first["ports"]
    pod_spec(body)["containers"] = [dict(first, name=f"c{i}") for i in range(300)]
    found = lint("-f", "-", input=yaml.safe_dump(body))
    assert found.returncode == 1 and len(found.stdout.splitlines()) == 257
    assert found.stdout.endswith("-: and 44 more of this object\n")
    told = json.loads(lint("-f", "-", "-o", "json", input=yaml.safe_dump(body)).stdout)
    assert (len(told["findings"]), told["more"]) == (256, 44)
    pod_spec(body)["containers"] = pod_spec(body)["containers"][:30]
    printed = [line for line in apply(kubectl, body).splitlines() if "without effect" not in line]
    assert len(printed) == 17 and printed[-1] == "Warning: and 14 more findings, which coracle lint names"


def test_required_anti_affinity_is_held_against_the_nodes_that_there_are(kubectl):
    body = deployment(replicas=2)
    body["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}
    assert "3 pods during a rollout for 1 value of kubernetes.io/hostname: " in apply(kubectl, body)


def test_an_annotation_silences_a_check(kubectl):
    apply(kubectl, harness.service("web"))
    body = deployment()
    body["metadata"]["annotations"] = {"coracle.dev/lint-ignore": "one-replica"}
    assert apply(kubectl, body) == ""


def test_pods_of_controllers_are_not_mentioned_again(kubectl, api, namespace):
    """The ReplicaSet's pods have no requests either; only the template is warned of, once."""
    body = deployment()
    del body["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert "[requests-missing]" in apply(kubectl, body)
    answer = api.request("POST", f"/api/v1/namespaces/{namespace}/pods", {
        "metadata": {"name": "made", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}]},
        "spec": {"containers": [{"name": "c", "image": harness.IMAGE_V1}]}})
    assert answer.status == 201 and answer.headers.get_all("Warning") is None


# ---- coracle lint ----

def lint(*arguments, **options):
    return harness.run([harness.CORACLE, "lint", *arguments], check=False, **options)


# ---- each check ----

def pod_spec(body):
    return body["spec"]["template"]["spec"]


def container(body):
    return pod_spec(body)["containers"][0]


def repel_itself(body):
    pod_spec(body)["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}


def overlapping():
    """Another Deployment, whose pods "web" selects as well."""
    other = deployment("other", replicas=2)
    other["spec"]["selector"]["matchLabels"] = {"part": "other"}
    other["spec"]["template"]["metadata"]["labels"] = {"app": "web", "part": "other"}
    return other


# What makes a good Deployment a bad one, for each check; what there has to be beside it.
SPOILT = {
    "readiness-probe-missing": (lambda body: container(body).pop("readinessProbe"), None),
    "initial-delay": (lambda body: container(body)["readinessProbe"].update(initialDelaySeconds=30), None),
    "same-probes": (lambda body: container(body).update(livenessProbe=container(body)["readinessProbe"]), None),
    "grace-period-short": (lambda body: container(body).update(
        lifecycle={"preStop": {"sleep": {"seconds": 9}}}), None),
    "one-replica": (lambda body: body["spec"].update(replicas=1), None),
    "anti-affinity-nodes": (repel_itself, None),
    "mutable-tag": (lambda body: container(body).update(imagePullPolicy="Always"), None),
    "max-unavailable-all": (lambda body: body["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable="100%"), None),
    "selector-overlap": (lambda body: None, overlapping),
    "requests-missing": (lambda body: container(body).pop("resources"), None),
}


def objects_of(check):
    """A Deployment in which the check finds nothing, the one in which it does, the same with the check silenced, and
    what there is beside each."""
    spoil, neighbour = SPOILT[check]
    good = deployment(replicas=2)
    bad = copy.deepcopy(good)
    spoil(bad)
    silenced = copy.deepcopy(bad)
    silenced["metadata"]["annotations"] = {"coracle.dev/lint-ignore": check}
    beside = [harness.service("web")] + ([neighbour()] if neighbour else [])
    return good, bad, silenced, beside


def findings(warnings):
    """Those of lint, among others about fields that do not act yet."""
    return [text for text in warnings or [] if "without effect" not in text]


@pytest.mark.parametrize("check", SPOILT)
def test_each_check_warns_and_refuses_nothing(api, kubectl, namespace, check):
    good, bad, silenced, beside = objects_of(check)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    apply(kubectl, beside[0])
    assert api.request("POST", path + "?dryRun=All", good).headers.get_all("Warning") is None
    for item in beside[1:]:
        apply(kubectl, item)
    answer = api.request("POST", path + "?dryRun=All", bad)
    assert answer.status == 201
    warnings = findings(answer.headers.get_all("Warning"))
    assert len(warnings) == 1 and warnings[0].startswith('299 - "') and warnings[0].endswith(f'[{check}]"'), warnings
    quiet = api.request("POST", path + "?dryRun=All", silenced)
    assert quiet.status == 201 and findings(quiet.headers.get_all("Warning")) == []
    printed = findings(apply(kubectl, bad).splitlines())
    assert len(printed) == 1 and printed[0].startswith("Warning: ") and printed[0].endswith(f"[{check}]")
    assert kubectl.json("get", "deployment", "web")["metadata"]["name"] == "web"


@pytest.mark.parametrize("check", SPOILT)
def test_each_check_fails_lint_unless_silenced(tmp_path, check):
    good, bad, silenced, beside = objects_of(check)
    for body, found in ((good, []), (bad, [check]), (silenced, [])):
        folder = tmp_path / ("silenced" if body is silenced else "bad" if body is bad else "good")
        folder.mkdir()
        # The neighbour that makes a good one bad is bad itself: the finding has two ends.
        for number, item in enumerate([body] + (beside[:1] if body is good else beside)):
            if body is silenced and item.get("kind") == "Deployment":
                item["metadata"]["annotations"] = {"coracle.dev/lint-ignore": check}
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(item))
        result = lint("-f", folder, "--nodes", "1")
        assert result.returncode == (1 if found else 0), result.stdout + result.stderr
        assert {line[line.rindex("[") + 1:-1] for line in result.stdout.splitlines()} == set(found)
        told = lint("-f", folder, "--nodes", "1", "-o", "json")
        assert told.returncode == result.returncode
        assert {item["check"] for item in json.loads(told.stdout)["findings"]} == set(found)


def test_every_check_of_the_page_is_tried():
    page = (harness.ROOT / "docs/lint.md").read_text()
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert set(SPOILT) <= listed
    # What a revision used is known to a running cluster only.
    assert len(listed - set(SPOILT)) <= 1


def test_the_examples_are_clean_but_for_the_one_that_is_not_meant_to_be():
    result = lint("-f", harness.ROOT / "examples", "--nodes", "2")
    assert (result.returncode, result.stderr) == (1, "")
    assert {line.split(":")[0] for line in result.stdout.splitlines()} == {str(harness.LESSON / "outage.yaml")}
    assert {line[line.rindex("["):] for line in result.stdout.splitlines()} == {
        "[readiness-probe-missing]", "[initial-delay]", "[grace-period-short]", "[one-replica]", "[mutable-tag]",
        "[max-unavailable-all]", "[requests-missing]"}


def test_files_are_looked_at_together(tmp_path):
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment()))
    assert lint("-f", tmp_path).returncode == 0
    (tmp_path / "service.json").write_text(json.dumps(harness.service("web")))
    result = lint("-f", tmp_path / "deployment.yaml", "-f", tmp_path / "service.json")
    assert result.returncode == 1
    assert result.stdout.startswith(f'{tmp_path}/deployment.yaml: Deployment "web": spec.replicas: 1 behind Service')
    # Another namespace's Service is none of its business.
    elsewhere = harness.service("web")
    elsewhere["metadata"]["namespace"] = "other"
    (tmp_path / "service.json").write_text(json.dumps(elsewhere))
    assert lint("-f", tmp_path).returncode == 0


def test_standard_input_may_hold_documents_and_lists():
    objects = [deployment(), harness.service("web")]
    for text in ("---\n".join(map(yaml.safe_dump, objects)), "".join(map(json.dumps, objects)),
                 yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects})):
        result = lint("-f", "-", "-o", "json", input=text)
        assert result.returncode == 1, result.stderr
        assert [(item["check"], item["kind"], item["name"], item["field"]) for item in
                json.loads(result.stdout)["findings"]] == [("one-replica", "Deployment", "web", "spec.replicas")]
    assert json.loads(lint("-f", "-", "-o", "json", input=yaml.safe_dump(objects[1])).stdout) == {
        "findings": [], "more": 0}


def test_keys_that_are_set_twice_are_found_in_any_kind(tmp_path):
    text = ("kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: it\ndata:\n  a: '1'\n  b: '2'\n  a: '3'\n---\n"
            "kind: Pod\napiVersion: v1\nmetadata:\n  namespace: here\n  name: p\nspec:\n  containers:\n  - name: c\n"
            "    image: i:1\n    image: j:1\n    resources: {requests: {cpu: 1m, memory: 1Mi}}\n  containers: []\n")
    (tmp_path / "it.yaml").write_text(text)
    result = lint("-f", tmp_path)
    why = "the last one counts, and what the others say is lost; keep one of them [duplicate-key]\n"
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout == (
        f'{tmp_path}/it.yaml: ConfigMap "it": line 8: key "a" already set in map: {why}'
        f'{tmp_path}/it.yaml: Pod "p": line 21: key "containers" already set in map: {why}')
    told = json.loads(lint("-f", tmp_path, "-o", "json").stdout)["findings"]
    assert [(item["check"], item["namespace"], item["kind"], item["name"], item["field"]) for item in told] == [
        ("duplicate-key", "default", "ConfigMap", "it", "line 8"), ("duplicate-key", "here", "Pod", "p", "line 21")]
    (tmp_path / "it.yaml").write_text(text.replace("  a: '1'\n", "").replace("  containers: []\n", "")
                                      .replace("    image: i:1\n", ""))
    assert lint("-f", tmp_path).returncode == 0


def test_the_number_of_nodes_can_be_told():
    body = deployment(replicas=3)
    body["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}
    text = yaml.safe_dump(body)
    assert lint("-f", "-", input=text).returncode == 0
    assert "[anti-affinity-nodes]" in lint("-f", "-", "--nodes", "2", input=text).stdout
    assert lint("-f", "-", "--nodes", "4", input=text).returncode == 0


def test_wrong_usage_and_unreadable_input_are_told_apart_from_findings(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "typed.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": 1}}))
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, text in (((), "wants -f"), (("-f", tmp_path / "none.yaml"), "No such file"),
                            (("-f", tmp_path / "bad.yaml"), "yaml: line 1"), (("-f", empty), "no .yaml"),
                            (("-f", tmp_path / "typed.yaml"), 'Pod "p": '), (("-f", empty, "-o", "xml"), "-o wants"),
                            (("-f", empty, "--nodes", "x"), "--nodes wants"), (("--what",), "unknown option")):
        result = lint(*arguments)
        assert (result.returncode, result.stdout) == (2, ""), arguments
        assert text in result.stderr


def test_a_memory_limit_below_what_is_in_use_is_warned_of(api, namespace, pods):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    eats = {"name": "main", "image": harness.IMAGE_V1,
            "command": ["sh", "-c", "dd if=/dev/zero of=/memory/x bs=1M count=40 && touch /memory/done; sleep 600"],
            "readinessProbe": {"exec": {"command": ["test", "-e", "/memory/done"]}, "periodSeconds": 1},
            "resources": {"limits": {"memory": "128Mi"}}, "volumeMounts": [{"name": "memory", "mountPath": "/memory"}]}
    api.create(path, {"metadata": {"name": "eater"}, "spec": {
        "selector": {"matchLabels": {"app": "eater"}}, "template": {
            "metadata": {"labels": {"app": "eater"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [eats],
                     "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}]}}}})
    harness.wait_for(api, pods, lambda items: items and harness.is_true(items[0], "Ready"))

    def warnings(limit):
        patch = {"spec": {"template": {"spec": {"containers": [
            {"name": "main", "resources": {"limits": {"memory": limit}, "requests": {"memory": limit}}}]}}}}
        answer = api.request("PATCH", f"{path}/eater?dryRun=All", patch,
                             headers={"Content-Type": "application/strategic-merge-patch+json"})
        assert answer.status == 200, answer
        return [text for text in answer.headers.get_all("Warning") or [] if "memory-limit-low" in text]

    (warning,) = warnings("32Mi")
    assert "resources.limits.memory: 32Mi, and pod \\\"eater-" in warning, warning
    assert not warnings("96Mi") and not warnings("256Mi")
