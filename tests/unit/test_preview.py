"""The preview in memory: files laid over what is there, then the plan of every pass."""

import pytest

from entra_access.api.names import NAMESPACE
from entra_access.domain.faults import Denied, Throttled, Unavailable
from entra_access.domain.naming import assignment_id
from entra_access.domain.observed import Group, Principal
from entra_access.reconcile.cache import Key
from entra_access.reconcile.claims import AssignmentClaims
from entra_access.reconcile.proposal import exit_code
from unit.accounts import FIRST, KEEP, PERSON, World, robot
from unit.builders import SCOPE, guid
from unit.office import Office
from unit.previews import (
    BINDING,
    OPEN,
    WORK,
    Body,
    cluster_role,
    grant,
    in_place,
    lines,
    namespace,
    policy,
    prepared,
    preview,
)
from unit.worlds import AKS_READER, ANNA, FAR, READER, TEAM_ID, assigned


@pytest.fixture
def office() -> Office:
    """A cluster with a namespace and two ClusterRoles."""
    return prepared()


async def test_a_new_policy_its_grant_and_their_namespace(office: Office) -> None:
    """The grant's binding and Azure role are told of although nobody knows the group's id yet."""
    found = await preview(
        office,
        namespace("new"),
        policy("appdev", {"user": ANNA}, azureRoles=[{"role": READER}, {"role": READER, "scope": FAR}]),
        grant(azureRoles=[AKS_READER]),
    )
    assert lines(found) == {
        "AccessPolicy appdev": [
            "create group appdev",
            f"add {ANNA.lower()} to the members of group appdev",
            "assign Azure role Reader at aks",
            "assign Azure role Reader at resourceGroup other",
        ],
        "NamespaceGrant dev/work": [
            f"create RoleBinding {BINDING}",
            f"assign Azure role {AKS_READER} at namespace dev",
        ],
    }
    assert found[1].findings[0].text == "this follows when AccessPolicy appdev has its group"
    assert exit_code(found) == 2


async def test_when_all_is_in_place_there_is_nothing_to_do(office: Office) -> None:
    bodies = (policy("appdev", {"user": ANNA}, azureRoles=[{"role": READER}]), grant())
    await in_place(office, *bodies)
    found = await preview(office, *bodies)
    assert lines(found) == {"AccessPolicy appdev": [], "NamespaceGrant dev/work": []}
    assert exit_code(found) == 0


async def test_what_only_takes_away_waits_for_nobody(office: Office) -> None:
    """A grant beyond the ceiling gives nothing, whoever the new group will be."""
    await in_place(office, policy(), grant())
    office.groups.clear()
    office.passes += 60
    found = await preview(office, policy(grants={**OPEN, "clusterRoles": []}))
    assert [line.action for line in found[1].changes] == ["delete"]
    assert [one.reason for one in found[1].findings] == ["BeyondCeiling"]


async def test_policies_that_are_members_of_one_another_and_come_together(office: Office) -> None:
    """In whichever order: two new groups are two members."""
    found = await preview(office, policy("all", {"policy": "a"}, {"policy": "b"}), policy("a"), policy("b"))
    assert sorted(lines(found)["AccessPolicy all"]) == [
        "add a to the members of group all",
        "add b to the members of group all",
        "create group all",
    ]
    assert [one.text for one in found[0].findings] == [
        f"this follows when AccessPolicy {name} has its group" for name in ("a", "b")
    ]


async def test_another_subject_moves_what_its_grants_give(office: Office) -> None:
    """Grants that are not in the files are told of where they would change."""
    await in_place(office, policy(), grant())
    found = await preview(office, policy(subject={"existingGroup": {"objectId": TEAM_ID}}))
    moved = found[1]
    assert (moved.key, moved.asked) == (WORK, False)
    assert [line.item.expected for line in moved.changes] == [f"Group {TEAM_ID}"]
    assert moved.words().startswith("NamespaceGrant dev/work (not in the files): 1 change\n")


