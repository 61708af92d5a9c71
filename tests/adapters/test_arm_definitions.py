"""Custom roles: made, changed, found, deleted, and what Azure refuses."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from entra_access.adapters.arm import Arm
from entra_access.domain.faults import Denied, InUse, Rejected, Unavailable
from entra_access.domain.naming import definition_id
from entra_access.domain.observed import Assignment, Definition
from entra_sandbox import seed
from support.answers import Answers, FixedCredential
from support.azure import AKS_READER, AKS_WRITER
from support.sandbox import RunningSandbox

SCOPE = seed.RESOURCE_GROUP
GUID = "dddddddd-1111-4111-8111-111111111111"
OTHER = "dddddddd-2222-4222-8222-222222222222"
PODS = "Microsoft.ContainerService/managedClusters/pods"
RESTARTER = Definition(
    guid=GUID,
    name="Pod Restarter",
    description="May delete pods",
    assignable_scopes=(SCOPE,),
    permissions=((), (), (f"{PODS}/delete",), ()),
)
RICH = replace(
    RESTARTER,
    name="Größe & O'Brien 🦊",
    permissions=(
        ("Microsoft.ContainerService/managedClusters/*", "*/read"),
        ("Microsoft.ContainerService/managedClusters/delete",),
        (f"{PODS}/*", f"{PODS}/read"),
        (f"{PODS}/exec/action",),
    ),
)
ARM_ID = definition_id(SCOPE, GUID)
RIGHT = "a role with Microsoft.Authorization/roleDefinitions/write and /delete on"
AUTHOR = "e0000000-0000-4000-8000-000000000002"
"""The assignment by which the operator may write role definitions."""


def custom_roles(sandbox: RunningSandbox) -> dict[str, str]:
    """The names of the tenant's custom roles by GUID, but for the seed's."""
    roles = sandbox.client.state()["customRoles"]
    return {role["name"]: role["roleName"] for role in roles if role["name"] != seed.CUSTOM_ROLE_AUTHOR}


@pytest.mark.parametrize("wish", [RESTARTER, RICH, replace(RESTARTER, description="")])
async def test_a_custom_role_is_made_as_it_was_asked_for(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]], wish: Definition
) -> None:
    """With all four lists, in one request; and it reads back as the same content."""
    await arm.define(SCOPE, wish)

    (entry,) = sandbox.client.journal(kind="arm")
    assert entry["body"]["properties"]["type"] == "CustomRole"
    assert asked() == [f"PUT {ARM_ID} 201"]
    found = await arm.definition(SCOPE, GUID)
    assert found == wish
    assert not found.built_in
    assert asked() == [f"GET {ARM_ID} 200"]
    assert custom_roles(sandbox) == {GUID: wish.name}


async def test_the_same_role_may_be_made_twice(arm: Arm, sandbox: RunningSandbox) -> None:
    """A pass that was cut off is repeated; there is one role, and it is the same."""
    for _ in range(2):
        await arm.define(SCOPE, RESTARTER)

    assert await arm.definition(SCOPE, GUID) == RESTARTER
    assert custom_roles(sandbox) == {GUID: RESTARTER.name}


async def test_a_custom_role_is_changed_in_place(arm: Arm, sandbox: RunningSandbox) -> None:
    """Its name, description and permissions; who has it keeps it."""
    await arm.define(SCOPE, RESTARTER)
    await arm.assign(Assignment(OTHER, seed.CLUSTER_ID, seed.USER_IDS[seed.ALICE], GUID), "User")
    changed = replace(RICH, description="Another text")

    await arm.define(SCOPE, changed)

    assert await arm.definition(SCOPE, GUID) == changed
    assert custom_roles(sandbox) == {GUID: changed.name}
    assert [one["role"] for one in sandbox.client.assignments(seed.USER_IDS[seed.ALICE])] == [GUID]


@pytest.mark.parametrize("scope", [SCOPE, seed.CLUSTER_ID, f"{seed.CLUSTER_ID}/namespaces/dev"])
async def test_a_custom_role_is_found_where_it_can_be_assigned(arm: Arm, scope: str) -> None:
    """By its name in any case and by its GUID, right after it was made."""
    await arm.define(SCOPE, RESTARTER)

    arm_id = definition_id(seed.SUBSCRIPTION, GUID)
    for role in ("Pod Restarter", "pod RESTARTER", GUID, GUID.upper(), arm_id):
        assert await arm.role_id(role, scope) == GUID
    assert await arm.definition(scope, GUID) == RESTARTER


async def test_a_custom_role_is_not_found_where_it_cannot_be_assigned(
    arm: Arm, sandbox: RunningSandbox
) -> None:
    """In another resource group it is no role, by whatever name."""
    sandbox.client.assign(seed.OPERATOR_OBJECT_ID, seed.RBAC_ADMINISTRATOR, seed.SUBSCRIPTION)
    await arm.define(SCOPE, RESTARTER)

    assert await arm.role_id("Pod Restarter", seed.OTHER_RESOURCE_GROUP) is None
    assert await arm.role_id(GUID, seed.OTHER_RESOURCE_GROUP) is None
    assert await arm.definition(seed.OTHER_RESOURCE_GROUP, GUID) is None


@pytest.mark.parametrize("body", [{}, {"name": OTHER}, {"name": None}, {"value": []}, {"name": f"{GUID}0"}])
@pytest.mark.parametrize("ask", ["role_id", "definition"])
async def test_an_answer_of_another_definition_is_no_answer(
    answers: Answers, body: dict[str, object], ask: str
) -> None:
    """What a proxy or a portal says with a 200 proves no role."""
    answers.says("200 OK", json.dumps({"properties": {"roleName": "Reader"}, **body}).encode())
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        with pytest.raises(Unavailable, match="no usable answer"):
            await (arm.role_id(GUID, SCOPE) if ask == "role_id" else arm.definition(SCOPE, GUID))
    finally:
        await arm.close()


async def test_a_definition_in_capitals_is_the_one_that_was_asked_for(answers: Answers) -> None:
    """GUIDs have no case."""
    answers.says("200 OK", json.dumps({"name": GUID.upper(), "id": ARM_ID, "properties": {}}).encode())
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        assert await arm.role_id(GUID, SCOPE) == GUID
    finally:
        await arm.close()


async def test_a_name_with_a_guid_behind_a_slash_is_looked_up_as_a_name(
    arm: Arm, asked: Callable[[], list[str]]
) -> None:
    """Such a role may be somebody's, and is not the one of that GUID."""
    assert await arm.role_id(f"x/{AKS_READER}", SCOPE) is None
    assert asked() == [f"GET {SCOPE}/providers/Microsoft.Authorization/roleDefinitions 200"]


