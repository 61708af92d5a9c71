"""What another hand does to Roles and bindings is put right at once, and told: what, when and by whom."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import (
    MANAGED_BY,
    OWNER_NAME,
    READ_PODS,
    Person,
    Policy,
    all_bindings,
    ceiling,
    condition_of,
    events,
    gets,
    loses,
    made_for,
    new_policy,
    patch,
    person,
)

OWNER_UID = "entra-access.dev/owner-uid"
PROMPT = 2.0
"""Seconds in which an edit is put right, on a busy machine too."""


@dataclass(frozen=True)
class Team:
    """A policy with a ClusterRoleBinding, and a grant with a Role and its binding."""

    cluster: Cluster
    policy: Policy
    namespace: str
    who: Person

    def made(self, kind: str) -> Body:
        """The one object of that kind that was made, or an empty one while there is none."""
        owner, where = (
            ("work", self.namespace) if kind in {"Role", "RoleBinding"} else (self.policy.name, None)
        )
        labels = "" if where else f"{OWNER_NAME}={owner}"
        prefixes = (f"{owner}-", "entra-access-")
        found = self.cluster.list_all(f"{kind.lower()}s", where, labels)
        return next((one for one in found if one["metadata"]["name"].startswith(prefixes)), {})

    def owner(self, kind: str) -> Body:
        """The resource that an object of that kind was made for."""
        if kind in {"Role", "RoleBinding"}:
            return self.cluster.get("ngrant", "work", self.namespace)
        return self.cluster.get("apol", self.policy.name)

    def where(self, kind: str) -> tuple[str, ...]:
        """Kubectl's arguments for the namespace of that kind."""
        return ("-n", self.namespace) if kind in {"Role", "RoleBinding"} else ()

    def told(self, kind: str) -> list[Body]:
        """The events of drift on the owner."""
        if kind in {"Role", "RoleBinding"}:
            found = events(self.cluster, "NamespaceGrant", "work", self.namespace)
        else:
            found = events(self.cluster, "AccessPolicy", self.policy.name)
        return [{"type": t, "message": message} for t, reason, message in found if reason == "DriftCorrected"]


