"""The slow round: what the watches missed is found by comparing with full lists; nothing else is touched."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from entra_access.api.names import (
    CHILD_KINDS,
    CLUSTER_ROLE,
    FIELD_MANAGER,
    GRANT,
    LABEL_MANAGED_BY,
    MANAGED_SELECTOR,
    NAMESPACE,
    POLICY,
    ROLE,
    ROLE_BINDING,
    WATCHED,
    Kind,
)
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Unavailable
from entra_access.handlers import make_registry
from entra_access.reconcile import sweeps
from entra_access.reconcile.cache import Key, WatchCache
from entra_access.reconcile.sweeps import Sweeps
from unit.builders import a_meta, a_rule, body_of, guid

APPDEV, OPS = Key("AccessPolicy", None, "appdev"), Key("AccessPolicy", None, "ops")
Body = dict[str, Any]


class Store:
    """What the API server has. `late`: lists that lag behind; `meanwhile` is called while one is made."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str | None, str], Body] = {}
        self.late: dict[Kind, list[Body]] = {}
        self.fails: set[Kind] = set()
        self.meanwhile: Callable[[Kind], None] = lambda _: None
        self.asked: list[str] = []
        self.version = 0

    def put(self, kind: Kind, name: str, namespace: str | None = None, **fields: Any) -> Body:
        """Somebody writes an object."""
        self.version += 1
        old = self.objects.get((kind, namespace, name))
        uid = old["metadata"]["uid"] if old else f"uid-{self.version}"
        metadata = {"name": name, "uid": uid, **fields.pop("metadata", {})}
        metadata |= {"resourceVersion": str(self.version)} | ({"namespace": namespace} if namespace else {})
        body = {"metadata": metadata, **fields}
        self.objects[kind, namespace, name] = body
        return body

    def delete(self, kind: Kind, name: str, namespace: str | None = None) -> Body:
        """Somebody deletes it."""
        return self.objects.pop((kind, namespace, name))

    def freeze(self, kind: Kind) -> None:
        """From now on lists of the kind lag behind."""
        self.late[kind] = self._list(kind)

    def _list(self, kind: Kind) -> list[Body]:
        return [body for (one, _, _), body in self.objects.items() if one is kind]

    async def list_all(self, kind: Kind, selector: str | None = None, *, latest: bool) -> list[Body]:
        assert latest, "an older one would bring back what is gone"
        if kind in self.fails:
            raise Unavailable("down")
        listed = self.late.get(kind) or self._list(kind)
        if selector:
            assert selector == MANAGED_SELECTOR
            labels = [body["metadata"].get("labels", {}) for body in listed]
            ours = [one.get(LABEL_MANAGED_BY) == FIELD_MANAGER for one in labels]
            listed = [body for body, own in zip(listed, ours, strict=True) if own]
        self.meanwhile(kind)
        return listed

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Mapping[str, Any] | None:
        self.asked.append(f"{kind.kind} {name}")
        return self.objects.get((kind, namespace, name))


class World:
    """A cluster, and the operator's view of it."""

    def __init__(self) -> None:
        self.store, self.cache, self.due = Store(), WatchCache(), set[Key]()
        services: Any = self.store
        self.sweeps = Sweeps(services, self.cache, lambda key, _: self.due.add(key), 600)
        self.policy("appdev", namespaces=[{"selector": {"matchLabels": {"team": "a"}}, "rules": []}])
        self.policy("ops", clusterRoles=["theirs"])
        self.seen(NAMESPACE, "dev", metadata={"labels": {"team": "a"}})
        self.seen(CLUSTER_ROLE, "theirs")

    def policy(self, name: str, **spec: Any) -> None:
        spec = {"subject": {"group": {"displayName": name}}, **spec}
        spec["namespaces"] = [{**one, "clusterRoles": ["view"]} for one in spec.get("namespaces", ())]
        self.seen(POLICY, name, spec=spec)

    def seen(self, kind: Kind, name: str, **fields: Any) -> None:
        """Something is written, and the watch shows it."""
        self.cache.put(kind, self.store.put(kind, name, **fields))

    async def compare(self) -> set[Key]:
        """A round. Returns who must be looked at."""
        self.due.clear()
        await self.sweeps.compare()
        return self.due

    @property
    def known(self) -> tuple[set[str], frozenset[str]]:
        """The namespaces and the ClusterRoles that the operator knows of."""
        return set(self.cache.namespaces), self.cache.cluster_roles


