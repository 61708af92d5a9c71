"""Every call that the operator makes to Azure Resource Manager, against the sandbox."""

import uuid

import pytest

from entra_access.adapters.arm import Arm
from entra_access.domain.faults import Changed, Rejected, Replicating
from entra_access.domain.naming import assignment_id, assignment_name
from entra_access.domain.observed import Assignment
from entra_sandbox import seed
from support.azure import AKS_READER, AKS_WRITER, MISSING
from support.sandbox import RunningSandbox

SCOPE = seed.CLUSTER_ID
NAMESPACE = f"{SCOPE}/namespaces/dev"
USER_ROLE = "Azure Kubernetes Service Cluster User Role"


def new_group(sandbox: RunningSandbox, name: str = "appdev") -> str:
    """Make a group. Returns its object id."""
    return str(sandbox.client.add_group(name)["id"])


async def test_a_role_is_assigned_to_the_group_however_often_it_is_asked_for(
    arm: Arm, sandbox: RunningSandbox
) -> None:
    """One assignment, of that name, with type and description; and it is listed at its scope."""
    group = new_group(sandbox)
    name = assignment_name(SCOPE, group, AKS_READER)

    for _ in range(2):
        await arm.assign(SCOPE, name, AKS_READER, group, "AccessPolicy x")

    made = sandbox.client.assignments(group)
    assert [(a["name"], a["role"], a["scope"]) for a in made] == [(name, AKS_READER, SCOPE)]
    assert (made[0]["principalType"], made[0]["description"]) == ("Group", "AccessPolicy x")
    assert Assignment(name, SCOPE, group, AKS_READER) in await arm.assignments_at(SCOPE)


async def test_only_assignments_exactly_at_the_scope_are_given(arm: Arm, sandbox: RunningSandbox) -> None:
    """Azure lists those above too; whatever the letters' case, they are told apart by scope."""
    group = new_group(sandbox)
    for scope in (seed.SUBSCRIPTION, seed.RESOURCE_GROUP, SCOPE, NAMESPACE, seed.ARC_CLUSTER_ID):
        sandbox.client.assign(group, AKS_READER, scope)

    at_cluster = await arm.assignments_at(SCOPE.upper().replace("/SUBSCRIPTIONS", "/subscriptions"))
    at_namespace = await arm.assignments_at(NAMESPACE)

    assert len([a for a in at_cluster if a.principal_id == group]) == 1
    assert [a.scope for a in at_namespace if a.principal_id == group] == [NAMESPACE]


async def test_assignments_are_listed_over_all_pages(arm: Arm, sandbox: RunningSandbox) -> None:
    """The list is followed to its end."""
    sandbox.client.settings(arm_page_size=2)
    groups = {new_group(sandbox, f"g{number}") for number in range(7)}
    for group in groups:
        sandbox.client.assign(group, AKS_READER, SCOPE)
    sandbox.client.clear_journal()

    found = await arm.assignments_at(SCOPE)

    assert {a.principal_id for a in found} == groups
    assert len(sandbox.client.journal(kind="arm", method="GET")) >= 4


async def test_an_assignment_is_taken_away_once_and_again(arm: Arm, sandbox: RunningSandbox) -> None:
    """One that is not there counts as taken away."""
    group = new_group(sandbox)
    made = sandbox.client.assign(group, AKS_READER, SCOPE)

    await arm.unassign(assignment_id(SCOPE, made["name"]))
    await arm.unassign(assignment_id(SCOPE, made["name"]))

    assert sandbox.client.assignments(group) == []


async def test_the_assignment_of_a_deleted_group_can_be_taken_away(arm: Arm, sandbox: RunningSandbox) -> None:
    """It stays listed as an orphan, is seen, and goes."""
    group = new_group(sandbox)
    made = sandbox.client.assign(group, AKS_READER, SCOPE)
    sandbox.client.delete_group(group, purge=True)

    assert made["name"] in {a.name for a in await arm.assignments_at(SCOPE)}
    await arm.unassign(assignment_id(SCOPE, made["name"]))
    assert sandbox.client.assignments(group) == []


