"""The ceiling's Azure roles, and a grant's: given, taken back, and left while nobody can tell."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import GRANT
from entra_access.api.resources import AccessPolicy, AzureRole, NamespaceGrant
from entra_access.api.status import Item, Subject
from entra_access.domain.ceiling import beyond
from entra_access.domain.changes import ApplyChild, AssignRole, DeleteChild, UnassignRole
from entra_access.domain.faults import Denied, Fault, Finding, Link, Severity, Unavailable
from entra_access.domain.grant_plan import plan_grant, plan_grant_removal
from entra_access.domain.observed import Assignment, ClusterFacts, PolicyView
from entra_access.domain.plan import Plan
from unit.builders import (
    AT,
    GROUP_ID,
    PLACE,
    SCOPE,
    a_ceiling,
    a_grant,
    a_meta,
    a_policy,
    a_rule,
    a_view,
    child_line,
    grant_binding,
    grant_children,
    grant_world,
    guid,
    seen,
)
from unit.worlds import (
    AKS_ADMIN,
    AKS_READER,
    AKS_USER,
    AKS_WRITER,
    ARC_WRITER,
    DEV_SCOPE,
    READER,
    assigned,
    known,
    line,
    role_id,
)

DOWN = Unavailable("down")
READER_ID = known(AKS_READER).guid
BY_ID = f"/providers/Microsoft.Authorization/roleDefinitions/{READER_ID}"
Ids = dict[str, str | Fault | None]


def too_much(wished: str, ceiling: tuple[str, ...], ids: Ids) -> Finding | None:
    grant = a_grant(azure_roles=(wished,))
    return beyond(grant, a_ceiling(azure_roles=ceiling), {}, ids)


WITHIN: dict[str, tuple[str, tuple[str, ...], Ids]] = {
    "the same name": (AKS_READER, (AKS_WRITER, AKS_READER), {}),
    "the same name in another case": (AKS_READER.upper(), (AKS_READER,), {}),
    "the same custom name": ("Pod Restarter", ("pod restarter",), {}),
    "by GUID": (READER_ID, (AKS_READER,), {}),
    "by name, the ceiling by GUID": (AKS_READER, (READER_ID.upper(),), {}),
    "by definition id": (BY_ID, (AKS_READER,), {}),
    "another name of the same role": ("New name", ("Old name",), {"New name": "1", "Old name": "1"}),
    "a custom role by GUID": ("Restarter", (guid("r"),), {"Restarter": guid("r"), guid("r"): guid("r")}),
}


@pytest.mark.parametrize(("wished", "ceiling", "ids"), WITHIN.values(), ids=WITHIN)
def test_within(wished: str, ceiling: tuple[str, ...], ids: Ids) -> None:
    assert too_much(wished, ceiling, ids) is None


@pytest.mark.parametrize(("wished", "ceiling", "ids"), list(WITHIN.values())[:6], ids=list(WITHIN)[:6])
def test_what_is_certain_needs_no_looking_up(wished: str, ceiling: tuple[str, ...], ids: Ids) -> None:
    assert too_much(wished, ceiling, ids | dict.fromkeys((wished, *ceiling), DOWN)) is None


BEYOND: dict[str, tuple[str, tuple[str, ...], Ids]] = {
    "another role": (AKS_WRITER, (AKS_READER,), {AKS_WRITER: "2", AKS_READER: "1"}),
    "no roles in the ceiling": (AKS_READER, (), {AKS_READER: "1"}),
    "no roles in the ceiling, unseen": (AKS_READER, (), {AKS_READER: DOWN}),
    "a role that does not exist": ("Nothing", (AKS_READER,), {"Nothing": None, AKS_READER: "1"}),
    "neither exists": ("Nothing", ("Nowhere",), {"Nothing": None, "Nowhere": None}),
    "not looked up": ("Nothing", (AKS_READER,), {}),
    "a star is a name": (AKS_READER, ("*",), {AKS_READER: "1", "*": None}),
}


@pytest.mark.parametrize(("wished", "ceiling", "ids"), BEYOND.values(), ids=BEYOND)
def test_beyond(wished: str, ceiling: tuple[str, ...], ids: Ids) -> None:
    found = too_much(wished, ceiling, ids)
    assert found is not None
    assert (found.link, found.severity, found.reason, found.path) == (
        Link.CEILING,
        Severity.STALLED,
        "BeyondCeiling",
        "spec.azureRoles[0]",
    )
    assert wished in found.message


@pytest.mark.parametrize("ids", [{"A": DOWN, "B": "1"}, {"A": "1", "B": DOWN}], ids=["wished", "ceiling's"])
def test_what_could_not_be_looked_up_is_neither_within_nor_beyond(ids: Ids) -> None:
    found = too_much("A", ("B",), ids)
    assert found is not None
    assert (found.link, found.severity, found.reason) == (Link.CEILING, Severity.UNKNOWN, "Unavailable")


def test_a_role_that_one_of_the_ceilings_is_needs_none_of_the_others() -> None:
    """That another of the ceiling's roles could not be looked up says nothing against this one."""
    assert too_much("A", ("B", "C"), {"A": "1", "B": "1", "C": DOWN}) is None


