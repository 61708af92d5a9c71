"""When Azure is asked for the role of a name, and when not: names are free, and questions are not."""

from types import SimpleNamespace
from typing import Any

import pytest

from entra_access.api.names import GRANT, NAMESPACE, POLICY
from entra_access.reconcile import role_ids
from entra_access.reconcile.cache import Key
from unit.builders import guid
from unit.office import APPDEV, Office
from unit.worlds import AKS_READER, AKS_WRITER, ROBOT_ID

WORK = Key("NamespaceGrant", "dev", "work")
ROBOT = {"servicePrincipal": {"objectId": ROBOT_ID}}
MADE_UP = [f"Made up {number}" for number in range(20)]
TEAM: dict[str, Any] = {"namespaces": {"matchLabels": {"team": "dev"}}}
OTHERS: dict[str, Any] = {"namespaces": {"matchLabels": {"team": "ops"}}, "azureRoles": [AKS_READER]}
ALLOWING: dict[str, Any] = {**TEAM, "azureRoles": [AKS_READER]}


class Clock:
    """Monotonic time that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(role_ids, "time", SimpleNamespace(monotonic=found.monotonic))
    return found


async def office(grants: dict[str, Any] | None = None, **spec: Any) -> Office:
    """A policy in place, and a namespace in which nothing was granted yet."""
    world = Office()
    world.namespace("dev", team="dev")
    world.policy(ROBOT, **({"grants": grants} if grants else {}), **spec)
    await world.look(times=3)
    world.looked_up.clear()
    return world


async def granted(world: Office, *roles: str) -> str:
    """A grant of these roles, after a look. Returns why it is not Ready."""
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": list(roles)}, "dev")
    await world.look(WORK)
    ready = world.status(WORK).condition("Ready")
    assert ready is not None
    return ready.reason


@pytest.mark.parametrize(
    ("grants", "reason"),
    [(None, "NoGrantsAllowed"), (OTHERS, "NamespaceNotAllowed"), (TEAM, "BeyondCeiling")],
    ids=["no ceiling", "another namespace", "a ceiling without Azure roles"],
)
async def test_a_grant_that_is_refused_anyway_asks_for_no_role(
    grants: dict[str, Any] | None, reason: str
) -> None:
    world = await office(grants)
    assert await granted(world, *MADE_UP) == reason
    assert world.looked_up == []


async def test_a_grant_without_a_policy_that_can_be_used_asks_for_no_role() -> None:
    world = await office(ALLOWING)
    world.cache.drop(POLICY, None, "appdev")
    assert await granted(world, *MADE_UP) == "PolicyNotFound"
    world.policy({"nobody": {}})
    assert await granted(world, *MADE_UP) == "PolicyUnreadable"
    await world.look()
    world.delete(APPDEV)
    assert await granted(world, *MADE_UP) == "PolicyDeleting"
    assert world.looked_up == []


async def test_a_grant_in_a_namespace_that_ends_asks_for_no_role() -> None:
    world = await office(ALLOWING)
    world.cache.drop(NAMESPACE, None, "dev")
    assert await granted(world, *MADE_UP) == "NamespaceEnding"
    assert world.looked_up == []


async def test_a_refused_grant_loses_the_roles_that_it_had() -> None:
    """What it had is looked at all the same."""
    world = await office({**ALLOWING, "azureRoles": [AKS_READER, AKS_WRITER]})
    assert await granted(world, AKS_READER, AKS_WRITER) == "InPlace"
    assert len(world.given) == 2
    world.policy(ROBOT, grants={**OTHERS, "azureRoles": [AKS_READER, AKS_WRITER]})
    assert await granted(world, AKS_READER, AKS_WRITER) == "NamespaceNotAllowed"
    assert world.given == {}


async def test_a_name_that_no_role_has_is_asked_for_once_a_minute(clock: Clock) -> None:
    world = await office(ALLOWING)
    assert await granted(world, *MADE_UP) == "BeyondCeiling"
    first = sorted(world.looked_up)
    assert first == sorted(name.lower() for name in (*MADE_UP, AKS_READER))
    clock.now += 59
    assert await granted(world, *MADE_UP) == "BeyondCeiling"
    assert sorted(world.looked_up) == first
    clock.now += 2
    assert await granted(world, *MADE_UP) == "BeyondCeiling"
    assert sorted(world.looked_up) == sorted(first + [name.lower() for name in MADE_UP])


async def test_a_role_that_comes_is_found_after_the_minute(clock: Clock) -> None:
    world = await office(azureRoles=[{"role": "Theirs"}])
    world.people_define("Theirs")
    await world.look()
    assert world.given == {}
    clock.now += 61
    await world.look()
    (one,) = world.given.values()
    assert one.role_id == guid("Theirs")


async def test_a_role_that_the_operator_makes_is_found_at_once(clock: Clock) -> None:
    """Also by another policy, which has looked for it in vain a moment ago."""
    world = await office(azureRoles=[{"role": "Pod Restarter"}])
    assert world.given == {}
    custom = {"name": "Pod Restarter", "dataActions": ["a/b/delete"]}
    maker = world.apply(
        POLICY,
        "maker",
        {"subject": ROBOT, "customRoles": [custom], "azureRoles": [{"role": "pod restarter"}]},
    )
    await world.look(maker)
    assert len(world.given) == 1, "its own role needs no looking up"
    assert "pod restarter" not in world.looked_up
    await world.look()
    ready = world.status().condition("Ready")
    assert ready is not None
    assert ready.status == "True"
