"""The slow round: looks at everything again, also at what no watch would tell."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from entra_access.adapters.rbac import Kubernetes
from entra_access.api.names import WATCHED, Kind, selector_of
from entra_access.domain.faults import Fault
from entra_access.reconcile.cache import Body, Key, WatchCache

COMPARE_SECONDS: Final = 600.0
SETTLE_SECONDS: Final = 2.0
"""The watches of all kinds begin anew at about the same time."""
logger = logging.getLogger(__name__)


class Sweeps:
    """Every `interval` seconds, give or take a fifth: look at everything that may be in Entra and Azure too.

    The rounds over those show what has changed there, and not what they cannot know of. The cache is compared
    with full lists whenever a watch begins anew, which it does with a list: what was deleted meanwhile is in
    neither. And at least every ten minutes.
    """

    def __init__(
        self,
        kubernetes: Kubernetes,
        cache: WatchCache,
        add: Callable[[Key, float], None],
        interval: float,
    ) -> None:
        self._kubernetes = kubernetes
        self._cache = cache
        self._add = add
        self._interval = interval
        self._listed = asyncio.Event()

    def listed(self) -> None:
        """A watch has begun anew."""
        self._listed.set()

    async def run(self) -> None:
        """Go round until cancelled."""
        looked = time.monotonic()
        while True:
            await self._pause()
            try:
                await self.compare()
            except Fault as fault:
                logger.warning("a round over all objects was not finished: %s", fault.message)
            if time.monotonic() - looked < self._interval * 0.8:
                continue
            looked = time.monotonic()
            # Spread over the interval, so that a round never is a rush on Graph and ARM.
            for key in filter(self._cache.needs_azure, self._cache.keys()):
                self._add(key, random.uniform(0, self._interval / 2))  # noqa: S311 - likewise

    async def _pause(self) -> None:
        pause = min(self._interval, COMPARE_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        with suppress(TimeoutError):
            # Not by wait_for, which waits in a task of its own: kopf takes that for one of its tasks.
            async with asyncio.timeout(pause):
                await self._listed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
        self._listed.clear()

    async def compare(self) -> None:
        """Bring the cache up to date with full lists, and queue whatever differed.

        Raises
        ------
        Fault
            A list could not be read; what was known stays.
        """
        for kind in WATCHED:
            known = self._cache.identities(kind)
            listed = await self._kubernetes.list_all(kind, selector_of(kind), latest=True)
            # The list may be older than what the watch has told meanwhile.
            gone = known.keys() - self._cache.identities(kind).keys()
            there = set()
            for body in listed:
                meta = body["metadata"]
                one = (meta.get("namespace"), meta["name"])
                there.add(one)
                if one not in gone:
                    self._put(kind, body)
            for namespace, name in known.keys() - gone - there:
                uid = known[namespace, name]
                body = await self._kubernetes.get(kind, namespace, name) or {}
                if not body or body["metadata"]["uid"] != uid:
                    self._queue(self._cache.drop(kind, namespace, name, uid))
                else:
                    self._put(kind, body)  # it has lost the label by which it would be listed

    def _put(self, kind: Kind, body: Body) -> None:
        self._queue(self._cache.put(kind, {"kind": kind.kind, "apiVersion": kind.api_version, **body}))

    def _queue(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._add(key, 0.0)
