"""Roles: the default ones give what upstream's give, those of others are added to them, and nobody gives away more than he
has."""
import re

import pytest

import harness
from test_tokens import RBAC, ask, request_token

GROUP = "rbac.authorization.k8s.io"


def rule(verbs, resources, groups=("",), **more):
    return {"verbs": verbs, "apiGroups": list(groups), "resources": resources, **more}


def bind(api, namespace, role, kind="ClusterRole"):
    """Gives a role to the default account of the namespace, there; returns the account's token."""
    api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", {
        "metadata": {"name": f"bound-to-{role}"}, "subjects": [{"kind": "ServiceAccount", "name": "default"}],
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}})
    return request_token(api, namespace).json["status"]["token"]


@pytest.fixture
def make_cluster_role(api, namespace):
    """Makes cluster roles that go with the test; their names begin with the namespace's."""
    made = []

    def make(name, **content):
        made.append(f"{namespace}-{name}")
        api.create(f"{RBAC}/clusterroles", {"metadata": {"name": made[-1], "labels": content.pop("labels", {})},
                                            **content})
        return made[-1]

    yield make
    for name in made:
        api.request("DELETE", f"{RBAC}/clusterroles/{name}")


@pytest.mark.parametrize("role, may", [
    ("view", {("get", "pods"), ("list", "configmaps"), ("get", "pods/log"), ("list", "deployments.apps")}),
    ("edit", {("get", "pods"), ("list", "configmaps"), ("get", "pods/log"), ("list", "deployments.apps"),
              ("create", "pods/exec"), ("get", "secrets"), ("delete", "deployments.apps")}),
    ("admin", {("get", "pods"), ("list", "configmaps"), ("get", "pods/log"), ("list", "deployments.apps"),
               ("create", "pods/exec"), ("get", "secrets"), ("delete", "deployments.apps"),
               ("create", "rolebindings.rbac.authorization.k8s.io")}),
    ("cluster-admin", None)])
def test_the_default_roles_give_what_upstreams_give(cluster, api, namespace, role, may):
    asked = [("get", "pods"), ("list", "configmaps"), ("get", "pods/log"), ("list", "deployments.apps"),
             ("create", "pods/exec"), ("get", "secrets"), ("delete", "deployments.apps"),
             ("create", "rolebindings.rbac.authorization.k8s.io"), ("update", "resourcequotas"), ("delete", "nodes")]
    kubectl = cluster.kubectl("1.35" if harness.KUBECTLS["1.35"].exists() else "1.20", namespace)
    kubectl("create", "rolebinding", "it", f"--clusterrole={role}", f"--serviceaccount={namespace}:default")
    token = request_token(api, namespace).json["status"]["token"]

    def allowed(verb, what):
        resource, _, sub = what.partition("/")
        resource, _, group = resource.partition(".")
        body = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {
            "resourceAttributes": {"verb": verb, "resource": resource, "subresource": sub, "group": group,
                                   "namespace": namespace}}}
        status = ask(api, token, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "POST", body)[1]["status"]
        if status["allowed"]:
            assert status["reason"] == (f'RBAC: allowed by RoleBinding "it/{namespace}" of ClusterRole "{role}" to '
                                        f'ServiceAccount "default/{namespace}"')
        return status["allowed"]

    assert {question for question in asked if allowed(*question)} == (set(asked) if may is None else may)
    assert ask(api, token, "/api/v1/nodes")[0] == 403


def test_rules_are_added_to_the_default_roles_by_a_label(api, namespace, make_cluster_role):
    own = rule(["get", "list"], ["widgets"], ["example.com"])
    make_cluster_role("widgets", labels={f"{GROUP}/aggregate-to-view": "true"}, rules=[own])
    for role in ("view", "edit", "admin"):
        harness.wait_for(api, f"{RBAC}/clusterroles?fieldSelector=metadata.name%3D{role}",
                         lambda items: own in (items[0].get("rules") or []), what=f"the rule in {role}")


def refusal(api, namespace, kind, name, *missing):
    """What is said to the default account of the namespace."""
    groups = f'"system:serviceaccounts" "system:serviceaccounts:{namespace}" "system:authenticated"'
    return "\n".join([f'{kind}.{GROUP} "{name}" is forbidden: user "system:serviceaccount:{namespace}:default" '
                      f"(groups=[{groups}]) is attempting to grant RBAC permissions not currently held:", *missing])


