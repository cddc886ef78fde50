"""Service account tokens: who shows one is that account, may what its bindings allow, and no longer than what the token
is bound to is there."""
import base64
import json
import urllib.error
import urllib.request

import harness

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def ask(api, token, path, method="GET", body=None):
    """Status and JSON of a request with nothing but a bearer token."""
    request = urllib.request.Request(f"https://{api.host}:{api.port}{path}", method=method,
                                     data=json.dumps(body).encode() if body else None,
                                     headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, context=api.anonymous_context, timeout=harness.COMMAND_LIMIT) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


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
