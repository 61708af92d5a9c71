"""What a mapping of a spec can be read as: each error says where it is and what is wanted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from entra_access.api.node import InvalidFieldError, Node
from entra_access.api.times import moment, span, stamp

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


class Colour(Enum):
    RED = "Red"
    GREEN = "Green"
    BLUE = "Blue"


class Size(Enum):
    SMALL = "Small"
    LARGE = "Large"


def node(value: Any) -> Node:
    return Node({"x": value}, "spec.part")


def refused(read: Callable[[Node], object], value: Any) -> str:
    with pytest.raises(InvalidFieldError) as caught:
        read(node(value))
    assert caught.value.path == "spec.part.x"
    return caught.value.message


def colour(found: Node) -> Colour:
    return found.choice("x", Colour, Colour.GREEN)


def time(found: Node) -> datetime | None:
    return found.time("x")


def duration(found: Node) -> timedelta | None:
    return found.duration("x")


@pytest.mark.parametrize("one", Colour)
def test_a_choice_is_one_of_those_there_are(one: Colour) -> None:
    assert colour(node(one.value)) is one


def test_without_a_choice_it_is_the_default() -> None:
    assert colour(node(None)) is Colour.GREEN
    assert Node({}, "spec").choice("x", Colour, Colour.BLUE) is Colour.BLUE


@pytest.mark.parametrize("value", ["red", "RED", "Yellow", " Red", "Colour.RED"])
def test_another_choice_is_refused_with_all_there_are(value: str) -> None:
    assert refused(colour, value) == "must be Red, Green or Blue"


def test_of_two_choices_both_are_named() -> None:
    assert refused(lambda found: found.choice("x", Size, Size.SMALL), "Medium") == "must be Small or Large"


@pytest.mark.parametrize("read", [colour, time, duration])
@pytest.mark.parametrize("value", ["", 5, True, [], {}, ["Red"]], ids=str)
def test_what_is_no_text_is_refused(read: Callable[[Node], object], value: Any) -> None:
    assert refused(read, value) == "must be given, as text"


TIMES = {
    "2027-01-01T00:00:00Z": NEW_YEAR,
    "2027-01-01t00:00:00z": NEW_YEAR,
    "2027-01-01T02:00:00+02:00": NEW_YEAR,
    "2026-12-31T23:00:00-01:00": NEW_YEAR,
    "2027-01-01T00:00:00.9Z": NEW_YEAR + timedelta(milliseconds=900),
    "2027-01-01T00:00:00": NEW_YEAR,
}


@pytest.mark.parametrize(("text", "expected"), TIMES.items(), ids=TIMES)
def test_times(text: str, expected: datetime) -> None:
    found = time(node(text))
    assert found == expected
    assert found is not None
    assert found.utcoffset() == timedelta(0)


def test_no_time() -> None:
    assert time(node(None)) is None
    assert Node({}, "spec").time("x") is None


@pytest.mark.parametrize(
    "value",
    [
        "tomorrow",
        "8h",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-12-01T25:00:00Z",
        "1764547200",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_what_is_no_time_is_refused(value: str) -> None:
    assert refused(time, value) == "must be a time, as 2026-12-01T00:00:00Z"


DURATIONS = {
    "8h": timedelta(hours=8),
    "1h30m": timedelta(minutes=90),
    "90m": timedelta(minutes=90),
    "45s": timedelta(seconds=45),
    "1h0m1s": timedelta(seconds=3601),
    "1h1s": timedelta(seconds=3601),
    "0h5m": timedelta(minutes=5),
    "720h": timedelta(days=30),
    "999999h999999m999999s": timedelta(hours=999999, minutes=999999, seconds=999999),
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.items(), ids=DURATIONS)
def test_durations(text: str, expected: timedelta) -> None:
    assert duration(node(text)) == expected


def test_no_duration() -> None:
    assert duration(node(None)) is None
    assert Node({}, "spec").duration("x") is None


@pytest.mark.parametrize(
    "value",
    ["8", "h", "8 h", "8H", "1d", "PT8H", "-8h", "1.5h", "30m1h", "1h30", "8h ", "1234567h", "8h\n", "٨h"],
)
def test_what_is_no_duration_is_refused(value: str) -> None:
    assert refused(duration, value) == "must be a duration, as 8h or 1h30m"


# As text again


def test_a_time_as_text_is_read_as_the_same_time() -> None:
    for then in (NEW_YEAR, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)):
        assert moment(stamp(then)) == then
        assert len(stamp(then)) == len("2027-01-01T00:00:00Z")


def test_a_fraction_of_a_second_is_left_out() -> None:
    assert stamp(NEW_YEAR + timedelta(milliseconds=999)) == "2027-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["8h", "1h30m", "45s", "1h1s", "30m"])
def test_a_duration_as_text_is_as_it_was_written(text: str) -> None:
    length = duration(node(text))
    assert length is not None
    assert span(length) == text


def test_no_length_is_a_length_too() -> None:
    assert span(timedelta(0)) == "0s"
