"""Reading a spec: a mapping with the path that leads to it, so that every error can say where it is."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, TypeVar

from entra_access.api.times import moment

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
_DURATION: Final = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


class InvalidFieldError(ValueError):
    """A field that cannot be used. `path` is where it is, as ``spec.subject.group``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Node:
    """One mapping of a spec.

    Every method raises `InvalidFieldError` where what is there does not fit.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidFieldError(path, "must be given" if value is None else "must be a mapping")
        self._value = value
        self.path = path

    def child(self, key: str) -> "Node":
        """The mapping below a key that must be there."""
        return Node(self._value.get(key), f"{self.path}.{key}")

    def optional(self, key: str) -> "Node | None":
        """The mapping below a key, or None."""
        return self.child(key) if self._value.get(key) is not None else None

    def given(self) -> list[str]:
        """The keys that have a value."""
        return [key for key, value in self._value.items() if value is not None]

    def one_of(self, keys: Sequence[str]) -> str:
        """The one of these keys that is given; exactly one must be."""
        given = self.given()
        if len(given) != 1 or given[0] not in keys:
            raise InvalidFieldError(self.path, f"must be exactly one of {', '.join(keys)}")
        return given[0]

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self._value.get(key)
        if not isinstance(value, str) or not value:
            raise InvalidFieldError(f"{self.path}.{key}", "must be given, as text")
        return value

    def every_text(self) -> tuple[tuple[str, str], ...]:
        """All keys with their texts, as labels are."""
        for key, value in self._value.items():
            if not isinstance(value, str):
                raise InvalidFieldError(f"{self.path}[{key}]", "must be text; an empty one is in quotes")
        return tuple(self._value.items())

    def optional_text(self, key: str) -> str | None:
        """A text, or None."""
        return self.text(key) if self._value.get(key) is not None else None

    def choice(self, key: str, choices: type[E], default: E) -> E:
        """One of an enumeration's values; the default where none is given."""
        value = self.optional_text(key)
        if value is None:
            return default
        try:
            return choices(value)
        except ValueError:
            *some, last = (str(one.value) for one in choices)
            raise InvalidFieldError(f"{self.path}.{key}", f"must be {', '.join(some)} or {last}") from None

    def time(self, key: str) -> datetime | None:
        """A moment as RFC 3339 writes it, or None."""
        value = self.optional_text(key)
        found = moment(value) if value else None
        if value and found is None:
            raise InvalidFieldError(f"{self.path}.{key}", "must be a time, as 2026-12-01T00:00:00Z")
        return found

    def duration(self, key: str) -> timedelta | None:
        """A length of time as ``8h`` or ``1h30m``, or None."""
        value = self.optional_text(key)
        found = _DURATION.fullmatch(value) if value else None
        if value and not (found and any(found.groups())):
            raise InvalidFieldError(f"{self.path}.{key}", "must be a duration, as 8h or 1h30m")
        hours, minutes, seconds = (int(text or 0) for text in found.groups()) if found else (0, 0, 0)
        length = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return length if found else None

    def flag(self, key: str) -> bool:
        """Whether a switch is on; one that is not given is off."""
        value = self._value.get(key, False)
        if not isinstance(value, bool):
            raise InvalidFieldError(f"{self.path}.{key}", "must be true or false")
        return value

    def _list(self, key: str) -> Sequence[object]:
        value = self._value.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise InvalidFieldError(f"{self.path}.{key}", "must be a list")
        return value

    def texts(self, key: str, *, empty: bool = True) -> tuple[str, ...]:
        """A list of texts; with `empty` False, of at least one."""
        values = self._list(key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise InvalidFieldError(f"{self.path}.{key}[{index}]", "must be text")
        if not values and not empty:
            raise InvalidFieldError(f"{self.path}.{key}", "must have at least one item")
        return tuple(str(value) for value in values)

    def each(self, key: str, read: "Callable[[Node], T]") -> tuple[T, ...]:
        """A list of mappings, each read by `read`."""
        nodes = (Node(value, f"{self.path}.{key}[{index}]") for index, value in enumerate(self._list(key)))
        return tuple(read(node) for node in nodes)
