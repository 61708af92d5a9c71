"""Whom the operator has put into a group, as short hashes: what a status can hold for a thousand members.

They tell a member whom another hand added from one who was wished for, and a wish that was taken back from
one that suddenly stands for somebody else. They give nobody anything: who is a member is always looked up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from entra_access.domain.naming import digest

NOBODY: Final = "-"
_LENGTH: Final = 6


def _pair(relation: str, reference: str, object_id: str) -> str:
    return digest(f"{relation}|{reference}", _LENGTH) + digest(f"{relation}|{object_id}", _LENGTH)


@dataclass(frozen=True)
class Marks:
    """The pairs of reference and object id; `known` is False where nothing was written down yet."""

    pairs: frozenset[str] = frozenset()
    known: bool = False

    def has(self, relation: str, object_id: str) -> bool:
        """Whether the operator has put that object in."""
        return digest(f"{relation}|{object_id}", _LENGTH) in self._objects

    @cached_property
    def _objects(self) -> frozenset[str]:
        return frozenset(pair[_LENGTH:] for pair in self.pairs)

    def had(self, relation: str, reference: str, object_id: str) -> bool:
        """Whether the operator has put that object in for that reference."""
        return _pair(relation, reference, object_id) in self.pairs

    def wished(self, relation: str, object_id: str, references: Iterable[str]) -> bool:
        """Whether the object was put in for one of these references."""
        return any(self.had(relation, reference, object_id) for reference in references)

    def of(self, ids: Iterable[tuple[str, str]]) -> "Marks":
        """Those for the objects, given with their relations."""
        marks = {digest(f"{relation}|{one}", _LENGTH) for relation, one in ids}
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
