"""What a section of benchmarks/run.py yields."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Comparison:
    """The same work by both sides.

    Args:
        name: the row's name.
        ours, theirs: functions that do the work once.
        target: the ratio of their times to reach; None if there is none.
    """

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    target: float | None = None


def timed(work: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
