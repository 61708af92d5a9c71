"""A whole set-up for the operator's tests: real API server, sandbox, and the operator under its own RBAC."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from entra_sandbox.client import SandboxClient
from entra_sandbox.local.controlplane import ControlPlaneError
from entra_sandbox.local.processes import Process
from entra_sandbox.local.stack import APP_ROLES, Stack

T = TypeVar("T")
Body = dict[str, Any]
DEADLINE = 30.0
API = "entra-access.dev/v1alpha1"
_numbers = itertools.count(1)
_OURS = f"/apis/{API}"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_PATHS = {
    "apol": (_OURS, "accesspolicies"),
    "accesspolicies": (_OURS, "accesspolicies"),
    "ngrant": (_OURS, "namespacegrants"),
    "namespacegrants": (_OURS, "namespacegrants"),
    "role": (_RBAC, "roles"),
    "roles": (_RBAC, "roles"),
    "rolebinding": (_RBAC, "rolebindings"),
    "rolebindings": (_RBAC, "rolebindings"),
    "clusterroles": (_RBAC, "clusterroles"),
    "clusterrolebinding": (_RBAC, "clusterrolebindings"),
    "clusterrolebindings": (_RBAC, "clusterrolebindings"),
}
"""Where the API server has what kubectl knows by these words."""


def _path(kind: str, namespace: str | None) -> str:
    root, plural = _PATHS[kind]
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def eventually(probe: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """Ask until the answer is true. Raises AssertionError with the last answer when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last: {answer!r}")
        time.sleep(0.05)


