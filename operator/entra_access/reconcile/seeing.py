"""Readings whose faults are values: what cannot be seen is a `Fault` in its place, never a guess."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from entra_access.domain.faults import Fault, Missing
from entra_access.domain.observed import Seen

T = TypeVar("T")
K = TypeVar("K")


async def seen(reading: Awaitable[T]) -> Seen[T]:
    """What was read, or the fault in its place."""
    try:
        return await reading
    except Fault as fault:
        return fault


async def each(wanted: Iterable[K], look_up: Callable[[K], Awaitable[T]]) -> dict[K, Seen[T | None]]:
    """Look up each; what is certainly not there (`Missing`) is None."""
    keys = list(wanted)
    found = await asyncio.gather(*(seen(look_up(key)) for key in keys))
    return {k: None if isinstance(one, Missing) else one for k, one in zip(keys, found, strict=True)}


async def nothing() -> tuple[()]:
    """What there is where nothing needs to be looked at."""
    return ()
