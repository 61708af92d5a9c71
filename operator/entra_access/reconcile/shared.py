"""Readings that many passes share: one list serves all that ask within a short time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment

T = TypeVar("T")
OVERLAY_SECONDS = 30.0
"""For so long our own writes are believed more than a list, which can lag behind them."""


class Shared(Generic[T]):
    """A reading that is at most `max_age` seconds old. Whoever asks while it is made gets that one.

    So does whoever asks while it fails: a service that is down is asked once, not once for each.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._reading: asyncio.Task[T] | None = None
        self._made_at = float("-inf")

    async def get(self) -> T:
        """The reading. Raises what reading raises; nothing is kept then."""
        reading = self._reading
        old = time.monotonic() - self._made_at > self._max_age
        if reading is None or (reading.done() and (old or reading.exception())):
            reading = self._reading = asyncio.create_task(self._make())
        # One that stops waiting must not stop it for the others.
        return await asyncio.shield(reading)

    async def _make(self) -> T:
        value = await self._read()
        self._made_at = time.monotonic()
        return value


class Assignments:
    """The role assignments at the cluster, with our own latest writes laid over the list."""

    def __init__(self, read: Callable[[], Awaitable[tuple[Assignment, ...]]], max_age: float) -> None:
        self._listed = Shared(read, max_age)
        self._own: dict[str, tuple[Assignment | None, float]] = {}

    async def get(self) -> tuple[Assignment, ...]:
        """What is assigned now, as far as it can be known."""
        listed = {assignment_id(a.scope, a.name).lower(): a for a in await self._listed.get()}
        recent = time.monotonic() - OVERLAY_SECONDS
        self._own = {arm_id: own for arm_id, own in self._own.items() if own[1] > recent}
        for arm_id, (assignment, _) in self._own.items():
            if assignment is None:
                listed.pop(arm_id, None)
            else:
                listed[arm_id] = assignment
        return tuple(listed.values())

    def assigned(self, assignment: Assignment) -> None:
        """Note an own write."""
        arm_id = assignment_id(assignment.scope, assignment.name).lower()
        self._own[arm_id] = (assignment, time.monotonic())

    def unassigned(self, arm_id: str) -> None:
        """Note an own removal."""
        self._own[arm_id.lower()] = (None, time.monotonic())
