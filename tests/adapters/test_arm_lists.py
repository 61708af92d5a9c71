"""Role assignments as Azure lists them: where, over how many pages, and what a list that fails means."""

import json
from collections.abc import Callable

import pytest

from entra_access.adapters.arm import Arm
from entra_access.domain.faults import Denied, Missing, Throttled, Unavailable
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Assignment
from entra_sandbox import seed
from support.answers import Answers, FixedCredential
from support.azure import AKS_READER, AKS_WRITER, AUTHORIZATION
from support.sandbox import RunningSandbox

SCOPE = seed.CLUSTER_ID
DEV, SRE = f"{SCOPE}/namespaces/dev", f"{SCOPE}/namespaces/sre"
ABOVE = (seed.ROOT_MANAGEMENT_GROUP, seed.SUBSCRIPTION, seed.RESOURCE_GROUP)
BESIDE = (
    seed.OTHER_RESOURCE_GROUP,
    seed.ARC_CLUSTER_ID,
    f"{SCOPE}2",
    f"{SCOPE}2/namespaces/dev",
    f"{seed.OTHER_RESOURCE_GROUP}/providers/Microsoft.ContainerService/managedClusters/aks-demo",
)
ALICE = seed.USER_IDS[seed.ALICE]
NAME = "12345678-1234-4234-8234-123456789012"


def listing(scope: str) -> str:
    """The path of a list at the scope."""
    return f"{scope}/{AUTHORIZATION}/roleAssignments"


def everywhere(sandbox: RunningSandbox, *scopes: str) -> None:
    """Give Alice a role at each scope, and begin a new journal."""
    for scope in scopes:
        sandbox.client.assign(seed.ALICE, AKS_READER, scope)
    sandbox.client.clear_journal()


async def scopes_of(arm: Arm, scope: str, *, below: bool, principal: str = ALICE) -> list[str]:
    """Where that one has roles, as a list at the scope says."""
    found = await arm.assignments(scope, below=below)
    return sorted(one.scope for one in found if one.principal_id == principal)


@pytest.fixture
def far(sandbox: RunningSandbox) -> str:
    """Another resource group, where the operator may assign roles too. Returns its scope."""
    sandbox.client.assign(seed.OPERATOR_OBJECT_ID, seed.RBAC_ADMINISTRATOR, seed.OTHER_RESOURCE_GROUP)
    return seed.OTHER_RESOURCE_GROUP


async def test_one_list_at_the_cluster_shows_what_is_above_at_and_below(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """With the namespaces, and without what is beside it; one request without a filter."""
    everywhere(sandbox, *ABOVE, SCOPE, DEV, SRE, *BESIDE)

    assert await scopes_of(arm, SCOPE, below=True) == sorted([*ABOVE, SCOPE, DEV, SRE])

    (entry,) = sandbox.client.journal(kind="arm")
    assert entry["query"] == "api-version=2022-04-01"
    assert asked() == [f"GET {listing(SCOPE)} 200"]


async def test_elsewhere_what_is_below_is_left_out(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]], far: str
) -> None:
    """One request with atScope(): a resource group can have thousands of assignments in it."""
    everywhere(sandbox, *ABOVE, SCOPE, DEV, *BESIDE)

    found = await scopes_of(arm, far, below=False)

    assert found == sorted([seed.ROOT_MANAGEMENT_GROUP, seed.SUBSCRIPTION, far])
    (entry,) = sandbox.client.journal(kind="arm")
    assert "$filter=atScope()" in entry["query"]
    assert asked() == [f"GET {listing(far)} 200"]


async def test_a_list_at_a_namespace_shows_what_is_above_it(arm: Arm, sandbox: RunningSandbox) -> None:
    """Its cluster's, and not that of the namespace beside it."""
    everywhere(sandbox, SCOPE, DEV, SRE)
    assert await scopes_of(arm, DEV, below=False) == sorted([SCOPE, DEV])


@pytest.mark.parametrize("below", [True, False])
async def test_a_scope_is_the_same_in_any_case(arm: Arm, sandbox: RunningSandbox, *, below: bool) -> None:
    """Scopes come back as they were written when they were assigned."""
    shouted = SCOPE.upper().replace("/SUBSCRIPTIONS", "/subscriptions")
    everywhere(sandbox, shouted, seed.RESOURCE_GROUP.lower())

    expected = sorted([shouted, seed.RESOURCE_GROUP.lower()])
    assert await scopes_of(arm, SCOPE, below=below) == expected
    assert await scopes_of(arm, shouted, below=below) == expected


@pytest.mark.parametrize("below", [True, False])
async def test_lists_are_read_over_all_pages(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]], *, below: bool
) -> None:
    """Ten assignments in pages of four are three requests, and nothing comes twice."""
    groups = {str(sandbox.client.add_group(f"g{number}")["id"]) for number in range(8)}
    for group in groups:
        sandbox.client.assign(group, AKS_READER, SCOPE)
    sandbox.client.settings(arm_page_size=4)
    sandbox.client.clear_journal()

    found = await arm.assignments(SCOPE, below=below)

    operators = [seed.OPERATOR_OBJECT_ID] * 2
    assert sorted(one.principal_id for one in found) == sorted([*groups, *operators])
    filters = {entry["query"].count("atScope()") for entry in sandbox.client.journal(kind="arm")}
    assert filters == ({0} if below else {1})
    assert asked() == [f"GET {listing(SCOPE)} 200"] * 3


