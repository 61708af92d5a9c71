"""Whom the operator has put into a group, in a few bytes each."""

from entra_access.domain.marks import NOBODY, Marks, marks, read_marks

ALICE = ("members", "user alice@contoso.com", "id-of-alice")
BOB = ("members", "user bob@contoso.com", "id-of-bob")


def test_what_is_written_is_read() -> None:
    written = marks([ALICE, BOB])
    assert read_marks(str(written)) == written
    assert read_marks(str(marks([]))) == Marks(known=True)
    assert str(marks([])) == NOBODY
    assert read_marks("") == Marks()
    assert str(Marks()) == ""


def test_the_order_means_nothing() -> None:
    assert str(marks([ALICE, BOB])) == str(marks([BOB, ALICE]))


def test_who_was_put_in_is_known_by_relation() -> None:
    known = marks([ALICE])
    assert known.has("members", "id-of-alice")
    assert not known.has("owners", "id-of-alice")
    assert not known.has("members", "id-of-bob")


def test_a_name_that_stands_for_somebody_else_is_told_from_one_that_is_not_wished_for() -> None:
    known = marks([ALICE])
    assert known.wished("members", "id-of-alice", ["user bob@contoso.com", "user alice@contoso.com"])
    assert not known.wished("members", "id-of-alice", ["user bob@contoso.com"])
    assert not known.wished("members", "id-of-another", ["user alice@contoso.com"])


def test_those_of_some_objects() -> None:
    assert marks([ALICE, BOB]).of([("members", "id-of-bob")]) == marks([BOB])


def test_a_thousand_fit_into_a_status() -> None:
    text = str(marks(("members", f"user u{number}@contoso.com", f"id-{number}") for number in range(1000)))
    assert len(text) <= 12_000


def test_nonsense_is_left_out() -> None:
    assert read_marks("abc").pairs == frozenset()
    assert read_marks(str(marks([ALICE])) + "xyz").pairs == marks([ALICE]).pairs
