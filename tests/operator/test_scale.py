"""Two hundred policies and two hundred grants at once."""

import time

import pytest

from entra_sandbox import seed
from support.cluster import API, Body, eventually, running
from support.trouble import Wish, clean_log, is_ready, objects, orphans, policies, wrong

MANY = 200
RULE: Body = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


def test_many_at_once_come_to_be_ready_without_trouble(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All are right, none was ever refused or throttled, the log has no warning, and then there is quiet."""
    with running(tmp_path_factory.mktemp("scale"), ENTRA_ACCESS_ASSIGNMENTS_SECONDS="10") as cluster:
        wishes = [Wish(f"many-{number}", members=(seed.ALICE,), owners=()) for number in range(MANY)]
        bodies = [wish.body() for wish in wishes]
        for body in bodies:
            body["spec"]["grants"] = {"namespaces": {}, "rules": [RULE]}
        grants = [
            {
                "apiVersion": API,
                "kind": "NamespaceGrant",
                "metadata": {"name": wish.name, "namespace": "default"},
                "spec": {"policyRef": {"name": wish.name}, "rules": [RULE]},
            }
            for wish in wishes
        ]
        began = time.monotonic()
        cluster.apply(*grants, *bodies)
        applied = time.monotonic()

        def ready() -> bool:
            there = [*policies(cluster).values(), *objects(cluster, f"/apis/{API}/namespacegrants")]
            return len(there) == 2 * MANY and all(is_ready(one) for one in there)

        eventually(ready, "all are Ready", 180)
        print(f"\n{applied - began:.1f} s to apply, {time.monotonic() - applied:.1f} s more to be Ready")  # noqa: T201

        assert wrong(cluster, *wishes) + orphans(cluster) == []
        eventually(lambda: cluster.quiet(1.0) == ([], False), "quiet", 60)
        assert [e for e in cluster.azure.journal() if e["status"] == 429 or e["status"] >= 500] == []
        log = cluster.operator_log()
        assert [line for line in log.splitlines() if "ERROR" in line or "WARNING" in line] == []
        clean_log(cluster)
