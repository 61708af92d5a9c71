"""What chaos does: other hands in Kubernetes, Entra and Azure, faults at random calls, sudden death."""

import random
from contextlib import suppress
from typing import Any

import httpx

from entra_sandbox import seed
from entra_sandbox.client import SandboxError
from support.cluster import Body, Cluster
from support.trouble import MANAGED, RBAC, objects
from support.wishes import LEADS, PEOPLE, Wishes

HAND = "somebody"
"""The field manager of the foreign hand in Kubernetes."""
STATUSES = (429, 500, 502, 503, 504)


class Mischief:
    """Does harm of all kinds, and remembers foreign things that nobody may touch."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self._http: httpx.Client = cluster.stack.plane.client()
        self.told: list[str] = []
        self._foreign: Body = {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Things of others, which must stay as they are

    def plant(self, namespace: str) -> None:
        """Make things of others: a group, an assignment, a binding."""
        azure = self._cluster.azure
        group = azure.add_group("foreign", members=[seed.USER_IDS[seed.BOB]])
        azure.assign(group["id"], "Reader", self._cluster.stack.cluster_id)
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "foreign", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "somebody@example.com"}
            ],
        }
        self._cluster.apply(body)
        self._foreign = self._seen(namespace)

    def touched(self, namespace: str) -> list[str]:
        """Which of the things of others are not as they were."""
        now = self._seen(namespace)
        return [name for name, value in self._foreign.items() if now.get(name) != value]

    def _seen(self, namespace: str) -> Body:
        state = self._cluster.azure.state()
        group = next((one for one in state["groups"] if one["displayName"] == "foreign"), None)
        principal = group["id"] if group else ""
        binding = self._http.get(f"{RBAC}/namespaces/{namespace}/rolebindings/foreign").json()
        return {
            "group": group,
            "assignment": [one for one in state["assignments"] if one["principalId"] == principal],
            "binding": binding["metadata"].get("resourceVersion"),
        }

    # What people wish

    def write(self, body: Body) -> None:
        """Apply one of our resources."""
        meta = body["metadata"]
        path = self._path(body["kind"], meta.get("namespace"), meta["name"])
        answer = self._http.patch(
            path,
            params={"fieldManager": "people", "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            json=body,
        )
        if answer.status_code not in {200, 201, 409}:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text[:300]}")

    def remove(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete one of our resources."""
        self._http.delete(self._path(kind, namespace, name))

    @staticmethod
    def _path(kind: str, namespace: str | None, name: str) -> str:
        where = f"namespaces/{namespace}/" if namespace else ""
        plural = {"AccessPolicy": "accesspolicies", "NamespaceGrant": "namespacegrants"}[kind]
        return f"/apis/entra-access.dev/v1alpha1/{where}{plural}/{name}"

    # Other hands

    def in_kubernetes(self) -> None:
        """Change or delete something that the operator has made in the cluster."""
        kind = self._chance.choice(("roles", "rolebindings", "clusterrolebindings"))
        there = objects(self._cluster, f"{RBAC}/{kind}?labelSelector={MANAGED}")
        if not there:
            return
        one = self._chance.choice(there)["metadata"]
        where = f"namespaces/{one['namespace']}/" if "namespace" in one else ""
        path = f"{RBAC}/{where}{kind}/{one['name']}"
        self.told.append(f"hand: {path}")
        match self._chance.randrange(4):
            case 0:
                self._http.delete(path)
            case 1:
                labels: Body = {"app.kubernetes.io/managed-by": None, "entra-access.dev/owner-uid": "x"}
                self._patch(path, {"metadata": {"labels": labels}})
            case 2 if kind == "roles":
                self._patch(path, {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
            case 2:
                self._patch(path, {"subjects": []})
            case _:
                self._patch(path, {"metadata": {"ownerReferences": None}})

    def _patch(self, path: str, change: Body) -> None:
        self._http.patch(
            path,
            params={"fieldManager": HAND},
            headers={"Content-Type": "application/merge-patch+json"},
            json=change,
        )

    def in_entra(self, wishes: Wishes) -> None:
        """Change a group of ours, its members or owners, or delete it."""
        groups = [g for g in self._cluster.azure.state()["groups"] if self._is_ours(g, wishes)]
        if not groups:
            return
        group = self._chance.choice(groups)
        person = seed.USER_IDS[self._chance.choice(PEOPLE)]
        owner = seed.USER_IDS[self._chance.choice(LEADS)]
        what: tuple[str, Body]
        match self._chance.randrange(10):
            case 0 | 1 | 2:
                what = ("add member", {"addMembers": [person]})
            case 3 | 4 | 5:
                what = ("remove member", {"removeMembers": [person]})
            case 6:
                what = ("rename", {"displayName": f"renamed {self._chance.randrange(1000)}"})
            case 7:
                what = ("add owner", {"addOwners": [owner]})
            case 8:
                what = ("delete", {})
            case _:
                what = ("purge", {})
        self.told.append(f"hand: {what[0]} of group {group['displayName']}")
        with suppress(SandboxError):  # it is gone meanwhile, or the one is a member already
            if what[1]:
                self._cluster.azure.change_group(group["id"], **what[1])
            else:
                self._cluster.azure.delete_group(group["id"], purge=what[0] == "purge")

    @staticmethod
    def _is_ours(group: Body, wishes: Wishes) -> bool:
        return (group["uniqueName"] or "").rpartition("_")[2] in wishes.policies

    def in_azure(self) -> None:
        """Take an assignment of ours away."""
        ours = [
            one
            for one in self._cluster.azure.assignments()
            if "kept by entra-access-operator" in (one["description"] or "")
        ]
        if not ours:
            return
        one = self._chance.choice(ours)
        self.told.append(f"hand: unassign {one['roleName']} at {one['scope'].rpartition('/')[2]}")
        with suppress(SandboxError):  # it is gone meanwhile
            self._cluster.azure.unassign(one["name"])

    # Trouble

    def fault(self) -> None:
        """Let the next calls of some kind fail, be lost, or take long."""
        match: dict[str, Any] = {
            "kind": self._chance.choice(("graph", "arm")),
            "method": self._chance.choice((None, "GET", "PUT", "PATCH", "POST", "DELETE")),
            "count": self._chance.randrange(1, 4),
        }
        match self._chance.randrange(4):
            case 0:
                more: dict[str, Any] = {"drop": True, "after": True}
            case 1:
                more = {"drop": True}
            case 2:
                more = {"delay_seconds": self._chance.choice((0.5, 2.0))}
            case _:
                more = {"status": self._chance.choice(STATUSES), "retry_after": 1}
        self.told.append(f"fault: {match} {more}")
        self._cluster.azure.fault(**match, **more)

    def delay(self) -> None:
        """Let new groups stay unknown for a while, or no longer."""
        seconds = self._chance.choice((0.0, 0.0, 1.0, 3.0))
        self.told.append(f"replication: {seconds} s")
        self._cluster.azure.settings(replication_delay=seconds)

    def death(self) -> None:
        """Kill the operator, and start another one."""
        self.told.append("kill -9")
        if self._cluster.operator and self._cluster.operator.alive():
            self._cluster.kill_operator()
        self._cluster.start_operator()

    def peace(self) -> None:
        """No more trouble."""
        self._cluster.azure.clear_faults()
        self._cluster.azure.settings(replication_delay=0.0)
        if self._cluster.operator is None or not self._cluster.operator.alive():
            self._cluster.start_operator()
