"""``make sandbox``: the whole set-up with the operator, left running for a person to play with."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from entra_sandbox import seed
from entra_sandbox.local.stack import CLUSTERS, ROOT, Stack

FOLDER = ROOT / ".sandbox"
ENV_FILE = FOLDER / "env"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start it, or say that it runs already. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make sandbox", description=__doc__)
    parser.add_argument("--cluster", choices=CLUSTERS, default="aks", help="what the API server is in Azure")
    cluster = str(parser.parse_args(arguments).cluster)
    stack = Stack(FOLDER, replication_delay=3.0, detached=True, cluster=cluster)
    if stack.running():
        return _runs_already(stack)
    began = time.monotonic()
    print("starting the sandbox, etcd, kube-apiserver and kube-controller-manager …", flush=True)
    stack.start()
    stack.start_operator()
    _write_env(stack)
    people = ", ".join(user for user in seed.USER_IDS if "#" not in user)
    print(f"""
ready after {time.monotonic() - began:.0f} s; the cluster is {stack.cluster_id.rpartition("/")[2]}

  . .sandbox/env
  kubectl apply -k examples/tutorial
  kubectl get apol,ngrant -A -w
  kubectl --token "$(entra-sandbox token aksdev@contoso.com)" -n dev get pods

kubectl is the cluster's administrator; with --token it is anybody else.
People in the directory: {people}
What the operator asked of Entra and Azure:  entra-sandbox journal
Its log:  {FOLDER.relative_to(ROOT)}/logs/operator.log
Add people, foreign groups, faults:  sandbox/README.md
End it:  make sandbox-down""")
    return 0


def _runs_already(stack: Stack) -> int:
    """Say so; it is a fault only when another kind of cluster was wanted."""
    print("It runs already. Use it:  . .sandbox/env      End it:  make sandbox-down")
    if not ENV_FILE.exists() or stack.cluster_id in ENV_FILE.read_text():
        return 0
    print(f"But it is not {stack.cluster}: end it first.")
    return 1


def _write_env(stack: Stack) -> None:
    """The file to be sourced."""
    values = stack.user_environment()
    path = f"{stack.plane.kubectl.parent}:{Path(sys.executable).parent}"
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    lines.append(f'case ":$PATH:" in *":{path}:"*) ;; *) export PATH={shlex.quote(path)}:"$PATH" ;; esac')
    ENV_FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
