"""What stays when its resource goes: what a policy keeps, and what was there before it was taken over."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, GRANT, POLICY, ROLE_BINDING
from entra_access.api.resources import AdoptionPolicy, DeletePolicy
from entra_access.domain.changes import Change, DeleteChild, ReleaseChild
from entra_access.domain.children import Child, ChildRef, SeenChild
from entra_access.domain.grant_plan import plan_grant, plan_grant_removal
from entra_access.domain.naming import binding_name
from entra_access.domain.plan import plan_children, plan_children_removal
from entra_access.domain.policy_plan import plan_policy_removal
from entra_access.reconcile.cache import Key
from unit.builders import (
    AT,
    NOW,
    PLACE,
    a_ceiling,
    a_grant,
    a_meta,
    a_policy,
    a_view,
    child_line,
    cluster_binding,
    grant_binding,
    grant_world,
    nothing_yet,
    seen,
)
from unit.office import APPDEV, Office
from unit.worlds import TEAM_ID

TEAM = {"existingGroup": {"objectId": TEAM_ID}}
WORK = Key(GRANT.kind, "dev", "work")
BINDING = ChildRef(ROLE_BINDING, "dev", binding_name("work", CLUSTER_ROLE.kind, "view"))
OWN = grant_binding(a_grant(), "view")
ADOPTED = replace(OWN, adopted=True)
EVERY = list(AdoptionPolicy)


def line(child: Child) -> Any:
    """The inventory's line for a binding, which knows whether it was there before."""
    return replace(child_line(child), origin="Adopted" if child.adopted else "")


# What the plan says


def ends(child: Child, *, told: bool = True) -> Change:
    """What becomes of a grant's binding when its policy goes; `told`: the inventory knows it."""
    grant, inventory = a_grant(cluster_roles="view"), (line(child),) if told else ()
    policy = replace(a_policy(ceiling=a_ceiling(cluster_roles="view")), adoption=AdoptionPolicy.ALWAYS)
    (going,) = plan_grant(
        grant, PLACE, grant_world(a_view(policy, deleting=True), (seen(child),)), inventory, AT
    ).changes
    (gone,) = plan_grant(grant, PLACE, grant_world(None, (seen(child),)), inventory, AT, had=True).changes
    assert going == gone
    return gone


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_with_the_policy_what_its_grants_took_over_is_let_go_and_what_they_made_goes(told: bool) -> None:  # noqa: FBT001
    """Also what the operator could not write down any more before it died."""
    assert isinstance(ends(ADOPTED, told=told), ReleaseChild)
    assert isinstance(ends(OWN, told=told), DeleteChild)


def removal_of_grant(child: SeenChild, *lines: Any, adoption: AdoptionPolicy) -> Change:
    (change,) = plan_grant_removal(
        a_grant().meta, PLACE, grant_world(None, (child,)), lines, adoption
    ).changes
    return change


@pytest.mark.parametrize("adoption", EVERY, ids=lambda one: one.value)
def test_with_a_grant_what_it_took_over_is_let_go(adoption: AdoptionPolicy) -> None:
    """Whatever its policy says now: the inventory tells what was there before."""
    change = removal_of_grant(seen(ADOPTED), line(ADOPTED), adoption=adoption)
    assert isinstance(change, ReleaseChild)
    assert isinstance(removal_of_grant(seen(OWN), line(OWN), adoption=adoption), DeleteChild)


def test_what_was_taken_over_right_before_the_operator_died_is_known_by_its_annotation() -> None:
    """No inventory tells of it. Anybody may write one, so it counts only where things may be adopted."""
    expected = {AdoptionPolicy.NEVER: DeleteChild}
    for adoption in EVERY:
        change = removal_of_grant(seen(ADOPTED), adoption=adoption)
        assert isinstance(change, expected.get(adoption, ReleaseChild))


def test_with_the_policy_itself_too() -> None:
    policy = a_policy(cluster_roles="view")
    taken = replace(cluster_binding("view"), adopted=True)
    world = replace(nothing_yet(policy), children=(seen(taken),))
    for adoption, lines in ((AdoptionPolicy.NEVER, (line(taken),)), (AdoptionPolicy.ALWAYS, ())):
        made = plan_policy_removal(a_meta(), PLACE, world, lines, NOW, adoption)
        assert [type(change) for change in made.changes] == [ReleaseChild]
        assert [item.adopted for item in made.inventory] == [True]


def annotated(child: SeenChild) -> SeenChild:
    """Somebody writes the annotation on what was made here."""
    return replace(child, adopted=True)


def test_nobody_makes_ours_survive_by_an_annotation() -> None:
    for lines in ((), (line(OWN),)):
        found = plan_children_removal([annotated(seen(OWN))], lines, AdoptionPolicy.ALWAYS, keep=False)
        assert [type(change) for change in found.removals] == [DeleteChild]


def test_an_object_that_was_made_anew_is_not_the_one_that_was_taken_over() -> None:
    anew = replace(seen(OWN), uid="another")
    found = plan_children_removal([anew], [line(ADOPTED)], AdoptionPolicy.ALWAYS, keep=False)
    assert [type(change) for change in found.removals] == [DeleteChild]


