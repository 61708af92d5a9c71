"""Which policy a group's name belongs to."""

import itertools

import pytest

from entra_access.domain.claims import Claim, claimant


def claim(policy: str, wished: str, held: str = "", created: str = "2026-01-01T00:00:00Z") -> Claim:
    return Claim(policy, created, wished, held)


OLD, YOUNG = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
CASES = {
    "nobody else": (claim("b", "x"), [], None),
    "itself is no other": (claim("b", "x"), [claim("b", "x", "x")], None),
    "another name": (claim("b", "x"), [claim("a", "y", "y")], None),
    "held by an older one": (claim("b", "x", created=YOUNG), [claim("a", "x", "x", OLD)], "a"),
    "held by a younger one": (claim("b", "x", created=OLD), [claim("a", "x", "x", YOUNG)], "a"),
    "held and no longer wished": (claim("b", "x"), [claim("a", "y", "x")], "a"),
    "held by mine": (claim("b", "x", "x", YOUNG), [claim("a", "x", "", OLD)], None),
    "held by both": (claim("b", "x", "x"), [claim("a", "x", "x")], None),
    "wished by an older one": (claim("b", "x", created=YOUNG), [claim("a", "x", created=OLD)], "a"),
    "wished by a younger one": (claim("b", "x", created=OLD), [claim("a", "x", created=YOUNG)], None),
    "of the same age, by name": (claim("b", "x"), [claim("a", "x")], "a"),
    "of the same age, first by name": (claim("a", "x"), [claim("b", "x")], None),
    "the holder before the oldest": (
        claim("c", "x", created=YOUNG),
        [claim("a", "x", created=OLD), claim("b", "y", "x", YOUNG)],
        "b",
    ),
    "another is held while this one is wished": (claim("b", "x", "y"), [claim("a", "x", "x")], "a"),
    "both want the other's": (claim("a", "x", "y"), [claim("b", "y", "x")], "b"),
}


@pytest.mark.parametrize(("mine", "others", "expected"), CASES.values(), ids=CASES)
def test_claimant(mine: Claim, others: list[Claim], expected: str | None) -> None:
    assert claimant(mine, others) == expected


def test_of_those_that_hold_nothing_exactly_one_may_make_the_group() -> None:
    for created in itertools.product((OLD, YOUNG), repeat=3):
        claims = [claim(name, "x", "", when) for name, when in zip("abc", created, strict=True)]
        free = [one.policy for one in claims if claimant(one, claims) is None]
        assert len(free) == 1, created


def test_never_may_two_have_a_name_that_one_of_them_holds() -> None:
    for held, created in itertools.product(("", "x", "y"), (OLD, YOUNG)):
        claims = [claim("a", "x", held, created), claim("b", "x", "x", OLD), claim("c", "x", "", YOUNG)]
        free = {one.policy for one in claims if claimant(one, claims) is None}
        assert free <= {one.policy for one in claims if one.held == "x"}, (held, created)
