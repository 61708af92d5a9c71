"""Subjects that are in the directory already: groups, users, guests and applications. Used, never changed."""

from collections.abc import Iterator

import pytest

from entra_sandbox import seed
from entra_sandbox.local.controlplane import ControlPlaneError
from support.cluster import Body, Cluster
from support.life import AKS_USER, READ_PODS, Person, ceiling, events, gets, last_request, loses, may, person
from support.scopes import PLAIN_READER, at, roles_of
from support.subjects import application, direct, lists
from support.trouble import clean_log

NOBODY = "99999999-9999-4999-8999-999999999998"
GROUP = "spec.subject.existingGroup.objectId"
UPN = "spec.subject.user.userPrincipalName"


@pytest.fixture(autouse=True)
def _clean(shared_cluster: Cluster) -> Iterator[None]:
    """Whatever a person did wrong is no defect of the operator, and does not look like one in its log."""
    yield
    clean_log(shared_cluster)


def existing(group: str) -> Body:
    """A subject that is a group which somebody else keeps."""
    return {"existingGroup": {"objectId": group}}


def by_name(upn: str) -> Body:
    """A subject that is a user of this tenant."""
    return {"user": {"userPrincipalName": upn}}


def by_id(object_id: str) -> Body:
    """A subject that is a user by object id."""
    return {"user": {"objectId": object_id}}


def assigned_as(cluster: Cluster, principal: str) -> list[tuple[str, str]]:
    """Somebody's roles in Azure, with what Azure was told that they are."""
    return [(one["roleName"], one["principalType"]) for one in cluster.azure.assignments(principal)]


# Existing groups


def test_an_existing_group_is_used_and_never_changed(cluster: Cluster) -> None:
    """Its members get the access and lose it with the policy; nothing is written to the group itself."""
    who = person(cluster)
    made = cluster.azure.add_group(cluster.unique("theirs"), members=[who.upn], owners=[seed.LEAD])
    group, before, since = made["id"], cluster.group(made["id"]), last_request(cluster)

    policy = direct(cluster, existing(group.upper()), clusterRoles=["view"], azureRoles=[at(AKS_USER)])

    status = policy.ready()["status"]
    assert policy.bound() == [("view", f"Group {group}")]
    assert (status["subject"]["objectId"], status["subject"]["origin"]) == (group, "Existing")
    assert "members" not in status["counts"]
    assert not policy.condition("MembersReady")
    assert [one for one in status["inventory"] if one["system"] == "Entra"] == []
    assert assigned_as(cluster, group) == [(AKS_USER, "Group")]
    lists(cluster, who, "pods")

    policy.delete()

    loses(cluster, who, "list", "pods")
    assert roles_of(cluster, group) == []
    assert cluster.group(group) == before
    assert cluster.azure.journal(since=since, kind="graph", write=True) == []


def test_an_existing_group_that_is_not_there_heals_by_itself(cluster: Cluster) -> None:
    """Stalled with the field's path, nothing bound; when somebody makes it the access comes."""
    who = person(cluster)
    policy = direct(cluster, existing(NOBODY), clusterRoles=["view"])

    message = policy.stalled("SubjectNotFound")

    assert message.startswith(f"{GROUP}: there is no group {NOBODY} in the directory")
    assert (policy.bound(), policy.subject()) == ([], {})
    assert policy.condition("BindingsReady")["reason"] == "Waiting"
    cluster.azure.add_group(cluster.unique("late"), id=NOBODY, members=[who.upn])
    policy.ready()
    gets(cluster, who, "list", "pods")


def test_a_group_that_is_not_security_enabled_is_refused(cluster: Cluster) -> None:
    """A Microsoft 365 group gives nothing in Azure and in Kubernetes."""
    name = cluster.unique("mail")
    group = cluster.azure.add_group(name, groupTypes=["Unified"], mailEnabled=True, securityEnabled=False)

    policy = direct(cluster, existing(group["id"]), clusterRoles=["view"], azureRoles=[at(AKS_USER)])

    message = policy.stalled("NotASecurityGroup")
    assert message.startswith(f"{GROUP}: the group is not security-enabled")
    assert (policy.bound(), roles_of(cluster, group["id"])) == ([], [])


