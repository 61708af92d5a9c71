"""Assignments that nobody declared: removed where a policy says so, and never what another resource wants."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import GRANT, POLICY
from entra_access.api.resources import AdoptionPolicy
from entra_access.api.status import ADOPTED, Item, Subject, System
from entra_access.domain.changes import UnassignRole
from entra_access.domain.faults import Unavailable
from entra_access.domain.foreign_plan import plan_foreign
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment, AzureWorld
from entra_access.domain.role_plan import MADE, WishedRole, plan_assignments
from entra_access.reconcile import shared
from entra_access.reconcile.cache import Key
from entra_access.reconcile.claims import AssignmentClaims
from entra_access.reconcile.reconciler import CLAIMS_SECONDS
from unit.builders import PLACE, SCOPE, a_meta
from unit.office import APPDEV, Office
from unit.roles import plan, takes
from unit.worlds import AKS_READER, DEV_SCOPE, FAR, READER, ROBOT_ID, TEAM_ID, assigned, role_id, subject_of

TEAM = {"existingGroup": {"objectId": TEAM_ID}}
OTHER = Key(POLICY.kind, None, "other")
WORK = Key(GRANT.kind, "dev", "work")
BY_HAND = assigned(READER, TEAM_ID, name="by-hand", description="by hand")
IN_DEV = assigned(AKS_READER, TEAM_ID, DEV_SCOPE, name="by-hand-in-dev", description="by hand")


@pytest.fixture(autouse=True)
def minutes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks: what is known of own writes is old by then, and lists have caught up."""
    monkeypatch.setattr(shared, "OVERLAY_SECONDS", -1.0)


# What the plan says


def foreign(*there: Assignment, remove: bool = True, **fields: Any) -> list[tuple[str, bool]]:
    """The names of the foreign assignments of the robot that are told of, and whether each is removed."""
    world = AzureWorld(assignments=there, **fields)
    found = plan_foreign(subject_of(), PLACE, world, frozenset(), remove=remove)
    ids = {assignment_id(one.scope, one.name): one.name for one in there}
    assert all(one.foreign for one in found)
    return [
        (ids[one.change.assignment_id] if isinstance(one.change, UnassignRole) else "", bool(one.change))
        for one in found
    ]


X = assigned(READER, name="x", description="by hand")


def test_what_nobody_declared_is_removed_where_the_policy_says_so() -> None:
    assert foreign(X) == [("x", True)]
    assert foreign(X, remove=False) == [("", False)]


def test_nothing_is_removed_until_everybody_has_said_what_they_want() -> None:
    """It is told of meanwhile."""
    assert foreign(X, claims_known=False) == [("", False)]


def test_what_another_resource_wants_is_not_told_of() -> None:
    claimed = frozenset({assignment_id(SCOPE, "x").lower()})
    assert foreign(X, claimed=claimed) == []


def test_our_words_on_what_another_hand_made_do_not_hide_it() -> None:
    """Anybody can write a description, and can work out the name: what is ours, our resources claim."""
    ours = PLACE.note(a_meta())
    assert foreign(replace(X, description=ours)) == [("x", True)]
    assert [removed for _, removed in foreign(assigned(READER, description=ours))] == [True]


def test_what_gives_a_role_that_is_wanted_is_claimed_whoever_made_it() -> None:
    for there in (X, replace(X, condition="@Resource[x]")):
        assert assignment_id(SCOPE, "x").lower() in plan((READER, SCOPE), there=[there]).claims
    assert assignment_id(SCOPE, "x").lower() not in plan((AKS_READER, SCOPE), there=[X]).claims


# What was taken over

TAKEN = Item(System.AZURE, "RoleAssignment", READER, assignment_id(SCOPE, "x"), origin=ADOPTED, applied=MADE)


def adopting(adoption: AdoptionPolicy, *lines: Item, there: Assignment = X, wished: bool = True) -> Any:
    wishes = [WishedRole("spec.azureRoles[0].role", READER, SCOPE)] if wished else []
    world = AzureWorld(roles={READER: role_id(READER)}, assignments=(there,))
    return plan_assignments(wishes, subject_of(), a_meta(), PLACE, world, lines, adoption)


@pytest.mark.parametrize("adoption", list(AdoptionPolicy), ids=lambda one: one.value)
def test_what_was_taken_over_stays_while_it_is_wished_for(adoption: AdoptionPolicy) -> None:
    part = adopting(adoption, TAKEN)
    assert (part.additions, part.removals, part.inventory) == ([], [], [TAKEN])
    assert part.claims >= {TAKEN.id.lower()}


