"""What other hands do in a scenario, and what the statuses tell of it: the `story` of a `scenario.yaml`.

    story:
      - what: somebody adds a member
        group: {name: appdev, addMembers: [bob@contoso.com]}    # or removeMembers, displayName, delete: true
        told: {by: AccessPolicy/appdev, field: members, action: Corrected}
      - what: somebody edits a binding
        kubectl: patch rolebinding work-{binding edit} -n dev --type=merge -p '{"subjects": []}'
        told: {by: NamespaceGrant/dev/work, state: InSync}
      - what: somebody removes a role
        unassign: {group: appdev, role: Reader}
        told: {by: AccessPolicy/appdev, found: deleted}

`told` names the resource, and what its `status.drift` has then: its `state`, or the fields of one item. In a
command `{group appdev}` is the object id of that group, and `{binding edit}` the end of the name of a grant's
binding to that ClusterRole.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from entra_sandbox.local.controlplane import ControlPlaneError
from entra_sandbox.local.report import Report, Terminal, soon
from entra_sandbox.local.stack import Stack

_DOINGS = ("kubectl", "group", "unassign")
_KINDS = {
    "AccessPolicy": "accesspolicies.entra-access.dev",
    "NamespaceGrant": "namespacegrants.entra-access.dev",
}
_SHOWN = ("object", "field", "expected", "found", "changedBy", "action")


@dataclass(frozen=True)
class Step:
    """Somebody does something, and a status tells of it."""

    what: str
    doing: str
    how: Any
    by: str
    told: Mapping[str, str]


def step(given: Mapping[str, Any]) -> Step:
    """Read a step. Raises KeyError where it makes no sense."""
    doings = [name for name in _DOINGS if name in given]
    told = dict(given["told"])
    if given.keys() != {"what", "told", *doings} or len(doings) != 1:
        raise KeyError(f"a step has what, told and one of {', '.join(_DOINGS)}, not {dict(given)}")
    return Step(str(given["what"]), doings[0], given[doings[0]], str(told.pop("by")), told)


class Story:
    """Tells it."""

    def __init__(self, stack: Stack, report: Report) -> None:
        self._stack = stack
        self._report = report
        self._terminal = Terminal(stack)

    def tell(self, one: Step) -> None:
        """Do it, wait until the status tells of it, and show that."""
        print(f"\n  {one.what}", flush=True)
        before = self._drift(one.by)
        self._do(one)

        def told() -> Mapping[str, Any]:
            drift = self._drift(one.by)
            return drift if drift != before and _tells(drift, one.told) else {}

        drift = soon(told)
        for item in drift.get("items", [])[:1]:
            print("    drift:", ", ".join(f"{name} {item[name]}" for name in _SHOWN if item.get(name)))
        self._report.prove(f"{one.by} tells: {', '.join(f'{k} {v}' for k, v in one.told.items())}", drift)

    def _do(self, one: Step) -> None:
        azure = self._stack.azure
        match one.doing:
            case "kubectl":
                self._terminal.show(*shlex.split(self._filled(one.how)))
            case "group":
                fields = dict(one.how)
                group = self._group(fields.pop("name"))
                print(f"    in Entra: {json.dumps(fields)}", flush=True)
                if fields.pop("delete", False):
                    azure.delete_group(group)
                else:
                    azure.change_group(group, **{k: self._ids(v) for k, v in fields.items()})
            case _:
                group = self._group(one.how["group"])
                print(f"    in Azure: removes {one.how['role']}", flush=True)
                for assignment in azure.assignments(group):
                    if assignment["roleName"] == one.how["role"]:
                        azure.unassign(assignment["name"])

    def _ids(self, value: Any) -> Any:
        """People by their object ids."""
        people = {one["userPrincipalName"]: one["id"] for one in self._stack.azure.state()["users"]}
        return [people.get(one, one) for one in value] if isinstance(value, list) else value

    def _group(self, name: str) -> str:
        found = self._stack.azure.group(name)
        return str(found["id"]) if found else ""

    def _filled(self, command: str) -> str:
        fillers: dict[str, Callable[[str], str]] = {
            "group": self._group,
            "binding": lambda role: hashlib.sha256(f"ClusterRole/{role}".encode()).hexdigest()[:8],
        }
        return re.sub(r"\{(group|binding) ([^}]+)\}", lambda found: fillers[found[1]](found[2]), command)

    def _drift(self, resource: str) -> dict[str, Any]:
        kind, *namespace, name = resource.split("/")
        where = ("-n", *namespace) if namespace else ()
        with suppress(ControlPlaneError):
            body = json.loads(self._stack.kubectl("get", _KINDS[kind], name, *where, "-o", "json"))
            status = body.get("status", {})
            drift = dict(status.get("drift", {}))
            return drift | {"generation": status.get("observedGeneration")}
        return {}


def _tells(drift: Mapping[str, Any], told: Mapping[str, str]) -> bool:
    if "state" in told:
        return bool(drift.get("state") == told["state"])
    return any(all(item.get(k) == v for k, v in told.items()) for item in drift.get("items", []))
