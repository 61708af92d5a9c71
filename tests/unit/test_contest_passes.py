"""Whole passes while another hand changes something again and again, and while a grant comes to its end."""

from datetime import timedelta
from typing import Any

import pytest

from entra_access.api.names import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, GRANT, ROLE, ROLE_BINDING
from entra_access.api.status import Status, read_status
from entra_access.api.times import stamp
from entra_access.domain.faults import Denied, Unavailable
from entra_access.reconcile import shared
from entra_access.reconcile.cache import Key
from entra_access.reconcile.contests import CALM, LONGEST_PAUSE, PATIENCE, Contests
from entra_access.reconcile.outcome import Next
from entra_access.reconcile.reconciler import LOOK_AHEAD
from unit.builders import AT
from unit.office import APPDEV, Office
from unit.worlds import A_ROBOT, A_TEAM, ANNA, ROBOT_ID, TEAM_ID

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
EVE = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]
GRANT_KEY = Key(GRANT.kind, "dev", "access")
GROUP = {"group": {"displayName": "appdev", "members": [{"user": ANNA}]}}
WISH: dict[str, Any] = {"clusterRoles": ["view"], "grants": {"namespaces": {}, "rules": [PODS]}}


class Seconds:
    """The seconds that contests count."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def minutes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks: what is known of own writes is old by then, and lists have caught up."""
    monkeypatch.setattr(shared, "OVERLAY_SECONDS", -1.0)


async def in_place(**changes: Any) -> tuple[Office, Seconds]:
    world, seconds = Office(), Seconds()
    world.reconciler._report.contests = Contests(seconds)
    world.namespace("dev")
    for name in ("view", "edit"):
        role = {"metadata": {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "1"}}
        world.cache.put(CLUSTER_ROLE, role)
    world.policy(GROUP, **(WISH | changes))
    await world.look(times=4)
    assert ready(world.status()) == ("True", "InPlace")
    world.writes.clear()
    world.notes.heard.clear()
    return world, seconds


def ready(status: Status) -> tuple[str, str]:
    condition = status.condition("Ready")
    assert condition is not None
    return condition.status, condition.reason


def reason_of(status: Status, kind: str) -> str:
    condition = status.condition(kind)
    return condition.reason if condition else ""


def edit(world: Office) -> None:
    (binding,) = world.ours(CLUSTER_ROLE_BINDING)
    world.edit(binding, "rival", subjects=EVE)


def is_right(world: Office) -> bool:
    (binding,) = world.ours(CLUSTER_ROLE_BINDING)
    return "eve" not in str(world.objects[binding]["subjects"])


async def fight(world: Office, times: int) -> None:
    """So many edits, each put right."""
    for _ in range(times):
        edit(world)
        await world.look()
        assert is_right(world)


async def test_a_rival_is_answered_at_once_and_then_later_and_later() -> None:
    world, seconds = await in_place()
    await fight(world, PATIENCE)
    pauses = []
    for _ in range(10):
        edit(world)
        then = await world.look()
        assert not is_right(world), "it waits"
        assert not then.failed, "when it goes on is known"
        assert then.after is not None
        pauses.append(then.after)
        seconds.now += then.after + 0.1
        await world.look()
        assert is_right(world)
    assert pauses[:4] == pytest.approx([5.0, 10.0, 20.0, 40.0])
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)


async def test_while_it_waits_the_status_says_who_and_why() -> None:
    world, seconds = await in_place()
    await fight(world, PATIENCE)
    edit(world)
    await world.look()
    status = world.status()
    assert ready(status) == ("False", "Contested")
    assert reason_of(status, "Drifted") == reason_of(status, "Reconciling") == "Contested"
    assert reason_of(status, "BindingsReady") == "Contested"
    assert status.drift["state"] == "Drifted"
    first = status.drift["items"][0]
    assert (first["action"], first["changedBy"], first["field"]) == ("Pending", "rival", "subjects")
    assert status.drift["corrected"] == PATIENCE
    assert status.counts["clusterRoleBindings"] == 1
    world.writes.clear()
    await world.look(times=2)
    assert world.writes == [], "it is said once"
    seconds.now += LONGEST_PAUSE
    await world.look()
    status = world.status()
    assert (ready(status), status.condition("Drifted")) == (("True", "InPlace"), None)
    assert status.drift["corrected"] == PATIENCE + 1


async def test_the_first_corrections_have_an_event_each_and_the_rest_none() -> None:
    world, seconds = await in_place()
    for _ in range(8):
        edit(world)
        await world.look()
        seconds.now += LONGEST_PAUSE
        await world.look()
        assert is_right(world)
    assert len(world.told("DriftCorrected")) == PATIENCE
    assert world.status().drift["corrected"] == 8


