"""What the cluster asks about tokens: TokenReview."""

from typing import Any

import httpx
import pytest

from entra_sandbox import seed
from support.sandbox import RunningSandbox


def _review(http: httpx.Client, token: str, cluster: str = "") -> dict[str, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = http.post(f"/webhooks/token{cluster}", json=body)
    assert answer.status_code == 200
    assert (answer.json()["apiVersion"], answer.json()["kind"]) == (body["apiVersion"], "TokenReview")
    return dict(answer.json()["status"])


def test_a_user_goes_by_name_and_brings_all_groups(sandbox: RunningSandbox, http: httpx.Client) -> None:
    inner = sandbox.client.add_group("inner", members=[seed.AKSDEV])["id"]
    outer = sandbox.client.add_group("outer", members=[inner])["id"]
    sandbox.client.add_group("foreign", members=[seed.LEAD])
    oid = seed.USER_IDS[seed.AKSDEV]
    assert _review(http, sandbox.client.user_token(seed.AKSDEV)) == {
        "authenticated": True,
        "user": {
            "username": seed.AKSDEV,
            "uid": oid,
            "groups": sorted([inner, outer]),
            "extra": {"oid": [oid]},
        },
    }


def test_guests_and_applications_go_by_object_id(sandbox: RunningSandbox, http: httpx.Client) -> None:
    guest = _review(http, sandbox.client.user_token(seed.GUEST))
    assert guest["user"]["username"] == seed.USER_IDS[seed.GUEST]
    app = _review(http, sandbox.client.app_token(seed.PIPELINE_CLIENT_ID))
    assert app["user"]["username"] == app["user"]["uid"] == seed.PIPELINE_OBJECT_ID


def test_bad_tokens_are_nobody(sandbox: RunningSandbox, http: httpx.Client) -> None:
    client = sandbox.client
    for token in (
        "nonsense",
        client.user_token(seed.AKSDEV, lifetime=-1),
        client.user_token(seed.AKSDEV, audience="https://graph.microsoft.com"),
    ):
        status = _review(http, token)
        assert status["authenticated"] is False
        assert status["error"]


def test_the_deleted_are_nobody_and_the_disabled_get_no_new_token(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    token = sandbox.client.user_token(seed.AKSDEV)
    sandbox.client.disable_user(seed.AKSDEV)
    assert _review(http, token)["authenticated"] is True
    with pytest.raises(Exception, match="AADSTS50057"):
        sandbox.client.user_token(seed.AKSDEV)
    sandbox.client.delete_user(seed.AKSDEV)
    assert _review(http, token)["authenticated"] is False


def test_a_service_principal_in_too_many_groups_is_refused(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    for n in range(201):
        sandbox.client.add_group(f"g{n}", members=[seed.PIPELINE_CLIENT_ID, seed.AKSDEV])
    assert "exceeding 200" in _review(http, sandbox.client.app_token(seed.PIPELINE_CLIENT_ID))["error"]
    assert len(_review(http, sandbox.client.user_token(seed.AKSDEV))["user"]["groups"]) == 201


def test_other_bodies_are_refused(http: httpx.Client) -> None:
    old = {"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "spec": {"token": "x"}}
    assert http.post("/webhooks/token", json=old).status_code == 400
    assert http.post("/webhooks/token", content=b"x").status_code == 400
    assert http.get("/webhooks/token").status_code == 405
    assert http.get("/webhooks/other").status_code == 404


def test_an_aks_cluster_without_entra_takes_no_tokens_of_it(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    token = sandbox.client.user_token(seed.AKSDEV)
    for cluster in (seed.CLUSTER_ID, seed.ARC_CLUSTER_ID):
        assert _review(http, token, cluster)["authenticated"] is True
        sandbox.client.set_aad_profile(cluster, None)
    assert "not integrated" in _review(http, token, seed.CLUSTER_ID)["error"]
    assert _review(http, token, seed.ARC_CLUSTER_ID)["authenticated"] is True
    assert token not in str(sandbox.client.journal())
