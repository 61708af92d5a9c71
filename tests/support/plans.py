"""What the tests of previews share: the command, run as in a pipeline, and proof that it writes nothing."""

import io
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import kube_config

from entra_access.cli import main
from entra_sandbox import seed
from support.cluster import API, Body, Cluster, eventually
from support.life import AKS_USER, READ_PODS, Person, ceiling, last_request, person
from support.subjects import application
from support.trouble import objects

WRITER = "Azure Kubernetes Service RBAC Writer"
_WRITES = ("APPLY", "PATCH", "POST", "PUT", "DELETE", "DELETECOLLECTION")
_KINDS = (
    "/apis/entra-access.dev/v1alpha1/accesspolicies",
    "/apis/entra-access.dev/v1alpha1/namespacegrants",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/api/v1/namespaces",
    "/api/v1/serviceaccounts",
    "/api/v1/secrets",
    "/api/v1/events",
)
_LOGGED = re.compile(r"\] ((?:AccessPolicy|NamespaceGrant) \S+): (.+)")
_JOINED = re.compile(r"add (members|owners) (.+)")


@dataclass(frozen=True)
class Said:
    """What one run of the command said."""

    code: int
    out: str
    err: str

    @property
    def values(self) -> dict[str, Body]:
        """Of `-o json`: the resources, by their names in words."""
        found: list[Body] = json.loads(self.out)
        where = {
            id(one): f"{one['namespace']}/{one['name']}" if one["namespace"] else one["name"] for one in found
        }
        return {f"{one['kind']} {where[id(one)]}": one for one in found}

    def texts(self, name: str) -> list[str]:
        """Of `-o json`: the texts of a resource's changes."""
        return [one["text"] for one in self.values[name]["changes"]]


