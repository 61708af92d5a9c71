"""The command `entra-sandbox`."""

import argparse
import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entra_sandbox.client import SandboxClient, SandboxError
from entra_sandbox.hands import Hands
from entra_sandbox.seed import ADMIN, ARC_CLUSTER_ID, CLUSTER_ID
from entra_sandbox.settings import Settings

_CLUSTERS = {"aks": CLUSTER_ID, "arc": ARC_CLUSTER_ID}
_VERBS = [name.replace("_", "-") for name in vars(Hands) if name[0] != "_" and name not in ("graph", "arm")]
_NAMED = re.compile(r"[A-Za-z_]\w*=")
_LISTS = ("members", "owners", "actions", "data_actions", "scopes")
"""Arguments of `hand` that are lists: their parts are joined by commas."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "serve":
        return _serve(options)
    try:
        with _connect() as client:
            return int(_COMMANDS[options.command](client, options) or 0)
    except (SandboxError, OSError, ValueError) as error:
        sys.stderr.write(f"entra-sandbox: {error}\n")
        return 1


def _serve(options: argparse.Namespace) -> int:
    # Only this command needs the web server; the others should start at once.
    from entra_sandbox.server import Options, serve  # noqa: PLC0415 - as said

    settings = Settings()
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(settings)}
    try:
        settings.update({k: v for k, v in given.items() if v is not None})
    except ValueError as error:
        sys.stderr.write(f"entra-sandbox: {error}\n")
        return 2
    serve(Options(Path(options.dir), options.host, options.port, tuple(options.name), settings))
    return 0


def _connect() -> SandboxClient:
    url, ca = os.environ.get("SANDBOX_URL"), os.environ.get("SANDBOX_CA")
    if not url or not ca:
        raise SandboxError("set SANDBOX_URL and SANDBOX_CA; both are in the sandbox.json that 'serve' writes")
    return SandboxClient(url, ca)


def _token(client: SandboxClient, options: argparse.Namespace) -> None:
    print(client.token_of(options.who))


def _journal(client: SandboxClient, options: argparse.Namespace) -> None:
    if options.clear:
        client.clear_journal()
        return
    for entry in client.journal(
        since=options.since, kind=options.kind, write=True if options.write else None
    ):
        print(json.dumps(entry) if options.json else _line(entry))


def _line(entry: dict[str, Any]) -> str:
    query = f"?{entry['query']}" if entry["query"] else ""
    trouble = f" {entry['code']}" if entry["code"] else ""
    fault = " (fault)" if entry["fault"] else ""
    took = f"{entry['duration_ms']:.0f} ms"
    start = f"{entry['n']:>5} {entry['time']} {entry['kind']:<7} {entry['status']}{trouble}{fault}"
    return f"{start} {entry['method']} {entry['path']}{query} {took}"


def _fault(client: SandboxClient, options: argparse.Namespace) -> None:
    if options.clear:
        client.clear_faults()
        return
    if options.list:
        print(json.dumps(client.faults(), indent=2))
        return
    fault = client.fault(
        method=options.method,
        path_regex=options.path,
        query_regex=options.query,
        page=options.page,
        skip=options.skip,
        kind=options.kind,
        status=options.status,
        code=options.code,
        message=options.message,
        retry_after=options.retry_after,
        delay_seconds=options.delay,
        drop=options.drop,
        after=options.after,
        count=None if options.count == 0 else options.count,
    )
    print(json.dumps(fault))


def hand(client: SandboxClient, words: Sequence[str]) -> Any:
    """Do what `entra-sandbox hand WORD…` does, and give the answer. Raises `SandboxError`."""
    return _do(client, _parser().parse_args(["hand", *words]))


def _hand(client: SandboxClient, options: argparse.Namespace) -> None:
    answer = _do(client, options)
    if answer is not None:
        print(json.dumps(answer, indent=2))


def _do(client: SandboxClient, options: argparse.Namespace) -> Any:
    """Do what a method of `Hands` does: words are its arguments, name=value its named ones."""
    method = getattr(Hands(client, options.who), options.verb.replace("-", "_"))
    words = [word for word in options.words if not _NAMED.match(word)]
    pairs = (word.partition("=") for word in options.words if _NAMED.match(word))
    try:
        bound = inspect.signature(method).bind(
            *words, **{name: _value(name, text) for name, _, text in pairs}
        )
    except TypeError as error:
        raise SandboxError(f"{options.verb}: {error}") from error
    return method(*bound.args, **bound.kwargs)


def _value(name: str, text: str) -> Any:
    if name in _LISTS:
        return [part for part in text.split(",") if part]
    return {"true": True, "false": False, "null": None}.get(text, text)


def _expire_delta(client: SandboxClient, _: argparse.Namespace) -> None:
    client.expire_delta_tokens()


def _reset(client: SandboxClient, _: argparse.Namespace) -> None:
    client.reset()


def _state(client: SandboxClient, _: argparse.Namespace) -> None:
    print(json.dumps(client.state(), indent=2))


def _set(client: SandboxClient, options: argparse.Namespace) -> None:
    pairs = (setting.partition("=") for setting in options.settings)
    print(json.dumps(client.settings(**{name: float(value) for name, _, value in pairs}), indent=2))


def _cluster(client: SandboxClient, options: argparse.Namespace) -> None:
    cluster = _CLUSTERS.get(options.id, options.id)
    if options.aad_profile is not None:
        client.set_aad_profile(cluster, json.loads(options.aad_profile))
    if options.azure_rbac is not None:
        client.set_azure_rbac(cluster, enabled=options.azure_rbac == "true")
    print(json.dumps(client.resource(cluster), indent=2))


_COMMANDS: dict[str, Any] = {
    "token": _token,
    "journal": _journal,
    "fault": _fault,
    "hand": _hand,
    "expire-delta": _expire_delta,
    "reset": _reset,
    "state": _state,
    "set": _set,
    "cluster": _cluster,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="entra-sandbox", description="Entra ID, Graph and Azure on one machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve(commands.add_parser("serve", help="start a sandbox and print where it is"))
    token = commands.add_parser("token", help="print a token for the cluster")
    token.add_argument("who", help="a user principal name, an application's id or display name, an object id")
    journal = commands.add_parser("journal", help="show the requests that were answered")
    journal.add_argument("--since", type=int, help="only those after this number")
    journal.add_argument("--kind", choices=("graph", "arm", "signin", "webhook"))
    journal.add_argument("--write", action="store_true", help="only those that asked for a change")
    journal.add_argument("--json", action="store_true", help="one JSON object a line")
    journal.add_argument("--clear", action="store_true", help="forget them instead")
    _add_fault(commands.add_parser("fault", help="make requests fail"))
    hand = commands.add_parser("hand", help="change something as somebody else, in Graph or Azure")
    hand.add_argument("verb", choices=_VERBS, metavar="VERB", help=", ".join(_VERBS))
    hand.add_argument("words", nargs="*", metavar="WORD", help="what it takes; named ones as name=value")
    hand.add_argument("--as", dest="who", default=ADMIN, help=f"who does it, by default {ADMIN}")
    commands.add_parser("expire-delta", help="let all delta tokens expire")
    commands.add_parser("reset", help="bring the seed back")
    commands.add_parser("state", help="show every object")
    cluster = commands.add_parser("cluster", help="change how a cluster is joined to Entra, or show it")
    cluster.add_argument("--id", default="aks", help="aks (the default), arc, or an ARM id")
    cluster.add_argument("--azure-rbac", choices=("true", "false"), help="who decides inside the cluster")
    cluster.add_argument("--aad-profile", metavar="JSON", help="the whole profile; null is no Entra at all")
    setting = commands.add_parser("set", help="change settings, or show them")
    setting.add_argument("settings", nargs="*", metavar="NAME=VALUE")
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--dir", required=True, help="folder for certificates, keys and sandbox.json")
    serve.add_argument("--port", type=int, default=0, help="0 takes a free one")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on")
    serve.add_argument("--name", action="append", default=[], help="a further name for the certificate")
    for setting in dataclasses.fields(Settings):
        flag = "--" + setting.name.replace("_", "-")
        serve.add_argument(flag, dest=setting.name, type=float if setting.type is float else int, metavar="N")


def _add_fault(fault: argparse.ArgumentParser) -> None:
    fault.add_argument("--method")
    fault.add_argument("--path", help="regular expression, anywhere in the path")
    fault.add_argument("--query", help="regular expression, anywhere in the query")
    fault.add_argument("--page", choices=("first", "later"), help="only first pages of lists, or only others")
    fault.add_argument("--skip", type=int, default=0, help="how many requests that match pass first")
    fault.add_argument("--kind", choices=("graph", "arm", "signin", "webhook"))
    fault.add_argument("--status", type=int)
    fault.add_argument("--code")
    fault.add_argument("--message")
    fault.add_argument("--retry-after", type=float)
    fault.add_argument("--delay", type=float, help="seconds to wait first")
    fault.add_argument("--drop", action="store_true", help="close the connection")
    fault.add_argument("--after", action="store_true", help="do it, then fail: the lost answer")
    fault.add_argument("--count", type=int, default=1, help="how many times; 0 is without end")
    fault.add_argument("--list", action="store_true")
    fault.add_argument("--clear", action="store_true")


if __name__ == "__main__":
    sys.exit(main())
