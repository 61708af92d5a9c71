"""Bad input is refused at the door, by the real API server, with a message that names the field."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from support.cluster import API, Body, Cluster

GUID = "11111111-2222-4333-8444-555555555555"
RULE: Body = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


def group(**fields: Any) -> Body:
    """A policy's spec whose group has these fields too."""
    return {"subject": {"group": {"displayName": "x", **fields}}}


def policy(**fields: Any) -> Body:
    """A policy's spec with these fields too."""
    return {**group(), **fields}


def selecting(**requirement: Any) -> Body:
    """A policy's spec whose grants are bounded by such an expression."""
    return policy(grants={"namespaces": {"matchExpressions": [{"key": "team", **requirement}]}})


def ruled(**rule: Any) -> Body:
    """A grant's spec with such a rule; None leaves a field out."""
    fields = {key: value for key, value in {**RULE, **rule}.items() if value is not None}
    return {"policyRef": {"name": "x"}, "rules": [RULE, fields]}


GROUP = "spec.subject.group"
POLICIES: dict[str, tuple[Body, str, str]] = {
    "no subject": ({}, "spec.subject", "Required value"),
    "empty subject": ({"subject": {}}, "spec.subject", "exactly one of group, existingGroup, user"),
    "two subjects": (
        {"subject": {"group": {"displayName": "x"}, "existingGroup": {"objectId": GUID}}},
        "spec.subject",
        "exactly one of group, existingGroup, user, servicePrincipal and serviceAccount",
    ),
    "no display name": ({"subject": {"group": {}}}, f"{GROUP}.displayName", "Required value"),
    "empty display name": (group(displayName=""), f"{GROUP}.displayName", "at least 1 char"),
    "long display name": (group(displayName="x" * 257), f"{GROUP}.displayName", "256"),
    "display name with space": (group(displayName=" x"), f"{GROUP}.displayName", "white space"),
    "display name that is a number": (group(displayName=7), f"{GROUP}.displayName", "string"),
    "member with two identities": (
        group(members=[{"user": "a@b.de"}, {"user": "a@b.de", "group": GUID}]),
        f"{GROUP}.members[1]",
        "exactly one of user, group, servicePrincipal and policy",
    ),
    "member with none": (group(members=[{}]), f"{GROUP}.members[0]", "exactly one of user, group"),
    "member of an unknown kind": (
        group(members=[{"device": GUID}]),
        f'unknown field "{GROUP}.members[0].device"',
        "",
    ),
    "UPN without domain": (group(members=[{"user": "alice"}]), f"{GROUP}.members[0].user", "name@domain"),
    "UPN with space": (group(members=[{"user": "al ice@b.de"}]), f"{GROUP}.members[0].user", "name@domain"),
    "UPN with slash": (group(members=[{"user": "a/b@b.de"}]), f"{GROUP}.members[0].user", "name@domain"),
    "UPN with two @": (group(members=[{"user": "a@b@c.de"}]), f"{GROUP}.members[0].user", "name@domain"),
    "empty UPN": (group(members=[{"user": ""}]), f"{GROUP}.members[0].user", "at least 1 char"),
    "long UPN": (group(members=[{"user": f"{'a' * 260}@b.de"}]), f"{GROUP}.members[0].user", "256"),
    "user's GUID cut short": (group(members=[{"user": GUID[:-1]}]), f"{GROUP}.members[0].user", "a GUID"),
    "group by name": (group(members=[{"group": "ops"}]), f"{GROUP}.members[0].group", "must be a GUID"),
    "group's GUID in braces": (group(members=[{"group": f"{{{GUID}}}"}]), f"{GROUP}.members[0].group", ""),
    "owners empty": (group(owners=[]), f"{GROUP}.owners", "at least 1 items"),
    "owner that is a group": (
        group(owners=[{"group": GUID}]),
        f'unknown field "{GROUP}.owners[0].group"',
        "",
    ),
    "malformed owner": (group(owners=[{"user": "x"}]), f"{GROUP}.owners[0].user", "name@domain"),
    "too many owners": (
        group(owners=[{"user": f"u{number}@b.de"} for number in range(101)]),
        f"{GROUP}.owners",
        "at most 100 items",
    ),
    "too many members": (
        group(members=[{"user": f"u{number}@b.de"} for number in range(1001)]),
        f"{GROUP}.members",
        "at most 1000 items",
    ),
    "nickname with dot": (group(mailNickname="a.b"), f"{GROUP}.mailNickname", "spaces, dots"),
    "nickname with space": (group(mailNickname="a b"), f"{GROUP}.mailNickname", "spaces, dots"),
    "nickname with @": (group(mailNickname="a@b"), f"{GROUP}.mailNickname", "spaces, dots"),
    "nickname with umlaut": (group(mailNickname="ä"), f"{GROUP}.mailNickname", "letters, digits"),
    "nickname with line feed": (group(mailNickname="a\n"), f"{GROUP}.mailNickname", ""),
    "empty nickname": (group(mailNickname=""), f"{GROUP}.mailNickname", "at least 1 char"),
    "long nickname": (group(mailNickname="x" * 65), f"{GROUP}.mailNickname", "64"),
    "empty description": (group(description=""), f"{GROUP}.description", "at least 1 char"),
    "long description": (group(description="x" * 1025), f"{GROUP}.description", "1024"),
    "Unmanaged with members": (
        group(membership="Unmanaged", members=[{"user": "a@b.de"}]),
        f"{GROUP}.members",
        "Exact or Additive",
    ),
    "unknown membership": (group(membership="Sometimes"), f"{GROUP}.membership", "Exact"),
    "Azure role without a name": (policy(azureRoles=[{}]), "spec.azureRoles[0].role", "Required value"),
    "empty Azure role": (policy(azureRoles=[{"role": ""}]), "spec.azureRoles[0].role", "at least 1 char"),
    "Azure role with space": (policy(azureRoles=[{"role": "Reader "}]), "spec.azureRoles[0].role", "white"),
    "Azure role with control character": (
        policy(azureRoles=[{"role": "Rea\tder"}]),
        "spec.azureRoles[0].role",
        "role's name",
    ),
    "Azure role that is no definition id": (
        policy(azureRoles=[{"role": f"/subscriptions/{GUID}/resourceGroups/x"}]),
        "spec.azureRoles[0].role",
        "role definition id",
    ),
    "the same Azure role twice": (
        policy(azureRoles=[{"role": "Reader"}, {"role": "Reader"}]),
        "spec.azureRoles[1]",
        "Duplicate value",
    ),
    "Azure role at an unknown scope": (
        policy(azureRoles=[{"role": "Reader", "scope": "/"}]),
        "spec.azureRoles[0].scope",
        "scope must be Cluster or an ARM id",
    ),
    "ClusterRole with slash": (policy(clusterRoles=["a/b"]), "spec.clusterRoles[0]", "name of a ClusterRole"),
    "ClusterRole with space": (policy(clusterRoles=["a b"]), "spec.clusterRoles[0]", "name of a ClusterRole"),
    "ClusterRole dot": (policy(clusterRoles=["view", ".."]), "spec.clusterRoles[1]", "name of a ClusterRole"),
    "ClusterRole with percent": (policy(clusterRoles=["a%2fb"]), "spec.clusterRoles[0]", "percent"),
    "empty ClusterRole": (policy(clusterRoles=[""]), "spec.clusterRoles[0]", "at least 1 char"),
    "the same ClusterRole twice": (
        policy(clusterRoles=["view", "view"]),
        "spec.clusterRoles[1]",
        "Duplicate value",
    ),
    "grants without namespaces": (policy(grants={}), "spec.grants.namespaces", "Required value"),
    "In without values": (selecting(operator="In"), "matchExpressions[0]", "values must be given"),
    "NotIn with no values": (selecting(operator="NotIn", values=[]), "matchExpressions[0]", "values must be"),
    "Exists with values": (selecting(operator="Exists", values=["a"]), "matchExpressions[0]", "must not"),
    "unknown operator": (selecting(operator="Gt", values=["1"]), "matchExpressions[0].operator", "In"),
    "ceiling's rule without verbs": (
        policy(grants={"namespaces": {}, "rules": [{**RULE, "verbs": []}]}),
        "spec.grants.rules[0].verbs",
        "at least 1 items",
    ),
    "ceiling's bad ClusterRole": (
        policy(grants={"namespaces": {}, "clusterRoles": ["a/b"]}),
        "spec.grants.clusterRoles[0]",
        "name of a ClusterRole",
    ),
    "unknown field": (policy(azureRole=[]), 'unknown field "spec.azureRole"', ""),
    "unknown field of the group": (group(member=[]), f'unknown field "{GROUP}.member"', ""),
}
GRANTS: dict[str, tuple[Body, str, str]] = {
    "no policy": ({"rules": [RULE]}, "spec.policyRef", "Required value"),
    "policy without name": ({"policyRef": {}, "rules": [RULE]}, "spec.policyRef.name", "Required value"),
    "empty policy name": ({"policyRef": {"name": ""}, "rules": [RULE]}, "spec.policyRef.name", "at least 1"),
    "nothing given": (
        {"policyRef": {"name": "x"}},
        "spec",
        "at least one of rules, clusterRoles and azureRoles",
    ),
    "empty lists given": (
        {"policyRef": {"name": "x"}, "rules": [], "clusterRoles": []},
        "spec",
        "at least one of rules, clusterRoles and azureRoles",
    ),
    "rule without verbs": (ruled(verbs=None), "spec.rules[1].verbs", "Required value"),
    "rule with empty verbs": (ruled(verbs=[]), "spec.rules[1].verbs", "at least 1 items"),
    "rule with an empty verb": (ruled(verbs=[""]), "spec.rules[1].verbs[0]", "at least 1 char"),
    "rule without resources": (ruled(resources=None), "spec.rules[1].resources", "Required value"),
    "rule with empty resources": (ruled(resources=[]), "spec.rules[1].resources", "at least 1 items"),
    "rule without apiGroups": (ruled(apiGroups=None), "spec.rules[1].apiGroups", "Required value"),
    "rule with empty apiGroups": (ruled(apiGroups=[]), "spec.rules[1].apiGroups", "at least 1 items"),
    "rule for URLs": (ruled(nonResourceURLs=["/x"]), 'unknown field "spec.rules[1].nonResourceURLs"', ""),
    "empty rule": ({"policyRef": {"name": "x"}, "rules": [{}]}, "spec.rules[0].verbs", "Required value"),
    "bad ClusterRole": (
        {"policyRef": {"name": "x"}, "clusterRoles": ["a/b"]},
        "spec.clusterRoles[0]",
        "name of a ClusterRole",
    ),
    "unknown field": (
        {"policyRef": {"name": "x"}, "rules": [RULE], "subject": {}},
        'unknown field "spec.subject"',
        "",
    ),
}
ACCEPTED: dict[str, Body] = {
    "least": group(),
    "every field": {
        "subject": {
            "group": {
                "displayName": "Größer & O'Brien 北京",
                "mailNickname": "!#$%&'*+/=?^_`{|}~-aZ9",
                "description": "x" * 1024,
                "members": [
                    {"user": "partner_fabrikam.com#EXT#@contoso.com"},
                    {"user": "o'hara@contoso.com"},
                    {"user": "ünï@contoso.com"},
                    {"user": GUID.upper()},
                    {"group": GUID},
                ],
                "owners": [{"user": "a.b+c@sub.contoso.com"}, {"user": GUID}],
                "membership": "Additive",
            }
        },
        "azureRoles": [
            {"role": "Azure Kubernetes Service RBAC Reader"},
            {"role": GUID},
            {"role": f"/providers/Microsoft.Authorization/roleDefinitions/{GUID}"},
            {"role": f"/subscriptions/{GUID}/providers/microsoft.authorization/roledefinitions/{GUID}"},
        ],
        "clusterRoles": ["view", "system:aggregate-to-view", "x" * 253],
        "grants": {
            "namespaces": {
                "matchLabels": {"team": "a", "empty": ""},
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["x", ""]},
                    {"key": "example.com/b", "operator": "NotIn", "values": ["x"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ],
            },
            "clusterRoles": ["edit"],
            "rules": [{**RULE, "resources": ["*", "pods/log", "*/scale"], "resourceNames": ["x"]}],
        },
    },
    "no members": group(members=[]),
    "members left alone": group(membership="Unmanaged", owners=[{"user": GUID}]),
    "every namespace": policy(grants={"namespaces": {}}),
}


