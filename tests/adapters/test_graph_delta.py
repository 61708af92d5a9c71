"""What has changed in the directory since the last question: groups with members and owners, and users."""

from collections.abc import Callable

import pytest

from entra_access.adapters.graph import Graph
from entra_access.adapters.graph_delta import GROUPS, MAX_IDS, USERS
from entra_access.domain.faults import Changed, Denied, Fault, Missing, Rejected, Throttled, Unavailable
from entra_sandbox import seed
from support.sandbox import RunningSandbox

ALICE, BOB, LEAD = (seed.USER_IDS[name] for name in (seed.ALICE, seed.BOB, seed.LEAD))


def groups(sandbox: RunningSandbox, number: int) -> list[str]:
    """Make groups by another hand."""
    return [str(sandbox.client.add_group(f"group-{index}")["id"]) for index in range(number)]


async def test_whatever_changes_in_a_group_is_told(graph: Graph, sandbox: RunningSandbox) -> None:
    """Of those that were asked for, and each change once."""
    one, other, third, stranger = groups(sandbox, 4)
    answer = await graph.delta.begin_groups([one, other, third])
    assert answer.ids == {one, other, third}
    client = sandbox.client
    changes: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: client.add_member(one, ALICE), one),
        (lambda: client.remove_member(one, ALICE), one),
        (lambda: client.change_group(other, addOwners=[LEAD]), other),
        (lambda: client.change_group(other, removeOwners=[LEAD]), other),
        (lambda: client.change_group(one, displayName="renamed"), one),
        (lambda: client.change_group(one, description="described"), one),
        (lambda: client.delete_group(one), one),
        (lambda: client.restore_group(one), one),
        (lambda: client.purge_group(other), other),
    )
    for change, told in changes:
        client.add_member(stranger, BOB)
        client.remove_member(stranger, BOB)
        change()
        answer = await graph.delta.follow(GROUPS, answer.link)
        assert answer.ids == {told}
        answer = await graph.delta.follow(GROUPS, answer.link)
        assert answer.ids == frozenset()


async def test_users_who_are_disabled_or_deleted_are_told(graph: Graph, sandbox: RunningSandbox) -> None:
    """Of all in the tenant, by object id, and by name those who are there."""
    answer = await graph.delta.begin_users()
    assert (answer.ids, answer.names) == (frozenset(), frozenset()), "what they were like before is not read"
    sandbox.client.disable_user(seed.ALICE)
    sandbox.client.disable_user(seed.LEAD)
    answer = await graph.delta.follow(USERS, answer.link)
    assert (answer.ids, answer.names) == (frozenset({ALICE, LEAD}), frozenset({seed.ALICE, seed.LEAD}))
    sandbox.client.delete_user(seed.BOB)
    answer = await graph.delta.follow(USERS, answer.link)
    assert (answer.ids, answer.names) == (frozenset({BOB}), frozenset())
    assert (await graph.delta.follow(USERS, answer.link)).ids == frozenset()
    assert {one["query"].split("$deltatoken=")[0] for one in sandbox.client.journal(kind="graph")} == {
        "$select=userPrincipalName,accountEnabled,userType&",
        "",
    }


async def test_fifty_are_one_question(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """And following its link is one too, however many of them changed."""
    ids = groups(sandbox, MAX_IDS)
    asked()
    answer = await graph.delta.begin_groups(ids)
    assert answer.ids == set(ids)
    for one in ids:
        sandbox.client.add_member(one, ALICE)
    assert (await graph.delta.follow(GROUPS, answer.link)).ids == set(ids)
    assert len(asked()) == 2


async def test_all_pages_are_read(graph: Graph, sandbox: RunningSandbox) -> None:
    """Of the first answer as of those that follow."""
    ids = groups(sandbox, 7)
    sandbox.client.settings(delta_page_size=2)
    answer = await graph.delta.begin_groups(ids)
    assert answer.ids == set(ids)
    for one in ids:
        sandbox.client.change_group(one, addMembers=[ALICE, BOB, LEAD])
    answer = await graph.delta.follow(GROUPS, answer.link)
    assert answer.ids == set(ids)
    assert (await graph.delta.follow(GROUPS, answer.link)).ids == frozenset()


async def test_a_link_that_is_too_old_says_so(graph: Graph, sandbox: RunningSandbox) -> None:
    """Then everything must be read anew, which is no failure."""
    answer = await graph.delta.begin_groups(groups(sandbox, 1))
    sandbox.client.settings(delta_token_lifetime=0)
    sandbox.client.advance(1)
    with pytest.raises(Changed):
        await graph.delta.follow(GROUPS, answer.link)


async def test_a_link_that_is_no_good_is_refused(graph: Graph, sandbox: RunningSandbox) -> None:
    """For good: it is of no use to follow it again."""
    with pytest.raises((Missing, Rejected)):
        await graph.delta.follow(GROUPS, f"{sandbox.url}/v1.0/groups/delta?$deltatoken=nonsense")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"status": 503}, Unavailable),
        ({"status": 429, "retry_after": 7}, Throttled),
        ({"status": 403}, Denied),
        ({"status": 410}, Changed),
        ({"drop": True}, Unavailable),
    ],
    ids=["503", "429", "403", "410", "no answer"],
)
@pytest.mark.parametrize("page", ["first", "second", "of a link"])
async def test_what_fails_is_a_fault_on_whichever_page(
    graph: Graph, sandbox: RunningSandbox, page: str, more: dict[str, object], fault: type[Fault]
) -> None:
    """Nothing is told of half an answer."""
    ids = groups(sandbox, 3)
    sandbox.client.settings(delta_page_size=2)
    answer = await graph.delta.begin_groups(ids)
    query = {"first": "filter", "second": "skiptoken", "of a link": "deltatoken"}[page]
    sandbox.client.fault(kind="graph", path_regex="delta", query_regex=query, count=None, **more)  # type: ignore[arg-type]  # by their names
    following = page == "of a link"
    with pytest.raises(fault):
        await (graph.delta.follow(GROUPS, answer.link) if following else graph.delta.begin_groups(ids))


@pytest.mark.parametrize(("kind", "right"), [(GROUPS, "Group.ReadWrite.All"), (USERS, "User.Read.All")])
async def test_a_missing_permission_is_named(
    graph_with: Callable[..., Graph], sandbox: RunningSandbox, kind: str, right: str
) -> None:
    """Which one, and where to grant it."""
    delta = graph_with("Application.Read.All").delta
    with pytest.raises(Denied) as caught:
        await (delta.begin_users() if kind == USERS else delta.begin_groups([ALICE]))
    assert f"grant it {right} in Entra" in caught.value.message
    assert sandbox.client.journal(status=403)