@pytest.fixture
def team(cluster: Cluster) -> Team:
    """One of each kind of object, in place."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(cluster, who, clusterRoles=["view"], grants=ceiling("view", rules=[READ_PODS]))
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])
    policy.ready()
    cluster.ready("ngrant", "work", namespace)
    return Team(cluster, policy, namespace, who)


def content(body: Body) -> Body:
    """What an object gives, and whose it says it is; nothing of one that is not there."""
    if not body:
        return {}
    meta = body["metadata"]
    kept = {key: body.get(key) for key in ("rules", "roleRef", "subjects")}
    return {
        **kept,
        "labels": meta["labels"],
        "owners": [one["uid"] for one in meta.get("ownerReferences", ())],
    }


def labelled(label: str, value: str) -> Callable[[Team, str, Body], None]:
    """An edit of one label, as `kubectl label` makes it; "-" removes it."""
    change = f"{label}-" if value == "-" else f"{label}={value}"

    def edit(team: Team, kind: str, body: Body) -> None:
        name = body["metadata"]["name"]
        team.cluster.kubectl("label", kind.lower(), name, change, "--overwrite", *team.where(kind))

    return edit


def patched(*operations: Body) -> Callable[[Team, str, Body], None]:
    """An edit by `kubectl patch`."""

    def edit(team: Team, kind: str, body: Body) -> None:
        patch(team.cluster, kind.lower(), body["metadata"]["name"], list(operations), *team.where(kind))

    return edit


INTRUDER = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "intruder@contoso.com"}
ADD_SUBJECT = patched({"op": "add", "path": "/subjects/-", "value": INTRUDER})
NO_SUBJECTS = patched({"op": "remove", "path": "/subjects"})
MORE_RULES = patched(
    {"op": "add", "path": "/rules/-", "value": {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}}
)
NO_OWNER = patched({"op": "remove", "path": "/metadata/ownerReferences"})
UNMARKED = patched(
    {"op": "add", "path": "/subjects/-", "value": INTRUDER},
    {"op": "remove", "path": "/metadata/annotations"},
)
EDITS: dict[str, tuple[str, Callable[[Team, str, Body], None], str, str]] = {
    "binding: subject added": ("RoleBinding", ADD_SUBJECT, "subjects", "kubectl-patch"),
    "binding: no subjects": ("RoleBinding", NO_SUBJECTS, "subjects", ""),
    "cluster binding: subject added": ("ClusterRoleBinding", ADD_SUBJECT, "subjects", "kubectl-patch"),
    "role: rule added": ("Role", MORE_RULES, "rules", "kubectl-patch"),
    "binding: subject added, annotations removed": ("RoleBinding", UNMARKED, "subjects", "kubectl-patch"),
    "binding: owner uid": (
        "RoleBinding", labelled(OWNER_UID, "other"), f"metadata.labels[{OWNER_UID}]", "kubectl-label",
    ),
    "binding: owner name": (
        "RoleBinding", labelled(OWNER_NAME, "other"), f"metadata.labels[{OWNER_NAME}]", "kubectl-label",
    ),
    "role: managed by another": (
        "Role", labelled(MANAGED_BY, "other"), f"metadata.labels[{MANAGED_BY}]", "kubectl-label",
    ),
    "cluster binding: not managed": (
        "ClusterRoleBinding", labelled(MANAGED_BY, "-"), f"metadata.labels[{MANAGED_BY}]", "",
    ),
    "binding: no owner": ("RoleBinding", NO_OWNER, "metadata.ownerReferences", ""),
    "cluster binding: no owner": ("ClusterRoleBinding", NO_OWNER, "metadata.ownerReferences", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_is_put_right_at_once_and_told(team: Team, case: str) -> None:
    """The object stays the same one and is as it was; status and one event say what, when and by whom."""
    kind, edit, field, hand = EDITS[case]
    before, began = team.made(kind), datetime.now(UTC).replace(microsecond=0)

    edit(team, kind, before)

    eventually(lambda: content(team.made(kind)) == content(before), "it is as it was", seconds=PROMPT)
    drift = eventually(
        lambda: (found := team.owner(kind)["status"]["drift"]).get("total") and found, "drift is told"
    )
    assert (drift["state"], drift["corrected"], drift["total"]) == ("InSync", 1, 1)
    item = drift["items"][0]
    path = (
        f"{team.namespace}/{before['metadata']['name']}" if team.where(kind) else before["metadata"]["name"]
    )
    assert item["object"] == f"{kind} {path}"
    assert (item["system"], item["action"]) == ("Kubernetes", "Corrected")
    assert item.get("field") == field
    if hand:
        assert item["changedBy"] == hand
        assert datetime.fromisoformat(item["since"]) >= began
    assert datetime.fromisoformat(drift["lastCorrectionTime"]) >= began
    assert item["expected"] != item["found"]
    assert team.made(kind)["metadata"]["uid"] == before["metadata"]["uid"]
    told = eventually(lambda: team.told(kind), "an event tells of it")
    assert [one["type"] for one in told] == ["Warning"]
    assert before["metadata"]["name"] in told[0]["message"]
    assert condition_of(team.owner(kind), "Ready")["status"] == "True"


@pytest.mark.parametrize("kind", ["Role", "RoleBinding", "ClusterRoleBinding"])
def test_a_deleted_object_is_made_again_at_once_and_told(team: Team, kind: str) -> None:
    """Kubernetes does not record who deleted it; that it was deleted is told."""
    before = team.made(kind)
    name = before["metadata"]["name"]

    team.cluster.kubectl("delete", kind.lower(), name, *team.where(kind))

    again = eventually(lambda: team.made(kind), "it is there again", seconds=PROMPT)
    assert content(again) == content(before)
    assert again["metadata"]["uid"] != before["metadata"]["uid"]
    drift = eventually(
        lambda: (found := team.owner(kind)["status"]["drift"]).get("total") and found, "drift is told"
    )
    assert (drift["state"], drift["corrected"], drift["total"]) == ("InSync", 1, 1)
    item = drift["items"][0]
    assert item["object"].endswith(name)
    assert (item["expected"], item["found"], item["action"]) == ("present", "deleted", "Corrected")
    assert "field" not in item
    listed = [one["id"] for one in team.owner(kind)["status"]["inventory"] if one["name"].endswith(name)]
    assert listed == [again["metadata"]["uid"]]
    assert eventually(lambda: team.told(kind), "an event tells of it")
    where = team.namespace if team.where(kind) else None
    gets(team.cluster, team.who, "list", "pods", where)


def test_what_an_intruder_gave_themselves_is_taken_at_once(team: Team) -> None:
    """Added to a binding's subjects by hand: the access that it gave ends."""
    intruder = person(team.cluster, "intruder")
    binding = team.made("ClusterRoleBinding")["metadata"]["name"]
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": intruder.upn}
    patch(
        team.cluster, "clusterrolebinding", binding, [{"op": "add", "path": "/subjects/-", "value": subject}]
    )
    eventually(lambda: team.owner("ClusterRoleBinding")["status"]["drift"]["total"] == 1, "drift is told")
    loses(team.cluster, intruder, "list", "pods")