@pytest.fixture(scope="module")
def http(shared_cluster: Cluster) -> Iterator[httpx.Client]:
    """The API server, as kubectl speaks to it, without kubectl's time to start."""
    with shared_cluster.stack.plane.client() as client:
        yield client


def answer(http: httpx.Client, kind: str, spec: Body, name: str = "x") -> tuple[int, str]:
    """What the API server says when it is asked, for a trial, to take the resource."""
    where = "namespaces/default/namespacegrants" if kind == "NamespaceGrant" else "accesspolicies"
    body = {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
    said = http.post(f"/apis/{API}/{where}", json=body, params={"dryRun": "All", "fieldValidation": "Strict"})
    return said.status_code, str(said.json().get("message", ""))


def refused(http: httpx.Client, kind: str, spec: Body, name: str = "x") -> str:
    """The message of the refusal."""
    status, message = answer(http, kind, spec, name)
    assert status in {400, 422}, message
    return message


@pytest.mark.parametrize("case", POLICIES)
def test_a_bad_policy_is_refused(http: httpx.Client, case: str) -> None:
    """The message has the field's path, and what is wrong in words where the path does not say it."""
    spec, path, words = POLICIES[case]
    said = refused(http, "AccessPolicy", spec)
    assert path in said
    assert words in said


@pytest.mark.parametrize("case", GRANTS)
def test_a_bad_grant_is_refused(http: httpx.Client, case: str) -> None:
    """Likewise for grants."""
    spec, path, words = GRANTS[case]
    said = refused(http, "NamespaceGrant", spec)
    assert path in said
    assert words in said


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_good_policy_is_accepted(http: httpx.Client, case: str) -> None:
    """What Entra and Kubernetes take is not refused here."""
    assert answer(http, "AccessPolicy", ACCEPTED[case]) == (201, "")


def test_a_good_grant_is_accepted(http: httpx.Client) -> None:
    """With every field."""
    rule = {**RULE, "apiGroups": ["", "*"], "verbs": ["*"], "resourceNames": ["x"]}
    spec = {"policyRef": {"name": "x" * 63}, "rules": [rule], "clusterRoles": ["view", "a:b"]}
    assert answer(http, "NamespaceGrant", spec, "x" * 63) == (201, "")


def test_a_name_that_cannot_be_a_label_is_refused(http: httpx.Client) -> None:
    """Objects are found again by it: 63 characters fit, one more does not."""
    name = "x" * 64
    for kind, spec in (("AccessPolicy", group()), ("NamespaceGrant", ruled())):
        assert "metadata.name must be at most 63 characters" in refused(http, kind, spec, name)
    assert answer(http, "AccessPolicy", group(), name[:-1]) == (201, "")
    long = {"policyRef": {"name": name}, "rules": [RULE]}
    assert "spec.policyRef.name" in refused(http, "NamespaceGrant", long)


def test_a_grant_stays_with_its_policy(cluster: Cluster) -> None:
    """Its policyRef cannot be changed; everything else of it can."""
    namespace = cluster.namespace()
    cluster.grant("stays", namespace, "first", rules=[RULE])

    change = '{"spec":{"policyRef":{"name":"b"}}}'
    said = cluster.refused("patch", "ngrant", "stays", "-n", namespace, "--type=merge", "-p", change)

    assert "spec.policyRef.name" in said
    assert "delete it and make another one" in said
    cluster.grant("stays", namespace, "first", clusterRoles=["view"])


def test_one_bad_resource_in_a_file_stops_only_itself(cluster: Cluster) -> None:
    """The others of the same file are there and come to be Ready."""
    name = cluster.unique("good")
    wish = group(displayName=name)
    good = {"apiVersion": API, "kind": "AccessPolicy", "metadata": {"name": name}, "spec": wish}
    bad = {**good, "metadata": {"name": f"{name}-bad"}, "spec": group(membership="Sometimes")}

    said = cluster.refused("apply", "-f", "-", stdin=yaml.safe_dump_all([bad, good]))

    assert f"{name}-bad" in said
    cluster.ready("apol", name)