@pytest.mark.parametrize("adoption", list(AdoptionPolicy), ids=lambda one: one.value)
def test_a_condition_on_what_was_taken_over_is_put_right(adoption: AdoptionPolicy) -> None:
    """By its own name and with the words that another hand gave it; that is drift."""
    there = replace(X, condition="@Resource[x]", description="theirs")
    part = adopting(adoption, TAKEN, there=there)
    (change,) = part.additions
    assert (change.name, change.description, change.new, change.gives) == ("x", "theirs", False, True)
    assert str(change).endswith(", without the condition @Resource[x]"), "else nobody could put it back"
    assert change.id_for(change.principal_id) == TAKEN.id
    ((item, foreign),) = [(one.item, one.foreign) for one in part.differences]
    assert (item.field, item.expected, item.found, foreign) == ("condition", "none", "@Resource[x]", True)
    assert (part.removals, part.inventory, part.findings) == ([], [TAKEN], [])


@pytest.mark.parametrize("adoption", list(AdoptionPolicy), ids=lambda one: one.value)
def test_what_gives_a_part_only_is_taken_over_by_always_alone(adoption: AdoptionPolicy) -> None:
    """It is made whole then, which is no drift; else it is left as it is, and warned of."""
    part = adopting(adoption, there=replace(X, condition="@Resource[x]"))
    always = adoption is AdoptionPolicy.ALWAYS
    assert [one.name for one in part.additions] == (["x"] if always else [])
    assert [one.foreign for one in part.differences] == ([False] if always else [])
    assert [one.reason for one in part.findings] == ([] if always else ["ConditionalAssignment"])
    assert part.inventory == ([TAKEN] if always else [])


def test_nobody_is_told_to_take_over_what_never_is() -> None:
    """By its name it is what another operator, or another policy, made."""
    name = assignment_name(SCOPE, ROBOT_ID, role_id(READER))
    theirs = assigned(READER, name=name, description="another cluster's", condition="@Resource[x]")
    (said,) = adopting(AdoptionPolicy.ALWAYS, there=theirs).findings
    assert said.reason == "ConditionalAssignment"
    assert "adoptionPolicy" not in said.message


def test_what_was_taken_over_goes_when_it_is_wished_for_no_more() -> None:
    assert adopting(AdoptionPolicy.NEVER, TAKEN, wished=False).removals == [UnassignRole(TAKEN.id, READER)]


def test_of_another_principal_nothing_was_taken_over() -> None:
    """A line can be written by whoever may write a status."""
    theirs = replace(X, principal_id=TEAM_ID)
    assert adopting(AdoptionPolicy.ALWAYS, TAKEN, there=theirs, wished=False).removals == []


def test_what_was_made_here_is_not_taken_over() -> None:
    name = assignment_name(SCOPE, ROBOT_ID, role_id(READER))
    part = adopting(AdoptionPolicy.ALWAYS, there=assigned(READER, name=name, description="another cluster's"))
    assert (part.additions, part.inventory) == ([], [])
    assert plan(there=[assigned(READER)]).removals == [takes(READER, SCOPE, role_id(READER))]


# Whole passes


def office(*given: Assignment) -> Office:
    world = Office()
    world.namespace("dev")
    world.given |= {assignment_id(one.scope, one.name).lower(): one for one in given}
    return world


def remove(world: Office, **spec: Any) -> None:
    """The policy ``appdev`` removes what nobody declared."""
    world.policy(TEAM, foreignAssignments="Remove", **spec)


def other(world: Office, *roles: str, **spec: Any) -> Key:
    """Another policy for the same subject."""
    wishes = [{"role": role} for role in roles]
    return world.apply(POLICY, "other", {"subject": TEAM, "azureRoles": wishes, **spec})


def names(world: Office) -> set[str]:
    return {one.name for one in world.given.values()}


async def test_what_another_policy_wants_stays_whoever_made_it() -> None:
    world = office(BY_HAND)
    await world.look(other(world, READER))
    remove(world)
    await world.look(times=2)
    assert names(world) == {"by-hand"}
    await world.look(other(world))
    await world.look(times=2)
    assert names(world) == set(), "now nobody wants it"


async def test_what_a_grant_wants_stays_whoever_made_it() -> None:
    world = office(IN_DEV)
    remove(world, grants={"namespaces": {}, "azureRoles": [AKS_READER]})
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": [AKS_READER]}, "dev")
    for key in (APPDEV, WORK, APPDEV, WORK, APPDEV):
        await world.look(key)
    assert names(world) == {"by-hand-in-dev"}
    world.delete(WORK)
    await world.look(WORK, times=2)
    await world.look()
    assert names(world) == set()


@pytest.mark.parametrize("wants", [APPDEV, OTHER], ids=["itself", "another"])
async def test_what_gives_only_a_part_of_what_is_wanted_stays(wants: Key) -> None:
    """It is warned of: it must not go before there is another that gives all of it."""
    world = office(replace(BY_HAND, condition="@Resource[x]"))
    await world.look(other(world, *([READER] if wants == OTHER else [])))
    remove(world, azureRoles=[{"role": READER}] if wants == APPDEV else [])
    await world.look(times=2)
    assert names(world) == {"by-hand"}


