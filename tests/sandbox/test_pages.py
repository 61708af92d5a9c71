"""Lists that come in pages, and break off between two of them."""

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.client import SandboxError
from entra_sandbox.hands import Hands
from support.azure import AKS_READER, AUTHORIZATION, Caller, code
from support.sandbox import RunningSandbox

ROLES = f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleDefinitions"
ASSIGNMENTS = f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleAssignments"


@pytest.fixture
def group_id(sandbox: RunningSandbox) -> str:
    """A group of five, in a sandbox whose pages have two of anything."""
    people = [str(sandbox.client.add_user(f"u{n}@contoso.com")["id"]) for n in range(5)]
    sandbox.client.settings(graph_page_limit=2, delta_page_size=2, arm_page_size=2)
    return str(sandbox.client.add_group("appdev", members=people)["id"])


def test_a_page_is_no_longer_than_the_limit_whatever_is_asked_for(operator: Caller, group_id: str) -> None:
    first = operator.graph("GET", f"/groups/{group_id}/members?$top=999&$select=id")
    assert len(first.json()["value"]) == 2
    assert "$top=999" in first.json()["@odata.nextLink"]
    assert len(operator.members(group_id)) == 5
    assert len(operator.graph("GET", "/users").json()["value"]) == 2


@pytest.mark.parametrize("which", ["members", "groups", "delta"])
def test_a_walk_in_graph_breaks_off_after_its_first_page(
    sandbox: RunningSandbox, operator: Caller, group_id: str, which: str
) -> None:
    for n in range(5):
        sandbox.client.add_group(f"g{n}")
    paths = {"members": f"/groups/{group_id}/members", "groups": "/groups", "delta": "/groups/delta"}
    sandbox.client.fault(page="later", kind="graph", status=503, count=1, skip=1)
    statuses, following = [], paths[which]
    while following:
        answer = operator.graph("GET", following)
        statuses.append(answer.status_code)
        following = answer.json().get("@odata.nextLink")
    assert statuses == [200, 200, 503]
    assert operator.graph("GET", paths[which]).status_code == 200


def test_a_delta_link_leads_to_a_first_page(sandbox: RunningSandbox, operator: Caller) -> None:
    answer = operator.graph("GET", "/groups/delta")
    sandbox.client.fault(page="later", status=503, count=None)
    link = answer.json()["@odata.deltaLink"]
    assert operator.graph("GET", link).status_code == 200
    sandbox.client.clear_faults()
    sandbox.client.fault(page="first", query_regex=r"\$deltatoken=", status=503, count=None)
    assert operator.graph("GET", "/groups/delta").status_code == 200
    assert operator.graph("GET", link).status_code == 503


def test_some_requests_pass_before_a_fault(sandbox: RunningSandbox, operator: Caller) -> None:
    sandbox.client.fault(kind="graph", status=500, skip=2, count=1)
    sandbox.client.fault(kind="graph", status=503, skip=1, count=1)
    # Each counts for itself, and a fault that lets pass leaves the request to the next.
    statuses = [operator.graph("GET", "/organization").status_code for _ in range(5)]
    assert statuses == [200, 503, 500, 200, 200]


@pytest.mark.parametrize("path", [ASSIGNMENTS, ROLES])
def test_a_walk_in_arm_breaks_off_after_its_first_page(
    sandbox: RunningSandbox, operator: Caller, group_id: str, path: str
) -> None:
    for n in range(3):
        operator.assign(group_id, AKS_READER, f"{seed.CLUSTER_ID}/namespaces/n{n}")
    sandbox.client.fault(page="later", kind="arm", status=429, retry_after=3, count=None)
    first = operator.arm("GET", path)
    assert (first.status_code, len(first.json()["value"])) == (200, 2)
    second = operator.http.get(first.json()["nextLink"], headers=operator.headers)
    assert (code(second), second.headers["retry-after"]) == ((429, "SubscriptionRequestsThrottled"), "3")


def test_faults_say_what_they_do_not_understand(sandbox: RunningSandbox) -> None:
    for words in ({"page": "last"}, {"skip": -1}, {"query_regex": "("}):
        with pytest.raises(SandboxError, match="400"):
            sandbox.client.fault(status=500, **words)
    made = sandbox.client.fault(status=500, page="later", query_regex="x", skip=2)
    assert (made["match"], made["skip"]) == ({"page": "later", "query_regex": "x"}, 2)


def test_custom_roles_are_listed_at_a_scope_and_by_page(
    sandbox: RunningSandbox, operator: Caller, http: httpx.Client
) -> None:
    hands = Hands(sandbox.client)
    for n in range(4):
        hands.create_role(f"Role {n}", actions=["a/read"])
    hands.create_role("Elsewhere", actions=["a/read"], scopes=[seed.OTHER_RESOURCE_GROUP])
    sandbox.client.settings(arm_page_size=2)
    kind = "type eq 'CustomRole'"

    def walk(scope: str, text: str, *, between: bool = False) -> list[str]:
        path = f"{scope}/{AUTHORIZATION}/roleDefinitions"
        body = operator.arm("GET", path, filter=text).json()
        names = [d["properties"]["roleName"] for d in body["value"]]
        while following := body.get("nextLink"):
            if between and len(names) == 2:
                hands.delete_role("Role 0")  # shown already: nothing after it may be lost
            body = http.get(following, headers=operator.headers).json()
            assert len(body["value"]) <= 2
            names += [d["properties"]["roleName"] for d in body["value"]]
        return names

    mine = ["Custom Role Author", "Role 0", "Role 1", "Role 2", "Role 3"]
    assert walk(seed.RESOURCE_GROUP, kind) == mine
    assert walk(seed.CLUSTER_ID, kind) == mine
    assert walk(seed.RESOURCE_GROUP, f"{kind} and atScopeAndBelow()") == mine
    assert walk(f"{seed.CLUSTER_ID}/namespaces/dev", kind) == mine
    assert walk(seed.RESOURCE_GROUP, kind, between=True) == mine
    assert walk(seed.RESOURCE_GROUP, kind) == ["Custom Role Author", "Role 1", "Role 2", "Role 3"]