@pytest.mark.parametrize("adoption", EVERY, ids=lambda one: one.value)
def test_what_was_taken_over_has_no_owner_and_stays_as_it_is(adoption: AdoptionPolicy) -> None:
    found = plan_children([OWN], [seen(ADOPTED)], [line(ADOPTED)], adoption=adoption)
    assert (found.additions, found.removals) == ((), ())
    assert [item.adopted for item in found.inventory] == [True]


@pytest.mark.parametrize("kept", [DeletePolicy.DELETE, DeletePolicy.KEEP], ids=lambda one: one.value)
def test_what_a_grant_makes_has_an_owner_only_where_its_policy_deletes(kept: DeletePolicy) -> None:
    """Kubernetes collects what has an owner, however that is deleted."""
    policy = replace(a_policy(ceiling=a_ceiling(cluster_roles="view")), delete_policy=kept)
    made = plan_grant(a_grant(cluster_roles="view"), PLACE, grant_world(a_view(policy)), (), AT)
    children: list[Any] = list(made.changes)
    assert [one.child.owned for one in children] == [kept is DeletePolicy.DELETE]


# Whole passes


def office(**spec: Any) -> Office:
    """A policy, and a grant of it that binds ``view``."""
    world = Office()
    world.namespace("dev")
    role = {"metadata": {"name": "view", "uid": "view", "resourceVersion": "1"}}
    world.cache.put(CLUSTER_ROLE, role)
    policy(world, **spec)
    return world


def policy(world: Office, **spec: Any) -> None:
    world.policy(TEAM, grants={"namespaces": {}, "clusterRoles": ["view"]}, **spec)


async def granted(world: Office) -> Office:
    """The grant is made, and all is in place."""
    await world.look(times=2)
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "clusterRoles": ["view"]}, "dev")
    await world.look(WORK, times=2)
    assert world.there(ROLE_BINDING) == [BINDING.path]
    return world


def theirs(world: Office) -> None:
    """Somebody has made a binding of the very name that the grant's will have."""
    world.put_object(BINDING)


def owners(world: Office) -> int:
    return len(world.objects[BINDING]["metadata"]["ownerReferences"])


def is_let_go(world: Office) -> bool:
    """Whether it is there, and nothing of ours is on it."""
    return BINDING in world.objects and "labels" not in world.objects[BINDING]["metadata"]


def gone(world: Office, key: Key) -> bool:
    return world.cache.resource(key) is None


async def test_that_a_policy_keeps_is_heard_by_its_grants() -> None:
    world = await granted(office())
    assert owners(world) == 1
    world.due.clear()
    body = {**world.body(), "spec": {**world.body()["spec"], "deletePolicy": "Keep"}}
    assert WORK in world.cache.put(POLICY, world._versioned(body))
    await world.look(WORK, times=2)
    assert owners(world) == 0
    assert "entra-access.dev/release" in world.body(WORK)["metadata"]["finalizers"]
    world.delete(WORK)
    await world.look(WORK, times=2)
    assert gone(world, WORK)
    assert is_let_go(world)


async def test_that_it_deletes_again_is_heard_too() -> None:
    world = await granted(office(deletePolicy="Keep"))
    assert owners(world) == 0
    policy(world, deletePolicy="Delete")
    await world.look(WORK, times=2)
    assert owners(world) == 1
    world.delete(WORK)
    await world.look(WORK, times=2)
    assert BINDING not in world.objects


async def test_what_a_grant_took_over_is_let_go_when_its_policy_is_deleted() -> None:
    world = office(adoptionPolicy="Always")
    theirs(world)
    await granted(world)
    world.delete(APPDEV)
    await world.look(times=2)
    assert gone(world, APPDEV)
    await world.look(WORK, times=2)
    assert is_let_go(world)
    assert world.written("delete_child") == []


async def test_what_was_taken_over_before_the_operator_died_is_let_go_with_the_policy_and_the_grant() -> None:
    """No inventory tells of it, and the policy that said so is gone: nobody knows, so it stays."""
    world = office(adoptionPolicy="Always")
    theirs(world)
    await granted(world)
    world.delete(APPDEV)
    await world.look(times=2)
    body = world.body(WORK)
    world.cache.put(GRANT, world._versioned({**body, "status": {**body["status"], "inventory": []}}))
    world.delete(WORK)
    await world.look(WORK, times=2)
    assert gone(world, WORK)
    assert is_let_go(world)


@pytest.mark.parametrize("adoption", ["Never", "Always"])
async def test_what_a_resource_left_that_is_gone_goes_unless_it_was_taken_over(adoption: str) -> None:
    """Its finalizer was taken off by hand, say: nothing tells of it any more but what is on the object."""
    world = office(adoptionPolicy=adoption)
    if adoption == "Always":
        theirs(world)
    await granted(world)
    world.cache.drop(GRANT, "dev", "work")
    await world.look(WORK)
    assert is_let_go(world) == (adoption == "Always")
    assert (BINDING in world.objects) == (adoption == "Always")


async def test_a_grant_keeps_nothing_without_its_policy() -> None:
    """Deleted before it, it keeps; after it, it gives nothing, as always."""
    world = await granted(office(deletePolicy="Keep"))
    world.delete(APPDEV)
    await world.look(times=2)
    await world.look(WORK, times=2)
    assert BINDING not in world.objects
