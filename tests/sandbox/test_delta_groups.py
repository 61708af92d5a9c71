"""Delta queries over groups: which changes they tell, of members and owners, and when a token is over."""

import itertools
from typing import Any

import pytest

from entra_sandbox import seed
from support.azure import Caller, code
from support.rounds import Follower
from support.sandbox import RunningSandbox

AKSDEV, LEAD, BOB = (seed.USER_IDS[name] for name in (seed.AKSDEV, seed.LEAD, seed.BOB))
LINKS = "?$select=displayName,members,owners"


def user(object_id: str, *, removed: bool = False) -> dict[str, Any]:
    """Describe a link to a user as delta queries do."""
    row: dict[str, Any] = {"@odata.type": "#microsoft.graph.user", "id": object_id}
    return {**row, "@removed": {"reason": "deleted"}} if removed else row


@pytest.fixture
def group_id(sandbox: RunningSandbox) -> str:
    """A group with one member and one owner."""
    made = sandbox.client.add_group("appdev", members=[seed.AKSDEV], owners=[seed.LEAD])
    return str(made["id"])


def follow(operator: Caller, query: str = LINKS) -> Follower:
    """Follow groups, from their first round on."""
    return Follower(operator, f"/groups/delta{query}")


def test_members_and_owners_come_and_go(operator: Caller, group_id: str) -> None:
    groups = follow(operator)
    assert groups.rows() == [
        {
            "id": group_id,
            "displayName": "appdev",
            "members@delta": [user(AKSDEV)],
            "owners@delta": [user(LEAD)],
        }
    ]
    operator.graph("POST", f"/groups/{group_id}/owners/$ref", {"@odata.id": f"x/directoryObjects/{BOB}"})
    operator.graph("DELETE", f"/groups/{group_id}/owners/{LEAD}/$ref")
    operator.graph("DELETE", f"/groups/{group_id}/members/{AKSDEV}/$ref")
    assert groups.rows() == [
        {
            "id": group_id,
            "displayName": "appdev",
            "members@delta": [user(AKSDEV, removed=True)],
            "owners@delta": [user(LEAD, removed=True), user(BOB)],
        }
    ]
    assert groups.rows() == []


def test_only_what_is_selected_is_followed(operator: Caller, group_id: str) -> None:
    names, links, owners = (
        follow(operator, f"?$select={text}") for text in ("displayName", "members", "owners")
    )
    assert names.rows() == [{"id": group_id, "displayName": "appdev"}]
    assert links.rows() == [{"id": group_id, "members@delta": [user(AKSDEV)]}]
    assert owners.rows() == [{"id": group_id, "owners@delta": [user(LEAD)]}]
    operator.graph("PATCH", f"/groups/{group_id}", {"description": "other"})
    assert names.rows() == links.rows() == owners.rows() == []
    operator.add_member(group_id, BOB)
    assert names.rows() == owners.rows() == []
    assert links.rows() == [{"id": group_id, "members@delta": [user(BOB)]}]
    operator.graph("PATCH", f"/groups/{group_id}", {"displayName": "renamed"})
    assert names.rows() == [{"id": group_id, "displayName": "renamed"}]
    assert links.rows() == owners.rows() == []


def test_a_property_without_a_value_is_missing_until_it_had_one(operator: Caller, group_id: str) -> None:
    groups = follow(operator, "?$select=displayName,description")
    assert groups.rows() == [{"id": group_id, "displayName": "appdev"}]
    operator.graph("PATCH", f"/groups/{group_id}", {"description": "text"})
    assert groups.rows() == [{"id": group_id, "displayName": "appdev", "description": "text"}]
    operator.graph("PATCH", f"/groups/{group_id}", {"description": None})
    assert groups.rows() == [{"id": group_id, "displayName": "appdev", "description": None}]


def test_minimal_answers_hold_only_what_changed(operator: Caller, group_id: str) -> None:
    groups = follow(operator, "?$select=displayName,mailNickname,members")
    groups.rows()
    operator.graph("PATCH", f"/groups/{group_id}", {"mailNickname": "other"})
    assert groups.rows(prefer="return=minimal") == [{"id": group_id, "mailNickname": "other"}]
    operator.add_member(group_id, BOB)
    assert groups.rows(prefer="return=minimal") == [{"id": group_id, "members@delta": [user(BOB)]}]


def test_deleted_restored_and_deleted_for_good(operator: Caller, group_id: str) -> None:
    groups = follow(operator, f"{LINKS}&$filter=id eq '{group_id}'")
    (whole,) = groups.rows()
    operator.graph("DELETE", f"/groups/{group_id}")
    assert groups.rows() == [{"id": group_id, "@removed": {"reason": "changed"}}]
    operator.graph("POST", f"/directory/deletedItems/{group_id}/restore")
    assert groups.rows() == [whole]
    operator.graph("DELETE", f"/groups/{group_id}")
    operator.graph("POST", f"/directory/deletedItems/{group_id}/restore")
    assert groups.rows() == [whole]  # also if nobody looked in between
    operator.graph("DELETE", f"/groups/{group_id}")
    operator.graph("DELETE", f"/directory/deletedItems/{group_id}")
    assert groups.rows() == [{"id": group_id, "@removed": {"reason": "deleted"}}]
    assert groups.rows() == []
    assert follow(operator).rows() == []


