"""Set-ups that tests share are left as they were found: what is left behind is looked at again and again, and
what one test counts would be another one's.
"""

import time
from contextlib import suppress

from support.cluster import API, Cluster
from support.trouble import objects

PATIENCE = 15.0


def resources(cluster: Cluster) -> set[str]:
    """The paths of all policies and grants."""
    paths = set()
    for kind in ("namespacegrants", "accesspolicies"):
        for one in objects(cluster, f"/apis/{API}/{kind}"):
            meta = one["metadata"]
            where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
            paths.add(f"/apis/{API}{where}/{kind}/{meta['name']}")
    return paths


def tidy(cluster: Cluster, before: set[str]) -> None:
    """Delete the policies and grants that were not there before, grants first.

    A test may have made it impossible for one to go, so this gives up after a while.
    """
    with suppress(OSError), cluster.stack.plane.client() as client:
        left = resources(cluster) - before
        for path in sorted(left, key=lambda path: "accesspolicies" in path):
            client.delete(path)
        deadline = time.monotonic() + PATIENCE
        while left & resources(cluster) and time.monotonic() < deadline:
            time.sleep(0.05)
