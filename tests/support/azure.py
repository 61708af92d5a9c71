"""Speaks to a sandbox as a program with a token does: the bare protocol, where a test must see every byte."""

import uuid
from typing import Any

import httpx

from entra_sandbox import seed
from support.sandbox import RunningSandbox

AUTHORIZATION = "providers/Microsoft.Authorization"
AKS_READER = "7f6c6a51-bcf8-42ba-9220-52d62157d7db"
AKS_WRITER = "a7ffa36f-339b-4b5c-8bdf-e2c188b2c0eb"
MISSING = "99999999-9999-4999-8999-999999999999"


class Caller:
    """One principal's view of Graph and ARM."""

    def __init__(self, http: httpx.Client, token: str) -> None:
        self.http = http
        self.headers = {"authorization": f"Bearer {token}"}

    def graph(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Call Graph below `/v1.0`; underscores in header names become dashes."""
        return self._call(method, path if path.startswith("https") else f"/v1.0{path}", body, headers)

    def arm(self, method: str, path: str, body: Any = None, **query: str) -> httpx.Response:
        """Call ARM with the usual api-version."""
        parameters = {"api-version": "2022-04-01", **{f"${k}": v for k, v in query.items()}}
        return self.http.request(method, path, json=body, params=parameters, headers=self.headers)

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        more = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.http.request(method, path, json=body, headers={**self.headers, **more})

    # ---- the usual requests

    def create_group(self, name: str = "appdev", **fields: Any) -> dict[str, Any]:
        """Create a group that must come to be."""
        answer = self.graph("POST", "/groups", group_body(name, **fields))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def upsert(self, unique_name: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Upsert a group by unique name."""
        content = group_body(unique_name) if body is None else body
        return self.graph(
            "PATCH", f"/groups(uniqueName='{unique_name}')", content, prefer="create-if-missing"
        )

    def add_member(self, group_id: str, member: str) -> httpx.Response:
        """Link one member."""
        return self.graph("POST", f"/groups/{group_id}/members/$ref", {"@odata.id": link(member)})

    def members(self, group_id: str) -> set[str]:
        """Give the ids of the members, page by page."""
        return {m["id"] for m in self.pages(f"/groups/{group_id}/members")}

    def pages(self, path: str, **headers: str) -> list[dict[str, Any]]:
        """Follow a Graph list to its end."""
        rows: list[dict[str, Any]] = []
        following: str | None = path
        while following:
            body = self.graph("GET", following, **headers).json()
            rows += body["value"]
            following = body.get("@odata.nextLink")
        return rows

    def assign(self, principal: str, role: str, scope: str, **fields: Any) -> httpx.Response:
        """Put a role assignment, by default under a new name."""
        name = fields.pop("name", str(uuid.uuid4()))
        properties = {"roleDefinitionId": role_id(role), "principalId": principal, **fields}
        return self.arm("PUT", f"{scope}/{AUTHORIZATION}/roleAssignments/{name}", {"properties": properties})

    def assignments(self, scope: str, text: str | None = None) -> list[dict[str, Any]]:
        """Follow a list of role assignments to its end."""
        query = {} if text is None else {"filter": text}
        answer = self.arm("GET", f"{scope}/{AUTHORIZATION}/roleAssignments", **query)
        assert answer.status_code == 200, answer.text
        rows = list(answer.json()["value"])
        while following := answer.json().get("nextLink"):
            answer = self.http.get(following, headers=self.headers)
            rows += answer.json()["value"]
        return rows


def operator(sandbox: RunningSandbox, http: httpx.Client) -> Caller:
    """Give the operator's view; its token is for Graph and ARM alike."""
    return caller(sandbox, http, seed.OPERATOR_CLIENT_ID)


def caller(sandbox: RunningSandbox, http: httpx.Client, app_id: str) -> Caller:
    """Give an application's view."""
    return Caller(http, sandbox.client.app_token(app_id, audience=sandbox.url))


def group_body(name: str, **fields: Any) -> dict[str, Any]:
    """Describe a security group."""
    return {
        "displayName": name,
        "mailNickname": name,
        "mailEnabled": False,
        "securityEnabled": True,
        **fields,
    }


def link(object_id: str) -> str:
    """Write a reference as clients of the public cloud do."""
    return f"https://graph.microsoft.com/v1.0/directoryObjects/{object_id}"


def role_id(role: str) -> str:
    """Write a role definition's full id."""
    return f"{seed.SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/{role}"


def code(answer: httpx.Response) -> tuple[int, str]:
    """Give the status and the error code."""
    return answer.status_code, str(answer.json()["error"]["code"])


def message(answer: httpx.Response) -> str:
    """Give the error's sentence."""
    return str(answer.json()["error"]["message"])
