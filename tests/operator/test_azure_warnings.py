"""Roles of the other kind of cluster, and warnings: what may not do what people expect."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Body, Cluster, eventually, running
from support.life import AKS_USER, ceiling, events, gets, may
from support.scopes import (
    PLAIN_READER,
    READER,
    WRITER,
    Personal,
    at,
    has,
    last_entry,
    namespace_scope,
    personal,
)

ARC_USER = "Azure Arc Enabled Kubernetes Cluster User Role"
PAIRS = {
    "Azure Kubernetes Service RBAC Reader": "Azure Arc Kubernetes Viewer",
    "Azure Kubernetes Service RBAC Writer": "Azure Arc Kubernetes Writer",
    "Azure Kubernetes Service RBAC Admin": "Azure Arc Kubernetes Admin",
    "Azure Kubernetes Service RBAC Cluster Admin": "Azure Arc Kubernetes Cluster Admin",
    AKS_USER: ARC_USER,
}
"""What means the same on an AKS and on an Arc cluster."""
ADMIN = "Azure Kubernetes Service RBAC Admin"
CLUSTER_ADMIN = "Azure Kubernetes Service RBAC Cluster Admin"
MANAGED: Body = {
    "managed": True,
    "enableAzureRBAC": True,
    "tenantID": seed.TENANT_ID,
    "adminGroupObjectIDs": [],
}
LEGACY: Body = {"clientAppID": seed.PIPELINE_CLIENT_ID, "serverAppID": seed.LEAST_CLIENT_ID}


@pytest.fixture(scope="module")
def own_aks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An AKS cluster whose resource is looked at all the time, and everything else often."""
    with running(
        tmp_path_factory.mktemp("facts"), ENTRA_ACCESS_CLUSTER_SECONDS="1", ENTRA_ACCESS_RESYNC_SECONDS="4"
    ) as cluster:
        yield cluster


@pytest.fixture
def aks(own_aks: Cluster) -> Iterator[Cluster]:
    """That cluster, as it was made."""
    yield own_aks
    own_aks.azure.set_aad_profile(own_aks.stack.cluster_id, MANAGED)


