"""The end of the operator in the middle of a pass: in order, and without a word of what services answered."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Cluster, eventually, running
from support.life import AKS_USER
from support.scopes import at
from support.subjects import direct


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up whose operator may be stopped."""
    with running(tmp_path_factory.mktemp("stopping")) as cluster:
        yield cluster


@pytest.mark.parametrize("kind", ["arm", "graph"])
def test_the_operator_ends_well_while_the_cloud_does_not_answer(own: Cluster, kind: str) -> None:
    """Asked to stop while it waits for an answer that fails: no failure of its own, nothing of the answer."""
    policy = direct(own, {"user": {"userPrincipalName": seed.ALICE}}, azureRoles=[at(AKS_USER)])
    policy.ready()
    own.quiet(1.0)
    before = len(own.operator_log())
    own.azure.fault(kind=kind, status=503, delay_seconds=3.0, count=None)
    policy.apply(clusterRoles=["view"])
    eventually(policy.bound, "the pass is on its way")

    assert own.operator is not None
    own.operator.stop(15)

    assert own.operator.popen is not None
    code, said = own.operator.popen.returncode, own.operator_log()[before:]
    own.azure.clear_faults()
    own.start_operator()
    policy.ready()
    for word in ("Traceback", "A fault was asked for", "never retrieved"):
        assert word not in said, [line for line in said.splitlines() if word in line][:3]
    assert code == 0
