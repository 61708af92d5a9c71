"""What a pass says: the status, events, the log, and whom else its news concerns."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.drift import UNKNOWN
from entra_access.api.reading import read_meta
from entra_access.api.resources import Meta, Mode
from entra_access.api.status import ConditionType, DriftItem, Item, Status
from entra_access.api.times import stamp
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Body, Key, WatchCache
from entra_access.reconcile.contests import CONTESTED, Contests
from entra_access.reconcile.drifting import Look, put_right
from entra_access.reconcile.notes import Note, Notes, notes_of
from entra_access.reconcile.outcome import make_status

logger = logging.getLogger(__name__)
OURS: Final = {value for name, value in vars(ConditionType).items() if name.isupper()}


class Reporter:
    """Writes down what passes found and did."""

    def __init__(
        self,
        cache: WatchCache,
        kubernetes: Kubernetes,
        notes: Notes,
        tell: Callable[[Key], None],
        clock: Callable[[], datetime],
        blindness: Blindness | None = None,
    ) -> None:
        self._cache = cache
        self._kubernetes = kubernetes
        self._notes = notes
        self._tell = tell
        self._clock = clock
        self._blindness = blindness
        self.contests: Contests[Key] = Contests()
        self._last_good: dict[Key, str] = {}
        self._untold: dict[Key, tuple[DriftItem, ...]] = {}

    async def announce(
        self, meta: Meta, old: Status, plan: Plan, lines: tuple[Item, ...], now: datetime
    ) -> Status:
        """Write down what is about to be made, before it is.

        Were the operator to end right after making it, a deletion or another wish would else find no trace
        of what is not visible everywhere yet, or where nobody would look for it, and leave it behind.
        """
        finding = Finding(Link.SUBJECT, Severity.WAITING, "Creating", _being_made(lines))
        kept = plan.subject if plan.subject and plan.subject.rbac_name else None
        announced_plan = replace(plan, differences=(), findings=(finding,), subject=kept)
        status = make_status(meta, old, announced_plan, Applied(), now)
        status = replace(status, drift=old.drift or status.drift)
        self.take_in(meta, await self._kubernetes.apply_status(meta, status.as_dict()))
        return status

    async def write(
        self, meta: Meta, body: Body, old: Status, plan: Plan, applied: Applied, mode: Mode
    ) -> None:
        """Write the status if there is anything new in it, and say so in events and the log."""
        now = self._clock()
        # What was put right in a pass whose status could not be written is still worth telling.
        key = key_of(meta)
        untold = self._untold.pop(key, ())
        new = make_status(meta, old, plan, applied, now, self._look(key, mode, untold))
        if plan.compared and new.drift.get("state") != UNKNOWN:
            self._last_good[key] = stamp(now)
        self.tell_of(meta, old, new, plan, applied)
        if _as_compared(new.as_dict()) == _as_compared(self._current(meta, body)):
            return
        try:
            written = await self._kubernetes.apply_status(meta, new.as_dict())
            if _as_compared(written["status"]) != _as_compared(new.as_dict()):
                # Another hand put something into it that is ours to say; an apply leaves that where it is.
                others = [c for c in written["status"]["conditions"] if c["type"] not in OURS]
                status = new.as_dict()
                status["conditions"] += others
                written = await self._kubernetes.replace_status(meta, written, status)
        except Fault:
            self._untold[key] = (*put_right(plan, applied), *untold)
            raise
        self.take_in(meta, written)

    def _look(self, key: Key, mode: Mode, untold: tuple[DriftItem, ...]) -> Look:
        last_good, blindness = self._last_good.get(key, ""), self._blindness
        if blindness is None:
            return Look(mode, untold, last_good)
        return Look(mode, untold, max(last_good, blindness.last_good(key)), blindness.reason(key))

    def tell_of(self, meta: Meta, old: Status, new: Status, plan: Plan, applied: Applied) -> None:
        """Say in the log and in events what was done."""
        for change in applied.done:
            logger.info("%s: %s", meta, change)
        corrected = put_right(plan, applied)
        self.contests.note(key_of(meta), corrected)
        news = [item for item in corrected if not self.contests.contested(key_of(meta), item)]
        for note in notes_of(old, new, plan, applied, news):
            self.note(meta, note)
        contested = [finding for finding in plan.findings if finding.reason == CONTESTED]
        if contested and self.contests.begun(key_of(meta)):
            for finding in contested:
                self.note(meta, Note("Warning", CONTESTED, finding.text))

    def take_in(self, meta: Meta, written: Body) -> None:
        """Take in the answer to an own write, and tell whom it concerns.

        The watch's echo of it will be no news then. So this is where grants learn of a new subject, and
        where a spec is noticed that somebody changed between our reading and our writing.
        """
        own = key_of(meta)
        for key in self._cache.put(meta.kind, written) - {own}:
            self._tell(key)
        now = read_meta(written)
        if (now.generation, now.deleting) != (meta.generation, meta.deleting):
            self._tell(own)

    def _current(self, meta: Meta, body: Body) -> dict[str, object]:
        """The status that is there now; the pass may have written one itself."""
        latest = self._cache.resource(key_of(meta)) or body
        return dict(latest.get("status") or {})

    def note(self, meta: Meta, note: Note) -> None:
        """Have an event written."""
        self._notes.add(meta, note, self._clock())

    def remember(self, meta: Meta, corrected: tuple[DriftItem, ...]) -> None:
        """Keep what was put right for the next status."""
        key = key_of(meta)
        self._untold[key] = (*corrected, *self._untold.get(key, ()))

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self.contests.forget(key)
        self._last_good.pop(key, None)
        self._untold.pop(key, None)


def key_of(meta: Meta) -> Key:
    """The key of a resource."""
    return Key(meta.kind.kind, meta.namespace, meta.name)


def _being_made(lines: tuple[Item, ...]) -> str:
    """As ``the Group appdev is being made``, for what is announced."""
    named = ", ".join(f"{item.kind} {item.name}" for item in lines)
    return f"{named} {'is' if len(lines) == 1 else 'are'} being made"


def _as_compared(status: dict[str, object]) -> dict[str, object]:
    """A status for comparing: our conditions only, in the order of their types."""
    conditions = status.get("conditions") or []
    ours = [c for c in conditions if c["type"] in OURS] if isinstance(conditions, list) else []
    return {**status, "conditions": sorted(ours, key=lambda condition: str(condition["type"]))}
