"""The programs of a control plane: which ones, of which version, for which machine."""

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KUBERNETES_VERSION = "v1.36.3"
ETCD_VERSION = "v3.6.8"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")

Say = Callable[[str], None]
"""Takes one line for a person who waits."""


class BinariesError(RuntimeError):
    """The programs cannot be had; the message says what was tried and what would help."""


class UnavailableError(Exception):
    """One way to a program is closed; the message says why, in one line. The next way is tried."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path


def machine() -> tuple[str, str]:
    """Name this machine as the releases do: operating system and architecture, as in linux and amd64."""
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    name = platform.machine().lower()
    return sys.platform, known.get(name, name)


def say(line: str) -> None:
    """Tell the person who waits, at once, and apart from the output that other programs read."""
    print(line, file=sys.stderr, flush=True)
