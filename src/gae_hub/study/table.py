"""A table of numbers: what its columns hold, which entries are best, and how an entry is printed."""

__all__ = ["Column", "Entry", "Row", "Table", "column_blocks", "format_entry", "mark_best"]

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .passports import comparable
from .selection import Configuration, Missing, SeedMean, Setup


@dataclass(frozen=True)
class Column:
    """What the entries of a column are.

    Args:
        key: name in files, unique in the table.
        headers: headings, the outermost first: ("ConvNet", "MNIST (16)", "MSE").
        metric: name of the metric, "mse".
        unit: unit of a printed value; None for numbers without one.
        better: "lower" or "higher"; None if neither is better.
        scale: factor between a value and what is printed.
        digits: digits after the decimal point.
        number: name of the number in the results; "{sampler}" in it stands for the row's sampler.
        setup: networks, data set and latent dimensions; None if the column is about all.
        source: "ours", or "paper" for published values. Values of different sources are never compared.
        apart: whether the column stands apart from ours, because its values were measured otherwise.
    """

    key: str
    headers: tuple[str, ...]
    metric: str
    unit: str | None = None
    better: Literal["lower", "higher"] | None = None
    scale: float = 1.0
    digits: int = 2
    number: str | None = None
    setup: Setup | None = None
    source: Literal["ours", "paper"] = "ours"
    apart: bool = False

    @property
    def group(self) -> str:
        """The outermost heading, or an empty string where there is only one."""
        return self.headers[0] if len(self.headers) > 1 else ""

    @property
    def label(self) -> str:
        """The innermost heading with its unit and an arrow in the better direction."""
        arrow = {"lower": " ↓", "higher": " ↑", None: ""}[self.better]
        return self.headers[-1] + (f" ({self.unit})" if self.unit else "") + arrow


@dataclass(frozen=True)
class Entry:
    """One value of a table, or why there is none.

    Args:
        value: the value, not scaled; None if it is missing.
        spread: standard deviation over probes or fits.
        interval: 95 % interval of the value.
        interval_kind: what the interval covers, "seeds" or "images".
        values: value of each seed.
        missing: why the value is missing; None if it is there, or if nothing belongs here.
        mark: "best" of its column, or "near": inside the interval of the best.
        configuration: number of the configuration that the value belongs to.
        fields: what this configuration sets.
        passport: how the value was measured.
    """

    value: float | None = None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    interval_kind: Literal["seeds", "images"] | None = None
    values: tuple[float, ...] = ()
    missing: Missing | None = None
    mark: Literal["best", "near"] | None = None
    configuration: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    passport: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, mean: SeedMean | None, configuration: Configuration | None, missing: Missing | None = None) -> "Entry":
        """Entry of a mean over seeds. Without a mean, `missing` says why, by default "not measured"."""
        if mean is None or configuration is None:
            return cls(missing=missing or "not measured")
        return cls(
            value=mean.value,
            interval=mean.interval,
            interval_kind=mean.interval_kind,
            values=mean.values,
            configuration=configuration.number,
            fields=configuration.fields,
            passport=mean.passport,
        )


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        labels: what identifies the row, as printed.
        entries: an entry for each column.
        method: name of the method.
        sampler: name of the sampler, in tables of generation.
        setup: networks, data set and latent dimensions, in tables whose columns do not have them.
    """

    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    method: str
    sampler: str | None = None
    setup: Setup | None = None


@dataclass(frozen=True)
class Table:
    """A table of a study.

    Args:
        name: name of its files.
        title: caption.
        labels: headings of the labels of rows: ("method", "sampler").
        columns: columns of numbers.
        rows: rows, each with as many entries as there are columns.
        notes: how the numbers were measured and chosen.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def format_entry(entry: Entry, column: Column) -> str:
    """An entry as plain text: "16.85", "86.75 ± 0.05", "failed", "–" for "not measured", "" where nothing belongs."""
    if entry.value is None:
        return {"not measured": "–", None: ""}.get(entry.missing, entry.missing or "")
    text = format_number(entry.value * column.scale, column.digits)
    if entry.spread is not None:
        text += f" ± {format_number(entry.spread * column.scale, column.digits)}"
    if entry.interval is not None and entry.interval_kind == "seeds":
        low, high = (format_number(end * column.scale, column.digits) for end in entry.interval)
        text += f" [{low}, {high}]"
    return text


def format_number(value: float, digits: int) -> str:
    """A number with so many digits after the point, or with three significant ones where that would print 0."""
    if value and abs(value) < 0.5 * 10**-digits:
        return f"{value:.2e}"
    return f"{value:,.{digits}f}"


def mark_best(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[list[Row], list[Column]]:
    """Mark the best entry of each column, and those inside its interval.

    Nothing is marked in columns with fewer than two values, in columns without a better direction, and where the
    values were measured in different ways.

    Returns:
        rows with marks, and the columns that hold values measured in different ways.
    """
    entries = [list(row.entries) for row in rows]
    mixed: list[Column] = []
    for i, column in enumerate(columns):
        values = {k: value for k, row in enumerate(entries) if (value := row[i].value) is not None}
        if column.better is None or len(values) < 2:
            continue
        if not comparable([entries[k][i].passport for k in values]):
            mixed.append(column)
            continue
        best = min(values.values()) if column.better == "lower" else max(values.values())
        intervals = [entries[k][i].interval for k, value in values.items() if value == best]
        for k, value in values.items():
            near = any(interval and interval[0] <= value <= interval[1] for interval in intervals)
            if value == best or near:
                entries[k][i] = replace(entries[k][i], mark="best" if value == best else "near")
    marked = [replace(row, entries=tuple(changed)) for row, changed in zip(rows, entries, strict=True)]
    return marked, mixed


def column_blocks(columns: Sequence[Column]) -> list[tuple[str, list[int]]]:
    """Outermost headings, and the indices of their columns."""
    blocks: dict[str, list[int]] = {}
    for i, column in enumerate(columns):
        blocks.setdefault(column.group, []).append(i)
    return list(blocks.items())
