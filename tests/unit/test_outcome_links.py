"""Status and conditions: warnings, links that a resource does not have, other subjects, counts, inventory."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import GRANT, POLICY, Kind
from entra_access.api.status import Item, Status, Subject, System, read_status
from entra_access.domain.changes import AssignRole, Change, UnassignRole
from entra_access.domain.faults import Finding, Link, Severity, Unavailable
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.notes import notes_of
from entra_access.reconcile.outcome import Next, make_status, merge_inventory, next_look, subject_words
from unit.builders import AT, GROUP_ID, SCOPE, a_meta, group_line, guid
from unit.worlds import ANNA, ANNA_ID, READER, ROBOT_ID, VAULT, line, role_id

GROUP = Subject("Group", GROUP_ID, "appdev")
PERSON = Subject(
    "User", ANNA_ID, ANNA, "Existing", ANNA, principal_type="User", reference=f"user {ANNA.lower()}"
)
ROBOT = Subject("User", ROBOT_ID, "Robot", "Existing", principal_type="ServicePrincipal")
ACCOUNT = Subject("ServiceAccount", "", "tools/demo", "Created", "demo", "tools", "")
WARNING = Finding(Link.AZURE_ROLES, Severity.WARNING, "CannotConnect", "cannot connect", "spec.azureRoles[0]")
STALLED = Finding(
    Link.BINDINGS, Severity.STALLED, "ClusterRoleNotFound", "there is none", "spec.clusterRoles[0]"
)
WAITING = Finding(Link.MEMBERS, Severity.WAITING, "PolicyNotReady", "waiting")


def status(
    *findings: Finding,
    kind: Kind = POLICY,
    old: Status | None = None,
    applied: Applied | None = None,
    **plan: Any,
) -> Status:
    values: dict[str, Any] = {"subject": GROUP, "summary": "all is well"}
    made = Plan(findings=findings, **(values | plan))
    return make_status(a_meta(kind), old or Status(), made, applied or Applied(), AT)


def said(found: Status) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in found.conditions}


def message(found: Status, kind: str) -> str:
    condition = found.condition(kind)
    assert condition is not None
    return condition.message


# Warnings


def test_a_warning_has_a_condition_of_its_own_and_hinders_nothing() -> None:
    found = status(WARNING)
    conditions = said(found)
    assert conditions["Ready"] == ("True", "InPlace")
    assert conditions["AzureRolesReady"] == ("True", "InPlace")
    assert conditions["Warning"] == ("True", "CannotConnect")
    assert not {"Stalled", "Reconciling"} & conditions.keys()
    assert message(found, "Warning") == "spec.azureRoles[0]: cannot connect"
    assert message(found, "Ready") == "all is well; see condition Warning"
    assert message(found, "AzureRolesReady") == "spec.azureRoles[0]: cannot connect"


def test_beside_a_trouble_both_are_told() -> None:
    conditions = said(status(WARNING, STALLED, WAITING))
    assert conditions["Ready"] == ("False", "ClusterRoleNotFound")
    assert conditions["Warning"] == ("True", "CannotConnect")
    assert conditions["Stalled"] == ("True", "ClusterRoleNotFound")
    assert conditions["Reconciling"] == ("True", "PolicyNotReady")


def test_a_warning_that_does_not_hold_any_more_is_gone() -> None:
    old = status(WARNING)
    assert "Warning" not in said(status(old=old))


def test_a_warning_is_not_looked_at_again_for_its_own_sake() -> None:
    assert next_look([WARNING], 60) == Next()
    assert next_look([WARNING, STALLED], 60) == Next(after=60)


def test_a_warning_is_an_event_once() -> None:
    more = replace(WARNING, reason="AzureRbacOff", message="Azure RBAC is off")
    for old, findings, expected in (
        (Status(), (WARNING,), ["CannotConnect"]),
        (status(WARNING), (WARNING,), []),
        (status(WARNING), (WARNING, more), ["AzureRbacOff"]),
        (status(WARNING), (), []),
    ):
        plan = Plan(findings=findings)
        told = [n for n in notes_of(old, status(*findings), plan, Applied()) if n.type == "Warning"]
        assert [note.reason for note in told] == expected


# Links


def test_a_subject_that_is_no_group_of_ours_has_no_members() -> None:
    found = status(subject=PERSON, without=frozenset({Link.MEMBERS}))
    assert "MembersReady" not in said(found)
    assert message(found, "SubjectReady") == f"user {ANNA} is in place"


def test_a_link_that_something_is_said_of_is_shown_all_the_same() -> None:
    assert "MembersReady" in said(status(WAITING, without=frozenset({Link.MEMBERS})))


@pytest.mark.parametrize(
    ("counts", "findings", "shown"),
    [
        ({"roleBindings": 1}, (), False),
        ({"roleBindings": 1, "azureRoles": 0}, (), True),
        ({"azureRoles": None}, (), True),
        ({"roleBindings": 1}, (WARNING,), True),
    ],
)
def test_a_grant_shows_azure_roles_where_it_has_any(
    counts: dict[str, int | None],
    findings: tuple[Finding, ...],
    shown: bool,  # noqa: FBT001
) -> None:
    assert ("AzureRolesReady" in said(status(*findings, kind=GRANT, counts=counts))) is shown


def test_a_grants_azure_roles_wait_for_its_policy_as_its_bindings_do() -> None:
    """A condition that comes and goes while nothing of it changes would be written each time."""
    refused = Finding(Link.POLICY, Severity.WAITING, "PolicyUnreadable", "waiting", "spec.policyRef.name")
    had = status(kind=GRANT, counts={"roleBindings": 1, "azureRoles": 1})
    kept = status(refused, kind=GRANT, old=had, inventory=(line(READER),))
    assert kept.counts == {"roleBindings": 1, "azureRoles": 1}
    assert said(kept)["BindingsReady"] == ("Unknown", "Waiting")
    assert said(kept)["AzureRolesReady"] == ("Unknown", "Waiting")


def test_what_there_is_in_namespaces_is_told() -> None:
    counts: dict[str, int | None] = {"clusterRoleBindings": 1, "roleBindings": 4, "namespaces": 2}
    text = "1 ClusterRoleBinding, 4 RoleBindings in 2 namespaces"
    assert message(status(counts=counts), "BindingsReady") == text
    assert message(status(counts={"clusterRoleBindings": 1}), "BindingsReady") == "1 ClusterRoleBinding"


# The subject


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (GROUP, "group appdev"),
        (PERSON, f"user {ANNA}"),
        (ROBOT, "service principal Robot"),
        (ACCOUNT, "service account tools/demo"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_subject_is_written_read_and_named(subject: Subject, words: str) -> None:
    found = status(subject=subject)
    assert found.subject == subject
    written = found.as_dict()
    assert read_status({"status": written}) == found
    assert read_status({"status": written}).as_dict() == written
    assert subject_words(subject) == words


def test_a_status_shows_the_name_that_bindings_have() -> None:
    assert PERSON.as_dict()["name"] == ANNA
    assert ROBOT.as_dict()["name"] == ROBOT_ID
    assert ACCOUNT.as_dict() == {
        "kind": "ServiceAccount",
        "name": "demo",
        "namespace": "tools",
        "displayName": "tools/demo",
        "origin": "Created",
    }


def test_a_subject_that_was_refused_is_not_shown_any_more() -> None:
    refused = Finding(Link.SUBJECT, Severity.STALLED, "GuestUser", "is a guest", "spec.subject.user")
    found = status(refused, subject=None, old=Status(subject=PERSON), without=frozenset({Link.MEMBERS}))
    assert found.subject is None
    assert said(found)["BindingsReady"] == ("Unknown", "Waiting")


def test_a_subject_that_cannot_be_asked_for_is_still_shown() -> None:
    unseen = Unavailable("down").finding(Link.SUBJECT, observing=True)
    assert status(unseen, subject=None, old=Status(subject=PERSON)).subject == PERSON


# Counts


def test_what_was_not_seen_stays_as_it_was_counted() -> None:
    old = Status(counts={"members": 5, "azureRoles": 3})
    assert status(old=old, counts={"members": None, "azureRoles": 2}).counts == {
        "members": 5,
        "azureRoles": 2,
    }
    assert status(old=old, counts={"members": None, "roleBindings": None}).counts == {"members": 5}


def test_counts_of_what_a_resource_does_not_have_any_more_go() -> None:
    """The subject was a group, and is a user now."""
    old = Status(counts={"members": 5, "azureRoles": 3})
    assert status(old=old, counts={"azureRoles": 3}).counts == {"azureRoles": 3}


def test_a_pass_that_counted_nothing_leaves_all_counts() -> None:
    old = Status(counts={"members": 5, "other": 1})
    assert status(STALLED, old=old).counts == {"members": 5}


# The inventory

MEMBER = Item(System.ENTRA, "Member", "servicePrincipal app", ROBOT_ID)
ASSIGN = AssignRole(SCOPE, READER, role_id(READER), ROBOT_ID, "ServicePrincipal", "")


def test_a_group_that_is_found_to_be_gone_leaves_the_inventory() -> None:
    assert merge_inventory((group_line(),), (), Applied(), frozenset({GROUP_ID})) == ()
    assert merge_inventory((group_line(),), (), Applied(), frozenset({guid("x")})) == (group_line(),)


def test_a_member_leaves_the_inventory_when_it_left_the_group() -> None:
    both = (group_line(), MEMBER)
    assert merge_inventory(both, both, Applied()) == both
    assert merge_inventory(both, (group_line(),), Applied()) == both  # nobody saw it leave
    assert merge_inventory(both, (group_line(),), Applied(gone={ROBOT_ID})) == (group_line(),)


def test_ids_of_azure_are_compared_without_regard_to_case() -> None:
    upper = replace(line(READER), id=line(READER).id.upper())
    assert merge_inventory((), (line(READER), upper), Applied()) == (upper,)
    assert merge_inventory((line(READER),), (line(READER),), Applied(gone={upper.id})) == ()


def test_one_role_at_two_scopes_is_two_lines() -> None:
    lines = (line(READER), line(READER, scope=VAULT))
    assert len(merge_inventory((), lines, Applied())) == 2


CHANGES: list[Change] = [ASSIGN, UnassignRole(line(READER).id, READER)]


def test_when_azure_roles_take_effect() -> None:
    assert status(applied=Applied(done=CHANGES)).effective_by == "2026-11-23T12:10:00Z"
