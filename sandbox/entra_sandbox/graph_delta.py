"""GET /groups/delta and /users/delta: what changed in objects and their links since a token was given out.

The first round gives everything, page by page; its last page carries a `deltaLink`. That link gives the
changes since the first round began, so that nothing which happened meanwhile is lost. The same object may
come again on the next page with the rest of its links.
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote

from entra_sandbox.exchange import Call, Json, Reply, ServiceError
from entra_sandbox.graph_changes import GROUPS, USERS, Change, Feed, Interest, Link, change_of
from entra_sandbox.graph_core import Graph, Handler, next_link, route
from entra_sandbox.graph_shapes import CONTEXT
from entra_sandbox.odata import read_token, selected

_MAX_IDS = 50
_ID = re.compile(r"\s*\(*\s*id\s+eq\s+'([^']*)'\s*\)*\s*", re.IGNORECASE)
_KEPT = ("$select", "$filter")


@dataclass(slots=True)
class _Round:
    """Where a reader is: changes after `since` up to `until`, continued behind `last` and its `link`."""

    since: int
    until: int
    born: float
    query: dict[str, str]
    last: str = ""
    link: str = ""


def _handler(feed: Feed) -> Handler:
    def delta(graph: Graph, call: Call, _: dict[str, str]) -> Reply:
        """Answer one page of a round."""
        graph.require(call, feed.permissions)
        # Documented as $deltaToken and $skipToken, written by the service as $deltatoken and $skiptoken.
        query = {k.lower() if k.lower().endswith("token") else k: v for k, v in call.query.items()}
        call = replace(call, query=query)  # the journal shows the query as it came
        for refused in ("$top", "$expand", "$orderby", "$search"):
            if refused in call.query:
                raise ServiceError(
                    400, "Request_UnsupportedQuery", f"'{refused}' is not supported for delta queries."
                )
        latest = call.query.get("$deltatoken") == "latest"
        place = _first(graph, call, feed) if latest else _resume(graph, call, feed)
        interest = _interest(graph, call, feed, place)
        rows, done = ([], True) if latest else _collect(graph, feed, place, interest)
        body: Json = {"@odata.context": CONTEXT + feed.name}
        if done:
            place = _Round(place.until, place.until, graph.state.clock.now(), place.query)
        name, token = ("deltaLink", "$deltatoken") if done else ("nextLink", "$skiptoken")
        body[f"@odata.{name}"] = _link(graph, call, feed, token, place)
        return Reply(200, {**body, "value": rows})

    return delta


def _first(graph: Graph, call: Call, feed: Feed) -> _Round:
    query = {k: call.query[k] for k in _KEPT if k in call.query}
    _ids(query, feed)
    return _Round(0, _horizon(graph), graph.state.clock.now(), query)


def _horizon(graph: Graph) -> int:
    """Give the last change that may be told of: none that has not arrived, nor any after a hidden group."""
    return min(graph.state.directory.horizon(), graph.state.replica("stale_delta").seq)


def _resume(graph: Graph, call: Call, feed: Feed) -> _Round:
    raw = call.query.get("$skiptoken") or call.query.get("$deltatoken")
    if not raw:
        return _first(graph, call, feed)
    try:
        token = read_token(raw)
        place = _Round(token["s"], token["u"], token["b"], token["q"], token["o"], token["l"])
        if token["f"] != feed.name:
            raise ValueError("a token of another kind of objects")
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(400, "BadRequest", "Badly formed token.") from error
    now = graph.state.clock.now()
    too_old = now - place.born > graph.state.settings.delta_token_lifetime
    if too_old or token.get("e") != graph.state.directory.epoch:
        raise _expired(graph, call, place)
    if "$deltatoken" in call.query:
        return _Round(place.since, max(place.since, _horizon(graph)), now, place.query)
    return place


def _expired(graph: Graph, call: Call, place: _Round) -> ServiceError:
    """Say that only a new first round helps; a 410 says where it begins."""
    status = graph.state.settings.delta_expired_status
    query = "&".join(f"{quote(k, safe='$')}={quote(v, safe='')}" for k, v in place.query.items())
    anew = f"{call.base}{call.path}?{query}{'&' if query else ''}$deltatoken="
    return ServiceError(
        status,
        "syncStateNotFound",
        "The sync state generation is not found. The delta token is expired and data must be "
        "synchronized again.",
        headers={"location": anew} if status == 410 else {},
    )


def _interest(graph: Graph, call: Call, feed: Feed, place: _Round) -> Interest:
    # The query is part of the token: a link is followed as it is.
    call.query = dict(place.query)
    names = selected(call, feed.properties | set(feed.relations), feed.type_name)
    properties, relations = feed.usual, feed.usual_relations
    if names is not None:
        relations = tuple(r for r in feed.relations if r in names)
        properties = tuple(n for n in names if n not in feed.relations)
    return Interest(
        names=properties,
        relations=relations,
        since=place.since,
        # Later changes may be in this page already: the next round tells them again.
        until=max(place.until, graph.state.replica("stale_delta").seq),
        minimal="return=minimal" in call.headers.get("prefer", "").lower(),
        hide_service_principals=bool(graph.state.settings.hide_service_principals),
    )


def _ids(query: dict[str, str], feed: Feed) -> list[str] | None:
    """Give the ids of the filter: `id eq '…'`, joined by `or`, at most fifty; nothing else is supported."""
    text = query.get("$filter")
    if text is None:
        return None
    parts = [_ID.fullmatch(part) for part in re.split(r"\s+or\s+", text, flags=re.IGNORECASE)]
    if not all(parts):
        raise ServiceError(
            400,
            "Request_UnsupportedQuery",
            f"Delta queries on {feed.name} can only be filtered by id eq.",
        )
    if len(parts) > _MAX_IDS:
        raise ServiceError(400, "Request_UnsupportedQuery", f"A filter is limited to {_MAX_IDS} ids.")
    return [part[1].lower() for part in parts if part]


def _collect(graph: Graph, feed: Feed, place: _Round, interest: Interest) -> tuple[list[Json], bool]:
    """Fill one page, moving the place; links count towards its size as objects do."""
    directory = graph.state.directory
    asked = _ids(place.query, feed)
    room = graph.state.settings.delta_page_size
    rows: list[Json] = []
    for object_id in sorted(set(feed.looks(directory).looks if asked is None else asked)):
        if object_id < place.last:
            continue
        change = change_of(feed, directory, object_id, interest)
        if change is None:
            continue
        if room <= 0:
            return rows, False
        after = place.link if object_id == place.last else ""
        links = [link for link in change.links if link.key > after]
        room -= 1
        # At least one link in a page, or a reader with tiny pages would never come to the end.
        shown = links[: max(room, 1)]
        rows.append(_row(change, shown))
        if len(links) > len(shown):
            place.last, place.link = object_id, shown[-1].key
            return rows, False
        room -= len(links)
        # Nothing sorts between an id and itself with a tilde.
        place.last, place.link = f"{object_id}~", ""
    return rows, True


def _row(change: Change, links: list[Link]) -> Json:
    row = dict(change.row)
    for link in links:
        row.setdefault(f"{link.relation}@delta", []).append(link.row)
    return row


def _link(graph: Graph, call: Call, feed: Feed, name: str, place: _Round) -> str:
    # The real links carry nothing but the token; the query is inside it.
    return next_link(
        replace(call, query={}),
        name,
        {
            "f": feed.name,
            "e": graph.state.directory.epoch,
            "s": place.since,
            "u": place.until,
            "b": place.born,
            "q": place.query,
            "o": place.last,
            "l": place.link,
        },
    )


ROUTES = tuple(
    route("GET", rf"/{feed.name}/(?:microsoft\.graph\.)?delta(?:\(\))?", _handler(feed))
    for feed in (GROUPS, USERS)
)
