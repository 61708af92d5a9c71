"""Members and owners in Graph."""

import httpx
import pytest

from entra_sandbox import seed
from support.azure import MISSING, Caller, code, link, message
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

AKSDEV, AKSSRE, LEAD = (seed.USER_IDS[name] for name in (seed.AKSDEV, seed.AKSSRE, seed.LEAD))


@pytest.fixture
def group_id(operator: Caller) -> str:
    """A new group."""
    return str(operator.create_group("appdev")["id"])


def test_a_member_is_added_once(operator: Caller, group_id: str) -> None:
    assert operator.add_member(group_id, AKSDEV).status_code == 204
    again = operator.add_member(group_id, AKSDEV)
    assert code(again) == (400, "Request_BadRequest")
    assert message(again) == (
        "One or more added object references already exist for the following modified properties: 'members'."
    )
    assert operator.members(group_id) == {AKSDEV}


def test_what_is_missing_is_not_found(operator: Caller, group_id: str) -> None:
    assert code(operator.add_member(group_id, MISSING)) == (404, "Request_ResourceNotFound")
    assert code(operator.add_member(MISSING, AKSDEV)) == (404, "Request_ResourceNotFound")
    gone = operator.graph("DELETE", f"/groups/{group_id}/members/{AKSDEV}/$ref")
    assert code(gone) == (404, "Request_ResourceNotFound")
    bad = operator.graph("POST", f"/groups/{group_id}/members/$ref", {"@odata.id": "nonsense"})
    assert code(bad) == (400, "Request_BadRequest")


def test_a_member_is_taken_out(operator: Caller, group_id: str) -> None:
    operator.add_member(group_id, AKSDEV)
    assert operator.graph("DELETE", f"/groups/{group_id}/members/{AKSDEV}/$ref").status_code == 204
    assert operator.members(group_id) == set()


def test_without_ref_the_object_itself_is_deleted(
    sandbox: RunningSandbox, operator: Caller, group_id: str
) -> None:
    inner = operator.create_group("inner")["id"]
    for member in (inner, AKSDEV):
        operator.add_member(group_id, member)
    assert operator.graph("DELETE", f"/groups/{group_id}/members/{inner}").status_code == 204
    assert operator.graph("GET", f"/groups/{inner}").status_code == 404
    # The operator may not delete people, so the same mistake with a user is only refused.
    assert code(operator.graph("DELETE", f"/groups/{group_id}/members/{AKSDEV}")) == (
        403,
        "Authorization_RequestDenied",
    )
    assert [g["id"] for g in sandbox.client.state()["deletedGroups"]] == [inner]


def test_bind_is_all_or_nothing(operator: Caller, group_id: str) -> None:
    def bind(*ids: str) -> int:
        body = {"members@odata.bind": [link(i) for i in ids]}
        return operator.graph("PATCH", f"/groups/{group_id}", body).status_code

    assert bind(AKSDEV, AKSSRE) == 204
    assert bind(LEAD, MISSING) == 404
    assert bind(LEAD, AKSDEV) == 400
    assert bind(LEAD, LEAD) == 400
    assert operator.members(group_id) == {AKSDEV, AKSSRE}


def test_bind_takes_twenty(sandbox: RunningSandbox, operator: Caller, group_id: str) -> None:
    users = [sandbox.client.add_user(f"u{n}@contoso.com")["id"] for n in range(21)]
    path = f"/groups/{group_id}"
    refused = operator.graph("PATCH", path, {"members@odata.bind": [link(u) for u in users]})
    assert message(refused) == "A resource cannot contain more than 20 link changes"
    taken = operator.graph("PATCH", path, {"members@odata.bind": [link(u) for u in users[:20]]})
    assert taken.status_code == 204


