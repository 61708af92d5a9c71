"""How many calls a service gets at once, and a pause for all of them when it asks for one."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from entra_access.domain.faults import Throttled

DEFAULT_RETRY_AFTER: Final = 10.0
MAX_RETRY_AFTER: Final = 3600.0


class Gate:
    """In front of one service.

    After a 429 every call waits outside until the service's own time is over: each further call would
    only be counted against us. Those that wait hold no worker: they get `Throttled`, and come again.
    """

    def __init__(self, service: str, limit: int) -> None:
        self.service = service
        self._slots = asyncio.Semaphore(limit)
        self._open_at = 0.0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Take a slot for one call.

        Raises
        ------
        Throttled
            The service asked for a pause that is not over.
        """
        async with self._slots:
            left = self._open_at - time.monotonic()
            if left > 0:
                raise Throttled(f"{self.service} asked for a pause", retry_after=left)
            yield

    def close_for(self, seconds: float) -> None:
        """Let nobody in for so many seconds."""
        self._open_at = max(self._open_at, time.monotonic() + seconds)


def retry_after(headers: Mapping[str, str] | None, default: float | None) -> float | None:
    """The seconds in a Retry-After header, given as a number or as a date; `default` where there is none."""
    text = next((v for k, v in (headers or {}).items() if k.lower() == "retry-after"), "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return default
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if math.isfinite(seconds) else default
