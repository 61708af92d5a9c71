"""Starts sandboxes for tests: each in its own process and folder, on a free port."""

import json
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from entra_sandbox.client import SandboxClient

_READY_SECONDS = 30.0


@dataclass(slots=True)
class RunningSandbox:
    """A sandbox that is up: where it is, a client for it, and how to end it."""

    url: str
    ca: str
    client: SandboxClient
    folder: Path
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        """Host and port, as `allowed_hosts` of the Graph SDK wants them."""
        return self.url.removeprefix("https://")

    @property
    def scope(self) -> str:
        """The scope under which the SDKs ask for tokens."""
        return f"{self.url}/.default"

    def stop(self) -> int:
        """End the process as an administrator would, and give its exit code."""
        self.client.close()
        self.process.terminate()
        try:
            code = self.process.wait(10)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()
        return code

    def stderr(self) -> str:
        """Give what the process wrote to its standard error."""
        return (self.folder / "stderr.txt").read_text(encoding="utf-8")


def start_sandbox(folder: Path, *arguments: str) -> RunningSandbox:
    """Start a sandbox with further arguments of `entra-sandbox serve`, and wait until it is ready."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "entra_sandbox.cli", "serve", "--dir", str(folder), *arguments]
    with (folder / "stderr.txt").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603 - our own
    line = _first_line(process)
    if not line:
        process.kill()
        raise RuntimeError(f"no sandbox: {(folder / 'stderr.txt').read_text(encoding='utf-8')}")
    facts = json.loads(line)
    return RunningSandbox(
        facts["url"], facts["ca"], SandboxClient(facts["url"], facts["ca"]), folder, process
    )


def _first_line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        return ""
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.1)[0]:
            return process.stdout.readline()
    return ""