def test_members_come_with_their_kind(operator: Caller, group_id: str) -> None:
    inner = operator.create_group("inner")["id"]
    for member in (AKSDEV, inner, seed.PIPELINE_OBJECT_ID):
        operator.add_member(group_id, member)
    answer = operator.graph("GET", f"/groups/{group_id}/members")
    assert answer.headers["x-ms-resource-unit"] == "3"
    assert answer.json()["@odata.context"].endswith("#directoryObjects")
    kinds = {m["id"]: m["@odata.type"] for m in answer.json()["value"]}
    assert kinds == {
        AKSDEV: "#microsoft.graph.user",
        inner: "#microsoft.graph.group",
        seed.PIPELINE_OBJECT_ID: "#microsoft.graph.servicePrincipal",
    }
    ids = operator.graph("GET", f"/groups/{group_id}/members?$select=id")
    assert ids.headers["x-ms-resource-unit"] == "2"
    assert {frozenset(m) for m in ids.json()["value"]} == {frozenset({"@odata.type", "id"})}
    users = operator.graph("GET", f"/groups/{group_id}/members/microsoft.graph.user").json()["value"]
    assert [u["userPrincipalName"] for u in users] == [seed.AKSDEV]


def test_who_may_not_read_a_kind_sees_its_id_alone(sandbox: RunningSandbox, operator: Caller) -> None:
    group_id = operator.create_group("appdev")["id"]
    operator.add_member(group_id, AKSDEV)
    roles = seed.OPERATOR_APP_ROLES - {"User.Read.All"}
    sandbox.client.change_app(seed.OPERATOR_CLIENT_ID, appRoles=sorted(roles))
    token = sandbox.client.app_token(seed.OPERATOR_CLIENT_ID, audience=sandbox.url)
    member = Caller(operator.http, token).graph("GET", f"/groups/{group_id}/members").json()["value"][0]
    assert (member["@odata.type"], member["id"]) == ("#microsoft.graph.user", AKSDEV)
    assert member["userPrincipalName"] is None


def test_transitive_members_and_groups_reach_through_nesting(operator: Caller) -> None:
    outer, middle, inner = (operator.create_group(n)["id"] for n in ("outer", "middle", "inner"))
    operator.add_member(outer, middle)
    operator.add_member(middle, inner)
    operator.add_member(inner, AKSDEV)
    operator.add_member(inner, outer)  # a cycle, which harms nobody
    found = {m["id"] for m in operator.pages(f"/groups/{outer}/transitiveMembers")}
    assert found == {middle, inner, AKSDEV}
    groups = operator.graph("POST", f"/users/{AKSDEV}/getMemberGroups", {"securityEnabledOnly": True}).json()
    assert set(groups["value"]) == {outer, middle, inner}
    checked = operator.graph("POST", f"/users/{AKSDEV}/checkMemberGroups", {"groupIds": [outer, MISSING]})
    assert checked.json()["value"] == [outer]
    direct = operator.pages(f"/users/{AKSDEV}/memberOf")
    assert [g["id"] for g in direct] == [inner]


def test_microsoft_365_groups_are_no_members(
    sandbox: RunningSandbox, operator: Caller, group_id: str
) -> None:
    unified = sandbox.client.add_group("team", groupTypes=["Unified"], mailEnabled=True)["id"]
    assert code(operator.add_member(group_id, unified)) == (400, "Request_BadRequest")


def test_owners(operator: Caller, group_id: str) -> None:
    def add(owner: str) -> int:
        body = {"@odata.id": link(owner)}
        return operator.graph("POST", f"/groups/{group_id}/owners/$ref", body).status_code

    def remove(owner: str) -> int:
        return operator.graph("DELETE", f"/groups/{group_id}/owners/{owner}/$ref").status_code

    assert [add(LEAD), add(LEAD), add(group_id)] == [204, 400, 400]
    assert [add(seed.PIPELINE_OBJECT_ID), remove(LEAD)] == [204, 400]  # the last owner that is a user stays
    assert [add(AKSSRE), remove(LEAD), remove(LEAD)] == [204, 204, 404]
    owners = operator.graph("GET", f"/groups/{group_id}/owners")
    assert owners.headers["x-ms-resource-unit"] == "1"
    assert {o["id"] for o in owners.json()["value"]} == {seed.PIPELINE_OBJECT_ID, AKSSRE}


