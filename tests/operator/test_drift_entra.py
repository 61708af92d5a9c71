"""What another hand does to a group, its members and owners is seen within one round, put right and told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from support.cluster import Body, Cluster, eventually
from support.drift import at_rest, item, quickly, states, tells, told
from support.life import AKS_USER, READ_PODS, Person, Policy, ceiling, new_policy, person
from support.trouble import clean_log

CORRECTED, REPORTED = "Corrected", "Reported"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up in which it is asked every second what has changed."""
    with quickly(tmp_path_factory.mktemp("drift-entra")) as cluster:
        yield cluster
        clean_log(cluster)


@dataclass
class Team:
    """A policy that gives its group access of all kinds, and the people in it and around it."""

    cluster: Cluster
    policy: Policy
    member: Person
    other: Person
    owner: Person
    stranger: Person
    namespace: str = ""
    before: Body = field(default_factory=dict)

    @property
    def words(self) -> str:
        """How drift calls the group."""
        return f"Group {self.policy.group['displayName']}"

    def change(self, **fields: object) -> None:
        """Change the group by another hand."""
        self.cluster.azure.change_group(self.policy.group_id, **fields)

    def lacks(self, relation: str, who: Person, action: str) -> Body:
        """The item of somebody who was taken out."""
        return item("Entra", self.words, relation, who.upn, f"not {who.upn}", action)

    def has(self, relation: str, who: Person, action: str) -> Body:
        """The item of somebody who was put in."""
        return item("Entra", self.words, relation, f"not {who.upn}", who.upn, action)

    def entra(self) -> Body:
        """The group as Entra has it, but for the order of its members and owners."""
        group = self.policy.entra()
        return group | {key: sorted(group[key]) for key in ("members", "owners")}


@pytest.fixture
def team(quick: Cluster) -> Team:
    """One that is in place and was looked at by the round too."""
    return make_team(quick)


def make_team(cluster: Cluster, **group: object) -> Team:
    """Make a team whose group has this and that in its spec."""
    member, other, owner, stranger = (person(cluster, one) for one in ("dev", "other", "lead", "stranger"))
    policy = new_policy(
        cluster,
        member,
        other,
        group={"description": "as wished", "owners": [owner.ref], **group},
        clusterRoles=["view"],
        azureRoles=[{"role": AKS_USER}],
        grants=ceiling("edit", rules=[READ_PODS]),
    )
    policy.ready()
    found = Team(cluster, policy, member, other, owner, stranger)
    found.before = found.entra()
    return found


Edit = Callable[[Team], None]
Items = Callable[[Team, str], list[Body]]
EDITS: dict[str, tuple[Edit, Items]] = {
    "member added": (
        lambda team: team.change(addMembers=[team.stranger.id]),
        lambda team, action: [team.has("members", team.stranger, action)],
    ),
    "member taken out": (
        lambda team: team.change(removeMembers=[team.member.id]),
        lambda team, action: [team.lacks("members", team.member, action)],
    ),
    "owner exchanged": (
        lambda team: team.change(addOwners=[team.stranger.id], removeOwners=[team.owner.id]),
        lambda team, action: [
            team.lacks("owners", team.owner, action),
            team.has("owners", team.stranger, action),
        ],
    ),
    "renamed": (
        lambda team: team.change(displayName="renamed", mailNickname="other"),
        lambda team, action: [
            item("Entra", team.words, "displayName", team.before["displayName"], "renamed", action),
            item("Entra", team.words, "mailNickname", team.before["mailNickname"], "other", action),
        ],
    ),
    "described": (
        lambda team: team.change(description="by another hand"),
        lambda team, action: [
            item("Entra", team.words, "description", "as wished", "by another hand", action)
        ],
    ),
}


def all_at_once(team: Team) -> None:
    """Everything of it, in one request."""
    team.change(
        addMembers=[team.stranger.id],
        removeMembers=[team.member.id],
        addOwners=[team.stranger.id],
        removeOwners=[team.owner.id],
        displayName="renamed",
        mailNickname="other",
        description="by another hand",
    )


EDITS["all of it"] = (
    all_at_once,
    lambda team, action: [one for _, items in list(EDITS.values())[:5] for one in items(team, action)],
)


def in_words(one: Body) -> str:
    """What an event says of an item."""
    before, field, found, expected = (one[key] for key in ("object", "field", "found", "expected"))
    if found.startswith("not "):
        return f"{before}: {expected} was taken out of the {field}, and is put back again"
    if expected.startswith("not "):
        return f"{before}: {found} was put into the {field}, and is taken out again"
    return f"{before}: {field} was changed to {found}; it is {expected} again"


@pytest.mark.parametrize("case", EDITS)
def test_a_change_is_put_right_and_told(team: Team, case: str) -> None:
    """Group, members and owners are as they were; status and events say what it was."""
    edit, items = EDITS[case]
    edit(team)
    expected = items(team, CORRECTED)

    body = tells(team.cluster, team.policy.name, "InSync", *expected)

    assert team.entra() == team.before
    drift = body["status"]["drift"]
    assert (drift["corrected"], drift["total"]) == (len(expected), len(expected))
    assert all(one["since"] for one in drift["items"])
    assert states(body, "Ready", "Drifted") == [("True", "InPlace"), ("", "")]
    assert body["status"]["subject"]["displayName"] == team.before["displayName"]
    eventually(lambda: len(told(team.cluster, team.policy.name)) == len(expected), "events")
    messages = told(team.cluster, team.policy.name)
    assert sorted(messages) == sorted(map(in_words, expected))
    at_rest(team.cluster)


@pytest.mark.parametrize("case", EDITS)
def test_who_observes_is_told_and_nothing_is_touched(team: Team, case: str) -> None:
    """The same in Observe: it stays as it is, and is Ready as long as nobody lacks anything."""
    edit, items = EDITS[case]
    team.policy.update(mode="Observe")
    edit(team)
    found = team.entra()

    body = tells(team.cluster, team.policy.name, "Drifted", *items(team, REPORTED))

    lacking = case in {"member taken out", "all of it"}
    ready = ("False", "ObserveOnly") if lacking else ("True", "InPlace")
    assert states(body, "Ready", "Drifted") == [ready, ("True", "Observed")]
    assert told(team.cluster, team.policy.name) == []
    eventually(lambda: told(team.cluster, team.policy.name, "Observed"), "an event tells of it")
    at_rest(team.cluster)
    assert team.entra() == found

    team.policy.apply(mode="Enforce")
    tells(team.cluster, team.policy.name, "InSync", *items(team, CORRECTED))
    assert team.entra() == team.before
    assert states(team.policy.ready(), "Drifted") == [("", "")]


def test_an_owner_whom_entra_does_not_let_go_is_told_of(quick: Cluster) -> None:
    """The last owner of a group stays where nobody else is wished for: then it is said who that is."""
    policy, stranger = new_policy(quick, person(quick)), person(quick, "stranger")
    policy.ready()

    quick.azure.change_group(policy.group_id, addOwners=[stranger.id])

    words = f"Group {policy.name}"
    one = item("Entra", words, "owners", f"not {stranger.upn}", stranger.upn, REPORTED)
    body = tells(quick, policy.name, "Drifted", one)
    assert states(body, "Ready", "Drifted") == [("True", "InPlace"), ("True", "ForeignAccess")]
    at_rest(quick)
    assert policy.entra()["owners"] == [stranger.id]

    quick.azure.change_group(policy.group_id, removeOwners=[stranger.id])
    tells(quick, policy.name, "InSync")
