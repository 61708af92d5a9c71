"""The real SDKs against the sandbox, over HTTPS, by base URL, authority and CA alone."""

import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError
from azure.identity.aio import ClientSecretCredential, WorkloadIdentityCredential
from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient
from azure.mgmt.authorization.v2022_04_01.models import (
    Permission,
    RoleAssignmentCreateParameters,
    RoleDefinition,
)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph.generated.groups.delta.delta_request_builder import DeltaRequestBuilder as GroupsDelta
from msgraph.generated.models.group import Group
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.reference_create import ReferenceCreate
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory

from entra_sandbox import seed
from support.azure import AKS_READER, link, role_id
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]
NAME = "11111111-2222-4333-8444-555555555555"
OTHER = "11111111-2222-4333-8444-666666666666"


@pytest.fixture
async def credential(sandbox: RunningSandbox) -> AsyncIterator[ClientSecretCredential]:
    """The operator's credential with a secret."""
    made = ClientSecretCredential(
        seed.TENANT_ID,
        seed.OPERATOR_CLIENT_ID,
        seed.OPERATOR_SECRET,
        authority=sandbox.url,
        disable_instance_discovery=True,
        connection_verify=sandbox.ca,
    )
    async with made:
        yield made


@pytest.fixture
async def arm(
    sandbox: RunningSandbox, credential: ClientSecretCredential
) -> AsyncIterator[AuthorizationManagementClient]:
    """The management client, without retries of its own."""
    client = AuthorizationManagementClient(
        credential,
        seed.SUBSCRIPTION_ID,
        base_url=sandbox.url,
        credential_scopes=[sandbox.scope],
        connection_verify=sandbox.ca,
        retry_total=0,
    )
    async with client:
        yield client


@pytest.fixture
async def graph(
    sandbox: RunningSandbox, credential: ClientSecretCredential
) -> AsyncIterator[GraphServiceClient]:
    """The Graph client, with the SDK's own middleware."""
    # The SDK puts its middleware around the client's transport and never closes that: so it is closed here.
    context = ssl.create_default_context(cafile=sandbox.ca)
    async with (
        httpx.AsyncHTTPTransport(verify=context) as transport,
        httpx.AsyncClient(transport=transport, timeout=10) as http,
    ):
        provider = AzureIdentityAuthenticationProvider(
            credential, scopes=[sandbox.scope], allowed_hosts=[sandbox.host.split(":")[0], sandbox.host]
        )
        client = GraphClientFactory.create_with_default_middleware(client=http)
        adapter = GraphRequestAdapter(provider, client=client)
        adapter.base_url = f"{sandbox.url}/v1.0"
        yield GraphServiceClient(request_adapter=adapter)


async def test_workload_identity_signs_in_with_a_cluster_token(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issuer, subject = "https://kubernetes.default.svc", "system:serviceaccount:entra-access:operator"
    claims: dict[str, Any] = {"iss": issuer, "sub": subject, "aud": ["api://AzureADTokenExchange"]}
    claims["exp"] = int(time.time()) + 10_000_000
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    token_file = tmp_path / "token"
    token_file.write_text(jwt.encode(claims, pem, "RS256", headers={"kid": "k"}), encoding="utf-8")
    public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "k"}
    trusted = {"issuer": issuer, "subject": subject, "jwks": {"keys": [public]}}
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, federatedCredentials=[trusted])
    options: dict[str, Any] = {
        "tenant_id": seed.TENANT_ID,
        "client_id": seed.OPERATOR_CLIENT_ID,
        "token_file_path": str(token_file),
        "authority": sandbox.url,
        "disable_instance_discovery": True,
        "connection_verify": sandbox.ca,
    }
    async with WorkloadIdentityCredential(**options) as credential:
        token = await credential.get_token(sandbox.scope)
    assert jwt.decode(token.token, options={"verify_signature": False})["oid"] == seed.OPERATOR_OBJECT_ID
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, federatedCredentials=[])
    async with WorkloadIdentityCredential(**options) as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS700211"):
            await credential.get_token(sandbox.scope)


