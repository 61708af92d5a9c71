"""What the cluster's own ARM resource says of it, for every kind of cluster, and when it cannot be read."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.credentials_async import AsyncTokenCredential

from entra_access.adapters.arm import Arm
from entra_access.domain.faults import Denied, Fault, Missing, SignInFailed, Throttled, Unavailable
from entra_access.domain.observed import ClusterFacts
from entra_sandbox import seed
from support.answers import Answers, FixedCredential
from support.sandbox import RunningSandbox

AKS, ARC = seed.CLUSTER_ID, seed.ARC_CLUSTER_ID
APPLICATIONS = {"clientAppID": seed.PIPELINE_CLIENT_ID, "serverAppID": seed.LEAST_CLIENT_ID}
ON = ClusterFacts(entra=True, legacy=False, azure_rbac=True)
OFF = ClusterFacts(entra=True, legacy=False, azure_rbac=False)
NONE = ClusterFacts(entra=False, legacy=False, azure_rbac=False)
LEGACY = ClusterFacts(entra=True, legacy=True, azure_rbac=False)


@pytest.mark.parametrize("cluster", [AKS, ARC], ids=["AKS", "Arc"])
@pytest.mark.parametrize(
    ("profile", "facts"),
    [
        ({"managed": True, "enableAzureRBAC": True}, ON),
        ({"managed": True, "enableAzureRBAC": False}, OFF),
        ({"managed": True, "enableAzureRBAC": None}, OFF),
        ({"managed": True}, OFF),
        ({"enableAzureRBAC": True, "adminGroupObjectIDs": [], "tenantID": seed.TENANT_ID}, ON),
        ({"managed": True, **APPLICATIONS}, OFF),
        ({}, NONE),
        (None, NONE),
    ],
)
async def test_what_the_cluster_is_set_up_for(
    arm: Arm, sandbox: RunningSandbox, cluster: str, profile: dict[str, Any] | None, facts: ClusterFacts
) -> None:
    """Who signs in and whether Azure RBAC counts, by the aadProfile, as it is now."""
    sandbox.client.set_aad_profile(cluster, profile)
    assert await arm.cluster_facts(cluster) == facts


@pytest.mark.parametrize("managed", [{}, {"managed": False}, {"managed": None}])
async def test_the_legacy_integration_is_told_by_its_applications(
    arm: Arm, sandbox: RunningSandbox, managed: dict[str, Any]
) -> None:
    """On AKS, where it has not become a managed one; an Arc cluster never had it."""
    for cluster, facts in ((AKS, LEGACY), (ARC, OFF)):
        sandbox.client.set_aad_profile(cluster, {**APPLICATIONS, **managed})
        assert await arm.cluster_facts(cluster) == facts


@pytest.mark.parametrize(
    ("cluster", "version"), [(AKS, "2024-09-01"), (ARC, "2024-01-01"), (ARC.lower(), "2024-01-01")]
)
async def test_one_request_with_the_version_of_its_own_kind(
    arm: Arm, sandbox: RunningSandbox, asked: Callable[[], list[str]], cluster: str, version: str
) -> None:
    """ARM refuses one kind's version for the other; the id's case is nothing."""
    assert await arm.cluster_facts(cluster) == ON

    (entry,) = sandbox.client.journal(kind="arm")
    assert entry["query"] == f"api-version={version}"
    assert [line.replace("//", "/") for line in asked()] == [f"GET {cluster} 200"]


@pytest.mark.parametrize("cluster", [AKS, ARC], ids=["AKS", "Arc"])
async def test_who_may_not_read_the_cluster_is_denied(
    arm: Arm, sandbox: RunningSandbox, cluster: str
) -> None:
    """It may still assign roles: it is said, and it is nothing worse."""
    for name in ("e0000000-0000-4000-8000-000000000001", "e0000000-0000-4000-8000-000000000002"):
        sandbox.client.unassign(name)

    with pytest.raises(Denied, match=r"may not read the cluster's resource \(AuthorizationFailed\)"):
        await arm.cluster_facts(cluster)
    assert len(sandbox.client.journal(kind="arm")) == 1


async def test_a_cluster_that_is_not_there_is_missing(arm: Arm) -> None:
    """Which is neither "no Entra" nor "no Azure RBAC"."""
    for cluster in (f"{AKS}-gone", f"{ARC}-gone"):
        with pytest.raises(Missing, match="ResourceNotFound"):
            await arm.cluster_facts(cluster)


@pytest.mark.parametrize(
    ("fault", "becomes"),
    [
        ({"status": 401, "code": "ExpiredAuthenticationToken"}, SignInFailed),
        ({"status": 408, "code": "RequestTimeout"}, Unavailable),
        ({"status": 500}, Unavailable),
        ({"status": 502}, Unavailable),
        ({"status": 503, "retry_after": 11}, Unavailable),
        ({"status": 504}, Unavailable),
        ({"status": 429, "retry_after": 11}, Throttled),
        ({"drop": True}, Unavailable),
        ({"drop": True, "after": True}, Unavailable),
    ],
    ids=lambda one: "-".join(str(value) for value in one.values()) if isinstance(one, dict) else "",
)
async def test_trouble_on_the_way_passes(
    arm: Arm, sandbox: RunningSandbox, fault: dict[str, Any], becomes: type[Fault]
) -> None:
    """Nothing of it is for good, and nothing is asked again by the SDK."""
    sandbox.client.fault(kind="arm", count=None, **fault)

    with pytest.raises(Fault) as caught:
        await arm.cluster_facts(AKS)

    assert type(caught.value) is becomes
    assert not caught.value.permanent
    assert caught.value.retry_after == fault.get("retry_after")
    assert "A fault was asked for" not in caught.value.message
    assert len(sandbox.client.journal(kind="arm")) <= (2 if "drop" in fault else 1)


async def test_a_pause_that_it_asks_for_is_kept_by_all_calls(arm: Arm, sandbox: RunningSandbox) -> None:
    """It is the same service: the 429 came from the cluster's resource, and the lists wait too."""
    sandbox.client.fault(kind="arm", status=429, retry_after=30)

    for call in (lambda: arm.cluster_facts(AKS), lambda: arm.assignments(AKS, below=True)):
        with pytest.raises(Throttled):
            await call()
    assert len(sandbox.client.journal(kind="arm")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in to the hotel's network</html>",
        b"not json",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"properties": null}',
        b'{"properties": []}',
        b'{"properties": {"aadProfile": "x"}}',
        b'{"properties": {"aadProfile": ["x"]}}',
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error", "302 Found", "204 No Content"])
async def test_an_answer_that_is_not_azures_own_tells_nothing(
    answers: Answers, status: str, body: bytes
) -> None:
    """What a proxy says is neither "no Entra" nor "no Azure RBAC"."""
    answers.says(status, b"" if status.startswith("204") else body)
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        with pytest.raises(Unavailable) as caught:
            await arm.cluster_facts(AKS)
    finally:
        await arm.close()
    assert "hotel" not in caught.value.message


