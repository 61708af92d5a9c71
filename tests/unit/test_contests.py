"""Who changes again and again what is put right is answered later each time, and told once."""

from entra_access.api.status import DriftItem, System
from entra_access.domain.changes import ApplyChild, ReplaceChild
from entra_access.domain.difference import Difference
from entra_access.domain.plan import Plan
from entra_access.reconcile.contests import CALM, CONTESTED, LONGEST_PAUSE, PATIENCE, Contests
from unit.builders import cluster_binding

BINDING = cluster_binding("view")
APPLY = ApplyChild(BINDING, None)
MAKE_ROOM = ReplaceChild(BINDING.ref, "uid")
ITEM = DriftItem(System.KUBERNETES, str(BINDING.ref), "subjects", "a", "b", "rival")
PLAN = Plan((MAKE_ROOM, APPLY), differences=(Difference(ITEM, APPLY, foreign=True),))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def contested(times: int) -> tuple[Contests[str], Clock]:
    clock = Clock()
    contests: Contests[str] = Contests(clock)
    for _ in range(times):
        contests.note("key", [ITEM])
    return contests, clock


def test_the_first_corrections_are_made_at_once() -> None:
    for times in range(PATIENCE):
        assert contested(times)[0].held("key", PLAN).changes == ()


def test_then_it_waits_with_what_makes_room_and_names_the_other() -> None:
    contests, clock = contested(PATIENCE)
    held = contests.held("key", PLAN)
    assert set(held.changes) == {APPLY, MAKE_ROOM}
    (finding,) = held.findings
    assert finding.reason == CONTESTED
    assert "rival" in finding.message
    assert finding.retry_after is not None
    clock.now += finding.retry_after + 0.1
    assert contests.held("key", PLAN).changes == ()


def test_pauses_grow_up_to_the_longest() -> None:
    pauses = []
    for times in range(PATIENCE, PATIENCE + 12):
        (finding,) = contested(times)[0].held("key", PLAN).findings
        pauses.append(finding.retry_after or 0.0)
    assert pauses == sorted(pauses)
    assert pauses[1] == 2 * pauses[0]
    assert pauses[-1] == LONGEST_PAUSE


def test_after_a_calm_it_is_no_contest_any_more() -> None:
    contests, clock = contested(PATIENCE + 5)
    clock.now += CALM + 1
    assert contests.held("key", PLAN).changes == ()
    assert not contests.contested("key", ITEM)


def test_a_new_wish_and_another_field_do_not_wait() -> None:
    contests, _ = contested(PATIENCE + 5)
    wish = Plan((APPLY,), differences=(Difference(ITEM, APPLY, foreign=False),))
    assert contests.held("key", wish).changes == ()
    other = DriftItem(System.KUBERNETES, ITEM.object, "metadata.labels[x]", "a", "b")
    assert (
        contests.held("key", Plan((APPLY,), differences=(Difference(other, APPLY, foreign=True),))).changes
        == ()
    )
    assert contests.held("another key", PLAN).changes == ()


def test_only_the_first_corrections_are_worth_an_event() -> None:
    assert not contested(PATIENCE)[0].contested("key", ITEM)
    assert contested(PATIENCE + 1)[0].contested("key", ITEM)


def test_a_resource_that_is_gone_is_forgotten() -> None:
    contests, _ = contested(PATIENCE)
    contests.forget("key")
    assert contests.held("key", PLAN).changes == ()
