"""What the tests of bad days share: policies with everything in them, their right end, what was said."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from entra_sandbox import seed
from support.cluster import API, Body, Cluster, eventually

USER_ROLE = "Azure Kubernetes Service Cluster User Role"
READER_ROLE = "Azure Kubernetes Service RBAC Reader"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MANAGED = "app.kubernetes.io/managed-by=entra-access-operator"
OWNER_NAME = "entra-access.dev/owner-name"


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
    return [group for group in state[where] if (group["uniqueName"] or "").endswith(f"_{name}")]


def objects(cluster: Cluster, path: str) -> list[Body]:
    """A list as the API server gives it, without the time that kubectl takes to start."""
    with cluster.stack.plane.client() as client:
        found: list[Body] = client.get(path).raise_for_status().json()["items"]
    return found


def policies(cluster: Cluster) -> dict[str, Body]:
    """All AccessPolicies by name."""
    return {one["metadata"]["name"]: one for one in objects(cluster, f"/apis/{API}/accesspolicies")}


def is_ready(body: Body) -> bool:
    """Whether it is Ready at its present generation."""
    status = body.get("status", {})
    ready = [c for c in status.get("conditions", ()) if (c["type"], c["status"]) == ("Ready", "True")]
    return bool(ready) and status["observedGeneration"] == body["metadata"]["generation"]


def wrong(cluster: Cluster, *wishes: Wish) -> list[str]:
    """All that is not as wished: in Entra, in Azure, in Kubernetes. Empty when all is well."""
    state = cluster.azure.state()
    bindings = objects(cluster, f"{RBAC}/clusterrolebindings?labelSelector={MANAGED}")
    return [f"{wish.name}: {what}" for wish in wishes for what in _wrong(wish, state, bindings)]


def _wrong(wish: Wish, state: Body, bindings: list[Body]) -> Iterator[str]:
    groups = groups_of(state, wish.name)
    if len(groups) != 1 or groups_of(state, wish.name, "deletedGroups"):
        yield f"{len(groups)} groups, {len(groups_of(state, wish.name, 'deletedGroups'))} deleted ones"
        return
    group = groups[0]
    roles = [a["roleName"] for a in state["assignments"] if a["principalId"] == group["id"]]
    bound = [
        (one["roleRef"]["name"], [subject["name"] for subject in one["subjects"]])
        for one in bindings
        if one["metadata"]["labels"][OWNER_NAME] == wish.name
    ]
    for what, found, wished in (
        ("display name", group["displayName"], wish.display_name or wish.name),
        ("members", sorted(group["members"]), sorted(seed.USER_IDS[upn] for upn in wish.members)),
        ("owners", sorted(group["owners"]), sorted(seed.USER_IDS[upn] for upn in wish.owners)),
        ("Azure roles", sorted(roles), sorted(wish.azure_roles)),
        ("bindings", sorted(bound), [(role, [group["id"]]) for role in sorted(wish.cluster_roles)]),
    ):
        if found != wished:
            yield f"{what} {found} and not {wished}"


def left_over(cluster: Cluster, *names: str) -> list[str]:
    """What there still is of policies that were deleted. Empty when nothing is left behind."""
    state = cluster.azure.state()
    found = [f"group {group['id']}" for name in names for group in groups_of(state, name)]
    for kind in ("roles", "rolebindings", "clusterrolebindings"):
        there = [one["metadata"] for one in objects(cluster, f"{RBAC}/{kind}?labelSelector={MANAGED}")]
        found += [f"{kind} {meta['name']}" for meta in there if meta["labels"][OWNER_NAME] in names]
    return found + orphans(cluster)


def orphans(cluster: Cluster) -> list[str]:
    """Assignments of principals that the directory does not have."""
    state = cluster.azure.state()
    living = {one["id"] for kind in ("users", "servicePrincipals", "groups") for one in state[kind]}
    return [f"orphan {a['name']}" for a in state["assignments"] if a["principalId"] not in living]


def come_right(cluster: Cluster, *wishes: Wish, seconds: float = 40.0) -> dict[str, Body]:
    """Wait until the policies are Ready, and all is as wished. Returns them by name."""

    def waiting() -> dict[str, Any]:
        there = policies(cluster)
        bodies = {wish.name: there.get(wish.name, {}) for wish in wishes}
        return {name: body.get("status") for name, body in bodies.items() if not body or not is_ready(body)}

    _until_empty(waiting, "not Ready", seconds)
    found = wrong(cluster, *wishes) + orphans(cluster)
    assert found == [], found
    return policies(cluster)


def go(cluster: Cluster, *names: str, seconds: float = 40.0) -> None:
    """Wait until the deleted policies are gone, and nothing is left behind."""

    def there() -> dict[str, Any]:
        return {name: body.get("status") for name, body in policies(cluster).items() if name in names}

    _until_empty(there, "not gone", seconds)
    _until_empty(lambda: left_over(cluster, *names), "left behind", 5)


def _until_empty(probe: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until there is nothing of it."""
    last: list[object] = []

    def empty() -> bool:
        last[:] = [probe()]
        return not last[0]

    try:
        eventually(empty, what, seconds)
    except AssertionError as error:
        raise AssertionError(f"{what} within {seconds:g} s: {last}") from error


def delete(cluster: Cluster, *wishes: Wish) -> None:
    """Delete the policies, without waiting."""
    cluster.kubectl("delete", "apol", "--wait=false", *(wish.name for wish in wishes))


def remove(cluster: Cluster, *wishes: Wish) -> None:
    """Delete the policies, and see that all of theirs goes."""
    delete(cluster, *wishes)
    go(cluster, *(wish.name for wish in wishes))


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
    """Watch all policies: also what they said only for a moment. It can be read when the block has ended."""
    plane, found = cluster.stack.plane, History()
    file = cluster.stack.folder / f"{cluster.unique('watch')}.jsonl"
    path = f"/apis/{API}/accesspolicies?watch=true&timeoutSeconds=300"
    with file.open("wb") as output:
        watch = subprocess.Popen(  # noqa: S603 - our own kubectl
            [plane.kubectl, f"--kubeconfig={plane.kubeconfig}", "get", "--raw", path], stdout=output
        )
        try:
            yield found
            name = cluster.unique("last")
            cluster.policy(name, {})
            eventually(lambda: f'"{name}"' in file.read_text(), "the watch has seen everything")
            cluster.kubectl("delete", "apol", name)
        finally:
            watch.terminate()
            watch.wait(10)
    for line in file.read_text().splitlines():
        found.take(line)