async def test_where_nothing_was_missed_nobody_is_looked_at() -> None:
    world = World()
    assert await world.compare() == set()
    assert world.store.asked == []


async def test_a_namespace_that_went_unseen_is_forgotten() -> None:
    world = World()
    world.store.delete(NAMESPACE, "dev")
    assert await world.compare() == {APPDEV}
    assert world.known[0] == set()
    assert await world.compare() == set()


async def test_a_namespace_that_came_or_changed_unseen_is_told() -> None:
    world = World()
    world.store.put(NAMESPACE, "shop", metadata={"labels": {"team": "a"}})
    assert await world.compare() == {APPDEV}
    world.store.put(NAMESPACE, "dev", metadata={"labels": {"team": "b"}})
    assert await world.compare() == {APPDEV}
    assert {name: one.labels for name, one in world.cache.namespaces.items()} == {
        "shop": {"team": "a"},
        "dev": {"team": "b"},
    }


async def test_a_namespace_that_was_made_anew_unseen_is_another_one() -> None:
    world = World()
    world.store.delete(NAMESPACE, "dev")
    made = world.store.put(NAMESPACE, "dev")
    assert await world.compare() == {APPDEV}
    found = world.cache.namespace("dev")
    assert found is not None
    assert found.uid == made["metadata"]["uid"]


async def test_a_cluster_role_of_somebody_that_came_or_went_unseen_is_told() -> None:
    world = World()
    world.store.delete(CLUSTER_ROLE, "theirs")
    assert await world.compare() == {OPS}
    assert world.known[1] == frozenset()
    world.store.put(CLUSTER_ROLE, "theirs")
    assert await world.compare() == {OPS}
    assert world.known[1] == {"theirs"}


async def test_an_own_cluster_role_that_went_unseen_is_told() -> None:
    world = World()
    own = Child(ChildRef(CLUSTER_ROLE, None, "own"), a_meta(), rules=(a_rule("get", "pods"),))
    body = body_of(own)
    world.seen(CLUSTER_ROLE, "own", metadata=body["metadata"], rules=body["rules"])
    assert await world.compare() == set()
    world.store.delete(CLUSTER_ROLE, "own")
    assert await world.compare() == {APPDEV}
    assert world.cache.children(APPDEV) == ()


@pytest.mark.parametrize("kind", [NAMESPACE, CLUSTER_ROLE], ids=lambda kind: kind.kind)
async def test_a_list_that_lags_behind_takes_nothing_back(kind: Kind) -> None:
    """Neither the newer state, nor what came, nor what went since."""
    world = World()
    world.seen(kind, "old", metadata={"labels": {"team": "a"}})
    world.store.freeze(kind)
    world.seen(kind, "old", metadata={"labels": {"team": "b"}})
    world.seen(kind, "new")
    before = world.cache.namespaces.get("old")
    assert await world.compare() == set()
    assert {"old", "new"} <= (world.known[0] if kind is NAMESPACE else world.known[1])
    assert world.cache.namespaces.get("old") == before


@pytest.mark.parametrize("kind", [NAMESPACE, CLUSTER_ROLE, POLICY], ids=lambda kind: kind.kind)
async def test_what_goes_while_it_is_listed_does_not_come_back(kind: Kind) -> None:
    world = World()
    world.seen(kind, "brief", spec={"subject": {"group": {"displayName": "brief"}}})

    def goes(listed: Kind) -> None:
        if listed is kind:
            uid = world.store.delete(kind, "brief")["metadata"]["uid"]
            world.cache.drop(kind, None, "brief", uid)

    world.store.freeze(kind)
    world.store.meanwhile = goes
    assert await world.compare() == set()
    assert (None, "brief") not in world.cache.identities(kind)


