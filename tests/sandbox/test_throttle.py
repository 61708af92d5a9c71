"""Throttling: what requests cost, which headers tell, and when it is enough."""

from entra_sandbox import seed
from support.azure import AKS_READER, AUTHORIZATION, Caller, code, message
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]
LIST = f"{seed.CLUSTER_ID}/{AUTHORIZATION}/roleAssignments"
REMAINING = "x-ms-ratelimit-remaining-subscription"


def test_arm_counts_down_from_the_documented_burst(operator: Caller) -> None:
    read = operator.arm("GET", LIST)
    assert read.headers[f"{REMAINING}-reads"] == "249"
    assert read.headers[f"{REMAINING}-global-reads"] == "3749"
    assert read.headers["cache-control"] == "no-cache"
    written = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID)
    assert written.headers[f"{REMAINING}-writes"] == "199"
    assert written.headers[f"{REMAINING}-global-writes"] == "2999"
    deleted = operator.arm("DELETE", written.json()["id"])
    assert deleted.headers[f"{REMAINING}-deletes"] == "199"
    assert int(operator.arm("GET", LIST).headers[f"{REMAINING}-reads"]) in (248, 249)


def test_arm_refuses_and_says_when(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(throttle_scale=0.01)
    answers = [operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID) for _ in range(3)]
    assert code(answers[2]) == (429, "SubscriptionRequestsThrottled")
    assert answers[2].headers["retry-after"] == "10"
    assert message(answers[2]).startswith(
        f"Number of 'write' requests for subscription '{seed.SUBSCRIPTION_ID}' actor "
        f"'{seed.OPERATOR_OBJECT_ID}' exceeded. Please try again after '10' seconds"
    )
    assert operator.arm("GET", LIST).status_code == 200  # every operation has its own bucket
    sandbox.client.advance(10)
    assert operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID).status_code == 409


def test_graph_charges_resource_units(sandbox: RunningSandbox, operator: Caller) -> None:
    group = sandbox.client.add_group("appdev")["id"]
    for path, units in (
        (f"/groups/{group}", 1),
        (f"/groups/{group}/members", 3),
        (f"/groups/{group}/members?$select=id", 2),
        (f"/groups/{group}/members?$select=id&$top=10", 1),
        (f"/groups/{group}/transitiveMembers", 5),
        (f"/groups/{group}/owners", 1),
        ("/users", 2),
        ("/users?$top=5&$select=id", 1),
    ):
        assert operator.graph("GET", path).headers["x-ms-resource-unit"] == str(units), path


def test_graph_refuses_for_units_and_for_writes(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(throttle_scale=0.001)  # eight units in ten seconds, three writes in 150
    group = operator.create_group("appdev")["id"]
    for name in ("second", "third"):
        operator.create_group(name)
    refused = operator.graph("PATCH", f"/groups/{group}", {"description": "x"})
    assert code(refused) == (429, "TooManyRequests")
    assert refused.headers["x-ms-throttle-information"] == "WriteLimitExceeded"
    assert message(refused).startswith("Too many requests from Identifier:")
    assert 1 <= int(refused.headers["retry-after"]) <= 50
    while (answer := operator.graph("GET", f"/groups/{group}/members")).status_code == 200:
        last = answer
    assert answer.headers["x-ms-throttle-information"] == "ResourceUnitLimitExceeded"
    assert answer.headers["x-ms-throttle-scope"].endswith(f"/{seed.OPERATOR_CLIENT_ID}/{seed.TENANT_ID}")
    assert 0 < float(last.headers.get("x-ms-throttle-limit-percentage", "1")) <= 1
    sandbox.client.advance(60)
    assert operator.graph("GET", f"/groups/{group}/members").status_code == 200


def test_scale_nought_switches_it_off(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.settings(throttle_scale=0)
    assert all(operator.arm("GET", LIST).status_code == 200 for _ in range(260))
