"""What goes wrong on the way to Graph and ARM, and the fault that it becomes; nothing else ever comes out."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from azure.core.credentials_async import AsyncTokenCredential
from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient

from entra_access.adapters import arm as arm_room
from entra_access.adapters import graph_http as graph_room
from entra_access.adapters.arm import Arm
from entra_access.adapters.graph import Graph
from entra_access.api.resources import Reference
from entra_access.domain.faults import (
    Denied,
    Fault,
    Missing,
    Replicating,
    SignInFailed,
    Throttled,
    Unavailable,
)
from entra_access.domain.naming import assignment_id, definition_id
from entra_access.domain.observed import Assignment, Definition
from entra_sandbox import seed
from support.answers import Answers, FixedCredential
from support.azure import AKS_READER
from support.sandbox import RunningSandbox

GUID = "12345678-1234-4234-8234-123456789012"
SCOPE = seed.CLUSTER_ID
GROUP_SCOPE = seed.RESOURCE_GROUP
BODY = "A fault was asked for."
GRAPH_CALLS: dict[str, Callable[[Graph], Awaitable[object]]] = {
    "group_by_unique_name": lambda g: g.group_by_unique_name("x"),
    "group": lambda g: g.group(GUID),
    "groups_named": lambda g: g.groups_named("x"),
    "deleted_groups": lambda g: g.deleted_groups(),
    "create_group": lambda g: g.create_group("x", "x", "x", None),
    "restore_group": lambda g: g.restore_group(GUID),
    "update_group": lambda g: g.update_group(GUID, {"displayName": "x"}),
    "delete_group": lambda g: g.delete_group(GUID),
    "members": lambda g: g.principals(GUID, "members"),
    "owners": lambda g: g.principals(GUID, "owners"),
    "add members": lambda g: g.add(GUID, "members", [GUID]),
    "add owners": lambda g: g.add(GUID, "owners", [GUID]),
    "remove members": lambda g: g.remove(GUID, "members", GUID),
    "remove owners": lambda g: g.remove(GUID, "owners", GUID),
    "user": lambda g: g.principal(Reference("user", "a@contoso.com")),
    "$user": lambda g: g.principal(Reference("user", "$a@contoso.com")),
    "group member": lambda g: g.principal(Reference("group", GUID)),
    "application": lambda g: g.principal(Reference("servicePrincipal", GUID, "appId")),
    "service principal": lambda g: g.principal(Reference("servicePrincipal", GUID, "objectId")),
    "either of the two": lambda g: g.principal(Reference("servicePrincipal", GUID)),
    "is_direct_member": lambda g: g.is_direct_member(GUID, GUID),
    "groups_of": lambda g: g.groups_of(GUID),
}
ARM_CALLS: dict[str, Callable[[Arm], Awaitable[object]]] = {
    "assignments": lambda a: a.assignments(SCOPE, below=False),
    "assignments below": lambda a: a.assignments(SCOPE, below=True),
    "assignment": lambda a: a.assignment(SCOPE, GUID),
    "role by name": lambda a: a.role_id("Reader", SCOPE),
    "role by id": lambda a: a.role_id(GUID, SCOPE),
    "assign": lambda a: a.assign(Assignment(GUID, SCOPE, GUID, AKS_READER, "x"), "Group"),
    "unassign": lambda a: a.unassign(assignment_id(SCOPE, GUID)),
    "definition": lambda a: a.definition(GROUP_SCOPE, GUID),
    "define": lambda a: a.define(GROUP_SCOPE, Definition(GUID, "x", "", (GROUP_SCOPE,))),
    "undefine": lambda a: a.undefine(definition_id(GROUP_SCOPE, GUID)),
    "cluster_facts": lambda a: a.cluster_facts(SCOPE),
}
GRAPH_READS = [
    "deleted_groups",
    "group",
    "$user",
    "group member",
    "application",
    "is_direct_member",
    "groups_of",
]
ARM_READS = ["assignments below", "assignment", "role by name", "definition", "cluster_facts"]
BROKEN: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503},
    "504": {"status": 504},
    "dropped": {"drop": True},
    "answer lost": {"drop": True, "after": True},
}


async def fault_of(call: Awaitable[object]) -> Fault:
    """The fault that a call ends with; it shows nothing that was sent or received."""
    with pytest.raises(Fault) as caught:
        await call
    for secret in (BODY, "<html", FixedCredential.TOKEN, "eyJ", seed.OPERATOR_SECRET, "Bearer"):
        assert secret not in f"{caught.value!r} {caught.value}"
    return caught.value


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("call", GRAPH_CALLS)
async def test_graph_is_unavailable(graph: Graph, sandbox: RunningSandbox, call: str, broken: str) -> None:
    """Whatever call it hits: a server error or a lost connection, and one request, not retried."""
    sandbox.client.fault(kind="graph", count=None, **BROKEN[broken])

    assert type(await fault_of(GRAPH_CALLS[call](graph))) is Unavailable
    assert len(sandbox.client.journal(kind="graph")) == 1


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("call", ARM_CALLS)
async def test_arm_is_unavailable(arm: Arm, sandbox: RunningSandbox, call: str, broken: str) -> None:
    """Likewise for Azure Resource Manager; but aiohttp asks once more when a kept connection breaks.

    It does so for methods only that HTTP calls idempotent, and the operator uses no others there.
    """
    sandbox.client.fault(kind="arm", count=None, **BROKEN[broken])

    assert type(await fault_of(ARM_CALLS[call](arm))) is Unavailable
    assert len(sandbox.client.journal(kind="arm")) <= (2 if "drop" in BROKEN[broken] else 1)


async def test_a_server_that_asks_for_patience_is_given_it(
    graph: Graph, arm: Arm, sandbox: RunningSandbox
) -> None:
    """A 503 may carry a Retry-After too."""
    sandbox.client.fault(status=503, retry_after=7, count=None, path_regex="/groups|/roleAssignments")

    assert (await fault_of(graph.group(GUID))).retry_after == 7
    assert (await fault_of(arm.assignments(SCOPE, below=True))).retry_after == 7


@pytest.mark.parametrize("call", GRAPH_CALLS)
async def test_graph_throttles_any_call(graph: Graph, sandbox: RunningSandbox, call: str) -> None:
    """The wait that Graph asks for comes out, and is kept by all calls."""
    sandbox.client.fault(kind="graph", status=429, retry_after=17)

    fault = await fault_of(GRAPH_CALLS[call](graph))
    second = await fault_of(graph.deleted_groups())

    assert (type(fault), fault.retry_after) == (Throttled, 17)
    assert type(second) is Throttled
    assert 16 < (second.retry_after or 0) <= 17
    assert len(sandbox.client.journal(kind="graph")) == 1


@pytest.mark.parametrize("call", ARM_CALLS)
async def test_arm_throttles_any_call(arm: Arm, sandbox: RunningSandbox, call: str) -> None:
    """Likewise for Azure Resource Manager."""
    sandbox.client.fault(kind="arm", status=429, retry_after=17)

    fault = await fault_of(ARM_CALLS[call](arm))
    second = await fault_of(arm.assignments(SCOPE, below=True))

    assert (type(fault), fault.retry_after) == (Throttled, 17)
    assert type(second) is Throttled
    assert len(sandbox.client.journal(kind="arm")) == 1


async def test_the_gate_opens_when_the_time_is_over(graph: Graph, arm: Arm, sandbox: RunningSandbox) -> None:
    """Closed for every call of that service meanwhile, and not for those of the other."""
    sandbox.client.fault(kind="graph", status=429, retry_after=1)
    await fault_of(graph.group(GUID))
    closed_at = time.monotonic()

    await arm.assignments(SCOPE, below=True)
    results = await asyncio.gather(*(call(graph) for call in GRAPH_CALLS.values()), return_exceptions=True)
    assert {type(result) for result in results} == {Throttled}

    with pytest.raises(Throttled) as shut:
        await graph.group(GUID)
    await asyncio.sleep(shut.value.retry_after or 0)  # as the queue does
    assert await graph.group(GUID) is None
    assert 1 <= time.monotonic() - closed_at < 3


async def test_calls_that_queue_for_a_slot_are_held_back_too(
    sandbox: RunningSandbox, credential: AsyncTokenCredential
) -> None:
    """With one slot and many calls, the first 429 is the only one that the service sees."""
    graph = Graph(credential, sandbox.url, sandbox.ca, limit=1)
    sandbox.client.fault(kind="graph", status=429, retry_after=30, count=None)
    try:
        results = await asyncio.gather(*(graph.group(GUID) for _ in range(20)), return_exceptions=True)
    finally:
        await graph.close()

    assert {type(result) for result in results} == {Throttled}
    assert len(sandbox.client.journal(kind="graph")) == 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("120", 120, 120),
        ("0.5", 0.5, 0.5),
        ("date", 55, 60),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("99999999", 3600, 3600),
        ("soon", 10, 10),
        ("-5", 0, 0),
        ("nan", 0, 3600),
        ("", 10, 10),
    ],
)
async def test_retry_after_in_every_form(answers: Answers, header: str, least: float, most: float) -> None:
    """Seconds or a date, past or far away or nonsense: always a number of seconds that can be waited for."""
    if header == "date":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    answers.says("429 Too Many Requests", Retry_After=header)
    graph = Graph(FixedCredential(), answers.url, answers.ca)
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        faults = [await fault_of(graph.group(GUID)), await fault_of(arm.assignments(SCOPE, below=True))]
    finally:
        await graph.close()
        await arm.close()

    assert {type(fault) for fault in faults} == {Throttled}
    assert all(least <= (f.retry_after if f.retry_after is not None else -1) <= most for f in faults)


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        ("502 Bad Gateway", b"<html><body>Bad Gateway</body></html>", "text/html"),
        ("503 Service Unavailable", b"<html>", "text/html; charset=utf-8"),
        ("500 Internal Server Error", b"", "text/plain"),
        ("500 Internal Server Error", b"{}", "application/json"),
        ("500 Internal Server Error", b"[1, 2]", "application/json"),
        ("500 Internal Server Error", b'{"error": "oops"}', "application/json"),
        ("504 Gateway Timeout", b"not json", "application/json"),
        ("504 Gateway Timeout", b"\xff\xfe\x00", "application/json"),
        ("200 OK", b"<html><body>Sign in to the hotel's network</body></html>", "text/html"),
        ("200 OK", b"not json", "application/json"),
        ("200 OK", b"\xff\xfe\x00", "application/json"),
        ("200 OK", b"[]", "application/json"),
        ("200 OK", b"{}", "application/json"),
        ("200 OK", b"", "application/json"),
        ("302 Found", b"<html>", "text/html"),
    ],
)
@pytest.mark.parametrize("service", ["graph", "arm"])
async def test_an_answer_that_is_not_the_services_own_is_unavailable(
    answers: Answers, service: str, status: str, body: bytes, content_type: str
) -> None:
    """What a proxy or a broken gateway says, in any form, is never taken for "there is nothing"."""
    answers.says(status, body, Content_Type=content_type)
    if service == "graph":
        graph = Graph(FixedCredential(), answers.url, answers.ca)
        calls = [GRAPH_CALLS[name](graph) for name in GRAPH_READS]
        close = graph.close
    else:
        arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
        calls = [ARM_CALLS[name](arm) for name in ARM_READS]
        close = arm.close
    try:
        found = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await close()

    assert {type(one) for one in found} == {Unavailable}


@pytest.mark.parametrize("call", GRAPH_CALLS)
async def test_graph_refuses_the_token(graph: Graph, sandbox: RunningSandbox, call: str) -> None:
    """A 401 is a matter of signing in, and passes, perhaps, with the next token."""
    sandbox.client.fault(kind="graph", status=401, code="InvalidAuthenticationToken", count=None)
    assert type(await fault_of(GRAPH_CALLS[call](graph))) is SignInFailed


@pytest.mark.parametrize("call", ARM_CALLS)
async def test_arm_refuses_the_token(arm: Arm, sandbox: RunningSandbox, call: str) -> None:
    """Likewise for Azure Resource Manager."""
    sandbox.client.fault(kind="arm", status=401, code="InvalidAuthenticationToken", count=None)
    assert type(await fault_of(ARM_CALLS[call](arm))) is SignInFailed


@pytest.mark.parametrize(
    "call", ["create_group", "update_group", "delete_group", "restore_group", "deleted_groups", "add owners"]
)
async def test_an_application_without_permission_is_denied(
    sandbox: RunningSandbox, least: AsyncTokenCredential, call: str
) -> None:
    """The message says what to grant. Real permissions, of an application that may do little."""
    group = sandbox.client.add_group("x", id=GUID)
    if call == "restore_group":
        sandbox.client.delete_group(group["id"])
    graph = Graph(least, sandbox.url, sandbox.ca)
    try:
        fault = await fault_of(GRAPH_CALLS[call](graph))
    finally:
        await graph.close()

    assert type(fault) is Denied
    assert "Group.ReadWrite.All" in fault.message


@pytest.mark.parametrize("call", ARM_CALLS)
async def test_an_application_without_role_is_denied(
    sandbox: RunningSandbox, least: AsyncTokenCredential, call: str
) -> None:
    """The message names the Azure role to give, or the right of custom roles."""
    sandbox.client.add_group("x", id=GUID)
    arm = Arm(least, sandbox.url, seed.SUBSCRIPTION_ID, sandbox.ca)
    try:
        fault = await fault_of(ARM_CALLS[call](arm))
    finally:
        await arm.close()

    assert type(fault) is Denied
    custom = dict.fromkeys(("definition", "define", "undefine"), "roleDefinitions/write")
    rights = {**custom, "cluster_facts": "the role Reader"}
    assert rights.get(call, "Role Based Access Control Administrator") in fault.message


async def test_a_404_means_what_was_known_before(graph: Graph, arm: Arm, sandbox: RunningSandbox) -> None:
    """Of a group that was seen: not everywhere yet. Of a list: something is wrong. Never: nothing there."""
    sandbox.client.fault(kind="graph", status=404, code="Request_ResourceNotFound", count=None)
    sandbox.client.fault(kind="arm", status=404, code="ResourceNotFound", count=None)

    assert type(await fault_of(graph.principals(GUID, "members"))) is Replicating
    assert type(await fault_of(graph.delete_group(GUID))) is Replicating
    assert type(await fault_of(graph.groups_named("x"))) is Unavailable
    assert type(await fault_of(graph.deleted_groups())) is Unavailable
    assert type(await fault_of(arm.assignments(SCOPE, below=True))) is Missing
    assert type(await fault_of(ARM_CALLS["assign"](arm))) is Missing


async def test_a_service_that_does_not_answer_is_given_up(
    sandbox: RunningSandbox, credential: AsyncTokenCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call has a time-out. Here it is a short one, in the place of the operator's own."""
    real = AuthorizationManagementClient

    def hasty(*arguments: Any, **options: Any) -> Any:
        assert options["read_timeout"] <= 30
        return real(*arguments, **{**options, "read_timeout": 0.3})

    assert graph_room.TIMEOUT.read is not None
    assert graph_room.TIMEOUT.read <= 30
    monkeypatch.setattr(graph_room, "TIMEOUT", httpx.Timeout(0.3))
    monkeypatch.setattr(arm_room, "AuthorizationManagementClient", hasty)
    graph = Graph(credential, sandbox.url, sandbox.ca)
    arm = Arm(credential, sandbox.url, seed.SUBSCRIPTION_ID, sandbox.ca)
    sandbox.client.fault(kind="graph", delay_seconds=3, count=None)
    sandbox.client.fault(kind="arm", delay_seconds=3, count=None)
    began = time.monotonic()
    try:
        faults = await asyncio.gather(
            fault_of(graph.group(GUID)), fault_of(arm.assignments(SCOPE, below=True))
        )
    finally:
        await graph.close()
        await arm.close()

    assert [type(fault) for fault in faults] == [Unavailable, Unavailable]
    assert time.monotonic() - began < 2.5


async def test_a_service_that_is_not_there_is_unavailable(
    sandbox: RunningSandbox, unused_tcp_port: int
) -> None:
    """Nobody listens, the name is unknown, the certificate is of another authority."""
    nowhere = f"https://127.0.0.1:{unused_tcp_port}"
    for url, ca in (
        (nowhere, sandbox.ca),
        ("https://graph.invalid", sandbox.ca),
        (sandbox.url, None),
    ):
        graph = Graph(FixedCredential(), url, ca)
        arm = Arm(FixedCredential(), url, seed.SUBSCRIPTION_ID, ca)
        try:
            assert type(await fault_of(graph.group(GUID))) is Unavailable
            assert type(await fault_of(arm.assignments(SCOPE, below=True))) is Unavailable
        finally:
            await graph.close()
            await arm.close()
