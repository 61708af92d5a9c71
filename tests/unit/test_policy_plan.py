"""The plan of an AccessPolicy: the group itself, and the plan as a whole."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.status import Item
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DeleteChild,
    RemovePrincipal,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.faults import Severity, Throttled
from entra_access.domain.observed import PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import merge_inventory
from unit.builders import (
    BEFORE,
    GROUP_ID,
    NOW,
    PLACE,
    SCOPE,
    UNIQUE,
    a_group,
    a_meta,
    a_policy,
    an_assignment,
    child_line,
    cluster_binding,
    drift_of_plan,
    group_line,
    guid,
    nothing_yet,
    role_line,
    role_names,
    seen,
    steady,
)

NOTE = PLACE.note(a_meta())
FULL: dict[str, Any] = {
    "members": "a@x.io b@x.io",
    "owners": "o@x.io",
    "azure_roles": "Reader Writer",
    "cluster_roles": "view edit",
}


def plan(policy: Any, world: PolicyWorld, inventory: tuple[Item, ...] = ()) -> Plan:
    return plan_policy(policy, PLACE, world, inventory, NOW)


def removals(changes: tuple[Change, ...]) -> list[Change]:
    return [change for change in changes if change.removal]


def test_from_nothing_everything_is_made_in_order() -> None:
    policy = a_policy(**FULL)
    made = plan(policy, nothing_yet(policy))
    assert made.changes == (
        CreateGroup(UNIQUE, "appdev", "appdev", None),
        AddPrincipals(None, "members", tuple(sorted([guid("a@x.io"), guid("b@x.io")]))),
        AddPrincipals(None, "owners", (guid("o@x.io"),)),
        AssignRole(SCOPE, "Reader", guid("Reader"), None, "Group", NOTE),
        AssignRole(SCOPE, "Writer", guid("Writer"), None, "Group", NOTE),
        ApplyChild(cluster_binding("view", None), None),
        ApplyChild(cluster_binding("edit", None), None),
    )
    assert made.findings == ()
    assert drift_of_plan(made) == ()
    assert made.counts == {"members": 2, "azureRoles": 2, "clusterRoleBindings": 2}
    assert made.summary == "appdev has 2 members, 2 Azure roles and 2 ClusterRoles"


def test_the_group_alone() -> None:
    made = plan(a_policy(description="Developers", mail_nickname="dev"), nothing_yet(a_policy()))
    assert made.changes == (CreateGroup(UNIQUE, "appdev", "dev", "Developers"),)


@pytest.mark.parametrize("field", [{}, *({key: value} for key, value in FULL.items()), FULL], ids=str)
def test_at_steady_state_nothing_changes(field: dict[str, Any]) -> None:
    policy = a_policy(**field)
    world, inventory = steady(policy)
    made = plan(policy, world, inventory)
    assert made.changes == ()
    assert made.findings == ()
    assert drift_of_plan(made) == ()
    assert set(made.inventory) == set(inventory)
    assert merge_inventory(inventory, made.inventory, Applied()) == merge_inventory((), inventory, Applied())
    assert made.subject is not None
    assert (made.subject.object_id, made.subject.display_name) == (GROUP_ID, "appdev")


def test_the_inventory_is_found_again_from_the_world_alone() -> None:
    """After the status was lost, or an end between a write and its status, ours is known by its names."""
    policy = a_policy(**FULL)
    world, inventory = steady(policy)
    made = plan(policy, world, ())
    assert made.changes == ()
    assert {replace(item, since="") for item in made.inventory} == {
        replace(item, since="") for item in inventory
    }


RENAMED: dict[str, tuple[dict[str, Any], tuple[tuple[str, str | None], ...]]] = {
    "display name": ({"display_name": "ops"}, (("displayName", "ops"), ("mailNickname", "ops"))),
    "case of the name": ({"display_name": "AppDev"}, (("displayName", "AppDev"), ("mailNickname", "AppDev"))),
    "nickname": ({"mail_nickname": "dev"}, (("mailNickname", "dev"),)),
    "description": ({"description": "Developers"}, (("description", "Developers"),)),
    "all": (
        {"display_name": "ops", "mail_nickname": "dev", "description": "x"},
        (("displayName", "ops"), ("mailNickname", "dev"), ("description", "x")),
    ),
}


@pytest.mark.parametrize(("field", "attributes"), RENAMED.values(), ids=RENAMED)
def test_another_wish_for_the_group(
    field: dict[str, Any], attributes: tuple[tuple[str, str | None], ...]
) -> None:
    world, inventory = steady(a_policy(**FULL))
    made = plan(a_policy(**FULL, **field), world, inventory)
    assert made.changes == (UpdateGroup(GROUP_ID, attributes),)


@pytest.mark.parametrize(
    ("found", "attributes"),
    [
        ({"display_name": "x"}, (("displayName", "appdev"),)),
        ({"mail_nickname": "x"}, (("mailNickname", "appdev"),)),
        ({"description": "x"}, (("description", None),)),
        ({"description": ""}, ()),
    ],
    ids=str,
)
def test_what_another_hand_set_on_the_group_is_put_right(
    found: dict[str, Any], attributes: tuple[tuple[str, str | None], ...]
) -> None:
    world, inventory = steady(a_policy())
    made = plan(a_policy(), replace(world, group=a_group(**found)), inventory)
    assert made.changes == ((UpdateGroup(GROUP_ID, attributes),) if attributes else ())


CHANGED: dict[str, tuple[dict[str, Any], tuple[Change, ...]]] = {
    "a member more": (
        {"members": "a@x.io b@x.io c@x.io"},
        (AddPrincipals(GROUP_ID, "members", (guid("c@x.io"),)),),
    ),
    "a member less": ({"members": "a@x.io"}, (RemovePrincipal(GROUP_ID, "members", guid("b@x.io")),)),
    "another member": (
        {"members": "a@x.io c@x.io"},
        (
            AddPrincipals(GROUP_ID, "members", (guid("c@x.io"),)),
            RemovePrincipal(GROUP_ID, "members", guid("b@x.io")),
        ),
    ),
    "another owner": (
        {"owners": "p@x.io"},
        (
            AddPrincipals(GROUP_ID, "owners", (guid("p@x.io"),)),
            RemovePrincipal(GROUP_ID, "owners", guid("o@x.io")),
        ),
    ),
    "an Azure role more": (
        {"azure_roles": "Reader Writer Admin"},
        (AssignRole(SCOPE, "Admin", guid("Admin"), GROUP_ID, "Group", NOTE),),
    ),
    "an Azure role less": ({"azure_roles": "Reader"}, (UnassignRole(role_line("Writer").id, "Writer"),)),
    "another Azure role": (
        {"azure_roles": "Reader Admin"},
        (
            AssignRole(SCOPE, "Admin", guid("Admin"), GROUP_ID, "Group", NOTE),
            UnassignRole(role_line("Writer").id, "Writer"),
        ),
    ),
    "a ClusterRole less": (
        {"cluster_roles": "view"},
        (DeleteChild(cluster_binding("edit").ref, child_line(cluster_binding("edit")).id),),
    ),
    "another ClusterRole": (
        {"cluster_roles": "view admin"},
        (
            ApplyChild(cluster_binding("admin"), None),
            DeleteChild(cluster_binding("edit").ref, child_line(cluster_binding("edit")).id),
        ),
    ),
}


@pytest.mark.parametrize(("field", "changes"), CHANGED.values(), ids=CHANGED)
def test_each_changed_wish_is_exactly_its_change(field: dict[str, Any], changes: tuple[Change, ...]) -> None:
    old, new = a_policy(**FULL), a_policy(**(FULL | field))
    world, inventory = steady(old, "view edit admin")
    wished, _ = steady(new, "view edit admin")
    made = plan(new, replace(world, principals=wished.principals, roles=wished.roles), inventory)
    assert made.changes == changes
    assert made.findings == ()
    assert drift_of_plan(made) == ()


def test_all_that_adds_comes_before_all_that_takes_away() -> None:
    old = a_policy(members="a@x.io", owners="o@x.io", azure_roles="Reader", cluster_roles="view")
    new = a_policy(
        members="b@x.io", owners="p@x.io", azure_roles="Writer", cluster_roles="edit", display_name="ops"
    )
    world, inventory = steady(old)
    wished, _ = steady(new)
    made = plan(new, replace(world, principals=wished.principals, roles=wished.roles), inventory)
    taking = [change.removal for change in made.changes]
    assert taking == sorted(taking)
    assert [type(change) for change in made.changes] == [
        UpdateGroup,
        AddPrincipals,
        AddPrincipals,
        AssignRole,
        ApplyChild,
        DeleteChild,
        UnassignRole,
        RemovePrincipal,
        RemovePrincipal,
    ]


def test_a_deleted_group_is_brought_back_and_nothing_is_taken_away() -> None:
    policy = a_policy(**FULL)
    world, inventory = steady(policy)
    deleted = replace(world, group=a_group(deleted=True), members=(), owners=())
    made = plan(policy, deleted, inventory)
    assert made.changes[0] == RestoreGroup(GROUP_ID, "appdev")
    assert removals(made.changes) == []
    assert not any(isinstance(change, CreateGroup | AddPrincipals) for change in made.changes)
    assert [finding.reason for finding in made.findings] == ["Restoring"]
    assert merge_inventory(inventory, made.inventory, Applied()) == merge_inventory((), inventory, Applied())
    assert made.subject is not None
    assert made.subject.object_id == GROUP_ID


NEW_ID = "bbbbbbbb-0000-0000-0000-00000000000b"


def test_a_group_that_is_gone_for_good_is_made_anew_and_everything_moves_to_it() -> None:
    policy = a_policy(**FULL)
    world, inventory = steady(policy)
    gone = replace(nothing_yet(policy), assignments=world.assignments, children=world.children)
    made = plan(policy, gone, inventory)
    assert [type(change) for change in made.changes] == [
        CreateGroup,
        AddPrincipals,
        AddPrincipals,
        AssignRole,
        AssignRole,
        ApplyChild,
        ApplyChild,
        UnassignRole,
        UnassignRole,
    ]
    assert {change.assignment_id for change in made.changes if isinstance(change, UnassignRole)} == {
        role_line("Reader").id,
        role_line("Writer").id,
    }
    # The bindings are those that are there: their uid is given, so that they are moved, not made.
    uids = {change.uid for change in made.changes if isinstance(change, ApplyChild)}
    assert uids == {child.uid for child in world.children}
    assert [item.found for item in drift_of_plan(made)] == ["deleted for good"]  # nobody has edited a binding


def test_after_the_move_nothing_is_left_to_do() -> None:
    policy = a_policy(**FULL)
    world, _ = steady(policy)
    moved = replace(
        world,
        group=a_group(id=NEW_ID),
        assignments=tuple(an_assignment(role, NEW_ID) for role in role_names(policy)),
        children=tuple(seen(cluster_binding(role, NEW_ID)) for role in policy.cluster_roles),
    )
    assert plan(policy, moved, (group_line(NEW_ID),)).changes == ()


def test_the_old_assignments_of_a_moved_policy_are_still_taken_away_later() -> None:
    policy = a_policy(azure_roles="Reader")
    world, inventory = steady(policy)
    moved = replace(
        world,
        group=a_group(id=NEW_ID),
        assignments=(an_assignment("Reader", NEW_ID), an_assignment("Reader")),
    )
    made = plan(policy, moved, (group_line(NEW_ID), inventory[1], role_line("Reader", NEW_ID)))
    assert made.changes == (UnassignRole(role_line("Reader").id, "Reader"),)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "another policy's": ({"claimant": "other"}, "GroupClaimed", "other"),
    "somebody's": ({"namesakes": (a_group(id=NEW_ID, unique_name=""),)}, "GroupExists", NEW_ID),
}


@pytest.mark.parametrize(("field", "reason", "named"), REFUSED.values(), ids=REFUSED)
def test_a_name_that_is_taken_is_not_taken_over(field: dict[str, Any], reason: str, named: str) -> None:
    policy = a_policy(**FULL)
    made = plan(policy, replace(nothing_yet(policy), **field))
    assert made.changes == ()
    (finding,) = made.findings
    assert (finding.severity, finding.reason) == (Severity.STALLED, reason)
    assert finding.path == "spec.subject.group.displayName"
    assert named in finding.message


@pytest.mark.parametrize(("field", "reason", "named"), REFUSED.values(), ids=REFUSED)
def test_nor_on_renaming(field: dict[str, Any], reason: str, named: str) -> None:
    world, inventory = steady(a_policy(**FULL))
    renamed = a_policy(**FULL, display_name="ops", description="also new")
    made = plan(renamed, replace(world, **field), inventory)
    assert made.changes == (UpdateGroup(GROUP_ID, (("description", "also new"),)),)
    assert [(finding.reason, finding.severity) for finding in made.findings] == [(reason, Severity.STALLED)]
    assert named in made.findings[0].message


@pytest.mark.parametrize("field", [one for one, _, _ in REFUSED.values()], ids=REFUSED)
def test_who_does_not_rename_needs_no_leave(field: dict[str, Any]) -> None:
    world, inventory = steady(a_policy())
    assert plan(a_policy(), replace(world, **field), inventory).changes == ()


@pytest.mark.parametrize("field", [one for one, _, _ in REFUSED.values()], ids=REFUSED)
def test_a_group_that_was_not_renamed_is_called_by_the_name_that_it_has(field: dict[str, Any]) -> None:
    """The name in the status is what the claims of policies on names are settled by."""
    world, inventory = steady(a_policy())
    made = plan(a_policy(display_name="ops"), replace(world, **field), inventory)
    assert made.subject is not None
    assert made.subject.display_name == "appdev"


def test_namesakes_that_could_not_be_looked_for_leave_the_name() -> None:
    fault = Throttled("slowly", retry_after=7)
    made = plan(a_policy(), replace(nothing_yet(a_policy()), namesakes=fault))
    assert made.changes == ()
    assert [(finding.severity, finding.retry_after) for finding in made.findings] == [(Severity.WAITING, 7)]
    world, inventory = steady(a_policy())
    assert plan(a_policy(display_name="ops"), replace(world, namesakes=fault), inventory).changes == ()


def test_the_order_in_which_namesakes_are_found_does_not_matter() -> None:
    """Entra gives them in any order; another message each time would be a write each time."""
    one, two = a_group(id="1"), a_group(id="2")
    worlds = [replace(nothing_yet(a_policy()), namesakes=found) for found in ((one, two), (two, one))]
    assert plan(a_policy(), worlds[0]).findings == plan(a_policy(), worlds[1]).findings


def test_nothing_is_given_to_a_group_that_is_gone_while_another_cannot_be_made() -> None:
    policy = a_policy(**FULL)
    world, inventory = steady(policy)
    made = plan(policy, replace(nothing_yet(policy), children=world.children, claimant="other"), inventory)
    assert made.changes == ()
    assert made.subject is None
    kept = merge_inventory(inventory, made.inventory, Applied())
    assert {item.key for item in kept} >= {child_line(child).key for child in world.children}


def test_the_time_of_the_first_line_is_kept() -> None:
    world, inventory = steady(a_policy())
    assert plan(a_policy(), world, inventory).inventory[0].since == BEFORE
    assert plan(a_policy(), world, ()).inventory[0].since == NOW
