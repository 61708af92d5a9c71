"""What must not count as known, and what must not hold up the rest."""

from dataclasses import replace
from typing import Any

from entra_access.api.names import FINALIZER, GRANT, SECRET
from entra_access.api.status import Item, System
from entra_access.domain.changes import RemovePrincipal
from entra_access.domain.faults import Unavailable
from entra_access.domain.policy_plan import plan_policy
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import NOW, PLACE, a_policy, steady

API = {"apiVersion": "entra-access.dev/v1alpha1", "kind": "NamespaceGrant"}


def a_grant_body(**meta: Any) -> dict[str, Any]:
    metadata = {"name": "demo-token", "namespace": "tools", "uid": "u", "resourceVersion": "1", **meta}
    return {**API, "metadata": metadata, "spec": {"policyRef": {"name": "team"}}}


def test_a_secret_never_takes_the_place_of_a_grant_of_its_name() -> None:
    cache = WatchCache()
    cache.put(GRANT, a_grant_body())
    secret = {"metadata": {"name": "demo-token", "namespace": "tools", "uid": "s", "resourceVersion": "9"}}
    assert cache.put(SECRET, secret) == set()
    assert cache.drop(SECRET, "tools", "demo-token") == set()
    known = cache.resource(Key("NamespaceGrant", "tools", "demo-token")) or {}
    assert known["metadata"]["uid"] == "u"


def test_a_grant_that_was_in_azure_once_is_looked_for_there_whatever_its_status_says() -> None:
    cache = WatchCache()
    key = Key("NamespaceGrant", "tools", "demo-token")
    cache.put(GRANT, a_grant_body())
    assert not cache.needs_azure(key)
    cache.put(GRANT, a_grant_body(resourceVersion="2", finalizers=[FINALIZER]))
    assert cache.needs_azure(key)


def test_while_the_group_cannot_be_seen_nobody_leaves_it() -> None:
    policy = a_policy(members="a@x.io")
    world, lines = steady(policy)
    member = Item(System.ENTRA, "Member", "servicePrincipal robot", "robot-id")
    unseen = replace(world, group=Unavailable("down"), members=(), principals={})
    plan = plan_policy(policy, PLACE, unseen, (*lines, member), NOW)
    assert [change for change in plan.changes if isinstance(change, RemovePrincipal)] == []
