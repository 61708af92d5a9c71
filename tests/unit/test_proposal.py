"""What a preview says of one resource: the line for each change, findings, headline, exit code, JSON."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import ROLE_BINDING, SERVICE_ACCOUNT
from entra_access.api.resources import Mode
from entra_access.api.status import DriftItem, Subject, System
from entra_access.domain.changes import (
    AddPrincipals,
    AdoptGroup,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DeleteChild,
    DeleteGroup,
    LeaveAccount,
    RemovePrincipal,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.difference import ABSENT, DELETED, PRESENT, Difference
from entra_access.domain.faults import Denied, Fault, Finding, Link, Replicating, Severity, Throttled
from entra_access.domain.naming import assignment_id
from entra_access.domain.plan import Plan
from entra_access.reconcile.cache import Key
from entra_access.reconcile.proposal import Proposal, exit_code
from unit.builders import GROUP_ID, SCOPE, cluster_binding

KEY = Key("AccessPolicy", None, "appdev")
BINDING = cluster_binding("view")
ACCOUNT = Child(ChildRef(SERVICE_ACCOUNT, "tools", "robot"), BINDING.owner)
REF = ChildRef(ROLE_BINDING, "dev", "work-1")
SUBJECT = Subject("Group", GROUP_ID, "appdev")
CREATE = CreateGroup("unique", "appdev", "appdev", None)
ASSIGN = AssignRole(SCOPE, "Reader", "r", None, "Group", "note")
UNASSIGN = UnassignRole(assignment_id(f"{SCOPE}/namespaces/dev", "a"), "Reader")
UPDATE = UpdateGroup(GROUP_ID, (("displayName", "appdev"),), (("displayName", "old"),))
CORRECT = ApplyChild(BINDING, "uid")


def proposal(*changes: Change, mode: Mode = Mode.ENFORCE, asked: bool = True, **plan: Any) -> Proposal:
    return Proposal(KEY, mode, Plan(changes=changes, **({"subject": SUBJECT} | plan)), asked=asked)


def finding(severity: Severity, reason: str = "Reason", **more: Any) -> Finding:
    return Finding(Link.MEMBERS, severity, reason, "what happened", "spec.subject", **more)


LINES: dict[str, tuple[Change, str, str]] = {
    "a new group": (CREATE, "create", "create group appdev"),
    "a group that is taken over": (
        AdoptGroup(GROUP_ID, "unique", "appdev"), "update", f"adopt group appdev ({GROUP_ID})",
    ),
    "a group that comes back": (
        RestoreGroup(GROUP_ID, "appdev"), "create", f"restore deleted group appdev ({GROUP_ID})",
    ),
    "a group that goes": (DeleteGroup(GROUP_ID, "appdev"), "delete", f"delete group appdev ({GROUP_ID})"),
    "a group's attribute": (
        UPDATE, "update", "Group appdev: displayName is old, and will be appdev",
    ),
    "a member": (
        AddPrincipals(None, "members", ("id",), ("a@x.io",)), "create",
        "add a@x.io to the members of group appdev",
    ),
    "an owner who leaves": (
        RemovePrincipal(GROUP_ID, "owners", "id", "a@x.io"), "delete",
        "remove a@x.io from the owners of group appdev",
    ),
    "an Azure role": (ASSIGN, "create", "assign Azure role Reader at aks"),
    "an Azure role that goes": (
        UNASSIGN, "delete", "remove assignment of Azure role Reader at namespace dev",
    ),
    "a binding": (
        ApplyChild(BINDING, None), "create", f"create ClusterRoleBinding {BINDING.ref.name}",
    ),
    "an account that another policy is to have too": (
        ApplyChild(replace(ACCOUNT, joins=True), "uid"), "update",
        "add AccessPolicy appdev to the owners of ServiceAccount tools/robot",
    ),
    "an account that is left to others": (
        LeaveAccount(ACCOUNT.ref, "uid", ACCOUNT.owner), "update",
        "take AccessPolicy appdev out of the owners of ServiceAccount tools/robot",
    ),
    "a binding that goes": (DeleteChild(REF, "uid"), "delete", "delete RoleBinding dev/work-1"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "action", "text"), LINES.values(), ids=LINES)
def test_a_line_for_each_change(change: Change, action: str, text: str) -> None:
    made = proposal(change)
    assert [(line.action, line.text) for line in made.changes] == [(action, text)]
    sign = {"create": "+", "update": "~", "delete": "-"}[action]
    assert made.words() == f"AccessPolicy appdev: 1 change\n  {sign} {text}"


def test_a_line_for_each_of_several_members() -> None:
    made = proposal(AddPrincipals(GROUP_ID, "members", ("1", "2"), ("a@x.io", "b@x.io")))
    assert made.words().startswith("AccessPolicy appdev: 2 changes\n")
    assert [line.item.expected for line in made.changes] == ["a@x.io", "b@x.io"]


def drift(change: Change | None, field: str = "subjects", found: str = "User eve") -> Difference:
    item = DriftItem(System.KUBERNETES, str(BINDING.ref), field, "Group appdev", found, "kubectl-edit")
    return Difference(item if field else replace(item, expected=PRESENT), change, foreign=True)


def test_what_another_hand_did_is_told_with_who_it_was() -> None:
    made = proposal(CORRECT, differences=(drift(CORRECT),))
    assert [(line.action, line.text) for line in made.changes] == [
        ("update", f"{BINDING.ref}: subjects is User eve by kubectl-edit, and will be Group appdev")
    ]
    assert made.as_dict()["changes"][0]["changedBy"] == "kubectl-edit"


def test_what_was_deleted_by_hand_is_told_to_have_been() -> None:
    made = ApplyChild(BINDING, None)
    item = DriftItem(System.KUBERNETES, str(BINDING.ref), "", PRESENT, DELETED)
    found = proposal(made, differences=(Difference(item, made, foreign=True),))
    assert [line.text for line in found.changes] == [f"create {BINDING.ref}, which was deleted"]


def test_lines_come_in_the_order_of_the_changes() -> None:
    made = ApplyChild(BINDING, None)
    item = DriftItem(System.KUBERNETES, str(BINDING.ref), "", PRESENT, ABSENT)
    found = proposal(CREATE, made, UNASSIGN, differences=(Difference(item, made),))
    assert [line.text.split()[0] for line in found.changes] == ["create", "create", "remove"]
    assert found.changes[0].text == "create group appdev"


def test_what_follows_when_the_group_is_made_is_told_last() -> None:
    """A difference whose change is not made yet is among the changes all the same."""
    item = DriftItem(System.AZURE, "RoleAssignment Reader at far", "", PRESENT, ABSENT)
    found = proposal(CREATE, differences=(Difference(item, ASSIGN),))
    assert [line.text for line in found.changes] == ["create group appdev", "assign Azure role Reader at aks"]


def test_access_that_others_gave_is_told_and_no_change() -> None:
    found = proposal(differences=(drift(None),))
    assert found.changes == ()
    assert found.words() == (
        "AccessPolicy appdev: no changes\n"
        f"  note: {BINDING.ref}: subjects is User eve by kubectl-edit, and should be Group appdev"
    )
    assert exit_code([found]) == 0


STALLED, WAITING = finding(Severity.STALLED), finding(Severity.WAITING)
WARNING, UNKNOWN = finding(Severity.WARNING), finding(Severity.UNKNOWN)
EXPIRED = finding(Severity.STALLED, "Expired")
UNREAD = "no plan: not all could be looked at"


def fault(kind: type[Fault], *, observing: bool = True) -> Finding:
    return kind("no answer").finding(Link.MEMBERS, observing=observing)


HEADLINES: dict[str, tuple[tuple[Change, ...], Finding | None, str, int]] = {
    "nothing": ((), None, "no changes", 0),
    "a change": ((CREATE,), None, "1 change", 2),
    "a warning": ((), WARNING, "no changes", 0),
    "a change and a warning": ((CREATE,), WARNING, "1 change", 2),
    "something awaited": ((), WAITING, "no changes yet", 2),
    "somebody must act": ((), STALLED, "nothing can be done", 1),
    "somebody must act, and a change": ((CREATE,), STALLED, "1 change", 1),
    "over": ((), EXPIRED, "no changes", 0),
    "unseen": ((), UNKNOWN, UNREAD, 1),
    "unseen, and a change": (
        (CREATE,), UNKNOWN, "1 change, and perhaps more or less: not all could be looked at", 1,
    ),
    "no permission": ((), fault(Denied), UNREAD, 1),
    "a member not looked up": ((), fault(Throttled, observing=False), UNREAD, 1),
    "a new group not visible yet": ((), fault(Replicating), UNREAD, 1),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "found", "headline", "code"), HEADLINES.values(), ids=HEADLINES)
def test_headline_and_exit_code(
    changes: tuple[Change, ...], found: Finding | None, headline: str, code: int
) -> None:
    """Only who could look at everything, and need do nothing, says "no changes" with exit code 0."""
    made = proposal(*changes, findings=(found,) if found else ())
    assert made.words().splitlines()[0] == f"AccessPolicy appdev: {headline}"
    assert exit_code([made]) == code
    assert exit_code([proposal(), made]) == code


def test_findings_are_told_the_worst_first() -> None:
    made = proposal(findings=(WARNING, UNKNOWN, STALLED, WAITING))
    said = [line.split(":")[0].strip() for line in made.words().splitlines()[1:]]
    assert said == ["stalled", "waiting", "not known", "warning"]
    assert "  stalled: spec.subject: what happened" in made.words()


def test_in_mode_observe_it_is_said_that_nothing_is_done() -> None:
    made = proposal(CREATE, mode=Mode.OBSERVE)
    assert made.words().splitlines()[0] == (
        "AccessPolicy appdev: 1 change; none is made, because mode is Observe"
    )
    assert made.as_dict()["mode"] == "Observe"
    assert exit_code([made]) == 2


def test_what_is_not_in_the_files_is_told_so_and_is_nobodys_fault() -> None:
    """That it was Stalled before, and stays so, does not make the files wrong."""
    made = proposal(CREATE, asked=False, findings=(STALLED,))
    assert made.words().startswith("AccessPolicy appdev (not in the files): 1 change\n")
    assert exit_code([made]) == 2
    assert exit_code([proposal(asked=False, findings=(UNKNOWN,))]) == 1


def test_without_anything_there_is_nothing_to_do() -> None:
    assert exit_code([]) == 0


def test_for_programs() -> None:
    made = Proposal(
        Key("NamespaceGrant", "dev", "work"),
        Mode.ENFORCE,
        Plan(changes=(DeleteChild(REF, "uid"),), findings=(WARNING,), subject=SUBJECT),
    )
    assert made.as_dict() == {
        "kind": "NamespaceGrant",
        "namespace": "dev",
        "name": "work",
        "inFiles": True,
        "mode": "Enforce",
        "changes": [
            {
                "action": "delete",
                "system": "Kubernetes",
                "object": "RoleBinding dev/work-1",
                "field": "",
                "expected": "absent",
                "found": "present",
                "text": "delete RoleBinding dev/work-1",
            }
        ],
        "findings": [{"severity": "Warning", "reason": "Reason", "message": "spec.subject: what happened"}],
        "subject": {
            "kind": "Group",
            "name": GROUP_ID,
            "objectId": GROUP_ID,
            "principalType": "Group",
            "displayName": "appdev",
            "origin": "Created",
        },
    }


@pytest.mark.parametrize("object_id", ["", "(new, of AccessPolicy appdev)"])
def test_a_group_that_is_not_made_yet_has_no_id(object_id: str) -> None:
    subject = proposal(subject=replace(SUBJECT, object_id=object_id)).as_dict()["subject"]
    assert {"objectId", "name"} & subject.keys() == set()
    assert (subject["kind"], subject["displayName"]) == ("Group", "appdev")


def test_nobody_is_nobody() -> None:
    assert proposal(subject=None).as_dict()["subject"] is None
