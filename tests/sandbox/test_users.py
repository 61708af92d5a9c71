"""Users: what somebody changes about them, how they are followed, and what becomes of the deleted."""

from typing import Any

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.client import SandboxError
from support.azure import AKS_READER, MISSING, Caller, code, message
from support.azure import caller as caller_of
from support.rounds import Follower
from support.sandbox import RunningSandbox

ALICE, BOB = seed.USER_IDS[seed.ALICE], seed.USER_IDS[seed.BOB]
FIELDS = "id,accountEnabled,userPrincipalName,displayName,userType"
FOLLOWED = f"/users/delta?$select={FIELDS}&$filter=id eq '{ALICE}' or id eq '{BOB}'"
TAKEN = "Another object with the same value for property userPrincipalName already exists."


@pytest.fixture
def admin(sandbox: RunningSandbox, http: httpx.Client) -> Caller:
    """The administrator's view of Graph and ARM."""
    return Caller(http, sandbox.client.user_token(seed.ADMIN, audience=sandbox.url))


def _alice(**fields: Any) -> dict[str, Any]:
    return {
        "id": ALICE,
        "accountEnabled": True,
        "userPrincipalName": seed.ALICE,
        "displayName": "Alice Example",
        "userType": "Member",
        **fields,
    }


def test_two_users_of_all_are_followed(admin: Caller, operator: Caller) -> None:
    users = Follower(operator, FOLLOWED)
    assert [row["id"] for row in users.rows()] == [ALICE, BOB]
    assert users.rows() == []
    for change in ({"accountEnabled": False}, {"displayName": "Alice"}, {"userType": "Guest"}):
        assert admin.graph("PATCH", f"/users/{seed.ALICE}", change).status_code == 204
    assert admin.graph("PATCH", f"/users/{seed.LEAD}", {"accountEnabled": False}).status_code == 204
    changed = _alice(accountEnabled=False, displayName="Alice", userType="Guest")
    assert users.rows() == [changed]
    assert admin.graph("PATCH", f"/users/{ALICE}", {"mail": "a@contoso.com"}).status_code == 204
    assert users.rows() == []  # not selected
    assert admin.graph("PATCH", f"/users/{ALICE}", {"userPrincipalName": "al@contoso.com"}).status_code == 204
    assert users.rows() == [{**changed, "userPrincipalName": "al@contoso.com"}]
    assert operator.graph("GET", f"/users/{seed.ALICE}").status_code == 404
    assert operator.graph("GET", "/users/al@contoso.com").json()["id"] == ALICE


def test_a_deleted_user_is_told_restored_and_told_gone(admin: Caller, operator: Caller) -> None:
    users = Follower(operator, FOLLOWED)
    users.rows()
    assert admin.graph("DELETE", f"/users/{seed.ALICE}").status_code == 204
    assert users.rows() == [{"id": ALICE, "@removed": {"reason": "changed"}}]
    assert admin.graph("POST", f"/directory/deletedItems/{ALICE}/restore").json()["id"] == ALICE
    assert users.rows() == [_alice()]
    admin.graph("DELETE", f"/users/{ALICE}")
    assert admin.graph("DELETE", f"/directory/deletedItems/{ALICE}").status_code == 204
    assert users.rows() == [{"id": ALICE, "@removed": {"reason": "deleted"}}]
    assert code(admin.graph("POST", f"/directory/deletedItems/{ALICE}/restore"))[0] == 404


