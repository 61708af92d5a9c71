"""Who is in a group and in how many groups somebody is, service principals above all."""

from collections.abc import Callable

import httpx
import pytest

from entra_access.adapters.graph import Graph
from entra_access.api.resources import Reference
from entra_access.domain.faults import Denied, Fault, Rejected, Throttled, Unavailable
from entra_access.domain.observed import Principal
from entra_sandbox import seed
from support.answers import Answers, FixedCredential
from support.sandbox import RunningSandbox

APP = seed.PIPELINE_OBJECT_ID
ALICE_ID = seed.USER_IDS[seed.ALICE]
NOBODY = "99999999-9999-4999-8999-999999999999"
LAST = "ffffffff-ffff-4fff-8fff-ffffffffffff"
"""Sorts behind every other id, so it is on the last page."""
MEMBER_OF = f"GET /servicePrincipals/{APP}/memberOf"
COUNT = f"/servicePrincipals/{APP}/transitiveMemberOf/graph.group/$count"
PAGE = 999


def in_groups(sandbox: RunningSandbox, number: int) -> None:
    """Put the pipeline's application into that many new groups."""
    for index in range(number):
        sandbox.client.add_group(f"g{index}", members=[APP])


async def test_a_direct_member_is_one_and_a_nested_one_is_not(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """By way of another group does not count; one request answers it."""
    inner = sandbox.client.add_group("inner", members=[APP])["id"]
    outer = sandbox.client.add_group("outer", members=[inner])["id"]
    other = sandbox.client.add_group("other")["id"]
    sandbox.client.clear_journal()

    assert await graph.is_direct_member(inner, APP) is True
    assert await graph.is_direct_member(outer, APP) is False
    assert await graph.is_direct_member(other, APP) is False
    assert asked() == [f"{MEMBER_OF} 200"] * 3

    sandbox.client.remove_member(inner, APP)
    assert await graph.is_direct_member(inner, APP) is False


async def test_a_direct_member_is_found_on_the_last_page(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """The list is followed to its end and no further than needed."""
    in_groups(sandbox, PAGE)
    sandbox.client.add_group("last", id=LAST, members=[APP])
    first = min(one["id"] for one in sandbox.client.state()["groups"])
    sandbox.client.clear_journal()

    assert await graph.is_direct_member(LAST, APP) is True
    assert asked() == [f"{MEMBER_OF} 200"] * 2
    assert await graph.is_direct_member(first, APP) is True
    assert asked() == [f"{MEMBER_OF} 200"]
    assert await graph.is_direct_member(NOBODY, APP) is False
    assert await graph.groups_of(APP) == PAGE + 1


async def test_a_list_that_breaks_off_proves_nothing(graph: Graph, sandbox: RunningSandbox) -> None:
    """What the missing second page would say is not "not a member"."""
    in_groups(sandbox, PAGE + 1)
    sandbox.client.fault(kind="graph", path_regex="memberOf", delay_seconds=0.01)
    sandbox.client.fault(kind="graph", path_regex="memberOf", status=503)

    with pytest.raises(Unavailable):
        await graph.is_direct_member(NOBODY, APP)


async def test_the_memberships_of_who_is_gone_are_not_none(graph: Graph, sandbox: RunningSandbox) -> None:
    """The service principal was there a moment ago: that it cannot be found says nothing of its groups."""
    for call in (graph.is_direct_member(NOBODY, NOBODY), graph.groups_of(NOBODY)):
        with pytest.raises(Fault) as caught:
            await call
        assert not caught.value.permanent


@pytest.mark.parametrize("groups", [0, 1, 201])
async def test_groups_are_counted_in_one_request(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]], groups: int
) -> None:
    """As a bare number, however many there are."""
    in_groups(sandbox, groups)
    sandbox.client.clear_journal()

    assert await graph.groups_of(APP) == groups
    assert asked() == [f"GET {COUNT} 200"]


async def test_nested_groups_count_too_and_each_once(graph: Graph, sandbox: RunningSandbox) -> None:
    """A token names all groups, also those by way of others; two ways to one group are one group."""
    inner = [sandbox.client.add_group(f"inner{index}", members=[APP])["id"] for index in range(2)]
    outer = sandbox.client.add_group("outer", members=inner)["id"]
    sandbox.client.add_group("outermost", members=[outer])
    sandbox.client.add_group("not in it", members=[ALICE_ID])

    assert await graph.groups_of(APP) == 4


