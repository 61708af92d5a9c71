"""Starts the sandbox in this process: certificates, socket, web server, the line that says where it is."""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from entra_sandbox import pki, seed
from entra_sandbox.app import App
from entra_sandbox.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """How to start."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)


class _Server(uvicorn.Server):
    """A server that says when it is ready and ends with success when it is told to."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # The original raises the signal again at the end, which would make a wanted end look like a crash.
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    listener = _listen(options)
    port = listener.getsockname()[1]
    certificates = pki.prepare(options.folder, options.names)
    bases = tuple(f"https://{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]", *options.names))
    config = uvicorn.Config(
        App(certificates, bases, options.settings),
        http="h11",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Clients keep idle connections for minutes; a server that closes sooner makes their next request
        # fail.
        timeout_keep_alive=600,
        timeout_graceful_shutdown=2,
        ssl_certfile=str(certificates.cert_file),
        ssl_keyfile=str(certificates.key_file),
    )
    _Server(config, lambda: _announce(options.folder, bases[0], certificates.ca_file)).run(sockets=[listener])


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # With the protocol left open, asyncio does not switch Nagle's algorithm off and each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.host, options.port))
    listener.listen(1024)
    return listener


def _announce(folder: Path, url: str, ca_file: Path) -> None:
    """Say where the sandbox is, on standard output and in `sandbox.json`."""
    facts: dict[str, Any] = {
        "url": url,
        "ca": str(ca_file.resolve()),
        "pid": os.getpid(),
        "tenantId": seed.TENANT_ID,
        "subscriptionId": seed.SUBSCRIPTION_ID,
        "clusterId": seed.CLUSTER_ID,
        "clientId": seed.OPERATOR_CLIENT_ID,
    }
    line = json.dumps(facts)
    unfinished = folder / "sandbox.json.part"
    unfinished.write_text(line + "\n", encoding="utf-8")
    unfinished.replace(folder / "sandbox.json")
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
