"""Somebody changes again and again what we put right: then we come back later each time, and say so."""

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from entra_access.api.status import DriftItem
from entra_access.domain.changes import ApplyChild, Change, DeleteChild, UpdateGroup
from entra_access.domain.difference import Difference
from entra_access.domain.faults import Finding, Severity
from entra_access.domain.plan import Plan

K = TypeVar("K", bound=Hashable)
CONTESTED: Final = "Contested"
PATIENCE: Final = 3
"""So many corrections of one field are made at once."""
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 300.0
CALM: Final = 900.0
"""After so many seconds without a correction it is no contest any more."""


@dataclass
class _Record:
    times: int = 0
    last: float = 0.0
    told: bool = False
    expected: set[str] = field(default_factory=set)

    @property
    def pause(self) -> float:
        if self.times < PATIENCE:
            return 0.0
        return min(FIRST_PAUSE * 2.0 ** (self.times - PATIENCE), LONGEST_PAUSE)


@dataclass(frozen=True)
class Held:
    """What a pass leaves as it is for now."""

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()


class Contests(Generic[K]):
    """Remembers which fields were put right, how often, and when last.

    Only in memory: who starts anew is patient anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[K, dict[tuple[str, str], _Record]] = {}

    def held(self, key: K, plan: Plan) -> Held:
        """Which changes of a plan must wait, and what to say of them. What is newly wished for does not."""
        records, now = self._current(key), self._clock()
        if not records:
            return Held()
        # One change can put several things right.
        wished = {id(one.change) for one in plan.differences if not one.foreign or _is_new(one, records)}
        waiting: dict[int, Change] = {}
        findings = {}
        for one in plan.differences:
            record = records.get((one.item.object, one.item.field))
            if one.change is None or record is None or id(one.change) in wished:
                continue
            left = record.last + record.pause - now
            if left > 0:
                waiting[id(one.change)] = one.change
                findings[one.item.object] = _finding(one.change, one.item, left)
        return Held(tuple(_with_those_before(plan.changes, waiting.values())), tuple(findings.values()))

    def note(self, key: K, corrected: Iterable[DriftItem]) -> None:
        """Take down what one pass put right: a field once, however many members it has."""
        now = self._clock()
        fields: dict[tuple[str, str], set[str]] = {}
        for item in corrected:
            fields.setdefault((item.object, item.field), set()).add(item.expected)
        for name, expected in fields.items():
            record = self._records.setdefault(key, {}).setdefault(name, _Record())
            record.times += 1
            record.last = now
            record.expected = expected

    def contested(self, key: K, item: DriftItem) -> bool:
        """Whether it was put right so often that another event would tell nothing new."""
        record = self._current(key).get((item.object, item.field))
        return record is not None and record.times > PATIENCE

    def begun(self, key: K) -> bool:
        """Whether there is a contest that was not told of before; now it is."""
        fresh = [one for one in self._current(key).values() if one.times >= PATIENCE and not one.told]
        for one in fresh:
            one.told = True
        return bool(fresh)

    def forget(self, key: K) -> None:
        """The resource is gone."""
        self._records.pop(key, None)

    def _current(self, key: K) -> dict[tuple[str, str], _Record]:
        records = self._records.get(key, {})
        calm = self._clock() - CALM
        for name in [name for name, record in records.items() if record.last < calm]:
            del records[name]
        if not records:
            self._records.pop(key, None)
        return records


def _is_new(one: Difference, records: Mapping[tuple[str, str], _Record]) -> bool:
    """Whether it is something else than what was put right again and again, for the wish has changed."""
    record = records.get((one.item.object, one.item.field))
    single = isinstance(one.change, ApplyChild | UpdateGroup)
    return single and record is not None and one.item.expected not in record.expected


def _finding(change: Change, item: DriftItem, left: float) -> Finding:
    who = item.changed_by or "somebody"
    what = f"{item.object}: {item.field}" if item.field else item.object
    message = (
        f"{what} is changed again and again by {who}, and put right at growing intervals; stop one of them"
    )
    return Finding(change.link, Severity.WAITING, CONTESTED, message, retry_after=left)


def _with_those_before(changes: Iterable[Change], waiting: Collection[Change]) -> list[Change]:
    """The changes that wait, with what would make room for them."""
    refs = {change.child.ref for change in waiting if isinstance(change, ApplyChild)}
    more = [change for change in changes if isinstance(change, DeleteChild) and change.ref in refs]
    return [*waiting, *more]