async def test_a_definition_that_is_not_there_is_none(arm: Arm, asked: Callable[[], list[str]]) -> None:
    """And not a fault."""
    assert await arm.definition(SCOPE, GUID) is None
    assert asked() == [f"GET {ARM_ID} 404"]


async def test_a_built_in_role_can_be_read_and_not_written(arm: Arm, sandbox: RunningSandbox) -> None:
    """A GUID that is a built-in role's is nobody's to change or delete."""
    found = await arm.definition(SCOPE, AKS_READER)
    assert found is not None
    assert (found.guid, found.name) == (AKS_READER, "Azure Kubernetes Service RBAC Reader")
    assert f"{PODS}/read" in found.permissions[2]
    assert found.built_in

    with pytest.raises(Rejected, match="RoleDefinitionExists"):
        await arm.define(SCOPE, replace(RESTARTER, guid=AKS_READER))
    with pytest.raises(Rejected, match="InvalidRoleDefinitionType"):
        await arm.undefine(definition_id(SCOPE, AKS_READER))
    assert await arm.definition(SCOPE, AKS_READER) == found


@pytest.mark.parametrize("name", ["Pod Restarter", "POD restarter", "Azure Kubernetes Service RBAC Writer"])
async def test_a_name_that_another_role_has_is_rejected(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]], name: str
) -> None:
    """Names of roles are unique in the tenant, whatever their case; the message says what to do."""
    await arm.define(SCOPE, replace(RESTARTER, guid=OTHER))
    asked()

    with pytest.raises(Rejected, match="another role of that name is already in the tenant"):
        await arm.define(SCOPE, replace(RESTARTER, name=name))

    assert asked() == [f"PUT {ARM_ID} 409"]
    assert custom_roles(sandbox) == {OTHER: "Pod Restarter"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"assignable_scopes": (seed.CLUSTER_ID,)}, "LinkedInvalidPropertyId"),
        ({"assignable_scopes": (seed.ROOT_MANAGEMENT_GROUP,)}, "InvalidAssignableScope"),
        ({"assignable_scopes": ()}, "MissingAssignableScopes"),
        ({"name": "x" * 513}, "RoleDefinitionNameNullOrEmpty"),
    ],
    ids=["a cluster", "a management group with data actions", "none", "a long name"],
)
async def test_a_role_that_azure_does_not_take_is_rejected_by_code(
    arm: Arm, sandbox: RunningSandbox, change: dict[str, object], code: str
) -> None:
    """Nothing was made, and it will not pass by itself."""
    with pytest.raises(Rejected, match=f"will not write a custom role .400 {code}"):
        await arm.define(SCOPE, replace(RESTARTER, **change))  # type: ignore[arg-type]  # of these types each
    assert custom_roles(sandbox) == {}


