"""What the tests of the life of resources share: people, policies that change, and questions users ask."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entra_sandbox.local.controlplane import ControlPlaneError
from support.cluster import Body, Cluster, eventually

OWNER_NAME = "entra-access.dev/owner-name"
MANAGED_BY = "app.kubernetes.io/managed-by"
AKS_USER = "Azure Kubernetes Service Cluster User Role"
READ_PODS: Body = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
ALL_CORE: Body = {"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}


@dataclass(frozen=True)
class Person:
    """A user of the directory whom no other test knows."""

    upn: str
    id: str

    @property
    def ref(self) -> Body:
        """The person as a member or owner in a spec."""
        return {"user": self.upn}


def person(cluster: Cluster, stem: str = "dev") -> Person:
    """Add a user to the directory."""
    upn = f"{cluster.unique(stem)}@contoso.com"
    return Person(upn, str(cluster.azure.add_user(upn)["id"]))


def may(
    cluster: Cluster, who: Person, verb: str, resource: str, namespace: str | None = None, *more: str
) -> bool:
    """`kubectl auth can-i` as that person. Unlike an error, "no" says nothing on stderr."""
    where = ("-n", namespace) if namespace else ("--all-namespaces",)
    try:
        said = cluster.kubectl("auth", "can-i", verb, resource, *where, *more, user=who.upn)
    except ControlPlaneError as error:
        if not str(error).endswith(": "):
            raise
        return False
    return said.strip() == "yes"


def gets(cluster: Cluster, who: Person, verb: str, resource: str, namespace: str | None = None) -> None:
    """Wait until the person may."""
    eventually(
        lambda: may(cluster, who, verb, resource, namespace),
        f"{who.upn} may {verb} {resource} in {namespace}",
    )


def loses(cluster: Cluster, who: Person, verb: str, resource: str, namespace: str | None = None) -> None:
    """Wait until the person may not."""
    eventually(
        lambda: not may(cluster, who, verb, resource, namespace),
        f"{who.upn} may no longer {verb} {resource} in {namespace}",
    )


@dataclass
class Policy:
    """An AccessPolicy of a test, applied again and again with changes. A field that is None is left out."""

    cluster: Cluster
    name: str
    group: Body
    spec: Body = field(default_factory=dict)

    def apply(self, *, group: Mapping[str, Any] | None = None, **spec: Any) -> None:
        """Change these fields of the spec, and those of its group, and apply it."""
        self.group = {k: v for k, v in {**self.group, **(group or {})}.items() if v is not None}
        self.spec = {k: v for k, v in {**self.spec, **spec}.items() if v is not None}
        self.cluster.policy(self.name, {"subject": {"group": self.group}, **self.spec})

    def ready(self) -> Body:
        """Wait until it is Ready as it was applied last. Returns the object."""
        return self.cluster.ready("apol", self.name)

    def update(self, *, group: Mapping[str, Any] | None = None, **spec: Any) -> Body:
        """Apply with changes, and wait until it is Ready."""
        self.apply(group=group, **spec)
        return self.ready()

    def look_again(self) -> Body:
        """Have the operator look at Entra now: an edit that asks for nothing new there. Waits until Ready."""
        self.cluster.kubectl(
            "patch", "apol", self.name, "--type=merge", "-p", json.dumps({"spec": {"grants": self._nudged()}})
        )
        return self.ready()

    def _nudged(self) -> Body:
        grants = self.spec.setdefault("grants", {"namespaces": {}})
        roles = grants.setdefault("clusterRoles", [])
        roles.append(self.cluster.unique("never-used"))
        return dict(grants)

    @property
    def group_id(self) -> str:
        """The object id of its group, as its status has it."""
        return str(self.cluster.get("apol", self.name)["status"]["subject"]["objectId"])

    def entra(self) -> Body:
        """Its group as Entra has it."""
        found = self.cluster.group(self.group_id)
        assert found is not None, f"the group of {self.name} is not in Entra"
        return found

    def uid(self) -> str:
        """Its UID."""
        return str(self.cluster.get("apol", self.name)["metadata"]["uid"])

    def delete(self, *more: str) -> None:
        """Delete it, and wait until it is gone unless told otherwise."""
        self.cluster.kubectl("delete", "apol", self.name, *more)


def new_policy(cluster: Cluster, *members: Person, group: Body | None = None, **spec: Any) -> Policy:
    """Apply a policy whose group has these members."""
    name = cluster.unique("life")
    wish: Body = {"displayName": name, **(group or {})}
    if members:
        wish["members"] = [one.ref for one in members]
    policy = Policy(cluster, name, wish, spec)
    policy.apply()
    return policy


def ceiling(*cluster_roles: str, rules: list[Body] | None = None, **labels: str) -> Body:
    """What grants may give at most, in the namespaces with those labels."""
    return {
        "namespaces": {"matchLabels": labels} if labels else {},
        "clusterRoles": list(cluster_roles),
        "rules": rules or [],
    }


def made_for(cluster: Cluster, owner: str, namespace: str | None = None) -> list[Body]:
    """The Roles and bindings that were made for a resource, wherever its labels say so."""
    kinds = "roles,rolebindings" if namespace else "clusterroles,clusterrolebindings"
    return cluster.list_all(kinds, namespace, f"{OWNER_NAME}={owner}")


def all_bindings(cluster: Cluster, namespace: str) -> list[Body]:
    """Every Role and RoleBinding in a namespace, whoever made them."""
    return cluster.list_all("roles,rolebindings", namespace)


def last_request(cluster: Cluster) -> int:
    """The number of the newest request in the journal."""
    return max((int(entry["n"]) for entry in cluster.azure.journal()), default=0)


def writes(cluster: Cluster, since: int, about: str) -> list[str]:
    """The writes to Entra and Azure about something, as "METHOD path", that were not refused."""
    return [
        f"{entry['method']} {entry['path']}"
        for entry in cluster.azure.journal(since=since, write=True)
        if about in f"{entry['path']} {json.dumps(entry['body'])}" and 200 <= entry["status"] < 300
    ]


def patch(cluster: Cluster, kind: str, name: str, change: Any, *more: str) -> None:
    """`kubectl patch`: with a mapping as a merge patch, with a list as a JSON patch."""
    form = "json" if isinstance(change, list) else "merge"
    cluster.kubectl("patch", kind, name, f"--type={form}", "-p", json.dumps(change), *more)


def events(cluster: Cluster, kind: str, name: str, namespace: str = "default") -> list[tuple[str, str, str]]:
    """Type, reason and message of the events about an object."""
    selector = f"involvedObject.kind={kind},involvedObject.name={name}"
    found = json.loads(
        cluster.kubectl("get", "events", "-n", namespace, "--field-selector", selector, "-o", "json")
    )
    return [(one["type"], one["reason"], one["message"]) for one in found["items"]]


def condition_of(body: Body, kind: str) -> Body:
    """One condition of an object, or an empty one."""
    found: list[Body] = body.get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def looks_old(policy: Policy) -> None:
    """Write into the status that the group was made long ago: no replica can be behind with it any more."""
    lines = policy.ready()["status"]["inventory"]
    old = [{**line, "since": "2020-01-01T00:00:00Z"} if "since" in line else line for line in lines]
    patch(policy.cluster, "apol", policy.name, {"status": {"inventory": old}}, "--subresource=status")


def everything(cluster: Cluster) -> tuple[Policy, str, Person]:
    """A policy and a grant that make one or two of each kind of thing. Returns them and a member."""
    who, namespace = person(cluster), cluster.namespace()
    policy = new_policy(
        cluster,
        who,
        person(cluster),
        clusterRoles=["view", "edit"],
        azureRoles=[{"role": AKS_USER}],
        grants=ceiling("view", rules=[READ_PODS]),
    )
    cluster.grant("work", namespace, policy.name, rules=[READ_PODS], clusterRoles=["view"])
    cluster.ready("ngrant", "work", namespace)
    policy.ready()
    return policy, namespace, who
