"""Who a reference in a spec stands for: users, guests, applications, groups; and how often Graph is asked."""

from collections.abc import Callable
from typing import Any

import pytest

from entra_access.adapters.graph import Graph
from entra_access.api.resources import Reference
from entra_access.domain.faults import Denied
from entra_access.domain.observed import Principal
from entra_sandbox import seed
from support.sandbox import RunningSandbox

NOBODY = "99999999-9999-4999-8999-999999999999"
TEAM = "88888888-8888-4888-8888-888888888888"
ALICE_ID = seed.USER_IDS[seed.ALICE]
APP, OBJECT = seed.PIPELINE_CLIENT_ID, seed.PIPELINE_OBJECT_ID
PIPELINE = Principal(OBJECT, "servicePrincipal", APP, "pipeline")
BY_APP = f"GET /servicePrincipals(appId='{APP}') 200"
BY_OBJECT = f"GET /servicePrincipals/{OBJECT} 200"
ODD_USERS = [
    seed.ALICE,
    seed.GUEST,
    "o'hara@contoso.com",
    "$money@contoso.com",
    "$o'hara@contoso.com",
    "$partner_fabrikam.com#EXT#@contoso.com",
    "$50%25@contoso.com",
    "$ünï@contoso.com",
    "ünï@contoso.com",
    "a+b&c=d@contoso.com",
    "x#y^z~!@contoso.com",
]


@pytest.mark.parametrize("name", ODD_USERS)
async def test_users_are_found_by_odd_names_and_by_id(
    graph: Graph, sandbox: RunningSandbox, name: str
) -> None:
    """Guests have a # in their names; others begin with a dollar sign or have quotes. Case is nothing."""
    if name not in seed.USER_IDS:
        sandbox.client.add_user(name, displayName=f"Name of {name}")
    user = next(u for u in sandbox.client.state()["users"] if u["userPrincipalName"] == name)

    spellings = (name, name.lower(), name.upper(), user["id"], user["id"].upper())
    found = [await graph.principal(Reference("user", value)) for value in spellings]

    guest = "#EXT#" in name
    assert found == [Principal(user["id"], "user", name, user["displayName"], guest=guest)] * len(found)


@pytest.mark.parametrize("name", [seed.ALICE, seed.GUEST, "$money@contoso.com", ALICE_ID])
async def test_one_request_finds_a_user(
    graph: Graph, sandbox: RunningSandbox, asked: Callable[[], list[str]], name: str
) -> None:
    """By any name, and it asks for no more than is needed."""
    sandbox.client.add_user("$money@contoso.com")
    sandbox.client.clear_journal()

    assert await graph.principal(Reference("user", name))

    (entry,) = sandbox.client.journal(kind="graph")
    assert "$select" in entry["query"]
    assert "userType" in entry["query"]
    path = f"/users('{name}')" if name.startswith("$") else f"/users/{name}"
    assert asked() == [f"GET {path} 200"]


@pytest.mark.parametrize(
    ("name", "user_type", "guest"),
    [
        (seed.GUEST, None, True),
        ("invited@fabrikam.com", "Guest", True),
        ("$invited@contoso.com", "Guest", True),
        ("came_fabrikam.com#EXT#@contoso.com", "Member", True),
        ("lower_fabrikam.com#ext#@contoso.com", "Member", True),
        ("next.extra@contoso.com", "Member", False),
        ("ext@contoso.com", "Member", False),
    ],
)
async def test_guests_are_told_from_members(
    graph: Graph,
    sandbox: RunningSandbox,
    name: str,
    user_type: str | None,
    guest: bool,  # noqa: FBT001 - a table
) -> None:
    """By their type, and by a name that says that they came from elsewhere; whichever way they are named."""
    if user_type:
        sandbox.client.add_user(name, userType=user_type)
    user = next(u for u in sandbox.client.state()["users"] if u["userPrincipalName"] == name)

    for value in (name, user["id"]):
        found = await graph.principal(Reference("user", value))
        assert found is not None
        assert (found.id, found.name, found.guest) == (user["id"], name, guest)


async def test_who_is_not_in_the_directory_is_none(graph: Graph, sandbox: RunningSandbox) -> None:
    """Neither by name nor by id, whatever it is, and a guest's name is not cut at the #."""
    deleted = sandbox.client.add_group("gone")["id"]
    sandbox.client.delete_group(deleted)
    for reference in (
        Reference("user", "nobody@contoso.com"),
        Reference("user", "$nobody@contoso.com"),
        Reference("user", "$alice@contoso.com"),
        Reference("user", NOBODY),
        Reference("user", "alice@contoso.com#ext#@contoso.com"),
        Reference("group", NOBODY),
        Reference("group", deleted),
        Reference("servicePrincipal", NOBODY),
        Reference("servicePrincipal", NOBODY, "appId"),
        Reference("servicePrincipal", NOBODY, "objectId"),
    ):
        assert await graph.principal(reference) is None


