"""Tables of a study: the paper's Tables 1, 2, 3 and 7, quality, paths, likelihood, training, all configurations."""

__all__ = ["Column", "Entry", "Row", "Table", "build_tables", "iterate_tables"]

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .cell_facts import SHARED_TIME, describe_troubles, explain_missing, timing_passport, warn_of_extractors
from .configuration_table import configuration_table
from .paper_columns import PaperColumns
from .paper_values import PaperValue, load_paper_values
from .results import CellResult, StudyResults
from .selection import Selection, Selector, Setup
from .table import Column, Entry, Row, Table, fit_digits, mark_best
from .table_metrics import (
    CLASSIFICATION,
    CLUSTERING,
    ENERGY_DISTANCE,
    FID,
    INCEPTION_SCORE,
    INTERPOLATION,
    LOG_LIKELIHOOD,
    MSE,
    NUM_PARAMETERS,
    NUM_TOGETHER,
    QUALITY,
    RECONSTRUCTION_FID,
    SECONDS,
    Metric,
    display,
)
from .table_notes import describe_units, explain_labels, explain_marks, measured_with, selected_by, warn_of_mixed

PAPER_TABLES = {
    "reconstruction": 1,
    "classification_clustering": 2,
    "generation": 3,
    "generation_all_samplers": 7,
}
TABLE_3_SAMPLERS = ("normal", "prior", "gmm", "vamp")


@dataclass(frozen=True)
class Line:
    """Method and sampler of a row, before its numbers are known."""

    method: str
    sampler: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.method,) if self.sampler is None else (self.method, display(self.sampler))


Chooser = Callable[[Line, Setup], Selection]


def build_tables(results: StudyResults, paper: Iterable[PaperValue] | None = None) -> list[Table]:
    """Every table that the study has numbers for, in the order of the paper. Arguments as of `iterate_tables`."""
    return list(iterate_tables(results, paper))


def iterate_tables(results: StudyResults, paper: Iterable[PaperValue] | None = None) -> Iterator[Table]:
    """The tables of `build_tables`, each built when it is asked for.

    Args:
        results: results of the study.
        paper: the paper's values; by default those of the package.
    """
    return (table for table in _build_each(results, paper) if table is not None)


def _build_each(results: StudyResults, paper: Iterable[PaperValue] | None) -> Iterator[Table | None]:
    """Each table in its turn, or None where the study has no numbers for it."""
    selector = Selector(results)
    paper_columns = PaperColumns(results, load_paper_values() if paper is None else paper)
    lines = [Line(method) for method in results.methods]
    sampled = [Line(method, sampler) for method in results.methods for sampler in selector.method_samplers(method)]
    main = [line for line in sampled if line.sampler in TABLE_3_SAMPLERS]
    scores = [FID, INCEPTION_SCORE, ENERGY_DISTANCE]
    spread = (
        "After ±: standard deviation over the probes (on test), or over the fits of k-means (on training embeddings); "
        "with several seeds, the root of its mean square over seeds."
    )
    num_pairs = results.tasks.get("interpolation", {}).get("num_pairs")
    paths = (
        f"Paths between {num_pairs or 'some'} pairs of test examples. Error of the ends: MSE between the ends of a "
        "path and the examples. Smoothness: 1 for even steps, near 0 for a jump. Straightness: 1 for a cross-fade, "
        "less for a detour."
    )
    build = _Builder(selector, paper_columns)
    metrics, labels = [MSE, RECONSTRUCTION_FID], explain_labels(results, "reconstruct")
    yield build.of_task("reconstruction", "Reconstruction", lines, metrics, "reconstruction", *labels)
    yield build.accuracies(lines, spread, *explain_labels(results, "embed"))
    yield build.of_task("generation", "Generation", main, scores, "generation")
    if sampled != main:
        title = "Generation with every sampler"
        yield build.of_task("generation_all_samplers", title, sampled, scores, "generation")
    yield build.of_task("generation_quality", "Quality of generated images", sampled, QUALITY, "generation")
    labels = explain_labels(results, "encode and decode")
    yield build.of_task("interpolation", "Interpolation", lines, INTERPOLATION, "interpolation", paths, *labels)
    importance = _describe_importance(results)
    yield build.of_task("log_likelihood", "Log-likelihood", lines, [LOG_LIKELIHOOD], "reconstruction", *importance)
    yield build.training(lines)
    yield configuration_table(selector)


def _describe_importance(results: StudyResults) -> list[str]:
    """How the log-likelihood is estimated."""
    settings = results.tasks.get("likelihood", {})
    samples = f" with {settings['num_samples']:,} samples each" if settings.get("num_samples") else ""
    num = f"the first {settings['num_images']:,} test examples" if settings.get("num_images") else "the test examples"
    notes = [f"Of {num}, by importance sampling{samples}, which is below the true value on average."]
    given = {cell.method for cell in results.cells if _is_given_labels(cell)}
    names = ", ".join(name for name in results.methods if name in given)
    return [*notes, f"Values of {names} are log p(x|y), given the label of each example."] if given else notes


def _is_given_labels(cell: CellResult) -> bool:
    """Whether a cell's log-likelihood is log p(x|y), given labels."""
    passport = cell.passports.get("likelihood/log_likelihood/test", {})
    return passport.get("settings", {}).get("given") == "class_labels"


