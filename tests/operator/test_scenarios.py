"""Every example proves itself: it becomes Ready, its people may what they should, and it leaves nothing.

The proofs are in `examples/*/scenario.yaml`; ``make demo SCENARIO=name`` runs one of them alone.
"""

import pytest

from entra_sandbox.local import demo, scenario
from entra_sandbox.local.report import Report
from entra_sandbox.local.stack import APP_ROLES, CLUSTERS, ROOT
from support.cluster import running

SCENARIOS = [scenario.load(name) for name in scenario.names()]


@pytest.mark.parametrize("kind", CLUSTERS)
def test_the_examples_hold_on(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One after the other on one cluster of the kind: each must leave it as it was for the next."""
    chosen = [one for one in SCENARIOS if one.cluster == kind]
    more = sorted({permission for one in chosen for permission in one.permissions})
    failed: dict[str, list[str]] = {}
    with running(tmp_path_factory.mktemp(kind), kind=kind, app_roles=(*APP_ROLES, *more)) as cluster:
        for one in chosen:
            report = Report()
            scenario.run(cluster.stack, report, one)
            assert len(report.proofs) > len(one.proofs)
            if report.failed:
                failed[one.name] = report.failed
        log = cluster.operator_log()
    assert failed == {}, log[-5000:]


def test_every_example_proves_both_sides() -> None:
    """What is allowed and what is Forbidden; and every folder is one that is run."""
    assert {"cluster-admin", "azure-rbac", "arc-azure-rbac", "arc-service-account"} <= set(scenario.names())
    for one in SCENARIOS:
        assert {proof.allowed for proof in one.proofs} == {True, False}, one.name
    folders = {file.parent.name for file in (ROOT / "examples").glob("*/kustomization.yaml")}
    assert folders == {demo.TUTORIAL, *scenario.names()}


def test_an_unknown_scenario_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--scenario", "nonsense"]) == 2
    said = capsys.readouterr().err
    assert "there is no scenario 'nonsense'" in said
    assert all(name in said for name in (demo.TUTORIAL, *scenario.names()))
