"""Tables of docs/studies, for one method or one sampler."""

__all__ = ["describe_method", "describe_sampler", "labels_of"]

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from gae_hub.core.yaml_files import read_yaml_file

SAMPLER_LABELS = {
    "prior": ("normal", "VAMP"),
    "gaussian_mixture": ("GMM",),
    "maf": ("MAF",),
    "two_stage_vae": ("two-stage VAE",),
}
"""Name of a sampler to its names in the tables of studies."""


@dataclass(frozen=True)
class Shown:
    """A column of a method's table.

    Args:
        title: its heading.
        file: name of the CSV file of docs/studies/*/tables.
        column: pattern of the name of the file's column.
        sampler: the only rows of the file that count, if it has rows for each sampler.
    """

    title: str
    file: str
    column: str
    sampler: str | None = None


@dataclass(frozen=True)
class StudyTable:
    """What a method's page shows of a study.

    Args:
        name: folder in docs/studies.
        about: data, networks and training, in words.
        columns: columns of the table.
        figures: pattern of the names of the method's figures.
    """

    name: str
    about: str
    columns: tuple[Shown, ...]
    figures: str = ""


_COMMON = (
    Shown("classification, %", "classification_clustering", r".*_classification_accuracy_percent"),
    Shown("clustering, %", "classification_clustering", r".*_clustering_accuracy_percent"),
    Shown("training, s", "training", r".*_seconds"),
)
STUDIES = (
    StudyTable(
        "mnist-resnet",
        "MNIST, the paper's ResNet, 16 latent dimensions, 3 epochs",
        (
            Shown("MSE x 1000", "reconstruction", r".*_mse_x1000"),
            *(
                Shown(f"FID, {label}", "generation_all_samplers", r".*_fid", label)
                for label in ("normal", "GMM", "MAF", "two-stage VAE", "VAMP")
            ),
            Shown("log p(x), nats", "log_likelihood", r".*_log_likelihood"),
            *_COMMON,
        ),
    ),
    StudyTable(
        "mnist-mlp",
        "MNIST, one hidden layer of 512 units, 16 latent dimensions, 5 epochs, the best of 10 configurations",
        (Shown("MSE x 1000", "reconstruction", r".*_mse_x1000"), *_COMMON),
        "configurations--{}.png",
    ),
    StudyTable(
        "mnist-latent-dims",
        "MNIST, one hidden layer of 512 units, 16 to 512 latent dimensions, 2 epochs: MSE x 1000",
        tuple(Shown(str(dim), "reconstruction", rf".*_{dim}_mse_x1000") for dim in (16, 32, 64, 128, 256, 512)),
    ),
)


@cache
def labels_of() -> Mapping[str, tuple[str, ...]]:
    """Name of a method to its names in the tables of studies, such as "WAE-IMQ" and "WAE-RBF"."""
    grid = read_yaml_file(str(files("gae_hub.study") / "data" / "grids" / "paper.yaml"))
    found: dict[str, list[str]] = {}
    for label, method in grid["methods"].items():
        found.setdefault(method["model"], []).append(label)
    return {name: tuple(labels) for name, labels in found.items()}


def describe_method(name: str, docs: Path) -> str:
    """Markdown of what the studies say about a method; empty if none has it.

    Each table also has the VAE, for comparison. Columns without a value are left out.
    """
    labels, parts = labels_of().get(name, ()), []
    for study in STUDIES:
        table = _table(study, labels, docs)
        if table:
            parts.append(f"[{study.name}](../studies/{study.name}/README.md): {study.about}.\n\n{table}")
        for label in labels if study.figures else ():
            figure = docs / "studies" / study.name / "figures" / study.figures.format(label.lower())
            if figure.is_file():
                alt = f"{label} over its configurations"
                parts.append(f"![{alt}](../studies/{study.name}/figures/{figure.name})")
    return "\n\n".join(parts)


def describe_sampler(name: str, docs: Path) -> str:
    """Markdown of the FID that a sampler reaches in the study of MNIST with ResNets; empty if it had no part in it."""
    lines = ["| method | sampler | FID |", "|---|---|---:|"]
    for label in SAMPLER_LABELS.get(name, ()):
        values = _column_values("mnist-resnet", Shown("", "generation_all_samplers", r".*_fid", label), docs)
        lines += [f"| {method} | {label} | {_number(value)} |" for method, value in values.items() if value]
    return "\n".join(lines) if len(lines) > 2 else ""


def _table(study: StudyTable, labels: tuple[str, ...], docs: Path) -> str:
    columns = [(shown, _column_values(study.name, shown, docs)) for shown in study.columns]
    columns = [(shown, values) for shown, values in columns if any(values.get(label) for label in labels)]
    if not columns:
        return ""
    lines = [
        f"| method | {' | '.join(shown.title for shown, _ in columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for label in dict.fromkeys([*labels, "VAE"]):
        cells = [_number(values.get(label, "")) for _, values in columns]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _column_values(study: str, shown: Shown, docs: Path) -> dict[str, str]:
    """Label of a method to its value in a column."""
    rows = _read(docs, study, shown.file)
    column = _find_column(rows, shown.column)
    return {
        row["method"]: row[column]
        for row in rows
        if column and (shown.sampler is None or row.get("sampler") == shown.sampler)
    }


def _find_column(rows: list[dict[str, str]], pattern: str) -> str | None:
    names = [name for name in (rows[0] if rows else ()) if not name.startswith("paper_")]
    return next((name for name in names if re.fullmatch(pattern, name)), None)


def _number(value: str) -> str:
    return f"{float(value):,.1f}" if value else ""


@cache
def _read(docs: Path, study: str, table: str) -> list[dict[str, str]]:
    path = docs / "studies" / study / "tables" / f"{table}.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
