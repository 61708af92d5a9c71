"""Who a policy's status names counts for others only while the spec still asks for them."""

from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, GRANT, POLICY
from entra_access.api.resources import ServiceAccountSubject, SubjectSpec
from entra_access.api.status import Subject
from entra_access.domain.faults import Unavailable
from entra_access.domain.subject_plan import is_for
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import GROUP_ID, a_policy, group_of
from unit.office import APPDEV, Office
from unit.worlds import (
    AKS_READER,
    AKS_WRITER,
    ANNA,
    ANNA_ID,
    ROBOT_ID,
    TEAM_ID,
    an_account,
    robot,
    team,
    user,
)

WORK = Key("NamespaceGrant", "dev", "work")
PERSON = {"user": {"userPrincipalName": ANNA}}
ROBOT = {"servicePrincipal": {"objectId": ROBOT_ID}}
MADE = Subject("Group", GROUP_ID, "appdev")
THEIRS = Subject("Group", TEAM_ID, "team", "Existing", reference=f"group objectId {TEAM_ID}")
SOMEBODY = Subject("User", ANNA_ID, ANNA, "Existing", ANNA, reference=f"user {ANNA.lower()}")
ACCOUNT = Subject("ServiceAccount", "", "tools/demo", "Created", "demo", "tools", "")
SUBJECTS = {"made": MADE, "theirs": THEIRS, "somebody": SOMEBODY, "account": ACCOUNT}
FITTING: dict[str, tuple[SubjectSpec, set[str]]] = {
    "a group to make": (group_of(a_policy()), {"made"}),
    "an existing group": (team(), {"theirs"}),
    "the group that was made, as an existing one": (team(GROUP_ID), set()),
    "a user": (user(), {"somebody"}),
    "an application": (robot(), set()),
    "an account": (an_account(), {"account"}),
    "an account of another namespace": (ServiceAccountSubject("default", "demo"), set()),
    "another account": (ServiceAccountSubject("tools", "other"), set()),
}


@pytest.mark.parametrize(("wish", "expected"), FITTING.values(), ids=FITTING)
def test_whom_a_spec_asks_for(wish: SubjectSpec, expected: set[str]) -> None:
    assert {name for name, subject in SUBJECTS.items() if is_for(wish, subject)} == expected


def test_an_adopted_group_is_the_policys_own() -> None:
    adopted = Subject("Group", GROUP_ID, "appdev", "Adopted")
    assert is_for(group_of(a_policy()), adopted)
    assert not is_for(group_of(a_policy()), Subject("Group", GROUP_ID, "appdev", "Existing"))


def policy(version: int, name: str, subject: Any, status: Subject | None = None) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": str(version)}
    found = {"subject": status.as_dict()} if status else {}
    return {"metadata": metadata, "spec": {"subject": subject}, "status": found}


def test_others_see_only_a_subject_that_the_spec_asks_for() -> None:
    cache = WatchCache()

    def seen(version: int, subject: Any, status: Subject) -> Subject | None:
        cache.put(POLICY, policy(version, "appdev", subject, status))
        view = cache.policy_view("appdev")
        assert view is not None
        return view.subject

    assert seen(1, PERSON, SOMEBODY) == SOMEBODY
    assert seen(2, ROBOT, SOMEBODY) is None
    assert seen(3, {"group": {"displayName": "appdev"}}, THEIRS) is None
    assert seen(4, {"nobody": {}}, SOMEBODY) == SOMEBODY, "what cannot be read changes nothing"


def test_a_group_is_its_policys_until_it_is_gone() -> None:
    """Also when the spec asks for another subject: the name is free when the group is deleted."""
    cache = WatchCache()
    cache.put(POLICY, policy(1, "appdev", PERSON, MADE))
    cache.put(POLICY, policy(2, "ops", {"group": {"displayName": "AppDev"}}))
    assert cache.claimant("ops") == "appdev"
    cache.put(POLICY, policy(3, "appdev", PERSON, SOMEBODY))
    assert cache.claimant("ops") is None


async def office() -> Office:
    """A policy for a person whose grants may give little, and a grant of that."""
    world = Office()
    world.namespace("dev")
    for role in ("view", "edit", "admin"):
        world.cache.put(
            CLUSTER_ROLE, {"metadata": {"name": role, "uid": f"uid-of-{role}", "resourceVersion": "1"}}
        )
    limits = {"namespaces": {}, "clusterRoles": ["view", "edit"], "azureRoles": [AKS_READER]}
    world.policy(PERSON, grants=limits)
    world.apply(
        GRANT,
        "work",
        {"policyRef": {"name": "appdev"}, "clusterRoles": ["view", "edit"], "azureRoles": [AKS_READER]},
        "dev",
    )
    await world.look()
    await world.look(WORK, times=2)
    assert holders(world) == {ANNA_ID}
    return world


def holders(world: Office) -> set[str]:
    """Who has an Azure role."""
    return {one.principal_id for one in world.given.values()}


async def test_a_new_ceiling_is_not_for_the_former_subject() -> None:
    """Both change at once, and the directory cannot say who the new subject is: nobody gets more."""
    world = await office()
    world.faults["principal"] = Unavailable("down")
    before = world.status(WORK).subject
    children = world.cache.children(WORK)
    world.writes.clear()
    limits = {
        "namespaces": {},
        "clusterRoles": ["view", "edit", "admin"],
        "azureRoles": [AKS_READER, AKS_WRITER],
    }
    world.policy(ROBOT, grants=limits)
    more = {"clusterRoles": ["view", "admin"], "azureRoles": [AKS_READER, AKS_WRITER]}
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, **more}, "dev")

    for _ in range(3):
        await world.look()
        await world.look(WORK)

    assert {name for name, _ in world.writes} == {"status"}, "nothing is given, and nothing taken away"
    assert (holders(world), len(world.given)) == ({ANNA_ID}, 1)
    assert world.cache.children(WORK) == children
    ready = world.status(WORK).condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "SubjectNotReady")
    assert world.status(WORK).subject == before, "who has the access now"
    assert len(world.status(WORK).inventory) == 3

    world.faults.clear()
    await world.look()
    assert WORK in world.due
    await world.look(WORK, times=2)
    assert (holders(world), len(world.given)) == ({ROBOT_ID}, 2)
    bound = {
        child.content["roleRef"]["name"]: child.content["subjects"] for child in world.cache.children(WORK)
    }
    assert bound.keys() == {"view", "admin"}
    assert {one["name"] for subjects in bound.values() for one in subjects} == {ROBOT_ID}


async def test_a_lower_ceiling_counts_for_the_former_subject_too() -> None:
    world = await office()
    world.faults["principal"] = Unavailable("down")
    world.policy(ROBOT, grants={"namespaces": {}, "clusterRoles": ["view"]})
    await world.look()
    await world.look(WORK)
    assert world.given == {}
    assert world.cache.children(WORK) == ()
    assert world.status(APPDEV).subject is not None
