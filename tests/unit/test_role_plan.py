"""Azure role assignments at every scope: which role is meant, which are ours, what is given and taken."""

from dataclasses import replace

import pytest

from entra_access.api.names import GRANT
from entra_access.api.resources import AzureRole
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import AssignRole, CreateGroup, UnassignRole
from entra_access.domain.faults import Denied, Fault, Link, Severity
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment
from entra_access.domain.policy_plan import plan_policy
from unit.builders import NOW, PLACE, SCOPE, a_group, a_meta, a_policy, group_line, guid, nothing_yet
from unit.roles import DOWN, NOTE, SCOPES, Wish, gives, plan, takes
from unit.worlds import (
    AKS_READER,
    AKS_USER,
    DEV_SCOPE,
    FAR,
    OTHER_PLACE,
    READER,
    RESOURCE_GROUP,
    ROBOT_ID,
    SUBSCRIPTION,
    VAULT,
    assigned,
    line,
    role_id,
)


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_role_is_given_where_it_is_wished_for(scope: str) -> None:
    part = plan((READER, scope))
    assert (part.additions, part.removals, part.findings) == ([gives(READER, scope)], [], [])
    assert part.count == 1


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_what_is_there_is_left_and_listed(scope: str) -> None:
    part = plan((READER, scope), there=[assigned(READER, scope=scope)], lines=[line(READER, scope=scope)])
    assert (part.additions, part.removals, part.findings) == ([], [], [])
    assert part.inventory == [line(READER, scope=scope)]
    assert part.claims == {line(READER, scope=scope).id.lower()}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_what_is_not_wished_for_any_more_is_taken_away(scope: str) -> None:
    part = plan(there=[assigned(READER, scope=scope)], lines=[line(READER, scope=scope)])
    assert (part.additions, part.removals) == ([], [takes(READER, scope)])


def test_the_same_role_at_two_scopes_is_two_assignments() -> None:
    part = plan((READER, SCOPE), (READER, RESOURCE_GROUP), there=[assigned(READER)], lines=[line(READER)])
    assert part.additions == [gives(READER, RESOURCE_GROUP)]
    assert part.count == 2
    part = plan(
        (READER, RESOURCE_GROUP),
        there=[assigned(READER), assigned(READER, scope=RESOURCE_GROUP)],
        lines=[line(READER), line(READER, scope=RESOURCE_GROUP)],
    )
    assert (part.additions, part.removals) == ([], [takes(READER, SCOPE)])


def test_a_role_that_is_inherited_from_above_does_not_stand_for_one_here() -> None:
    """It is another hand's, and may go without a word."""
    above = assigned(READER, scope=SUBSCRIPTION, name="somebodys", description="")
    assert plan((READER, SCOPE), there=[above]).additions == [gives(READER, SCOPE)]


def test_scopes_are_compared_without_regard_to_case() -> None:
    upper = VAULT.upper()
    part = plan((READER, upper), there=[assigned(READER, scope=VAULT)], lines=[line(READER, scope=VAULT)])
    assert (part.additions, part.removals) == ([], [])
    assert plan((READER, SCOPE), (READER, SCOPE.upper())).count == 1


def test_a_vault_with_a_name_that_begins_alike_is_another_place() -> None:
    other = f"{SCOPE}-2"
    assert not PLACE.covers(other)
    part = plan((READER, SCOPE), there=[assigned(READER, scope=other)])
    assert part.additions == [gives(READER, SCOPE)]


# What cannot be seen


@pytest.mark.parametrize("fault", [DOWN, Denied("no right")], ids=lambda fault: fault.reason)
def test_a_far_scope_that_cannot_be_seen_holds_its_own_lines_and_no_others(fault: Fault) -> None:
    part = plan(
        (READER, VAULT),
        there=[assigned(AKS_USER)],
        lines=[line(AKS_USER), line(READER, scope=VAULT), line(AKS_USER, scope=VAULT)],
        elsewhere={VAULT.lower(): fault},
    )
    assert part.removals == [takes(AKS_USER, SCOPE)]
    assert part.additions == []
    assert [(f.link, f.reason, f.unseen) for f in part.findings] == [(Link.AZURE_ROLES, fault.reason, True)]
    assert part.findings[0].path == "spec.azureRoles[0].scope"
    assert {line(READER, scope=VAULT), line(AKS_USER, scope=VAULT)} <= set(part.inventory)
    assert part.count is None


