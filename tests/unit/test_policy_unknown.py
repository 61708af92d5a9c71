"""The plan of an AccessPolicy when something could not be seen: unknown is not absent."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.status import Item
from entra_access.domain.changes import (
    Change,
    RemovePrincipal,
    UnassignRole,
)
from entra_access.domain.faults import Denied, Fault, Link, Severity, Throttled, Unavailable
from entra_access.domain.observed import PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import merge_inventory
from unit.builders import (
    GROUP_ID,
    NOW,
    SCOPE,
    UNIQUE,
    a_policy,
    group_line,
    nothing_yet,
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
    return plan_policy(policy, UNIQUE, SCOPE, world, inventory, NOW)


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
    assert "members" not in made.counts


def test_of_an_unseen_group_the_name_is_not_guessed() -> None:
    """Its new name was wished for, and was not given to it."""
    world, inventory = steady(a_policy())
    made = plan_of(a_policy(display_name="ops"), replace(world, group=FAULTS[0]), inventory)
    assert made.subject is None or made.subject.display_name != "ops"
