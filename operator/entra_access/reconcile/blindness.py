"""What the rounds over Entra and Azure cannot look at just now, and whom that concerns.

While a round fails nobody would hear of a change, so no status may say that all is as it was made.
"""

import logging
import random
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from entra_access.api.times import stamp
from entra_access.domain.faults import Fault
from entra_access.reconcile.cache import Key

logger = logging.getLogger(__name__)


@dataclass
class _Source:
    """Something that is asked in every round; `reason`: why it does not answer, empty where it does."""

    last_good: str = ""
    reason: str = ""
    keys: set[Key] = field(default_factory=set)


class Blindness:
    """Remembers which questions of the rounds fail, and has those looked at whom it concerns.

    They are looked at when it begins and when it ends, within `spread` seconds, and not in between. For one
    that has nothing to do with the question any more it ends, too.
    """

    def __init__(
        self, add: Callable[[Key, float], None], clock: Callable[[], datetime], spread: float
    ) -> None:
        self._add = add
        self._clock = clock
        self._spread = spread
        self._sources: dict[Hashable, _Source] = {}

    def answered(self, source: Hashable) -> None:
        """The question was answered."""
        known = self._sources.setdefault(source, _Source())
        self._tell(known.keys)
        known.keys, known.reason, known.last_good = set(), "", stamp(self._clock())

    def failed(self, source: Hashable, fault: Fault, concerned: Iterable[Key]) -> None:
        """The question was not answered, and so it is not known whether anything of these has changed."""
        known = self._sources.setdefault(source, _Source())
        # What lasts is told in statuses; in the log once is enough.
        level = logging.DEBUG if known.reason else logging.WARNING
        logger.log(level, "a round was not finished, and is made again: %s", fault.message)
        known.reason = known.reason or fault.message
        concerned = set(concerned)
        self._tell(concerned ^ known.keys)
        known.keys = concerned

    def forget(self, source: Hashable) -> None:
        """The question is not asked any more."""
        known = self._sources.pop(source, None)
        self._tell(known.keys if known else ())

    def reason(self, key: Key) -> str:
        """Why it is not known whether anything has changed of this one; empty where it is known."""
        return next((one.reason for one in self._of(key)), "")

    def last_good(self, key: Key) -> str:
        """When that was known last; empty where it is known, or never was."""
        return min((one.last_good for one in self._of(key)), default="")

    def _of(self, key: Key) -> Iterable[_Source]:
        return (one for one in self._sources.values() if key in one.keys)

    def _tell(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._add(key, random.uniform(0, self._spread))  # noqa: S311 - jitter is no secret