@pytest.mark.parametrize(
    ("trouble", "fault"),
    [
        ({"status": 503}, Unavailable),
        ({"status": 429, "retry_after": 9}, Throttled),
        ({"status": 403, "code": "AuthorizationFailed"}, Denied),
        ({"status": 404, "code": "ResourceNotFound"}, Missing),
    ],
    ids=["503", "429", "403", "404"],
)
async def test_a_list_that_breaks_off_is_no_list(
    arm: Arm, sandbox: RunningSandbox, trouble: dict[str, object], fault: type[Exception]
) -> None:
    """What the first page showed is not taken for all there is."""
    sandbox.client.settings(arm_page_size=1)
    sandbox.client.fault(kind="arm", delay_seconds=0.01)
    sandbox.client.fault(kind="arm", **trouble)  # type: ignore[arg-type]  # of these types each

    with pytest.raises(fault):
        await arm.assignments(SCOPE, below=True)
    assert len(sandbox.client.journal(kind="arm")) == 2


async def test_who_may_not_look_elsewhere_is_told_where(
    arm: Arm, asked: Callable[[], list[str]], sandbox: RunningSandbox
) -> None:
    """The scope is in the message, as it was asked for; the cluster's own list is still there."""
    for scope in (seed.SUBSCRIPTION, seed.OTHER_RESOURCE_GROUP):
        with pytest.raises(Denied) as caught:
            await arm.assignments(scope, below=False)
        assert caught.value.message.endswith(f"Administrator on {scope} or above it")
        assert asked() == [f"GET {listing(scope)} 403"]
    assert len(await arm.assignments(SCOPE, below=True)) == 2

    sandbox.client.unassign("e0000000-0000-4000-8000-000000000001")
    sandbox.client.unassign("e0000000-0000-4000-8000-000000000002")
    with pytest.raises(Denied, match=r"Administrator on the cluster or above it$"):
        await arm.assignments(SCOPE, below=True)


@pytest.mark.parametrize(
    "scope",
    [f"{seed.SUBSCRIPTION}/resourceGroups/rg-none", "/subscriptions/c9999999-0000-4000-8000-000000000009"],
)
async def test_a_scope_that_is_not_there_has_no_list(arm: Arm, sandbox: RunningSandbox, scope: str) -> None:
    """To whoever may look there: it is missing, which is something else than empty."""
    for right_at in (seed.SUBSCRIPTION, scope.partition("/resourceGroups")[0]):
        if not sandbox.client.assignments(seed.OPERATOR_OBJECT_ID, right_at):
            sandbox.client.assign(seed.OPERATOR_OBJECT_ID, seed.RBAC_ADMINISTRATOR, right_at)

    with pytest.raises(Missing):
        await arm.assignments(scope, below=False)


async def test_lists_lag_and_one_assignment_does_not(arm: Arm, sandbox: RunningSandbox) -> None:
    """That is why one that a list does not show is looked at itself."""
    sandbox.client.advance(60)
    sandbox.client.settings(stale_lists=30)
    made = sandbox.client.assign(seed.ALICE, AKS_READER, DEV)

    assert await scopes_of(arm, SCOPE, below=True) == []
    assert await arm.assignment(DEV, made["name"]) == Assignment(made["name"], DEV, ALICE, AKS_READER)


async def test_an_assignment_is_read_at_its_scope_alone(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]]
) -> None:
    """One request each; at another scope than its own, or under another name, there is none."""
    made = sandbox.client.assign(seed.ALICE, AKS_WRITER, DEV, description="by hand")
    name = made["name"]
    there = Assignment(name, DEV, ALICE, AKS_WRITER, "by hand")

    assert await arm.assignment(DEV, name) == there
    assert (
        await arm.assignment(DEV.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), name.upper()) == there
    )
    for scope in (SCOPE, SRE, seed.RESOURCE_GROUP):
        assert await arm.assignment(scope, name) is None
    assert await arm.assignment(DEV, NAME) is None

    assert [line[-3:] for line in asked()] == ["200", "200", "404", "404", "404", "404"]


@pytest.mark.parametrize(
    ("scope", "found"),
    [(DEV, True), (DEV.upper(), True), (SCOPE, False), (seed.SUBSCRIPTION, False), (SRE, False)],
)
async def test_an_assignment_that_is_at_another_scope_is_not_the_one_asked_for(
    answers: Answers, scope: str, *, found: bool
) -> None:
    """Names are unique in the tenant, so a service could find it whatever scope was asked for."""
    answers.says("200 OK", json.dumps(as_azure_shows(scope=scope)).encode())
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        seen = await arm.assignment(DEV, NAME)
    finally:
        await arm.close()

    assert (seen is not None) is found
    assert [line.split("?")[0] for line in answers.requests] == [f"GET {assignment_id(DEV, NAME)}"]


async def test_what_azure_shows_oddly_is_read_all_the_same(answers: Answers) -> None:
    """Names and ids in capitals, no description, a role without a subscription, and none at all."""
    items = [
        as_azure_shows(
            role=f"/{AUTHORIZATION}/roleDefinitions/{AKS_READER.upper()}", principal=ALICE.upper()
        ),
        as_azure_shows(role="/"),
    ]
    answers.says("200 OK", json.dumps({"value": items}).encode())
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        found = await arm.assignments(SCOPE, below=True)
    finally:
        await arm.close()

    assert found == (Assignment(NAME, DEV, ALICE, AKS_READER),)


def as_azure_shows(
    scope: str = DEV, role: str = f"/{AUTHORIZATION}/roleDefinitions/{AKS_READER}", principal: str = ALICE
) -> dict[str, object]:
    """An assignment in Azure's JSON."""
    properties = {"roleDefinitionId": role, "principalId": principal, "scope": scope, "description": None}
    return {"properties": properties, "id": assignment_id(scope, NAME), "name": NAME.upper()}
