"""Many passes one after another, in a world in which things fail and other hands are busy.

Everything is chosen by a seed: what fails once fails each time.
"""

import random

import pytest

from entra_access.api.resources import AccessPolicy, Membership
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment
from unit.builders import SCOPE, a_policy, cluster_binding, group_of, guid, role_names
from unit.cloud import POLICY_KEY, Cloud

USERS = [f"user{number}@x.io" for number in range(5)]
ROLES = ["Reader", "Writer", "Admin"]
SETTLED = 6
"""After so many passes without trouble all must be quiet."""


def some(chance: random.Random, values: list[str], least: int = 0) -> str:
    return " ".join(chance.sample(values, chance.randint(least, len(values))))


def random_policy(chance: random.Random) -> AccessPolicy:
    """A wish; sometimes for users and roles that do not exist."""
    return a_policy(
        members=some(chance, [*USERS, "nobody@x.io"]),
        owners=some(chance, USERS[:2], 1),
        azure_roles=some(chance, [*ROLES, "Nothing"]),
        cluster_roles=some(chance, ["view", "edit", "none"]),
        description=chance.choice([None, "words"]),
        display_name=chance.choice(["appdev", "developers"]),
        membership=chance.choice(list(Membership)[:2]),
    )


def wished(cloud: Cloud, policy: AccessPolicy) -> set[tuple[str, str]]:
    """What must never be taken away while the policy wishes for it."""
    group_id = cloud.group.id if cloud.group else ""
    roles = [cloud.roles[role] for role in role_names(policy) if role in cloud.roles]
    return {
        *(("members", guid(one.value)) for one in group_of(policy).members),
        *(("owners", guid(one.value)) for one in group_of(policy).owners),
        *(("binding", cluster_binding(role).ref.name) for role in policy.cluster_roles),
        *(("assignment", assignment_id(SCOPE, assignment_name(SCOPE, group_id, role))) for role in roles),
    }


async def settle(cloud: Cloud, policy: AccessPolicy) -> None:
    """Passes without trouble, until nothing is left to do."""
    cloud.trouble = 0.0
    for _ in range(SETTLED):
        await cloud.step(policy)
    before = cloud.status.as_dict()
    plan = await cloud.step(policy)
    assert plan.changes == ()
    assert all(one.change is None for one in plan.differences), "others may have things of their own"
    assert cloud.status.as_dict() == before


def check_in_place(cloud: Cloud, policy: AccessPolicy) -> None:
    group = cloud.group
    assert group is not None
    assert not group.deleted
    asked = group_of(policy)
    assert (group.display_name, group.description) == (asked.display_name, asked.description)
    exact = asked.membership is Membership.EXACT
    for relation, references in (("members", asked.members), ("owners", asked.owners)):
        there, wish = set(cloud.relations[relation]), {guid(one.value) for one in references}
        wish &= {one.id for one in cloud.users.values()}
        assert there == wish if exact else there >= wish
    ours = {arm_id for arm_id in cloud.assignments if arm_id != "/foreign"}
    roles = [cloud.roles[role] for role in role_names(policy) if role in cloud.roles]
    assert ours == {assignment_id(SCOPE, assignment_name(SCOPE, group.id, role)) for role in roles}
    bindings = {child.ref.name for child in cloud.cache.children(POLICY_KEY)}
    assert bindings == {
        cluster_binding(role).ref.name for role in policy.cluster_roles if role in cloud.cluster_roles
    }
    lines = {item.id for item in cloud.status.inventory}
    assert lines == {group.id, *ours, *(child.uid for child in cloud.cache.children(POLICY_KEY))}


@pytest.mark.parametrize("seed", range(150))
async def test_in_trouble_nothing_wished_goes_and_after_it_all_is_in_place_and_quiet(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same story each time
    cloud = Cloud(chance, USERS, ROLES)
    for _ in range(3):
        policy = random_policy(chance)
        cloud.trouble = chance.choice([0.0, 0.1, 0.4])
        for _ in range(5):
            if chance.random() < 0.3:
                cloud.hand()
            cloud.removed.clear()
            await cloud.step(policy)
            assert not set(cloud.removed) & wished(cloud, policy)
            assert ("assignment", "/foreign") not in cloud.removed
            assert not [what for what, _ in cloud.removed if what == "group"]
        await settle(cloud, policy)
        check_in_place(cloud, policy)


@pytest.mark.parametrize("seed", range(50))
async def test_at_the_end_nothing_is_left_behind(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - likewise
    cloud = Cloud(chance, USERS, ROLES)
    policy = random_policy(chance)
    cloud.trouble = 0.3
    for _ in range(chance.randint(1, 5)):
        await cloud.step(policy)
    cloud.assignments["/foreign"] = Assignment("foreign", SCOPE, guid("another"), guid("Owner"))
    for _ in range(200):
        if await cloud.end(policy):
            break
    assert cloud.group is None or cloud.group.deleted
    assert set(cloud.assignments) == {"/foreign"}
    assert cloud.cache.children(POLICY_KEY) == ()
    order = [what for what, _ in cloud.removed if what in {"binding", "assignment", "group"}]
    assert "group" not in order[:-1]
