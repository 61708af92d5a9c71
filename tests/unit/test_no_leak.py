"""Whole passes in memory: nothing that was made is lost sight of, and at rest nothing is written."""

from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, GRANT, POLICY
from entra_access.domain.faults import Denied, Unavailable
from entra_access.domain.observed import Principal
from entra_access.reconcile.cache import Key
from entra_access.reconcile.outcome import Next
from unit.builders import SCOPE, guid
from unit.objects import LOST
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
)

ROBOT = {"servicePrincipal": {"objectId": ROBOT_ID}}
TEAM = {"existingGroup": {"objectId": TEAM_ID}}
PERSON = {"user": {"userPrincipalName": ANNA}}
CUSTOM = {"name": "Pod Restarter", "dataActions": ["Microsoft.ContainerService/managedClusters/pods/delete"]}
AT_VAULT = [{"role": READER, "scope": VAULT}]


def group(*members: dict[str, str]) -> dict[str, Any]:
    return {"group": {"displayName": "appdev", "members": list(members)}}


SPECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a user": (PERSON, {"clusterRoles": ["view"], "azureRoles": [{"role": AKS_USER}]}),
    "a service principal, far away": (ROBOT, {"azureRoles": AT_VAULT}),
    "a group, everywhere": (
        TEAM,
        {"azureRoles": [{"role": READER, "scope": scope} for scope in (SCOPE, RESOURCE_GROUP, VAULT, FAR)]},
    ),
    "a custom role": (
        ROBOT,
        {"customRoles": [CUSTOM], "azureRoles": [{"role": "Pod Restarter", "scope": RESOURCE_GROUP}]},
    ),
    "namespaces": (
        TEAM,
        {"namespaces": [{"names": ["dev", "nowhere"], "azureRoles": [AKS_READER], "clusterRoles": ["view"]}]},
    ),
    "a group of ours, far away": (
        group({"user": ANNA}, {"servicePrincipal": ROBOT_ID}),
        {"azureRoles": [*AT_VAULT, {"role": AKS_USER}]},
    ),
    "a service account": (
        {"serviceAccount": {"namespace": "dev", "name": "demo"}},
        {"clusterRoles": ["view"]},
    ),
}


def office() -> Office:
    found = Office()
    found.namespace("dev", team="dev")
    view = {"metadata": {"name": "view", "uid": "uid-of-view", "resourceVersion": "1"}}
    found.cache.put(CLUSTER_ROLE, view)
    return found


@pytest.mark.parametrize(("subject", "spec"), SPECS.values(), ids=SPECS)
async def test_each_policy_comes_to_rest_and_then_writes_nothing(
    subject: dict[str, Any], spec: dict[str, Any]
) -> None:
    world = office()
    world.policy(subject, **spec)
    await world.look(times=4)
    world.writes.clear()
    await world.look(times=3)
    assert world.writes == []


@pytest.mark.parametrize(("subject", "spec"), SPECS.values(), ids=SPECS)
async def test_when_it_is_deleted_nothing_is_left(subject: dict[str, Any], spec: dict[str, Any]) -> None:
    world = office()
    world.policy(subject, **spec)
    await world.look(times=3)
    by_hand = assigned("Owner", TEAM_ID, name="somebodys", description="")
    world.given["/somebodys"] = by_hand
    world.delete(APPDEV)
    await world.look(times=2)
    assert (list(world.given), world.definitions, world.groups) == (["/somebodys"], {}, {})
    assert world.cache.resource(APPDEV) is None


@pytest.mark.parametrize(("subject", "spec"), SPECS.values(), ids=SPECS)
async def test_another_wish_takes_away_all_that_the_former_gave(
    subject: dict[str, Any], spec: dict[str, Any]
) -> None:
    world = office()
    world.policy(subject, **spec)
    await world.look(times=3)
    world.policy({"user": {"objectId": guid("nobody")}} if subject == PERSON else PERSON)
    world.people.append(Principal(guid("nobody"), "user", "x_y.z#EXT#@c.d", guest=True))
    await world.look(times=3)
    assert (world.given, world.definitions, world.groups) == ({}, {}, {})
    assert [child.ref.kind.kind for child in world.cache.children(APPDEV)] == []
    assert [item for item in world.status().inventory if item.kind != "Member"] == []


