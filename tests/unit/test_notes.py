"""Events: what a user would want to know without looking at the status."""

import pytest

from entra_access.api.status import Condition, DriftItem, Status, System
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    DeleteChild,
    DeleteGroup,
    RemovePrincipal,
    ReplaceChild,
    RestoreGroup,
    UnassignRole,
    UpdateGroup,
)
from entra_access.domain.plan import Plan
from entra_access.reconcile.apply import Applied
from entra_access.reconcile.notes import Note, notes_of
from unit.builders import GROUP_ID, NOW, SCOPE, cluster_binding

BINDING = cluster_binding("view")
CHANGES: list[Change] = [
    CreateGroup("u", "appdev", "appdev", None),
    RestoreGroup(GROUP_ID, "appdev"),
    UpdateGroup(GROUP_ID, (("description", None),)),
    AddPrincipals(GROUP_ID, "members", ("m1",)),
    RemovePrincipal(GROUP_ID, "members", "m2"),
    AssignRole(SCOPE, "Reader", "id", GROUP_ID, "Group", "note"),
    UnassignRole("/a1", "Reader"),
    DeleteGroup(GROUP_ID, "appdev"),
]
QUIET: list[Change] = [
    ApplyChild(BINDING, None),
    DeleteChild(BINDING.ref, "u"),
    ReplaceChild(BINDING.ref, "u"),
]
DRIFT = DriftItem(System.KUBERNETES, str(BINDING.ref), "subjects", "a", "b", "kubectl", NOW)


def status(kind: str, value: str, reason: str = "InPlace") -> Status:
    return Status(conditions=(Condition(kind, value, reason, "words", 1, NOW),))


def notes(old: Status, new: Status, *done: Change, plan: Plan | None = None) -> list[Note]:
    return list(notes_of(old, new, plan or Plan(), Applied(done=list(done))))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_each_change_outside_kubernetes_has_its_event(change: Change) -> None:
    (note,) = notes(Status(), Status(), change)
    assert note.type == "Normal"
    assert note.reason.isalpha()
    assert note.message


def test_changes_in_kubernetes_are_seen_there() -> None:
    assert notes(Status(), Status(), *QUIET) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Status(), status("Ready", "True"), [("Normal", "Ready")]),
        (status("Ready", "True"), status("Ready", "True"), []),
        (status("Ready", "False"), status("Ready", "True"), [("Normal", "Ready")]),
        (status("Ready", "True"), status("Ready", "False"), []),
        (Status(), status("Stalled", "True", "GroupExists"), [("Warning", "GroupExists")]),
        (status("Stalled", "True", "GroupExists"), status("Stalled", "True", "GroupExists"), []),
        (
            status("Stalled", "True", "GroupExists"),
            status("Stalled", "True", "Denied"),
            [("Warning", "Denied")],
        ),
        (status("Stalled", "True"), Status(), []),
    ],
)
def test_a_condition_is_told_once(old: Status, new: Status, expected: list[tuple[str, str]]) -> None:
    assert [(note.type, note.reason) for note in notes(old, new)] == expected


def test_drift_that_was_put_right_is_told() -> None:
    (note,) = notes_of(Status(), Status(), Plan(), Applied(done=[QUIET[0]]), [DRIFT])
    assert (note.type, note.reason) == ("Warning", "DriftCorrected")
    assert "kubectl" in note.message


def test_what_stays_is_told_once_and_again_when_it_is_something_else() -> None:
    """Each further look would tell it again."""
    drifted, other = status("Drifted", "True", "Observed"), status("Drifted", "True", "ForeignAccess")
    assert [(note.type, note.reason) for note in notes(Status(), drifted)] == [("Warning", "Observed")]
    assert notes(drifted, drifted) == []
    assert [note.reason for note in notes(drifted, other)] == ["ForeignAccess"]
    assert notes(drifted, Status()) == []
