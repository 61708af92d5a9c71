"""The work queue, in virtual time."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from entra_access.queue import FIRST_BACKOFF, MAX_BACKOFF, WorkQueue
from entra_access.reconcile.outcome import Next
from unit.virtual import in_virtual_time, now

HOUR = 3600.0
DAY = 24 * HOUR
SECRET = "the words of a response"
Work = Callable[[str], Awaitable[Next]]


class Looks:
    """Work that answers as it is told and remembers when it was asked."""

    def __init__(self, *answers: Next, takes: float = 0.0) -> None:
        self._answers = list(answers)
        self._takes = takes
        self.at: list[float] = []
        self.keys: list[str] = []
        self.together = 0
        self.most_together = 0
        self.most_of_one_key = 0
        self._now: Counter[str] = Counter()

    async def __call__(self, key: str) -> Next:
        self.at.append(now())
        self.keys.append(key)
        self._now[key] += 1
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        self.most_of_one_key = max(self.most_of_one_key, self._now[key])
        await asyncio.sleep(self._takes)
        self.together -= 1
        self._now[key] -= 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    @property
    def pauses(self) -> list[float]:
        """The time between one look and the next."""
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]


async def working(
    queue: WorkQueue[str], work: Work, script: Callable[[], Awaitable[None]], workers: int = 4
) -> None:
    """Run the queue while a script plays, and end it."""
    running = asyncio.create_task(queue.run(work, workers))
    await script()
    assert not running.done(), "the queue has ended by itself"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def play(queue: WorkQueue[str], work: Work, script: Callable[[], Awaitable[None]], workers: int = 4) -> None:
    in_virtual_time(working(queue, work, script, workers))


def once(queue: WorkQueue[str], seconds: float, *keys: str) -> Callable[[], Awaitable[None]]:
    """A script: the keys are due, and then time passes."""

    async def script() -> None:
        for key in keys or ("a",):
            queue.add(key)
        await asyncio.sleep(seconds)

    return script


def test_each_key_that_is_due_is_looked_at_once() -> None:
    queue, looks = WorkQueue[str](), Looks(Next())
    play(queue, looks, once(queue, HOUR, "a", "b", "c"))
    assert looks.keys == ["a", "b", "c"]
    assert queue.idle


def test_a_key_that_waits_is_not_queued_twice() -> None:
    queue, looks = WorkQueue[str](), Looks(Next())
    play(queue, looks, once(queue, HOUR, "a", "a", "b", "a"), workers=1)
    assert looks.keys == ["a", "b"]


def test_keys_are_worked_on_together_and_each_by_one_worker() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(), takes=1.0)

    async def script() -> None:
        for _ in range(20):
            for key in "abcdef":
                queue.add(key)
            await asyncio.sleep(0.3)
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.most_of_one_key == 1
    assert looks.most_together == 4
    assert set(looks.keys) == set("abcdef")
    assert queue.idle


def test_news_while_a_key_is_worked_on_is_one_more_look_right_after() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(), takes=1.0)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        for _ in range(3):
            queue.add("a")
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.at == [0.0, 1.0]


def test_a_worker_takes_up_others_while_one_is_slow() -> None:
    queue = WorkQueue[str]()
    done: list[str] = []

    async def work(key: str) -> Next:
        await asyncio.sleep(100 if key == "slow" else 1)
        done.append(key)
        return Next()

    play(queue, work, once(queue, 10, "slow", "a", "b", "c"), workers=2)
    assert done == ["a", "b", "c"]


def test_failing_keys_come_back_later_and_later() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(failed=True))
    play(queue, looks, once(queue, 20 * 60))
    assert len(looks.pauses) > 15
    for number, pause in enumerate(looks.pauses):
        longest = min(FIRST_BACKOFF * 2**number, MAX_BACKOFF)
        assert 0.69 * longest <= pause <= 1.01 * longest, number


def test_pauses_are_not_all_the_same() -> None:
    """Many keys that failed together must not come back together."""
    queue, looks = WorkQueue[str](), Looks(Next(failed=True))
    play(queue, looks, once(queue, 0.6, *(f"key {number}" for number in range(50))))
    assert len(set(looks.at)) > 40


def test_a_key_may_fail_for_days() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(failed=True))
    play(queue, looks, once(queue, 2 * DAY))
    assert len(looks.at) > 2 * DAY / MAX_BACKOFF
    assert max(looks.pauses) <= MAX_BACKOFF * 1.01


def test_after_success_failures_are_forgotten() -> None:
    failed, well = Next(failed=True), Next()
    queue, looks = WorkQueue[str](), Looks(*[failed] * 6, well, failed, well)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(HOUR)
        queue.add("a")
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert len(looks.at) == 9
    assert looks.pauses[-1] <= FIRST_BACKOFF * 1.01


@pytest.mark.parametrize("seconds", [7.0, 59.0, 600.0])
def test_retry_after_is_obeyed(seconds: float) -> None:
    queue, looks = WorkQueue[str](), Looks(Next(after=seconds, failed=True))
    play(queue, looks, once(queue, 4 * seconds))
    assert looks.pauses
    assert min(looks.pauses) >= seconds * 0.999
    assert looks.pauses[0] <= seconds * 1.3


def test_a_short_retry_after_does_not_shorten_the_pause() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(after=0.0, failed=True))
    play(queue, looks, once(queue, HOUR))
    assert looks.pauses[-1] >= 0.69 * MAX_BACKOFF


def test_a_pause_can_be_bounded() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(failed=True, longest=5.0))
    play(queue, looks, once(queue, HOUR))
    assert max(looks.pauses) <= 5.01
    assert len(looks.at) >= HOUR / 5


@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_a_look_that_is_due_later_is_made_later(seconds: float) -> None:
    queue, looks = WorkQueue[str](), Looks(Next(after=seconds), Next(after=seconds), Next())
    play(queue, looks, once(queue, HOUR))
    assert len(looks.at) == 3
    assert all(seconds * 0.999 <= pause <= seconds * 1.21 for pause in looks.pauses)


def test_nothing_to_do_is_nothing_done() -> None:
    queue, looks = WorkQueue[str](), Looks(Next())
    play(queue, looks, once(queue, DAY))
    assert looks.at == [0.0]


def test_of_two_times_the_earlier_counts() -> None:
    for first, second in ((100.0, 10.0), (10.0, 100.0)):
        queue, looks = WorkQueue[str](), Looks(Next())

        async def script(queue: WorkQueue[str] = queue, times: tuple[float, ...] = (first, second)) -> None:
            for seconds in times:
                queue.add_after("a", seconds)
            await asyncio.sleep(HOUR)

        play(queue, looks, script)
        assert looks.at == pytest.approx([10.0])


def test_what_is_due_now_is_not_due_later_too() -> None:
    queue, looks = WorkQueue[str](), Looks(Next())

    async def script() -> None:
        queue.add_after("a", 10)
        queue.add("a")
        queue.add_after("a", 20)
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.at == [0.0]


def test_a_timer_that_rings_while_the_key_is_worked_on_is_one_more_look() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(), takes=10.0)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(1)
        queue.add_after("a", 4)
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.at == pytest.approx([0.0, 10.0])


def test_a_defect_in_one_pass_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    queue = WorkQueue[str]()
    looked: list[str] = []

    async def work(key: str) -> Next:
        looked.append(key)
        if key == "bad":
            raise RuntimeError(SECRET)
        return Next()

    async def script() -> None:
        for _ in range(3):
            for key in ("bad", "a", "b"):
                queue.add(key)
            await asyncio.sleep(HOUR)

    with caplog.at_level(logging.DEBUG, "entra_access"):
        play(queue, work, script, workers=2)
    counts = Counter(looked)
    assert (counts["a"], counts["b"]) == (3, 3)
    assert counts["bad"] > 100  # it is tried again, later and later
    assert "RuntimeError" in caplog.text
    assert "bad" in caplog.text
    assert "in work" in caplog.text  # where it happened
    assert SECRET not in caplog.text


def test_causes_of_a_defect_are_not_logged_either(caplog: pytest.LogCaptureFixture) -> None:
    queue = WorkQueue[str]()

    async def work(_: str) -> Next:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise ExceptionGroup(SECRET, [error]) from error

    with caplog.at_level(logging.DEBUG, "entra_access"):
        play(queue, work, once(queue, 1))
    assert "ExceptionGroup" in caplog.text
    assert SECRET not in caplog.text


def test_keys_that_came_before_the_workers_are_not_lost() -> None:
    queue, looks = WorkQueue[str](), Looks(Next())
    queue.add("a")
    assert not queue.idle
    play(queue, looks, once(queue, 1, "b"))
    assert looks.keys == ["a", "b"]


def test_a_failing_key_with_news_is_looked_at_again_and_then_left_in_peace() -> None:
    """News while it was worked on may be the cure; without further news its pauses go on."""
    queue, looks = WorkQueue[str](), Looks(Next(failed=True), takes=1.0)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.at[1] == pytest.approx(1.0)
    assert len(looks.at) < 2 * HOUR / MAX_BACKOFF


# What is due at a time of its own, as the end of a grant


@pytest.mark.parametrize("seconds", [0.0, 3.0, 600.0])
def test_what_is_due_is_looked_at_then_and_not_later(seconds: float) -> None:
    """No jitter: access that ends is to end in time."""
    queue, looks = WorkQueue[str](), Looks(Next(due=seconds), Next())
    play(queue, looks, once(queue, HOUR))
    assert looks.at == pytest.approx([0.0, seconds])


def test_of_what_is_due_and_another_look_the_earlier_comes_first() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(after=60.0, due=5.0), Next())
    play(queue, looks, once(queue, HOUR))
    assert looks.at == pytest.approx([0.0, 5.0])
    queue, looks = WorkQueue[str](), Looks(Next(after=10.0, due=3000.0), Next())
    play(queue, looks, once(queue, 2 * HOUR))
    assert len(looks.at) == 2
    assert 10.0 <= looks.at[1] <= 12.0


def test_what_fails_is_looked_at_in_time_all_the_same() -> None:
    """The pause after many failures may be longer than what is left."""
    failed = Next(failed=True)
    queue, looks = WorkQueue[str](), Looks(*[failed] * 8, Next(failed=True, due=1.0), Next())
    play(queue, looks, once(queue, HOUR))
    assert len(looks.at) == 10
    assert looks.pauses[-1] == pytest.approx(1.0)
    assert looks.pauses[-2] > 30.0


def test_not_before_a_service_s_own_time_unless_it_is_due() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(after=30.0, failed=True, due=4.0), Next())
    play(queue, looks, once(queue, HOUR))
    assert looks.at == pytest.approx([0.0, 4.0])


def test_news_does_not_wait_for_what_is_due() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(due=100.0), Next())

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(10)
        queue.add("a")
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.at == pytest.approx([0.0, 10.0])


def test_news_while_it_is_worked_on_counts_before_what_is_due() -> None:
    """The look right after says anew when it is due."""
    queue, looks = WorkQueue[str](), Looks(Next(due=50.0), Next(due=20.0), Next(), takes=1.0)

    async def script() -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        await asyncio.sleep(HOUR)

    play(queue, looks, script)
    assert looks.at == pytest.approx([0.0, 1.0, 22.0])


def test_what_is_due_again_and_again_is_no_failure() -> None:
    queue, looks = WorkQueue[str](), Looks(Next(due=600.0))
    play(queue, looks, once(queue, DAY))
    assert set(looks.pauses) == {600.0}
