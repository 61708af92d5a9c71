"""One set-up with a running operator for all tests of a worker; tests that break things start their own."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, running
from support.plans import Team, settle
from support.tidy import there, tidy
from support.trouble import clean_log


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The set-up that tests share."""
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared set-up, without faults before and after, and without what the test leaves behind."""
    shared_cluster.azure.clear_faults()
    before = there(shared_cluster)
    yield shared_cluster
    shared_cluster.azure.clear_faults()
    tidy(shared_cluster, before)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A set-up of the module's own in which no operator runs, unless a test starts one for a while."""
    cluster = Cluster(tmp_path_factory.mktemp("plan"))
    cluster.start()
    try:
        yield cluster
        clean_log(cluster)
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def settled(still: Cluster) -> Team:
    """A team of which everything is in place, and which no test changes."""
    return settle(still, 1)[0]
