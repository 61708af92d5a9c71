"""Download a program from its official release, and accept it only by a checksum that is pinned here.

The checksum that lies beside a release is no protection: who can change the one can change the other. So
without a line in `data/sha256sums.txt` nothing is downloaded.
"""

import hashlib
import os
import shutil
import ssl
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO

import httpx

from entra_sandbox.local.programs import ETCD_VERSION, KUBERNETES_VERSION, Say, UnavailableError, machine

_KUBERNETES_URL = "https://dl.k8s.io/release"
_ETCD_URL = "https://github.com/etcd-io/etcd/releases/download"
# A host that cannot be reached is to cost seconds, not minutes: there is another way to the programs.
_TIMEOUT = httpx.Timeout(30.0, connect=4.0)
_PROGRESS_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Release:
    """A file that is published."""

    base: str
    path: str
    """Below the base URL; and in the table of checksums, so that a version cannot pass for another one."""
    member: str | None = None
    """The file to take out, when it is an archive."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.base.rstrip('/')}/{self.path}"


def release(program: str) -> Release:
    """Say where the release of a program for this machine is.

    ENTRA_SANDBOX_DOWNLOAD_URL and ENTRA_SANDBOX_ETCD_DOWNLOAD_URL name mirrors of the two release hosts.
    """
    system, architecture = machine()
    if program == "etcd":
        name = f"etcd-{ETCD_VERSION}-{system}-{architecture}"
        base = os.environ.get("ENTRA_SANDBOX_ETCD_DOWNLOAD_URL") or _ETCD_URL
        return Release(base, f"{ETCD_VERSION}/{name}.tar.gz", f"{name}/etcd")
    base = os.environ.get("ENTRA_SANDBOX_DOWNLOAD_URL") or _KUBERNETES_URL
    return Release(base, f"{KUBERNETES_VERSION}/bin/{system}/{architecture}/{program}")


def pinned() -> dict[str, str]:
    """Read the table of checksums: hexadecimal SHA-256 by the file's path below its base URL."""
    table = resources.files("entra_sandbox.local").joinpath("data/sha256sums.txt").read_text()
    lines = (line.split() for line in table.splitlines() if line.strip() and not line.startswith("#"))
    return {path: checksum for checksum, path in lines}


class Download:
    """The way to a program through its official release."""

    def __init__(self, tell: Say, checksums: Mapping[str, str] | None = None) -> None:
        """Take the checksums that are accepted, by default the pinned ones."""
        self._tell = tell
        self._checksums = pinned() if checksums is None else checksums
        self._unreachable: set[str] = set()

    def __call__(self, program: str, target: Path) -> None:
        """Put the program at the target; raise `UnavailableError` if it cannot be had, or not be trusted."""
        wanted = release(program)
        checksum = self._checksums.get(wanted.path)
        if checksum is None:
            raise UnavailableError(f"no pinned sha256 for {wanted.path}: skipping the download")
        if wanted.base in self._unreachable:
            raise UnavailableError(f"not asking {wanted.base} for {program}: it did not answer before")
        archive = target.with_name(f"{target.name}.download")
        try:
            self._fetch(wanted, archive, checksum)
            _take_out(wanted.member, archive, target)
        finally:
            archive.unlink(missing_ok=True)

    def _fetch(self, wanted: Release, target: Path, checksum: str) -> None:
        """Download the file; raise `UnavailableError` when it does not arrive whole and as it was pinned."""
        self._tell(f"downloading {wanted.url} …")
        try:
            # The system's own authorities and proxies: a mirror inside a company is signed by the company's.
            with (
                httpx.Client(
                    verify=ssl.create_default_context(), timeout=_TIMEOUT, follow_redirects=True
                ) as client,
                client.stream("GET", wanted.url) as answer,
                target.open("wb") as file,
            ):
                answer.raise_for_status()
                found = self._copy(answer, file, wanted)
        except httpx.HTTPStatusError as error:
            raise UnavailableError(f"{wanted.url} answered {error.response.status_code}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                self._unreachable.add(wanted.base)
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"{wanted.url} cannot be downloaded: {reason}") from error
        if found != checksum:
            raise UnavailableError(
                f"{wanted.url} is refused: its sha256 is {found}, the pinned one is {checksum}"
            )

    def _copy(self, answer: httpx.Response, file: IO[bytes], wanted: Release) -> str:
        """Write the body to the file and give its checksum, with a sign of life now and then."""
        digest, size, said = hashlib.sha256(), 0, time.monotonic()
        for chunk in answer.iter_bytes():
            digest.update(chunk)
            file.write(chunk)
            size += len(chunk)
            if time.monotonic() - said > _PROGRESS_SECONDS:
                said = time.monotonic()
                self._tell(f"  {wanted.path}: {size / 1e6:.0f} MB so far")
        return digest.hexdigest()


def _take_out(member: str | None, archive: Path, target: Path) -> None:
    """Take one file out of the archive, which has been checked; or the whole file when it is none."""
    if member is None:
        archive.replace(target)
        return
    try:
        with tarfile.open(archive) as tar:
            content = tar.extractfile(member)
            if content is None:
                raise UnavailableError(f"{member} in the archive is no file")
            with target.open("wb") as output:
                shutil.copyfileobj(content, output)
    except (KeyError, tarfile.TarError) as error:
        raise UnavailableError(f"{member} cannot be taken out of the archive: {error}") from error
