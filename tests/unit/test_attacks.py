"""What an attack on whole passes had found: wrong access that stayed, and access that went unasked."""

from typing import Any

import pytest

from entra_access.api.names import (
    ANNOTATION_ABANDON,
    ANNOTATION_APPROVE,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    GRANT,
    POLICY,
    ROLE,
    ROLE_BINDING,
)
from entra_access.api.status import Condition
from entra_access.domain.faults import Finding, Link, Severity
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment, Principal
from entra_access.reconcile.contests import CONTESTED, Contests
from entra_access.reconcile.outcome import Next, next_look
from unit.builders import SCOPE, guid
from unit.office import APPDEV, Office
from unit.worlds import A_ROBOT, A_USER, AKS_CLUSTER_ADMIN, ANNA, ANNA_ID, READER, role_id

BY_NAME = {"user": {"userPrincipalName": ANNA}}
EVE = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve@contoso.com"}]
NAMESAKE = Principal(guid("another anna"), "user", ANNA, "Another Anna Berg")


def an_office(*cluster_roles: str) -> Office:
    """One in which there are such ClusterRoles, and a namespace."""
    world = Office()
    world.namespace("dev")
    for name in cluster_roles:
        world.cache.put(CLUSTER_ROLE, {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}})
    return world


async def with_a_grant(world: Office, **spec: Any) -> Any:
    """A policy for Anna with a grant that binds her to edit. Returns the grant's key."""
    world.policy(BY_NAME, grants={"namespaces": {}, "clusterRoles": ["edit"]}, **spec)
    key = world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "clusterRoles": ["edit"]}, "dev")
    for _ in range(3):
        await world.look()
        await world.look(key)
    return key


def condition(world: Office, kind: str, key: Any = APPDEV) -> Condition:
    found = world.status(key).condition(kind)
    assert found is not None
    return found


def names_in(world: Office, ref: Any) -> list[str]:
    return [one["name"] for one in world.objects[ref]["subjects"]]


async def test_bindings_are_looked_after_while_their_subject_is_missing() -> None:
    """What was given stays theirs: nobody else takes it over, and what is no longer wished for goes."""
    world = an_office("view", "edit")
    key = await with_a_grant(world, clusterRoles=["view"])
    world.people = [A_ROBOT]
    await world.look(times=2)
    await world.look(key, times=2)
    assert condition(world, "Stalled").reason == "SubjectNotFound"
    (of_policy,), (of_grant,) = world.ours(CLUSTER_ROLE_BINDING), world.ours(ROLE_BINDING)

    for ref, looked in ((of_policy, APPDEV), (of_grant, key)):
        world.edit(ref, "kubectl-edit", subjects=EVE)
        await world.look(looked)
        assert names_in(world, ref) == [ANNA]
        assert world.status(looked).drift["items"][0]["changedBy"] == "kubectl-edit"

    world.policy(BY_NAME, grants={"namespaces": {}, "clusterRoles": ["edit"]})
    await world.look()
    assert world.ours(CLUSTER_ROLE_BINDING) == []


async def test_who_has_the_name_of_a_subject_now_has_not_its_access() -> None:
    """Bindings are by name, so they go at once, also those of grants, until a person approves."""
    world = an_office("view", "edit")
    key = await with_a_grant(world, clusterRoles=["view"], azureRoles=[{"role": READER}])
    world.people = [A_ROBOT, NAMESAKE]

    await world.look()
    first = condition(world, "SubjectReady").message
    await world.look(key, times=2)

    assert (world.ours(CLUSTER_ROLE_BINDING), world.ours(ROLE_BINDING)) == ([], [])
    said = condition(world, "SubjectReady")
    assert said.reason == "RemovalsNeedApproval"
    assert "they are taken away until then" in said.message
    assert condition(world, "Stalled", key).reason == "SubjectNotApproved"
    await world.look(times=3)
    await world.look(key, times=3)
    assert condition(world, "SubjectReady").message == first
    assert (world.ours(CLUSTER_ROLE_BINDING), world.ours(ROLE_BINDING)) == ([], []), "it stays so"
    assert {one.principal_id for one in world.given.values()} == {ANNA_ID}, "Azure goes by object id"

    approval = said.message.partition(f"{ANNOTATION_APPROVE}=")[2].split()[0].rstrip(";")
    body = world.body()
    annotated = {**body, "metadata": {**body["metadata"], "annotations": {ANNOTATION_APPROVE: approval}}}
    world.cache.put(POLICY, world._versioned(annotated))
    await world.look(times=2)
    await world.look(key, times=2)
    assert names_in(world, world.ours(CLUSTER_ROLE_BINDING)[0]) == [ANNA]
    assert names_in(world, world.ours(ROLE_BINDING)[0]) == [ANNA]
    assert {one.principal_id for one in world.given.values()} == {NAMESAKE.id}
    assert condition(world, "Ready", key).status == "True"


