"""What one resource does in Azure is told to those whom it concerns: to the rounds it is no news."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from entra_access.adapters.graph_delta import DirectoryChanges
from entra_access.api.names import GRANT, POLICY
from entra_access.domain.faults import Unavailable
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key
from entra_access.reconcile.group_sweep import GroupSweep
from unit.builders import AT
from unit.office import APPDEV
from unit.test_heard_meanwhile import OTHER, ROBOT, SOMEBODY, World, given_by_another_hand
from unit.worlds import A_TEAM, AKS_READER, AKS_WRITER, READER, TEAM_ID

WISH: dict[str, Any] = {"azureRoles": [{"role": READER}]}
TEAM: dict[str, Any] = {"existingGroup": {"objectId": TEAM_ID}}


def then(world: World, write: str, do: Callable[[], Awaitable[None]], *, before: bool) -> None:
    """Have something done right before or after the next write of that name."""
    real = getattr(world, write)

    async def writes(*args: Any, **more: Any) -> Any:
        setattr(world, write, real)
        if before:
            await do()
        done = await real(*args, **more)
        if not before:
            await do()
        return done

    setattr(world, write, writes)


async def observed_and_enforced() -> World:
    """The policy observes; another one wants the same, and has it."""
    world = World()
    world.policy(ROBOT, mode="Observe", **WISH)
    await world.look(times=3)
    assert world.status().drift["state"] == "Drifted"
    world.apply(POLICY, OTHER.name, {"subject": ROBOT, **WISH})
    await world.look(OTHER, times=3)
    return world


async def test_who_observes_is_told_that_another_gave_it() -> None:
    world = await observed_and_enforced()
    assert APPDEV in world.due
    await world.look()
    assert world.status().drift["state"] == "InSync"


async def test_who_observes_is_told_that_another_put_it_right() -> None:
    """Though it has seen the drift first."""
    world = await observed_and_enforced()
    await world.look()
    await world.round()
    world.given.clear()
    await world.round()
    await world.look()
    assert world.status().drift["state"] == "Drifted"
    world.due.clear()
    await world.look(OTHER)
    assert APPDEV in world.due


async def test_who_reports_is_told_that_another_removed_what_nobody_declared() -> None:
    world = World()
    world.policy(ROBOT, **WISH)
    await world.look(times=3)
    spec = {"subject": ROBOT, **WISH, "foreignAssignments": "Remove"}
    world.apply(POLICY, OTHER.name, spec)
    await world.look(OTHER, times=3)
    given_by_another_hand(world, AKS_WRITER)
    await world.round()
    await world.look()
    assert "Drifted" in [one.type for one in world.status().conditions]
    world.due.clear()
    await world.look(OTHER)
    assert len(world.given) == 1
    assert APPDEV in world.due


async def test_a_policy_that_looks_while_its_grant_goes_is_told_when_it_is_gone() -> None:
    """In between nobody declares the assignment."""
    world = World()
    world.namespace("dev")
    world.policy(ROBOT, grants={"namespaces": {}, "azureRoles": [AKS_READER]})
    await world.look(times=4)
    grant = world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": [AKS_READER]}, "dev")
    await world.look(grant, times=3)
    await world.look()

    async def looked() -> None:
        await world.look()

    then(world, "unassign", looked, before=True)
    world.delete(grant)
    world.due.clear()
    await world.look(grant)
    assert APPDEV in world.due
    await world.look()
    assert world.status().drift["state"] == "InSync"


async def test_who_removes_looks_again_though_the_last_has_spoken_meanwhile() -> None:
    """When it was planned it was not known yet what that one wants."""
    world = World()
    world.policy(ROBOT, **WISH, foreignAssignments="Remove")
    await world.look(times=4)
    given_by_another_hand(world, AKS_WRITER)
    await world.round()
    new = world.apply(POLICY, "new", {"subject": SOMEBODY, "clusterRoles": ["view"]})

    async def speaks() -> None:
        await world.look(new, times=3)

    then(world, "apply_status", speaks, before=False)
    answer = await world.look()
    assert len(world.given) == 2
    assert answer.due is not None
    assert answer.due < 60
    await world.look()
    assert len(world.given) == 1


async def test_a_policy_that_goes_while_it_is_looked_at_wants_nothing_any_more() -> None:
    """Or what it wanted would never be taken away from anybody."""
    world = World()
    world.apply(POLICY, OTHER.name, {"subject": ROBOT, **WISH})
    await world.look(OTHER, times=4)
    world.policy(ROBOT, mode="Observe", **WISH)

    async def gone() -> None:
        world.cache.drop(POLICY, None, APPDEV.name)

    await world.while_("principal", gone)
    assert world.cache.azure_claims.of(APPDEV) == frozenset()
    world.apply(POLICY, OTHER.name, {"subject": ROBOT, "azureRoles": []})
    await world.look(OTHER, times=3)
    assert world.given == {}


class Groups:
    """Tells of groups that have changed."""

    def __init__(self) -> None:
        self.changed: list[str] = []

    async def begin_groups(self, _: set[str]) -> DirectoryChanges:
        return DirectoryChanges(frozenset(), str(len(self.changed)))

    async def follow(self, _: str, link: str) -> DirectoryChanges:
        return DirectoryChanges(frozenset(self.changed[int(link) :]), str(len(self.changed)))


async def test_a_group_that_another_policy_has_too_is_looked_at_once_more() -> None:
    """It is asked for already when the policy looks at it for the first time."""
    world, groups = World(), Groups()
    delta: Any = groups
    sweep = GroupSweep(world.cache, delta, world._add, Blindness(world._add, lambda: AT, 0), 600)
    world.apply(POLICY, OTHER.name, {"subject": TEAM, "clusterRoles": ["view"]})
    await world.look(OTHER, times=4)
    await sweep.look()
    await sweep.look()
    world.policy(TEAM, **WISH)

    async def deleted() -> None:
        world.people.remove(A_TEAM)
        groups.changed.append(TEAM_ID)
        await sweep.look()

    await world.while_("principal", deleted)
    assert APPDEV in world.due


@pytest.mark.parametrize("still", [True, False], ids=["concerned", "not any more"])
def test_blindness_ends_for_who_has_nothing_to_do_with_it(*, still: bool) -> None:
    told: set[Key] = set()
    blindness = Blindness(lambda key, _: told.add(key), lambda: AT, 0)
    fault = Unavailable("down")
    blindness.failed("list", fault, {APPDEV, OTHER})
    told.clear()
    blindness.failed("list", fault, {APPDEV, OTHER} if still else {OTHER})
    assert blindness.reason(OTHER) == "down"
    assert (blindness.reason(APPDEV), told) == (("down", set()) if still else ("", {APPDEV}))
