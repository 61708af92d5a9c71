"""Azure Resource Manager: Microsoft.Authorization 2022-04-01 at any scope, and a few resources to read."""

import re
from collections.abc import Callable

from entra_sandbox import arm_assignments, arm_definitions
from entra_sandbox.arm_core import Arm
from entra_sandbox.azure import new_id
from entra_sandbox.conditions import Attempt
from entra_sandbox.exchange import NO_ROUTE, Call, Json, Reply, ServiceError
from entra_sandbox.scopes import normal, resource_group_of, subscription_of
from entra_sandbox.state import State
from entra_sandbox.throttle import Throttle
from entra_sandbox.tokens import ARM_AUDIENCES, BadTokenError, ExpiredTokenError, Tokens, bearer, caller_of

_AUTHORIZATION = re.compile(
    r"(?P<scope>.*)/providers/Microsoft\.Authorization/(?P<kind>roleAssignments|roleDefinitions)(?:/(?P<name>[^/]+))?/?",
    re.IGNORECASE,
)
_VERSIONS = frozenset({"2022-04-01"})
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_OPERATIONS = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
_Named = Callable[[Arm, Call, str, str], Reply]
_Listing = Callable[[Arm, Call, str], Reply]
_ROOMS: dict[str, tuple[dict[str, _Named], _Listing]] = {
    "roleassignments": (
        {"GET": arm_assignments.get, "PUT": arm_assignments.put, "DELETE": arm_assignments.delete},
        arm_assignments.listing,
    ),
    "roledefinitions": (
        {"GET": arm_definitions.get, "PUT": arm_definitions.put, "DELETE": arm_definitions.delete},
        arm_definitions.listing,
    ),
}


class ArmService:
    """Answers every request that is nobody else's: ARM's paths have no prefix."""

    def __init__(self, state: State, tokens: Tokens, throttle: Throttle) -> None:
        self._arm = Arm(state)
        self._tokens = tokens
        self._throttle = throttle
        self._audiences = ARM_AUDIENCES | tokens.bases

    def handle(self, call: Call) -> Reply:
        """Answer one request."""
        # A client that joins "/" and an id that starts with one sends two slashes: ARM does not mind.
        call.path = re.sub(r"/{2,}", "/", call.path)
        try:
            self._authenticate(call)
            return self._dressed(call, self._route(call))
        except ServiceError as error:
            return self.error(call, error)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether the path looks like one of ARM's."""
        start = path.lower().lstrip("/")
        return start.startswith(("subscriptions", "providers/"))

    def error(self, call: Call, error: ServiceError) -> Reply:
        """Write a refusal in ARM's envelope."""
        body: Json = {"error": {"code": error.code, "message": error.message}}
        reply = Reply(error.status, body, dict(error.headers), code=error.code, detail=error.detail)
        return self._dressed(call, reply)

    def _authenticate(self, call: Call) -> None:
        token = bearer(call.headers.get("authorization", ""))
        challenge = {
            "www-authenticate": f'Bearer authorization_uri="{self._tokens.issuer}", error="invalid_token"'
        }
        if token is None:
            raise ServiceError(
                401,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
                headers=challenge,
            )
        try:
            claims = self._tokens.verify(token)
        except ExpiredTokenError as error:
            raise ServiceError(
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
                headers=challenge,
            ) from error
        except BadTokenError as error:
            raise ServiceError(
                401, "InvalidAuthenticationToken", "The access token is invalid.", headers=challenge
            ) from error
        if str(claims["aud"]).rstrip("/") not in self._audiences:
            raise ServiceError(
                401,
                "InvalidAuthenticationTokenAudience",
                "The access token has been obtained for wrong audience or resource "
                f"'{claims['aud']}'. It should exactly match (including forward slash) with one of the "
                "allowed "
                "audiences 'https://management.core.windows.net/','https://management.azure.com/'.",
                headers=challenge,
            )
        call.caller = caller_of(claims)

    def _route(self, call: Call) -> Reply:
        headers = self._charge(call)
        found = _AUTHORIZATION.fullmatch(call.path)
        self._check_version(call, found is not None)
        reply = self._resource(call) if found is None else self._authorization(call, found)
        reply.headers = {**headers, **reply.headers}
        return reply

    def _charge(self, call: Call) -> dict[str, str]:
        operation = _OPERATIONS.get(call.method, "writes")
        subscription = subscription_of(call.path) or ""
        return self._throttle.arm(subscription.lower(), self._arm.caller(call).oid, operation)

    def _check_version(self, call: Call, authorization: bool) -> None:  # noqa: FBT001 - a private either-or
        version = call.query.get("api-version", "")
        if not version:
            raise ServiceError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        good = version in _VERSIONS if authorization else _VERSION.fullmatch(version) is not None
        if not good:
            raise ServiceError(
                400,
                "InvalidResourceType" if authorization else "InvalidApiVersionParameter",
                f"The api-version '{version}' is invalid. The supported versions are "
                f"'{','.join(sorted(_VERSIONS))}'.",
            )

    def _authorization(self, call: Call, found: re.Match[str]) -> Reply:
        named, listing = _ROOMS[found["kind"].lower()]
        scope, name = found["scope"] or "/", found["name"]
        if name is None and call.method == "GET":
            return listing(self._arm, call, scope)
        if name is not None and call.method in named:
            return named[call.method](self._arm, call, scope, name)
        raise ServiceError(
            405,
            "HttpMethodNotSupported",
            f"The HTTP method '{call.method}' is not supported at this endpoint.",
        )

    def _resource(self, call: Call) -> Reply:
        """GET a subscription, a resource group or a resource such as a managed cluster."""
        subscription, group = subscription_of(call.path), resource_group_of(call.path)
        if subscription is None or call.method != "GET":
            raise self.no_route(call)
        self._arm.authorize(call, call.path, Attempt(_read_action(call.path)))
        self._arm.require_scope(call.path)
        resource = self._arm.state.resources.get(call.path)
        if resource is None:
            kind, name = call.path.rpartition("/providers/")[2], (group or "").rpartition("/")[2]
            raise ServiceError(
                404,
                "ResourceNotFound",
                f"The Resource '{kind}' under resource group '{name}' was not found. For more "
                "details please go to https://aka.ms/ARMResourceNotFoundFix",
            )
        return Reply(200, resource)

    @staticmethod
    def no_route(call: Call) -> ServiceError:
        """Say that this path is none."""
        return ServiceError(
            404,
            "InvalidResourceType",
            f"The resource type could not be found for '{call.method} {call.path}'.",
            detail=NO_ROUTE,
        )

    def _dressed(self, call: Call, reply: Reply) -> Reply:
        request_id = new_id()
        reply.headers = {
            "cache-control": "no-cache",
            "pragma": "no-cache",
            "expires": "-1",
            "strict-transport-security": "max-age=31536000; includeSubDomains",
            "x-content-type-options": "nosniff",
            "x-ms-request-id": request_id,
            "x-ms-correlation-request-id": call.headers.get("x-ms-correlation-request-id", request_id),
            **reply.headers,
        }
        return reply


def _read_action(path: str) -> str:
    """Name the action that reads a resource: its type, without the names in between."""
    own = normal(path)
    _, found, provider = path.rpartition("/providers/")
    if found:
        parts = provider.strip("/").split("/")
        return "/".join((parts[0], *parts[1::2], "read"))
    kind = "/resourceGroups" if "/resourcegroups/" in own else ""
    return f"Microsoft.Resources/subscriptions{kind}/read"
