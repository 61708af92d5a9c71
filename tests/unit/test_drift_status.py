"""The drift in a status: told once, kept while it lasts, and never guessed."""

from dataclasses import replace
from typing import Any

from entra_access.api.drift import DRIFTED, IN_SYNC, UNKNOWN, DriftCheck, merge_drift, not_right
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
    nothing = DriftCheck(UNKNOWN, reason="down", unseen=frozenset(System))
    new = merge_drift(old, nothing, NOW)
    assert (new["state"], new["reason"], new["lastCheckTime"]) == (UNKNOWN, "down", BEFORE)
    assert new["items"] == old["items"]
    assert merge_drift(new, nothing, LATER) == new
    remembered = merge_drift(old, replace(nothing, last_good=NOW), LATER)
    assert remembered["lastCheckTime"] == NOW, "checks that found nothing new wrote nothing"
    again = merge_drift(new, left(item(1, REPORTED)), LATER)
    assert ("reason" in again, again["lastCheckTime"], again["state"]) == (False, LATER, DRIFTED)


def test_unknown_does_not_keep_what_was_put_right_now() -> None:
    old = merge_drift({}, left(item(1, PENDING)), BEFORE)
    new = merge_drift(old, blind(*System, corrected=(item(1),)), NOW)
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


def blind(
    *systems: System, corrected: tuple[DriftItem, ...] = (), left: tuple[DriftItem, ...] = ()
) -> DriftCheck:
    return DriftCheck(UNKNOWN, corrected, left, reason="down", unseen=frozenset(systems))


IN_AZURE = DriftItem(System.AZURE, "RoleAssignment Owner at aks", "", "absent", "present", action=REPORTED)


def test_a_quiet_check_gives_back_what_was_read() -> None:
    old = merge_drift({}, left(item(1, PENDING), IN_AZURE), BEFORE)
    assert merge_drift(old, left(item(1, PENDING), IN_AZURE), NOW) == old
    assert merge_drift(old, left(item(1, PENDING), IN_AZURE), NOW)["lastCheckTime"] == BEFORE


def test_another_action_is_news_and_began_when_it_began() -> None:
    old = merge_drift({}, left(item(1, PENDING, since="")), BEFORE)
    new = merge_drift(old, left(item(1, REPORTED, since="")), NOW)
    assert [(one["action"], one["since"]) for one in new["items"]] == [(REPORTED, BEFORE)]


def test_what_was_pending_is_put_right_with_the_time_since_when_it_was_so() -> None:
    old = merge_drift({}, left(item(1, PENDING, since="")), BEFORE)
    new = merge_drift(old, put_right(item(1, since="")), NOW)
    assert [(one["action"], one["since"]) for one in new["items"]] == [(CORRECTED, BEFORE)]
    assert new["lastCorrectionTime"] == NOW


def test_what_is_put_right_again_and_again_began_each_time() -> None:
    old = merge_drift({}, put_right(item(1, since="")), BEFORE)
    new = merge_drift(old, put_right(item(1, since="")), NOW)
    assert [one["since"] for one in new["items"]] == [NOW, BEFORE]
    assert (new["corrected"], new["total"]) == (2, 2)


def test_unknown_keeps_only_what_lies_where_nobody_could_look() -> None:
    """A binding that was seen to be well is well, however long Azure is away."""
    old = merge_drift({}, left(item(1, PENDING), IN_AZURE), BEFORE)
    new = merge_drift(old, blind(System.AZURE), NOW)
    assert [one["system"] for one in new["items"]] == ["Azure"]
    assert (new["state"], new["total"]) == (UNKNOWN, 1)
    assert merge_drift(new, blind(System.AZURE), LATER) == new
    assert merge_drift(old, blind(System.ENTRA), NOW)["total"] == 0
    assert merge_drift(old, blind(*System), NOW)["items"] == old["items"]


