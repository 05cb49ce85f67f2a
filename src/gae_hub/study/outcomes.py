"""Outcomes of comparisons, and the verdict that follows from them."""

__all__ = ["Rows", "Value", "Verdict", "count_outcomes", "decide", "describe_outcome", "find_verdict"]

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .selection import student_interval

Rows = list[dict[str, Any]]
"""Rows of numbers; `agree` and `undecided` are counts among the row's `compared` comparisons."""

Verdict = Literal["holds", "does not hold", "mixed", "undecided", "not measured"]

HOLDS, FAILS = 0.75, 0.25  # shares of the comparisons


@dataclass(frozen=True)
class Value:
    """Mean of a number over seeds, and the value of each seed."""

    mean: float
    seeds: tuple[float, ...]


def decide(
    statistic: Callable[[dict[Any, float]], float], values: Mapping[Any, Value], *, inclusive: bool = False
) -> dict[str, int]:
    """`agree`, `undecided` and `compared` of one comparison.

    With several seeds, the comparison is undecided unless the statistic of the means and the 95 % interval of the
    statistic over the seeds lie on one side of 0.

    Args:
        statistic: computes from numbers under the keys of `values` what is positive where the comparison agrees.
        values: the values that are compared.
        inclusive: whether a statistic of 0 agrees.
    """
    mean = statistic({key: value.mean for key, value in values.items()})
    agrees = mean >= 0 if inclusive else mean > 0
    counts = [len(value.seeds) for value in values.values() if len(value.seeds) > 1]
    if not counts:
        return count_outcomes(agrees)
    by_seed = [
        statistic({key: value.seeds[i] if len(value.seeds) > 1 else value.mean for key, value in values.items()})
        for i in range(min(counts))
    ]
    low, high = student_interval(by_seed)
    return count_outcomes(agrees, decided=low > 0 if agrees else high < 0)


def count_outcomes(agrees: bool, decided: bool = True) -> dict[str, int]:
    """The counts of one comparison."""
    return {"agree": int(agrees and decided), "undecided": int(not decided), "compared": 1}


def find_verdict(rows: Iterable[dict[str, Any]]) -> Verdict:
    """The verdict of all comparisons; "undecided" if those without a decision could change it."""
    rows = list(rows)
    num_compared = sum(row["compared"] for row in rows)
    if not num_compared:
        return "not measured"
    num_agree = sum(row["agree"] for row in rows)
    least = num_agree / num_compared
    most = (num_agree + sum(row.get("undecided", 0) for row in rows)) / num_compared
    if least >= HOLDS:
        return "holds"
    if most <= FAILS:
        return "does not hold"
    return "mixed" if least > FAILS and most < HOLDS else "undecided"


def describe_outcome(row: dict[str, Any]) -> str:
    """Outcome of a row's comparisons: "yes", "no", "undecided", or "12 of 13, 1 undecided"."""
    undecided = row.get("undecided", 0)
    if row["compared"] == 1:
        return "undecided" if undecided else "yes" if row["agree"] else "no"
    return f"{row['agree']} of {row['compared']}" + (f", {undecided} undecided" if undecided else "")
