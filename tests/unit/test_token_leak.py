"""Service accounts and their tokens over many passes: no token outlives the wish for it, whatever happens."""

from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, FIELD_MANAGER, SECRET, SERVICE_ACCOUNT
from entra_access.api.status import Item, System
from entra_access.domain.children import ChildRef
from entra_access.domain.faults import Denied, Fault, Unavailable
from unit.objects import DeadError
from unit.office import APPDEV, Office
from unit.worlds import ANNA

PERSON = {"user": {"userPrincipalName": ANNA}}
ACCOUNT = ChildRef(SERVICE_ACCOUNT, "tools", "robot")
TOKEN = ChildRef(SECRET, "tools", "robot-token")
KUBERNETES = System.KUBERNETES


def robot(namespace: str = "tools", name: str = "robot", *, token: bool = True) -> dict[str, Any]:
    return {"serviceAccount": {"namespace": namespace, "name": name, "token": token}}


def office() -> Office:
    found = Office()
    found.namespace("tools")
    found.namespace("other")
    view = {"metadata": {"name": "view", "uid": "uid-of-view", "resourceVersion": "1"}}
    found.cache.put(CLUSTER_ROLE, view)
    return found


def lines(world: Office) -> dict[str, str]:
    """The inventory's lines of accounts and Secrets, with their ids."""
    kinds = {"ServiceAccount", "Secret"}
    return {f"{one.kind} {one.name}": one.id for one in world.status().inventory if one.kind in kinds}


def ready(world: Office) -> tuple[str, str]:
    found = world.status().condition("Ready")
    assert found is not None
    return found.status, found.reason


async def at_rest(world: Office) -> None:
    """Passes in which nothing is written."""
    await world.look(times=2)
    world.writes.clear()
    await world.look(times=3)
    assert world.writes == []


async def in_place() -> Office:
    world = office()
    world.policy(robot(), clusterRoles=["view"])
    await at_rest(world)
    assert lines(world).keys() == {str(ACCOUNT), str(TOKEN)}
    return world


async def test_both_are_written_down_before_they_are_made_and_once() -> None:
    world = office()
    world.policy(robot(), clusterRoles=["view"])
    await world.look()
    made = [detail for name, detail in world.writes if name in {"status", "child"}]
    assert made[:3] == ["AccessPolicy appdev", str(ACCOUNT), str(TOKEN)]
    assert made.count("AccessPolicy appdev") == 2
    assert all(lines(world).values())
    await at_rest(world)


@pytest.mark.parametrize("made", [ACCOUNT, TOKEN], ids=str)
@pytest.mark.parametrize(
    "other",
    [PERSON, robot("other", "worker"), robot("tools", "worker"), robot(token=False)],
    ids=["a person", "another namespace", "another account", "no token"],
)
async def test_what_a_pass_made_that_was_cut_off_goes_with_the_wish(made: ChildRef, other: Any) -> None:
    world = office()
    world.policy(robot(), clusterRoles=["view"])
    world.deaths.add(str(made))
    with pytest.raises(DeadError):
        await world.look()
    assert made in world.objects

    world.policy(other, clusterRoles=["view"])
    await world.look(times=2)

    assert TOKEN not in world.objects
    assert (ACCOUNT in world.objects) == (other == robot(token=False))
    assert ready(world) == ("True", "InPlace")
    await at_rest(world)


async def test_a_token_that_was_made_anew_and_not_written_down_goes_too() -> None:
    """The inventory still has the id of the one before."""
    world = await in_place()
    del world.objects[TOKEN]
    world.deaths.add(str(TOKEN))
    with pytest.raises(DeadError):
        await world.look()
    world.policy(PERSON)
    await world.look()
    assert (world.there(SECRET), world.there(SERVICE_ACCOUNT), lines(world)) == ([], [], {})