class _Builder:
    """Builds tables with a column for each setup and metric."""

    def __init__(self, selector: Selector, paper: PaperColumns):
        self.selector, self.paper, self.results = selector, paper, selector.results

    def of_task(
        self, name: str, title: str, lines: Sequence[Line], metrics: Sequence[Metric], task: str, *notes: str
    ) -> Table | None:
        """Table of the metrics of one task."""
        choose = self._chooser(task)
        parts = [
            _Part(self.results, lines, metric.column(setup), metric, choose)
            for setup in self.selector.setups
            for metric in metrics
        ]
        return self._finish(name, title, lines, parts, notes)

    def accuracies(self, lines: Sequence[Line], *notes: str) -> Table | None:
        """Classification on the left and clustering on the right."""
        parts = [
            _Part(self.results, lines, metric.column(setup, metric_first=True), metric, self._chooser(task))
            for metric, task in ((CLASSIFICATION, "classification"), (CLUSTERING, "clustering"))
            for setup in self.selector.setups
        ]
        title = "Classification and clustering of embeddings"
        return self._finish("classification_clustering", title, lines, parts, notes)

    def training(self, lines: Sequence[Line]) -> Table | None:
        """Seconds and parameters of the configuration that generates best on validation, as in Figure 14."""

        def choose(line: Line, setup: Setup) -> Selection:
            best = self.selector.best_sampler(line.method, setup)
            return best if best.configuration else self.selector.select("reconstruction", line.method, setup)

        metrics = [SECONDS, NUM_PARAMETERS]
        shared = any(int(cell.facts.get("trained_together", 1)) > 1 for cell in self.selector.results.cells)
        if shared:
            metrics.insert(1, NUM_TOGETHER)
        parts = [
            _Part(self.results, lines, metric.column(setup), metric, choose)
            for setup in self.selector.setups
            for metric in metrics
        ]
        note = (
            "Of the configuration with the lowest FID of generated images on validation, over all samplers; without "
            "FID, of the one with the lowest MSE. Times are those of the training, without samplers and tasks."
        )
        notes = [note, *([SHARED_TIME] if shared else [])]
        return self._finish("training", "Training time and number of parameters", lines, parts, notes, rules=False)

    def _chooser(self, task: str) -> Chooser:
        return lambda line, setup: self.selector.select(task, line.method, setup, line.sampler)

    def _finish(
        self,
        name: str,
        title: str,
        lines: Sequence[Line],
        parts: Sequence["_Part"],
        notes: Sequence[str],
        rules: bool = True,
    ) -> Table | None:
        """Table without empty columns, with marks, notes and the paper's columns. None if it has no values."""
        parts = [part for part in parts if part.has_values]
        if not parts:
            return None
        rows = [
            Row(line.labels, tuple(part.entries[i] for part in parts), line.method, line.sampler)
            for i, line in enumerate(lines)
        ]
        columns = fit_digits([part.column for part in parts], rows)
        rows, mixed = mark_best(columns, rows)
        selections = [selection for part in parts for selection in part.selections]
        chosen = selected_by(selections) if rules else []
        cells = [cell for selection in selections if selection.configuration for cell in selection.configuration.cells]
        passports = [entry.passport for row in rows for entry in row.entries if entry.passport]
        all_notes = (
            *chosen,
            *describe_units(self.results, columns),
            *notes,
            *describe_troubles(cells),
            *explain_marks(rows),
            *warn_of_mixed(mixed),
            *measured_with(self.results, rows, columns),
        )
        labels = ("method", "sampler") if lines[0].sampler else ("method",)
        warnings = tuple(warn_of_extractors(self.results, passports=passports))
        paper_table = PAPER_TABLES.get(name) if self.results.is_paper_grid else None
        return self.paper.add_to(
            Table(name, title, labels, tuple(columns), tuple(rows), all_notes, warnings, paper_table)
        )


class _Part:
    """A column, its entries, and how their configurations were chosen."""

    def __init__(self, results: StudyResults, lines: Sequence[Line], column: Column, metric: Metric, choose: Chooser):
        assert column.setup is not None
        self.column = column
        self.selections = [choose(line, column.setup) for line in lines]
        self.entries = [_entry(results, selection, metric) for selection in self.selections]

    @property
    def has_values(self) -> bool:
        return any(entry.value is not None for entry in self.entries)


def _entry(results: StudyResults, selection: Selection, metric: Metric) -> Entry:
    """Mean over seeds of the chosen configuration, with its spread."""
    number, configuration = metric.number.format(sampler=selection.sampler), selection.configuration
    mean = selection.estimate(number)
    reason = None
    if mean is None and configuration is not None:
        reason = explain_missing(results, configuration.cells, number)
    entry = Entry.of(mean, configuration, selection.missing, metric.bounds, reason)
    if metric is SECONDS and configuration is not None:
        entry = replace(entry, passport=timing_passport(configuration.cells))
    spread = selection.estimate(metric.std_number) if metric.std_number else None
    if entry.value is None or spread is None:
        return entry
    return replace(entry, spread=math.sqrt(sum(std**2 for std in spread.values) / len(spread.values)))
