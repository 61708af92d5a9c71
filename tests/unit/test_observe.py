"""Whole passes in which nothing may be written: what is told of, and that nothing else happens."""

from typing import Any

import pytest

from entra_access.api.names import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    GRANT,
    ROLE,
    ROLE_BINDING,
)
from entra_access.api.resources import Mode
from entra_access.api.status import Status
from entra_access.domain.faults import Unavailable
from entra_access.domain.modes import Modes
from entra_access.reconcile import shared
from entra_access.reconcile.cache import Key
from unit.builders import SCOPE
from unit.office import APPDEV, Office
from unit.worlds import A_TEAM, AKS_USER, ANNA, ANNA_ID, READER, TEAM_ID, assigned

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
EVE = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]
GRANT_KEY = Key(GRANT.kind, "dev", "access")
ROLES = [{"role": READER}, {"role": AKS_USER}]
GROUP = {"group": {"displayName": "appdev", "members": [{"user": ANNA}]}}
WISH: dict[str, Any] = {
    "azureRoles": ROLES,
    "clusterRoles": ["view"],
    "grants": {"namespaces": {}, "rules": [PODS]},
}


@pytest.fixture(autouse=True)
def minutes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks: what is known of own writes is old by then, and lists have caught up."""
    monkeypatch.setattr(shared, "OVERLAY_SECONDS", -1.0)


def an_office(modes: Modes | None = None) -> Office:
    world = Office(modes)
    world.namespace("dev")
    for name in ("view", "edit"):
        role = {"metadata": {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "1"}}
        world.cache.put(CLUSTER_ROLE, role)
    return world


def wish(world: Office, **changes: Any) -> None:
    subject = changes.pop("subject", GROUP)
    world.policy(subject, **(WISH | changes))


async def in_place() -> Office:
    """A policy and a grant that were enforced, and are only observed from now on."""
    world = an_office()
    wish(world)
    await world.look(times=4)
    world.apply(GRANT, "access", {"policyRef": {"name": "appdev"}, "rules": [PODS]}, "dev")
    await world.look(GRANT_KEY, times=2)
    for key in (APPDEV, GRANT_KEY):
        assert said(world.status(key))["Ready"] == ("True", "InPlace")
    wish(world, mode="Observe")
    await world.look(times=2)
    await world.look(GRANT_KEY, times=2)
    assert (world.status().mode, world.status(GRANT_KEY).mode) == ("Observe", "Observe")
    world.writes.clear()
    world.notes.heard.clear()
    return world


def said(status: Status) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def message(status: Status, kind: str) -> str:
    condition = status.condition(kind)
    assert condition is not None
    return condition.message


def only_the_status(world: Office) -> bool:
    return {name for name, _ in world.writes} <= {"status"}


def items(status: Status) -> list[tuple[str, str, str, str]]:
    found = status.drift.get("items", ())
    return [(one["object"], one.get("field", ""), one["found"], one["action"]) for one in found]


def group_id(world: Office) -> str:
    (one,) = world.groups
    return one


async def test_what_is_as_it_should_be_is_ready_and_in_sync_and_quiet() -> None:
    world = await in_place()
    before = world.status(), world.status(GRANT_KEY)
    await world.look(times=3)
    await world.look(GRANT_KEY, times=3)
    assert (world.status(), world.status(GRANT_KEY)) == before
    assert world.writes == []
    for status in before:
        assert said(status)["Ready"][0] == "True"
        assert (status.drift["state"], status.condition("Drifted")) == ("InSync", None)


@pytest.mark.parametrize(
    "modes", [Modes(default=Mode.OBSERVE), Modes(read_only=True), Modes(read_only=True, default=Mode.OBSERVE)]
)
async def test_a_policy_that_was_never_enforced_makes_nothing(modes: Modes) -> None:
    world = an_office(modes)
    wish(world)
    await world.look(times=3)
    assert only_the_status(world)
    assert (world.groups, world.given, world.objects) == ({}, {}, {})
    status = world.status()
    assert said(status)["Ready"] == ("False", "ObserveOnly")
    assert said(status)["Stalled"] == ("True", "ObserveOnly")
    assert (status.subject, status.inventory) == (None, ())
    assert "create group appdev" in message(status, "SubjectReady")
    assert "finalizers" not in world.body()["metadata"]
    assert ("Group appdev", "", "absent", "Reported") in items(status)
    assert status.drift["state"] == "Drifted"


async def test_the_policys_own_mode_goes_before_the_operators_default() -> None:
    world = an_office(Modes(default=Mode.OBSERVE))
    wish(world, mode="Enforce")
    await world.look(times=4)
    assert len(world.groups) == 1
    assert world.status().mode == "Enforce"


async def test_but_not_before_an_operator_that_may_write_nothing() -> None:
    world = an_office(Modes(read_only=True))
    wish(world, mode="Enforce")
    await world.look(times=4)
    assert world.groups == {}
    assert world.status().mode == "Observe"
    assert "--observe" in message(world.status(), "Ready")


async def test_a_grant_follows_its_policys_mode() -> None:
    world = await in_place()
    (role,) = world.ours(ROLE)
    world.edit(role, "kubectl-edit", rules=[])
    await world.look(GRANT_KEY)
    status = world.status(GRANT_KEY)
    assert only_the_status(world)
    assert status.mode == "Observe"
    assert said(status)["Drifted"] == ("True", "Observed")
    assert items(status) == [(str(role), "rules", "none", "Reported")]
    assert said(status)["Ready"] == ("False", "ObserveOnly")


# What is too much or has another name hinders nothing


async def odd(world: Office, what: str) -> None:
    match what:
        case "a member too many":
            world.relations[group_id(world)]["members"][TEAM_ID] = A_TEAM
        case "another name":
            await world.update_group(group_id(world), {"displayName": "hacked"})
        case "a role that nobody asks for any more":
            wish(world, mode="Observe", azureRoles=ROLES[1:])
        case "a binding that nobody asks for any more":
            wish(world, mode="Observe", clusterRoles=[])
        case "an assignment that nobody declared":
            one = assigned("Owner", group_id(world), name="by-hand", description="")
            world.given[f"{SCOPE}/by-hand".lower()] = one
        case "labels":
            (binding,) = world.ours(CLUSTER_ROLE_BINDING)
            body = world.objects[binding]
            labels = {**body["metadata"]["labels"], "entra-access.dev/owner-uid": "x"}
            world.edit(binding, "kubectl-label", metadata={**body["metadata"], "labels": labels})
        case _:
            raise AssertionError(what)


ODD = [
    "a member too many",
    "another name",
    "a role that nobody asks for any more",
    "a binding that nobody asks for any more",
    "an assignment that nobody declared",
    "labels",
]


@pytest.mark.parametrize("what", ODD)
async def test_what_is_only_odd_leaves_it_ready_and_says_so(what: str) -> None:
    world = await in_place()
    await odd(world, what)
    world.writes.clear()
    await world.look(times=2)
    status = world.status()
    assert only_the_status(world)
    assert said(status)["Ready"] == ("True", "InPlace"), message(status, "Ready")
    assert message(status, "Ready").endswith("; see condition Drifted")
    assert said(status)["Drifted"] == ("True", "Observed")
    assert status.condition("Stalled") is None
    assert [one[3] for one in items(status)] == ["Reported"] * len(items(status)) != []
    world.writes.clear()
    await world.look(times=2)
    assert world.writes == [], "it is told once"
    assert len(world.told("Observed")) == 1


# What is missing must be mended by somebody


async def lacking(world: Office, what: str) -> str:
    """Something is missing. Returns the condition that must say so."""
    match what:
        case "a member":
            del world.relations[group_id(world)]["members"][ANNA_ID]
            return "MembersReady"
        case "a role":
            world.given.pop(next(key for key, one in world.given.items() if one.role_id in str(READER_ID)))
            return "AzureRolesReady"
        case "a binding":
            (binding,) = world.ours(CLUSTER_ROLE_BINDING)
            world.take(binding)
            return "BindingsReady"
        case "a binding's subject":
            (binding,) = world.ours(CLUSTER_ROLE_BINDING)
            world.edit(binding, "kubectl-edit", subjects=EVE)
            return "BindingsReady"
        case "a binding's role":
            (binding,) = world.ours(CLUSTER_ROLE_BINDING)
            other = {**world.objects[binding]["roleRef"], "name": "edit"}
            world.edit(binding, "kubectl-edit", roleRef=other)
            return "BindingsReady"
        case _:
            raise AssertionError(what)


READER_ID = assigned(READER).role_id
LACKING: dict[str, dict[str, int]] = {
    "a member": {"members": 0},
    "a role": {"azureRoles": 1},
    "a binding": {"clusterRoleBindings": 0},
    "a binding's subject": {},
    "a binding's role": {},
}


@pytest.mark.parametrize(("what", "counts"), LACKING.items(), ids=LACKING)
async def test_what_is_missing_is_stalled_and_nobody_puts_it_right(what: str, counts: dict[str, int]) -> None:
    world = await in_place()
    whole, lines = world.status().counts, {item.key for item in world.status().inventory}
    kind = await lacking(world, what)
    await world.look(times=2)
    status = world.status()
    assert only_the_status(world)
    assert said(status)["Ready"] == ("False", "ObserveOnly")
    assert said(status)["Stalled"] == ("True", "ObserveOnly")
    assert said(status)[kind] == ("False", "ObserveOnly")
    assert "set spec.mode of the policy to Enforce" in message(status, kind)
    assert status.condition("Reconciling") is None
    assert status.counts == {**whole, **counts}
    assert {item.key for item in status.inventory} == lines, "what was made once stays told of"
    world.writes.clear()
    await world.look(times=2)
    assert world.writes == []
    assert world.status() == status


@pytest.mark.parametrize("what", LACKING)
async def test_enforced_again_it_is_put_right_and_told_as_drift(what: str) -> None:
    world = await in_place()
    await lacking(world, what)
    await world.look(times=2)
    wish(world, mode="Enforce")
    await world.look(times=2)
    status = world.status()
    assert said(status)["Ready"] == ("True", "InPlace")
    assert (status.mode, status.drift["state"], status.condition("Drifted")) == ("Enforce", "InSync", None)
    assert status.drift["corrected"] >= 1
    assert {one[3] for one in items(status)} == {"Corrected"}
    assert world.told("DriftCorrected")
    await world.look()
    world.writes.clear()
    await world.look(times=2)
    assert world.writes == []


async def test_what_is_missing_is_since_when_it_was_found_to_be() -> None:
    world = await in_place()
    await lacking(world, "a binding")
    await world.look()
    (first,) = world.status().drift["items"]
    await world.look(times=3)
    assert world.status().drift["items"] == [first]
    await odd(world, "a member too many")
    await world.look()
    assert first in world.status().drift["items"]
    wish(world, mode="Enforce")
    await world.look()
    again = next(one for one in world.status().drift["items"] if one["object"] == first["object"])
    assert (again["since"], again["action"]) == (first["since"], "Corrected")


# Where something cannot be seen


async def test_unknown_is_told_with_what_was_known() -> None:
    world = await in_place()
    await odd(world, "an assignment that nobody declared")
    (binding,) = world.ours(CLUSTER_ROLE_BINDING)
    world.edit(binding, "kubectl-edit", subjects=EVE)
    await world.look()
    before = world.status()
    assert len(items(before)) == 2
    world.faults = {"assignments": Unavailable("no answer from Azure")}
    world.edit(binding, "kubectl-edit", subjects=[{**EVE[0], "kind": "Group", "name": group_id(world)}])
    await world.look()
    status = world.status()
    assert status.drift["state"] == "Unknown"
    assert "no answer from Azure" in status.drift["reason"]
    assert [one[0] for one in items(status)] == ["RoleAssignment Owner at aks"]
    assert message(status, "Drifted") == "RoleAssignment Owner at aks is present, and should be absent"
    assert status.drift["lastCheckTime"] >= before.drift["lastCheckTime"]
    last = status.drift["lastCheckTime"]
    await world.look(times=3)
    assert world.status().drift["lastCheckTime"] == last
    world.faults = {}
    await world.look()
    assert world.status().drift["state"] == "Drifted"
    assert world.status().drift["lastCheckTime"] > last
    assert len(world.told("Observed")) <= 3


async def test_the_last_good_check_is_the_last_one_that_saw_everything() -> None:
    """Checks that found nothing new wrote nothing, so the status alone does not tell."""
    world = await in_place()
    await world.look(times=5)
    assert world.status().drift["lastCheckTime"] < "2026-11-23T12:10:00Z"
    good = f"2026-11-23T12:{world.passes:02}:00Z"
    world.faults = {"assignments": Unavailable("no answer from Azure")}
    await world.look(times=2)
    assert world.status().drift["lastCheckTime"] == good


async def test_a_pass_that_compares_nothing_is_no_good_check() -> None:
    world = await in_place()
    await world.look()
    good = f"2026-11-23T12:{world.passes:02}:00Z"
    wish(world, mode="Observe", subject={})
    await world.look(times=3)
    wish(world, mode="Observe")
    world.faults = {"assignments": Unavailable("no answer from Azure")}
    await world.look()
    assert world.status().drift["lastCheckTime"] == good


@pytest.mark.parametrize("key", [APPDEV, GRANT_KEY], ids=str)
async def test_a_spec_that_cannot_be_read_is_no_check(key: Key) -> None:
    world = await in_place()
    ref = world.ours(CLUSTER_ROLE_BINDING if key == APPDEV else ROLE_BINDING)[0]
    world.edit(ref, "kubectl-edit", subjects=EVE)
    await world.look(key)
    drift = world.status(key).drift
    assert drift["state"] == "Drifted"
    wish(world, mode="Observe", subject={})
    await world.look(key, times=2)
    status = world.status(key)
    known = {name: value for name, value in status.drift.items() if name not in {"state", "reason"}}
    assert {"state": "Drifted", **known} == drift
    # Nothing that the policy made is looked after until somebody corrects it.
    assert status.drift["state"] == ("Unknown" if key == APPDEV else "Drifted")
    assert said(status)["Drifted"] == ("True", "Observed")


async def test_the_mode_of_a_spec_that_cannot_be_read_counts() -> None:
    world = an_office()
    wish(world, mode="Observe", subject={})
    await world.look(times=2)
    assert said(world.status())["Ready"] == ("False", "InvalidSpec")
    assert only_the_status(world), "a finalizer is a write too"
    assert world.status().mode == "Observe"


# Deletion


async def test_a_deletion_takes_away_what_was_made_all_the_same() -> None:
    world = await in_place()
    world.delete(GRANT_KEY)
    world.delete(APPDEV)
    await world.look(GRANT_KEY, times=2)
    await world.look(times=3)
    assert (world.groups, world.given) == ({}, {})
    assert world.cache.resource(APPDEV) is None


async def test_an_operator_that_may_write_nothing_deletes_nothing() -> None:
    world = await in_place()
    given, groups = dict(world.given), dict(world.groups)
    world.cache.modes = Modes(read_only=True)
    world.delete(APPDEV)
    await world.look(times=3)
    assert only_the_status(world)
    assert (world.given, world.groups) == (given, groups)
    assert "--observe" in message(world.status(), "Ready")
    assert said(world.status())["Ready"] == ("False", "ReadOnly")
