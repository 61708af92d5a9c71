"""Every call that the operator makes to Microsoft Graph, against the sandbox: what it does and gives."""

import pytest

from entra_access.adapters.graph import Graph
from entra_access.domain.faults import Changed, Missing, Replicating, UniqueNameHeld
from entra_access.domain.observed import Group
from entra_sandbox import seed
from support.sandbox import RunningSandbox

NOBODY = "99999999-9999-4999-8999-999999999999"
ODD_NAMES = [
    "O'Brien's team",
    "Ärzte & Söhne — 北京 🦊",
    "a/b?c#d%25 +e",
    "''",
    'say "hello", (world)\\',
    "eq 'x' or displayName eq 'y",
]


async def make(graph: Graph, name: str = "appdev", display_name: str | None = None) -> Group:
    """Make a group whose uniqueName is `name`."""
    return await graph.create_group(name, display_name or name, "nick", None)


async def test_a_group_is_made_once_however_often_it_is_asked_for(
    graph: Graph, sandbox: RunningSandbox
) -> None:
    """The upsert gives the same group again, and everything that was asked for is in it."""
    made = await graph.create_group("unique-1", "App Dev", "app-dev", "Application developers")

    again = await graph.create_group("unique-1", "App Dev", "app-dev", "Application developers")

    assert made == again == Group(made.id, "unique-1", "App Dev", "app-dev", "Application developers")
    there = [g for g in sandbox.client.state()["groups"] if g["uniqueName"] == "unique-1"]
    assert [(g["id"], g["mailNickname"]) for g in there] == [(made.id, "app-dev")]


async def test_a_group_without_description_is_made_without_one(graph: Graph) -> None:
    """Graph refuses an empty description, so none is sent."""
    assert (await make(graph)).description is None


async def test_a_group_is_found_by_unique_name_and_by_id(graph: Graph) -> None:
    """Both ways of reading give the same; what is not there is None, not a fault."""
    made = await make(graph)

    assert await graph.group_by_unique_name("appdev") == made
    assert await graph.group(made.id) == made
    assert await graph.group_by_unique_name("other") is None
    assert await graph.group(NOBODY) is None


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_groups_are_found_by_odd_display_names(graph: Graph, name: str) -> None:
    """Quotes, unicode and what looks like a filter are names, also beside others."""
    await make(graph, "other", "x")
    made = await make(graph, "odd", name)
    assert made.display_name == name

    assert await graph.groups_named(name) == (made,)


async def test_namesakes_are_found_on_every_page(graph: Graph, sandbox: RunningSandbox) -> None:
    """A display name is not unique in Entra; a list is followed to its end."""
    sandbox.client.settings(graph_page_size=2)
    wanted = {sandbox.client.add_group("Same")["id"] for _ in range(5)}
    sandbox.client.add_group("Other")

    assert {group.id for group in await graph.groups_named("Same")} == wanted
    assert len(sandbox.client.journal(kind="graph", method="GET", path_regex="/groups$")) == 3


async def test_a_deleted_group_is_listed_and_restored_with_its_members(graph: Graph) -> None:
    """It keeps its object id, uniqueName and members; the list tells it from living ones."""
    made = await make(graph)
    await graph.add(made.id, "members", [seed.USER_IDS[seed.ALICE]])

    await graph.delete_group(made.id)

    assert await graph.group_by_unique_name("appdev") is None
    deleted = await graph.deleted_groups()
    assert [(group.id, group.unique_name, group.deleted) for group in deleted] == [(made.id, "appdev", True)]
    await graph.restore_group(made.id)
    assert await graph.group_by_unique_name("appdev") == made
    assert await graph.deleted_groups() == ()
    assert [one.id for one in await graph.principals(made.id, "members")] == [seed.USER_IDS[seed.ALICE]]


async def test_deleted_groups_are_listed_over_all_pages(graph: Graph, sandbox: RunningSandbox) -> None:
    """More deleted groups than one page holds, whatever page size was asked for, are all seen."""
    wanted = set()
    for number in range(1001):
        group = sandbox.client.add_group(f"gone-{number}")
        sandbox.client.delete_group(group["id"])
        wanted.add(group["id"])

    assert {group.id for group in await graph.deleted_groups()} == wanted


async def test_a_deleted_group_holds_its_unique_name(graph: Graph) -> None:
    """The upsert cannot make a second one; that is a fault of its own, not a refusal for ever."""
    made = await make(graph)
    await graph.delete_group(made.id)

    with pytest.raises(UniqueNameHeld):
        await make(graph)


async def test_attributes_are_set_and_emptied(graph: Graph) -> None:
    """What is given changes, None empties, the rest stays."""
    made = await graph.create_group("appdev", "App Dev", "nick", "text")

    await graph.update_group(made.id, {"displayName": "Größer O'X", "description": None})

    found = await graph.group(made.id)
    assert found == Group(made.id, "appdev", "Größer O'X", "nick", None)


