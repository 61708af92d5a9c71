"""Every call that the operator makes to Azure Resource Manager, against the sandbox."""

import uuid
from collections.abc import Callable

import pytest

from entra_access.adapters.arm import DEFINITIONS, Arm
from entra_access.domain.faults import Changed, Denied, Rejected, Replicating, RoleUnknown
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
        await arm.assign(Assignment(name, SCOPE, group, AKS_READER, "AccessPolicy x"), "Group")

    made = sandbox.client.assignments(group)
    assert [(a["name"], a["role"], a["scope"]) for a in made] == [(name, AKS_READER, SCOPE)]
    assert (made[0]["principalType"], made[0]["description"]) == ("Group", "AccessPolicy x")
    wished = Assignment(name, SCOPE, group, AKS_READER, "AccessPolicy x")
    assert wished in await arm.assignments(SCOPE, below=True)
    assert await arm.assignment(SCOPE, name) == wished


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

    assert made["name"] in {a.name for a in await arm.assignments(SCOPE, below=True)}
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
        await arm.assign(Assignment(str(uuid.uuid4()), SCOPE, group, AKS_READER, "x"), "Group")
    assert len(sandbox.client.assignments(group)) == 1


async def test_a_group_that_azure_does_not_know_yet_is_replicating(arm: Arm, sandbox: RunningSandbox) -> None:
    """PrincipalNotFound, also with the principal's type: it passes by itself."""
    sandbox.client.settings(replication_delay=60)
    group = str(sandbox.client.add_group("new", replicationDelay=60)["id"])

    with pytest.raises(Replicating):
        await arm.assign(Assignment(str(uuid.uuid4()), SCOPE, group, AKS_READER, "x"), "Group")

    sandbox.client.advance(60)
    await arm.assign(Assignment(str(uuid.uuid4()), SCOPE, group, AKS_READER, "x"), "Group")


@pytest.mark.parametrize("status", [None, 400, 404])
async def test_a_role_definition_that_azure_does_not_know_is_told_apart(
    arm: Arm, sandbox: RunningSandbox, status: int | None
) -> None:
    """RoleDefinitionDoesNotExist, as it comes right after a custom role was made, and when it is gone."""
    if status:
        sandbox.client.fault(method="PUT", kind="arm", status=status, code="RoleDefinitionDoesNotExist")
    with pytest.raises(RoleUnknown):
        await arm.assign(Assignment(str(uuid.uuid4()), SCOPE, new_group(sandbox), MISSING, "x"), "Group")


async def test_a_name_that_stands_for_something_else_is_rejected(arm: Arm, sandbox: RunningSandbox) -> None:
    """An assignment's role can never change; that is no passing trouble."""
    group = new_group(sandbox)
    name = str(uuid.uuid4())
    await arm.assign(Assignment(name, SCOPE, group, AKS_READER, "x"), "Group")

    with pytest.raises(Rejected, match="RoleAssignmentUpdateNotPermitted"):
        await arm.assign(Assignment(name, SCOPE, group, AKS_WRITER, "x"), "Group")


async def test_the_limit_of_the_subscription_is_rejected_in_words(arm: Arm, sandbox: RunningSandbox) -> None:
    """Somebody must act: nothing more fits in."""
    sandbox.client.fault(method="PUT", kind="arm", status=400, code="RoleAssignmentLimitExceeded")

    with pytest.raises(Rejected, match="4000"):
        await arm.assign(Assignment(str(uuid.uuid4()), SCOPE, new_group(sandbox), AKS_READER, "x"), "Group")


PEOPLE = [
    ("User", seed.USER_IDS[seed.ALICE]),
    ("User", seed.USER_IDS[seed.GUEST]),
    ("ServicePrincipal", seed.PIPELINE_OBJECT_ID),
]


@pytest.mark.parametrize(("kind", "principal"), PEOPLE, ids=["user", "guest", "application"])
@pytest.mark.parametrize("scope", [SCOPE, NAMESPACE, seed.RESOURCE_GROUP])
async def test_the_type_of_whoever_it_is_arrives(
    arm: Arm, sandbox: RunningSandbox, kind: str, principal: str, scope: str
) -> None:
    """In the request's body, in one request, at any scope; and it is what Azure then shows."""
    name = assignment_name(scope, principal, AKS_READER)

    await arm.assign(Assignment(name, scope, principal, AKS_READER, "x"), kind)

    (entry,) = sandbox.client.journal(kind="arm")
    assert (entry["method"], entry["path"], entry["status"]) == ("PUT", assignment_id(scope, name), 201)
    assert entry["body"]["properties"] == {
        "roleDefinitionId": f"{seed.SUBSCRIPTION}{DEFINITIONS}/{AKS_READER}",
        "principalId": principal,
        "principalType": kind,
        "description": "x",
    }
    made = sandbox.client.assignments(principal)
    assert [(one["scope"], one["principalType"]) for one in made] == [(scope, kind)]


