"""The drift in a status: is it still as it was made, and what was found that was not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from entra_access.api.status import CORRECTED, MAX_DRIFT_ITEMS, DriftItem

IN_SYNC = "InSync"
DRIFTED = "Drifted"
UNKNOWN = "Unknown"


@dataclass(frozen=True)
class DriftCheck:
    """What one check found.

    Attributes
    ----------
    state
        InSync, Drifted, or Unknown where something could not be looked at.
    corrected
        What was put right.
    outstanding
        What is not as it should be after the check.
    reason
        Why the state is Unknown.
    last_good
        When the last check before this one looked at everything; empty where that is not remembered.
    """

    state: str
    corrected: tuple[DriftItem, ...] = ()
    outstanding: tuple[DriftItem, ...] = ()
    reason: str = ""
    last_good: str = ""


def merge_drift(old: Mapping[str, Any], check: DriftCheck, now: str) -> dict[str, Any]:
    """The drift after a check.

    Without news the old value is returned as it was, so that a check that finds nothing writes nothing.
    What is outstanding comes first, then what was put right, newest first.
    """
    before = list(old.get("items", ()))
    history = [item for item in before if item.get("action") == CORRECTED]
    still = [item for item in before if item.get("action") != CORRECTED]
    outstanding = _dated(check.outstanding, still, now)
    if check.state == UNKNOWN:
        # What could not be looked at now is as it was known last.
        seen = {_identity(item) for item in (*outstanding, *(one.as_dict() for one in check.corrected))}
        outstanding += [item for item in still if _identity(item) not in seen]
    fresh = [replace(item, since=item.since or now).as_dict() for item in check.corrected]
    corrected = old.get("corrected", 0) + len(fresh)
    total = corrected + len(outstanding)
    same = (old.get("state"), old.get("reason", ""), old.get("total", 0)) == (
        check.state,
        check.reason,
        total,
    )
    if not fresh and same and outstanding[:MAX_DRIFT_ITEMS] == still:
        return dict(old)
    last_good = max(check.last_good, old.get("lastCheckTime", "")) if check.state == UNKNOWN else now
    drift = {
        "state": check.state,
        "reason": check.reason or None,
        "lastCheckTime": last_good or None,
        "lastCorrectionTime": now if fresh else old.get("lastCorrectionTime"),
        "corrected": corrected,
        "total": total,
        "items": (outstanding + fresh + history)[:MAX_DRIFT_ITEMS],
    }
    return {key: value for key, value in drift.items() if value not in (None, [])}


def _dated(items: Iterable[DriftItem], before: Iterable[Mapping[str, Any]], now: str) -> list[dict[str, str]]:
    """The items with the time since when they are so: the one that was written down first stays."""
    known = {_identity(item): item.get("since", "") for item in before}
    return [replace(item, since=known.get(item.identity) or item.since or now).as_dict() for item in items]


def _identity(item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(item.get(key, "")) for key in ("system", "object", "field", "expected", "found"))
