"""Lists in Graph: filters, counting, paging, people and applications."""

import pytest

from entra_sandbox import seed
from support.azure import MISSING, Caller, code, message
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

EVENTUAL = {"ConsistencyLevel": "eventual"}


@pytest.fixture
def groups(operator: Caller) -> dict[str, str]:
    """Some groups, by name."""
    return {n: str(operator.create_group(n)["id"]) for n in ("appdev", "appops", "AppSec", "web")}


def _found(operator: Caller, text: str, **headers: str) -> set[str]:
    answer = operator.graph("GET", f"/groups?$filter={text}", **headers)
    assert answer.status_code == 200, answer.text
    return {g["displayName"] for g in answer.json()["value"]}


def test_filters(operator: Caller, groups: dict[str, str]) -> None:
    assert _found(operator, "displayName eq 'APPDEV'") == {"appdev"}
    assert _found(operator, "mailNickname eq 'web'") == {"web"}
    assert _found(operator, f"id eq '{groups['web']}' or id eq '{groups['appops']}'") == {"web", "appops"}
    assert _found(operator, f"id in ('{groups['web']}','{MISSING}')") == {"web"}
    assert _found(operator, "startsWith(displayName,'app')") == {"appdev", "appops", "AppSec"}
    assert _found(operator, "displayName in ('web','appdev') and securityEnabled eq true") == {
        "web",
        "appdev",
    }
    assert _found(operator, "groupTypes/any(c:c eq 'Unified')") == set()
    assert _found(operator, "displayName eq 'it''s'") == set()


def test_advanced_filters_need_the_header_and_the_count(operator: Caller, groups: dict[str, str]) -> None:
    query = "not(startsWith(displayName,'app'))&$count=true"
    assert code(operator.graph("GET", f"/groups?$filter={query}")) == (400, "Request_UnsupportedQuery")
    answer = operator.graph("GET", f"/groups?$filter={query}", **EVENTUAL)
    assert answer.json()["@odata.count"] == 1
    assert _found(operator, query, **EVENTUAL) == {"web"}
    search = operator.graph("GET", '/groups?$search="displayName:sec"')
    assert message(search).startswith("Request with $search query parameter only works through MSGraph")
    assert len(operator.graph("GET", '/groups?$search="displayName:sec"', **EVENTUAL).json()["value"]) == 1
    assert operator.graph("GET", "/groups/$count", **EVENTUAL).text == str(len(groups))


def test_what_filters_do_not_know_is_refused(operator: Caller) -> None:
    unknown = operator.graph("GET", "/groups?$filter=uniqueName eq 'x'")
    assert code(unknown) == (400, "Request_UnsupportedQuery")
    assert code(operator.graph("GET", "/groups?$filter=displayName eq")) == (400, "BadRequest")
    assert code(operator.graph("GET", "/groups?$filter=displayName eq 'x")) == (400, "BadRequest")
    many = ",".join(f"'{n}'" for n in range(16))
    too_many = operator.graph("GET", f"/groups?$filter=displayName in ({many})")
    assert code(too_many) == (400, "Request_UnsupportedQuery")


