"""The plan of an AccessPolicy: its Azure roles, its bindings, and its end."""

from dataclasses import replace

import pytest

from entra_access.api.resources import AccessPolicy
from entra_access.api.status import Item
from entra_access.domain.changes import (
    ApplyChild,
    AssignRole,
    Change,
    DeleteChild,
    DeleteGroup,
    UnassignRole,
)
from entra_access.domain.faults import Fault, Link, Severity, Unavailable
from entra_access.domain.observed import PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy, plan_policy_removal
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import merge_inventory
from unit.builders import (
    GROUP_ID,
    NOW,
    PLACE,
    SCOPE,
    a_group,
    a_meta,
    a_policy,
    an_assignment,
    cluster_binding,
    drift_of_plan,
    edited,
    got,
    group_line,
    guid,
    role_line,
    role_names,
    seen,
    steady,
)

DOWN = Unavailable("down")
NOTE = PLACE.note(a_meta())
FULL = a_policy(members="a@x.io", owners="o@x.io", azure_roles="Reader Writer", cluster_roles="view edit")


def plan(policy: AccessPolicy, world: PolicyWorld, inventory: tuple[Item, ...] = ()) -> Plan:
    return plan_policy(policy, PLACE, world, inventory, NOW)


def with_role(seen_as: Fault | str | None, wished: str = "Reader", before: str = "Reader") -> Plan:
    """The plan where the wished role was looked up as told, and one was assigned before."""
    world, inventory = steady(a_policy(azure_roles=before))
    return plan(a_policy(azure_roles=wished), replace(world, roles={wished: seen_as}), inventory)


def test_an_assignment_that_another_hand_took_away_is_made_again() -> None:
    policy = a_policy(azure_roles="Reader")
    world, inventory = steady(policy)
    made = plan(policy, replace(world, assignments=()), inventory)
    assert made.changes == (AssignRole(SCOPE, "Reader", guid("Reader"), GROUP_ID, "Group", NOTE),)
    assert made.inventory == (group_line(),)  # only what was seen


def test_foreign_assignments_are_left_alone() -> None:
    policy = a_policy(azure_roles="Reader")
    world, inventory = steady(policy)
    foreign = (
        an_assignment("Owner", name="somebodys"),  # the same group, another hand
        replace(an_assignment("Reader", guid("another group")), description=""),
        replace(an_assignment("Owner"), principal_id=guid("another group")),
    )
    made = plan(policy, replace(world, assignments=(*got(world.assignments), *foreign)), inventory)
    assert made.changes == ()
    assert not any("somebodys" in item.id for item in made.inventory)


def test_a_role_that_the_group_has_by_another_hand_is_not_assigned_twice() -> None:
    policy = a_policy(azure_roles="Reader")
    world, _ = steady(policy)
    made = plan(
        policy, replace(world, assignments=(an_assignment("Reader", name="somebodys"),)), (group_line(),)
    )
    assert (made.changes, made.counts["azureRoles"]) == ((), 1)


def test_ours_that_no_inventory_tells_of_is_taken_away() -> None:
    """Made, and then the operator ended before it could write it down, and the wish went away."""
    world, _ = steady(a_policy(azure_roles="Reader"))
    assert plan(a_policy(), world, (group_line(),)).changes == (
        UnassignRole(role_line("Reader").id, guid("Reader")),
    )


def test_one_role_under_two_names_is_assigned_once() -> None:
    policy = a_policy(azure_roles=f"Reader {guid('Reader')}")
    world, _ = steady(a_policy())
    roles: dict[str, Fault | str | None] = dict.fromkeys(role_names(policy), guid("Reader"))
    made = plan(policy, replace(world, roles=roles), (group_line(),))
    assert [type(change) for change in made.changes] == [AssignRole]
    assert made.counts["azureRoles"] == 1
    world, inventory = steady(a_policy(azure_roles="Reader"))
    assert plan(policy, replace(world, roles=roles), inventory).changes == ()


def test_a_role_that_has_another_name_now_is_known_by_its_assignment() -> None:
    """A role is its GUID: that nobody has the name any more does not end it."""
    made = with_role(None)
    assert made.changes == ()
    (finding,) = made.findings
    assert (finding.link, finding.severity, finding.reason) == (
        Link.AZURE_ROLES,
        Severity.NOTE,
        "RoleRenamed",
    )
    assert finding.path == "spec.azureRoles[0].role"
    assert role_line("Reader") in made.inventory
    assert made.counts["azureRoles"] == 1


def test_a_role_that_is_missing_is_named_and_keeps_its_assignment() -> None:
    policy = a_policy(azure_roles="Reader")
    world, inventory = steady(policy)
    made = plan(policy, replace(world, roles={"Reader": None}, assignments=()), inventory)
    assert made.changes == ()
    (finding,) = made.findings
    assert (finding.link, finding.severity, finding.reason) == (
        Link.AZURE_ROLES,
        Severity.STALLED,
        "RoleNotFound",
    )
    assert finding.path == "spec.azureRoles[0].role"
    assert role_line("Reader") in made.inventory


