"""Which Azure role is meant: renamed, missing, or one for the other kind of cluster."""

from typing import Any

import pytest

from entra_access.api.status import Item, System
from entra_access.domain.faults import Severity
from entra_access.domain.naming import assignment_id
from entra_access.domain.role_plan import RolePart
from unit.builders import PLACE, SCOPE, guid
from unit.roles import DOWN, SCOPES, plan, reasons, takes
from unit.worlds import (
    AKS_ADMIN,
    AKS_CLUSTER_ADMIN,
    AKS_READER,
    AKS_USER,
    AKS_WRITER,
    ARC_ADMIN,
    ARC_CLUSTER_ADMIN,
    ARC_ID,
    ARC_PLACE,
    ARC_USER,
    ARC_VIEWER,
    ARC_WRITER,
    DEV_SCOPE,
    RESOURCE_GROUP,
    SUBSCRIPTION,
    VAULT,
    assigned,
    line,
)


def renamed(scope: str, **fields: Any) -> RolePart:
    """The plan where nobody has the wished name any more, and the role was assigned by it before."""
    values: dict[str, Any] = {
        "there": [assigned("Old name", scope=scope)],
        "lines": [line("Old name", scope=scope)],
        "roles": {"Old name": None},
    }
    return plan(("Old name", scope), **(values | fields))


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_role_that_was_renamed_survives_by_its_guid(scope: str) -> None:
    part = renamed(scope)
    assert (part.additions, part.removals, part.count) == ([], [], 1)
    (finding,) = part.findings
    assert (finding.severity, finding.reason) == (Severity.NOTE, "RoleRenamed")
    assert guid("Old name") in finding.message
    assert part.claims == {line("Old name", scope=scope).id.lower()}


def test_a_renamed_role_is_not_known_by_a_line_of_another_scope() -> None:
    part = renamed(SCOPE, there=[assigned("Old name", scope=VAULT)], lines=[line("Old name", scope=VAULT)])
    assert (Severity.STALLED, "RoleNotFound") in reasons(part)


def test_a_renamed_role_is_not_known_by_a_line_that_names_somebodys_assignment() -> None:
    """Whoever may write a status could else have any role kept under any name."""
    foreign = assigned("Owner", name="somebodys", description="")
    forged = Item(System.AZURE, "RoleAssignment", "Old name", assignment_id(SCOPE, "somebodys"))
    part = renamed(SCOPE, there=[foreign], lines=[forged])
    assert reasons(part) == [(Severity.STALLED, "RoleNotFound")]
    assert part.additions == part.removals == []


def test_a_role_that_is_not_found_holds_what_may_be_its_own_and_nothing_else() -> None:
    part = renamed(SCOPE, there=[assigned(AKS_USER)], lines=[line("Old name"), line(AKS_USER)])
    assert part.removals == [takes(AKS_USER, SCOPE)]
    assert reasons(part) == [(Severity.STALLED, "RoleNotFound")]


def test_where_a_role_was_looked_for_is_told() -> None:
    assert "at vaults" not in plan(("None", DEV_SCOPE), roles={}).findings[0].message
    assert "at namespace dev;" in plan(("None", DEV_SCOPE), roles={}).findings[0].message
    assert "at resourceGroup rg;" in plan(("None", RESOURCE_GROUP), roles={}).findings[0].message


TWINS = [
    (AKS_READER, ARC_VIEWER),
    (AKS_WRITER, ARC_WRITER),
    (AKS_ADMIN, ARC_ADMIN),
    (AKS_CLUSTER_ADMIN, ARC_CLUSTER_ADMIN),
    (AKS_USER, ARC_USER),
]


@pytest.mark.parametrize(("aks", "arc"), TWINS)
def test_a_role_of_the_other_kind_of_cluster_is_refused_and_its_twin_named(aks: str, arc: str) -> None:
    for place, wrong, right in ((PLACE, arc, aks), (ARC_PLACE, aks, arc)):
        for scope in (place.cluster_id, place.namespace_scope("dev")):
            part = plan((wrong, scope), place=place)
            (finding,) = part.findings
            assert (finding.severity, finding.reason) == (Severity.STALLED, "WrongClusterKind")
            assert finding.path == "spec.azureRoles[0].role"
            assert finding.message.endswith(f"; use {right}")
            assert (part.additions, part.count) == ([], 0)
        assert plan((right, place.cluster_id), place=place).findings == []


def test_both_kinds_may_be_meant_above_the_cluster() -> None:
    """A resource group can hold clusters of both kinds."""
    part = plan((ARC_VIEWER, RESOURCE_GROUP), (ARC_VIEWER, SUBSCRIPTION), (ARC_VIEWER, ARC_ID))
    assert part.findings == []
    assert part.count == 3


def test_a_role_without_a_twin_is_refused_without_one() -> None:
    (finding,) = plan(("Azure Kubernetes Service Cluster Admin Role", ARC_ID), place=ARC_PLACE).findings
    assert finding.reason == "WrongClusterKind"
    assert "; use" not in finding.message


def test_what_was_given_before_by_a_role_of_the_wrong_kind_stays_until_it_is_corrected() -> None:
    """Add before remove: the right role cannot be added yet."""
    part = plan((ARC_VIEWER, SCOPE), there=[assigned(ARC_VIEWER)], lines=[line(ARC_VIEWER)])
    assert part.removals == []


def test_what_may_be_wanted_is_claimed_while_a_renamed_role_cannot_be_remembered() -> None:
    part = renamed(SCOPE, there=DOWN)
    assert part.removals == []
    assert part.claims == {line("Old name").id.lower()}
