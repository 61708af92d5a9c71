"""Foreign hands: what somebody else does, in Graph and Azure, is done as them and shows it."""

from collections.abc import Callable

import httpx
import pytest

from entra_sandbox import seed
from entra_sandbox.client import SandboxError
from entra_sandbox.hands import Hands, HandsError
from support.azure import AKS_READER, AUTHORIZATION, MISSING, Caller, code
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

ADMIN, ALICE, BOB = (seed.USER_IDS[name] for name in (seed.ADMIN, seed.ALICE, seed.BOB))
CONDITION = (
    "(!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR "
    "(@Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEqualsIgnoreCase 'Group')"
)


@pytest.fixture
def admin(sandbox: RunningSandbox) -> Hands:
    """The administrator's hands."""
    return Hands(sandbox.client)


@pytest.fixture
def group_id(operator: Caller) -> str:
    """A group that the operator made."""
    return str(operator.upsert("operators-group").json()["id"])


def test_a_group_changes_by_a_foreign_hand(
    sandbox: RunningSandbox, admin: Hands, operator: Caller, group_id: str
) -> None:
    def owners() -> set[str]:
        return {o["id"] for o in operator.pages(f"/groups/{group_id}/owners")}

    for member in (seed.ALICE, seed.BOB, "pipeline"):
        admin.add_member("operators-group", member)
    admin.remove_member(group_id, seed.BOB)
    assert operator.members(group_id) == {ALICE, seed.PIPELINE_OBJECT_ID}
    admin.add_owner(group_id, seed.ALICE)
    admin.add_owner(group_id, BOB)
    admin.remove_owner(group_id, seed.ALICE)
    assert owners() == {BOB}
    admin.rename_group(group_id, "renamed")
    admin.change_group("renamed", description="by hand", mailNickname="other")
    seen = operator.graph("GET", f"/groups/{group_id}").json()
    assert [seen[k] for k in ("displayName", "description", "mailNickname")] == [
        "renamed",
        "by hand",
        "other",
    ]
    admin.delete_group("operators-group")
    assert operator.graph("GET", f"/groups/{group_id}").status_code == 404
    admin.restore_group("operators-group")
    assert (operator.members(group_id), owners()) == ({ALICE, seed.PIPELINE_OBJECT_ID}, {BOB})
    admin.delete_group(group_id)
    admin.purge_group(group_id)
    assert sandbox.client.state()["deletedGroups"] == []
    theirs = admin.create_group("theirs", members=[seed.BOB], owners=[seed.ALICE], description="x")
    assert operator.members(theirs["id"]) == {BOB}


def test_people_change_by_a_foreign_hand(sandbox: RunningSandbox, admin: Hands, operator: Caller) -> None:
    admin.disable_user(seed.ALICE)
    admin.change_user(seed.ALICE, displayName="Al")
    seen = operator.graph("GET", f"/users/{ALICE}?$select=displayName,accountEnabled").json()
    assert (seen["displayName"], seen["accountEnabled"]) == ("Al", False)
    admin.disable_user(ALICE, disabled=False)
    admin.delete_user(seed.ALICE)
    assert operator.graph("GET", f"/users/{ALICE}").status_code == 404
    admin.restore_user(seed.ALICE)
    assert operator.graph("GET", f"/users/{seed.ALICE}?$select=accountEnabled").json()["accountEnabled"]
    admin.delete_user(seed.ALICE)
    admin.purge_user(seed.ALICE)
    assert sandbox.client.state()["deletedUsers"] == []


