"""Azure Resource Manager: role assignments and role definitions, Microsoft.Authorization 2022-04-01."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient
from azure.mgmt.authorization.v2022_04_01.models import RoleAssignmentCreateParameters

from entra_access.adapters.gate import DEFAULT_RETRY_AFTER, Gate, retry_after
from entra_access.api.names import USER_AGENT
from entra_access.domain.faults import (
    Changed,
    Denied,
    Fault,
    Missing,
    Rejected,
    Replicating,
    SignInFailed,
    Throttled,
    Unavailable,
)
from entra_access.domain.naming import guid_in
from entra_access.domain.observed import Assignment

SERVICE: Final = "Azure Resource Manager"
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

    async def assignments_at(self, scope: str) -> tuple[Assignment, ...]:
        """The role assignments that are exactly at the scope: those above and below are left out.

        Source: https://learn.microsoft.com/azure/role-based-access-control/role-assignments-list-rest -
        ``atScope()`` means at the scope or above.
        """
        async with self._translated("list role assignments"):
            listed: AsyncIterable[Any] = self._client.role_assignments.list_for_scope(
                scope, filter="atScope()"
            )
            found = [_assignment(item, scope) async for item in listed]
        return tuple(one for one in found if one)

    async def assignment(self, scope: str, name: str) -> Assignment | None:
        """The role assignment with that name exactly at the scope, or None."""
        async with self._translated("read a role assignment"):
            try:
                return _assignment(await self._client.role_assignments.get(scope, name), scope)
            except ResourceNotFoundError:
                return None

    async def role_id(self, role: str, scope: str) -> str | None:
        """The GUID of the role definition with that name, GUID or id, or None where there is none."""
        guid = guid_in(role)
        definitions = self._client.role_definitions
        async with self._translated("look up a role definition"):
            if guid:
                try:
                    await definitions.get(scope, guid)
                except ResourceNotFoundError:
                    return None
                return guid
            name = role.replace("'", "''")
            listed: AsyncIterable[Any] = definitions.list(scope, filter=f"roleName eq '{name}'")
            async for item in listed:
                if item.role_name.lower() == role.lower():
                    return str(item.name).lower()
        return None

    async def assign(self, scope: str, name: str, role_id: str, group_id: str, description: str) -> None:
        """Give the group the role. The same call may be repeated: the name is made of what it stands for.

        Source: https://learn.microsoft.com/azure/role-based-access-control/role-assignments-rest. The
        principal's type is always sent: a caller that is bound by a condition must, and it spares a look-up.

        Raises
        ------
        Replicating
            The group is so new that Azure does not know it yet.
        Changed
            The group has the role already, by an assignment of another name.
        """
        definition = f"/subscriptions/{self._subscription}{DEFINITIONS}/{role_id}"
        wish = RoleAssignmentCreateParameters(
            role_definition_id=definition,
            principal_id=group_id,
            principal_type="Group",
            description=description,
        )
        async with self._translated("assign the role"):
            await self._client.role_assignments.create(scope, name, wish)

    async def unassign(self, assignment_id: str) -> None:
        """Take the assignment away. One that is not there counts as taken away (204 or 404)."""
        async with self._translated("remove the role assignment"):
            try:
                await self._client.role_assignments.delete_by_id(assignment_id)
            except ResourceNotFoundError:
                return

    @asynccontextmanager
    async def _translated(self, doing: str) -> AsyncIterator[None]:
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
                raise self._fault(error, doing) from error
            except AzureError as error:
                message = f"cannot reach {SERVICE} to {doing}: {type(error).__name__}"
                raise Unavailable(message) from error
            except OSError as error:
                raise SignInFailed(f"the service account's token cannot be read to {doing}") from error
            except (ValueError, TypeError, AttributeError) as error:
                # What the SDK raises over an answer that is not the service's own: a proxy's, a portal's.
                raise Unavailable(f"{SERVICE} gave no usable answer when asked to {doing}") from error

    def _fault(self, error: HttpResponseError, doing: str) -> Fault:
        status = error.status_code or 0
        response: Any = error.response
        headers = dict(response.headers) if response else None
        code = (error.error.code if error.error else None) or ""
        if status == 429:
            seconds = retry_after(headers, DEFAULT_RETRY_AFTER) or 0.0
            self._gate.close_for(seconds)
            return Throttled(f"{SERVICE} is throttling; it was to {doing}", retry_after=seconds)
        if status >= 500 or status < 400 or status == 408:
            wait = retry_after(headers, None)
            return Unavailable(f"{SERVICE} answered {status} when asked to {doing}", retry_after=wait)
        if status == 403:
            return Denied(
                f"the operator's identity may not {doing} ({code}): give it the role "
                "Role Based Access Control Administrator on the cluster or above it"
            )
        if status == 404:
            return Missing(f"not there when asked to {doing} ({code})")
        return _refusal(status, code, doing)


def _assignment(item: Any, scope: str) -> Assignment | None:
    """The assignment as a value, or None where it is at another scope."""
    role_id = guid_in(item.role_definition_id)
    if not role_id or item.scope.lower() != scope.lower():
        return None
    return Assignment(item.name.lower(), scope, item.principal_id.lower(), role_id)


def _refusal(status: int, code: str, doing: str) -> Fault:
    match code:
        case "PrincipalNotFound":
            return Replicating("Azure does not know the new group yet")
        case "RoleDefinitionDoesNotExist":
            return Replicating("Azure does not know the role definition yet")
        case "RoleAssignmentExists":
            return Changed("the group already has the role by another assignment")
        case "RoleAssignmentLimitExceeded":
            return Rejected("the subscription has all the role assignments that Azure allows (4000)")
        case _:
            return Rejected(f"{SERVICE} will not {doing} ({status} {code})")
