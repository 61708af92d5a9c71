"""What another hand does far from the cluster, where no list at the cluster shows it, is seen in a round."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from entra_sandbox.hands import Hands
from support.cluster import Body, Cluster, eventually
from support.drift import at_rest, item, quickly, tells
from support.scopes import MANAGEMENT_GROUP, PLAIN_READER, at, custom_role, operator_may, personal
from support.trouble import clean_log

FAR = seed.OTHER_RESOURCE_GROUP
SCOPES = pytest.mark.parametrize("scope", [FAR, MANAGEMENT_GROUP], ids=["resource group", "management group"])
READ_VAULTS, ALL_VAULTS = "Microsoft.KeyVault/vaults/read", "Microsoft.KeyVault/vaults/*"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which it is asked every second what has changed."""
    with quickly(tmp_path_factory.mktemp("drift-elsewhere")) as cluster:
        yield cluster
        clean_log(cluster)


@pytest.fixture
def admin(quick: Cluster) -> Hands:
    """Somebody else, who may do everything."""
    return Hands(quick.azure)


def defined(cluster: Cluster, name: str) -> Body:
    """A custom role as Azure has it."""
    found = custom_role(cluster, name)
    assert found
    return found


@SCOPES
def test_what_becomes_of_a_custom_role_for_elsewhere(quick: Cluster, admin: Hands, scope: str) -> None:
    """Widened it is narrowed again, with who it was; deleted it is made again."""
    name = quick.unique("elsewhere")
    role = {"name": name, "actions": [READ_VAULTS], "assignableScopes": [scope]}
    with operator_may(quick, scope, role=seed.CUSTOM_ROLE_AUTHOR):
        policy = personal(quick, customRoles=[role])
        policy.ready()
        before = defined(quick, name)
        words = f"RoleDefinition {name}"

        admin.change_role(name, actions=[ALL_VAULTS])
        wide = item("Azure", words, "actions", READ_VAULTS.lower(), ALL_VAULTS.lower(), "Corrected")
        body = tells(quick, policy.name, "InSync", wide)
        assert body["status"]["drift"]["items"][0]["changedBy"] == admin.who
        admin.delete_role(name)
        gone = item("Azure", words, "", "present", "deleted", "Corrected")
        eventually(lambda: custom_role(quick, name), "it is there again")
        tells(quick, policy.name, "InSync", gone, wide)

        assert defined(quick, name)["permissions"] == before["permissions"]
        at_rest(quick)
        policy.delete()
        assert custom_role(quick, name) is None


def test_a_role_that_would_do_is_followed_where_nothing_is_written(quick: Cluster, admin: Hands) -> None:
    """In Observe, with adoption: it is as good as the policy's own, and in no inventory."""
    name = quick.unique("would-do")
    admin.create_role(name, actions=[READ_VAULTS])
    role = {"name": name, "actions": [READ_VAULTS]}
    policy = personal(quick, customRoles=[role], mode="Observe", adoptionPolicy="Always")
    tells(quick, policy.name, "InSync")
    at_rest(quick)

    admin.change_role(name, actions=[ALL_VAULTS])

    wide = item(
        "Azure", f"RoleDefinition {name}", "actions", READ_VAULTS.lower(), ALL_VAULTS.lower(), "Reported"
    )
    tells(quick, policy.name, "Drifted", wide)
    admin.delete_role(name)
    gone = item("Azure", f"RoleDefinition {name}", "", "present", "absent", "Reported")
    tells(quick, policy.name, "Drifted", gone)
    policy.delete()


def test_what_another_hand_gives_elsewhere_is_given_by_us_when_that_ends(
    quick: Cluster, admin: Hands
) -> None:
    """It is in no inventory, because it is not ours, and wished for all the same."""
    with operator_may(quick, FAR):
        policy = personal(quick)
        theirs = admin.assign(policy.who.id, PLAIN_READER, FAR)["id"]
        quick.quiet(0.7)
        policy.update(azureRoles=[at(PLAIN_READER, FAR)])
        assert [one["id"] for one in quick.azure.assignments(policy.who.id, FAR)] == [theirs]
        at_rest(quick)

        admin.unassign(theirs)

        given = eventually(lambda: quick.azure.assignments(policy.who.id, FAR), "it is given anew")
        assert given[0]["id"] != theirs
        policy.ready()
        at_rest(quick)
        policy.delete()
        assert quick.azure.assignments(policy.who.id, FAR) == []
