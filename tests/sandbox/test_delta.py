"""Delta queries over groups and their members."""

from typing import Any

from entra_sandbox import seed
from support.azure import Caller, code, link
from support.sandbox import RunningSandbox

AKSDEV, AKSSRE, LEAD = (seed.USER_IDS[name] for name in (seed.AKSDEV, seed.AKSSRE, seed.LEAD))
START = "/groups/delta?$select=displayName,members"


def _round(operator: Caller, path: str) -> tuple[list[dict[str, Any]], str]:
    """Follow a round to its end; give its rows and the link of the next round."""
    rows: list[dict[str, Any]] = []
    while True:
        body = operator.graph("GET", path).json()
        rows += body["value"]
        assert ("@odata.nextLink" in body) != ("@odata.deltaLink" in body)
        if "@odata.deltaLink" in body:
            return rows, body["@odata.deltaLink"]
        path = body["@odata.nextLink"]


def test_the_first_round_gives_all_and_the_next_the_changes(operator: Caller) -> None:
    one, two, three = (operator.create_group(n)["id"] for n in ("one", "two", "three"))
    operator.add_member(one, AKSDEV)
    rows, following = _round(operator, START)
    assert {r["displayName"] for r in rows} == {"one", "two", "three"}
    members = {r["id"]: r.get("members@delta") for r in rows}
    assert members[one] == [{"@odata.type": "#microsoft.graph.user", "id": AKSDEV}]
    assert members[two] is None
    assert _round(operator, following)[0] == []
    operator.add_member(one, LEAD)
    operator.graph("DELETE", f"/groups/{one}/members/{AKSDEV}/$ref")
    operator.graph("PATCH", f"/groups/{two}", {"displayName": "renamed"})
    operator.graph("DELETE", f"/groups/{three}")
    rows, following = _round(operator, following)
    changes = {r["id"]: r for r in rows}
    assert changes[one]["members@delta"] == [
        {"@odata.type": "#microsoft.graph.user", "id": AKSDEV, "@removed": {"reason": "deleted"}},
        {"@odata.type": "#microsoft.graph.user", "id": LEAD},
    ]
    assert changes[two] == {"id": two, "displayName": "renamed"}
    assert changes[three] == {"id": three, "@removed": {"reason": "changed"}}
    operator.graph("DELETE", f"/directory/deletedItems/{three}")
    rows, _ = _round(operator, following)
    assert rows == [{"id": three, "@removed": {"reason": "deleted"}}]


def test_fifty_ids_and_nothing_else_filter_it(operator: Caller) -> None:
    one, _ = (operator.create_group(n)["id"] for n in ("one", "two"))
    rows, following = _round(operator, f"{START}&$filter=id eq '{one}'")
    assert [r["id"] for r in rows] == [one]
    operator.create_group("three")
    assert _round(operator, following)[0] == []
    many = " or ".join(f"id eq '{n}'" for n in range(51))
    for text in (many, "displayName eq 'one'"):
        refused = operator.graph("GET", f"{START}&$filter={text}")
        assert code(refused) == (400, "Request_UnsupportedQuery")
    assert operator.graph("GET", f"{START}&$top=5").status_code == 400


def test_a_big_group_comes_over_several_pages(sandbox: RunningSandbox, operator: Caller) -> None:
    users = [sandbox.client.add_user(f"u{n}@contoso.com")["id"] for n in range(25)]
    big = sandbox.client.add_group("big", members=users)["id"]
    small = sandbox.client.add_group("small", members=users[:1])["id"]
    sandbox.client.settings(delta_page_size=10)
    rows, _ = _round(operator, START)
    found = {r["id"]: [m["id"] for o in rows if o["id"] == r["id"] for m in o["members@delta"]] for r in rows}
    assert sorted(found[big]) == sorted(users)
    assert found[small] == users[:1]


def test_what_happens_during_a_round_is_in_the_next(sandbox: RunningSandbox, operator: Caller) -> None:
    ids = sorted(operator.create_group(f"g{n}")["id"] for n in range(4))
    sandbox.client.settings(delta_page_size=2)
    first = operator.graph("GET", START).json()
    operator.graph("PATCH", f"/groups/{ids[0]}", {"displayName": "meanwhile"})
    _, following = _round(operator, first["@odata.nextLink"])
    rows, _ = _round(operator, following)
    assert [r["displayName"] for r in rows] == ["meanwhile"]


