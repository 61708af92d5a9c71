"""Many passes for every kind of subject and scope, in a world in which calls fail, or answer too late.

Everything is chosen by a seed: what fails once fails each time.
"""

import random
from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE
from entra_access.api.resources import CustomRole
from entra_access.domain.definition_plan import wished_definition
from entra_access.domain.faults import Fault, Throttled, Unavailable
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.reconcile import shared
from unit.builders import PLACE, SCOPE
from unit.office import APPDEV, Office
from unit.worlds import (
    AKS_READER,
    AKS_USER,
    ANNA,
    ANNA_ID,
    DEV_SCOPE,
    FAR,
    READER,
    RESOURCE_GROUP,
    ROBOT_ID,
    TEAM_ID,
    VAULT,
    assigned,
    role_id,
)

SCOPES = [SCOPE, RESOURCE_GROUP, VAULT, FAR]
ROLES = [READER, AKS_READER, AKS_USER]
CUSTOM = {"name": "Pod Restarter", "dataActions": ["Microsoft.ContainerService/managedClusters/pods/delete"]}
CUSTOM_ID = wished_definition(CustomRole("Pod Restarter"), "appdev", PLACE).guid
CALLS = ["assign", "unassign", "define", "undefine", "assignments", "assignment", "role_id", "definition"]
CALLS += ["principal", "add", "remove", "status", "child", "delete_child", "create_group", "group"]
LATE = ["assign", "define", "add", "create_group"]
SUBJECTS: list[tuple[dict[str, Any], str]] = [
    ({"user": {"userPrincipalName": ANNA}}, ANNA_ID),
    ({"servicePrincipal": {"objectId": ROBOT_ID}}, ROBOT_ID),
    ({"existingGroup": {"objectId": TEAM_ID}}, TEAM_ID),
]
MEMBERS: list[dict[str, str]] = [{"user": ANNA}, {"servicePrincipal": ROBOT_ID}, {"group": TEAM_ID}]
SETTLED = 6
FOREIGN = "/somebodys"


class Wish:
    """A policy, and what must be there when all is in place."""

    def __init__(self, chance: random.Random, *, own_group: bool) -> None:
        self.roles = {(role, scope) for role in ROLES for scope in SCOPES if chance.random() < 0.3}
        self.custom = chance.random() < 0.5
        self.in_dev = chance.random() < 0.5
        self.members = chance.sample(MEMBERS, chance.randint(0, 3))
        self.subject, self.principal = chance.choice(SUBJECTS)
        if own_group:
            self.subject, self.principal = {"group": {"displayName": "appdev", "members": self.members}}, ""

    def write(self, world: Office) -> None:
        roles = [{"role": role, "scope": scope} for role, scope in sorted(self.roles)]
        if self.custom:
            roles.append({"role": "Pod Restarter", "scope": RESOURCE_GROUP})
        inside = {"names": ["dev"], "azureRoles": [AKS_READER], "clusterRoles": ["view"]}
        world.policy(
            self.subject,
            azureRoles=roles,
            customRoles=[CUSTOM] if self.custom else [],
            namespaces=[inside] if self.in_dev else [],
        )

    def assignments(self, world: Office) -> set[str]:
        """The ARM ids, in lower case, of all that is wished for."""
        principal = self.principal or next(iter(world.groups), "")
        pairs = {(role_id(role), scope) for role, scope in self.roles}
        pairs |= {(CUSTOM_ID, RESOURCE_GROUP)} if self.custom else set()
        pairs |= {(role_id(AKS_READER), DEV_SCOPE)} if self.in_dev else set()
        names = {(scope, assignment_name(scope, principal, role)) for role, scope in pairs}
        return {assignment_id(scope, name).lower() for scope, name in names}

    def check(self, world: Office) -> None:
        assert set(world.given) == {FOREIGN} | self.assignments(world)
        assert set(world.definitions) == ({CUSTOM_ID} if self.custom else set())
        if not self.principal:
            (group,) = world.groups
            ids = {"user": ANNA_ID, "servicePrincipal": ROBOT_ID, "group": TEAM_ID}
            wished = {ids[kind] for member in self.members for kind in member}
            assert set(world.relations[group]["members"]) == wished


def trouble(world: Office, chance: random.Random, share: float) -> None:
    """Some calls fail in the next pass; some of those took effect all the same."""
    kinds: list[Fault] = [Unavailable("down"), Throttled("slowly", retry_after=1)]
    world.faults = {call: chance.choice(kinds) for call in CALLS if chance.random() < share}
    world.lost = {call for call in LATE if call in world.faults and chance.random() < 0.5}


@pytest.fixture(autouse=True)
def minutes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks: what is known of own writes is old by then, and lists have caught up."""
    monkeypatch.setattr(shared, "OVERLAY_SECONDS", -1.0)


def an_office() -> Office:
    world = Office()
    world.namespace("dev")
    view = {"metadata": {"name": "view", "uid": "uid-of-view", "resourceVersion": "1"}}
    world.cache.put(CLUSTER_ROLE, view)
    world.given[FOREIGN] = assigned("Owner", TEAM_ID, name="somebodys", description="by hand")
    return world


async def settle(world: Office) -> None:
    """Passes without trouble, until nothing is left to do."""
    world.faults, world.lost = {}, set()
    await world.look(times=SETTLED)
    world.writes.clear()
    before = world.status()
    await world.look(times=2)
    assert world.writes == []
    assert world.status() == before


@pytest.mark.parametrize("own_group", [False, True], ids=["existing", "own group"])
@pytest.mark.parametrize("seed", range(40))
async def test_whatever_fails_all_is_in_place_in_the_end_and_nothing_else(seed: int, own_group: bool) -> None:  # noqa: FBT001
    chance = random.Random(seed)  # noqa: S311 - the same story each time
    world = an_office()
    for _ in range(3):
        share = chance.choice([0.0, 0.1, 0.3])
        for _ in range(3):
            wish = Wish(chance, own_group=own_group)
            wish.write(world)
            for _ in range(chance.randint(1, 3)):
                trouble(world, chance, share)
                wanted = wish.assignments(world) & set(world.given)
                await world.look()
                assert wanted <= set(world.given)  # what is wished for never goes
        await settle(world)
        wish.check(world)
    world.delete(APPDEV)
    for _ in range(50):
        trouble(world, chance, 0.2)
        if world.cache.resource(APPDEV) is None:
            break
        await world.look()
    assert world.cache.resource(APPDEV) is None
    assert (set(world.given), world.definitions, world.groups) == ({FOREIGN}, {}, {})
