"""Base of all measures: batches of predictions and references in, numbers with their passports out."""

__all__ = ["COUNTS", "MEASURES", "SIDES", "Measure"]

import inspect
import re
from collections.abc import Callable
from copy import copy
from textwrap import dedent
from typing import Any, Self, cast

import torch
from torch import Tensor

from ..functional.checks import check_finite
from ..results import Estimate, Measurement, Passport
from .fingerprint import Fingerprint
from .rows import Rows, RowStore

MEASURES: dict[str, type["Measure"]] = {}
"""Name to class, for every measure that is published as a metric of `evaluate`."""

SIDES = ("predictions", "references")
COUNTS = ("num_samples", "num_references")


class Measure:
    """Base of all measures: `add` batches, `merge` the batches of another object, `compute` the numbers.

    With `torch.distributed`, `compute` measures the batches of all processes together, on each process.

    Args:
        **options: options of the measure, the parameters of `function` that have defaults. `compute` accepts them too.

    Raises:
        ValueError: for an unknown option.
    """

    name = ""
    predictions_help = ""  # what the predictions are, for users
    references_help: str | None = None  # what the references are; None if the measure has no references
    references_optional = False
    # smallest and largest number of axes of a batch of either side; None for any number
    num_axes: dict[str, tuple[int, int | None]] = {"predictions": (1, None), "references": (1, None)}
    function: Callable[..., dict[str, Estimate]]  # from the rows of both sides, and options, to named estimates

    def __init_subclass__(cls):
        if cls.name:
            MEASURES[cls.name] = cls

    def __init__(self, **options: Any):
        self.options = self._check_options(options)
        self.settings: dict[str, Any] = {}  # settings for the passport that are not options
        self.seed: int | None = None  # seed of the predictions, if the caller knows it
        self.reset()

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        """Options and their default values."""
        parameters = inspect.signature(cls.function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    @classmethod
    def load_options(cls) -> dict[str, Any]:
        """Options of the constructor that `compute` does not accept, and their default values."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    @classmethod
    def describe(cls) -> str:
        """The docstring without its sections."""
        return re.split(r"\n(?:Args|Example):\n", inspect.getdoc(cls) or "")[0].strip()

    @classmethod
    def example(cls) -> str:
        """The docstring's example: Python statements with their output, as `doctest` reads them."""
        return dedent((inspect.getdoc(cls) or "").partition("\nExample:\n")[2]).strip()

    def _check_options(self, options: dict[str, Any]) -> dict[str, Any]:
        known = self.default_options()
        for name in options:
            if name not in known:
                raise ValueError(
                    f"the metric '{self.name}' has no option '{name}'; its options are {', '.join(known) or 'none'}"
                )
        return options

    def reset(self):
        """Remove all batches."""
        self.sides: dict[str, RowStore] = {side: Rows() for side in SIDES}
        self.fingerprint = Fingerprint()  # of the references

    def add(self, predictions: Any = None, references: Any = None):
        """Add a batch of one side or of both. The two may differ in size, unless the measure compares pairs.

        If it raises, nothing was added to either side.

        Raises:
            ValueError: if a batch is empty, holds nan or infinity, or does not have the form that the measure needs.
        """
        rows = {}
        for side, batch in zip(SIDES, (predictions, references), strict=True):
            if batch is not None and (side == "predictions" or self.references_help):
                rows[side] = self._require_rows(side, self.to_rows(side, batch))
                self.sides[side].check(rows[side])
        fingerprint = self.fingerprint_of(references) if "references" in rows else Fingerprint()
        for side, checked in rows.items():
            self.sides[side].add(checked)
        self.fingerprint.merge(fingerprint)

    def fingerprint_of(self, references: Any) -> Fingerprint:
        """Fingerprint of a batch of references."""
        return Fingerprint().add(self.to_rows("references", references))

    def to_rows(self, side: str, batch: Any) -> Tensor:
        """(num, ...) rows, from a tensor, an array or a list."""
        expected = self.predictions_help if side == "predictions" else self.references_help
        try:
            if isinstance(batch, (list, tuple)) and any(isinstance(row, Tensor) for row in batch):
                batch = torch.stack([torch.as_tensor(row) for row in batch])
            rows = torch.as_tensor(batch).detach()
        except (TypeError, ValueError, RuntimeError) as error:  # text, dates, lists of different lengths
            raise ValueError(f"{side} must be numbers: {expected} ({error})") from error
        self._require_rows(side, rows)
        smallest, largest = self.num_axes[side]
        if not smallest <= rows.dim() <= (largest or rows.dim()) or rows.is_complex():
            kind = " of complex numbers" if rows.is_complex() else ""
            raise ValueError(f"{side} must be {expected}; got shape {tuple(rows.shape)}{kind}")
        return rows.to(torch.int64 if not rows.is_floating_point() else torch.promote_types(rows.dtype, torch.float32))

    def _require_rows(self, side: str, rows: Tensor) -> Tensor:
        if not rows.numel():
            what = self.predictions_help if side == "predictions" else self.references_help
            raise ValueError(f"'{self.name}' got an empty batch of {side}: add {what}")
        check_finite(f"{side} of '{self.name}'", rows, self.sides[side].count)
        return rows

    def copy(self) -> Self:
        """An object with the same options and batches. Adding to one, or resetting it, does not change the other."""
        other = copy(self)
        other.sides = {side: store.copy() for side, store in self.sides.items()}
        other.fingerprint = Fingerprint().merge(self.fingerprint)
        return other

    def merge(self, other: "Measure"):
        """Add the batches of another object of the same class. If it raises, nothing was added."""
        sides = {side: store.copy().merge(other.sides[side]) for side, store in self.sides.items()}
        self.fingerprint.merge(other.fingerprint)
        self.sides = sides

    def compute(self, **options: Any) -> dict[str, Measurement]:
        """Named numbers, each with its passport. The batches stay.

        Args:
            **options: options of the measure; they override the constructor's.

        Raises:
            ValueError: if a side is empty or too small, or an option is unknown.
        """
        options = {**self.default_options(), **self.options, **self._check_options(options)}
        predictions, references = (self.sides[side].reduce() for side in SIDES)
        fingerprint = self.fingerprint.reduce()
        if not predictions.count:
            raise ValueError(f"'{self.name}' has no predictions: add {self.predictions_help}")
        if self.references_help and not self.references_optional and not references.count:
            raise ValueError(f"'{self.name}' has no references: add {self.references_help}")
        settings = {name: value for name, value in options.items() if name != "seed" and _is_plain(value)}
        return {
            name: Measurement(
                estimate.value,
                Passport(
                    metric=name,
                    settings=settings | self.settings,
                    num_samples=predictions.count,
                    num_references=references.count or None,
                    biased_by=self.biased_by(name, **options),
                    references_fingerprint=fingerprint.hex() if fingerprint.total else None,
                    seed=options.get("seed", self.seed),
                    standard_error=estimate.error,
                    interval_method=estimate.method,
                    refit_std=estimate.refit_std,
                    details=estimate.details,
                    **{estimate.interval_name: estimate.interval},
                    **self.describe_extractor(),
                ),
            )
            for name, estimate in self.estimate(predictions, references, **options).items()
        }

    def estimate(self, predictions: RowStore, references: RowStore, **options: Any) -> dict[str, Estimate]:
        """Named estimates from both sides."""
        sides = [predictions, references] if self.references_help else [predictions]
        return type(self).function(*(cast(Rows, side).to_tensor() for side in sides), **options)

    def biased_by(self, number: str, **options: Any) -> tuple[str, ...]:
        """The counts in `COUNTS` that the expected value of a number depends on."""
        return ()

    def describe_extractor(self) -> dict[str, Any]:
        """Fields of the passport that describe the extractor."""
        return {}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
