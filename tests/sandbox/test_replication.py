"""Replication delay and stale lists: what a client sees too late."""

import pytest

from entra_sandbox import seed
from support.azure import AKS_READER, Caller, code, link, message
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]
NOT_YET = "The source resource object or one of the objects being referenced don't exist."


@pytest.fixture
def slow(sandbox: RunningSandbox) -> RunningSandbox:
    """A sandbox whose new groups take a minute to be everywhere."""
    sandbox.client.settings(replication_delay=60)
    return sandbox


def test_a_new_group_is_not_found_anywhere_for_a_while(slow: RunningSandbox, operator: Caller) -> None:
    group_id = operator.upsert("mine").json()["id"]
    paths = (f"/groups/{group_id}", "/groups(uniqueName='mine')")
    for path in paths:
        assert code(operator.graph("GET", path)) == (404, "Request_ResourceNotFound")
        assert operator.graph("PATCH", path, {"description": "x"}).status_code == 404
    assert operator.graph("DELETE", paths[0]).status_code == 404
    assert operator.graph("GET", f"{paths[0]}/members").status_code == 404
    assert operator.pages("/groups") == []
    slow.client.advance(61)
    for path in paths:
        assert operator.graph("GET", path).status_code == 200
    assert len(operator.pages("/groups")) == 1


def test_links_to_and_from_it_are_bad_requests(slow: RunningSandbox, operator: Caller) -> None:
    fresh = operator.create_group("fresh")["id"]
    old = slow.client.add_group("old")["id"]
    bind = {"members@odata.bind": [link(AKSDEV)]}
    nested = {"members@odata.bind": [link(fresh)]}
    for answer in (
        operator.add_member(fresh, AKSDEV),
        operator.add_member(old, fresh),
        operator.graph("PATCH", f"/groups/{fresh}", bind),
        operator.graph("PATCH", f"/groups/{old}", nested),
        operator.graph("POST", f"/groups/{fresh}/owners/$ref", {"@odata.id": link(AKSDEV)}),
    ):
        assert code(answer) == (400, "Request_BadRequest")
        assert message(answer) == NOT_YET
    slow.client.advance(61)
    assert operator.add_member(fresh, AKSDEV).status_code == 204


def test_arm_does_not_know_it_even_with_a_principal_type(slow: RunningSandbox, operator: Caller) -> None:
    group_id = operator.create_group("fresh")["id"]
    for fields in ({}, {"principalType": "Group"}):
        answer = operator.assign(group_id, AKS_READER, seed.CLUSTER_ID, **fields)
        assert code(answer) == (400, "PrincipalNotFound")
        assert message(answer).startswith(
            f"Principal {group_id.replace('-', '')} does not exist in the directory {seed.TENANT_ID}. "
            "Check that you have the correct principal ID. If you are creating this principal"
        )
    slow.client.advance(61)
    assert operator.assign(group_id, AKS_READER, seed.CLUSTER_ID).status_code == 201


def test_a_second_upsert_never_makes_a_second_group(slow: RunningSandbox, operator: Caller) -> None:
    assert operator.upsert("mine").status_code == 201
    assert operator.upsert("mine").status_code == 204
    assert len(slow.client.state()["groups"]) == 1


def test_the_cluster_sees_the_truth(slow: RunningSandbox, operator: Caller) -> None:
    body = {"members@odata.bind": [link(AKSDEV)]}
    group_id = operator.create_group("fresh", **body)["id"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    token = slow.client.user_token(seed.AKSDEV)
    answer = operator.http.post("/webhooks/token", json={**review, "spec": {"token": token}})
    assert answer.json()["status"]["user"]["groups"] == [group_id]


def test_a_list_of_members_lags_behind(sandbox: RunningSandbox, operator: Caller) -> None:
    group_id = operator.create_group("appdev")["id"]
    operator.add_member(group_id, AKSDEV)
    sandbox.client.advance(120)
    sandbox.client.settings(stale_lists=60)
    operator.add_member(group_id, seed.USER_IDS[seed.LEAD])
    operator.graph("DELETE", f"/groups/{group_id}/members/{AKSDEV}/$ref")
    assert operator.members(group_id) == {AKSDEV}
    sandbox.client.advance(61)
    assert operator.members(group_id) == {seed.USER_IDS[seed.LEAD]}


def test_a_list_of_assignments_lags_behind(sandbox: RunningSandbox, operator: Caller) -> None:
    old = operator.assign(AKSDEV, AKS_READER, seed.CLUSTER_ID).json()
    sandbox.client.advance(120)
    sandbox.client.settings(stale_lists=60)
    lead = seed.USER_IDS[seed.LEAD]
    new = operator.assign(lead, AKS_READER, seed.CLUSTER_ID).json()
    operator.arm("DELETE", old["id"])

    def listed(text: str | None = None) -> set[str]:
        found = operator.assignments(seed.CLUSTER_ID, text)
        return {a["name"] for a in found if a["properties"]["principalId"] in (AKSDEV, lead)}

    assert listed() == listed("atScope()") == listed(f"principalId eq '{AKSDEV}'") == {old["name"]}
    assert operator.arm("GET", new["id"]).status_code == 200
    sandbox.client.advance(61)
    assert listed() == {new["name"]}
    assert listed(f"principalId eq '{AKSDEV}'") == set()