# Users


def test_a_user_is_bound_by_the_name_that_the_directory_has(cluster: Cluster) -> None:
    """Kubernetes compares names letter by letter: whatever case the YAML has, the directory's is used."""
    stem = cluster.unique("Mixed.Case")
    made = cluster.azure.add_user(f"{stem}@contoso.com")
    who = Person(made["userPrincipalName"], made["id"])
    wished = f"{stem.upper()}@Contoso.COM"

    policy = direct(cluster, by_name(wished), clusterRoles=["view"], azureRoles=[at(AKS_USER)])

    subject = policy.ready()["status"]["subject"]
    assert policy.bound() == [("view", f"User {who.upn}")]
    assert (subject["name"], subject["objectId"], subject["kind"]) == (who.upn, who.id, "User")
    assert assigned_as(cluster, who.id) == [(AKS_USER, "User")]
    lists(cluster, who, "pods")
    assert not may(cluster, who, "list", "secrets")
    assert not policy.condition("Warning")


def test_a_guest_by_name_is_refused_with_the_object_id_to_use(cluster: Cluster) -> None:
    """Also one whose name does not show it; with that object id it works, by object id alone."""
    made = cluster.azure.add_user(f"{cluster.unique('visitor')}@contoso.com", userType="Guest")
    guest = Person(made["userPrincipalName"], made["id"])
    policy = direct(cluster, by_name(guest.upn), clusterRoles=["view"], azureRoles=[at(AKS_USER)])

    message = policy.stalled("GuestUser")

    assert message.startswith(f"{UPN}: {guest.upn} is a guest of this tenant")
    assert f"use user: {{objectId: {guest.id}}}" in message
    assert (policy.bound(), roles_of(cluster, guest.id)) == ([], [])
    policy.update(subject=by_id(guest.id))
    assert policy.bound() == [("view", f"User {guest.id}")]
    assert assigned_as(cluster, guest.id) == [(AKS_USER, "User")]
    assert not policy.condition("Warning")


def test_a_guest_by_object_id_signs_in_and_lists(cluster: Cluster) -> None:
    """Kubernetes knows guests by object id."""
    upn = f"{cluster.unique('partner')}_fabrikam.com#EXT#@contoso.com"
    guest = Person(upn, cluster.azure.add_user(upn)["id"])

    policy = direct(cluster, by_id(guest.id.upper()), clusterRoles=["view"])

    policy.ready()
    assert policy.bound() == [("view", f"User {guest.id}")]
    lists(cluster, guest, "pods")
    assert not policy.condition("Warning")


def test_a_user_of_this_tenant_by_object_id_is_warned_of(cluster: Cluster) -> None:
    """Ready, because it is as asked for; Warning, because the binding gives nothing. Azure roles do."""
    who = person(cluster)
    policy = direct(cluster, by_id(who.id), azureRoles=[at(AKS_USER)])
    policy.ready()
    assert not policy.condition("Warning"), "right for Azure"

    policy.update(clusterRoles=["view"])

    message = policy.says("Warning", "KnownByName")
    assert message.startswith(f"spec.subject.user.objectId: {who.upn} is a user of this tenant")
    assert f"use user: {{userPrincipalName: {who.upn}}}" in message
    assert policy.condition("Ready")["message"].endswith("see condition Warning")
    assert not may(cluster, who, "list", "pods")
    policy.update(subject=by_name(who.upn))
    assert not policy.condition("Warning")
    gets(cluster, who, "list", "pods")


def test_a_user_who_is_not_there_heals_by_itself(cluster: Cluster) -> None:
    """Stalled with the field's path; when the user is created the access comes. Others are not held up."""
    upn = f"{cluster.unique('late')}@contoso.com"
    policy = direct(cluster, by_name(upn), clusterRoles=["view"], azureRoles=[at(AKS_USER)])

    message = policy.stalled("SubjectNotFound")

    assert message == f"{UPN}: there is no user {upn} in the directory; correct it, or create it there"
    assert policy.bound() == []
    direct(cluster, by_name(person(cluster).upn), clusterRoles=["view"]).ready()
    late = Person(upn, cluster.azure.add_user(upn)["id"])
    policy.ready()
    gets(cluster, late, "list", "pods")
    assert not policy.condition("Stalled")


