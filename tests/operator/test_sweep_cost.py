"""What it costs to look at Entra and Azure again and again grows with what changed, not with what is there.

The journal of the sandbox counts. ``SWEEP_POLICIES=500 pytest tests/operator/test_sweep_cost.py`` is the size
that must hold: 2,000 role assignments.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from entra_access.reconcile.user_sweep import MEMBER_ROUNDS
from entra_sandbox.hands import Hands
from entra_sandbox.odata import read_token
from support.azure import AKS_WRITER
from support.cluster import API, Body, Cluster, eventually, running
from support.drift import item, tells
from support.life import AKS_USER, person
from support.scopes import PODS, READER, WRITER, last_entry, roles_of
from support.trouble import clean_log, groups_of, is_ready, policies

POLICIES = int(os.environ.get("SWEEP_POLICIES", "60"))
ROLES = (AKS_USER, READER, "Reader", "Azure Kubernetes Service RBAC Admin")
BATCH = 50
"""Groups in one delta query."""
PAGE = 150
"""Assignments in one page of a list."""
USERS = "changes of users"
PASSES = 2
"""So many looks at a policy one piece of news may cause: its status is news too, if the watch is quick."""
PATIENCE = 60 + POLICIES


@dataclass
class Many:
    """A set-up with many policies, each with a group and four Azure roles, that has come to rest."""

    cluster: Cluster

    def name(self, number: int) -> str:
        """The name of a policy."""
        return f"many-{number:03}"

    def group(self, number: int) -> Body:
        """The group of a policy."""
        return groups_of(self.cluster.azure.state(), self.name(number))[0]

    def settle(self) -> None:
        """Wait until nothing is asked but what the rounds ask, and nothing is written."""

        def rested() -> bool:
            since = last_entry(self.cluster)
            calm = self.cluster.quiet(3.0) == ([], False)
            return calm and not self.others(since) and bool(self.rounds(since))

        eventually(rested, "it has come to rest", PATIENCE)

    def asked(self, since: int) -> list[Body]:
        """All that Graph and ARM were asked."""
        return [one for one in self.cluster.azure.journal(since=since) if one["kind"] in {"graph", "arm"}]

    def rounds(self, since: int) -> Counter[str]:
        """How often each question of the rounds was asked: by the groups it is about, or for which list."""
        return Counter(filter(None, map(question, self.asked(since))))

    def others(self, since: int) -> list[str]:
        """All that was asked besides, as "METHOD path"."""
        return [f"{one['method']} {one['path']}" for one in self.asked(since) if not question(one)]


def question(entry: Body) -> str:
    """Which question of the rounds it is; empty where it is none."""
    path, query = str(entry["path"]), dict(part.split("=", 1) for part in entry["query"].split("&") if part)
    if entry["method"] != "GET":
        return ""
    if path.endswith(("delta", "delta()")):
        token: Any = query.get("$deltatoken", "")
        if not token or token == "latest":
            return ""
        return f"changes of {read_token(token)['q']['$filter']}" if "/groups/" in path else USERS
    if path.endswith(("/roleAssignments", "/roleDefinitions")):
        further = " (further page)" if "skipToken" in entry["query"] else ""
        return f"list of {path.rpartition('/')[2]}{further}" if "roleName" not in entry["query"] else ""
    return ""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    """All of them in place, and looked at."""
    with running(tmp_path_factory.mktemp("sweep-cost"), ENTRA_ACCESS_SWEEP_SECONDS="2") as cluster:
        cluster.azure.settings(throttle_scale=0, arm_page_size=PAGE)
        found = Many(cluster)
        member = person(cluster).ref
        bodies = [
            {
                "apiVersion": API,
                "kind": "AccessPolicy",
                "metadata": {"name": found.name(number)},
                "spec": {
                    "subject": {"group": {"displayName": found.name(number), "members": [member]}},
                    "azureRoles": [{"role": role} for role in ROLES],
                    "clusterRoles": ["view"],
                },
            }
            for number in range(POLICIES)
        ]
        cluster.apply(*bodies)
        eventually(lambda: all(map(is_ready, policies(cluster).values())), "all are Ready", PATIENCE)
        found.settle()
        yield found
        clean_log(cluster)


@pytest.fixture(scope="module")
def admin(many: Many) -> Hands:
    """Somebody else, who may do everything."""
    return Hands(many.cluster.azure)


def test_at_rest_a_round_is_one_walk_over_the_list_and_a_question_for_fifty_groups(many: Many) -> None:
    """Nothing else is asked, nothing is written, and no resourceVersion moves."""
    assert len(many.cluster.azure.assignments()) > POLICIES * len(ROLES)
    since = last_entry(many.cluster)

    assert many.cluster.quiet(12.0) == ([], False)

    assert many.others(since) == []
    asked = many.rounds(since)
    walks, further = (
        asked.pop("list of roleAssignments"),
        asked.pop("list of roleAssignments (further page)", 0),
    )
    pages = math.ceil(len(many.cluster.azure.assignments()) / PAGE)
    assert walks >= 3, "there were rounds, or this proves nothing"
    # The walk that was under way at first, or at last, may be in it by half.
    assert (walks - 1) * (pages - 1) <= further <= (walks + 1) * (pages - 1)
    users = asked.pop(USERS, 0)
    assert users <= 1 + walks // MEMBER_ROUNDS, "now and then, and never for each"
    assert len(asked) == math.ceil(POLICIES / BATCH), "a question for each fifty groups, and no other"
    about = [one.count("id eq") for one in asked]
    assert sum(about) == POLICIES
    assert max(about) <= BATCH
    assert min(asked.values()) >= 3, "there were rounds"
    # All of them are asked once in a round; the first or the last round may be in it by half.
    assert max(asked.values()) - min(asked.values()) <= 1


def test_somebody_in_a_group_costs_the_calls_of_its_policy(many: Many) -> None:
    """It is seen by the first question after it; what is asked then is about this group alone."""
    group, stranger = many.group(7), person(many.cluster, "stranger")
    since = last_entry(many.cluster)

    many.cluster.azure.add_member(group["id"], stranger.id)

    tells(
        many.cluster,
        many.name(7),
        "InSync",
        item("Entra", f"Group {many.name(7)}", "members", f"not {stranger.upn}", stranger.upn, "Corrected"),
    )
    many.settle()
    others = many.others(since)
    assert [one for one in others if not one.startswith("GET")] == [
        f"DELETE /v1.0/groups/{group['id']}/members/{stranger.id}/$ref"
    ]
    assert [one for one in others if group["id"] not in one and group["uniqueName"] not in one] == []
    # One more than those that a watch may cause: the correction is a change too, which the next round tells.
    assert len(others) <= 1 + (PASSES + 1) * 3, others
    assert questions_before(many, since, group["id"]) <= 2, "by the question that was under way, or the next"


def questions_before(many: Many, since: int, about: str) -> int:
    """How many questions about a group came before anybody acted on one."""
    number = 0
    for entry in many.asked(since):
        asked = question(entry)
        if not asked and about in entry["path"]:
            return number
        number += about in asked
    raise AssertionError("nobody acted")


def test_a_deleted_assignment_costs_the_calls_of_its_policy(many: Many, admin: Hands) -> None:
    """Likewise, of Azure."""
    group = many.group(9)
    ours = next(a for a in many.cluster.azure.assignments(group["id"]) if a["roleName"] == READER)
    since = last_entry(many.cluster)

    admin.unassign(ours["id"])

    place = f"at {many.cluster.stack.cluster_id.rpartition('/')[2]}"
    deleted = item("Azure", f"RoleAssignment {READER} {place}", "", "present", "deleted", "Corrected")
    tells(many.cluster, many.name(9), "InSync", deleted)
    many.settle()
    others = many.others(since)
    assert [one for one in others if not one.startswith("GET")] == [
        f"DELETE {ours['id']}",
        f"PUT {ours['id']}",
    ]
    own = (group["id"], group["uniqueName"], ours["name"])
    assert [one for one in others if not any(name in one for name in own)] == []
    # Besides, the one assignment is read, by the pass, and by a round while its list may lag.
    assert len(others) <= 2 + (PASSES + 1) * 3 + 2, others
    assert [role for role, _ in roles_of(many.cluster, group["id"])] == sorted(ROLES)


def test_what_nobody_declared_costs_the_calls_of_its_policy(many: Many, admin: Hands) -> None:
    """It is told of by the policy of that subject, and nobody else looks."""
    group = many.group(11)
    since = last_entry(many.cluster)

    theirs = admin.assign(group["id"], AKS_WRITER, many.cluster.stack.cluster_id)["id"]

    place = f"at {many.cluster.stack.cluster_id.rpartition('/')[2]}"
    foreign = item("Azure", f"RoleAssignment {WRITER} {place}", "", "absent", "present", "Reported")
    tells(many.cluster, many.name(11), "Drifted", foreign)
    many.settle()
    own = (group["id"], group["uniqueName"], theirs, "/users/")
    others = many.others(since)
    assert [one for one in others if not any(name in one for name in own)] == []
    assert len([one for one in others if "/users/" in one]) <= 1, "who it was"
    theirs_calls = len(many.cluster.azure.journal(since=since, caller=admin.object_id, kind="arm"))
    assert len(others) <= theirs_calls + PASSES * 3 + 1, others
    admin.unassign(theirs)
    tells(many.cluster, many.name(11), "InSync")
    many.settle()


def test_a_new_policy_is_no_reason_to_look_at_others(many: Many) -> None:
    """It is asked for together with others from now on, of whom nothing is missed and nothing is asked."""
    since = last_entry(many.cluster)

    many.cluster.policy("newcomer", {"subject": {"group": {"displayName": "newcomer"}}})
    many.cluster.ready("apol", "newcomer")
    many.settle()

    group = groups_of(many.cluster.azure.state(), "newcomer")[0]
    (begun,) = [entry for entry in many.asked(since) if group["id"] in entry["query"]]
    ids = {many.group(number)["id"]: many.name(number) for number in range(POLICIES)}
    together = [one for one in ids if one in begun["query"]]
    assert bool(together) == bool(POLICIES % BATCH), "they are asked for together, unless all are full"
    looked = [one for one in many.others(since) if "delta" not in one]
    assert [one for one in looked if any(other in one for other in ids)] == []
    stranger = person(many.cluster, "stranger")
    one = next(iter(together or ids))
    many.cluster.azure.add_member(one, stranger.id)
    neighbour = ids[one]
    came = item("Entra", f"Group {neighbour}", "members", f"not {stranger.upn}", stranger.upn, "Corrected")
    tells(many.cluster, neighbour, "InSync", came)
    many.cluster.kubectl("delete", "apol", "newcomer", "--timeout=30s")
    many.settle()


def test_custom_roles_cost_one_list_more(many: Many) -> None:
    """However many there are, and only while a policy has one."""
    custom = [{"name": f"custom-{n}", "dataActions": [f"{PODS}/delete"]} for n in range(20)]
    many.cluster.policy("with-roles", {"customRoles": custom})
    many.cluster.ready("apol", "with-roles")
    many.settle()
    since = last_entry(many.cluster)

    assert many.cluster.quiet(8.0) == ([], False)

    assert many.others(since) == []
    asked = many.rounds(since)
    assert asked["list of roleDefinitions"] >= 2
    assert abs(asked["list of roleDefinitions"] - asked["list of roleAssignments"]) <= 1
    many.cluster.kubectl("delete", "apol", "with-roles", "--timeout=30s")
    many.settle()
    since = last_entry(many.cluster)
    many.cluster.quiet(4.0)
    assert "list of roleDefinitions" not in many.rounds(since)
