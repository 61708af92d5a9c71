"""Which AccessPolicy a group's name belongs to, where several ask for the same one."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """What one policy asks for and has. Names are in lower case: Entra compares them so.

    `created` is the policy's creation time, as text that sorts by time.
    """

    policy: str
    created: str
    wished: str
    held: str


def claimant(mine: Claim, others: Iterable[Claim]) -> str | None:
    """The other policy that has the name that mine asks for, or None where mine may have it.

    Whoever has the group keeps it; among those that have none, the oldest may make it.
    """
    if mine.held == mine.wished:
        return None
    rivals = [one for one in others if one.policy != mine.policy]
    holders = [one.policy for one in rivals if one.held == mine.wished]
    older = [
        one.policy
        for one in rivals
        if one.wished == mine.wished and (one.created, one.policy) < (mine.created, mine.policy)
    ]
    return min(holders or older, default=None)
