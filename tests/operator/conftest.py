"""One set-up with a running operator for all tests of a worker; tests that break things start their own."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, running


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The set-up that tests share."""
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared set-up, without faults before and after."""
    shared_cluster.azure.clear_faults()
    yield shared_cluster
    shared_cluster.azure.clear_faults()
