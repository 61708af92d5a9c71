"""What the routes of ARM share: the caller's rights, scopes that exist, refusals in ARM's words, pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from entra_sandbox.conditions import Attempt
from entra_sandbox.exchange import Call, Caller, Json, Reply, ServiceError
from entra_sandbox.odata import read_token, write_token
from entra_sandbox.scopes import resource_group_of, subscription_of
from entra_sandbox.state import State


@dataclass(slots=True)
class Arm:
    """The state as the routes of ARM see it."""

    state: State

    @staticmethod
    def caller(call: Call) -> Caller:
        """Say who calls; the service has made sure that somebody does."""
        if call.caller is None:
            raise ServiceError(
                401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        return call.caller

    def authorize(self, call: Call, scope: str, attempt: Attempt, target: str | None = None) -> None:
        """Refuse unless the caller's role assignments allow the attempt at the scope; `target` is what is
        named.
        """
        caller = self.caller(call)
        verdict = self.state.access.check(caller.oid, scope, attempt)
        if verdict.allowed:
            return
        condition = " or an ABAC condition not fulfilled" if verdict.condition_failed else ""
        raise ServiceError(
            403,
            "AuthorizationFailed",
            f"The client '{caller.app_id or caller.upn}' with object id '{caller.oid}' does not have "
            "authorization"
            f"{condition} to perform action '{attempt.action}' over scope '{target or scope}' or the scope "
            "is invalid. "
            "If access was recently granted, please refresh your credentials.",
        )

    def require_scope(self, scope: str) -> None:
        """Refuse a scope in a subscription or resource group that is not there.

        What lies below a resource group is not looked at: a namespace of a cluster is no resource of ARM's.
        """
        subscription, group = subscription_of(scope), resource_group_of(scope)
        if subscription is not None and self.state.resources.get(f"/subscriptions/{subscription}") is None:
            raise ServiceError(
                404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found."
            )
        if group is not None and self.state.resources.get(group) is None:
            raise ServiceError(
                404,
                "ResourceGroupNotFound",
                f"Resource group '{group.rpartition('/')[2]}' could not be found.",
            )


def hex_id(value: str) -> str:
    """Write a GUID as ARM's messages do: thirty-two digits, no dashes."""
    return value.replace("-", "").lower()


def guid(value: object) -> str | None:
    """Give a GUID in its usual form, or nothing when it is none."""
    try:
        return str(UUID(str(value)))
    except ValueError:
        return None


def read_properties(call: Call) -> Json:
    """Read the body's properties, or refuse."""
    try:
        properties = call.json().get("properties")
    except ValueError as error:
        raise ServiceError(
            400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
        ) from error
    if not isinstance(properties, dict):
        raise ServiceError(400, "BadRequestFormat", "The request was incorrectly formatted.")
    return properties


def page(call: Call, rows: Sequence[tuple[int, Any]], show: Any, size: int) -> Reply:
    """Answer with one page of numbered rows; the token names the last number shown."""
    after = -1
    if "$skipToken" in call.query:
        try:
            after = int(read_token(call.query["$skipToken"])["after"])
        except (ValueError, KeyError) as error:
            raise ServiceError(400, "InvalidSkipToken", "The skip token is not valid.") from error
    rest = sorted((row for row in rows if row[0] > after), key=lambda row: row[0])
    body: Json = {"value": [show(item) for _, item in rest[:size]]}
    if len(rest) > size:
        kept = {**call.query, "$skipToken": write_token({"after": rest[size - 1][0]})}
        query = "&".join(f"{quote(k, safe='$')}={quote(v, safe='')}" for k, v in kept.items())
        body["nextLink"] = f"{call.base}{quote(call.path, safe='/')}?{query}"
    return Reply(200, body)
