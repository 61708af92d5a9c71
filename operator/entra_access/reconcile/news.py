"""What was heard of Entra and Azure while somebody was looking there."""

from collections import deque
from collections.abc import Iterable
from typing import Final

KEPT: Final = 1000
"""So many pieces of news are remembered."""
ANYBODY: Final = "any user"
"""News of all users, whoever they are."""


class News:
    """Tells a pass whether it may have looked too early.

    Whom news concern is known from the last pass of each. One that is about something new, and is not over
    yet, is told nothing: it asks here when it is over.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._heard: deque[frozenset[str]] = deque(maxlen=kept)
        self._number = 0

    def heard(self, ids: Iterable[str]) -> None:
        """Something has changed about these: object ids, names or ARM ids."""
        self._heard.append(frozenset(one.lower() for one in ids))
        self._number += 1

    def mark(self) -> int:
        """Now, for `since`."""
        return self._number

    def since(self, mark: int, ids: Iterable[str]) -> bool:
        """Whether any of these may have changed since that mark."""
        number = self._number - mark
        if number > len(self._heard):
            return True  # too much to remember
        mine = {one.lower() for one in ids}
        return any(not mine.isdisjoint(self._heard[-back]) for back in range(1, number + 1))