async def test_a_group_that_is_gone_comes_back_as_another(office: Office) -> None:
    await in_place(office, policy(clusterRoles=["view"]), grant())
    group = next(iter(office.groups))
    del office.groups[group]
    office.passes += 60
    found = await preview(office, policy(clusterRoles=["view"]), grant())
    assert [line.item.expected for line in found[0].changes] == ["present", "Group not made yet"]
    assert [line.item.found for line in found[0].changes] == ["deleted for good", f"Group {group}"]
    assert [line.item.expected for line in found[1].changes] == ["Group (new, of AccessPolicy appdev)"]


async def test_a_ceiling_that_comes_down_takes_from_grants_that_are_not_in_the_files(office: Office) -> None:
    await in_place(office, policy(), grant())
    lower = policy(grants={**OPEN, "clusterRoles": ["edit"]})
    found = await preview(office, lower)
    assert lines(found) == {
        "AccessPolicy appdev": [],
        "NamespaceGrant dev/work": [f"delete RoleBinding {BINDING}"],
    }
    assert exit_code(found) == 2


async def test_a_label_in_the_files_lets_policies_in(office: Office) -> None:
    """A policy that is not in the files gives what it gives in every namespace that matches."""
    entry = {"selector": {"matchLabels": {"team": "a"}}, "clusterRoles": ["view"]}
    await in_place(office, policy(namespaces=[entry]))
    assert lines(await preview(office, namespace("dev"))) == {}
    found = await preview(office, namespace("dev", team="a"))
    assert [line.item.object.partition("/")[0] for line in found[0].changes] == ["RoleBinding dev"]


async def test_a_new_namespace_has_the_label_with_its_name(office: Office) -> None:
    """The API server sets it, and selectors may ask for it."""
    entry = {"selector": {"matchLabels": {"kubernetes.io/metadata.name": "new"}}, "clusterRoles": ["view"]}
    await in_place(office, policy(namespaces=[entry]))
    found = await preview(office, namespace("new"))
    assert [line.item.object.partition("/")[0] for line in found[0].changes] == ["RoleBinding new"]


async def test_a_namespace_that_is_being_deleted_is_so_although_it_is_in_the_files(office: Office) -> None:
    await in_place(office, policy())
    ending = {"name": "dev", "uid": "uid-of-dev", "resourceVersion": "999", "deletionTimestamp": "now"}
    office.cache.put(NAMESPACE, {"metadata": ending})
    [found] = await preview(office, namespace("dev"), grant())
    assert ([one.reason for one in found.findings], found.changes) == (["NamespaceEnding"], ())


async def test_who_is_not_concerned_is_not_told_of(office: Office) -> None:
    await in_place(office, policy(), grant(), policy("other"))
    office.groups.clear()
    found = await preview(office, policy("new"))
    assert list(lines(found)) == ["AccessPolicy new"]


async def test_a_shared_account_is_told_of_by_its_owners() -> None:
    """One policy joins, and one leaves to another that no pass has been over. Nothing of it is a deletion."""
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    subjects = {"second": robot(), "first": PERSON}
    bodies = [{**policy(name), "spec": {"subject": one}} for name, one in subjects.items()]
    owners = "the owners of ServiceAccount tools/robot"

    found = lines(await preview(world, bodies[0]))
    assert found["AccessPolicy second"] == [f"add AccessPolicy second to {owners}"]

    proposals = await preview(world, *bodies)
    change = [line for one in proposals for line in one.changes if owners in line.text and one.key == FIRST]
    assert [(line.action, line.text) for line in change] == [
        ("update", f"add AccessPolicy second to {owners}"),
        ("update", f"take AccessPolicy first out of {owners}"),
    ]


async def test_that_the_namespace_becomes_an_owner_of_a_kept_account_is_told() -> None:
    """A policy that keeps joins another one that does not."""
    world = World()
    world.wish(FIRST, robot())
    await world.settle()
    found = await preview(world, {**policy("second"), "spec": {"subject": robot(), **KEEP}})
    owners = "the owners of ServiceAccount tools/robot"
    assert lines(found)["AccessPolicy second"] == [
        f"add AccessPolicy second to {owners}",
        f"add Namespace tools to {owners}",
    ]


