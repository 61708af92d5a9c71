"""A member who cannot be looked up: only those stay in the group who may be that one."""

from dataclasses import replace

import pytest

from entra_access.api.resources import Reference
from entra_access.api.status import Item, System
from entra_access.domain.changes import RemovePrincipal
from entra_access.domain.faults import Denied, Fault, Unavailable
from entra_access.domain.observed import Principal
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import NOW, PLACE, a_policy, group_line, group_of, guid, ref, steady

USER = Principal(guid("a user"), "user", "Somebody@x.io")
APPLICATION = Principal(guid("an application"), "servicePrincipal", guid("its app"))
GROUP = Principal(guid("a group"), "group")
DEVICE = Principal(guid("a device"), "device")
THERE = (USER, APPLICATION, GROUP, DEVICE)
HIDDEN = Principal(guid("hidden application"), "servicePrincipal")
LINE = Item(System.ENTRA, "Member", f"servicePrincipal {HIDDEN.id}", HIDDEN.id)
BY_NAME = ref("anna@x.io")
BY_ID = ref(guid("anna"))
APP = ref(guid("an app"), "servicePrincipal")
ANOTHER_GROUP = ref(guid("another group"), "group")
OPS = Reference("policy", "ops")
FAULTS: list[Fault] = [Unavailable("down"), Denied("no right")]


def plan(wished: Reference, found: Fault | None, cycles: dict[str, str] | None = None) -> Plan:
    """The plan for a group with one of each kind in it, who are not wished for."""
    policy = a_policy()
    policy = replace(policy, subject=replace(group_of(policy), members=(wished,)))
    world, _ = steady(a_policy())
    world = replace(world, members=THERE, principals={wished: found}, cycles=cycles or {})
    return plan_policy(policy, PLACE, world, (group_line(), LINE), NOW)


def leaving(made: Plan) -> set[str]:
    return {change.id for change in made.changes if isinstance(change, RemovePrincipal)}


STAYING: dict[str, tuple[Reference, set[str]]] = {
    "a user by name": (BY_NAME, {USER.id}),
    "a user by object id": (BY_ID, set()),
    "an application, by either of its ids": (APP, {APPLICATION.id, HIDDEN.id}),
    "a group by object id": (ANOTHER_GROUP, set()),
    "the group of a policy": (OPS, {GROUP.id}),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.reason)
@pytest.mark.parametrize(("wished", "staying"), STAYING.values(), ids=STAYING)
def test_only_who_may_be_the_one_that_is_wished_for_stays(
    wished: Reference, staying: set[str], fault: Fault
) -> None:
    made = plan(wished, fault)
    assert leaving(made) == {one.id for one in (*THERE, HIDDEN)} - staying
    assert len(made.findings) == 1


def test_a_cycle_by_object_id_keeps_that_group_alone() -> None:
    """Which group is meant is known, so another one may go."""
    way = {GROUP.id: "appdev → ops → appdev"}
    assert leaving(plan(ref(GROUP.id, "group"), None, way)) == {USER.id, APPLICATION.id, DEVICE.id, HIDDEN.id}
    way = {ANOTHER_GROUP.value: "appdev → ops → appdev"}
    assert GROUP.id in leaving(plan(ANOTHER_GROUP, None, way))


def test_a_cycle_by_the_policys_name_keeps_every_group() -> None:
    made = plan(OPS, None, {"ops": "appdev → ops → appdev"})
    assert leaving(made) == {USER.id, APPLICATION.id, DEVICE.id, HIDDEN.id}


def test_one_in_the_group_by_the_very_id_that_could_not_be_looked_up_stays() -> None:
    """Also where the list calls it by another kind than the spec does."""
    assert leaving(plan(ref(GROUP.id), FAULTS[0])) == {USER.id, APPLICATION.id, DEVICE.id, HIDDEN.id}


def test_a_hidden_application_stays_under_the_object_id_that_the_directory_does_not_know_now() -> None:
    """It was written down by its application's id, and the spec names it by its object id."""
    line = replace(LINE, name="servicePrincipal app-id")
    policy = a_policy()
    policy = replace(policy, subject=replace(group_of(policy), members=(ref(HIDDEN.id, "servicePrincipal"),)))
    world, _ = steady(a_policy())
    world = replace(world, members=(), principals={ref(HIDDEN.id, "servicePrincipal"): None})
    assert leaving(plan_policy(policy, PLACE, world, (group_line(), line), NOW)) == set()