def test_members_come_in_pages(sandbox: RunningSandbox, operator: Caller) -> None:
    users = [sandbox.client.add_user(f"u{n}@contoso.com")["id"] for n in range(25)]
    group_id = sandbox.client.add_group("big", members=users)["id"]
    first = operator.graph("GET", f"/groups/{group_id}/members?$top=10&$select=id")
    assert first.headers["x-ms-resource-unit"] == "1"
    assert len(first.json()["value"]) == 10
    assert "$skiptoken=" in first.json()["@odata.nextLink"]
    assert "$select=id" in first.json()["@odata.nextLink"]
    rows = operator.pages(f"/groups/{group_id}/members?$top=10&$select=id")
    assert sorted(r["id"] for r in rows) == sorted(users)
    assert operator.graph("GET", f"/groups/{group_id}/members?$top=1000").status_code == 400
    broken = operator.graph("GET", f"/groups/{group_id}/members?$skiptoken=nonsense")
    assert code(broken) == (400, "Directory_ExpiredPageToken")


def test_deleted_people_are_members_of_nothing(
    sandbox: RunningSandbox, operator: Caller, group_id: str
) -> None:
    operator.add_member(group_id, AKSDEV)
    sandbox.client.delete_user(seed.AKSDEV)
    assert operator.members(group_id) == set()


def test_the_groups_of_an_application_are_counted_and_listed(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    """With the one permission that reads applications, a group's id is all there is to see."""
    direct = {
        str(sandbox.client.add_group(f"g{n}", members=[seed.PIPELINE_CLIENT_ID])["id"]) for n in range(5)
    }
    sandbox.client.add_group("outer", members=[min(direct)])
    app = sandbox.client.add_app("reader", appRoles=["Application.Read.All"])["appId"]
    reader = caller_of(sandbox, http, app)
    path = f"/servicePrincipals/{seed.PIPELINE_OBJECT_ID}"
    for way, number in (("memberOf", "5"), ("transitiveMemberOf", "6")):
        for cast in ("", "/microsoft.graph.group"):
            counted = reader.graph("GET", f"{path}/{way}{cast}/$count", ConsistencyLevel="eventual")
            assert (counted.status_code, counted.text) == (200, number)
            assert counted.headers["content-type"].startswith("text/plain")
    refused = reader.graph("GET", f"{path}/transitiveMemberOf/microsoft.graph.group/$count")
    assert code(refused) == (400, "Request_UnsupportedQuery")
    users = f"{path}/transitiveMemberOf/microsoft.graph.user/$count"
    assert reader.graph("GET", users, ConsistencyLevel="eventual").text == "0"
    missing = f"/servicePrincipals/{MISSING}/transitiveMemberOf/$count"
    assert reader.graph("GET", missing, ConsistencyLevel="eventual").status_code == 404
    listed = reader.pages(f"{path}/memberOf?$select=id&$top=2")
    assert {g["id"] for g in listed} == direct
    assert {frozenset(g) for g in listed} == {frozenset({"@odata.type", "id"})}


def test_service_principals_can_be_left_out_of_lists_of_members(
    sandbox: RunningSandbox, operator: Caller
) -> None:
    group = sandbox.client.add_group("appdev", members=[seed.AKSDEV, seed.PIPELINE_CLIENT_ID])["id"]
    assert operator.members(group) == {AKSDEV, seed.PIPELINE_OBJECT_ID}
    sandbox.client.settings(hide_service_principals=1)
    assert operator.members(group) == {AKSDEV}
    cast = operator.pages(f"/groups/{group}/members/microsoft.graph.servicePrincipal")
    links = operator.graph("GET", f"/groups/{group}/members/$ref").json()["value"]
    assert (cast, len(links)) == ([], 1)
    held = operator.pages(f"/servicePrincipals/{seed.PIPELINE_OBJECT_ID}/memberOf")
    assert [g["id"] for g in held] == [group]
    # It is a member for everything else.
    again = operator.add_member(group, seed.PIPELINE_OBJECT_ID)
    assert code(again) == (400, "Request_BadRequest")
    path = f"/groups/{group}/members/{seed.PIPELINE_OBJECT_ID}/$ref"
    assert operator.graph("DELETE", path).status_code == 204
