"""What every service takes and gives: one request, one answer, one refusal. None sees the web server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

CallerKind = Literal["app", "user"]
Kind = Literal["graph", "arm", "signin", "webhook"]
Json = dict[str, Any]
NO_ROUTE = "the sandbox does not serve this route"
"""The detail by which a gap in the sandbox is told from a refusal of the real service."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified access token speaks for."""

    oid: str
    app_id: str
    kind: CallerKind
    roles: frozenset[str] = frozenset()
    upn: str = ""


@dataclass(slots=True)
class Call:
    """One request. Header names are lower case; a query parameter that is repeated counts once."""

    method: str
    path: str
    base: str
    query: dict[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    caller: Caller | None = None

    def json(self) -> Json:
        """Give the body as a JSON object; raise `ValueError` for anything else."""
        value = json.loads(self.body)
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")  # noqa: TRY004 - one error for every bad body
        return value

    def form(self) -> dict[str, str]:
        """Give the body as a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(slots=True)
class Reply:
    """One answer. `body` is sent as JSON unless it is `None`; `code` is the error code that the journal
    shows.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    detail: str = ""
    content_type: str = "application/json; charset=utf-8"


class ServiceError(Exception):
    """A refusal, which each service writes in its own envelope. `detail` is for the journal, never for the
    client.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.detail = detail