def test_users_are_followed_with_the_same_limits_as_groups(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(delta_page_size=3)
    users = Follower(operator, f"/users/delta?$select={FIELDS}")
    assert {row["id"] for row in users.rows()} == set(seed.USER_IDS.values())
    assert users.pages == 3
    sandbox.client.expire_delta_tokens()
    assert code(operator.graph("GET", users.link)) == (400, "syncStateNotFound")
    late = Follower(operator, f"/users/delta?$select={FIELDS}&$deltatoken=latest")
    assert late.rows() == []
    many = " or ".join(f"id eq '{n}'" for n in range(51))
    for query in (f"$filter={many}", "$filter=displayName eq 'x'", "$top=5", "$select=colour"):
        assert operator.graph("GET", f"/users/delta?{query}").status_code == 400, query


def test_a_deleted_user_is_nobody_and_comes_back_with_everything(
    sandbox: RunningSandbox, admin: Caller, operator: Caller
) -> None:
    group_id = sandbox.client.add_group("appdev", members=[seed.ALICE, seed.BOB], owners=[seed.ALICE])["id"]
    sandbox.client.assign(group_id, "Reader", seed.RESOURCE_GROUP)
    alice = Caller(admin.http, sandbox.client.user_token(seed.ALICE, audience=sandbox.url))
    assert alice.arm("GET", seed.CLUSTER_ID).status_code == 200
    admin.graph("DELETE", f"/users/{ALICE}")
    assert alice.arm("GET", seed.CLUSTER_ID).status_code == 403  # with a token that is still good
    owners = f"/groups/{group_id}/owners"
    assert (operator.members(group_id), operator.pages(owners)) == ({BOB}, [])
    assert [u["id"] for u in operator.pages("/users")] == sorted({*seed.USER_IDS.values()} - {ALICE})
    assert operator.graph("GET", f"/users/{ALICE}").status_code == 404
    assert code(operator.assign(ALICE, AKS_READER, seed.CLUSTER_ID)) == (400, "PrincipalNotFound")
    (deleted,) = operator.pages("/directory/deletedItems/microsoft.graph.user?$select=id,userPrincipalName")
    assert deleted == {"id": ALICE, "userPrincipalName": f"{ALICE.replace('-', '')}{seed.ALICE}"}
    admin.graph("POST", f"/directory/deletedItems/{ALICE}/restore")
    assert operator.members(group_id) == {ALICE, BOB}
    assert [o["id"] for o in operator.pages(owners)] == [ALICE]
    assert operator.graph("GET", f"/users/{seed.ALICE}").json()["id"] == ALICE
    assert alice.arm("GET", seed.CLUSTER_ID).status_code == 200


def test_a_user_does_not_come_back_to_a_name_that_is_taken(sandbox: RunningSandbox, admin: Caller) -> None:
    admin.graph("DELETE", f"/users/{ALICE}")
    sandbox.client.add_user(seed.ALICE)
    refused = admin.graph("POST", f"/directory/deletedItems/{ALICE}/restore")
    assert (code(refused), message(refused)) == ((400, "Request_BadRequest"), TAKEN)
    refused = admin.graph("PATCH", f"/users/{BOB}", {"userPrincipalName": seed.ALICE.upper()})
    assert (code(refused), message(refused)) == ((400, "Request_BadRequest"), TAKEN)
    with pytest.raises(SandboxError, match="already there"):
        sandbox.client.restore_user(ALICE)


@pytest.mark.parametrize(
    "body",
    [
        {"accountEnabled": "no"},
        {"displayName": ""},
        {"userPrincipalName": "alice"},
        {"userType": "Robot"},
        {"id": MISSING},
    ],
)
def test_what_makes_no_sense_of_a_user_is_refused(admin: Caller, body: dict[str, Any]) -> None:
    assert code(admin.graph("PATCH", f"/users/{ALICE}", body)) == (400, "Request_BadRequest")


def test_writing_users_needs_permission(sandbox: RunningSandbox, http: httpx.Client) -> None:
    def view(*roles: str) -> Caller:
        app = sandbox.client.add_app("/".join(roles), appRoles=list(roles))["appId"]
        return caller_of(sandbox, http, app)

    reader, switch, writer = (
        view("User.Read.All"),
        view("User.EnableDisableAccount.All"),
        view("User.ReadWrite.All"),
    )
    off, name = {"accountEnabled": False}, {"displayName": "x"}
    for allowed, who, method, body in (
        (False, reader, "PATCH", off),
        (False, reader, "DELETE", None),
        (True, switch, "PATCH", off),
        (False, switch, "PATCH", name),
        (False, switch, "PATCH", {**off, **name}),
        (False, switch, "DELETE", None),
        (True, writer, "PATCH", {**off, **name}),
        (True, writer, "DELETE", None),
    ):
        answer = who.graph(method, f"/users/{ALICE}", body)
        assert answer.status_code == (204 if allowed else 403), (method, body)
    assert reader.graph("POST", f"/directory/deletedItems/{ALICE}/restore").status_code == 403
    assert reader.graph("GET", f"/directory/deletedItems/{ALICE}").status_code == 200
    assert view("Group.Read.All").graph("GET", "/users/delta").status_code == 403


def test_after_thirty_days_a_deleted_user_leaves_for_good(
    sandbox: RunningSandbox, admin: Caller, http: httpx.Client
) -> None:
    admin.graph("DELETE", f"/users/{ALICE}")
    sandbox.client.advance(31 * 24 * 3600)
    later = caller_of(sandbox, http, seed.OPERATOR_CLIENT_ID)
    assert later.pages("/directory/deletedItems/microsoft.graph.user") == []
    assert sandbox.client.state()["deletedUsers"] == []
