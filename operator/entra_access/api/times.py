"""Times as Kubernetes writes them: RFC 3339 in UTC, to the second."""

from datetime import UTC, datetime, timedelta


def stamp(moment: datetime) -> str:
    """The moment as text, as ``2026-11-23T12:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime | None:
    """The moment that the text names, or None where it names none."""
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)


def age(text: str, now: datetime) -> timedelta:
    """How long ago the moment was. A text that names none counts as very long ago."""
    then = moment(text)
    return now - then if then else timedelta.max
