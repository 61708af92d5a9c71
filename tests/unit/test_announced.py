"""What is written into the inventory before it is made, and stays there until it is known to be gone."""

from dataclasses import replace

import pytest

from entra_access.api.names import SECRET, SERVICE_ACCOUNT, Kind
from entra_access.api.resources import CustomRole
from entra_access.api.status import Item, System
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
    DeleteGroup,
    RestoreGroup,
    UnassignRole,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.definition_plan import definition_item, wished_definition
from entra_access.domain.inventory import announced
from entra_access.domain.plan import Plan
from unit.builders import (
    GROUP_ID,
    NOW,
    PLACE,
    SCOPE,
    UNIQUE,
    a_meta,
    cluster_binding,
    group_line,
)
from unit.worlds import (
    DEV_SCOPE,
    FAR,
    READER,
    RESOURCE_GROUP,
    ROBOT_ID,
    SUBSCRIPTION,
    VAULT,
    line,
    role_id,
)

CREATE = CreateGroup(UNIQUE, "appdev", "appdev", None)
CUSTOM = CustomRole("Pod Restarter", data_actions=("Microsoft.ContainerService/managedClusters/pods/delete",))
WISH = wished_definition(CUSTOM, "appdev", PLACE)
DEFINE = DefineRole(RESOURCE_GROUP, WISH, new=True)


def assign(scope: str, principal: str | None = ROBOT_ID) -> AssignRole:
    return AssignRole(scope, READER, role_id(READER), principal, "ServicePrincipal", "note")


def told(*changes: Change, inventory: tuple[Item, ...] = ()) -> tuple[Item, ...]:
    return announced(Plan(changes=tuple(changes)), inventory, PLACE, NOW)


def announced_line(scope: str) -> Item:
    """The line of an assignment that is about to be made."""
    return replace(line(READER, scope=scope), applied="")


def test_a_group_is_announced_without_an_id() -> None:
    assert told(CREATE) == (Item(System.ENTRA, "Group", UNIQUE, "", NOW),)


def test_a_custom_role_and_a_far_assignment_are_announced_with_the_id_that_they_will_have() -> None:
    assert told(DEFINE) == (definition_item(WISH, ""),)
    for scope in (VAULT, FAR):
        assert told(assign(scope)) == (announced_line(scope),)


@pytest.mark.parametrize("scope", [SCOPE, DEV_SCOPE, RESOURCE_GROUP, SUBSCRIPTION])
def test_what_a_list_at_the_cluster_shows_needs_no_announcement(scope: str) -> None:
    assert told(assign(scope)) == ()


def test_what_is_known_already_is_not_announced_again() -> None:
    """Each announcement is a write."""
    known = (group_line(""), definition_item(WISH, NOW), line(READER, scope=VAULT))
    assert told(CREATE, DEFINE, assign(VAULT), inventory=known) == ()
    upper = tuple(replace(item, id=item.id.upper()) for item in known)
    assert told(CREATE, DEFINE, assign(VAULT), inventory=upper) == ()
    assert told(assign(FAR), inventory=known) == (announced_line(FAR),)


def test_an_assignment_to_a_group_without_an_id_is_not_announced() -> None:
    """It has no name yet. Such a one waits for the next pass."""
    assert told(assign(VAULT, None)) == ()


def test_other_changes_are_not_announced() -> None:
    others: list[Change] = [
        RestoreGroup(GROUP_ID, "appdev"),
        ApplyChild(cluster_binding("view"), None),
        UnassignRole("/a", READER),
        DeleteGroup(GROUP_ID, "appdev"),
        AddPrincipals(GROUP_ID, "members", ("x",)),
    ]
    assert told(*others) == ()


@pytest.mark.parametrize(("kind", "account"), [(SECRET, "demo"), (SERVICE_ACCOUNT, "")])
def test_an_account_and_its_token_are_announced_by_name(kind: Kind, account: str) -> None:
    child = Child(ChildRef(kind, "tools", "demo"), a_meta(), account=account)
    line = Item(System.KUBERNETES, kind.kind, "tools/demo")
    assert told(ApplyChild(child, None)) == (line,)
    assert told(ApplyChild(child, None), inventory=(line,)) == ()
    assert told(ApplyChild(child, None), inventory=(replace(line, id="uid-of-before"),)) == ()
    assert told(ApplyChild(child, "uid")) == (), "it is there already"


def test_a_service_principal_is_announced_before_it_becomes_a_member() -> None:
    """The list of members may not show it, so the inventory must tell of it before it is in there."""
    line = Item(System.ENTRA, "Member", "servicePrincipal app", ROBOT_ID)
    joins = Plan(changes=(AddPrincipals(None, "members", (ROBOT_ID,)),), inventory=(line,))
    assert announced(joins, (), PLACE, NOW) == (line,)
    assert announced(joins, (line,), PLACE, NOW) == ()
    assert announced(Plan(inventory=(line,)), (), PLACE, NOW) == ()
