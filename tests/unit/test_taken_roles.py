"""Custom roles that were taken over, or are another policy's: what makes a role a policy's own."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import GRANT, POLICY
from entra_access.api.resources import AccessPolicy, AdoptionPolicy, AzureRole, CustomRole
from entra_access.api.status import ADOPTED, Item, System
from entra_access.domain.changes import AssignRole, DefineRole
from entra_access.domain.definition_plan import definition_item, definition_mark, wished_definition
from entra_access.domain.faults import Denied, Fault, Severity, Unavailable
from entra_access.domain.naming import assignment_id, assignment_name, definition_id, guid_in
from entra_access.domain.observed import Assignment, Definition
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy, plan_policy_removal
from entra_access.domain.role_plan import MADE
from entra_access.reconcile.cache import Key
from unit.builders import BEFORE, NOW, PLACE, SCOPE, a_meta, guid
from unit.office import APPDEV, Office
from unit.worlds import (
    DEV_SCOPE,
    RESOURCE_GROUP,
    ROBOT_ID,
    TEAM_ID,
    a_policy_for,
    a_world,
    assigned,
    known,
    robot,
)

NAME = "Pod Restarter"
ROLE = CustomRole(NAME, "May delete pods", data_actions=("pods/delete",))
OWN = wished_definition(ROLE, "appdev", PLACE)
THEIRS = replace(OWN, guid=guid("theirs"), description="by hand")
TAKEN = replace(definition_item(THEIRS, BEFORE, definition_mark(OWN)), origin=ADOPTED)
OWNER = known("Owner")
EVERY = list(AdoptionPolicy)
BY_NAME = AzureRole(NAME)


def wish(adoption: AdoptionPolicy = AdoptionPolicy.NEVER) -> AccessPolicy:
    """The policy ``appdev``, which has the custom role and gives it at the cluster."""
    return replace(a_policy_for(robot(), BY_NAME, custom_roles=(ROLE,)), adoption=adoption)


def plan(
    *lines: Item,
    adoption: AdoptionPolicy = AdoptionPolicy.NEVER,
    there: Definition | Fault | None = None,
    other: Definition | None = None,
    owners: dict[str, str] | None = None,
    assignments: tuple[Assignment, ...] = (),
) -> Plan:
    """The plan where the role was looked up as told; `other` has its name, `owners` are other policies."""
    policy = wish(adoption)
    world = a_world(
        policy,
        roles={},
        definitions={NAME: there},
        definition_namesakes={NAME: other},
        definition_owners=owners or {},
        assignments=assignments,
    )
    return plan_policy(policy, PLACE, world, lines, NOW)


def reasons(made: Plan) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.reason) for finding in made.findings]


def defined(made: Plan) -> list[str]:
    """The GUIDs of the roles that are written."""
    return [change.definition.guid for change in made.changes if isinstance(change, DefineRole)]


# What was taken over


@pytest.mark.parametrize("adoption", EVERY, ids=lambda one: one.value)
def test_what_was_taken_over_stays_so_whatever_the_policy_says_now(adoption: AdoptionPolicy) -> None:
    """It is put right in place, and no second one is made."""
    made = plan(TAKEN, adoption=adoption, there=THEIRS)
    assert defined(made) == [THEIRS.guid]
    (item,) = [one for one in made.inventory if one.kind == "RoleDefinition"]
    assert (guid_in(item.id), item.adopted) == (THEIRS.guid, True)
    assert [one.role_id for one in made.changes if isinstance(one, AssignRole)] == [THEIRS.guid]
    assert made.findings == ()


def test_what_was_taken_over_is_not_deleted_with_its_policy_or_with_its_wish() -> None:
    removal = plan_policy_removal(a_meta(), PLACE, a_world(a_policy_for(robot())), (TAKEN,), NOW)
    assert removal.changes == ()
    without = a_policy_for(robot())
    assert plan_policy(without, PLACE, a_world(without), (TAKEN,), NOW).changes == ()


# Lines that are forged: whoever may write a status can write them


def forged(role_guid: str, name: str = NAME) -> Item:
    """A line that says that a role was taken over."""
    item = replace(TAKEN, name=name)
    return replace(item, id=definition_id(RESOURCE_GROUP, role_guid))


@pytest.mark.parametrize("adoption", EVERY, ids=lambda one: one.value)
def test_a_forged_line_rewrites_no_role_of_another_name_and_gives_none(adoption: AdoptionPolicy) -> None:
    line = forged(OWNER.guid)
    made = plan(line, adoption=adoption, there=Definition(OWNER.guid, OWNER.name))
    assert made.changes == ()
    assert (Severity.STALLED, "RoleRenamed") in reasons(made)
    assert OWNER.name in made.findings[0].message


@pytest.mark.parametrize("fault", [Unavailable("down"), Denied("no right")], ids=lambda one: one.reason)
def test_a_forged_line_gives_no_role_that_cannot_be_seen_now(fault: Fault) -> None:
    """Its name alone proves that it is the one that was taken over."""
    made = plan(forged(OWNER.guid), there=fault)
    assert made.changes == ()
    assert fault.reason in [reason for _, reason in reasons(made)]


def test_what_was_given_of_one_that_cannot_be_seen_now_stays() -> None:
    """And nothing else is said of it than that."""
    name = assignment_name(SCOPE, ROBOT_ID, THEIRS.guid)
    given = assigned(NAME, name=name, role_id=THEIRS.guid)
    item = Item(System.AZURE, "RoleAssignment", NAME, assignment_id(SCOPE, name), applied=MADE)
    made = plan(TAKEN, item, there=Unavailable("down"), assignments=(given,))
    assert made.changes == ()
    assert set(made.inventory) == {TAKEN, item}
    assert reasons(made) == [(Severity.UNKNOWN, "Unavailable"), (Severity.WAITING, "RoleNotReady")]


@pytest.mark.parametrize("owner", ["aaa", "zzz"])
def test_a_forged_line_does_not_make_another_policys_role_ours(owner: str) -> None:
    """Whichever of their names comes first."""
    other = wished_definition(ROLE, owner, PLACE)
    made = plan(forged(other.guid), there=other, owners={other.guid: owner})
    assert made.changes == ()
    assert (Severity.STALLED, "RoleExists") in reasons(made)
    assert f"AccessPolicy {owner} has the role" in made.findings[0].message


@pytest.mark.parametrize("owner", ["aaa", "zzz"])
def test_a_forged_line_of_another_policy_does_not_take_ours_away(owner: str) -> None:
    made = plan(
        definition_item(OWN, BEFORE), there=replace(OWN, description="edited"), owners={OWN.guid: owner}
    )
    assert defined(made) == [OWN.guid]
    assert made.findings == ()


# Of two policies


@pytest.mark.parametrize("adoption", EVERY, ids=lambda one: one.value)
def test_another_policys_role_is_not_taken_over(adoption: AdoptionPolicy) -> None:
    other = wished_definition(ROLE, "ops", PLACE)
    made = plan(adoption=adoption, other=other, owners={other.guid: "ops"})
    assert made.changes == ()
    assert (Severity.STALLED, "RoleExists") in reasons(made)
    assert "AccessPolicy ops has the role" in made.findings[0].message


@pytest.mark.parametrize(("owner", "has_it"), [("aaa", False), ("zzz", True)])
def test_of_two_that_took_over_the_same_role_at_once_the_first_by_name_has_it(
    owner: str,
    has_it: bool,  # noqa: FBT001
) -> None:
    made = plan(TAKEN, there=THEIRS, owners={THEIRS.guid: owner})
    assert defined(made) == ([THEIRS.guid] if has_it else [])
    assert reasons(made)[:1] == ([] if has_it else [(Severity.STALLED, "RoleExists")])


# The whole way

CUSTOM: dict[str, Any] = {"name": NAME, "description": "May delete pods", "dataActions": ["pods/delete"]}
TEAM = {"existingGroup": {"objectId": TEAM_ID}}
OPS, WORK = Key("AccessPolicy", None, "ops"), Key("NamespaceGrant", "dev", "work")


def by_hand(world: Office) -> str:
    """Somebody has made a role of that name. Returns its GUID."""
    world.definitions[THEIRS.guid] = THEIRS
    return THEIRS.guid


def write(world: Office, adoption: str, name: str = "appdev", **spec: Any) -> Key:
    wished = {"azureRoles": [{"role": NAME}], "adoptionPolicy": adoption, "customRoles": [CUSTOM]}
    return world.apply(POLICY, name, {"subject": TEAM, **wished, **spec})


async def test_a_role_that_was_taken_over_is_kept_in_order_when_the_policy_adopts_no_more() -> None:
    world = Office()
    taken = by_hand(world)
    write(world, "Always")
    await world.look(times=2)
    assert list(world.definitions) == [taken]
    write(world, "Never")
    world.definitions[taken] = replace(world.definitions[taken], description="by hand again")
    await world.look(times=2)
    assert list(world.definitions) == [taken]
    assert world.definitions[taken].description == "May delete pods"
    (item,) = [one for one in world.status().inventory if one.kind == "RoleDefinition"]
    assert (guid_in(item.id), item.adopted) == (taken, True)
    world.writes.clear()
    await world.look(times=2)
    assert world.writes == []
    world.delete(APPDEV)
    await world.look(times=2)
    assert list(world.definitions) == [taken], "it was there before"
    assert world.given == {}


@pytest.mark.parametrize("first", ["made", "taken over"])
async def test_the_role_of_one_policy_is_not_taken_over_by_the_next(first: str) -> None:
    world = Office()
    if first == "taken over":
        by_hand(world)
    write(world, "Always")
    await world.look(times=2)
    before = dict(world.definitions)
    write(world, "Always", "ops", customRoles=[{**CUSTOM, "dataActions": ["*"]}])
    await world.look(OPS, times=2)
    assert world.definitions == before
    condition = world.status(OPS).condition("AzureRolesReady")
    assert condition is not None
    assert "AccessPolicy appdev has the role" in condition.message


async def test_a_role_that_is_about_to_be_taken_over_is_another_policys_already() -> None:
    """The operator may have died between writing that down and saying that it was done."""
    world = Office()
    taken = by_hand(world)
    write(world, "Always")
    line = replace(definition_item(replace(OWN, guid=taken), ""), origin=ADOPTED)
    world.write_status({"inventory": [line.as_dict()]})
    write(world, "Always", "ops")
    await world.look(OPS, times=2)
    assert world.written("define") == []


async def test_a_role_that_a_policy_makes_is_its_own_though_its_status_was_lost() -> None:
    world = Office()
    write(world, "Always")
    await world.look(times=2)
    world.write_status({})
    before = dict(world.definitions)
    write(world, "Always", "ops", customRoles=[{**CUSTOM, "dataActions": ["*"]}])
    await world.look(OPS, times=2)
    assert world.definitions == before


async def test_of_two_that_took_a_role_over_at_once_the_one_that_has_it_looks_again() -> None:
    """The other may have written it in the meantime."""
    world = Office()
    line = replace(definition_item(replace(OWN, guid=by_hand(world)), BEFORE), origin=ADOPTED)
    for name in ("appdev", "ops"):
        key = write(world, "Always", name)
        body = {**world.body(key), "status": {"inventory": [line.as_dict()]}}
        world.cache.put(POLICY, world._versioned(body))
    world.due.clear()
    await world.look()
    assert world.written("define") == [line.id]
    assert OPS in world.due


async def test_a_grant_is_given_the_role_that_its_policy_took_over() -> None:
    world = Office()
    world.namespace("dev")
    taken = by_hand(world)
    write(world, "Always", grants={"namespaces": {}, "azureRoles": [NAME]})
    await world.look(times=2)
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": [NAME]}, "dev")
    await world.look(WORK, times=2)
    assert [one.role_id for one in world.given.values() if one.scope == DEV_SCOPE] == [taken]


async def test_a_forged_line_of_its_policy_gives_a_grant_no_other_role() -> None:
    """Whoever may write the status of a policy must not become owner of a namespace by a grant."""
    world = Office()
    world.namespace("dev")
    write(world, "Never", grants={"namespaces": {}, "azureRoles": [NAME]})
    await world.look(times=2)
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": [NAME]}, "dev")
    status = world.body()["status"]
    lines = [one for one in status["inventory"] if one["kind"] != "RoleDefinition"]
    world.write_status({**status, "inventory": [*lines, forged(OWNER.guid).as_dict()]})
    await world.look(WORK, times=2)
    there = [one.role_id for one in world.given.values() if one.scope == DEV_SCOPE]
    assert there == [OWN.guid]
