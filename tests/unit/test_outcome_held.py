"""What a status says of changes that are not made: nothing may be written, they wait, or they failed."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import GRANT, POLICY, ROLE, ROLE_BINDING, Kind
from entra_access.api.resources import Mode
from entra_access.api.status import Item, Status, Subject, System
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
    DeleteChild,
    RemovePrincipal,
    ReplaceChild,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.definition_plan import definition_item
from entra_access.domain.faults import Denied, Link, Taken, Unavailable
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Definition
from entra_access.domain.plan import Plan, child_item
from entra_access.domain.role_plan import MADE
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.drifting import Look
from entra_access.reconcile.outcome import make_status
from unit.builders import (
    AT,
    GROUP_ID,
    PLACE,
    SCOPE,
    a_grant,
    a_meta,
    a_rule,
    child_line,
    cluster_binding,
    for_group,
    grant_binding,
    grant_role,
    group_line,
    guid,
    role_line,
)
from unit.worlds import FAR

SUBJECT = Subject("Group", GROUP_ID, "appdev")
VIEW, EDIT = cluster_binding("view"), cluster_binding("edit")
NOTE = PLACE.note(a_meta())
READER = AssignRole(SCOPE, "Reader", guid("Reader"), GROUP_ID, "Group", NOTE)
COUNTS = {"members": 2, "azureRoles": 1, "clusterRoleBindings": 1}
WISH = a_grant(a_rule("get", "pods"), cluster_roles="view")
GRANT_COUNTS = {"roles": 1, "roleBindings": 2, "azureRoles": 1}


def inside(namespace: str, role: str = "view") -> Child:
    """The policy's binding in a namespace."""
    ref = ChildRef(ROLE_BINDING, namespace, f"appdev-{role}")
    return Child(ref, a_meta(), role_kind="ClusterRole", role=role, subject=for_group())


def status(
    *held: Change,
    counts: dict[str, Any] | None = None,
    there: tuple[Item, ...] = (),
    kind: Kind = POLICY,
    old: Status | None = None,
    applied: Applied | None = None,
    mode: Mode = Mode.OBSERVE,
) -> Status:
    known = COUNTS if kind is POLICY else GRANT_COUNTS
    plan = Plan(held, subject=SUBJECT, counts=counts or known, inventory=there)
    return make_status(
        a_meta(kind), old or Status(), plan, applied or Applied(held=list(held)), AT, Look(mode)
    )


# Counts: what there is


LINES = (role_line("Reader"), child_line(VIEW))
HELD: dict[str, tuple[list[Change], tuple[Item, ...], dict[str, int]]] = {
    "two members are missing": ([AddPrincipals(GROUP_ID, "members", ("a", "b"))], LINES, {"members": 0}),
    "an owner is missing": ([AddPrincipals(GROUP_ID, "owners", ("a",))], LINES, {}),
    "a member too many": ([RemovePrincipal(GROUP_ID, "members", "eve")], LINES, {"members": 3}),
    "an owner too many": ([RemovePrincipal(GROUP_ID, "owners", "eve")], LINES, {}),
    "a role is missing": ([READER], LINES[1:], {"azureRoles": 0}),
    "a role is not as it was made": ([replace(READER, new=False)], LINES, {}),
    "a role too many": (
        [UnassignRole(role_line("Writer").id, "Writer")],
        (*LINES, role_line("Writer")),
        {"azureRoles": 2},
    ),
    "a role that nobody declared": (
        [UnassignRole(assignment_id(SCOPE, guid("foreign")), "Owner")],
        LINES,
        {},
    ),
    "a binding is missing": ([ApplyChild(VIEW, None)], LINES[:1], {"clusterRoleBindings": 0}),
    "a binding is wrong": ([ApplyChild(VIEW, "uid")], LINES, {}),
    "a binding stands in the place of another": (
        [ReplaceChild(VIEW.ref, "uid"), ApplyChild(VIEW, None)],
        LINES,
        {},
    ),
    "a binding too many": (
        [DeleteChild(EDIT.ref, "uid")],
        (*LINES, child_line(EDIT)),
        {"clusterRoleBindings": 2},
    ),
    "a name is wrong": ([UpdateGroup(GROUP_ID, (("displayName", "x"),))], LINES, {}),
    "a Role that the policy makes in a namespace is missing": (
        [ApplyChild(Child(ChildRef(ROLE, "dev", "appdev"), a_meta(), rules=(a_rule("get", "pods"),)), None)],
        LINES,
        {},
    ),
}


@pytest.mark.parametrize(("held", "there", "expected"), HELD.values(), ids=HELD)
def test_counts_are_of_what_there_is(
    held: list[Change], there: tuple[Item, ...], expected: dict[str, int]
) -> None:
    assert status(*held, there=there).counts == COUNTS | expected


