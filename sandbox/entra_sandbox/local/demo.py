"""``make demo``: Microsoft's tutorial "Use Kubernetes RBAC with Microsoft Entra ID in AKS", from YAML.

Everything that is said is shown: by kubectl as the person in question, in the API server's own words, or by
the sandbox's journal of requests. Exits 0 only if every proof held.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entra_sandbox import seed
from entra_sandbox.local import scenario
from entra_sandbox.local.report import Report, Shown, Terminal, soon
from entra_sandbox.local.stack import APP_ROLES, ROOT, Stack

TUTORIAL = "tutorial"
EXAMPLE = ROOT / "examples" / TUTORIAL
REPLICATION_DELAY = 4.0


class Demo:
    """The walk through the tutorial."""

    def __init__(self, stack: Stack, report: Report) -> None:
        self.stack = stack
        self.report = report
        self.terminal = Terminal(stack)

    def run(self) -> None:
        """All of it, in the order in which a reader would ask."""
        prove, part = self.report.prove, self.report.part
        with part("Two YAML files, one command"):
            self.show("apply", "-k", str(EXAMPLE.relative_to(ROOT)))
            ready = self.watch_until_ready()
            prove("both policies and both grants are Ready", ready)
        with part("What the directory did to us meanwhile"):
            self.prove_weather()
        with part("aksdev may work in dev, and nowhere else"):
            self.prove_access(seed.AKSDEV, "dev", "sre")
        with part("akssre may work in sre, and nowhere else"):
            self.prove_access(seed.AKSSRE, "sre", "dev")
        with part("A binding is edited by hand"):
            self.prove_drift()
        with part("At rest nothing is written"):
            self.prove_quiet()
        with part("Deleted, nothing is left"):
            self.prove_deletion()

    # The proofs

    def prove_weather(self) -> None:
        """The new groups were unknown for a while, and one answer was 429: visible in the journal only."""
        calls = self.stack.azure.journal()
        for entry in [c for c in calls if c["status"] == 429 or c["code"] == "PrincipalNotFound"][:4]:
            name = entry["path"].rpartition("/")[2][:60]
            print(f"    {entry['status']} {entry['code']:<20} {entry['method']} …/{name}")
        late = any(c["code"] == "PrincipalNotFound" for c in calls)
        self.report.prove("Azure did not know the new groups for a while (journal: PrincipalNotFound)", late)
        throttled = any(c["status"] == 429 for c in calls)
        self.report.prove("one request was throttled (journal: 429)", throttled)
        made = [c for c in calls if c["status"] == 201 and c["kind"] == "graph"]
        self.report.prove("two groups were made, no third", len(made) == len(self.groups()) == 2)

    def prove_access(self, user: str, own: str, other: str) -> None:
        """The tutorial's proofs: run and list in the own namespace, Forbidden elsewhere."""
        prove = self.report.prove
        image = ("--image=mcr.microsoft.com/oss/nginx/nginx:1.15.5-alpine", "--restart=Never")
        ran = self.show("run", "nginx", "-n", own, *image, user=user)
        listed = self.show("get", "pods", "-n", own, user=user)
        prove(f"{user} runs a pod in {own} and sees it", ran.ok and "nginx" in listed.text)
        for where in (("-n", other), ("--all-namespaces",)):
            refused = self.show("get", "pods", *where, user=user)
            prove(f"{user} is Forbidden: get pods {' '.join(where)}", "Forbidden" in refused.text)

    def prove_drift(self) -> None:
        """Somebody binds another user: it is put right, and the status says who it was."""
        binding = self.kube("get", "rolebinding", "-n", "dev", "-o", "json")["items"][0]
        name, subjects = binding["metadata"]["name"], binding["subjects"]
        foreign = [{"kind": "User", "name": "eve@example.com", "apiGroup": "rbac.authorization.k8s.io"}]
        patch = json.dumps({"subjects": foreign})
        self.show("patch", "rolebinding", name, "-n", "dev", "--type=merge", "-p", patch)
        began = time.monotonic()

        def back() -> bool:
            return bool(
                self.kube("get", "rolebinding", name, "-n", "dev", "-o", "json")["subjects"] == subjects
            )

        held = soon(back)
        self.report.prove(f"it is put right ({time.monotonic() - began:.1f} s)", held)

        def told() -> dict[str, Any]:
            status = self.kube("get", "ngrant", "dev-user-access", "-n", "dev", "-o", "json")["status"]
            return dict(next(iter(status["drift"].get("items", [])), {}))

        item = soon(told)
        print("    status.drift.items[0]:", json.dumps(item))
        self.report.prove(
            "the status says what, when and by whom", item and item["changedBy"] == "kubectl-patch"
        )

    def prove_quiet(self) -> None:
        """Nothing changes, so nothing is written, neither to Azure nor to Kubernetes."""
        kinds = "accesspolicies,namespacegrants,roles,rolebindings,clusterrolebindings"

        def versions() -> str:
            return self.stack.kubectl(
                "get", kinds, "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}"
            )

        self.stack.azure.clear_journal()
        before = versions()
        time.sleep(10)
        writes = self.stack.azure.journal(write=True)
        self.report.prove("ten seconds: no write in the journal, no resourceVersion moved",
                          not writes and versions() == before)  # fmt: skip

    def prove_deletion(self) -> None:
        """The policies and grants go, and with them all that they had made."""
        self.show("delete", "-k", str(EXAMPLE.relative_to(ROOT)), "--wait")
        managed = ("-A", "-l", "app.kubernetes.io/managed-by=entra-access-operator", "-o", "name")
        left = soon(lambda: not self.stack.kubectl("get", "roles,rolebindings,clusterrolebindings", *managed))
        self.report.prove("no Role and no binding is left", left)
        state = self.stack.azure.state()
        ours = [a for a in state["assignments"] if a["createdBy"] == seed.OPERATOR_OBJECT_ID]
        self.report.prove("no group and no role assignment is left", not self.groups() and not ours)

    # The means

    def watch_until_ready(self) -> bool:
        """Show the table each time when something in it has changed, until all is Ready."""
        seen: list[str] = []

        def look() -> bool:
            table = self.stack.kubectl("get", "apol,ngrant", "-A")
            words = "".join(line.rpartition(" ")[0] for line in table.splitlines()).replace(" ", "")
            if words not in seen:
                seen.append(words)
                self.show("get", "apol,ngrant", "-A")
            return self.all_ready()

        return bool(soon(look))

    def all_ready(self) -> bool:
        """Whether every policy and grant says Ready."""
        items = self.kube("get", "apol,ngrant", "-A", "-o", "json")["items"]
        ready = [
            c["status"] for i in items for c in i["status"].get("conditions", []) if c["type"] == "Ready"
        ]
        return len(items) == 4 and ready == ["True"] * 4

    def groups(self) -> list[dict[str, Any]]:
        """The groups in the directory."""
        return list(self.stack.azure.state()["groups"])

    def kube(self, *arguments: str) -> Any:
        """What kubectl prints, as JSON."""
        return json.loads(self.stack.kubectl(*arguments))

    def show(self, *arguments: str, user: str | None = None) -> Shown:
        """Run kubectl as somebody and print it as one would see it in a terminal."""
        config = self.stack.kubeconfig_of(user) if user else None
        return self.terminal.show(*arguments, who=user or "", config=config)


