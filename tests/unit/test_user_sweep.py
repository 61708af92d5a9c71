"""The round over users: who is looked at because of it, how often it asks, and that no change is lost."""

from typing import Any

import pytest

from entra_access.adapters.graph_delta import USERS, DirectoryChanges
from entra_access.api.names import POLICY
from entra_access.domain.faults import Changed, Fault, Missing, Rejected, Unavailable
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.user_sweep import MEMBER_ROUNDS, UserSweep
from unit.builders import AT, guid

HOURS = 3600.0


def key(policy: str) -> Key:
    """The key of a policy."""
    return Key(POLICY.kind, None, policy)


class Users:
    """Answers delta queries over all users. `faults`: the next questions fail with these."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.faults: list[Fault] = []
        self.asked: list[str] = []

    async def begin_users(self) -> DirectoryChanges:
        self._ask("begin")
        return DirectoryChanges(frozenset(), str(len(self.changes)))

    async def follow(self, kind: str, link: str) -> DirectoryChanges:
        assert kind == USERS
        self._ask("follow")
        new = self.changes[int(link) :]
        ids, names = ({one for one in new if ("@" in one) is named} for named in (False, True))
        return DirectoryChanges(frozenset(ids), str(len(self.changes)), frozenset(names))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.faults:
            raise self.faults.pop()


class World:
    """Policies that name users, and the round. `subject`: one of them has a user as its subject."""

    def __init__(self, *, subject: bool = True) -> None:
        self.users, self.cache = Users(), WatchCache()
        self.due: dict[Key, float] = {}
        delta: Any = self.users
        self.blindness = Blindness(self.due.__setitem__, lambda: AT, 0)
        self.sweep = UserSweep(self.cache, delta, self.due.__setitem__, self.blindness, HOURS)
        self.name("a", guid("ann"), "ann@contoso.example")
        self.name("b", guid("bob"), "bob@contoso.example", guid("ann"))
        if subject:
            self.name("u", guid("uma"))
            self._give_subject("u", guid("uma"))

    def name(self, policy: str, *users: str) -> None:
        """A policy names users."""
        self.cache.users.put(key(policy), frozenset(users))

    def _give_subject(self, policy: str, user: str) -> None:
        subject = {"kind": "User", "objectId": user, "displayName": policy, "principalType": "User"}
        subject |= {"reference": f"user objectId {user}", "origin": "Existing"}
        metadata = {"name": policy, "uid": policy, "resourceVersion": "1", "generation": 1}
        spec = {"subject": {"user": {"objectId": user}}}
        self.cache.put(POLICY, {"metadata": metadata, "spec": spec, "status": {"subject": subject}})

    async def look(self, *changes: str) -> set[str]:
        """A round, after these users have changed. Returns the policies that are to be looked at."""
        self.due.clear()
        self.users.asked.clear()
        self.users.changes += changes
        await self.sweep.look()
        return {one.name for one in self.due}


async def test_who_names_anybody_is_looked_at_once_more_when_it_begins() -> None:
    """They may have changed after that policy looked at them, and before they were asked for."""
    world = World()
    assert await world.look() == {"a", "b", "u"}
    assert all(0 <= wait <= HOURS / 2 for wait in world.due.values()), "no rush on Graph"
    assert world.users.asked == ["begin"]
    assert await world.look() == set()
    assert world.users.asked == ["follow"]


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        (guid("ann"), {"a", "b"}),
        ("bob@contoso.example", {"b"}),
        (guid("uma"), {"u"}),
        (guid("stranger"), set()),
        ("stranger@contoso.example", set()),
    ],
    ids=["by id", "by name: somebody has come who was waited for", "a subject", "a stranger", "one who came"],
)
async def test_who_names_somebody_who_has_changed_is_looked_at_at_once(
    change: str, concerned: set[str]
) -> None:
    world = World()
    await world.look()
    assert await world.look(change) == concerned
    assert set(world.due.values()) <= {0.0}
    assert await world.look() == set(), "it is told once"


async def test_while_users_are_only_members_they_are_asked_for_now_and_then() -> None:
    """With the first question at once: nothing before it is told."""
    world = World(subject=False)
    assert await world.look() == {"a", "b"}
    asked = []
    for _ in range(2 * MEMBER_ROUNDS):
        await world.look()
        asked.append(len(world.users.asked))
    assert asked == 2 * [*(MEMBER_ROUNDS - 1) * [0], 1]


@pytest.mark.parametrize(
    "fault", [Changed("too old"), Missing("unknown"), Rejected("no good")], ids=lambda one: one.reason
)
async def test_a_link_that_is_too_old_has_all_of_them_looked_at(fault: Fault) -> None:
    """What has changed since nobody can say any more."""
    world = World()
    await world.look()
    world.users.faults = [fault]
    assert await world.look() == {"a", "b", "u"}
    assert world.users.asked == ["follow", "begin"]
    assert await world.look(guid("uma")) == {"u"}


@pytest.mark.parametrize("subject", [True, False], ids=["a subject", "members only"])
async def test_a_round_that_fails_is_made_again_in_the_next_and_loses_no_change(*, subject: bool) -> None:
    """That it is not known whether anything has changed is told, and when it is known again."""
    world = World(subject=subject)
    everybody = await world.look()
    for _ in range(0 if subject else MEMBER_ROUNDS - 1):
        await world.look()
    world.users.faults = [Unavailable("down")]
    assert await world.look(guid("bob")) == everybody
    assert world.blindness.reason(key("b")) == "down"
    assert await world.look() == everybody
    assert world.due[key("b")] == 0.0
    assert world.blindness.reason(key("b")) == ""
    assert await world.look() == set()


async def test_where_nobody_names_users_nothing_is_asked() -> None:
    """And what is asked later goes on from there: who comes to name somebody has looked at them since."""
    world = World(subject=False)
    await world.look()
    world.name("a")
    world.name("b")
    assert await world.look() == set()
    assert world.users.asked == []
    world.name("b", guid("bob"))
    assert await world.look(guid("stranger")) == set()
    assert world.users.asked == ["follow"]


async def test_the_cache_forgets_the_users_of_a_policy_that_is_gone() -> None:
    world = World()
    world.cache.drop(POLICY, None, "u")
    assert world.cache.users.holders([guid("uma")]) == set()
    assert world.cache.subjects("User") == set()
