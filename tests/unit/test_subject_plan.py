"""Who gets the access, where the policy makes no group for it."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.resources import AccessPolicy, AzureRole, DirectorySubject
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import ApplyChild, AssignRole, DeleteGroup
from entra_access.domain.faults import Denied, Fault, Link, Severity, Unavailable
from entra_access.domain.observed import PolicyWorld, Principal
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.outcome import merge_inventory
from unit.builders import (
    GROUP_ID,
    NOW,
    PLACE,
    a_group,
    a_rule,
    group_line,
    guid,
    seen,
)
from unit.worlds import (
    A_ROBOT,
    A_TEAM,
    A_USER,
    ANNA,
    ANNA_ID,
    ROBOT_ID,
    TEAM_ID,
    a_namespace,
    a_policy_for,
    a_world,
    in_namespaces,
    line,
    robot,
    team,
    user,
)

READER = AzureRole("Reader")


def plan(
    policy: AccessPolicy,
    world: PolicyWorld | None = None,
    inventory: tuple[Item, ...] = (),
    known: Subject | None = None,
) -> Plan:
    return plan_policy(policy, PLACE, world or a_world(policy), inventory, NOW, known)


def found_as(wish: DirectorySubject, principal: Principal | Fault | None, **fields: Any) -> Plan:
    """The plan where the subject was looked up with that result."""
    policy = a_policy_for(wish, READER, cluster_roles="view", **fields)
    return plan(policy, replace(a_world(policy), principals={wish.reference: principal}))


def bound(made: Plan) -> list[dict[str, str]]:
    """The subjects of the bindings that the plan makes."""
    children = [change.child for change in made.changes if isinstance(change, ApplyChild)]
    return [subject for child in children for subject in child.manifest().get("subjects", ())]


def assigned_to(made: Plan) -> list[tuple[str | None, str]]:
    """To whom the plan assigns Azure roles."""
    return [(c.principal_id, c.principal_type) for c in made.changes if isinstance(c, AssignRole)]


WHO: dict[str, tuple[DirectorySubject, Principal, tuple[str, str], tuple[str, str]]] = {
    "a user by name": (user(), A_USER, ("User", ANNA), (ANNA_ID, "User")),
    "a guest by object id": (
        user(ANNA_ID, "objectId"),
        replace(A_USER, name="eve_x.io#EXT#@contoso.com", guest=True),
        ("User", ANNA_ID),
        (ANNA_ID, "User"),
    ),
    "a service principal by app id": (robot(), A_ROBOT, ("User", ROBOT_ID), (ROBOT_ID, "ServicePrincipal")),
    "a service principal by object id": (
        robot("objectId", ROBOT_ID),
        A_ROBOT,
        ("User", ROBOT_ID),
        (ROBOT_ID, "ServicePrincipal"),
    ),
    "a group": (team(), A_TEAM, ("Group", TEAM_ID), (TEAM_ID, "Group")),
}


@pytest.mark.parametrize(("wish", "principal", "rbac", "azure"), WHO.values(), ids=WHO)
def test_each_subject_is_named_as_kubernetes_and_azure_know_it(
    wish: DirectorySubject, principal: Principal, rbac: tuple[str, str], azure: tuple[str, str]
) -> None:
    made = found_as(wish, principal)
    assert bound(made) == [{"apiGroup": "rbac.authorization.k8s.io", "kind": rbac[0], "name": rbac[1]}]
    assert assigned_to(made) == [azure]
    assert [finding for finding in made.findings if finding.severity is not Severity.WARNING] == []
    assert made.subject is not None
    assert (made.subject.object_id, made.subject.origin) == (azure[0], "Existing")
    assert made.subject.reference == str(wish.reference)
    assert made.without == {Link.MEMBERS}
    assert "members" not in made.counts


def test_a_users_name_is_written_as_the_directory_writes_it() -> None:
    """The spec's own spelling is not the one that the cluster's sign-in puts into the token."""
    made = found_as(user(ANNA.upper()), A_USER)
    assert [subject["name"] for subject in bound(made)] == [ANNA]
    assert made.subject is not None
    assert (made.subject.rbac_name, made.subject.display_name) == (ANNA, ANNA)


def test_an_existing_subject_is_never_changed() -> None:
    for wish, principal, _, _ in WHO.values():
        kinds = {type(change) for change in found_as(wish, principal).changes}
        assert kinds == {AssignRole, ApplyChild}


def test_a_guest_by_name_is_refused_with_the_id_to_use() -> None:
    made = found_as(user(), replace(A_USER, guest=True))
    (finding,) = made.findings
    assert (finding.link, finding.severity, finding.reason) == (Link.SUBJECT, Severity.STALLED, "GuestUser")
    assert finding.path == "spec.subject.user.userPrincipalName"
    assert f"user: {{objectId: {ANNA_ID}}}" in finding.message
    assert (made.changes, made.subject) == ((), None)


def test_a_group_that_is_not_security_enabled_is_refused() -> None:
    made = found_as(team(), replace(A_TEAM, security=False))
    assert [(f.severity, f.reason, f.path) for f in made.findings] == [
        (Severity.STALLED, "NotASecurityGroup", "spec.subject.existingGroup.objectId")
    ]
    assert made.changes == ()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (user(), f"no user {ANNA.lower()} in the directory;"),
        (user(ANNA_ID, "objectId"), f"no user {ANNA_ID} in the directory with that object id"),
        (robot(), "no service principal app-of-robot in the directory with that app id"),
        (robot("objectId", ROBOT_ID), f"no service principal {ROBOT_ID} in the directory with that object"),
        (team(), f"no group {TEAM_ID} in the directory with that object id"),
    ],
    ids=str,
)
def test_a_subject_that_is_not_there_is_named_with_its_field(wish: DirectorySubject, words: str) -> None:
    made = found_as(wish, None)
    (finding,) = made.findings
    assert (finding.severity, finding.reason, finding.path) == (
        Severity.STALLED,
        "SubjectNotFound",
        wish.path,
    )
    assert words in finding.message
    assert (made.changes, made.subject) == ((), None)


def test_what_was_given_stays_while_the_subject_is_refused() -> None:
    policy = a_policy_for(user(), READER, cluster_roles="view")
    binding = next(
        change.child
        for change in plan(policy, a_world(policy, principals={user().reference: A_USER})).changes
        if isinstance(change, ApplyChild)
    )
    refused = a_world(policy, principals={user().reference: None}, children=(seen(binding),))
    made = plan(policy, refused, (line("Reader", ANNA_ID),))
    assert made.changes == ()
    assert {item.kind for item in made.inventory} == {"RoleAssignment", "ClusterRoleBinding"}
    assert made.claims == {line("Reader", ANNA_ID).id.lower()}


# The directory does not answer

KNOWN = Subject(
    "User", ANNA_ID, ANNA, "Existing", ANNA, principal_type="User", reference=f"user {ANNA.lower()}"
)
FAULTS: list[Fault] = [Unavailable("down"), Denied("no right")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.reason)
def test_who_was_known_stays_known_while_the_directory_cannot_be_asked(fault: Fault) -> None:
    policy = a_policy_for(user(), READER, cluster_roles="view")
    world = a_world(policy, principals={user().reference: fault})
    made = plan(policy, world, known=KNOWN)
    assert [subject["name"] for subject in bound(made)] == [ANNA]
    assert assigned_to(made) == [(ANNA_ID, "User")]
    assert made.subject == KNOWN
    assert [(f.link, f.reason, f.unseen) for f in made.findings] == [(Link.SUBJECT, fault.reason, True)]


@pytest.mark.parametrize(
    "known",
    [None, replace(KNOWN, reference="user bob@contoso.com"), replace(KNOWN, reference="")],
    ids=["nobody", "another", "by no reference"],
)
def test_another_wish_is_not_given_to_who_was_known_before(known: Subject | None) -> None:
    policy = a_policy_for(user(), READER, cluster_roles="view")
    made = plan(policy, a_world(policy, principals={user().reference: FAULTS[0]}), known=known)
    assert (made.changes, made.subject) == ((), None)


def test_the_form_of_an_id_is_part_of_what_was_known() -> None:
    """An app id that somebody writes under objectId is another service principal, or none."""
    by_app, by_id = robot("appId", guid("x")), robot("objectId", guid("x"))
    known = Subject("User", ROBOT_ID, "Robot", "Existing", reference=str(by_app.reference))
    policy = a_policy_for(by_id, READER)
    made = plan(policy, a_world(policy, principals={by_id.reference: FAULTS[0]}), known=known)
    assert (made.changes, made.subject) == ((), None)


# A user of this tenant by object id


def reasons(made: Plan) -> list[str]:
    return [finding.reason for finding in made.findings]


BINDS: dict[str, dict[str, Any]] = {
    "ClusterRoles": {},
    "rules": {"rules": (a_rule("get", "pods"),)},
    "namespaces": {"namespaces": (in_namespaces("dev", cluster_roles="view"),)},
}


@pytest.mark.parametrize("fields", BINDS.values(), ids=BINDS)
def test_a_member_by_object_id_is_warned_that_kubernetes_knows_them_by_name(fields: dict[str, Any]) -> None:
    wish = user(ANNA_ID, "objectId")
    policy = a_policy_for(wish, cluster_roles="" if fields else "view", **fields)
    world = a_world(policy, principals={wish.reference: A_USER}, namespaces={"dev": a_namespace()})
    (finding,) = plan(policy, world).findings
    assert (finding.severity, finding.reason, finding.path) == (
        Severity.WARNING,
        "KnownByName",
        "spec.subject.user.objectId",
    )
    assert f"user: {{userPrincipalName: {ANNA}}}" in finding.message


def test_nobody_is_warned_of_a_name_without_bindings() -> None:
    wish = user(ANNA_ID, "objectId")
    policy = a_policy_for(wish, READER)
    assert reasons(plan(policy, a_world(policy, principals={wish.reference: A_USER}))) == []


@pytest.mark.parametrize(
    ("wish", "principal"),
    [
        (user(), A_USER),
        (user(ANNA_ID, "objectId"), replace(A_USER, guest=True)),
        (user(ANNA_ID, "objectId"), replace(A_USER, name="")),
        (robot("objectId", ROBOT_ID), A_ROBOT),
        (team(), A_TEAM),
    ],
    ids=["by name", "a guest", "without a name", "a service principal", "a group"],
)
def test_who_is_rightly_named_is_not_warned(wish: DirectorySubject, principal: Principal) -> None:
    assert "KnownByName" not in reasons(found_as(wish, principal))


# A group that the policy made before


def test_the_former_group_is_deleted_last_when_the_subject_is_another() -> None:
    policy = a_policy_for(user(), READER)
    made = plan(policy, a_world(policy, group=a_group()), (group_line(),))
    assert made.changes[-1] == DeleteGroup(GROUP_ID, "appdev")
    assert [type(change) for change in made.changes] == [AssignRole, DeleteGroup]


def test_the_former_group_stays_where_it_is_the_subject_now() -> None:
    """Made here once, and now named by its id: it is used as it is."""
    wish = team(GROUP_ID)
    policy = a_policy_for(wish)
    principals = {wish.reference: replace(A_TEAM, id=GROUP_ID)}
    made = plan(policy, a_world(policy, principals=principals, group=a_group()), (group_line(),))
    assert made.changes == ()
    assert made.gone == {GROUP_ID}


@pytest.mark.parametrize(("group", "gone"), [(None, True), (a_group(deleted=True), True), (FAULTS[0], False)])
def test_a_former_group_is_forgotten_only_when_it_is_certainly_gone(group: Any, gone: bool) -> None:  # noqa: FBT001
    policy = a_policy_for(user())
    made = plan(policy, a_world(policy, group=group), (group_line(),))
    assert made.changes == ()
    assert made.gone == ({GROUP_ID} if gone else frozenset())


def test_lines_of_members_leave_the_inventory_with_the_former_group() -> None:
    """Nobody is in a group that is gone: the lines would stay in every status from then on."""
    member = Item(System.ENTRA, "Member", "servicePrincipal app", ROBOT_ID)
    lines = (group_line(), member)
    policy = a_policy_for(user())
    made = plan(policy, a_world(policy, group=a_group()), lines)
    left = merge_inventory(lines, made.inventory, Applied(gone={GROUP_ID}), made.gone)
    later = plan(policy, a_world(policy), left)
    assert merge_inventory(left, later.inventory, Applied(), later.gone) == ()
