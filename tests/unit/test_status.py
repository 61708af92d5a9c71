"""The status: round trip, times of transitions, drift that is told once."""

from typing import Any

import pytest

from entra_access.api.status import (
    MAX_DRIFT_ITEMS,
    Condition,
    DriftItem,
    Item,
    Status,
    Subject,
    System,
    merge_drift,
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


def test_no_news_is_no_write() -> None:
    old = {"state": "InSync", "lastCheckTime": BEFORE, "corrected": 2, "extra": "kept"}
    assert merge_drift(old, "InSync", [], NOW) == old


def test_the_first_check() -> None:
    assert merge_drift({}, "InSync", [], NOW) == {
        "state": "InSync",
        "lastCheckTime": NOW,
        "corrected": 0,
        "total": 0,
    }


def test_another_state_is_news() -> None:
    old = merge_drift({}, "InSync", [drift_item()], BEFORE)
    new = merge_drift(old, "Unknown", [], NOW)
    assert (new["state"], new["lastCheckTime"], new["lastCorrectionTime"]) == ("Unknown", NOW, BEFORE)
    assert (new["items"], new["total"], new["corrected"]) == (old["items"], 1, 1)


def test_what_was_put_right_is_counted() -> None:
    old = merge_drift({}, "InSync", [drift_item(1)], BEFORE)
    new = merge_drift(old, "InSync", [drift_item(2), drift_item(3)], NOW)
    assert (new["corrected"], new["total"], new["lastCorrectionTime"]) == (3, 3, NOW)
    assert [item["object"] for item in new["items"]] == ["Role dev/r2", "Role dev/r3", "Role dev/r1"]


def test_what_was_only_reported_is_not_counted_as_put_right() -> None:
    new = merge_drift({}, "Drifted", [drift_item(action="Reported")], NOW)
    assert (new["corrected"], new["total"], "lastCorrectionTime" in new) == (0, 1, False)


def test_only_the_newest_are_kept() -> None:
    drift: dict[str, Any] = {}
    for number in range(MAX_DRIFT_ITEMS + 5):
        drift = merge_drift(drift, "InSync", [drift_item(number)], NOW)
    assert len(drift["items"]) == MAX_DRIFT_ITEMS == 20
    assert (drift["total"], drift["corrected"]) == (25, 25)
    assert drift["items"][0]["object"] == "Role dev/r24"
    many = merge_drift({}, "InSync", [drift_item(number) for number in range(30)], NOW)
    assert (len(many["items"]), many["total"]) == (20, 30)


def test_merging_changes_nothing_that_was_read() -> None:
    old = merge_drift({}, "InSync", [drift_item(1)], BEFORE)
    copy = {**old, "items": list(old["items"])}
    merge_drift(old, "InSync", [drift_item(2)], NOW)
    assert old == copy
