"""Shadow access: what other hands bind to a policy's subject is told of, whatever they write on it."""

from typing import Any

import pytest

from entra_access.api.names import (
    API_VERSION,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    FIELD_MANAGER,
    LABEL_MANAGED_BY,
    LABEL_OWNER_KIND,
    LABEL_OWNER_NAME,
    LABEL_OWNER_UID,
    POLICY,
    ROLE_BINDING,
)
from entra_access.api.status import Subject
from entra_access.domain.children import ChildRef, is_ours
from entra_access.reconcile.cache import Key
from entra_access.reconcile.shadows import Shadows
from unit.builders import body_of, cluster_binding
from unit.office import APPDEV, Office
from unit.worlds import TEAM_ID

TEAM = {"existingGroup": {"objectId": TEAM_ID}}
SUBJECT = Subject("Group", TEAM_ID, "Team", "Existing", principal_type="Group")
SHADOW = ChildRef(CLUSTER_ROLE_BINDING, None, "shadow")
Body = dict[str, Any]
MANAGED = {LABEL_MANAGED_BY: FIELD_MANAGER}


def binding(
    version: int = 5, uid: str = "uid-of-shadow", to: str = TEAM_ID, **metadata: Any
) -> dict[str, Any]:
    """A binding that another hand has made."""
    whom = {"kind": "Group", "name": to, "apiGroup": "rbac.authorization.k8s.io"}
    return {
        "metadata": {"name": "shadow", "uid": uid, "resourceVersion": str(version), **metadata},
        "roleRef": {"kind": CLUSTER_ROLE.kind, "name": "cluster-admin"},
        "subjects": [whom],
    }


LABELS: dict[str, dict[str, str]] = {
    "none": {},
    "that it is managed": MANAGED,
    "and by what kind": MANAGED | {LABEL_OWNER_KIND: POLICY.kind},
    "and by which, of no kind": MANAGED | {LABEL_OWNER_NAME: "appdev"},
    "and by which, of another kind": MANAGED | {LABEL_OWNER_KIND: "Deployment", LABEL_OWNER_NAME: "appdev"},
    "and by a nameless one": MANAGED | {LABEL_OWNER_KIND: POLICY.kind, LABEL_OWNER_NAME: ""},
    "whose, and not that it is managed": {LABEL_OWNER_KIND: POLICY.kind, LABEL_OWNER_NAME: "appdev"},
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
async def test_labels_do_not_hide_it(labels: dict[str, str]) -> None:
    world = Office()
    world.policy(TEAM)
    await world.look()
    body = binding(world.version + 1, labels=labels)
    assert not is_ours(body)
    assert world.cache.put(CLUSTER_ROLE_BINDING, body) == {APPDEV}
    await world.look()
    found = [(one["object"], one["found"]) for one in world.status().drift["items"]]
    assert found == [("ClusterRoleBinding shadow", "Group Team has ClusterRole cluster-admin")]


@pytest.mark.parametrize("owner", ["appdev", "nobody"])
async def test_who_says_in_full_that_it_is_a_policys_loses_it(owner: str) -> None:
    """It is one of that policy's then, which never asked for it, or was left behind by one that is gone."""
    world = Office()
    world.policy(TEAM)
    await world.look()
    said = MANAGED | {LABEL_OWNER_KIND: POLICY.kind, LABEL_OWNER_NAME: owner, LABEL_OWNER_UID: "x"}
    world.put_object(SHADOW, labels=said)
    world.objects[SHADOW] |= {key: binding()[key] for key in ("roleRef", "subjects")}
    key = Key(POLICY.kind, None, owner)
    assert world.cache.put(CLUSTER_ROLE_BINDING, world.objects[SHADOW]) == {key}
    await world.look(key)
    assert SHADOW not in world.objects


def test_what_was_made_here_is_known_by_its_labels_or_by_its_owner() -> None:
    body = body_of(cluster_binding("view"))
    assert is_ours(body)
    assert is_ours({"metadata": {**body["metadata"], "ownerReferences": []}})
    assert is_ours({"metadata": {**body["metadata"], "labels": {}}})
    others = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "x"}]
    assert not is_ours({"metadata": {"labels": {}, "ownerReferences": others}})
    assert is_ours({"metadata": {"ownerReferences": [*others, {"apiVersion": API_VERSION}]}})


# What is known of them


def known(*bodies: dict[str, Any]) -> Shadows:
    shadows = Shadows()
    shadows.subject("appdev", SUBJECT)
    for body in bodies:
        shadows.put(CLUSTER_ROLE_BINDING, body)
    return shadows


def test_the_end_of_an_earlier_one_is_not_that_of_the_one_that_is_there() -> None:
    shadows = known(binding(5), binding(6, "made anew"))
    assert shadows.drop(SHADOW, "uid-of-shadow") == set()
    assert len(shadows.bindings) == 1
    assert shadows.drop(SHADOW, "made anew") == {"appdev"}
    assert (dict(shadows.bindings), shadows.identities(CLUSTER_ROLE_BINDING)) == ({}, {})


def test_the_end_of_one_that_is_not_known_is_no_news() -> None:
    shadows = known()
    assert shadows.drop(SHADOW, "uid-of-shadow") == set()
    assert shadows.drop(SHADOW) == set()


def test_one_that_is_ours_is_none_of_them_whichever_it_was() -> None:
    assert known(binding()).drop(SHADOW) == {"appdev"}


def test_it_is_news_when_it_names_the_subject_and_when_it_ceases_to() -> None:
    shadows = known()
    assert shadows.put(CLUSTER_ROLE_BINDING, binding(5)) == {"appdev"}
    assert shadows.put(CLUSTER_ROLE_BINDING, binding(5)) == set()
    assert shadows.put(CLUSTER_ROLE_BINDING, binding(6)) == set(), "nothing of it has changed"
    assert shadows.put(CLUSTER_ROLE_BINDING, binding(7, to="somebody")) == {"appdev"}
    assert shadows.put(CLUSTER_ROLE_BINDING, binding(6)) == set(), "a list that lags behind"
    assert shadows.identities(ROLE_BINDING) == {}
    assert shadows.identities(CLUSTER_ROLE_BINDING) == {(None, "shadow"): "uid-of-shadow"}