async def test_the_count_is_asked_for_as_graph_wants_it(graph: Graph, sandbox: RunningSandbox) -> None:
    """Text, because Graph refuses to give a bare number as JSON, and by the index that can count."""
    sent: list[httpx.Request] = []

    async def keep(request: httpx.Request) -> None:
        sent.append(request)

    graph._http._http.event_hooks = {"request": [keep], "response": []}
    await graph.groups_of(APP)

    (request,) = sent
    assert request.headers["accept"] == "text/plain"
    assert request.headers["consistencylevel"] == "eventual"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"12 groups", b'"12"', b"1.5", b"{}", b"[3]", b"null", b"\xff\xfe\x00"]
)
async def test_what_is_no_number_is_no_count(answers: Answers, body: bytes) -> None:
    """What a proxy says is neither none nor many."""
    answers.says("200 OK", body, Content_Type="text/plain")
    graph = Graph(FixedCredential(), answers.url, answers.ca)
    try:
        with pytest.raises(Unavailable, match="no usable answer when asked to count the groups"):
            await graph.groups_of(APP)
    finally:
        await graph.close()


@pytest.mark.parametrize("body", [b"12", b"\xef\xbb\xbf12", b"12\r\n"])
async def test_a_number_is_one_also_with_what_text_may_have_around_it(answers: Answers, body: bytes) -> None:
    """A byte order mark or a line's end."""
    answers.says("200 OK", body, Content_Type="text/plain")
    graph = Graph(FixedCredential(), answers.url, answers.ca)
    try:
        assert await graph.groups_of(APP) == 12
    finally:
        await graph.close()


async def test_without_permission_memberships_are_denied_by_name(
    graph_with: Callable[..., Graph], asked: Callable[[], list[str]]
) -> None:
    """And with that permission alone both can be read."""
    poor = graph_with("Group.ReadWrite.All", "User.Read.All")
    with pytest.raises(Denied, match=r"grant it Application\.Read\.All in Entra"):
        await poor.groups_of(APP)
    with pytest.raises(Denied, match=r"grant it Application\.Read\.All in Entra"):
        await poor.is_direct_member(NOBODY, APP)
    assert [line[-3:] for line in asked()] == ["403", "403"]

    better = graph_with("Application.Read.All")
    assert await better.groups_of(APP) == 0
    assert await better.is_direct_member(NOBODY, APP) is False


