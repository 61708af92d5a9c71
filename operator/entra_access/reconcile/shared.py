"""Readings that many passes share: one answer serves all that ask within a short time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from entra_access.domain.faults import Fault
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
        self._made_at = float("-inf")

    async def get(self) -> T:
        """The reading. Raises what reading raises; nothing is kept then."""
        reading = self._reading
        old = time.monotonic() - self._made_at > self._max_age
        if reading is None or (reading.done() and (old or _failed(reading))):
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
    as it is.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[tuple[Assignment, ...]]],
        max_age: float,
        changed: Callable[[list[Assignment]], None] | None = None,
    ) -> None:
        self._read = read
        self._listed = SharedEach(self._list, max_age)
        self._changed = changed
        self._own: dict[str, tuple[Assignment | None, str, float]] = {}
        self._covers: dict[str, Callable[[str], bool]] = {}
        self._known: dict[str, dict[str, Assignment]] = {}

    async def get(self, scope: str, covers: Callable[[str], bool]) -> tuple[Assignment, ...]:
        """What is assigned now, as far as it can be known.

        `covers` tells which scopes a list at this one shows: those of our writes are laid over it.
        """
        self._covers[scope] = covers
        return self.overlaid(await self._listed.get(scope), covers)

    async def look_again(self, scope: str, covers: Callable[[str], bool]) -> None:
        """List anew, for whoever wants to hear of changes."""
        self._listed.renew(scope)
        await self.get(scope, covers)

    async def _list(self, scope: str) -> tuple[Assignment, ...]:
        found = await self._read(scope)
        now = {_id_of(one): one for one in self.overlaid(found, self._covers[scope])}
        before = self._known.get(scope)
        self._known[scope] = now
        if before is not None and self._changed:
            different = [
                one
                for arm_id in before.keys() | now.keys()
                if before.get(arm_id) != now.get(arm_id)
                for one in (before.get(arm_id), now.get(arm_id))
                if one
            ]
            if different:
                self._changed(different)
        return found

    def overlaid(
        self, found: tuple[Assignment, ...], covers: Callable[[str], bool]
    ) -> tuple[Assignment, ...]:
        """What was found, with our own latest writes laid over it once more."""
        listed = {_id_of(one): one for one in found}
        recent = time.monotonic() - OVERLAY_SECONDS
        self._own = {arm_id: own for arm_id, own in self._own.items() if own[2] > recent}
        for arm_id, (assignment, where, _) in self._own.items():
            if assignment is None:
                listed.pop(arm_id, None)
            elif covers(where):
                listed[arm_id] = assignment
        return tuple(listed.values())

    def unsure(self, arm_id: str) -> None:
        """Note that it is being written: what came of earlier writes says nothing any more."""
        self._own.pop(arm_id.lower(), None)

    def assigned(self, assignment: Assignment) -> None:
        """Note an own write."""
        arm_id = _id_of(assignment)
        self._own[arm_id] = (assignment, assignment.scope, time.monotonic())
        for scope, known in self._known.items():
            if self._covers[scope](assignment.scope):
                known[arm_id] = assignment

    def unassigned(self, arm_id: str) -> None:
        """Note an own removal."""
        self._own[arm_id.lower()] = (None, "", time.monotonic())
        for known in self._known.values():
            known.pop(arm_id.lower(), None)


def _id_of(assignment: Assignment) -> str:
    return assignment_id(assignment.scope, assignment.name).lower()