def test_nobody_makes_a_role_with_more_rights_than_he_has(api, namespace):
    token, roles = bind(api, namespace, "admin"), f"{RBAC}/namespaces/{namespace}/roles"
    mine = {"metadata": {"name": "mine"}, "rules": [rule(["get", "list"], ["pods", "pods/log"]),
                                                    rule(["create"], ["deployments"], ["apps"], resourceNames=["a"])]}
    assert ask(api, token, roles, "POST", mine)[0] == 201
    more = {"metadata": {"name": "more"}, "rules": [
        rule(["get", "update", "delete"], ["resourcequotas", "pods"]), rule(["*"], ["secrets"], resourceNames=["x"])]}
    code, answer = ask(api, token, roles, "POST", more)
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == refusal(
        api, namespace, "roles", "more",
        '{APIGroups:[""], Resources:["resourcequotas"], Verbs:["update" "delete"]}',
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["x"], Verbs:["*"]}')
    code, answer = ask(api, token, roles + "/mine", "PUT", {**mine, "rules": more["rules"]})
    assert code == 403 and "not currently held" in answer["message"]
    # What somebody else put there may stay when only the rest changes.
    api.create(roles, more)
    assert ask(api, token, roles + "/more", "PUT",
               {**more, "metadata": {"name": "more", "labels": {"seen": "yes"}}})[0] == 200


def test_nobody_binds_a_role_with_more_rights_than_he_has(api, namespace):
    token, bindings = bind(api, namespace, "admin"), f"{RBAC}/namespaces/{namespace}/rolebindings"

    def binding(name, role, user="somebody"):
        return {"metadata": {"name": name}, "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": user, "apiGroup": GROUP}]}

    assert ask(api, token, bindings, "POST", binding("edit", "edit"))[0] == 201
    code, answer = ask(api, token, bindings, "POST", binding("all", "cluster-admin"))
    assert code == 403
    assert answer["message"] == refusal(api, namespace, "rolebindings", "all",
                                        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}',
                                        '{NonResourceURLs:["*"], Verbs:["*"]}')
    code, answer = ask(api, token, bindings, "POST", binding("none", "none"))
    assert code == 404 and answer["message"] == f'clusterroles.{GROUP} "none" not found'
    # Rights in one namespace are none in the cluster.
    assert ask(api, token, f"{RBAC}/clusterrolebindings", "POST", binding("wide", "view"))[0] == 403
    # More people for a role that one could not give.
    api.create(bindings, binding("all", "cluster-admin"))
    code, answer = ask(api, token, bindings + "/all", "PUT", binding("all", "cluster-admin", user="another"))
    assert code == 403 and "not currently held" in answer["message"]


def test_who_may_bind_or_escalate_may_give_what_he_has_not(api, namespace):
    roles, bindings = (f"{RBAC}/namespaces/{namespace}/{kind}" for kind in ("roles", "rolebindings"))
    api.create(roles, {"metadata": {"name": "giver"}, "rules": [
        rule(["create", "escalate"], ["roles"], [GROUP]), rule(["create"], ["rolebindings"], [GROUP]),
        rule(["bind"], ["clusterroles"], [GROUP], resourceNames=["edit"])]})
    token = bind(api, namespace, "giver", "Role")
    assert ask(api, token, roles, "POST", {"metadata": {"name": "x"}, "rules": [rule(["*"], ["*"], ["*"])]})[0] == 201
    subjects = [{"kind": "User", "name": "somebody", "apiGroup": GROUP}]
    for role, wanted in (("edit", 201), ("admin", 403)):
        assert ask(api, token, bindings, "POST", {"metadata": {"name": role}, "subjects": subjects, "roleRef": {
            "apiGroup": GROUP, "kind": "ClusterRole", "name": role}})[0] == wanted


def test_only_who_may_do_everything_aggregates(api, namespace, make_cluster_role):
    writer = make_cluster_role("writer", rules=[rule(["create", "update"], ["clusterroles"], [GROUP])])
    binding = f"{RBAC}/clusterrolebindings"
    api.create(binding, {"metadata": {"name": namespace}, "roleRef": {
        "apiGroup": GROUP, "kind": "ClusterRole", "name": writer}, "subjects": [
            {"kind": "ServiceAccount", "name": "default", "namespace": namespace}]})
    token = request_token(api, namespace).json["status"]["token"]
    code, answer = ask(api, token, f"{RBAC}/clusterroles", "POST", {
        "metadata": {"name": namespace + "-all"}, "aggregationRule": {"clusterRoleSelectors": [{}]}})
    api.ok("DELETE", f"{binding}/{namespace}")
    assert code == 403
    assert answer["message"] == (f'clusterroles.{GROUP} "{namespace}-all" is forbidden: must have cluster-admin '
                                 f'privileges to use the aggregationRule')