# Applications


@pytest.mark.parametrize("form", ["appId", "objectId"])
def test_an_application_signs_in_and_lists(cluster: Cluster, form: str) -> None:
    """By whichever id it is given, Kubernetes and Azure know it by its object id."""
    app, namespace = application(cluster), cluster.namespace()
    given = app.upn if form == "appId" else app.id

    policy = direct(
        cluster,
        {"servicePrincipal": {form: given.upper()}},
        clusterRoles=["view"],
        azureRoles=[at(AKS_USER)],
        grants=ceiling(rules=[{**READ_PODS, "resources": ["secrets"]}]),
    )
    cluster.grant("work", namespace, policy.name, rules=[{**READ_PODS, "resources": ["secrets"]}])

    subject = policy.ready()["status"]["subject"]
    assert policy.bound() == [("view", f"User {app.id}")]
    assert (subject["objectId"], subject["principalType"]) == (app.id, "ServicePrincipal")
    assert assigned_as(cluster, app.id) == [(AKS_USER, "ServicePrincipal")]
    lists(cluster, app, "pods")
    cluster.ready("ngrant", "work", namespace)
    lists(cluster, app, "secrets", namespace)
    assert not may(cluster, app, "list", "secrets")


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ({"servicePrincipal": {"appId": seed.PIPELINE_OBJECT_ID}}, "no service principal {} {}app id"),
        ({"servicePrincipal": {"objectId": seed.PIPELINE_CLIENT_ID}}, "no service principal {} {}object id"),
        (existing(seed.USER_IDS[seed.ALICE]), "no group {} {}object id"),
        (by_id(seed.PIPELINE_OBJECT_ID), "no user {} {}object id"),
    ],
    ids=["object id as app id", "app id as object id", "user as group", "application as user"],
)
def test_an_id_of_another_kind_is_told(cluster: Cluster, subject: Body, says: str) -> None:
    """The message says of which kind the id had to be, and nothing is bound to the wrong one."""
    ((kind, reference),) = subject.items()
    ((form, value),) = reference.items()

    policy = direct(cluster, subject, clusterRoles=["view"])

    message = policy.stalled("SubjectNotFound")
    assert message.startswith(
        f"spec.subject.{kind}.{form}: there is {says.format(value, 'in the directory with that ')}"
    )
    assert policy.bound() == []


def test_an_application_in_more_than_200_groups_is_warned_of_once(cluster: Cluster) -> None:
    """It cannot sign in, which one condition and one event say; with 200 groups all is well."""
    too_many, enough = application(cluster, "crowded"), application(cluster)
    inner = cluster.azure.add_group(cluster.unique("inner"), members=[too_many.id])["id"]
    for number in range(200):
        cluster.azure.add_group(f"{cluster.unique('crowd')}-{number}", members=[inner, enough.id])

    crowded = direct(cluster, {"servicePrincipal": {"appId": too_many.upn}}, clusterRoles=["view"])
    fine = direct(cluster, {"servicePrincipal": {"objectId": enough.id}}, clusterRoles=["view"])

    for policy in (crowded, fine):
        policy.ready()
    message = crowded.says("Warning", "TooManyGroups")
    assert message.startswith("spec.subject: servicePrincipal ")
    assert "is in 201 groups" in message
    with pytest.raises(ControlPlaneError, match=r"(?i)unauthorized|logged in"):
        cluster.kubectl("get", "pods", "-A", user=too_many.upn)
    assert not fine.condition("Warning")
    lists(cluster, enough, "pods")
    since = last_request(cluster)
    crowded.update(azureRoles=[at(PLAIN_READER)])
    assert crowded.condition("Warning")["reason"] == "TooManyGroups"
    assert cluster.azure.journal(since=since, path_regex="transitiveMemberOf") == [], "counted seldom"
    told = [why for _, why, _ in events(cluster, "AccessPolicy", crowded.name)]
    assert told.count("TooManyGroups") == 1
