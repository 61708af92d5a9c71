"""Role assignments in ARM: one at a time."""

import re
import uuid

import httpx
import pytest

from entra_sandbox import seed
from support.azure import AKS_READER, AKS_WRITER, AUTHORIZATION, MISSING, Caller, code, message, role_id
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

AKSDEV, LEAD = seed.USER_IDS[seed.AKSDEV], seed.USER_IDS[seed.LEAD]
NAME = "11111111-2222-4333-8444-555555555555"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


def test_put_answers_201_and_hides_the_creator(operator: Caller) -> None:
    answer = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME, description="first")
    body = answer.json()
    assert answer.status_code == 201
    assert list(body) == ["properties", "id", "type", "name"]
    assert list(body["properties"]) == [
        "roleDefinitionId",
        "principalId",
        "principalType",
        "scope",
        "condition",
        "conditionVersion",
        "createdOn",
        "updatedOn",
        "createdBy",
        "updatedBy",
        "delegatedManagedIdentityResourceId",
        "description",
    ]
    assert body["id"] == f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments/{NAME}"
    assert body["properties"]["roleDefinitionId"] == role_id(AKS_READER)
    assert body["properties"]["createdBy"] is None
    assert body["properties"]["principalType"] == "User"
    assert TIME.fullmatch(body["properties"]["createdOn"])
    assert body["properties"]["createdOn"] != body["properties"]["updatedOn"]
    read = operator.arm("GET", body["id"]).json()["properties"]
    assert read["createdBy"] == read["updatedBy"] == seed.OPERATOR_OBJECT_ID
    assert read["createdOn"] == read["updatedOn"] == body["properties"]["updatedOn"]


def test_put_again_is_201_and_keeps_who_and_when(operator: Caller) -> None:
    operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME, description="first")
    path = f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments/{NAME}"
    before = operator.arm("GET", path).json()["properties"]
    again = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME, description="second")
    assert again.status_code == 201
    assert again.json()["properties"]["createdBy"] is None
    assert again.json()["properties"]["createdOn"] > before["createdOn"]
    after = operator.arm("GET", path).json()["properties"]
    assert after["description"] == "second"
    assert (after["createdOn"], after["createdBy"]) == (before["createdOn"], before["createdBy"])


@pytest.mark.parametrize("change", ["principal", "role", "scope"])
def test_what_makes_an_assignment_cannot_change(operator: Caller, change: str) -> None:
    operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME)
    principal = LEAD if change == "principal" else AKSDEV
    role = AKS_WRITER if change == "role" else AKS_READER
    scope = seed.RESOURCE_GROUP if change == "scope" else seed.CLUSTER_ID
    answer = operator.assign(principal, role, scope, name=NAME)
    assert code(answer) == (400, "RoleAssignmentUpdateNotPermitted")
    assert message(answer) == (
        "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
    )


def test_the_same_under_another_name_exists(operator: Caller) -> None:
    operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME)
    answer = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID.upper())
    assert code(answer) == (409, "RoleAssignmentExists")
    assert message(answer) == (
        "The role assignment already exists. The ID of the existing role assignment is "
        f"{NAME.replace('-', '')}."
    )


def test_scopes_and_ids_have_no_case(operator: Caller) -> None:
    operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME)
    path = f"{seed.CLUSTER_ID.lower()}/PROVIDERS/microsoft.authorization/ROLEASSIGNMENTS/{NAME.upper()}"
    assert operator.arm("GET", path).json()["properties"]["scope"] == seed.CLUSTER_ID
    again = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID.upper(), name=NAME)
    assert again.status_code == 201


def test_delete_gives_it_back_once(operator: Caller) -> None:
    made = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID).json()
    deleted = operator.arm("DELETE", made["id"])
    assert (deleted.status_code, deleted.json()["name"]) == (200, made["name"])
    again = operator.arm("DELETE", made["id"])
    assert (again.status_code, again.content) == (204, b"")
    missing = operator.arm("GET", made["id"])
    assert code(missing) == (404, "RoleAssignmentNotFound")
    assert message(missing) == f"The role assignment '{made['name']}' is not found."


def test_principals_must_exist_and_be_what_they_are_called(operator: Caller) -> None:
    unknown = operator.assign(MISSING, AKS_READER, seed.CLUSTER_ID, principalType="ServicePrincipal")
    assert code(unknown) == (400, "PrincipalNotFound")
    wrong = operator.assign(seed.PIPELINE_OBJECT_ID, AKS_READER, seed.CLUSTER_ID, principalType="User")
    assert code(wrong) == (400, "UnmatchedPrincipalType")
    assert message(wrong) == (
        f"The PrincipalId '{seed.PIPELINE_OBJECT_ID}' has type 'ServicePrincipal' , which is different from "
        "specified PrinciaplType 'User'."
    )
    assert code(operator.assign("nonsense", AKS_READER, seed.CLUSTER_ID)) == (400, "InvalidPrincipalId")