def test_a_rule_of_endless_rights_is_refused_at_once(api, namespace):
    token = bind(api, namespace, "admin")
    many = [f"kind{i}" for i in range(300)]
    code, answer = ask(api, token, f"{RBAC}/namespaces/{namespace}/roles", "POST", {
        "metadata": {"name": "it"}, "rules": [{"verbs": many, "apiGroups": many, "resources": many}]})
    assert code == 403 and answer["message"].endswith("and what comes after the first 16384 rights")


def test_who_may_acts_as_somebody_else(cluster, api, namespace, make_cluster_role):
    account = f"system:serviceaccount:{namespace}:default"
    role = make_cluster_role("reader", rules=[rule(["list"], ["pods"])])
    token = bind(api, namespace, role)

    kubectl = cluster.kubectl("1.35", namespace)
    kubectl("get", "pods", f"--as={account}")
    refused = kubectl.fails("get", "secrets", f"--as={account}")
    assert f'secrets is forbidden: User "{account}" cannot list resource "secrets"' in refused
    assert kubectl("auth", "can-i", "create", "pods", f"--as={account}", check=False).split()[-1] == "no"

    headers = {"Impersonate-User": "jane", "Impersonate-Group": "devs", "Impersonate-Uid": "7",
               "Impersonate-Extra-Scopes%2Fa": "view"}
    reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    who = api.ok("POST", reviews, review, headers=headers)["status"]["userInfo"]
    assert who == {"username": "jane", "uid": "7", "groups": ["devs", "system:authenticated"],
                   "extra": {"scopes/a": ["view"]}}
    who = api.ok("POST", reviews, review, headers={"Impersonate-User": account})["status"]["userInfo"]
    assert who["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    assert api.request("GET", "/apis", headers={"Impersonate-Group": "devs"}).status == 500

    # The account may not, until it may be one user.
    code, refused = ask(api, token, "/apis", Impersonate_User="jane")
    assert (code, refused["message"]) == (403, f'users "jane" is forbidden: User "{account}" cannot impersonate resource '
                                               '"users" in API group "" at the cluster scope')
    as_jane = make_cluster_role("as-jane", rules=[rule(["impersonate"], ["users"], resourceNames=["jane"])])
    api.create(f"{RBAC}/clusterrolebindings", {
        "metadata": {"name": as_jane}, "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": as_jane}})
    assert ask(api, token, "/apis", Impersonate_User="jane")[0] == 200
    assert ask(api, token, "/apis", Impersonate_User="joe")[0] == 403
    assert ask(api, token, "/apis", Impersonate_User="jane", Impersonate_Group="system:masters")[0] == 403
    assert ask(api, token, f"/api/v1/namespaces/{namespace}/pods", Impersonate_User="jane")[0] == 403
    api.ok("DELETE", f"{RBAC}/clusterrolebindings/{as_jane}")


def test_roles_and_bindings_are_listed_as_upstream_lists_them(kubectl):
    kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    kubectl("create", "rolebinding", "readers", "--role=reader", "--user=jane", "--group=team",
            f"--serviceaccount={kubectl.namespace}:default")
    header, row = kubectl("get", "roles").splitlines()
    assert re.split(r"\s{2,}", header) == ["NAME", "CREATED AT"]
    assert row.split() == ["reader", kubectl.json("get", "role", "reader")["metadata"]["creationTimestamp"]]
    header, row = kubectl("get", "rolebindings").splitlines()
    assert header.split() == ["NAME", "ROLE", "AGE"] and row.split()[:2] == ["readers", "Role/reader"]
    header, row = kubectl("get", "rolebindings", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert row.split()[3:] == ["jane", "team", kubectl.namespace + "/default"]
    header, row = kubectl("get", "clusterrolebinding", "cluster-admin", "-o", "wide").splitlines()
    assert row.split()[:2] == ["cluster-admin", "ClusterRole/cluster-admin"] and row.split()[3] == "system:masters"
