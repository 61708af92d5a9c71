"""When the access of a grant ends."""

from datetime import datetime
from typing import Final

from entra_access.api.resources import Ceiling, NamespaceGrant
from entra_access.api.times import moment, span, stamp
from entra_access.domain.faults import Finding, Link, Severity

EXPIRED: Final = "Expired"


def expiry(grant: NamespaceGrant, ceiling: Ceiling | None, known: datetime | None = None) -> datetime | None:
    """When the access ends, to the second as Kubernetes writes it; None: it lasts.

    Without a time of its own a grant ends so long after it was made as its policy lets grants last: to apply
    the same YAML again does not begin that anew. `known`, where the policy cannot be read: when it was known
    to end.
    """
    made = moment(grant.meta.created)
    if grant.expires_at:
        return grant.expires_at.replace(microsecond=0)
    if ceiling is None or ceiling.max_duration is None or made is None:
        return known
    return made + ceiling.max_duration


def too_long(grant: NamespaceGrant, ceiling: Ceiling | None, now: datetime) -> Finding | None:
    """The grant's own time is later than its policy allows, counted from when that time was written."""
    since = moment(grant.meta.expiry_set) or moment(grant.meta.created)
    if ceiling is None or ceiling.max_duration is None or grant.expires_at is None or since is None:
        return None
    # Whoever may patch a grant may write its managedFields too: a time that is yet to come is none.
    latest = min(since, now) + ceiling.max_duration
    if grant.expires_at <= latest:
        return None
    message = (
        f"AccessPolicy {grant.policy} lets a grant last {span(ceiling.max_duration)} at most; "
        f"set a time until {stamp(latest)}"
    )
    return Finding(Link.CEILING, Severity.STALLED, "BeyondCeiling", message, "spec.expiresAt")


def expired(
    grant: NamespaceGrant, ceiling: Ceiling | None, now: datetime, known: datetime | None = None
) -> Finding | None:
    """The time of the grant is over."""
    end = expiry(grant, ceiling, known)
    if end is None or now < end:
        return None
    message = f"the access ended at {stamp(end)}; to give it again set a later spec.expiresAt"
    if grant.expires_at is None:
        message += ", which spec.grants.maxDuration of the policy allows"
    return Finding(Link.CEILING, Severity.STALLED, EXPIRED, message)