def test_roles_must_exist_and_be_named_in_full(operator: Caller) -> None:
    unknown = operator.assign(AKSDEV, MISSING, seed.CLUSTER_ID)
    assert code(unknown) == (400, "RoleDefinitionDoesNotExist")
    assert message(unknown) == (
        f"The specified role definition with ID '{MISSING.replace('-', '')}' does not exist."
    )
    for role, expected in ((AKS_READER, "BadRequestFormat"), (role_id("reader"), "InvalidRoleDefinitionId")):
        properties = {"roleDefinitionId": role, "principalId": AKSDEV}
        path = f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments/{uuid.uuid4()}"
        assert code(operator.arm("PUT", path, {"properties": properties})) == (400, expected)
    bad_name = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name="nonsense")
    assert code(bad_name) == (400, "InvalidRoleAssignmentId")


def test_a_namespace_is_a_scope_without_a_resource(operator: Caller) -> None:
    scope = f"{seed.CLUSTER_ID}/namespaces/dev"
    assert operator.assign(AKSDEV, AKS_WRITER, scope).status_code == 201


def test_who_may_not_write_is_told_in_arms_words(sandbox: RunningSandbox, http: httpx.Client) -> None:
    pipeline = caller_of(sandbox, http, seed.PIPELINE_CLIENT_ID)
    answer = pipeline.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID, name=NAME)
    assert code(answer) == (403, "AuthorizationFailed")
    assert message(answer) == (
        f"The client '{seed.PIPELINE_CLIENT_ID}' with object id '{seed.PIPELINE_OBJECT_ID}' does not have "
        "authorization to perform action 'Microsoft.Authorization/roleAssignments/write' over scope "
        f"'{seed.CLUSTER_ID}/providers/Microsoft.Authorization/roleAssignments/{NAME}' or the scope is "
        "invalid. If access was recently granted, please refresh your credentials."
    )
    listed = pipeline.arm("GET", f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments")
    assert code(listed) == (403, "AuthorizationFailed")


def test_rights_end_at_their_scope_and_come_through_groups(
    sandbox: RunningSandbox, http: httpx.Client, operator: Caller
) -> None:
    assert code(operator.assign(AKSDEV, AKS_READER, seed.SUBSCRIPTION)) == (403, "AuthorizationFailed")
    assert code(operator.assign(AKSDEV, AKS_READER, seed.OTHER_RESOURCE_GROUP))[0] == 403
    inner = sandbox.client.add_group("inner", members=[seed.PIPELINE_CLIENT_ID])["id"]
    outer = sandbox.client.add_group("outer", members=[inner])["id"]
    sandbox.client.assign(outer, "User Access Administrator", seed.SUBSCRIPTION)
    pipeline = caller_of(sandbox, http, seed.PIPELINE_CLIENT_ID)
    assert pipeline.assign(AKSDEV, AKS_READER, seed.OTHER_RESOURCE_GROUP).status_code == 201


def test_scopes_must_exist_down_to_the_resource_group(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.assign(seed.OPERATOR_CLIENT_ID, "Owner", "/")
    unknown = operator.assign(AKSDEV, AKS_READER, f"{seed.SUBSCRIPTION}/resourceGroups/nowhere")
    assert code(unknown) == (404, "ResourceGroupNotFound")
    nowhere = operator.assign(AKSDEV, AKS_READER, f"/subscriptions/{MISSING}")
    assert code(nowhere) == (404, "SubscriptionNotFound")


def test_the_api_version_is_required(operator: Caller, http: httpx.Client) -> None:
    path = f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments"
    assert code(http.get(path, headers=operator.headers)) == (400, "MissingApiVersionParameter")
    old = http.get(path, params={"api-version": "2015-07-01"}, headers=operator.headers)
    assert old.status_code == 400


def test_clusters_can_be_read_as_resources(operator: Caller) -> None:
    cluster = operator.arm("GET", seed.CLUSTER_ID).json()
    assert cluster["properties"]["aadProfile"]["enableAzureRBAC"] is True
    arc = operator.arm("GET", seed.ARC_CLUSTER_ID.lower()).json()
    assert arc["properties"]["aadProfile"]["tenantID"] == seed.TENANT_ID
    missing = operator.arm("GET", f"{seed.CLUSTER_ID}-other")
    assert code(missing) == (404, "ResourceNotFound")
    assert operator.arm("GET", seed.RESOURCE_GROUP).json()["name"] == "rg-aks"


def test_only_good_tokens_for_arm_count(sandbox: RunningSandbox, http: httpx.Client) -> None:
    client, app = sandbox.client, seed.OPERATOR_CLIENT_ID
    path = f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments"
    for token, expected in (
        (client.app_token(app, audience=sandbox.url, lifetime=-1), "ExpiredAuthenticationToken"),
        (client.app_token(app, audience="https://graph.microsoft.com"), "InvalidAuthenticationTokenAudience"),
        ("nonsense", "InvalidAuthenticationToken"),
    ):
        assert code(Caller(http, token).arm("GET", path)) == (401, expected)
    assert code(http.get(path)) == (401, "AuthenticationFailed")
    good = client.app_token(app, audience="https://management.azure.com/")
    assert Caller(http, good).arm("GET", path).status_code == 200


def test_an_unknown_route_says_so(sandbox: RunningSandbox, operator: Caller) -> None:
    answer = operator.arm("POST", f"{seed.CLUSTER_ID}/listClusterUserCredential", {})
    assert code(answer) == (404, "InvalidResourceType")
    assert operator.http.get("/nonsense").status_code == 404
    assert "no route for GET /nonsense" in sandbox.stderr()
    wrong = operator.arm("PUT", f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments", {})
    assert code(wrong) == (405, "HttpMethodNotSupported")
