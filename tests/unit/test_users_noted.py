"""Whom a policy names stays known while somebody cannot be looked up: a change of theirs must find it."""

from typing import Any

import pytest

from entra_access.api.names import POLICY
from entra_access.domain.faults import Throttled
from unit.office import APPDEV, Office
from unit.worlds import ANNA, ANNA_ID, READER

SUBJECTS: dict[str, dict[str, Any]] = {
    "subject": {"user": {"userPrincipalName": ANNA}},
    "member": {"group": {"displayName": "appdev", "members": [{"user": ANNA}]}},
}


@pytest.fixture(params=list(SUBJECTS.values()), ids=list(SUBJECTS))
async def office(request: pytest.FixtureRequest) -> Office:
    """A policy that names a user, and has looked at her."""
    world = Office()
    world.policy(request.param, azureRoles=[{"role": READER}])
    await world.look(times=4)
    assert world.cache.users.holders([ANNA_ID]) == {APPDEV}
    assert world.cache.users.holders([ANNA]) == {APPDEV}
    return world


async def test_in_the_middle_of_a_pass(office: Office) -> None:
    """What is done in the cluster first is planned without Entra."""
    seen, real = [], office.assignments

    async def assignments(scope: str, *, below: bool) -> Any:
        seen.append(office.cache.users.holders([ANNA_ID]))
        return await real(scope, below=below)

    office.assignments = assignments  # type: ignore[method-assign]  # to look in between
    await office.look()
    assert seen == [{APPDEV}]


async def test_where_graph_does_not_answer(office: Office) -> None:
    office.faults = {name: Throttled("slowly", retry_after=300) for name in ("principal", "principals")}
    await office.look()
    assert office.cache.users.holders([ANNA_ID]) == {APPDEV}


async def test_not_of_a_policy_that_went_meanwhile(office: Office) -> None:
    """Or the rounds would ask for ever."""
    real = office.assignments

    async def assignments(scope: str, *, below: bool) -> Any:
        office.cache.drop(POLICY, None, "appdev")
        return await real(scope, below=below)

    office.assignments = assignments  # type: ignore[method-assign]  # to have it go in between
    await office.look()
    assert office.cache.users.keys == set()
