"""The table of all configurations, their numbers on validation and test, and what each was chosen for."""

__all__ = ["configuration_table"]

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from .selection import Configuration, Missing, Selector, Setup
from .table import Column, Entry, Row, Table
from .table_metrics import (
    CLASSIFICATION,
    CLUSTERING,
    FID,
    LOG_LIKELIHOOD,
    MSE,
    NUM_PARAMETERS,
    RECONSTRUCTION_FID,
    SECONDS,
    Metric,
    display,
)
from .table_notes import measured_with

LABELS = ("method", "configuration", "settings", "networks", "data", "latent dimensions", "state", "chosen for")


def configuration_table(selector: Selector) -> Table | None:
    """Every configuration in every setup, with the mean over its seeds. None for a study without cells."""
    columns = [metric.plain_column() for metric in _metrics(selector)]
    rows = [
        row
        for setup in selector.setups
        for method in selector.results.methods
        for row in _rows(selector, method, setup, columns)
    ]
    if not rows:
        return None
    used = [i for i in range(len(columns)) if any(row.entries[i].value is not None for row in rows)]
    rows = [replace(row, entries=tuple(row.entries[i] for i in used)) for row in rows]
    notes = (
        "Numbers are means over the seeds that are done. Nothing is marked, since setups differ by row.",
        *measured_with(selector.results, rows),
    )
    return Table("configurations", "All configurations", LABELS, tuple(columns[i] for i in used), tuple(rows), notes)


def _metrics(selector: Selector) -> list[Metric]:
    metrics = _by_split(MSE, "validation", "test")
    metrics.append(replace(RECONSTRUCTION_FID, label="FID of reconstructions"))
    for sampler in selector.results.samplers:
        number = FID.number.format(sampler=sampler)
        metrics += _by_split(replace(FID, label=f"FID {display(sampler)}", number=number), "validation", "test")
    metrics += _by_split(CLASSIFICATION, "validation", "test") + _by_split(CLUSTERING, "validation", "train")
    return [*metrics, LOG_LIKELIHOOD, SECONDS, NUM_PARAMETERS]


def _by_split(metric: Metric, *splits: str) -> list[Metric]:
    number = metric.number.rsplit("/", 1)[0]
    return [replace(metric, label=f"{metric.label}, {split}", number=f"{number}/{split}") for split in splits]


def _rows(selector: Selector, method: str, setup: Setup, columns: Sequence[Column]) -> list[Row]:
    chosen = _chosen_for(selector, method, setup)
    return [
        Row(
            labels=(
                method,
                str(configuration.number),
                ", ".join(f"{name} {value}" for name, value in configuration.fields.items()),
                display(setup.network),
                display(setup.dataset),
                str(setup.latent_dim),
                _state(configuration),
                ", ".join(chosen.get(configuration.number, [])),
            ),
            entries=_entries(configuration, columns),
            method=method,
            setup=setup,
        )
        for configuration in selector.configurations(method, setup)
    ]


def _entries(configuration: Configuration, columns: Sequence[Column]) -> tuple[Entry, ...]:
    """Means over the seeds that are done."""
    done = tuple(cell for cell in configuration.cells if cell.state == "done")
    if not done:
        state = configuration.cells[0].state
        missing = cast(Missing, "unfinished" if state in ("running", "waiting") else state)
        return (Entry(missing=missing),) * len(columns)
    part = Configuration(configuration.number, done)
    return tuple(Entry.of(part.estimate(str(column.number)), part) for column in columns)


def _state(configuration: Configuration) -> str:
    """State of the seeds: "done", "1 done, 1 failed: out of memory", "the same as 4"."""
    if duplicate_of := configuration.cells[0].facts.get("duplicate_of"):
        return f"the same as {duplicate_of}"
    states = [cell.state for cell in configuration.cells]
    distinct = sorted(set(states))
    text = distinct[0] if len(distinct) == 1 else ", ".join(f"{states.count(state)} {state}" for state in distinct)
    error = next((cell.error for cell in configuration.cells if cell.error), None)
    return f"{text}: {error}" if error else text


def _chosen_for(selector: Selector, method: str, setup: Setup) -> dict[int, list[str]]:
    """Tasks, by the number of the configuration that was chosen for them."""
    choices: list[tuple[str, str | None]] = [("reconstruction", None)]
    choices += [("generation", sampler) for sampler in selector.method_samplers(method)]
    choices += [("classification", None), ("clustering", None), ("interpolation", None)]
    found: dict[int, list[str]] = {}
    for task, sampler in choices:
        if task not in selector.results.tasks:
            continue
        configuration = selector.select(task, method, setup, sampler).configuration
        if configuration is not None:
            label = f"{task} ({display(sampler)})" if sampler else task
            found.setdefault(configuration.number, []).append(label)
    return found
