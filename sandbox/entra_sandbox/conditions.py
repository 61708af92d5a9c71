"""Conditions on role assignments (ABAC), as far as delegating role assignments needs them.

The language of Azure's own examples: `ActionMatches{'...'}`, attributes `@Request[...]` and `@Resource[...]`,
set comparisons such as `ForAnyOfAnyValues:GuidEquals {a, b}`, joined by `AND`, `OR`, `!` and parentheses.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"\s*(?:(?P<action>ActionMatches\s*\{\s*'(?P<pattern>[^']*)'\s*\})"
    r"|@(?P<source>Request|Resource)\[(?P<attribute>[^\]]+)\]\s*(?P<operator>[A-Za-z:]+)\s*"
    r"(?:\{(?P<values>[^}]*)\}|'(?P<value>[^']*)')"
    r"|(?P<word>AND\b|OR\b|NOT\b|&&|\|\||!|\(|\)))",
    re.IGNORECASE,
)


class BadConditionError(Exception):
    """The condition is not written in the language that is understood here."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a caller wants to do: the action, and the attributes of what it sends and of what it touches."""

    action: str
    request: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)


Test = Callable[[Attempt], bool]


def check(condition: str) -> None:
    """Raise `BadConditionError` for a condition that cannot be read."""
    _Parser(condition).parse()


def fulfilled(condition: str, attempt: Attempt) -> bool:
    """Whether the attempt meets the condition."""
    return _Parser(condition).parse()(attempt)


class _Parser:
    """Recursive descent: or, and, not, atom."""

    def __init__(self, text: str) -> None:
        self._tokens: list[re.Match[str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise BadConditionError(f"cannot read the condition at '{text[at : at + 40].strip()}'")
            self._tokens.append(token)
            at = token.end()
        self._at = 0

    def parse(self) -> Test:
        test = self._either()
        if self._at != len(self._tokens):
            raise BadConditionError("something is left over at the end of the condition")
        return test

    def _word(self, *words: str) -> bool:
        if self._at < len(self._tokens) and (self._tokens[self._at]["word"] or "").upper() in words:
            self._at += 1
            return True
        return False

    def _either(self) -> Test:
        tests = [self._both()]
        while self._word("OR", "||"):
            tests.append(self._both())
        return lambda attempt: any(test(attempt) for test in tests)

    def _both(self) -> Test:
        tests = [self._negated()]
        while self._word("AND", "&&"):
            tests.append(self._negated())
        return lambda attempt: all(test(attempt) for test in tests)

    def _negated(self) -> Test:
        if self._word("NOT", "!"):
            inner = self._negated()
            return lambda attempt: not inner(attempt)
        if self._word("("):
            inner = self._either()
            if not self._word(")"):
                raise BadConditionError("a parenthesis is not closed")
            return inner
        return self._atom()

    def _atom(self) -> Test:
        if self._at >= len(self._tokens) or self._tokens[self._at]["word"]:
            raise BadConditionError("a comparison is missing")
        token = self._tokens[self._at]
        self._at += 1
        return _action(token["pattern"]) if token["action"] else _comparison(token)


def _action(pattern: str) -> Test:
    return lambda attempt: action_matches(pattern, attempt.action)


def _comparison(token: re.Match[str]) -> Test:
    operator = token["operator"].rpartition(":")[2].lower()
    if operator not in (
        "guidequals",
        "guidnotequals",
        "stringequals",
        "stringequalsignorecase",
        "stringnotequals",
    ):
        raise BadConditionError(f"the operator '{token['operator']}' is not known")
    raw = token["value"] if token["values"] is None else token["values"]
    values = {v.strip().strip("'").lower() for v in raw.split(",")}
    attribute = token["attribute"].rpartition(":")[2].lower()
    from_request = token["source"].lower() == "request"

    def test(attempt: Attempt) -> bool:
        known = attempt.request if from_request else attempt.resource
        return (known.get(attribute, "").lower() in values) != ("not" in operator)

    return test


_patterns: dict[str, re.Pattern[str]] = {}


def action_matches(pattern: str, action: str) -> bool:
    """Whether an action falls under a pattern with `*`; case does not matter."""
    compiled = _patterns.get(pattern)
    if compiled is None:
        compiled = re.compile(re.escape(pattern).replace(r"\*", ".*"), re.IGNORECASE)
        _patterns[pattern] = compiled
    return compiled.fullmatch(action) is not None