async def test_what_is_there_twice_stays_where_both_are_wanted() -> None:
    """Somebody gives by hand what was given already: it is declared, if not by them."""
    world = office()
    remove(world, azureRoles=[{"role": READER}])
    await world.look()
    world.given[assignment_id(SCOPE, "by-hand").lower()] = BY_HAND
    await world.look(times=2)
    assert len(names(world)) == 2


@pytest.mark.parametrize("started_anew", [False, True])
async def test_who_is_being_deleted_wants_nothing_however_long_it_takes(started_anew: bool) -> None:  # noqa: FBT001
    """All of ours is gone, and somebody else's finalizer holds it up."""
    world = office(BY_HAND)
    await world.look(other(world, READER))
    metadata = {**world.body(OTHER)["metadata"], "finalizers": ["somebody/elses"]}
    metadata["finalizers"] += world.body(OTHER)["metadata"]["finalizers"]
    world.cache.put(POLICY, world._versioned({**world.body(OTHER), "metadata": metadata}))
    world.delete(OTHER)
    await world.look(OTHER)
    if started_anew:
        world.cache.azure_claims = AssignmentClaims()
        await world.look(OTHER)
    remove(world)
    await world.look(times=2)
    assert world.cache.resource(OTHER) is not None
    assert names(world) == set()


async def test_the_policy_waits_until_everybody_was_looked_at() -> None:
    """Also for what its own subject had before: after a start nobody has said yet what they want."""
    world = office(BY_HAND, IN_DEV)
    other(world, READER)
    remove(world, grants={"namespaces": {}, "azureRoles": [AKS_READER]})
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": [AKS_READER]}, "dev")
    assert (await world.look()).due == CLAIMS_SECONDS
    assert world.written("unassign") == []
    await world.look(OTHER)
    assert (await world.look()).due == CLAIMS_SECONDS
    assert world.written("unassign") == []
    await world.look(WORK)
    assert (await world.look()).due is None
    assert names(world) == {"by-hand", "by-hand-in-dev"}


async def test_it_waits_for_nobody_who_has_nothing_to_do_with_azure() -> None:
    world = office(BY_HAND)
    remove(world, grants={"namespaces": {}, "clusterRoles": ["view"]})
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "clusterRoles": ["view"]}, "dev")
    assert (await world.look()).due is None
    assert names(world) == set()


async def test_who_removes_nothing_waits_for_nobody() -> None:
    world = office(BY_HAND)
    other(world, READER)
    world.policy(TEAM)
    assert (await world.look()).due is None


async def test_after_a_start_it_waits_again() -> None:
    world = office(BY_HAND)
    await world.look(other(world, READER))
    world.cache.azure_claims = AssignmentClaims()
    remove(world)
    assert (await world.look()).due == CLAIMS_SECONDS
    assert names(world) == {"by-hand"}
    await world.look(OTHER)
    await world.look()
    assert names(world) == {"by-hand"}


@pytest.mark.parametrize("call", ["principal", "role_id", "assignments"])
async def test_what_another_wanted_stays_while_it_cannot_look(call: str) -> None:
    """Unknown is not absent: what it wanted before the outage it may want still."""
    world = office(BY_HAND)
    await world.look(other(world, READER))
    world.reconciler._planner._gatherer._azure.roles.clear()  # an hour later
    world.faults[call] = Unavailable("down")
    await world.look(OTHER)
    world.faults.clear()
    remove(world)
    await world.look(times=2)
    assert names(world) == {"by-hand"}
    await world.look(other(world))
    await world.look(times=2)
    assert names(world) == set(), "now nobody wants it"


async def test_what_a_policy_wants_stays_when_the_first_look_does_not_see_its_own_subject() -> None:
    """The status has no subject yet; the list at the cluster shows assignments of all principals."""
    world = office(BY_HAND)
    await world.look(other(world, READER))
    remove(world)
    assert world.status().subject is None
    await world.look()
    assert names(world) == {"by-hand"}


async def test_far_from_the_cluster_nothing_is_removed() -> None:
    far = assigned(READER, TEAM_ID, FAR, name="far", description="by hand")
    world = office(far)
    remove(world, azureRoles=[{"role": AKS_READER, "scope": FAR}])
    await world.look(times=2)
    assert "far" in names(world)


def test_a_subject_that_is_not_known_has_nothing_foreign() -> None:
    making = Subject("Group", "", "appdev")
    world = AzureWorld(assignments=(replace(X, principal_id=""),))
    assert plan_foreign(making, PLACE, world, frozenset(), remove=True) == []