def test_what_is_found_while_something_is_unknown_is_told_before_what_is_kept() -> None:
    old = merge_drift({}, left(IN_AZURE), BEFORE)
    check = blind(System.AZURE, left=(item(2, PENDING),))
    new = merge_drift(old, check, NOW)
    assert [one["object"] for one in new["items"]] == ["Role dev/r2", IN_AZURE.object]
    assert merge_drift(new, check, LATER) == new


def test_what_only_waits_to_be_seen_is_still_not_as_it_should_be() -> None:
    """Nothing failed, so it is not unknown; and nobody saw that it is well."""
    old = merge_drift({}, left(IN_AZURE), BEFORE)
    waiting = DriftCheck(IN_SYNC, unseen=frozenset({System.AZURE}))
    assert merge_drift(old, waiting, NOW) == old
    assert merge_drift({}, waiting, NOW)["state"] == IN_SYNC


def test_where_nothing_was_compared_all_is_as_it_was_known() -> None:
    nothing = DriftCheck("", unseen=frozenset(System))
    for check in (QUIET, left(IN_AZURE), blind(*System), put_right(item(1))):
        old = merge_drift({}, check, BEFORE)
        assert merge_drift(old, nothing, NOW) == old
    new = merge_drift(merge_drift({}, left(IN_AZURE), BEFORE), replace(nothing, corrected=(item(1),)), NOW)
    assert (new["state"], new["lastCheckTime"], new["corrected"]) == (DRIFTED, BEFORE, 1)
    assert merge_drift({}, nothing, NOW)["state"] == IN_SYNC, "there is nothing yet that could differ"


def test_the_first_check_may_be_blind() -> None:
    new = merge_drift({}, blind(*System), NOW)
    assert new == {"state": UNKNOWN, "reason": "down", "corrected": 0, "total": 0}


def test_another_reason_is_news() -> None:
    old = merge_drift({}, blind(*System), BEFORE)
    new = merge_drift(old, replace(blind(*System), reason="forbidden"), NOW)
    assert new["reason"] == "forbidden"


def test_what_another_hand_wrote_into_a_status_does_no_harm() -> None:
    odd = {"state": "InSync", "items": [{"object": "x"}, {"system": "Elsewhere", "action": REPORTED}]}
    new = merge_drift(odd, blind(*System), NOW)
    assert ("items" in new, new["total"]) == (False, 0)


def test_what_is_left_for_conditions_is_what_the_items_tell() -> None:
    old = merge_drift({}, left(item(1, PENDING), IN_AZURE), BEFORE)
    assert [one.object for one in not_right(old, left(item(2, PENDING)))] == ["Role dev/r2"]
    kept = not_right(old, blind(System.AZURE, left=(item(2, PENDING),)))
    assert [(one.object, one.action) for one in kept] == [
        ("Role dev/r2", PENDING),
        (IN_AZURE.object, REPORTED),
    ]
    assert not_right(old, blind(*System, corrected=(item(1),))) == (replace(IN_AZURE, since=BEFORE),)


def test_what_was_put_right_where_nothing_else_was_compared_is_in_sync() -> None:
    old = merge_drift({}, left(item(1, PENDING)), BEFORE)
    new = merge_drift(old, DriftCheck("", corrected=(item(1),), unseen=frozenset(System)), NOW)
    assert (new["state"], new["corrected"], new["total"]) == (IN_SYNC, 1, 1)


def test_a_field_that_was_looked_at_is_as_it_was_found_now() -> None:
    """What was known of it before is not so any more, whatever else could not be seen."""
    gone = DriftItem(System.ENTRA, "Group appdev", "", "present", "deleted for good", action=REPORTED)
    moved = DriftItem(System.AZURE, "RoleAssignment Reader", "", "absent", "present", action=REPORTED)
    old = merge_drift({}, left(gone, moved), BEFORE)
    deleted = replace(gone, found="deleted")
    new = merge_drift(old, DriftCheck("", outstanding=(deleted,), unseen=frozenset(System)), NOW)
    assert [(one["object"], one["found"]) for one in new["items"]] == [
        ("Group appdev", "deleted"),
        ("RoleAssignment Reader", "present"),
    ]
