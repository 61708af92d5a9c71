"""Who of ours wants which Azure role assignment: what two of them want goes only when neither does."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class AssignmentClaims(Generic[K]):
    """The ARM ids, in lower case, that each resource wants.

    What a resource wants is known from its first pass on; until then its inventory stands for it.
    """

    def __init__(self) -> None:
        self._claims: dict[K, frozenset[str]] = {}
        self._holders: dict[str, set[K]] = defaultdict(set)
        self._noted: set[K] = set()

    def expect(self, key: K, ids: Iterable[str]) -> None:
        """Take over what an inventory says, if no pass has said better."""
        if key not in self._noted:
            self._set(key, frozenset(ids))

    def note(self, key: K, ids: frozenset[str]) -> None:
        """Take over what a pass has found to be wanted."""
        self._noted.add(key)
        self._set(key, ids)

    def noted(self, key: K) -> bool:
        """Whether a pass has said what the resource wants."""
        return key in self._noted

    def forget(self, key: K) -> None:
        """The resource is gone."""
        self._noted.discard(key)
        self._set(key, frozenset())
        self._claims.pop(key, None)

    def of(self, key: K) -> frozenset[str]:
        """What the resource wants, as far as is known."""
        return self._claims.get(key, frozenset())

    def of_others(self, key: K, ids: Iterable[str]) -> frozenset[str]:
        """Those of the ids that somebody else wants."""
        return frozenset(one for one in ids if self._holders.get(one, set()) - {key})

    def holders(self, ids: Iterable[str]) -> set[K]:
        """Who wants any of them."""
        return {key for one in ids for key in self._holders.get(one.lower(), ())}

    def _set(self, key: K, ids: frozenset[str]) -> None:
        for one in self._claims.get(key, frozenset()) - ids:
            self._holders[one].discard(key)
            if not self._holders[one]:
                del self._holders[one]
        for one in ids:
            self._holders[one].add(key)
        self._claims[key] = ids
