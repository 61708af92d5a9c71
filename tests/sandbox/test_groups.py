"""Groups in Graph: creation, required fields, the upsert, changes, and what answers look like."""

import re
import struct
import uuid
from typing import Any

import pytest

from entra_sandbox import seed
from support.azure import MISSING, Caller, code, group_body, link, message
from support.sandbox import RunningSandbox


def test_a_new_group_is_answered_as_graph_does(operator: Caller) -> None:
    answer = operator.graph("POST", "/groups", group_body("appdev", description="Developers"))
    group = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == (
        f"https://graph.microsoft.com/v2/{seed.TENANT_ID}/directoryObjects/{group['id']}"
        "/Microsoft.DirectoryServices.Group"
    )
    assert answer.headers["odata-version"] == "4.0"
    assert answer.headers["x-ms-resource-unit"] == "1"
    assert uuid.UUID(answer.headers["request-id"]).version == 4
    assert answer.headers["content-type"].startswith("application/json;odata.metadata=minimal")
    assert group["@odata.context"] == "https://graph.microsoft.com/v1.0/$metadata#groups/$entity"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", group["createdDateTime"])
    assert group["createdByAppId"] == seed.OPERATOR_CLIENT_ID
    assert group["visibility"] is None
    assert group["mail"] is None


def test_the_security_identifier_follows_from_the_id(sandbox: RunningSandbox, operator: Caller) -> None:
    made = sandbox.client.add_group("recorded", id="a3f6c606-38ec-42d7-8c0e-d4ecaf0d9d61")
    recorded = operator.graph("GET", f"/groups/{made['id']}").json()
    assert recorded["securityIdentifier"] == "S-1-12-1-2750858758-1121401068-3973320332-1637682607"
    other = operator.create_group("other")
    numbers = struct.unpack("<4I", uuid.UUID(other["id"]).bytes_le)
    assert other["securityIdentifier"] == "S-1-12-1-" + "-".join(map(str, numbers))


@pytest.mark.parametrize("missing", ["displayName", "mailEnabled", "mailNickname", "securityEnabled"])
def test_four_properties_are_required(operator: Caller, missing: str) -> None:
    body = group_body("appdev")
    del body[missing]
    answer = operator.graph("POST", "/groups", body)
    assert code(answer) == (400, "Request_BadRequest")
    assert message(answer) == f"A value is required for property '{missing}' of resource 'Group'."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("description", ""),
        ("displayName", "x" * 257),
        ("mailNickname", "x" * 65),
        ("mailNickname", "app dev"),
        ("mailNickname", "app@dev"),
        ("mailNickname", "büro"),
        ("securityEnabled", "yes"),
    ],
)
def test_bad_values_are_refused_by_name(operator: Caller, name: str, value: object) -> None:
    answer = operator.graph("POST", "/groups", {**group_body("appdev"), name: value})
    assert code(answer) == (400, "Request_BadRequest")
    assert message(answer) == f"Invalid value specified for property '{name}' of resource 'Group'."


def test_neither_names_nor_nicknames_are_unique(operator: Caller) -> None:
    ids = {operator.create_group("same")["id"] for _ in range(3)}
    assert len(ids) == 3


def test_null_is_a_description(operator: Caller) -> None:
    assert operator.create_group("appdev", description=None)["description"] is None


def test_unknown_and_preview_properties_are_refused(operator: Caller) -> None:
    preview = operator.graph("POST", "/groups", group_body("appdev", disableNesting=True))
    assert message(preview) == "Unexpected request made to property 'disableNesting' of resource 'Group'."
    assert operator.graph("POST", "/groups", group_body("appdev", colour="red")).status_code == 400


def test_errors_have_graphs_envelope(operator: Caller) -> None:
    answer = operator.graph("GET", f"/groups/{MISSING}", client_request_id="mine")
    assert code(answer) == (404, "Request_ResourceNotFound")
    error = answer.json()["error"]
    assert error["message"] == (
        f"Resource '{MISSING}' does not exist or one of its queried reference-property objects "
        "are not present."
    )
    assert error["innerError"]["client-request-id"] == "mine"
    assert error["innerError"]["request-id"] == answer.headers["request-id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", error["innerError"]["date"])


def test_twenty_links_at_creation_and_no_more(sandbox: RunningSandbox, operator: Caller) -> None:
    users = [sandbox.client.add_user(f"u{n}@contoso.com")["id"] for n in range(21)]
    links = {"members@odata.bind": [link(u) for u in users[1:]], "owners@odata.bind": [link(users[0])]}
    answer = operator.graph("POST", "/groups", group_body("many", **links))
    assert code(answer) == (400, "Request_BadRequest")
    assert message(answer) == "A resource cannot contain more than 20 link changes"
    links["members@odata.bind"].pop()
    group = operator.create_group("many", **links)
    assert operator.members(group["id"]) == set(users[1:20])


