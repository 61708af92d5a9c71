"""Find etcd, kube-apiserver, kube-controller-manager and kubectl, or get them.

They are looked for, each on its own, in this order:

1. the folder that the environment variable KUBEBUILDER_ASSETS names;
2. the cache: `$ENTRA_SANDBOX_CACHE`, else `entra-sandbox` in `$XDG_CACHE_HOME` or `~/.cache`; in it a folder
for each
   version and machine;
3. the official releases, when their checksum is pinned (`download`);
4. `go build` from the pinned Go modules (`gobuild`), with a Go that is installed for it when there is none.

What 3 and 4 give goes into the cache. ``python -m entra_sandbox.local.binaries`` does all that and prints the
folder (or folders, as in PATH, when the programs are in more than one).
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from entra_sandbox.local.download import Download
from entra_sandbox.local.gobuild import GoBuild
from entra_sandbox.local.programs import (
    KUBERNETES_VERSION,
    PROGRAMS,
    Binaries,
    BinariesError,
    Say,
    UnavailableError,
    machine,
    say,
)
from entra_sandbox.local.state import locked

Way = Callable[[str, Path], None]
"""Puts the program of that name at that path, or raises `UnavailableError`."""


def ensure(tell: Say = say, ways: Iterable[Way] | None = None) -> Binaries:
    """Find the programs, and get what is missing into the cache.

    `tell` is given a line for whatever takes long. `ways` are how to get a program that is nowhere yet, by
    default downloading, then building. Raises `BinariesError` when one cannot be had.
    """
    found = _cached() | _given(tell)
    if missing := [name for name in PROGRAMS if name not in found]:
        folder = cache_folder()
        with locked(folder.parent / ".lock", _impatience(tell)):
            folder.mkdir(exist_ok=True)
            found = _cached() | found  # another run may have filled the cache while this one waited
            missing = [name for name in missing if name not in found]
            with GoBuild(folder.parent, tell) as build:
                tried: list[Way] = list(ways) if ways is not None else [Download(tell), build]
                for name in missing:
                    found[name] = _get(name, folder, tried, tell)
    return Binaries(*(found[name] for name in PROGRAMS))


def cache_folder() -> Path:
    """Name the folder that keeps the programs of this version for this machine."""
    base = os.environ.get("ENTRA_SANDBOX_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "entra-sandbox")  # noqa: PTH118
    return Path(base).absolute() / f"k8s-{KUBERNETES_VERSION}-{'-'.join(machine())}"


def _given(tell: Say) -> dict[str, Path]:
    """Look in the folder that the user has named."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    if not named:
        return {}
    found = _programs_in(Path(named).absolute())
    if lacking := [name for name in PROGRAMS if name not in found]:
        tell(f"KUBEBUILDER_ASSETS={named} has no {', no '.join(lacking)}: looking elsewhere")
    return found


def _cached() -> dict[str, Path]:
    return _programs_in(cache_folder())


def _programs_in(folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in PROGRAMS}
    return {name: file for name, file in files.items() if file.is_file() and os.access(file, os.X_OK)}


def _get(name: str, folder: Path, ways: list[Way], tell: Say) -> Path:
    """Get a program into the cache, where it appears whole or not at all."""
    for left in folder.glob(".partial-*"):
        left.unlink()  # of a run that was killed: the lock is ours
    partial, complaints = folder / f".partial-{name}", []
    for way in ways:
        try:
            way(name, partial)
        except UnavailableError as error:
            complaints.append(str(error))
            tell(str(error))
        else:
            partial.chmod(0o755)
            return partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)
    raise BinariesError(
        f"{name} is neither in KUBEBUILDER_ASSETS nor in {folder}, and it cannot be had:\n  - "
        + "\n  - ".join(complaints)
        + f"\nPut {', '.join(PROGRAMS)} into a folder and let KUBEBUILDER_ASSETS name it."
    )


def _impatience(tell: Say) -> Callable[[float], None]:
    """Make a watcher that says at first, and then every 20 seconds, that another run fills the cache."""
    said = [-20.0]

    def waited(seconds: float) -> None:
        if seconds - said[0] >= 20:
            said[0] = seconds
            tell(f"another run is getting the programs: waiting for it, {seconds:.0f} s so far")

    return waited


def main() -> int:
    """Print where the programs are, having got them."""
    try:
        found = ensure()
    except BinariesError as error:
        say(f"error: {error}")
        return 1
    # kubectl's folder first: it is the one that people call.
    files = (found.kubectl, found.etcd, found.kube_apiserver, found.kube_controller_manager)
    print(os.pathsep.join(dict.fromkeys(str(file.parent) for file in files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
