"""How long 1,000 new grants take to become Ready, beside the same writes made raw in the same run.

Raw: for each grant a Role, a RoleBinding and a status by server-side apply, by the client that the operator
uses, with as many at a time as the operator has workers. The operator does more: it is told of each grant by
a watch, compares, and records an event. `make bench` prints both and their ratio.

Run it with a number of grants: ``python tests/bench/grants.py 1000``.
"""

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from entra_access.adapters.rbac import Kubernetes, connect
from entra_access.api.names import GRANT, ROLE, ROLE_BINDING
from entra_access.api.reading import read_grant, read_meta
from entra_access.domain.children import Child, ChildRef, RbacSubject
from entra_sandbox.local.stack import Stack

T = TypeVar("T")
WORKERS = 16
RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
POLICY = {
    "apiVersion": "entra-access.dev/v1alpha1",
    "kind": "AccessPolicy",
    "metadata": {"name": "bench"},
    "spec": {
        "subject": {"group": {"displayName": "bench"}},
        "grants": {"namespaces": {}, "rules": [RULE]},
    },
}


def grant(name: str, namespace: str) -> dict[str, Any]:
    """A grant with one rule: a Role and a RoleBinding."""
    return {
        "apiVersion": "entra-access.dev/v1alpha1",
        "kind": "NamespaceGrant",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"policyRef": {"name": "bench"}, "rules": [RULE]},
    }


async def at_once(work: Callable[[T], Awaitable[object]], items: Sequence[T]) -> float:
    """Do the work for all items, WORKERS at a time. Returns the seconds."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    began = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return time.monotonic() - began


async def create(kubernetes: Kubernetes, names: Sequence[str], namespace: str) -> list[dict[str, Any]]:
    """Make the grants."""
    made = []

    async def one(name: str) -> None:
        path = f"/apis/entra-access.dev/v1alpha1/namespaces/{namespace}/namespacegrants"
        made.append(await kubernetes._call("POST", path, "make a grant", body=grant(name, namespace)))

    await at_once(one, names)
    return made


async def raw(kubernetes: Kubernetes, grants: Sequence[dict[str, Any]], status: dict[str, Any]) -> float:
    """The three writes of each grant, and nothing else. Returns the seconds."""

    async def one(body: dict[str, Any]) -> None:
        meta, parsed = read_meta(body), read_grant(body)
        role = ChildRef(ROLE, meta.namespace, f"{meta.name}-rules")
        binding = ChildRef(ROLE_BINDING, meta.namespace, meta.name)
        await kubernetes.apply_child(Child(role, meta, rules=parsed.rules), None, None)
        subject = RbacSubject("Group", meta.uid)
        child = Child(binding, meta, role_kind="Role", role=role.name, subject=subject)
        await kubernetes.apply_child(child, None, None)
        await kubernetes.apply_status(meta, status)

    return await at_once(one, grants)


async def until_ready(kubernetes: Kubernetes, namespace: str, number: int) -> None:
    """Wait until so many grants of the namespace are Ready."""
    while True:
        bodies = [b for b in await kubernetes.list_all(GRANT) if b["metadata"]["namespace"] == namespace]
        conditions = [c for b in bodies for c in b["status"].get("conditions", ())]
        if sum(c["type"] == "Ready" and c["status"] == "True" for c in conditions) == number:
            return
        await asyncio.sleep(0.2)


async def bench(stack: Stack, number: int) -> None:
    """Measure both."""
    kubernetes = await connect(str(stack.plane.kubeconfig))
    try:
        names = [f"g{index:05}" for index in range(number)]
        for namespace in ("raw", "bench", "warm"):
            stack.kubectl("create", "namespace", namespace)
        operator = stack.start_operator()
        stack.kubectl("apply", "-f", "-", stdin=json.dumps(POLICY))
        (sample,) = await create(kubernetes, ["sample"], "warm")
        await until_ready(kubernetes, "warm", 1)
        status = (await kubernetes.get(GRANT, "warm", "sample") or sample)["status"]

        # While it is stopped, the operator's grants are made, and the raw writes have the machine alone.
        operator.identity.send(signal.SIGSTOP)
        raw_seconds = await raw(kubernetes, await create(kubernetes, names, "raw"), status)
        stack.kubectl("delete", "namespacegrants", "--all", "-n", "raw", "--wait=true")
        await create(kubernetes, names, "bench")
        began = time.monotonic()
        operator.identity.send(signal.SIGCONT)
        await until_ready(kubernetes, "bench", number)
        seconds = time.monotonic() - began
        print(f"raw      {raw_seconds:7.2f} s  {3 * number / raw_seconds:6.0f} writes/s")
        print(f"operator {seconds:7.2f} s  {number} grants Ready")
        print(f"ratio    {seconds / raw_seconds:7.2f}    (to reach: at most 2.5)")
    finally:
        await kubernetes.close()


def main() -> None:
    """Start a set-up of its own, measure, end it."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="entra-access-bench-") as folder, Stack(Path(folder)) as stack:
        asyncio.run(bench(stack, number))
        log = (Path(folder) / "logs" / "operator.log").read_text()
        print("\n".join(line for line in log.splitlines() if "WARN" in line or "ERROR" in line)[:2000])


if __name__ == "__main__":
    main()
