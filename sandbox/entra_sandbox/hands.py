"""A foreign hand: somebody else than the operator, who changes things in Graph and in Azure with a token.

What it does goes the way of every request: permissions count, faults happen, the journal has it, and Azure
notes who did it. `SandboxClient` changes things from above instead, without any of that.
"""

import re
import uuid
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, Literal

import httpx

from entra_sandbox import seed
from entra_sandbox.client import SandboxClient, SandboxError

_AUTHORIZATION = "providers/Microsoft.Authorization"
_VERSION = "2022-04-01"
_SUBSCRIPTION = re.compile(r"/subscriptions/[^/]+", re.IGNORECASE)


class _Kept(Enum):
    """Stands for a value that is left as it is; `None` is a value."""

    KEPT = "kept"


KEPT: Final = _Kept.KEPT
_Keep = Literal[_Kept.KEPT]


class HandsError(SandboxError):
    """Graph or ARM refused what was tried."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code


class Hands:
    """The hands of a person or an application; by default of the administrator, who may do everything.

    Groups, people, applications and roles go by any name that the sandbox knows them by: an object id, a user
    principal name, an application id, a unique name, or the display name of a group or an application that
    only one has. Every method raises `HandsError` when it is refused, and `SandboxError` when a name is none.
    """

    def __init__(self, client: SandboxClient, who: str = seed.ADMIN) -> None:
        self._client = client
        self.who = who
        self.object_id = client.object_id(who)
        """What Azure notes in `createdBy` and `updatedBy`."""

    def graph(self, method: str, path: str, body: Any = None) -> Any:
        """Call Graph below `/v1.0`; give the answer's JSON, or `None` if it has none."""
        return self._send(method, f"/v1.0{path}", body, {})

    def arm(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Call ARM; give the answer's JSON, or `None` if it has none."""
        return self._send(method, path, body, {"api-version": _VERSION, **query})

    # ---- groups

    def create_group(
        self, name: str, *, members: Iterable[str] = (), owners: Iterable[str] = (), **fields: Any
    ) -> dict[str, Any]:
        """Create a security group, with at most twenty members and owners; give it as Graph does."""
        body = {
            "displayName": name,
            "mailNickname": re.sub(r"[^A-Za-z0-9-]", "", name) or "group",
            "mailEnabled": False,
            "securityEnabled": True,
            **{f"{k}@odata.bind": [self._link(i) for i in v] for k, v in _given(members, owners)},
            **fields,
        }
        return dict(self.graph("POST", "/groups", body))

    def change_group(self, group: str, **fields: Any) -> None:
        """Change properties of a group, named as in Graph: displayName, description, mailNickname."""
        self.graph("PATCH", f"/groups/{self._id(group)}", fields)

    def rename_group(self, group: str, name: str) -> None:
        """Give a group another display name."""
        self.change_group(group, displayName=name)

    def delete_group(self, group: str) -> None:
        """Delete a group; it can be restored."""
        self.graph("DELETE", f"/groups/{self._id(group)}")

    def restore_group(self, group: str) -> None:
        """Restore a deleted group, with its members and owners."""
        self._restore(group)

    def purge_group(self, group: str) -> None:
        """Delete a deleted group for good."""
        self._purge(group)

    def add_member(self, group: str, member: str) -> None:
        """Put somebody or something into a group."""
        self.graph("POST", f"/groups/{self._id(group)}/members/$ref", {"@odata.id": self._link(member)})

    def remove_member(self, group: str, member: str) -> None:
        """Take somebody or something out of a group."""
        self.graph("DELETE", f"/groups/{self._id(group)}/members/{self._id(member)}/$ref")

    def add_owner(self, group: str, owner: str) -> None:
        """Make a user or an application an owner of a group."""
        self.graph("POST", f"/groups/{self._id(group)}/owners/$ref", {"@odata.id": self._link(owner)})

    def remove_owner(self, group: str, owner: str) -> None:
        """Take an owner away; the last one that is a user stays."""
        self.graph("DELETE", f"/groups/{self._id(group)}/owners/{self._id(owner)}/$ref")

    # ---- people

    def disable_user(self, user: str, *, disabled: bool = True) -> None:
        """Disable a user, or enable it again."""
        self.change_user(user, accountEnabled=not disabled)

    def change_user(self, user: str, **fields: Any) -> None:
        """Change properties of a user, named as in Graph: accountEnabled, displayName, userPrincipalName,
        userType, mail.
        """
        self.graph("PATCH", f"/users/{self._id(user)}", fields)

    def delete_user(self, user: str) -> None:
        """Delete a user; it can be restored."""
        self.graph("DELETE", f"/users/{self._id(user)}")

    def restore_user(self, user: str) -> None:
        """Restore a deleted user, who is a member and owner again of what they were."""
        self._restore(user)

    def purge_user(self, user: str) -> None:
        """Delete a deleted user for good."""
        self._purge(user)

    # ---- role assignments

    def assign(
        self,
        principal: str,
        role: str,
        scope: str,
        *,
        name: str | None = None,
        description: str | None = None,
        condition: str | None = None,
    ) -> dict[str, Any]:
        """Assign a role at a scope, under a new name unless one is given; give the assignment as ARM has it
        then, `createdBy` and all.
        """
        found = _SUBSCRIPTION.match(scope)
        prefix = found[0] if found else ""
        properties = {
            "roleDefinitionId": f"{prefix}/{_AUTHORIZATION}/roleDefinitions/{self._role(role)['name']}",
            "principalId": self._id(principal),
            **_texts(description, condition),
        }
        assignment_id = f"{scope}/{_AUTHORIZATION}/roleAssignments/{name or uuid.uuid4()}"
        return self._put(assignment_id, properties)

    def change_assignment(
        self,
        assignment_id: str,
        *,
        description: str | _Keep | None = KEPT,
        condition: str | _Keep | None = KEPT,
    ) -> dict[str, Any]:
        """Change what can be changed of a role assignment, by its ARM id; give it as ARM has it then."""
        properties = dict(self.arm("GET", assignment_id)["properties"])
        texts = _texts(
            properties["description"] if description is KEPT else description,
            properties["condition"] if condition is KEPT else condition,
        )
        kept = {k: properties[k] for k in ("roleDefinitionId", "principalId", "principalType")}
        return self._put(assignment_id, {**kept, **texts})

    def unassign(self, assignment_id: str) -> None:
        """Take a role assignment away, by its ARM id."""
        self.arm("DELETE", assignment_id)

    # ---- custom roles

    def create_role(
        self,
        name: str,
        *,
        actions: Iterable[str] = (),
        data_actions: Iterable[str] = (),
        scopes: Iterable[str] = (seed.RESOURCE_GROUP,),
        description: str = "",
        guid: str | None = None,
    ) -> dict[str, Any]:
        """Create a custom role, under a new GUID unless one is given; give it as ARM has it then."""
        properties = {
            "roleName": name,
            "description": description,
            "type": "CustomRole",
            "assignableScopes": list(scopes),
            "permissions": [{"actions": list(actions), "dataActions": list(data_actions)}],
        }
        return self._put(_definition_id(properties, guid or str(uuid.uuid4())), properties)

    def change_role(
        self,
        role: str,
        *,
        name: str | None = None,
        actions: Iterable[str] | None = None,
        data_actions: Iterable[str] | None = None,
        scopes: Iterable[str] | None = None,
        description: str | None = None,
    ) -> dict[str, Any]:
        """Change a custom role; what is `None` stays. Give it as ARM has it then."""
        before = self._role(role)
        block = dict(before["permissions"][0])
        block |= {} if actions is None else {"actions": list(actions)}
        block |= {} if data_actions is None else {"dataActions": list(data_actions)}
        properties = {
            "roleName": before["roleName"] if name is None else name,
            "description": before["description"] if description is None else description,
            "type": "CustomRole",
            "assignableScopes": before["assignableScopes"] if scopes is None else list(scopes),
            "permissions": [block, *before["permissions"][1:]],
        }
        return self._put(_definition_id(properties, before["name"]), properties)

    def delete_role(self, role: str) -> None:
        """Delete a custom role, which nothing may be assigned."""
        before = self._role(role)
        self.arm("DELETE", _definition_id(before, before["name"]))

    # ---- inside

    def _send(self, method: str, path: str, body: Any, query: dict[str, str]) -> Any:
        # A token for each request: it says what they may do now, and does not expire when the clock jumps.
        token = self._client.token_of(self.object_id, audience=self._client.url)
        answer = self._client.send(method, path, token=token, body=body, query=query)
        if answer.is_error:
            raise _refusal(answer)
        return answer.json() if answer.content else None

    def _put(self, path: str, properties: dict[str, Any]) -> dict[str, Any]:
        self.arm("PUT", path, {"properties": properties})
        return dict(self.arm("GET", path))

    def _restore(self, name: str) -> None:
        self.graph("POST", f"/directory/deletedItems/{self._id(name)}/restore")

    def _purge(self, name: str) -> None:
        self.graph("DELETE", f"/directory/deletedItems/{self._id(name)}")

    def _id(self, name: str) -> str:
        return self._client.object_id(name)

    def _link(self, name: str) -> str:
        return f"https://graph.microsoft.com/v1.0/directoryObjects/{self._id(name)}"

    def _role(self, name: str) -> dict[str, Any]:
        return self._client.role(name)


def _given(members: Iterable[str], owners: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Give the relations that are not empty."""
    both = (("members", list(members)), ("owners", list(owners)))
    return [(relation, names) for relation, names in both if names]


def _texts(description: str | None, condition: str | None) -> dict[str, str | None]:
    return {
        "description": description,
        "condition": condition,
        "conditionVersion": None if condition is None else "2.0",
    }


def _definition_id(properties: dict[str, Any], guid: str) -> str:
    return f"{properties['assignableScopes'][0]}/{_AUTHORIZATION}/roleDefinitions/{guid}"


def _refusal(answer: httpx.Response) -> HandsError:
    try:
        error = answer.json()["error"]
        return HandsError(answer.status_code, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return HandsError(answer.status_code, "", answer.text)