def plan(
    cluster: Cluster,
    *bodies: Body,
    files: tuple[Path, ...] = (),
    as_json: bool = True,
    arguments: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Said:
    """Run the command with the operator's settings: bodies by stdin, or files. It must write nothing.

    In this process, because the SDKs take seconds to load; `command` is the same in one of its own.
    """
    settings = cluster.stack.operator_environment() | dict(environment or {})
    out, err = io.StringIO(), io.StringIO()
    with writes_nothing(cluster), pytest.MonkeyPatch.context() as patch:
        for name in settings:
            patch.setenv(name, settings[name])
        # The library has read that variable when it was imported.
        patch.setattr(f"{kube_config.__name__}.KUBE_CONFIG_DEFAULT_LOCATION", settings["KUBECONFIG"])
        patch.setattr("sys.stdin", io.StringIO(_yaml(bodies)))
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(["plan", *_asked(bodies, files, as_json=as_json), *arguments])
            except SystemExit as end:
                code = int(str(end.code))
    return Said(code, out.getvalue(), err.getvalue())


def command(cluster: Cluster, *bodies: Body, as_json: bool = True) -> Said:
    """Run the command as a program, with the operator's settings and bodies by stdin."""
    program = str(Path(sys.executable).with_name("entra-access"))
    with writes_nothing(cluster):
        done = subprocess.run(  # noqa: S603 - our own command
            [program, "plan", *_asked(bodies, (), as_json=as_json)],
            env=cluster.stack.operator_environment(),
            input=_yaml(bodies),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    return Said(done.returncode, done.stdout, done.stderr)


def _asked(bodies: tuple[Body, ...], files: tuple[Path, ...], *, as_json: bool) -> list[str]:
    words = [word for file in files for word in ("-f", str(file))]
    return [*words, *(["-f", "-"] if bodies else []), *(["-o", "json"] if as_json else [])]


def _yaml(bodies: tuple[Body, ...]) -> str:
    return yaml.safe_dump_all(bodies, sort_keys=False) if bodies else ""


@contextmanager
def writes_nothing(cluster: Cluster) -> Iterator[None]:
    """Nothing is written, and nothing is asked to be, in any of the three systems."""
    since, before = last_request(cluster), state(cluster)
    yield
    assert cluster.azure.journal(since=since, write=True) == []
    assert state(cluster) == before


def state(cluster: Cluster) -> tuple[dict[str, str], float]:
    """The resourceVersion of everything that the operator could write, and how many writes were asked for.

    The second tells of a write that changes nothing, or is refused; that of leases goes on always.
    """
    found = [(kind, one["metadata"]) for kind in _KINDS for one in objects(cluster, kind)]
    versions = {f"{kind}/{m.get('namespace')}/{m['name']}": m["resourceVersion"] for kind, m in found}
    with cluster.stack.plane.client() as client:
        lines = client.get("/metrics").text.splitlines()
    # A dry run is no write; whether it was one the API server says.
    requests = [
        one for one in lines if one.startswith("apiserver_request_total{") and 'dry_run="All"' not in one
    ]
    writes = [line for line in requests if any(f'verb="{verb}"' in line for verb in _WRITES)]
    ours = [
        line for line in writes if any(f'resource="{kind.rpartition("/")[2]}"' in line for kind in _KINDS)
    ]
    return versions, sum(float(line.rpartition(" ")[2]) for line in ours)


def logged(log: str) -> dict[str, set[str]]:
    """What an operator has done for each resource, as its log says."""
    done: dict[str, set[str]] = defaultdict(set)
    for name, text in _LOGGED.findall(log):
        joined = _JOINED.fullmatch(text)
        done[name] |= {f"add {who} to the {joined[1]}" for who in joined[2].split(", ")} if joined else {text}
    return dict(done)


def as_logged(value: Body) -> set[str]:
    """The changes of one resource of a plan, as the operator's log would tell of them."""
    return {_as_logged(one) for one in value["changes"]}


def _as_logged(change: Body) -> str:
    if change["action"] == "update" and change["system"] == "Kubernetes":
        return f"correct {change['object']}"
    text = str(change["text"]).removesuffix(", which was deleted")
    # The log has neither the group's name nor where a role was assigned.
    text = re.sub(r" (to|from) the (members|owners) of group .*", r" \1 the \2", text)
    return re.sub(r"(remove assignment of Azure role .*) at .*", r"\1", text)


def write(folder: Path, name: str, *bodies: Body) -> Path:
    """A YAML file with these objects."""
    file = folder / name
    file.write_text(yaml.safe_dump_all(bodies, sort_keys=False))
    return file


def findings(value: Any) -> list[str]:
    """The reasons of a resource's findings, without warnings and notes."""
    return [one["reason"] for one in value["findings"] if one["severity"] not in {"Warning", "Note"}]


# Who looks


READERS = ("Group.Read.All", "User.Read.All", "Application.Read.All")
_RBAC_API = "rbac.authorization.k8s.io"
_LOOKED_AT = {
    "": ["namespaces", "serviceaccounts"],
    "entra-access.dev": ["accesspolicies", "namespacegrants"],
    _RBAC_API: ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
}


def pipeline(cluster: Cluster, *verbs: str) -> tuple[Person, dict[str, str]]:
    """The identity of a pipeline and its settings: it may read, and these verbs on resources of ours."""
    name = cluster.unique("pipeline")
    found = application(cluster, name, appRoles=list(READERS), secret="of-the-pipeline")
    cluster.azure.assign(found.upn, "Reader", seed.SUBSCRIPTION)
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": ["get", "list"]}
        for group, resources in _LOOKED_AT.items()
    ]
    ours = {"apiGroups": ["entra-access.dev"], "resources": _LOOKED_AT["entra-access.dev"]}
    rules += [{**ours, "verbs": list(verbs)}] if verbs else []
    named = {"apiVersion": f"{_RBAC_API}/v1", "metadata": {"name": name}}
    subject = {"apiGroup": _RBAC_API, "kind": "User", "name": found.id}
    ref = {"apiGroup": _RBAC_API, "kind": "ClusterRole", "name": name}
    cluster.apply(
        {**named, "kind": "ClusterRole", "rules": rules},
        {**named, "kind": "ClusterRoleBinding", "roleRef": ref, "subjects": [subject]},
    )
    return found, {
        "AZURE_CLIENT_ID": found.upn,
        "AZURE_CLIENT_SECRET": "of-the-pipeline",
        "AZURE_FEDERATED_TOKEN_FILE": "",
        "KUBECONFIG": str(cluster.stack.kubeconfig_of(found.upn)),
    }


# Teams that have all that they ask for


@dataclass(frozen=True)
class Team:
    """A policy and a grant, as they are in a repository."""

    name: str
    namespace: str
    who: Person
    lead: Person

    def policy(self, *members: Person, **spec: object) -> Body:
        """The AccessPolicy."""
        group = {
            "displayName": self.name,
            "members": [one.ref for one in members or (self.who,)],
            "owners": [self.lead.ref],
        }
        whole = {
            "subject": {"group": group},
            "azureRoles": [{"role": AKS_USER}],
            "clusterRoles": ["view"],
            "grants": ceiling("view", "edit", rules=[READ_PODS]) | {"azureRoles": [WRITER]},
        }
        metadata = {"name": self.name}
        return {"apiVersion": API, "kind": "AccessPolicy", "metadata": metadata, "spec": whole | spec}

    def grant(self, **spec: object) -> Body:
        """The NamespaceGrant."""
        metadata = {"name": "work", "namespace": self.namespace}
        whole = {
            "policyRef": {"name": self.name},
            "rules": [READ_PODS],
            "clusterRoles": ["edit"],
            "azureRoles": [WRITER],
        }
        return {"apiVersion": API, "kind": "NamespaceGrant", "metadata": metadata, "spec": whole | spec}

    @property
    def names(self) -> tuple[str, str]:
        """How a plan calls the two."""
        return f"AccessPolicy {self.name}", f"NamespaceGrant {self.namespace}/work"


def team(cluster: Cluster) -> Team:
    """People, and the name of a namespace, that no other test knows."""
    name = cluster.unique("team")
    return Team(name, name, person(cluster), person(cluster, "lead"))


def namespace(name: str, **labels: str) -> Body:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@contextmanager
def working(cluster: Cluster) -> Iterator[Path]:
    """The operator, for as long as the block lasts: else nobody writes anything. Gives its log."""
    operator = cluster.start_operator()
    try:
        yield operator.log
    finally:
        operator.stop(15)


def in_place(cluster: Cluster, *teams: Team) -> None:
    """Wait until all of theirs is Ready."""
    for one in teams:
        cluster.ready("apol", one.name)
        cluster.ready("ngrant", "work", one.namespace)


def settle(cluster: Cluster, number: int) -> list[Team]:
    """So many teams of which everything is in place; the operator that made it has ended."""
    made = [team(cluster) for _ in range(number)]
    for one in made:
        cluster.apply(namespace(one.namespace), one.policy(), one.grant())
    with working(cluster):
        in_place(cluster, *made)
        eventually(lambda: cluster.quiet(1.0) == ([], False), "it has come to rest")
    return made
