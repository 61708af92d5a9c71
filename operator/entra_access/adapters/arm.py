"""Azure Resource Manager: role assignments and role definitions, Microsoft.Authorization 2022-04-01."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest
from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient
from azure.mgmt.authorization.v2022_04_01.models import (
    Permission,
    RoleAssignmentCreateParameters,
    RoleDefinition,
)

from entra_access.adapters.gate import DEFAULT_RETRY_AFTER, Gate, retry_after
from entra_access.api.names import USER_AGENT
from entra_access.api.times import stamp
from entra_access.domain.faults import (
    Changed,
    Denied,
    Fault,
    InUse,
    Missing,
    PrincipalUnknown,
    Rejected,
    RoleUnknown,
    SignInFailed,
    Throttled,
    Unavailable,
)
from entra_access.domain.naming import guid_in, role_guid, scope_of
from entra_access.domain.observed import Assignment, ClusterFacts, Definition
from entra_access.domain.place import in_cluster, subscription_of

SERVICE: Final = "Azure Resource Manager"
MANAGED_CLUSTERS: Final = "2024-09-01"
CONNECTED_CLUSTERS: Final = "2024-01-01"
"""The versions of the two kinds' own APIs."""
READ_CLUSTER: Final = "read the cluster's resource"
UNKNOWN_ROLE: Final = "RoleDefinitionDoesNotExist"
DEFINITIONS: Final = "/providers/Microsoft.Authorization/roleDefinitions"