def test_a_deleted_user_is_told_by_the_list_and_not_by_the_delta(
    sandbox: RunningSandbox, operator: Caller, group_id: str
) -> None:
    """As documented: who can be restored is a member still; only who is gone for good is told removed."""
    groups = follow(operator)
    groups.rows()
    sandbox.client.delete_user(seed.AKSDEV)
    assert operator.members(group_id) == set()
    assert groups.rows() == []
    (first,) = follow(operator).rows()
    assert first["members@delta"] == [user(AKSDEV)]
    sandbox.client.restore_user(seed.AKSDEV)
    assert operator.members(group_id) == {AKSDEV}
    sandbox.client.delete_user(seed.AKSDEV, purge=True)
    (row,) = groups.rows()
    assert row["members@delta"] == [user(AKSDEV, removed=True)]


def test_service_principals_are_told_with_their_type_unless_they_are_hidden(
    sandbox: RunningSandbox, operator: Caller, group_id: str
) -> None:
    groups = follow(operator)
    groups.rows()
    application = {"@odata.type": "#microsoft.graph.servicePrincipal", "id": seed.PIPELINE_OBJECT_ID}
    operator.add_member(group_id, seed.PIPELINE_OBJECT_ID)
    (row,) = groups.rows()
    assert row["members@delta"] == [application]
    sandbox.client.settings(hide_service_principals=1)
    operator.graph("DELETE", f"/groups/{group_id}/members/{seed.PIPELINE_OBJECT_ID}/$ref")
    assert groups.rows() == []
    operator.add_member(group_id, seed.PIPELINE_OBJECT_ID)
    (first,) = follow(operator).rows()
    assert first["members@delta"] == [user(AKSDEV)]


def test_fifty_ids_are_followed_and_one_more_is_refused(operator: Caller, group_id: str) -> None:
    def filtered(number: int) -> str:
        others = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(number - 1)]
        return " or ".join(f"id eq '{i}'" for i in (*others, group_id))

    assert [row["id"] for row in follow(operator, f"{LINKS}&$filter={filtered(50)}").rows()] == [group_id]
    for more in ("", "&$deltatoken=latest"):
        refused = operator.graph("GET", f"/groups/delta{LINKS}&$filter={filtered(51)}{more}")
        assert code(refused) == (400, "Request_UnsupportedQuery")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_links_of_both_kinds_come_over_pages(sandbox: RunningSandbox, operator: Caller, size: int) -> None:
    people = [str(sandbox.client.add_user(f"u{n}@contoso.com")["id"]) for n in range(7)]
    group_id = sandbox.client.add_group("appdev", members=people, owners=people[:4])["id"]
    sandbox.client.settings(delta_page_size=size)
    groups = follow(operator)
    rows = groups.rows()
    assert groups.pages >= 11 / size
    assert {row["id"] for row in rows} == {group_id}
    for relation, wanted in (("members", people), ("owners", people[:4])):
        found = itertools.chain.from_iterable(row.get(f"{relation}@delta", ()) for row in rows)
        assert [one["id"] for one in found] == sorted(wanted)
    assert groups.rows() == []


def test_from_now_on_in_the_documentations_spelling(operator: Caller, group_id: str) -> None:
    groups = follow(operator, f"{LINKS}&$deltaToken=latest")
    assert groups.rows() == []
    operator.add_member(group_id, BOB)
    (row,) = groups.rows()
    assert row["members@delta"] == [user(BOB)]


def test_all_tokens_expire_at_once(sandbox: RunningSandbox, operator: Caller, group_id: str) -> None:
    groups, late = follow(operator), follow(operator)
    groups.rows()
    sandbox.client.settings(delta_page_size=1)
    late.page()
    sandbox.client.expire_delta_tokens()
    for old in (groups, late):
        assert code(operator.graph("GET", old.link)) == (400, "syncStateNotFound")
    anew = follow(operator)
    assert {row["id"] for row in anew.rows()} == {group_id}
    assert anew.rows() == []
    sandbox.client.reset()
    assert code(operator.graph("GET", anew.link)) == (400, "syncStateNotFound")


def test_an_expired_token_can_be_gone_with_the_way_to_begin_anew(
    sandbox: RunningSandbox, operator: Caller, group_id: str
) -> None:
    groups = follow(operator, f"{LINKS}&$filter=id eq '{group_id}'")
    groups.rows()
    sandbox.client.settings(delta_token_lifetime=60, delta_expired_status=410)
    sandbox.client.advance(59)
    assert groups.rows() == []
    sandbox.client.advance(61)
    gone = operator.graph("GET", groups.link)
    assert code(gone) == (410, "syncStateNotFound")
    assert gone.headers["location"].endswith("&$deltatoken=")
    anew = Follower(operator, gone.headers["location"])
    assert [row["id"] for row in anew.rows()] == [group_id]


def test_a_token_is_good_for_its_own_kind_of_objects(operator: Caller) -> None:
    groups = follow(operator, "?$select=displayName")
    groups.rows()
    other = operator.graph("GET", groups.link.replace("/groups/", "/users/"))
    assert code(other) == (400, "BadRequest")