@pytest.mark.parametrize("wished", [True, False], ids=["wished for", "to go"])
def test_a_far_scope_that_is_forbidden_may_be_gone(wished: bool) -> None:  # noqa: FBT001
    """Whoever has no right there is never told so: the text says what to do, and where it comes from."""
    part = plan(
        *([(READER, FAR)] if wished else []),
        lines=[line(READER, scope=FAR)],
        elsewhere={FAR.lower(): Denied("may not list: give it the role")},
    )
    (finding,) = part.findings
    assert finding.path == ("spec.azureRoles[0].scope" if wished else "status.inventory")
    assert finding.message.startswith(f"may not list: give it the role; if {FAR} was deleted")
    assert finding.severity is Severity.STALLED
    assert part.removals == []
    assert part.inventory == [line(READER, scope=FAR)]


@pytest.mark.parametrize("fault", [DOWN, Denied("no right")], ids=lambda fault: fault.reason)
def test_what_is_down_or_never_had_anything_is_not_said_to_be_gone(fault: Fault) -> None:
    lines = [line(READER, scope=FAR)] if fault is DOWN else []
    part = plan((READER, FAR), lines=lines, elsewhere={FAR.lower(): fault})
    assert part.findings[0].message == fault.message


def test_the_cluster_that_cannot_be_seen_does_not_hold_a_far_scope() -> None:
    part = plan(
        (READER, SCOPE),
        there=DOWN,
        lines=[line(READER), line(READER, scope=VAULT)],
        elsewhere={VAULT.lower(): (assigned(READER, scope=VAULT),)},
    )
    assert (part.additions, part.removals) == ([], [takes(READER, VAULT)])
    assert line(READER) in part.inventory


def test_a_far_line_whose_assignment_is_not_listed_is_proved_and_left() -> None:
    part = plan(lines=[line(READER, scope=FAR)], elsewhere={FAR: ()})
    assert part.removals == [takes(READER, FAR)]


def test_a_far_assignment_that_is_made_again_keeps_its_line() -> None:
    """No list at the cluster shows it: were the operator to end now, the line alone would tell of it."""
    part = plan((READER, FAR), lines=[line(READER, scope=FAR)], elsewhere={FAR: ()})
    assert part.additions == [gives(READER, FAR)]
    assert part.inventory == [line(READER, scope=FAR)]


# Whose it is


def test_what_another_resource_wants_too_goes_only_when_neither_does() -> None:
    here = {"there": [assigned(READER)], "lines": [line(READER)]}
    part = plan(**here, claimed=frozenset({line(READER).id.lower()}))  # type: ignore[arg-type]  # by name
    assert (part.removals, part.inventory) == ([], [])
    assert plan(**here).removals == [takes(READER, SCOPE)]  # type: ignore[arg-type]  # likewise


def test_one_that_another_resource_of_this_cluster_made_is_listed_by_whoever_wants_it_too() -> None:
    """Else it would be nobody's when the other one stops wanting it."""
    theirs = assigned(READER, owner=a_meta(GRANT, "dev-access"))
    part = plan((READER, SCOPE), there=[theirs])
    assert (part.additions, part.inventory) == ([], [line(READER)])


def test_one_that_another_resource_made_is_not_taken_away_by_who_does_not_want_it() -> None:
    theirs = assigned(READER, owner=a_meta(GRANT, "dev-access"))
    part = plan(there=[theirs])
    assert (part.removals, part.inventory) == ([], [])


@pytest.mark.parametrize("wishes", [(), ((READER, SCOPE),)], ids=["not wanted", "wanted"])
def test_what_another_cluster_made_is_never_ours(wishes: tuple[Wish, ...]) -> None:
    """Two clusters can give the same group the same role at the same scope, and the name is the same then."""
    for description in (OTHER_PLACE.note(a_meta()), "", "made by hand", NOTE.upper()):
        part = plan(*wishes, there=[assigned(READER, description=description)])
        assert (part.additions, part.removals, part.inventory) == ([], [], [])


@pytest.mark.parametrize(
    "change",
    [{"name": "somebodys"}, {"principal_id": guid("eve")}, {"role_id": guid("Owner")}, {"scope": DEV_SCOPE}],
    ids=str,
)
def test_our_note_on_what_we_would_not_name_so_makes_it_not_ours(
    change: dict[str, str],
) -> None:
    foreign = replace(assigned(READER), **change)
    part = plan(there=[foreign])
    assert (part.removals, part.inventory) == ([], [])


