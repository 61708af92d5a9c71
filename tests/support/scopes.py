"""What the tests of Azure roles share: policies for one person, other hands in Azure, who has which role."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from entra_sandbox import seed
from support.azure import AUTHORIZATION, Caller
from support.cluster import API, Body, Cluster, eventually
from support.life import Person, person

READER = "Azure Kubernetes Service RBAC Reader"
WRITER = "Azure Kubernetes Service RBAC Writer"
PLAIN_READER = "Reader"
"""Says nothing of what may be done inside a cluster, and lets nobody connect."""
MANAGEMENT_GROUP = seed.ROOT_MANAGEMENT_GROUP
VAULT = f"{seed.OTHER_RESOURCE_GROUP}/providers/Microsoft.KeyVault/vaults/keys"
PODS = "Microsoft.ContainerService/managedClusters/pods"
ASSIGNMENTS = "/providers/Microsoft.Authorization/roleAssignments"
DEFINITIONS = "/providers/Microsoft.Authorization/roleDefinitions"


@dataclass
class Personal:
    """A policy whose subject is one person, applied again and again with changes. None leaves a field out."""

    cluster: Cluster
    who: Person
    name: str
    spec: Body = field(default_factory=dict)

    def apply(self, **spec: Any) -> "Personal":
        """Change these fields of the spec, and apply it."""
        self.cluster.apply(self.body(**spec))
        return self

    def body(self, **spec: Any) -> Body:
        """Change these fields of the spec. Returns the AccessPolicy, which is not applied yet."""
        self.spec = {key: value for key, value in {**self.spec, **spec}.items() if value is not None}
        whole = {"subject": {"user": {"userPrincipalName": self.who.upn}}, **self.spec}
        return {"apiVersion": API, "kind": "AccessPolicy", "metadata": {"name": self.name}, "spec": whole}

    def ready(self, seconds: float = 30.0) -> Body:
        """Wait until it is Ready as it was applied last. Returns the object."""
        return self.cluster.ready("apol", self.name, seconds=seconds)

    def update(self, **spec: Any) -> Body:
        """Apply with changes, and wait until it is Ready."""
        return self.apply(**spec).ready()

    def look_again(self) -> None:
        """Have the operator look now, by an edit that asks for nothing new in Azure."""
        grants = self.spec.get("grants") or {"namespaces": {}}
        used = [*grants.get("clusterRoles", []), self.cluster.unique("never-used")]
        self.apply(grants={**grants, "clusterRoles": used})

    def says(self, type_: str, reason: str) -> Body:
        """Wait until a condition has that reason. Returns the condition."""
        return self.cluster.waits_for("apol", self.name, type_, reason)

    def roles(self) -> list[tuple[str, str]]:
        """The person's roles in Azure, with their scopes."""
        return roles_of(self.cluster, self.who.id)

    def delete(self, *more: str) -> None:
        """Delete it, and wait until it is gone unless told otherwise."""
        self.cluster.kubectl("delete", "apol", self.name, "--timeout=30s", *more)


def personal(cluster: Cluster, who: Person | None = None, **spec: Any) -> Personal:
    """Apply a policy for one person: a new one unless it is given."""
    found = Personal(cluster, who or person(cluster), cluster.unique("personal"))
    return found.apply(**spec)


def at(role: str, scope: str = "Cluster") -> Body:
    """An entry of `azureRoles`."""
    return {"role": role, "scope": scope}


def roles_of(cluster: Cluster, principal: str) -> list[tuple[str, str]]:
    """Somebody's roles in Azure, with their scopes."""
    return sorted((one["roleName"], one["scope"]) for one in cluster.azure.assignments(principal))


def namespace_scope(cluster: Cluster, namespace: str) -> str:
    """Where Azure roles of a namespace are."""
    return f"{cluster.stack.cluster_id}/namespaces/{namespace}"


def inventory(body: Body, kind: str = "RoleAssignment") -> list[str]:
    """The ids that an inventory has of a kind."""
    return [one["id"] for one in body["status"]["inventory"] if one["kind"] == kind]


def last_entry(cluster: Cluster) -> int:
    """The number of the newest request in the journal."""
    return max((int(entry["n"]) for entry in cluster.azure.journal()), default=0)


def arm_writes(cluster: Cluster, since: int, about: str = "") -> list[str]:
    """The writes to ARM that were done, as "METHOD path", oldest first."""
    return [
        f"{entry['method']} {entry['path']}"
        for entry in cluster.azure.journal(since=since, kind="arm", write=True)
        if about in f"{entry['path']} {json.dumps(entry['body'])}" and 200 <= entry["status"] < 300
    ]


@contextmanager
def operator_may(cluster: Cluster, *scopes: str, role: str = seed.RBAC_ADMINISTRATOR) -> Iterator[None]:
    """Give the operator's identity a role at these scopes, for a while."""
    given = [cluster.azure.assign(seed.OPERATOR_CLIENT_ID, role, scope)["name"] for scope in scopes]
    try:
        yield
    finally:
        for name in given:
            cluster.azure.unassign(name)


class Administrator:
    """Somebody else who may do everything in Azure, and speaks to ARM itself."""

    def __init__(self, cluster: Cluster) -> None:
        client = cluster.azure
        app = client.add_app(cluster.unique("administrator"))
        client.assign(app["id"], "Owner", seed.ROOT_MANAGEMENT_GROUP)
        context = ssl.create_default_context(cafile=client.ca)
        http = httpx.Client(base_url=client.url, verify=context, timeout=30, trust_env=False)
        self.caller = Caller(http, client.token_of(app["id"], audience=client.url))

    def define(self, guid: str, name: str, *data_actions: str, scope: str = seed.RESOURCE_GROUP) -> None:
        """Make a custom role, or change it."""
        properties = {
            "roleName": name,
            "type": "CustomRole",
            "description": "by another hand",
            "assignableScopes": [scope],
            "permissions": [{"actions": [], "dataActions": list(data_actions)}],
        }
        path = f"{scope}/{AUTHORIZATION}/roleDefinitions/{guid}"
        self.caller.arm("PUT", path, {"properties": properties}).raise_for_status()

    def undefine(self, guid: str, scope: str = seed.RESOURCE_GROUP) -> None:
        """Delete a custom role."""
        self.caller.arm("DELETE", f"{scope}/{AUTHORIZATION}/roleDefinitions/{guid}").raise_for_status()

    def close(self) -> None:
        """Close the connections."""
        self.caller.http.close()


@contextmanager
def administrator(cluster: Cluster) -> Iterator[Administrator]:
    """Have somebody who may do everything in Azure."""
    somebody = Administrator(cluster)
    try:
        yield somebody
    finally:
        somebody.close()


def custom_role(cluster: Cluster, name: str) -> Body | None:
    """The custom role of that name as Azure has it."""
    roles: list[Body] = cluster.azure.state()["customRoles"]
    return next((one for one in roles if one["roleName"] == name), None)


def has(cluster: Cluster, principal: str, *wanted: tuple[str, str], seconds: float = 20.0) -> None:
    """Wait until somebody has exactly these roles."""
    eventually(
        lambda: roles_of(cluster, principal) == sorted(wanted),
        f"{principal} has {sorted(wanted)} and not {roles_of(cluster, principal)}",
        seconds,
    )
