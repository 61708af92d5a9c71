"""What another hand did and cannot be put right yet stays told of, until it is put right and told so."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from support.cluster import Cluster, eventually, running
from support.life import AKS_USER, condition_of
from support.scopes import ASSIGNMENTS, READER, arm_writes, at, has, last_entry, personal
from support.trouble import clean_log
from support.watching import drift_of


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up whose operator may be stopped."""
    with running(tmp_path_factory.mktemp("pending")) as cluster:
        yield cluster
        clean_log(cluster)


def test_an_assignment_that_cannot_be_made_again_yet_stays_told_as_drift(own: Cluster) -> None:
    """However often that fails: since when it is so stays, and in the end it counts as put right, once."""
    policy = personal(own, azureRoles=[at(AKS_USER), at(READER)])
    policy.ready()
    (reader,) = (one for one in own.azure.assignments(policy.who.id) if one["roleName"] == READER)
    own.kill_operator()  # for half a minute it believes its own writes more than a list
    own.azure.unassign(reader["name"])
    own.azure.fault(method="PUT", path_regex=ASSIGNMENTS, status=503, count=None)
    own.start_operator()
    policy.says("Drifted", "NotYetCorrected")
    (item,) = drift_of(own.get("apol", policy.name))["items"]

    eventually(lambda: own.azure.faults()[-1]["used"] >= 3, "it failed several times")

    body = own.get("apol", policy.name)
    assert drift_of(body)["state"] == "Drifted"
    assert drift_of(body)["items"] == [item]
    assert (item["system"], item["found"], item["action"]) == ("Azure", "deleted", "Pending")
    assert READER in item["object"]
    assert condition_of(body, "Ready")["reason"] == "Unavailable"
    assert READER in condition_of(body, "Drifted")["message"]

    since = last_entry(own)
    own.azure.clear_faults()
    has(own, policy.who.id, (AKS_USER, seed.CLUSTER_ID), (READER, seed.CLUSTER_ID))
    found = policy.ready()
    assert drift_of(found)["corrected"] == 1
    assert [(one["object"], one["action"]) for one in drift_of(found)["items"]] == [
        (item["object"], "Corrected")
    ]
    assert len(arm_writes(own, since, policy.who.id)) == 1
