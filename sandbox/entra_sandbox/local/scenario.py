"""``make demo SCENARIO=name``: an example is applied, and people prove what they may and may not do.

A scenario is a folder of `examples/` with a `kustomization.yaml` and a `scenario.yaml`:

    title: what it shows
    cluster: aks                    # or arc: which one the API server is
    permissions: []                 # in Graph, beyond those that the operator has anyway
    before:                         # what somebody else has made: groups, with their fields in Graph
      - group: {displayName: partners, members: [bob@contoso.com]}
    ready: [AccessPolicy/readers, NamespaceGrant/web/writers]     # default: all of ours in the folder
    proofs:
      - {as: alice@contoso.com, kubectl: get pods -n web, allowed: true}
      - {as: application pipeline, kubectl: get secrets -n web, allowed: false}
      - {as: service account default/demo-user, kubectl: get nodes, allowed: true}
      - {as: administrator, kubectl: create configmap made -n web, allowed: true}
    story: []                       # what other hands do then: see `story`
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from entra_sandbox import seed
from entra_sandbox.local.controlplane import ControlPlaneError
from entra_sandbox.local.report import Report, Shown, Terminal, soon
from entra_sandbox.local.stack import CLUSTERS, ROOT, Stack, StackError
from entra_sandbox.local.story import Step, Story, step

EXAMPLES = ROOT / "examples"
_FILE = "scenario.yaml"
_OURS = {
    "AccessPolicy": "accesspolicies.entra-access.dev",
    "NamespaceGrant": "namespacegrants.entra-access.dev",
}
_MADE = "roles,rolebindings,clusterroles,clusterrolebindings,serviceaccounts,secrets"
_SECONDS = 10.0
"""How long a permission may take until the API server has it: its caches follow within moments."""


class ScenarioError(RuntimeError):
    """There is no such scenario, or its file makes no sense; the message says what is wrong."""


@dataclass(frozen=True)
class Proof:
    """Somebody runs a command, and it works or is Forbidden."""

    who: str
    command: tuple[str, ...]
    allowed: bool


@dataclass(frozen=True)
class Scenario:
    """An example with its proofs."""

    name: str
    title: str
    cluster: str
    permissions: tuple[str, ...]
    groups: tuple[Mapping[str, Any], ...]
    ready: tuple[str, ...]
    proofs: tuple[Proof, ...]
    story: tuple[Step, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return EXAMPLES / self.name


def names() -> list[str]:
    """Give the names of all scenarios."""
    return sorted(file.parent.name for file in EXAMPLES.glob(f"*/{_FILE}"))


def load(name: str) -> Scenario:
    """Read a scenario. Raises `ScenarioError`."""
    file = EXAMPLES / name / _FILE
    if name not in names():
        raise ScenarioError(f"there is no scenario '{name}'; there are tutorial, {', '.join(names())}")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        scenario = Scenario(
            name=name,
            title=str(content.pop("title")),
            cluster=str(content.pop("cluster")),
            permissions=tuple(content.pop("permissions", ())),
            groups=tuple(dict(step["group"]) for step in content.pop("before", ())),
            ready=tuple(content.pop("ready", ())),
            proofs=tuple(_proof(proof) for proof in content.pop("proofs")),
            story=tuple(step(one) for one in content.pop("story", ())),
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(f"{file}: {error!r}") from error
    if content or scenario.cluster not in CLUSTERS or not scenario.proofs:
        raise ScenarioError(f"{file}: unknown fields {sorted(content)}, an unknown cluster, or no proofs")
    return scenario


def _proof(given: Mapping[str, Any]) -> Proof:
    if given.keys() != {"as", "kubectl", "allowed"} or not isinstance(given["allowed"], bool):
        raise KeyError(f"a proof has as, kubectl and allowed (true or false), not {dict(given)}")
    return Proof(str(given["as"]), tuple(shlex.split(given["kubectl"])), given["allowed"])


def run(stack: Stack, report: Report, scenario: Scenario) -> None:
    """Run it on a set-up with a running operator, and leave nothing behind."""
    _Run(stack, report, scenario).run()


class _Run:
    def __init__(self, stack: Stack, report: Report, scenario: Scenario) -> None:
        self._stack = stack
        self._report = report
        self._scenario = scenario
        self._terminal = Terminal(stack)

    def run(self) -> None:
        scenario, part = self._scenario, self._report.part
        groups = [str(self._stack.azure.add_group(**_group(fields))["id"]) for fields in scenario.groups]
        before = self._left()
        path = str(scenario.folder.relative_to(ROOT))
        try:
            with part(f"{scenario.title}: kubectl apply -k {path}"):
                applied = self._terminal.show("apply", "-k", path).ok
                self._report.prove("the example is applied", applied)
                if not applied:
                    return
                self._prove_ready()
            with part("Who may do what"):
                for proof in scenario.proofs:
                    self._prove(proof)
            if scenario.story:
                with part("What other hands do, and what the statuses tell of it"):
                    for one in scenario.story:
                        Story(self._stack, self._report).tell(one)
                    self._terminal.show("get", "apol,ngrant", "-A")
        finally:
            with part("Deleted, nothing is left"):
                self._terminal.show("delete", "-k", path, "--wait", "--timeout=60s")
                self._prove_nothing_left(before)
            for group in groups:
                self._stack.azure.purge_group(group)

    def _prove_ready(self) -> None:
        wanted = self._scenario.ready or tuple(self._ours())
        soon(lambda: all(self._is_ready(one) for one in wanted))
        self._terminal.show("get", "apol,ngrant", "-A")
        for one in wanted:
            self._report.prove(f"{one} is Ready", self._is_ready(one))

    def _ours(self) -> Iterable[str]:
        """The policies and grants of the example, as `ready` would name them."""
        for body in yaml.safe_load_all(self._stack.kubectl("kustomize", str(self._scenario.folder))):
            if body["kind"] in _OURS:
                yield "/".join(
                    _parts(body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"])
                )

    def _is_ready(self, one: str) -> bool:
        kind, *namespace, name = one.split("/")
        where = ("-n", *namespace) if namespace else ()
        with suppress(ControlPlaneError):  # it may not be there yet
            body = json.loads(self._stack.kubectl("get", _OURS[kind], name, *where, "-o", "json"))
            status = body.get("status", {})
            ready = [c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"]
            return ready == ["True"] and status.get("observedGeneration") == body["metadata"]["generation"]
        return False

    def _prove(self, proof: Proof) -> None:
        """Run the command until it answers as it must, for a moment; show the last answer."""

        def held(shown: Shown) -> bool:
            return shown.ok if proof.allowed else shown.forbidden

        last: list[Shown] = []

        def attempt() -> bool:
            last[:] = [self._terminal.run(*proof.command, config=self._config_of(proof.who))]
            return held(last[0])

        self._terminal.type(*proof.command, who=proof.who)
        soon(attempt, _SECONDS)
        self._terminal.print(last[0])
        verb = "may" if proof.allowed else "may not"
        self._report.prove(f"{proof.who} {verb}: {' '.join(proof.command)}", held(last[0]))

    def _config_of(self, who: str) -> Path | None:
        """The kubeconfig of a user, an application or a service account; none is the administrator's own."""
        if who == "administrator":
            return None
        if who.startswith("service account "):
            namespace, _, name = who.removeprefix("service account ").partition("/")
            return self._secret_config(namespace, f"{name}-token")
        return self._stack.kubeconfig_of(who.removeprefix("application "))

    def _secret_config(self, namespace: str, secret: str) -> Path | None:
        with suppress(ControlPlaneError, StackError):
            return self._stack.kubeconfig_of_secret(namespace, secret)
        # A kubeconfig of nobody: were there none, the administrator would prove everything.
        return self._stack.plane.token_kubeconfig("nobody", "no-token")

    def _prove_nothing_left(self, before: Mapping[str, set[str]]) -> None:
        def new() -> dict[str, set[str]]:
            found = {place: things - before[place] for place, things in self._left().items()}
            return {place: things for place, things in found.items() if things}

        soon(lambda: not new())
        left = new()
        for place in before:
            more = f": {', '.join(sorted(left[place]))}" if place in left else ""
            self._report.prove(f"nothing is left in {place}{more}", place not in left)

    def _left(self) -> dict[str, set[str]]:
        """Everything of the kinds that the operator makes, by where it is."""
        listed = self._stack.kubectl(
            "get", f"{_MADE},{','.join(_OURS.values())}", "-A", "--no-headers",
            "-o", "custom-columns=:kind,:metadata.namespace,:metadata.name",
        )  # fmt: skip
        state = self._stack.azure.state()
        lines = [" ".join(line.split()) for line in listed.splitlines()]
        return {
            # The control plane makes accounts for itself, some of them late.
            "Kubernetes": {line for line in lines if line and " kube-" not in line},
            "Entra": {f"group {group['displayName']} {group['id']}" for group in state["groups"]},
            "Azure": {
                *(f"assignment {one['name']}" for one in state["assignments"]),
                *(
                    f"role {one['roleName']}"
                    for one in state["customRoles"]
                    if one["name"] != seed.CUSTOM_ROLE_AUTHOR
                ),
            },
        }


def _parts(*parts: str | None) -> list[str]:
    return [part for part in parts if part]


def _group(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {("name" if field == "displayName" else field): value for field, value in fields.items()}