def tutorial() -> int:
    """Run the tutorial. Returns the exit code."""
    report = Report()
    with set_up(report) as stack:
        Demo(stack, report).run()
    return report.code


@contextmanager
def set_up(report: Report, cluster: str = "aks", app_roles: tuple[str, ...] = APP_ROLES) -> Iterator[Stack]:
    """Start everything in a folder of its own, in bad weather, and end with the summary."""
    with tempfile.TemporaryDirectory(prefix="entra-access-demo-") as folder:
        stack = Stack(Path(folder), replication_delay=REPLICATION_DELAY, cluster=cluster, app_roles=app_roles)
        try:
            with report.part("A real API server, the sandbox for Entra and Azure, and the operator"):
                stack.start()
                stack.azure.fault(kind="graph", method="GET", path_regex="/users/", status=429, retry_after=1)
                stack.start_operator()
                server = stack.kubectl("version").splitlines()[-1]
                print(f"  {server} at {stack.plane.url}, Azure at {stack.azure.url}")
            yield stack
        finally:
            log = stack.folder / "logs" / "operator.log"
            if report.summary() and "CI" in os.environ and log.exists():
                print(log.read_text()[-20_000:])
            stack.stop()


def run_scenario(name: str) -> int:
    """Run one of the other examples. Returns the exit code."""
    try:
        chosen = scenario.load(name)
    except scenario.ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    report = Report()
    with set_up(report, chosen.cluster, (*APP_ROLES, *chosen.permissions)) as stack:
        scenario.run(stack, report, chosen)
    return report.code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tutorial, or the scenario that was named. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--scenario", default=TUTORIAL, help="a folder below examples/ that has a scenario.yaml"
    )
    name = str(parser.parse_args(arguments).scenario)
    return tutorial() if name == TUTORIAL else run_scenario(name)


if __name__ == "__main__":
    sys.exit(main())
