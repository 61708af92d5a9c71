"""Custom role definitions in ARM."""

from typing import Any

import httpx
import pytest

from entra_sandbox import seed
from support.azure import AKS_READER, AUTHORIZATION, MISSING, Caller, code, message
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

NAME = "77777777-2222-4333-8444-555555555555"
POD_DELETE = "Microsoft.ContainerService/managedClusters/pods/delete"


def _put(
    operator: Caller, name: str = NAME, scope: str = seed.RESOURCE_GROUP, **fields: Any
) -> httpx.Response:
    properties = {
        "roleName": "Pod Restarter",
        "description": "Restarts pods",
        "type": "CustomRole",
        "assignableScopes": [seed.RESOURCE_GROUP],
        "permissions": [{"actions": [], "dataActions": [POD_DELETE]}],
        **fields,
    }
    return operator.arm("PUT", f"{scope}/{AUTHORIZATION}/roleDefinitions/{name}", {"properties": properties})


def test_put_is_201_for_new_and_changed(operator: Caller) -> None:
    made = _put(operator)
    assert made.status_code == 201
    properties = made.json()["properties"]
    assert (properties["type"], properties["createdBy"]) == ("CustomRole", None)
    assert properties["permissions"][0] == {
        "actions": [],
        "notActions": [],
        "dataActions": [POD_DELETE],
        "notDataActions": [],
    }
    assert _put(operator, description="Changed").status_code == 201
    read = operator.arm("GET", f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleDefinitions/{NAME}").json()
    assert read["properties"]["description"] == "Changed"
    assert read["properties"]["createdBy"] == seed.OPERATOR_OBJECT_ID


def test_names_are_unique_in_the_tenant(operator: Caller) -> None:
    _put(operator)
    twin = _put(operator, MISSING, roleName="POD RESTARTER")
    assert code(twin) == (409, "RoleDefinitionWithSameNameExists")
    assert message(twin) == (
        "A custom role with the same name already exists in this directory. Use a different name."
    )


def test_built_in_roles_cannot_be_written(operator: Caller) -> None:
    assert code(_put(operator, AKS_READER)) == (409, "RoleDefinitionExists")
    path = f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleDefinitions/{AKS_READER}"
    assert operator.arm("DELETE", path).status_code == 400


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"roleName": ""}, "RoleDefinitionNameNullOrEmpty"),
        ({"assignableScopes": []}, "MissingAssignableScopes"),
        ({"assignableScopes": [seed.CLUSTER_ID]}, "LinkedInvalidPropertyId"),
        ({"type": "BuiltInRole"}, "InvalidRoleDefinitionType"),
        ({"assignableScopes": [seed.ROOT_MANAGEMENT_GROUP]}, "InvalidAssignableScope"),
    ],
)
def test_bad_definitions_are_refused(operator: Caller, fields: dict[str, Any], expected: str) -> None:
    assert code(_put(operator, **fields)) == (400, expected)


def test_every_assignable_scope_needs_the_right(
    sandbox: RunningSandbox, http: httpx.Client, operator: Caller
) -> None:
    answer = _put(operator, assignableScopes=[seed.RESOURCE_GROUP, seed.OTHER_RESOURCE_GROUP])
    assert code(answer) == (403, "LinkedAuthorizationFailed")
    assert f"on the linked scope(s) '{seed.OTHER_RESOURCE_GROUP}'" in message(answer)
    pipeline = caller_of(sandbox, http, seed.PIPELINE_CLIENT_ID)
    assert code(_put(pipeline)) == (403, "AuthorizationFailed")


def test_a_definition_goes_when_nothing_uses_it(operator: Caller) -> None:
    _put(operator)
    made = operator.assign(seed.USER_IDS[seed.AKSDEV], NAME, seed.CLUSTER_ID).json()
    path = f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleDefinitions/{NAME}"
    assert code(operator.arm("DELETE", path)) == (400, "RoleDefinitionHasAssignments")
    operator.arm("DELETE", made["id"])
    deleted = operator.arm("DELETE", path)
    assert (deleted.status_code, deleted.json()["name"]) == (200, NAME)
    assert operator.arm("DELETE", path).status_code == 204
    assert code(operator.arm("GET", path)) == (404, "RoleDefinitionDoesNotExist")


def test_a_custom_role_is_assigned_within_its_scopes_only(sandbox: RunningSandbox, operator: Caller) -> None:
    _put(operator)
    sandbox.client.assign(seed.OPERATOR_CLIENT_ID, "Owner", seed.SUBSCRIPTION)
    user = seed.USER_IDS[seed.AKSDEV]
    assert operator.assign(user, NAME, f"{seed.CLUSTER_ID}/namespaces/dev").status_code == 201
    outside = operator.assign(user, NAME, seed.OTHER_RESOURCE_GROUP)
    assert code(outside) == (400, "RoleDefinitionDoesNotExist")
