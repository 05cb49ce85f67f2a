"""Notes below tables: how numbers were measured and chosen, and what is missing."""

__all__ = [
    "describe_units",
    "describe_values",
    "explain_labels",
    "explain_marks",
    "measured_with",
    "one_line",
    "selected_by",
    "warn_of_mixed",
]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from .cell_facts import describe_extractors
from .results import StudyResults
from .selection import CRITERIA, Selection
from .table import Column, Row

_CRITERIA_NAMES = {"mse": "MSE", "fid": "FID", "energy_distance": "energy distance", "accuracy": "mean accuracy"}
MAX_LEFT_OUT = 12  # configurations that a note lists


def measured_with(results: StudyResults, rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Numbers of examples, extractor, epochs, seeds, hardware and versions."""
    settings = results.settings
    trainings = {name: results.training(name) for name in results.datasets}
    passports = [entry.passport for row in rows for entry in row.entries if entry.passport]
    notes = [f"n: {count}." for count in [_counts(results, rows, columns)] if count]
    extractors = describe_extractors(passports)
    if extractors:
        notes.append(f"Extractor of features: {'; '.join(extractors)}.")
    epochs = sorted({cell.facts["num_epochs"] for cell in results.cells if "num_epochs" in cell.facts})
    facts = {
        "Recipe": _of_each(trainings, "recipe"),
        "Epochs": _of_each(trainings, "num_train_epochs"),
        "Epochs that ran": f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else None,
        "Methods with other training": "; ".join(
            f"{name} {one_line(training)}" for name, training in results.method_training().items()
        ),
        "Seeds": ", ".join(map(str, settings.get("seeds", []))),
        "Hardware": one_line(settings.get("hardware")),
        "Versions": one_line(settings.get("versions")),
    }
    notes.append(". ".join(f"{name}: {value}" for name, value in facts.items() if value) + ".")
    return notes


def explain_labels(results: StudyResults, what: str) -> list[str]:
    """Which methods are given the labels of the test examples; none without conditional methods.

    Args:
        results: results of the study.
        what: what they do with the labels, "reconstruct".
    """
    conditional = {cell.method for cell in results.cells if cell.facts.get("config", {}).get("num_classes")}
    names = ", ".join(name for name in results.methods if name in conditional)
    return [f"Conditional methods ({names}) {what} each test example with its label, others without."] if names else []


def describe_units(results: StudyResults, columns: Sequence[Column]) -> list[str]:
    """What the mean squared error is of, by data set."""
    if not any(column.metric in ("mse", "end_point_mse") for column in columns):
        return []
    found: dict[str, list[str]] = defaultdict(list)
    for dataset in results.datasets:
        value = "pixel value" if results.has_images(dataset) else "value of a row"
        found[f"per {value}, of {describe_values(results, dataset)}"].append(dataset)
    if len(found) == 1:
        return [f"MSE x 1000: mean squared error {next(iter(found))}, times 1000."]
    parts = [f"{', '.join(names)}: {text}" for text, names in found.items()]
    return [f"MSE x 1000: mean squared error, times 1000; {'; '.join(parts)}."]


def describe_values(results: StudyResults, dataset: str) -> str:
    """Scale of the values of a data set: "values from 0 to 1"."""
    options = results.settings.get("data", {}).get(dataset, {}).get("options", {})
    if options.get("normalize") == "standardize":
        return "standardized values (mean 0 and standard deviation 1 on the training data)"
    if options.get("normalize") == "unit" or results.has_images(dataset):
        return "values from 0 to 1" + (
            " (0 and 1 are the ends of the training data)" if options.get("normalize") else ""
        )
    return "values as they are in the data"


def selected_by(selections: Iterable[Selection]) -> list[str]:
    """The rule that chose configurations, exceptions to it, and the configurations that were left out."""
    selections = list(selections)
    rules: dict[str, dict[str, Selection]] = defaultdict(dict)
    for selection in selections:
        rules[selection.task].setdefault(selection.criterion.split("/")[-2], selection)
    notes: list[str] = []
    for task, criteria in rules.items():
        names = [_CRITERIA_NAMES[name] for name in criteria]
        of_sampler = " of the row's sampler" if next(iter(criteria.values())).sampler else ""
        notes.append(
            f"Each method's configuration for {task} has the {'lowest' if CRITERIA[task][1] else 'highest'} "
            f"{' or '.join(names)}{of_sampler} on validation, as a mean over seeds."
        )
    several = {task for task, criteria in rules.items() if len(criteria) > 1}
    notes += sorted({f"{_place(s)}: {s.note}." for s in selections if s.note and s.task in several})
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
        num_seeds = sorted({len(entry.values) for entry in entries if entry.interval_kind == "seeds"})
        text = "In brackets: 95 % interval of the mean over seeds (Student's t); none where all seeds agree"
        if any(entry.clipped for entry in entries):
            text += "; clipped to the possible values of the metric"
        wide = " With two seeds it is 12.7 standard errors wide on each side: three or more say more."
        notes.append(f"{text}.{wide if num_seeds[0] == 2 else ''}")
    meanings = {
        "failed": '"failed": no configuration is complete, and some failed',
        "skipped": '"skipped": no configuration can run',
        "unfinished": '"unfinished": no configuration is complete yet',
        "not measured": "–: not measured",
    }
    missing = [meaning for state, meaning in meanings.items() if any(entry.missing == state for entry in entries)]
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for entry in row.entries:
            if entry.missing == "not defined" and row.method not in reasons[str(entry.reason)]:
                reasons[str(entry.reason)].append(row.method)
    missing += [f"n/a ({', '.join(methods)}): {reason}" for reason, methods in sorted(reasons.items())]
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


def _counts(results: StudyResults, rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Numbers of examples: "mnist 50,000 training, ... images; 10,000 images and 10,000 references per FID"."""
    sizes = results.settings.get("sizes", {})
    found = [
        f"{name} {split['train']:,} training, {split['validation']:,} validation and {split['test']:,} test "
        + ("images" if results.has_images(name) else "rows")
        for name, split in sizes.items()
        if name in results.datasets and {"train", "validation", "test"} <= set(split)
    ]
    pairs: dict[tuple[int, int], None] = {}
    for row in rows:
        for entry, column in zip(row.entries, columns, strict=True):
            passport = entry.passport
            if column.metric == "fid" and passport.get("extractor") and passport.get("num_samples"):
                pairs[passport["num_samples"], passport.get("num_references") or 0] = None
    texts = [f"{num:,} images and {references:,} references" for num, references in sorted(pairs)]
    return "; ".join(found + ([f"{' or '.join(texts)} per FID"] if texts else []))


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