def test_latest_gives_a_link_and_no_rows(operator: Caller) -> None:
    operator.create_group("old")
    rows, following = _round(operator, f"{START}&$deltatoken=latest")
    assert rows == []
    operator.create_group("new")
    assert [r["displayName"] for r in _round(operator, following)[0]] == ["new"]


def test_old_and_broken_tokens_are_refused(sandbox: RunningSandbox, operator: Caller) -> None:
    _, following = _round(operator, START)
    sandbox.client.settings(delta_token_lifetime=0)
    sandbox.client.advance(1)
    assert code(operator.graph("GET", following)) == (400, "syncStateNotFound")
    assert code(operator.graph("GET", "/groups/delta?$deltatoken=nonsense")) == (400, "BadRequest")


def test_a_group_that_is_not_visible_yet_is_not_missed(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(replication_delay=60)
    operator.create_group("slow")
    rows, following = _round(operator, START)
    assert rows == []
    sandbox.client.advance(61)
    assert [r["displayName"] for r in _round(operator, following)[0]] == ["slow"]


def test_changed_owners_are_told(sandbox: RunningSandbox, operator: Caller) -> None:
    """Who owns a group is a property of it, by whichever hand it is changed."""
    one = operator.create_group("one")["id"]
    _, following = _round(operator, f"{START},owners")
    operator.graph("POST", f"/groups/{one}/owners/$ref", {"@odata.id": link(AKSDEV)})
    operator.graph("POST", f"/groups/{one}/owners/$ref", {"@odata.id": link(LEAD)})
    rows, following = _round(operator, following)
    user = {"@odata.type": "#microsoft.graph.user"}
    assert [r["owners@delta"] for r in rows] == [[{**user, "id": AKSDEV}, {**user, "id": LEAD}]]
    operator.graph("DELETE", f"/groups/{one}/owners/{LEAD}/$ref")
    rows, following = _round(operator, following)
    assert [r["owners@delta"] for r in rows] == [[{**user, "id": LEAD, "@removed": {"reason": "deleted"}}]]
    sandbox.client.delete_user(seed.AKSDEV)
    rows, following = _round(operator, following)
    assert rows == [], "a deleted user can come back: it stays an owner until it is gone for good"
    sandbox.client.delete_user(seed.AKSDEV, purge=True)
    rows, _ = _round(operator, following)
    assert [(r["id"], [one["id"] for one in r["owners@delta"]]) for r in rows] == [(one, [AKSDEV])]
    rows, _ = _round(operator, f"{START},owners")
    assert "owners@delta" not in rows[0]


def test_users_that_were_disabled_or_deleted_are_told(sandbox: RunningSandbox, operator: Caller) -> None:
    """For those that were asked for, and nobody else; a round over groups tells nothing of users."""
    asked = " or ".join(f"id eq '{one}'" for one in (AKSDEV, AKSSRE))
    start = f"/users/delta?$select=userPrincipalName,accountEnabled&$filter={asked}"
    rows, following = _round(operator, start)
    assert {r["id"]: r["accountEnabled"] for r in rows} == {AKSDEV: True, AKSSRE: True}
    _, groups = _round(operator, START)
    assert _round(operator, following)[0] == []
    sandbox.client.disable_user(seed.AKSDEV)
    sandbox.client.disable_user(seed.LEAD)
    sandbox.client.delete_user(seed.AKSSRE)
    rows, following = _round(operator, following)
    assert {r["id"]: r for r in rows} == {
        AKSDEV: {"id": AKSDEV, "userPrincipalName": seed.AKSDEV, "accountEnabled": False},
        AKSSRE: {"id": AKSSRE, "@removed": {"reason": "changed"}},
    }
    assert _round(operator, following)[0] == []
    assert _round(operator, groups)[0] == []


def test_users_come_over_several_pages(sandbox: RunningSandbox, operator: Caller) -> None:
    """Each once, however small the pages are."""
    sandbox.client.settings(delta_page_size=2)
    rows, _ = _round(operator, "/users/delta")
    assert sorted(r["id"] for r in rows) == sorted(seed.USER_IDS.values())


def test_the_journal_has_what_was_asked(sandbox: RunningSandbox, operator: Caller) -> None:
    """The query as it came, so that a first question is told from one that follows a link."""
    _, following = _round(operator, START)
    _round(operator, following)
    first, second = (one["query"] for one in sandbox.client.journal(path_regex="delta"))
    assert first == "$select=displayName,members"
    assert second.startswith("$deltatoken=")
