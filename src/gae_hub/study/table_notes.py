"""Notes below tables: how numbers were measured and chosen, and what is missing."""

__all__ = ["explain_marks", "measured_with", "one_line", "selected_by", "warn_of_mixed"]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from .results import StudyResults
from .selection import CRITERIA, Selection
from .table import Column, Row

MAX_LEFT_OUT = 12  # configurations that a note lists


def measured_with(results: StudyResults, rows: Sequence[Row]) -> list[str]:
    """Numbers of images, extractor, epochs, seeds, hardware and versions."""
    settings = results.settings
    trainings = {name: results.training(name) for name in results.datasets}
    passports = [entry.passport for row in rows for entry in row.entries if entry.passport]
    notes = [f"n: {count}." for count in [_counts(results, passports)] if count]
    extractors = sorted({passport["extractor"] for passport in passports if passport.get("extractor")})
    if extractors:
        notes.append(f"Extractor of features: {', '.join(extractors)}.")
    epochs = sorted({cell.facts["num_epochs"] for cell in results.cells if "num_epochs" in cell.facts})
    facts = {
        "Recipe": _of_each(trainings, "recipe"),
        "Epochs": _of_each(trainings, "num_train_epochs"),
        "Epochs that ran": f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else None,
        "Seeds": ", ".join(map(str, settings.get("seeds", []))),
        "Hardware": one_line(settings.get("hardware")),
        "Versions": one_line(settings.get("versions")),
    }
    notes.append(". ".join(f"{name}: {value}" for name, value in facts.items() if value) + ".")
    return notes


def selected_by(selections: Iterable[Selection]) -> list[str]:
    """The rule that chose configurations, exceptions to it, and the configurations that were left out."""
    selections = list(selections)
    rules = dict.fromkeys((selection.task, CRITERIA[selection.task]) for selection in selections)
    notes: list[str] = []
    for task, ((number, *_), smaller_wins) in rules:
        metric = {"mse": "MSE", "fid": "FID"}.get(number.split("/")[-2], f"mean {number.split('/')[-2]}")
        of_sampler = " of the row's sampler" if "{sampler}" in number else ""
        notes.append(
            f"Each method's configuration for {task} has the {'lowest' if smaller_wins else 'highest'} {metric}"
            f"{of_sampler} on validation, as a mean over seeds."
        )
    notes += sorted({f"{_place(s)}: {s.note}." for s in selections if s.note})
    if left_out := _left_out(selections):
        more = f"; and {len(left_out) - MAX_LEFT_OUT} more" if len(left_out) > MAX_LEFT_OUT else ""
        notes.append(f"Left out: {'; '.join(left_out[:MAX_LEFT_OUT])}{more}.")
    return notes


def explain_marks(rows: Sequence[Row]) -> list[str]:
    """What bold, underlined and missing entries mean."""
    entries = [entry for row in rows for entry in row.entries]
    notes: list[str] = []
    if any(entry.mark == "best" for entry in entries):
        notes.append("Bold: the best of the column.")
    kinds = sorted({str(entry.interval_kind) for entry in entries if entry.mark == "best" and entry.interval})
    if any(entry.mark == "near" for entry in entries):
        notes.append(f"Underlined: inside the 95 % interval of the best (over {' or '.join(kinds)}).")
    if any(entry.interval_kind == "seeds" for entry in entries):
        notes.append("In brackets: 95 % interval of the mean over seeds (Student's t).")
    meanings = {
        "failed": '"failed": no configuration is complete, and some failed',
        "skipped": '"skipped": no configuration can run',
        "unfinished": '"unfinished": no configuration is complete yet',
        "not measured": "–: not measured",
    }
    missing = [meaning for state, meaning in meanings.items() if any(entry.missing == state for entry in entries)]
    return notes + ([f"{'; '.join(missing)}."] if missing else [])


def warn_of_mixed(columns: Sequence[Column]) -> list[str]:
    """Columns in which nothing is marked, because their values were measured in different ways."""
    if not columns:
        return []
    names = "; ".join(", ".join(column.headers) for column in columns)
    return [f"Values in one column were measured in different ways, and nothing is marked in it: {names}."]


def _left_out(selections: Sequence[Selection]) -> list[str]:
    """Configurations that were not compared: "InfoVAE-RBF 4, 5 skipped: negative weight of the MMD"."""
    places: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for selection in selections:
        place = f"{selection.setup.network}, {selection.setup.dataset}, {selection.setup.latent_dim}"
        for number, reason in selection.left_out.items():
            if not reason.startswith("the same as"):
                places[selection.method, reason, number].add(place)
    num_setups = len({selection.setup for selection in selections})
    numbers: dict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for (method, reason, number), where in places.items():
        numbers[method, reason, tuple(sorted(where)) if len(where) < num_setups else ()].append(number)
    return [
        f"{method} {', '.join(map(str, sorted(found)))} {reason}" + (f" ({'; '.join(where)})" if where else "")
        for (method, reason, where), found in sorted(numbers.items())
    ]


def _counts(results: StudyResults, passports: Sequence[dict[str, Any]]) -> str:
    """Numbers of images: "mnist 10,000 test images; 10,000 generated images"."""
    sizes = results.settings.get("sizes", {})
    found = [
        f"{name} {split['train']:,} training, {split['validation']:,} validation and {split['test']:,} test images"
        for name, split in sizes.items()
        if name in results.datasets and {"train", "validation", "test"} <= set(split)
    ]
    counts = sorted({p["num_samples"] for p in passports if p.get("num_samples") and p.get("extractor")})
    return "; ".join(found + ([f"{' or '.join(f'{count:,}' for count in counts)} images per FID"] if counts else []))


def _of_each(trainings: dict[str, dict[str, Any]], name: str) -> str:
    """A training argument: one value, or one per data set where they differ: "mnist 100, celeba 50"."""
    values = {dataset: training[name] for dataset, training in trainings.items() if training.get(name) is not None}
    if len({repr(value) for value in values.values()}) == 1 and len(values) == len(trainings):
        return str(next(iter(values.values())))
    return one_line(values)


def one_line(value: Any) -> str:
    """A dict as "name value, name value", a list as its elements, anything else as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {one_line(content)}" for name, content in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _place(selection: Selection) -> str:
    setup = selection.setup
    return f"{selection.method} ({setup.network}, {setup.dataset}, {setup.latent_dim})"
