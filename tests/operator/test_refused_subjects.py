"""Subjects, members, roles and namespaces that cannot be right are refused at the door, and say why."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.cluster import API, Body, Cluster

GUID = "11111111-2222-4333-8444-555555555555"
RULE: Body = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
SCOPE = "/subscriptions/11111111-2222-4333-8444-555555555555"
ACCOUNT: Body = {"serviceAccount": {"namespace": "default", "name": "robot"}}
PERSON: Body = {"user": {"userPrincipalName": "a@b.de"}}
READER = "Azure Kubernetes Service RBAC Reader"
NO_AZURE = "a service account is not in Entra and cannot have Azure roles"
ONE_SUBJECT = "exactly one of group, existingGroup, user, servicePrincipal and serviceAccount must be given"
ONE_NAME = "exactly one of userPrincipalName and objectId must be given"
ONE_APP = "exactly one of appId and objectId must be given"
ONE_OWNER = "exactly one of user and servicePrincipal must be given"
ONE_MEMBER = "exactly one of user, group, servicePrincipal and policy must be given"
A_GUID = "must be a GUID"
A_UPN = "must be a user principal name, as name@domain; an object id goes into objectId"
A_GUEST = "a guest of this tenant must be given by objectId"
A_SCOPE = "scope must be Cluster or an ARM id"
ONE_WAY = "exactly one of selector and names must be given"
SOME = "at least one of clusterRoles, rules and azureRoles must be given"
A_RULE = "a rule must have apiGroups and resources, or nonResourceURLs and none of these"
A_CLUSTER_ROLE = "must be the name of a ClusterRole"
A_DEFINITION = "must be a role definition id"
NO_ID = "name must not contain a slash and must not be a GUID"


def spec(subject: Body | None = None, **fields: Any) -> Body:
    """A policy's spec."""
    return {"subject": PERSON if subject is None else subject, **fields}


def group(**fields: Any) -> Body:
    """A policy's spec for a group with these fields too."""
    return spec({"group": {"displayName": "x", **fields}})


def everywhere(**entry: Any) -> Body:
    """A policy's spec with access in namespaces; None leaves a field out."""
    fields = {"selector": {}, "clusterRoles": ["view"], **entry}
    return spec(namespaces=[{key: value for key, value in fields.items() if value is not None}])


def custom(**fields: Any) -> Body:
    """A policy's spec with a custom role; None leaves a field out."""
    role = {"name": "Restarter", "dataActions": ["a/b/read"], **fields}
    return spec(customRoles=[{key: value for key, value in role.items() if value is not None}])


def scoped(scope: str) -> Body:
    """A policy's spec with a role at that scope."""
    return spec(azureRoles=[{"role": "Reader", "scope": scope}])


def ruled(rule: Body) -> Body:
    """A policy's spec with that rule beside a good one."""
    return spec(rules=[RULE, rule])


def user(**fields: str) -> Body:
    """A policy's spec for a user."""
    return spec({"user": fields})


def app(**fields: str) -> Body:
    """A policy's spec for an application."""
    return spec({"servicePrincipal": fields})


def account(**fields: Any) -> Body:
    """A policy's spec for a service account with these fields too; None leaves one out."""
    given = {**ACCOUNT["serviceAccount"], **fields}
    return spec({"serviceAccount": {key: value for key, value in given.items() if value is not None}})


