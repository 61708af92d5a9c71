"""A service account as the subject: made, used as it is, and its token."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import SECRET, SERVICE_ACCOUNT
from entra_access.api.resources import AccessPolicy
from entra_access.api.status import Item, Subject, System
from entra_access.domain.changes import ApplyChild, Change, DeleteChild, ReplaceChild
from entra_access.domain.children import Child, ChildRef
from entra_access.domain.faults import Denied, Fault, Link, Severity, Unavailable
from entra_access.domain.observed import AccountWorld, PolicyWorld
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import (
    NOW,
    PLACE,
    a_meta,
    drift_of_plan,
    seen,
)
from unit.worlds import (
    a_namespace,
    a_policy_for,
    a_world,
    an_account,
    user,
)

UID = "uid-of-account"
FAULTS: list[Fault] = [Unavailable("down"), Denied("no right")]


def plan(
    policy: AccessPolicy,
    world: PolicyWorld | None = None,
    inventory: tuple[Item, ...] = (),
    known: Subject | None = None,
) -> Plan:
    return plan_policy(policy, PLACE, world or a_world(policy), inventory, NOW, known)


def bound(made: Plan) -> list[dict[str, str]]:
    """The subjects of the bindings that the plan makes."""
    children = [change.child for change in made.changes if isinstance(change, ApplyChild)]
    return [subject for child in children for subject in child.manifest().get("subjects", ())]


REF = ChildRef(SERVICE_ACCOUNT, "tools", "demo")
TOKEN = ChildRef(SECRET, "tools", "demo-token")
TOOLS = {"tools": a_namespace()}


def account_plan(
    account: AccountWorld, *, token: bool = False, children: tuple[Any, ...] = (), **fields: Any
) -> Plan:
    policy = a_policy_for(an_account(token=token), cluster_roles="view")
    world = a_world(policy, **({"namespaces": TOOLS} | fields))
    lines = tuple(Item(System.KUBERNETES, c.ref.kind.kind, c.ref.path, c.uid) for c in children)
    return plan(policy, replace(world, account=account, children=children), lines)


def refs(changes: tuple[Change, ...]) -> list[ChildRef]:
    return [c.child.ref for c in changes if isinstance(c, ApplyChild)]


def test_a_service_account_is_made_where_there_is_none_and_bound() -> None:
    made = account_plan(AccountWorld())
    assert refs(made.changes)[0] == REF
    assert bound(made) == [{"kind": "ServiceAccount", "name": "demo", "namespace": "tools"}]
    assert made.subject == Subject("ServiceAccount", "", "tools/demo", "Created", "demo", "tools", "")
    assert made.findings == ()
    manifest = next(change.child for change in made.changes if isinstance(change, ApplyChild)).manifest()
    assert manifest.keys() == {"apiVersion", "kind", "metadata"}
    assert manifest["metadata"]["namespace"] == "tools"


def test_a_service_account_that_is_there_already_is_used_and_not_touched() -> None:
    made = account_plan(AccountWorld(there=UID))
    assert REF not in refs(made.changes)
    assert bound(made) == [{"kind": "ServiceAccount", "name": "demo", "namespace": "tools"}]
    assert made.subject is not None
    assert made.subject.origin == "Existing"
    assert made.inventory == ()


def test_a_token_is_made_after_its_account_and_names_it() -> None:
    made = account_plan(AccountWorld(), token=True)
    assert refs(made.changes)[:2] == [REF, TOKEN]
    secret = next(c.child for c in made.changes if isinstance(c, ApplyChild) and c.child.ref == TOKEN)
    manifest = secret.manifest()
    assert manifest["type"] == "kubernetes.io/service-account-token"
    assert manifest["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "demo"
    assert "data" not in manifest


def the_account() -> Child:
    return Child(REF, a_meta())


def the_token() -> Child:
    return Child(TOKEN, a_meta(), account="demo")


def in_place() -> tuple[Any, ...]:
    """The account, its token and its binding as they were made."""
    policy = a_policy_for(an_account(token=True), cluster_roles="view")
    binding = next(
        c.child
        for c in plan(policy, a_world(policy, namespaces=TOOLS)).changes
        if isinstance(c, ApplyChild) and c.child.subject
    )
    return tuple(seen(child) for child in (the_account(), the_token(), binding))


def test_at_rest_nothing_is_done_about_a_service_account() -> None:
    account = AccountWorld(there=UID, ours=True, token_for=UID)
    made = account_plan(account, token=True, children=in_place())
    assert (made.changes, drift_of_plan(made), made.findings) == ((), (), ())
    assert made.subject is not None
    assert made.subject.origin == "Created"


def test_a_token_for_a_former_account_is_made_anew() -> None:
    """The account was deleted and made again: its old token signs in nobody."""
    account = AccountWorld(there=UID, ours=True, token_for="uid-of-before")
    made = account_plan(account, token=True, children=in_place())
    assert made.changes == (ReplaceChild(TOKEN, f"uid-of-{TOKEN.name}"), ApplyChild(the_token(), None))


def test_a_token_that_is_not_wished_for_any_more_is_taken_away_before_the_account() -> None:
    made = account_plan(AccountWorld(there=UID, ours=True), children=in_place())
    assert made.changes == (DeleteChild(TOKEN, f"uid-of-{TOKEN.name}"),)
    other = a_policy_for(user(), cluster_roles="")
    world = a_world(other, children=in_place(), namespaces=TOOLS)
    leaving = [
        change.ref.kind.kind for change in plan(other, world).changes if isinstance(change, DeleteChild)
    ]
    assert leaving == ["ClusterRoleBinding", "Secret", "ServiceAccount"]


@pytest.mark.parametrize(
    "account",
    [AccountWorld(there=FAULTS[0]), AccountWorld(there=UID, ours=True, token_for=FAULTS[0])],
    ids=["account", "token"],
)
def test_while_the_account_cannot_be_seen_everything_stays(account: AccountWorld) -> None:
    made = account_plan(account, token=True, children=in_place())
    assert made.changes == ()
    assert {item.kind for item in made.inventory} == {"ServiceAccount", "Secret", "ClusterRoleBinding"}
    assert [(f.link, f.severity) for f in made.findings] == [(Link.SUBJECT, Severity.UNKNOWN)]


@pytest.mark.parametrize(
    ("namespaces", "severity", "reason", "path"),
    [
        ({}, Severity.STALLED, "NamespaceNotFound", "spec.subject.serviceAccount.namespace"),
        (
            {"tools": a_namespace(ending=True)},
            Severity.WAITING,
            "NamespaceEnding",
            "spec.subject.serviceAccount",
        ),
    ],
    ids=["missing", "ending"],
)
def test_an_account_needs_its_namespace(
    namespaces: dict[str, Any], severity: Severity, reason: str, path: str
) -> None:
    made = account_plan(AccountWorld(), namespaces=namespaces)
    assert [(f.link, f.severity, f.reason, f.path) for f in made.findings] == [
        (Link.SUBJECT, severity, reason, path)
    ]
    assert (made.changes, made.subject) == ((), None)
