"""Tables of a study: the paper's Tables 1, 2, 3 and 7, quality, likelihood, training time and all configurations."""

__all__ = ["Column", "Entry", "Row", "Table", "build_tables"]

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from .configuration_table import configuration_table
from .paper_columns import PaperColumns
from .paper_values import PaperValue, load_paper_values
from .results import StudyResults
from .selection import Selection, Selector, Setup
from .table import Column, Entry, Row, Table, mark_best
from .table_metrics import (
    CLASSIFICATION,
    CLUSTERING,
    FID,
    INCEPTION_SCORE,
    LOG_LIKELIHOOD,
    MSE,
    NUM_PARAMETERS,
    QUALITY,
    RECONSTRUCTION_FID,
    SECONDS,
    Metric,
    display,
)
from .table_notes import explain_marks, measured_with, selected_by, warn_of_mixed

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
    """Every table that the study has numbers for, in the order of the paper.

    Args:
        results: results of the study.
        paper: the paper's values; by default those of the package.
    """
    selector = Selector(results)
    paper_columns = PaperColumns(results, load_paper_values() if paper is None else paper)
    lines = [Line(method) for method in results.methods]
    sampled = [Line(method, sampler) for method in results.methods for sampler in selector.method_samplers(method)]
    main = [line for line in sampled if line.sampler in TABLE_3_SAMPLERS]
    scores = [FID, INCEPTION_SCORE]
    spread = (
        "After ±: standard deviation over the probes (on test), or over the fits of k-means (on training embeddings); "
        "with several seeds, the root of its mean square over seeds."
    )
    importance = "Estimated by importance sampling, which is below the true value on average."
    build = _Builder(selector, paper_columns)
    tables = [
        build.of_task(
            "table1_reconstruction", "Table 1: reconstruction", lines, [MSE, RECONSTRUCTION_FID], "reconstruction"
        ),
        build.accuracies(lines, spread),
        build.of_task("table3_generation", "Table 3: generation", main, scores, "generation"),
        build.of_task("table7_all_samplers", "Table 7: generation with every sampler", sampled, scores, "generation"),
        build.of_task("generation_quality", "Quality of generated images", sampled, QUALITY, "generation"),
        build.of_task("log_likelihood", "Log-likelihood", lines, [LOG_LIKELIHOOD], "reconstruction", importance),
        build.training(lines),
        configuration_table(selector),
    ]
    return [table for table in tables if table is not None]


class _Builder:
    """Builds tables with a column for each setup and metric."""

    def __init__(self, selector: Selector, paper: PaperColumns):
        self.selector, self.paper = selector, paper

    def of_task(
        self, name: str, title: str, lines: Sequence[Line], metrics: Sequence[Metric], task: str, *notes: str
    ) -> Table | None:
        """Table of the metrics of one task."""
        choose = self._chooser(task)
        parts = [
            _Part(lines, metric.column(setup), metric, choose) for setup in self.selector.setups for metric in metrics
        ]
        return self._finish(name, title, lines, parts, notes)

    def accuracies(self, lines: Sequence[Line], *notes: str) -> Table | None:
        """Table 2: classification on the left and clustering on the right."""
        parts = [
            _Part(lines, metric.column(setup, metric_first=True), metric, self._chooser(task))
            for metric, task in ((CLASSIFICATION, "classification"), (CLUSTERING, "clustering"))
            for setup in self.selector.setups
        ]
        title = "Table 2: classification and clustering of embeddings"
        return self._finish("table2_classification_clustering", title, lines, parts, notes)

    def training(self, lines: Sequence[Line]) -> Table | None:
        """Seconds and parameters of the configuration that generates best on validation, as in Figure 14."""

        def choose(line: Line, setup: Setup) -> Selection:
            best = self.selector.best_sampler(line.method, setup)
            return best if best.configuration else self.selector.select("reconstruction", line.method, setup)

        metrics = [SECONDS, NUM_PARAMETERS]
        parts = [
            _Part(lines, metric.column(setup), metric, choose) for setup in self.selector.setups for metric in metrics
        ]
        note = (
            "Of the configuration with the lowest FID of generated images on validation, over all samplers; without "
            "FID, of the one with the lowest MSE. Times are those of training alone."
        )
        return self._finish("training", "Training time and number of parameters", lines, parts, [note], rules=False)

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
        columns = [part.column for part in parts]
        rows = [
            Row(line.labels, tuple(part.entries[i] for part in parts), line.method, line.sampler)
            for i, line in enumerate(lines)
        ]
        if name == "log_likelihood":  # methods without a likelihood have no row
            rows = [row for row in rows if any(entry.value is not None for entry in row.entries)]
        rows, mixed = mark_best(columns, rows)
        chosen = selected_by(selection for part in parts for selection in part.selections) if rules else []
        measured = measured_with(self.selector.results, rows)
        all_notes = (*chosen, *notes, *explain_marks(rows), *warn_of_mixed(mixed), *measured)
        labels = ("method", "sampler") if lines[0].sampler else ("method",)
        return self.paper.add_to(Table(name, title, labels, tuple(columns), tuple(rows), all_notes))


class _Part:
    """A column, its entries, and how their configurations were chosen."""

    def __init__(self, lines: Sequence[Line], column: Column, metric: Metric, choose: Chooser):
        assert column.setup is not None
        self.column = column
        self.selections = [choose(line, column.setup) for line in lines]
        self.entries = [_entry(selection, metric) for selection in self.selections]

    @property
    def has_values(self) -> bool:
        return any(entry.value is not None for entry in self.entries)


def _entry(selection: Selection, metric: Metric) -> Entry:
    """Mean over seeds of the chosen configuration, with its spread."""
    number = metric.number.format(sampler=selection.sampler)
    entry = Entry.of(selection.estimate(number), selection.configuration, selection.missing)
    spread = selection.estimate(metric.std_number) if metric.std_number else None
    if entry.value is None or spread is None:
        return entry
    return replace(entry, spread=math.sqrt(sum(std**2 for std in spread.values) / len(spread.values)))
