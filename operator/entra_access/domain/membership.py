"""Groups of policies that are members of one another."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping


def cycles(policy: str, edges: Callable[[str], Mapping[str, str]]) -> dict[str, str]:
    """The members of a policy's group by which that group would come back to be a member of itself.

    `edges` gives, for a policy's name, the policies whose groups are its members, by the value of the
    reference that names each. Returns for each such reference the way round, as ``a → b → a``.
    """
    found = {}
    for reference, member in sorted(edges(policy).items()):
        way = _way(member, policy, lambda name: edges(name).values())
        if way:
            found[reference] = " → ".join((policy, *way))
    return found


def _way(start: str, end: str, steps: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """The shortest way from one policy to another, both included, or nothing."""
    came_from: dict[str, str] = {start: ""}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        if here == end:
            way = [here]
            while came_from[way[0]]:
                way.insert(0, came_from[way[0]])
            return tuple(way)
        for step in sorted(set(steps(here)) - came_from.keys()):
            came_from[step] = here
            waiting.append(step)
    return ()
