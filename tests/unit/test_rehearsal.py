"""What the API server is asked of files, and what becomes of its answers."""

import pytest

from entra_access.adapters.rbac_dry_run import Objection
from entra_access.domain.faults import Denied, Missing, Throttled, Unavailable
from entra_access.reconcile.cache import Key
from entra_access.reconcile.proposal import exit_code
from unit.office import Office
from unit.previews import OPEN, Body, grant, in_place, lines, namespace, policy, prepared, preview, told

REFUSAL = Objection("spec.subject", "exactly one of group and user must be given")
TEXT = "spec.subject: the API server refuses this: exactly one of group and user must be given"


@pytest.fixture
def office() -> Office:
    """A cluster with a namespace and two ClusterRoles."""
    return prepared()


async def test_what_is_new_is_asked_for_as_it_is_in_the_file(office: Office) -> None:
    body = policy()
    _, not_asked = await told(office, body)
    assert (office.tried, not_asked) == ([(None, body)], [])


async def test_what_is_there_is_asked_for_as_a_patch(office: Office) -> None:
    """With all that the file can say of it, and nothing else: a status of an old day would be refused."""
    await in_place(office, policy())
    body = policy(mode="Observe")
    body["metadata"]["labels"] = {"team": "a"}
    await preview(office, body)
    [(name, patch)] = office.tried
    assert name == "appdev"
    assert {one["path"]: one["value"] for one in patch} == {
        "/metadata/labels": {"team": "a"},
        "/metadata/annotations": {},
        "/spec": body["spec"],
    }
    assert {one["op"] for one in patch} == {"add"}


async def test_what_it_refuses_is_told_and_nothing_follows_from_it(office: Office) -> None:
    """What is there stays as it is: so does what others have of it."""
    await in_place(office, policy(), grant())
    office.objects_to["appdev"] = (REFUSAL, Objection("", "and more"))
    found = await preview(office, policy(grants={**OPEN, "clusterRoles": []}, clusterRoles=["view"]), grant())
    assert [one.text for one in found[0].findings] == [TEXT, "the API server refuses this: and more"]
    assert lines(found) == {"AccessPolicy appdev": [], "NamespaceGrant dev/work": []}
    assert found[0].words().splitlines()[:2] == [
        "AccessPolicy appdev: nothing can be done",
        f"  stalled: {TEXT}",
    ]
    assert exit_code(found) == 1


async def test_a_grant_of_a_new_policy_that_is_refused_waits(office: Office) -> None:
    office.objects_to["appdev"] = (REFUSAL,)
    found = await preview(office, policy(), grant())
    assert [one.reason for one in found[1].findings] == ["PolicyNotFound"]


async def test_who_may_not_write_is_told_once_that_it_was_not_asked(office: Office) -> None:
    """It changes nothing else."""
    files, other = (policy(), grant(), policy("new"), policy("newer")), prepared()
    for world in (office, other):
        await in_place(world, *files[:2])
    office.faults["objections"] = Denied("may not")
    found, not_asked = await told(office, *files)
    assert [one.as_dict() for one in found] == [one.as_dict() for one in await preview(other, *files)]
    why = "it is not asked whether the API server takes what is in the files: that needs the right to "
    rights = ("create accesspolicies", "patch accesspolicies", "patch namespacegrants")
    assert not_asked == [why + " and to ".join(f"{one}.entra-access.dev" for one in rights)]


async def test_what_can_be_told_without_asking_is_told_then_too(office: Office) -> None:
    await in_place(office, policy(), grant())
    office.faults["objections"] = Denied("may not")
    [found] = await preview(office, grant(policyRef={"name": "other"}))
    assert [one.reason for one in found.findings] == ["Unchangeable"]
    assert exit_code([found]) == 1


async def test_a_namespace_that_comes_with_the_files(office: Office) -> None:
    """Nothing can be asked of what is in it."""
    await in_place(office, policy())
    office.faults["objections"] = Missing("no namespace")
    new: Body = {**grant(), "metadata": {"name": "work", "namespace": "new"}}
    found, not_asked = await told(office, namespace("new"), new)
    assert (exit_code(found), len(found[0].changes)) == (2, 1)
    assert not_asked == [
        "it is not asked whether the API server takes what is to be in namespace new: it is not there yet"
    ]


async def test_nothing_is_asked_of_what_is_to_be_nowhere(office: Office) -> None:
    found = await preview(office, {**grant(), "metadata": {"name": "work", "namespace": "none"}})
    assert ([one.reason for one in found[0].findings], office.tried) == (["NamespaceNotFound"], [])


async def test_what_is_taken_may_be_in_vain(office: Office) -> None:
    await in_place(office, policy())
    office.delete(Key("AccessPolicy", None, "appdev"))
    [found] = await preview(office, policy())
    assert [one.reason for one in found.findings] == ["BeingDeleted"]
    assert len(office.tried) == 1


async def test_an_api_server_that_does_not_answer_is_no_plan(office: Office) -> None:
    office.faults["objections"] = Unavailable("no answer")
    [found] = await preview(office, policy())
    assert (found.incomplete, found.changes, exit_code([found])) == (True, (), 1)


async def test_a_pause_that_it_asks_for_is_waited_for(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def once(*_: object) -> tuple[Objection, ...]:
        asked.append(1)
        if len(asked) == 1:
            raise Throttled("slowly", retry_after=0.01)
        return ()

    monkeypatch.setattr(office, "objections", once)
    [found] = await preview(office, policy())
    assert (len(asked), found.incomplete) == (2, False)
