"""What is as asked for and yet may not do what people expect; and when nothing is to be said."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.resources import AccessPolicy, AzureRole
from entra_access.api.status import Subject
from entra_access.domain.faults import Finding, Link, Severity, Unavailable
from entra_access.domain.observed import Assignment, ClusterFacts
from entra_access.domain.place import Place
from entra_access.domain.role_plan import ResolvedRole, WishedRole
from entra_access.domain.warnings import MAX_GROUPS, grant_warnings, policy_warnings
from unit.builders import EVERYWHERE, PLACE, SCOPE, a_ceiling, a_rule, grant_world
from unit.worlds import (
    A_ROBOT,
    A_TEAM,
    A_USER,
    AKS_ADMIN,
    AKS_CLUSTER_ADMIN,
    AKS_READER,
    AKS_USER,
    AKS_WRITER,
    ARC_ADMIN,
    ARC_CLUSTER_ADMIN,
    ARC_PLACE,
    ARC_USER,
    ARC_VIEWER,
    DEV_SCOPE,
    FAR,
    READER,
    RESOURCE_GROUP,
    ROBOT_ID,
    SUBSCRIPTION,
    VAULT,
    a_policy_for,
    a_world,
    an_account,
    assigned,
    in_namespaces,
    known,
    robot,
    role_id,
    subject_of,
    team,
    user,
)

ARC_DEV = ARC_PLACE.namespace_scope("dev")
ACCOUNT = Subject("ServiceAccount", "", "tools/demo", "Created", "demo", "tools", "")
Given = tuple[str, str]  # a role, and where


def resolved(*roles: Given) -> list[ResolvedRole]:
    return [
        ResolvedRole(WishedRole(f"spec.azureRoles[{i}].role", role, scope), role_id(role))
        for i, (role, scope) in enumerate(roles)
    ]


def said(
    *roles: Given,
    place: Place = PLACE,
    subject: Subject | None = None,
    policy: AccessPolicy | None = None,
    **fields: Any,
) -> list[Finding]:
    """What is said of a policy that gives these roles."""
    policy = policy or a_policy_for(robot())
    world = a_world(policy, **fields)
    return policy_warnings(policy, place, world, subject or subject_of(), resolved(*roles))


def of_grant(*roles: Given, of_policy: tuple[AzureRole, ...] = (), **fields: Any) -> list[Finding]:
    """What is said of a grant that gives these roles, beside those of its policy."""
    bound = fields.pop("bound", False)
    subject = fields.pop("subject", subject_of())
    world = grant_world(None, **fields)
    return grant_warnings(resolved(*roles), PLACE, world, subject, of_policy, bound=bound)


def reasons(found: list[Finding]) -> list[str]:
    return [finding.reason for finding in found]


def check(found: list[Finding], reason: str, link: Link, path: str, *words: str) -> None:
    """That exactly this one is said, as a warning, with what to do."""
    assert reasons(found) == [reason]
    (finding,) = found
    assert (finding.severity, finding.link, finding.path) == (Severity.WARNING, link, path)
    for word in words:
        assert word in finding.message


# CannotConnect


def test_somebody_without_a_way_to_a_kubeconfig_is_told() -> None:
    for place, role, scope, connecting in (
        (PLACE, AKS_READER, DEV_SCOPE, AKS_USER),
        (PLACE, AKS_WRITER, SCOPE, AKS_USER),
        (PLACE, AKS_READER, RESOURCE_GROUP, AKS_USER),
        (ARC_PLACE, ARC_VIEWER, ARC_DEV, ARC_USER),
        (ARC_PLACE, ARC_CLUSTER_ADMIN, ARC_PLACE.cluster_id, ARC_USER),
    ):
        found = said((role, scope), place=place)
        check(found, "CannotConnect", Link.AZURE_ROLES, "spec.azureRoles[0].role", connecting, "Robot")


@pytest.mark.parametrize("scope", [SCOPE, RESOURCE_GROUP, SUBSCRIPTION])
def test_a_role_that_lets_connect_at_the_cluster_or_above_is_enough(scope: str) -> None:
    for role in (AKS_USER, "Owner", "Contributor", AKS_CLUSTER_ADMIN):
        assert "CannotConnect" not in reasons(said((AKS_READER, DEV_SCOPE), (role, scope)))


@pytest.mark.parametrize("scope", [DEV_SCOPE, VAULT, FAR])
def test_elsewhere_it_does_not_help(scope: str) -> None:
    assert "CannotConnect" in reasons(said((AKS_READER, DEV_SCOPE), (AKS_USER, scope)))


def test_a_plain_reader_may_not_fetch_a_kubeconfig() -> None:
    assert reasons(said((AKS_READER, DEV_SCOPE), (READER, SCOPE))) == ["CannotConnect"]


HELD: dict[str, tuple[Assignment, bool]] = {
    "by another hand, at the cluster": (assigned(AKS_USER, name="x", description=""), True),
    "by another hand, above": (assigned(AKS_USER, scope=SUBSCRIPTION, name="x"), True),
    "a role that nobody knows": (assigned("Custom", name="x"), True),
    "in a namespace": (assigned(AKS_USER, scope=DEV_SCOPE, name="x"), False),
    "somebody else's": (assigned(AKS_USER, "another"), False),
    "one that does not connect": (assigned(READER), False),
}


@pytest.mark.parametrize(("held", "enough"), HELD.values(), ids=HELD)
def test_what_the_subject_has_by_another_hand_counts(held: Assignment, enough: bool) -> None:  # noqa: FBT001
    found = reasons(said((AKS_READER, DEV_SCOPE), assignments=(held,)))
    assert found == ([] if enough else ["CannotConnect"])


def test_nothing_is_said_of_connecting_where_it_is_not_certain() -> None:
    """Without data roles, with roles that the tables do not know, or while assignments are not seen."""
    assert said((READER, SCOPE)) == []
    assert said((AKS_USER, SCOPE)) == []
    assert said() == []
    assert said((AKS_READER, DEV_SCOPE), ("Custom", SCOPE)) == []
    assert said((AKS_READER, DEV_SCOPE), assignments=Unavailable("down")) == []


def test_a_role_that_is_only_known_by_its_data_cannot_be_judged_alone() -> None:
    """A custom role with data actions is not in the tables, so nothing certain can be said of it."""
    assert said(("Pod Restarter", DEV_SCOPE)) == []


def test_a_group_that_is_still_to_be_made_holds_nothing_yet() -> None:
    making = Subject("Group", "", "appdev")
    nobodys = assigned(AKS_USER, "", name="x")
    assert reasons(said((AKS_READER, DEV_SCOPE), subject=making, assignments=(nobodys,))) == ["CannotConnect"]


AT_CLUSTER = (AzureRole(AKS_USER),)


@pytest.mark.parametrize(
    ("of_policy", "enough"),
    [
        ((), False),
        (AT_CLUSTER, True),
        ((AzureRole(AKS_USER.upper(), RESOURCE_GROUP),), True),
        ((AzureRole(known(AKS_USER).guid),), True),
        ((AzureRole("Custom"),), True),
        ((AzureRole(READER),), False),
        ((AzureRole(AKS_USER, VAULT),), False),
    ],
    ids=str,
)
def test_a_grants_subject_may_connect_by_a_role_of_the_policy(
    of_policy: tuple[AzureRole, ...],
    enough: bool,  # noqa: FBT001
) -> None:
    found = of_grant((AKS_READER, DEV_SCOPE), of_policy=of_policy)
    assert reasons(found) == ([] if enough else ["CannotConnect"])


# UnusualScope


@pytest.mark.parametrize(
    ("role", "scope", "place", "word"),
    [
        (AKS_ADMIN, SCOPE, PLACE, "meant for a namespace"),
        (AKS_ADMIN, RESOURCE_GROUP, PLACE, "meant for a namespace"),
        (ARC_ADMIN, ARC_PLACE.cluster_id, ARC_PLACE, "meant for a namespace"),
        (AKS_CLUSTER_ADMIN, DEV_SCOPE, PLACE, "meant for the whole cluster"),
        (ARC_CLUSTER_ADMIN, ARC_DEV, ARC_PLACE, "meant for the whole cluster"),
        (AKS_USER, DEV_SCOPE, PLACE, "gives nothing in a namespace"),
        (ARC_USER, ARC_DEV, ARC_PLACE, "gives nothing in a namespace"),
    ],
)
def test_a_role_at_another_level_than_it_is_for(role: str, scope: str, place: Place, word: str) -> None:
    found = said((role, scope), ("Owner", SUBSCRIPTION), place=place)
    check(found, "UnusualScope", Link.AZURE_ROLES, "spec.azureRoles[0].role", role, word)


@pytest.mark.parametrize(
    ("role", "scope"),
    [
        (AKS_ADMIN, DEV_SCOPE),
        (AKS_CLUSTER_ADMIN, SCOPE),
        (AKS_CLUSTER_ADMIN, SUBSCRIPTION),
        (AKS_USER, RESOURCE_GROUP),
        (AKS_READER, SCOPE),
        (AKS_READER, DEV_SCOPE),
        (READER, DEV_SCOPE),
        ("Custom", DEV_SCOPE),
    ],
)
def test_a_role_where_it_is_meant_to_be_is_not_mentioned(role: str, scope: str) -> None:
    assert said((role, scope), ("Owner", SUBSCRIPTION)) == []


def test_the_case_of_a_scope_does_not_make_it_unusual() -> None:
    assert reasons(said((AKS_CLUSTER_ADMIN, SCOPE.upper()))) == []
    assert reasons(said((AKS_ADMIN, DEV_SCOPE.upper()), (AKS_USER, SCOPE))) == []


def test_a_grants_roles_are_told_of_too() -> None:
    assert reasons(of_grant((AKS_CLUSTER_ADMIN, DEV_SCOPE), of_policy=AT_CLUSTER)) == ["UnusualScope"]


# What the cluster is set up for

OFF, ON = ClusterFacts(entra=True, azure_rbac=False), ClusterFacts(entra=True, azure_rbac=True)
NO_ENTRA = ClusterFacts(entra=False, azure_rbac=False)
LEGACY = ClusterFacts(entra=True, legacy=True, azure_rbac=False)
CONNECTED = ((AKS_READER, DEV_SCOPE), (AKS_USER, SCOPE))


def test_data_roles_give_nothing_while_azure_rbac_is_off() -> None:
    found = said(*CONNECTED, facts=OFF)
    path = "spec.azureRoles[0].role"
    check(found, "AzureRbacOff", Link.AZURE_ROLES, path, "az aks update --enable-azure-rbac", AKS_READER)
    found = said((ARC_VIEWER, ARC_DEV), (ARC_USER, ARC_PLACE.cluster_id), place=ARC_PLACE, facts=OFF)
    check(
        found, "AzureRbacOff", Link.AZURE_ROLES, path, "az connectedk8s enable-features --features azure-rbac"
    )


def test_nothing_is_said_of_azure_rbac_where_it_does_not_matter() -> None:
    assert said(*CONNECTED, facts=ON) == []
    assert said(*CONNECTED, facts=ClusterFacts()) == []  # not known
    assert said((AKS_USER, SCOPE), (READER, SCOPE), facts=OFF) == []  # no data role
    assert said((AKS_READER, VAULT), (AKS_READER, FAR), (AKS_USER, SCOPE), facts=OFF) == []  # not here


BOUND: dict[str, AccessPolicy] = {
    "ClusterRoles": a_policy_for(team(), cluster_roles="view"),
    "rules": a_policy_for(team(), rules=(a_rule("get", "pods"),)),
    "namespaces": a_policy_for(team(), namespaces=(in_namespaces("dev", cluster_roles="view"),)),
    "grants": a_policy_for(team(), ceiling=a_ceiling(cluster_roles="view", namespaces=EVERYWHERE)),
}


@pytest.mark.parametrize("policy", BOUND.values(), ids=BOUND)
def test_bindings_give_nothing_without_entra(policy: AccessPolicy) -> None:
    found = said(policy=policy, subject=subject_of(A_TEAM), facts=NO_ENTRA)
    check(found, "NoEntraIntegration", Link.BINDINGS, "", "az aks update --enable-aad")


def test_nothing_is_said_of_entra_where_it_does_not_matter() -> None:
    policy = BOUND["ClusterRoles"]
    assert said(policy=policy, facts=ON) == []
    assert said(policy=policy, facts=ClusterFacts()) == []
    assert said(policy=policy, facts=NO_ENTRA, place=ARC_PLACE) == []  # cluster connect signs in itself
    assert said(policy=a_policy_for(robot()), facts=NO_ENTRA) == []  # nothing is bound
    assert of_grant(facts=NO_ENTRA) == []
    assert reasons(of_grant(facts=NO_ENTRA, bound=True)) == ["NoEntraIntegration"]


def test_a_legacy_cluster_is_told_how_to_tell_and_where_to_go() -> None:
    found = said(*CONNECTED, policy=BOUND["ClusterRoles"], facts=LEGACY)
    check(
        found,
        "LegacyEntraIntegration",
        Link.SUBJECT,
        "",
        "serverAppID",
        "June 2023",
        "az aks update --enable-aad",
        "https://learn.microsoft.com/azure/aks/",
    )


@pytest.mark.parametrize("facts", [OFF, NO_ENTRA, LEGACY], ids=str)
def test_a_service_account_needs_nothing_of_entra(facts: ClusterFacts) -> None:
    policy = a_policy_for(an_account(), cluster_roles="view")
    assert said(policy=policy, subject=ACCOUNT, facts=facts) == []
    assert of_grant(bound=True, subject=ACCOUNT, facts=facts) == []


# Roles for the other kind of cluster, above this one


def test_a_role_for_the_other_kind_above_says_nothing_of_this_cluster() -> None:
    """At a resource group it is for the clusters of its own kind there."""
    assert said((ARC_VIEWER, RESOURCE_GROUP), facts=OFF) == []


def test_a_role_that_connects_to_the_other_kind_only_does_not_connect_to_this_one() -> None:
    assert reasons(said((AKS_READER, SCOPE), (ARC_USER, RESOURCE_GROUP))) == ["CannotConnect"]


# TooManyGroups


@pytest.mark.parametrize(("number", "told"), [(0, False), (MAX_GROUPS, False), (MAX_GROUPS + 1, True)])
def test_a_service_principal_in_too_many_groups_is_told(number: int, told: bool) -> None:  # noqa: FBT001
    found = said(groups_of={ROBOT_ID: number})
    if told:
        check(found, "TooManyGroups", Link.SUBJECT, "spec.subject", "201 groups", "servicePrincipal Robot")
    else:
        assert found == []


def test_that_it_was_not_counted_is_not_a_warning() -> None:
    assert said(groups_of={}) == []


@pytest.mark.parametrize("principal", [A_USER, A_TEAM], ids=["user", "group"])
def test_of_people_and_groups_it_is_not_said(principal: Any) -> None:
    """Their groups are looked up, however many."""
    policy = a_policy_for(user() if principal is A_USER else team())
    found = said(policy=policy, subject=subject_of(principal), groups_of={principal.id: 5000})
    assert found == []


def test_warnings_do_not_hinder() -> None:
    policy = replace(BOUND["ClusterRoles"], subject=robot())
    found = said((AKS_ADMIN, SCOPE), (AKS_READER, DEV_SCOPE), policy=policy, facts=NO_ENTRA)
    found += said(groups_of={ROBOT_ID: 300}, subject=subject_of(A_ROBOT))
    assert len(found) >= 4
    assert not any(finding.severity.hinders for finding in found)
