"""Start and stop: side by side, again, left alone, and when something dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entra_sandbox.local import controlplane
from entra_sandbox.local.commands import Options
from entra_sandbox.local.controlplane import ControlPlane, ControlPlaneError
from entra_sandbox.local.processes import Identity
from entra_sandbox.local.state import State
from support.controlplane import eventually

NAMES = ["etcd", "kube-apiserver", "kube-controller-manager"]
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {kind: Lamp, plural: lamps}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""


def identities(folder: Path) -> list[Identity]:
    return [process.identity for process in State.load(folder).processes]


def test_two_run_side_by_side_and_each_comes_back_as_it_was(tmp_path: Path) -> None:
    def live(name: str) -> tuple[str, str]:
        plane = ControlPlane(tmp_path / name)
        with plane:
            first, uid = plane.url, plane.system_uid()
            plane.run_kubectl("create", "namespace", name)
            token = plane.token_kubeconfig("robot", plane.service_account_token("default", "default"))
        with plane:
            assert (plane.url, plane.system_uid()) == (first, uid)
            assert name in plane.run_kubectl("get", "namespaces", "-o=name")
            plane.run_kubectl("auth", "whoami", config=token)
        assert not plane.running()
        return first, uid

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(live, ("one", "two"))

    assert one[0] != two[0]
    assert one[1] != two[1]


def test_a_second_one_in_the_same_folder_is_refused_and_does_no_harm(plane: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError, match="already running in"):
        ControlPlane(plane.folder).start()

    plane.check()


def test_the_death_of_a_process_is_reported(tmp_path: Path) -> None:
    with ControlPlane(tmp_path) as plane:
        plane.check()
        victim = identities(tmp_path)[0]
        victim.send(signal.SIGKILL)
        assert victim.wait(10)

        assert not plane.running()
        with pytest.raises(ControlPlaneError, match=r"etcd was ended by SIGKILL; the end of .*etcd.log"):
            plane.check()


def test_a_flag_that_is_refused_is_reported_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, Options(apiserver_arguments=("--no-such-flag",)))

    with pytest.raises(
        ControlPlaneError, match=r"(?s)kube-apiserver ended with exit status 1.*unknown flag: --no-such-flag"
    ):
        plane.start()

    assert identities(tmp_path) == []
    with pytest.raises(ControlPlaneError, match="no control plane is running"):
        plane.check()


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match="waited in vain for the API server to be ready"):
        ControlPlane(tmp_path).start(seconds=0.2)

    assert identities(tmp_path) == []


def test_a_taken_port_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, controlplane._free_port()])
        monkeypatch.setattr(controlplane, "_free_port", lambda: next(ports))

        with ControlPlane(tmp_path) as plane:
            assert str(taken) not in plane.url


def test_a_port_that_was_asked_for_is_not_exchanged(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]

        with pytest.raises(ControlPlaneError, match=f"port {taken} is taken by another program"):
            ControlPlane(tmp_path, Options(port=taken)).start()


def test_manifests_are_there_before_the_controllers_are(tmp_path: Path) -> None:
    manifest = tmp_path / "lamp.yaml"
    manifest.write_text(CRD)

    with ControlPlane(tmp_path / "plane", Options(manifests=(manifest,))) as plane:
        assert "lamps.example.com" in plane.run_kubectl("get", "crds", "-o=name")


def run(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    prelude = (
        "import sys, os, signal, threading\n"
        "from pathlib import Path\n"
        "from entra_sandbox.local.controlplane import ControlPlane\n"
        "plane = ControlPlane(Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", prelude + script, str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603


def test_no_process_outlives_a_starter_that_is_killed(tmp_path: Path) -> None:
    done = run("plane.start(); os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert done.returncode == -signal.SIGKILL

    left = identities(tmp_path)
    assert len(left) == 3
    for identity in left:
        assert identity.wait(10), f"{identity} still runs"


def test_the_thread_that_started_them_may_end(tmp_path: Path) -> None:
    done = run(
        "thread = threading.Thread(target=plane.start); thread.start(); thread.join()\n"
        "plane.check(); print(plane.run_kubectl('get', 'namespaces')); plane.stop()",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_detached_it_runs_on_until_it_is_stopped_and_only_it_is_stopped(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])  # noqa: S607
    try:
        done = run("plane.start(detached=True)", tmp_path)
        assert done.returncode == 0, done.stderr
        left = identities(tmp_path)
        assert all(identity.alive() for identity in left)
        add_stranger(tmp_path, bystander.pid)

        plane = ControlPlane(tmp_path)
        assert "default" in plane.run_kubectl("get", "namespaces")
        plane.stop()
        plane.stop()
        run("plane.stop()", tmp_path)

        assert not any(identity.alive() for identity in left)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def add_stranger(folder: Path, pid: int) -> None:
    """Write down a process as ours whose id was given to somebody else since."""
    file = folder / "state.json"
    state = json.loads(file.read_text())
    state["processes"].append(
        {"name": "etcd", "identity": {"pid": pid, "started": "long ago"}, "log": "etcd.log"}
    )
    file.write_text(json.dumps(state))


def test_without_a_start_there_is_nothing_to_say(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "never")

    plane.stop()

    assert not plane.running()
    assert not plane.folder.exists()
    with pytest.raises(ControlPlaneError, match="no control plane was started in"):
        _ = plane.url


def test_an_identity_ends_with_its_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:  # noqa: S607
        identity = Identity.of(process.pid)
        assert identity is not None
        assert identity.alive()
        assert not identity.wait(0.01)
        assert not Identity(process.pid, "long ago").send(signal.SIGKILL)
        assert identity.send(signal.SIGKILL)
        assert identity.wait(10)

    eventually(lambda: Identity.of(process.pid) is None, "the end of the process")
    assert not identity.send(signal.SIGKILL)
    assert Identity.of(os.getpid()) == Identity.of(os.getpid())
