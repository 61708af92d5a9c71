"""What a team may give at most: Kubernetes' own rule covering, as a pure function.

The meaning is that of the API server's escalation check, `Covers` in
https://github.com/kubernetes/component-helpers/blob/master/auth/rbac/validation/policy_comparator.go:
a rule is covered when each single permission in it is covered by one rule of the ceiling.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Final

from entra_access.api.resources import Ceiling, LabelSelector, NamespaceGrant, Requirement, Rule
from entra_access.domain.faults import Fault, Finding, Link, Severity
from entra_access.domain.known_roles import same_role

MAX_SINGLE_PERMISSIONS: Final = 20_000
"""Rules that mean more than this many single permissions are refused: the check must not stop the rest."""


def beyond(
    grant: NamespaceGrant,
    ceiling: Ceiling | None,
    labels: Mapping[str, str],
    role_ids: Mapping[str, str | Fault | None],
) -> Finding | None:
    """The first thing in the grant that is too much, or None where all of it is within the ceiling.

    `labels` are those of the grant's namespace; `role_ids` are the GUIDs of Azure roles, as they were seen.
    """
    closed = not_here(grant, ceiling, labels)
    if closed or ceiling is None:
        return closed
    for index, role in enumerate(grant.cluster_roles):
        if role not in ceiling.cluster_roles:
            message = f"ClusterRole {role} is not among the spec.grants.clusterRoles of {_policy(grant)}"
            return _too_much("BeyondCeiling", f"spec.clusterRoles[{index}]", message)
    found = _azure_beyond(grant, ceiling, role_ids)
    if found:
        return found
    left = MAX_SINGLE_PERMISSIONS
    cover = Cover(ceiling.rules)
    for index, rule in enumerate(grant.rules):
        if cover.covers(rule):
            continue
        left -= size(rule)
        found = _rule_beyond(grant, rule, cover, f"spec.rules[{index}]", left)
        if found:
            return found
    return None


def not_here(grant: NamespaceGrant, ceiling: Ceiling | None, labels: Mapping[str, str]) -> Finding | None:
    """Why no grant at all may use the policy in that namespace, or None where grants may."""
    if ceiling is None:
        return _too_much("NoGrantsAllowed", "spec.policyRef.name", f"{_policy(grant)} allows no grants")
    if selects(ceiling.namespaces, labels):
        return None
    return _too_much(
        "NamespaceNotAllowed",
        "metadata.namespace",
        f"{_policy(grant)} may not be used in namespace {grant.meta.namespace}: "
        "its labels are not those of spec.grants.namespaces",
    )


def _azure_beyond(
    grant: NamespaceGrant, ceiling: Ceiling, role_ids: Mapping[str, str | Fault | None]
) -> Finding | None:
    """An Azure role that is none of the ceiling's: the same name, or the same role by another name."""
    for index, role in enumerate(grant.azure_roles):
        if any(same_role(role, one) for one in ceiling.azure_roles):
            continue
        wanted, *allowed = [role_ids.get(one) for one in (role, *ceiling.azure_roles)]
        if isinstance(wanted, str) and wanted in allowed:
            continue
        fault = next((one for one in (wanted, *allowed) if isinstance(one, Fault)), None)
        if fault and allowed and wanted is not None:
            return fault.finding(Link.CEILING, observing=True)
        message = f"Azure role {role} is not among the spec.grants.azureRoles of {_policy(grant)}"
        return _too_much("BeyondCeiling", f"spec.azureRoles[{index}]", message)
    return None


def _rule_beyond(grant: NamespaceGrant, rule: Rule, cover: "Cover", path: str, left: int) -> Finding | None:
    if left < 0:
        message = (
            f"no single rule of the ceiling covers it, and up to here the rules mean more than "
            f"{MAX_SINGLE_PERMISSIONS} single permissions; make them smaller, or several grants of them"
        )
        return _too_much("RulesTooLarge", path, message)
    missing = cover.first_uncovered(rule)
    if missing is None:
        return None
    message = f"{describe(missing)} is beyond {_policy(grant)}, because its spec.grants.rules do not cover it"
    return _too_much("BeyondCeiling", path, message)


def _policy(grant: NamespaceGrant) -> str:
    return f"AccessPolicy {grant.policy}"


def _too_much(reason: str, path: str, message: str) -> Finding:
    return Finding(Link.CEILING, Severity.STALLED, reason, message, path)


def size(rule: Rule) -> int:
    """How many single permissions the rule means."""
    names = max(1, len(rule.resource_names))
    return len(rule.verbs) * (
        len(rule.api_groups) * len(rule.resources) * names + len(rule.non_resource_urls)
    )


