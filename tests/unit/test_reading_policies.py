"""Reading modes, policies of deletion and adoption, and times; and when a time was written."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from entra_access.api.names import GRANT, POLICY
from entra_access.api.node import InvalidFieldError
from entra_access.api.reading import expiry_fields, read_grant, read_meta, read_policy
from entra_access.api.resources import (
    AdoptionPolicy,
    Ceiling,
    DeletePolicy,
    ForeignAssignments,
    Membership,
    Mode,
)
from entra_access.reconcile.cache import Key, WatchCache
from unit.builders import group_of

FIRST, SECOND = "2026-11-01T08:00:00Z", "2026-11-20T08:00:00Z"


def policy(*, group: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    subject = {"group": {"displayName": "appdev"} | (group or {})}
    return {"metadata": {"name": "appdev", "uid": "u1"}, "spec": {"subject": subject} | spec}


def grant(managed: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "dev-access", "namespace": "dev", "uid": "u2", "resourceVersion": "5"}
    metadata |= {"managedFields": managed} if managed is not None else {}
    return {"metadata": metadata, "spec": {"policyRef": {"name": "appdev"}} | spec}


def ceiling(**grants: Any) -> Ceiling:
    found = read_policy(policy(grants={"namespaces": {}} | grants)).ceiling
    assert found is not None
    return found


def test_what_is_not_given_is_the_careful_choice() -> None:
    found = read_policy(policy())
    assert found.mode is None
    assert found.delete_policy is DeletePolicy.DELETE
    assert found.adoption is AdoptionPolicy.NEVER
    assert found.foreign_assignments is ForeignAssignments.REPORT
    assert group_of(found).adoption is AdoptionPolicy.NEVER
    assert ceiling().max_duration is None
    assert read_grant(grant()).expires_at is None


@pytest.mark.parametrize("mode", Mode)
def test_modes(mode: Mode) -> None:
    assert read_policy(policy(mode=mode.value)).mode is mode


@pytest.mark.parametrize("one", DeletePolicy)
def test_policies_of_deletion(one: DeletePolicy) -> None:
    assert read_policy(policy(deletePolicy=one.value)).delete_policy is one


@pytest.mark.parametrize("one", ForeignAssignments)
def test_what_is_done_with_assignments_of_others(one: ForeignAssignments) -> None:
    assert read_policy(policy(foreignAssignments=one.value)).foreign_assignments is one


@pytest.mark.parametrize("one", AdoptionPolicy)
def test_a_policy_of_adoption_is_the_groups_too(one: AdoptionPolicy) -> None:
    found = read_policy(policy(adoptionPolicy=one.value))
    assert (found.adoption, group_of(found).adoption) == (one, one)


@pytest.mark.parametrize("one", AdoptionPolicy)
@pytest.mark.parametrize("whole", AdoptionPolicy)
def test_unless_the_group_has_its_own(one: AdoptionPolicy, whole: AdoptionPolicy) -> None:
    found = read_policy(policy(group={"adoptionPolicy": one.value}, adoptionPolicy=whole.value))
    assert (found.adoption, group_of(found).adoption) == (whole, one)


@pytest.mark.parametrize("one", Membership)
def test_memberships(one: Membership) -> None:
    assert group_of(read_policy(policy(group={"membership": one.value}))).membership is one


def test_how_long_grants_may_last_and_when_one_ends() -> None:
    assert ceiling(maxDuration="1h30m").max_duration == timedelta(minutes=90)
    then = datetime(2026, 12, 1, tzinfo=UTC)
    assert read_grant(grant(expiresAt="2026-12-01T00:00:00Z")).expires_at == then
    assert read_grant(grant(expiresAt="2026-12-01T01:00:00+01:00")).expires_at == then


GROUP = "spec.subject.group"
NEVER = "must be Never, IfIdentical or Always"
BAD: list[tuple[dict[str, Any], str, str]] = [
    (policy(mode="Watch"), "spec.mode", "must be Enforce or Observe"),
    (policy(mode="observe"), "spec.mode", "must be Enforce or Observe"),
    (policy(mode=""), "spec.mode", "must be given, as text"),
    (policy(mode=True), "spec.mode", "must be given, as text"),
    (policy(deletePolicy="Orphan"), "spec.deletePolicy", "must be Delete or Keep"),
    (policy(foreignAssignments="Ignore"), "spec.foreignAssignments", "must be Report or Remove"),
    (policy(adoptionPolicy="Sometimes"), "spec.adoptionPolicy", NEVER),
    (policy(group={"adoptionPolicy": "Sometimes"}), f"{GROUP}.adoptionPolicy", NEVER),
    (policy(group={"membership": "Loose"}), f"{GROUP}.membership", "must be Exact, Additive or Unmanaged"),
    (
        policy(grants={"namespaces": {}, "maxDuration": "1d"}),
        "spec.grants.maxDuration",
        "must be a duration, as 8h or 1h30m",
    ),
    (
        policy(grants={"namespaces": {}, "maxDuration": 8}),
        "spec.grants.maxDuration",
        "must be given, as text",
    ),
    (grant(expiresAt="tomorrow"), "spec.expiresAt", "must be a time, as 2026-12-01T00:00:00Z"),
    (grant(expiresAt=1764547200), "spec.expiresAt", "must be given, as text"),
]


@pytest.mark.parametrize(
    ("body", "path", "message"), BAD, ids=[f"{n}: {path}" for n, (_, path, _) in enumerate(BAD)]
)
def test_a_field_that_cannot_be_used_is_named_with_what_can(
    body: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        (read_grant if body["metadata"].get("namespace") else read_policy)(body)
    assert (caught.value.path, caught.value.message) == (path, message)


# Metadata


def test_only_this_projects_annotations_are_of_interest() -> None:
    body = policy()
    body["metadata"]["annotations"] = {
        "entra-access.dev/abandon": "true",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "entra-access.dev.evil/abandon": "true",
    }
    meta = read_meta(body)
    assert meta.annotations == (("entra-access.dev/abandon", "true"),)
    assert meta.annotation("entra-access.dev/abandon") == "true"
    assert meta.annotation("entra-access.dev/adopt-group") == ""
    body["metadata"]["annotations"] = None
    assert read_meta(body).annotations == ()


def wrote(time: str, *fields: str, manager: str = "kubectl", under: str = "f:spec") -> dict[str, Any]:
    """An entry of managedFields."""
    return {
        "manager": manager,
        "operation": "Apply",
        "time": time,
        "fieldsV1": {under: {f"f:{name}": {} for name in fields}},
    }


MANAGED: dict[str, tuple[list[dict[str, Any]] | None, str]] = {
    "nobody": ([], ""),
    "not recorded": (None, ""),
    "others wrote other fields": ([wrote(SECOND, "rules")], ""),
    "in another place": ([wrote(SECOND, "expiresAt", under="f:status")], ""),
    "with other fields": ([wrote(FIRST, "rules", "expiresAt")], FIRST),
    "others wrote other fields later": (
        [wrote(FIRST, "expiresAt"), wrote(SECOND, "rules", manager="x")],
        FIRST,
    ),
    "several wrote it": ([wrote(SECOND, "expiresAt"), wrote(FIRST, "expiresAt", manager="x")], SECOND),
    "without a time": ([{"manager": "x", "fieldsV1": {"f:spec": {"f:expiresAt": {}}}}], ""),
    "without fields": (
        [{"manager": "x", "time": SECOND}, {"manager": "y", "fieldsV1": {"f:spec": None}}],
        "",
    ),
}


@pytest.mark.parametrize(("managed", "expected"), MANAGED.values(), ids=MANAGED)
def test_when_the_time_of_a_grant_was_written(managed: list[dict[str, Any]] | None, expected: str) -> None:
    assert read_meta(grant(managed)).expiry_set == expected


def test_of_what_was_written_by_whom_the_cache_keeps_no_more_than_that() -> None:
    """It is most of an object, and there can be ten thousand."""
    managed = [wrote(FIRST, "rules", "expiresAt"), wrote(SECOND, "rules", manager="x")]
    cache = WatchCache()
    cache.put(GRANT, {**grant(managed, expiresAt="2026-12-01T00:00:00Z"), "apiVersion": GRANT.api_version})
    known = cache.resource(Key(GRANT.kind, "dev", "dev-access"))
    assert known is not None
    assert known["metadata"]["managedFields"] == expiry_fields({"managedFields": managed})
    assert "rules" not in str(known["metadata"]["managedFields"])
    assert read_meta(known).expiry_set == FIRST
    body = policy()
    body["metadata"] |= {"resourceVersion": "5", "managedFields": [wrote(FIRST, "subject")]}
    cache.put(POLICY, body)
    known = cache.resource(Key(POLICY.kind, None, "appdev"))
    assert known is not None
    assert "managedFields" not in known["metadata"]
