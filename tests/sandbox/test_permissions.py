"""Who may do what in Graph, and which tokens count."""

import httpx
import pytest

from entra_sandbox import seed
from support.azure import MISSING, Caller, code, group_body, link, message
from support.azure import caller as caller_of
from support.sandbox import RunningSandbox

AKSDEV = seed.USER_IDS[seed.AKSDEV]
DENIED = (403, "Authorization_RequestDenied")


def _with(sandbox: RunningSandbox, http: httpx.Client, *roles: str) -> Caller:
    """Give the view of an application that holds these permissions."""
    app = sandbox.client.add_app("-".join(roles) or "none", appRoles=list(roles))
    return caller_of(sandbox, http, app["appId"])


@pytest.mark.parametrize(
    ("method", "path", "enough"),
    [
        ("GET", "/groups", "Group.ReadBasic.All"),
        ("GET", "/groups/{group}", "GroupMember.Read.All"),
        ("PATCH", "/groups/{group}", "Group.ReadWrite.All"),
        ("GET", "/groups/{group}/members", "GroupMember.ReadBasic.All"),
        ("GET", "/groups/{group}/transitiveMembers", "GroupMember.Read.All"),
        ("GET", "/groups/{group}/owners", "GroupMember.Read.All"),
        ("DELETE", "/groups/{group}", "Group.ReadWrite.All"),
        ("GET", "/users/{user}", "User.Read.All"),
        ("GET", "/users", "User.Read.All"),
        ("GET", f"/servicePrincipals/{seed.PIPELINE_OBJECT_ID}", "Application.Read.All"),
        ("GET", f"/servicePrincipals/{seed.PIPELINE_OBJECT_ID}/memberOf", "Application.Read.All"),
        ("GET", "/users/{user}/memberOf", "GroupMember.Read.All"),
        ("GET", "/directory/deletedItems/microsoft.graph.group", "Group.Read.All"),
        ("GET", "/groups/delta", "Group.ReadBasic.All"),
    ],
)
def test_each_route_wants_its_permission(
    sandbox: RunningSandbox, http: httpx.Client, method: str, path: str, enough: str
) -> None:
    group = sandbox.client.add_group("appdev")["id"]
    target = path.format(group=group, user=AKSDEV)
    body = {"description": "x"} if method == "PATCH" else None
    nothing = _with(sandbox, http).graph(method, target, body)
    assert code(nothing) == DENIED
    assert message(nothing) == "Insufficient privileges to complete the operation."
    assert _with(sandbox, http, enough).graph(method, target, body).status_code in (200, 204)
    line = sandbox.client.journal(status=403)[0]
    assert enough in line["detail"]  # the client is not told which permission is missing, the journal is


def test_an_application_does_not_find_people_with_the_basic_permission(
    sandbox: RunningSandbox, http: httpx.Client
) -> None:
    view = _with(sandbox, http, "User.ReadBasic.All")
    assert code(view.graph("GET", f"/users/{AKSDEV}")) == DENIED
    assert code(view.graph("GET", "/users")) == DENIED


def test_upsert_wants_more_than_creation(sandbox: RunningSandbox, http: httpx.Client) -> None:
    creator = _with(sandbox, http, "Group.Create")
    assert creator.graph("POST", "/groups", group_body("mine")).status_code == 201
    assert code(creator.upsert("mine")) == DENIED


def test_members_by_kind(sandbox: RunningSandbox, http: httpx.Client) -> None:
    group = sandbox.client.add_group("appdev")["id"]
    view = _with(sandbox, http, "GroupMember.ReadWrite.All")
    assert view.add_member(group, AKSDEV).status_code == 204
    assert code(view.add_member(group, seed.PIPELINE_OBJECT_ID)) == DENIED
    bind = {"members@odata.bind": [link(seed.PIPELINE_OBJECT_ID)]}
    assert code(view.graph("PATCH", f"/groups/{group}", bind)) == DENIED
    both = _with(sandbox, http, "GroupMember.ReadWrite.All", "Application.ReadWrite.All")
    assert both.add_member(group, seed.PIPELINE_OBJECT_ID).status_code == 204
    assert code(view.graph("POST", f"/groups/{group}/owners/$ref", {"@odata.id": link(AKSDEV)})) == DENIED


def test_role_assignable_groups_want_more(sandbox: RunningSandbox, operator: Caller) -> None:
    group = sandbox.client.add_group("admins", isAssignableToRole=True)["id"]
    assert code(operator.add_member(group, AKSDEV)) == DENIED
    body = group_body("other", isAssignableToRole=True)
    assert code(operator.graph("POST", "/groups", body)) == DENIED


def test_an_owner_needs_no_permission_for_its_own_group(sandbox: RunningSandbox, http: httpx.Client) -> None:
    least = caller_of(sandbox, http, seed.LEAST_CLIENT_ID)
    own = {"owners@odata.bind": [link(seed.LEAST_OBJECT_ID)]}
    group = least.create_group("mine", **own)["id"]
    assert least.add_member(group, AKSDEV).status_code == 204
    assert least.members(group) == {AKSDEV}
    assert least.graph("DELETE", f"/groups/{group}/members/{AKSDEV}/$ref").status_code == 204
    assert code(least.graph("DELETE", f"/groups/{group}")) == DENIED
    foreign = sandbox.client.add_group("theirs")["id"]
    assert code(least.add_member(foreign, AKSDEV)) == DENIED
    anonymous = least.create_group("ownerless")["id"]
    assert code(least.graph("PATCH", f"/groups/{anonymous}", {"description": "x"})) == DENIED


def test_who_only_creates_may_link_only_itself(sandbox: RunningSandbox, http: httpx.Client) -> None:
    least = caller_of(sandbox, http, seed.LEAST_CLIENT_ID)
    body = group_body("mine", **{"members@odata.bind": [link(AKSDEV)]})
    assert code(least.graph("POST", "/groups", body)) == DENIED
    reader = _with(sandbox, http, "Group.Create", "User.Read.All")
    assert reader.graph("POST", "/groups", body).status_code == 201


def test_only_good_tokens_for_graph_count(sandbox: RunningSandbox, http: httpx.Client) -> None:
    client, app = sandbox.client, seed.OPERATOR_CLIENT_ID
    good = client.app_token(app, audience="https://graph.microsoft.com")
    tokens = {
        "Access token has expired or is not yet valid.": client.app_token(
            app, audience=sandbox.url, lifetime=-1
        ),
        "Access token validation failure. Invalid audience.": client.app_token(
            app, audience="https://management.azure.com"
        ),
        "Access token validation failure. Invalid signature.": good[:-8] + "AAAAAAAA",
    }
    for text, token in tokens.items():
        answer = Caller(http, token).graph("GET", "/groups")
        assert code(answer) == (401, "InvalidAuthenticationToken")
        assert message(answer) == text
    assert code(http.get("/v1.0/groups")) == (401, "InvalidAuthenticationToken")
    assert Caller(http, good).graph("GET", f"/users/{AKSDEV}").status_code == 200
    assert Caller(http, good).graph("GET", f"/users/{MISSING}").status_code == 404
