"""The command line: start, use and end a sandbox as a person does."""

import json
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509

from entra_sandbox import cli, seed
from support.sandbox import RunningSandbox, start_sandbox


@pytest.fixture
def environment(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A shell that knows the sandbox."""
    monkeypatch.setenv("SANDBOX_URL", sandbox.url)
    monkeypatch.setenv("SANDBOX_CA", sandbox.ca)
    return sandbox


def test_serve_says_where_it_is_and_ends_cleanly(tmp_path: Path) -> None:
    first = start_sandbox(tmp_path, "--replication-delay", "3", "--name", "sandbox.local")
    facts = json.loads((tmp_path / "sandbox.json").read_text(encoding="utf-8"))
    assert facts["url"] == first.url
    assert facts["pid"] == first.process.pid
    assert facts["clusterId"] == seed.CLUSTER_ID
    assert first.client.settings()["replication_delay"] == 3
    token = first.client.user_token(seed.AKSDEV)
    ca = Path(first.ca).read_bytes()
    assert first.stop() == 0
    assert first.stderr() == ""
    # A second start keeps the CA and the key: clients go on trusting, tokens stay good.
    port = first.url.rpartition(":")[2]
    second = start_sandbox(tmp_path, "--port", port)
    assert Path(second.ca).read_bytes() == ca
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = second.client._http.post("/webhooks/token", json=review).json()["status"]
    assert status["authenticated"] is True
    assert second.stop() == 0
    names = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes()).extensions
    alternative = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in alternative.get_values_for_type(x509.DNSName)
    for key in ("ca.key", "server.key", "signing.key"):
        assert stat.S_IMODE((tmp_path / key).stat().st_mode) == 0o600


def test_serve_refuses_settings_that_make_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", "--dir", str(tmp_path), "--stale-lists", "-1"]) == 2
    assert "stale_lists" in capsys.readouterr().err


def test_token(environment: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", seed.AKSDEV]) == 0
    claims = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})
    assert (claims["aud"], claims["upn"]) == (seed.AKS_SERVER_APP_ID, seed.AKSDEV)
    for application in (seed.PIPELINE_CLIENT_ID, "pipeline"):
        assert cli.main(["token", application]) == 0
        claims = jwt.decode(capsys.readouterr().out.strip(), options={"verify_signature": False})
        assert claims["oid"] == seed.PIPELINE_OBJECT_ID
    assert cli.main(["token", "nobody@contoso.com"]) == 1
    assert "there is no user 'nobody@contoso.com'" in capsys.readouterr().err


def test_cluster(environment: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> dict[str, Any]:
        assert cli.main(["cluster", *arguments]) == 0
        return dict(json.loads(capsys.readouterr().out))

    assert shown()["id"] == seed.CLUSTER_ID
    assert shown("--azure-rbac", "false")["properties"]["aadProfile"]["enableAzureRBAC"] is False
    legacy = '{"clientAppID": "c", "serverAppID": "s"}'
    assert shown("--aad-profile", legacy)["properties"]["aadProfile"] == json.loads(legacy)
    arc = shown("--id", "arc", "--aad-profile", "null")
    assert (arc["id"], "aadProfile" in arc["properties"]) == (seed.ARC_CLUSTER_ID, False)
    assert cli.main(["cluster", "--id", "/nowhere"]) == 1
    assert cli.main(["cluster", "--aad-profile", "{"]) == 1


def test_journal_fault_state_set_and_reset(
    environment: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fault", "--kind", "webhook", "--status", "503"]) == 0
    assert cli.main(["fault", "--list"]) == 0
    assert '"status": 503' in capsys.readouterr().out
    environment.client._http.post("/webhooks/token", json={})
    assert cli.main(["journal", "--kind", "webhook"]) == 0
    line = capsys.readouterr().out
    assert "webhook 503 InternalServerError (fault) POST /webhooks/token" in line
    assert cli.main(["journal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == 503
    assert cli.main(["journal", "--clear"]) == 0
    assert cli.main(["fault", "--clear"]) == 0
    assert cli.main(["set", "stale_lists=4"]) == 0
    assert '"stale_lists": 4.0' in capsys.readouterr().out
    assert cli.main(["state"]) == 0
    assert seed.LEAD in capsys.readouterr().out
    assert cli.main(["reset"]) == 0
    assert environment.client.settings()["stale_lists"] == 0


def test_without_a_sandbox_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SANDBOX_URL", raising=False)
    assert cli.main(["reset"]) == 1
    assert "set SANDBOX_URL and SANDBOX_CA" in capsys.readouterr().err


def test_a_foreign_hand(environment: RunningSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    def hand(*words: str) -> int:
        return cli.main(["hand", *words])

    assert hand("create-group", "appdev", f"members={seed.ALICE},{seed.BOB}") == 0
    group = json.loads(capsys.readouterr().out)["id"]
    assert hand("remove-member", "appdev", seed.BOB) == 0
    assert hand("disable-user", seed.BOB) == 0
    assert hand("disable-user", seed.BOB, "disabled=false") == 0
    state = environment.client.state()
    assert state["groups"][0]["members"] == [seed.USER_IDS[seed.ALICE]]
    assert all(user["accountEnabled"] for user in state["users"])
    assert hand("assign", "appdev", "Reader", seed.CLUSTER_ID, "description=a=b") == 0
    assigned = json.loads(capsys.readouterr().out)
    assert assigned["properties"]["description"] == "a=b"
    assert hand("change-assignment", assigned["id"], "description=null") == 0
    assert environment.client.assignments(group)[0]["description"] is None
    assert hand("add-member", "appdev", seed.BOB, "--as", seed.ALICE) == 1
    assert "403 Authorization_RequestDenied" in capsys.readouterr().err
    assert hand("add-member", "appdev") == 1
    assert "add-member: missing a required argument: 'member'" in capsys.readouterr().err


def test_faults_of_pages_and_delta_tokens(
    environment: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--status", "503", "--page", "later", "--query", "top=", "--skip", "1"]
    assert cli.main(["fault", *words]) == 0
    fault = json.loads(capsys.readouterr().out)
    assert (fault["match"], fault["skip"]) == ({"query_regex": "top=", "page": "later"}, 1)
    assert cli.main(["expire-delta"]) == 0
    assert environment.client.journal() == []
