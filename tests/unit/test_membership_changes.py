"""An application in a group whose list hides it, through the ways of keeping members, one after the other."""

import pytest

from unit.office import Office
from unit.worlds import ANNA, ANNA_ID, ROBOT_ID

ROBOT = {"servicePrincipal": "app-of-robot"}
PERSON = {"user": ANNA}


def wish(world: Office, membership: str, *members: dict[str, str]) -> None:
    group = {"displayName": "appdev", "members": list(members), "membership": membership}
    world.policy({"group": group})


def members(world: Office) -> set[str]:
    (group,) = world.groups
    return set(world.relations[group]["members"])


@pytest.mark.parametrize("between", ["Additive", "Unmanaged"])
@pytest.mark.parametrize("first", ["Additive", "Exact"])
async def test_who_was_let_stay_leaves_when_only_those_asked_for_may_be_in(first: str, between: str) -> None:
    world = Office()
    wish(world, first, PERSON, ROBOT)
    await world.look(times=2)
    assert members(world) == {ANNA_ID, ROBOT_ID}

    wish(world, between, PERSON)
    await world.look(times=2)
    assert members(world) == {ANNA_ID, ROBOT_ID}

    wish(world, "Exact", PERSON)
    await world.look()
    assert members(world) == {ANNA_ID}
    await world.look()
    assert [item for item in world.status().inventory if item.kind == "Member"] == []


async def test_who_is_let_stay_is_not_written_down_anew_at_each_look() -> None:
    world = Office()
    wish(world, "Additive", PERSON, ROBOT)
    await world.look(times=2)
    world.writes.clear()
    await world.look(times=2)
    assert world.writes == []