def test_counts_of_a_grant_are_of_what_there_is() -> None:
    role, own, view = grant_role(WISH), grant_binding(WISH, kind=ROLE), grant_binding(WISH, "view")
    whole = (child_line(role), child_line(own), child_line(view))
    assert status(READER, there=whole, kind=GRANT).counts == GRANT_COUNTS | {"azureRoles": 0}
    nothing = status(*(ApplyChild(one, None) for one in (role, own, view)), kind=GRANT)
    assert nothing.counts == {"roles": 0, "roleBindings": 0, "azureRoles": 1}
    refused = status(
        *(DeleteChild(one.ref, "uid") for one in (own, view, role)),
        counts={"roles": 0, "roleBindings": 0, "azureRoles": 0},
        there=whole,
        kind=GRANT,
    )
    assert refused.counts == {"roles": 1, "roleBindings": 2, "azureRoles": 0}


def test_namespaces_are_those_in_which_there_is_something() -> None:
    counts = {"members": 2, "clusterRoleBindings": 0, "roleBindings": 3, "namespaces": 2}
    dev, more, test = inside("dev"), inside("dev", "edit"), inside("test")
    there = (child_line(dev), child_line(more))
    found = status(ApplyChild(test, None), counts=counts, there=there).counts
    assert found == counts | {"roleBindings": 2, "namespaces": 1}


def test_what_was_made_beside_what_waits_is_there() -> None:
    """Only some of the changes wait where another hand makes the same one again and again."""
    made, waits = ApplyChild(VIEW, None), ApplyChild(EDIT, None)
    applied = Applied(done=[made], held=[waits], made=[child_item(VIEW.ref, "new")])
    found = status(
        made, waits, counts=COUNTS | {"clusterRoleBindings": 2}, applied=applied, mode=Mode.ENFORCE
    )
    assert found.counts["clusterRoleBindings"] == 1
    gone = Applied(done=[DeleteChild(VIEW.ref, "old")], held=[waits], gone={"old"})
    found = status(waits, there=(child_item(VIEW.ref, "old"),), applied=gone, mode=Mode.ENFORCE)
    assert found.counts["clusterRoleBindings"] == 0


def test_what_is_announced_is_not_there() -> None:
    announced = child_item(VIEW.ref, "")
    assert status(ApplyChild(VIEW, None), there=(announced,)).counts["clusterRoleBindings"] == 0


def test_what_was_not_seen_stays_as_it_was_known() -> None:
    """An assignment elsewhere cannot be looked at, and one at the cluster is missing."""
    counts = {"members": None, "azureRoles": None, "clusterRoleBindings": 1}
    old = Status(counts={"members": 5, "azureRoles": 3})
    found = status(READER, AddPrincipals(GROUP_ID, "members", ("a",)), counts=counts, there=LINES, old=old)
    assert found.counts == {"members": 5, "azureRoles": 3, "clusterRoleBindings": 1}
    assert status(READER, counts=counts, there=LINES).counts == {"clusterRoleBindings": 1}


@pytest.mark.parametrize("how", ["failed", "never come to"])
def test_what_could_not_be_made_is_not_there(how: str) -> None:
    add = AddPrincipals(GROUP_ID, "members", ("a",))
    found = status(add, applied=unmade(add, how), there=LINES, mode=Mode.ENFORCE)
    assert found.counts == COUNTS | {"members": 1}


def test_when_all_is_made_the_counts_are_the_plans() -> None:
    changes = (READER, ApplyChild(VIEW, None))
    assert status(*changes, applied=Applied(done=list(changes)), mode=Mode.ENFORCE).counts == COUNTS


# The inventory: what was made once stays told of


FAR_ROLE = replace(READER, scope=FAR)
FAR_LINE = Item(
    System.AZURE,
    "RoleAssignment",
    "Reader",
    assignment_id(FAR, assignment_name(FAR, GROUP_ID, guid("Reader"))),
    applied=MADE,
)
CUSTOM = Definition(guid("custom"), "Pod Restarter", assignable_scopes=(PLACE.subscription,))
DEFINE = DefineRole(PLACE.subscription, CUSTOM, new=True)
GONE: dict[str, tuple[Change, Item]] = {
    "a binding": (ApplyChild(VIEW, None), child_line(VIEW)),
    "a role assignment": (READER, role_line("Reader")),
    "one elsewhere": (FAR_ROLE, FAR_LINE),
}


def unmade(change: Change, how: str) -> Applied:
    """What becomes of a plan whose change is not made."""
    down = Unavailable("down").finding(change.link)
    return {
        "held": Applied(held=[change]),
        "failed": Applied(failed=[change], findings=[down]),
        "never come to": Applied(findings=[Denied("no right").finding(Link.SUBJECT)]),
    }[how]


