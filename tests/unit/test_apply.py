"""Carrying out a plan: what goes on, and what waits, when a change fails."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from entra_access.api.names import ROLE, SECRET, SERVICE_ACCOUNT
from entra_access.api.status import Item, System
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DefineRole,
    DeleteChild,
    DeleteGroup,
    LeaveAccount,
    RemovePrincipal,
    RemoveRole,
    ReplaceChild,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Denied, Fault, Finding, Link, Severity, Taken, Unavailable
from entra_access.domain.group_plan import group_mark
from entra_access.domain.naming import assignment_id, assignment_name, definition_id
from entra_access.domain.observed import Assignment, Definition, Group
from entra_access.domain.plan import Plan
from entra_access.domain.role_plan import MADE
from entra_access.reconcile.apply import Applied, Applier
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.role_ids import RoleIds
from entra_access.reconcile.shared import Assignments
from unit.builders import (
    GROUP_ID,
    NOW,
    SCOPE,
    UNIQUE,
    a_grant,
    a_group,
    a_meta,
    a_rule,
    body_of,
    cluster_binding,
    grant_binding,
    grant_role,
    guid,
    role_line,
)

CREATE = CreateGroup(UNIQUE, "appdev", "appdev", None)
RESTORE = RestoreGroup(GROUP_ID, "appdev")
UPDATE = UpdateGroup(GROUP_ID, (("description", "x"),))
ADD = AddPrincipals(GROUP_ID, "members", ("m1",))
REMOVE = RemovePrincipal(GROUP_ID, "members", "m2")
REMOVE_OWNER = RemovePrincipal(GROUP_ID, "owners", "o1")
ASSIGN = AssignRole(SCOPE, "Reader", guid("Reader"), GROUP_ID, "Group", "note")
UNASSIGN = UnassignRole("/a1", "Writer")
BIND = ApplyChild(cluster_binding("view"), None)
UNBIND = DeleteChild(cluster_binding("edit").ref, "uid-1")
REPLACE = ReplaceChild(cluster_binding("view").ref, "uid-2")
DELETE = DeleteGroup(GROUP_ID, "appdev")
GRANT = a_grant(a_rule("get", "pods"))


class World:
    """Entra, Azure and Kubernetes in one: keeps what it is asked for, and fails as it is told."""

    def __init__(self, *faults: tuple[str, Fault]) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._faults = dict(faults)

    async def create_group(self, *values: Any) -> Group:
        self._ask("create_group", *values)
        return a_group(id="new-group")

    async def apply_child(
        self, child: Any, group_id: str | None, uid: str | None, _: object
    ) -> dict[str, Any]:
        self._ask("apply_child", str(child.ref), group_id, uid)
        return body_of(child, group_id)

    def _ask(self, name: str, *values: Any) -> None:
        self.asked.append((name, *values))
        fault = self._faults.get(f"{name} {values[0]}", self._faults.get(name))
        if fault:
            raise fault

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*values: Any) -> None:
            self._ask(name, *values)

        return call


async def run(world: World, *changes: Change, findings: tuple[Finding, ...] = ()) -> Applied:
    cache = WatchCache()
    return await applier(world, cache).run(Plan(changes, findings), NOW)


def applier(world: Any, cache: WatchCache) -> Applier:
    async def nothing(_: object) -> tuple[()]:
        return ()

    async def none(_: object) -> None:
        return None

    roles = RoleIds(none, timedelta(minutes=2))
    return Applier(cache, world, world, world, Assignments(nothing, 10), roles)


async def test_all_is_done_in_order() -> None:
    world = World()
    changes = (UPDATE, ADD, ASSIGN, BIND, UNBIND, UNASSIGN, REMOVE)
    applied = await run(world, *changes)
    assert applied.done == list(changes)
    assert applied.findings == []
    assert [name for name, *_ in world.asked] == [
        "update_group",
        "add",
        "assign",
        "apply_child",
        "delete_child",
        "unassign",
        "remove",
    ]
    assert applied.gone == {"uid-1", "/a1", "m2"}


async def test_what_is_made_for_a_new_group_is_made_for_that_group() -> None:
    world = World()
    applied = await run(
        world,
        CREATE,
        AddPrincipals(None, "members", ("m1",)),
        AssignRole(SCOPE, "Reader", guid("Reader"), None, "Group", "note"),
        ApplyChild(cluster_binding("view", None), None),
    )
    name = assignment_name(SCOPE, "new-group", guid("Reader"))
    assert world.asked[1:] == [
        ("add", "new-group", "members", ("m1",)),
        ("assign", Assignment(name, SCOPE, "new-group", guid("Reader"), "note"), "Group"),
        ("apply_child", str(cluster_binding("view").ref), "new-group", None),
    ]
    assert applied.group_id == "new-group"
    assert applied.made[:2] == [
        Item(System.ENTRA, "Group", UNIQUE, "new-group", NOW, applied=group_mark("appdev", "appdev", None)),
        Item(System.AZURE, "RoleAssignment", "Reader", assignment_id(SCOPE, name), applied=MADE),
    ]


@pytest.mark.parametrize(
    ("name", "change"), [("create_group", CREATE), ("restore_group", RESTORE)], ids=["made", "restored"]
)
async def test_without_its_group_nothing_else_is_done(name: str, change: Change) -> None:
    world = World((name, Unavailable("down")))
    applied = await run(world, change, ADD, ASSIGN, BIND, UNBIND)
    assert len(world.asked) == 1
    assert (applied.done, applied.gone) == ([], set())
    assert [(f.link, f.severity) for f in applied.findings] == [(Link.SUBJECT, Severity.WAITING)]


LINKS: dict[str, tuple[str, list[Change], list[Change]]] = {
    "members": ("add", [ADD, REMOVE, REMOVE_OWNER], []),
    "Azure roles": ("assign", [ASSIGN, UNASSIGN], []),
    "bindings": ("apply_child", [BIND, UNBIND], []),
    "members, and others go on": ("add", [ADD, ASSIGN, BIND, UNBIND, REMOVE], [ASSIGN, BIND, UNBIND]),
    "one of two additions": ("assign", [ASSIGN, ADD, UNASSIGN, REMOVE], [ADD, REMOVE]),
}


@pytest.mark.parametrize(("name", "changes", "done"), LINKS.values(), ids=LINKS)
async def test_nothing_is_taken_away_where_an_addition_failed(
    name: str, changes: list[Change], done: list[Change]
) -> None:
    applied = await run(World((name, Denied("no right"))), *changes)
    assert applied.done == done
    assert [finding.severity for finding in applied.findings] == [Severity.STALLED]


ADD_APP = AddPrincipals(GROUP_ID, "members", ("app",), applications=True)
ADD_OWNER_APP = AddPrincipals(GROUP_ID, "owners", ("app",), applications=True)
REMOVE_APP = RemovePrincipal(GROUP_ID, "members", "old-app", application=True)
APPLICATIONS: dict[str, tuple[dict[str, Fault], list[Change], list[Change]]] = {
    "none may be added: people leave, applications stay": (
        {"app": Denied("no right")},
        [ADD_APP, REMOVE_APP, REMOVE, REMOVE_OWNER],
        [REMOVE, REMOVE_OWNER],
    ),
    "none may be taken out: people leave": (
        {"old-app": Denied("no right")},
        [REMOVE_APP, REMOVE],
        [REMOVE],
    ),
    "neither they nor people may be added": (
        {"app": Denied("no right"), "m1": Denied("no right")},
        [ADD, ADD_APP, REMOVE],
        [],
    ),
    "another trouble than a missing permission": (
        {"app": Unavailable("down")},
        [ADD_APP, REMOVE],
        [],
    ),
    "as owners they need no other permission than people": (
        {"app": Denied("no right")},
        [ADD_OWNER_APP, REMOVE_OWNER, REMOVE],
        [],
    ),
}


class Members(World):
    """Fails for some of the members."""

    def __init__(self, faults: dict[str, Fault]) -> None:
        super().__init__()
        self._of = faults

    async def add(self, _: str, __: str, ids: tuple[str, ...]) -> None:
        await self.remove(*ids)

    async def remove(self, *values: str) -> None:
        if values[-1] in self._of:
            raise self._of[values[-1]]


@pytest.mark.parametrize(("faults", "changes", "done"), APPLICATIONS.values(), ids=APPLICATIONS)
async def test_the_missing_permission_for_applications_keeps_no_person_in(
    faults: dict[str, Fault], changes: list[Change], done: list[Change]
) -> None:
    assert (await run(Members(faults), *changes)).done == done


@pytest.mark.parametrize("namespace", ["tools", "dev"])
async def test_an_account_is_left_while_something_fails_in_another_namespace(namespace: str) -> None:
    """In its own namespace it may be the next owner who could not be written."""
    ref, owner = ChildRef(SERVICE_ACCOUNT, namespace, "robot"), a_meta()
    failing = ApplyChild(Child(ChildRef(SERVICE_ACCOUNT, "tools", "robot"), owner, joins=True), "uid")
    leave = LeaveAccount(ref, "uid", owner)
    applied = await run(World(("apply_child", Denied("no right"))), failing, leave)
    assert applied.done == ([leave] if namespace == "dev" else [])


async def test_a_removal_that_failed_holds_the_next_of_its_link() -> None:
    applied = await run(World(("unassign", Unavailable("down"))), UNASSIGN, UNASSIGN, REMOVE)
    assert applied.done == [REMOVE]
    assert len(applied.findings) == 1


async def test_the_group_goes_last() -> None:
    applied = await run(World(), UNBIND, UNASSIGN, DELETE)
    assert applied.done == [UNBIND, UNASSIGN, DELETE]
    assert applied.gone == {"uid-1", "/a1", GROUP_ID}


@pytest.mark.parametrize("name", ["delete_child", "unassign"])
async def test_the_group_stays_while_anything_that_depends_on_it_stays(name: str) -> None:
    applied = await run(World((name, Unavailable("down"))), UNBIND, UNASSIGN, DELETE)
    assert DELETE not in applied.done
    assert GROUP_ID not in applied.gone


@pytest.mark.parametrize("severity", Severity)
async def test_the_group_stays_while_anything_is_unseen(severity: Severity) -> None:
    unseen = Finding(Link.AZURE_ROLES, severity, "Unavailable", "down")
    applied = await run(World(), DELETE, findings=(unseen,))
    assert applied.done == ([] if severity.hinders else [DELETE])


async def test_a_replacement_is_no_removal_that_waits() -> None:
    other = ApplyChild(cluster_binding("admin"), None)
    world = World((f"apply_child {other.child.ref}", Denied("no right")))
    applied = await run(world, other, REPLACE, BIND, UNBIND)
    assert applied.done == [REPLACE, BIND]


async def test_nobody_is_bound_to_a_role_that_is_not_ours() -> None:
    """A Role of that name is there, with rules that no ceiling has seen: to bind it would be to give them."""
    role, binding = ApplyChild(grant_role(GRANT), None), ApplyChild(grant_binding(GRANT, kind=ROLE), None)
    other = ApplyChild(grant_binding(GRANT, "view"), None)
    world = World((f"apply_child {role.child.ref}", Taken("there already")))
    applied = await run(world, role, binding, other)
    assert applied.done == [other]
    assert str(binding.child.ref) not in {asked[1] for asked in world.asked}


WISH = Definition(guid("Pod Restarter"), "Pod Restarter", assignable_scopes=(SCOPE,))
DEFINE = DefineRole(SCOPE, WISH, new=True)
REMOVE_ROLE = RemoveRole(definition_id(SCOPE, guid("old")), "Old")


async def test_a_custom_role_that_could_not_be_made_is_not_assigned_and_others_are() -> None:
    own = AssignRole(SCOPE, WISH.name, WISH.guid, GROUP_ID, "Group", "note")
    applied = await run(World(("define", Unavailable("down"))), DEFINE, own, ASSIGN, UNASSIGN, REMOVE_ROLE)
    assert applied.done == [ASSIGN]
    assert applied.made == [role_line("Reader")]


async def test_custom_roles_are_written_down_and_struck_out() -> None:
    world = World()
    applied = await run(world, DEFINE, REMOVE_ROLE)
    assert world.asked == [("define", SCOPE, WISH), ("undefine", REMOVE_ROLE.definition_id)]
    assert [(item.kind, item.name, item.id) for item in applied.made] == [
        ("RoleDefinition", "Pod Restarter", definition_id(SCOPE, WISH.guid))
    ]
    assert applied.gone == {REMOVE_ROLE.definition_id}


async def test_a_custom_role_stays_while_its_assignment_could_not_be_taken_away() -> None:
    applied = await run(World(("unassign", Unavailable("down"))), UNASSIGN, REMOVE_ROLE)
    assert applied.done == []


async def test_no_token_is_made_for_an_account_that_is_not_ours() -> None:
    """It would sign in as somebody else's account."""
    account = ApplyChild(Child(ChildRef(SERVICE_ACCOUNT, "tools", "demo"), a_meta()), None)
    ref = ChildRef(SECRET, "tools", "demo-token")
    token = ApplyChild(Child(ref, a_meta(), account="demo"), None)
    other = ApplyChild(Child(ref, a_meta(), account="other"), None)
    world = World((f"apply_child {account.child.ref}", Taken("there already")))
    assert (await run(world, account, token)).done == []
    assert (await run(world, account, other)).done == [other]


async def test_what_was_just_made_is_not_taken_away_again() -> None:
    """The group was thought gone and another one planned, but the old one came back under its name."""
    line = role_line("Reader", "new-group")
    world = World()
    applied = await run(
        world,
        CREATE,
        AssignRole(SCOPE, "Reader", guid("Reader"), None, "Group", "note"),
        UnassignRole(line.id, "Reader"),
    )
    assert "unassign" not in {asked[0] for asked in world.asked}
    assert line.id not in applied.gone


async def test_own_writes_are_known_at_once() -> None:
    cache = WatchCache()
    work = applier(World(), cache)
    await work.run(Plan((BIND,)), NOW)
    key = Key("AccessPolicy", None, "appdev")
    (child,) = cache.children(key)
    await work.run(Plan((DeleteChild(child.ref, child.uid),)), NOW)
    assert cache.children(key) == ()