def first_uncovered(ceiling: Iterable[Rule], rule: Rule) -> Rule | None:
    """The first single permission of `rule` that no rule of the ceiling covers, or None."""
    return Cover(tuple(ceiling)).first_uncovered(rule)


class Cover:
    """The rules of a ceiling, prepared for many questions.

    For each word, say a verb, it knows which of the rules allow it, as a number with a bit for each rule. A
    permission is covered where its words have a bit in common. So the size of the ceiling costs next to
    nothing, and the largest grant under the largest ceiling that the schemas let in takes a hundredth of a
    second: nobody else is served meanwhile.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._all = (1 << len(rules)) - 1
        self._verbs = _bits(rule.verbs for rule in rules)
        self._groups = _bits(rule.api_groups for rule in rules)
        self._resources = _bits(rule.resources for rule in rules)
        self._names = _bits(rule.resource_names for rule in rules)
        # No names means every name.
        self._unnamed = sum(1 << number for number, rule in enumerate(rules) if not rule.resource_names)

    def covers(self, rule: Rule) -> bool:
        """Whether one rule of the ceiling covers all of it."""
        common = self._all
        for allowing in (*self._words(rule), [self._by_url(url) for url in rule.non_resource_urls]):
            for bits in allowing:
                common &= bits
        return bool(common)

    def first_uncovered(self, rule: Rule) -> Rule | None:
        """The first of its single permissions that no rule of the ceiling covers, or None."""
        number = next((number for number, bits in enumerate(self._each(rule)) if not bits), None)
        return None if number is None else next(islice(single(rule), number, None))

    def _each(self, rule: Rule) -> Iterator[int]:
        """Which rules allow each of its single permissions, in the order of `single`."""
        verbs, groups, resources, names = self._words(rule)
        for group, resource in product(groups, resources):
            here = group & resource
            for verb, name in product(verbs, names):
                yield here & verb & name
        for url, verb in product([self._by_url(url) for url in rule.non_resource_urls], verbs):
            yield url & verb & self._unnamed

    def _words(self, rule: Rule) -> tuple[list[int], list[int], list[int], list[int]]:
        """Which rules allow each verb, API group, resource and name of a rule."""
        any_verb, any_group = self._verbs.get("*", 0), self._groups.get("*", 0)
        return (
            [any_verb | self._verbs.get(verb, 0) for verb in rule.verbs],
            [any_group | self._groups.get(group, 0) for group in rule.api_groups],
            [self._by_resource(resource) for resource in rule.resources],
            [self._unnamed | self._names.get(name, 0) for name in rule.resource_names] or [self._unnamed],
        )

    def _by_resource(self, resource: str) -> int:
        """``*`` covers all, subresources too; ``pods`` not ``pods/log``; ``*/scale`` every scale."""
        _, slash, subresource = resource.partition("/")
        by_subresource = self._resources.get(f"*/{subresource}", 0) if slash else 0
        return self._resources.get("*", 0) | self._resources.get(resource, 0) | by_subresource

    def _by_url(self, url: str) -> int:
        covering = (any(_covers_url(mine, url) for mine in rule.non_resource_urls) for rule in self._rules)
        return sum(1 << number for number, covers in enumerate(covering) if covers)


def _bits(words_of: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """For each word the rules that have it."""
    found: dict[str, int] = defaultdict(int)
    for number, words in enumerate(words_of):
        for word in words:
            found[word] |= 1 << number
    return dict(found)


def _covers_url(mine: str, url: str) -> bool:
    return mine == url or (mine.endswith("*") and url.startswith(mine.rstrip("*")))


def single(rule: Rule) -> Iterator[Rule]:
    """The rule taken apart into single permissions."""
    names: tuple[tuple[str, ...], ...] = tuple((name,) for name in rule.resource_names) or ((),)
    for group, resource, verb, name in product(rule.api_groups, rule.resources, rule.verbs, names):
        yield Rule(verbs=(verb,), api_groups=(group,), resources=(resource,), resource_names=name)
    for url, verb in product(rule.non_resource_urls, rule.verbs):
        yield Rule(verbs=(verb,), non_resource_urls=(url,))


def describe(rule: Rule) -> str:
    """A single permission in words, as ``delete secrets`` or ``get pods/log in apps``."""
    if rule.non_resource_urls:
        return f"{rule.verbs[0]} {rule.non_resource_urls[0]}"
    words = f"{rule.verbs[0]} {rule.resources[0]}"
    if rule.resource_names:
        words += f" {rule.resource_names[0]}"
    return f"{words} in API group {rule.api_groups[0]}" if rule.api_groups[0] else words


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether the selector matches the labels, as Kubernetes' label selectors do."""
    return all(labels.get(key) == value for key, value in selector.match_labels) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions
    )


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
        case _:
            return False
