"""Who changes again and again what is put right is answered later each time, and told once."""

from entra_access.api.status import DriftItem, System
from entra_access.domain.changes import AddPrincipals, ApplyChild, Change, ReplaceChild
from entra_access.domain.difference import Difference, membership
from entra_access.domain.plan import Plan
from entra_access.reconcile.contests import (
    CALM,
    CONTESTED,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PATIENCE,
    Contests,
    Held,
)
from unit.builders import GROUP_ID, cluster_binding

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


def members(*names: str) -> tuple[AddPrincipals, Plan]:
    """A change that puts back members whom another hand took out."""
    change = AddPrincipals(GROUP_ID, "members", tuple(f"id-of-{name}" for name in names), names)
    found = [membership("appdev", "members", name, wished=True) for name in names]
    return change, Plan(
        (change,), differences=tuple(Difference(item, change, foreign=True) for item in found)
    )


def test_a_pause_counts_from_the_last_correction() -> None:
    contests, clock = contested(PATIENCE)
    clock.now += FIRST_PAUSE - 1
    (finding,) = contests.held("key", PLAN).findings
    assert finding.retry_after == 1.0
    contests.note("key", [ITEM])
    (finding,) = contests.held("key", PLAN).findings
    assert finding.retry_after == 2 * FIRST_PAUSE


def test_after_a_calm_it_is_patient_anew() -> None:
    contests, clock = contested(PATIENCE + 5)
    clock.now += CALM + 1
    for _ in range(PATIENCE):
        assert contests.held("key", PLAN) == Held()
        contests.note("key", [ITEM])
    assert contests.held("key", PLAN).changes


def test_what_goes_on_within_the_calm_goes_on_as_a_contest() -> None:
    """The longest pause must not pass for a calm."""
    contests, clock = contested(PATIENCE + 20)
    clock.now += LONGEST_PAUSE + 1
    assert contests.held("key", PLAN) == Held()
    contests.note("key", [ITEM])
    (finding,) = contests.held("key", PLAN).findings
    assert finding.retry_after == LONGEST_PAUSE


def test_nothing_else_of_the_plan_waits() -> None:
    contests, _ = contested(PATIENCE)
    other = ApplyChild(cluster_binding("edit"), None)
    more = ReplaceChild(other.child.ref, "uid")
    plan = Plan((MAKE_ROOM, APPLY, more, other), differences=PLAN.differences)
    assert set(contests.held("key", plan).changes) == {APPLY, MAKE_ROOM}


def test_several_members_at_once_are_one_correction() -> None:
    """Somebody who takes three people out once does not do it again and again."""
    contests, _ = contested(0)
    change, plan = members("a", "b", "c")
    assert change.ids
    contests.note("key", [one.item for one in plan.differences])
    assert contests.held("key", plan) == Held()
    assert not contests.contested("key", plan.differences[0].item)


def test_a_change_that_puts_several_things_right_is_held_once() -> None:
    """Each is counted as one that is not made."""
    contests, _ = contested(0)
    change, plan = members("a", "b", "c")
    for _ in range(PATIENCE):
        contests.note("key", [one.item for one in plan.differences])
    held = contests.held("key", plan)
    assert held.changes == (change,)
    assert len(held.findings) == 1


def test_somebody_newly_wished_for_does_not_wait_for_a_contest_about_others() -> None:
    contests, _ = contested(0)
    _, old = members("a")
    for _ in range(PATIENCE):
        contests.note("key", [one.item for one in old.differences])
    change, plan = members("a", "new")
    first, second = plan.differences
    assert (
        contests.held("key", Plan((change,), differences=(first, Difference(second.item, change)))) == Held()
    )
    assert contests.held("key", Plan((change,), differences=(first, second))).changes == (change,)


def test_what_is_only_told_of_is_no_contest() -> None:
    contests, _ = contested(PATIENCE)
    told: Change | None = None
    assert contests.held("key", Plan(differences=(Difference(ITEM, told, foreign=True),))) == Held()


def test_the_finding_names_the_object_the_field_and_the_hand() -> None:
    (finding,) = contested(PATIENCE)[0].held("key", PLAN).findings
    assert finding.message.startswith(f"{ITEM.object}: subjects is changed again and again by rival")
    contests, _ = contested(0)
    gone = DriftItem(System.KUBERNETES, ITEM.object, "", "present", "deleted")
    for _ in range(PATIENCE):
        contests.note("key", [gone])
    plan = Plan((APPLY,), differences=(Difference(gone, APPLY, foreign=True),))
    (finding,) = contests.held("key", plan).findings
    assert finding.message.startswith(f"{ITEM.object} is changed again and again by somebody")