class Arm:
    """The calls that the operator makes to Azure Resource Manager. Each raises `Fault` and nothing else."""

    def __init__(
        self,
        credential: AsyncTokenCredential,
        url: str,
        subscription: str,
        ca_file: str | None,
        limit: int = 8,
    ) -> None:
        base = url.rstrip("/")
        self._subscription = subscription
        self._gate = Gate(SERVICE, limit)
        self._client = AuthorizationManagementClient(
            credential,
            subscription,
            base_url=base,
            credential_scopes=[f"{base}/.default"],
            connection_verify=ca_file or True,
            user_agent=USER_AGENT,
            retry_total=0,  # one call would else hang for minutes; the queue retries
            connection_timeout=5,
            read_timeout=30,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def assignments(self, scope: str, *, below: bool) -> tuple[Assignment, ...]:
        """The role assignments at the scope and above it, and with `below` also those below it.

        Source: https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest -
        ``atScope()`` means at the scope or above, and no filter everything.
        """
        async with self._translated("list role assignments", scope):
            listed: AsyncIterable[Any] = self._client.role_assignments.list_for_scope(
                scope, filter=None if below else "atScope()"
            )
            found = [_assignment(item) async for item in listed]
        return tuple(one for one in found if one)

    async def assignment(self, scope: str, name: str) -> Assignment | None:
        """The role assignment with that name exactly at the scope, or None."""
        async with self._translated("read a role assignment", scope):
            try:
                found = _assignment(await self._client.role_assignments.get(scope, name))
            except ResourceNotFoundError:
                return None
        return found if found and found.scope.lower() == scope.lower() else None

    async def role_id(self, role: str, scope: str) -> str | None:
        """The GUID of the role definition with that name, GUID or id, or None where there is none."""
        guid = role_guid(role)
        async with self._translated("look up a role definition", scope):
            if guid:
                return guid if await self._get_definition(scope, guid) else None
            name = role.replace("'", "''")
            definitions = self._client.role_definitions
            listed: AsyncIterable[Any] = definitions.list(scope, filter=f"roleName eq '{name}'")
            async for item in listed:
                if item.role_name.lower() == role.lower():
                    return str(item.name).lower()
        return None

    async def definition(self, scope: str, guid: str) -> Definition | None:
        """The role definition with that GUID, or None."""
        async with self._translated("read a custom role", scope):
            found = await self._get_definition(scope, guid)
            return _definition(found) if found else None

    async def _get_definition(self, scope: str, guid: str) -> Any:
        """The SDK's role definition of that GUID, or None.

        Raises
        ------
        ValueError
            The answer is of another one: that is not what Azure says.
        """
        try:
            found = await self._client.role_definitions.get(scope, guid)
        except ResourceNotFoundError:
            return None
        if str(found.name).lower() != guid.lower():
            raise ValueError("another role definition than was asked for")
        return found

    async def custom_definitions(self, scope: str) -> tuple[Definition, ...]:
        """The custom roles that can be assigned at the scope.

        Source: https://learn.microsoft.com/azure/role-based-access-control/role-definitions-list
        """
        async with self._translated("list custom roles", scope):
            listed: AsyncIterable[Any] = self._client.role_definitions.list(
                scope, filter="type eq 'CustomRole'"
            )
            return tuple([_definition(item) async for item in listed])

    async def define(self, scope: str, definition: Definition) -> None:
        """Make the custom role, or change it to be so. The same call may be repeated.

        Source: https://learn.microsoft.com/azure/role-based-access-control/custom-roles-rest

        Raises
        ------
        Rejected
            Another role of that name is in the tenant, or the permissions are none that Azure knows.
        """
        actions, not_actions, data_actions, not_data_actions = map(list, definition.permissions)
        permission = Permission(
            actions=actions,
            not_actions=not_actions,
            data_actions=data_actions,
            not_data_actions=not_data_actions,
        )
        wish = RoleDefinition(
            role_name=definition.name,
            description=definition.description,
            role_type="CustomRole",
            permissions=[permission],
            assignable_scopes=list(definition.assignable_scopes),
        )
        async with self._translated("write a custom role", scope):
            await self._client.role_definitions.create_or_update(scope, definition.guid, wish)

    async def undefine(self, definition_id: str) -> None:
        """Delete the custom role. One that is not there counts as deleted (204 or 404).

        Raises
        ------
        InUse
            It is still assigned to somebody.
        """
        scope, guid = scope_of(definition_id), guid_in(definition_id) or ""
        async with self._translated("delete a custom role", scope):
            try:
                await self._client.role_definitions.delete(scope, guid)
            except ResourceNotFoundError:
                return

    async def cluster_facts(self, cluster_id: str) -> ClusterFacts:
        """What the cluster's own resource says of signing in and of Azure RBAC.

        Source: https://learn.microsoft.com/rest/api/aks/managed-clusters/get,
        https://learn.microsoft.com/rest/api/hybridkubernetes/connected-cluster/get
        """
        arc = "/connectedclusters/" in cluster_id.lower()
        version = CONNECTED_CLUSTERS if arc else MANAGED_CLUSTERS
        request = HttpRequest("GET", cluster_id, params={"api-version": version})
        async with self._translated(READ_CLUSTER, cluster_id):
            answer = await self._client._send_request(request)  # noqa: SLF001 - the SDK's documented way to others
            if answer.status_code != 200:
                raise HttpResponseError(response=answer)
            return _facts(answer.json()["properties"], arc=arc)
        raise AssertionError("unreachable")  # pragma: no cover - the block above returns or raises

    async def assign(self, assignment: Assignment, principal_type: str) -> None:
        """Give somebody a role. The same call may be repeated: the name is made of what it stands for.

        Source: https://learn.microsoft.com/azure/role-based-access-control/role-assignments-rest. The
        principal's type is always sent: a caller that is bound by a condition must, and it spares a look-up.

        Raises
        ------
        PrincipalUnknown
            The principal is so new that Azure does not know it yet, or it is gone.
        RoleUnknown
            The role is so new that Azure does not know it yet, or it is gone.
        Changed
            The principal has the role already, by an assignment of another name.
        """
        subscription = subscription_of(assignment.scope) or self._subscription
        definition = f"/subscriptions/{subscription}{DEFINITIONS}/{assignment.role_id}"
        wish = RoleAssignmentCreateParameters(
            role_definition_id=definition,
            principal_id=assignment.principal_id,
            principal_type=principal_type,
            description=assignment.description,
        )
        async with self._translated("assign the role", assignment.scope):
            await self._client.role_assignments.create(assignment.scope, assignment.name, wish)

    async def unassign(self, assignment_id: str) -> None:
        """Take the assignment away. One that is not there counts as taken away (204 or 404)."""
        async with self._translated("remove the role assignment", scope_of(assignment_id)):
            try:
                await self._client.role_assignments.delete_by_id(assignment_id)
            except ResourceNotFoundError:
                return

    @asynccontextmanager
    async def _translated(self, doing: str, scope: str) -> AsyncIterator[None]:
        """The one place where what the SDK raises becomes ours."""
        async with self._gate.enter():
            try:
                yield
            except ClientAuthenticationError as error:
                # azure-core raises this both for a refused sign-in and for a 401 of the service.
                raise SignInFailed(
                    f"Entra or {SERVICE} refused the operator's identity to {doing}"
                ) from error
            except HttpResponseError as error:
                raise self._fault(error, doing, scope) from error
            except AzureError as error:
                message = f"cannot reach {SERVICE} to {doing}: {type(error).__name__}"
                raise Unavailable(message) from error
            except OSError as error:
                raise SignInFailed(f"the service account's token cannot be read to {doing}") from error
            except (ValueError, TypeError, AttributeError, LookupError) as error:
                # What the SDK raises over an answer that is not the service's own: a proxy's, a portal's.
                raise Unavailable(f"{SERVICE} gave no usable answer when asked to {doing}") from error

    def _fault(self, error: HttpResponseError, doing: str, scope: str) -> Fault:
        status = error.status_code or 0
        response: Any = error.response
        headers = dict(response.headers) if response else None
        code = (error.error.code if error.error else None) or ""
        if status == 429:
            seconds = retry_after(headers, DEFAULT_RETRY_AFTER) or 0.0
            self._gate.close_for(seconds)
            return Throttled(f"{SERVICE} is throttling; it was to {doing}", retry_after=seconds)
        if status == 401:
            return SignInFailed(f"{SERVICE} refused the operator's identity to {doing}")
        if status >= 500 or status < 400 or status == 408:
            wait = retry_after(headers, None)
            return Unavailable(f"{SERVICE} answered {status} when asked to {doing}", retry_after=wait)
        if status == 403:
            right = _right(doing, scope, linked=code == "LinkedAuthorizationFailed")
            return Denied(f"the operator's identity may not {doing} ({code}): give it {right}")
        if status == 404 and code == UNKNOWN_ROLE:
            return _refusal(status, code, doing)  # the same answer comes as a 400 and as a 404
        if status == 404 and not code:
            return Unavailable(f"{SERVICE} gave no usable answer when asked to {doing}")
        if status == 404:
            return Missing(f"not there when asked to {doing} ({code})")
        return _refusal(status, code, doing)


def _right(doing: str, scope: str, *, linked: bool) -> str:
    """What the operator's identity lacks when it is refused something; `linked`: at another scope than asked.

    Source: https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    """
    where = "the cluster or above it" if in_cluster(scope) else f"{scope} or above it"
    where = "each of its assignable scopes" if linked else where
    if doing == READ_CLUSTER:
        return f"the role Reader on {where}"
    if "custom role" in doing:
        return f"a role with Microsoft.Authorization/roleDefinitions/write and /delete on {where}"
    return f"the role Role Based Access Control Administrator on {where}"


def _assignment(item: Any) -> Assignment | None:
    """The assignment as a value, or None where it is none that could be compared."""
    role_id = guid_in(item.role_definition_id)
    if not role_id:
        return None
    return Assignment(
        name=item.name.lower(),
        scope=item.scope,
        principal_id=item.principal_id.lower(),
        role_id=role_id,
        description=item.description or "",
        condition=item.condition or "",
        changed_by=item.updated_by or item.created_by or "",
        changed=_when(item.updated_on or item.created_on),
    )


def _when(moment: datetime | None) -> str:
    return stamp(moment) if moment else ""


def _definition(item: Any) -> Definition:
    lists = ("actions", "not_actions", "data_actions", "not_data_actions")
    permissions = [
        tuple(text for permission in item.permissions for text in getattr(permission, name) or ())
        for name in lists
    ]
    return Definition(
        guid=item.name.lower(),
        name=item.role_name,
        description=item.description or "",
        assignable_scopes=tuple(item.assignable_scopes),
        permissions=tuple(permissions),
        changed_by=item.updated_by or item.created_by or "",
        changed=_when(item.updated_on or item.created_on),
        built_in=item.role_type == "BuiltInRole",
    )


def _facts(properties: Mapping[str, Any], *, arc: bool) -> ClusterFacts:
    profile = properties.get("aadProfile")
    if not profile:
        return ClusterFacts(entra=False, azure_rbac=False)
    return ClusterFacts(
        entra=True,
        # Only the old integration names applications of one's own; "managed" is what took its place.
        legacy=not arc and bool(profile.get("serverAppID")) and not profile.get("managed"),
        azure_rbac=bool(profile.get("enableAzureRBAC")),
    )


def _refusal(status: int, code: str, doing: str) -> Fault:
    match code:
        case "PrincipalNotFound":
            return PrincipalUnknown("Azure does not know the new principal yet")
        case _ if code == UNKNOWN_ROLE:
            return RoleUnknown("Azure does not know the role definition yet")
        case "RoleAssignmentExists":
            return Changed("the subject already has the role by another assignment")
        case "RoleDefinitionWithSameNameExists":
            return Rejected("another role of that name is already in the tenant; choose another name")
        case "RoleDefinitionHasAssignments":
            return InUse(
                "a custom role is still assigned to somebody; it is deleted when those assignments are"
            )
        case "RoleAssignmentLimitExceeded":
            return Rejected("the subscription has all the role assignments that Azure allows (4000)")
        case _:
            return Rejected(f"{SERVICE} will not {doing} ({status} {code})")