async def test_a_wrong_secret_is_an_authentication_error(sandbox: RunningSandbox) -> None:
    credential = ClientSecretCredential(
        seed.TENANT_ID,
        seed.OPERATOR_CLIENT_ID,
        "wrong",
        authority=sandbox.url,
        disable_instance_discovery=True,
        connection_verify=sandbox.ca,
    )
    async with credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await credential.get_token(sandbox.scope)


async def test_assignments_through_the_management_client(
    sandbox: RunningSandbox, arm: AuthorizationManagementClient
) -> None:
    wanted = RoleAssignmentCreateParameters(role_definition_id=role_id(AKS_READER), principal_id=AKSDEV)
    made: Any = await arm.role_assignments.create(seed.CLUSTER_ID, NAME, wanted)
    assert (made.name, made.scope, made.created_by) == (NAME, seed.CLUSTER_ID, None)
    with pytest.raises(ResourceExistsError, match="RoleAssignmentExists"):
        await arm.role_assignments.create(seed.CLUSTER_ID, OTHER, wanted)
    sandbox.client.settings(arm_page_size=1)
    listed: list[Any] = [
        a async for a in arm.role_assignments.list_for_scope(seed.CLUSTER_ID, filter="atScope()")
    ]
    assert NAME in [a.name for a in listed]
    assert len(listed) == 3
    by_principal = arm.role_assignments.list_for_scope(seed.CLUSTER_ID, filter=f"principalId eq '{AKSDEV}'")
    found: list[Any] = [a async for a in by_principal]
    assert [a.name for a in found] == [NAME]
    read: Any = await arm.role_assignments.get_by_id(str(made.id))
    assert read.created_by == seed.OPERATOR_OBJECT_ID
    deleted = await arm.role_assignments.delete(seed.CLUSTER_ID, NAME)
    assert [deleted, await arm.role_assignments.delete(seed.CLUSTER_ID, NAME)] == [read, None]


async def test_arm_errors_carry_their_code(
    sandbox: RunningSandbox, arm: AuthorizationManagementClient
) -> None:
    group = sandbox.client.add_group("fresh", replicationDelay=60)["id"]
    wanted = RoleAssignmentCreateParameters(
        role_definition_id=role_id(AKS_READER), principal_id=group, principal_type="Group"
    )
    with pytest.raises(HttpResponseError) as refused:
        await arm.role_assignments.create(seed.CLUSTER_ID, NAME, wanted)
    assert refused.value.status_code == 400
    assert refused.value.error is not None
    assert refused.value.error.code == "PrincipalNotFound"


async def test_definitions_through_the_management_client(arm: AuthorizationManagementClient) -> None:
    named = arm.role_definitions.list(
        seed.CLUSTER_ID, filter="roleName eq 'Azure Kubernetes Service RBAC Reader'"
    )
    assert [r.name async for r in named] == [AKS_READER]
    wanted = RoleDefinition(
        role_name="Pod Restarter",
        role_type="CustomRole",
        assignable_scopes=[seed.RESOURCE_GROUP],
        permissions=[Permission(data_actions=["Microsoft.ContainerService/managedClusters/pods/delete"])],
    )
    made = await arm.role_definitions.create_or_update(seed.RESOURCE_GROUP, NAME, wanted)
    assert (made.role_name, made.role_type) == ("Pod Restarter", "CustomRole")
    deleted = await arm.role_definitions.delete(seed.RESOURCE_GROUP, NAME)
    assert deleted is not None


async def test_groups_through_the_graph_client(graph: GraphServiceClient) -> None:
    body = Group(
        display_name="appdev",
        mail_nickname="appdev",
        mail_enabled=False,
        security_enabled=True,
        additional_data={"owners@odata.bind": [link(seed.USER_IDS[seed.LEAD])]},
    )
    configuration: RequestConfiguration[Any] = RequestConfiguration()
    configuration.headers.add("Prefer", "create-if-missing")
    by_name = graph.groups_with_unique_name("owner-1.appdev")
    created = await by_name.patch(body, request_configuration=configuration)
    assert created is not None
    assert (created.unique_name, created.display_name) == ("owner-1.appdev", "appdev")
    changed = await by_name.patch(Group(description="x"), request_configuration=configuration)
    assert changed is None  # 204
    read = await by_name.get()
    assert read is not None
    assert (read.id, read.description) == (created.id, "x")
    await graph.groups.by_group_id(str(read.id)).delete()
    with pytest.raises(ODataError) as missing:
        await by_name.get()
    assert missing.value.response_status_code == 404
    assert missing.value.error is not None
    assert missing.value.error.code == "Request_ResourceNotFound"