@pytest.fixture(scope="module")
def arc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An Arc-connected cluster, likewise."""
    with running(tmp_path_factory.mktemp("arc"), kind="arc", ENTRA_ACCESS_CLUSTER_SECONDS="1") as cluster:
        yield cluster


def warned(policy: Personal, *reasons: str) -> None:
    """Wait until the policy has exactly these warnings; Ready is True all the while."""

    def now() -> bool:
        found = policy.cluster.condition("apol", policy.name, "Warning")
        return [found["reason"]] == list(reasons) if reasons and found else not (reasons or found)

    eventually(now, f"{policy.name} has the warning {reasons}", 20)
    assert policy.cluster.condition("apol", policy.name, "Ready")["status"] == "True"


def told(cluster: Cluster, policy: Personal, reason: str) -> list[str]:
    """The messages of the Warning events for that reason."""
    return [
        text
        for type_, why, text in events(cluster, "AccessPolicy", policy.name)
        if (type_, why) == ("Warning", reason)
    ]


# Two kinds of clusters


def kept_access(cluster: Cluster, roles: dict[str, str], connect: str) -> None:
    """Ask for each role of the other kind of cluster: it is refused, its twin named, nothing taken."""
    mine = list(roles.values())
    policy = personal(cluster, azureRoles=[at(role) for role in mine])
    policy.ready()
    here = cluster.stack.cluster_id
    before = sorted((role, here) for role in mine)
    assert policy.roles() == before
    for index, (other, meant) in enumerate(roles.items()):
        policy.apply(azureRoles=[at(other if role == meant else role) for role in mine])
        said = policy.says("Stalled", "WrongClusterKind")
        assert said["message"].startswith(f"spec.azureRoles[{index}].role: {other} is a role for ")
        assert said["message"].endswith(f"; use {meant}")
        cluster.quiet(0.2)
        assert policy.roles() == before
    policy.update(azureRoles=[at(connect)])
    assert policy.roles() == [(connect, here)]


def test_roles_of_arc_on_an_aks_cluster(aks: Cluster) -> None:
    """Stalled with the role that was meant; what the person had stays."""
    kept_access(aks, {theirs: ours for ours, theirs in PAIRS.items()}, AKS_USER)


def test_roles_of_aks_on_an_arc_cluster(arc: Cluster) -> None:
    """The other way round."""
    kept_access(arc, dict(PAIRS.items()), ARC_USER)


def test_a_role_of_the_wrong_kind_in_a_grant(arc: Cluster) -> None:
    """Stalled on the grant; the right one gives access in the namespace, through the webhook."""
    namespace = arc.namespace()
    grants = {**ceiling(), "azureRoles": [READER, PAIRS[READER]]}
    policy = personal(arc, azureRoles=[at(ARC_USER)], grants=grants)
    arc.grant("work", namespace, policy.name, azureRoles=[PAIRS[READER]])
    arc.ready("ngrant", "work", namespace)
    gets(arc, policy.who, "list", "pods", namespace)

    arc.grant("work", namespace, policy.name, azureRoles=[READER])

    said = arc.waits_for("ngrant", "work", "Stalled", "WrongClusterKind", namespace)
    assert said["message"].startswith("spec.azureRoles[0]: ")
    assert said["message"].endswith(f"; use {PAIRS[READER]}")
    arc.quiet(0.2)
    assert may(arc, policy.who, "list", "pods", namespace)


def test_above_the_cluster_both_kinds_may_be_meant(aks: Cluster) -> None:
    """A resource group can hold clusters of both kinds."""
    policy = personal(aks, azureRoles=[at(AKS_USER), at(PAIRS[READER], seed.RESOURCE_GROUP)])
    policy.ready()
    assert len(policy.roles()) == 2


# Roles where they are not meant to be, and people who cannot connect


@pytest.mark.parametrize(
    ("role", "where", "words"),
    [
        (ADMIN, "cluster", "is meant for a namespace"),
        (CLUSTER_ADMIN, "namespace", "is meant for the whole cluster"),
        (AKS_USER, "namespace", "gives nothing in a namespace"),
    ],
)
def test_a_role_that_is_meant_for_another_place(aks: Cluster, role: str, where: str, words: str) -> None:
    """It is given, with a warning and one event; Ready is True and points there."""
    namespace = aks.namespace()
    scope = "Cluster" if where == "cluster" else namespace_scope(aks, namespace)
    policy = personal(aks, azureRoles=[at(AKS_USER), at(role, scope)])
    found = policy.ready()

    said = policy.says("Warning", "UnusualScope")

    assert said["status"] == "True"
    assert said["message"].startswith(f"spec.azureRoles[1].role: {role} {words}")
    ready = next(one for one in found["status"]["conditions"] if one["type"] == "Ready")
    assert ready["message"].endswith("; see condition Warning")
    assert len(policy.roles()) == 2
    eventually(lambda: told(aks, policy, "UnusualScope"), "there is an event")
    policy.look_again()
    policy.ready()
    assert len(told(aks, policy, "UnusualScope")) == 1
    policy.update(azureRoles=[at(AKS_USER)])
    warned(policy)


def test_who_cannot_fetch_a_kubeconfig_is_told_until_they_can(aks: Cluster) -> None:
    """For a policy and its grant: by the policy's roles, or by an assignment of somebody else."""
    namespace = aks.namespace()
    grants = {**ceiling(), "azureRoles": [READER]}
    entry = {"names": [namespace], "azureRoles": [WRITER]}
    policy = personal(aks, namespaces=[entry], grants=grants)
    aks.grant("work", namespace, policy.name, azureRoles=[READER])
    warned(policy, "CannotConnect")
    said = aks.waits_for("ngrant", "work", "Warning", "CannotConnect", namespace)
    for message in (said["message"], policy.says("Warning", "CannotConnect")["message"]):
        assert policy.who.upn in message
        assert AKS_USER in message
    assert aks.condition("ngrant", "work", "Ready", namespace)["status"] == "True"
    found = events(aks, "NamespaceGrant", "work", namespace)
    assert len([one for one in found if one[:2] == ("Warning", "CannotConnect")]) == 1

    def grant_warned() -> bool:
        return bool(aks.condition("ngrant", "work", "Warning", namespace))

    policy.update(azureRoles=[at(AKS_USER)])
    warned(policy)
    eventually(lambda: not grant_warned(), "the grant's warning is gone too", 3)
    policy.update(azureRoles=None)
    warned(policy, "CannotConnect")
    eventually(grant_warned, "it is there again")
    aks.azure.assign(policy.who.upn, AKS_USER, seed.RESOURCE_GROUP)
    warned(policy)
    eventually(lambda: not grant_warned(), "the grant's warning is gone too")
    assert (AKS_USER, seed.RESOURCE_GROUP) in policy.roles()


def test_a_role_that_is_no_role_for_clusters_needs_no_kubeconfig(aks: Cluster) -> None:
    """Whoever may only look at a resource group need not connect to any cluster."""
    policy = personal(aks, azureRoles=[at(PLAIN_READER, seed.RESOURCE_GROUP)])
    policy.ready()
    warned(policy)


# What the cluster is