async def test_a_new_wish_is_fulfilled_in_the_middle_of_a_contest() -> None:
    world, _ = await in_place()
    await fight(world, PATIENCE)
    edit(world)
    world.policy(GROUP, **(WISH | {"clusterRoles": ["view", "edit"]}))
    await world.look()
    names = [world.objects[ref]["roleRef"]["name"] for ref in world.ours(CLUSTER_ROLE_BINDING)]
    assert sorted(names) == ["edit", "view"]
    assert ready(world.status()) == ("False", "Contested")


async def test_what_stands_in_the_place_of_a_binding_is_left_while_that_waits() -> None:
    """To take it away and not to put ours there would be to give nothing."""
    world, seconds = await in_place()
    for number in range(PATIENCE + 1):
        (binding,) = world.ours(CLUSTER_ROLE_BINDING)
        other = {**world.objects[binding]["roleRef"], "name": "edit"}
        world.edit(binding, "rival", roleRef=other)
        world.writes.clear()
        await world.look()
        taken, made = world.written("delete_child"), world.written("child")
        assert (len(taken), len(made)) == ((1, 1) if number < PATIENCE else (0, 0))
    assert world.status().counts["clusterRoleBindings"] == 1
    seconds.now += LONGEST_PAUSE
    await world.look()
    assert (len(world.written("delete_child")), len(world.written("child"))) == (1, 1)
    assert ready(world.status()) == ("True", "InPlace")


async def test_after_a_calm_a_rival_is_answered_at_once_again() -> None:
    world, seconds = await in_place()
    await fight(world, PATIENCE)
    seconds.now += CALM + 1
    await fight(world, PATIENCE)
    assert len(world.told("DriftCorrected")) == 2 * PATIENCE


async def test_three_strangers_at_once_are_no_contest() -> None:
    world, _ = await in_place()
    (group,) = world.groups
    members = world.relations[group]["members"]
    for _ in range(PATIENCE - 1):
        members |= {ROBOT_ID: A_ROBOT, TEAM_ID: A_TEAM}
        await world.look()
        assert TEAM_ID not in members
    members[TEAM_ID] = A_TEAM
    await world.look()
    assert TEAM_ID not in members
    assert ready(world.status()) == ("True", "InPlace")


async def test_a_resource_that_was_deleted_and_made_anew_has_no_past() -> None:
    world, _ = await in_place()
    await fight(world, PATIENCE)
    world.delete(APPDEV)
    await world.look(times=3)
    await world.look()
    world.policy(GROUP, **WISH)
    await world.look(times=4)
    await fight(world, PATIENCE)


async def test_a_correction_that_fails_stays_told_of_and_is_told_when_it_succeeds() -> None:
    """A binding that another hand deleted, and that may not be made just now."""
    world, _ = await in_place()
    (binding,) = world.ours(CLUSTER_ROLE_BINDING)
    world.take(binding)
    world.faults = {"child": Denied("the operator may not do this")}
    await world.look(times=3)
    status = world.status()
    assert (status.drift["state"], reason_of(status, "Drifted")) == ("Drifted", "NotYetCorrected")
    assert [one["action"] for one in status.drift["items"]] == ["Pending"]
    since = status.drift["items"][0]["since"]
    world.faults = {}
    await world.look()
    status = world.status()
    assert (status.drift["state"], status.drift["corrected"]) == ("InSync", 1)
    assert [(one["action"], one["since"]) for one in status.drift["items"]] == [("Corrected", since)]
    assert len(world.told("DriftCorrected")) == 1


async def test_what_was_put_right_and_could_not_be_written_down_is_told_later() -> None:
    world, _ = await in_place()
    edit(world)
    world.faults = {"status": Unavailable("down")}
    await world.look()
    assert is_right(world)
    world.faults = {}
    await world.look()
    assert world.status().drift["corrected"] == 1
    await world.look(times=2)
    assert world.status().drift["corrected"] == 1


# Announced, and not made yet


async def test_what_is_announced_tells_of_the_group_as_it_is() -> None:
    """Were the operator to end there, the old name would else be one that another hand gave it."""
    world, _ = await in_place()
    before = world.status()
    asked = {"group": {"displayName": "ops", "members": [{"user": ANNA}, {"servicePrincipal": ROBOT_ID}]}}
    world.policy(asked, **WISH)
    world.faults = {name: Unavailable("down") for name in ("update_group", "add")}
    world.statuses.clear()
    await world.look()
    announced, after = (read_status({"status": one}) for one in world.statuses)
    assert reason_of(announced, "Reconciling") == "Creating"
    for status in (announced, after):
        (line,) = [one for one in status.inventory if one.kind == "Group"]
        assert line in before.inventory
        assert status.subject is not None
        assert status.subject.display_name == "appdev"
        assert status.counts["members"] == 1


