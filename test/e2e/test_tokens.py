"""Service account tokens: who shows one is that account, may what its bindings allow, and no longer than what the token
is bound to is there."""
import base64
import json
import urllib.error
import urllib.request

import pytest

import harness

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def ask(api, token, path, method="GET", body=None, **headers):
    """Status and JSON of a request with nothing but a bearer token, and other headers (dashes as underscores)."""
    request = urllib.request.Request(f"https://{api.host}:{api.port}{path}", method=method,
                                     data=json.dumps(body).encode() if body else None,
                                     headers={"Authorization": "Bearer " + token, "Content-Type": "application/json",
                                              **{name.replace("_", "-"): value for name, value in headers.items()}})
    try:
        with urllib.request.urlopen(request, context=api.anonymous_context, timeout=harness.COMMAND_LIMIT) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def review(api, token, audiences=None):
    """The status of a TokenReview."""
    spec = {"token": token} if audiences is None else {"token": token, "audiences": audiences}
    return api.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": spec})["status"]


def request_token(api, namespace, **spec):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    harness.eventually(lambda: api.request("GET", path).status == 200, what="the default account")
    return api.request("POST", path + "/token", {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
                                                  "spec": spec})


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_a_token_says_what_upstreams_says(api, namespace):
    answer = request_token(api, namespace, audiences=["me"], expirationSeconds=900).json
    said = claims(answer["status"]["token"])
    assert said["aud"] == ["me"] and said["exp"] - said["iat"] == 900
    assert said["iss"] == "https://kubernetes.default.svc.cluster.local"
    assert said["sub"] == f"system:serviceaccount:{namespace}:default"
    assert said["kubernetes.io"]["serviceaccount"]["name"] == "default"
    refused = request_token(api, namespace, expirationSeconds=60)
    assert refused.status == 422 and "may not specify a duration less than 10 minutes" in refused.json["message"]


def test_an_account_may_what_its_bindings_allow(api, namespace):
    token = request_token(api, namespace).json["status"]["token"]
    code, who = ask(api, token, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "POST",
                    {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})
    assert code == 201
    assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert who["status"]["userInfo"]["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{namespace}",
                                                    "system:authenticated"]
    assert ask(api, token, "/apis")[0] == 200
    pods = f"/api/v1/namespaces/{namespace}/pods"
    code, refused = ask(api, token, pods)
    assert code == 403
    assert refused["message"] == (f'pods is forbidden: User "system:serviceaccount:{namespace}:default" cannot list '
                                  f'resource "pods" in API group "" in the namespace "{namespace}"')
    api.create(f"{RBAC}/namespaces/{namespace}/roles", {
        "metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]})
    api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", {
        "metadata": {"name": "reader"}, "subjects": [{"kind": "ServiceAccount", "name": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}})
    assert ask(api, token, pods)[0] == 200
    assert ask(api, token, pods, "POST", {"metadata": {"name": "x"}})[0] == 403
    assert ask(api, token, "/api/v1/pods")[0] == 403
    assert ask(api, token, f"/api/v1/namespaces/{namespace}/secrets")[0] == 403
    assert ask(api, token, "/metrics")[0] == 403


def test_tokens_that_are_not_for_the_api_are_refused(api, namespace):
    token = request_token(api, namespace).json["status"]["token"]
    header, payload, signature = token.split(".")
    other = request_token(api, namespace, audiences=["me"]).json["status"]["token"]
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    for bad in (other, f"{header}.{payload}.{'A' * 86}", f"{none}.{payload}.", f"{none}.{payload}.{signature}", "x"):
        code, answer = ask(api, bad, "/apis")
        assert (code, answer["reason"]) == (401, "Unauthorized")


def test_a_bound_token_ends_with_its_object(api, namespace):
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    api.create(secrets, {"metadata": {"name": "life"}})
    token = request_token(api, namespace, boundObjectRef={"kind": "Secret", "apiVersion": "v1",
                                                          "name": "life"}).json["status"]["token"]
    review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert api.ok("POST", reviews, review)["status"]["authenticated"] is True
    assert ask(api, token, "/apis")[0] == 200
    api.ok("DELETE", secrets + "/life")
    assert ask(api, token, "/apis")[0] == 401
    assert api.ok("POST", reviews, review)["status"].get("authenticated") is None


def test_a_pod_has_the_token_that_it_asks_for(api, namespace, pods):
    request_token(api, namespace)
    body = harness.shell_pod("it", "cat /volume/token; exec sleep 1000", volumes=[{"name": "it", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 700}}]}}],
        container={"volumeMounts": [{"name": "it", "mountPath": "/volume"}]})
    api.create(pods, body)
    token = harness.eventually(lambda: api.request("GET", pods + "/it/log").body.decode().count(".") == 2 and
                               api.request("GET", pods + "/it/log").body.decode())
    said = claims(token)
    assert said["kubernetes.io"]["pod"]["name"] == "it" and said["exp"] - said["iat"] == 700
    assert "node" in said["kubernetes.io"]
    assert ask(api, token, "/apis")[0] == 200
    api.ok("DELETE", pods + "/it?gracePeriodSeconds=0")
    harness.eventually(lambda: ask(api, token, "/apis")[0] == 401, what="the end of the token")


