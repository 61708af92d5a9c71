"""The round over groups in Entra: one question for fifty of them tells which have changed."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from entra_access.adapters.graph_delta import GROUPS, MAX_IDS, GraphDelta
from entra_access.domain.faults import Changed, Fault, Missing, Rejected
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.rounds import Round

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Batch:
    """Groups that are asked for together; `link` is where the next answer is, about those `asked` for."""

    ids: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    link: str = ""


class GroupSweep(Round):
    """In each round those are looked at whose subject has changed.

    A group that is asked for the first time is looked at once more: it may have changed after its policy
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
        super().__init__(cache, add, blindness, interval)
        self._delta = delta
        self._batches: list[_Batch] = []

    async def look(self) -> None:
        """Go round once. What cannot be asked is asked again in the next round."""
        self._share_out(self._cache.subjects("Group"))
        for batch in self._batches:
            if not batch.ids:
                self._blindness.forget(batch)
        self._batches = [batch for batch in self._batches if batch.ids]
        await asyncio.gather(*(self._look_at(batch) for batch in self._batches))

    def _share_out(self, wanted: set[str]) -> None:
        """Put new groups into batches, and take those out that nobody asks for any more."""
        for batch in self._batches:
            # Who leaves may stay in the question, but makes room: what it answers of them concerns nobody.
            batch.ids &= wanted
        for one in sorted(wanted.difference(*(batch.ids for batch in self._batches))):
            room = next((batch for batch in self._batches if 0 < len(batch.ids) < MAX_IDS), None)
            if room is None:
                room = _Batch()
                self._batches.append(room)
            room.ids.add(one)

    async def _look_at(self, batch: _Batch) -> None:
        try:
            changed = await self._ask(batch)
        except Fault as fault:
            self._blindness.failed(batch, fault, self._cache.by_object_id(batch.ids))
            return
        self._blindness.answered(batch)
        self._cache.news.heard(changed | (batch.ids - batch.asked))
        self._at_once(self._cache.by_object_id(changed & batch.asked))
        self._before_the_next(self._cache.by_object_id(batch.ids - batch.asked))
        batch.asked = set(batch.ids)

    async def _ask(self, batch: _Batch) -> frozenset[str]:
        """Ask which of those that were asked for before have changed, and begin with those that are new."""
        link, changed = "", frozenset[str]()
        if batch.ids - batch.asked:
            # First, so that no change can fall between the two questions.
            link = (await self._delta.begin_groups(batch.ids)).link
        if batch.link:
            try:
                answer = await self._delta.follow(GROUPS, batch.link)
                link, changed = link or answer.link, answer.ids
            except (Changed, Missing, Rejected) as fault:
                # Too old, or of no use for another reason.
                logger.info("%s; all of it is looked at anew", fault.message)
                link = link or (await self._delta.begin_groups(batch.ids)).link
                batch.asked.clear()
        batch.link = link
        return changed
