"""What the tests of previews in memory share: files, and what they would do."""

from datetime import timedelta
from typing import Any

import yaml

from entra_access.api.manifests import Manifests
from entra_access.api.names import API_VERSION, CLUSTER_ROLE, GRANT, POLICY
from entra_access.domain.naming import binding_name
from entra_access.reconcile.cache import Key
from entra_access.reconcile.preview import Preview
from entra_access.reconcile.proposal import Proposal
from unit.builders import AT
from unit.office import Office
from unit.worlds import AKS_READER

Body = dict[str, Any]
WORK = Key("NamespaceGrant", "dev", "work")
BINDING = f"dev/{binding_name('work', 'ClusterRole', 'view')}"
OPEN: Body = {"namespaces": {}, "clusterRoles": ["view", "edit"], "azureRoles": [AKS_READER]}


def policy(name: str = "appdev", *members: Body, **spec: Any) -> Body:
    """An AccessPolicy."""
    group = {"displayName": name, "members": list(members)}
    metadata = {"name": name}
    return {
        "apiVersion": API_VERSION,
        "kind": "AccessPolicy",
        "metadata": metadata,
        "spec": {"subject": {"group": group}, "grants": OPEN, **spec},
    }


def grant(name: str = "work", **spec: Any) -> Body:
    """A NamespaceGrant."""
    return {
        "apiVersion": API_VERSION,
        "kind": "NamespaceGrant",
        "metadata": {"name": name, "namespace": "dev"},
        "spec": {"policyRef": {"name": "appdev"}, "clusterRoles": ["view"], **spec},
    }


def namespace(name: str = "dev", **labels: str) -> Body:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def cluster_role(name: str) -> Body:
    """A ClusterRole."""
    metadata = {"name": name}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata}


def prepared() -> Office:
    """A cluster with a namespace and two ClusterRoles."""
    world = Office()
    world.namespace("dev")
    for name in ("view", "edit"):
        world.cache.put(CLUSTER_ROLE, {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}})
    return world


async def told(world: Office, *bodies: Body) -> tuple[list[Proposal], list[str]]:
    """What would be done, and what the API server was not asked. Nothing may be written meanwhile."""
    manifests, before = Manifests(), list(world.writes)
    services: Any = world
    manifests.take_in("files.yaml", yaml.safe_dump_all(bodies))
    assert manifests.errors == []
    planner, now = world.reconciler._planner, AT + timedelta(minutes=world.passes)
    looking = Preview(services, world.cache, planner, {}, lambda: now)
    proposals = await looking.look(manifests)
    assert world.writes == before
    return proposals, looking.not_asked


async def preview(world: Office, *bodies: Body) -> list[Proposal]:
    """What would be done."""
    proposals, _ = await told(world, *bodies)
    return proposals


def lines(proposals: list[Proposal]) -> dict[str, list[str]]:
    """The texts of the changes, by resource."""
    return {str(one.key): [line.text for line in one.changes] for one in proposals}


async def in_place(world: Office, *bodies: Body) -> None:
    """Have the resources, and all that they make."""
    keys = []
    for body in bodies:
        kind = POLICY if body["kind"] == POLICY.kind else GRANT
        meta = body["metadata"]
        keys.append(world.apply(kind, meta["name"], body["spec"], meta.get("namespace")))
    for _ in range(3):
        for key in keys:
            await world.look(key)
    world.writes.clear()
