"""The round over Azure: each list is read whatever becomes of the others, and the right ones hear of it."""

from typing import Any

import pytest

from entra_access.api.names import POLICY
from entra_access.api.resources import CustomRole
from entra_access.api.status import Item
from entra_access.domain.definition_plan import definition_item, wished_definition
from entra_access.domain.faults import Unavailable
from entra_access.domain.observed import Assignment, Definition
from entra_access.reconcile.azure_reader import AzureReader
from entra_access.reconcile.azure_sweep import AzureSweep, concerned
from entra_access.reconcile.blindness import Blindness
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import AT, BEFORE, PLACE, SCOPE, guid
from unit.worlds import FAR, READER, assigned, line

ROLE = CustomRole("Pod Restarter", "May delete pods")
MADE = wished_definition(ROLE, "roles", PLACE)
HERE, AWAY, ROLES = (Key(POLICY.kind, None, name) for name in ("here", "away", "roles"))
AT_CLUSTER, AT_FAR = assigned(READER, guid("here")), assigned(READER, guid("away"), FAR)


class Azure:
    """Lists what there is; `fails`: the lists that cannot be read, by scope, or ``roles``."""

    def __init__(self) -> None:
        self.given = [AT_CLUSTER, AT_FAR]
        self.roles: dict[str, Definition] = {MADE.guid: MADE}
        self.fails: set[str] = set()
        self.listed: list[str] = []

    async def assignments(self, scope: str, *, below: bool) -> tuple[Assignment, ...]:
        self._list(scope)
        return tuple(one for one in self.given if one.scope == scope or (below and PLACE.within(one.scope)))

    async def assignment(self, scope: str, name: str) -> Assignment | None:
        return next((one for one in self.given if (one.scope, one.name) == (scope, name)), None)

    async def custom_definitions(self, _: str) -> tuple[Definition, ...]:
        self._list("roles")
        return tuple(self.roles.values())

    def _list(self, what: str) -> None:
        self.listed.append(what)
        if what in self.fails:
            raise Unavailable("down")


class World:
    """A policy with an assignment at the cluster, one with one far from it, and one with a custom role."""

    def __init__(self) -> None:
        self.azure, self.cache = Azure(), WatchCache()
        self.due: set[Key] = set()
        arm: Any = self.azure
        reader = AzureReader(PLACE, arm, 0.0, changed=self._tell)
        blindness = Blindness(lambda key, _: self.due.add(key), lambda: AT, 0)
        self.sweep = AzureSweep(PLACE, self.cache, reader, self.due.add, blindness, 600)
        self.policy("here", line(READER, guid("here")))
        self.policy("away", line(READER, guid("away"), FAR))
        self.policy("roles", definition_item(MADE, BEFORE), {"name": ROLE.name})

    def policy(self, name: str, made: Item, *roles: dict[str, str]) -> None:
        """A policy that has its subject, and has made something."""
        subject = {"servicePrincipal": {"objectId": guid(name)}}
        who = {"kind": "User", "objectId": guid(name), "displayName": name, "origin": "Existing"}
        who |= {"principalType": "ServicePrincipal", "reference": f"servicePrincipal objectId {guid(name)}"}
        metadata = {"name": name, "uid": name, "resourceVersion": "1", "generation": 1}
        spec = {"subject": subject, "customRoles": list(roles)}
        status = {"subject": who, "inventory": [made.as_dict()]}
        self.cache.put(POLICY, {"metadata": metadata, "spec": spec, "status": status})

    def _tell(self, those: list[Assignment]) -> None:
        self.due |= concerned(self.cache, those)

    async def look(self) -> set[Key]:
        """A round. Returns who must be looked at."""
        self.due.clear()
        self.azure.listed.clear()
        await self.sweep.look()
        return self.due


async def test_at_rest_three_lists_are_read_and_nobody_is_looked_at() -> None:
    world = World()
    assert await world.look() == set()
    assert await world.look() == set()
    assert sorted(world.azure.listed) == sorted([SCOPE, FAR, "roles"])


@pytest.mark.parametrize(
    ("failing", "told"),
    [(SCOPE, {AWAY, ROLES}), (FAR, {HERE, ROLES}), ("roles", {HERE, AWAY})],
    ids=["the cluster", "far from it", "custom roles"],
)
async def test_what_one_list_cannot_tell_does_not_hide_what_the_others_do(
    failing: str, told: set[Key]
) -> None:
    world = World()
    await world.look()
    world.azure.fails = {failing}
    await world.look()
    world.azure.given.clear()
    world.azure.roles.clear()
    assert await world.look() == told
    assert sorted(world.azure.listed) == sorted([SCOPE, FAR, "roles"])


async def test_what_changed_while_a_list_failed_is_told_when_it_can_be_read_again() -> None:
    world = World()
    await world.look()
    world.azure.fails = {SCOPE}
    await world.look()
    world.azure.given = [AT_FAR]
    assert await world.look() == set()
    world.azure.fails = set()
    assert HERE in await world.look()
    assert await world.look() == set()


async def test_a_custom_role_that_another_hand_changed_is_told_to_its_policy_alone() -> None:
    world = World()
    await world.look()
    world.azure.roles[MADE.guid] = Definition(MADE.guid, MADE.name, "changed")
    world.azure.roles[guid("theirs")] = Definition(guid("theirs"), "theirs")
    assert await world.look() == {ROLES}


async def test_what_is_assigned_to_nobody_of_ours_is_told_to_nobody() -> None:
    world = World()
    await world.look()
    world.azure.given.append(assigned(READER, guid("somebody"), name="x", description=""))
    assert await world.look() == set()