def test_what_was_made_for_this_resource_is_found_again_without_any_inventory() -> None:
    part = plan(there=[assigned(READER), assigned(AKS_READER, scope=DEV_SCOPE)])
    assert set(part.removals) == {
        takes(READER, SCOPE, role_id(READER)),
        takes(AKS_READER, DEV_SCOPE, role_id(AKS_READER)),
    }


FORGED = {
    "somebody's assignment": assigned("Owner", name="somebodys", description=""),
    "another principal's": replace(assigned("Owner"), principal_id=guid("admins"), description=""),
}


@pytest.mark.parametrize("foreign", FORGED.values(), ids=FORGED)
def test_a_forged_line_takes_away_nothing_that_we_would_not_name_so(foreign: Assignment) -> None:
    forged = Item(System.AZURE, "RoleAssignment", "Owner", assignment_id(foreign.scope, foreign.name))
    part = plan(there=[foreign], lines=[forged])
    assert (part.removals, part.inventory) == ([], [])


def test_a_line_without_an_id_is_passed_over() -> None:
    assert plan(lines=[Item(System.AZURE, "RoleAssignment", "Owner")]).removals == []


def test_a_line_of_another_kind_is_no_assignment() -> None:
    other = replace(line(READER), kind="RoleDefinition")
    assert plan(lines=[other]).removals == []


def test_a_role_that_the_subject_has_by_another_hand_is_not_assigned_twice() -> None:
    for scope in (SCOPE, VAULT):
        by_hand = assigned(READER, scope=scope, name="somebodys", description="")
        part = plan((READER, scope), there=[by_hand])
        assert (part.additions, part.removals, part.inventory) == ([], [], [])


# Nobody, and somebody else


def test_while_nobody_is_known_what_the_inventory_has_is_taken_away() -> None:
    part = plan(there=[assigned(READER)], lines=[line(READER)], subject=None)
    assert part.removals == [takes(READER, SCOPE)]
    assert part.claims == frozenset()


def test_another_subject_is_given_the_role_before_the_former_loses_it() -> None:
    former = guid("former")
    part = plan((READER, SCOPE), there=[assigned(READER, former)], lines=[line(READER, former)])
    assert part.additions == [gives(READER, SCOPE)]
    assert part.removals == [UnassignRole(line(READER, former).id, READER)]


def test_the_name_of_an_assignment_is_that_of_scope_principal_and_role() -> None:
    (change,) = plan((READER, VAULT)).claims
    name = assignment_name(VAULT, ROBOT_ID, role_id(READER))
    assert change == f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/{name}".lower()


def test_a_service_account_is_given_no_azure_role() -> None:
    """Azure does not know it. Such a wish is refused at the door, and may come from before that."""
    account = Subject("ServiceAccount", "", "tools/demo", "Created", "demo", "tools", "")
    part = plan((READER, SCOPE), (READER, VAULT), subject=account)
    assert (part.additions, part.removals) == ([], [])


# What others must know of


def test_what_may_be_wanted_is_claimed_while_its_role_cannot_be_looked_up() -> None:
    """Unknown is not absent: another resource that stops wanting the same must not take it away."""
    part = plan((READER, SCOPE), there=[assigned(READER)], lines=[line(READER)], roles={READER: DOWN})
    assert part.removals == []
    assert part.claims == {line(READER).id.lower()}


# A group that is still to be made

POLICY = replace(
    a_policy(),
    azure_roles=(AzureRole(AKS_USER), AzureRole(READER, RESOURCE_GROUP), AzureRole(READER, VAULT)),
)


def test_far_roles_wait_while_the_group_is_being_made() -> None:
    """No list at the cluster shows them, so they are written down before, and for that the id is needed."""
    roles = {AKS_USER: role_id(AKS_USER), READER: role_id(READER)}
    made = plan_policy(POLICY, PLACE, replace(nothing_yet(POLICY), roles=roles), (), NOW)
    assert [type(change) for change in made.changes] == [CreateGroup, AssignRole, AssignRole]
    assert [change.scope for change in made.changes if isinstance(change, AssignRole)] == [
        RESOURCE_GROUP,
        SCOPE,
    ]
    assert [(f.link, f.severity, f.reason) for f in made.findings] == [
        (Link.AZURE_ROLES, Severity.WAITING, "CreatingGroup")
    ]
    there = replace(nothing_yet(POLICY), roles=roles, group=a_group())
    after = plan_policy(POLICY, PLACE, there, (group_line(),), NOW)
    assert VAULT in [change.scope for change in after.changes if isinstance(change, AssignRole)]
    assert after.findings == ()
