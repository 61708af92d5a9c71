"""Faults on demand: errors, throttling, delays, closed connections, lost answers, for requests that match."""

import itertools
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from entra_sandbox.exchange import Call, Json, Kind, ServiceError

_CODES: dict[str, dict[int, str]] = {
    "graph": {
        429: "TooManyRequests",
        500: "InternalServerError",
        503: "ServiceUnavailable",
        504: "GatewayTimeout",
    },
    "arm": {429: "SubscriptionRequestsThrottled", 500: "InternalServerError", 503: "ServiceUnavailable"},
    "signin": {429: "temporarily_unavailable", 500: "server_error", 503: "temporarily_unavailable"},
    "webhook": {},
}
_FIELDS = {
    "match", "status", "code", "message", "retry_after", "delay_seconds", "drop", "after", "count", "skip",
}  # fmt: skip
_MATCH = {"method", "path_regex", "query_regex", "page", "kind"}
_PLAIN = "$'(),/ "
"""What stands in a query as it is, so that patterns read like the query."""
_PAGES = ("first", "later")


@dataclass(slots=True)
class Fault:
    """What goes wrong, for which requests, and how many more times; `None` is without end."""

    id: int
    method: str | None
    path: re.Pattern[str] | None
    query: re.Pattern[str] | None
    page: str | None
    """Only `first` pages of lists, or only the `later` ones, to which a link led."""
    kind: str | None
    status: int | None
    code: str | None
    message: str | None
    retry_after: float | None
    delay_seconds: float
    drop: bool
    after: bool
    left: int | None
    skip: int = 0
    """How many requests that match pass first."""
    used: int = 0

    def hits(self, kind: Kind, call: Call) -> bool:
        """Whether this request is one of those."""
        if self.left == 0 or self.kind not in (None, kind) or self.method not in (None, call.method):
            return False
        if self.page is not None and self.page != _page_of(call):
            return False
        if self.query is not None and self.query.search(urlencode(call.query, safe=_PLAIN)) is None:
            return False
        return self.path is None or self.path.search(call.path) is not None

    def error(self, kind: Kind) -> ServiceError | None:
        """Give the refusal to answer with, if that is what this fault does."""
        if self.status is None:
            return None
        code = self.code or _CODES[kind].get(self.status, "InternalServerError")
        headers = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        return ServiceError(self.status, code, self.message or "A fault was asked for.", headers=headers)

    def as_json(self) -> Json:
        """Describe the fault."""
        match = {
            "method": self.method,
            "path_regex": self.path.pattern if self.path else None,
            "query_regex": self.query.pattern if self.query else None,
            "page": self.page,
            "kind": self.kind,
        }
        return {
            "id": self.id,
            "match": {k: v for k, v in match.items() if v},
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "retry_after": self.retry_after,
            "delay_seconds": self.delay_seconds,
            "drop": self.drop,
            "after": self.after,
            "count": self.left,
            "skip": self.skip,
            "used": self.used,
        }


class Faults:
    """The faults that are switched on, oldest first; the first that matches happens."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, body: Json) -> Fault:
        """Switch a fault on; raise `ValueError` when it is not understood."""
        match = body.get("match") or {}
        if unknown := (body.keys() - _FIELDS) | (match.keys() - _MATCH):
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if match.get("kind") not in (None, *_CODES):
            raise ValueError(f"kind must be one of {', '.join(_CODES)}")
        if match.get("page") not in (None, *_PAGES):
            raise ValueError(f"page must be one of {', '.join(_PAGES)}")
        fault = Fault(
            id=next(self._ids),
            method=str(match["method"]).upper() if match.get("method") else None,
            path=_pattern(match.get("path_regex")),
            query=_pattern(match.get("query_regex")),
            page=match.get("page"),
            kind=match.get("kind"),
            status=_status(body.get("status")),
            code=body.get("code"),
            message=body.get("message"),
            retry_after=None if body.get("retry_after") is None else float(body["retry_after"]),
            delay_seconds=float(body.get("delay_seconds") or 0),
            drop=bool(body.get("drop")),
            after=bool(body.get("after")),
            left=_count(body.get("count", 1)),
            skip=_skip(body.get("skip") or 0),
        )
        if fault.status is None and not fault.drop and not fault.delay_seconds:
            raise ValueError("a fault needs a status, a delay_seconds or drop")
        self._faults.append(fault)
        return fault

    def take(self, kind: Kind, call: Call) -> Fault | None:
        """Find the fault for this request and count it."""
        for fault in self._faults:
            if not fault.hits(kind, call):
                continue
            if fault.skip:
                fault.skip -= 1
            else:
                fault.used += 1
                fault.left = None if fault.left is None else fault.left - 1
                return fault
        return None

    def as_json(self) -> list[Json]:
        """Describe all faults, also those that are used up."""
        return [fault.as_json() for fault in self._faults]

    def clear(self) -> None:
        """Switch everything off."""
        self._faults.clear()


def _page_of(call: Call) -> str:
    """Say whether a link led to this page: a delta link does not, it leads to a new first page."""
    return "later" if any(name.lower() == "$skiptoken" for name in call.query) else "first"


def _pattern(text: Any) -> re.Pattern[str] | None:
    return re.compile(str(text), re.IGNORECASE) if text else None


def _skip(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("skip must be a number that is not negative")
    return value


def _status(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError("status must be an error, 400 to 599")
    return value


def _count(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError("count must be a number from 1, or null for no end")
    return value
