"""Custom roles: Azure role definitions that a policy makes, changes and removes."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.resources import AccessPolicy, AdoptionPolicy, AzureRole, CustomRole
from entra_access.api.status import Item, System
from entra_access.domain.changes import AssignRole, DefineRole, RemoveRole, UnassignRole
from entra_access.domain.definition_plan import definition_item, definition_mark, wished_definition
from entra_access.domain.faults import Denied, Fault, Link, Severity, Unavailable
from entra_access.domain.naming import assignment_id, assignment_name, definition_id, definition_name, guid_in
from entra_access.domain.observed import Assignment, Definition
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy, plan_policy_removal
from entra_access.domain.role_plan import MADE
from unit.builders import BEFORE, NOW, PLACE, SCOPE, a_meta, guid
from unit.worlds import FAR, OTHER_PLACE, RESOURCE_GROUP, ROBOT_ID, SUBSCRIPTION, a_policy_for, a_world, robot

DELETE_PODS = "Microsoft.ContainerService/managedClusters/pods/delete"
READ_PODS = "Microsoft.ContainerService/managedClusters/pods/read"
ROLE = CustomRole("Pod Restarter", "May delete pods", data_actions=(DELETE_PODS, READ_PODS))
WISH = wished_definition(ROLE, "appdev", PLACE)
THEIRS = replace(WISH, guid=guid("theirs"))
LINE = definition_item(WISH, BEFORE, definition_mark(WISH))


def policy(*roles: CustomRole, azure_roles: tuple[AzureRole, ...] = ()) -> AccessPolicy:
    return a_policy_for(robot(), *azure_roles, custom_roles=roles)


def plan(
    *roles: CustomRole,
    there: Definition | Fault | None = None,
    other: Definition | Fault | None = None,
    lines: tuple[Item, ...] = (),
    azure_roles: tuple[AzureRole, ...] = (),
    **fields: Any,
) -> Plan:
    """The plan where each role was looked up as told."""
    wish = policy(*roles, azure_roles=azure_roles)
    names = [role.name for role in roles]
    world = a_world(
        wish,
        definitions=dict.fromkeys(names, there),
        definition_namesakes=dict.fromkeys(names, other),
        **({"roles": {}} | fields),
    )
    return plan_policy(wish, PLACE, world, lines, NOW)


def test_a_custom_role_is_assignable_at_the_clusters_resource_group_unless_told_otherwise() -> None:
    """A cluster itself is no assignable scope."""
    assert WISH.assignable_scopes == (RESOURCE_GROUP,)
    assert wished_definition(replace(ROLE, assignable_scopes=(FAR,)), "appdev", PLACE).assignable_scopes == (
        FAR,
    )
    assert WISH.permissions == ((), (), (DELETE_PODS, READ_PODS), ())
    assert LINE.id == definition_id(RESOURCE_GROUP, WISH.guid)


def test_the_guid_of_a_custom_role_is_always_the_same_and_nobody_elses() -> None:
    guids = {
        WISH.guid,
        wished_definition(ROLE, "ops", PLACE).guid,
        wished_definition(ROLE, "appdev", OTHER_PLACE).guid,
        wished_definition(replace(ROLE, name="Pod Reader"), "appdev", PLACE).guid,
    }
    assert len(guids) == 4
    assert wished_definition(replace(ROLE, description=None), "appdev", PLACE).guid == WISH.guid
    assert guid_in(LINE.id) == WISH.guid == definition_name("owner", "appdev", "Pod Restarter")


def test_a_custom_role_is_made_before_it_is_assigned() -> None:
    made = plan(ROLE, azure_roles=(AzureRole("Pod Restarter"),))
    assert [type(change) for change in made.changes] == [DefineRole, AssignRole]
    define, assign = made.changes
    assert isinstance(define, DefineRole)
    assert isinstance(assign, AssignRole)
    assert (define.scope, define.definition, define.new) == (RESOURCE_GROUP, WISH, True)
    assert (assign.role_id, assign.scope) == (WISH.guid, SCOPE)
    assert str(define) == "create custom role Pod Restarter"
    assert define.id == LINE.id
    assert made.findings == ()


SAME: dict[str, dict[str, Any]] = {
    "as it was made": {},
    "in another order": {"permissions": ((), (), (READ_PODS, DELETE_PODS), ())},
    "in other cases": {
        "permissions": ((), (), (READ_PODS.upper(), DELETE_PODS), ()),
        "assignable_scopes": (RESOURCE_GROUP.lower(),),
    },
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_at_rest_nothing_is_done(changes: dict[str, Any]) -> None:
    made = plan(ROLE, there=replace(WISH, **changes), lines=(LINE,))
    assert (made.changes, made.findings) == ((), ())
    assert made.inventory == (LINE,)


OTHERWISE: dict[str, dict[str, Any]] = {
    "name": {"name": "Restarter"},
    "description": {"description": ""},
    "scopes": {"assignable_scopes": (RESOURCE_GROUP, FAR)},
    "an action more": {"permissions": (("*",), (), (DELETE_PODS, READ_PODS), ())},
    "a data action less": {"permissions": ((), (), (DELETE_PODS,), ())},
    "an exception": {"permissions": ((), (), (DELETE_PODS, READ_PODS), (READ_PODS,))},
    "lists exchanged": {"permissions": ((DELETE_PODS, READ_PODS), (), (), ())},
}


@pytest.mark.parametrize("changes", OTHERWISE.values(), ids=OTHERWISE)
def test_what_is_otherwise_is_put_right_in_place(changes: dict[str, Any]) -> None:
    made = plan(ROLE, there=replace(WISH, **changes), lines=(LINE,))
    assert made.changes == (DefineRole(RESOURCE_GROUP, WISH, new=False),)
    assert made.inventory == (LINE,)


LACKING: dict[str, dict[str, Any]] = {"scopes elsewhere": {"assignable_scopes": (FAR,)}} | {
    name: OTHERWISE[name] for name in ("a data action less", "an exception", "lists exchanged")
}


MORE: dict[str, dict[str, Any]] = {
    "all data actions": {"permissions": ((), (), ("*",), ())},
    "all that wildcards stand for": {"permissions": ((), (), ("Microsoft.ContainerService/*/pods/*",), ())},
    "all of the subscription": {"assignable_scopes": (PLACE.subscription,)},
}
"""Otherwise, and nothing is missing."""


@pytest.mark.parametrize("name", OTHERWISE | LACKING | MORE)
def test_access_is_lacking_where_less_is_allowed_and_not_where_more_is(name: str) -> None:
    """Only then is somebody who observes told that something is not in place."""
    (change,) = plan(ROLE, there=replace(WISH, **(OTHERWISE | LACKING | MORE)[name]), lines=(LINE,)).changes
    assert change.gives == (name in LACKING)


def test_one_that_no_inventory_tells_of_is_ours_by_its_guid() -> None:
    assert plan(ROLE, there=WISH).inventory == (definition_item(WISH, NOW, definition_mark(WISH)),)


def test_a_name_that_is_taken_is_refused_and_the_other_role_named() -> None:
    """Names of custom roles are unique in a tenant."""
    made = plan(ROLE, other=THEIRS, azure_roles=(AzureRole("Pod Restarter"),))
    assert made.changes == ()
    refusal = made.findings[0]
    assert (refusal.link, refusal.severity, refusal.reason, refusal.path) == (
        Link.AZURE_ROLES,
        Severity.STALLED,
        "RoleExists",
        "spec.customRoles[0].name",
    )
    assert THEIRS.guid in refusal.message
    assert made.inventory == ()


@pytest.mark.parametrize("adoption", AdoptionPolicy)
def test_a_role_of_azures_own_is_never_taken_over(adoption: AdoptionPolicy) -> None:
    """Nobody may change it; and to delete it is no way out."""
    own = replace(WISH, guid=THEIRS.guid, built_in=True)
    wish = replace(policy(ROLE), adoption=adoption)
    world = a_world(wish, definitions={ROLE.name: None}, definition_namesakes={ROLE.name: own}, roles={})
    made = plan_policy(wish, PLACE, world, (), NOW)
    assert (made.changes, made.inventory) == ((), ())
    (refusal,) = made.findings
    assert (refusal.reason, refusal.path) == ("RoleExists", "spec.customRoles[0].name")
    assert refusal.message == "Pod Restarter is the name of a built-in role of Azure; choose another name"


def test_a_namesake_does_not_matter_once_ours_is_there() -> None:
    assert plan(ROLE, there=WISH, other=THEIRS, lines=(LINE,)).changes == ()


def test_while_nobody_knows_whether_the_name_is_free_nothing_is_made() -> None:
    made = plan(ROLE, other=Unavailable("down"))
    assert made.changes == ()
    assert [(f.link, f.severity, f.reason) for f in made.findings] == [
        (Link.AZURE_ROLES, Severity.UNKNOWN, "Unavailable")
    ]


@pytest.mark.parametrize("fault", [Unavailable("down"), Denied("no right")], ids=lambda one: one.reason)
def test_a_custom_role_that_cannot_be_seen_is_left_with_what_is_assigned_by_it(fault: Fault) -> None:
    name = assignment_name(SCOPE, ROBOT_ID, WISH.guid)
    held = Assignment(name, SCOPE, ROBOT_ID, WISH.guid, PLACE.note(a_meta()))
    item = Item(System.AZURE, "RoleAssignment", "Pod Restarter", assignment_id(SCOPE, name), applied=MADE)
    made = plan(
        ROLE, there=fault, lines=(LINE, item), azure_roles=(AzureRole("Pod Restarter"),), assignments=(held,)
    )
    assert made.changes == ()
    assert set(made.inventory) == {LINE, item}
    assert [(f.reason, f.unseen) for f in made.findings] == [(fault.reason, True)]


def test_a_custom_role_goes_after_its_assignments() -> None:
    name = assignment_name(SCOPE, ROBOT_ID, WISH.guid)
    held = Assignment(name, SCOPE, ROBOT_ID, WISH.guid, PLACE.note(a_meta()))
    item = Item(System.AZURE, "RoleAssignment", "Pod Restarter", assignment_id(SCOPE, name), applied=MADE)
    made = plan(lines=(LINE, item), assignments=(held,))
    assert made.changes == (
        UnassignRole(item.id, "Pod Restarter"),
        RemoveRole(LINE.id, "Pod Restarter"),
    )
    assert set(made.inventory) == {LINE, item}  # until each removal is confirmed


def test_a_custom_role_of_another_name_is_another_role() -> None:
    """The new one is made and assigned before the old one goes."""
    new = replace(ROLE, name="Pod Killer")
    made = plan(new, lines=(LINE,), azure_roles=(AzureRole("Pod Killer"),))
    assert [type(change) for change in made.changes] == [DefineRole, AssignRole, RemoveRole]


FORGED = {
    "a built-in role": replace(LINE, id=definition_id(RESOURCE_GROUP, guid("Owner"))),
    "another policy's": definition_item(wished_definition(ROLE, "ops", PLACE), BEFORE),
    "another cluster's": definition_item(wished_definition(ROLE, "appdev", OTHER_PLACE), BEFORE),
    "under another name": replace(LINE, name="Something"),
    "without an id": replace(LINE, id=""),
}


@pytest.mark.parametrize("line", FORGED.values(), ids=FORGED)
def test_a_forged_line_deletes_no_role(line: Item) -> None:
    made = plan(lines=(line,))
    assert (made.changes, made.inventory) == ((), ())


def at(scope: str, *assignable: str, name: str = "Pod Restarter") -> Plan:
    """The plan where the policy's own role is wished for at a scope."""
    role = replace(ROLE, assignable_scopes=assignable)
    there = wished_definition(role, "appdev", PLACE)
    return plan(
        role, there=there, lines=(definition_item(there, BEFORE),), azure_roles=(AzureRole(name, scope),)
    )


