"""What is heard of Entra and Azure while a first pass is under way is not lost: it is looked at once more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from entra_access.adapters.graph_delta import DirectoryChanges
from entra_access.api.names import POLICY
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment
from entra_access.reconcile.azure_sweep import AzureSweep
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key
from entra_access.reconcile.news import News
from entra_access.reconcile.user_sweep import UserSweep
from unit.builders import AT, PLACE, SCOPE, guid
from unit.office import APPDEV, Office
from unit.worlds import A_USER, AKS_WRITER, ANNA, ANNA_ID, READER, ROBOT_ID, assigned

ROBOT: dict[str, Any] = {"servicePrincipal": {"appId": "app-of-robot"}}
SOMEBODY: dict[str, Any] = {"user": {"userPrincipalName": ANNA}}
OTHER = Key(POLICY.kind, None, "other")


class Users:
    """Tells of users who have changed."""

    def __init__(self) -> None:
        self.changed: list[str] = []

    async def begin_users(self) -> DirectoryChanges:
        return DirectoryChanges(frozenset(), str(len(self.changed)))

    async def follow(self, _: str, link: str) -> DirectoryChanges:
        return DirectoryChanges(frozenset(self.changed[int(link) :]), str(len(self.changed)))


class World(Office):
    """With rounds, which look because another policy is in place."""

    def __init__(self) -> None:
        super().__init__()
        self.users = Users()
        delta: Any = self.users
        blindness = Blindness(self._add, lambda: AT, 0)
        self.sweep = AzureSweep(PLACE, self.cache, self.azure, self._add, blindness, 600)
        self.user_sweep = UserSweep(self.cache, delta, self._add, blindness, 600)

    def _add(self, key: Key, _: float) -> None:
        self.due.add(key)

    async def begin(self, subject: dict[str, Any]) -> None:
        """Another policy is in place, and the rounds go."""
        self.apply(POLICY, OTHER.name, {"subject": subject, "clusterRoles": ["view"]})
        await self.look(OTHER, times=4)
        await self.round()

    async def round(self) -> None:
        await self.sweep.look()
        self.user_sweep._pauses = 0
        await self.user_sweep.look()

    async def while_(self, reading: str, then: Callable[[], Awaitable[None]]) -> None:
        """One pass over the policy; what is to be done is done right after that reading."""
        real, asked = getattr(self, reading), False

        async def read(*args: Any, **more: Any) -> Any:
            nonlocal asked
            found = await real(*args, **more)
            if not asked:
                asked = True
                await asyncio.sleep(0.01)  # the readings beside it
                setattr(self, reading, real)
                await then()
            return found

        setattr(self, reading, read)
        self.due.clear()
        await self.look()
        assert asked


def given_by_another_hand(world: World, role: str = READER) -> Assignment:
    theirs = assigned(role, ROBOT_ID, SCOPE, name=guid("x"), description="")
    world.given[assignment_id(SCOPE, theirs.name).lower()] = theirs
    return theirs


async def test_an_assignment_that_another_hand_takes_away_is_given_by_us() -> None:
    world = World()
    given_by_another_hand(world)
    await world.begin(SOMEBODY)
    world.policy(ROBOT, azureRoles=[{"role": READER}])

    async def taken() -> None:
        world.given.clear()
        await world.round()

    await world.while_("principal", taken)
    assert (world.given, APPDEV in world.due) == ({}, True)
    await world.look()
    assert len(world.given) == 1


async def test_an_assignment_that_nobody_declared_is_told() -> None:
    """Though no status says yet who the subject is."""
    world = World()
    await world.begin(SOMEBODY)
    world.policy(ROBOT, azureRoles=[{"role": READER}])

    async def given() -> None:
        given_by_another_hand(world, AKS_WRITER)
        await world.round()

    await world.while_("principal", given)
    assert APPDEV in world.due


async def test_a_user_who_is_deleted_is_looked_at_once_more() -> None:
    world = World()
    await world.begin(ROBOT)
    world.cache.users.put(OTHER, frozenset({"somebody"}))
    await world.round()
    world.policy(SOMEBODY, azureRoles=[{"role": READER}])

    async def deleted() -> None:
        world.people.remove(A_USER)
        world.users.changed.append(ANNA_ID)
        await world.round()

    await world.while_("principal", deleted)
    assert APPDEV in world.due


async def test_a_user_of_whom_nobody_was_asked_before_is_looked_at_once_more() -> None:
    """What has become of users before the rounds ask for them is told by nothing."""
    world = World()
    await world.begin(ROBOT)
    world.cache.users.put(OTHER, frozenset({"somebody"}))
    world.policy(SOMEBODY, azureRoles=[{"role": READER}])
    await world.while_("principal", world.round)
    assert APPDEV in world.due


async def test_what_is_heard_of_others_is_no_reason() -> None:
    world = World()
    await world.begin(SOMEBODY)
    world.policy(ROBOT, azureRoles=[{"role": READER}])

    async def others() -> None:
        theirs = assigned(READER, guid("stranger"), SCOPE, name=guid("x"), description="")
        world.given[assignment_id(SCOPE, theirs.name).lower()] = theirs
        world.users.changed.append(guid("stranger"))
        await world.round()

    await world.while_("principal", others)
    assert APPDEV not in world.due


@pytest.mark.parametrize(
    ("heard", "told"),
    [([], False), ([{"other"}], False), ([{"other"}, {"ONE"}, {"other"}], True), ([{"x"}] * 4, True)],
    ids=["nothing", "of others", "of one", "more than is remembered"],
)
def test_news_since_a_mark(heard: list[set[str]], *, told: bool) -> None:
    news = News(kept=3)
    news.heard({"one"})
    mark = news.mark()
    for ids in heard:
        news.heard(ids)
    assert news.since(mark, {"One", "two"}) is told
    assert not news.since(news.mark(), {"one"})
