"""What another hand does to role assignments and custom roles is seen in one round, put right and told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from entra_sandbox import seed
from entra_sandbox.hands import Hands
from support.azure import AKS_READER, AKS_WRITER
from support.cluster import Body, Cluster, eventually
from support.drift import at_rest, drift_of, item, plain, quickly, states, tells, told
from support.life import AKS_USER, ceiling, condition_of
from support.scopes import (
    PODS,
    READER,
    WRITER,
    Personal,
    arm_writes,
    custom_role,
    last_entry,
    namespace_scope,
    personal,
    roles_of,
)
from support.trouble import clean_log

CORRECTED, REPORTED = "Corrected", "Reported"
PLACE = f"at {seed.CLUSTER_ID.rpartition('/')[2]}"
READ_ONLY = (
    "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR "
    "(@Request[Microsoft.Authorization/roleAssignments:PrincipalType] "
    "ForAnyOfAnyValues:StringEqualsIgnoreCase {'Group'}))"
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which it is asked every second what has changed."""
    with quickly(tmp_path_factory.mktemp("drift-azure")) as cluster:
        yield cluster
        clean_log(cluster)


@pytest.fixture(scope="module")
def admin(quick: Cluster) -> Hands:
    """Somebody else, who may do everything."""
    return Hands(quick.azure)


@dataclass
class Team:
    """A policy for one person with two roles, one of them its own; and another custom role nobody has."""

    cluster: Cluster
    policy: Personal
    admin: Hands

    @property
    def custom(self) -> str:
        """The name of the custom role that the person has."""
        return f"custom of {self.policy.name}"

    @property
    def spare(self) -> str:
        """The name of the other one."""
        return f"spare of {self.policy.name}"

    def assignment(self, role: str = AKS_USER) -> Body:
        """The assignment of that role, as Azure has it; an empty one where there is none."""
        there = self.cluster.azure.assignments(self.policy.who.id)
        return next((one for one in there if one["roleName"] == role), {})

    def role(self, name: str) -> Body:
        """A custom role as Azure has it."""
        found = custom_role(self.cluster, name)
        assert found is not None
        return found

    def world(self) -> list[object]:
        """All of it as Azure has it."""
        found: list[object] = [custom_role(self.cluster, one) for one in (self.custom, self.spare)]
        there = sorted(self.cluster.azure.assignments(self.policy.who.id), key=lambda one: str(one["name"]))
        return [*found, *({k: v for k, v in one.items() if k != "createdBy"} for one in there)]


@pytest.fixture
def team(quick: Cluster, admin: Hands) -> Team:
    """One that is in place."""
    policy = personal(quick)
    found = Team(quick, policy, admin)
    policy.update(
        customRoles=[
            {"name": found.custom, "description": "wished", "dataActions": [f"{PODS}/delete"]},
            {"name": found.spare, "dataActions": [f"{PODS}/read"]},
        ],
        azureRoles=[{"role": AKS_USER}, {"role": found.custom}],
    )
    return found


Edit = Callable[[Team], object]
Items = Callable[[Team, str], list[Body]]


def on_assignment(field: str, expected: Callable[[Team], str], found: str) -> Items:
    """What is told of the role assignment."""

    def items(team: Team, action: str) -> list[Body]:
        return [item("Azure", f"RoleAssignment {AKS_USER} {PLACE}", field, expected(team), found, action)]

    return items


def note(team: Team) -> str:
    """The description that an assignment of the operator's has."""
    return str(team.assignment(team.custom)["description"])


def defined(field: str, expected: str, found: str) -> Items:
    """What is told of the custom role."""

    def items(team: Team, action: str) -> list[Body]:
        return [item("Azure", f"RoleDefinition {team.custom}", field, expected, found, action)]

    return items


def permitting(*actions: str) -> Edit:
    """Change what the custom role is for."""
    return lambda team: team.admin.change_role(team.custom, data_actions=actions)


EDITS: dict[str, tuple[Edit, Items]] = {
    "condition": (
        lambda team: team.admin.change_assignment(team.assignment()["id"], condition=READ_ONLY),
        on_assignment("condition", lambda _: "none", READ_ONLY),
    ),
    "description": (
        lambda team: team.admin.change_assignment(team.assignment()["id"], description="mine now"),
        on_assignment("description", note, "mine now"),
    ),
    "what the custom role is for": (
        permitting(f"{PODS}/delete", f"{PODS}/write"),
        defined("dataActions", f"{PODS}/delete".lower(), f"{PODS}/delete, {PODS}/write".lower()),
    ),
    "the custom role takes away": (
        permitting(f"{PODS}/write"),
        defined("dataActions", f"{PODS}/delete".lower(), f"{PODS}/write".lower()),
    ),
    "what the custom role is said to be": (
        lambda team: team.admin.change_role(team.custom, description="by another hand"),
        defined("description", "wished", "by another hand"),
    ),
}
DELETIONS: dict[str, tuple[Edit, Items]] = {
    "assignment": (
        lambda team: team.admin.unassign(team.assignment()["id"]),
        on_assignment("", lambda _: "present", "deleted"),
    ),
    "custom role": (
        lambda team: team.admin.delete_role(team.spare),
        lambda team, action: [
            item("Azure", f"RoleDefinition {team.spare}", "", "present", "deleted", action)
        ],
    ),
}


