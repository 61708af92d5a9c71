"""The round over Entra: one question for fifty groups or users tells which of them have changed."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from entra_access.adapters.graph_delta import MAX_IDS, GraphDelta
from entra_access.domain.faults import Changed, Fault, Missing, Rejected
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Batch:
    """Objects that are asked for together; `link` is where the next answer is, about those `asked` for."""

    kind: str
    ids: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    link: str = ""


class DirectorySweep:
    """Every `interval` seconds, give or take a fifth: have those looked at whose subject has changed.

    An object that is asked for the first time is looked at once more: it may have changed after its policy
    looked at it, and before it was asked for. So are all of a batch whose link has become too old.
    """

    def __init__(
        self,
        cache: WatchCache,
        delta: GraphDelta,
        add: Callable[[Key, float], None],
        blindness: Blindness,
        interval: float,
    ) -> None:
        self._cache = cache
        self._delta = delta
        self._add = add
        self._blindness = blindness
        self._interval = interval
        self._batches: list[_Batch] = []

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            await self.look()

    async def look(self) -> None:
        """Go round once. What cannot be asked is asked again in the next round."""
        for kind, ids in self._cache.directory_subjects().items():
            self._share_out(kind, ids)
        for batch in self._batches:
            if not batch.ids:
                self._blindness.forget(batch)
        self._batches = [batch for batch in self._batches if batch.ids]
        await asyncio.gather(*(self._look_at(batch) for batch in self._batches))

    def _share_out(self, kind: str, ids: Iterable[str]) -> None:
        """Put new objects into batches, and take those out that nobody asks for any more."""
        wanted = set(ids)
        batches = [batch for batch in self._batches if batch.kind == kind]
        for batch in batches:
            # Who leaves may stay in the question, but makes room: what it answers of them concerns nobody.
            batch.ids &= wanted
        wanted -= {one for batch in batches for one in batch.ids}
        for one in sorted(wanted):
            room = next((batch for batch in batches if 0 < len(batch.ids) < MAX_IDS), None)
            if room is None:
                room = _Batch(kind)
                batches.append(room)
                self._batches.append(room)
            room.ids.add(one)

    async def _look_at(self, batch: _Batch) -> None:
        try:
            changed = await self._ask(batch)
        except Fault as fault:
            logger.warning("a round over Entra was not finished: %s", fault.message)
            self._blindness.failed(batch, fault, self._cache.by_object_id(batch.ids))
            return
        self._blindness.answered(batch)
        for key in self._cache.by_object_id(changed & batch.asked):
            self._add(key, 0.0)
        for key in self._cache.by_object_id(batch.ids - batch.asked):
            self._add(key, random.uniform(0, self._interval / 2))  # noqa: S311 - jitter is no secret
        batch.asked = set(batch.ids)

    async def _ask(self, batch: _Batch) -> frozenset[str]:
        """Ask which of those that were asked for before have changed, and begin with those that are new."""
        link, changed = "", frozenset[str]()
        if batch.ids - batch.asked:
            # First, so that no change can fall between the two questions.
            link = (await self._delta.begin(batch.kind, batch.ids)).link
        if batch.link:
            try:
                answer = await self._delta.follow(batch.kind, batch.link)
                link, changed = link or answer.link, answer.ids
            except (Changed, Missing, Rejected) as fault:
                # Too old, or of no use for another reason.
                logger.info("%s; all of it is looked at anew", fault.message)
                link = link or (await self._delta.begin(batch.kind, batch.ids)).link
                batch.asked.clear()
        batch.link = link
        return changed