async def test_forty_five_members_go_in_by_twenties(graph: Graph, sandbox: RunningSandbox) -> None:
    """Graph takes twenty links in one call; all are in the group then, and are read page by page."""
    made = await make(graph)
    users = [sandbox.client.add_user(f"u{number}@contoso.com") for number in range(45)]
    sandbox.client.clear_journal()

    await graph.add(made.id, "members", [user["id"] for user in users])

    written = sandbox.client.journal(method="PATCH")
    assert [len(entry["body"]["members@odata.bind"]) for entry in written] == [20, 20, 5]
    assert [entry["status"] for entry in written] == [204, 204, 204]
    found = await graph.principals(made.id, "members")
    assert {(one.id, one.kind, one.name) for one in found} == {
        (user["id"], "user", user["userPrincipalName"]) for user in users
    }


async def test_members_and_owners_are_read_over_all_pages(graph: Graph, sandbox: RunningSandbox) -> None:
    """More than 999 members, and members of every kind with their kinds."""
    group = sandbox.client.add_group("big", uniqueName="big")
    nested = sandbox.client.add_group("nested")
    users = [sandbox.client.add_user(f"m{number}@contoso.com")["id"] for number in range(1000)]
    sandbox.client.add_member(group["id"], *users, nested["id"], seed.PIPELINE_OBJECT_ID)
    sandbox.client.change_group(group["id"], addOwners=[seed.LEAD, seed.OPERATOR_OBJECT_ID])

    members = await graph.principals(group["id"], "members")
    owners = await graph.principals(group["id"], "owners")

    assert {one.id for one in members} == {*users, nested["id"], seed.PIPELINE_OBJECT_ID}
    kinds = {one.id: one.kind for one in members}
    assert kinds[nested["id"]] == "group"
    assert kinds[seed.PIPELINE_OBJECT_ID] == "servicePrincipal"
    assert {(one.id, one.kind, one.name) for one in owners} == {
        (seed.USER_IDS[seed.LEAD], "user", seed.LEAD),
        (seed.OPERATOR_OBJECT_ID, "servicePrincipal", seed.OPERATOR_CLIENT_ID),
    }


async def test_owners_are_added_and_removed(graph: Graph, sandbox: RunningSandbox) -> None:
    """One by one; one who is not there counts as taken out."""
    made = await make(graph)
    alice, bob = seed.USER_IDS[seed.ALICE], seed.USER_IDS[seed.BOB]

    await graph.add(made.id, "owners", [alice, bob])
    await graph.remove(made.id, "owners", bob)
    await graph.remove(made.id, "owners", bob)

    group = sandbox.client.group(made.id)
    assert group is not None
    assert group["owners"] == [alice]


async def test_removing_a_member_removes_the_link_and_never_the_person(
    graph: Graph, sandbox: RunningSandbox
) -> None:
    """Without /$ref Graph deletes the member itself: user, group and application all live on."""
    made = await make(graph)
    nested = sandbox.client.add_group("nested")["id"]
    ids = [seed.USER_IDS[seed.ALICE], nested, seed.PIPELINE_OBJECT_ID]
    await graph.add(made.id, "members", ids)

    for one in (*ids, ids[0]):
        await graph.remove(made.id, "members", one)

    state = sandbox.client.state()
    assert await graph.principals(made.id, "members") == ()
    living = {o["id"] for kind in ("users", "groups", "servicePrincipals") for o in state[kind]}
    assert set(ids) <= living


async def test_adding_a_member_twice_is_a_change_by_another_hand(graph: Graph) -> None:
    """The pass saw the group without that member, so somebody was quicker."""
    made = await make(graph)
    await graph.add(made.id, "members", [seed.USER_IDS[seed.ALICE]])

    with pytest.raises(Changed):
        await graph.add(made.id, "members", [seed.USER_IDS[seed.ALICE], seed.USER_IDS[seed.BOB]])
    assert [one.id for one in await graph.principals(made.id, "members")] == [seed.USER_IDS[seed.ALICE]]


async def test_a_new_group_that_not_every_replica_knows_is_replicating(
    graph: Graph, sandbox: RunningSandbox
) -> None:
    """Nothing of it is taken for "not there": neither reading its members nor writing to it."""
    sandbox.client.settings(replication_delay=60)
    made = await make(graph)

    assert await graph.group_by_unique_name("appdev") is None
    for call in (
        graph.principals(made.id, "members"),
        graph.add(made.id, "owners", [seed.USER_IDS[seed.ALICE]]),
        graph.add(made.id, "members", [seed.USER_IDS[seed.ALICE]]),
        graph.update_group(made.id, {"displayName": "x"}),
        graph.delete_group(made.id),
        make(graph),
    ):
        with pytest.raises(Replicating):
            await call
    sandbox.client.advance(60)
    assert await graph.group_by_unique_name("appdev") == made


async def test_a_member_that_is_not_there_fails_the_whole_batch_and_adds_none(graph: Graph) -> None:
    """Twenty links are taken together or not at all."""
    made = await make(graph)

    with pytest.raises(Replicating):
        await graph.add(made.id, "members", [seed.USER_IDS[seed.ALICE], NOBODY])
    assert await graph.principals(made.id, "members") == ()


async def test_restoring_what_is_not_deleted_is_missing(graph: Graph) -> None:
    """Somebody was quicker, or it is gone for good."""
    with pytest.raises(Missing):
        await graph.restore_group(NOBODY)