@pytest.mark.parametrize("case", [*EDITS, *DELETIONS])
def test_a_change_is_put_right_and_told(team: Team, case: str) -> None:
    """All is as it was, under the same names; status and event say what it was, and who where Azure tells."""
    edit, items = (EDITS | DELETIONS)[case]
    before, expected = team.world(), items(team, CORRECTED)

    edit(team)

    body = tells(team.cluster, team.policy.name, "InSync", *expected)
    assert team.world() == before
    drift = body["status"]["drift"]
    assert (drift["corrected"], drift["total"]) == (1, 1)
    assert drift["items"][0].get("changedBy") == (team.admin.who if case in EDITS else None)
    assert drift["items"][0]["since"]
    assert states(body, "Ready", "Drifted", "Warning") == [("True", "InPlace"), ("", ""), ("", "")]
    messages = eventually(lambda: told(team.cluster, team.policy.name), "an event")
    assert len(messages) == 1
    assert (f"by {team.admin.who}" in messages[0]) is (case in EDITS)
    at_rest(team.cluster)


@pytest.mark.parametrize("case", [*EDITS, *DELETIONS])
def test_who_observes_is_told_and_nothing_is_touched(team: Team, case: str) -> None:
    """The same in Observe: Ready as long as no access is missing; more than is wished for is no lack."""
    edit, items = (EDITS | DELETIONS)[case]
    before = team.world()
    reported = items(team, REPORTED)
    team.policy.update(mode="Observe")

    edit(team)
    found = team.world()

    body = tells(team.cluster, team.policy.name, "Drifted", *reported)
    lacking = case in DELETIONS or case in {"condition", "the custom role takes away"}
    ready = ("False", "ObserveOnly") if lacking else ("True", "InPlace")
    assert states(body, "Ready", "Drifted") == [ready, ("True", "Observed")]
    at_rest(team.cluster)
    assert team.world() == found

    team.policy.apply(mode="Enforce")
    tells(team.cluster, team.policy.name, "InSync", *({**one, "action": CORRECTED} for one in reported))
    assert team.world() == before


def test_an_assignment_of_a_grant_comes_back(quick: Cluster, admin: Hands) -> None:
    """It is told of where it belongs: on the grant, and not on its policy."""
    namespace = quick.namespace()
    policy = personal(quick, grants={**ceiling("view"), "azureRoles": [READER]})
    policy.ready()
    quick.grant("work", namespace, policy.name, azureRoles=[READER])
    quick.ready("ngrant", "work", namespace)
    scope = namespace_scope(quick, namespace)
    ours = quick.azure.assignments(policy.who.id, scope)

    admin.unassign(ours[0]["id"])

    words = f"RoleAssignment {READER} at namespace {namespace}"
    back = item("Azure", words, "", "present", "deleted", CORRECTED)
    eventually(lambda: drift_of(quick, "work", "ngrant", namespace).get("corrected"), "told")
    drift = drift_of(quick, "work", "ngrant", namespace)
    assert plain(drift) == [back]
    assert drift["state"] == "InSync"
    assert [one["id"] for one in quick.azure.assignments(policy.who.id, scope)] == [ours[0]["id"]]
    assert "items" not in drift_of(quick, policy.name)
    at_rest(quick)


def foreign(role: str, place: str, action: str) -> Body:
    """What is told of an assignment that nobody declared."""
    return item("Azure", f"RoleAssignment {role} {place}", "", "absent", "present", action)


@pytest.mark.parametrize("where", ["cluster", "namespace"])
def test_what_nobody_declared_is_told_of_and_left_alone(team: Team, where: str) -> None:
    """Ready stays True; who gave it is named; when it is gone nothing is said any more."""
    namespace = team.cluster.namespace()
    scope = seed.CLUSTER_ID if where == "cluster" else namespace_scope(team.cluster, namespace)
    place = PLACE if where == "cluster" else f"at namespace {namespace}"
    since = last_entry(team.cluster)

    theirs = team.admin.assign(team.policy.who.id, AKS_WRITER, scope, description="for a while")["id"]

    body = tells(team.cluster, team.policy.name, "Drifted", foreign(WRITER, place, REPORTED))
    assert body["status"]["drift"]["items"][0]["changedBy"] == team.admin.who
    assert states(body, "Ready", "Drifted") == [("True", "InPlace"), ("True", "ForeignAccess")]
    assert condition_of(body, "Ready")["message"].endswith("; see condition Drifted")
    assert WRITER in condition_of(body, "Drifted")["message"]
    eventually(lambda: told(team.cluster, team.policy.name, "ForeignAccess"), "an event tells of it")
    at_rest(team.cluster)
    assert arm_writes(team.cluster, since, team.policy.who.id) == [f"PUT {theirs}"]

    team.admin.unassign(theirs)
    body = tells(team.cluster, team.policy.name, "InSync")
    assert states(body, "Ready", "Drifted") == [("True", "InPlace"), ("", "")]
    at_rest(team.cluster)


