"""The journal of requests, and faults on demand."""

import time

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.client import SandboxError
from support.azure import AKS_READER, Caller, code, group_body
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]


def test_the_journal_tells_who_did_what(sandbox: RunningSandbox, operator: Caller) -> None:
    group = operator.create_group("appdev")["id"]
    operator.graph("GET", f"/groups/{group}?$select=id")
    operator.graph("GET", "/users/nobody@contoso.com")
    operator.assign(group, AKS_READER, seed.CLUSTER_ID)
    lines = sandbox.client.journal()
    assert [(e["kind"], e["method"], e["status"], e["code"], e["write"]) for e in lines] == [
        ("graph", "POST", 201, "", True),
        ("graph", "GET", 200, "", False),
        ("graph", "GET", 404, "Request_ResourceNotFound", False),
        ("arm", "PUT", 201, "", True),
    ]
    first = lines[0]
    assert first["caller"] == {"appId": seed.OPERATOR_CLIENT_ID, "oid": seed.OPERATOR_OBJECT_ID}
    assert first["body"]["displayName"] == "appdev"
    assert first["path"] == "/v1.0/groups"
    assert first["duration_ms"] >= 0
    assert lines[1]["query"] == "$select=id"
    assert [e["n"] for e in lines] == list(range(first["n"], first["n"] + 4))


def test_the_journal_can_be_narrowed_and_cleared(sandbox: RunningSandbox, operator: Caller) -> None:
    operator.create_group("appdev")
    operator.graph("GET", "/groups")
    operator.arm("GET", seed.CLUSTER_ID)
    client = sandbox.client
    assert [e["method"] for e in client.journal(write=True)] == ["POST"]
    assert [e["kind"] for e in client.journal(kind="arm")] == ["arm"]
    assert len(client.journal(path_regex="groups$")) == 2
    middle = client.journal()[1]["n"]
    assert [e["kind"] for e in client.journal(since=middle)] == ["arm"]
    client.clear_journal()
    assert client.journal() == []
    operator.graph("GET", "/groups")
    assert client.journal()[0]["n"] > middle


def test_no_secret_is_in_the_journal(sandbox: RunningSandbox, http: httpx.Client) -> None:
    form = {"grant_type": "client_credentials", "client_id": seed.OPERATOR_CLIENT_ID}
    form |= {"client_secret": seed.OPERATOR_SECRET, "scope": "https://graph.microsoft.com/.default"}
    http.post(f"/{seed.TENANT_ID}/oauth2/v2.0/token", data=form)
    token = sandbox.client.user_token(seed.AKSDEV)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    http.post("/webhooks/token", json=review)
    text = str(sandbox.client.journal())
    assert seed.OPERATOR_SECRET not in text
    assert token not in text


def test_reading_posts_are_no_writes(sandbox: RunningSandbox, operator: Caller) -> None:
    operator.graph("POST", f"/users/{AKSDEV}/getMemberGroups", {})
    operator.graph("POST", "/$batch", {"requests": [{"id": "1", "method": "GET", "url": "/groups"}]})
    assert sandbox.client.journal(write=True) == []
    operator.graph("POST", "/$batch", {"requests": [{"id": "1", "method": "DELETE", "url": "/groups/x"}]})
    assert len(sandbox.client.journal(write=True)) == 1


def test_a_fault_comes_as_often_as_it_was_asked(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.fault(method="GET", path_regex="/groups$", status=503, count=2)
    answers = [operator.graph("GET", "/groups") for _ in range(3)]
    assert [a.status_code for a in answers] == [503, 503, 200]
    assert code(answers[0]) == (503, "ServiceUnavailable")
    assert operator.graph("GET", "/users").status_code == 200
    assert [e["fault"] for e in sandbox.client.journal()] == [True, True, False, False]
    assert sandbox.client.faults()[0]["used"] == 2


def test_a_fault_can_be_for_one_query(sandbox: RunningSandbox, operator: Caller) -> None:
    """As for the second page of a list, whose path is that of the first."""
    sandbox.client.fault(path_regex="/groups$", query_regex=r"^\$top=5", status=503, count=None)
    assert operator.graph("GET", "/groups?$top=4").status_code == 200
    assert operator.graph("GET", "/groups?$top=5").status_code == 503
    assert sandbox.client.faults()[0]["match"]["query_regex"] == r"^\$top=5"


def test_throttling_on_demand_speaks_each_services_language(
    sandbox: RunningSandbox, operator: Caller, http: httpx.Client
) -> None:
    sandbox.client.fault(status=429, retry_after=7, count=None)
    graph = operator.graph("GET", "/groups")
    assert (code(graph), graph.headers["retry-after"]) == ((429, "TooManyRequests"), "7")
    assert "innerError" in graph.json()["error"]
    arm = operator.arm("GET", seed.CLUSTER_ID)
    assert (code(arm), arm.headers["retry-after"]) == ((429, "SubscriptionRequestsThrottled"), "7")
    signin = http.post(f"/{seed.TENANT_ID}/oauth2/v2.0/token")
    assert (signin.status_code, signin.json()["error"]) == (429, "temporarily_unavailable")
    assert http.post("/webhooks/token").status_code == 429
    sandbox.client.clear_faults()
    assert operator.graph("GET", "/groups").status_code == 200


def test_a_code_and_a_message_of_ones_own(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.fault(kind="arm", status=400, code="RoleAssignmentLimitExceeded", message="No more")
    answer = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID)
    assert code(answer) == (400, "RoleAssignmentLimitExceeded")


def test_a_lost_answer_has_done_its_work(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.fault(method="POST", path_regex="/groups$", status=504, after=True)
    assert operator.graph("POST", "/groups", group_body("lost")).status_code == 504
    assert sandbox.client.group("lost") is not None
    sandbox.client.fault(method="PUT", drop=True, after=True)
    with pytest.raises(httpx.TransportError):
        operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID)
    assert len(sandbox.client.assignments(AKSDEV)) == 1


def test_a_dropped_connection_has_done_nothing(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.fault(method="POST", drop=True)
    with pytest.raises(httpx.TransportError):
        operator.graph("POST", "/groups", group_body("dropped"))
    assert sandbox.client.group("dropped") is None
    line = sandbox.client.journal()[0]
    assert (line["status"], line["code"], line["fault"]) == (0, "ConnectionClosed", True)
    assert operator.graph("GET", "/groups").status_code == 200


def test_a_delay_alone_is_only_slow(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.fault(method="GET", delay_seconds=0.2)
    began = time.monotonic()
    assert operator.graph("GET", "/groups").status_code == 200
    assert time.monotonic() - began >= 0.2
    sandbox.client.fault(method="GET", delay_seconds=1)
    with pytest.raises(httpx.TimeoutException):
        operator.http.get("/v1.0/groups", headers=operator.headers, timeout=0.1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": 200},
        {"status": 500, "colour": "red"},
        {"status": 500, "match": {"kind": "x"}},
        {"status": 500, "match": {"path_regex": "("}},
        {"status": 500, "count": 0},
        {"status": 500, "retry_after": "soon"},
    ],
)
def test_faults_that_make_no_sense_are_refused(sandbox: RunningSandbox, body: dict[str, object]) -> None:
    with pytest.raises(SandboxError, match="400"):
        sandbox.client.call("POST", "/faults", body)