def test_a_missing_role_does_not_keep_others_from_being_served() -> None:
    policy = a_policy(azure_roles="Nobody Writer")
    world, inventory = steady(a_policy(azure_roles="Reader"))
    made = plan(policy, replace(world, roles={"Nobody": None, "Writer": guid("Writer")}), inventory)
    assert AssignRole(SCOPE, "Writer", guid("Writer"), GROUP_ID, "Group", NOTE) in made.changes
    assert made.findings[0].path == "spec.azureRoles[0].role"


def test_a_role_given_by_its_new_name_keeps_its_assignment() -> None:
    """Renamed in Azure, then in the spec: the id is the same, so nothing is to be done."""
    made = with_role(guid("Reader"), wished="Viewer")
    assert made.changes == ()
    assert [item.name for item in made.inventory if item.kind == "RoleAssignment"] == ["Viewer"]


@pytest.mark.parametrize("wished", ["Reader", "reader", "Writer", guid("Reader")])
def test_while_a_role_cannot_be_looked_up_no_assignment_goes(wished: str) -> None:
    """It may be the very role, by another name; and it could not be added before the other one goes."""
    made = with_role(DOWN, wished)
    assert made.changes == ()
    assert [(finding.link, finding.reason) for finding in made.findings] == [
        (Link.AZURE_ROLES, "Unavailable")
    ]
    assert role_line("Reader").id in {item.id for item in made.inventory}


@pytest.mark.parametrize("seen_as", [DOWN, None], ids=["unseen", "missing"])
def test_what_only_its_name_tells_ours_is_held_while_a_role_is_not_known(seen_as: Fault | None) -> None:
    """The status was lost, or never written: nothing tells which role the assignment is for."""
    world, _ = steady(a_policy(azure_roles="Reader"))
    made = plan(a_policy(azure_roles="Reader"), replace(world, roles={"Reader": seen_as}), (group_line(),))
    assert made.changes == ()


def test_a_cluster_id_written_otherwise_is_the_same_cluster() -> None:
    """Azure does not tell the cases apart, and its own tools print them differently."""
    scope = SCOPE.replace("resourceGroups", "resourcegroups")
    policy = a_policy(azure_roles="Reader")
    world, inventory = steady(policy)
    assignments = tuple(replace(one, scope=scope) for one in got(world.assignments))
    place = replace(PLACE, cluster_id=scope)
    made = plan_policy(policy, place, replace(world, assignments=assignments), inventory, NOW)
    assert made.changes == ()


def test_a_line_whose_assignment_is_gone_and_no_longer_wished_is_proved_and_left() -> None:
    world, inventory = steady(a_policy(azure_roles="Reader"))
    made = plan(a_policy(), replace(world, assignments=()), inventory)
    assert made.changes == (UnassignRole(role_line("Reader").id, "Reader"),)


def test_unseen_assignments_matter_only_where_there_are_any() -> None:
    world, inventory = steady(a_policy())
    assert plan(a_policy(), replace(world, assignments=DOWN), inventory).findings == ()
    world, inventory = steady(a_policy(azure_roles="Reader"))
    made = plan(a_policy(), replace(world, assignments=DOWN), inventory)
    assert [finding.link for finding in made.findings] == [Link.AZURE_ROLES]


# Bindings


def test_a_binding_that_another_hand_changed_is_put_right_and_told() -> None:
    policy = a_policy(cluster_roles="view")
    world, inventory = steady(policy)
    binding = cluster_binding("view")
    hacked = edited(binding, "kubectl-edit", "subjects", subjects=[{"kind": "User", "name": "eve"}])
    made = plan(policy, replace(world, children=(hacked,)), inventory)
    assert made.changes == (ApplyChild(binding, hacked.uid),)
    assert [(item.changed_by, item.field) for item in drift_of_plan(made)] == [("kubectl-edit", "subjects")]


def test_a_missing_cluster_role_is_named_and_its_binding_left() -> None:
    policy = a_policy(cluster_roles="view nobody")
    world, inventory = steady(policy, "view")
    made = plan(policy, world, inventory)
    assert made.changes == ()
    assert [(f.reason, f.severity, f.path) for f in made.findings] == [
        ("ClusterRoleNotFound", Severity.STALLED, "spec.clusterRoles[1]")
    ]


def test_no_binding_is_made_to_a_cluster_role_that_is_missing() -> None:
    world, inventory = steady(a_policy(cluster_roles="view"))
    made = plan(a_policy(cluster_roles="view nobody"), world, inventory)
    assert made.changes == ()
    assert made.counts["clusterRoleBindings"] == 1


# The end


def removal(world: PolicyWorld, inventory: tuple[Item, ...]) -> Plan:
    return plan_policy_removal(a_meta(), PLACE, world, inventory, NOW)


