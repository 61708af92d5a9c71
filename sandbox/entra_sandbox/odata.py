"""The part of OData that Graph's directory objects understand: filters, field selection and paging."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from entra_sandbox.exchange import Call, ServiceError

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
Equals = tuple[tuple[str, tuple[str, ...]], ...]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<lambda>/any\(\s*(\w+)\s*:\s*\3\s+eq\s+'(?P<any>[^']*)'\s*\))"
    r"|(?P<punct>[(),])|(?P<word>[\w.\-]+))"
)
_ADVANCED = frozenset({"ne", "not", "endswith"})


class UnsupportedError(Exception):
    """The filter uses something that this property does not support."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed `$filter`: a test for rows, the equalities that an index can answer, and whether it is
    advanced.
    """

    test: Test
    equals: Equals
    advanced: bool


def parse_filter(text: str, properties: frozenset[str]) -> Filter:
    """Parse a filter over these properties; raise `ServiceError` in Graph's words when it cannot be."""
    try:
        return _Parser(text, properties).parse()
    except UnsupportedError as error:
        raise ServiceError(400, "Request_UnsupportedQuery", str(error)) from error
    except ValueError as error:
        raise ServiceError(400, "BadRequest", f"Invalid filter clause: {error}") from error


class _Parser:
    """Recursive descent over or, and, not, comparison."""

    def __init__(self, text: str, properties: frozenset[str]) -> None:
        self._properties = properties
        self._tokens: list[re.Match[str]] = []
        self._at = 0
        self._advanced = False
        position = 0
        text = text.rstrip()
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise ValueError(f"Syntax error at position {position} in '{text}'.")
            self._tokens.append(token)
            position = token.end()

    def parse(self) -> Filter:
        test, equals = self._either()
        if self._at != len(self._tokens):
            raise ValueError("Syntax error: more than one expression.")
        return Filter(test, equals, self._advanced)

    def _either(self) -> tuple[Test, Equals]:
        parts = [self._both()]
        while self._is_word("or"):
            parts.append(self._both())
        if len(parts) == 1:
            return parts[0]
        tests = [test for test, _ in parts]
        # "id eq 'a' or id eq 'b'" is one look-up of two values.
        names = {equals[0][0] for _, equals in parts if len(equals) == 1}
        equals: Equals = ()
        if len(names) == 1 and all(len(e) == 1 for _, e in parts):
            equals = ((names.pop(), tuple(v for _, e in parts for v in e[0][1])),)
        return (lambda row: any(t(row) for t in tests)), equals

    def _both(self) -> tuple[Test, Equals]:
        parts = [self._negated()]
        while self._is_word("and"):
            parts.append(self._negated())
        if len(parts) == 1:
            return parts[0]
        tests = [test for test, _ in parts]
        return (lambda row: all(t(row) for t in tests)), tuple(e for _, equals in parts for e in equals)

    def _negated(self) -> tuple[Test, Equals]:
        if self._is_word("not"):
            self._advanced = True
            inner, _ = self._negated()
            return (lambda row: not inner(row)), ()
        if self._is_punct("("):
            both = self._either()
            self._expect(")")
            return both
        return self._comparison()

    def _comparison(self) -> tuple[Test, Equals]:
        word = self._next("word")
        if word.lower() in ("startswith", "endswith"):
            return self._function(word.lower()), ()
        name = self._property(word)
        if self._at < len(self._tokens) and self._tokens[self._at]["lambda"]:
            wanted = self._tokens[self._at]["any"]
            self._at += 1
            return (lambda row: wanted in (row.get(name) or ())), ()
        operator = self._next("word").lower()
        if operator in _ADVANCED:
            self._advanced = True
        if operator == "in":
            values = self._values()
            folded = {_fold(v) for v in values}
            return (lambda row: _fold(row.get(name)) in folded), ((name, tuple(str(v) for v in values)),)
        value = self._value()
        equals = ((name, (str(value),)),) if operator == "eq" else ()
        return _compare(name, operator, value), equals

    def _function(self, function: str) -> Test:
        self._expect("(")
        name = self._property(self._next("word"))
        self._expect(",")
        value = str(self._value()).lower()
        self._expect(")")
        if function == "endswith":
            self._advanced = True
            return lambda row: str(row.get(name) or "").lower().endswith(value)
        return lambda row: str(row.get(name) or "").lower().startswith(value)

    def _values(self) -> list[Any]:
        self._expect("(")
        values = [self._value()]
        while self._is_punct(","):
            values.append(self._value())
        self._expect(")")
        return values

    def _property(self, name: str) -> str:
        if name not in self._properties:
            raise UnsupportedError(
                f"Unsupported or invalid query filter clause specified for property '{name}'."
            )
        return name

    def _value(self) -> Any:
        token = self._take()
        if token["text"]:
            return token["text"][1:-1].replace("''", "'")
        literals = {"true": True, "false": False, "null": None}
        if token["word"] and token["word"].lower() in literals:
            return literals[token["word"].lower()]
        raise ValueError(f"A value is expected, not '{token[0].strip()}'.")

    def _take(self) -> re.Match[str]:
        if self._at >= len(self._tokens):
            raise ValueError("Expression expected at the end.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _next(self, kind: str) -> str:
        token = self._take()
        if not token[kind]:
            raise ValueError(f"Syntax error at '{token[0].strip()}'.")
        return token[kind]

    def _is_word(self, word: str) -> bool:
        found = self._at < len(self._tokens) and (self._tokens[self._at]["word"] or "").lower() == word
        self._at += found
        return found

    def _is_punct(self, punct: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at]["punct"] == punct
        self._at += found
        return found

    def _expect(self, punct: str) -> None:
        if not self._is_punct(punct):
            raise ValueError(f"'{punct}' expected.")


def _fold(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _compare(name: str, operator: str, value: Any) -> Test:
    folded = _fold(value)
    match operator:
        case "eq":
            return lambda row: _fold(row.get(name)) == folded
        case "ne":
            return lambda row: _fold(row.get(name)) != folded
        case "ge":
            return lambda row: row.get(name) is not None and _fold(row[name]) >= folded
        case "le":
            return lambda row: row.get(name) is not None and _fold(row[name]) <= folded
        case _:
            raise ValueError(f"The operator '{operator}' is not known.")


def selected(call: Call, known: frozenset[str], type_name: str) -> tuple[str, ...] | None:
    """Give the fields of `$select`, or `None` for all; raise when one does not exist."""
    text = call.query.get("$select", "")
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known and not name.startswith("members") and name != "*":
            raise ServiceError(
                400,
                "BadRequest",
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type "
                f"'{type_name}'.",
            )
    return names or None


def pick(row: dict[str, Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    """Keep the selected fields, and the annotations."""
    if names is None or "*" in names:
        return row
    return {k: v for k, v in row.items() if k.startswith("@") or k in names}


def page_size(call: Call, default: int, limit: int) -> int:
    """Give the size of a page: `$top`, from 1 to 999, or the default, and never more than the limit."""
    text = call.query.get("$top")
    if text is None:
        return min(default, limit)
    if not text.isdigit() or not 1 <= int(text) <= 999:
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            f"Invalid page size specified: '{text}'. Must be between 1 and 999 inclusive.",
        )
    return min(int(text), limit)


def write_token(state: dict[str, Any]) -> str:
    """Make an opaque token of some state."""
    return base64.urlsafe_b64encode(json.dumps(state, separators=(",", ":")).encode()).rstrip(b"=").decode()


def read_token(token: str) -> dict[str, Any]:
    """Read such a token again; raise `ValueError` when it is not one."""
    value = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    if not isinstance(value, dict):
        raise ValueError("not a token of ours")  # noqa: TRY004 - one error for every bad token
    return value
