"""Where the programs are looked for, and what happens when they are not there."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entra_sandbox.local import binaries
from entra_sandbox.local.programs import PROGRAMS, BinariesError, UnavailableError, machine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty cache, and the folder in it where the programs belong."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("ENTRA_SANDBOX_CACHE", str(tmp_path / "cache"))
    return binaries.cache_folder()


def fill(folder: Path, *names: str, mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(f"{name} in {folder.name}")
        (folder / name).chmod(mode)
    return folder


def closed(name: str, target: Path) -> None:
    target.write_text("half")
    raise UnavailableError(f"no way to {name}")


def conjured(name: str, target: Path) -> None:
    target.write_text(f"{name} conjured")


def test_programs_in_kubebuilder_assets_win(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache, *PROGRAMS)
    assets = fill(tmp_path / "assets", *PROGRAMS)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))

    found = binaries.ensure(ways=[closed])

    assert found.etcd == assets / "etcd"
    assert found.kube_apiserver == assets / "kube-apiserver"
    assert found.kube_controller_manager == assets / "kube-controller-manager"
    assert found.kubectl == assets / "kubectl"


def test_what_kubebuilder_assets_lacks_comes_from_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache, *PROGRAMS)
    assets = fill(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    said: list[str] = []

    found = binaries.ensure(said.append, ways=[closed])

    assert found.kubectl.parent == assets
    assert found.kube_controller_manager.parent == cache
    assert said == [f"KUBEBUILDER_ASSETS={assets} has no kube-controller-manager: looking elsewhere"]


def test_a_full_cache_is_used_without_a_word_or_a_lock(cache: Path) -> None:
    fill(cache, *PROGRAMS)
    said: list[str] = []

    found = binaries.ensure(said.append, ways=[closed])

    assert found.etcd == cache / "etcd"
    assert said == []
    assert not (cache.parent / ".lock").exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ENTRA_SANDBOX_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"ENTRA_SANDBOX_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/entra-sandbox"),
        ({"ENTRA_SANDBOX_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/entra-sandbox"),
    ],
)
def test_cache_folder_follows_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    system, architecture = machine()

    assert binaries.cache_folder() == Path(expected) / f"k8s-v1.36.3-{system}-{architecture}"


def test_ways_are_tried_in_order_and_only_for_what_is_missing(cache: Path) -> None:
    fill(cache, "etcd", "kubectl")
    asked: list[str] = []

    def first(name: str, target: Path) -> None:
        asked.append(f"first {name}")
        if name == "kube-apiserver":
            closed(name, target)
        conjured(name, target)

    def second(name: str, target: Path) -> None:
        asked.append(f"second {name}")
        conjured(name, target)

    said: list[str] = []
    found = binaries.ensure(said.append, ways=[first, second])

    assert asked == ["first kube-apiserver", "second kube-apiserver", "first kube-controller-manager"]
    assert said == ["no way to kube-apiserver"]
    assert found.kube_apiserver.read_text() == "kube-apiserver conjured"
    assert os.access(found.kube_apiserver, os.X_OK)
    assert found.etcd.read_text() != "etcd conjured"
    assert {file.name for file in cache.iterdir()} == set(PROGRAMS)


def test_a_program_that_cannot_run_does_not_count(cache: Path) -> None:
    fill(cache, *PROGRAMS, mode=0o644)

    assert binaries.ensure(ways=[conjured]).kubectl.read_text() == "kubectl conjured"


def test_when_no_way_is_open_the_error_names_them_all_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(BinariesError, match="no way to etcd") as caught:
        binaries.ensure(lambda _: None, ways=[closed, closed])

    assert str(caught.value).count("  - no way to etcd") == 2
    assert "KUBEBUILDER_ASSETS" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_leftovers_of_a_killed_run_are_cleared_up(cache: Path) -> None:
    fill(cache, ".partial-etcd", ".partial-kubectl.download")

    binaries.ensure(ways=[conjured])

    assert not list(cache.glob(".partial-*"))


def test_of_many_runs_at_once_one_gets_the_programs_and_the_others_wait(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from entra_sandbox.local import binaries\n"
        "def slow(name, target):\n"
        "    target.write_text('half')\n"
        "    time.sleep(0.2)\n"
        "    target.write_text(f'{name} by {os.getpid()}')\n"
        "found = binaries.ensure(ways=[slow])\n"
        "print(found.etcd.read_text(), found.kubectl.read_text())\n"
    )

    def run(_: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(run, range(4)))

    assert len({run.stdout for run in runs}) == 1
    assert sum("another run is getting the programs" in run.stderr for run in runs) == 3


def test_the_command_prints_the_folders_for_path(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(cache, *PROGRAMS)
    assert binaries.main() == 0
    assert capsys.readouterr().out == f"{cache}\n"

    assets = fill(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert binaries.main() == 0
    assert capsys.readouterr().out == f"{assets}:{cache}\n"


def test_the_command_fails_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> None:
        raise BinariesError("etcd is nowhere")

    monkeypatch.setattr(binaries, "ensure", nowhere)

    assert binaries.main() == 1
    assert capsys.readouterr() == ("", "error: etcd is nowhere\n")