async def test_a_cluster_role_of_the_files_can_be_bound(office: Office) -> None:
    wish = policy(clusterRoles=["restarter"])
    [without] = await preview(office, wish)
    assert [one.reason for one in without.findings] == ["ClusterRoleNotFound"]
    assert exit_code([without]) == 1
    [found] = await preview(office, cluster_role("restarter"), wish)
    assert found.findings == ()
    assert len(found.changes) == 2


async def test_a_role_that_moves_from_one_grant_to_another_stays_assigned(office: Office) -> None:
    """Each of them sees what the other wants then, whichever is looked at first."""
    await in_place(office, policy(), grant("a", azureRoles=[AKS_READER]), grant("b"))
    found = await preview(office, grant("a"), grant("b", azureRoles=[AKS_READER]))
    assert lines(found) == {"NamespaceGrant dev/a": [], "NamespaceGrant dev/b": []}


CUSTOM = {"name": "Pod Restarter", "dataActions": ["Microsoft.ContainerService/managedClusters/pods/delete"]}


async def test_a_grant_of_a_custom_role_that_comes_with_its_policy(office: Office) -> None:
    """It is told what it gives then; nothing of the role was there and is gone."""
    ceiling = {**OPEN, "azureRoles": ["Pod Restarter"]}
    found = await preview(
        office, policy(customRoles=[CUSTOM], grants=ceiling), grant(azureRoles=["Pod Restarter"])
    )
    assert lines(found) == {
        "AccessPolicy appdev": ["create group appdev", "create custom role Pod Restarter"],
        "NamespaceGrant dev/work": [
            f"create RoleBinding {BINDING}",
            "assign Azure role Pod Restarter at namespace dev",
        ],
    }
    assert [one.reason for one in found[0].findings] == []


@pytest.mark.parametrize("wanted", [False, True])
async def test_what_nobody_declared_is_removed_unless_somebody_else_wants_it(
    office: Office,
    wanted: bool,  # noqa: FBT001
) -> None:
    """What others want is known when they have been looked at; they are not told of for that."""
    subject = {"existingGroup": {"objectId": TEAM_ID}}
    foreign = assigned(READER, TEAM_ID, description="by hand", name="foreign")
    office.given[assignment_id(SCOPE, "foreign")] = foreign
    roles = [{"role": READER}] if wanted else [{"role": AKS_READER}]
    await in_place(office, policy("other", subject=subject, azureRoles=roles))
    office.cache.azure_claims = AssignmentClaims()  # as after a start
    found = await preview(office, policy(subject=subject, foreignAssignments="Remove"))
    expected = [] if wanted else ["remove assignment of Azure role Reader at aks"]
    assert lines(found) == {"AccessPolicy appdev": expected}


async def test_an_edit_that_says_the_same_is_the_same_generation(office: Office) -> None:
    """The API server writes defaults into what it has: they are no edit. Another wish is one."""
    await in_place(office, policy())
    same = policy()
    same["spec"]["subject"]["group"]["membership"] = "Exact"
    await preview(office, same)
    assert office.body()["metadata"]["generation"] == 1
    await preview(office, policy("appdev", {"user": ANNA}))
    assert office.body()["metadata"]["generation"] == 2


async def test_a_time_that_is_new_is_counted_from_now(office: Office) -> None:
    """A grant may last as long as its policy says from when its time is written, however old it is."""
    await in_place(office, policy(grants={**OPEN, "maxDuration": "8h"}), grant())
    soon, late = "2026-11-23T19:00:00Z", "2026-11-24T19:00:00Z"
    [found] = await preview(office, grant(expiresAt=soon))
    assert found.findings == ()
    [found] = await preview(office, grant(expiresAt=late))
    assert [one.reason for one in found.findings] == ["BeyondCeiling"]
    assert [line.action for line in found.changes] == ["delete"]


