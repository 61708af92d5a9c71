"""What Azure has not known when it was asked to assign it, and since when."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FORGOTTEN: Final = timedelta(hours=1)
"""What Azure did not know is no news any more when nobody has asked for so long."""


class Unknown(Generic[K]):
    """Tells what is not known yet from what is not there: Azure's answer is the same.

    What was made a moment ago is not known everywhere, so "there is none" counts only after the replication
    `window`. Only in memory: who starts anew is patient anew.
    """

    def __init__(self, window: timedelta) -> None:
        self.window = window
        self._seen: dict[K, tuple[datetime, datetime]] = {}  # when it was first so, and last

    def note(self, key: K, now: datetime) -> bool:
        """Note that Azure did not know it. Returns whether that is for good, as far as one can tell."""
        self._seen = {one: seen for one, seen in self._seen.items() if now - seen[1] < FORGOTTEN}
        first, _ = self._seen.get(key, (now, now))
        self._seen[key] = (first, now)
        return now - first >= self.window

    def known(self, key: K) -> None:
        """Note that Azure knows it."""
        self._seen.pop(key, None)