# Announcements


@pytest.mark.parametrize("fault", [Denied("no right"), Unavailable("down")], ids=lambda one: one.reason)
@pytest.mark.parametrize(
    ("call", "spec"),
    [("assign", {"azureRoles": AT_VAULT}), ("define", {"customRoles": [CUSTOM]})],
    ids=["a far assignment", "a custom role"],
)
async def test_what_is_refused_again_and_again_is_written_about_once(
    call: str, spec: dict[str, Any], fault: Any
) -> None:
    """Announced each time and forgotten each time, it would be two writes and an event at every look."""
    world = office()
    world.faults[call] = fault
    world.policy(ROBOT, **spec)
    await world.look(times=3)
    before = world.status()
    world.writes.clear()
    await world.look(times=3)
    assert world.written("status") == []
    assert world.status() == before


@pytest.mark.parametrize("scope", [SCOPE, DEV_SCOPE, RESOURCE_GROUP, VAULT, FAR])
async def test_an_assignment_whose_answer_was_lost_goes_when_it_is_not_wished_for(
    scope: str,
) -> None:
    world = office()
    world.lost.add("assign")
    world.policy(ROBOT, azureRoles=[{"role": READER, "scope": scope}])
    await world.look()
    assert world.scopes() == [scope.lower()]
    world.policy(ROBOT)
    await world.look(times=2)
    assert world.given == {}


async def test_a_custom_role_whose_answer_was_lost_is_deleted_when_it_is_not_wished_for() -> None:
    world = office()
    world.lost.add("define")
    world.policy(ROBOT, customRoles=[CUSTOM])
    await world.look()
    assert len(world.definitions) == 1
    world.policy(ROBOT)
    await world.look(times=2)
    assert world.definitions == {}


@pytest.mark.parametrize("scope", [SCOPE, VAULT, FAR])
async def test_an_assignment_that_no_status_tells_of_is_found_again(scope: str) -> None:
    """The operator ends between a write and the status that tells of it."""
    world = office()
    world.policy(ROBOT)
    await world.look(times=2)
    world.policy(ROBOT, azureRoles=[{"role": READER, "scope": scope}])
    statuses = 0 if scope == SCOPE else 1  # the announcement of a far one comes before
    await cut_off(world, statuses)
    assert world.scopes() == [scope.lower()]
    world.policy(ROBOT)
    await world.look(times=2)
    assert world.given == {}


async def cut_off(world: Office, statuses: int) -> None:
    """One pass that can write so many statuses and then no more."""
    apply_status = world.apply_status

    async def limited(*values: Any) -> Any:
        nonlocal statuses
        statuses -= 1
        if statuses < 0:
            raise LOST
        return await apply_status(*values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "apply_status", limited)
        await world.look()


async def test_a_hidden_member_that_no_status_tells_of_leaves_when_it_is_not_wished_for() -> None:
    """The list of members does not show it, so nothing but the inventory can tell that it is in there."""
    world = office()
    world.policy(group({"user": ANNA}))
    await world.look(times=3)
    world.policy(group({"user": ANNA}, {"servicePrincipal": ROBOT_ID}))
    await cut_off(world, 0)
    (made,) = world.groups
    if ROBOT_ID not in world.relations[made]["members"]:
        await world.look()  # it was announced first, and that is what could not be written
    world.policy(group({"user": ANNA}))
    await world.look(times=2)
    assert set(world.relations[made]["members"]) == {ANNA_ID}


async def test_hidden_members_leave_a_group_before_it_is_deleted() -> None:
    """It can come back within thirty days, with its members of then, and no list would show this one."""
    world = office()
    world.policy(group({"user": ANNA}, {"servicePrincipal": ROBOT_ID}))
    await world.look(times=3)
    assert set(world.relations[next(iter(world.groups))]["members"]) == {ANNA_ID, ROBOT_ID}
    world.delete(APPDEV)
    await world.look(times=2)
    assert world.written("delete_group") != []
    assert world.written("remove") == [ROBOT_ID]