@pytest.mark.parametrize("where", ["cluster", "namespace"])
def test_what_nobody_declared_is_removed_where_the_policy_says_so(team: Team, where: str) -> None:
    """Also what was there before the policy said so."""
    namespace = team.cluster.namespace()
    scope = seed.CLUSTER_ID if where == "cluster" else namespace_scope(team.cluster, namespace)
    place = PLACE if where == "cluster" else f"at namespace {namespace}"
    before = team.world()
    team.admin.assign(team.policy.who.id, AKS_WRITER, scope)
    tells(team.cluster, team.policy.name, "Drifted", foreign(WRITER, place, REPORTED))

    team.policy.apply(foreignAssignments="Remove")

    gone = foreign(WRITER, place, CORRECTED)
    body = tells(team.cluster, team.policy.name, "InSync", gone)
    assert body["status"]["drift"]["items"][0]["changedBy"] == team.admin.who
    assert team.world() == before

    team.admin.assign(team.policy.who.id, AKS_READER, scope)
    tells(team.cluster, team.policy.name, "InSync", gone, foreign(READER, place, CORRECTED))
    assert team.world() == before
    at_rest(team.cluster)


def test_who_observes_removes_nothing(team: Team) -> None:
    """Whatever is to be done with what nobody declared."""
    team.policy.update(mode="Observe", foreignAssignments="Remove")

    team.admin.assign(team.policy.who.id, AKS_WRITER, seed.CLUSTER_ID)

    body = tells(team.cluster, team.policy.name, "Drifted", foreign(WRITER, PLACE, REPORTED))
    assert states(body, "Ready", "Drifted") == [("True", "InPlace"), ("True", "Observed")]
    at_rest(team.cluster)
    assert (WRITER, seed.CLUSTER_ID) in team.policy.roles()


def test_what_a_person_has_above_the_cluster_is_their_own(team: Team) -> None:
    """Neither told of nor removed: it may well be for something else."""
    team.policy.update(foreignAssignments="Remove")

    team.admin.assign(team.policy.who.id, AKS_WRITER, seed.RESOURCE_GROUP)

    at_rest(team.cluster)
    assert (WRITER, seed.RESOURCE_GROUP) in team.policy.roles()
    assert drift_of(team.cluster, team.policy.name)["state"] == "InSync"


def test_what_a_group_of_ours_has_above_the_cluster_is_told_and_never_removed(
    quick: Cluster, admin: Hands
) -> None:
    """Such a group is there for this access only; but what lies above the cluster is not for it to say."""
    name = quick.unique("above")
    quick.policy(name, {"foreignAssignments": "Remove"})
    group = quick.ready("apol", name)["status"]["subject"]["objectId"]

    theirs = admin.assign(group, AKS_WRITER, seed.RESOURCE_GROUP)["id"]

    place = f"at resourceGroup {seed.RESOURCE_GROUP.rpartition('/')[2]}"
    body = tells(quick, name, "Drifted", foreign(WRITER, place, REPORTED))
    assert states(body, "Ready", "Drifted") == [("True", "InPlace"), ("True", "ForeignAccess")]
    at_rest(quick)
    assert roles_of(quick, group) == [(WRITER, seed.RESOURCE_GROUP)]
    admin.unassign(theirs)
    tells(quick, name, "InSync")


def test_several_in_one_round(team: Team) -> None:
    """Deleted, changed and undeclared ones together: each is told once, and only what is ours is written."""
    before, since = team.world(), last_entry(team.cluster)
    words = f"RoleAssignment {team.custom} {PLACE}"
    expected = [
        *(items(team, CORRECTED)[0] for _, items in DELETIONS.values()),
        *EDITS["what the custom role is said to be"][1](team, CORRECTED),
        item("Azure", words, "description", note(team), "mine now", CORRECTED),
        foreign(WRITER, PLACE, REPORTED),
    ]

    DELETIONS["custom role"][0](team)
    DELETIONS["assignment"][0](team)
    EDITS["what the custom role is said to be"][0](team)
    team.admin.change_assignment(team.assignment(team.custom)["id"], description="mine now")
    theirs = team.admin.assign(team.policy.who.id, AKS_WRITER, seed.CLUSTER_ID)["id"]

    body = tells(team.cluster, team.policy.name, "Drifted", *expected)
    assert body["status"]["drift"]["corrected"] == 4
    at_rest(team.cluster)
    left = [one for one in team.world() if not (isinstance(one, dict) and one.get("roleName") == WRITER)]
    assert left == before
    written = arm_writes(team.cluster, since)
    assert [one for one in written if theirs in one] == [f"PUT {theirs}"]
    assert len(written) == 9, "five by the other hand, and four to put them right"
