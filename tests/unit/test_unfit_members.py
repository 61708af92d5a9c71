"""Groups that cannot be members of a security group are refused by their field, and keep nobody else out."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.domain.changes import AddPrincipals, RemovePrincipal
from entra_access.domain.faults import Link, Severity
from entra_access.domain.observed import Principal
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import GROUP_ID, NOW, PLACE, a_policy, group_line, group_of, guid, principal, ref, steady

ANNA = ref("anna@x.io")
BY_ID = ref(guid("mail"), "group")
STRANGER = principal("stranger@x.io")
OTHER_GROUP = Principal(guid("other"), "group")


def plan(**fields: Any) -> Plan:
    policy = a_policy()
    policy = replace(policy, subject=replace(group_of(policy), members=(ANNA, BY_ID)))
    world, _ = steady(a_policy())
    found = Principal(guid("mail"), "group", display_name="Mail", **fields)
    principals = {ANNA: principal("anna@x.io"), BY_ID: found}
    world = replace(world, members=(STRANGER, OTHER_GROUP), principals=principals)
    return plan_policy(policy, PLACE, world, (group_line(),), NOW)


UNFIT = {
    "a distribution list": ({"security": False}, "is not security-enabled"),
    "a Microsoft 365 group": ({"security": False, "unified": True}, "is a Microsoft 365 group"),
    "one with security": ({"unified": True}, "is a Microsoft 365 group"),
}


@pytest.mark.parametrize(("fields", "words"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_group_is_refused_by_its_field_and_holds_up_nobody(
    fields: dict[str, bool], words: str
) -> None:
    made = plan(**fields)
    assert made.changes == (
        AddPrincipals(GROUP_ID, "members", (guid("anna@x.io"),)),
        RemovePrincipal(GROUP_ID, "members", STRANGER.id),
        RemovePrincipal(GROUP_ID, "members", OTHER_GROUP.id),
    )
    (finding,) = made.findings
    assert (finding.link, finding.severity, finding.reason, finding.path) == (
        Link.MEMBERS,
        Severity.STALLED,
        "NotASecurityGroup",
        "spec.subject.group.members[1].group",
    )
    assert f"the group Mail {words}" in finding.message
    assert made.counts["members"] == 1


def test_a_security_group_is_a_member() -> None:
    made = plan()
    assert made.findings == ()
    assert (
        AddPrincipals(GROUP_ID, "members", tuple(sorted((guid("anna@x.io"), guid("mail"))))) in made.changes
    )
