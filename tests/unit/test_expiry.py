"""When the access of a grant ends, and who may say so."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from entra_access.api.resources import Ceiling, NamespaceGrant
from entra_access.api.times import stamp
from entra_access.domain.expiry import EXPIRED, expired, expiry, too_long
from unit.builders import AT, a_ceiling, a_grant, a_rule

HOUR = timedelta(hours=1)


def grant(
    expires: datetime | None = None, created: datetime = AT, written: datetime | None = None
) -> NamespaceGrant:
    plain = a_grant(a_rule("get", "pods"))
    meta = replace(plain.meta, created=stamp(created), expiry_set=stamp(written) if written else "")
    return replace(plain, meta=meta, expires_at=expires)


def ceiling(longest: timedelta | None) -> Ceiling:
    return replace(a_ceiling(a_rule("*", "*", "*")), max_duration=longest)


def test_without_any_time_it_lasts() -> None:
    for given in (None, ceiling(None)):
        assert expiry(grant(), given) is None
        assert expired(grant(), given, AT + 1000 * HOUR) is None


@pytest.mark.parametrize("given", [None, ceiling(None), ceiling(8 * HOUR)])
def test_its_own_time_counts(given: Ceiling | None) -> None:
    wish = grant(AT + HOUR)
    assert expiry(wish, given) == AT + HOUR
    assert expired(wish, given, AT + HOUR - timedelta(seconds=1)) is None
    over = expired(wish, given, AT + HOUR)
    assert over is not None
    assert over.reason == EXPIRED
    assert stamp(AT + HOUR) in over.message


def test_without_one_it_lasts_as_long_as_the_policy_lets_it() -> None:
    wish = grant(created=AT, written=None)
    assert expiry(wish, ceiling(8 * HOUR)) == AT + 8 * HOUR
    assert expired(wish, ceiling(8 * HOUR), AT + 8 * HOUR) is not None


def test_one_that_is_too_far_is_refused_with_the_latest() -> None:
    found = too_long(grant(AT + 9 * HOUR), ceiling(8 * HOUR), AT + 24 * HOUR)
    assert found is not None
    assert (found.path, found.reason) == ("spec.expiresAt", "BeyondCeiling")
    assert stamp(AT + 8 * HOUR) in found.message
    assert too_long(grant(AT + 8 * HOUR), ceiling(8 * HOUR), AT + 24 * HOUR) is None
    assert too_long(grant(AT + 9 * HOUR), ceiling(None), AT + 24 * HOUR) is None
    assert too_long(grant(), ceiling(8 * HOUR), AT + 24 * HOUR) is None


def test_a_later_time_counts_from_when_it_was_written() -> None:
    later = grant(AT + 17 * HOUR, written=AT + 10 * HOUR)
    assert too_long(later, ceiling(8 * HOUR), AT + 24 * HOUR) is None
    assert (
        too_long(grant(AT + 19 * HOUR, written=AT + 10 * HOUR), ceiling(8 * HOUR), AT + 24 * HOUR) is not None
    )


def test_a_time_that_is_yet_to_come_gives_no_longer_access() -> None:
    """Whoever may patch a grant may write its managedFields too."""
    forged = grant(AT + 5000 * HOUR, written=AT + 4999 * HOUR)
    assert too_long(forged, ceiling(8 * HOUR), AT) is not None