async def test_a_list_that_fails_takes_nothing_away() -> None:
    world = World()
    world.store.delete(CLUSTER_ROLE, "theirs")
    world.store.delete(NAMESPACE, "dev")
    world.store.fails = {NAMESPACE}
    with pytest.raises(Unavailable):
        await world.compare()
    assert world.known == ({"dev"}, frozenset({"theirs"}))


async def test_all_that_is_watched_is_compared() -> None:
    world = World()
    listed: list[Kind] = []
    world.store.meanwhile = listed.append
    await world.compare()
    assert set(listed) == {NAMESPACE, POLICY, GRANT, *CHILD_KINDS}
    assert ROLE in listed


def theirs(name: str) -> Body:
    """The content of a binding that another hand has made for a group."""
    subject = {"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    return {"roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": [subject]}


async def test_a_binding_of_others_is_known_as_it_is_now_whatever_went_unseen() -> None:
    world = World()
    spec = {"subject": {"group": {"displayName": "ops"}}}
    subject = {"kind": "Group", "objectId": guid("ops"), "displayName": "ops", "origin": "Created"}
    world.seen(POLICY, "ops", spec=spec, status={"subject": subject})
    world.store.put(ROLE_BINDING, "shadow", "dev", **theirs(guid("ops")))
    assert await world.compare() == {OPS}
    (shadows,) = world.cache.shadows.values()
    assert [one.name for one in shadows.values()] == ["RoleBinding dev/shadow"]
    assert await world.compare() == set()

    world.store.freeze(ROLE_BINDING)
    changed = world.store.put(ROLE_BINDING, "shadow", "dev", **theirs("somebody else"))
    assert world.cache.put(ROLE_BINDING, changed) == {OPS}
    assert await world.compare() == set(), "the list is older"
    world.store.late.clear()

    uid = world.store.delete(ROLE_BINDING, "shadow", "dev")["metadata"]["uid"]
    world.store.put(ROLE_BINDING, "shadow", "dev", **theirs(guid("ops")))
    assert await world.compare() == {OPS}, "another one of that name"
    assert world.cache.drop(ROLE_BINDING, "dev", "shadow", uid) == set(), "not that one"
    world.store.delete(ROLE_BINDING, "shadow", "dev")
    assert await world.compare() == {OPS}
    assert not world.cache.shadows


async def test_what_lost_its_label_unseen_is_known_without_it() -> None:
    world = World()
    owner = {
        "apiVersion": GRANT.api_version,
        "kind": "NamespaceGrant",
        "name": "access",
        "uid": "uid-of-access",
    }
    metadata = {"labels": {LABEL_MANAGED_BY: FIELD_MANAGER}, "ownerReferences": [owner]}
    world.seen(ROLE, "access-rules", namespace="dev", rules=[], metadata=metadata)
    assert await world.compare() == set()
    world.store.put(ROLE, "access-rules", "dev", rules=[], metadata={"ownerReferences": [owner]})
    assert await world.compare() == {Key(GRANT.kind, "dev", "access")}
    (child,) = world.cache.children(Key(GRANT.kind, "dev", "access"))
    assert child.labels == {}


async def test_lists_are_compared_when_a_watch_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all of the watches, and without waiting for the round."""
    monkeypatch.setattr(sweeps, "SETTLE_SECONDS", 0.01)
    world = World()
    world.store.delete(CLUSTER_ROLE, "theirs")
    listed: list[Kind] = []
    ended = asyncio.Event()

    def lists(kind: Kind) -> None:
        listed.append(kind)
        if kind is WATCHED[-1]:
            ended.set()

    world.store.meanwhile = lists
    running = asyncio.create_task(world.sweeps.run())
    for _ in WATCHED:
        world.sweeps.listed()
    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.sleep(0.05)
    running.cancel()
    assert world.due == {OPS}
    assert len(listed) == len(WATCHED)


def test_whatever_writes_into_the_cache_runs_in_the_loop() -> None:
    """kopf runs plain functions in threads."""
    registry = make_registry(WatchCache(), lambda _: None, lambda: None, lambda: None)
    handlers = [*registry._indexing._handlers, *registry._watching._handlers]
    assert len(handlers) == 2 * len(WATCHED)
    assert [one.id for one in handlers if not inspect.iscoroutinefunction(one.fn)] == []
