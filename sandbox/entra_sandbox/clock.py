"""The sandbox's one clock, which a test may move forward instead of waiting."""

import time
from datetime import UTC, datetime


class Clock:
    """Wall time plus an offset that only grows."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        """Seconds since the epoch, as this sandbox sees them."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move forward: delays end, tokens expire and throttling buckets refill at once."""
        if seconds < 0:
            raise ValueError("time only moves forward")
        self._offset += seconds


def graph_time(at: float) -> str:
    """Write a time as Graph does: to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def arm_time(at: float) -> str:
    """Write a time as ARM does: with seven fractional digits, one more than Python or JavaScript keep."""
    ticks = int(at * 10_000_000)
    seconds, fraction = divmod(ticks, 10_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:07d}Z"
