"""The round over custom roles: who hears of which, and what one that cannot be seen leaves in doubt."""

from dataclasses import replace

import pytest

from entra_access.api.names import POLICY
from entra_access.api.status import ADOPTED
from entra_access.api.times import stamp
from entra_access.domain.definition_plan import definition_item, listed_at, wished_definition
from entra_access.domain.observed import Definition
from entra_access.reconcile.cache import Key
from unit.builders import AT, BEFORE, PLACE, SCOPE, guid
from unit.test_azure_sweep import MADE, ROLE, ROLES, World
from unit.worlds import FAR, READER, line


@pytest.mark.parametrize("made", [False, True], ids=["looked at", "made"])
async def test_what_becomes_of_a_custom_role_before_the_first_round_is_told_in_it(*, made: bool) -> None:
    """What a pass saw or wrote is what was known, and not what the round before showed."""
    world = World()
    if made:
        world.azure.roles.clear()
    await world.pass_()
    if made:
        world.reader.roles_made("roles", [MADE])
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
    """Of the same policy."""
    world = World()
    both = [replace(ROLE, name=name) for name in ("One", "Two")]
    one, two = (wished_definition(role, "roles", PLACE) for role in both)
    world.azure.roles = {one.guid: one, two.guid: two}
    world.policy("roles", definition_item(one, BEFORE), {"name": "One"}, {"name": "Two"})
    await world.pass_(*both)
    world.azure.roles.clear()
    world.azure.unreadable = {one.guid}
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


THEIRS = replace(MADE, guid=guid("theirs"))
OTHER = Key(POLICY.kind, None, "other")


async def grouped_in(world: World) -> Definition:
    """Another policy has a role of a management group that the cluster is not in."""
    role = replace(ROLE, name="Grouped", assignable_scopes=(GROUP,))
    made = wished_definition(role, "other", PLACE)
    world.azure.roles[made.guid] = made
    world.azure.hidden = {made.guid}
    spec = {"name": role.name, "assignableScopes": [GROUP]}
    world.policy("other", definition_item(made, BEFORE), spec)
    await world.reader.definitions((role,), "other", ())
    return made


async def test_what_another_policy_has_seen_already_is_told_to_the_one_that_has_the_role() -> None:
    """Who would like to have a role of that name looks at it, too."""
    world = World()
    await world.pass_()
    world.azure.roles[MADE.guid] = replace(MADE, permissions=(("*",), (), (), ()))
    _, others = await world.reader.definitions((ROLE,), "other", ())
    assert others[ROLE.name] == world.azure.roles[MADE.guid]
    assert await world.look() == {ROLES}
    assert await world.look() == set()


@pytest.mark.parametrize("deleted", [False, True], ids=["changed", "deleted"])
async def test_another_role_of_that_name_is_followed_while_the_policy_has_none(*, deleted: bool) -> None:
    """In Observe it is as good as the policy's own where it could be adopted, and nothing is written down."""
    world = World()
    world.azure.roles = {THEIRS.guid: THEIRS}
    await world.pass_()
    assert await world.look() == set()
    if deleted:
        world.azure.roles.clear()
    else:
        world.azure.roles[THEIRS.guid] = replace(THEIRS, permissions=(("*",), (), (), ()))
    assert await world.look() == {ROLES}
    assert await world.look() == set()


async def test_a_role_that_is_made_where_there_was_none_is_told() -> None:
    world = World()
    world.azure.roles.clear()
    await world.pass_()
    assert await world.look() == set()
    world.azure.roles[THEIRS.guid] = THEIRS
    assert await world.look() == {ROLES}
    world.azure.roles[MADE.guid] = MADE
    assert await world.look() == {ROLES}
    assert await world.look() == set()


async def test_adopting_a_role_is_no_change() -> None:
    """The policy's line names it from then on."""
    world = World()
    world.azure.roles = {THEIRS.guid: THEIRS}
    await world.pass_()
    adopted = replace(definition_item(THEIRS, BEFORE), origin=ADOPTED)
    world.policy("roles", adopted, {"name": ROLE.name})
    assert await world.look() == set()
    world.azure.roles.clear()
    assert await world.look() == {ROLES}


