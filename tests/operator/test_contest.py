"""Another controller wants what we do not: it is put right less and less often, and both are named."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from support.cluster import Body, Cluster, eventually
from support.life import (
    MANAGED_BY,
    READ_PODS,
    Person,
    Policy,
    ceiling,
    condition_of,
    events,
    gets,
    made_for,
    new_policy,
    person,
)
from support.rival import NAME, Rival, always_another, always_the_same, rival
from support.trouble import RBAC
from support.watching import comes_to_rest

LONG = 250
"""Writes of the rival: more than twelve seconds of them."""
FEW = 6
"""So often at most it is put right in that time: three times at once, then after pauses that grow."""


@dataclass(frozen=True)
class Site:
    """What the two fight about: a binding of the policy or of the grant, and whose status tells of it."""

    cluster: Cluster
    policy: Policy
    namespace: str
    who: Person
    kind: str

    @property
    def owner(self) -> tuple[str, str, str | None]:
        """The resource that the binding was made for."""
        if self.kind == "RoleBinding":
            return "ngrant", "work", self.namespace
        return "apol", self.policy.name, None

    def body(self) -> Body:
        """That resource as it is."""
        return self.cluster.get(*self.owner)

    def binding(self) -> Body:
        """The binding as it is; an empty one where there is none."""
        _, name, namespace = self.owner
        return next((one for one in made_for(self.cluster, name, namespace) if "roleRef" in one), {})

    def path(self) -> str:
        """Where the API server has it."""
        where = f"namespaces/{self.namespace}/" if self.kind == "RoleBinding" else ""
        return f"{RBAC}/{where}{self.kind.lower()}s/{self.binding()['metadata']['name']}"

    def told(self, reason: str = "") -> list[str]:
        """The events with that reason, or all of them."""
        _, name, namespace = self.owner
        kind = "NamespaceGrant" if namespace else "AccessPolicy"
        found = events(self.cluster, kind, name, namespace or "default")
        return [message for _, found_reason, message in found if reason in {"", found_reason}]

    def ready(self) -> Body:
        """Wait until the owner is Ready."""
        return self.cluster.ready(*self.owner, seconds=45)

    def corrected(self) -> int:
        """How often something was put right, as the status counts it."""
        return int(self.body()["status"]["drift"]["corrected"])


@pytest.fixture
def site(cluster: Cluster) -> Callable[[str], Site]:
    """A policy with a ClusterRoleBinding, and a grant with a RoleBinding, in place."""

    def make(kind: str) -> Site:
        who, namespace = person(cluster), cluster.namespace()
        policy = new_policy(cluster, who, clusterRoles=["view"], grants=ceiling("edit", rules=[READ_PODS]))
        cluster.grant("work", namespace, policy.name, clusterRoles=["edit"])
        cluster.ready("ngrant", "work", namespace)
        policy.ready()
        return Site(cluster, policy, namespace, who, kind)

    return make


def fought_over(site: Site, one: Rival) -> Body:
    """Wait until the rival has written for long. Returns the owner at a moment when it has the upper hand."""
    eventually(lambda: one.writes >= LONG, "it has written often", 60)

    def lost() -> Body | None:
        body = site.body()
        return body if condition_of(body, "Ready")["reason"] == "Contested" else None

    found = eventually(lost, "the owner says that it is contested")
    assert found is not None
    return found


def names_the_rival(body: Body, binding: str) -> None:
    """See that the status says what is the matter, with whom, and what to do."""
    ready, drifted = condition_of(body, "Ready"), condition_of(body, "Drifted")
    assert (ready["status"], ready["reason"]) == ("False", "Contested")
    assert (drifted["status"], drifted["reason"]) == ("True", "Contested")
    assert condition_of(body, "BindingsReady")["reason"] == "Contested"
    assert condition_of(body, "Reconciling")["reason"] == "Contested"
    assert f"is changed again and again by {NAME}, and put right at growing intervals" in ready["message"]
    assert "stop one of them" in ready["message"]
    assert binding in ready["message"]
    assert binding in drifted["message"]
    drift = body["status"]["drift"]
    assert drift["state"] == "Drifted"
    assert drift["items"][0]["action"] == "Pending"
    assert drift["items"][0]["changedBy"] == NAME


CASES = {
    "the grant's binding": ("RoleBinding", always_the_same),
    "the grant's binding, otherwise each time": ("RoleBinding", always_another),
    "the policy's binding": ("ClusterRoleBinding", always_the_same),
}


@pytest.mark.parametrize("name", CASES)
def test_who_is_changed_again_and_again_gives_way_says_so_and_wins_in_the_end(
    site: Callable[[str], Site], name: str
) -> None:
    """A few times at once, then seldom; one event says so, and no event tells of each time."""
    kind, wish = CASES[name]
    place = site(kind)
    before = place.binding()
    with rival(place.cluster, place.path(), wish) as other:
        body = fought_over(place, other)
        names_the_rival(body, before["metadata"]["name"])
        changes, times = other.changes, place.corrected()
        assert 3 < times <= FEW, "three times at once, and now and then later"
        assert times < other.writes / 20
        if wish is always_the_same:
            eventually(lambda: place.corrected() >= changes - 1, "it changed only what was put right before")
    (told,) = place.told("Contested")
    assert f"is changed again and again by {NAME}" in told
    assert len(place.told("DriftCorrected")) <= 3

    found = place.ready()

    assert place.binding()["subjects"] == before["subjects"]
    assert place.binding()["metadata"]["uid"] == before["metadata"]["uid"]
    drift = found["status"]["drift"]
    assert (drift["state"], {one["action"] for one in drift["items"]}) == ("InSync", {"Corrected"})
    assert not condition_of(found, "Drifted")
    assert not condition_of(found, "Reconciling")
    gets(place.cluster, place.who, "list", "pods", place.namespace)
    comes_to_rest(place.cluster, 3.0)
    assert len(place.told("Contested")) == 1
    assert len(place.told()) <= 5 + 2 * FEW, "no flood of events"


def test_who_is_deleted_again_and_again_is_made_again_seldom(site: Callable[[str], Site]) -> None:
    """Kubernetes does not say by whom."""
    place = site("RoleBinding")
    path = place.path()
    with rival(place.cluster, path, None) as other:
        place.cluster.waits_for(*place.owner[:2], "Ready", "Contested", place.namespace)
        eventually(lambda: place.corrected() > 3, "it is made again in spite of that")
        body = place.cluster.waits_for(*place.owner[:2], "Ready", "Contested", place.namespace)
        assert "is changed again and again by somebody" in body["message"]
        assert path.rpartition("/")[2] in body["message"]
        assert other.writes <= place.corrected() + 1
    assert place.corrected() <= FEW
    place.ready()
    assert place.binding()
    assert len(place.told("Contested")) == 1


def test_a_contest_does_not_keep_the_rest_from_being_put_right(site: Callable[[str], Site]) -> None:
    """Another field of the same binding, another binding, and a new wish are seen to at once."""
    place = site("RoleBinding")
    with rival(place.cluster, place.path(), always_the_same):
        place.cluster.waits_for("ngrant", "work", "Ready", "Contested", place.namespace)

        place.cluster.grant(
            "work", place.namespace, place.policy.name, clusterRoles=["edit"], rules=[READ_PODS]
        )

        eventually(lambda: len(made_for(place.cluster, "work", place.namespace)) == 3, "the new wish is made")
        role = next(one for one in made_for(place.cluster, "work", place.namespace) if "rules" in one)
        name, where = role["metadata"]["name"], ("-n", place.namespace)
        place.cluster.kubectl("label", "role", name, f"{MANAGED_BY}=other", "--overwrite", *where)
        eventually(
            lambda: (
                place.cluster.get("role", name, place.namespace)["metadata"]["labels"][MANAGED_BY] != "other"
            ),
            "the Role's label is put right",
        )
        said = place.cluster.waits_for("ngrant", "work", "Ready", "Contested", place.namespace)
        assert NAME in said["message"]

        place.cluster.grant("work", place.namespace, place.policy.name, rules=[READ_PODS])
        ready = place.ready()
        assert not condition_of(ready, "Drifted"), "nobody wants the contested binding any more"
        assert len(made_for(place.cluster, "work", place.namespace)) == 2


def test_a_grant_that_is_contested_can_be_deleted(site: Callable[[str], Site]) -> None:
    """The binding goes with it, whoever wants it otherwise."""
    place = site("RoleBinding")
    with rival(place.cluster, place.path(), always_the_same):
        place.cluster.waits_for("ngrant", "work", "Ready", "Contested", place.namespace)
        place.cluster.kubectl("delete", "ngrant", "work", "-n", place.namespace, "--timeout=20s")
        eventually(lambda: place.binding() == {}, "the binding is gone")
