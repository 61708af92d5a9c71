"""Soft deletion, restoring, and the unique name that stays taken."""

from entra_sandbox import seed
from support.azure import AKS_READER, MISSING, Caller, code, message
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]


def test_a_deleted_group_can_be_seen_and_restored_with_everything(operator: Caller) -> None:
    group = operator.upsert("mine").json()
    operator.add_member(group["id"], AKSDEV)
    assert operator.graph("DELETE", f"/groups/{group['id']}").status_code == 204
    assert operator.graph("DELETE", f"/groups/{group['id']}").status_code == 404
    assert operator.graph("GET", f"/groups/{group['id']}").status_code == 404
    listed = operator.pages("/directory/deletedItems/microsoft.graph.group?$select=id,uniqueName")
    assert listed == [{"id": group["id"], "uniqueName": "mine"}]
    read = operator.graph("GET", f"/directory/deletedItems/{group['id']}").json()
    assert read["@odata.type"] == "#microsoft.graph.group"
    assert read["deletedDateTime"] is not None
    restored = operator.graph("POST", f"/directory/deletedItems/{group['id']}/restore")
    assert (restored.status_code, restored.json()["id"]) == (200, group["id"])
    assert operator.members(group["id"]) == {AKSDEV}
    assert operator.graph("GET", "/groups(uniqueName='mine')").json()["id"] == group["id"]


def test_the_unique_name_stays_taken_until_the_group_is_gone_for_good(operator: Caller) -> None:
    group = operator.upsert("mine").json()
    operator.graph("DELETE", f"/groups/{group['id']}")
    assert operator.graph("GET", "/groups(uniqueName='mine')").status_code == 404
    refused = operator.upsert("mine")
    assert code(refused) == (400, "Request_BadRequest")
    assert message(refused) == "Another object with the same value for property uniqueName already exists."
    assert operator.graph("DELETE", f"/directory/deletedItems/{group['id']}").status_code == 204
    again = operator.upsert("mine")
    assert again.status_code == 201
    assert again.json()["id"] != group["id"]


def test_access_ends_at_once_and_assignments_stay_as_orphans(
    sandbox: RunningSandbox, operator: Caller
) -> None:
    group_id = operator.create_group("appdev")["id"]
    operator.add_member(group_id, AKSDEV)
    operator.assign(group_id, AKS_READER, seed.CLUSTER_ID)
    operator.graph("DELETE", f"/groups/{group_id}")
    token = sandbox.client.user_token(seed.AKSDEV)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    assert operator.http.post("/webhooks/token", json=review).json()["status"]["user"]["groups"] == []
    orphans = [
        a
        for a in operator.assignments(seed.CLUSTER_ID, "atScope()")
        if a["properties"]["principalId"] == group_id
    ]
    assert len(orphans) == 1
    assert operator.arm("DELETE", orphans[0]["id"]).status_code == 200


def test_after_thirty_days_it_is_gone(sandbox: RunningSandbox, operator: Caller) -> None:
    group_id = operator.create_group("appdev")["id"]
    operator.graph("DELETE", f"/groups/{group_id}")
    sandbox.client.settings(token_lifetime=60 * 24 * 3600)
    view = Caller(operator.http, sandbox.client.app_token(seed.OPERATOR_CLIENT_ID, audience=sandbox.url))
    sandbox.client.advance(29 * 24 * 3600)
    assert view.graph("GET", f"/directory/deletedItems/{group_id}").status_code == 200
    sandbox.client.advance(2 * 24 * 3600)
    assert code(view.graph("GET", f"/directory/deletedItems/{group_id}")) == (404, "Request_ResourceNotFound")
    assert code(view.graph("POST", f"/directory/deletedItems/{MISSING}/restore"))[0] == 404


def test_deleted_groups_come_in_pages(operator: Caller) -> None:
    ids = [operator.create_group(f"g{n}")["id"] for n in range(5)]
    for group_id in ids:
        operator.graph("DELETE", f"/groups/{group_id}")
    rows = operator.pages("/directory/deletedItems/microsoft.graph.group?$top=2")
    assert [r["id"] for r in rows] == ids
