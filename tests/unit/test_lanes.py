"""Lanes: what waits for a slow service holds up only what needs it, and no key is in two of them at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from entra_access.queue import Lanes
from entra_access.reconcile.outcome import Next
from unit.virtual import in_virtual_time, now

SLOW, FAST = "azure", "kubernetes"


class Office:
    """Keys that belong to one lane or the other, and what was worked on when."""

    def __init__(self, takes: float = 10.0, *, lanes: dict[str, str] | None = None) -> None:
        self.lane = lanes or {}
        self.takes = takes
        self.at: list[tuple[str, float]] = []
        self.working: set[str] = set()
        self.twice = False
        self.answers: dict[str, Next] = {}
        self.queue: Lanes[str] = Lanes((SLOW, FAST), lambda key: self.lane.get(key, FAST))

    async def work(self, key: str) -> Next:
        self.twice = self.twice or key in self.working
        self.working.add(key)
        self.at.append((key, now()))
        await asyncio.sleep(self.takes if self.lane.get(key) == SLOW else 0.1)
        self.working.discard(key)
        return self.answers.get(key, Next())

    def play(self, script: Callable[[], Awaitable[None]], workers: int = 2) -> None:
        async def whole() -> None:
            running = asyncio.create_task(self.queue.run(self.work, workers))
            await script()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        in_virtual_time(whole())


def times(office: Office, key: str) -> list[float]:
    return [round(at, 3) for one, at in office.at if one == key]


def test_what_is_slow_holds_up_only_its_own_lane() -> None:
    office = Office(lanes=dict.fromkeys("abcd", SLOW))

    async def script() -> None:
        for key in "abcdx":
            office.queue.add(key)
        await asyncio.sleep(100)

    office.play(script)
    assert times(office, "x") == [0.0]
    assert times(office, "d") == [10.0]


def test_a_key_that_changes_its_lane_while_it_is_worked_on_is_not_taken_up_twice_at_once() -> None:
    office = Office(lanes={"a": SLOW})

    async def script() -> None:
        office.queue.add("a")
        await asyncio.sleep(1)
        office.lane["a"] = FAST
        office.queue.add("a")
        await asyncio.sleep(100)

    office.play(script)
    assert not office.twice
    assert times(office, "a") == [0.0, 10.0]


def test_a_key_that_changes_its_lane_while_it_waits_is_looked_at_once() -> None:
    office = Office(lanes=dict.fromkeys("abc", SLOW))

    async def script() -> None:
        for key in "abc":  # two workers: c waits
            office.queue.add(key)
        await asyncio.sleep(1)
        office.lane["c"] = FAST
        office.queue.add("c")
        await asyncio.sleep(100)

    office.play(script)
    assert times(office, "c") == [10.0]


def test_a_key_that_waits_for_its_time_is_due_at_once_wherever_it_waits() -> None:
    office = Office(lanes={"a": SLOW})

    async def script() -> None:
        office.queue.add_after("a", 50)
        office.lane["a"] = FAST
        office.queue.add("a")
        await asyncio.sleep(100)

    office.play(script)
    assert times(office, "a") == [0.0]


def test_after_its_look_a_key_goes_to_its_new_lane() -> None:
    office = Office(lanes=dict.fromkeys("abc", SLOW))

    async def script() -> None:
        office.queue.add("a")
        await asyncio.sleep(20)
        office.lane["a"] = FAST
        for key in "bc":
            office.queue.add(key)  # the slow lane is full
        office.queue.add("a")
        await asyncio.sleep(100)

    office.play(script)
    assert times(office, "a") == [0.0, 20.0]


def test_what_failed_in_one_lane_comes_back_in_it() -> None:
    office = Office(lanes={"a": SLOW}, takes=0.1)
    office.answers["a"] = Next(failed=True)

    async def script() -> None:
        office.queue.add("a")
        await asyncio.sleep(300)

    office.play(script)
    assert len(times(office, "a")) > 5
    assert not office.twice


@pytest.mark.parametrize("seed", range(20))
def test_whatever_changes_no_key_is_worked_on_twice_at_once_and_none_is_lost(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same story each time
    office = Office(takes=3.0)
    last: dict[str, float] = {}

    async def script() -> None:
        for _ in range(300):
            key = chance.choice("abcdef")
            office.lane[key] = chance.choice([SLOW, FAST])
            office.answers[key] = chance.choice([Next(), Next(failed=True), Next(after=1.0)])
            if chance.random() < 0.7:
                office.queue.add(key)
                last[key] = now()
            else:
                office.queue.add_after(key, chance.uniform(0, 5))
            await asyncio.sleep(chance.uniform(0, 0.5))
        await asyncio.sleep(60)

    office.play(script)
    assert not office.twice
    for key, added in last.items():
        assert any(one == key and at >= added for one, at in office.at), key
