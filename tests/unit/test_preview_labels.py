"""What becomes of labels that a file has no more."""

import json
from typing import Any

import pytest
import yaml

from entra_access.api.manifests import Manifests
from entra_access.reconcile.overlay import laid_over

Body = dict[str, Any]


@pytest.mark.parametrize(
    ("applied", "labels", "wanted"),
    [
        ({"team": "a", "tier": "x"}, {"team": "a"}, {"theirs": "y", "team": "a"}),
        ({"team": "a"}, {}, {"theirs": "y", "tier": "x"}),
        ({}, {"team": "b"}, {"theirs": "y", "tier": "x", "team": "b"}),
        (None, {}, {"theirs": "y", "tier": "x", "team": "a"}),
        ("nonsense", {}, {"theirs": "y", "tier": "x", "team": "a"}),
    ],
    ids=["one is taken out", "the last is taken out", "changed", "never applied", "not readable"],
)
def test_a_label_that_a_file_has_no_more_goes(applied: Any, labels: Body, wanted: Body) -> None:
    """As kubectl apply does it; what others have put there stays."""
    said = json.dumps({"metadata": {"labels": applied}}) if isinstance(applied, dict) else applied
    there: Body = {"labels": {"theirs": "y", "tier": "x", "team": "a"}}
    there |= {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": said}} if said else {}
    manifests = Manifests()
    manifests.take_in(
        "files.yaml",
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev", "labels": labels}}
        ),
    )
    [manifest] = manifests.around
    assert laid_over(there, manifest, "labels") == wanted
