"""What the watches have shown of the objects that the operator makes in the cluster, by whom they are for."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

from entra_access.api.names import POLICY, SERVICE_ACCOUNT, Kind
from entra_access.domain.children import ChildRef, SeenChild, seen_child

Owner: TypeAlias = tuple[str, str | None, str]
"""Kind, namespace and name of a resource."""


class OwnedObjects:
    """Roles, bindings and service accounts. `put` and `forget` return whose they are and were."""

    def __init__(self) -> None:
        self._children: dict[ChildRef, SeenChild] = {}
        self._by_owner: dict[Owner, set[ChildRef]] = defaultdict(set)

    def __contains__(self, ref: ChildRef) -> bool:
        return ref in self._children

    def get(self, ref: ChildRef) -> SeenChild | None:
        """The object as it was seen last, or None."""
        return self._children.get(ref)

    def of(self, owner: Owner) -> tuple[SeenChild, ...]:
        """All that are a resource's, whichever its UID was when they were made."""
        return tuple(self._children[ref] for ref in sorted(self._by_owner.get(owner, ()), key=str))

    def identities(self, kind: Kind) -> dict[tuple[str | None, str], str]:
        """Namespace and name of each of a kind, with the UID."""
        return {(r.namespace, r.name): c.uid for r, c in self._children.items() if r.kind is kind}

    def put(self, kind: Kind, body: Mapping[str, Any]) -> set[Owner]:
        """Take in an object."""
        child = seen_child(kind, body)
        concerned, owners = self.forget(child.ref), _owners_of(child)
        self._children[child.ref] = child
        for owner in owners:
            self._by_owner[owner].add(child.ref)
        return concerned | owners

    def forget(self, ref: ChildRef) -> set[Owner]:
        """Take in that an object is gone."""
        child = self._children.pop(ref, None)
        owners = _owners_of(child) if child else set()
        for owner in owners:
            self._by_owner[owner].discard(ref)
            if not self._by_owner[owner]:
                del self._by_owner[owner]
        return owners


def _owners_of(child: SeenChild) -> set[Owner]:
    """Whose it is: one's, unless it is a service account that several policies have."""
    several = child.owners if child.ref.kind is SERVICE_ACCOUNT else ()
    policies: set[Owner] = {(kind, None, name) for kind, name, _ in several if kind == POLICY.kind}
    return {child.owner_key, *policies}
