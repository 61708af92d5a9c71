"""Follows a delta query, round by round, as a client of Graph does."""

from typing import Any

from support.azure import Caller


class Follower:
    """Where one reader of a delta query is."""

    def __init__(self, caller: Caller, path: str) -> None:
        self._caller = caller
        self.link = path
        """Where the next page is."""
        self.pages = 0
        """How many pages the last round had."""

    def page(self, **headers: str) -> tuple[list[dict[str, Any]], bool]:
        """Read one page; give its rows, and whether the round goes on."""
        answer = self._caller.graph("GET", self.link, **headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert ("@odata.nextLink" in body) != ("@odata.deltaLink" in body)
        self.link = body.get("@odata.nextLink") or body["@odata.deltaLink"]
        return list(body["value"]), "@odata.nextLink" in body

    def rows(self, **headers: str) -> list[dict[str, Any]]:
        """Read a round to its end, and be ready for the next."""
        rows, more, self.pages = [], True, 0
        while more:
            found, more = self.page(**headers)
            rows += found
            self.pages += 1
        return rows