async def test_members_of_every_kind_are_listed_with_their_names(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """A user's name, an application's id; a guest is told by the name."""
    nested = sandbox.client.add_group("nested")["id"]
    members = [ALICE_ID, seed.GUEST, APP, nested]
    group = sandbox.client.add_group("team", members=members, owners=[seed.LEAD])["id"]
    sandbox.client.clear_journal()

    found = await graph.principals(group, "members")

    assert {(one.kind, one.id, one.name, one.guest) for one in found} == {
        ("user", ALICE_ID, seed.ALICE, False),
        ("user", seed.USER_IDS[seed.GUEST], seed.GUEST, True),
        ("servicePrincipal", APP, seed.PIPELINE_CLIENT_ID, False),
        ("group", nested, "", False),
    }
    assert asked() == [f"GET /groups/{group}/members 200"]


async def test_service_principals_that_the_list_leaves_out_are_members_all_the_same(
    graph: Graph, sandbox: RunningSandbox
) -> None:
    """The known issue of Graph's v1.0: only the other side's list tells."""
    group = sandbox.client.add_group("team", members=[ALICE_ID, APP])["id"]
    seen = {one.id for one in await graph.principals(group, "members")}
    assert seen == {ALICE_ID, APP}

    sandbox.client.settings(hide_service_principals=1)

    assert {one.id for one in await graph.principals(group, "members")} == {ALICE_ID}
    assert await graph.is_direct_member(group, APP) is True
    await graph.remove(group, "members", APP)
    assert await graph.is_direct_member(group, APP) is False
    await graph.add(group, "members", [APP])
    assert await graph.is_direct_member(group, APP) is True


async def test_members_whose_kind_may_not_be_read_have_an_id_and_a_kind(
    graph_with: Callable[..., Graph], sandbox: RunningSandbox
) -> None:
    """Graph then shows nothing else of them; the operator still knows who is in."""
    group = sandbox.client.add_group("team", members=[ALICE_ID, seed.GUEST, APP])["id"]

    found = await graph_with("GroupMember.Read.All").principals(group, "members")

    assert set(found) == {
        Principal(ALICE_ID, "user"),
        Principal(seed.USER_IDS[seed.GUEST], "user"),
        Principal(APP, "servicePrincipal"),
    }


@pytest.mark.parametrize("ids", [[APP], [ALICE_ID, APP]], ids=["alone", "beside a user"])
async def test_a_service_principal_is_no_member_without_the_permission_for_it(
    graph_with: Callable[..., Graph], sandbox: RunningSandbox, asked: Callable[[], list[str]], ids: list[str]
) -> None:
    """Group.ReadWrite.All is not enough: the message names the other one, and nobody was added."""
    group = sandbox.client.add_group("team")["id"]
    poor = graph_with("Group.ReadWrite.All", "User.Read.All", "Application.Read.All")

    with pytest.raises(Denied, match=r"Application\.ReadWrite\.All"):
        await poor.add(group, "members", ids)

    assert asked() == [f"PATCH /groups/{group} 403"]
    found = sandbox.client.group(group)
    assert found is not None
    assert found["members"] == []
    await poor.add(group, "members", [ALICE_ID])
    better = graph_with("Group.ReadWrite.All", "Application.ReadWrite.All")
    await better.add(group, "members", [APP])


async def test_a_service_principal_stays_a_member_without_the_permission_for_it(
    graph_with: Callable[..., Graph], sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """Taking one out needs the same permission as adding one, and the message names it too."""
    group = sandbox.client.add_group("team", members=[ALICE_ID, APP])["id"]
    poor = graph_with("Group.ReadWrite.All", "User.Read.All", "Application.Read.All")

    await poor.remove(group, "members", ALICE_ID)
    with pytest.raises(Denied, match=r"Application\.ReadWrite\.All"):
        await poor.remove(group, "members", APP)

    assert [line[-3:] for line in asked()] == ["204", "403"]
    assert await poor.is_direct_member(group, APP) is True


async def test_a_service_principal_can_be_an_owner(graph: Graph, sandbox: RunningSandbox) -> None:
    """Like a user; a group cannot, and that is for good."""
    nested = sandbox.client.add_group("nested")["id"]
    group = sandbox.client.add_group("team")["id"]

    await graph.add(group, "owners", [APP])
    with pytest.raises(Rejected, match="add owners to the group"):
        await graph.add(group, "owners", [nested])

    owners = await graph.principals(group, "owners")
    assert [(one.kind, one.id) for one in owners] == [("servicePrincipal", APP)]


async def test_who_cannot_be_a_member_keeps_nobody_else_out(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """Twenty go in by one call that takes all or none, so those with an unfit one are tried one by one."""
    mail = sandbox.client.add_group("mail", securityEnabled=False, mailEnabled=True)["id"]
    team = sandbox.client.add_group("365", groupTypes=["Unified"], mailEnabled=True)["id"]
    users = [sandbox.client.add_user(f"u{number}@contoso.com")["id"] for number in range(43)]
    group = sandbox.client.add_group("team")["id"]
    sandbox.client.clear_journal()

    with pytest.raises(Rejected) as caught:
        await graph.add(group, "members", [users[0], mail, *users[1:42], team, users[42]])

    assert caught.value.message.startswith(
        f"Microsoft Graph will not add members to the group: {mail}, {team};"
    )
    assert {one.id for one in await graph.principals(group, "members")} == set(users)
    statuses = [line[-3:] for line in asked() if line.startswith("PATCH")]
    one_by_one = ["204"] + ["400"] + ["204"] * 18
    assert statuses == ["400", *one_by_one, "204", "400", "204", "204", "204", "400", "204"]


async def test_a_crowd_of_unfit_members_is_not_all_named(graph: Graph, sandbox: RunningSandbox) -> None:
    """A condition is for people to read."""
    ids = [sandbox.client.add_group(f"mail{n}", securityEnabled=False)["id"] for n in range(13)]
    group = sandbox.client.add_group("team")["id"]

    with pytest.raises(Rejected) as caught:
        await graph.add(group, "members", ids)

    assert f"{', '.join(ids[:10])} and 3 more;" in caught.value.message
    assert ids[10] not in caught.value.message


async def test_what_passes_by_itself_ends_the_adding_one_by_one(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """A service that is down is not asked for each of twenty members."""
    mail = sandbox.client.add_group("mail", securityEnabled=False)["id"]
    group = sandbox.client.add_group("team")["id"]
    sandbox.client.fault(kind="graph", method="PATCH", delay_seconds=0.01)
    sandbox.client.fault(kind="graph", method="PATCH", status=503)
    sandbox.client.clear_journal()

    with pytest.raises(Unavailable):
        await graph.add(group, "members", [mail, ALICE_ID])

    assert [line[-3:] for line in asked()] == ["400", "503"]


async def test_who_cannot_be_an_owner_keeps_nobody_else_out(graph: Graph, sandbox: RunningSandbox) -> None:
    """Owners go in one by one."""
    nested = sandbox.client.add_group("nested")["id"]
    group = sandbox.client.add_group("team")["id"]

    with pytest.raises(Rejected, match=f"add owners to the group: {nested};"):
        await graph.add(group, "owners", [nested, ALICE_ID])

    assert [one.id for one in await graph.principals(group, "owners")] == [ALICE_ID]


async def test_a_pause_asked_for_in_a_count_holds_back_every_other_call(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """It is one service with one limit."""
    sandbox.client.fault(kind="graph", path_regex="count", status=429, retry_after=30)

    for call in (graph.groups_of(APP), graph.principal(Reference("user", seed.ALICE))):
        with pytest.raises(Throttled) as caught:
            await call
        assert 29 < (caught.value.retry_after or 0) <= 30
    assert asked() == [f"GET {COUNT} 429"]
