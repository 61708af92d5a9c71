"""Reading what the two resources say of subjects, Azure roles, rules and namespaces."""

import copy
from typing import Any

import pytest

from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import read_grant, read_policy
from entra_access.api.resources import (
    AzureRole,
    CustomRole,
    DirectorySubject,
    NamespaceAccess,
    Reference,
    Rule,
    ServiceAccountSubject,
)
from unit.builders import a_selector, group_of, guid

ID = guid("somebody")
UPN = "Anna.Berg@Contoso.com"


def policy(subject: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    wish = {"subject": subject or {"group": {"displayName": "appdev"}}}
    return {"metadata": {"name": "appdev", "uid": "u1"}, "spec": wish | spec}


def grant(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "dev-access", "namespace": "dev", "uid": "u2"}
    return {"metadata": metadata, "spec": {"policyRef": {"name": "appdev"}} | spec}


def refused(body: dict[str, Any]) -> str:
    """The path of the field that cannot be used."""
    with pytest.raises(InvalidFieldError) as caught:
        read_policy(body)
    return caught.value.path


SUBJECTS: dict[str, tuple[dict[str, Any], Reference, str]] = {
    "an existing group": (
        {"existingGroup": {"objectId": ID.upper()}},
        Reference("group", ID, "objectId"),
        "spec.subject.existingGroup.objectId",
    ),
    "a user by name": (
        {"user": {"userPrincipalName": UPN}},
        Reference("user", UPN.lower(), ""),
        "spec.subject.user.userPrincipalName",
    ),
    "a user by object id": (
        {"user": {"objectId": ID}},
        Reference("user", ID, "objectId"),
        "spec.subject.user.objectId",
    ),
    "a service principal by app id": (
        {"servicePrincipal": {"appId": ID}},
        Reference("servicePrincipal", ID, "appId"),
        "spec.subject.servicePrincipal.appId",
    ),
    "a service principal by object id": (
        {"servicePrincipal": {"objectId": ID}},
        Reference("servicePrincipal", ID, "objectId"),
        "spec.subject.servicePrincipal.objectId",
    ),
}


@pytest.mark.parametrize(("subject", "reference", "path"), SUBJECTS.values(), ids=SUBJECTS)
def test_a_subject_that_is_there_already(subject: dict[str, Any], reference: Reference, path: str) -> None:
    found = read_policy(policy(subject))
    assert found.subject == DirectorySubject(reference, path)
    assert found.group is None


@pytest.mark.parametrize(("token", "expected"), [(None, False), (False, False), (True, True)])
def test_a_service_account(token: bool | None, expected: bool) -> None:  # noqa: FBT001
    account = {"namespace": "tools", "name": "demo"} | ({} if token is None else {"token": token})
    found = read_policy(policy({"serviceAccount": account}))
    assert found.subject == ServiceAccountSubject("tools", "demo", expected)


def test_members_of_every_kind_and_owners_of_two() -> None:
    members = [{"user": UPN}, {"group": ID.upper()}, {"servicePrincipal": ID}, {"policy": "ops"}]
    owners = [{"user": UPN}, {"servicePrincipal": ID}]
    group = {"displayName": "appdev", "members": members, "owners": owners}
    found = group_of(read_policy(policy({"group": group})))
    assert found.members == (
        Reference("user", UPN.lower()),
        Reference("group", ID),
        Reference("servicePrincipal", ID),
        Reference("policy", "ops"),
    )
    assert found.owners == (Reference("user", UPN.lower()), Reference("servicePrincipal", ID))


def test_azure_roles_are_at_the_cluster_unless_told_otherwise() -> None:
    roles = [
        {"role": "Reader"},
        {"role": "Reader", "scope": "Cluster"},
        {"role": "R", "scope": "/subscriptions/x"},
    ]
    assert read_policy(policy(azureRoles=roles)).azure_roles == (
        AzureRole("Reader", "Cluster"),
        AzureRole("Reader", "Cluster"),
        AzureRole("R", "/subscriptions/x"),
    )


def test_custom_roles() -> None:
    whole = {
        "name": "Pod Restarter",
        "description": "May delete pods",
        "actions": ["a"],
        "notActions": ["b"],
        "dataActions": ["c"],
        "notDataActions": ["d"],
        "assignableScopes": ["/subscriptions/x"],
    }
    also = f"of {ID}"  # an id in a name makes no id of it
    roles = [whole, {"name": "Plain", "actions": ["a"]}, {"name": also, "actions": ["a"]}]
    assert read_policy(policy(customRoles=roles)).custom_roles == (
        CustomRole("Pod Restarter", "May delete pods", ("a",), ("b",), ("c",), ("d",), ("/subscriptions/x",)),
        CustomRole("Plain", None, ("a",)),
        CustomRole(also, None, ("a",)),
    )


def test_rules_of_resources_and_of_urls() -> None:
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["x"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]
    found = read_policy(policy(rules=rules)).rules
    assert found == (
        Rule(("get",), ("",), ("pods",), ("x",)),
        Rule(("get",), non_resource_urls=("/metrics",)),
    )
    assert [rule.as_dict() for rule in found] == rules


def test_access_in_namespaces() -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    entries = [
        {"selector": {"matchLabels": {"team": "x"}}, "clusterRoles": ["view"], "azureRoles": ["Reader"]},
        {"names": ["a", "b"], "rules": [rule]},
        {"selector": {}, "clusterRoles": ["view"]},
    ]
    assert read_policy(policy(namespaces=entries)).namespaces == (
        NamespaceAccess(a_selector(team="x"), (), ("view",), (), ("Reader",)),
        NamespaceAccess(None, ("a", "b"), (), (Rule(("get",), ("",), ("pods",)),), ()),
        NamespaceAccess(a_selector(), (), ("view",)),
    )


def test_azure_roles_of_a_ceiling_and_of_a_grant() -> None:
    ceiling = read_policy(policy(grants={"namespaces": {}, "azureRoles": ["Reader", "Writer"]})).ceiling
    assert ceiling is not None
    assert ceiling.azure_roles == ("Reader", "Writer")
    assert read_grant(grant(azureRoles=["Reader"])).azure_roles == ("Reader",)
    assert read_grant(grant()).azure_roles == ()


def test_what_is_not_given_is_nothing() -> None:
    found = read_policy(policy())
    assert (found.azure_roles, found.custom_roles, found.rules, found.namespaces) == ((), (), (), ())


S, N = "spec.subject", "spec.namespaces"
BAD: list[tuple[dict[str, Any], str]] = [
    (policy({"user": {}}), f"{S}.user"),
    (policy({"user": "anna"}), f"{S}.user"),
    (policy({"user": {"userPrincipalName": UPN, "objectId": ID}}), f"{S}.user"),
    (policy({"user": {"appId": ID}}), f"{S}.user"),
    (policy({"user": {"objectId": ""}}), f"{S}.user.objectId"),
    (policy({"user": {"objectId": 5}}), f"{S}.user.objectId"),
    (policy({"user": {"objectId": ID}, "existingGroup": {"objectId": ID}}), S),
    (policy({"robot": {"objectId": ID}}), S),
    (policy({"existingGroup": {"displayName": "x"}}), f"{S}.existingGroup"),
    (policy({"servicePrincipal": {"userPrincipalName": UPN}}), f"{S}.servicePrincipal"),
    (policy({"servicePrincipal": {"appId": ID, "objectId": ID}}), f"{S}.servicePrincipal"),
    (policy({"serviceAccount": {"name": "x"}}), f"{S}.serviceAccount.namespace"),
    (policy({"serviceAccount": {"namespace": "x"}}), f"{S}.serviceAccount.name"),
    (
        policy({"serviceAccount": {"namespace": "x", "name": "y", "token": "yes"}}),
        f"{S}.serviceAccount.token",
    ),
    (policy(azureRoles=[{"scope": "Cluster"}]), "spec.azureRoles[0].role"),
    (policy(azureRoles=[{"role": "Reader", "scope": 5}]), "spec.azureRoles[0].scope"),
    (policy(customRoles=[{"actions": ["a"]}]), "spec.customRoles[0].name"),
    (policy(customRoles=[{"name": "x", "dataActions": "a"}]), "spec.customRoles[0].dataActions"),
    (policy(customRoles=[{"name": "x/y", "actions": ["a"]}]), "spec.customRoles[0].name"),
    (policy(customRoles=[{"name": f"x/{ID}", "actions": ["a"]}]), "spec.customRoles[0].name"),
    (policy(customRoles=[{"name": ID.upper(), "actions": ["a"]}]), "spec.customRoles[0].name"),
    (
        policy(customRoles=[{"name": name, "actions": ["a"]} for name in ("Äb", "x", "äB")]),
        "spec.customRoles[2].name",
    ),
    (policy(rules=[{"resources": ["pods"], "verbs": ["get"]}]), "spec.rules[0].apiGroups"),
    (policy(rules=[{"nonResourceURLs": [], "verbs": ["get"]}]), "spec.rules[0].nonResourceURLs"),
    (policy(rules=[{"nonResourceURLs": ["/x"]}]), "spec.rules[0].verbs"),
    (policy(namespaces=[{"clusterRoles": ["view"]}]), f"{N}[0]"),
    (policy(namespaces=[{"names": [], "clusterRoles": ["view"]}]), f"{N}[0]"),
    (policy(namespaces=[{"names": ["a"], "selector": {}}]), f"{N}[0]"),
    (policy(namespaces=[{"names": ["a"], "clusterRoles": [5]}]), f"{N}[0].clusterRoles[0]"),
    (policy(namespaces=[{"names": ["a"], "azureRoles": [{}]}]), f"{N}[0].azureRoles[0]"),
    (policy(namespaces=[{"selector": "team=x"}]), f"{N}[0].selector"),
    (policy(grants={"namespaces": {}, "azureRoles": [{}]}), "spec.grants.azureRoles[0]"),
]


@pytest.mark.parametrize(
    ("body", "path"), BAD, ids=[f"{number}: {path}" for number, (_, path) in enumerate(BAD)]
)
def test_a_field_that_cannot_be_used_is_named(body: dict[str, Any], path: str) -> None:
    assert refused(body) == path


@pytest.mark.parametrize("where", ["namespaces", "grants"])
def test_rules_about_urls_are_for_the_whole_cluster_only(where: str) -> None:
    """A Role cannot have them, so a rule of URLs alone must not become one of nothing."""
    rule = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    entry = {"names": ["a"], "rules": [rule]}
    body = (
        policy(namespaces=[entry])
        if where == "namespaces"
        else policy(grants={"namespaces": {}, "rules": [rule]})
    )
    assert refused(body).endswith("rules[0].apiGroups")


def test_a_rule_is_of_resources_or_of_urls_and_not_of_both() -> None:
    """Kubernetes refuses such a rule; to read half of it would be to give something else."""
    rule = {"nonResourceURLs": ["/x"], "verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    assert refused(policy(rules=[rule])).startswith("spec.rules[0]")


def test_reading_changes_nothing_that_was_read() -> None:
    body = policy(azureRoles=[{"role": "Reader"}], namespaces=[{"names": ["a"], "clusterRoles": ["view"]}])
    before = copy.deepcopy(body)
    read_policy(body)
    assert body == before
