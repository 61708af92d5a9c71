"""The round over users in Entra: one question tells which of those that policies name have changed."""

import logging
from collections.abc import Callable
from typing import Final

from entra_access.adapters.graph_delta import USERS, GraphDelta
from entra_access.domain.faults import Changed, Fault, Missing, Rejected
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.news import ANYBODY
from entra_access.reconcile.rounds import Round

logger = logging.getLogger(__name__)
MEMBER_ROUNDS: Final = 5
"""Users who are only in groups are asked for in one round of so many."""


class UserSweep(Round):
    """In each round those are looked at who name a user that has changed.

    Graph tells of all users of the tenant at once, so this costs the same however many are named. It is asked
    in every round while a user is a subject. A group's members cannot sign in once they are disabled or
    deleted, whatever the group says, so what changes about them is told less often.
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
        self._link = ""
        self._pauses = 0

    async def look(self) -> None:
        """Go round once. What cannot be asked is asked again in the next round."""
        concerned = self._cache.users.keys
        if not concerned:
            # Where it has begun it goes on from there as soon as somebody names users again.
            self._pauses = 0
            self._blindness.forget(USERS)
            return
        if self._pauses and not self._cache.subjects("User"):
            self._pauses -= 1
            return
        try:
            await self._ask()
        except Fault as fault:
            self._blindness.failed(USERS, fault, concerned)
            self._pauses = 0
        else:
            self._blindness.answered(USERS)
            self._pauses = MEMBER_ROUNDS - 1

    async def _ask(self) -> None:
        if self._link:
            try:
                answer = await self._delta.follow(USERS, self._link)
            except (Changed, Missing, Rejected) as fault:
                # Too old, or of no use for another reason.
                logger.info("%s; all who name users are looked at anew", fault.message)
                self._link = ""
            else:
                self._link = answer.link
                changed = answer.ids | answer.names
                self._cache.news.heard(changed)
                self._at_once(self._cache.users.holders(changed))
                return
        self._link = (await self._delta.begin_users()).link
        # Somebody may have changed since they were looked at, and before this began.
        self._cache.news.heard({ANYBODY})
        self._before_the_next(self._cache.users.keys)