def test_corrections_are_counted_newest_first_and_at_most_twenty_are_kept(cluster: Cluster) -> None:
    """`corrected` and `total` go on counting where `items` ends."""
    roles = ["view", "edit", "admin", "system:discovery", "system:basic-user", "system:public-info-viewer"]
    roles += ["system:auth-delegator", "system:node-proxier"]
    namespace = cluster.namespace()
    policy = new_policy(cluster, grants=ceiling(*roles))
    cluster.grant("many", namespace, policy.name, clusterRoles=roles)
    cluster.ready("ngrant", "many", namespace)
    names = [one["metadata"]["name"] for one in made_for(cluster, "many", namespace)]

    def drift() -> Body:
        found: Body = cluster.get("ngrant", "many", namespace)["status"]["drift"]
        return found

    for number in range(1, 23):
        # Not the same one again and again: that would be a contest.
        name = names[number % len(names)]
        subject = {**INTRUDER, "name": f"intruder-{number}"}
        change = [{"op": "add", "path": "/subjects/-", "value": subject}]
        patch(cluster, "rolebinding", name, change, "-n", namespace)
        eventually(
            lambda number=number: drift()["corrected"] == number,  # type: ignore[misc]
            f"correction {number} is counted",
        )
    assert drift()["total"] == 22
    items = drift()["items"]
    assert len(items) == 20
    assert "intruder-22" in items[0]["found"]
    assert "intruder-3" in items[-1]["found"]