def test_everything_goes_bindings_first_and_the_group_last() -> None:
    world, inventory = steady(FULL)
    made = removal(world, inventory)
    bindings = {DeleteChild(child.ref, child.uid) for child in world.children}
    roles = {UnassignRole(role_line(role).id, role) for role in ("Reader", "Writer")}
    assert set(made.changes[:2]) == bindings
    assert {(change.assignment_id) for change in made.changes[2:4] if isinstance(change, UnassignRole)} == {
        change.assignment_id for change in roles
    }
    assert made.changes[4:] == (DeleteGroup(GROUP_ID, "appdev"),)
    assert made.findings == ()
    assert all(change.removal for change in made.changes)


def test_the_inventory_stays_until_each_removal_is_confirmed() -> None:
    world, inventory = steady(FULL)
    made = removal(world, inventory)
    assert set(made.inventory) == set(inventory)
    gone = Applied(gone={item.id for item in inventory})
    assert merge_inventory(inventory, made.inventory, gone) == ()


def test_what_no_inventory_tells_of_goes_too() -> None:
    world, _ = steady(FULL)
    made = removal(world, ())
    assert [type(change) for change in made.changes] == [
        DeleteChild,
        DeleteChild,
        UnassignRole,
        UnassignRole,
        DeleteGroup,
    ]


def test_what_the_inventory_alone_tells_of_goes_too() -> None:
    """Nothing is seen, so a list that lags behind does not leave an assignment there for good."""
    _, inventory = steady(FULL)
    made = removal(PolicyWorld(group=a_group()), inventory)
    assert [type(change) for change in made.changes] == [UnassignRole, UnassignRole, DeleteGroup]


def test_foreign_things_stay_where_they_are() -> None:
    another = replace(an_assignment("Reader", guid("another group")), description="")
    foreign = (an_assignment("Owner", name="somebodys"), another)
    made = removal(PolicyWorld(group=a_group(), assignments=foreign), (group_line(),))
    assert made.changes == (DeleteGroup(GROUP_ID, "appdev"),)


@pytest.mark.parametrize("group", [None, a_group(deleted=True)], ids=["gone", "deleted"])
def test_a_group_that_is_gone_already_counts_as_deleted(group: object) -> None:
    world, inventory = steady(FULL)
    made = removal(replace(world, group=group), inventory)  # type: ignore[arg-type]  # one of two
    assert not any(isinstance(change, DeleteGroup) for change in made.changes)
    assert len(made.changes) == 4
    assert made.findings == ()


def test_an_unseen_group_is_not_forgotten() -> None:
    world, inventory = steady(FULL)
    made = removal(replace(world, group=DOWN), inventory)
    assert not any(isinstance(change, DeleteGroup) for change in made.changes)
    assert [(f.link, f.severity) for f in made.findings] == [(Link.SUBJECT, Severity.UNKNOWN)]
    assert group_line() in made.inventory


def test_unseen_assignments_are_not_forgotten() -> None:
    world, inventory = steady(FULL)
    made = removal(replace(world, assignments=DOWN), inventory)
    assert {(f.link, f.severity) for f in made.findings} == {(Link.AZURE_ROLES, Severity.UNKNOWN)}
    assert not any(isinstance(change, UnassignRole) for change in made.changes)
    assert {role_line("Reader"), role_line("Writer")} <= set(made.inventory)


def test_unseen_assignments_are_not_forgotten_without_a_line_either() -> None:
    """The operator may have ended before it wrote one."""
    world, _ = steady(a_policy())
    made = removal(replace(world, assignments=DOWN), (group_line(),))
    assert [(f.link, f.severity) for f in made.findings] == [(Link.AZURE_ROLES, Severity.UNKNOWN)]


def test_a_group_on_its_way_out_is_called_by_its_own_name() -> None:
    """Until it is gone it holds that name, and no other policy's."""
    world, inventory = steady(a_policy(display_name="Developers"))
    made = removal(world, inventory)
    assert made.subject is not None
    assert (made.subject.object_id, made.subject.display_name) == (GROUP_ID, "Developers")


def test_nothing_there_is_nothing_to_do() -> None:
    made = removal(PolicyWorld(group=None), ())
    assert (made.changes, made.findings, made.subject, made.inventory) == ((), (), None, ())


def test_children_of_an_earlier_resource_of_that_name_are_taken_over_or_away() -> None:
    policy = a_policy(cluster_roles="view")
    world, inventory = steady(policy)
    old = a_meta(uid="an-older-uid")
    children = (seen(cluster_binding("view", meta=old)), seen(cluster_binding("edit", meta=old)))
    made = plan(policy, replace(world, children=children), inventory[:1])
    changes: tuple[Change, ...] = (
        ApplyChild(cluster_binding("view"), children[0].uid),
        DeleteChild(children[1].ref, children[1].uid),
    )
    assert made.changes == changes
