"""What several of ours may want at once: Azure role assignments, and names of groups."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from entra_access.domain.claims import Claim, claimant

K = TypeVar("K", bound=Hashable)


class Holders(Generic[K]):
    """Which resources have to do with what: object ids, names or ARM ids, all of them in lower case."""

    def __init__(self) -> None:
        self._held: dict[K, frozenset[str]] = {}
        self._holders: dict[str, set[K]] = defaultdict(set)

    @property
    def keys(self) -> set[K]:
        """The resources that have to do with anything."""
        return set(self._held)

    def of(self, key: K) -> frozenset[str]:
        """What the resource has to do with, as far as is known."""
        return self._held.get(key, frozenset())

    def holders(self, ids: Iterable[str]) -> set[K]:
        """Who has to do with any of them."""
        return {key for one in ids for key in self._holders.get(one.lower(), ())}

    def put(self, key: K, ids: frozenset[str]) -> None:
        """Have the resource hold these, and nothing else."""
        for one in self.of(key) - ids:
            self._holders[one].discard(key)
            if not self._holders[one]:
                del self._holders[one]
        for one in ids:
            self._holders[one].add(key)
        self._held.pop(key, None)
        if ids:
            self._held[key] = ids

    def forget(self, key: K) -> None:
        """The resource is gone."""
        self.put(key, frozenset())


class AssignmentClaims(Holders[K]):
    """The ARM ids, in lower case, of the role assignments that each resource wants.

    What two of them want goes only when neither does.

    What a resource wants is known from its first pass on; until then its inventory stands for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._noted: set[K] = set()

    def expect(self, key: K, ids: Iterable[str]) -> None:
        """Take over what an inventory says, if no pass has said better."""
        if key not in self._noted:
            self.put(key, frozenset(ids))

    def note(self, key: K, ids: frozenset[str]) -> None:
        """Take over what a pass has found to be wanted."""
        self._noted.add(key)
        self.put(key, ids)

    def add(self, key: K, ids: frozenset[str]) -> None:
        """Take over what a pass has found to be wanted that could not see everything: nothing is let go."""
        self.put(key, self.of(key) | ids)

    def noted(self, key: K) -> bool:
        """Whether a pass has said what the resource wants."""
        return key in self._noted

    def forget(self, key: K) -> None:
        """The resource is gone."""
        self._noted.discard(key)
        super().forget(key)

    def of_others(self, key: K, ids: Iterable[str]) -> frozenset[str]:
        """Those of the ids that somebody else wants."""
        return frozenset(one for one in ids if self._holders.get(one, set()) - {key})


class NameClaims:
    """The names of groups that policies ask for and have. The methods return policies' names."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._by_name: dict[str, set[str]] = defaultdict(set)

    def claimant(self, policy: str) -> str | None:
        """The other policy that has the name which this policy asks for."""
        mine = self._claims.get(policy)
        if mine is None:
            return None
        return claimant(mine, (self._claims[name] for name in self._by_name[mine.wished]))

    def put(self, claim: Claim) -> set[str]:
        """Note a policy's claim. Returns the others that ask for a name which it has let go."""
        before, after = self._let_go(claim.policy), _names(claim)
        self._claims[claim.policy] = claim
        for name in after:
            self._by_name[name].add(claim.policy)
        return self._asking(before - after) - {claim.policy}

    def forget(self, policy: str) -> set[str]:
        """The policy is gone. Returns the others that ask for a name which it had."""
        return self._asking(self._let_go(policy))

    def _let_go(self, policy: str) -> set[str]:
        old = self._claims.pop(policy, None)
        names = _names(old) if old else set()
        for name in names:
            self._by_name[name].discard(policy)
        return names

    def _asking(self, names: set[str]) -> set[str]:
        return {policy for name in names for policy in self._by_name[name]}


def _names(claim: Claim) -> set[str]:
    return {claim.wished, claim.held} - {""}
