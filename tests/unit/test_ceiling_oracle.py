"""The ceiling beside a second reading of Kubernetes' own check, over many small random rules.

The oracle below follows, line by line, `Covers` in k8s.io/component-helpers v0.36.3,
auth/rbac/validation/policy_comparator.go. It shares no code with the operator.
"""

import random
from dataclasses import dataclass, field

from entra_access.api.resources import Rule
from entra_access.domain.ceiling import Cover, first_uncovered, single, size

ROUNDS = 20_000


@dataclass
class PolicyRule:
    verbs: list[str]
    api_groups: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    resource_names: list[str] = field(default_factory=list)
    non_resource_urls: list[str] = field(default_factory=list)


def covers(owner_rules: list[PolicyRule], servant_rules: list[PolicyRule]) -> list[PolicyRule]:
    subrules: list[PolicyRule] = []
    for servant in servant_rules:
        subrules.extend(breakdown_rule(servant))
    return [sub for sub in subrules if not any(rule_covers(owner, sub) for owner in owner_rules)]


def breakdown_rule(rule: PolicyRule) -> list[PolicyRule]:
    subrules = []
    for group in rule.api_groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                if rule.resource_names:
                    for name in rule.resource_names:
                        subrules.append(PolicyRule([verb], [group], [resource], [name]))  # noqa: PERF401
                else:
                    subrules.append(PolicyRule([verb], [group], [resource]))
    for url in rule.non_resource_urls:
        for verb in rule.verbs:
            subrules.append(PolicyRule([verb], non_resource_urls=[url]))  # noqa: PERF401
    return subrules


def has_all(owned: list[str], contains: list[str]) -> bool:
    for element in contains:  # noqa: SIM110 - as it stands there
        if element not in owned:
            return False
    return True


def resource_covers_all(owned: list[str], covered: list[str]) -> bool:
    if "*" in owned or has_all(owned, covered):
        return True
    for path in covered:
        if path in owned:
            continue
        if "/" not in path:
            return False
        tokens = path.split("/", 1)
        if "*/" + tokens[1] not in owned:
            return False
    return True


def url_covers(owner: str, sub: str) -> bool:
    return owner == sub or (owner.endswith("*") and sub.startswith(owner.rstrip("*")))


def urls_cover_all(owned: list[str], covered: list[str]) -> bool:
    for path in covered:
        found = False
        for owner in owned:
            if url_covers(owner, path):
                found = True
                break
        if not found:
            return False
    return True


def rule_covers(owner: PolicyRule, sub: PolicyRule) -> bool:
    verbs = "*" in owner.verbs or has_all(owner.verbs, sub.verbs)
    groups = "*" in owner.api_groups or has_all(owner.api_groups, sub.api_groups)
    resources = resource_covers_all(owner.resources, sub.resources)
    urls = urls_cover_all(owner.non_resource_urls, sub.non_resource_urls)
    if not sub.resource_names:
        names = not owner.resource_names
    else:
        names = not owner.resource_names or has_all(owner.resource_names, sub.resource_names)
    return verbs and groups and resources and names and urls


VERBS = ["get", "list", "delete", "*"]
GROUPS = ["", "apps", "*"]
RESOURCES = ["pods", "pods/log", "pods/scale", "jobs", "*/scale", "*/log", "*"]
NAMES = ["a", "b", "*"]
URLS = ["/a", "/a/*", "/a/b", "/*", "*", "/a*", "/a**"]


def some(chance: random.Random, values: list[str], least: int = 1) -> list[str]:
    return [chance.choice(values) for _ in range(chance.randint(least, 3))]


def random_rule(chance: random.Random) -> PolicyRule:
    """A rule that the API server would take: of resources or of URLs, not of both."""
    verbs = some(chance, VERBS)
    if chance.random() < 0.2:
        return PolicyRule(verbs, non_resource_urls=some(chance, URLS))
    names = some(chance, NAMES) if chance.random() < 0.4 else []
    return PolicyRule(verbs, some(chance, GROUPS), some(chance, RESOURCES), names)


def ours(rule: PolicyRule) -> Rule:
    return Rule(
        tuple(rule.verbs),
        tuple(rule.api_groups),
        tuple(rule.resources),
        tuple(rule.resource_names),
        tuple(rule.non_resource_urls),
    )


def test_the_same_verdict_and_the_same_first_permission_as_kubernetes() -> None:
    chance = random.Random(20261123)  # noqa: S311 - the same rules each time
    covered = 0
    for _ in range(ROUNDS):
        owners = [random_rule(chance) for _ in range(chance.randint(0, 4))]
        wanted = random_rule(chance)
        uncovered = covers(owners, [wanted])
        expected = ours(uncovered[0]) if uncovered else None
        found = first_uncovered([ours(owner) for owner in owners], ours(wanted))
        assert found == expected, (owners, wanted)
        by_one = any(rule_covers(owner, wanted) for owner in owners)
        assert Cover(tuple(ours(owner) for owner in owners)).covers(ours(wanted)) is by_one, (owners, wanted)
        covered += not uncovered
    assert ROUNDS * 0.1 < covered < ROUNDS * 0.9  # both verdicts were met often


def test_a_rule_is_taken_apart_as_kubernetes_does() -> None:
    chance = random.Random(7)  # noqa: S311 - likewise
    for _ in range(500):
        rule = random_rule(chance)
        parts = [ours(part) for part in breakdown_rule(rule)]
        assert list(single(ours(rule))) == parts
        assert size(ours(rule)) == len(parts)
