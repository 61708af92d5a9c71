"""Processes that are started, recognised and ended by their identity, so that nobody else's is ever touched.

A process id alone says little: ids are given out again. An `Identity` is the id together with the moment when
the process started, in this boot of the machine; a signal is sent only through a handle that was checked
against it.
"""

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")
_KEPT: list["subprocess.Popen[bytes]"] = []
"""Handles of what is meant to run on: Python complains of a handle that goes before its process does."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, and no other one that is given its id later."""

    pid: int
    started: str
    """Opaque: boot and start time as the kernel tells them."""

    @staticmethod
    def of(pid: int) -> "Identity | None":
        """Look a process up; None when it has ended, also when only its exit status is left."""
        try:
            # The second field is the program's name in parentheses and may hold anything: count from its end.
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except FileNotFoundError:
            return None if Path("/proc/self/stat").exists() else _identity_from_ps(pid)
        except ProcessLookupError:
            return None
        if stat[0] in "ZX" and int(stat[17]) <= 1:  # with more threads than one the others still run
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Identity(pid, f"{boot}/{stat[19]}")

    def alive(self) -> bool:
        """Say whether this very process still runs."""
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; False when it has ended."""
        with _handle(self.pid) as handle, contextlib.suppress(ProcessLookupError):
            # With a handle there is no moment between the check and the signal in which the id could change
            # hands.
            if self.alive():
                if handle is None:
                    os.kill(self.pid, number)
                else:
                    signal.pidfd_send_signal(handle, number)
                return True
        return False

    def wait(self, seconds: float) -> bool:
        """Wait until this very process has ended, whoever its parent is; False when it still runs then."""
        deadline = time.monotonic() + seconds
        with _handle(self.pid) as handle:
            while self.alive():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if handle is None:
                    time.sleep(min(left, 0.02))
                else:
                    poll = select.poll()
                    poll.register(handle, select.POLLIN)
                    poll.poll(left * 1000)
        return True


@contextlib.contextmanager
def _handle(pid: int) -> Iterator[int | None]:
    """Hold a handle on a process; None when it has ended, or where the kernel has no such handles."""
    handle = None
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _identity_from_ps(pid: int) -> Identity | None:
    """Look a process up where there is no /proc."""
    asked = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = asked.stdout.strip().partition(" ")
    return Identity(pid, started.strip()) if started and not state.startswith("Z") else None


@dataclass(slots=True)
class Process:
    """A program that was started, here or by an earlier run."""

    name: str
    identity: Identity
    log: Path
    popen: "subprocess.Popen[bytes] | None" = None
    """Set when this very run started it, and so has to collect its exit status."""

    def alive(self) -> bool:
        """Say whether it still runs."""
        if self.popen is not None and self.popen.poll() is not None:
            return False
        return self.identity.alive()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it still runs after that many seconds."""
        if self.popen is None:
            return self.identity.wait(seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)
        return self.popen.returncode is not None

    def failed(self) -> bool:
        """Say whether it has ended with anything but success; only for what this run started."""
        return self.popen is not None and self.popen.poll() not in (None, 0)

    def exit_status(self) -> str:
        """Say in words how it ended, as far as this run can know."""
        code = None
        if self.popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # its status may be a moment behind its end
                code = self.popen.wait(1)
        if code is None:
            return "ended"
        return f"ended with exit status {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    def stop(self, seconds: float) -> None:
        """Ask it to end; kill it when it still runs after that many seconds."""
        if self.identity.send(signal.SIGTERM) and not self.identity.wait(seconds):
            self.identity.send(signal.SIGKILL)
            self.identity.wait(5)
        if self.popen is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(5)


def start(
    name: str,
    command: list[str],
    *,
    log: Path,
    folder: Path,
    detached: bool = False,
    environment: dict[str, str] | None = None,
) -> Process:
    """Start a program in the folder, its output in the log; raise `OSError` when it cannot be started.

    It gets a session of its own, so that Ctrl-C in a terminal reaches only the starter, who then ends things
    in order. Unless `detached`, it also ends when the starter does, however that ends.
    """
    if not detached:
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid())]
        command = [*leash, *command]
    popen = _SPAWNER.spawn(_Order(command, log, folder, environment))
    if detached:
        _KEPT.append(popen)
    identity = Identity.of(popen.pid)
    if identity is None:  # ended already: give it one that never matches, the log says why
        identity = Identity(popen.pid, "ended")
    return Process(name, identity, log, popen)


def tail(log: Path, lines: int = 15) -> str:
    """Give the last lines of a log, indented to be shown below a message."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64_000))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line[:1000]}" for line in text.splitlines()[-lines:]) or "    (the log is empty)"


@dataclass(frozen=True, slots=True)
class _Order:
    """A program to be started."""

    command: list[str]
    log: Path
    folder: Path
    environment: dict[str, str] | None

    def carry_out(self) -> "subprocess.Popen[bytes]":
        with self.log.open("wb") as output:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )


class _Spawner:
    """One thread that starts all processes and lives as long as this process does.

    The kernel pulls the leash when the *thread* ends that started the program: a caller's thread may be a
    worker's.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], _Order]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._owner = 0

    def spawn(self, order: _Order) -> "subprocess.Popen[bytes]":
        """Start the program and give the handle; raise `OSError` when it cannot be started."""
        with self._lock:
            if (
                self._owner != os.getpid()
            ):  # the first use, or the first after a fork: threads are not inherited
                self._work = queue.SimpleQueue()
                threading.Thread(target=self._run, name="starts processes", daemon=True).start()
                self._owner = os.getpid()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._work.put((future, order))
        return future.result()

    def _run(self) -> None:
        work = self._work
        while True:
            future, order = work.get()
            try:
                future.set_result(order.carry_out())
            except OSError as error:
                future.set_exception(error)


_SPAWNER = _Spawner()