REFUSED: dict[str, tuple[Body, str]] = {
    "no namespace": (
        {**grant(), "metadata": {"name": "work", "namespace": "none"}},
        "metadata.namespace: there is no namespace none; create it first, or have it in the files",
    ),
    "another policy": (
        grant(policyRef={"name": "other"}),
        "spec.policyRef.name: a grant stays with its policy, appdev; make another one for another policy",
    ),
}


@pytest.mark.parametrize(("body", "text"), REFUSED.values(), ids=REFUSED)
async def test_what_the_api_server_would_not_take(office: Office, body: Body, text: str) -> None:
    await in_place(office, policy(), grant())
    [found] = await preview(office, body)
    assert ([one.text for one in found.findings], found.changes) == ([text], ())
    assert exit_code([found]) == 1


async def test_what_is_being_deleted_cannot_be_applied(office: Office) -> None:
    await in_place(office, policy(), grant())
    office.delete(Key("AccessPolicy", None, "appdev"))
    found = await preview(office, policy(), grant())
    assert [one.reason for one in found[0].findings] == ["BeingDeleted"]
    assert [line.action for line in found[1].changes] == ["delete"]


@pytest.mark.parametrize("call", ["group", "principals", "principal", "assignments", "role_id"])
@pytest.mark.parametrize("fault", [Denied("may not"), Unavailable("no answer")])
async def test_what_cannot_be_read_is_no_plan(office: Office, call: str, fault: Denied | Unavailable) -> None:
    await in_place(office, policy("appdev", {"user": ANNA}))
    if call == "principal":
        office.relations = {one: {"members": {}, "owners": {}} for one in office.relations}
    office.faults = {call: fault}
    [found] = await preview(office, policy("appdev", {"user": ANNA}, azureRoles=[{"role": READER}]))
    assert exit_code([found]) == 1
    assert "not all could be looked at" in found.words().splitlines()[0]
    assert fault.message in found.words()


async def test_a_pause_that_a_service_asks_for_is_waited_for(office: Office) -> None:
    await in_place(office, policy())
    asked = []

    async def once(name: str) -> None:
        asked.append(name)
        if len(asked) == 1:
            raise Throttled("slowly", retry_after=0.01)

    office.group_by_unique_name = once  # type: ignore[method-assign]  # a directory that is busy at first
    office.passes += 60
    [found] = await preview(office, policy())
    assert len(asked) == 2
    assert not found.incomplete


async def test_a_pause_that_is_too_long_is_not(office: Office) -> None:
    await in_place(office, policy())
    office.faults = {"group": Throttled("slowly", retry_after=3600.0)}
    [found] = await preview(office, policy())
    assert found.incomplete


async def test_who_would_leave_a_group_that_is_taken_over_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has one member; all who are in the group already and are not that one go."""
    there = Group(guid("theirs"), "", "appdev", "appdev", None)
    strangers = [Principal(guid(f"u{n}"), "user", f"u{n}@contoso.com") for n in range(3)]
    office.groups[there.id] = there
    office.people += strangers
    office.relations[there.id] = {"members": {one.id: one for one in strangers}, "owners": {}}
    body = policy("appdev", {"user": ANNA}, azureRoles=[{"role": READER}])
    body["spec"]["subject"]["group"]["adoptionPolicy"] = "Always"

    async def named(_: str) -> tuple[Group, ...]:
        return (there,)

    monkeypatch.setattr(office, "groups_named", named)

    found = await preview(office, body)

    assert sorted(lines(found)["AccessPolicy appdev"]) == sorted(
        [
            f"adopt group appdev ({there.id})",
            f"add {ANNA.lower()} to the members of group appdev",
            f"assign Azure role {READER} at aks",
            *(f"remove {one.name} from the members of group appdev" for one in strangers),
        ]
    )
    assert exit_code(found) == 2
