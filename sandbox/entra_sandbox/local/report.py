"""What the demo and the scenarios say: proofs, parts, a summary; and kubectl as one would see it."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from entra_sandbox.local.stack import ROOT, Stack

T = TypeVar("T")
SOON = 60.0


@dataclass
class Report:
    """What held and what did not, and how long each part took."""

    proofs: list[tuple[bool, str]] = field(default_factory=list)
    parts: list[tuple[str, float]] = field(default_factory=list)

    def prove(self, what: str, held: object) -> None:
        """Note a proof, and say at once how it went."""
        self.proofs.append((bool(held), what))
        print(f"  {'✔' if held else '✘'} {what}", flush=True)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """A part with its heading; its time goes into the summary."""
        print(f"\n── {title}", flush=True)
        began = time.monotonic()
        try:
            yield
        finally:
            self.parts.append((title, time.monotonic() - began))

    @property
    def failed(self) -> list[str]:
        """The proofs that did not hold."""
        return [what for held, what in self.proofs if not held]

    @property
    def code(self) -> int:
        """The exit code: 0 only if there were proofs and all held."""
        return 1 if self.failed or not self.proofs else 0

    def summary(self) -> int:
        """Print it. Returns the exit code."""
        failed = self.failed
        print("\n── Summary")
        for title, seconds in self.parts:
            print(f"  {seconds:6.1f} s  {title}")
        print(f"\n  {len(self.proofs) - len(failed)} of {len(self.proofs)} proofs held")
        for what in failed:
            print(f"  ✘ {what}")
        return self.code


@dataclass(frozen=True)
class Shown:
    """What a command said."""

    ok: bool
    text: str

    @property
    def forbidden(self) -> bool:
        """Whether it failed because the API server forbids it; some commands say so in lower case."""
        return not self.ok and "forbidden" in self.text.lower()


@dataclass(frozen=True)
class Terminal:
    """Runs kubectl in the repository's folder and prints what was typed and what came."""

    stack: Stack

    def show(self, *arguments: str, who: str = "", config: Path | None = None) -> Shown:
        """Run kubectl as the administrator, or with somebody else's kubeconfig, and print it."""
        self.type(*arguments, who=who)
        shown = self.run(*arguments, config=config)
        self.print(shown)
        return shown

    def run(self, *arguments: str, config: Path | None = None) -> Shown:
        """Run kubectl without a word."""
        plane = self.stack.plane
        command = [str(plane.kubectl), f"--kubeconfig={config or plane.kubeconfig}", *arguments]
        cache = f"--cache-dir={self.stack.folder}/cache"
        done = subprocess.run(
            [*command, cache], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        return Shown(done.returncode == 0, (done.stdout + done.stderr).rstrip())

    @staticmethod
    def type(*arguments: str, who: str = "") -> None:
        """Print a command as it would be typed."""
        print(
            f"  $ kubectl {' '.join(_quoted(a) for a in arguments)}{f'  # as {who}' if who else ''}",
            flush=True,
        )

    @staticmethod
    def print(shown: Shown) -> None:
        """Print what a command said."""
        print("\n".join(f"    {line}" for line in shown.text.splitlines()), flush=True)


def soon(probe: Callable[[], T], seconds: float = SOON) -> T:
    """Ask until the answer is true, for so long. Returns the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def _quoted(argument: str) -> str:
    return f"'{argument}'" if set(argument) & set(' "{}') else argument
