"""An API server of a few lines, for what is sent to it byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What the API server was sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.target.partition('?')[0]}"


@dataclass
class ApiServer:
    """Answers each request with the next prepared answer, and the last one again and again."""

    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=lambda: [(200, b"{}")])
    requests: list[Request] = field(default_factory=list)

    def says(self, *answers: tuple[int, object]) -> None:
        """Prepare the answers: a status and what is sent as JSON, or bytes as they are."""
        self.answers = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode())
            for status, body in answers
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close; the status 0 closes at once."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(method, target, headers, json.loads(body) if body else None))
        status, data = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status:
            start = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
            writer.write(f"{start}content-length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[ApiServer]:
    """Such a server."""
    api = ApiServer()
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield api
    server.close()
    await server.wait_closed()


def status(code: int, message: str = "") -> tuple[int, object]:
    """The API server's refusal."""
    return code, {"kind": "Status", "status": "Failure", "code": code, "message": message}