def test_kubectl_creates_tokens_and_asks_what_may_be_done(cluster, namespace, api):
    request_token(api, namespace)
    kubectl = [harness.KUBECTLS["1.35"], "--kubeconfig", cluster.kubeconfig, "-n", namespace]
    token = harness.run([*kubectl, "create", "token", "default", "--duration", "20m"]).stdout.strip()
    assert claims(token)["exp"] - claims(token)["iat"] == 1200
    assert "kubernetes-admin" in harness.run([*kubectl, "auth", "whoami"]).stdout
    assert harness.run([*kubectl, "auth", "can-i", "delete", "nodes"]).stdout.split()[-1] == "yes"


def renamed(header):
    """The header of a token that names another key than this cluster's."""
    named = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**named, "kid": "other"}).encode()).decode().rstrip("=")


@pytest.mark.parametrize("forge, error", [
    (lambda header, payload, signature: f"{header}.{payload}.{'A' * 86}",
     "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]"),
    (lambda header, payload, signature: f"{header}.{payload[:-4]}AAAA.{signature}",
     "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]"),
    (lambda header, payload, signature: f"{renamed(header)}.{payload}.{signature}",
     "[invalid bearer token, invalid signature, no keys found]"),
    (lambda header, payload, signature: f"{header}.{payload}", "invalid bearer token"),
    (lambda header, payload, signature: "nonsense", "invalid bearer token")],
    ids=["signature", "payload", "key", "unsigned", "nonsense"])
def test_a_review_says_what_is_wrong_with_a_forged_token(api, namespace, forge, error):
    token = forge(*request_token(api, namespace).json["status"]["token"].split("."))
    assert review(api, token) == {"user": {}, "error": error}
    assert ask(api, token, "/apis")[0] == 401


def test_a_review_is_for_the_audiences_that_it_names(api, namespace):
    token = request_token(api, namespace, audiences=["a", "b"]).json["status"]["token"]
    status = review(api, token, ["c", "b"])
    assert status["authenticated"] is True and status["audiences"] == ["b"]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert review(api, token, ["c"]) == {"user": {}, "error": (
        '[invalid bearer token, token audiences ["a" "b"] is invalid for the target audiences ["c"]]')}
    assert review(api, token) == {"user": {}, "error": (
        '[invalid bearer token, token audiences ["a" "b"] is invalid for the target audiences '
        '["https://kubernetes.default.svc.cluster.local"]]')}
    mine = request_token(api, namespace).json["status"]["token"]
    assert review(api, mine)["audiences"] == ["https://kubernetes.default.svc.cluster.local"]


def test_a_token_is_renewed_under_a_running_pod_before_it_expires(make_cluster, tmp_path):
    clock = harness.MovableClock(tmp_path / "clock")
    cluster = make_cluster(prefix=clock.prefix)
    cluster.start()
    api, pods = cluster.api, "/api/v1/namespaces/default/pods"
    request_token(api, "default")
    script = ('while :; do new=$(cat /volume/token); test "$new" = "$old" || echo "$new"; old=$new; usleep 20000; done')
    api.create(pods, harness.shell_pod("it", script, volumes=[{"name": "it", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]}}],
        container={"volumeMounts": [{"name": "it", "mountPath": "/volume"}]}))
    before = harness.wait_for(api, pods, lambda items: harness.is_true(items[0], "Ready") and items[0])

    def shown(count):
        lines = api.get(pods + "/it/log").body.decode().split()
        return len(lines) >= count and lines

    [first] = harness.eventually(lambda: shown(1))
    assert claims(first)["exp"] - claims(first)["iat"] == 600
    clock.advance(api, 490)
    _, second = harness.eventually(lambda: shown(2), what="another token in the pod")
    assert 480 <= claims(second)["iat"] - claims(first)["iat"] < 600
    assert claims(second)["jti"] != claims(first)["jti"]
    assert ask(api, first, "/apis")[0] == ask(api, second, "/apis")[0] == 200
    clock.advance(api, 180)  # the instants of tokens have a minute of leeway
    code, refused = ask(api, first, "/apis")
    assert (code, refused["reason"]) == (401, "Unauthorized")
    assert review(api, first) == {"user": {}, "error": "[invalid bearer token, service account token has expired]"}
    assert ask(api, second, "/apis")[0] == 200 and review(api, second)["authenticated"] is True
    after = api.ok("GET", pods + "/it")
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