SUBJECT, ENTRY, CUSTOM = "spec.subject", "spec.namespaces[0]", "spec.customRoles[0]"
REFUSED: dict[str, tuple[Body, str, str]] = {
    # Subjects
    "none of the kinds": (spec({}), SUBJECT, ONE_SUBJECT),
    "a user and an application": (
        spec({**PERSON, "servicePrincipal": {"appId": GUID}}), SUBJECT, ONE_SUBJECT,
    ),
    "a group and a service account": (
        spec({**ACCOUNT, "group": {"displayName": "x"}}), SUBJECT, ONE_SUBJECT,
    ),
    "an existing group without id": (
        spec({"existingGroup": {}}), f"{SUBJECT}.existingGroup.objectId", "Required value",
    ),
    "an existing group by name": (
        spec({"existingGroup": {"objectId": "ops"}}), f"{SUBJECT}.existingGroup.objectId", A_GUID,
    ),
    "an existing group with members": (
        spec({"existingGroup": {"objectId": GUID, "members": []}}),
        f'unknown field "{SUBJECT}.existingGroup.members"', "",
    ),
    "a user without name": (user(), f"{SUBJECT}.user", ONE_NAME),
    "a user by both": (user(userPrincipalName="a@b.de", objectId=GUID), f"{SUBJECT}.user", ONE_NAME),
    "an object id as name": (user(userPrincipalName=GUID), f"{SUBJECT}.user.userPrincipalName", A_UPN),
    "a name without domain": (user(userPrincipalName="alice"), f"{SUBJECT}.user.userPrincipalName", A_UPN),
    "a name with slash": (user(userPrincipalName="a/b@c.de"), f"{SUBJECT}.user.userPrincipalName", A_UPN),
    "a name as object id": (user(objectId="a@b.de"), f"{SUBJECT}.user.objectId", A_GUID),
    "a guest by name": (
        user(userPrincipalName="p_fabrikam.com#EXT#@contoso.com"),
        f"{SUBJECT}.user.userPrincipalName", A_GUEST,
    ),
    "a guest by name in lower case": (
        user(userPrincipalName="p_fabrikam.com#ext#@contoso.com"),
        f"{SUBJECT}.user.userPrincipalName", A_GUEST,
    ),
    "an application without id": (app(), f"{SUBJECT}.servicePrincipal", ONE_APP),
    "an application by both": (app(appId=GUID, objectId=GUID), f"{SUBJECT}.servicePrincipal", ONE_APP),
    "an application by name": (app(appId="pipeline"), f"{SUBJECT}.servicePrincipal.appId", A_GUID),
    "an application by cut id": (app(objectId=GUID[1:]), f"{SUBJECT}.servicePrincipal.objectId", A_GUID),
    # Service accounts
    "an account without namespace": (
        account(namespace=None), f"{SUBJECT}.serviceAccount.namespace", "Required value",
    ),
    "an account without name": (account(name=None), f"{SUBJECT}.serviceAccount.name", "Required value"),
    "an account's name in capitals": (account(name="Robot"), f"{SUBJECT}.serviceAccount.name", "match"),
    "an account's long name": (account(name="r" * 241), f"{SUBJECT}.serviceAccount.name", "240"),
    "an account's bad namespace": (
        account(namespace="a.b"), f"{SUBJECT}.serviceAccount.namespace", "should match",
    ),
    "an account's token as text": (account(token="yes"), f"{SUBJECT}.serviceAccount.token", "boolean"),
    "an account with Azure roles": (
        spec(ACCOUNT, azureRoles=[{"role": "Reader"}]), "spec.azureRoles", NO_AZURE,
    ),
    "an account with Azure roles in namespaces": (
        spec(ACCOUNT, namespaces=[{"names": ["a"], "azureRoles": [READER]}]), "spec.namespaces", NO_AZURE,
    ),
    "an account with Azure roles in the ceiling": (
        spec(ACCOUNT, grants={"namespaces": {}, "azureRoles": [READER]}), "spec.grants", NO_AZURE,
    ),
    # Members and owners
    "a member of two kinds": (
        group(members=[{"policy": "a", "group": GUID}]), f"{SUBJECT}.group.members[0]", ONE_MEMBER,
    ),
    "an application that is a name": (
        group(members=[{"servicePrincipal": "pipeline"}]),
        f"{SUBJECT}.group.members[0].servicePrincipal", A_GUID,
    ),
    "a policy without a name": (
        group(members=[{"policy": ""}]), f"{SUBJECT}.group.members[0].policy", "at least 1 char",
    ),
    "a policy with a long name": (
        group(members=[{"policy": "x" * 64}]), f"{SUBJECT}.group.members[0].policy", "63",
    ),
    "an owner of two kinds": (
        group(owners=[{"user": "a@b.de", "servicePrincipal": GUID}]),
        f"{SUBJECT}.group.owners[0]", ONE_OWNER,
    ),
    "an owner of no kind": (group(owners=[{}]), f"{SUBJECT}.group.owners[0]", ONE_OWNER),
    # Azure roles
    "a scope with a slash at the end": (scoped(f"{SCOPE}/"), "spec.azureRoles[0].scope", A_SCOPE),
    "a scope that is a name": (scoped("rg-aks"), "spec.azureRoles[0].scope", A_SCOPE),
    "a scope with a bad subscription": (
        scoped("/subscriptions/mine/resourceGroups/x"), "spec.azureRoles[0].scope", A_SCOPE,
    ),
    "a scope below nothing": (scoped(f"{SCOPE}/resourceGroups"), "spec.azureRoles[0].scope", A_SCOPE),
    "a scope with a query": (
        scoped(f"{SCOPE}/resourceGroups/x?a=b"), "spec.azureRoles[0].scope", A_SCOPE,
    ),
    "the same role twice at a scope": (
        spec(azureRoles=[{"role": "Reader", "scope": SCOPE}] * 2), "spec.azureRoles[1]", "Duplicate value",
    ),
    "a custom role without actions": (custom(dataActions=None), CUSTOM, "at least one of actions and"),
    "a custom role with no actions": (custom(dataActions=[]), CUSTOM, "at least one of actions and"),
    "a custom role without name": (custom(name=None), f"{CUSTOM}.name", "Required value"),
    "a custom role like an id": (custom(name="/x"), f"{CUSTOM}.name", NO_ID),
    "a custom role with a slash": (custom(name="x/y"), f"{CUSTOM}.name", NO_ID),
    "a custom role that ends like an id": (custom(name=f"x/{GUID}"), f"{CUSTOM}.name", NO_ID),
    "a custom role that is a GUID": (custom(name=GUID.upper()), f"{CUSTOM}.name", NO_ID),
    "a custom role with space": (custom(name="x "), f"{CUSTOM}.name", "no white space around it"),
    "a custom role at a resource": (
        custom(assignableScopes=[f"{SCOPE}/resourceGroups/x/providers/a/b/c"]),
        f"{CUSTOM}.assignableScopes[0]", "must be the ARM id of a subscription, resource group or",
    ),
    "a custom role nowhere": (custom(assignableScopes=[]), f"{CUSTOM}.assignableScopes", "at least 1 item"),
    "the same custom role twice": (
        spec(customRoles=[{"name": "x", "actions": ["a"]}] * 2), "spec.customRoles[1]", "Duplicate value",
    ),
    "a custom role twice but for case": (
        spec(customRoles=[{"name": name, "actions": ["a"]} for name in ("a", "Pod Worker", "pod worker")]),
        "spec.customRoles", "differ only in case",
    ),
    # Rules
    "a rule without verbs": (
        ruled({"apiGroups": [""], "resources": ["pods"]}), "spec.rules[1].verbs", "Required value",
    ),
    "a rule for nothing": (ruled({"verbs": ["get"]}), "spec.rules[1]", A_RULE),
    "a rule without apiGroups": (ruled({"resources": ["pods"], "verbs": ["get"]}), "spec.rules[1]", A_RULE),
    "a rule for URLs and resources": (ruled({**RULE, "nonResourceURLs": ["/x"]}), "spec.rules[1]", A_RULE),
    "a rule for URLs with names": (
        ruled({"nonResourceURLs": ["/x"], "resourceNames": ["x"], "verbs": ["get"]}),
        "spec.rules[1]", A_RULE,
    ),
    "a rule for no URLs": (
        ruled({"nonResourceURLs": [], "verbs": ["get"]}), "spec.rules[1].nonResourceURLs", "at least 1 items",
    ),
    # Namespaces
    "namespaces in no way": (everywhere(selector=None), ENTRY, ONE_WAY),
    "namespaces in both ways": (everywhere(names=["a"]), ENTRY, ONE_WAY),
    "namespaces without access": (everywhere(clusterRoles=None), ENTRY, SOME),
    "namespaces with empty access": (everywhere(clusterRoles=[], rules=[]), ENTRY, SOME),
    "namespaces by no name": (everywhere(selector=None, names=[]), f"{ENTRY}.names", "at least 1 items"),
    "a namespace twice": (
        everywhere(selector=None, names=["a", "a"]), f"{ENTRY}.names[1]", "Duplicate value",
    ),
    "a bad name of a namespace": (
        everywhere(selector=None, names=["a", "B"]), f"{ENTRY}.names[1]", "should match",
    ),
    "a bad selector": (
        everywhere(selector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        f"{ENTRY}.selector.matchExpressions[0]", "values must be given",
    ),
    "a rule for URLs in namespaces": (
        everywhere(rules=[{"nonResourceURLs": ["/x"], "verbs": ["get"]}]),
        f'unknown field "{ENTRY}.rules[0].nonResourceURLs"', "",
    ),
    "a bad ClusterRole in namespaces": (
        everywhere(clusterRoles=["a/b"]), f"{ENTRY}.clusterRoles[0]", A_CLUSTER_ROLE,
    ),
    "a bad Azure role in namespaces": (
        everywhere(azureRoles=["/x"]), f"{ENTRY}.azureRoles[0]", A_DEFINITION,
    ),
    "the ceiling's bad Azure role": (
        spec(grants={"namespaces": {}, "azureRoles": ["/x"]}), "spec.grants.azureRoles[0]", A_DEFINITION,
    ),
    "the ceiling's Azure role twice": (
        spec(grants={"namespaces": {}, "azureRoles": [READER, READER]}),
        "spec.grants.azureRoles[1]", "Duplicate value",
    ),
}  # fmt: skip
GRANTS: dict[str, tuple[Body, str, str]] = {
    "an Azure role like an id": ({"azureRoles": ["/x"]}, "spec.azureRoles[0]", A_DEFINITION),
    "an Azure role with space": ({"azureRoles": [" x"]}, "spec.azureRoles[0]", "without white space"),
    "an Azure role twice": ({"azureRoles": ["x", "x"]}, "spec.azureRoles[1]", "Duplicate value"),
    "no Azure roles": ({"azureRoles": []}, "spec", "at least one of rules, clusterRoles and azureRoles"),
}
EVERYTHING: Body = {
    "subject": {
        "group": {
            "displayName": "Größer & O'Brien",
            "mailNickname": "groesser",
            "description": "everybody",
            "members": [
                {"user": "partner_fabrikam.com#EXT#@contoso.com"},
                {"user": GUID},
                {"servicePrincipal": GUID.upper()},
                {"group": GUID},
                {"policy": "x" * 63},
            ],
            "owners": [{"user": "a.b+c@sub.contoso.com"}, {"servicePrincipal": GUID}],
            "membership": "Exact",
        }
    },
    "azureRoles": [
        {"role": "Reader"},
        {"role": "Reader", "scope": SCOPE},
        {"role": GUID, "scope": f"{SCOPE}/resourceGroups/rg_(1)"},
        {"role": "Own Role", "scope": f"{SCOPE}/resourcegroups/x/providers/Microsoft.KeyVault/vaults/keys"},
        {"role": "Reader", "scope": "/providers/Microsoft.Management/managementGroups/root"},
        {"role": f"{SCOPE}/providers/Microsoft.Authorization/roleDefinitions/{GUID}", "scope": "Cluster"},
    ],
    "customRoles": [
        {
            "name": "Own Role",
            "description": "what it is for",
            "actions": ["Microsoft.ContainerService/managedClusters/read"],
            "notActions": ["a/b/write"],
            "dataActions": ["Microsoft.ContainerService/managedClusters/pods/*"],
            "notDataActions": ["Microsoft.ContainerService/managedClusters/pods/exec/action"],
            "assignableScopes": [SCOPE, f"{SCOPE}/resourceGroups/x"],
        }
    ],
    "clusterRoles": ["view", "system:aggregate-to-view"],
    "rules": [
        {**RULE, "resourceNames": ["x"]},
        {"nonResourceURLs": ["/metrics", "/debug/*"], "verbs": ["get"]},
    ],
    "namespaces": [
        {
            "selector": {
                "matchLabels": {"team": "a"},
                "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x", "y"]}],
            },
            "clusterRoles": ["edit"],
            "rules": [RULE],
            "azureRoles": [READER, GUID],
        },
        {"names": ["a", "b-1"], "azureRoles": [READER]},
        {"selector": {}, "rules": [RULE]},
    ],
    "grants": {"namespaces": {}, "clusterRoles": ["view"], "rules": [RULE], "azureRoles": [READER, GUID]},
}
ACCEPTED: dict[str, Body] = {
    "everything": EVERYTHING,
    "an existing group": {**EVERYTHING, "subject": {"existingGroup": {"objectId": GUID.upper()}}},
    "a user": {**EVERYTHING, "subject": {"user": {"userPrincipalName": "o'Hara.ü@contoso.com"}}},
    "many custom roles": spec(
        customRoles=[{"name": f"{number:02} " + "x" * 509, "actions": ["a"]} for number in range(20)]
    ),
    "a user by id": user(objectId=GUID),
    "an application": app(appId=GUID),
    "an application by id": app(objectId=GUID),
    "a service account": account(token=True, name="a.b-c", namespace="kube-system"),
    "a service account with empty lists": spec(
        ACCOUNT,
        azureRoles=[],
        namespaces=[{"names": ["a"], "rules": [RULE], "azureRoles": []}],
        grants={"namespaces": {}, "azureRoles": []},
    ),
}


