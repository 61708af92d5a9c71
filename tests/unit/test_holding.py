"""The Namespace as a further owner of accounts and tokens that their policy keeps: the plan."""

from dataclasses import replace
from typing import Any

import pytest

from entra_access.api.names import ANNOTATION_HOLDER, SECRET, SERVICE_ACCOUNT
from entra_access.api.resources import DeletePolicy
from entra_access.api.status import Item, System
from entra_access.domain.changes import ApplyChild, Change, HoldChild, ReplaceChild
from entra_access.domain.children import Child, ChildRef, SeenChild
from entra_access.domain.observed import AccountWorld, Namespace
from entra_access.domain.plan import Plan
from entra_access.domain.policy_plan import plan_policy
from unit.builders import NOW, PLACE, a_meta, body_of, edited, seen
from unit.worlds import a_policy_for, a_world, an_account

TOOLS = "uid-of-tools"
ACCOUNT = ChildRef(SERVICE_ACCOUNT, "tools", "demo")
TOKEN = ChildRef(SECRET, "tools", "demo-token")
UIDS = {ref: f"uid-of-{ref.name}" for ref in (ACCOUNT, TOKEN)}
PLAIN = Child(ACCOUNT, a_meta()), Child(TOKEN, a_meta(), account="demo")
HELD = tuple(replace(child, holder=TOOLS) for child in PLAIN)
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "name": "tools",
    "uid": TOOLS,
    "controller": False,
    "blockOwnerDeletion": False,
}


def plan(
    *there: SeenChild, keep: bool = False, shared: bool = False, kept: bool = False, anew: bool = False
) -> Plan:
    """What is planned for an account with a token. `kept`: another policy keeps the account."""
    policy = a_policy_for(an_account(token=True))
    policy = replace(policy, delete_policy=DeletePolicy.KEEP if keep else DeletePolicy.DELETE)
    uid = UIDS[ACCOUNT] if there else None
    account = AccountWorld(
        uid, ours=bool(there) and not shared, shared=shared, token_for="another" if anew else uid
    )
    world = replace(
        a_world(policy, namespaces={"tools": Namespace({}, ending=False, uid=TOOLS)}),
        account=account,
        children=there,
        kept=frozenset({ACCOUNT} if kept else ()),
    )
    lines = tuple(Item(System.KUBERNETES, one.ref.kind.kind, one.ref.path, one.uid) for one in there)
    return plan_policy(policy, PLACE, world, lines, NOW)


def as_seen(children: tuple[Child, ...]) -> tuple[SeenChild, ...]:
    return tuple(seen(child) for child in children)


def changes(*refs: ChildRef, holds: bool = True) -> tuple[Change, ...]:
    return tuple(HoldChild(ref, UIDS[ref], TOOLS, holds=holds) for ref in refs)


def owned(child: Child, *owners: dict[str, Any], **annotations: str) -> SeenChild:
    """The child with exactly these owners besides its policy, and with more annotations."""
    meta = body_of(child)["metadata"]
    policy = [one for one in meta["ownerReferences"] if one["kind"] == "AccessPolicy"]
    more = {"annotations": meta["annotations"] | annotations, "ownerReferences": [*policy, *owners]}
    return seen(child, metadata=meta | more)


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_new_has_its_namespace_as_an_owner_where_its_policy_keeps(*, keep: bool) -> None:
    """It is written down on the object who put that there. The policy is the controller all the same."""
    made = [change.child for change in plan(keep=keep).changes if isinstance(change, ApplyChild)]
    assert [child.ref for child in made] == [ACCOUNT, TOKEN]
    for child in made:
        meta = child.manifest()["metadata"]
        policy, *namespaces = meta["ownerReferences"]
        assert (policy["kind"], policy["controller"]) == ("AccessPolicy", True)
        assert namespaces == ([NAMESPACE] if keep else [])
        assert meta["annotations"].get(ANNOTATION_HOLDER) == (TOOLS if keep else None)


