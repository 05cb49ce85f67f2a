"""Tables as LaTeX, with booktabs."""

__all__ = ["escape_latex", "to_latex"]

import re
from collections.abc import Sequence
from itertools import groupby

from .table import Column, Entry, Row, Table, format_entry

MAX_ROWS = 80  # longer tables run over pages
MARKS = {"best": r"\textbf{{{}}}", "near": r"\underline{{{}}}", None: "{}"}
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "–": "--",
    "×": r"$\times$",
}


def to_latex(table: Table) -> str:
    """A `table` with booktabs rules, and another one for columns that were measured otherwise than ours.

    Tables with more than 80 rows are a `longtable`. Best values are bold, those inside the interval of the best are
    underlined.
    """
    parts: list[str] = []
    for apart in (False, True):
        indices = [i for i, column in enumerate(table.columns) if column.apart == apart]
        rows = [row for row in table.rows if any(format_entry(row.entries[i], table.columns[i]) for i in indices)]
        if indices and rows:
            parts.append(_environment(table, rows, indices, table.title + (", the paper's values" if apart else "")))
    packages = "booktabs,longtable" if len(table.rows) > MAX_ROWS else "booktabs"
    return f"% \\usepackage[T1]{{fontenc}} \\usepackage{{{packages}}}\n" + "\n".join(parts)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is, also behind a line break or a rule, which take [ and * as their arguments."""
    escaped = "".join(SPECIAL.get(character, character) for character in text)
    return re.sub(r"^(\s*)([\[*])", r"\1{\2}", escaped)


def _environment(table: Table, rows: Sequence[Row], indices: Sequence[int], title: str) -> str:
    columns = [table.columns[i] for i in indices]
    layout = "l" * len(table.labels) + "r" * len(columns)
    caption = f"\\caption{{{escape_latex(title)}}}"
    label = f"\\label{{tab:{table.name}{'-paper' if columns[0].apart else ''}}}"
    heading = ["\\toprule", *_headings(table.labels, columns), "\\midrule"]
    body = [_row(row, columns, indices) for row in rows]
    notes = [f"\\textbf{{Warning:}} {escape_latex(warning)}" for warning in table.warnings]
    notes += [] if table.paper_table is None else [f"As Table {table.paper_table} of arXiv:2206.08309."]
    notes += [escape_latex(note) for note in table.notes]
    if len(rows) > MAX_ROWS:
        lines = ["{\\scriptsize", f"\\begin{{longtable}}{{{layout}}}", f"{caption}{label}\\\\", *heading, "\\endhead"]
        lines += [*body, "\\bottomrule", "\\end{longtable}", *notes, "\\par}"]
    else:
        lines = ["\\begin{table}", "\\centering", caption, label, "\\scriptsize", "\\setlength{\\tabcolsep}{3pt}"]
        lines += [f"\\begin{{tabular}}{{{layout}}}", *heading, *body, "\\bottomrule", "\\end{tabular}"]
        lines += ["\\par\\medskip", "\\raggedright", *notes, "\\end{table}"]
    return "\n".join(lines) + "\n"


def _headings(labels: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Lines of headings, the outermost first, with a rule below each group."""
    depth = max(len(column.headers) for column in columns)
    empty = [""] * len(labels)
    lines: list[str] = []
    for level in range(depth - 1):
        cells, rules, start = list(empty), [], len(labels) + 1
        for headers, group in groupby(columns, key=lambda column: column.headers[: level + 1]):
            width = len(list(group))
            text = escape_latex(headers[level]) if len(headers) > level else ""
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{text}}}")
            rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
            start += width
        lines += [f"{' & '.join(cells)} \\\\", "".join(rules)]
    return [*lines, f"{' & '.join(map(escape_latex, [*labels, *(column.label for column in columns)]))} \\\\"]


def _row(row: Row, columns: Sequence[Column], indices: Sequence[int]) -> str:
    entries = [_entry(row.entries[i], column) for i, column in zip(indices, columns, strict=True)]
    return f"{' & '.join([*map(escape_latex, row.labels), *entries])} \\\\"


def _entry(entry: Entry, column: Column) -> str:
    text = escape_latex(format_entry(entry, column))
    return MARKS[entry.mark].format(text) if text else ""
