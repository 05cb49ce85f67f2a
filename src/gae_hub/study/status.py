"""The status of a study in words: cells by state, workers, errors, the time that is left, and the tables so far."""

__all__ = ["describe_status", "estimate_seconds"]

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import islice, zip_longest
from statistics import mean

from .claims import holder
from .collect import load_results
from .folder import StudyFolder
from .results import CellResult, StudyResults
from .store import Cell
from .table import Column, format_entry
from .tables import iterate_tables

MAX_ERRORS = 10
NUM_TABLES = 3
_MARKS = {
    " ± ": "±: standard deviation over probes, fits or seeds",
    " [": "[ ]: 95 % interval of the mean over seeds",
}


def describe_status(folder: StudyFolder, tracebacks: bool = False) -> str:
    """Text about a study for a terminal.

    Args:
        folder: of the study.
        tracebacks: whether to show the tracebacks of failed cells.
    """
    results = load_results(folder)
    counts = Counter(cell.state for cell in results.cells)
    states = ("done", "running", "waiting", "failed", "skipped")
    parts = [f"{counts[state]} {state}" for state in states if counts[state]]
    lines = [f"{results.title}: {len(results.cells)} cells, {', '.join(parts)}"]
    workers = _find_workers(folder)
    lines += [f"  process {worker} runs {'; '.join(cells)}" for worker, cells in workers.items()]
    left, num_workers = estimate_seconds(results), max(1, len(workers))
    if left:
        lines.append(f"  about {format_seconds(left / num_workers)} left with {num_workers} process(es)")
    failed = [cell for cell in results.cells if cell.state == "failed"]
    for cell in failed[:MAX_ERRORS]:
        lines.append(f"  failed: {describe_cell(cell)}: {cell.error}")
        if tracebacks and cell.folder is not None:
            lines += [f"    {line}" for line in (Cell(cell.folder).error or {}).get("traceback", "").splitlines()]
    if len(failed) > MAX_ERRORS:
        lines.append(f"  and {len(failed) - MAX_ERRORS} more failures")
    return "\n".join([*lines, *_tables_so_far(results)])


def _tables_so_far(results: StudyResults) -> list[str]:
    """The tables of reconstruction, embeddings and generation, without rows that have no number yet."""
    found = []
    for table in islice(iterate_tables(results, paper=()), NUM_TABLES):
        rows = [row for row in table.rows if any(entry.value is not None for entry in row.entries)]
        if not rows:
            continue
        levels = [set(level) for level in zip_longest(*(column.headers for column in table.columns))]
        cells = [[*table.labels, *(_heading(column, levels) for column in table.columns)]]
        for row in rows:
            cells.append([*row.labels, *map(format_entry, row.entries, table.columns)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        found += ["", table.title]
        found += ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    marks = [meaning for mark, meaning in _MARKS.items() if any(mark in line for line in found)]
    return [line.rstrip() for line in [*found, *(["", "; ".join(marks)] if marks else [])]]


def _heading(column: Column, levels: Sequence[set[str]]) -> str:
    """The headings of a column in one line, without those that all columns have in common."""
    texts = (*column.headers[:-1], column.label)
    shown = [text for text, level in zip(texts, levels, strict=False) if len(level) > 1]
    return ", ".join(shown or texts[-1:])


def _find_workers(folder: StudyFolder) -> dict[str, list[str]]:
    """Living workers, and the configurations whose cells they have claimed, by method."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for cell in folder.read_plan().runnable():
        worker = holder(folder.lock(cell))
        if worker is not None:
            found[f"{worker.get('process')} on {worker.get('host')}"][cell.method].append(str(cell.configuration))
    return {
        worker: [f"{method} {', '.join(dict.fromkeys(numbers))}" for method, numbers in methods.items()]
        for worker, methods in sorted(found.items())
    }


def describe_cell(cell: CellResult) -> str:
    """A cell in words."""
    fields = ", ".join(f"{name} {value}" for name, value in cell.fields.items())
    place = f"{cell.dataset}, {cell.network}, {cell.latent_dim} dimensions, seed {cell.seed}"
    return f"{cell.method} {cell.configuration}{f' ({fields})' if fields else ''} on {place}"


def estimate_seconds(results: StudyResults) -> float | None:
    """Seconds of work that is left for one worker: the mean time of the method's finished cells, or of all."""
    times: dict[str, list[float]] = defaultdict(list)
    cells = list({cell.folder: cell for cell in results.cells}.values())  # duplicates share a folder
    for cell in cells:
        if cell.state == "done":
            times[cell.method].append(sum(cell.facts["step_seconds"].values()))
    if not times:
        return None
    overall = mean(value for values in times.values() for value in values)
    waiting = [cell for cell in cells if cell.state in ("waiting", "running")]
    return sum(mean(times[cell.method]) if cell.method in times else overall for cell in waiting)


def format_seconds(seconds: float) -> str:
    """A duration in two units: "3 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
