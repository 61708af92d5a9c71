"""What the tests of bad days share: a policy with everything in it, its right end, and what was said meanwhile."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from entra_sandbox import seed
from support.cluster import API, Body, Cluster, eventually

USER_ROLE = "Azure Kubernetes Service Cluster User Role"
READER_ROLE = "Azure Kubernetes Service RBAC Reader"
KINDS = "roles,rolebindings,clusterrolebindings"


@dataclass
class Wish:
    """What a policy asks for, in this test's words."""

    name: str
    members: tuple[str, ...] = (seed.ALICE, seed.BOB)
    owners: tuple[str, ...] = (seed.LEAD,)
    azure_roles: tuple[str, ...] = (USER_ROLE,)
    cluster_roles: tuple[str, ...] = ("view",)
    display_name: str = ""

    def body(self) -> Body:
        """The AccessPolicy."""
        group: Body = {
            "displayName": self.display_name or self.name,
            "members": [{"user": upn} for upn in self.members],
            "owners": [{"user": upn} for upn in self.owners],
        }
        spec = {
            "subject": {"group": {key: value for key, value in group.items() if value}},
            "azureRoles": [{"role": role} for role in self.azure_roles],
            "clusterRoles": list(self.cluster_roles),
        }
        return {"apiVersion": API, "kind": "AccessPolicy", "metadata": {"name": self.name}, "spec": spec}


def groups_of(state: Body, name: str, where: str = "groups") -> list[Body]:
    """The groups that were made for a policy, living ones or among `deletedGroups`."""
    return [group for group in state[where] if (group["uniqueName"] or "").endswith(f"-{name}")]


def wrong(cluster: Cluster, wish: Wish) -> list[str]:
    """All that is not as wished: in Entra, in Azure, in Kubernetes. Empty when all is well."""
    state = cluster.azure.state()
    groups = groups_of(state, wish.name)
    if len(groups) != 1:
        return [f"{len(groups)} groups"]
    group, found = groups[0], []
    if group["displayName"] != (wish.display_name or wish.name):
        found.append(f"display name {group['displayName']}")
    found += _unlike("members", set(group["members"]), {seed.USER_IDS[upn] for upn in wish.members})
    found += _unlike("owners", set(group["owners"]), {seed.USER_IDS[upn] for upn in wish.owners})
    roles = [a["roleName"] for a in state["assignments"] if a["principalId"] == group["id"]]
    found += _unlike("Azure roles", sorted(roles), sorted(wish.azure_roles))
    bound = sorted(
        (binding["roleRef"]["name"], binding["subjects"][0]["name"])
        for binding in cluster.list_all("clusterrolebindings", selector=_made_for(wish.name))
    )
    found += _unlike("bindings", bound, [(role, group["id"]) for role in sorted(wish.cluster_roles)])
    return found + orphans(cluster)


def left_over(cluster: Cluster, name: str) -> list[str]:
    """What there still is of a policy that was deleted. Empty when nothing is left behind."""
    found = [f"group {group['id']}" for group in groups_of(cluster.azure.state(), name)]
    found += [one["metadata"]["name"] for one in cluster.list_all(KINDS, selector=_made_for(name))]
    return found + orphans(cluster)


def orphans(cluster: Cluster) -> list[str]:
    """Assignments of principals that the directory does not have."""
    state = cluster.azure.state()
    living = {one["id"] for kind in ("users", "servicePrincipals", "groups") for one in state[kind]}
    return [f"orphan {a['name']}" for a in state["assignments"] if a["principalId"] not in living]


def comes_right(cluster: Cluster, wish: Wish, seconds: float = 40.0) -> Body:
    """Wait until the policy is Ready, and all is as wished. Returns the object."""
    ready = cluster.ready("apol", wish.name, seconds=seconds)
    assert wrong(cluster, wish) == []
    return ready


def goes(cluster: Cluster, name: str, seconds: float = 40.0) -> None:
    """Wait until the deleted policy is gone, and nothing is left behind."""
    kind = "accesspolicies.entra-access.dev"
    eventually(
        lambda: not cluster.kubectl("get", kind, name, "--ignore-not-found"), f"{name} is gone", seconds
    )
    eventually(lambda: not left_over(cluster, name), f"nothing is left of {name}", 5)


def clean_log(cluster: Cluster) -> None:
    """The operator's log has no defect in it, and nothing that must stay secret."""
    log = cluster.operator_log()
    folder = cluster.stack.folder / "operator"
    secrets = [(folder / "token").read_text(), seed.OPERATOR_SECRET, "eyJ", "Bearer ", "client_assertion="]
    defects = ["Traceback", "unexpected", "Task exception was never retrieved", "Unclosed"]
    answers = ["A fault was asked for", "Request_BadRequest", "AADSTS"]
    for word in (*secrets, *defects, *answers):
        assert word not in log, [line for line in log.splitlines() if word in line][:3]


@dataclass
class History:
    """Every status that the policies had while it ran, oldest first: (policy, its conditions by type)."""

    said: list[tuple[str, dict[str, Body]]] = field(default_factory=list)

    def of(self, name: str, kind: str) -> list[Body]:
        """Every form that a condition of a policy had."""
        return [conditions[kind] for policy, conditions in self.said if policy == name and kind in conditions]

    def reasons(self, kind: str) -> set[str]:
        """All reasons that a condition had, on any policy."""
        return {conditions[kind]["reason"] for _, conditions in self.said if kind in conditions}

    def take(self, line: str) -> None:
        """Take in one event of a watch."""
        body = json.loads(line)["object"]
        if body.get("kind") == "AccessPolicy":
            conditions = body.get("status", {}).get("conditions", [])
            self.said.append((body["metadata"]["name"], {c["type"]: c for c in conditions}))


@contextmanager
def history(cluster: Cluster) -> Iterator[History]:
    """Watch all policies: also what they said only for a moment."""
    found, seen = History(), threading.Event()
    stop = threading.Event()

    def follow() -> None:
        client = cluster.stack.plane.client()
        query = {"watch": "true", "timeoutSeconds": "120"}
        with client, client.stream("GET", f"/apis/{API}/accesspolicies", params=query, timeout=1.0) as answer:
            seen.set()
            lines = answer.iter_lines()
            while not stop.is_set():
                try:
                    found.take(next(lines))
                except (httpx.ReadTimeout, StopIteration):
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    assert seen.wait(10)
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _made_for(name: str) -> str:
    return f"entra-access.dev/owner-name={name}"


def _unlike(what: str, found: Any, wished: Any) -> list[str]:
    return [] if found == wished else [f"{what}: {found} and not {wished}"]