def test_the_policys_own_role_is_known_in_any_case() -> None:
    """Azure's names have no case."""
    (assign,) = at(SCOPE, name="pod restarter").changes
    assert isinstance(assign, AssignRole)
    assert assign.role_id == WISH.guid


@pytest.mark.parametrize(
    ("scope", "assignable"),
    [
        (SCOPE, ()),
        (RESOURCE_GROUP.upper(), ()),
        (FAR, (FAR,)),
        (f"{FAR}/providers/x/y/z", (RESOURCE_GROUP, FAR)),
        (FAR, ("/providers/Microsoft.Management/managementGroups/all",)),
    ],
)
def test_an_own_role_is_assigned_where_it_can_be(scope: str, assignable: tuple[str, ...]) -> None:
    made = at(scope, *assignable)
    assert [type(change) for change in made.changes] == [AssignRole]
    assert made.findings == ()


@pytest.mark.parametrize(
    ("scope", "assignable"),
    [(FAR, ()), (SUBSCRIPTION, ()), (SCOPE, (FAR,)), (f"{FAR}-2", (FAR,))],
)
def test_an_own_role_is_refused_where_it_cannot_be(scope: str, assignable: tuple[str, ...]) -> None:
    made = at(scope, *assignable)
    assert made.changes == ()
    assert [(f.link, f.severity, f.reason, f.path) for f in made.findings] == [
        (Link.AZURE_ROLES, Severity.STALLED, "NotAssignable", "spec.azureRoles[0].role")
    ]
    assert "assignableScopes" in made.findings[0].message


def test_at_the_end_custom_roles_go_after_the_assignments_and_before_the_group() -> None:
    made = plan_policy_removal(a_meta(), PLACE, a_world(policy()), (LINE,), NOW)
    assert made.changes == (RemoveRole(LINE.id, "Pod Restarter"),)
    assert made.inventory == (LINE,)
