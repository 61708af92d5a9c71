"""Who stays in a group and who leaves it: hidden applications, and people whose names change."""

from dataclasses import replace

import pytest

from unit.office import Office
from unit.worlds import A_USER, ANNA, ANNA_ID, ROBOT_ID

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


async def test_who_was_renamed_in_the_directory_stays_through_many_looks() -> None:
    """The same object under another name: the spec is to be corrected, and nobody loses access meanwhile."""
    world = Office()
    wish(world, "Exact", PERSON)
    await world.look(times=2)
    renamed = replace(A_USER, name="anna.meier@contoso.com")
    world.people[world.people.index(A_USER)] = renamed
    (group,) = world.groups
    world.relations[group]["members"] = {ANNA_ID: renamed}
    await world.look(times=3)
    assert members(world) == {ANNA_ID}
    said = world.status().condition("MembersReady")
    assert said is not None
    assert said.reason == "MemberNotFound"

    wish(world, "Exact", {"user": renamed.name})
    await world.look(times=2)
    assert members(world) == {ANNA_ID}
    wish(world, "Exact")
    await world.look(times=2)
    assert members(world) == set()


async def test_who_has_the_former_name_of_another_takes_their_place() -> None:
    world = Office()
    wish(world, "Exact", PERSON, ROBOT)
    await world.look(times=2)
    renamed, newcomer = replace(A_USER, name="anna.meier@contoso.com"), replace(A_USER, id="another-anna")
    world.people[world.people.index(A_USER)] = renamed
    (group,) = world.groups
    world.relations[group]["members"][ANNA_ID] = renamed
    await world.look(times=2)
    world.people.append(newcomer)
    await world.look(times=2)
    assert members(world) == {"another-anna", ROBOT_ID}
