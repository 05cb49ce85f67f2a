"""The table of all configurations, their numbers on validation and test, and what each was chosen for."""

__all__ = ["configuration_table"]

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from .cell_facts import (
    SHARED_TIME,
    count_divergences,
    describe_troubles,
    explain_missing,
    timing_passport,
    training_warnings,
    warn_of_extractors,
)
from .results import StudyResults
from .selection import Configuration, Missing, Selector, Setup
from .table import Column, Entry, Row, Table, fit_digits
from .table_metrics import (
    CLASSIFICATION,
    CLUSTERING,
    ENERGY_DISTANCE,
    FID,
    INTERPOLATION,
    LOG_LIKELIHOOD,
    MSE,
    NUM_PARAMETERS,
    NUM_TOGETHER,
    RECONSTRUCTION_FID,
    SECONDS,
    Metric,
    display,
)
from .table_notes import describe_units, explain_marks, measured_with

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
    columns = fit_digits([columns[i] for i in used], rows)
    results = selector.results
    notes = (
        "Numbers are means over the seeds that are done. Nothing is marked, since setups differ by row.",
        *describe_units(results, columns),
        *([SHARED_TIME] if any(column.metric == NUM_TOGETHER.name for column in columns) else []),
        *describe_troubles(results.cells),
        *explain_marks(rows),
        *measured_with(results, rows, columns),
    )
    passports = [entry.passport for row in rows for entry in row.entries if entry.passport]
    warnings = tuple(warn_of_extractors(results, passports=passports))
    return Table("configurations", "All configurations", LABELS, tuple(columns), tuple(rows), notes, warnings)


def _metrics(selector: Selector) -> list[Metric]:
    metrics = _by_split(MSE, "validation", "test")
    metrics.append(replace(RECONSTRUCTION_FID, label="FID of reconstructions"))
    for sampler in selector.results.samplers:
        for metric in (FID, ENERGY_DISTANCE):
            number = metric.number.format(sampler=sampler)
            label = f"{metric.label} {display(sampler)}"
            metrics += _by_split(replace(metric, label=label, number=number), "validation", "test")
    metrics += _by_split(CLASSIFICATION, "validation", "test") + _by_split(CLUSTERING, "validation", "train")
    shared = any(int(cell.facts.get("trained_together", 1)) > 1 for cell in selector.results.cells)
    metrics += [*INTERPOLATION, LOG_LIKELIHOOD, SECONDS, *([NUM_TOGETHER] if shared else []), NUM_PARAMETERS]
    return metrics


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
            entries=_entries(selector.results, configuration, columns),
            method=method,
            setup=setup,
        )
        for configuration in selector.configurations(method, setup)
    ]


def _entries(results: StudyResults, configuration: Configuration, columns: Sequence[Column]) -> tuple[Entry, ...]:
    """Means over the seeds that are done."""
    done = tuple(cell for cell in configuration.cells if cell.state == "done")
    if not done:
        state = configuration.cells[0].state
        missing = cast(Missing, "unfinished" if state in ("running", "waiting") else state)
        return (Entry.of(None, configuration, missing, reason=configuration.cells[0].error),) * len(columns)
    part = Configuration(configuration.number, done)
    return tuple(_entry(results, part, column) for column in columns)


def _entry(results: StudyResults, part: Configuration, column: Column) -> Entry:
    number = str(column.number)
    mean = part.estimate(number)
    reason = explain_missing(results, part.cells, number) if mean is None else None
    entry = Entry.of(mean, part, bounds=column.bounds, reason=reason)
    return replace(entry, passport=timing_passport(part.cells)) if column.metric == SECONDS.name else entry


def _state(configuration: Configuration) -> str:
    """State of the seeds: "done, warned of posterior collapse", "1 done, 1 failed: out of memory", "the same as 4"."""
    if duplicate_of := configuration.cells[0].facts.get("duplicate_of"):
        return f"the same as {duplicate_of}"
    states = [cell.state for cell in configuration.cells]
    distinct = sorted(set(states))
    text = distinct[0] if len(distinct) == 1 else ", ".join(f"{states.count(state)} {state}" for state in distinct)
    error = next((cell.error for cell in configuration.cells if cell.error), None)
    parts = [f"{text}: {error}" if error else text]
    if number := count_divergences(configuration.cells):
        parts.append(f"diverged {number} time{'s' if number > 1 else ''}")
    if warnings := training_warnings(configuration.cells):
        parts.append(f"warned of {' and '.join(warnings)}")
    return ", ".join(parts)


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
