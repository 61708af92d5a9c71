"""The status: round trip, times of transitions, drift that is told once."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.status import (
    CORRECTED,
    PENDING,
    REPORTED,
    Condition,
    DriftItem,
    Item,
    Status,
    Subject,
    System,
    read_drift_item,
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
    inventory=(
        Item(System.ENTRA, "Group", "u", "id", NOW, origin="Adopted", applied="0123"),
        Item(System.AZURE, "RoleAssignment", "Reader"),
    ),
    effective_by=LATER,
    mode="Observe",
    expires_at=LATER,
    member_marks="0123456789ab",
    drift={"state": "Unknown", "lastCheckTime": NOW, "reason": "down", "items": [drift_item().as_dict()]},
)


def test_round_trip() -> None:
    written = FULL.as_dict()
    assert read_status({"status": written}) == FULL
    assert read_status({"status": written}).as_dict() == written


def test_every_field_has_its_name_in_the_object() -> None:
    written = FULL.as_dict()
    assert (written["mode"], written["expiresAt"], written["memberMarks"]) == (
        "Observe",
        LATER,
        "0123456789ab",
    )
    group, role = written["inventory"]
    assert (group["origin"], group["applied"]) == ("Adopted", "0123")
    assert not {"origin", "applied"} & role.keys()
    assert len(written) == len(vars(FULL))


@pytest.mark.parametrize(("origin", "adopted"), [("Adopted", True), ("", False), ("Created", False)])
def test_only_what_was_there_before_is_adopted(origin: str, adopted: bool) -> None:  # noqa: FBT001
    assert Item(System.ENTRA, "Group", "u", origin=origin).adopted is adopted


@pytest.mark.parametrize("action", [CORRECTED, REPORTED, PENDING])
def test_an_item_of_the_drift_is_read_as_it_was_written(action: str) -> None:
    for item in (drift_item(3, action), DriftItem(System.AZURE, "x", "", "absent", "present", action=action)):
        assert read_drift_item(item.as_dict()) == item
    assert read_drift_item({"system": "Elsewhere", "object": "x"}) is None
    assert read_drift_item({}) is None


def test_items_are_the_same_whoever_did_it_whenever_and_whatever_became_of_it() -> None:
    first = drift_item(1)
    assert replace(first, changed_by="x", since=LATER, action=PENDING).identity == first.identity
    for other in (
        {"system": System.AZURE},
        {"object": "x"},
        {"field": "x"},
        {"expected": "x"},
        {"found": "x"},
    ):
        changes: dict[str, Any] = other
        assert replace(first, **changes).identity != first.identity


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
