"""The values that the Pythae paper reports: its Tables 1, 2, 3 and 7, arXiv:2206.08309.

They are in `data/paper_values/`, whose README names the columns and the doubtful places.
"""

__all__ = ["PAPER_URL", "PaperValue", "find_paper_value", "load_paper_values", "paper_methods"]

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .method_grids import load_grid

PAPER_URL = "https://arxiv.org/abs/2206.08309"
"""The paper whose tables and figures a study of its methods repeats."""

_FOLDER = Path(__file__).parent / "data" / "paper_values"
_UNITS = {"1e-3": 1e-3, "percent": 1e-2, "": 1.0}
_NUMBERS = {
    "mse": "reconstruction/mse/test",
    "classification_accuracy": "classification/accuracy/test",
    "clustering_accuracy": "clustering/accuracy/train",
}


@dataclass(frozen=True)
class PaperValue:
    """One value of the paper's tables.

    Args:
        table: number of the table: 1, 2, 3 or 7.
        method: name of the method, as in the grid "paper".
        sampler: "normal", "gmm", "two_stage_vae", "maf" or "vamp"; None in Tables 1 and 2.
        network: "convnet" or "resnet".
        dataset: "mnist", "cifar10" or "celeba".
        metric: "mse", "fid", "inception_score", "classification_accuracy" or "clustering_accuracy".
        value: as printed.
        std: standard deviation in the same unit, as printed in Table 2, or None.
        unit: "1e-3", "percent", or "".
        note: why the value is doubtful, or None.
    """

    table: int
    method: str
    sampler: str | None
    network: str
    dataset: str
    metric: str
    value: float
    std: float | None
    unit: str
    note: str | None

    @property
    def number(self) -> str:
        """Name of this value among the numbers of a cell, such as "generation/gmm/fid/test"."""
        if self.sampler is not None:
            return f"generation/{self.sampler}/{self.metric}/test"
        return _NUMBERS.get(self.metric, f"reconstruction/{self.metric}/test")

    @property
    def plain_value(self) -> float:
        """The value in the unit of a cell's numbers: the error per pixel, and accuracies in [0, 1]."""
        return self.value * _UNITS[self.unit]

    @property
    def plain_std(self) -> float | None:
        """The standard deviation in the unit of a cell's numbers, or None."""
        return None if self.std is None else self.std * _UNITS[self.unit]


@cache
def load_paper_values() -> tuple[PaperValue, ...]:
    """All values, table by table, in the order of the print."""
    found = []
    for path in sorted(_FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += [_read_row(row) for row in csv.DictReader(file)]
    return tuple(found)


@cache
def paper_methods() -> dict[str, dict[str, Any]]:
    """The paper's methods, as in `StudyResults.methods`."""
    return {
        name: {
            "model": method.model,
            "groups": list(method.groups),
            "samplers": list(method.samplers),
            "table": method.table,
        }
        for name, method in load_grid("paper").methods.items()
    }


def find_paper_value(
    table: int, method: str, network: str, dataset: str, metric: str, sampler: str | None = None
) -> PaperValue | None:
    """The value at one place of a table, or None if the paper has none. The arguments are those of [`PaperValue`]."""
    return _values_by_place().get((table, method, sampler, network, dataset, metric))


@cache
def _values_by_place() -> dict[tuple[int, str, str | None, str, str, str], PaperValue]:
    values = load_paper_values()
    return {(v.table, v.method, v.sampler, v.network, v.dataset, v.metric): v for v in values}


def _read_row(row: dict[str, str]) -> PaperValue:
    return PaperValue(
        table=int(row["table"]),
        method=row["method"],
        sampler=row["sampler"] or None,
        network=row["network"],
        dataset=row["dataset"],
        metric=row["metric"],
        value=float(row["value"]),
        std=float(row["std"]) if row["std"] else None,
        unit=row["unit"],
        note=row["note"] or None,
    )