async def test_a_type_that_is_not_the_principals_is_rejected(arm: Arm, sandbox: RunningSandbox) -> None:
    """The operator never sends one that it has not seen; if it did, this would not pass by itself."""
    wish = Assignment(str(uuid.uuid4()), SCOPE, seed.PIPELINE_OBJECT_ID, AKS_READER)

    with pytest.raises(Rejected, match="UnmatchedPrincipalType"):
        await arm.assign(wish, "User")
    assert sandbox.client.assignments(seed.PIPELINE_OBJECT_ID) == []


async def test_a_condition_on_the_type_is_met_by_the_type_that_is_sent(
    arm: Arm, sandbox: RunningSandbox
) -> None:
    """An operator that may only give roles to applications, as Azure's own examples of conditions do it."""
    sandbox.client.unassign("e0000000-0000-4000-8000-000000000001")
    condition = (
        "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR "
        "(@Request[Microsoft.Authorization/roleAssignments:PrincipalType] "
        "ForAnyOfAnyValues:StringEqualsIgnoreCase {'ServicePrincipal'}))"
    )
    sandbox.client.assign(
        seed.OPERATOR_OBJECT_ID, seed.RBAC_ADMINISTRATOR, seed.RESOURCE_GROUP, condition=condition
    )

    for kind, principal in PEOPLE:
        wish = Assignment(str(uuid.uuid4()), SCOPE, principal, AKS_READER)
        if kind == "ServicePrincipal":
            await arm.assign(wish, kind)
        else:
            with pytest.raises(Denied, match="AuthorizationFailed"):
                await arm.assign(wish, kind)


async def test_the_role_is_named_as_the_scopes_own_subscription_knows_it(
    arm: Arm, sandbox: RunningSandbox
) -> None:
    """Not that of the cluster's."""
    other = "/subscriptions/c1111111-0000-4000-8000-000000000001"
    for resource in (other, f"{other}/resourceGroups/rg-far"):
        sandbox.client.add_resource(resource)
    sandbox.client.assign(seed.OPERATOR_OBJECT_ID, seed.RBAC_ADMINISTRATOR, other)

    for scope in (other, f"{other}/resourceGroups/rg-far"):
        await arm.assign(Assignment(str(uuid.uuid4()), scope, new_group(sandbox), AKS_READER), "Group")

    sent = [entry["body"]["properties"] for entry in sandbox.client.journal(method="PUT")]
    assert {one["roleDefinitionId"] for one in sent} == {f"{other}{DEFINITIONS}/{AKS_READER}"}


@pytest.mark.parametrize(
    "scope", [seed.SUBSCRIPTION, seed.OTHER_RESOURCE_GROUP, f"{seed.OTHER_RESOURCE_GROUP}/providers/x.Y/z/z"]
)
async def test_who_may_not_assign_there_is_told_where(arm: Arm, sandbox: RunningSandbox, scope: str) -> None:
    """The operator's right ends at the cluster's resource group: the message names the other scope."""
    group = new_group(sandbox)

    with pytest.raises(Denied) as caught:
        await arm.assign(Assignment(str(uuid.uuid4()), scope, group, AKS_READER), "Group")

    wanted = f"give it the role Role Based Access Control Administrator on {scope} or above it"
    assert caught.value.message.endswith(wanted)
    assert sandbox.client.assignments(group) == []


async def test_who_may_not_assign_at_the_cluster_is_told_so(arm: Arm, sandbox: RunningSandbox) -> None:
    """In the words of the installation, whatever is inside the cluster it was to be for."""
    sandbox.client.unassign("e0000000-0000-4000-8000-000000000001")

    for scope in (SCOPE, NAMESPACE, seed.ARC_CLUSTER_ID):
        with pytest.raises(Denied, match=r"on the cluster or above it$"):
            await arm.assign(Assignment(str(uuid.uuid4()), scope, new_group(sandbox), AKS_READER), "Group")


@pytest.mark.parametrize("scope", [NAMESPACE, seed.RESOURCE_GROUP])
async def test_an_assignment_at_any_scope_is_taken_away(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]], scope: str
) -> None:
    """By one request to the scope that is in its id."""
    made = sandbox.client.assign(seed.ALICE, AKS_READER, scope)
    arm_id = assignment_id(scope, made["name"])

    await arm.unassign(arm_id)

    assert asked() == [f"DELETE {arm_id} 200"]
    assert sandbox.client.assignments(seed.USER_IDS[seed.ALICE]) == []


async def test_who_may_not_take_away_is_told_where(arm: Arm, sandbox: RunningSandbox) -> None:
    """At the scope of the assignment."""
    made = sandbox.client.assign(seed.ALICE, AKS_READER, seed.SUBSCRIPTION)

    with pytest.raises(Denied, match=f"Administrator on {seed.SUBSCRIPTION} or above it$"):
        await arm.unassign(assignment_id(seed.SUBSCRIPTION, made["name"]))
    assert len(sandbox.client.assignments(seed.USER_IDS[seed.ALICE])) == 1