def test_upsert_creates_finds_and_misses(operator: Caller) -> None:
    created = operator.upsert("owner-1.appdev")
    assert created.status_code == 201
    assert created.json()["uniqueName"] == "owner-1.appdev"
    found = operator.upsert("owner-1.appdev", {"description": "found"})
    assert (found.status_code, found.content) == (204, b"")
    read = operator.graph("GET", "/groups(uniqueName='owner-1.appdev')").json()
    assert (read["id"], read["description"]) == (created.json()["id"], "found")
    missed = operator.graph("PATCH", "/groups(uniqueName='other')", {"description": "x"})
    assert code(missed) == (404, "Request_ResourceNotFound")
    changed = operator.graph("PATCH", "/groups(uniqueName='owner-1.appdev')", {"description": "y"})
    assert changed.status_code == 204


def test_upsert_takes_links_and_encoded_keys(operator: Caller) -> None:
    aksdev, lead = seed.USER_IDS[seed.AKSDEV], seed.USER_IDS[seed.LEAD]
    links = {"members@odata.bind": [link(aksdev)], "owners@odata.bind": [link(lead)]}
    path = "/groups%28uniqueName%3D%27it%27%27s%27%29"
    created = operator.graph("PATCH", path, group_body("its", **links), prefer="create-if-missing")
    assert created.status_code == 201
    assert created.json()["uniqueName"] == "it's"
    assert operator.members(created.json()["id"]) == {aksdev}
    assert operator.graph("GET", path).json()["id"] == created.json()["id"]


def test_a_unique_name_is_given_once(operator: Caller) -> None:
    group = operator.create_group("appdev")
    path = f"/groups/{group['id']}"
    assert operator.graph("PATCH", path, {"uniqueName": "mine"}).status_code == 204
    assert operator.graph("PATCH", path, {"uniqueName": "mine"}).status_code == 204
    assert code(operator.graph("PATCH", path, {"uniqueName": "other"})) == (400, "Request_BadRequest")
    twin = operator.create_group("twin")
    taken = operator.graph("PATCH", f"/groups/{twin['id']}", {"uniqueName": "mine"})
    assert code(taken) == (400, "Request_BadRequest")
    assert message(taken) == "Another object with the same value for property uniqueName already exists."
    assert taken.json()["error"]["details"][0]["code"] == "ObjectConflict"


def test_changes_are_seen_and_select_is_honoured(operator: Caller) -> None:
    group = operator.create_group("appdev")
    path = f"/groups/{group['id']}"
    changes = {"displayName": "renamed", "description": "new", "mailNickname": "renamed"}
    assert operator.graph("PATCH", path, changes).status_code == 204
    read = operator.graph("GET", f"{path}?$select=id,displayName").json()
    assert read == {
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#groups(id,displayName)/$entity",
        "id": group["id"],
        "displayName": "renamed",
    }
    assert operator.graph("GET", f"{path}?$select=nonsense").status_code == 400
    assert _named(operator, "appdev") == []
    assert _named(operator, "renamed") == [group["id"]]


def test_read_only_properties_stay(operator: Caller) -> None:
    group = operator.create_group("appdev")
    for body in ({"id": MISSING}, {"securityIdentifier": "S-1"}, {"description": ""}):
        assert operator.graph("PATCH", f"/groups/{group['id']}", body).status_code == 400


def test_a_wrong_method_and_an_unknown_route_say_so(sandbox: RunningSandbox, operator: Caller) -> None:
    wrong = operator.graph("PUT", f"/groups/{MISSING}", {})
    assert wrong.status_code == 405
    assert message(wrong) == "Specified HTTP method is not allowed for the request target."
    unknown = operator.graph("GET", "/nonsense/at/all")
    assert code(unknown) == (404, "BadRequest")
    assert "no route for GET /v1.0/nonsense/at/all" in sandbox.stderr()


def test_a_body_that_is_no_json_is_refused(operator: Caller) -> None:
    answer = operator.http.post("/v1.0/groups", content=b"{", headers=operator.headers)
    assert code(answer) == (400, "BadRequest")


def _named(operator: Caller, name: str) -> list[Any]:
    answer = operator.graph("GET", f"/groups?$filter=displayName eq '{name}'")
    return [g["id"] for g in answer.json()["value"]]


def test_what_the_sandbox_cannot_do_it_says(sandbox: RunningSandbox, operator: Caller) -> None:
    assert code(operator.graph("GET", "/groups?$expand=members")) == (400, "BadRequest")
    broken = operator.graph("POST", "/$batch", {"requests": ["nonsense"]})
    assert code(broken) == (500, "InternalServerError")
    assert "cannot answer POST /v1.0/$batch" in sandbox.stderr()
    assert operator.http.get("/beta/groups", headers=operator.headers).status_code == 404
    assert operator.graph("PATCH", f"/groups/{MISSING}", {"members@odata.bind": "x"}).status_code == 404
