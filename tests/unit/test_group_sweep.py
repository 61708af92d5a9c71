"""The round over groups: who is looked at because of it, and that no change falls between two questions."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from entra_access.adapters.graph_delta import GROUPS, MAX_IDS, DirectoryChanges
from entra_access.api.names import POLICY
from entra_access.domain.faults import Changed, Fault, Missing, Rejected, Unavailable
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.group_sweep import GroupSweep
from unit.builders import AT, guid

HOURS = 3600.0


class Directory:
    """Answers delta queries: what has changed since a link was given, of those that it was begun for.

    `too_old`: what following an old link fails with; `faults`: the next answers fail with these; `meanwhile`:
    called with each question when it was answered.
    """

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.links: dict[str, tuple[frozenset[str], int]] = {}
        self.too_old: Fault | None = None
        self.faults: list[Fault] = []
        self.meanwhile: Callable[[str], None] = lambda _: None
        self.asked: list[tuple[str, int]] = []

    def change(self, name: str) -> None:
        """Somebody changes an object."""
        self.changes.append(guid(name))

    async def begin_groups(self, ids: Iterable[str]) -> DirectoryChanges:
        self._ask("begin", wanted := frozenset(ids))
        answer = DirectoryChanges(wanted, self._link(wanted))
        self.meanwhile("begin")
        return answer

    async def follow(self, kind: str, link: str) -> DirectoryChanges:
        assert kind == GROUPS
        wanted, since = self.links[link]
        self._ask("follow", wanted)
        if self.too_old:
            raise self.too_old
        answer = DirectoryChanges(wanted & set(self.changes[since:]), self._link(wanted))
        self.meanwhile("follow")
        return answer

    def _ask(self, what: str, ids: frozenset[str]) -> None:
        assert 0 < len(ids) <= MAX_IDS
        self.asked.append((what, len(ids)))
        if self.faults:
            raise self.faults.pop()

    def _link(self, ids: frozenset[str]) -> str:
        link = f"link-{len(self.links)}"
        self.links[link] = ids, len(self.changes)
        return link


class World:
    """Policies that have their subject, and the round."""

    def __init__(self, *names: str) -> None:
        self.directory, self.cache, self.version = Directory(), WatchCache(), 0
        self.due: dict[Key, float] = {}
        delta: Any = self.directory
        blindness = Blindness(self.due.__setitem__, lambda: AT, 0)
        self.sweep = GroupSweep(self.cache, delta, self.due.__setitem__, blindness, HOURS)
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        """A policy has found its subject, which is called as it is."""
        self.version += 1
        form = {"group": {"displayName": name}}
        subject = {"kind": "Group", "objectId": guid(name), "displayName": name, "principalType": "Group"}
        metadata = {"name": name, "uid": name, "resourceVersion": str(self.version), "generation": 1}
        self.cache.put(
            POLICY, {"metadata": metadata, "spec": {"subject": form}, "status": {"subject": subject}}
        )

    def leave(self, name: str) -> None:
        """The policy is gone."""
        self.cache.drop(POLICY, None, name)

    async def look(self) -> set[str]:
        """A round. Returns the policies that are to be looked at."""
        self.due.clear()
        self.directory.asked.clear()
        await self.sweep.look()
        return {key.name for key in self.due}


async def test_who_is_asked_for_the_first_time_is_looked_at_once_more() -> None:
    """It may have changed after its policy looked at it, and before it was asked for."""
    world = World("a", "b")
    assert await world.look() == {"a", "b"}
    assert all(0 <= wait <= HOURS / 2 for wait in world.due.values()), "no rush on Graph"
    assert await world.look() == set()


async def test_who_has_changed_is_looked_at_at_once_and_nobody_else() -> None:
    world = World("a", "b", "c")
    await world.look()
    world.directory.change("b")
    assert await world.look() == {"b"}
    assert list(world.due.values()) == [0.0]
    assert world.directory.asked == [("follow", 3)]
    assert await world.look() == set(), "it is told once"


async def test_who_joins_is_looked_at_alone() -> None:
    """All of them are asked for anew, but only of the new one nothing is known."""
    world = World("a", "b")
    await world.look()
    world.join("c")
    assert await world.look() == {"c"}
    assert world.directory.asked == [("begin", 3), ("follow", 2)]
    assert await world.look() == set()


async def test_who_changes_while_another_joins_is_not_missed() -> None:
    world = World("a", "b")
    await world.look()
    world.directory.change("a")
    world.join("c")
    assert await world.look() == {"a", "c"}


@pytest.mark.parametrize("between", ["begin", "follow"])
async def test_what_changes_between_two_questions_is_told_in_this_round_or_the_next(between: str) -> None:
    world = World("a", "b")
    await world.look()
    world.join("c")

    def changes(question: str) -> None:
        if question == between:
            world.directory.change("b")
            world.directory.meanwhile = lambda _: None

    world.directory.meanwhile = changes
    assert "b" in await world.look() | await world.look()
    assert await world.look() == set()


async def test_who_is_new_and_has_changed_already_is_told_of_like_the_others() -> None:
    world = World("a")
    await world.look()
    world.join("b")
    await world.look()
    world.directory.change("b")
    assert await world.look() == {"b"}


@pytest.mark.parametrize(
    "fault", [Changed("too old"), Missing("unknown"), Rejected("no good")], ids=lambda one: one.reason
)
async def test_a_link_that_is_too_old_has_all_of_them_looked_at(fault: Fault) -> None:
    """What has changed since nobody can say any more."""
    world = World("a", "b")
    await world.look()
    world.directory.too_old = fault
    assert await world.look() == {"a", "b"}
    world.directory.too_old = None
    assert await world.look() == set()
    world.directory.change("a")
    assert await world.look() == {"a"}


async def test_a_link_that_is_too_old_while_somebody_joins_is_begun_once() -> None:
    world = World("a", "b")
    await world.look()
    world.join("c")
    world.directory.too_old = Changed("too old")
    assert await world.look() == {"a", "b", "c"}
    assert [what for what, _ in world.directory.asked] == ["begin", "follow"]


async def test_a_round_that_fails_loses_no_change() -> None:
    """That it is not known whether anything has changed is told, and when it is known again."""
    world = World("a", "b")
    await world.look()
    world.directory.change("b")
    world.directory.faults = [Unavailable("down")]
    assert await world.look() == {"a", "b"}
    assert await world.look() == {"a", "b"}
    assert world.due[Key(POLICY.kind, None, "b")] == 0.0
    assert await world.look() == set()


async def test_a_newcomer_whose_first_question_fails_is_still_one() -> None:
    world = World("a")
    await world.look()
    world.join("b")
    world.directory.faults = [Unavailable("down")]
    await world.look()
    await world.look()
    world.directory.change("b")
    assert await world.look() == {"b"}


async def test_who_leaves_is_not_looked_at_and_who_comes_back_is_new() -> None:
    world = World("a", "b")
    await world.look()
    world.leave("b")
    world.directory.change("b")
    assert await world.look() == set()
    world.join("b")
    assert await world.look() == {"b"}


async def test_groups_are_asked_for_fifty_at_a_time() -> None:
    names = {f"g{number}" for number in range(MAX_IDS + 1)}
    world = World(*names)
    assert await world.look() == names
    assert sorted(world.directory.asked) == [("begin", 1), ("begin", MAX_IDS)]
    world.directory.change("g7")
    assert await world.look() == {"g7"}


async def test_without_subjects_nothing_is_asked() -> None:
    world = World("a")
    await world.look()
    world.leave("a")
    assert await world.look() == set()
    assert world.directory.asked == []
