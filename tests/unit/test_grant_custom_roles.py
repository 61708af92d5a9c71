"""A grant of a custom role that its own policy makes: not before it is made, and not where it cannot be."""

from dataclasses import replace

import pytest

from entra_access.api.names import GRANT
from entra_access.api.resources import CustomRole
from entra_access.api.status import Condition
from entra_access.domain.changes import AssignRole
from entra_access.domain.definition_plan import definition_item, made_roles, wished_definition
from entra_access.domain.faults import Denied, Finding, Link, Severity
from entra_access.domain.grant_plan import plan_grant
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment, PolicyView
from entra_access.domain.plan import Plan
from entra_access.reconcile.cache import Key
from unit.builders import (
    AT,
    GROUP_ID,
    NOW,
    PLACE,
    SCOPE,
    a_ceiling,
    a_grant,
    a_policy,
    a_view,
    grant_world,
)
from unit.office import APPDEV, Office
from unit.worlds import ANNA, DEV_SCOPE, FAR, RESOURCE_GROUP, SUBSCRIPTION

NAME = "Pod Restarter"
GRANT_KEY = Key("NamespaceGrant", "dev", "work")
CUSTOM = {"name": NAME, "dataActions": ["Microsoft.ContainerService/managedClusters/pods/delete"]}
OWN = wished_definition(CustomRole(NAME), "appdev", PLACE)
MANAGEMENT_GROUP = "/providers/Microsoft.Management/managementGroups/all"


def view(*scopes: str, made: bool) -> PolicyView:
    """What the grant sees of a policy with a custom role."""
    policy = a_policy(ceiling=a_ceiling(azure_roles=(NAME,)))
    policy = replace(policy, custom_roles=(CustomRole(NAME, assignable_scopes=scopes),))
    return a_view(policy, roles={OWN.name.lower(): OWN.guid} if made else {})


def planned(seen: PolicyView, *there: Assignment, role: str = NAME) -> Plan:
    world = grant_world(seen, roles={role: OWN.guid}, assignments=there)
    return plan_grant(a_grant(azure_roles=(role,)), PLACE, world, (), AT)


def only(made: Plan) -> Finding:
    (finding,) = made.findings
    return finding


@pytest.mark.parametrize("role", [NAME, NAME.upper()])
def test_a_role_that_is_made_is_given(role: str) -> None:
    made = planned(view(made=True), role=role)
    assert [type(change) for change in made.changes] == [AssignRole]
    assert made.findings == ()


@pytest.mark.parametrize("role", [NAME, NAME.upper()])
def test_a_role_that_is_not_made_yet_is_awaited(role: str) -> None:
    made = planned(view(made=False), role=role)
    assert made.changes == ()
    assert only(made) == Finding(
        Link.AZURE_ROLES,
        Severity.WAITING,
        "RoleNotReady",
        f"waiting for AccessPolicy appdev to make the custom role {NAME}; see its AzureRolesReady",
        "spec.azureRoles[0]",
    )


def test_what_was_given_of_it_stays_meanwhile() -> None:
    """Its policy's status may have been lost; that is no reason to take anything away."""
    name = assignment_name(DEV_SCOPE, GROUP_ID, OWN.guid)
    given = Assignment(name, DEV_SCOPE, GROUP_ID, OWN.guid, PLACE.note(a_grant().meta))
    made = planned(view(made=False), given)
    assert made.changes == ()
    assert [item.id for item in made.inventory] == [assignment_id(DEV_SCOPE, name)]


@pytest.mark.parametrize("scopes", [(FAR,), (DEV_SCOPE + "2",), (f"{RESOURCE_GROUP}2", FAR)])
def test_one_that_cannot_be_assigned_at_the_namespace_is_refused(scopes: tuple[str, ...]) -> None:
    for is_made in (True, False):
        made = planned(view(*scopes, made=is_made))
        assert made.changes == ()
        finding = only(made)
        assert (finding.severity, finding.reason, finding.path) == (
            Severity.STALLED,
            "NotAssignable",
            "spec.azureRoles[0]",
        )
        assert f"{NAME} of AccessPolicy appdev cannot be assigned at {DEV_SCOPE}" in finding.message
        assert "spec.customRoles" in finding.message


@pytest.mark.parametrize("scope", [RESOURCE_GROUP.upper(), SUBSCRIPTION, SCOPE, MANAGEMENT_GROUP])
def test_one_that_can_is_not(scope: str) -> None:
    assert planned(view(FAR, scope, made=True)).findings == ()


def test_only_a_line_with_a_time_tells_of_a_role_that_was_made() -> None:
    assert made_roles([definition_item(OWN, "")]) == {}
    assert made_roles([definition_item(OWN, NOW)]) == {OWN.name.lower(): OWN.guid}


# The whole way


def an_office() -> Office:
    """A policy with a custom role for Anna, and a grant of it."""
    world = Office()
    world.namespace("dev")
    grants = {"namespaces": {}, "azureRoles": [NAME]}
    world.policy({"user": {"userPrincipalName": ANNA}}, customRoles=[CUSTOM], grants=grants)
    world.apply(GRANT, "work", {"policyRef": {"name": "appdev"}, "azureRoles": [NAME]}, "dev")
    return world


def azure_roles(world: Office) -> Condition:
    found = world.status(GRANT_KEY).condition("AzureRolesReady")
    assert found is not None
    return found


async def test_the_grant_waits_for_the_role_and_is_told_when_it_is_made() -> None:
    world = an_office()
    world.faults = {"define": Denied("no right")}
    await world.look(times=2)
    await world.look(GRANT_KEY)
    assert azure_roles(world).reason == "RoleNotReady"
    assert world.written("assign") == []

    world.faults = {}
    world.due.clear()
    await world.look()
    assert GRANT_KEY in world.due
    await world.look(GRANT_KEY)
    assert [one.scope for one in world.given.values()] == [DEV_SCOPE]
    assert azure_roles(world).status == "True"


async def test_a_role_that_was_made_by_a_pass_that_was_cut_off_is_known_by_the_next() -> None:
    world = an_office()
    world.faults = {"define": Denied("cut off")}
    world.lost = {"define"}
    await world.look()
    assert list(world.definitions) == [OWN.guid]
    view_of = world.cache.policy_view("appdev")
    assert view_of is not None
    assert view_of.roles == {}
    world.faults, world.lost = {}, set()
    await world.look()
    await world.look(GRANT_KEY)
    assert [one.scope for one in world.given.values()] == [DEV_SCOPE]


async def test_at_rest_the_time_of_the_role_stays() -> None:
    world = an_office()
    await world.look(times=2)
    (before,) = [item for item in world.status(APPDEV).inventory if item.kind == "RoleDefinition"]
    world.writes.clear()
    await world.look(times=2)
    (after,) = [item for item in world.status(APPDEV).inventory if item.kind == "RoleDefinition"]
    assert before == after
    assert world.writes == []
