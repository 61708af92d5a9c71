"""Azure does not know a role definition: it is too new, or it is gone; the answer is the same."""

from datetime import timedelta

from entra_access.api.status import Condition
from entra_access.domain.changes import AssignRole
from entra_access.domain.faults import PrincipalUnknown
from entra_access.domain.observed import Definition
from entra_access.reconcile.role_ids import RoleIds
from unit.builders import AT, SCOPE, guid
from unit.objects import LOST
from unit.office import Office
from unit.worlds import ROBOT_ID

OLD, NEW = guid("old"), guid("new")
SUBJECT = {"servicePrincipal": {"objectId": ROBOT_ID}}


def an_office() -> Office:
    """A policy that wants a custom role which somebody made."""
    world = Office()
    world.definitions[OLD] = Definition(OLD, "Ops Role")
    world.policy(SUBJECT, azureRoles=[{"role": "Ops Role"}])
    return world


def remade(world: Office) -> None:
    """Somebody deletes the role and makes another one of the same name."""
    del world.definitions[OLD]
    world.definitions[NEW] = Definition(NEW, "Ops Role")


def roles_of(world: Office) -> set[str]:
    return {one.role_id for one in world.given.values()}


def condition(world: Office, kind: str) -> Condition:
    found = world.status().condition(kind)
    assert found is not None
    return found


async def test_a_role_that_was_made_anew_under_its_name_is_found_at_once() -> None:
    """What is known of a name is believed for an hour, but not against Azure's own word."""
    world = an_office()
    world.faults = {"assign": LOST}
    await world.look()
    world.faults = {}
    remade(world)
    await world.look()
    assert condition(world, "AzureRolesReady").reason == "Replicating"
    await world.look()
    assert roles_of(world) == {NEW}
    assert condition(world, "Ready").status == "True"


async def test_a_principal_that_stays_unknown_for_the_replication_window_is_missing() -> None:
    """Entra knows it and Azure does not: nothing that is waited for comes of itself."""
    world = an_office()
    world.faults = {"assign": PrincipalUnknown("Azure does not know the new principal yet")}
    await world.look(times=2)
    assert condition(world, "AzureRolesReady").reason == "Replicating"
    await world.look()
    then = await world.look()
    ready = condition(world, "AzureRolesReady")
    assert ready.reason == "PrincipalNotFound"
    assert ready.message.startswith(
        f"Azure has not known the ServicePrincipal {ROBOT_ID} for more than 120 s"
    )
    assert condition(world, "Stalled").message == ready.message
    assert not then.failed, "it is not asked for again and again"
    world.faults = {}
    await world.look()
    assert condition(world, "Ready").status == "True"


async def test_a_role_that_stays_unknown_for_the_replication_window_is_missing() -> None:
    world = an_office()
    world.definitions.clear()
    world.listed = {"ops role": OLD}
    await world.look(times=2)
    assert condition(world, "AzureRolesReady").reason == "Replicating"
    await world.look()
    ready = condition(world, "AzureRolesReady")
    assert ready.reason == "RoleNotFound"
    assert ready.message.startswith(
        f"spec.azureRoles[0].role: the role definition of Azure role Ops Role ({OLD})"
    )
    assert condition(world, "Stalled").message == ready.message

    world.definitions[OLD] = Definition(OLD, "Ops Role")
    await world.look()
    assert condition(world, "Ready").status == "True"


def a_change(role: str = "Ops Role", scope: str = SCOPE) -> AssignRole:
    return AssignRole(scope, role, OLD, ROBOT_ID, "ServicePrincipal", "")


def known_to_nobody() -> RoleIds:
    async def nothing(_: tuple[str, str]) -> str | None:
        return None

    return RoleIds(nothing, timedelta(minutes=2))


def test_the_window_begins_anew_after_it_was_assigned() -> None:
    roles = known_to_nobody()
    assert roles.unknown(a_change(), AT) is False
    assert roles.unknown(a_change(scope=SCOPE.upper()), AT + timedelta(minutes=2)) is True
    roles.known(a_change())
    assert roles.unknown(a_change(), AT + timedelta(minutes=3)) is False


def test_what_was_so_long_ago_says_nothing_of_now() -> None:
    roles = known_to_nobody()
    assert roles.unknown(a_change(), AT) is False
    assert roles.unknown(a_change(), AT + timedelta(hours=2)) is False


def test_each_scope_has_a_window_of_its_own() -> None:
    roles = known_to_nobody()
    assert roles.unknown(a_change(), AT) is False
    assert roles.unknown(a_change(scope="/subscriptions/x"), AT + timedelta(minutes=2)) is False


async def test_only_the_name_that_azure_denied_is_looked_up_anew() -> None:
    asked = []

    async def look_up(key: tuple[str, str]) -> str | None:
        asked.append(key[0])
        return OLD

    roles = RoleIds(look_up, timedelta(minutes=2))
    for _ in range(2):
        await roles.get("Ops Role", [SCOPE])
        await roles.get("Other", [SCOPE])
        roles.unknown(a_change("OPS ROLE"), AT)
    await roles.get("Ops Role", [SCOPE])
    assert asked == ["ops role", "other", "ops role", "ops role"]