def test_another_order_of_subjects_rules_and_verbs_is_no_drift(cluster: Cluster) -> None:
    """What means the same is left as it is, and nothing is written or told."""
    namespace = cluster.namespace()
    rules = [
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]},
        {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["watch"]},
    ]
    policy = new_policy(
        cluster, grants=ceiling(rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
    )
    cluster.grant("work", namespace, policy.name, rules=rules)
    cluster.ready("ngrant", "work", namespace)
    mixed = [{key: list(reversed(values)) for key, values in rule.items()} for rule in reversed(rules)]
    change = [{"op": "replace", "path": "/rules", "value": mixed}]

    patch(cluster, "role", "work-rules", change, "-n", namespace)

    _, moved = cluster.quiet(1.0)
    assert not moved
    assert cluster.get("role", "work-rules", namespace)["rules"] == mixed
    assert cluster.get("ngrant", "work", namespace)["status"]["drift"]["total"] == 0


def test_labels_and_annotations_of_others_are_left_alone(team: Team) -> None:
    """Whoever labels our objects for their own purposes may: that is no drift."""
    name = team.made("Role")["metadata"]["name"]
    team.cluster.kubectl("label", "role", name, "cost=42", *team.where("Role"))
    team.cluster.kubectl("annotate", "role", name, "note=theirs", *team.where("Role"))
    _, moved = team.cluster.quiet(1.0)
    assert not moved
    meta = team.made("Role")["metadata"]
    assert (meta["labels"]["cost"], meta["annotations"]["note"]) == ("42", "theirs")


def replace_by_foreign(team: Team, binding: Body) -> Body:
    """Delete one of our bindings and make one of its name with another roleRef in the same moment."""
    name = binding["metadata"]["name"]
    foreign = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": team.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [INTRUDER],
    }
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{team.namespace}/rolebindings"
    with team.cluster.stack.plane.client() as client:

        def replaced() -> bool:
            client.delete(f"{path}/{name}")
            return client.post(path, content=json.dumps(foreign), headers=JSON).is_success

        eventually(replaced, "the foreign one is there before ours is back")
    return foreign


JSON = {"Content-Type": "application/json"}


def test_a_foreign_object_in_the_place_of_ours_is_left_and_named_until_it_goes(team: Team) -> None:
    """Stalled with NameTaken, nothing of it is changed, nobody is told that it was put right; when it is
    removed ours is there again."""
    before = team.made("RoleBinding")
    name = before["metadata"]["name"]
    foreign = replace_by_foreign(team, before)

    said = team.cluster.waits_for("ngrant", "work", "Stalled", "NameTaken", team.namespace)

    assert f"{team.namespace}/{name}" in said["message"]
    found = team.cluster.get("rolebinding", name, team.namespace)
    assert (found["roleRef"], found["subjects"]) == (foreign["roleRef"], foreign["subjects"])
    assert "labels" not in found["metadata"]
    _, moved = team.cluster.quiet(2.5)
    assert not moved, "waiting for somebody is quiet"
    status = team.cluster.get("ngrant", "work", team.namespace)["status"]
    assert condition_of({"status": status}, "Ready")["reason"] == "NameTaken"
    assert status["drift"]["state"] == "Drifted"
    assert name not in json.dumps(status["inventory"])
    told = [one["message"] for one in team.told("RoleBinding") if "again" in one["message"]]
    corrected = status["drift"]["corrected"]
    assert len(told) == corrected, "only what was put right is told as put right"

    team.cluster.kubectl("delete", "rolebinding", name, "-n", team.namespace)
    team.cluster.ready("ngrant", "work", team.namespace)
    assert content(team.made("RoleBinding")) == content(before)
    gets(team.cluster, team.who, "list", "pods", team.namespace)


@pytest.mark.parametrize("same", [True, False], ids=["same rules", "other rules"])
def test_a_role_that_was_there_before_is_not_taken_over(cluster: Cluster, *, same: bool) -> None:
    """Whatever a foreign Role of that name gives, it stays as it is when the grant comes and goes."""
    namespace = cluster.namespace()
    resource = "pods" if same else "secrets"
    cluster.kubectl(
        "create", "role", "work-rules", "--verb=get,list", f"--resource={resource}", "-n", namespace
    )
    before = cluster.get("role", "work-rules", namespace)
    policy = new_policy(cluster, grants=ceiling(rules=[READ_PODS]))

    cluster.grant("work", namespace, policy.name, rules=[READ_PODS])

    cluster.waits_for("ngrant", "work", "Stalled", "NameTaken", namespace)
    assert cluster.get("role", "work-rules", namespace)["metadata"] == before["metadata"]
    cluster.kubectl("delete", "ngrant", "work", "-n", namespace)
    eventually(lambda: not made_for(cluster, "work", namespace), "nothing of the grant is left")
    assert [one["metadata"]["uid"] for one in all_bindings(cluster, namespace)] == [before["metadata"]["uid"]]
