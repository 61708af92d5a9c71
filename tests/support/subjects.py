"""What the tests of subjects, members and namespaces share: policies for anybody, and what anybody may do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entra_sandbox.local.controlplane import ControlPlaneError
from entra_sandbox.local.stack import StackError
from support.cluster import Body, Cluster, eventually
from support.life import Person, made_for

RBAC_API = "rbac.authorization.k8s.io"
RBAC = f"/apis/{RBAC_API}/v1"


@dataclass
class Direct:
    """An AccessPolicy for any subject, applied again and again with changes. None leaves a field out."""

    cluster: Cluster
    name: str
    spec: Body = field(default_factory=dict)

    def apply(self, **spec: Any) -> "Direct":
        """Change these fields of the spec, and apply it."""
        self.spec = {key: value for key, value in {**self.spec, **spec}.items() if value is not None}
        self.cluster.policy(self.name, self.spec)
        return self

    def ready(self) -> Body:
        """Wait until it is Ready as it was applied last. Returns the object."""
        return self.cluster.ready("apol", self.name)

    def update(self, **spec: Any) -> Body:
        """Apply with changes, and wait until it is Ready."""
        return self.apply(**spec).ready()

    def says(self, type_: str, reason: str) -> str:
        """Wait until a condition has that reason. Returns its message."""
        return str(self.cluster.waits_for("apol", self.name, type_, reason)["message"])

    def stalled(self, reason: str) -> str:
        """Wait until it is Stalled, and so not Ready, for that reason. Returns what Stalled says."""
        message = self.says("Stalled", reason)
        ready = self.cluster.condition("apol", self.name, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", reason)
        return message

    def condition(self, type_: str) -> Body:
        """A condition as it is now, or an empty one."""
        return self.cluster.condition("apol", self.name, type_)

    def body(self) -> Body:
        """The object as it is now."""
        return self.cluster.get("apol", self.name)

    def subject(self) -> Body:
        """Who has the access, as the status has it."""
        found: Body = self.body()["status"].get("subject", {})
        return found

    def bound(self, namespace: str | None = None) -> list[tuple[str, str]]:
        """Its bindings there: to which role, and for whom; Roles are not among them."""
        return sorted(
            (one["roleRef"]["name"], whom(one))
            for one in made_for(self.cluster, self.name, namespace)
            if "roleRef" in one
        )

    def delete(self, *more: str) -> None:
        """Delete it, and wait until it is gone unless told otherwise."""
        self.cluster.kubectl("delete", "apol", self.name, "--timeout=30s", *more)

    def gone(self) -> bool:
        """Whether there is no such policy any more."""
        return not self.cluster.kubectl("get", "apol", self.name, "--ignore-not-found")


def direct(cluster: Cluster, subject: Body, name: str = "", **spec: Any) -> Direct:
    """Apply a policy for a subject."""
    return Direct(cluster, name or cluster.unique("direct")).apply(subject=subject, **spec)


def whom(binding: Body) -> str:
    """The subjects of a binding, as "Kind name"; of a service account with its namespace."""
    return ", ".join(
        " ".join(one[key] for key in ("kind", "namespace", "name") if key in one)
        for one in binding.get("subjects", ())
    )


def application(cluster: Cluster, stem: str = "app", **fields: Any) -> Person:
    """Add an application to the directory. It signs in by its app id; `id` is its object id."""
    made = cluster.azure.add_app(cluster.unique(stem), **fields)
    return Person(made["appId"], made["id"])


def lists(cluster: Cluster, who: Person, resource: str, namespace: str | None = None) -> None:
    """Wait until `kubectl get` as that person or application really answers."""
    where = ("-n", namespace) if namespace else ("-A",)
    eventually(
        lambda: answers(cluster, cluster.stack.kubeconfig_of(who.upn), "get", resource, *where),
        f"{who.upn} lists {resource} in {namespace}",
    )


def answers(cluster: Cluster, config: Path, *arguments: str) -> bool:
    """Whether kubectl with that kubeconfig succeeds."""
    try:
        cluster.stack.plane.run_kubectl(*arguments, config=config)
    except ControlPlaneError:
        return False
    return True


def token_config(cluster: Cluster, namespace: str, secret: str) -> Path:
    """Wait until the Secret has a token. Returns a kubeconfig that signs in with it."""

    def written() -> Path | None:
        try:
            return cluster.stack.kubeconfig_of_secret(namespace, secret)
        except (ControlPlaneError, StackError):
            return None

    found = eventually(written, f"the Secret {namespace}/{secret} has a token")
    assert found is not None
    return found


def exists(cluster: Cluster, kind: str, name: str, namespace: str | None = None) -> bool:
    """Whether there is such an object."""
    where = ("-n", namespace) if namespace else ()
    return bool(cluster.kubectl("get", kind, name, "--ignore-not-found", "-o", "name", *where))


@contextmanager
def held_namespace(cluster: Cluster, name: str) -> Iterator[None]:
    """Delete a namespace that cannot go, because something in it does not; at the end it goes."""
    hold: Body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "hold", "namespace": name, "finalizers": ["example.com/hold"]},
    }
    cluster.apply(hold)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    try:
        yield
    finally:
        change = json.dumps({"metadata": {"finalizers": None}})
        cluster.kubectl("patch", "configmap", "hold", "-n", name, "--type=merge", "-p", change)
        eventually(lambda: not exists(cluster, "namespace", name), f"namespace {name} is gone")
