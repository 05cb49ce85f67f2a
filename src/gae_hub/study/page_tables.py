"""Tables of the page: headings over several columns, printed numbers, and how each number was measured."""

__all__ = ["Passports", "TableView", "view_table"]

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from .table import Column, Entry, Row, Table, format_entry, format_value

_GROUPED_BY = ("metric: ", "references fingerprint: ")


@dataclass(frozen=True)
class PassportGroup:
    """Passports of numbers that were measured alike: the lines that all have, and the others by index of passport."""

    common: list[str]
    own: dict[int, list[str]]


class Passports:
    """How the numbers on the page were measured: lists of lines, each line kept once.

    A number's cell on the page holds its index in `entries`, which are indices in `lines`.
    """

    def __init__(self):
        self.lines: list[str] = []
        self.entries: list[list[int]] = []
        self._indices: dict[str, int] = {}
        self._known: dict[tuple[int, ...], int] = {}

    def add(self, entry: Entry, column: Column) -> int:
        """Index of the passport of an entry."""
        indices = tuple(self._line(line) for line in _describe(entry, column))
        if indices not in self._known:
            self._known[indices] = len(self.entries)
            self.entries.append(list(indices))
        return self._known[indices]

    def to_json(self) -> str:
        """Lines and entries as JSON that can stand in a script element."""
        text = json.dumps({"lines": self.lines, "entries": self.entries}, separators=(",", ":"), ensure_ascii=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

    def to_groups(self) -> list[PassportGroup]:
        """All passports by metric and reference data, for pages without a script."""
        found: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, entry in enumerate(self.entries):
            lines = [self.lines[i] for i in entry]
            found[tuple(line for line in lines if line.startswith(_GROUPED_BY))].append(number)
        return [self._group(numbers) for numbers in found.values()]

    def _group(self, numbers: list[int]) -> PassportGroup:
        shared = set.intersection(*(set(self.entries[number]) for number in numbers))
        common = [self.lines[i] for i in self.entries[numbers[0]] if i in shared]
        own = {number: [self.lines[i] for i in self.entries[number] if i not in shared] for number in numbers}
        return PassportGroup(common, own)

    def _line(self, line: str) -> int:
        if line not in self._indices:
            self._indices[line] = len(self.lines)
            self.lines.append(line)
        return self._indices[line]


@dataclass(frozen=True)
class HeaderCell:
    """A heading over the columns `first` to `first + span - 1`."""

    text: str
    first: int
    span: int


@dataclass(frozen=True)
class ColumnView:
    """A column: its heading, direction, and what filters compare."""

    label: str
    better: str | None
    task: str
    dataset: str
    network: str
    paper: bool


@dataclass(frozen=True)
class EntryView:
    """An entry as it is printed, the value that sorts it, the index of its passport, and why it is missing."""

    text: str
    value: float | None
    mark: str | None
    passport: int | None
    reason: str | None


@dataclass(frozen=True)
class RowView:
    labels: tuple[str, ...]
    method: str
    dataset: str
    network: str
    entries: tuple[EntryView, ...]


@dataclass(frozen=True)
class TableView:
    """A table as the template prints it."""

    name: str
    title: str
    labels: tuple[str, ...]
    headers: tuple[tuple[HeaderCell, ...], ...]
    columns: tuple[ColumnView, ...]
    rows: tuple[RowView, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    paper_table: int | None = None


def view_table(table: Table, passports: Passports, method: str | None = None) -> TableView:
    """A table for the page.

    Args:
        table: the table.
        passports: collects how the numbers were measured.
        method: keep only the rows of this method, and leave out the label that names it.
    """
    rows = [row for row in table.rows if method is None or row.method == method]
    used = [
        i for i in range(len(table.columns)) if method is None or any(row.entries[i].value is not None for row in rows)
    ]
    columns = [table.columns[i] for i in used]
    skip = 0 if method is None else 1
    return TableView(
        name=re.sub(r"[^A-Za-z0-9_-]", "-", table.name),
        title=table.title,
        labels=table.labels[skip:],
        headers=tuple(_header_rows(columns)),
        columns=tuple(_view_column(column) for column in columns),
        rows=tuple(_view_row(row, used, columns, passports, skip) for row in rows),
        notes=table.notes,
        warnings=table.warnings,
        paper_table=table.paper_table,
    )


def _header_rows(columns: list[Column]) -> list[tuple[HeaderCell, ...]]:
    """Rows of headings above the last one. Equal neighbours share a heading.

    Columns with fewer headings than others, which are the paper's, are headed "this study".
    """
    num_rows = max((len(column.headers) for column in columns), default=1) - 1
    paths = [("this study",) * (num_rows + 1 - len(column.headers)) + column.headers[:-1] for column in columns]
    rows: list[tuple[HeaderCell, ...]] = []
    for level in range(num_rows):
        cells: list[HeaderCell] = []
        for i, path in enumerate(paths):
            if i and path[: level + 1] == paths[i - 1][: level + 1]:
                cells[-1] = HeaderCell(cells[-1].text, cells[-1].first, cells[-1].span + 1)
            else:
                cells.append(HeaderCell(path[level], i, 1))
        rows.append(tuple(cells))
    return rows


def _view_column(column: Column) -> ColumnView:
    task = (column.number or column.metric).split("/")[0]
    setup = column.setup
    return ColumnView(
        label=column.label,
        better=column.better,
        task="training" if task in ("num_parameters", "trained_together") else task,
        dataset=setup.dataset if setup else "",
        network=setup.network if setup else "",
        paper=column.source == "paper",
    )


def _view_row(row: Row, used: list[int], columns: list[Column], passports: Passports, skip: int) -> RowView:
    entries: list[EntryView] = []
    for i, column in zip(used, columns, strict=True):
        entry = row.entries[i]
        index = None if entry.value is None else passports.add(entry, column)
        entries.append(EntryView(format_entry(entry, column), entry.value, entry.mark, index, entry.reason))
    setup = row.setup
    return RowView(
        row.labels[skip:],
        row.method,
        setup.dataset if setup else "",
        setup.network if setup else "",
        tuple(entries),
    )


# fields of a passport that are about one seed, which say nothing of a mean over seeds
_OF_ONE_SEED = ("seed", "standard_error", "refit_std", "interval_method", "details")
_IN_UNITS = ("standard_error", "refit_std")  # of the number itself
_SHOWN_OTHERWISE = ("interval", "same_count_interval", "seed")


def _describe(entry: Entry, column: Column) -> list[str]:
    """Lines of a passport: "name: value". Values have the unit of the table."""

    def printed(value: float) -> str:
        return format_value(value, column) + (f" {column.unit}" if column.unit else "")

    lines: dict[str, Any] = {}
    if column.source == "paper":
        lines["source"] = "value printed in the paper"
    if entry.configuration is not None:
        lines["configuration"] = entry.configuration
        lines |= {"sets": _text(entry.fields)} if entry.fields else {}
    several = len(entry.values) > 1
    if several:
        pairs = zip(entry.seeds, entry.values, strict=False)
        lines["mean over seeds"] = ", ".join(f"{printed(value)} (seed {seed})" for seed, value in pairs)
    elif entry.seeds:
        lines["seed"] = entry.seeds[0]
    if entry.spread is not None:
        lines["standard deviation over fits"] = printed(entry.spread)
    if entry.interval is not None:
        low, high = map(printed, entry.interval)
        clipped = ", clipped to possible values" if entry.clipped else ""
        lines[f"95 % interval over {entry.interval_kind}"] = f"{low} to {high}{clipped}"
    for name, value in entry.passport.items():
        if value is None or name in _SHOWN_OTHERWISE or (several and name in _OF_ONE_SEED):
            continue
        text = printed(value) if name in _IN_UNITS else _text(value)
        if text:
            lines.setdefault({"settings": "measured with"}.get(name, name.replace("_", " ")), text)
    if entry.folders:
        lines[f"cell{'s' if len(entry.folders) > 1 else ''}"] = ", ".join(f"cells/{name}" for name in entry.folders)
    return [f"{name}: {value}" for name, value in lines.items()] or ["no passport"]


def _text(value: Any) -> str:
    """A value on one line; hashes are shortened."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(content)}" for name, content in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{32,}", text) else text
