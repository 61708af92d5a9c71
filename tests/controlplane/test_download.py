"""Downloads are accepted by their pinned checksum, and cost little when there is nothing to be had."""

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from entra_sandbox.local.download import Download, pinned, release
from entra_sandbox.local.programs import UnavailableError


class Mirror:
    """A release host on this machine."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.truncated = False
        self.asked: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                body = mirror.files.get(self.path.removeprefix("/"))
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if mirror.truncated else body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def publish(self, program: str, content: bytes) -> dict[str, str]:
        """Publish a program and give the line that pins it."""
        wanted = release(program)
        if wanted.member is not None:
            content = archive(wanted.member, content)
        self.files[wanted.path] = content
        return {wanted.path: hashlib.sha256(content).hexdigest()}


def archive(member: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    running = Mirror()
    monkeypatch.setenv("ENTRA_SANDBOX_DOWNLOAD_URL", running.url)
    monkeypatch.setenv("ENTRA_SANDBOX_ETCD_DOWNLOAD_URL", f"{running.url}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield running
    running.close()


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize("program", ["kubectl", "etcd"])
def test_a_program_with_the_pinned_checksum_is_taken(program: str, mirror: Mirror, tmp_path: Path) -> None:
    checksums = mirror.publish(program, b"the program")
    said: list[str] = []

    Download(said.append, checksums)(program, tmp_path / program)

    assert (tmp_path / program).read_bytes() == b"the program"
    assert [file.name for file in tmp_path.iterdir()] == [program]
    assert said == [f"downloading {mirror.url}/{release(program).path} …"]


@pytest.mark.parametrize("program", ["kubectl", "etcd"])
def test_another_checksum_is_refused(program: str, mirror: Mirror, tmp_path: Path) -> None:
    checksums = mirror.publish(program, b"the program")
    mirror.publish(program, b"another program")

    with pytest.raises(UnavailableError, match="is refused: its sha256 is"):
        Download(silent, checksums)(program, tmp_path / program)

    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    checksums = mirror.publish("kubectl", b"the program" * 1000)
    mirror.truncated = True

    with pytest.raises(UnavailableError, match="cannot be downloaded: peer closed connection"):
        Download(silent, checksums)("kubectl", tmp_path / "kubectl")

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_said_to_be_so(mirror: Mirror, tmp_path: Path) -> None:
    checksums = mirror.publish("kubectl", b"the program")
    mirror.files.clear()

    with pytest.raises(UnavailableError, match=r"/kubectl answered 404"):
        Download(silent, checksums)("kubectl", tmp_path / "kubectl")


def test_an_archive_without_the_program_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    path = release("etcd").path
    mirror.files[path] = archive("readme", b"nothing here")
    checksums = {path: hashlib.sha256(mirror.files[path]).hexdigest()}

    with pytest.raises(UnavailableError, match="cannot be taken out of the archive"):
        Download(silent, checksums)("etcd", tmp_path / "etcd")

    assert list(tmp_path.iterdir()) == []


def test_without_a_pinned_checksum_nothing_is_even_asked_for(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish("kubectl", b"the program")

    with pytest.raises(UnavailableError, match=r"no pinned sha256 for v1\.36\.3/bin/.*/kubectl: skipping"):
        Download(silent, {})("kubectl", tmp_path / "kubectl")

    assert mirror.asked == []


def test_a_host_that_cannot_be_reached_is_tried_once_and_fails_fast(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checksums = {release(program).path: "0" * 64 for program in ("kubectl", "kube-apiserver")}
    monkeypatch.setenv("ENTRA_SANDBOX_DOWNLOAD_URL", "http://127.0.0.1:9")  # discard: nobody listens
    download, begin = Download(silent, checksums), time.monotonic()

    with pytest.raises(UnavailableError, match="cannot be downloaded"):
        download("kubectl", tmp_path / "kubectl")
    with pytest.raises(UnavailableError, match="did not answer before"):
        download("kube-apiserver", tmp_path / "kube-apiserver")

    assert time.monotonic() - begin < 5


def test_the_table_that_is_shipped_can_be_read() -> None:
    for path, checksum in pinned().items():
        assert len(bytes.fromhex(checksum)) == 32, path
