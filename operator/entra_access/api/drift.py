"""The drift in a status: is it still as it was made, and what was found that was not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from entra_access.api.status import CORRECTED, MAX_DRIFT_ITEMS, DriftItem, System, read_drift_item

IN_SYNC = "InSync"
DRIFTED = "Drifted"
UNKNOWN = "Unknown"


@dataclass(frozen=True)
class DriftCheck:
    """What one check found.

    Attributes
    ----------
    state
        InSync, Drifted, or Unknown where something could not be looked at. Empty: nothing was compared, so
        that it is as it was known.
    corrected
        What was put right.
    outstanding
        What is not as it should be after the check.
    reason
        Why the state is Unknown.
    last_good
        When the last check before this one looked at everything; empty where that is not remembered.
    unseen
        Where not everything was looked at.
    """

    state: str
    corrected: tuple[DriftItem, ...] = ()
    outstanding: tuple[DriftItem, ...] = ()
    reason: str = ""
    last_good: str = ""
    unseen: frozenset[System] = frozenset()


def not_right(old: Mapping[str, Any], check: DriftCheck) -> tuple[DriftItem, ...]:
    """What is not as it should be: what the check found, and where it could not look what was known last."""
    # Of a field that was looked at nothing else is so than what was found now.
    seen = {_place(item) for item in (*check.outstanding, *check.corrected)}
    known = (read_drift_item(raw) for raw in _still(old))
    kept = (item for item in known if item and item.system in check.unseen and _place(item) not in seen)
    return (*check.outstanding, *kept)


def merge_drift(old: Mapping[str, Any], check: DriftCheck, now: str) -> dict[str, Any]:
    """The drift after a check.

    Without news the old value is returned as it was, so that a check that finds nothing writes nothing.
    What is outstanding comes first, then what was put right, newest first.
    """
    still = _still(old)
    history = [item for item in old.get("items", ()) if item.get("action") == CORRECTED]
    left = not_right(old, check)
    outstanding, fresh = _dated(left, still, now), _dated(check.corrected, still, now)
    state, reason = check.state, check.reason
    if not state:
        state, reason = old.get("state", ""), old.get("reason", "")
    if state != UNKNOWN:
        state = DRIFTED if left else IN_SYNC
    corrected = old.get("corrected", 0) + len(fresh)
    total = corrected + len(outstanding)
    same = (old.get("state"), old.get("reason", ""), old.get("total", 0)) == (state, reason, total)
    if not fresh and same and outstanding[:MAX_DRIFT_ITEMS] == still:
        return dict(old)
    drift = {
        "state": state,
        "reason": reason or None,
        "lastCheckTime": _last_check(old, check, now) or None,
        "lastCorrectionTime": now if fresh else old.get("lastCorrectionTime"),
        "corrected": corrected,
        "total": total,
        "items": (outstanding + fresh + history)[:MAX_DRIFT_ITEMS],
    }
    return {key: value for key, value in drift.items() if value not in (None, [])}


def _still(old: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The items that were outstanding."""
    return [item for item in old.get("items", ()) if item.get("action") != CORRECTED]


def _last_check(old: Mapping[str, Any], check: DriftCheck, now: str) -> str:
    """When everything was looked at last."""
    before = str(old.get("lastCheckTime", ""))
    if check.state == UNKNOWN:
        return max(check.last_good, before)
    return now if check.state else before or now


def _dated(items: Iterable[DriftItem], before: Iterable[Mapping[str, Any]], now: str) -> list[dict[str, str]]:
    """The items with the time since when they are so: the one that was written down first stays."""
    known = {_identity(item): item.get("since", "") for item in before}
    return [replace(item, since=known.get(item.identity) or item.since or now).as_dict() for item in items]


def _identity(item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(item.get(key, "")) for key in ("system", "object", "field", "expected", "found"))


def _place(item: DriftItem) -> tuple[System, str, str]:
    return item.system, item.object, item.field
