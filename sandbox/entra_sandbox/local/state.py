"""What runs in a folder: written down at once for each process, so that a later run can end exactly these."""

import contextlib
import dataclasses
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from entra_sandbox.local.processes import Identity, Process

_FILE = "state.json"


@dataclass(slots=True)
class State:
    """The processes that were started in a folder, in the order of their start, and the API server's port."""

    port: int = 0
    processes: list[Process] = field(default_factory=list)

    def running(self) -> list[Process]:
        """Give those that still run."""
        return [process for process in self.processes if process.alive()]

    def save(self, folder: Path) -> None:
        """Write it down in the folder, whole or not at all."""
        listed = [
            {"name": p.name, "identity": dataclasses.asdict(p.identity), "log": str(p.log)}
            for p in self.processes
        ]
        partial = folder / f".{_FILE}"
        partial.write_text(json.dumps({"port": self.port, "processes": listed}, indent=2) + "\n")
        partial.replace(folder / _FILE)

    @staticmethod
    def load(folder: Path) -> "State":
        """Read what was written down; an empty state when nothing ever ran in the folder."""
        try:
            content = json.loads((folder / _FILE).read_text())
        except FileNotFoundError:
            return State()
        listed = [Process(p["name"], Identity(**p["identity"]), Path(p["log"])) for p in content["processes"]]
        return State(content["port"], listed)


@contextlib.contextmanager
def locked(file: Path, wait: Callable[[float], None] | None = None) -> Iterator[None]:
    """Hold the lock file; others wait.

    While waiting, `wait` is called twice a second with the seconds waited so far: it may say so, or raise.
    The kernel lets go of the lock when the holder dies.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with file.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if wait is not None:
                    wait(time.monotonic() - begin)
                time.sleep(0.5 if wait is not None else 0.05)
        yield