async def test_a_management_group_that_cannot_be_listed_hides_nothing() -> None:
    world = World()
    made = await grouped_in(world)
    await world.pass_()
    world.azure.fails = {f"roles at {GROUP}"}
    assert await world.look() == set()
    world.azure.roles[MADE.guid] = replace(MADE, description="changed")
    assert await world.look() == {ROLES}
    del world.azure.roles[made.guid]
    assert await world.look() == {OTHER}


async def test_nor_does_one_that_can_be_listed() -> None:
    """What is not of it is not on its list."""
    world = World()
    await grouped_in(world)
    world.azure.roles.pop(MADE.guid)
    await world.pass_()
    assert await world.look() == set()
    world.azure.roles[MADE.guid] = MADE
    assert await world.look() == {ROLES}


async def test_a_role_that_cannot_be_seen_leaves_only_its_policy_in_doubt() -> None:
    world = World()
    made = await grouped_in(world)
    await world.pass_()
    assert await world.look() == set()
    world.azure.fails = {f"roles at {GROUP}"}
    world.azure.unreadable = {made.guid}
    assert await world.look() == {OTHER}
    assert await world.look() == set()
    assert (world.blindness.reason(OTHER), world.blindness.reason(ROLES)) == ("down", "")
    assert world.blindness.last_good(OTHER) == stamp(AT)
    world.azure.unreadable = set()
    assert await world.look() == {OTHER}
    assert world.blindness.reason(OTHER) == ""


async def test_a_policy_that_is_gone_leaves_no_doubt() -> None:
    world = World()
    made = await grouped_in(world)
    world.azure.fails = {f"roles at {GROUP}"}
    world.azure.unreadable = {made.guid}
    await world.look()
    world.cache.drop(POLICY, None, "other")
    await world.look()
    assert world.blindness.reason(OTHER) == ""


async def test_custom_roles_are_listed_also_where_nobody_has_a_subject_in_entra() -> None:
    world = World()
    for name in ("here", "away"):
        world.cache.drop(POLICY, None, name)
    world.policy("roles", definition_item(MADE, BEFORE), {"name": ROLE.name}, found=False)
    await world.pass_()
    assert await world.look() == set()
    assert world.azure.listed == ["roles"]
    world.azure.roles.clear()
    assert await world.look() == {ROLES}


async def test_a_role_that_is_made_at_a_management_group_is_told() -> None:
    """The cluster is not in it. Until then it costs a list a round, and no reading of roles one by one."""
    world = World()
    role = replace(ROLE, name="Grouped", assignable_scopes=(GROUP,))
    made = wished_definition(role, "roles", PLACE)
    world.azure.hidden = {made.guid}
    world.policy("roles", line(READER, guid("roles")), {"name": role.name, "assignableScopes": [GROUP]})
    await world.pass_(role)
    assert await world.look() == set()
    assert [one for one in world.azure.listed if "role" in one] == ["roles", f"roles at {GROUP}"]
    world.azure.roles[made.guid] = made
    assert await world.look() == {ROLES}
    assert await world.look() == set()


async def test_a_built_in_role_of_that_name_is_not_asked_for_again() -> None:
    """No list of custom roles shows it, and nobody can change it."""
    world = World()
    built_in = replace(THEIRS, assignable_scopes=("/",), built_in=True)
    world.azure.roles = {built_in.guid: built_in}
    world.azure.hidden = {built_in.guid}
    await world.pass_()
    assert await world.look() == set()
    assert [one for one in world.azure.listed if "role" in one] == ["roles"]


async def test_what_nobody_wishes_for_any_more_is_forgotten() -> None:
    world = World()
    await world.pass_()
    await world.look()
    world.cache.drop(POLICY, None, "roles")
    await world.look()
    assert world.reader.custom_roles._known == {}
