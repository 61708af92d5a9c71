"""Roles and bindings that kubectl made before: refused, taken over and kept, and let go as they are."""

from collections.abc import Iterator

import pytest

from support.adopting import kept, marks_of
from support.cluster import Body, Cluster, eventually
from support.life import (
    gets,
    loses,
    patch,
)
from support.sites import KINDS, RBAC, Site, new_site
from support.trouble import clean_log

ADOPTED = "entra-access.dev/adopted"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Nothing of this looks like a defect in the log."""
    yield
    clean_log(shared_cluster)


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, cluster: Cluster) -> Site:
    """One for each kind of object."""
    return new_site(cluster, request.param)


def test_never_leaves_it_as_it_is_and_names_it(site: Site) -> None:
    """Also one that is exactly as it would be made; when it is gone, ours is made."""
    site.cluster.apply(site.object())
    before = site.there()
    site.policy.update(adoptionPolicy="Never")

    site.ask()

    said = site.stalled()
    assert f"{site.name} is already there and was not made here (by kubectl-client-side-apply)" in said
    assert "delete or rename it" in said
    assert site.there() == before
    assert site.origin() is None
    site.cluster.kubectl("delete", site.kind, site.name, *site.place)
    site.ready()
    assert site.origin() == ""


def test_if_identical_takes_over_what_gives_the_same(site: Site) -> None:
    """It has no owner then, and the labels of its maker; what gives something else is refused as it is."""
    site.policy.update(adoptionPolicy="IfIdentical")
    site.cluster.apply(site.other())
    before = site.there()
    site.ask()
    site.stalled()
    assert site.there() == before

    site.cluster.apply(site.object())

    site.ready()
    found = site.there()
    assert site.origin() == "Adopted"
    assert found["metadata"]["uid"] == before["metadata"]["uid"]
    assert "ownerReferences" not in found["metadata"]
    assert found["metadata"]["labels"]["team"] == "theirs"
    assert found["metadata"]["annotations"][ADOPTED] == "true"


def test_always_takes_it_over_keeps_it_so_and_lets_it_go(site: Site) -> None:
    """Drift on it is put right; it survives the resource, without anything of ours on it."""
    site.cluster.apply(site.other())
    uid = site.there()["metadata"]["uid"]

    site.ask()

    site.ready()
    wished = site.wished()
    assert (site.content(), site.origin()) == (wished, "Adopted")
    assert "ownerReferences" not in site.there()["metadata"]
    drift = {k: v for k, v in site.other().items() if k in {"rules", "subjects"}}
    labels = {"app.kubernetes.io/managed-by": None, "entra-access.dev/owner-uid": None}
    patch(
        site.cluster,
        site.kind.lower(),
        site.name,
        {**drift, "metadata": {"labels": labels}},
        *site.place,
    )
    eventually(lambda: site.content() == wished, "it is put right")
    kind, name, namespace = site.resource
    eventually(
        lambda: site.cluster.get(kind, name, namespace)["status"]["drift"].get("corrected"), "it is told"
    )
    site.policy.update(adoptionPolicy="Never")
    eventually(lambda: site.ready() and site.origin() == "Adopted", "it stays so")

    site.delete()

    left = site.there()
    assert (left["metadata"]["uid"], site.content()) == (uid, wished)
    assert marks_of(left) == []
    assert left["metadata"]["labels"] == {"team": "theirs"}
    full = {"apol": "AccessPolicy", "ngrant": "NamespaceGrant"}[kind]
    assert site.name in kept(site.cluster, full, name, namespace or "default")
    site.cluster.kubectl("delete", site.kind, site.name, *site.place)


@pytest.mark.parametrize("adoption", ["Never", "Always"])
def test_nobody_makes_ours_survive_by_an_annotation(site: Site, adoption: str) -> None:
    """Whoever may annotate an object, or take its owner away, does not make it outlive its resource."""
    site.policy.update(adoptionPolicy=adoption)
    site.ask()
    site.ready()
    marks = {"annotations": {ADOPTED: "true"}, "ownerReferences": None}
    patch(site.cluster, site.kind.lower(), site.name, {"metadata": marks}, *site.place)
    eventually(lambda: "ownerReferences" in site.there()["metadata"], "its owner is put right")
    patch(site.cluster, site.kind.lower(), site.name, {"metadata": marks}, *site.place)
    assert site.origin() == ""

    site.delete()

    def gone() -> bool:
        return not site.cluster.kubectl("get", site.kind, site.name, *site.place, "--ignore-not-found")

    eventually(gone, "it goes with its resource")


def test_an_adopted_one_that_is_deleted_is_made_as_one_of_ours(site: Site) -> None:
    """It comes back at once, with an owner, and goes with its resource."""
    site.cluster.apply(site.object())
    site.ask()
    site.ready()
    assert site.origin() == "Adopted"

    site.cluster.kubectl("delete", site.kind, site.name, *site.place)

    eventually(lambda: site.origin() == "" and site.ready(), "it is one of ours")
    assert site.there()["metadata"]["ownerReferences"][0]["kind"] in {"AccessPolicy", "NamespaceGrant"}
    site.delete()
    left = site.cluster.kubectl("get", site.kind, site.name, *site.place, "--ignore-not-found")
    eventually(lambda: not left or not marks_of(site.there()), "it is gone")


def test_what_cannot_be_changed_cannot_be_taken_over(site: Site) -> None:
    """A binding to another role, and a ClusterRole whose rules Kubernetes gathers: not even by Always."""
    if site.kind == "Role":
        pytest.skip("a Role has nothing that cannot be changed")
    content: Body = (
        {**site.other(), "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "edit"}}
        if site.kind.endswith("Binding")
        else {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"none": "such"}}]}, "rules": []}
    )
    site.cluster.apply(site.object(**content))
    before = site.there()

    site.ask()

    assert f"{site.name} is already there" in site.stalled()
    assert site.there() == before
    loses(site.cluster, site.who, "list", "pods", site.namespace)
    site.cluster.kubectl("delete", site.kind, site.name, *site.place)
    site.ready()
    if site.kind.endswith("Binding"):
        gets(site.cluster, site.who, "list", "pods", site.namespace)