@pytest.mark.parametrize("how", ["held", "failed", "never come to"])
@pytest.mark.parametrize(("change", "item"), GONE.values(), ids=GONE)
def test_what_another_hand_deleted_stays_told_of_until_it_is_made_again(
    change: Change, item: Item, how: str
) -> None:
    """Else the next pass would take it for something that was never made, and no drift any more."""
    old = Status(inventory=(item,))
    assert status(change, old=old, applied=unmade(change, how), mode=Mode.ENFORCE).inventory == (item,)


def test_what_another_hand_has_put_in_its_place_is_not_told_of() -> None:
    """The inventory is of what the operator made."""
    change, old = ApplyChild(VIEW, None), Status(inventory=(child_line(VIEW), role_line("Reader")))
    applied = Applied(failed=[change], findings=[Taken("somebody's").finding(Link.BINDINGS)])
    found = status(READER, change, old=old, applied=applied, mode=Mode.ENFORCE)
    assert found.inventory == (role_line("Reader"),)


def test_a_custom_role_too() -> None:
    item = definition_item(CUSTOM, "", "mark")
    for how in ("held", "failed", "never come to"):
        found = status(DEFINE, old=Status(inventory=(item,)), applied=unmade(DEFINE, how), mode=Mode.ENFORCE)
        assert found.inventory == (item,)


def test_what_was_never_made_is_not_told_of() -> None:
    for how in ("held", "failed", "never come to"):
        found = status(ApplyChild(VIEW, None), applied=unmade(ApplyChild(VIEW, None), how))
        assert found.inventory == ()


def test_what_is_made_again_has_its_new_line() -> None:
    change = ApplyChild(VIEW, None)
    applied = Applied(done=[change], made=[child_item(VIEW.ref, "new")])
    found = status(change, old=Status(inventory=(child_line(VIEW),)), applied=applied, mode=Mode.ENFORCE)
    assert found.inventory == (child_item(VIEW.ref, "new"),)


def test_what_nobody_wishes_for_any_more_is_struck_out() -> None:
    other = ApplyChild(EDIT, None)
    found = status(other, old=Status(inventory=(child_line(VIEW),)), applied=unmade(other, "failed"))
    assert found.inventory == ()


def test_a_binding_that_was_taken_away_to_make_room_is_gone() -> None:
    make_room, change = ReplaceChild(VIEW.ref, "uid-of-it"), ApplyChild(VIEW, None)
    old = Status(inventory=(child_item(VIEW.ref, "uid-of-it"),))
    applied = Applied(
        done=[make_room],
        failed=[change],
        gone={"uid-of-it"},
        findings=[Unavailable("down").finding(Link.BINDINGS)],
    )
    assert status(make_room, change, old=old, applied=applied, mode=Mode.ENFORCE).inventory == ()


@pytest.mark.parametrize("how", ["held", "failed", "never come to"])
def test_what_was_applied_last_to_the_group_is_not_what_was_only_wished_for(how: str) -> None:
    """Else the old name would be taken for one that another hand gave it."""
    rename = UpdateGroup(GROUP_ID, (("displayName", "ops"),))
    before, planned = replace(group_line(), applied="before"), replace(group_line(), applied="after")
    applied = unmade(rename, how)
    (line,) = status(rename, there=(planned,), old=Status(inventory=(before,)), applied=applied).inventory
    assert line.applied == "before"
    (line,) = status(
        rename, there=(planned,), old=Status(inventory=(before,)), applied=Applied([rename])
    ).inventory
    assert line.applied == "after"


def test_a_group_that_is_held_back_has_no_line_yet() -> None:
    create = CreateGroup("u", "appdev", "appdev", None)
    found = status(create, counts={"members": 0, "clusterRoleBindings": 0})
    assert (found.inventory, found.counts["members"]) == ((), 0)


# The mode


@pytest.mark.parametrize("mode", Mode)
def test_the_mode_in_effect_is_told(mode: Mode) -> None:
    assert status(mode=mode).mode == mode.value


def test_when_the_access_ends_is_told() -> None:
    plan = Plan(subject=SUBJECT, counts=GRANT_COUNTS, expires_at="2026-12-01T00:00:00Z")
    found = make_status(a_meta(GRANT), Status(expires_at="2026-11-01T00:00:00Z"), plan, Applied(), AT)
    assert found.expires_at == "2026-12-01T00:00:00Z"
    lasts = make_status(a_meta(GRANT), found, replace(plan, expires_at=""), Applied(), AT)
    assert "expiresAt" not in lasts.as_dict()


def test_nothing_that_is_held_takes_effect() -> None:
    found = status(AddPrincipals(GROUP_ID, "members", ("a",)), DeleteChild(EDIT.ref, "uid"))
    assert found.effective_by == ""