@pytest.mark.parametrize("keep", [True, False])
def test_at_rest_nothing_is_done(*, keep: bool) -> None:
    made = plan(*as_seen(HELD if keep else PLAIN), keep=keep)
    assert (made.changes, made.differences) == ((), ())


@pytest.mark.parametrize("keep", [True, False], ids=["to keep", "to delete"])
def test_another_wish_changes_the_owner_alone_and_is_no_drift(*, keep: bool) -> None:
    """No token is made anew for it, and nobody lacks access without it."""
    made = plan(*as_seen(PLAIN if keep else HELD), keep=keep)
    assert made.changes == changes(ACCOUNT, TOKEN, holds=keep)
    assert [one.foreign for one in made.differences] == [False, False]
    assert not any(change.gives or change.removal for change in made.changes)


def test_an_owner_that_another_hand_took_out_is_drift() -> None:
    account, token = HELD
    note = {ANNOTATION_HOLDER: TOOLS}
    body = body_of(account)["metadata"] | {"ownerReferences": [account.owner_reference()]}
    robbed = edited(account, "kubectl-edit", "spec", metadata=body)
    made = plan(robbed, owned(token, **note), keep=True)
    assert made.changes == changes(ACCOUNT, TOKEN)
    first, second = made.differences
    assert (first.foreign, second.foreign) == (True, True)
    item = first.item
    assert (item.object, item.field) == ("ServiceAccount tools/demo", "metadata.ownerReferences")
    assert (item.expected, item.found, item.changed_by) == ("Namespace tools", "none of it", "kubectl-edit")


def test_an_owner_that_another_hand_put_in_is_left_alone() -> None:
    """It is none of ours; and it does where there is to be one."""
    theirs = tuple(owned(child, NAMESPACE) for child in PLAIN)
    assert plan(*theirs).changes == ()
    assert plan(*theirs, keep=True).changes == ()


def test_a_namespace_that_is_gone_is_no_owner() -> None:
    """It was made from a list that was older than the news of the new one."""
    former = {**NAMESPACE, "uid": "uid-of-before"}
    note = {ANNOTATION_HOLDER: "uid-of-before"}
    made = plan(*(owned(child, former, **note) for child in PLAIN), keep=True)
    assert made.changes == changes(ACCOUNT, TOKEN)
    assert [one.foreign for one in made.differences] == [False, False]


def test_a_token_that_is_made_anew_gets_it_at_once() -> None:
    account, token = HELD
    made = plan(seen(account), seen(PLAIN[1]), keep=True, anew=True)
    assert made.changes == (ReplaceChild(TOKEN, UIDS[TOKEN]), ApplyChild(token, None))


@pytest.mark.parametrize("shared", [True, False], ids=["joins", "looks after it"])
def test_who_shares_an_account_leaves_the_owner_there_while_another_one_keeps_it(*, shared: bool) -> None:
    """Whoever makes the difference writes; the others find all as it should be. A token is one policy's."""
    child = replace(PLAIN[0], joins=shared)
    held, plain, token = seen(replace(child, holder=TOOLS)), seen(child), seen(PLAIN[1])
    assert plan(held, token, shared=shared, kept=True).changes == ()
    assert plan(held, token, shared=shared).changes == changes(ACCOUNT, holds=False)
    assert plan(plain, token, shared=shared).changes == ()
    assert plan(plain, token, shared=shared, kept=True).changes == changes(ACCOUNT)


def test_who_shares_an_account_has_it_also_in_a_pass_that_changes_this_owner_alone() -> None:
    """It was among the owners before, and its inventory tells so."""
    child = replace(PLAIN[0], joins=True)
    made = plan(seen(child), seen(PLAIN[1]), shared=True, kept=True)
    assert ACCOUNT.path in {item.name for item in made.inventory}


def test_the_change_tells_what_it_does() -> None:
    (there,), (gone,) = changes(ACCOUNT), changes(ACCOUNT, holds=False)
    assert str(there) == "add Namespace tools to the owners of ServiceAccount tools/demo"
    assert str(gone) == "take Namespace tools out of the owners of ServiceAccount tools/demo"