async def test_a_secret_that_is_only_named_is_not_taken_for_ours() -> None:
    """It was announced, and somebody else was faster; or somebody wrote into the status."""
    world = await in_place()
    world.put_object(ChildRef(SECRET, "tools", "precious"))
    status = world.status().as_dict()
    status["inventory"].append(Item(KUBERNETES, "Secret", "tools/precious").as_dict())
    status["inventory"].append(Item(KUBERNETES, "Node", "tools/none").as_dict())
    world.write_status(status)
    world.policy(PERSON)
    await world.look(times=2)
    assert (world.there(SECRET), lines(world)) == (["tools/precious"], {})


async def test_a_secret_in_the_way_is_not_announced() -> None:
    world = office()
    world.put_object(TOKEN, managedFields=[{"manager": "kubectl"}])
    world.policy(robot(), clusterRoles=["view"])
    await world.look()
    assert ready(world) == ("False", "NameTaken")
    stalled = world.status().condition("Stalled")
    assert stalled is not None
    assert "Secret tools/robot-token is already there and was not made here (by kubectl)" in stalled.message
    assert stalled.message.startswith("spec.subject.serviceAccount.token: ")
    assert lines(world).keys() == {str(ACCOUNT)}
    await at_rest(world)
    del world.objects[TOKEN]
    await world.look()
    assert ready(world) == ("True", "InPlace")


async def test_the_token_of_another_policy_is_named_as_that() -> None:
    world = office()
    owner = {
        "apiVersion": "entra-access.dev/v1alpha1",
        "kind": "AccessPolicy",
        "name": "first",
        "uid": "uid-of-first",
    }
    world.put_object(TOKEN, ownerReferences=[owner], managedFields=[{"manager": FIELD_MANAGER}])
    world.policy(robot())
    await world.look()
    stalled = world.status().condition("Stalled")
    assert stalled is not None
    assert "was made for AccessPolicy first" in stalled.message


async def test_what_cannot_be_made_stays_written_down_and_is_written_once() -> None:
    world = office()
    world.policy(robot(), clusterRoles=["view"])
    world.faults["child"] = Unavailable("down")
    await world.look(times=2)
    assert lines(world) == {str(ACCOUNT): "", str(TOKEN): ""}
    await at_rest(world)
    world.faults.clear()
    await world.look()
    assert all(lines(world).values())
    await at_rest(world)


@pytest.mark.parametrize("fault", [Unavailable("down"), Denied("no right")], ids=["down", "denied"])
@pytest.mark.parametrize("other", [PERSON, robot(token=False), robot()], ids=["gone", "no token", "same"])
async def test_a_token_that_cannot_be_read_is_not_forgotten(fault: Fault, other: Any) -> None:
    world = await in_place()
    before = lines(world)[str(TOKEN)]
    world.faults[str(TOKEN)] = fault
    world.policy(other, clusterRoles=["view"])
    await world.look(times=3)
    assert lines(world)[str(TOKEN)] == before
    assert TOKEN in world.objects

    world.faults.clear()
    await world.look(times=2)
    assert (TOKEN in world.objects) == (other == robot())
    assert (str(TOKEN) in lines(world)) == (other == robot())


async def test_without_the_right_to_secrets_a_policy_with_another_subject_is_ready() -> None:
    world = await in_place()
    world.faults[str(TOKEN)] = Denied("no right")
    world.policy(PERSON, clusterRoles=["view"])
    await world.look(times=2)
    assert ready(world) == ("True", "InPlace")
    await at_rest(world)


async def test_a_spec_that_cannot_be_read_loses_sight_of_no_token() -> None:
    world = await in_place()
    before = lines(world)
    world.policy({"nobody": {}})
    await world.look()
    assert lines(world) == before
    world.policy(PERSON)
    await world.look()
    assert (world.there(SECRET), lines(world)) == ([], {})


@pytest.mark.parametrize("made", [ACCOUNT, TOKEN], ids=str)
async def test_a_policy_that_is_deleted_after_a_pass_that_was_cut_off_leaves_nothing(made: ChildRef) -> None:
    world = office()
    world.policy(robot(), clusterRoles=["view"])
    world.deaths.add(str(made))
    with pytest.raises(DeadError):
        await world.look()
    world.delete(APPDEV)
    await world.look()
    assert world.cache.resource(APPDEV) is None
    assert world.objects == {}
