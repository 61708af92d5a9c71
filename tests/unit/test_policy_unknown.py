"""The plan of an AccessPolicy when something could not be seen: unknown is not absent."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.status import Item
from entra_access.domain.changes import ApplyChild, AssignRole, Change, RemovePrincipal, UnassignRole
from entra_access.domain.faults import Denied, Fault, Link, Severity, Throttled, Unavailable
from entra_access.domain.naming import adopted_name
from entra_access.domain.observed import PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import merge_inventory
from unit.builders import (
    GROUP_ID,
    NOW,
    PLACE,
    a_group,
    a_policy,
    got,
    group_line,
    nothing_yet,
    principal,
    ref,
    steady,
)

FULL: dict[str, Any] = {
    "members": "a@x.io b@x.io",
    "owners": "o@x.io",
    "azure_roles": "Reader Writer",
    "cluster_roles": "view edit",
}


def plan_of(policy: Any, world: PolicyWorld, inventory: tuple[Item, ...] = ()) -> Plan:
    return plan_policy(policy, PLACE, world, inventory, NOW)


FAULTS: list[Fault] = [Unavailable("down"), Throttled("slowly", retry_after=9), Denied("no right")]


def unseen(field: str, fault: Fault, policy: Any, world: PolicyWorld) -> PolicyWorld:
    """The world where one observation failed; ``roles/Reader`` is that of one role."""
    name, _, key = field.partition("/")
    if name == "roles":
        return replace(world, roles={**world.roles, key: fault})
    if name == "principals":
        return replace(world, principals={**world.principals, ref(key): fault})
    if name == "group":  # what hangs on the group was not seen either
        return replace(world, group=fault, members=(), owners=())
    failed: dict[str, Any] = {name: fault}
    return replace(world, **failed)


OBSERVED = ["group", "members", "owners", "assignments", "roles/Reader", "principals/a@x.io", "namesakes"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.reason)
@pytest.mark.parametrize("field", OBSERVED)
def test_unknown_is_not_absent(field: str, fault: Fault) -> None:
    policy = a_policy(**FULL)
    world, inventory = steady(policy)
    made = plan_of(policy, unseen(field, fault, policy, world), inventory)
    assert made.changes == ()
    assert merge_inventory(inventory, made.inventory, Applied()) == merge_inventory((), inventory, Applied())
    assert made.subject is not None
    assert made.subject.object_id == GROUP_ID
    if field == "namesakes":
        return  # not needed while nothing is renamed
    (finding,) = made.findings
    assert finding.severity is (Severity.STALLED if fault.permanent else finding.severity)
    assert finding.severity in {Severity.UNKNOWN, Severity.WAITING, Severity.STALLED}
    assert (finding.reason, finding.retry_after) == (fault.reason, fault.retry_after)


SHRUNK: dict[str, tuple[str, dict[str, Any], type[Change]]] = {
    "members": ("members", {"members": "a@x.io"}, RemovePrincipal),
    "owners": ("owners", {"owners": "p@x.io"}, RemovePrincipal),
    "a member": ("principals/a@x.io", {"members": "a@x.io"}, RemovePrincipal),
    "assignments": ("assignments", {"azure_roles": "Reader"}, UnassignRole),
    "group": ("group", {"members": "a@x.io"}, RemovePrincipal),
}


@pytest.mark.parametrize(("field", "wish", "taking"), SHRUNK.values(), ids=SHRUNK)
def test_nothing_is_taken_from_what_was_not_seen(
    field: str, wish: dict[str, Any], taking: type[Change]
) -> None:
    world, inventory = steady(a_policy(**FULL))
    policy = a_policy(**(FULL | wish))
    world = unseen(field, FAULTS[0], policy, world)
    made = plan_of(policy, world, inventory)
    assert not any(isinstance(change, taking) for change in made.changes)


def test_before_anything_was_ever_seen_nothing_is_done() -> None:
    policy = a_policy(**FULL)
    made = plan_of(policy, replace(nothing_yet(policy), group=FAULTS[0]))
    assert (made.changes, made.subject) == ((), None)
    assert [(finding.link, finding.severity) for finding in made.findings] == [
        (Link.SUBJECT, Severity.UNKNOWN)
    ]


def test_a_group_that_is_only_announced_and_not_seen_is_kept_in_the_inventory() -> None:
    announced = group_line("")
    made = plan_of(a_policy(), replace(nothing_yet(a_policy()), group=FAULTS[0]), (announced,))
    assert made.changes == ()
    assert made.inventory == (announced,)


def test_members_who_were_not_seen_are_not_counted_as_none() -> None:
    world, inventory = steady(a_policy(**FULL))
    made = plan_of(a_policy(**FULL), replace(world, members=FAULTS[0]), inventory)
    assert made.counts["members"] is None


def test_of_an_unseen_group_the_name_is_not_guessed() -> None:
    """Its new name was wished for, and was not given to it."""
    world, inventory = steady(a_policy())
    made = plan_of(a_policy(display_name="ops"), replace(world, group=FAULTS[0]), inventory)
    assert made.subject is None or made.subject.display_name != "ops"


# A group that comes back: after its policy was deleted and made again, it has the members of then.

STRANGER = principal("stranger@x.io")


def come_back(line: tuple[Item, ...] = (), **changes: Any) -> Plan:
    """The plan where the group is there with a stranger in it, and no inventory tells of its id."""
    policy = a_policy(**FULL)
    world, _ = steady(policy)
    world = replace(world, members=(*got(world.members), STRANGER), assignments=(), children=())
    return plan_of(policy, replace(world, **changes), line)


@pytest.mark.parametrize("line", [(), (group_line(""),)], ids=["unknown", "announced"])
def test_who_was_in_a_group_that_comes_back_leaves_before_it_is_given_anything(
    line: tuple[Item, ...],
) -> None:
    made = come_back(line)
    assert made.changes == (RemovePrincipal(GROUP_ID, "members", STRANGER.id),)
    assert made.subject is None  # grants are not told of it yet
    assert [item.id for item in made.inventory] == [""]
    assert [finding.severity for finding in made.findings] == [Severity.WAITING]


UNSURE: dict[str, dict[str, Any]] = {
    "members unseen": {"members": FAULTS[0]},
    "a member not looked up": {
        "principals": {**steady(a_policy(**FULL))[0].principals, ref("b@x.io"): FAULTS[0]}
    },
}


@pytest.mark.parametrize("changes", UNSURE.values(), ids=UNSURE)
def test_nor_is_it_given_anything_while_nobody_knows_who_must_leave(changes: dict[str, Any]) -> None:
    made = come_back(**changes)
    assert not any(isinstance(change, AssignRole | ApplyChild) for change in made.changes)
    assert made.subject is None


def test_a_group_that_was_settled_once_is_served_while_a_stranger_leaves() -> None:
    made = come_back((group_line(),))
    assert [type(change) for change in made.changes] == [
        AssignRole,
        AssignRole,
        ApplyChild,
        ApplyChild,
        RemovePrincipal,
    ]
    assert made.subject is not None


# Whose the group is


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.reason)
@pytest.mark.parametrize("origin", ["Adopted", "Created"])
def test_where_the_group_came_from_is_known_while_it_cannot_be_seen(origin: str, fault: Fault) -> None:
    """Else the status would change, and be written, at the beginning and at the end of each outage."""
    policy = a_policy(members="a@x.io")
    world, inventory = steady(policy)
    if origin == "Adopted":
        unique = adopted_name(PLACE.owner_id, "appdev")
        world = replace(world, group=a_group(unique_name=unique))
        (line,) = [item for item in inventory if item.kind == "Group"]
        inventory = tuple(one for one in inventory if one != line)
        inventory = (*inventory, replace(line, name=unique, origin=origin))
    for there in (world, unseen("group", fault, policy, world)):
        subject = plan_of(policy, there, inventory).subject
        assert subject is not None
        assert subject.origin == origin


def test_a_group_that_is_made_in_the_place_of_one_that_was_taken_over_is_the_policys_own() -> None:
    policy = a_policy(members="a@x.io")
    unique = adopted_name(PLACE.owner_id, "appdev")
    line = replace(group_line(), name=unique, origin="Adopted")
    made = plan_of(policy, nothing_yet(policy), (line,))
    assert made.subject is not None
    assert made.subject.origin == "Created"
