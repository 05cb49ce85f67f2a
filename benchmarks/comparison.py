"""`Comparison`, the rows that the sections of benchmarks/run.py yield, and helpers for timing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Comparison:
    """The same work, implemented twice.

    Args:
        name: name of the row.
        ours, baseline: functions that do the work once.
        target: ratio of ours to the baseline that was set as a goal, or None.
    """

    name: str
    ours: Callable[[], Any]
    baseline: Callable[[], Any]
    target: float | None = None


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that one call of `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def lazily(make: Callable[..., Callable[[], Any]], *args: Any) -> Callable[[], Any]:
    """Return a function that calls `make(*args)` once, at its first call, and then always calls the result.

    Each process runs one side of a comparison. This way it builds the models of that side only.
    """
    made: list[Callable[[], Any]] = []

    def work():
        if not made:
            made.append(make(*args))
        return made[0]()

    return work