@pytest.fixture(scope="module")
def http(shared_cluster: Cluster) -> Iterator[httpx.Client]:
    """The API server, as kubectl speaks to it, without kubectl's time to start."""
    with shared_cluster.stack.plane.client() as client:
        yield client


def answer(http: httpx.Client, wish: Body) -> tuple[int, str]:
    """What the API server says when it is asked, for a trial, to take a policy or a grant of that spec."""
    grant = "policyRef" in wish
    kind, where = "AccessPolicy", "accesspolicies"
    if grant:
        kind, where = "NamespaceGrant", "namespaces/default/namespacegrants"
    body = {"apiVersion": API, "kind": kind, "metadata": {"name": "x"}, "spec": wish}
    said = http.post(f"/apis/{API}/{where}", json=body, params={"dryRun": "All", "fieldValidation": "Strict"})
    return said.status_code, str(said.json().get("message", ""))


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_policy_is_refused(http: httpx.Client, case: str) -> None:
    """The message has the field's path, and what is wrong in words where the path does not say it."""
    wish, path, words = REFUSED[case]
    status, said = answer(http, wish)
    assert status in {400, 422}, said
    assert path in said
    assert words in said


@pytest.mark.parametrize("case", GRANTS)
def test_a_bad_grant_is_refused(http: httpx.Client, case: str) -> None:
    """Likewise for grants."""
    wish, path, words = GRANTS[case]
    status, said = answer(http, {"policyRef": {"name": "x"}, **wish})
    assert status in {400, 422}, said
    assert path in said
    assert words in said


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_good_policy_is_accepted(http: httpx.Client, case: str) -> None:
    """With every field, for every kind of subject."""
    assert answer(http, ACCEPTED[case]) == (201, "")


def test_a_good_grant_is_accepted(http: httpx.Client) -> None:
    """With Azure roles in all forms, alone and beside the others."""
    definition = f"/providers/Microsoft.Authorization/roleDefinitions/{GUID}"
    roles: Body = {"policyRef": {"name": "x"}, "azureRoles": [READER, GUID, definition]}
    assert answer(http, roles) == (201, "")
    assert answer(http, {**roles, "rules": [RULE], "clusterRoles": ["view"]}) == (201, "")
