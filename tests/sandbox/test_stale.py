"""Lists and delta queries that lag behind: each kind by its own setting, and single reads never."""

from entra_sandbox import seed
from entra_sandbox.hands import Hands
from support.azure import AKS_READER, AUTHORIZATION, Caller
from support.rounds import Follower
from support.sandbox import RunningSandbox

ALICE, BOB = seed.USER_IDS[seed.ALICE], seed.USER_IDS[seed.BOB]
MINUTE = 60


def test_groups_and_users_in_lists_are_as_they_were(sandbox: RunningSandbox, operator: Caller) -> None:
    kept, gone = (operator.create_group(name)["id"] for name in ("kept", "gone"))
    sandbox.client.settings(stale_groups=MINUTE)
    new = operator.create_group("new")["id"]
    operator.graph("PATCH", f"/groups/{kept}", {"displayName": "renamed"})
    operator.graph("DELETE", f"/groups/{gone}")
    sandbox.client.delete_user(seed.BOB)
    sandbox.client.disable_user(seed.ALICE)

    def seen() -> dict[str, list[str]]:
        switched = operator.pages("/users?$select=id,accountEnabled")
        counted = operator.graph("GET", "/groups/$count", ConsistencyLevel="eventual").text
        return {
            "groups": [g["displayName"] for g in operator.pages("/groups")],
            "named": [g["id"] for g in operator.pages("/groups?$filter=displayName eq 'renamed'")],
            "deleted": [g["id"] for g in operator.pages("/directory/deletedItems/microsoft.graph.group")],
            "enabled": [u["id"] for u in switched if u["id"] in (ALICE, BOB) and u["accountEnabled"]],
            "count": [counted],
        }

    before = {"groups": ["kept", "gone"], "named": [], "deleted": [], "enabled": [ALICE, BOB], "count": ["2"]}
    assert seen() == before
    assert operator.graph("GET", f"/groups/{new}").json()["displayName"] == "new"
    assert operator.graph("GET", f"/groups/{kept}").json()["displayName"] == "renamed"
    assert operator.graph("GET", f"/groups/{gone}").status_code == 404
    sandbox.client.advance(MINUTE + 1)
    assert seen() == {
        "groups": ["renamed", "new"],
        "named": [kept],
        "deleted": [gone],
        "enabled": [],
        "count": ["2"],
    }


def test_members_and_owners_in_lists_are_as_they_were(sandbox: RunningSandbox, operator: Caller) -> None:
    hands = Hands(sandbox.client)
    group_id = operator.create_group("appdev")["id"]
    hands.add_member(group_id, seed.ALICE)
    hands.add_owner(group_id, seed.ALICE)
    hands.add_member(group_id, seed.BOB)
    sandbox.client.settings(stale_lists=MINUTE)
    hands.add_owner(group_id, seed.BOB)
    hands.remove_owner(group_id, seed.ALICE)
    hands.remove_member(group_id, seed.ALICE)
    hands.delete_user(seed.BOB)

    def owners() -> set[str]:
        return {o["id"] for o in operator.pages(f"/groups/{group_id}/owners")}

    assert (operator.members(group_id), owners()) == ({ALICE, BOB}, {ALICE})
    links = operator.graph("GET", f"/groups/{group_id}/members/$ref").json()["value"]
    assert len(links) == 2
    sandbox.client.advance(MINUTE + 1)
    assert (operator.members(group_id), owners()) == (set(), set())


def test_a_delta_query_tells_later_and_loses_nothing(sandbox: RunningSandbox, operator: Caller) -> None:
    hands = Hands(sandbox.client)
    group_id = operator.create_group("appdev")["id"]
    groups = Follower(operator, "/groups/delta?$select=displayName,members")
    users = Follower(operator, f"/users/delta?$select=accountEnabled&$filter=id eq '{ALICE}'")
    groups.rows(), users.rows()
    sandbox.client.settings(stale_delta=MINUTE)
    hands.add_member(group_id, seed.ALICE)
    hands.rename_group(group_id, "renamed")
    hands.disable_user(seed.ALICE)
    assert operator.members(group_id) == {ALICE}
    assert groups.rows() == groups.rows() == users.rows() == []
    (first,) = Follower(operator, "/groups/delta?$select=displayName,members").rows()
    assert first == {"id": group_id, "displayName": "appdev"}
    sandbox.client.advance(MINUTE - 5)
    hands.rename_group(group_id, "again")
    sandbox.client.advance(10)
    (row,) = groups.rows()
    assert (row["displayName"], [m["id"] for m in row["members@delta"]]) == ("renamed", [ALICE])
    assert users.rows() == [{"id": ALICE, "accountEnabled": False}]
    sandbox.client.settings(stale_delta=0)
    assert groups.rows() == [{"id": group_id, "displayName": "again"}]


def test_role_definitions_in_lists_are_as_they_were(sandbox: RunningSandbox, operator: Caller) -> None:
    hands = Hands(sandbox.client)
    changed, gone = (hands.create_role(name, actions=["a/read"]) for name in ("Changed", "Gone"))
    sandbox.client.settings(stale_definitions=MINUTE)
    new = hands.create_role("New", actions=["a/read"])
    hands.change_role("Changed", name="Renamed")
    hands.delete_role("Gone")
    path = f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleDefinitions"

    def listed(text: str) -> list[str]:
        return [d["properties"]["roleName"] for d in operator.arm("GET", path, filter=text).json()["value"]]

    assert listed("type eq 'CustomRole'") == ["Custom Role Author", "Changed", "Gone"]
    assert (listed("roleName eq 'renamed'"), listed("roleName eq 'new'")) == ([], [])
    assert len(listed("type eq 'BuiltInRole'")) == 59
    for role, name in ((changed, "Renamed"), (new, "New")):
        assert operator.arm("GET", f"{path}/{role['name']}").json()["properties"]["roleName"] == name
    assert operator.arm("GET", f"{path}/{gone['name']}").status_code == 404
    sandbox.client.advance(MINUTE + 1)
    assert listed("type eq 'CustomRole'") == ["Custom Role Author", "Renamed", "New"]
    assert listed("roleName eq 'renamed'") == ["Renamed"]


def test_a_list_never_goes_back_behind_the_moment_that_it_began_to_lag(
    sandbox: RunningSandbox, operator: Caller
) -> None:
    sandbox.client.settings(stale_lists=MINUTE)
    seeded = {a["name"] for a in operator.assignments(seed.RESOURCE_GROUP)}
    assert len(seeded) == 2
    first = operator.assign(ALICE, AKS_READER, seed.RESOURCE_GROUP).json()
    assert {a["name"] for a in operator.assignments(seed.RESOURCE_GROUP)} == seeded
    sandbox.client.settings(stale_lists=MINUTE)  # set anew: what was written until now is seen
    changed = Hands(sandbox.client).change_assignment(first["id"], description="later")
    assert changed["properties"]["description"] == "later"
    (listed,) = (a for a in operator.assignments(seed.RESOURCE_GROUP) if a["name"] == first["name"])
    assert listed["properties"]["description"] is None