async def test_what_else_azure_says_of_the_cluster_does_not_matter(answers: Answers) -> None:
    """Fields that are new, and an answer in another encoding of letters."""
    properties = {"aadProfile": {"managed": True, "enableAzureRBAC": True, "new": [1]}, "größe": "🦊"}
    answers.says("200 OK", json.dumps({"properties": properties}, ensure_ascii=False).encode())
    arm = Arm(FixedCredential(), answers.url, seed.SUBSCRIPTION_ID, answers.ca)
    try:
        assert await arm.cluster_facts(AKS) == ON
    finally:
        await arm.close()


async def test_a_slow_answer_is_waited_for_and_holds_nobody_back(
    sandbox: RunningSandbox, credential: AsyncTokenCredential
) -> None:
    """Half a second for the cluster's resource, and the other calls go on meanwhile."""
    arm = Arm(credential, sandbox.url, seed.SUBSCRIPTION_ID, sandbox.ca)
    await arm.assignments(AKS, below=True)  # signed in and connected
    sandbox.client.fault(kind="arm", path_regex="aks-demo$", delay_seconds=0.5)
    began = time.monotonic()
    try:
        slow = asyncio.create_task(arm.cluster_facts(AKS))
        await asyncio.sleep(0.05)
        await arm.assignments(AKS, below=True)
        meanwhile = time.monotonic() - began
        assert await slow == ON
    finally:
        await arm.close()

    assert meanwhile < 0.4
    assert time.monotonic() - began >= 0.5
