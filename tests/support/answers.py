"""A web server that gives one prepared answer to everything: what no sandbox says, but a proxy may."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from azure.core.credentials import AccessToken

from entra_sandbox import pki


@dataclass
class Answers:
    """Where it listens, whom to trust, and what it says. `requests` are the first lines that it was sent."""

    url: str = ""
    ca: str = ""
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    requests: list[str] = field(default_factory=list)

    def says(self, status: str, body: bytes = b"{}", **headers: str) -> None:
        """Prepare the answer; underscores in header names become dashes."""
        self.status, self.body = status, body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.requests.append(head.partition("\r\n")[0])
        headers = {"content-type": "application/json", **self.headers, "connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"HTTP/1.1 {self.status}\r\n{lines}content-length: {len(self.body)}\r\n\r\n"
        writer.write(start.encode("latin-1") + self.body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def answering(folder: Path) -> AsyncIterator[Answers]:
    """Run such a server on a free port, with a certificate of its own."""
    own = pki.prepare(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.cert_file, own.key_file)
    answers = Answers(ca=str(own.ca_file))
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0, ssl=context)
    answers.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield answers
    finally:
        server.close()
        await server.wait_closed()


class FixedCredential:
    """A credential whose token is always the same: for servers that look at none."""

    TOKEN = "a-token-that-must-not-be-shown"

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Give the token."""
        return AccessToken(self.TOKEN, 2**31)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        """Nothing is opened."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is closed."""