def test_azure_notes_who_made_and_who_changed_an_assignment(
    sandbox: RunningSandbox, admin: Hands, operator: Caller
) -> None:
    mine = operator.assign(ALICE, AKS_READER, seed.CLUSTER_ID, description="mine").json()
    sandbox.client.advance(10)
    changed = admin.change_assignment(mine["id"], description="theirs")["properties"]
    assert (changed["createdBy"], changed["updatedBy"]) == (seed.OPERATOR_OBJECT_ID, ADMIN)
    assert changed["createdOn"] < changed["updatedOn"]
    assert (changed["description"], changed["condition"]) == ("theirs", None)
    limited = admin.change_assignment(mine["id"], condition=CONDITION)["properties"]
    assert [limited[k] for k in ("description", "condition", "conditionVersion")] == [
        "theirs",
        CONDITION,
        "2.0",
    ]
    cleared = admin.change_assignment(mine["id"], description=None, condition=None)["properties"]
    assert [cleared[k] for k in ("description", "condition", "conditionVersion")] == [None, None, None]
    new = admin.assign(seed.BOB, "Reader", seed.RESOURCE_GROUP, description="by hand", condition=CONDITION)
    listed = {a["id"]: a["properties"] for a in operator.assignments(seed.CLUSTER_ID)}
    assert listed[new["id"]] == new["properties"]
    assert (new["properties"]["createdBy"], new["properties"]["updatedBy"]) == (ADMIN, ADMIN)
    assert listed[mine["id"]]["updatedBy"] == ADMIN
    for properties in listed.values():
        assert properties["createdOn"].endswith("Z"), properties
        assert properties["updatedOn"].endswith("Z"), properties
    admin.unassign(mine["id"])
    assert mine["id"] not in {a["id"] for a in operator.assignments(seed.CLUSTER_ID)}


def test_azure_notes_who_made_and_who_changed_a_role(admin: Hands, operator: Caller) -> None:
    guid = "77777777-0000-4000-8000-000000000001"
    body = {
        "roleName": "Mine",
        "assignableScopes": [seed.RESOURCE_GROUP],
        "permissions": [{"dataActions": ["Microsoft.ContainerService/managedClusters/pods/delete"]}],
    }
    path = f"{seed.RESOURCE_GROUP}/{AUTHORIZATION}/roleDefinitions/{guid}"
    assert operator.arm("PUT", path, {"properties": body}).status_code == 201
    changed = admin.change_role("Mine", name="Theirs", data_actions=["*"], description="by hand")[
        "properties"
    ]
    assert (changed["createdBy"], changed["updatedBy"]) == (seed.OPERATOR_OBJECT_ID, ADMIN)
    assert (changed["roleName"], changed["description"]) == ("Theirs", "by hand")
    assert changed["permissions"][0]["dataActions"] == ["*"]
    assert changed["assignableScopes"] == [seed.RESOURCE_GROUP]
    scopes = [seed.RESOURCE_GROUP, seed.OTHER_RESOURCE_GROUP]
    assert admin.change_role(guid, scopes=scopes)["properties"]["assignableScopes"] == scopes
    new = admin.create_role("New", actions=["a/read"], guid="77777777-0000-4000-8000-000000000002")
    assert (new["name"], new["properties"]["createdBy"]) == ("77777777-0000-4000-8000-000000000002", ADMIN)
    for name in ("Theirs", "New"):
        admin.delete_role(name)
    assert operator.arm("GET", path).status_code == 404


def test_an_application_and_an_owner_have_hands_too(
    sandbox: RunningSandbox, admin: Hands, operator: Caller, group_id: str
) -> None:
    sandbox.client.change_app("pipeline", appRoles=["GroupMember.ReadWrite.All"])
    pipeline = Hands(sandbox.client, "pipeline")
    assert pipeline.object_id == seed.PIPELINE_OBJECT_ID
    pipeline.add_member(group_id, seed.ALICE)
    admin.add_owner(group_id, seed.LEAD)
    Hands(sandbox.client, seed.LEAD).add_member(group_id, seed.BOB)
    assert operator.members(group_id) == {ALICE, BOB}


@pytest.mark.parametrize(
    ("what", "code_"),
    [
        (lambda h: h.rename_group("operators-group", "x"), "Authorization_RequestDenied"),
        (lambda h: h.delete_user(seed.BOB), "Authorization_RequestDenied"),
        (lambda h: h.assign(seed.BOB, AKS_READER, seed.CLUSTER_ID), "AuthorizationFailed"),
        (lambda h: h.create_role("New", actions=["a/read"]), "AuthorizationFailed"),
    ],
)
def test_who_may_not_is_refused(
    sandbox: RunningSandbox, group_id: str, what: Callable[[Hands], None], code_: str
) -> None:
    with pytest.raises(HandsError) as refused:
        what(Hands(sandbox.client, seed.ALICE))
    assert (refused.value.status, refused.value.code) == (403, code_)
    # They may from the moment on that they are given the right.
    sandbox.client.change_user(seed.ALICE, permissions=sorted(seed.ADMIN_PERMISSIONS), isOwner=True)
    what(Hands(sandbox.client, seed.ALICE))


