"""The drift in a status: told once, kept while it lasts, and never guessed."""

from dataclasses import replace
from typing import Any

from entra_access.api.drift import DRIFTED, IN_SYNC, UNKNOWN, DriftCheck, merge_drift
from entra_access.api.status import CORRECTED, MAX_DRIFT_ITEMS, PENDING, REPORTED, DriftItem, System
from unit.builders import BEFORE, NOW

LATER = "2026-11-23T18:00:00Z"


def item(number: int = 0, action: str = CORRECTED, since: str = NOW) -> DriftItem:
    return DriftItem(System.KUBERNETES, f"Role dev/r{number}", "rules", "a", "b", "kubectl", since, action)


def put_right(*items: DriftItem) -> DriftCheck:
    return DriftCheck(IN_SYNC, corrected=items)


def left(*items: DriftItem) -> DriftCheck:
    return DriftCheck(DRIFTED, outstanding=items)


QUIET = DriftCheck(IN_SYNC)


def test_no_news_is_no_write() -> None:
    old = {"state": "InSync", "lastCheckTime": BEFORE, "corrected": 2, "total": 2, "extra": "kept"}
    assert merge_drift(old, QUIET, NOW) == old


def test_the_first_check() -> None:
    assert merge_drift({}, QUIET, NOW) == {
        "state": "InSync",
        "lastCheckTime": NOW,
        "corrected": 0,
        "total": 0,
    }


def test_what_was_put_right_is_counted_newest_first() -> None:
    old = merge_drift({}, put_right(item(1)), BEFORE)
    new = merge_drift(old, put_right(item(2), item(3)), NOW)
    assert (new["corrected"], new["total"], new["lastCorrectionTime"]) == (3, 3, NOW)
    assert [one["object"] for one in new["items"]] == ["Role dev/r2", "Role dev/r3", "Role dev/r1"]


def test_what_is_outstanding_comes_first_and_is_told_once() -> None:
    old = merge_drift({}, put_right(item(1)), BEFORE)
    new = merge_drift(old, left(item(2, REPORTED)), NOW)
    assert [one["action"] for one in new["items"]] == [REPORTED, CORRECTED]
    assert (new["state"], new["corrected"], new["total"]) == (DRIFTED, 1, 2)
    assert merge_drift(new, left(item(2, REPORTED)), LATER) == new
    gone = merge_drift(new, QUIET, LATER)
    assert ([one["action"] for one in gone["items"]], gone["total"]) == ([CORRECTED], 1)


def test_since_is_when_it_was_first_seen() -> None:
    first = merge_drift({}, left(item(1, PENDING, since="")), BEFORE)
    assert first["items"][0]["since"] == BEFORE
    assert merge_drift(first, left(item(1, PENDING, since="")), NOW) == first
    other = merge_drift(first, left(replace(item(1, PENDING, since=""), found="c")), NOW)
    assert other["items"][0]["since"] == NOW, "something else is found now"


def test_unknown_keeps_what_was_known_and_when() -> None:
    old = merge_drift({}, left(item(1, REPORTED)), BEFORE)
    blind = DriftCheck(UNKNOWN, reason="down")
    new = merge_drift(old, blind, NOW)
    assert (new["state"], new["reason"], new["lastCheckTime"]) == (UNKNOWN, "down", BEFORE)
    assert new["items"] == old["items"]
    assert merge_drift(new, blind, LATER) == new
    remembered = merge_drift(old, replace(blind, last_good=NOW), LATER)
    assert remembered["lastCheckTime"] == NOW, "checks that found nothing new wrote nothing"
    again = merge_drift(new, left(item(1, REPORTED)), LATER)
    assert ("reason" in again, again["lastCheckTime"], again["state"]) == (False, LATER, DRIFTED)


def test_unknown_does_not_keep_what_was_put_right_now() -> None:
    old = merge_drift({}, left(item(1, PENDING)), BEFORE)
    new = merge_drift(old, DriftCheck(UNKNOWN, corrected=(item(1),), reason="down"), NOW)
    assert [one["action"] for one in new["items"]] == [CORRECTED]


def test_only_so_many_are_kept() -> None:
    drift: dict[str, Any] = {}
    for number in range(MAX_DRIFT_ITEMS + 5):
        drift = merge_drift(drift, put_right(item(number)), NOW)
    assert len(drift["items"]) == MAX_DRIFT_ITEMS == 20
    assert (drift["total"], drift["corrected"]) == (25, 25)
    assert drift["items"][0]["object"] == "Role dev/r24"
    many = left(*(item(number, REPORTED) for number in range(30)))
    told = merge_drift({}, many, NOW)
    assert (len(told["items"]), told["total"]) == (20, 30)
    assert merge_drift(told, many, LATER) == told


def test_merging_changes_nothing_that_was_read() -> None:
    old = merge_drift({}, put_right(item(1)), BEFORE)
    copy = {**old, "items": list(old["items"])}
    merge_drift(old, put_right(item(2)), NOW)
    assert old == copy
