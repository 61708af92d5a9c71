"""Whom the operator has put into a group, as short hashes: what a status can hold for a thousand members.

Of a policy whose subject is in the directory anyway, whom it was for.

They tell a member whom another hand added from one who was wished for, and a wish that was taken back from
one that suddenly stands for somebody else. They give nobody anything: who is a member is always looked up.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from entra_access.domain.naming import digest

NOBODY: Final = "-"
_LENGTH: Final = 6


@lru_cache(maxsize=16_384)
def _mark(relation: str, text: str) -> str:
    return digest(f"{relation}|{text}", _LENGTH)


def _pair(relation: str, reference: str, object_id: str) -> str:
    return _mark(relation, reference) + _mark(relation, object_id)


@dataclass(frozen=True)
class Marks:
    """The pairs of reference and object id; `known` is False where nothing was written down yet."""

    pairs: frozenset[str] = frozenset()
    known: bool = False

    def has(self, relation: str, object_id: str) -> bool:
        """Whether the operator has put that object in."""
        return _mark(relation, object_id) in self._references

    @cached_property
    def _references(self) -> dict[str, set[str]]:
        """The marks of the references by those of the objects."""
        found: dict[str, set[str]] = defaultdict(set)
        for pair in self.pairs:
            found[pair[_LENGTH:]].add(pair[:_LENGTH])
        return dict(found)

    def had(self, relation: str, reference: str, object_id: str) -> bool:
        """Whether the operator has put that object in for that reference."""
        return _pair(relation, reference, object_id) in self.pairs

    def had_another(self, relation: str, reference: str, object_id: str) -> bool:
        """Whether the reference stood for another object."""
        known = any(pair.startswith(_mark(relation, reference)) for pair in self.pairs)
        return known and not self.had(relation, reference, object_id)

    def wished(self, relation: str, object_id: str, references: Iterable[str]) -> set[str]:
        """For which of these references the object was put in."""
        known = self._references.get(_mark(relation, object_id))
        return {one for one in references if _mark(relation, one) in known} if known else set()

    def of(self, ids: Iterable[tuple[str, str]]) -> "Marks":
        """Those for the objects, given with their relations."""
        marks = {_mark(relation, one) for relation, one in ids}
        return Marks(frozenset(pair for pair in self.pairs if pair[_LENGTH:] in marks), self.known)

    def __str__(self) -> str:
        return "".join(sorted(self.pairs)) or (NOBODY if self.known else "")


def marks(entries: Iterable[tuple[str, str, str]]) -> Marks:
    """The marks of relations, references and object ids."""
    return Marks(frozenset(_pair(*entry) for entry in entries), known=True)


def read_marks(text: str) -> Marks:
    """The marks in a status; what does not fit is left out."""
    if not text:
        return Marks()
    size = 2 * _LENGTH
    found = {text[at : at + size] for at in range(0, len(text), size)}
    return Marks(frozenset(pair for pair in found if len(pair) == size), known=True)
