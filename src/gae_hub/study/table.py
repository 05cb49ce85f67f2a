"""A table of numbers: what its columns hold, which entries are best, and how an entry is printed."""

__all__ = [
    "Column",
    "Entry",
    "Row",
    "Table",
    "clip",
    "column_blocks",
    "fit_digits",
    "format_entry",
    "format_number",
    "format_value",
    "mark_best",
]

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .passports import comparable
from .selection import Configuration, Missing, SeedMean, Setup

MAX_DIGITS = 5  # after the point; a column with smaller values has powers of ten

# why there is no number, where "not defined" is what the method or the data cannot have
Absence = Missing | Literal["not defined"]


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
        powers: whether values are printed with powers of ten.
        bounds: smallest and largest possible value, which intervals are clipped to.
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
    powers: bool = False
    bounds: tuple[float, float] = (-math.inf, math.inf)
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
        interval: 95 % interval of the value, inside the possible values. None also if all seeds have the same value.
        interval_kind: what the interval covers, "seeds" or "images".
        clipped: whether the interval ended outside the possible values.
        values: value of each seed.
        seeds: the seeds.
        folders: name of the cell's folder of each seed.
        missing: why the value is missing; None if it is there, or if nothing belongs here.
        reason: more about why it is missing, as the records of the cells say it.
        mark: "best" of its column, or "near": inside the interval of the best.
        configuration: number of the configuration that the value belongs to.
        fields: what this configuration sets.
        passport: how the value was measured.
    """

    value: float | None = None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    interval_kind: Literal["seeds", "images"] | None = None
    clipped: bool = False
    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    folders: tuple[str, ...] = ()
    missing: Absence | None = None
    reason: str | None = None
    mark: Literal["best", "near"] | None = None
    configuration: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    passport: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        mean: SeedMean | None,
        configuration: Configuration | None,
        missing: Absence | None = None,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        reason: str | None = None,
    ) -> "Entry":
        """Entry of a mean over seeds.

        Args:
            mean: the mean; without one, `missing` says why, by default "not measured", or "not defined" with a reason.
            configuration: the configuration that it belongs to.
            missing: why there is no mean.
            bounds: smallest and largest possible value.
            reason: more about why there is no mean.
        """
        if configuration is None:
            return cls(missing=missing or "not measured", reason=reason)
        folders = tuple(cell.folder.name for cell in configuration.cells if cell.folder is not None)
        entry = cls(configuration=configuration.number, fields=configuration.fields, folders=folders)
        if mean is None:
            missing = missing or ("not defined" if reason else "not measured")
            return replace(entry, missing=missing, reason=reason)
        interval = None if mean.interval is None or len(set(mean.values)) == 1 < len(mean.values) else mean.interval
        inside = None if interval is None else clip(interval, bounds)
        return replace(
            entry,
            value=mean.value,
            interval=inside,
            interval_kind=None if inside is None else mean.interval_kind,
            clipped=inside != interval,
            values=mean.values,
            seeds=tuple(cell.seed for cell in configuration.cells),
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


@dataclass(frozen=True, repr=False)
class Table:
    """A table of a study.

    Args:
        name: name of its files.
        title: caption, without a number.
        paper_table: number of the paper's table that shows the same, for studies of the paper's methods.
        labels: headings of the labels of rows: ("method", "sampler").
        columns: columns of numbers.
        rows: rows, each with as many entries as there are columns.
        notes: how the numbers were measured and chosen.
        warnings: what to know before the numbers are read.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    paper_table: int | None = None

    def __repr__(self) -> str:
        return f"Table({self.name!r}: {len(self.rows)} rows, {len(self.columns)} columns)"


def format_entry(entry: Entry, column: Column) -> str:
    """An entry as plain text.

    "16.85", "86.75 ± 0.05", "failed", "–" for "not measured", "n/a" for "not defined", "" where nothing belongs.
    """
    if entry.value is None:
        return {"not measured": "–", "not defined": "n/a", None: ""}.get(entry.missing, entry.missing or "")
    text = format_value(entry.value, column)
    if entry.spread is not None:
        text += f" ± {format_value(entry.spread, column)}"
    if entry.interval is not None and entry.interval_kind == "seeds":
        text += f" [{', '.join(format_value(end, column) for end in entry.interval)}]"
    return text


def format_value(value: float, column: Column) -> str:
    """A value as the column prints it, without its unit."""
    return format_number(value * column.scale, column.digits, column.powers)


def format_number(value: float, digits: int, powers: bool = False) -> str:
    """A number with so many digits after the point, or with a power of ten. Zero has no sign."""
    text = f"{value:.2e}" if powers else f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def fit_digits(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Columns with one format for all of their values, in which no value but 0 is printed as 0."""
    fitted: list[Column] = []
    for i, column in enumerate(columns):
        values = [value * column.scale for row in rows if (value := row.entries[i].value)]
        smallest = min(map(abs, values), default=1.0)
        if smallest < 0.5 * 10**-column.digits and math.isfinite(smallest):
            digits = math.ceil(-math.log10(smallest)) + 1  # two significant digits
            column = replace(column, digits=digits) if digits <= MAX_DIGITS else replace(column, powers=True)
        fitted.append(column)
    return fitted


def clip(interval: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """The part of an interval that is inside the possible values."""
    low, high = (min(max(end, bounds[0]), bounds[1]) for end in interval)
    return low, high


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
