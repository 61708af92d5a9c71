"""The routes below `/_sandbox`, through their client."""

import httpx
import jwt
import pytest

from entra_sandbox import seed
from entra_sandbox.client import SandboxClient, SandboxError
from support.azure import AKS_READER, Caller
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox


@pytest.fixture
def client(sandbox: RunningSandbox) -> SandboxClient:
    """The client under test."""
    return sandbox.client


def test_the_seed_is_there(client: SandboxClient) -> None:
    state = client.state()
    assert {u["userPrincipalName"] for u in state["users"]} == set(seed.USER_IDS)
    assert {p["appId"] for p in state["servicePrincipals"]} == {
        seed.OPERATOR_CLIENT_ID,
        seed.LEAST_CLIENT_ID,
        seed.PIPELINE_CLIENT_ID,
    }
    assert {a["roleName"] for a in client.assignments(seed.OPERATOR_OBJECT_ID)} == {
        "Role Based Access Control Administrator",
        "Custom Role Author",
    }
    assert state["groups"] == state["deletedGroups"] == []
    assert seed.OPERATOR_SECRET not in str(state)


def test_health_and_reset(client: SandboxClient) -> None:
    assert client.health()["status"] == "ok"
    client.add_group("appdev")
    client.settings(replication_delay=5)
    client.fault(status=500, count=None)
    client.reset()
    assert client.state()["groups"] == []
    assert client.settings()["replication_delay"] == 0
    assert client.faults() == []


def test_settings_are_checked(client: SandboxClient) -> None:
    for values in (
        {"colour": 1.0},
        {"replication_delay": -1.0},
        {"graph_page_size": 0.0},
        {"hide_service_principals": 2.0},
    ):
        with pytest.raises(SandboxError, match="400"):
            client.settings(**values)
    assert client.settings(stale_lists=2)["stale_lists"] == 2


def test_people_come_and_go(client: SandboxClient, operator: Caller) -> None:
    made = client.add_user("new@contoso.com", displayName="New Person")
    assert operator.graph("GET", "/users/new@contoso.com").json()["id"] == made["id"]
    with pytest.raises(SandboxError, match="already there"):
        client.add_user("NEW@contoso.com")
    client.disable_user("new@contoso.com")
    assert operator.graph("GET", f"/users/{made['id']}?$select=accountEnabled").json() == {
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users(accountEnabled)/$entity",
        "accountEnabled": False,
    }
    client.change_user("new@contoso.com", userPrincipalName="married@contoso.com")
    assert operator.graph("GET", "/users/married@contoso.com").json()["id"] == made["id"]
    assert operator.graph("GET", "/users/new@contoso.com").status_code == 404
    with pytest.raises(SandboxError, match="already there"):
        client.change_user("married@contoso.com", userPrincipalName=seed.ALICE.upper())
    assert client.add_user("new@contoso.com")["id"] != made["id"], "the name is free"
    client.delete_user("married@contoso.com")
    assert operator.graph("GET", f"/users/{made['id']}").status_code == 404
    client.delete_user(seed.GUEST)
    with pytest.raises(SandboxError, match="404"):
        client.delete_user(seed.GUEST)


def test_applications_come_and_go(client: SandboxClient, operator: Caller) -> None:
    made = client.add_app("robot", appRoles=["User.ReadBasic.All"], secret="s")
    assert operator.graph("GET", f"/servicePrincipals/{made['id']}").json()["displayName"] == "robot"
    client.change_app(made["appId"], appRoles=[])
    assert client.state()["servicePrincipals"][-1]["appRoles"] == []
    client.delete_app(made["id"])
    assert operator.graph("GET", f"/servicePrincipals/{made['id']}").status_code == 404


def test_a_foreign_hand_changes_groups(client: SandboxClient, operator: Caller) -> None:
    inner = client.add_group("inner")["id"]
    group = client.add_group("appdev", members=[seed.AKSDEV, inner], owners=[seed.LEAD], uniqueName="x")
    synced = client.add_group("synced", onPremisesSyncEnabled=True)["id"]
    assert operator.graph("GET", f"/groups/{synced}").json()["onPremisesSyncEnabled"] is True
    assert operator.graph("GET", f"/groups/{inner}").json()["onPremisesSyncEnabled"] is None
    assert group["owners"] == [seed.USER_IDS[seed.LEAD]]
    client.add_member("x", seed.AKSSRE, seed.PIPELINE_CLIENT_ID)
    client.remove_member(group["id"], seed.AKSDEV, inner)
    assert operator.members(group["id"]) == {seed.USER_IDS[seed.AKSSRE], seed.PIPELINE_OBJECT_ID}
    client.change_group(group["id"], displayName="renamed", removeOwners=[seed.LEAD])
    found = client.group("renamed")
    assert found is not None
    assert found["owners"] == []
    with pytest.raises(SandboxError, match="unique name is taken"):
        client.add_group("twin", uniqueName="X")
    client.delete_group("x")
    assert client.group("renamed") is None
    client.restore_group("x")
    assert client.group("renamed") is not None
    client.purge_group("x")
    assert client.state()["deletedGroups"] == []