async def test_what_is_kept_survives_when_its_policy_is_abandoned_and_is_told() -> None:
    """It belongs to nobody then, so that the next start does not take it for a remainder."""
    world = an_office("view")
    world.policy(BY_NAME, clusterRoles=["view"], azureRoles=[{"role": READER}], deletePolicy="Keep")
    await world.look(times=3)
    (binding,) = world.ours(CLUSTER_ROLE_BINDING)
    body = world.body()
    annotated = {**body, "metadata": {**body["metadata"], "annotations": {ANNOTATION_ABANDON: "true"}}}
    world.cache.put(POLICY, world._versioned(annotated))
    world.delete(APPDEV)
    await world.look()
    assert world.cache.resource(APPDEV) is None
    assert [binding.name in said for said in world.told("Abandoned")] == [True]

    again = Office()
    again.objects = world.objects
    for key in again.cache.put(CLUSTER_ROLE_BINDING, again.objects[binding]):
        await again.look(key)
    assert binding in again.objects


async def test_what_was_taken_over_for_somebody_else_is_told_of() -> None:
    """It is not removed on the word of a line; nor is it forgotten."""
    world = an_office()
    bob = "bob@contoso.com"
    world.people = [A_USER, A_ROBOT, Principal(guid(bob), "user", bob, "Bob")]
    theirs = Assignment(
        "11111111-1111-1111-1111-111111111111", SCOPE, ANNA_ID, role_id(AKS_CLUSTER_ADMIN), "x"
    )
    world.given[assignment_id(SCOPE, theirs.name).lower()] = theirs
    spec: dict[str, Any] = {"azureRoles": [{"role": AKS_CLUSTER_ADMIN}], "adoptionPolicy": "Always"}
    world.policy(BY_NAME, **spec)
    await world.look(times=2)
    world.policy({"user": {"userPrincipalName": bob}}, **spec)
    await world.look(times=3)
    said = condition(world, "Warning")
    assert said.reason == "FormerSubject"
    assert ANNA_ID in said.message
    assert f"az role assignment delete --ids {assignment_id(SCOPE, theirs.name)}" in said.message


async def test_a_contest_does_not_hold_what_is_newly_wished_for() -> None:
    world, seconds = an_office(), [0.0]
    world.reconciler._report.contests = Contests(lambda: seconds[0])
    everything = {"namespaces": {}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    world.policy(BY_NAME, grants=everything)

    def rules(*verbs: str) -> list[Any]:
        return [{"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs)}]

    wish = {"policyRef": {"name": "appdev"}}
    key = world.apply(GRANT, "work", {**wish, "rules": rules("get", "delete")}, "dev")
    for _ in range(3):
        await world.look()
        await world.look(key)
    (role,) = world.ours(ROLE)
    for _ in range(8):
        world.edit(role, "rival", rules=rules("get", "delete", "list"))
        seconds[0] += 301
        await world.look(key)
    seconds[0] += 1
    world.apply(GRANT, "work", {**wish, "rules": rules("get")}, "dev")
    await world.look(key)
    assert world.objects[role]["rules"] == rules("get")


def finding(severity: Severity, reason: str, after: float | None = None) -> Finding:
    return Finding(Link.BINDINGS, severity, reason, "text", retry_after=after)


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ((), Next(after=300.0)),
        ((finding(Severity.STALLED, "RoleNotFound"),), Next(after=60.0)),
        ((finding(Severity.WAITING, "Replicating"),), Next(failed=True, longest=3.0, due=300.0)),
        ((finding(Severity.WAITING, "Throttled", 20.0),), Next(after=20.0, failed=True, due=300.0)),
    ],
    ids=["alone", "stalled", "replicating", "throttled"],
)
def test_nothing_else_waits_for_a_contest(others: tuple[Finding, ...], wanted: Next) -> None:
    contest = finding(Severity.WAITING, CONTESTED, 300.0)
    assert next_look((contest, *others), 60.0) == wanted
