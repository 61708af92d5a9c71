"""Names: the same for the same thing, legal where they are used."""

import functools
import random
import re
import uuid
from pathlib import Path

import pytest
import yaml

from entra_access.domain.naming import (
    MAX_NICKNAME,
    assignment_id,
    assignment_name,
    binding_name,
    digest,
    guid_in,
    mail_nickname,
    role_guid,
    role_name,
    unique_name,
)
from unit.builders import SCOPE

CRDS = Path(__file__).parents[2] / "crds"
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
GUID = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@functools.cache
def nickname_schema() -> tuple[str, int]:
    """The pattern and the length that the CRD demands of a mailNickname."""
    crd = yaml.safe_load((CRDS / "accesspolicies.yaml").read_text(encoding="utf-8"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    group = spec["properties"]["subject"]["properties"]["group"]
    schema = group["properties"]["mailNickname"]
    pattern = re.search(r'matches\("(.*)"\)', schema["x-kubernetes-validations"][0]["rule"])
    assert pattern
    return pattern[1], schema["maxLength"]


def legal(nickname: str) -> bool:
    pattern, longest = nickname_schema()
    return bool(re.fullmatch(pattern, nickname)) and len(nickname) <= longest


NICKNAMES = {
    "appdev": "appdev",
    "App Dev": "App-Dev",
    "a@b.c": "a-b-c",
    "  -- x -- ": "x",
    "(team) [dev]": "team-dev",
    "a!#$%&'*+/=?^_`{|}~-z": "a!#$%&'*+/=?^_`{|}~-z",
    "Zugriff für Müller": "Zugriff-f-r-M-ller",
    "x" * 100: "x" * 64,
    "x" * 63 + " y": "x" * 63,
}


@pytest.mark.parametrize(("display_name", "expected"), NICKNAMES.items(), ids=range(len(NICKNAMES)))
def test_nicknames(display_name: str, expected: str) -> None:
    assert mail_nickname(display_name) == expected


def test_a_name_of_which_nothing_is_legal_still_has_a_nickname_of_its_own() -> None:
    names = ["開発者", "運用", "()", "...", "---"]
    nicknames = {mail_nickname(name) for name in names}
    assert len(nicknames) == len(names)
    assert all(legal(nickname) for nickname in nicknames)


def test_every_nickname_is_one_that_the_crd_would_take() -> None:
    chance = random.Random(64)  # noqa: S311 - the same names each time
    alphabet = [chr(code) for code in range(32, 127)] + list("äßéİ漢字🙂\u00a0\u200b\n\t")
    for _ in range(5000):
        name = "".join(chance.choices(alphabet, k=chance.randint(1, 256)))
        nickname = mail_nickname(name)
        assert legal(nickname), name
        assert nickname == mail_nickname(name)
        assert mail_nickname(nickname) == nickname
        assert len(nickname) <= MAX_NICKNAME


def test_assignment_names_are_written_in_stone() -> None:
    """They stand in every tenant that the operator has worked in: another value would lose what it made."""
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "entra-access.dev")
    text = f"{SCOPE}|{GUID}|{GUID}".lower()
    assert assignment_name(SCOPE, GUID, GUID) == str(uuid.uuid5(namespace, text))
    assert assignment_name("/s", "p", "r") == "9daa2b05-57a2-5345-8aa9-92b739b30f9e"


def test_assignment_names_do_not_depend_on_case() -> None:
    assert assignment_name(SCOPE.upper(), GUID.upper(), GUID) == assignment_name(SCOPE, GUID, GUID.upper())


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_another_scope_principal_or_role_is_another_assignment(changed: int) -> None:
    parts = [SCOPE, GUID, GUID]
    parts[changed] += "0"
    assert assignment_name(*parts) != assignment_name(SCOPE, GUID, GUID)


def test_assignment_ids() -> None:
    assert assignment_id("/s", "n") == "/s/providers/Microsoft.Authorization/roleAssignments/n"


def test_unique_names() -> None:
    name = unique_name("owner", "appdev")
    assert name == unique_name("owner", "appdev")
    assert name.startswith("entra-access")
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)  # it stands in an address, in quotes
    assert len({name, unique_name("owner", "ops"), unique_name("other", "appdev")}) == 3


def test_no_two_clusters_can_mean_the_same_group() -> None:
    """Owner ids are chosen by people, and policies' names can hold hyphens."""
    assert unique_name("prod", "eu-dev") != unique_name("prod-eu", "dev")


def test_binding_names() -> None:
    name = binding_name("dev-access", "ClusterRole", "edit")
    assert name == f"dev-access-{digest('ClusterRole/edit')}"
    assert name == binding_name("dev-access", "ClusterRole", "edit")
    assert DNS_NAME.fullmatch(name)
    others = {
        binding_name("dev-access", "ClusterRole", "view"),
        binding_name("dev-access", "Role", "edit"),
        binding_name("dev-acces", "ClusterRole", "edit"),
    }
    assert name not in others
    assert len(others) == 3


def test_role_names() -> None:
    assert role_name("dev-access") == "dev-access-rules"


@pytest.mark.parametrize("length", [8, 16])
def test_digests(length: int) -> None:
    assert re.fullmatch(rf"[0-9a-f]{{{length}}}", digest("x", length))
    assert digest("x", length) != digest("y", length)


DEFINITION = "/providers/Microsoft.Authorization/roleDefinitions"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GUID, GUID),
        (GUID.upper(), GUID),
        (f"{DEFINITION}/{GUID}", GUID),
        (f"/subscriptions/{uuid.UUID(int=1)}{DEFINITION}/{GUID.upper()}", GUID),
        ("Reader", None),
        (f"Reader {GUID}", None),
        (f"{GUID}0", None),
        (GUID.replace("-", ""), None),
        ("/providers/nothing", None),
        ("", None),
    ],
)
def test_guid_in(text: str, expected: str | None) -> None:
    assert guid_in(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GUID, GUID),
        (GUID.upper(), GUID),
        (f"{DEFINITION}/{GUID}", GUID),
        (f"{DEFINITION.lower()}/{GUID.upper()}", GUID),
        (f"/subscriptions/{uuid.UUID(int=1)}{DEFINITION}/{GUID}", GUID),
        (f"x/{GUID}", None),
        (f"/{GUID}", None),
        (f"Team / {GUID}", None),
        (f"x{DEFINITION}/{GUID}", None),
        (f"/subscriptions/x/y{DEFINITION}/{GUID}", None),
        (f"/subscriptions/{DEFINITION}/{GUID}", None),
        (f"{DEFINITION.replace('Definitions', 'Assignments')}/{GUID}", None),
        (f"{DEFINITION}/{GUID}/", None),
        (f"{GUID}\n", None),
        ("Reader", None),
        ("", None),
    ],
)
def test_a_role_in_a_spec_is_a_guid_only_in_its_two_forms(text: str, expected: str | None) -> None:
    assert role_guid(text) == expected


def test_a_subscription_is_no_role() -> None:
    assert guid_in(f"/subscriptions/{GUID}{DEFINITION}/Reader") is None
