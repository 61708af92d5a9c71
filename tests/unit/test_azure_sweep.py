"""The round over Azure: each list is read whatever becomes of the others, and the right ones hear of it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import POLICY
from entra_access.api.resources import CustomRole
from entra_access.api.status import Item
from entra_access.domain.definition_plan import assignable, definition_item, listed_at, wished_definition
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

    async def role_id(self, _: str, __: str) -> str | None:
        return None

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

        blindness = Blindness(add, lambda: AT, 0)
        self.sweep = AzureSweep(PLACE, self.cache, self.reader, add, blindness, 600)
        self.policy("here", line(READER, guid("here")))
        self.policy("away", line(READER, guid("away"), FAR))
        self.policy("roles", definition_item(MADE, BEFORE), {"name": ROLE.name})

    def policy(
        self, name: str, made: Item, *roles: dict[str, Any], azure_roles: Iterable[dict[str, str]] = ()
    ) -> None:
        """A policy that has its subject, and has made something."""
        subject = {"servicePrincipal": {"objectId": guid(name)}}
        who = {"kind": "User", "objectId": guid(name), "displayName": name, "origin": "Existing"}
        who |= {"principalType": "ServicePrincipal", "reference": f"servicePrincipal objectId {guid(name)}"}
        self.version += 1
        metadata = {"name": name, "uid": name, "resourceVersion": str(self.version), "generation": 1}
        spec = {"subject": subject, "customRoles": list(roles), "azureRoles": list(azure_roles)}
        status = {"subject": who, "inventory": [made.as_dict()]}
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


@pytest.mark.parametrize("made", [False, True], ids=["looked at", "made"])
async def test_what_becomes_of_a_custom_role_before_the_first_round_is_told_in_it(*, made: bool) -> None:
    """What a pass saw or wrote is what was known, and not what the round before showed."""
    world = World()
    if made:
        world.azure.roles.clear()
    await world.pass_()
    if made:
        world.reader.roles_made([MADE])
    world.azure.roles.clear()
    assert await world.look() == {ROLES}
    assert await world.look() == set()


async def test_an_old_list_tells_of_no_change() -> None:
    """It is asked for the role itself, until the list shows it."""
    world = World()
    world.azure.hidden = {MADE.guid}
    await world.pass_()
    assert await world.look() == set()
    assert f"one role at {PLACE.resource_group}" in world.azure.listed
    world.azure.hidden = set()
    assert await world.look() == set()
    assert f"one role at {PLACE.resource_group}" not in world.azure.listed


async def test_a_custom_role_that_cannot_be_looked_at_hides_no_other() -> None:
    """The other is told first; then the round says that it cannot see."""
    world = World()
    both = [replace(ROLE, name=name) for name in ("One", "Two")]
    one, two = (wished_definition(role, "roles", PLACE) for role in both)
    world.azure.roles = {one.guid: one, two.guid: two}
    world.policy("roles", definition_item(one, BEFORE), {"name": "One"}, {"name": "Two"})
    await world.pass_(*both)
    world.azure.roles.clear()
    world.azure.unreadable = {one.guid}
    assert await world.look() == {ROLES}
    assert await world.look() == {ROLES}
    assert await world.look() == set()
    world.azure.unreadable = set()
    assert await world.look() == {ROLES}


ELSEWHERE = replace(ROLE, name="Elsewhere", assignable_scopes=(FAR,))


async def test_a_custom_role_for_elsewhere_is_listed_there() -> None:
    """And only there; a scope that is gone is a change like any other, and no failure."""
    world = World()
    made = wished_definition(ELSEWHERE, "roles", PLACE)
    world.azure.roles[made.guid] = made
    spec = {"name": ELSEWHERE.name, "assignableScopes": [FAR]}
    world.policy("roles", definition_item(made, BEFORE), spec)
    await world.pass_(ELSEWHERE)
    await world.look()
    assert sorted(world.azure.listed) == sorted([SCOPE, FAR, f"roles at {FAR}"])
    world.azure.roles[made.guid] = replace(made, permissions=(("*",), (), (), ()))
    assert await world.look() == {ROLES}
    assert await world.look() == set()
    world.azure.missing = {f"roles at {FAR}"}
    world.azure.roles.clear()
    assert await world.look() == {ROLES}
    assert await world.look() == set()


GROUP = "/providers/Microsoft.Management/managementGroups/root"


@pytest.mark.parametrize("inside", [True, False], ids=["the cluster is in it", "it is not"])
async def test_a_custom_role_of_a_management_group_is_listed_there_where_the_cluster_is_not_in_it(
    *, inside: bool
) -> None:
    """Else the list at the cluster shows it, for which the operator needs no right at the group."""
    world = World()
    grouped = replace(ROLE, name="Grouped", assignable_scopes=(GROUP,))
    made = wished_definition(grouped, "roles", PLACE)
    world.azure.roles[made.guid] = made
    world.azure.hidden = set() if inside else {made.guid}
    spec = {"name": "Grouped", "assignableScopes": [GROUP]}
    world.policy("roles", definition_item(made, BEFORE), spec)
    await world.pass_(grouped)
    for _ in range(3):
        assert await world.look() == set()
    asked = ["roles"] if inside else ["roles", f"roles at {GROUP}"]
    assert [one for one in world.azure.listed if "role" in one] == asked
    world.azure.roles[made.guid] = replace(made, description="changed")
    assert await world.look() == {ROLES}
    assert await world.look() == set()


@pytest.mark.parametrize(
    ("scopes", "listed"),
    [
        ((PLACE.resource_group,), SCOPE),
        ((PLACE.subscription.upper(),), SCOPE),
        ((FAR, PLACE.subscription), SCOPE),
        ((FAR,), FAR),
        ((GROUP,), SCOPE),
    ],
)
def test_which_list_shows_a_custom_role(scopes: tuple[str, ...], listed: str) -> None:
    """As far as the scopes tell."""
    assert listed_at(replace(MADE, assignable_scopes=scopes), PLACE) == listed


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
