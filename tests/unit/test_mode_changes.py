"""The mode changes while a pass looks at Azure: nothing is written that nobody would take away again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, GRANT, POLICY
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment
from entra_access.reconcile.cache import Key
from unit.builders import SCOPE
from unit.office import APPDEV, Office
from unit.worlds import AKS_READER, AKS_USER, READER, TEAM_ID, assigned

TEAM = {"existingGroup": {"objectId": TEAM_ID}}
WORK = Key(GRANT.kind, "dev", "work")
SPEC: dict[str, Any] = {
    "azureRoles": [{"role": AKS_USER}],
    "clusterRoles": ["view"],
    "grants": {"namespaces": {}, "clusterRoles": ["view"], "azureRoles": [AKS_READER]},
}


class Slow(Office):
    """While Azure lists assignments, `meanwhile` is called once; then the list takes a while to come."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None
        self.namespace("dev")
        self.cache.put(CLUSTER_ROLE, {"metadata": {"name": "view", "uid": "view", "resourceVersion": "1"}})

    def wish(self, mode: str, **changes: Any) -> None:
        """The policy is written; whoever waits for Azure hears of the news as from the watch."""
        self.policy(TEAM, mode=mode, **(SPEC | changes))
        for key in (APPDEV, WORK):
            self.reconciler.notice(key)

    def grant(self) -> None:
        wish = {"policyRef": {"name": "appdev"}, "clusterRoles": ["view"], "azureRoles": [AKS_READER]}
        self.apply(GRANT, "work", wish, "dev")

    async def assignments(self, scope: str, *, below: bool) -> tuple[Assignment, ...]:
        if self.meanwhile:
            self.meanwhile()
            self.meanwhile = None
            for _ in range(50):
                await asyncio.sleep(0)
        return await super().assignments(scope, below=below)

    def wrote(self) -> list[str]:
        """What was written, but for statuses."""
        return [name for name, _ in self.writes if name != "status"]


def finalizers(world: Office, key: Key) -> list[str]:
    found: list[str] = world.body(key)["metadata"].get("finalizers", [])
    return found


async def test_a_policy_that_is_enforced_while_it_is_looked_at_waits_for_the_next_pass() -> None:
    """Whether there must be a finalizer was decided before: deleted now, nobody would take anything away."""
    world = Slow()
    world.wish("Observe")
    world.meanwhile = lambda: world.wish("Enforce")
    await world.look()
    assert world.wrote() == []
    assert world.status().mode == "Observe"
    await world.look()
    assert world.wrote()[0] == "finalizers"
    assert (len(world.given), len(world.objects)) == (1, 1)


async def test_so_does_a_grant_whose_policy_is_enforced_meanwhile() -> None:
    """Its bindings too, which wait for no answer of Azure."""
    world = Slow()
    world.wish("Enforce")
    await world.look(times=2)
    world.wish("Observe")
    await world.look()
    world.grant()
    world.writes.clear()
    world.meanwhile = lambda: world.wish("Enforce")
    await world.look(WORK)
    assert world.wrote() == []
    assert finalizers(world, WORK) == []
    await world.look(WORK)
    assert world.wrote()[0] == "finalizers"
    assert len(finalizers(world, WORK)) == 1
    assert sorted(world.wrote()) == ["assign", "child", "finalizers"]


@pytest.mark.parametrize("key", [APPDEV, WORK], ids=str)
async def test_what_is_only_observed_from_now_on_is_not_written_in_this_pass(key: Key) -> None:
    world = Slow()
    world.wish("Enforce")
    await world.look(times=2)
    world.grant()
    await world.look(WORK, times=2)
    world.given.clear()
    world.objects.clear()
    world.writes.clear()
    world.meanwhile = lambda: world.wish("Observe")
    await world.look(key)
    assert "assign" not in world.wrote()
    assert world.status(key).mode == "Observe"


async def test_who_only_observes_takes_nothing_over_and_does_not_say_so() -> None:
    """Else it would count as taken over when the policy is enforced, whatever it says then."""
    world = Slow()
    by_hand = assigned(READER, TEAM_ID, name="by-hand", description="")
    world.given[assignment_id(SCOPE, "by-hand").lower()] = by_hand
    roles = [{"role": READER}]
    world.wish("Observe", azureRoles=roles, adoptionPolicy="Always")
    await world.look(times=2)
    assert [one for one in world.status().inventory if one.adopted] == []
    world.wish("Enforce", azureRoles=[], adoptionPolicy="Never")
    await world.look(times=2)
    assert world.written("unassign") == []
    world.wish("Enforce", azureRoles=roles, adoptionPolicy="Always")
    await world.look()
    assert [one.id for one in world.status().inventory if one.adopted] == [assignment_id(SCOPE, "by-hand")]
    world.wish("Observe", azureRoles=roles, adoptionPolicy="Always")
    await world.look()
    assert len([one for one in world.status().inventory if one.adopted]) == 1, "what was taken over stays so"


async def test_a_policy_that_is_deleted_while_it_was_about_to_be_enforced_leaves_nothing() -> None:
    world = Slow()
    world.wish("Observe")
    world.meanwhile = lambda: world.wish("Enforce")
    await world.look()
    world.cache.drop(POLICY, None, "appdev")
    await world.look()
    assert (world.given, world.objects) == ({}, {})
