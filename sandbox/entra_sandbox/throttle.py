"""Throttling by token buckets, with the documented limits and headers of Graph and of ARM."""

import math
from dataclasses import dataclass

from entra_sandbox.exchange import ServiceError
from entra_sandbox.state import State

# Graph, a tenant of more than 500 users: resource units in 10 s, writes in 150 s, by application and tenant.
_UNITS, _UNITS_SECONDS = 8000, 10
_WRITES, _WRITES_SECONDS = 3000, 150
_NEAR = 0.8
# ARM: burst and refill per second, by subscription, principal and operation; a subscription as a whole gets
# 15 times that.
_ARM = {"reads": (250, 25), "writes": (200, 10), "deletes": (200, 10)}
_GLOBAL = 15
_ARM_WAIT = 10


@dataclass(slots=True)
class _Bucket:
    """Fills by time, up to its size."""

    size: float
    refill: float
    level: float
    at: float

    def settle(self, now: float) -> None:
        self.level = min(self.size, self.level + (now - self.at) * self.refill)
        self.at = now

    def wait(self, cost: float) -> int:
        """Seconds until so much is there."""
        return max(1, math.ceil((cost - self.level) / self.refill))


class Throttle:
    """All buckets of a sandbox. A change of the scale starts them anew, full."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buckets: dict[tuple[str, ...], _Bucket] = {}
        self._scale = state.settings.throttle_scale

    def reset(self) -> None:
        """Fill all buckets."""
        self._buckets.clear()

    def graph(self, app_id: str, cost: int, *, write: bool) -> dict[str, str]:
        """Charge a Graph request; give its headers, or refuse with 429."""
        headers = {"x-ms-resource-unit": str(cost)}
        if self._off():
            return headers
        units = self._bucket(("graph", app_id), _UNITS, _UNITS / _UNITS_SECONDS)
        writes = self._bucket(("graph-write", app_id), _WRITES, _WRITES / _WRITES_SECONDS)
        if units.level < cost:
            raise self._graph_refusal(app_id, units.wait(cost), "ResourceUnitLimitExceeded")
        if write and writes.level < 1:
            raise self._graph_refusal(app_id, writes.wait(1), "WriteLimitExceeded")
        units.level -= cost
        writes.level -= write
        used = 1 - min(units.level / units.size, writes.level / writes.size if write else 1)
        if used >= _NEAR:
            headers["x-ms-throttle-limit-percentage"] = f"{used:.2f}"
        return headers

    def arm(self, subscription: str, oid: str, operation: str) -> dict[str, str]:
        """Charge an ARM request; give its headers, or refuse with 429."""
        burst, refill = _ARM[operation]
        name = f"x-ms-ratelimit-remaining-{'subscription' if subscription else 'tenant'}"
        if self._off():
            return {f"{name}-{operation}": str(burst - 1)}
        own = self._bucket(("arm", subscription, oid, operation), burst, refill)
        total = self._bucket(("arm", subscription, operation), burst * _GLOBAL, refill * _GLOBAL)
        if own.level < 1 or total.level < 1:
            raise self._arm_refusal(subscription, oid, operation, max(own.wait(1), _ARM_WAIT))
        own.level -= 1
        total.level -= 1
        headers = {f"{name}-{operation}": str(int(own.level))}
        if subscription:
            headers[f"x-ms-ratelimit-remaining-subscription-global-{operation}"] = str(int(total.level))
        return headers

    def _off(self) -> bool:
        scale = self._state.settings.throttle_scale
        if scale != self._scale:
            self._scale = scale
            self.reset()
        return scale == 0

    def _bucket(self, key: tuple[str, ...], size: float, refill: float) -> _Bucket:
        now = self._state.clock.now()
        bucket = self._buckets.get(key)
        if bucket is None:
            size, refill = max(1.0, size * self._scale), refill * self._scale
            bucket = self._buckets[key] = _Bucket(size, refill, size, now)
        bucket.settle(now)
        return bucket

    def _graph_refusal(self, app_id: str, wait: int, information: str) -> ServiceError:
        tenant = self._state.tenant_id
        headers = {
            "retry-after": str(wait),
            "x-ms-throttle-scope": f"Tenant_Application/ReadWrite/{app_id}/{tenant}",
            "x-ms-throttle-information": information,
            "x-ms-throttle-limit-percentage": "1.00",
        }
        message = (
            f"Too many requests from Identifier:{tenant},{app_id} under category:aadgraph.app.tenant_large. "
            "Please try again later."
        )
        return ServiceError(429, "TooManyRequests", message, headers=headers)

    @staticmethod
    def _arm_refusal(subscription: str, oid: str, operation: str, wait: int) -> ServiceError:
        kind = operation.removesuffix("s")
        message = (
            f"Number of '{kind}' requests for subscription '{subscription}' actor '{oid}' exceeded. Please "
            "try again "
            f"after '{wait}' seconds after additional tokens are available. Refer to "
            "https://aka.ms/arm-throttling "
            "for additional information."
        )
        return ServiceError(429, "SubscriptionRequestsThrottled", message, headers={"retry-after": str(wait)})