async def test_what_is_of_another_kind_is_none(graph: Graph, sandbox: RunningSandbox) -> None:
    """An object id stands for nothing where something of another kind was asked for."""
    group = sandbox.client.add_group("team")["id"]
    for kind, value in (
        ("user", OBJECT),
        ("user", group),
        ("user", APP),
        ("servicePrincipal", ALICE_ID),
        ("servicePrincipal", group),
        ("group", ALICE_ID),
        ("group", OBJECT),
    ):
        assert await graph.principal(Reference(kind, value)) is None


@pytest.mark.parametrize(
    ("value", "form", "requests"),
    [
        (APP, "appId", [BY_APP]),
        (APP, "", [BY_APP]),
        (APP.upper(), "appId", [BY_APP.replace(APP, APP.upper())]),
        (OBJECT, "objectId", [BY_OBJECT]),
        (OBJECT, "", [BY_APP.replace(APP, OBJECT).replace("200", "404"), BY_OBJECT]),
    ],
)
async def test_an_application_is_found_by_its_app_id_and_its_object_id(
    graph: Graph, asked: Callable[[], list[str]], value: str, form: str, requests: list[str]
) -> None:
    """It is the same either way; where the spec says which id it is, no other is tried."""
    assert await graph.principal(Reference("servicePrincipal", value, form)) == PIPELINE
    assert asked() == requests


@pytest.mark.parametrize(("value", "form"), [(APP, "objectId"), (OBJECT, "appId")])
async def test_an_id_is_taken_for_what_the_spec_calls_it(
    graph: Graph, asked: Callable[[], list[str]], value: str, form: str
) -> None:
    """An object id under appId is not there, and is not looked for elsewhere: one request."""
    assert await graph.principal(Reference("servicePrincipal", value, form)) is None
    assert [line[-3:] for line in asked()] == ["404"]


async def test_an_id_that_could_be_both_is_the_applications(graph: Graph, sandbox: RunningSandbox) -> None:
    """People know app ids: one that is also another one's object id stands for the application."""
    shared = "77777777-7777-4777-8777-777777777777"
    sandbox.client.add_app("has it as object id", id=shared)
    wanted = sandbox.client.add_app("has it as app id", appId=shared)

    either = await graph.principal(Reference("servicePrincipal", shared))
    by_object = await graph.principal(Reference("servicePrincipal", shared, "objectId"))

    assert either == Principal(wanted["id"], "servicePrincipal", shared, "has it as app id")
    assert by_object is not None
    assert (by_object.id, by_object.display_name) == (shared, "has it as object id")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, (True, False)),
        ({"securityEnabled": False, "mailEnabled": True}, (False, False)),
        ({"securityEnabled": False, "mailEnabled": True, "groupTypes": ["Unified"]}, (False, True)),
        ({"securityEnabled": True, "mailEnabled": True, "groupTypes": ["Unified"]}, (True, True)),
    ],
    ids=["security", "distribution", "Microsoft 365", "Microsoft 365 with security"],
)
async def test_an_existing_group_is_found_with_what_it_can_be_given(
    graph: Graph,
    sandbox: RunningSandbox,
    asked: Callable[[], list[str]],
    fields: dict[str, Any],
    told: tuple[bool, bool],
) -> None:
    """A group that cannot be given access, or be a member, is there, and told from one that can."""
    security, unified = told
    group = sandbox.client.add_group("Ops & Söhne", **fields)["id"]

    found = await graph.principal(Reference("group", group.upper()))

    wanted = Principal(group, "group", display_name="Ops & Söhne", security=security, unified=unified)
    assert found == wanted
    assert asked() == [f"GET /groups/{group.upper()} 200"]


@pytest.mark.parametrize(
    ("permissions", "reference", "missing"),
    [
        (["User.ReadBasic.All", "Group.ReadWrite.All"], Reference("user", seed.ALICE), "User.Read.All"),
        ([], Reference("user", "$money@contoso.com"), "User.Read.All"),
        (["User.Read.All"], Reference("servicePrincipal", APP), "Application.Read.All"),
        ([], Reference("servicePrincipal", APP, "appId"), "Application.Read.All"),
        ([], Reference("servicePrincipal", OBJECT, "objectId"), "Application.Read.All"),
        (["User.Read.All", "Application.Read.All"], Reference("group", TEAM), "Group.ReadWrite.All"),
    ],
)
async def test_who_may_not_look_is_told_what_to_grant(
    graph_with: Callable[..., Graph],
    sandbox: RunningSandbox,
    asked: Callable[[], list[str]],
    permissions: list[str],
    reference: Reference,
    missing: str,
) -> None:
    """It is never "not there"; one request, and the message has the permission's name and no other."""
    sandbox.client.add_group("team", id=TEAM)
    graph = graph_with(*permissions)

    with pytest.raises(Denied, match=f"grant it {missing} in Entra") as caught:
        await graph.principal(reference)

    assert caught.value.permanent
    assert [line[-3:] for line in asked()] == ["403"]


@pytest.mark.parametrize(
    ("permission", "reference"),
    [
        ("User.Read.All", Reference("user", seed.GUEST)),
        ("Application.Read.All", Reference("servicePrincipal", OBJECT)),
    ],
)
async def test_what_the_message_names_is_enough(
    graph_with: Callable[..., Graph], permission: str, reference: Reference
) -> None:
    """With that one permission the look-up succeeds."""
    assert await graph_with(permission).principal(reference) is not None
