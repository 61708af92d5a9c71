"""The work queue: which resource to look at next, and when to look again.

A key that waits is not queued twice, a key that is worked on is not worked on by another, and one that
becomes due meanwhile is taken up again right after. Failing keys come back later and later, with jitter.
"""

import asyncio
import logging
import random
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from entra_access.reconcile.outcome import Next

K = TypeVar("K", bound=Hashable)
logger = logging.getLogger(__name__)
FIRST_BACKOFF: Final = 0.5
MAX_BACKOFF: Final = 60.0


class WorkQueue(Generic[K]):
    """Keys that are due, and workers that take them up. Belongs to one event loop."""

    def __init__(self) -> None:
        self._due: deque[K] = deque()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._news = asyncio.Event()

    def add(self, key: K) -> None:
        """The key is due now."""
        timer = self._timers.pop(key, None)
        if timer:
            timer.cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._due.append(key)
            self._news.set()

    def add_after(self, key: K, seconds: float) -> None:
        """The key is due in so many seconds, unless it is due earlier for another reason."""
        if key in self._waiting or key in self._again:
            return
        due = asyncio.get_running_loop().time() + seconds
        timer = self._timers.get(key)
        if timer and timer.when() <= due:
            return
        if timer:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(due, self._ring, key)

    def _ring(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def holds(self, key: K) -> bool:
        """Whether the key waits here, now or for its time, or is worked on."""
        return key in self._waiting or key in self._working or key in self._timers

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing is worked on."""
        return not (self._due or self._working)

    async def run(self, work: Callable[[K], Awaitable[Next]], workers: int) -> None:
        """Work until cancelled; `work` looks at one key and says when to look again."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._worker(work), name=f"worker {number}")

    async def _worker(self, work: Callable[[K], Awaitable[Next]]) -> None:
        while True:
            while not self._due:
                self._news.clear()
                await self._news.wait()
            key = self._due.popleft()
            self._waiting.discard(key)
            self._working.add(key)
            try:
                then = await self._look(work, key)
            finally:
                self._working.discard(key)
            self._schedule(key, then)

    @staticmethod
    async def _look(work: Callable[[K], Awaitable[Next]], key: K) -> Next:
        try:
            return await work(key)
        except Exception as error:  # noqa: BLE001 - a defect in one pass must not stop the others
            # Where it happened, not what it said: the words could be those of a response.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s: unexpected %s\n%s", key, type(error).__name__, frames)  # noqa: TRY400 - see above
            return Next(failed=True)

    def _schedule(self, key: K, then: Next) -> None:
        if then.failed:
            self._failures[key] = self._failures.get(key, 0) + 1
        else:
            self._failures.pop(key, None)
        if key in self._again:
            # News came while it was worked on: what was found may be old already.
            self._again.discard(key)
            self.add(key)
        elif then.failed:
            self.add_after(key, max(then.after or 0.0, self._backoff(key, then)))
        elif then.after is not None:
            self.add_after(key, then.after * random.uniform(1.0, 1.2))  # noqa: S311 - jitter is no secret

        if then.due is not None:
            self.add_after(key, then.due)

    def _backoff(self, key: K, then: Next) -> float:
        grown = FIRST_BACKOFF * 2.0 ** min(self._failures[key] - 1, 20)
        longest = MAX_BACKOFF if then.longest is None else then.longest
        return min(grown, longest) * random.uniform(0.7, 1.0)  # noqa: S311 - likewise


class Lanes(Generic[K]):
    """A queue for each lane, so that what waits for a slow service holds up only what needs that service.

    A key can come to belong to another lane. While it waits or is worked on it stays where it is: two lanes
    must never work on it at once.
    """

    def __init__(self, lanes: Iterable[str], lane_of: Callable[[K], str]) -> None:
        self._queues: dict[str, WorkQueue[K]] = {lane: WorkQueue() for lane in lanes}
        self._lane_of = lane_of

    def add(self, key: K) -> None:
        """The key is due now."""
        self._queue_of(key).add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """The key is due in so many seconds, unless it is due earlier for another reason."""
        self._queue_of(key).add_after(key, seconds)

    def _queue_of(self, key: K) -> WorkQueue[K]:
        queues = self._queues.values()
        holding = next((queue for queue in queues if queue.holds(key)), None)
        return holding or self._queues[self._lane_of(key)]

    async def run(self, work: Callable[[K], Awaitable[Next]], workers: int) -> None:
        """Work until cancelled, with so many workers in each lane."""
        async with asyncio.TaskGroup() as group:
            for queue in self._queues.values():
                group.create_task(queue.run(work, workers))
