"""What the rounds over Entra and Azure have in common: when they look, and when others look for it."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache


class Round(ABC):
    """Every `interval` seconds, give or take a fifth: ask what has changed, and have those looked at.

    `add` has a resource looked at in so many seconds.
    """

    def __init__(
        self, cache: WatchCache, add: Callable[[Key, float], None], blindness: Blindness, interval: float
    ) -> None:
        self._cache = cache
        self._add = add
        self._blindness = blindness
        self._interval = interval

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            await self.look()

    @abstractmethod
    async def look(self) -> None:
        """Go round once. What cannot be asked is asked again in the next round."""

    def _at_once(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._add(key, 0.0)

    def _before_the_next(self, keys: Iterable[Key]) -> None:
        """Have them looked at before the next round, and not all at the same time."""
        for key in keys:
            self._add(key, random.uniform(0, self._interval / 2))  # noqa: S311 - likewise
