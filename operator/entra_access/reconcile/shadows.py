"""Shadow access: bindings of a policy's subject that the operator did not make."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from entra_access.api.names import Kind
from entra_access.api.status import Subject
from entra_access.domain.children import ChildRef
from entra_access.domain.observed import ForeignBinding, Whom, whom


class Shadows:
    """The bindings of others by whom they are for, and the policies by who their subject is."""

    def __init__(self) -> None:
        self._bindings: dict[Whom, dict[ChildRef, ForeignBinding]] = defaultdict(dict)
        self._whom: dict[ChildRef, frozenset[Whom]] = {}
        self._seen: dict[ChildRef, tuple[str, int]] = {}
        self._policies: dict[Whom, set[str]] = defaultdict(set)
        self._subjects: dict[str, Whom] = {}

    @property
    def bindings(self) -> Mapping[Whom, Mapping[ChildRef, ForeignBinding]]:
        """All of the bindings, by whom they are for."""
        return self._bindings

    def identities(self, kind: Kind) -> dict[tuple[str | None, str], str]:
        """Namespace and name of each binding of others, with the UID."""
        return {(ref.namespace, ref.name): uid for ref, (uid, _) in self._seen.items() if ref.kind is kind}

    def subject(self, policy: str, subject: Subject | None) -> None:
        """Note who the subject of a policy is."""
        old = self._subjects.pop(policy, None)
        if old:
            self._policies[old].discard(policy)
        if subject and subject.rbac_name:
            self._subjects[policy] = whom(subject)
            self._policies[whom(subject)].add(policy)

    def put(self, kind: Kind, body: Mapping[str, Any]) -> set[str]:
        """Take in a binding of others. Returns the policies that it concerns."""
        meta = body["metadata"]
        ref = ChildRef(kind, meta.get("namespace"), meta["name"])
        version = int(meta["resourceVersion"])
        if ref in self._seen and version <= self._seen[ref][1]:
            return set()  # a list can be older than what the watch has told
        before = self._whom.get(ref, frozenset())
        known = {one: self._bindings[one][ref] for one in before}
        self.drop(ref)
        binding = _binding(ref, body)
        whoms = frozenset(_whom(one, ref.namespace) for one in body.get("subjects") or ())
        self._whom[ref], self._seen[ref] = whoms, (meta["uid"], version)
        for one in whoms:
            self._bindings[one][ref] = binding
        changed = (before | whoms) - {one for one in before & whoms if known[one] == binding}
        return self._concerned(changed)

    def drop(self, ref: ChildRef, uid: str | None = None) -> set[str]:
        """Take in that a binding is gone, or is ours. Returns the policies that it concerned.

        With a `uid`: only if that one is known.
        """
        if uid not in {None, self._seen.get(ref, ("", 0))[0]}:
            return set()
        self._seen.pop(ref, None)
        whoms = self._whom.pop(ref, frozenset())
        for one in whoms:
            del self._bindings[one][ref]
            if not self._bindings[one]:
                del self._bindings[one]
        return self._concerned(whoms)

    def _concerned(self, whoms: frozenset[Whom] | set[Whom]) -> set[str]:
        return {policy for one in whoms for policy in self._policies.get(one, ())}


def _whom(subject: Mapping[str, Any], namespace: str | None) -> Whom:
    account = subject.get("kind") == "ServiceAccount"
    where = str(subject.get("namespace") or namespace or "") if account else ""
    return Whom(str(subject.get("kind", "")), str(subject.get("name", "")), where)


def _binding(ref: ChildRef, body: Mapping[str, Any]) -> ForeignBinding:
    role = body.get("roleRef") or {}
    managers = body["metadata"].get("managedFields") or ()
    last: Mapping[str, Any] = max(managers, key=lambda one: str(one.get("time", "")), default={})
    return ForeignBinding(
        name=str(ref),
        role=f"{role.get('kind')} {role.get('name')}",
        made_by=str(last.get("manager", "")),
        made=str(last.get("time") or body["metadata"].get("creationTimestamp", "")),
    )
