"""Readings that many passes share: one answer serves all that ask within a short time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from typing import Generic, TypeVar

from entra_access.domain.faults import Fault, Missing
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
OVERLAY_SECONDS = 30.0
"""For so long our own writes are believed more than a list, which can lag behind them."""


class Shared(Generic[T]):
    """A reading that is at most `max_age` seconds old. Whoever asks while it is made gets that one.

    So does whoever asks while it fails: a service that is down is asked once, not once for each.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._reading: asyncio.Task[T | Fault] | None = None
        self._begun = self._made_at = float("-inf")

    async def get(self, since: float = float("-inf")) -> T:
        """The reading. Raises what reading raises; nothing is kept then.

        With `since`, a time of the monotonic clock: one that was begun later.
        """
        while (reading := self._reading) and not reading.done() and self._begun < since:
            await asyncio.wait([reading])  # all who wait for it share the next one
        old = self._begun < since or time.monotonic() - self._made_at > self._max_age
        if reading is None or (reading.done() and (old or _failed(reading))):
            self._begun = time.monotonic()
            reading = self._reading = asyncio.create_task(self._make())
        # One that stops waiting must not stop it for the others.
        value = await asyncio.shield(reading)
        if isinstance(value, Fault):
            raise value
        return value

    def expire(self) -> None:
        """Read anew at the next question; one that is being made now still counts."""
        self._made_at = float("-inf")

    async def _make(self) -> T | Fault:
        """A fault is a value here: where nobody waits any more, the task must not end with an exception."""
        try:
            value = await self._read()
        except Fault as fault:
            return fault
        self._made_at = time.monotonic()
        return value


def _failed(reading: "asyncio.Task[T | Fault]") -> bool:
    return reading.cancelled() or reading.exception() is not None or isinstance(reading.result(), Fault)


