"""What other hands do in a scenario, and what the statuses tell of it: the `story` of a `scenario.yaml`.

    story:
      - what: somebody adds a member
        hand: add-member appdev bob@contoso.com        # `entra-sandbox hand …`, in Graph or Azure
        told: {by: AccessPolicy/appdev, field: members, action: Corrected}
      - what: somebody edits a binding
        kubectl: patch rolebinding work-{binding edit} -n dev --type=merge -p '{"subjects": []}'
        times: 5                                       # as soon as it is put right, again
        told: {by: NamespaceGrant/dev/work, state: InSync}

`told` names the resource, and what its status has then: the `state` of its drift or the fields of one item,
or the `condition` with its `reason`. Commands can have `{group appdev}`, the object id of that group;
`{binding edit}`, the end of the name of a grant's binding to that ClusterRole; `{assignment appdev/Reader}`,
the ARM id of that role assignment; and `{cluster}`.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from entra_sandbox.cli import hand
from entra_sandbox.local.controlplane import ControlPlaneError
from entra_sandbox.local.report import Report, Terminal, soon
from entra_sandbox.local.stack import Stack

_DOINGS = ("kubectl", "hand")
_KINDS = {
    "AccessPolicy": "accesspolicies.entra-access.dev",
    "NamespaceGrant": "namespacegrants.entra-access.dev",
}
_SHOWN = ("object", "field", "expected", "found", "changedBy", "action")


@dataclass(frozen=True)
class Step:
    """Somebody does something, so many times, and a status tells of it."""

    what: str
    doing: str
    how: str
    by: str
    told: Mapping[str, str]
    times: int = 1


def step(given: Mapping[str, Any]) -> Step:
    """Read a step. Raises KeyError where it makes no sense."""
    doings = [name for name in _DOINGS if name in given]
    told = dict(given["told"])
    if given.keys() - {"times"} != {"what", "told", *doings} or len(doings) != 1:
        raise KeyError(f"a step has what, told and one of {', '.join(_DOINGS)}, not {dict(given)}")
    times = int(given.get("times", 1))
    return Step(str(given["what"]), doings[0], str(given[doings[0]]), str(told.pop("by")), told, times)


LONGEST: Final = 150.0
"""While a group is new its absence proves nothing: it can take two minutes to say that it is gone."""


class Story:
    """Tells it."""

    def __init__(self, stack: Stack, report: Report) -> None:
        self._stack = stack
        self._report = report
        self._terminal = Terminal(stack)

    def tell(self, one: Step) -> None:
        """Do it, wait until the status tells of it, and show that."""
        print(f"\n  {one.what}", flush=True)
        before = self._status(one.by)
        self._do(one)

        def told() -> Mapping[str, Any]:
            status = self._status(one.by)
            return status if status != before and _tells(status, one.told) else {}

        status = soon(told, LONGEST)
        for line in _lines(status, one.told):
            print(f"    {line}", flush=True)
        self._report.prove(f"{one.by} tells: {', '.join(f'{k} {v}' for k, v in one.told.items())}", status)

    def _do(self, one: Step) -> None:
        words = shlex.split(self._filled(one.how))
        if one.doing == "hand":
            print(f"  $ entra-sandbox hand {shlex.join(words)}", flush=True)
            hand(self._stack.azure, words)
            return
        self._terminal.show(*words)
        for _ in range(one.times - 1):
            # As soon as it is put right.
            soon(lambda: "(no change)" not in self._terminal.run(*words).text)
        if one.times > 1:
            print(f"    … {one.times} times, as soon as it is put right", flush=True)

    def _filled(self, command: str) -> str:
        fillers: dict[str, Callable[[str], str]] = {
            "group": self._stack.azure.object_id,
            "binding": lambda role: hashlib.sha256(f"ClusterRole/{role}".encode()).hexdigest()[:8],
            "assignment": self._assignment,
            "cluster": lambda _: self._stack.cluster_id,
        }
        return re.sub(r"\{(\w+) ?([^}\"]*)\}", lambda found: fillers[found[1]](found[2]), command)

    def _assignment(self, named: str) -> str:
        """The ARM id of a group's role assignment: "group/role"."""
        group, _, role = named.partition("/")
        found = self._stack.azure.assignments(self._stack.azure.object_id(group))
        return next(str(one["id"]) for one in found if one["roleName"] == role)

    def _status(self, resource: str) -> dict[str, Any]:
        """The status of a resource, which may be told of a later generation than before."""
        kind, *namespace, name = resource.split("/")
        where = ("-n", *namespace) if namespace else ()
        with suppress(ControlPlaneError):
            body = json.loads(self._stack.kubectl("get", _KINDS[kind], name, *where, "-o", "json"))
            return dict(body.get("status", {}))
        return {}


def _tells(status: Mapping[str, Any], told: Mapping[str, str]) -> bool:
    if "condition" in told:
        return any(_is(one, told) for one in status.get("conditions", []))
    drift = status.get("drift", {})
    if "state" in told:
        return bool(drift.get("state") == told["state"])
    return any(all(item.get(k) == v for k, v in told.items()) for item in drift.get("items", []))


def _is(condition: Mapping[str, Any], told: Mapping[str, str]) -> bool:
    return bool((condition["type"], condition["reason"]) == (told["condition"], told["reason"]))


def _lines(status: Mapping[str, Any], told: Mapping[str, str]) -> list[str]:
    """What the status tells: the condition that was waited for, or the first of the drift."""
    if "condition" in told:
        found = [one for one in status.get("conditions", []) if _is(one, told)]
        return [f"{one['type']} {one['reason']}: {one['message']}" for one in found]
    items = status.get("drift", {}).get("items", [])
    named = [item for item in items if all(item.get(k) == v for k, v in told.items())] or items
    shown = (", ".join(f"{name} {item[name]}" for name in _SHOWN if item.get(name)) for item in named[:1])
    return [f"drift: {text}" for text in shown]