async def test_members_through_the_graph_client(graph: GraphServiceClient, sandbox: RunningSandbox) -> None:
    group = sandbox.client.add_group("appdev")["id"]
    one = graph.groups.by_group_id(group)
    await one.members.ref.post(ReferenceCreate(odata_id=link(AKSDEV)))
    body = Group(additional_data={"members@odata.bind": [link(seed.USER_IDS[seed.LEAD])]})
    await one.patch(body)
    information = one.members.to_get_request_information()
    adapter: Any = graph.request_adapter
    raw = await adapter.send_primitive_async(information, "bytes", {"XXX": ODataError})
    rows = json.loads(raw)["value"]
    assert {r["id"] for r in rows} == {AKSDEV, seed.USER_IDS[seed.LEAD]}
    await one.members.by_directory_object_id(AKSDEV).ref.delete()
    assert sandbox.client.state()["groups"][0]["members"] == [seed.USER_IDS[seed.LEAD]]
    with pytest.raises(ODataError, match="does not exist"):
        await one.members.by_directory_object_id(AKSDEV).ref.delete()


async def test_people_and_applications_through_the_graph_client(graph: GraphServiceClient) -> None:
    user = await graph.users.by_user_id(seed.AKSDEV).get()
    assert user is not None
    assert user.id == AKSDEV
    guest = await graph.users.by_user_id(seed.GUEST).get()
    assert guest is not None
    assert guest.id == seed.USER_IDS[seed.GUEST]
    principal = await graph.service_principals_with_app_id(seed.PIPELINE_CLIENT_ID).get()
    assert principal is not None
    assert principal.id == seed.PIPELINE_OBJECT_ID


async def test_the_deleted_through_the_graph_client(
    graph: GraphServiceClient, sandbox: RunningSandbox
) -> None:
    group = sandbox.client.add_group("gone", uniqueName="mine")["id"]
    await graph.groups.by_group_id(group).delete()
    item = graph.directory.deleted_items.by_directory_object_id(group)
    listed = await graph.directory.deleted_items.graph_group.get()
    assert listed is not None
    assert [g.id for g in listed.value or ()] == [group]
    restored = await item.restore.post()
    assert restored is not None
    assert restored.id == group
    await graph.groups.by_group_id(group).delete()
    await item.delete()
    assert sandbox.client.state()["deletedGroups"] == []


async def test_delta_links_are_followed_by_the_graph_client(
    graph: GraphServiceClient, sandbox: RunningSandbox
) -> None:
    group_id = sandbox.client.add_group("appdev", members=[seed.AKSDEV])["id"]
    first = await graph.groups.delta.get(
        RequestConfiguration(
            query_parameters=GroupsDelta.DeltaRequestBuilderGetQueryParameters(
                select=["displayName", "members"], filter=f"id eq '{group_id}'"
            )
        )
    )
    assert first is not None
    assert [group.display_name for group in first.value or ()] == ["appdev"]
    sandbox.client.delete_group(group_id)
    second = await graph.groups.delta.with_url(str(first.odata_delta_link)).get()
    assert second is not None
    gone = (second.value or [])[0]
    assert gone.additional_data["@removed"]["reason"] == "changed"
    users = await graph.users.delta.get()
    assert users is not None
    sandbox.client.expire_delta_tokens()
    with pytest.raises(ODataError) as expired:
        await graph.users.delta.with_url(str(users.odata_delta_link)).get()
    assert expired.value.error is not None
    assert (expired.value.response_status_code, expired.value.error.code) == (400, "syncStateNotFound")


async def test_the_sdks_middleware_obeys_retry_after(
    graph: GraphServiceClient, sandbox: RunningSandbox
) -> None:
    sandbox.client.fault(kind="graph", status=429, retry_after=0)
    user = await graph.users.by_user_id(seed.AKSDEV).get()
    assert user is not None
    assert [e["status"] for e in sandbox.client.journal(kind="graph")] == [429, 200]