async def test_an_assignment_that_came_back_late_is_not_hidden_by_its_own_earlier_removal() -> None:
    """A list lags behind own writes, but not behind one whose outcome nobody knows."""
    wish = [{"role": READER}]
    world = office()
    for roles in (wish, []):
        world.policy(ROBOT, azureRoles=roles)
        await world.look()
    assert world.given == {}
    world.lost.add("assign")
    world.policy(ROBOT, azureRoles=wish)
    await world.look()
    world.policy(ROBOT)
    await world.look()
    assert world.given == {}


# Two that want the same


def other(world: Office, **spec: Any) -> Key:
    """Somebody writes another policy for the same subject. Returns its key."""
    return world.apply(POLICY, "other", {"subject": TEAM, **spec})


@pytest.mark.parametrize("scope", [SCOPE, VAULT])
async def test_what_two_policies_want_goes_when_neither_does(scope: str) -> None:
    wish = [{"role": READER, "scope": scope}]
    world = office()
    world.policy(TEAM, azureRoles=wish)
    second = other(world, azureRoles=wish)
    for key in (APPDEV, second, APPDEV):
        await world.look(key)
    assert len(world.given) == 1
    world.policy(TEAM)
    await world.look(times=2)
    assert len(world.given) == 1
    other(world)
    await world.look(second, times=2)
    assert world.given == {}


async def test_of_two_that_let_go_at_the_same_time_the_second_takes_it_away() -> None:
    world = office()
    world.policy(TEAM, azureRoles=[{"role": READER}])
    second = other(world, azureRoles=[{"role": READER}])
    for key in (APPDEV, second):
        await world.look(key)
    world.policy(TEAM)
    other(world)
    for key in (APPDEV, second):
        await world.look(key)
    assert world.given == {}


async def test_what_another_cannot_look_up_just_now_is_not_taken_from_it() -> None:
    """Unknown is not absent: it is wanted still, and would be missing until the next look."""
    world = office()
    world.policy(TEAM, azureRoles=[{"role": READER}])
    second = other(world, azureRoles=[{"role": READER}])
    for key in (APPDEV, second):
        await world.look(key)
    world.reconciler._planner._gatherer._azure.roles.clear()  # an hour later
    world.faults["role_id"] = Unavailable("down")
    await world.look(second)
    world.policy(TEAM)
    await world.look()
    assert world.written("unassign") == []


# Grants


async def test_a_grant_is_given_its_azure_role_and_leaves_nothing() -> None:
    world = office()
    ceiling = {"namespaces": {}, "azureRoles": [AKS_READER]}
    world.policy(TEAM, grants=ceiling, azureRoles=[{"role": AKS_USER}])
    wish = {"policyRef": {"name": "appdev"}, "azureRoles": [AKS_READER]}
    key = world.apply(GRANT, "dev-access", wish, "dev")
    for one in (APPDEV, key, key):
        await world.look(one)
    assert world.scopes() == [SCOPE.lower(), DEV_SCOPE.lower()]
    assert world.status(key).counts == {"roles": 0, "roleBindings": 0, "azureRoles": 1}
    world.writes.clear()
    await world.look(key)
    assert world.writes == []
    world.delete(key)
    await world.look(key, times=2)
    assert world.scopes() == [SCOPE.lower()]


async def test_a_grant_without_azure_roles_asks_azure_nothing() -> None:
    world = office()
    world.policy(TEAM, grants={"namespaces": {}, "clusterRoles": ["view"]})
    await world.look()
    for call in ("assignments", "assignment", "role_id"):
        world.faults[call] = Unavailable("down")
    wish = {"policyRef": {"name": "appdev"}, "clusterRoles": ["view"]}
    key = world.apply(GRANT, "dev-access", wish, "dev")
    assert await world.look(key) == Next()
    assert len(world.cache.children(key)) == 1
    assert world.written("finalizers") == ["AccessPolicy appdev"]