def test_azure_rbac_is_switched_off_and_on(aks: Cluster) -> None:
    """The warning says what to enable; it comes and goes by itself, also on a grant, with one event."""
    namespace = aks.namespace()
    policy = personal(aks, azureRoles=[at(AKS_USER)], grants={**ceiling(), "azureRoles": [READER]})
    bound = personal(aks, clusterRoles=["view"])
    aks.grant("work", namespace, policy.name, azureRoles=[READER])
    other = personal(aks, azureRoles=[at(AKS_USER), at(READER)])
    for one in (policy, bound, other):
        one.ready()
    aks.ready("ngrant", "work", namespace)

    aks.azure.set_azure_rbac(aks.stack.cluster_id, enabled=False)

    warned(other, "AzureRbacOff")
    said = other.says("Warning", "AzureRbacOff")
    assert READER in said["message"]
    assert "az aks update --enable-azure-rbac" in said["message"]
    aks.waits_for("ngrant", "work", "Warning", "AzureRbacOff", namespace)
    assert aks.condition("ngrant", "work", "Ready", namespace)["status"] == "True"
    warned(policy)
    warned(bound)
    assert not may(aks, other.who, "list", "pods")
    aks.azure.set_azure_rbac(aks.stack.cluster_id, enabled=True)
    warned(other)
    eventually(lambda: not aks.condition("ngrant", "work", "Warning", namespace), "it is gone")
    gets(aks, other.who, "list", "pods")
    assert len(told(aks, other, "AzureRbacOff")) == 1


@pytest.mark.parametrize(
    ("profile", "reason", "words"),
    [
        (None, "NoEntraIntegration", "az aks update --enable-aad"),
        (LEGACY, "LegacyEntraIntegration", "deprecated since June 2023"),
    ],
)
def test_a_cluster_that_is_not_joined_to_entra_as_it_should_be(
    aks: Cluster, profile: Body | None, reason: str, words: str
) -> None:
    """Bindings for people of Entra: a warning that says what to do, gone when it is done."""
    policy = personal(aks, clusterRoles=["view"])
    policy.ready()
    warned(policy)

    aks.azure.set_aad_profile(aks.stack.cluster_id, profile)

    warned(policy, reason)
    assert words in policy.says("Warning", reason)["message"]
    aks.azure.set_aad_profile(aks.stack.cluster_id, MANAGED)
    warned(policy)
    assert len(told(aks, policy, reason)) == 1


def test_a_second_warning_has_its_event_too(aks: Cluster) -> None:
    """One event for each warning, not for each look."""
    policy = personal(aks, azureRoles=[at(AKS_USER), at(ADMIN)])
    policy.ready()
    policy.says("Warning", "UnusualScope")

    aks.azure.set_azure_rbac(aks.stack.cluster_id, enabled=False)

    eventually(
        lambda: "Azure RBAC is off" in aks.condition("apol", policy.name, "Warning")["message"],
        "both are in the condition",
    )
    eventually(lambda: told(aks, policy, "AzureRbacOff"), "there is an event for it", 5)
    assert len(told(aks, policy, "UnusualScope")) == 1


def test_an_arc_cluster_without_azure_rbac(arc: Cluster) -> None:
    """Cluster connect needs no integration; only data roles give nothing there."""
    roles = [at(ARC_USER), at(PAIRS[READER])]
    policy, bound = personal(arc, azureRoles=roles), personal(arc, clusterRoles=["view"])
    policy.ready()
    arc.azure.set_aad_profile(arc.stack.cluster_id, None)

    warned(policy, "AzureRbacOff")

    said = policy.says("Warning", "AzureRbacOff")
    assert "az connectedk8s enable-features --features azure-rbac" in said["message"]
    warned(bound)
    arc.azure.set_aad_profile(arc.stack.cluster_id, {"enableAzureRBAC": True, "tenantID": seed.TENANT_ID})
    warned(policy)


def test_a_cluster_that_may_not_be_read_is_said_once(aks: Cluster) -> None:
    """One line in the log, however often it is tried; everything else works, without warnings."""
    since = last_entry(aks)
    words = "what the cluster is set up for is not known"
    pattern = "managedClusters/aks-demo$"
    before = aks.operator_log().count(words)
    aks.azure.fault(method="GET", path_regex=pattern, status=403, code="AuthorizationFailed", count=None)
    eventually(
        lambda: len(aks.azure.journal(since=since, path_regex=pattern, status=403)) >= 3, "it is tried again"
    )

    policy = personal(aks, azureRoles=[at(AKS_USER), at(READER)], clusterRoles=["view"])

    policy.ready()
    warned(policy)
    assert aks.operator_log().count(words) == before + 1
    has(aks, policy.who.id, (AKS_USER, aks.stack.cluster_id), (READER, aks.stack.cluster_id))
    aks.azure.clear_faults()
