"""Lists in ARM: which assignments and definitions a scope and a filter give."""

import httpx
import pytest

from entra_sandbox import seed
from support.azure import AKS_READER, AUTHORIZATION, Caller, code, message
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

AKSDEV, LEAD = seed.USER_IDS[seed.AKSDEV], seed.USER_IDS[seed.LEAD]
NAMESPACE = f"{seed.CLUSTER_ID}/namespaces/dev"
SCOPES = {
    "root": "/",
    "management": seed.ROOT_MANAGEMENT_GROUP,
    "subscription": seed.SUBSCRIPTION,
    "group": seed.RESOURCE_GROUP,
    "other": seed.OTHER_RESOURCE_GROUP,
    "cluster": seed.CLUSTER_ID,
    "namespace": NAMESPACE,
    "sibling": f"{seed.CLUSTER_ID}-2",
}


@pytest.fixture
def everywhere(sandbox: RunningSandbox) -> dict[str, str]:
    """One assignment of one user at every kind of scope, names by scope."""
    return {
        word: str(sandbox.client.assign(AKSDEV, AKS_READER, scope)["name"]) for word, scope in SCOPES.items()
    }


def _listed(operator: Caller, everywhere: dict[str, str], scope: str, text: str | None = None) -> set[str]:
    names = {a["name"] for a in operator.assignments(scope, text)}
    return {word for word, name in everywhere.items() if name in names}


def test_at_scope_is_at_or_above(operator: Caller, everywhere: dict[str, str]) -> None:
    above = {"root", "management", "subscription", "group", "cluster"}
    assert _listed(operator, everywhere, seed.CLUSTER_ID, "atScope()") == above
    assert _listed(operator, everywhere, seed.CLUSTER_ID.upper(), "atScope()") == above
    assert _listed(operator, everywhere, NAMESPACE, "atScope()") == {*above, "namespace"}


def test_without_a_filter_it_is_above_at_and_below(operator: Caller, everywhere: dict[str, str]) -> None:
    assert _listed(operator, everywhere, seed.CLUSTER_ID) == set(everywhere) - {"other", "sibling"}
    assert _listed(operator, everywhere, seed.RESOURCE_GROUP) == set(everywhere) - {"other"}


def test_from_the_root_everything_is_below(
    sandbox: RunningSandbox, operator: Caller, everywhere: dict[str, str]
) -> None:
    sandbox.client.assign(seed.OPERATOR_CLIENT_ID, "Reader", "/")
    assert _listed(operator, everywhere, "") == set(everywhere)
    assert _listed(operator, everywhere, seed.ROOT_MANAGEMENT_GROUP) == set(everywhere)
    assert _listed(operator, everywhere, seed.SUBSCRIPTION) == set(everywhere)
    assert _listed(operator, everywhere, "", "atScope()") == {"root"}


def test_by_principal(sandbox: RunningSandbox, operator: Caller, everywhere: dict[str, str]) -> None:
    sandbox.client.assign(LEAD, AKS_READER, seed.CLUSTER_ID)
    text = f"principalId eq '{AKSDEV}'"
    assert _listed(operator, everywhere, seed.CLUSTER_ID, text) == set(everywhere) - {"other", "sibling"}
    found = operator.assignments(seed.CLUSTER_ID, text)
    assert {a["properties"]["principalId"] for a in found} == {AKSDEV}
    both = _listed(operator, everywhere, seed.RESOURCE_GROUP, f"{text} and atScope()")
    assert both == {"root", "management", "subscription", "group"}


def test_assigned_to_counts_groups(sandbox: RunningSandbox, operator: Caller) -> None:
    inner = sandbox.client.add_group("inner", members=[seed.AKSDEV])["id"]
    outer = sandbox.client.add_group("outer", members=[inner])["id"]
    sandbox.client.assign(outer, AKS_READER, seed.CLUSTER_ID)
    found = operator.assignments(seed.CLUSTER_ID, f"assignedTo('{AKSDEV}')")
    assert [a["properties"]["principalId"] for a in found] == [outer]
    found = operator.assignments(seed.CLUSTER_ID, f"atScope() and assignedTo('{AKSDEV}')")
    assert len(found) == 1


def test_assignments_come_in_pages(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(arm_page_size=3)
    made = {
        str(sandbox.client.assign(AKSDEV, AKS_READER, f"{seed.CLUSTER_ID}/namespaces/n{n}")["name"])
        for n in range(8)
    }
    first = operator.arm("GET", f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments")
    assert len(first.json()["value"]) == 3
    assert "$skipToken=" in first.json()["nextLink"]
    listed = [a["name"] for a in operator.assignments(seed.CLUSTER_ID)]
    assert made <= set(listed)
    assert len(listed) == len(set(listed))
    broken = operator.arm("GET", f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments", skipToken="nonsense")
    assert code(broken) == (400, "InvalidSkipToken")


def test_unknown_filters_are_refused(operator: Caller) -> None:
    for kind in ("roleAssignments", "roleDefinitions"):
        answer = operator.arm("GET", f"{seed.CLUSTER_ID}/{AUTHORIZATION}/{kind}", filter="colour eq 'red'")
        assert code(answer) == (400, "UnsupportedQuery")


def test_definitions_by_name_and_type(operator: Caller) -> None:
    path = f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleDefinitions"
    named = operator.arm("GET", path, filter="roleName eq 'azure kubernetes service rbac READER'")
    (role,) = named.json()["value"]
    assert (role["name"], role["properties"]["type"]) == (AKS_READER, "BuiltInRole")
    assert role["id"] == f"{seed.SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{AKS_READER}"
    assert role["properties"]["permissions"][0]["notDataActions"] == []
    custom = operator.arm("GET", path, filter="type eq 'CustomRole'").json()["value"]
    assert [r["name"] for r in custom] == [seed.CUSTOM_ROLE_AUTHOR]
    assert len(operator.arm("GET", path).json()["value"]) == 60
    assert operator.arm("GET", path, filter="roleName eq 'nonsense'").json()["value"] == []


@pytest.mark.parametrize(
    ("cluster", "role"),
    [
        (seed.CLUSTER_ID, "Azure Kubernetes Service Cluster User Role"),
        (seed.CLUSTER_ID, "Role Based Access Control Administrator"),
        (seed.ARC_CLUSTER_ID, "Role Based Access Control Administrator"),
        (seed.ARC_CLUSTER_ID, "Reader"),
    ],
)
def test_a_cluster_is_shown_to_who_may_read_it(
    sandbox: RunningSandbox, http: httpx.Client, cluster: str, role: str
) -> None:
    view = caller_of(sandbox, http, seed.PIPELINE_CLIENT_ID)
    refused = view.arm("GET", cluster)
    assert code(refused) == (403, "AuthorizationFailed")
    kind = "/".join(cluster.split("/")[-3:-1])
    assert f"to perform action '{kind}/read' over scope '{cluster}'" in message(refused)
    sandbox.client.assign(seed.PIPELINE_CLIENT_ID, role, cluster)
    assert view.arm("GET", cluster).json()["id"] == cluster


def test_who_may_only_fetch_a_kubeconfig_of_an_arc_cluster_does_not_read_it(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    role = "Azure Arc Enabled Kubernetes Cluster User Role"
    sandbox.client.assign(seed.PIPELINE_CLIENT_ID, role, seed.ARC_CLUSTER_ID)
    view = caller_of(sandbox, http, seed.PIPELINE_CLIENT_ID)
    assert code(view.arm("GET", seed.ARC_CLUSTER_ID)) == (403, "AuthorizationFailed")
