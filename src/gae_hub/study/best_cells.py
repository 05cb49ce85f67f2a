"""The best cell of a task, for users who go on with its model."""

__all__ = ["find_best"]

import math
from collections.abc import Sequence
from typing import TypeVar

from .results import CellResult, StudyResults
from .selection import CRITERIA, Selection, Selector, Setup

T = TypeVar("T")


def find_best(
    results: StudyResults,
    task: str,
    method: str | None = None,
    sampler: str | None = None,
    dataset: str | None = None,
    network: str | None = None,
    latent_dim: int | None = None,
    seed: int | None = None,
) -> CellResult:
    """The cell that is best at a task on validation: see `LoadedResults.best`."""
    _check("task", task, list(CRITERIA))
    if sampler is not None and task != "generation":
        raise ValueError(f"sampler belongs to the task 'generation', and the task is '{task}'; leave it out")
    if sampler is not None:
        _check("sampler", sampler, results.samplers)
    if method is not None:
        _check("method", method, list(results.methods))
    dataset = _only("dataset", dataset, results.datasets)
    setup = Setup(
        _only("network", network, results.networks),
        dataset,
        _only("latent_dim", latent_dim, results.latent_dims[dataset]),
    )
    selector = Selector(results)
    names = list(results.methods) if method is None else [method]
    found = [_select(selector, task, name, setup, sampler) for name in names]
    smaller_wins = CRITERIA[task][1]
    chosen = [selection for selection in found if selection.configuration is not None]
    if not chosen:
        reasons = "; ".join(f"{number} {reason}" for one in found for number, reason in one.left_out.items())
        raise ValueError(
            f"no configuration of {', '.join(names)} is measured for '{task}' on {dataset}: {found[0].missing}"
            + (f" ({reasons})" if reasons else "")
        )
    # criteria differ where one is not measured: only selections by the same number are compared
    same = [
        selection for selection in chosen if selection.criterion.split("/")[-2] == chosen[0].criterion.split("/")[-2]
    ]
    best = (min if smaller_wins else max)(same, key=_value)
    assert best.configuration is not None
    cells = best.configuration.cells
    if seed is None:
        return cells[0]
    return cells[[cell.seed for cell in cells].index(_check("seed", seed, [cell.seed for cell in cells]))]


def _select(selector: Selector, task: str, method: str, setup: Setup, sampler: str | None) -> Selection:
    if task == "generation" and sampler is None:
        return selector.best_sampler(method, setup)
    return selector.select(task, method, setup, sampler)


def _value(selection: Selection) -> float:
    return math.nan if selection.value is None else selection.value


def _check(name: str, value: T, known: Sequence[T]) -> T:
    """The value; ValueError unless the study has it."""
    if value not in known:
        names = list(map(str, known))
        from ..core.argument_checks import suggest  # imports torch, which is slow

        raise ValueError(f"the study has no {name} '{value}'; {suggest(str(value), names, 'it has')}")
    return value


def _only(name: str, value: T | None, known: Sequence[T]) -> T:
    """The value, or the only one that the study has."""
    if value is not None:
        return _check(name, value, known)
    if len(known) != 1:
        raise ValueError(f"the study has several: choose one with {name}=, of {', '.join(map(repr, known))}")
    return known[0]
