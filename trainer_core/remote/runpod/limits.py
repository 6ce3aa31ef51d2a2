"""The times, sizes and rates that RunPod allows, and the policy of a request.

Source: RunPod documentation, "Send API requests" (execution policies, payload limits) and "Operation reference" (rate limits).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainer_core.errors import RemoteError

DAY_S = 24 * 3600.0
LEAST_RUN_S, MOST_RUN_S = 5.0, 7 * DAY_S
LEAST_TTL_S, MOST_TTL_S = 10.0, 7 * DAY_S
QUEUE_S = DAY_S
"""How long a job may wait for a worker, unless the caller wants otherwise."""
KEPT_S = 30 * 60.0
"""How long RunPod keeps the result of a job after its end."""
LARGEST_REQUEST_BYTES = 10_000_000
"""The documents say 10 MB; this is the smaller reading of it."""

RATES: Mapping[str, int] = {"run": 1000, "status": 2000, "cancel": 100, "retry": 1000, "health": 2000}
"""How many requests an endpoint takes in `WINDOW_S`, by operation. "retry" and "health" have no documented rate."""
WINDOW_S = 10.0


@dataclass(frozen=True)
class Policy:
    """How long a job may run, and how long it may exist: `ttl_s` counts the time in the queue and the time it runs.

    RunPod deletes a job whose `ttl_s` is over, even while it runs. Without a policy a job is ended after 10 minutes.
    """

    run_s: float
    ttl_s: float

    def as_dict(self) -> dict[str, int]:
        """The policy as it is sent: in milliseconds."""
        return {"executionTimeout": round(self.run_s * 1000), "ttl": round(self.ttl_s * 1000)}


def policy(run_s: float, queue_s: float = QUEUE_S) -> Policy:
    """The policy for a job that runs at most `run_s` seconds after at most `queue_s` seconds in the queue.

    A time in the queue that does not fit into the 7 days of a job is shortened.

    Raises:
        RemoteError: the times are no positive numbers, or the job would run longer than RunPod allows.
    """
    if not (0 < run_s < float("inf") and 0 <= queue_s < float("inf")):
        raise RemoteError("The times of a job must be positive numbers of seconds.")
    if run_s > MOST_RUN_S:
        message = f"The training may take {run_s / DAY_S:.1f} days, but RunPod ends every job after {MOST_RUN_S / DAY_S:.0f} days."
        raise RemoteError(message, "Train fewer steps, or continue a shorter run afterwards.")
    allowed = max(run_s, LEAST_RUN_S)
    return Policy(allowed, min(max(allowed + queue_s, LEAST_TTL_S), MOST_TTL_S))


class Pace:
    """Delays requests so that no more are sent in `WINDOW_S` than RunPod takes. May be used by several threads at once."""

    def __init__(
        self,
        rates: Mapping[str, int] = RATES,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rates, self._now, self._sleep = rates, now, sleep
        self._sent: dict[str, deque[float]] = {name: deque() for name in rates}
        self._lock = threading.Lock()

    def wait(self, operation: str) -> None:
        """Returns when another request of this operation may be sent."""
        while (delay := self._delay(operation)) > 0:
            self._sleep(delay)

    def _delay(self, operation: str) -> float:
        """The seconds to wait; 0 when the request may be sent, which is then counted."""
        with self._lock:
            now, sent = self._now(), self._sent[operation]
            while sent and sent[0] <= now - WINDOW_S:
                sent.popleft()
            if len(sent) < self._rates[operation]:
                sent.append(now)
                return 0.0
            # Never 0, which the rounding of numbers could make of it: only a request that was counted is sent.
            return max(sent[0] + WINDOW_S - now, 0.001)
