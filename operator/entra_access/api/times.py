"""Times as Kubernetes writes them: RFC 3339 in UTC, to the second."""

from datetime import UTC, datetime, timedelta


def stamp(moment: datetime) -> str:
    """The moment as text, as ``2026-11-23T12:00:00Z``."""
    # Not by strftime, which writes the year 1 as 1.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def moment(text: str) -> datetime | None:
    """The moment that the text names, in UTC, or None where it names none."""
    try:
        then = datetime.fromisoformat(text.upper())  # RFC 3339 has small letters too
        return then.astimezone(UTC) if then.tzinfo else then.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def span(length: timedelta) -> str:
    """The length of time as text, as ``1h30m``."""
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    parts = (*divmod(minutes, 60), seconds)
    return "".join(f"{number}{unit}" for number, unit in zip(parts, "hms", strict=True) if number) or "0s"


def age(text: str, now: datetime) -> timedelta:
    """How long ago the moment was. A text that names none counts as very long ago."""
    then = moment(text)
    return now - then if then else timedelta.max