@pytest.mark.parametrize(
    "role",
    [
        "Azure Kubernetes Service RBAC Reader",
        "azure kubernetes service rbac reader",
        AKS_READER,
        AKS_READER.upper(),
        f"/providers/Microsoft.Authorization/roleDefinitions/{AKS_READER}",
        f"{seed.SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{AKS_READER.upper()}",
    ],
)
async def test_a_role_is_found_by_name_guid_and_id(arm: Arm, role: str) -> None:
    """However it is written, it is the same GUID, in lower case."""
    assert await arm.role_id(role, SCOPE) == AKS_READER


async def test_a_custom_role_is_found_by_name(arm: Arm) -> None:
    """Like a built-in one."""
    assert await arm.role_id("Custom Role Author", SCOPE) == seed.CUSTOM_ROLE_AUTHOR


@pytest.mark.parametrize(
    "role", ["Nobody's Role", "Azure Kubernetes Service", "x' or roleName eq 'Reader", "Ünï 🦊", MISSING]
)
async def test_a_role_that_is_not_there_is_none(arm: Arm, role: str) -> None:
    """A part of a name is no name, a quote ends nothing, and an unknown GUID is not taken on trust."""
    assert await arm.role_id(role, SCOPE) is None


async def test_the_role_assigned_by_another_name_is_a_change(arm: Arm, sandbox: RunningSandbox) -> None:
    """RoleAssignmentExists: somebody assigned the same role meanwhile."""
    group = new_group(sandbox)
    sandbox.client.assign(group, AKS_READER, SCOPE)

    with pytest.raises(Changed):
        await arm.assign(SCOPE, str(uuid.uuid4()), AKS_READER, group, "x")
    assert len(sandbox.client.assignments(group)) == 1


async def test_a_group_that_azure_does_not_know_yet_is_replicating(arm: Arm, sandbox: RunningSandbox) -> None:
    """PrincipalNotFound, also with the principal's type: it passes by itself."""
    sandbox.client.settings(replication_delay=60)
    group = str(sandbox.client.add_group("new", replicationDelay=60)["id"])

    with pytest.raises(Replicating):
        await arm.assign(SCOPE, str(uuid.uuid4()), AKS_READER, group, "x")

    sandbox.client.advance(60)
    await arm.assign(SCOPE, str(uuid.uuid4()), AKS_READER, group, "x")


async def test_a_role_definition_that_azure_does_not_know_yet_is_replicating(
    arm: Arm, sandbox: RunningSandbox
) -> None:
    """RoleDefinitionDoesNotExist, as it comes right after a custom role was made."""
    with pytest.raises(Replicating):
        await arm.assign(SCOPE, str(uuid.uuid4()), MISSING, new_group(sandbox), "x")


async def test_a_name_that_stands_for_something_else_is_rejected(arm: Arm, sandbox: RunningSandbox) -> None:
    """An assignment's role can never change; that is no passing trouble."""
    group = new_group(sandbox)
    name = str(uuid.uuid4())
    await arm.assign(SCOPE, name, AKS_READER, group, "x")

    with pytest.raises(Rejected, match="RoleAssignmentUpdateNotPermitted"):
        await arm.assign(SCOPE, name, AKS_WRITER, group, "x")


async def test_the_limit_of_the_subscription_is_rejected_in_words(arm: Arm, sandbox: RunningSandbox) -> None:
    """Somebody must act: nothing more fits in."""
    sandbox.client.fault(method="PUT", kind="arm", status=400, code="RoleAssignmentLimitExceeded")

    with pytest.raises(Rejected, match="4000"):
        await arm.assign(SCOPE, str(uuid.uuid4()), AKS_READER, new_group(sandbox), "x")
