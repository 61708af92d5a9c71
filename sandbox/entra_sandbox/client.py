"""A small client for the sandbox's `/_sandbox` routes, for tests, the demo and the command line."""

import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

T = TypeVar("T")


class SandboxError(Exception):
    """The sandbox refused."""


class SandboxClient:
    """Speaks to one sandbox. Names of people may be user principal names, those of applications application
    ids.
    """

    def __init__(self, url: str, ca: str | Path) -> None:
        self.url = url.rstrip("/")
        self.ca = str(ca)
        context = ssl.create_default_context(cafile=self.ca)
        # No proxy and no settings from the environment: the sandbox is on this machine.
        self._http = httpx.Client(base_url=self.url, verify=context, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, verb: str, path: str, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        """Call one of the routes; raise `SandboxError` with its sentence when it refuses."""
        wanted = {k: _text(v) for k, v in (query or {}).items() if v is not None}
        response = self._http.request(verb, f"/_sandbox{path}", json=body, params=wanted)
        if response.is_error:
            raise SandboxError(f"{response.status_code}: {response.json().get('error', response.text)}")
        return response.json() if response.content else None

    def send(
        self, method: str, path: str, *, token: str, body: Any = None, query: dict[str, Any] | None = None
    ) -> httpx.Response:
        """Send a request to Graph (`/v1.0/…`) or ARM with a token, and give its answer whatever it is."""
        headers = {"authorization": f"Bearer {token}"}
        return self._http.request(method, path, json=body, params=query, headers=headers)

    # ---- the view from above

    def health(self) -> dict[str, Any]:
        """Say that the sandbox is up."""
        return dict(self.call("GET", "/health"))

    def state(self) -> dict[str, Any]:
        """Give every object: users, servicePrincipals, groups, deletedGroups, assignments, customRoles,
        resources.
        """
        return dict(self.call("GET", "/state"))

    def group(self, name: str) -> dict[str, Any] | None:
        """Find a living group by object id, unique name or display name."""
        for group in self.state()["groups"]:
            if name in (group["id"], group["uniqueName"], group["displayName"]):
                return dict(group)
        return None

    def assignments(self, principal: str | None = None, scope: str | None = None) -> list[dict[str, Any]]:
        """List role assignments, of one principal's object id and at exactly one scope if they are given."""
        return [
            a
            for a in self.state()["assignments"]
            if principal in (None, a["principalId"])
            and (scope is None or a["scope"].lower() == scope.lower())
        ]

    def object_id(self, name: str) -> str:
        """Give the object id behind a user principal name, an application id, a group's unique name, or the
        display name of a group or an application that only one has; deleted ones too.
        """
        return str(self.call("GET", f"/objects/{_segment(name)}")["id"])

    def role(self, name: str) -> dict[str, Any]:
        """Give a role, built-in or custom, by its name or its GUID, which is `name` in it."""
        return dict(self.call("GET", f"/roles/{_segment(name)}"))

    def position(self) -> int:
        """Give the number of the newest entry of the journal, to ask for those after it later."""
        return int(self.health()["journal"])

    def journal(
        self,
        *,
        since: int | None = None,
        kind: str | None = None,
        write: bool | None = None,
        method: str | None = None,
        path_regex: str | None = None,
        status: int | None = None,
        fault: bool | None = None,
        caller: str | None = None,
    ) -> list[dict[str, Any]]:
        """Give the requests that the services answered, oldest first; `since` is a `position`.

        A caller is given by object id or application id. How many there are is the length of the list.
        """
        return list(
            self.call(
                "GET",
                "/journal",
                query={
                    "since": since,
                    "kind": kind,
                    "write": write,
                    "method": method,
                    "path_regex": path_regex,
                    "status": status,
                    "fault": fault,
                    "caller": caller,
                },
            )
        )

    def clear_journal(self) -> None:
        """Forget the requests; the numbers go on."""
        self.call("DELETE", "/journal")

    # ---- the weather

    def settings(self, **values: float) -> dict[str, Any]:
        """Change settings, and give all of them."""
        return dict(self.call("PUT", "/settings", values))

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward: delays end and tokens expire without waiting."""
        self.call("POST", "/clock", {"advance": seconds})

    def expire_delta_tokens(self) -> None:
        """Let all delta tokens that were given out until now expire."""
        self.call("POST", "/deltaTokens/expire")

    def reset(self) -> None:
        """Bring the start back: seed, settings, no faults, an empty journal. Only the clock stays."""
        self.call("POST", "/reset")

    def fault(
        self,
        *,
        method: str | None = None,
        path_regex: str | None = None,
        query_regex: str | None = None,
        page: str | None = None,
        kind: str | None = None,
        status: int | None = None,
        code: str | None = None,
        message: str | None = None,
        retry_after: float | None = None,
        delay_seconds: float | None = None,
        drop: bool = False,
        after: bool = False,
        count: int | None = 1,
        skip: int = 0,
    ) -> dict[str, Any]:
        """Switch a fault on for the next `count` requests that match; `None` is until `clear_faults`.

        With `page="later"` only second and further pages of lists match. The first `skip` that match pass.
        """
        match = {
            "method": method, "path_regex": path_regex, "query_regex": query_regex, "page": page,
            "kind": kind,
        }  # fmt: skip
        body = {
            "status": status, "code": code, "message": message, "retry_after": retry_after,
            "delay_seconds": delay_seconds,
        }  # fmt: skip
        given = {k: v for k, v in body.items() if v is not None}
        found = {k: v for k, v in match.items() if v is not None}
        how = {"drop": drop, "after": after, "count": count, "skip": skip}
        return dict(self.call("POST", "/faults", {"match": found, **given, **how}))

    def faults(self) -> list[dict[str, Any]]:
        """Describe the faults, also those that are used up."""
        return list(self.call("GET", "/faults"))

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self.call("DELETE", "/faults")

    # ---- tokens

    def user_token(self, user: str, *, lifetime: float | None = None, audience: str | None = None) -> str:
        """Give a user's token for the cluster."""
        return self._token({"user": user}, lifetime, audience)

    def app_token(self, app: str, *, lifetime: float | None = None, audience: str | None = None) -> str:
        """Give an application's token for the cluster, or for another audience."""
        return self._token({"servicePrincipal": app}, lifetime, audience)

    def token_of(self, who: str, *, lifetime: float | None = None, audience: str | None = None) -> str:
        """Give a token for the cluster to anybody: a user by user principal name or object id, or an
        application by application id, object id or display name.
        """
        return self._token({"who": who}, lifetime, audience)

    def _token(self, body: dict[str, Any], lifetime: float | None, audience: str | None) -> str:
        more = {"lifetime": lifetime, "audience": audience}
        answer = self.call("POST", "/token", {**body, **{k: v for k, v in more.items() if v is not None}})
        return str(answer["token"])

    # ---- the foreign hand: people and applications

    def add_user(self, upn: str, **fields: Any) -> dict[str, Any]:
        """Add a user; fields are id, displayName, userType, mail, accountEnabled, permissions, isOwner."""
        return dict(self.call("POST", "/users", {"userPrincipalName": upn, **fields}))

    def disable_user(self, user: str, *, disabled: bool = True) -> None:
        """Disable a user, or enable it again. Tokens that were given out stay good until they expire."""
        self.call("PATCH", f"/users/{_segment(user)}", {"accountEnabled": not disabled})

    def change_user(self, user: str, **fields: Any) -> dict[str, Any]:
        """Change accountEnabled, displayName, userPrincipalName, userType, mail, permissions (by the names
        of Graph's), or isOwner (of everything in Azure).
        """
        return dict(self.call("PATCH", f"/users/{_segment(user)}", fields))

    def delete_user(self, user: str, *, purge: bool = False) -> None:
        """Delete a user, softly or for good."""
        self.call("DELETE", f"/users/{_segment(user)}", query={"purge": purge})

    def restore_user(self, user: str) -> None:
        """Restore a deleted user."""
        self.call("POST", f"/users/{_segment(user)}/restore")

    def add_app(self, name: str, **fields: Any) -> dict[str, Any]:
        """Add a service principal; fields are id, appId, appRoles, secret, federatedCredentials,
        accountEnabled.
        """
        return dict(self.call("POST", "/servicePrincipals", {"displayName": name, **fields}))

    def change_app(self, app: str, **fields: Any) -> dict[str, Any]:
        """Change a service principal: appRoles, secret, federatedCredentials, accountEnabled."""
        return dict(self.call("PATCH", f"/servicePrincipals/{_segment(app)}", fields))

    def delete_app(self, app: str) -> None:
        """Delete a service principal."""
        self.call("DELETE", f"/servicePrincipals/{_segment(app)}")

    # ---- the foreign hand: groups and assignments

    def add_group(self, name: str, *, members: Iterable[str] = (), **fields: Any) -> dict[str, Any]:
        """Add a group that somebody else made; fields as in Graph, and `owners`."""
        return dict(self.call("POST", "/groups", {"displayName": name, "members": list(members), **fields}))

    def change_group(self, group: str, **fields: Any) -> dict[str, Any]:
        """Change displayName, mailNickname, description, or addMembers, removeMembers, addOwners,
        removeOwners.
        """
        return dict(self.call("PATCH", f"/groups/{_segment(group)}", fields))

    def add_member(self, group: str, *members: str) -> None:
        """Put members into a group by a foreign hand."""
        self.change_group(group, addMembers=members)

    def remove_member(self, group: str, *members: str) -> None:
        """Take members out of a group by a foreign hand."""
        self.change_group(group, removeMembers=members)

    def delete_group(self, group: str, *, purge: bool = False) -> None:
        """Delete a group by a foreign hand, softly or for good."""
        self.call("DELETE", f"/groups/{_segment(group)}", query={"purge": purge})

    def purge_group(self, group: str) -> None:
        """Delete a group for good, be it alive or already deleted."""
        self.delete_group(group, purge=True)

    def restore_group(self, group: str) -> None:
        """Restore a deleted group."""
        self.call("POST", f"/groups/{_segment(group)}/restore")

    def assign(self, principal: str, role: str, scope: str, **fields: Any) -> dict[str, Any]:
        """Assign a role, by name or GUID, by a foreign hand; fields are name, description, condition,
        createdBy.
        """
        body = {"principal": principal, "role": role, "scope": scope, **fields}
        return dict(self.call("POST", "/assignments", body))

    def unassign(self, name: str) -> None:
        """Take a role assignment away by a foreign hand."""
        self.call("DELETE", f"/assignments/{_segment(name)}")

    def add_resource(self, resource_id: str, **fields: Any) -> None:
        """Add a subscription, resource group or cluster, given as ARM shows it."""
        self.call("POST", "/resources", {"id": resource_id, **fields})

    def set_aad_profile(self, cluster_id: str, profile: dict[str, Any] | None) -> dict[str, Any]:
        """Set how a cluster is joined to Entra, whole; `None` is not at all. Gives the cluster as ARM has it.

        Azure RBAC is on only with `enableAzureRBAC: True`; `clientAppID` and `serverAppID` without `managed`
        are the legacy integration.
        """
        return dict(self.call("PATCH", "/resources", {"id": cluster_id, "aadProfile": profile}))

    def set_azure_rbac(self, cluster_id: str, *, enabled: bool) -> dict[str, Any]:
        """Switch Azure RBAC for Kubernetes on or off; the rest of the cluster's profile stays as it is."""
        profile = self.resource(cluster_id)["properties"].get("aadProfile") or {}
        return self.set_aad_profile(cluster_id, {**profile, "enableAzureRBAC": enabled})

    def resource(self, resource_id: str) -> dict[str, Any]:
        """Give a subscription, resource group or cluster as ARM shows it."""
        for resource in self.state()["resources"]:
            if resource["id"].lower() == resource_id.lower():
                return dict(resource)
        raise SandboxError(f"404: there is no resource '{resource_id}'")

    # ---- waiting

    def wait(self, probe: Callable[[], T], *, timeout: float = 10.0, what: str = "it") -> T:
        """Ask again until the answer is true; raise `TimeoutError` when that takes too long."""
        deadline = time.monotonic() + timeout
        while not (answer := probe()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not happen within {timeout} s")
            time.sleep(0.02)
        return answer


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _segment(name: str) -> str:
    return name.replace("%", "%25").replace("#", "%23").replace("/", "%2F")