def test_groups_come_in_pages(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(graph_page_size=2)
    names = [f"g{n}" for n in range(7)]
    for name in names:
        operator.create_group(name)
    first = operator.graph("GET", "/groups?$select=id,displayName&$count=true", **EVENTUAL).json()
    assert (len(first["value"]), first["@odata.count"]) == (2, 7)
    rows = operator.pages("/groups?$select=id,displayName")
    assert [g["displayName"] for g in rows] == names
    ordered = operator.pages("/groups?$orderby=displayName&$top=3")
    assert [g["displayName"] for g in ordered] == names


def test_a_list_that_changes_neither_repeats_nor_loses(operator: Caller) -> None:
    ids = [operator.create_group(f"g{n}")["id"] for n in range(6)]
    first = operator.graph("GET", "/groups?$top=3").json()
    operator.graph("DELETE", f"/groups/{ids[0]}")
    rest = operator.graph("GET", first["@odata.nextLink"]).json()
    assert [g["id"] for g in (*first["value"], *rest["value"])] == ids


def test_people_are_found_by_name_and_id(operator: Caller) -> None:
    for name in (seed.AKSDEV, seed.AKSDEV.upper(), seed.USER_IDS[seed.AKSDEV]):
        assert operator.graph("GET", f"/users/{name}").json()["displayName"] == "AKS Dev"
    guest = operator.graph("GET", f"/users/{seed.GUEST.replace('#', '%23')}?$select=id,userType").json()
    assert (guest["id"], guest["userType"]) == (seed.USER_IDS[seed.GUEST], "Guest")
    found = operator.graph("GET", f"/users?$filter=userPrincipalName eq '{seed.LEAD}'").json()["value"]
    assert [u["id"] for u in found] == [seed.USER_IDS[seed.LEAD]]
    both = operator.graph("GET", f"/users?$filter=userPrincipalName in ('{seed.LEAD}','{seed.AKSDEV}')")
    assert len(both.json()["value"]) == 2
    assert code(operator.graph("GET", "/users/nobody@contoso.com")) == (404, "Request_ResourceNotFound")
    assert "accountEnabled" not in operator.graph("GET", f"/users/{seed.LEAD}").json()


def test_applications_are_found_by_both_ids(operator: Caller) -> None:
    by_app = operator.graph("GET", f"/servicePrincipals(appId='{seed.PIPELINE_CLIENT_ID}')").json()
    by_id = operator.graph("GET", f"/servicePrincipals/{seed.PIPELINE_OBJECT_ID}").json()
    assert by_app["id"] == by_id["id"] == seed.PIPELINE_OBJECT_ID
    listed = operator.graph("GET", f"/servicePrincipals?$filter=appId eq '{seed.PIPELINE_CLIENT_ID}'").json()
    assert [p["id"] for p in listed["value"]] == [seed.PIPELINE_OBJECT_ID]
    missing = operator.graph("GET", f"/servicePrincipals(appId='{MISSING}')")
    assert code(missing) == (404, "Request_ResourceNotFound")


def test_get_by_ids_gives_what_exists(sandbox: RunningSandbox, operator: Caller) -> None:
    body = {"ids": [seed.USER_IDS[seed.LEAD], seed.PIPELINE_OBJECT_ID, MISSING], "types": ["user", "group"]}
    assert code(operator.graph("POST", "/directoryObjects/getByIds", body)) == (
        403,
        "Authorization_RequestDenied",
    )
    reader = sandbox.client.add_app("reader", appRoles=["Directory.Read.All"])
    view = caller_of(sandbox, operator.http, reader["appId"])
    answer = view.graph("POST", "/directoryObjects/getByIds", body)
    assert answer.headers["x-ms-resource-unit"] == "3"
    assert [o["id"] for o in answer.json()["value"]] == [seed.USER_IDS[seed.LEAD]]
    too_many = {"ids": [MISSING] * 1001}
    assert view.graph("POST", "/directoryObjects/getByIds", too_many).status_code == 400


def test_the_organization(operator: Caller) -> None:
    row = operator.graph("GET", "/organization").json()["value"][0]
    assert (row["id"], row["verifiedDomains"][0]["name"]) == (seed.TENANT_ID, "contoso.com")


def test_a_batch_answers_each_request(operator: Caller) -> None:
    body = {"displayName": "b", "mailNickname": "b", "mailEnabled": False, "securityEnabled": True}
    requests = [
        {
            "id": "1",
            "method": "POST",
            "url": "/groups",
            "body": body,
            "headers": {"content-type": "application/json"},
        },
        {"id": "2", "method": "GET", "url": f"/groups/{MISSING}", "dependsOn": ["1"]},
        {"id": "3", "method": "GET", "url": "/groups", "dependsOn": ["2"]},
    ]
    answer = operator.graph("POST", "/$batch", {"requests": requests})
    assert [r["status"] for r in answer.json()["responses"]] == [201, 404, 424]
    too_many = {"requests": [{"id": str(n), "method": "GET", "url": "/groups"} for n in range(21)]}
    assert operator.graph("POST", "/$batch", too_many).status_code == 400