def test_a_foreign_hand_changes_assignments(client: SandboxClient, operator: Caller) -> None:
    made = client.assign(seed.AKSDEV, AKS_READER, seed.CLUSTER_ID)
    read = operator.arm("GET", made["id"]).json()["properties"]
    assert read["createdBy"] == seed.USER_IDS[seed.OPS_LEAD]
    with pytest.raises(SandboxError, match="already assigned"):
        client.assign(seed.AKSDEV, AKS_READER, seed.CLUSTER_ID)
    client.unassign(made["name"])
    assert client.assignments(seed.USER_IDS[seed.AKSDEV], seed.CLUSTER_ID) == []
    with pytest.raises(SandboxError, match="no role"):
        client.assign(seed.AKSDEV, "Nonsense", seed.CLUSTER_ID)


def test_more_clusters_can_be_added(
    client: SandboxClient, sandbox: RunningSandbox, http: httpx.Client
) -> None:
    cluster = f"{seed.OTHER_RESOURCE_GROUP}/providers/Microsoft.ContainerService/managedClusters/second"
    client.add_resource(cluster, location="northeurope", properties={"aadProfile": {"managed": True}})
    client.assign(seed.OPERATOR_CLIENT_ID, "Reader", seed.OTHER_RESOURCE_GROUP)
    view = caller_of(sandbox, http, seed.OPERATOR_CLIENT_ID)
    assert view.arm("GET", cluster).json()["name"] == "second"


def test_a_clusters_profile_can_be_set(
    client: SandboxClient, sandbox: RunningSandbox, operator: Caller
) -> None:
    for cluster in (seed.CLUSTER_ID, seed.ARC_CLUSTER_ID):
        before = operator.arm("GET", cluster).json()["properties"]
        assert before["aadProfile"]["enableAzureRBAC"] is True
        client.set_azure_rbac(cluster.upper(), enabled=False)
        after = operator.arm("GET", cluster).json()["properties"]
        assert after == {**before, "aadProfile": {**before["aadProfile"], "enableAzureRBAC": False}}
    legacy = {"clientAppID": "c", "serverAppID": "s", "tenantID": seed.TENANT_ID}
    client.set_aad_profile(seed.CLUSTER_ID, legacy)
    assert operator.arm("GET", seed.CLUSTER_ID).json()["properties"]["aadProfile"] == legacy
    client.set_aad_profile(seed.CLUSTER_ID, None)
    assert "aadProfile" not in operator.arm("GET", seed.CLUSTER_ID).json()["properties"]
    assert client.resource(seed.CLUSTER_ID)["name"] == "aks-demo"
    client.reset()
    assert client.resource(seed.CLUSTER_ID)["properties"]["aadProfile"]["managed"] is True


def test_tokens_for_anybody(client: SandboxClient) -> None:
    for who, oid in (
        (seed.ALICE, seed.USER_IDS[seed.ALICE]),
        (seed.GUEST, seed.USER_IDS[seed.GUEST]),
        (seed.USER_IDS[seed.BOB], seed.USER_IDS[seed.BOB]),
        ("pipeline", seed.PIPELINE_OBJECT_ID),
        (seed.PIPELINE_CLIENT_ID, seed.PIPELINE_OBJECT_ID),
        (seed.PIPELINE_OBJECT_ID, seed.PIPELINE_OBJECT_ID),
    ):
        claims = jwt.decode(client.token_of(who), options={"verify_signature": False})
        assert (claims["oid"], claims["aud"]) == (oid, seed.AKS_SERVER_APP_ID)
    for nobody in ("nobody@contoso.com", "nobody", client.add_group("appdev")["id"]):
        with pytest.raises(SandboxError, match="404"):
            client.token_of(nobody)
    client.change_app("pipeline", accountEnabled=False)
    with pytest.raises(SandboxError, match="AADSTS7000112"):
        client.token_of("pipeline")
    client.add_app("pipeline")
    with pytest.raises(SandboxError, match="more than one"):
        client.token_of("pipeline")


def test_mistakes_are_told(client: SandboxClient) -> None:
    for verb, path, body in (
        ("GET", "/nonsense", None),
        ("POST", "/users", {}),
        ("POST", "/groups", {"displayName": "x", "members": ["nobody"]}),
        ("POST", "/groups/nothing/restore", None),
        ("DELETE", "/assignments/nothing", None),
        ("PATCH", f"/servicePrincipals/{seed.USER_IDS[seed.LEAD]}", {}),
        ("POST", "/clock", {"advance": -1}),
        ("POST", "/token", {"user": "nobody"}),
        ("PATCH", "/resources", {"id": f"{seed.CLUSTER_ID}-2", "aadProfile": None}),
        ("PATCH", "/resources", {"id": seed.CLUSTER_ID, "aadProfile": "managed"}),
        ("PATCH", "/resources", {"id": seed.CLUSTER_ID}),
    ):
        with pytest.raises(SandboxError, match=r"40[04]: "):
            client.call(verb, path, body)


def test_these_routes_are_not_journalled(client: SandboxClient) -> None:
    client.state()
    client.journal()
    assert client.journal() == []
