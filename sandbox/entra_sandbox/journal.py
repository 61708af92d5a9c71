"""Every request that was answered, in order: what tests count and what a person reads."""

import json
import re
from collections import deque
from typing import Any
from urllib.parse import urlencode

from entra_sandbox.clock import graph_time
from entra_sandbox.exchange import Call, Json, Kind, Reply

_KEPT = 100_000
_BODY = 2_000
_SECRET_FIELDS = frozenset(
    {"client_secret", "client_assertion", "password", "assertion", "refresh_token", "code"}
)
_READING_POSTS = re.compile(
    r"/(getByIds|getMemberGroups|checkMemberGroups|validateProperties)$", re.IGNORECASE
)


class Journal:
    """The last requests, numbered from one; the numbers go on when it is cleared."""

    def __init__(self) -> None:
        self._entries: deque[Json] = deque(maxlen=_KEPT)
        self._n = 0

    def add(
        self, kind: Kind, call: Call, reply: Reply | None, *, began: float, took: float, fault: bool
    ) -> None:
        """Note a request; a reply of `None` means that the connection was closed instead."""
        self._n += 1
        caller = call.caller
        self._entries.append(
            {
                "n": self._n,
                "time": f"{graph_time(began)[:-1]}.{int(began * 1000) % 1000:03d}Z",
                "kind": kind,
                "method": call.method,
                "path": call.path,
                "query": urlencode(call.query, safe="$'(),/ ") if call.query else "",
                "status": reply.status if reply else 0,
                "code": reply.code if reply else "ConnectionClosed",
                "detail": reply.detail if reply else "",
                "caller": {"appId": caller.app_id, "oid": caller.oid} if caller else None,
                "write": is_write(kind, call),
                "fault": fault,
                "duration_ms": round(took * 1000, 2),
                "body": _summary(kind, call),
            }
        )

    def entries(self, query: dict[str, str]) -> list[Json]:
        """Give the entries after `since`, of one `kind`, and so on: every given field must be equal.

        A `caller` is named by its object id or its application id.
        """
        since = int(query.get("since", "0"))
        path, caller = re.compile(query.get("path_regex", "")), query.get("caller")
        equal = {k: v for k, v in query.items() if k in ("kind", "method", "code")}
        flags = {k: v.lower() == "true" for k, v in query.items() if k in ("write", "fault")}
        status = query.get("status")
        return [
            e
            for e in self._entries
            if e["n"] > since
            and all(e[k] == v for k, v in equal.items())
            and all(e[k] is v for k, v in flags.items())
            and (status is None or str(e["status"]) == status)
            and (caller is None or (e["caller"] and caller in e["caller"].values()))
            and path.search(e["path"])
        ]

    def clear(self) -> None:
        """Forget the entries."""
        self._entries.clear()

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._n


def is_write(kind: Kind, call: Call) -> bool:
    """Whether the request asked for a change."""
    if kind not in ("graph", "arm") or call.method not in ("POST", "PATCH", "PUT", "DELETE"):
        return False
    if call.path.endswith("/$batch"):
        try:
            return any(r.get("method", "GET").upper() != "GET" for r in call.json().get("requests", ()))
        except (ValueError, AttributeError):
            return False
    return _READING_POSTS.search(call.path) is None


def _summary(kind: Kind, call: Call) -> Any:
    """Give what the body said, cut, and without anything that would let its reader in."""
    if not call.body:
        return None
    if kind == "signin":
        return {k: "***" if k in _SECRET_FIELDS else v[:200] for k, v in call.form().items()}
    if kind == "webhook" and call.path.startswith("/webhooks/token"):
        return {"kind": "TokenReview", "token": "***"}
    text = call.body[: _BODY + 1].decode("utf-8", "replace")
    if len(text) > _BODY:
        return text[:_BODY] + "…"
    try:
        return json.loads(text)
    except ValueError:
        return text