def test_a_name_that_is_none_or_of_two_is_told(sandbox: RunningSandbox, admin: Hands) -> None:
    for name in ("nobody@contoso.com", "nothing", MISSING):
        with pytest.raises(SandboxError, match=f"there is no object '{name}'"):
            sandbox.client.object_id(name)
    sandbox.client.add_group("twins")
    sandbox.client.add_group("twins")
    with pytest.raises(SandboxError, match="'twins' is ambiguous"):
        admin.rename_group("twins", "x")
    with pytest.raises(SandboxError, match="there is no role 'Emperor'"):
        admin.assign(seed.BOB, "Emperor", seed.CLUSTER_ID)


def test_the_journal_counts_who_called_since_when(
    sandbox: RunningSandbox, admin: Hands, operator: Caller, group_id: str
) -> None:
    began = sandbox.client.position()
    operator.pages("/groups")
    admin.add_member(group_id, seed.ALICE)
    operator.add_member(group_id, BOB)
    journal = sandbox.client.journal
    path = rf"/groups/{group_id}/members/\$ref$"
    assert len(journal(since=began, method="POST", path_regex=path)) == 2
    (theirs,) = journal(since=began, caller=ADMIN)
    assert (theirs["method"], theirs["write"], theirs["status"]) == ("POST", True, 204)
    assert [e["method"] for e in journal(since=began, caller=seed.OPERATOR_CLIENT_ID)] == ["GET", "POST"]
    assert journal(since=began, caller=MISSING) == []
    sandbox.client.clear_journal()
    assert (journal(), sandbox.client.position()) == ([], began + 3)
    assert journal(since=sandbox.client.position()) == []
    operator.pages("/groups")
    assert len(journal(since=began + 3)) == 1


def test_an_object_id_becomes_a_name(
    sandbox: RunningSandbox, operator: Caller, http: httpx.Client, group_id: str
) -> None:
    query = "?$select=id,displayName,userPrincipalName"
    reader = caller_of(
        sandbox, http, sandbox.client.add_app("reader", appRoles=["Directory.Read.All"])["appId"]
    )
    names = {
        ADMIN: {
            "@odata.type": "#microsoft.graph.user",
            "id": ADMIN,
            "displayName": "Admin",
            "userPrincipalName": seed.ADMIN,
        },
        seed.PIPELINE_OBJECT_ID: {
            "@odata.type": "#microsoft.graph.servicePrincipal",
            "id": seed.PIPELINE_OBJECT_ID,
            "displayName": "pipeline",
        },
        group_id: {
            "@odata.type": "#microsoft.graph.group",
            "id": group_id,
            "displayName": "operators-group",
        },
    }
    for object_id, wanted in names.items():
        body = reader.graph("GET", f"/directoryObjects/{object_id}{query}").json()
        context = body.pop("@odata.context")
        assert context.endswith("#directoryObjects(id,displayName,userPrincipalName)/$entity")
        assert body == wanted
    body = {"ids": [*names, MISSING], "types": ["user", "servicePrincipal", "group"]}
    found = reader.graph("POST", f"/directoryObjects/getByIds{query}", body).json()["value"]
    assert found == list(names.values())
    assert reader.graph("GET", f"/directoryObjects/{MISSING}{query}").status_code == 404
    # It takes Directory.Read.All, whatever the object is: the operator's permissions are not enough.
    for refused in (
        operator.graph("GET", f"/directoryObjects/{ADMIN}{query}"),
        operator.graph("POST", "/directoryObjects/getByIds", body),
    ):
        assert code(refused) == (403, "Authorization_RequestDenied")


def test_a_deleted_group_is_found_by_its_name(sandbox: RunningSandbox, admin: Hands) -> None:
    """Where nothing else has it, as the portal would show it among the deleted ones."""
    gone = sandbox.client.add_group("once")["id"]
    admin.delete_group("once")
    assert sandbox.client.object_id("once") == gone
    again = sandbox.client.add_group("once")["id"]
    assert sandbox.client.object_id("once") == again
    sandbox.client.delete_group(again)
    with pytest.raises(SandboxError, match="'once' is ambiguous"):
        admin.purge_group("once")
