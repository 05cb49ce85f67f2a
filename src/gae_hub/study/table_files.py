"""Tables as files: Markdown, CSV, LaTeX and Parquet. The same table gives the same bytes."""

__all__ = ["list_cells", "to_csv", "to_markdown", "write_tables"]

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .paper_values import PAPER_URL, PaperValue
from .results import StudyResults
from .table import Column, Entry, Row, Table, column_blocks, format_entry
from .table_latex import to_latex
from .table_parquet import parquet_bytes
from .tables import build_tables

MARKS = {"best": "**{}**", "near": "<u>{}</u>", None: "{}"}
CSV_PARTS: dict[str, Callable[[Entry], float | None]] = {
    "": lambda entry: entry.value,
    "_std": lambda entry: entry.spread,
    "_low": lambda entry: None if entry.interval is None else entry.interval[0],
    "_high": lambda entry: None if entry.interval is None else entry.interval[1],
}


def write_tables(
    results: StudyResults,
    folder: str | Path,
    tables: Iterable[Table] | None = None,
    paper: Iterable[PaperValue] | None = None,
) -> list[Path]:
    """Write each table of a study as `.md`, `.csv`, `.tex` and `.parquet`, and delete tables that it no longer has.

    Args:
        results: results of the study.
        folder: folder for the files, which is created if needed.
        tables: tables to write; by default all of the study.
        paper: the paper's values for the default tables; by default those of the package.

    Returns:
        the written files.
    """
    from ..core.files import write_atomically  # imports torch, which is slow

    written: list[Path] = []
    for table in build_tables(results, paper) if tables is None else tables:
        files = {
            ".md": to_markdown(table).encode(),
            ".csv": to_csv(table).encode(),
            ".tex": to_latex(table).encode(),
            ".parquet": parquet_bytes(table),
        }
        for suffix, content in files.items():
            with write_atomically(Path(folder) / f"{table.name}{suffix}", durable=False) as temporary:
                temporary.write_bytes(content)
            written.append(Path(folder) / f"{table.name}{suffix}")
    for path in set(Path(folder).glob("*.parquet")) - set(written):
        earlier = [path.with_suffix(suffix) for suffix in (".md", ".csv", ".tex", ".parquet")]
        if all(file.is_file() for file in earlier):  # else it is not of a report
            for file in earlier:
                file.unlink()
    return written


def to_markdown(table: Table) -> str:
    """Title, a table for each outermost heading, and the notes.

    Best values are bold, those inside the interval of the best are underlined.
    """
    parts = [f"## {_escape(table.title)}"]
    if table.paper_table is not None:
        parts.append(f"As Table {table.paper_table} of the [Pythae paper]({PAPER_URL}).")
    parts += [f"**Warning:** {_escape(warning)}" for warning in table.warnings]
    for heading, indices in column_blocks(table.columns):
        columns = [table.columns[i] for i in indices]
        headings = [", ".join((*column.headers[1:-1], column.label)) for column in columns]
        lines = [[*table.labels, *headings], ["---"] * len(table.labels) + ["---:"] * len(columns)]
        for row in table.rows:
            texts = [_marked(row.entries[i], table.columns[i]) for i in indices]
            if any(texts):
                lines.append([*map(_escape, row.labels), *texts])
        parts += [f"### {_escape(heading)}"] if heading else []
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if table.notes:
        parts.append("\n".join(f"- {_escape(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """One line per row: labels, values in the printed unit with all digits, and why values are missing.

    Names of columns end in `_std` for standard deviations, and in `_low` and `_high` for 95 % intervals. The last
    column lists the missing values: "convnet_mnist_16_fid: failed".
    """
    header, rows = list_cells(table)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([repr(value) if isinstance(value, float) else value for value in row])
    return buffer.getvalue()


def list_cells(table: Table) -> tuple[list[str], list[list[str | float | None]]]:
    """Header and rows of the CSV file."""
    used = [
        (i, suffix)
        for i in range(len(table.columns))
        for suffix, read in CSV_PARTS.items()
        if not suffix or any(read(row.entries[i]) is not None for row in table.rows)
    ]
    labels = [label.replace(" ", "_") for label in table.labels]
    header = [*labels, *(table.columns[i].key + suffix for i, suffix in used), "missing"]
    rows: list[list[str | float | None]] = []
    for row in table.rows:
        values = [_scaled(CSV_PARTS[suffix](row.entries[i]), table.columns[i]) for i, suffix in used]
        rows.append([*row.labels, *values, _missing(row, table.columns)])
    return header, rows


def _marked(entry: Entry, column: Column) -> str:
    text = format_entry(entry, column)
    return MARKS[entry.mark].format(text) if text else ""


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def _scaled(value: float | None, column: Column) -> float | None:
    return None if value is None else float(value * column.scale)


def _missing(row: Row, columns: Sequence[Column]) -> str:
    pairs = zip(row.entries, columns, strict=True)
    return "; ".join(
        f"{column.key}: {entry.missing}" + (f" ({entry.reason})" if entry.reason else "")
        for entry, column in pairs
        if entry.missing
    )
