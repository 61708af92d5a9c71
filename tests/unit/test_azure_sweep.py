"""The round over Azure: each list is read whatever becomes of the others, and the right ones hear of it."""

from collections.abc import Iterable
from typing import Any

import pytest

from entra_access.api.names import POLICY
from entra_access.api.resources import CustomRole
from entra_access.api.status import Item
from entra_access.domain.definition_plan import assignable, definition_item, wished_definition
from entra_access.domain.faults import Missing, Unavailable
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
        self.missing: set[str] = set()
        self.hidden: set[str] = set()
        self.unreadable: set[str] = set()
        self.listed: list[str] = []

    async def assignments(self, scope: str, *, below: bool) -> tuple[Assignment, ...]:
        self._list(scope)
        at = scope.lower()
        return tuple(
            one for one in self.given if one.scope.lower() == at or (below and PLACE.within(one.scope))
        )

    async def assignment(self, scope: str, name: str) -> Assignment | None:
        return next((one for one in self.given if (one.scope, one.name) == (scope, name)), None)

    async def custom_definitions(self, scope: str) -> tuple[Definition, ...]:
        self._list("roles" if scope == SCOPE else f"roles at {scope}")
        hidden = self.hidden if scope == SCOPE else set()
        return tuple(one for one in self.roles.values() if assignable(one, scope) and one.guid not in hidden)

    async def role_id(self, name: str, _: str) -> str | None:
        return next((one.guid for one in self.roles.values() if one.name == name), None)

    async def definition(self, scope: str, guid: str) -> Definition | None:
        self.listed.append(f"one role at {scope}")
        if guid in self.unreadable:
            raise Unavailable("down")
        return self.roles.get(guid)

    def _list(self, what: str) -> None:
        self.listed.append(what)
        if what in self.fails:
            raise Unavailable("down")
        if what in self.missing:
            raise Missing(what)


class World:
    """A policy with an assignment at the cluster, one with one far from it, and one with a custom role."""

    def __init__(self) -> None:
        self.azure, self.cache, self.version = Azure(), WatchCache(), 0
        self.due: set[Key] = set()
        arm: Any = self.azure
        self.reader = AzureReader(PLACE, arm, 0.0, changed=self._tell)

        def add(key: Key, _: float) -> None:
            self.due.add(key)

        self.blindness = Blindness(add, lambda: AT, 0)
        self.sweep = AzureSweep(PLACE, self.cache, self.reader, add, self.blindness, 600)
        self.policy("here", line(READER, guid("here")))
        self.policy("away", line(READER, guid("away"), FAR))
        self.policy("roles", definition_item(MADE, BEFORE), {"name": ROLE.name})

    def policy(
        self,
        name: str,
        made: Item,
        *roles: dict[str, Any],
        azure_roles: Iterable[dict[str, str]] = (),
        found: bool = True,
    ) -> None:
        """A policy that has its subject, unless that is not found, and has made something."""
        subject = {"servicePrincipal": {"objectId": guid(name)}}
        who = {"kind": "User", "objectId": guid(name), "displayName": name, "origin": "Existing"}
        who |= {"principalType": "ServicePrincipal", "reference": f"servicePrincipal objectId {guid(name)}"}
        self.version += 1
        metadata = {"name": name, "uid": name, "resourceVersion": str(self.version), "generation": 1}
        spec = {"subject": subject, "customRoles": list(roles), "azureRoles": list(azure_roles)}
        status = {"subject": who if found else None, "inventory": [made.as_dict()]}
        self.cache.put(POLICY, {"metadata": metadata, "spec": spec, "status": status})

    def _tell(self, those: list[Assignment]) -> None:
        self.due |= concerned(self.cache, those)

    async def pass_(self, *roles: CustomRole) -> None:
        """What a pass of the policy with custom roles looks at."""
        await self.reader.definitions(roles or (ROLE,), "roles", ())

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
    await world.pass_()
    await world.look()
    world.azure.fails = {failing}
    await world.look()
    world.azure.given.clear()
    world.azure.roles.clear()
    assert await world.look() == told
    assert {SCOPE, FAR, "roles"} <= set(world.azure.listed)


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
    await world.pass_()
    await world.look()
    world.azure.roles[MADE.guid] = Definition(MADE.guid, MADE.name, "changed")
    world.azure.roles[guid("theirs")] = Definition(guid("theirs"), "theirs")
    assert await world.look() == {ROLES}


async def test_a_scope_is_listed_where_something_is_only_wished_for() -> None:
    """Another hand may give it there, and then no inventory has it."""
    world = World()
    theirs = assigned(READER, guid("here"), FAR, name="theirs")
    world.azure.given = [AT_CLUSTER, theirs]
    world.cache.drop(POLICY, None, "away")
    assert await world.look() == set()
    assert FAR not in world.azure.listed
    world.policy("here", line(READER, guid("here")), azure_roles=[{"role": READER, "scope": FAR.upper()}])
    await world.look()
    world.azure.given = [AT_CLUSTER]
    assert await world.look() == {HERE}


async def test_what_fails_again_and_again_is_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.azure.fails = {FAR}
    for _ in range(3):
        await world.look()
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [
        "a round was not finished, and is made again: down"
    ]
    world.azure.fails = set()
    await world.look()
    world.azure.fails = {FAR}
    await world.look()
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 2


async def test_what_is_assigned_to_nobody_of_ours_is_told_to_nobody() -> None:
    world = World()
    await world.look()
    world.azure.given.append(assigned(READER, guid("somebody"), name="x", description=""))
    assert await world.look() == set()
