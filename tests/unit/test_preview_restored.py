"""Previews of policies whose group lies among the deleted ones: a pass restores it, the next do the rest."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import POLICY
from entra_access.domain.observed import Group
from entra_access.reconcile.proposal import exit_code
from unit.builders import GROUP_ID, UNIQUE, guid
from unit.office import APPDEV, Office
from unit.previews import BINDING, Body, grant, in_place, lines, policy, prepared, preview
from unit.worlds import ANNA, READER

LATER = "who is in group appdev is known when it is restored: "
ADDED = "whoever the policy names and is missing is added then"
EXACT = f"{LATER}members and owners that the policy does not name leave it then, and {ADDED}"


@pytest.fixture
async def office() -> Office:
    """A cluster with a policy whose group somebody deleted."""
    world = prepared()
    await in_place(world, policy("appdev", {"user": ANNA}))
    world.groups = {key: replace(one, deleted=True) for key, one in world.groups.items()}
    return world


def group_of(world: Office) -> Group:
    """The one group that there is."""
    [group] = world.groups.values()
    return group


def called(name: str, *members: Body, **group: Any) -> Body:
    """The policy with another group."""
    body = policy("appdev", *members, azureRoles=[{"role": READER}], clusterRoles=["view"])
    body["spec"]["subject"]["group"] |= {"displayName": name, **group}
    return body


async def test_all_but_who_is_in_it_is_told(office: Office) -> None:
    """The name that it gets, the role, the binding. Nobody is said to join or leave."""
    found = await preview(office, called("team", {"user": ANNA}))
    [one] = found
    texts = [line.text for line in one.changes]
    assert texts[0] == f"restore deleted group appdev ({group_of(office).id})"
    assert "Group team: displayName is appdev, and will be team" in texts
    assert f"assign Azure role {READER} at aks" in texts
    assert any(text.startswith("create ClusterRoleBinding ") for text in texts)
    assert not [text for text in texts if "members" in text or "owners" in text]
    assert [finding.text for finding in one.findings] == [EXACT]
    assert exit_code(found) == 2


@pytest.mark.parametrize(
    ("membership", "members", "text"),
    [
        ("Additive", [{"user": ANNA}], f"{LATER}{ADDED}"),
        ("Additive", [], ""),
        ("Unmanaged", [], ""),
        ("Exact", [], EXACT),
    ],
)
async def test_what_becomes_of_who_is_in_it_is_as_the_policy_says(
    office: Office, membership: str, members: list[Body], text: str
) -> None:
    [one] = await preview(office, called("appdev", *members, membership=membership))
    assert [finding.text for finding in one.findings] == ([text] if text else [])


async def test_a_policy_that_comes_back_and_its_grant() -> None:
    """Nothing is known of the time before; the grant is for the group with its old object id."""
    world = prepared()
    world.groups[GROUP_ID] = Group(GROUP_ID, UNIQUE, "appdev", "appdev", None, deleted=True)
    found = await preview(world, called("appdev", {"user": ANNA}), grant())
    told = lines(found)
    assert told["AccessPolicy appdev"][0] == f"restore deleted group appdev ({GROUP_ID})"
    assert told["NamespaceGrant dev/work"] == [f"create RoleBinding {BINDING}"]
    assert [one.text for one in found[1].findings] == ["this follows when AccessPolicy appdev has its group"]


async def test_a_grant_that_is_in_place_does_not_change(office: Office) -> None:
    """Its binding has the object id, which is the same again."""
    await in_place(office, grant())
    found = await preview(office, policy("appdev", {"user": ANNA}), grant())
    assert len(lines(found)["AccessPolicy appdev"]) == 1
    assert (found[1].changes, found[1].findings) == ((), ())


async def test_a_name_that_somebody_has_meanwhile(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group comes back, and keeps its own name."""
    other = Group(guid("theirs"), "", "team", "team", None)

    async def named(_: str) -> tuple[Group, ...]:
        return (other,)

    monkeypatch.setattr(office, "groups_named", named)
    found = await preview(office, called("team", {"user": ANNA}))
    assert "GroupExists" in [one.reason for one in found[0].findings]
    assert not [line.text for line in found[0].changes if "displayName" in line.text]
    assert exit_code(found) == 1


async def test_who_is_missing_in_the_directory_is_told_all_the_same(office: Office) -> None:
    [one] = await preview(office, called("appdev", {"user": "nobody@contoso.com"}))
    assert [finding.reason for finding in one.findings] == ["MemberNotFound", "Restoring"]


async def test_the_passes_do_what_was_said(office: Office) -> None:
    """And what was not: who is no member goes."""
    wish = called("team")
    [said] = await preview(office, wish)
    office.apply(POLICY, "appdev", wish["spec"])
    await office.look(APPDEV, 4)
    assert (group_of(office).display_name, group_of(office).deleted) == ("team", False)
    assert office.relations[group_of(office).id]["members"] == {}
    assert len(office.given) == 1
    assert [line for one in await preview(office, wish) for line in one.changes] == []
    assert len(said.changes) == 5
