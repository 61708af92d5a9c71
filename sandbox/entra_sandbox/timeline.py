"""What was, change by change: delta queries read it by number, and lists that lag behind do so too."""

from bisect import bisect_right
from copy import copy
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Life = Literal["alive", "deleted", "gone"]
"""`deleted` can be restored, `gone` cannot."""


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """How an object was from one change to its next."""

    seq: int
    life: Life
    shape: T


@dataclass(frozen=True, slots=True)
class LinkChange:
    """A member or an owner came or went."""

    seq: int
    target: str
    added: bool


class Timeline(Generic[T]):
    """Every look of every object of one kind, also of those that are gone; links are not part of a look."""

    def __init__(self) -> None:
        self.looks: dict[str, list[Look[T]]] = {}

    def note(self, object_id: str, seq: int, life: Life, shape: T) -> None:
        """Remember how the object is from this change on."""
        self.looks.setdefault(object_id, []).append(Look(seq, life, copy(shape)))

    def at(self, object_id: str, seq: int) -> Look[T] | None:
        """Say how the object was after a change; `None` if there was none of it yet."""
        looks = self.looks.get(object_id, [])
        place = bisect_right(looks, seq, key=lambda look: look.seq)
        return looks[place - 1] if place else None

    def between(self, object_id: str, since: int, until: int) -> list[Look[T]]:
        """Give the looks that came after one change, up to another."""
        looks = self.looks.get(object_id, [])
        if not looks or looks[-1].seq <= since:
            return []
        return [look for look in looks if since < look.seq <= until]


def links_at(links: dict[str, None], history: list[LinkChange], seq: int) -> dict[str, None]:
    """Give a group's links as they were after a change: what came later is undone."""
    if not history or history[-1].seq <= seq:
        return links
    then = dict(links)
    for change in reversed(history):
        if change.seq <= seq:
            break
        if change.added:
            then.pop(change.target, None)
        else:
            then[change.target] = None
    return then