class Cluster:
    """One set-up, and what tests ask of it. Names are made unique, so that tests can share it."""

    def __init__(
        self,
        folder: Path,
        *,
        replication_delay: float = 0.0,
        kind: str = "aks",
        app_roles: tuple[str, ...] = APP_ROLES,
        **settings: str,
    ) -> None:
        quick = {"ENTRA_ACCESS_STALLED_SECONDS": "1", "ENTRA_ACCESS_ASSIGNMENTS_SECONDS": "0.5"}
        self.stack = Stack(
            folder, replication_delay, operator_settings=quick | settings, cluster=kind, app_roles=app_roles
        )
        self.operator: Process | None = None
        self._client: httpx.Client | None = None

    # Life

    def start(self) -> None:
        """Start the sandbox and the control plane."""
        self.stack.start()

    def stop(self) -> None:
        """End everything."""
        if self._client:
            self._client.close()
        self.stack.stop()

    def start_operator(self, *arguments: str, **settings: str) -> Process:
        """Start the operator."""
        self.operator = self.stack.start_operator(*arguments, **settings)
        return self.operator

    def kill_operator(self) -> None:
        """End the operator as a power cut would."""
        assert self.operator is not None
        assert self.operator.popen is not None
        self.operator.popen.kill()
        self.operator.popen.wait(10)

    def operator_log(self) -> str:
        """What all operators of this set-up have logged."""
        return "".join(
            file.read_text() for file in sorted((self.stack.folder / "logs").glob("operator*.log"))
        )

    @property
    def azure(self) -> SandboxClient:
        """The sandbox, by its own routes."""
        return self.stack.azure

    # Kubernetes

    def unique(self, stem: str) -> str:
        """A name that no other test uses."""
        return f"{stem}-{next(_numbers)}"

    def namespace(self, stem: str = "team", **labels: str) -> str:
        """Make a namespace. Returns its name."""
        name = self.unique(stem)
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str | None = None) -> str:
        """Run kubectl as administrator or as a user of the directory."""
        return self.stack.kubectl(*arguments, stdin=stdin, user=user)

    def apply(self, *bodies: Body) -> str:
        """Apply objects."""
        return self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(bodies))

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl, which must fail. Returns what it said."""
        try:
            said = self.kubectl(*arguments, stdin=stdin)
        except ControlPlaneError as error:
            return str(error)
        raise AssertionError(f"was accepted: {said}")

    def get(self, kind: str, name: str, namespace: str | None = None) -> Body:
        """Read one object."""
        if kind in _PATHS:
            return self._read(f"{_path(kind, namespace)}/{name}")
        where = ("-n", namespace) if namespace else ()
        found: Body = json.loads(self.kubectl("get", kind, name, *where, "-o", "json"))
        return found

    def list_all(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Body]:
        """Read all objects of a kind."""
        kinds = kind.split(",")
        if _PATHS.keys() >= set(kinds):
            return [one for each in kinds for one in self._list(_path(each, namespace), selector)]
        where = ("-n", namespace) if namespace else ("-A",)
        found: list[Body] = json.loads(self.kubectl("get", kind, *where, "-l", selector, "-o", "json"))[
            "items"
        ]
        return found

    def _read(self, path: str, **query: str) -> Body:
        """What kubectl would read, without starting it: tests ask again and again.

        Raises
        ------
        ControlPlaneError
            It is not there.
        """
        if self._client is None:
            self._client = self.stack.plane.client()
        answer = self._client.get(path, params=query)
        found: Body = answer.json()
        if answer.is_error:
            raise ControlPlaneError(f"GET {path}: {found.get('message')}")
        return found

    def _list(self, path: str, selector: str) -> list[Body]:
        listed = self._read(path, labelSelector=selector)
        kind = {"apiVersion": listed["apiVersion"], "kind": listed["kind"].removesuffix("List")}
        return [kind | one for one in listed["items"]]

    def can(self, user: str, verb: str, resource: str, namespace: str | None = None) -> bool:
        """Ask the API server, as that user, whether they may."""
        where = ("-n", namespace) if namespace else ("--all-namespaces",)
        try:
            return self.kubectl("auth", "can-i", verb, resource, *where, user=user).strip() == "yes"
        except ControlPlaneError:
            return False

    # Our resources

    def policy(self, name: str, spec: Mapping[str, Any]) -> Body:
        """Apply an AccessPolicy. Without a subject in the spec, its group has the policy's name."""
        subject = {"subject": {"group": {"displayName": name}}}
        body = {
            "apiVersion": API,
            "kind": "AccessPolicy",
            "metadata": {"name": name},
            "spec": subject | dict(spec),
        }
        self.apply(body)
        return body

    def grant(self, name: str, namespace: str, policy: str, **spec: Any) -> Body:
        """Apply a NamespaceGrant."""
        body = {
            "apiVersion": API,
            "kind": "NamespaceGrant",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"policyRef": {"name": policy}, **spec},
        }
        self.apply(body)
        return body

    def condition(self, kind: str, name: str, type_: str, namespace: str | None = None) -> Body:
        """One condition, or an empty one."""
        found = self.get(kind, name, namespace)
        status = found.get("status", {})
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return {}
        conditions: list[Body] = status.get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})

    def ready(self, kind: str, name: str, namespace: str | None = None, seconds: float = DEADLINE) -> Body:
        """Wait until it is Ready at its present generation. Returns the object."""
        last: Body = {}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            last = self.condition(kind, name, "Ready", namespace)
            if last.get("status") == "True":
                return self.get(kind, name, namespace)
            time.sleep(0.05)
        raise AssertionError(f"{kind} {name} is not Ready within {seconds:g} s: {last}")

    def waits_for(
        self,
        kind: str,
        name: str,
        type_: str,
        reason: str,
        namespace: str | None = None,
        seconds: float = DEADLINE,
    ) -> Body:
        """Wait until a condition has that reason. Returns the condition."""
        last: Body = {}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            last = self.condition(kind, name, type_, namespace)
            if last.get("reason") == reason:
                return last
            time.sleep(0.05)
        raise AssertionError(f"{type_} of {kind} {name} is not {reason} within {seconds:g} s: {last}")

    # Entra and Azure

    def group(self, name: str) -> Body | None:
        """The group with that display name, object id or unique name."""
        return self.azure.group(name)

    def quiet(self, seconds: float = 3.0) -> tuple[list[Body], bool]:
        """Watch for a while. Returns the writes to Azure, and whether any object in Kubernetes moved."""
        kinds = "accesspolicies,namespacegrants,roles,rolebindings,clusterrolebindings,events"

        def versions() -> str:
            return self.kubectl("get", kinds, "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}")

        last = max((entry["n"] for entry in self.azure.journal()), default=0)
        before = versions()
        time.sleep(seconds)
        return self.azure.journal(since=last, write=True), versions() != before


@contextmanager
def running(
    folder: Path,
    *,
    replication_delay: float = 0.0,
    kind: str = "aks",
    app_roles: tuple[str, ...] = APP_ROLES,
    **settings: str,
) -> Iterator[Cluster]:
    """A set-up with a running operator, for one test that cannot share."""
    cluster = Cluster(folder, replication_delay=replication_delay, kind=kind, app_roles=app_roles, **settings)
    cluster.start()
    try:
        cluster.start_operator()
        yield cluster
    finally:
        cluster.stop()