def test_the_second_role_is_named_by_its_path() -> None:
    grant = a_grant(azure_roles=(AKS_READER, AKS_WRITER))
    found = beyond(grant, a_ceiling(azure_roles=(AKS_READER,)), {}, {})
    assert found is not None
    assert found.path == "spec.azureRoles[1]"


def test_a_ceiling_of_rules_alone_lets_no_azure_role_through() -> None:
    grant = a_grant(azure_roles=(AKS_READER,))
    assert beyond(grant, a_ceiling(a_rule("*", "*", "*"), cluster_roles="view"), {}, {}) is not None


# The plan of a grant

GRANT_META = a_meta(GRANT, "dev-access")
CEILING = a_ceiling(a_rule("*", "*", "*"), cluster_roles="view edit", azure_roles=(AKS_READER, AKS_WRITER))
OPEN = replace(a_policy(ceiling=CEILING), azure_roles=(AzureRole(AKS_USER),))
VIEW = a_view(OPEN)
WISH = a_grant(cluster_roles="view", azure_roles=(AKS_READER,))
IDS = {name: role_id(name) for name in (AKS_READER, AKS_WRITER, AKS_ADMIN, ARC_WRITER, READER)}


def held(role: str, scope: str = DEV_SCOPE, **changes: Any) -> Assignment:
    """An assignment that the grant made for the policy's group."""
    return assigned(role, GROUP_ID, scope, owner=GRANT_META, **changes)


def held_line(role: str) -> Item:
    return line(role, GROUP_ID, DEV_SCOPE)


def planned(
    grant: NamespaceGrant = WISH,
    view: PolicyView | None = VIEW,
    *there: Assignment,
    lines: Iterable[Item] = (),
    children: bool = False,
    **fields: Any,
) -> Plan:
    values: dict[str, Any] = {"roles": IDS, "assignments": there}
    bound = [seen(child) for child in grant_children(grant)] if children else []
    items = (*lines, *(child_line(child) for child in bound))
    return plan_grant(grant, PLACE, grant_world(view, bound, **(values | fields)), items, AT)


def test_an_azure_role_is_given_at_the_namespace() -> None:
    made = planned()
    note = PLACE.note(GRANT_META)
    assert made.changes == (
        ApplyChild(grant_binding(WISH, "view"), None),
        AssignRole(DEV_SCOPE, AKS_READER, READER_ID, GROUP_ID, "Group", note),
    )
    assert made.findings == ()
    assert made.counts == {"roles": 0, "roleBindings": 1, "azureRoles": 1}
    assert made.summary == "appdev has 1 RoleBinding and 1 Azure role here"


def test_at_rest_nothing_is_done() -> None:
    made = planned(WISH, VIEW, held(AKS_READER), lines=[held_line(AKS_READER)], children=True)
    assert (made.changes, made.findings) == ((), ())
    assert made.claims == {held_line(AKS_READER).id.lower()}


def test_another_role_is_given_before_the_old_one_goes() -> None:
    made = planned(a_grant(azure_roles=(AKS_WRITER,)), VIEW, held(AKS_READER), lines=[held_line(AKS_READER)])
    assert [type(change) for change in made.changes] == [AssignRole, UnassignRole]


