"""Conditions on role assignments: the caller who may hand out only some roles, to groups only."""

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.conditions import Attempt, BadConditionError, check, fulfilled
from support.azure import AKS_READER, AKS_WRITER, Caller, code, message
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

WRITE, DELETE = (f"Microsoft.Authorization/roleAssignments/{verb}" for verb in ("write", "delete"))
ATTRIBUTE = "Microsoft.Authorization/roleAssignments"


def _half(action: str, source: str) -> str:
    """Write one half of the condition in Microsoft's example for delegated role assignments."""
    return (
        f"((!(ActionMatches{{'{action}'}})) OR (@{source}[{ATTRIBUTE}:RoleDefinitionId] "
        f"ForAnyOfAnyValues:GuidEquals {{{AKS_READER}, {AKS_WRITER}}} "
        f"AND @{source}[{ATTRIBUTE}:PrincipalType] "
        "ForAnyOfAnyValues:StringEqualsIgnoreCase {'Group'}))"
    )


CONDITION = f"{_half(WRITE, 'Request')} AND {_half(DELETE, 'Resource')}"


@pytest.fixture
def limited(sandbox: RunningSandbox, http: httpx.Client) -> Caller:
    """An application that may hand out two roles, to groups only."""
    role = "Role Based Access Control Administrator"
    sandbox.client.assign(seed.PIPELINE_CLIENT_ID, role, seed.RESOURCE_GROUP, condition=CONDITION)
    return caller_of(sandbox, http, seed.PIPELINE_CLIENT_ID)


def test_only_what_the_condition_allows(sandbox: RunningSandbox, limited: Caller) -> None:
    group = sandbox.client.add_group("appdev")["id"]
    made = limited.assign(group, AKS_READER, seed.CLUSTER_ID, principalType="Group")
    assert made.status_code == 201
    for principal, role, kind in (
        (group, seed.RBAC_ADMINISTRATOR, "Group"),
        (seed.USER_IDS[seed.AKSDEV], AKS_READER, "User"),
    ):
        answer = limited.assign(principal, role, seed.CLUSTER_ID, principalType=kind)
        assert code(answer) == (403, "AuthorizationFailed")
        assert "does not have authorization or an ABAC condition not fulfilled to perform" in message(answer)
    assert limited.arm("DELETE", made.json()["id"]).status_code == 200


def test_a_caller_under_a_condition_must_name_the_type(sandbox: RunningSandbox, limited: Caller) -> None:
    group = sandbox.client.add_group("appdev")["id"]
    assert code(limited.assign(group, AKS_WRITER, seed.CLUSTER_ID)) == (403, "AuthorizationFailed")


def test_deletion_looks_at_what_is_there(sandbox: RunningSandbox, limited: Caller) -> None:
    made = sandbox.client.assign(seed.AKSDEV, AKS_READER, seed.CLUSTER_ID)
    assert code(limited.arm("DELETE", made["id"])) == (403, "AuthorizationFailed")


def test_conditions_are_checked_when_they_are_written(operator: Caller) -> None:
    user = seed.USER_IDS[seed.AKSDEV]
    bad = operator.assign(user, AKS_READER, seed.CLUSTER_ID, condition="nonsense", conditionVersion="2.0")
    assert code(bad) == (400, "InvalidCondition")
    good = operator.assign(user, AKS_READER, seed.CLUSTER_ID, condition=CONDITION, conditionVersion="2.0")
    assert good.json()["properties"]["condition"] == CONDITION


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (f"ActionMatches{{'{WRITE}'}}", True),
        ("ActionMatches{'Microsoft.Authorization/*'}", True),
        ("!(ActionMatches{'Microsoft.Authorization/*'})", False),
        (f"@Request[{ATTRIBUTE}:PrincipalType] StringEquals 'Group'", True),
        (f"@Request[{ATTRIBUTE}:PrincipalType] ForAnyOfAnyValues:StringNotEquals {{'Group'}}", False),
        (f"ActionMatches{{'x'}} OR @Request[{ATTRIBUTE}:PrincipalType] StringEquals 'group'", True),
        (f"ActionMatches{{'x'}} AND @Request[{ATTRIBUTE}:PrincipalType] StringEquals 'Group'", False),
    ],
)
def test_the_language(condition: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert fulfilled(condition, Attempt(WRITE, request={"principaltype": "Group"})) is expected


@pytest.mark.parametrize("condition", ["(", "ActionMatches{'x'} nonsense", "AND", "@Request[x] Near {1}", ""])
def test_what_is_no_condition(condition: str) -> None:
    with pytest.raises(BadConditionError):
        check(condition)
