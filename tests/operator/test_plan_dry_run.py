"""`entra-access plan` by somebody who may write: the API server is asked whether it would take the files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from entra_sandbox.local.controlplane import ControlPlaneError
from support.cluster import Body, Cluster, eventually
from support.life import Person
from support.plans import Team, findings, namespace, pipeline, plan, team

README = Path(__file__).parents[2] / "README.md"
ADMISSION = "admissionregistration.k8s.io/v1"
Writer = tuple[Person, dict[str, str]]


@pytest.fixture(scope="module")
def writer(still: Cluster) -> Iterator[Writer]:
    """A pipeline that may write resources, but only by dry run as in the README, and its settings."""
    who, environment = pipeline(still, "create", "patch")
    [rule] = re.findall(r"```yaml\n(apiVersion: admissionregistration.*?)```", README.read_text(), re.DOTALL)
    still.kubectl("apply", "-f", "-", stdin=rule.replace("<object id of the pipeline>", who.id))
    yield who, environment
    without_the_rule(still, "previews-by-dry-run-only")


def with_a_rule(cluster: Cluster, name: str, rule: Body, condition: Body) -> None:
    """Have admission hold all resources of ours to a rule."""
    ours = {
        "apiGroups": ["entra-access.dev"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["accesspolicies", "namespacegrants"],
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [ours]},
        "matchConditions": [condition],
        "validations": [rule],
    }
    named = {"apiVersion": ADMISSION, "metadata": {"name": name}}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    cluster.apply(
        {**named, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**named, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    )


def without_the_rule(cluster: Cluster, name: str) -> None:
    """Take it away again."""
    cluster.kubectl("delete", f"validatingadmissionpolicybinding/{name}", f"validatingadmissionpolicy/{name}")


def texts(value: Body) -> list[str]:
    """What is found of a resource."""
    return [str(one["message"]) for one in value["findings"]]


REFUSAL = "the API server refuses this: "
NOBODY = 'Invalid value: "nobody": must be a user principal name (name@domain) or an object id (a GUID)'
WHITE = "displayName must not begin or end with white space"
IMMUTABLE = "a grant stays with its policy; delete it and make another one for another policy"


def test_rules_of_the_crds_are_told_by_field(still: Cluster, settled: Team, writer: Writer) -> None:
    """Of new resources and of those that are there; what is right is told as ever."""
    _, environment = writer
    new = team(still)
    group = {"displayName": f" {new.name}", "members": [{"user": "nobody"}]}
    bad = new.policy(subject={"group": group})
    edited = settled.grant(clusterRoles=["edit", "vi/ew"])
    files = (bad, edited, settled.policy(clusterRoles=["view", "edit"]))

    said = plan(still, *files, environment=environment)

    assert (said.code, said.err) == (1, "")
    policy, grant, right = (said.values[name] for name in (new.names[0], settled.names[1], settled.names[0]))
    displayed = f'spec.subject.group.displayName: {REFUSAL}Invalid value: " {new.name}": {WHITE}'
    assert texts(policy) == [displayed, f"spec.subject.group.members[0].user: {REFUSAL}{NOBODY}"]
    assert findings(policy) == ["Refused", "Refused"]
    assert [one.partition(": ")[0] for one in texts(grant)] == ["spec.clusterRoles[1]"]
    assert (policy["changes"], grant["changes"], len(right["changes"])) == ([], [], 1)
    with pytest.raises(ControlPlaneError, match="not found"):
        still.get("apol", new.name)

    [headline, first, *_] = plan(still, bad, as_json=False, environment=environment).out.splitlines()
    assert headline == f"{new.names[0]}: nothing can be done"
    assert first == f"  stalled: {displayed}"


def test_what_cannot_be_changed_is_told_by_field(still: Cluster, settled: Team) -> None:
    """By the operator's own identity too, which may patch."""
    said = plan(still, settled.grant(policyRef={"name": "other"}))
    assert said.code == 1
    refusal = f'spec.policyRef.name: {REFUSAL}Invalid value: "other": {IMMUTABLE}'
    assert texts(said.values[settled.names[1]]) == [refusal]


def test_what_is_new_is_tried_and_not_there_afterwards(still: Cluster, writer: Writer) -> None:
    """All that it is told, and nothing is made. Whoever may write only by dry run cannot make it either."""
    who, environment = writer
    new = team(still)
    still.apply(namespace(new.namespace))
    said = plan(still, new.policy(), new.grant(), environment=environment)
    assert (said.code, said.err) == (2, "")
    assert f"create group {new.name}" in said.texts(new.names[0])
    assert len(said.texts(new.names[1])) == 4
    for kind, name, where in (("apol", new.name, None), ("ngrant", "work", new.namespace)):
        with pytest.raises(ControlPlaneError, match="not found"):
            still.get(kind, name, where)

    def denied() -> bool:
        """A rule of admission is heeded a moment after it was made."""
        try:
            still.kubectl("create", "-f", "-", stdin=json.dumps(new.policy()), user=who.upn)
        except ControlPlaneError as error:
            return "by dry run only" in str(error)
        still.kubectl("delete", "apol", new.name)
        return False

    eventually(denied, "who may write by dry run only writes nothing")


def test_a_namespace_that_comes_with_the_files_is_not_asked_about(still: Cluster, writer: Writer) -> None:
    """It is said so; the policy in the same files is asked about."""
    _, environment = writer
    new = team(still)
    files = (namespace(new.namespace), new.policy(), new.grant())
    said = plan(still, *files, environment=environment)
    assert said.code == 2
    what = f"takes what is to be in namespace {new.namespace}: it is not there yet"
    assert said.err == f"entra-access: it is not asked whether the API server {what}\n"
    assert len(said.texts(new.names[1])) == 4


def test_rules_of_admission_are_told(still: Cluster, settled: Team, writer: Writer) -> None:
    """They deny by the status by which authorization does."""
    rule = {"expression": "object.spec.mode == 'Observe'", "message": "observe first", "reason": "Forbidden"}
    wish, name = settled.policy(mode="Enforce"), settled.names[0]
    own = {"name": "own", "expression": f"object.metadata.name == '{settled.name}'"}

    def told() -> list[str]:
        return texts(plan(still, wish, environment=writer[1]).values[name])

    with_a_rule(still, "observe-first", rule, own)
    try:
        found = eventually(told, "it is denied")
        assert len(found) == 1
        assert found[0].startswith(REFUSAL)
        assert found[0].endswith("observe first")
        said = plan(still, wish, environment=writer[1])
        assert (said.code, said.err, findings(said.values[name])) == (1, "", ["Refused"])
    finally:
        without_the_rule(still, "observe-first")