def test_a_grant_without_azure_roles_says_nothing_of_them() -> None:
    assert "azureRoles" not in planned(a_grant(cluster_roles="view")).counts
    after = planned(a_grant(cluster_roles="view"), VIEW, held(AKS_READER), lines=[held_line(AKS_READER)])
    assert after.counts["azureRoles"] == 0
    assert UnassignRole(held_line(AKS_READER).id, AKS_READER) in after.changes


REFUSED: dict[str, tuple[NamespaceGrant, PolicyView | None, str]] = {
    "no policy": (WISH, None, "PolicyNotFound"),
    "the policy is going": (WISH, replace(VIEW, deleting=True), "PolicyDeleting"),
    "no grants": (WISH, a_view(a_policy()), "NoGrantsAllowed"),
    "beyond the ceiling": (
        WISH,
        a_view(a_policy(ceiling=replace(CEILING, azure_roles=(AKS_WRITER,)))),
        "BeyondCeiling",
    ),
}


@pytest.mark.parametrize(("grant", "view", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_grant_takes_back_its_azure_roles_too(
    grant: NamespaceGrant, view: PolicyView | None, reason: str
) -> None:
    made = planned(grant, view, held(AKS_READER), lines=[held_line(AKS_READER)], children=True)
    assert [finding.reason for finding in made.findings] == [reason]
    assert [type(change) for change in made.changes] == [DeleteChild, UnassignRole]
    assert made.claims == frozenset()


def test_a_role_of_two_beyond_the_ceiling_gives_nothing_at_all() -> None:
    made = planned(a_grant(cluster_roles="view", azure_roles=(AKS_READER, AKS_ADMIN)))
    assert made.changes == ()
    assert [(f.reason, f.path) for f in made.findings] == [("BeyondCeiling", "spec.azureRoles[1]")]


KEEPS: dict[str, tuple[PolicyView | None, dict[str, Any], str]] = {
    "the policy is unreadable": (a_view(None), {}, "PolicyUnreadable"),
    "the namespace is going": (VIEW, {"ending": True}, "NamespaceEnding"),
    "the subject is not ready": (replace(VIEW, subject=None), {}, "SubjectNotReady"),
    "a role cannot be looked up": (
        a_view(a_policy(ceiling=replace(CEILING, azure_roles=("New name",)))),
        {"roles": {AKS_READER: DOWN, "New name": DOWN}},
        "Unavailable",
    ),
}


@pytest.mark.parametrize(("view", "fields", "reason"), KEEPS.values(), ids=KEEPS)
def test_while_nobody_can_tell_everything_stays(
    view: PolicyView | None, fields: dict[str, Any], reason: str
) -> None:
    made = planned(WISH, view, held(AKS_READER), lines=[held_line(AKS_READER)], children=True, **fields)
    assert made.changes == ()
    assert [finding.reason for finding in made.findings] == [reason]
    assert {item.kind for item in made.inventory} == {"RoleAssignment", "RoleBinding"}
    assert made.claims == {held_line(AKS_READER).id.lower()}


@pytest.mark.parametrize("fault", [DOWN, Denied("no right")], ids=lambda fault: fault.reason)
def test_while_arm_does_not_answer_bindings_are_made_all_the_same(fault: Fault) -> None:
    made = planned(lines=[held_line(AKS_READER)], assignments=fault)
    assert made.changes == (ApplyChild(grant_binding(WISH, "view"), None),)
    assert [(f.link, f.reason) for f in made.findings] == [(Link.AZURE_ROLES, fault.reason)]
    assert held_line(AKS_READER) in made.inventory
    assert made.counts["azureRoles"] is None


def test_a_role_of_the_other_kind_of_cluster_is_refused() -> None:
    view = a_view(a_policy(ceiling=replace(CEILING, azure_roles=(ARC_WRITER,))))
    made = planned(a_grant(azure_roles=(ARC_WRITER,)), view)
    assert made.changes == ()
    assert [(f.reason, f.path) for f in made.findings] == [("WrongClusterKind", "spec.azureRoles[0]")]
    assert AKS_WRITER in made.findings[0].message


def test_what_another_resource_wants_too_stays() -> None:
    key = held_line(AKS_READER).id.lower()
    made = planned(
        a_grant(cluster_roles="view"),
        VIEW,
        held(AKS_READER),
        lines=[held_line(AKS_READER)],
        claimed=frozenset({key}),
    )
    assert not any(isinstance(change, UnassignRole) for change in made.changes)


def test_another_group_gets_the_role_before_the_former_loses_it() -> None:
    moved = replace(VIEW, subject=Subject("Group", guid("new group"), "appdev"))
    made = planned(a_grant(azure_roles=(AKS_READER,)), moved, held(AKS_READER), lines=[held_line(AKS_READER)])
    assert [type(change) for change in made.changes] == [AssignRole, UnassignRole]


def test_every_subject_is_given_its_roles_by_its_kind() -> None:
    robot = Subject("User", guid("robot"), "Robot", "Existing", principal_type="ServicePrincipal")
    made = planned(view=replace(VIEW, subject=replace(robot, reference="servicePrincipal x")))
    (assign,) = (change for change in made.changes if isinstance(change, AssignRole))
    assert (assign.principal_id, assign.principal_type) == (guid("robot"), "ServicePrincipal")
    assert made.subject == robot  # how the policy's spec names it is the policy's alone


def warned(view: PolicyView, **fields: Any) -> list[str]:
    return [finding.reason for finding in planned(view=view, **fields).findings]


def test_warnings_of_a_grant() -> None:
    without: AccessPolicy = a_policy(ceiling=CEILING)
    assert warned(VIEW) == []
    assert warned(a_view(without)) == ["CannotConnect"]
    off = ClusterFacts(entra=True, azure_rbac=False)
    assert warned(VIEW, facts=off) == ["AzureRbacOff"]
    assert warned(VIEW, facts=ClusterFacts(entra=False, azure_rbac=True)) == ["NoEntraIntegration"]
    beside = assigned(AKS_USER, GROUP_ID, SCOPE, name="somebodys", description="")
    assert warned(a_view(without), assignments=(beside,)) == []


def test_a_refused_grant_is_not_warned_too() -> None:
    assert warned(a_view(a_policy()), facts=ClusterFacts(entra=False)) == ["NoGrantsAllowed"]


# The end of a grant


def removed(*there: Assignment, lines: tuple[Item, ...] = (), **fields: Any) -> Plan:
    bound = [seen(child) for child in grant_children(WISH)]
    world = grant_world(None, bound, assignments=there, **fields)
    return plan_grant_removal(GRANT_META, PLACE, world, lines)


def test_at_the_end_bindings_go_and_then_the_assignments() -> None:
    made = removed(held(AKS_READER), lines=(held_line(AKS_READER),))
    assert [type(change) for change in made.changes] == [DeleteChild, UnassignRole]
    assert made.findings == ()
    assert held_line(AKS_READER) in made.inventory


def test_at_the_end_what_no_inventory_tells_of_goes_too() -> None:
    made = removed(held(AKS_READER), assigned(AKS_WRITER, GROUP_ID, DEV_SCOPE))
    unassigned = [change for change in made.changes if isinstance(change, UnassignRole)]
    assert [change.assignment_id for change in unassigned] == [held_line(AKS_READER).id]


def test_at_the_end_what_another_grant_wants_too_stays() -> None:
    key = held_line(AKS_READER).id.lower()
    made = removed(held(AKS_READER), lines=(held_line(AKS_READER),), claimed=frozenset({key}))
    assert [type(change) for change in made.changes] == [DeleteChild]


def test_at_the_end_unseen_assignments_are_not_forgotten() -> None:
    made = removed(lines=(held_line(AKS_READER),))
    assert UnassignRole(held_line(AKS_READER).id, AKS_READER) in made.changes
    world = grant_world(None, assignments=DOWN)
    made = plan_grant_removal(GRANT_META, PLACE, world, (held_line(AKS_READER),))
    assert made.changes == ()
    assert {(f.link, f.severity) for f in made.findings} == {(Link.AZURE_ROLES, Severity.UNKNOWN)}
    assert made.inventory == (held_line(AKS_READER),)
    # Without any line too: the operator may have ended before it wrote one.
    made = plan_grant_removal(GRANT_META, PLACE, world, ())
    assert [(f.link, f.severity) for f in made.findings] == [(Link.AZURE_ROLES, Severity.UNKNOWN)]
