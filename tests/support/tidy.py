"""Set-ups that tests share are left as they were found: what is left behind is looked at again and again, and
what one test counts would be another one's.
"""

import time
from contextlib import suppress
from dataclasses import dataclass

from support.cluster import API, Cluster
from support.trouble import objects

PATIENCE = 15.0


@dataclass(frozen=True)
class There:
    """The paths of all policies and grants, and the ids of all role assignments."""

    paths: frozenset[str]
    assignments: frozenset[str]


def there(cluster: Cluster) -> There:
    """What there is."""
    assignments = frozenset(one["id"] for one in cluster.azure.assignments())
    return There(_resources(cluster), assignments)


def _resources(cluster: Cluster) -> frozenset[str]:
    paths = set()
    for kind in ("namespacegrants", "accesspolicies"):
        for one in objects(cluster, f"/apis/{API}/{kind}"):
            meta = one["metadata"]
            where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
            paths.add(f"/apis/{API}{where}/{kind}/{meta['name']}")
    return frozenset(paths)


def tidy(cluster: Cluster, before: There) -> None:
    """Delete what was not there before: grants, then policies, then role assignments that stayed.

    A test may have made it impossible for a resource to go, so this gives up after a while.
    """
    with suppress(OSError), cluster.stack.plane.client() as client:
        left = _resources(cluster) - before.paths
        for path in sorted(left, key=lambda path: "accesspolicies" in path):
            client.delete(path)
        deadline = time.monotonic() + PATIENCE
        while left & _resources(cluster) and time.monotonic() < deadline:
            time.sleep(0.05)
    for one in cluster.azure.assignments():
        if one["id"] not in before.assignments:
            cluster.azure.unassign(one["name"])