class SharedEach(Generic[K, T]):
    """A shared reading for each key. Those that nobody has asked for in a long time are forgotten."""

    def __init__(self, read: Callable[[K], Awaitable[T]], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._readings: dict[K, Shared[T]] = {}
        self._asked: dict[K, float] = {}

    async def get(self, key: K) -> T:
        """The reading for the key. Raises what reading raises."""
        now = time.monotonic()
        for other in [one for one, at in self._asked.items() if now - at > 2 * self._max_age + 600]:
            del self._readings[other], self._asked[other]
        self._asked[key] = now
        if key not in self._readings:
            self._readings[key] = Shared(lambda: self._read(key), self._max_age)
        return await self._readings[key].get()

    def renew(self, key: K) -> None:
        """Read anew at the next question; one that is being made now still counts."""
        if key in self._readings:
            self._readings[key].expire()

    def forget(self, key: K) -> None:
        """Read anew at the next question."""
        self._readings.pop(key, None)
        self._asked.pop(key, None)

    def forget_where(self, which: Callable[[K], bool]) -> None:
        """Read those of which it is true anew at the next question."""
        for key in [one for one in self._readings if which(one)]:
            self.forget(key)

    def clear(self) -> None:
        """Read everything anew."""
        self._readings.clear()
        self._asked.clear()


class Assignments:
    """The role assignments that a list at a scope shows, with our own latest writes laid over the lists.

    `changed` is called with what differs from one list to the next, but for our own writes: as it was and
    as it is. `read_one` tells which is right where a list and our writes contradict each other.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[tuple[Assignment, ...]]],
        max_age: float,
        changed: Callable[[list[Assignment]], None] | None = None,
        read_one: Callable[[str], Awaitable[Assignment | None]] | None = None,
    ) -> None:
        self._read = read
        self._listed = SharedEach(self._list, max_age)
        self._changed = changed
        self._read_one = read_one
        self._own: dict[str, tuple[Assignment | None, float]] = {}
        self._covers: dict[str, Callable[[str], bool]] = {}
        self._known: dict[str, dict[str, Assignment]] = {}
        self._spellings: dict[str, str] = {}

    async def get(self, scope: str, covers: Callable[[str], bool]) -> tuple[Assignment, ...]:
        """What is assigned now, as far as it can be known.

        `covers` tells which scopes a list at this one shows: those of our writes are laid over it.
        """
        scope = self._spelled(scope)
        self._covers[scope] = covers
        return self.overlaid(await self._listed.get(scope), covers)

    def _spelled(self, scope: str) -> str:
        """The scope as it was asked for first: a list of it is one list, however it is spelled."""
        return self._spellings.setdefault(scope.lower(), scope)

    async def look_again(self, scope: str, covers: Callable[[str], bool]) -> None:
        """List anew, for whoever wants to hear of changes, also of those to what we have just written."""
        scope = self._spelled(scope)
        self._covers[scope] = covers
        self._listed.renew(scope)
        try:
            found = await self._listed.get(scope)
        except Missing:
            # With the scope all that was there is gone.
            self._compare(scope, ())
            return
        if await self._doubts_settled(found, covers):
            self._compare(scope, found)

    async def _doubts_settled(self, found: tuple[Assignment, ...], covers: Callable[[str], bool]) -> bool:
        """Look up what a list does not show as we have written it: the list lags, or it was another hand.

        Returns whether it was another hand.
        """
        read_one = self._read_one
        if read_one is None:
            return False
        listed = {_id_of(one): one for one in found}
        doubtful = [
            (arm_id, own)
            for arm_id, own in self._own.items()
            if not _same(own[0], listed.get(arm_id)) and (own[0] is None or covers(own[0].scope))
        ]
        seen = await asyncio.gather(*(read_one(arm_id) for arm_id, _ in doubtful))
        other_hand = False
        for (arm_id, own), there in zip(doubtful, seen, strict=True):
            # What was written meanwhile is newer than what was seen.
            if not _same(there, own[0]) and self._own.get(arm_id) is own:
                self._own[arm_id] = (there, time.monotonic())
                other_hand = True
        return other_hand

    async def _list(self, scope: str) -> tuple[Assignment, ...]:
        found = await self._read(scope)
        self._compare(scope, found)
        return found

    def _compare(self, scope: str, found: tuple[Assignment, ...]) -> None:
        """Tell of what is not as it was in the list before."""
        now = {_id_of(one): one for one in self.overlaid(found, self._covers[scope])}
        before = self._known.get(scope)
        self._known[scope] = now
        if before is not None and self._changed:
            different = [
                one
                for arm_id in before.keys() | now.keys()
                if not _same(before.get(arm_id), now.get(arm_id))
                for one in (before.get(arm_id), now.get(arm_id))
                if one
            ]
            if different:
                self._changed(different)

    def overlaid(
        self, found: tuple[Assignment, ...], covers: Callable[[str], bool]
    ) -> tuple[Assignment, ...]:
        """What was found, with our own latest writes laid over it once more."""
        listed = {_id_of(one): one for one in found}
        recent = time.monotonic() - OVERLAY_SECONDS
        self._own = {arm_id: own for arm_id, own in self._own.items() if own[1] > recent}
        for arm_id, (assignment, _) in self._own.items():
            if assignment is None:
                listed.pop(arm_id, None)
            elif covers(assignment.scope):
                listed[arm_id] = assignment
        return tuple(listed.values())

    def unsure(self, arm_id: str) -> None:
        """Note that it is being written: what came of earlier writes says nothing any more."""
        self._own.pop(arm_id.lower(), None)

    def assigned(self, assignment: Assignment) -> None:
        """Note an own write."""
        arm_id = _id_of(assignment)
        self._own[arm_id] = (assignment, time.monotonic())
        for scope, known in self._known.items():
            if self._covers[scope](assignment.scope):
                known[arm_id] = assignment

    def unassigned(self, arm_id: str) -> None:
        """Note an own removal."""
        self._own[arm_id.lower()] = (None, time.monotonic())
        for known in self._known.values():
            known.pop(arm_id.lower(), None)


def _same(one: Assignment | None, other: Assignment | None) -> bool:
    """Whether two with the same id are alike: Azure writes scopes as it likes."""
    if one is None or other is None:
        return one is other
    return replace(one, scope="") == replace(other, scope="")


def _id_of(assignment: Assignment) -> str:
    return assignment_id(assignment.scope, assignment.name).lower()