# The end of a grant


async def a_grant(world: Office, **spec: Any) -> Next:
    world.apply(GRANT, "access", {"policyRef": {"name": "appdev"}, "rules": [PODS]} | spec, "dev")
    return await world.look(GRANT_KEY, times=2)


def at(world: Office, minutes: float) -> str:
    """So many minutes after now."""
    return stamp(world.clock() + timedelta(minutes=minutes))


async def test_a_grant_is_looked_at_again_when_it_ends() -> None:
    world, _ = await in_place()
    then = await a_grant(world, expiresAt=at(world, 7))
    assert (then.due, then.after, then.failed) == (5 * 60.0, None, False)
    assert world.status(GRANT_KEY).expires_at == stamp(AT + timedelta(minutes=world.passes + 5))
    then = await world.look(GRANT_KEY, times=5)
    assert world.ours(ROLE) == world.ours(ROLE_BINDING) == []
    assert then == Next(), "what is over is over"
    status = world.status(GRANT_KEY)
    assert (ready(status), reason_of(status, "Expired")) == (("False", "Expired"), "Expired")
    assert status.drift["state"] == "InSync"
    assert len(world.told("Expired")) == 1
    world.writes.clear()
    await world.look(GRANT_KEY, times=3)
    assert world.writes == []
    assert len(world.told("Expired")) == 1


async def test_one_that_lasts_for_years_is_looked_at_now_and_then() -> None:
    """Clocks are set, and machines sleep."""
    world, _ = await in_place()
    then = await a_grant(world, expiresAt="2031-05-01T00:00:00Z")
    assert then.due == LOOK_AHEAD == 600.0
    world.writes.clear()
    await world.look(GRANT_KEY, times=5)
    assert world.writes == []


async def test_a_later_time_gives_the_access_back() -> None:
    world, _ = await in_place()
    await a_grant(world, expiresAt=at(world, 1))
    assert world.ours(ROLE) == []
    await a_grant(world, expiresAt=at(world, 100))
    assert len(world.ours(ROLE)) == 1
    assert ready(world.status(GRANT_KEY)) == ("True", "InPlace")
    assert world.status(GRANT_KEY).condition("Expired") is None


async def test_the_same_yaml_again_gives_nothing_back() -> None:
    world, _ = await in_place()
    wish = {"expiresAt": at(world, 1)}
    await a_grant(world, **wish)
    await a_grant(world, **wish)
    assert world.ours(ROLE) == []
    assert reason_of(world.status(GRANT_KEY), "Expired") == "Expired"


async def test_a_broken_policy_does_not_let_its_grants_last() -> None:
    world, _ = await in_place()
    world.policy(GROUP, **(WISH | {"grants": {"namespaces": {}, "rules": [PODS], "maxDuration": "1h"}}))
    await world.look(times=2)
    body = {"policyRef": {"name": "appdev"}, "rules": [PODS]}
    world.apply(GRANT, "access", body, "dev", created=stamp(world.clock()))
    await world.look(GRANT_KEY, times=2)
    end = world.status(GRANT_KEY).expires_at
    assert end
    world.policy({}, **WISH)
    await world.look()
    then = await world.look(GRANT_KEY, times=2)
    status = world.status(GRANT_KEY)
    assert (ready(status), status.expires_at) == (("False", "PolicyUnreadable"), end)
    assert len(world.ours(ROLE)) == 1
    assert then.due is not None
    world.passes += 60
    await world.look(GRANT_KEY)
    assert world.ours(ROLE) == []
    assert reason_of(world.status(GRANT_KEY), "Expired") == "Expired"


async def test_under_a_policy_that_is_observed_what_is_over_is_told_of_and_stays() -> None:
    world, _ = await in_place()
    await a_grant(world, expiresAt=at(world, 5))
    world.policy(GROUP, **WISH, mode="Observe")
    await world.look()
    world.passes += 10
    world.writes.clear()
    await world.look(GRANT_KEY, times=2)
    status = world.status(GRANT_KEY)
    assert {name for name, _ in world.writes} == {"status"}
    assert (ready(status)[1], reason_of(status, "Drifted")) == ("Expired", "Observed")
    assert sorted(one["found"] for one in status.drift["items"]) == ["present", "present"]
    assert status.counts == {"roles": 1, "roleBindings": 1}
    expired = status.condition("Expired")
    assert expired
    assert "was to end" in expired.message, "it has not: the observer took nothing away"
