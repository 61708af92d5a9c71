"""Readings that are shared: one serves all that ask, unless it was begun too early for one of them."""

import asyncio
import time

import pytest

from entra_access.domain.faults import Unavailable
from entra_access.reconcile.shared import Shared


class Source:
    """Gives a number more with each reading, when it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.free = asyncio.Event()
        self.free.set()
        self.fails = False

    async def read(self) -> int:
        self.begun += 1
        number = self.begun
        await self.free.wait()
        if self.fails:
            raise Unavailable("down")
        return number


async def test_who_asks_soon_after_gets_the_same() -> None:
    source = Source()
    shared = Shared(source.read, 60)
    assert [await shared.get(), await shared.get()] == [1, 1]
    assert await shared.get(since=time.monotonic()) == 2
    assert await shared.get() == 2


async def test_one_that_was_begun_before_does_not_serve_and_the_next_serves_all() -> None:
    source = Source()
    shared = Shared(source.read, 60)
    source.free.clear()
    early = asyncio.create_task(shared.get())
    await asyncio.sleep(0.01)
    late = [asyncio.create_task(shared.get(since=time.monotonic())) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert source.begun == 1, "one at a time"
    source.free.set()
    assert await early == 1
    assert await asyncio.gather(*late) == [2] * 5


async def test_who_waits_for_a_later_one_is_told_when_that_fails() -> None:
    source = Source()
    shared = Shared(source.read, 60)
    await shared.get()
    source.fails = True
    with pytest.raises(Unavailable):
        await shared.get(since=time.monotonic())
    source.fails = False
    assert await shared.get() == 3
