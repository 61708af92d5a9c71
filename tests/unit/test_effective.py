"""When a change can last have taken effect."""

from datetime import timedelta

import pytest

from entra_access.api.times import age, moment, stamp
from entra_access.domain.changes import (
    AddPrincipals,
    ApplyChild,
    AssignRole,
    Change,
    CreateGroup,
    RemovePrincipal,
)
from entra_access.domain.effective import WINDOWS, effective_by
from entra_access.domain.faults import Link
from unit.builders import AT, GROUP_ID, NOW, SCOPE, cluster_binding

MEMBERS = AddPrincipals(GROUP_ID, "members", ("x",))
REMOVED = RemovePrincipal(GROUP_ID, "members", "x")
ROLE = AssignRole(SCOPE, "Reader", "id", GROUP_ID, "Group", "")
BINDING = ApplyChild(cluster_binding("view"), None)
GROUP = CreateGroup("u", "d", "m", None)


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([MEMBERS], "2026-11-23T13:30:00Z"),
        ([REMOVED], "2026-11-23T13:30:00Z"),
        ([ROLE], "2026-11-23T12:10:00Z"),
        ([GROUP], "2026-11-23T12:10:00Z"),
        ([BINDING], "2026-11-23T12:00:05Z"),
        ([BINDING, MEMBERS, ROLE], "2026-11-23T13:30:00Z"),
    ],
)
def test_the_slowest_of_what_was_done_decides(done: list[Change], expected: str) -> None:
    assert effective_by("", done, AT) == expected


@pytest.mark.parametrize("before", ["", "2020-01-01T00:00:00Z", "nonsense"])
def test_nothing_done_changes_nothing(before: str) -> None:
    assert effective_by(before, [], AT) == before


def test_what_is_still_awaited_is_not_forgotten() -> None:
    earlier = effective_by("", [MEMBERS], AT)
    assert effective_by(earlier, [BINDING], AT + timedelta(minutes=1)) == earlier
    assert effective_by(earlier, [BINDING], AT + timedelta(hours=2)) == "2026-11-23T14:00:05Z"


def test_a_time_that_cannot_be_read_is_passed_over() -> None:
    assert effective_by("nonsense", [BINDING], AT) == "2026-11-23T12:00:05Z"


def test_every_link_that_is_written_to_has_a_window() -> None:
    written = {Link.SUBJECT, Link.MEMBERS, Link.AZURE_ROLES, Link.BINDINGS}
    assert written == set(WINDOWS)


def test_times() -> None:
    assert stamp(AT) == NOW
    assert moment(NOW) == AT
    assert moment("") is None
    assert age(NOW, AT + timedelta(seconds=5)) == timedelta(seconds=5)
    assert age("", AT) == timedelta.max
