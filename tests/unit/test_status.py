"""The status: round trip, times of transitions, drift that is told once."""

from typing import Any

import pytest

from entra_access.api.status import (
    Condition,
    DriftItem,
    Item,
    Status,
    Subject,
    System,
    read_status,
    settle_conditions,
)
from unit.builders import BEFORE, NOW

LATER = "2026-11-23T13:00:00Z"


def condition(kind: str = "Ready", status: str = "True", time: str = "", **changes: str) -> Condition:
    return Condition(kind, status, changes.get("reason", "InPlace"), changes.get("message", ""), 1, time)


def drift_item(number: int = 0, action: str = "Corrected") -> DriftItem:
    return DriftItem(System.KUBERNETES, f"Role dev/r{number}", "rules", "a", "b", "kubectl", NOW, action)


FULL = Status(
    observed_generation=4,
    conditions=(condition(time=NOW), condition("Stalled", time=BEFORE, message="do this")),
    subject=Subject("Group", "id", "appdev", "Created"),
    counts={"members": 3, "azureRoles": 0},
    inventory=(Item(System.ENTRA, "Group", "u", "id", NOW), Item(System.AZURE, "RoleAssignment", "Reader")),
    effective_by=LATER,
    drift={"state": "InSync", "lastCheckTime": NOW},
)


def test_round_trip() -> None:
    written = FULL.as_dict()
    assert read_status({"status": written}) == FULL
    assert read_status({"status": written}).as_dict() == written


def test_what_is_not_there_is_not_written() -> None:
    assert Status().as_dict() == {"observedGeneration": -1, "conditions": [], "inventory": []}
    assert Item(System.ENTRA, "Group", "u").as_dict() == {"system": "Entra", "kind": "Group", "name": "u"}
    deleted = DriftItem(System.KUBERNETES, "Role dev/r", "", "present", "deleted", "", NOW).as_dict()
    assert deleted.keys() == {"system", "object", "expected", "found", "since", "action"}


@pytest.mark.parametrize(
    "body", [{}, {"status": None}, {"status": {}}, {"status": {"observedGeneration": -1}}]
)
def test_before_the_first_look(body: dict[str, Any]) -> None:
    assert read_status(body) == Status()


UNFIT: list[dict[str, Any]] = [
    {"conditions": None},
    {"inventory": None},
    {"conditions": [{"status": "True"}]},
    {"inventory": [{"system": "Elsewhere", "kind": "Group", "name": "x"}]},
    {"inventory": [{"system": "Entra"}]},
    {"subject": {"displayName": "appdev"}},
    {"counts": None, "drift": None, "subject": None},
]


@pytest.mark.parametrize("raw", UNFIT, ids=str)
def test_what_does_not_fit_is_left_out(raw: dict[str, Any]) -> None:
    status = read_status({"status": raw})
    assert (status.conditions, status.inventory, status.subject) == ((), (), None)


def test_a_condition_is_found_by_its_type() -> None:
    found = FULL.condition("Stalled")
    assert found is not None
    assert found.message == "do this"
    assert FULL.condition("Reconciling") is None


TRANSITIONS = {
    "new": ([], condition(), NOW),
    "the same": ([condition(time=BEFORE)], condition(), BEFORE),
    "another reason and message": ([condition(time=BEFORE)], condition(reason="X", message="y"), BEFORE),
    "another status": ([condition(status="False", time=BEFORE)], condition(), NOW),
    "unknown is a status too": ([condition(time=BEFORE)], condition(status="Unknown"), NOW),
    "of another type": ([condition("Stalled", time=BEFORE)], condition(), NOW),
    "without a time": ([condition(time="")], condition(), NOW),
}


@pytest.mark.parametrize(("old", "new", "time"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_transition_times(old: list[Condition], new: Condition, time: str) -> None:
    (settled,) = settle_conditions(old, [new], NOW)
    assert settled.last_transition_time == time
    assert (settled.reason, settled.message, settled.status) == (new.reason, new.message, new.status)


def test_conditions_that_hold_no_longer_are_gone() -> None:
    assert settle_conditions([condition("Stalled", time=BEFORE)], [], NOW) == ()