async def test_a_custom_role_is_deleted_once_and_again(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """One that is gone counts as deleted, be it answered with 204 or with 404."""
    await arm.define(SCOPE, RESTARTER)
    asked()

    for _ in range(2):
        await arm.undefine(ARM_ID)
    sandbox.client.fault(kind="arm", method="DELETE", status=404, code="RoleDefinitionDoesNotExist")
    await arm.undefine(ARM_ID)

    assert asked() == [f"DELETE {ARM_ID} {status}" for status in (200, 204, 404)]
    assert custom_roles(sandbox) == {}


async def test_a_custom_role_that_is_assigned_stays(arm: Arm, sandbox: RunningSandbox) -> None:
    """Until the last one who has it has it no more; that passes by itself."""
    await arm.define(SCOPE, RESTARTER)
    made = sandbox.client.assign(seed.ALICE, GUID, f"{seed.CLUSTER_ID}/namespaces/dev")

    with pytest.raises(InUse) as caught:
        await arm.undefine(ARM_ID)

    assert not caught.value.permanent
    assert custom_roles(sandbox) == {GUID: RESTARTER.name}
    sandbox.client.unassign(made["name"])
    await arm.undefine(ARM_ID)
    assert custom_roles(sandbox) == {}


async def test_without_the_right_a_role_is_neither_made_nor_changed_nor_deleted(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """Role Based Access Control Administrator is not enough: the message names the right and the scope."""
    await arm.define(SCOPE, RESTARTER)
    sandbox.client.unassign(AUTHOR)
    asked()

    calls: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: arm.define(SCOPE, replace(RESTARTER, guid=OTHER, name="new")),
        lambda: arm.define(SCOPE, RICH),
        lambda: arm.undefine(ARM_ID),
    )
    for call in calls:
        with pytest.raises(Denied) as caught:
            await call()
        assert caught.value.message.endswith(f"give it {RIGHT} {SCOPE} or above it")

    assert [line[-3:] for line in asked()] == ["403", "403", "403"]
    assert await arm.definition(SCOPE, GUID) == RESTARTER


async def test_every_assignable_scope_wants_the_right(arm: Arm, sandbox: RunningSandbox) -> None:
    """LinkedAuthorizationFailed: the operator has it at the first scope, and lacks it at the second."""
    wish = replace(RESTARTER, assignable_scopes=(SCOPE, seed.OTHER_RESOURCE_GROUP))

    with pytest.raises(Denied, match=r"LinkedAuthorizationFailed.*roleDefinitions/write"):
        await arm.define(SCOPE, wish)

    assert custom_roles(sandbox) == {}
    sandbox.client.assign(seed.OPERATOR_OBJECT_ID, seed.CUSTOM_ROLE_AUTHOR, seed.OTHER_RESOURCE_GROUP)
    await arm.define(SCOPE, wish)
    assert await arm.definition(SCOPE, GUID) == wish


async def test_who_lacks_the_right_at_another_assignable_scope_is_not_sent_to_the_first(arm: Arm) -> None:
    """To give the operator what it has already would help nobody."""
    wish = replace(RESTARTER, assignable_scopes=(SCOPE, seed.OTHER_RESOURCE_GROUP))

    with pytest.raises(Denied) as caught:
        await arm.define(SCOPE, wish)

    assert not caught.value.message.endswith(f"on {SCOPE} or above it")


async def test_the_order_of_what_is_asked_for_does_not_matter(arm: Arm) -> None:
    """What Azure gives back compares as the same, also when it sorts or changes the case of actions."""
    await arm.define(SCOPE, RICH)
    found = await arm.definition(SCOPE, GUID)
    assert found is not None
    turned = replace(
        RICH, permissions=tuple(tuple(text.upper() for text in reversed(one)) for one in RICH.permissions)
    )

    assert found.content == turned.content
    assert found.content != replace(RICH, description="x").content
    assert found.content != RESTARTER.content


async def test_a_right_is_what_the_new_role_gives(arm: Arm, sandbox: RunningSandbox) -> None:
    """The role can be assigned in a namespace at once, by the GUID that it was made with."""
    await arm.define(SCOPE, RESTARTER)
    namespace = f"{seed.CLUSTER_ID}/namespaces/dev"

    await arm.assign(Assignment(OTHER, namespace, seed.USER_IDS[seed.ALICE], GUID), "User")

    assert [(one["role"], one["scope"]) for one in sandbox.client.assignments(seed.USER_IDS[seed.ALICE])] == [
        (GUID, namespace)
    ]
    assert await arm.role_id(AKS_WRITER, namespace) == AKS_WRITER
